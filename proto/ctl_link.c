/* The connection of catcachectl; see ctl_link.h. */
#include "ctl_link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl_advice.h"
#include "reply.h"
#include "request.h"

#define GREETING_MS 5000        /* a daemon that lives connects and answers INFO long before */
#define READ_SIZE 65536

void ctl_link_close(struct ctl_link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	l->in.len = l->scanned = l->reply_len = 0;
	l->scan = (struct reply_scan){0};
}

void ctl_link_free(struct ctl_link *l)
{
	ctl_link_close(l);
	buf_free(&l->in);
	buf_free(&l->why);
}

/* Begins the reason anew: with where. */
static struct buf *why(struct ctl_link *l)
{
	l->why.len = 0;
	buf_addf(&l->why, "%s: ", l->path);
	return &l->why;
}

static int fail(struct ctl_link *l)
{
	buf_add_char(&l->why, '\0');
	return -1;
}

void ctl_link_say_silent(struct ctl_link *l, int64_t timeout_ms)
{
	buf_addf(why(l), "no answer within %g s\n"
		"It may still be at work on it: --timeout waits longer, catcachectl health tells how the daemon is.\n", (double)timeout_ms / 1000);
	(void)fail(l);
}

/* ---- sending and receiving ---- */

static bool is_ready(int fd, short events, int64_t timeout_ms)
{
	int n;
	do
		n = poll(&(struct pollfd){.fd = fd, .events = events}, 1, (int)timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static int say_lost(struct ctl_link *l, const char *reason)
{
	buf_addf(why(l), "the connection was closed: %s\n"
		"The daemon stopped or was restarted: systemctl status catcached; its log: journalctl -u catcached\n", reason);
	return fail(l);
}

/* A peer that closes has said why, perhaps: then the reply is worth more than the error. */
static int send_bytes(struct ctl_link *l, const char *data, size_t len, int64_t timeout_ms)
{
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(l->fd, data + sent, len - sent, MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		else if (errno == EPIPE || errno == ECONNRESET)
			return 0;
		else if (errno != EAGAIN && errno != EINTR)
			return say_lost(l, strerror(errno));
		else if (!is_ready(l->fd, POLLOUT, timeout_ms))
			return ctl_link_say_silent(l, timeout_ms), -1;
	}
	return 0;
}

int ctl_link_send(struct ctl_link *l, const struct request_arg *argv, size_t argc, int64_t timeout_ms)
{
	struct buf b = BUF_INIT;
	reply_add_array(&b, argc);
	for (size_t i = 0; i < argc; i++)
		reply_add_bulk(&b, argv[i].data, argv[i].len);
	int rc;
	if (b.failed) {
		buf_add_str(why(l), "out of memory\n");
		rc = fail(l);
	} else {
		rc = send_bytes(l, b.data, b.len, timeout_ms);
	}
	buf_free(&b);
	return rc;
}

/* 1 if what has come holds a whole reply. */
static int scan_reply(struct ctl_link *l)
{
	bool is_end;
	l->scanned += reply_scan(&l->scan, l->in.data + l->scanned, l->in.len - l->scanned, &is_end);
	if (l->scan.has_failed) {
		buf_add_str(why(l), "the answer is not in the protocol of catcached\n"
			"Something else listens on this socket: is it the listen.path of the daemon's configuration?\n");
		return fail(l);
	}
	if (!is_end)
		return 0;
	l->reply = l->in.data;
	l->reply_len = l->scanned;
	return 1;
}

int ctl_link_receive(struct ctl_link *l, int64_t timeout_ms)
{
	buf_drop(&l->in, l->reply_len);
	l->scanned -= l->reply_len;
	l->reply_len = 0;
	for (;;) {
		int found = l->in.len > l->scanned ? scan_reply(l) : 0;
		if (found)
			return found;
		if (!is_ready(l->fd, POLLIN, timeout_ms))
			return 0;
		char *room = buf_reserve(&l->in, READ_SIZE);
		if (!room)
			return say_lost(l, "no memory for the answer");
		ssize_t n = recv(l->fd, room, READ_SIZE, 0);
		if (n > 0)
			l->in.len += (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return say_lost(l, n ? strerror(errno) : "no answer came");
	}
}

/* ---- connecting ---- */

/* 0, or -1 and errno. */
static int connect_to(struct ctl_link *l, const struct sockaddr_un *address, int64_t timeout_ms)
{
	const struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -1;
	/* Holds for connect, where the daemon's queue is full. */
	if (setsockopt(l->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -1;
	if (connect(l->fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -1;
	return fcntl(l->fd, F_SETFL, O_NONBLOCK);
}

static bool is_error(const struct ctl_link *l)
{
	return l->reply[0] == '-';
}

/* The line "name:value" of the text that was replied; false if there is none. */
static bool find_field(const struct ctl_link *l, const char *name, char *value, size_t size)
{
	const char *at = memmem(l->reply, l->reply_len, name, strlen(name));
	if (!at)
		return false;
	at += strlen(name);
	size_t len = 0;
	while (at + len < l->reply + l->reply_len && at[len] != '\r' && at[len] != '\n')
		len++;
	snprintf(value, size, "%.*s", (int)len, at);
	return true;
}

/* Both replies of the greeting; 0 if they are catcached's. */
static int read_greeting(struct ctl_link *l, int64_t timeout_ms)
{
	for (int i = 0; i < 2; i++) {
		int got = ctl_link_receive(l, timeout_ms);
		if (got == 0)
			buf_addf(why(l), "nothing answers within %g s\n"
				"The daemon hangs, or it is not catcached that listens there: systemctl status catcached\n", (double)timeout_ms / 1000);
		if (got <= 0)
			return got ? -1 : fail(l);
		if (is_error(l)) {
			ctl_advice_greeting(why(l), l->reply + 1, strcspn(l->reply + 1, "\r"));
			return fail(l);
		}
	}
	if (find_field(l, "catcached_version:", l->version, sizeof(l->version)))
		return 0;
	char redis[32] = "?";
	(void)find_field(l, "redis_version:", redis, sizeof(redis));
	buf_addf(why(l), "a plain Redis (%s) listens there, not catcached\n"
		"The daemon's own socket is listen.path of its configuration; name it with --socket or in $CATCACHED_SOCKET.\n", redis);
	return fail(l);
}

/* INFO tells catcached from a Redis, and everything else by not being understood. */
static int greet(struct ctl_link *l, int64_t timeout_ms)
{
	static const char greeting[] = "HELLO 3\r\nINFO server\r\n";
	return send_bytes(l, greeting, sizeof(greeting) - 1, timeout_ms) < 0 ? -1 : read_greeting(l, timeout_ms);
}

int ctl_link_open(struct ctl_link *l, const char *path, int64_t timeout_ms)
{
	int64_t limit_ms = timeout_ms < GREETING_MS ? timeout_ms : GREETING_MS;

	struct sockaddr_un address = {.sun_family = AF_UNIX};
	ctl_link_close(l);
	l->path = path;
	if (strlen(path) >= sizeof(address.sun_path)) {
		buf_addf(why(l), "a socket's path has at most %zu bytes\n", sizeof(address.sun_path) - 1);
		return fail(l);
	}
	strcpy(address.sun_path, path);
	int rc = connect_to(l, &address, limit_ms);
	if (rc < 0) {
		ctl_advice_connect(why(l), path, errno);
		(void)fail(l);
	} else {
		rc = greet(l, limit_ms);
	}
	if (rc < 0)
		ctl_link_close(l);
	return rc;
}
