/* The proxy's thread; see proxy.h. One poll loop over all connections. Each has two
 * sockets; what the server says goes through a queue of chunks with the time at which
 * each is due, what the client says goes on at once.
 *
 * The orders are under the lock, which the thread holds while it works and gives up
 * while it polls; whoever gives an order wakes it through a pipe. */
#include "proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define CHUNK 65536
#define PAIRS_MAX 64
#define BACKLOG 64

struct chunk {
	TAILQ_ENTRY(chunk) link;
	int64_t due_ms;
	size_t len, sent;
	bool is_last;                   /* cut: close when it is gone */
	char data[];
};
TAILQ_HEAD(chunks, chunk);

struct pair {
	int client, server;             /* -1: none; both or neither */
	struct chunks replies;
};

struct proxy {
	pthread_t thread;
	pthread_mutex_t lock;
	int listener, wake[2];
	struct sockaddr_un server;
	struct pair pairs[PAIRS_MAX];
	int delay_ms;                   /* the orders */
	size_t keep;
	unsigned cuts;
	bool is_stalled, is_ending;
};

static int64_t clock_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void die(const char *what)
{
	perror(what);
	abort();
}

/* ---- connections ---- */

static void close_pair(struct pair *c)
{
	struct chunk *k;
	while ((k = TAILQ_FIRST(&c->replies))) {
		TAILQ_REMOVE(&c->replies, k, link);
		free(k);
	}
	close(c->client);
	close(c->server);
	c->client = c->server = -1;
}

static struct pair *free_pair(struct proxy *p)
{
	for (size_t i = 0; i < PAIRS_MAX; i++)
		if (p->pairs[i].client < 0)
			return &p->pairs[i];
	return NULL;
}

/* A server that is not there closes the new connection, as it would without us. */
static void accept_one(struct proxy *p)
{
	int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	struct pair *c = free_pair(p);
	if (client < 0)
		return;
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (!c || server < 0 || connect(server, (struct sockaddr *)&p->server, sizeof(p->server)) < 0) {
		close(client);
		if (server >= 0)
			close(server);
		return;
	}
	fcntl(client, F_SETFL, O_NONBLOCK);
	c->client = client;
	c->server = server;
}

/* ---- bytes ---- */

/* To the server, which reads all the time: this may block for a moment. */
static bool pass_request(struct pair *c)
{
	char data[CHUNK];
	ssize_t n = read(c->client, data, sizeof(data));
	if (n < 0)
		return errno == EAGAIN;
	for (ssize_t sent = 0; sent < n;) {
		ssize_t w = send(c->server, data + sent, (size_t)(n - sent), MSG_NOSIGNAL);
		if (w < 0)
			return false;
		sent += w;
	}
	return n > 0;
}

static bool queue_reply(struct proxy *p, struct pair *c)
{
	struct chunk *k = xmalloc(sizeof(*k) + CHUNK);
	ssize_t n = recv(c->server, k->data, CHUNK, MSG_DONTWAIT);
	if (n <= 0) {
		free(k);
		return n < 0 && errno == EAGAIN;
	}
	k->len = (size_t)n;
	k->sent = 0;
	k->is_last = p->cuts && k->len > p->keep;
	k->due_ms = clock_now_ms() + p->delay_ms;
	if (k->is_last) {
		k->len = p->keep;
		p->cuts--;
	}
	TAILQ_INSERT_TAIL(&c->replies, k, link);
	return true;
}

