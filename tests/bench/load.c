/* The load generator; see load.h.
 *
 *   idle --issue()--> batch of requests sent --replies--> idle
 *
 * A connection has one batch under way at the most. Its buffer holds the requests of a
 * batch from the start on; only the digits of the keys are stamped anew. */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "server.h"

#define RECV_SIZE (256 << 10)
#define EVENTS 64
#define FILL_CONNECTIONS 4      /* so that the server does not wait for us */
#define FILL_DEPTH 16
#define FILL_BYTES (1 << 20)    /* of values under way while filling */
#define NS 1000000000

struct conn {
	struct load *load;
	int fd;
	char *out;              /* depth requests */
	size_t sent;            /* bytes of them that are sent */
	uint32_t *keys;         /* of the requests */
	unsigned owed;          /* replies to come of the batch; 0: idle */
	size_t at;              /* bytes of the next reply that are here */
	int64_t since_ns;       /* when the batch was sent, or was due */
	int64_t due_ns;         /* paced: when the next one is due */
	bool is_writing;        /* watched for room to send the rest */
};

struct load {
	struct load_options options;
	struct message request, reply;
	struct conn *conns;
	struct load_result result;
	uint64_t begun;         /* requests of this run */
	uint64_t random;        /* state of the generator */
	uint32_t next_key;
	bool is_compared;       /* a whole reply was */
};

static char scratch[RECV_SIZE];

int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NS + t.tv_nsec;
}

/* ---- opening ---- */

static void conn_init(struct conn *c, struct load *l)
{
	const struct load_options *o = &l->options;
	*c = (struct conn){.load = l, .fd = server_connect(o->socket), .out = xmalloc(o->depth * l->request.len),
		.keys = xcalloc(o->depth, sizeof(*c->keys))};
	for (unsigned i = 0; i < o->depth; i++)
		memcpy(c->out + i * l->request.len, l->request.bytes, l->request.len);
}

struct load *load_open(const struct load_options *options)
{
	struct load *l = xcalloc(1, sizeof(*l));
	struct wire_words words = {.prefix = options->prefix, .value_len = options->value_len, .digest = options->digest};
	*l = (struct load){.options = *options, .random = 88172645463325252, .conns = xcalloc(options->connections, sizeof(*l->conns))};
	message_init(&l->request, options->wire->ops[options->op].request, &words);
	message_init(&l->reply, options->wire->ops[options->op].reply, &words);
	for (unsigned i = 0; i < options->connections; i++)
		conn_init(&l->conns[i], l);
	return l;
}

void load_close(struct load *l)
{
	for (unsigned i = 0; i < l->options.connections; i++) {
		close(l->conns[i].fd);
		free(l->conns[i].out);
		free(l->conns[i].keys);
	}
	message_fini(&l->request);
	message_fini(&l->reply);
	free(l->conns);
	free(l);
}

void load_reset(struct load *l)
{
	l->result = (struct load_result){0};
}

const struct load_result *load_result(const struct load *l)
{
	return &l->result;
}

/* ---- sending ---- */

static uint32_t choose_key(struct load *l)
{
	if (l->options.n_keys < 2)
		return 0;
	if (l->options.in_order)
		return l->next_key++ % l->options.n_keys;
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return (uint32_t)((l->random >> 32) * l->options.n_keys >> 32);
}

static void watch(struct conn *c, int epoll, int what, uint32_t events)
{
	epoll_ctl(epoll, what, c->fd, &(struct epoll_event){.events = events, .data.ptr = c});
}

