/* A server that is not what it seems; see fake.h. */
#include "fake.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "../../proto/request.h"

#define ROWS_MAX 16
#define CLIENTS_MAX 8

struct client {
	int fd;
	struct buf in;
};

struct fake {
	pthread_t thread;
	char *path;
	int listener, stop;
	struct fake_reply rows[ROWS_MAX];
	bool has_served[ROWS_MAX];
	size_t n_rows;
	struct client clients[CLIENTS_MAX];     /* fd -1: free */
	int owed;                       /* the descriptor that was answered nothing; -1: none */
};

/* The row that is due for a command, or NULL. */
static const struct fake_reply *take_row(struct fake *f, const struct request_arg *command)
{
	const struct fake_reply *row = NULL;
	for (size_t i = 0; i < f->n_rows; i++) {
		if (strlen(f->rows[i].command) != command->len || strncasecmp(f->rows[i].command, command->data, command->len) != 0)
			continue;
		row = &f->rows[i];
		if (f->has_served[i])
			continue;
		f->has_served[i] = true;
		break;
	}
	return row;
}

static void say(int fd, const char *text)
{
	ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL);
	(void)n;                        /* who does not listen need not be told */
}

static void pay_owed(struct fake *f)
{
	size_t i = 0;
	while (i < f->n_rows && f->has_served[i])
		i++;
	if (i == f->n_rows || f->owed < 0 || strcmp(f->rows[i].command, FAKE_OWED) != 0)
		return;
	f->has_served[i] = true;
	say(f->owed, f->rows[i].reply);
}

/* False: the connection is to be closed. */
static bool answer(struct fake *f, const struct client *c, const struct request_arg *command)
{
	const struct fake_reply *row = take_row(f, command);
	if (!row || !row->reply)
		return false;
	if (*row->reply)
		say(c->fd, row->reply);
	else
		f->owed = c->fd;
	pay_owed(f);
	return true;
}

static bool serve(struct fake *f, struct client *c)
{
	static const struct request_limits limits = {1 << 20, 1 << 20};
	ssize_t n = read(c->fd, buf_reserve(&c->in, 4096), 4096);
	bool is_open = n > 0;
	c->in.len += n > 0 ? (size_t)n : 0;
	while (is_open && c->in.len > 0) {
		struct request_parser p;
		request_init(&p, &limits);
		enum request_status status = request_parse(&p, c->in.data, c->in.len);
		if (status == REQUEST_READY && p.argc > 0)
			is_open = answer(f, c, &p.argv[0]);
		if (status == REQUEST_READY)
			buf_drop(&c->in, p.consumed);
		request_fini(&p);
		if (status != REQUEST_READY)
			break;
	}
	return is_open;
}

static void welcome(struct fake *f)
{
	size_t i = 0;
	while (i + 1 < CLIENTS_MAX && f->clients[i].fd >= 0)
		i++;
	f->clients[i].in.len = 0;
	f->clients[i].fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
}

static void *run(void *arg)
{
	struct fake *f = arg;
	for (;;) {
		struct pollfd fds[CLIENTS_MAX + 2] = {{.fd = f->stop, .events = POLLIN}, {.fd = f->listener, .events = POLLIN}};
		for (size_t i = 0; i < CLIENTS_MAX; i++)
			fds[i + 2] = (struct pollfd){.fd = f->clients[i].fd, .events = POLLIN};
		poll(fds, CLIENTS_MAX + 2, -1);
		if (fds[0].revents)
			return NULL;
		for (size_t i = 0; i < CLIENTS_MAX; i++) {
			struct client *c = &f->clients[i];
			if (c->fd < 0 || !fds[i + 2].revents || serve(f, c))
				continue;
			close(c->fd);
			c->fd = -1;
		}
		if (fds[1].revents)
			welcome(f);
	}
}

struct fake *fake_start(const char *path, const struct fake_reply *replies)
{
	struct fake *f = xcalloc(1, sizeof(*f));
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	f->path = xstrdup(path);
	f->owed = -1;
	while (f->n_rows < ROWS_MAX && replies[f->n_rows].command) {
		f->rows[f->n_rows] = replies[f->n_rows];
		f->n_rows++;
	}
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		f->clients[i].fd = -1;
	f->stop = eventfd(0, EFD_CLOEXEC);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(path);
	ck_assert(bind(f->listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(f->listener, 8) == 0);
	ck_assert_int_eq(pthread_create(&f->thread, NULL, run, f), 0);
	return f;
}

void fake_stop(struct fake *f)
{
	ck_assert_int_eq(write(f->stop, &(uint64_t){1}, 8), 8);
	ck_assert_int_eq(pthread_join(f->thread, NULL), 0);
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (f->clients[i].fd >= 0)
			close(f->clients[i].fd);
		buf_free(&f->clients[i].in);
	}
	close(f->listener);
	close(f->stop);
	unlink(f->path);
	free(f->path);
	free(f);
}