/* False when the connection is to be closed. */
static bool send_due(struct pair *c)
{
	for (struct chunk *k; (k = TAILQ_FIRST(&c->replies)) && k->due_ms <= clock_now_ms();) {
		ssize_t n = send(c->client, k->data + k->sent, k->len - k->sent, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		k->sent += (size_t)n;
		if (k->sent < k->len)
			return true;
		if (k->is_last)
			return false;
		TAILQ_REMOVE(&c->replies, k, link);
		free(k);
	}
	return true;
}

/* ---- the loop ---- */

static int next_due_ms(const struct pair *c, int ms)
{
	const struct chunk *k = TAILQ_FIRST(&c->replies);
	int64_t left = k ? k->due_ms - clock_now_ms() : ms;
	return left < 0 ? 0 : left < ms ? (int)left : ms;
}

static bool is_cut(const struct pair *c)
{
	const struct chunk *k = TAILQ_LAST(&c->replies, chunks);
	return k && k->is_last;
}

/* Wakes up for what can go on now; POLLOUT only where a client is slow to read. */
static void wait_for_events(struct proxy *p, struct pollfd *fds)
{
	int ms = 1000;
	fds[0] = (struct pollfd){.fd = p->wake[0], .events = POLLIN};
	fds[1] = (struct pollfd){.fd = p->is_stalled ? -1 : p->listener, .events = POLLIN};
	for (size_t i = 0; i < PAIRS_MAX; i++) {
		const struct pair *c = &p->pairs[i];
		bool is_on = c->client >= 0 && !p->is_stalled;
		const struct chunk *k = is_on ? TAILQ_FIRST(&c->replies) : NULL;
		bool is_behind = k && k->sent;
		fds[2 + 2 * i] = (struct pollfd){.fd = is_on ? c->client : -1, .events = POLLIN | (is_behind ? POLLOUT : 0)};
		fds[3 + 2 * i] = (struct pollfd){.fd = is_on && !is_cut(c) ? c->server : -1, .events = POLLIN};
		if (is_on && !is_behind)
			ms = next_due_ms(c, ms);
	}
	pthread_mutex_unlock(&p->lock);
	(void)poll(fds, 2 + 2 * PAIRS_MAX, ms);  /* interrupted: as if nothing had happened */
	pthread_mutex_lock(&p->lock);
}

static void serve(struct proxy *p, const struct pollfd *fds)
{
	char drained[64];
	if (fds[0].revents)
		(void)!read(p->wake[0], drained, sizeof(drained));
	if (p->is_stalled || p->is_ending)
		return;
	if (fds[1].revents)
		accept_one(p);
	for (size_t i = 0; i < PAIRS_MAX; i++) {
		struct pair *c = &p->pairs[i];
		if (c->client < 0 || c->client != fds[2 + 2 * i].fd)
			continue;
		bool goes_on = !fds[2 + 2 * i].revents || !(fds[2 + 2 * i].revents & ~POLLOUT) || pass_request(c);
		goes_on = goes_on && (!fds[3 + 2 * i].revents || queue_reply(p, c));
		goes_on = goes_on && send_due(c);
		if (!goes_on)
			close_pair(c);
	}
}

static void *run(void *arg)
{
	struct proxy *p = arg;
	struct pollfd fds[2 + 2 * PAIRS_MAX];
	pthread_mutex_lock(&p->lock);
	while (!p->is_ending) {
		wait_for_events(p, fds);
		serve(p, fds);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- from the test ---- */

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return a;
}

struct proxy *proxy_start(const char *listen_path, const char *server_path)
{
	struct proxy *p = xcalloc(1, sizeof(*p));
	struct sockaddr_un a = address_of(listen_path);
	p->server = address_of(server_path);
	for (size_t i = 0; i < PAIRS_MAX; i++) {
		p->pairs[i].client = p->pairs[i].server = -1;
		TAILQ_INIT(&p->pairs[i].replies);
	}
	p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(p->listener, BACKLOG) < 0)
		die(listen_path);
	if (pipe2(p->wake, O_CLOEXEC | O_NONBLOCK) < 0)
		die("pipe");
	pthread_mutex_init(&p->lock, NULL);
	if (pthread_create(&p->thread, NULL, run, p) != 0)
		die("pthread_create");
	return p;
}

static void order_begin(struct proxy *p)
{
	pthread_mutex_lock(&p->lock);
}

static void order_end(struct proxy *p)
{
	(void)!write(p->wake[1], "", 1);        /* full: it is awake already */
	pthread_mutex_unlock(&p->lock);
}

void proxy_stop(struct proxy *p)
{
	if (!p)
		return;
	order_begin(p);
	p->is_ending = true;
	order_end(p);
	pthread_join(p->thread, NULL);
	for (size_t i = 0; i < PAIRS_MAX; i++)
		if (p->pairs[i].client >= 0)
			close_pair(&p->pairs[i]);
	close(p->listener);
	close(p->wake[0]);
	close(p->wake[1]);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void proxy_delay(struct proxy *p, int ms)
{
	order_begin(p);
	p->delay_ms = ms;
	order_end(p);
}

void proxy_cut(struct proxy *p, size_t keep, unsigned times)
{
	order_begin(p);
	p->keep = keep;
	p->cuts = times;
	order_end(p);
}

unsigned proxy_cuts_left(struct proxy *p)
{
	order_begin(p);
	unsigned left = p->cuts;
	order_end(p);
	return left;
}

void proxy_stall(struct proxy *p, bool is_stalled)
{
	order_begin(p);
	p->is_stalled = is_stalled;
	order_end(p);
}
