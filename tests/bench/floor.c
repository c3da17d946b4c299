/* The floor: what a server on a Unix socket costs that does nothing but answer. One
 * epoll_wait, one recv and one send for each wake-up; it counts the bytes of requests, all
 * of one length, and sends as many copies of a reply made before.
 *
 *      floor SOCKET REQUEST_BYTES REPLY_FILE */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS 64
#define BATCH (1 << 20)         /* smaller replies lie there so often that one send has a whole batch of them */

struct conn {
	int fd;
	size_t partial;         /* bytes of a request that is not whole */
	size_t owed;            /* bytes of replies to send */
	size_t at;              /* of the present reply, bytes sent */
	bool is_writing;
};

static char *replies;           /* copies of the reply, one behind the other */
static size_t replies_len, reply_len, request_len;
static char input[65536];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void load_replies(const char *file)
{
	FILE *f = fopen(file, "r");
	if (!f || fseek(f, 0, SEEK_END) < 0 || (reply_len = (size_t)ftell(f)) == 0)
		fail(file);
	size_t copies = BATCH / reply_len + 1;
	replies_len = copies * reply_len;
	replies = malloc(replies_len);
	rewind(f);
	if (!replies || fread(replies, 1, reply_len, f) != reply_len)
		fail(file);
	for (size_t i = 1; i < copies; i++)
		memcpy(replies + i * reply_len, replies, reply_len);
	fclose(f);
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 512) < 0)
		fail(path);
	return fd;
}

static void accept_one(int epoll, int listener)
{
	struct conn *c = calloc(1, sizeof(*c));
	if (!c || (c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
		fail("accept");
	epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
}

static bool answer(int epoll, struct conn *c, uint32_t events)
{
	ssize_t n = events & EPOLLIN ? recv(c->fd, input, sizeof(input), 0) : 0;
	if (n < 0 || (events & EPOLLIN && n == 0))
		return false;
	c->partial += (size_t)n;
	c->owed += c->partial / request_len * reply_len;
	c->partial %= request_len;
	size_t some = replies_len - c->at < c->owed ? replies_len - c->at : c->owed;
	n = some ? send(c->fd, replies + c->at, some, MSG_NOSIGNAL) : 0;
	if (n < 0 && errno != EAGAIN)
		return false;
	c->owed -= n > 0 ? (size_t)n : 0;
	c->at = (c->at + (n > 0 ? (size_t)n : 0)) % reply_len;
	if (c->is_writing != (c->owed > 0)) {
		c->is_writing = c->owed > 0;
		epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd,
			&(struct epoll_event){.events = c->is_writing ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c});
	}
	return true;
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	if (argc != 4 || (request_len = strtoul(argv[2], NULL, 10)) == 0) {
		fputs("usage: floor SOCKET REQUEST_BYTES REPLY_FILE\n", stderr);
		return 2;
	}
	load_replies(argv[3]);
	int listener = listen_at(argv[1]), epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			if (!c) {
				accept_one(epoll, listener);
			} else if (!answer(epoll, c, events[i].events)) {
				close(c->fd);
				free(c);
			}
		}
	}
}