static void send_rest(struct conn *c, int epoll)
{
	size_t len = c->load->options.depth * c->load->request.len;
	while (c->sent < len) {
		ssize_t n = send(c->fd, c->out + c->sent, len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			die("%s: cannot send: %s", c->load->options.socket, strerror(errno));
		c->sent += (size_t)n;
	}
	if (c->is_writing == (c->sent < len))
		return;
	c->is_writing = !c->is_writing;
	watch(c, epoll, EPOLL_CTL_MOD, c->is_writing ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void issue(struct conn *c, int epoll, int64_t since_ns)
{
	struct load *l = c->load;
	for (unsigned i = 0; i < l->options.depth; i++) {
		char *request = c->out + i * l->request.len;
		c->keys[i] = choose_key(l);
		message_stamp(&l->request, request, c->keys[i]);
		message_stamp_life(&l->request, request, (unsigned)((l->options.end_ns - since_ns) / 1000000));
	}
	l->begun += l->options.depth;
	c->owed = l->options.depth;
	c->sent = 0;
	c->since_ns = since_ns;
	send_rest(c, epoll);
}

/* ---- receiving ---- */

/* Compares data, which is at..at+n of a reply, with the part from..to of it. */
static bool agrees(const struct message *m, const char *data, size_t at, size_t n, size_t from, size_t to)
{
	size_t begin = at > from ? at : from, end = at + n < to ? at + n : to;
	return begin >= end || memcmp(data + (begin - at), m->bytes + begin, end - begin) == 0;
}

static void check(struct conn *c, const char *data, size_t n)
{
	struct load *l = c->load;
	const struct message *m = &l->reply;
	bool in_full = !l->is_compared || !m->value_len;
	size_t head = in_full ? m->len : m->value_at + WIRE_DIGITS, tail = m->value_at + m->value_len;
	uint32_t key = l->options.same_reply ? 0 : c->keys[l->options.depth - c->owed];
	message_stamp(m, m->bytes, key);
	if (!agrees(m, data, c->at, n, 0, head) || !agrees(m, data, c->at, n, tail, m->len))
		die("%s: wrong reply for key %c:%08u at byte %zu: %.*s", l->options.socket, l->options.prefix, key, c->at,
			(int)(n < 200 ? n : 200), data);
	l->is_compared |= c->at + n == m->len;
}

static void consume(struct conn *c, const char *data, size_t n, int64_t now)
{
	struct load *l = c->load;
	while (n > 0) {
		if (c->owed == 0)
			die("%s: more bytes than the replies have", l->options.socket);
		size_t step = l->reply.len - c->at < n ? l->reply.len - c->at : n;
		check(c, data, step);
		c->at += step;
		data += step;
		n -= step;
		if (c->at < l->reply.len)
			continue;
		c->at = 0;
		c->owed--;
		l->result.requests++;
		hist_add(&l->result.latency, now > c->since_ns ? (uint64_t)(now - c->since_ns) : 0);
	}
}

static void receive(struct conn *c)
{
	ssize_t n = recv(c->fd, scratch, sizeof(scratch), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die("%s: connection lost: %s", c->load->options.socket, n ? strerror(errno) : "closed");
	consume(c, scratch, (size_t)n, now_ns());
}

/* ---- the loop ---- */

struct run {
	struct load *const *loads;
	size_t n_loads;
	int epoll;
	int64_t end_ns;
	uint64_t max_requests;
	bool is_over;           /* no more requests */
};

static int64_t interval_ns(const struct load *l)
{
	return (int64_t)NS * l->options.connections * l->options.depth / l->options.rate;
}

static void start_load(struct run *r, struct load *l, int64_t now)
{
	l->begun = 0;
	for (unsigned i = 0; i < l->options.connections; i++) {
		struct conn *c = &l->conns[i];
		watch(c, r->epoll, EPOLL_CTL_ADD, EPOLLIN);
		if (l->options.rate)
			c->due_ns = now + interval_ns(l) * (i + 1) / l->options.connections;
		else
			issue(c, r->epoll, now_ns());
	}
}

/* Sends what is due, and lowers *next to the time when the next one is. */
static void issue_due(struct run *r, struct load *l, int64_t now, int64_t *next)
{
	for (unsigned i = 0; l->options.rate && i < l->options.connections; i++) {
		struct conn *c = &l->conns[i];
		if (c->owed > 0)
			continue;
		if (c->due_ns <= now) {
			issue(c, r->epoll, c->due_ns);
			c->due_ns += interval_ns(l);
		} else if (c->due_ns < *next) {
			*next = c->due_ns;
		}
	}
}

static bool is_owed(const struct run *r)
{
	for (size_t i = 0; i < r->n_loads; i++)
		for (unsigned j = 0; j < r->loads[i]->options.connections; j++)
			if (r->loads[i]->conns[j].owed > 0)
				return true;
	return false;
}

static void on_event(struct run *r, const struct epoll_event *e)
{
	struct conn *c = e->data.ptr;
	if (e->events & EPOLLOUT)
		send_rest(c, r->epoll);
	if (!(e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	receive(c);
	if (c->owed == 0 && !c->load->options.rate && !r->is_over)
		issue(c, r->epoll, now_ns());
}

/* One turn; false when nothing has come for LOAD_SILENCE_S though something is owed. */
static bool turn(struct run *r)
{
	struct epoll_event events[EVENTS];
	int64_t now = now_ns(), next = now + (int64_t)LOAD_SILENCE_S * NS;
	r->is_over |= now >= r->end_ns || (r->max_requests && r->loads[0]->begun >= r->max_requests);
	if (r->is_over && !is_owed(r))
		return true;
	for (size_t i = 0; i < r->n_loads && !r->is_over; i++)
		issue_due(r, r->loads[i], now, &next);
	if (!r->is_over && r->end_ns < next)
		next = r->end_ns;
	int64_t left = next > now ? next - now : 0;
	struct timespec wait = {.tv_sec = left / NS, .tv_nsec = left % NS};
	int n = epoll_pwait2(r->epoll, events, EVENTS, &wait, NULL);
	for (int i = 0; i < n; i++)
		on_event(r, &events[i]);
	return n != 0 || !r->is_over;
}

void load_run(struct load *const *loads, size_t n, double seconds, uint64_t requests)
{
	int64_t start = now_ns();
	struct run r = {.loads = loads, .n_loads = n, .epoll = epoll_create1(EPOLL_CLOEXEC),
		.end_ns = start + (int64_t)(seconds * NS), .max_requests = requests};
	for (size_t i = 0; i < n; i++)
		start_load(&r, loads[i], start);
	while (!r.is_over || is_owed(&r))
		if (!turn(&r))
			die("%s: no reply for %d s", loads[0]->options.socket, LOAD_SILENCE_S);
	for (size_t i = 0; i < n; i++)
		loads[i]->result.seconds += (double)(now_ns() - start) / NS;
	close(r.epoll);
}

void load_fill(const struct load_options *options)
{
	struct load_options o = *options;
	size_t fitting = FILL_BYTES / o.value_len + 1;
	o.connections = FILL_CONNECTIONS;
	o.depth = fitting < FILL_DEPTH ? (unsigned)fitting : FILL_DEPTH;
	o.in_order = true;
	o.op = WIRE_SET;
	struct load *l = load_open(&o);
	load_run(&l, 1, 3600, o.n_keys);
	load_close(l);
}
