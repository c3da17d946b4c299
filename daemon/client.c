/* A connection; see client.h. What it asks is in client_request.c.
 *
 *   socket -> in -> client_consume -> command_run -> out -> socket
 *                                         |          ^
 *                                         +-> slot --+   (replies that wait, in order)
 *
 * What is wanted of the socket is computed from the state in one place, update().
 * busy guards against being driven again from within a command that completes at once. */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "../proto/request_batch.h"
#include "client_impl.h"
#include "clock.h"
#include "histogram.h"
#include "log.h"
#include "parked.h"
#include "server.h"
#include "value.h"

#define READ_SIZE 65536
#define SUM_EVERY_MS 100        /* and when a sixteenth of the limit has come; see limit_total */
#define KEEP_BUFFER 65536       /* output buffers above this are not kept for the next client */

/* ---- replies ---- */

/* Moves the replies that are done, up to the first that is not, to the output. */
static void collect(struct client *c)
{
	while (c->first && c->first->done) {
		struct slot *s = c->first;
		c->first = s->next;
		if (!c->first)
			c->last = &c->first;
		c->n_slots--;
		c->slot_bytes -= out_pending(&s->out);
		out_move(&c->out, &s->out);
		free(s);
	}
}

static void send_output(struct client *c)
{
	if (c->out.bytes.failed)
		c->broken = true; /* a reply is incomplete, so all that would follow is out of step */
	if (!c->broken && out_send(&c->out, c->fd) < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		c->broken = true;
}

static void set_event(struct event *e, bool want, bool *is)
{
	if (want == *is)
		return;
	*is = want;
	if (want)
		event_add(e, NULL);
	else
		event_del(e);
}

static bool is_finished(const struct client *c)
{
	bool owes_nothing = !c->first && !c->parked && out_pending(&c->out) == 0;
	return !c->held && (c->broken || (owes_nothing && (c->closing || c->eof)));
}

/* Output buffers wander from client to client, so an idle one holds none. */
static void give_back_buffers(struct client *c)
{
	if (c->out.bytes.cap == 0 || out_pending(&c->out) > 0)
		return;
	if (c->out.bytes.cap > KEEP_BUFFER || c->server->spare.bytes.cap > 0) {
		out_fini(&c->out);
		return;
	}
	c->server->spare = c->out;
	c->out = (struct out)OUT_INIT;
}

static void take_buffers(struct client *c)
{
	if (c->out.bytes.cap > 0)
		return;
	c->out = c->server->spare;
	c->server->spare = (struct out)OUT_INIT;
}

static size_t held_for(const struct client *c)
{
	size_t held = out_held(&c->out);
	for (const struct slot *s = c->first; s; s = s->next)
		held += s->done ? out_held(&s->out) : 0;
	return held;
}

static void count_output(struct client *c)
{
	size_t now = out_pending(&c->out) + c->slot_bytes;
	c->server->output_bytes += now;
	c->server->output_bytes -= c->counted;
	c->counted = now;
}

static void close_over(struct client *c, size_t held, uint64_t *count, const char *reason)
{
	log_warning("client_closed", "id=%llu uid=%ld held_bytes=%zu reason=%s", (unsigned long long)c->id,
		(long)client_uid(c), held, log_quote(reason));
	(*count)++;
	c->broken = true;
}

/* A client that does not read what it asked for is not worth any amount of memory. */
static void limit_output(struct client *c)
{
	uint64_t max = c->server->conf->max_output;
	if (c->counted <= max || c->broken)
		return;
	size_t held = held_for(c);
	if (held > max)
		close_over(c, held, &c->server->stats.over_output, "replies that it does not read are over listen.max_output");
}

/* What is owed to all is added up anew only now and then: values that many are owed are counted for each in
 * output_bytes, which may well be over the limit where memory is not. */
static bool is_total_due(const struct server *s)
{
	uint64_t max = s->conf->max_output_total;
	return s->output_bytes > max
		&& (clock_ms() - s->summed_ms >= SUM_EVERY_MS || s->output_bytes > s->summed_bytes + max / 16);
}

/* As Redis does it (maxmemory-clients): the one for whom most is held goes, then the next, as each is gone. */
static void limit_total(struct server *s)
{
	if (!is_total_due(s))
		return;
	uint64_t total = 0;
	size_t most = 0, held;
	struct client *greediest = NULL;
	for (struct client *c = s->clients; c; c = c->next) {
		total += held = c->broken ? 0 : held_for(c);
		if (held <= most)
			continue;
		most = held;
		greediest = c;
	}
	s->summed_ms = clock_ms();
	s->summed_bytes = s->output_bytes;
	if (total <= s->conf->max_output_total)
		return;
	close_over(greediest, most, &s->stats.over_total,
		"replies that clients do not read are over listen.max_output_total, and most of them are for this one");
	client_hang_up(greediest);
	s->summed_ms = 0;
}

/* Computes what the socket is watched for; frees c when it is finished. */
static void update(struct client *c)
{
	count_output(c);
	limit_output(c);
	limit_total(c->server);
	if (is_finished(c)) {
		client_free(c);
		return;
	}
	give_back_buffers(c);
	set_event(&c->readable, !c->eof && !c->broken && !client_is_blocked(c), &c->reading);
	set_event(&c->writable, !c->broken && out_pending(&c->out) > 0, &c->writing);
}

static bool has_input(const struct client *c)
{
	return c->in_at < c->in.len;
}

/* One round: what waited and may go on, goes on. True if another round may do more. */
static bool advance(struct client *c)
{
	size_t before = c->in_at;
	bool was_parked = c->parked;
	collect(c);
	client_run_parked(c);
	bool was_blocked = client_is_blocked(c);
	if (!was_blocked && has_input(c))
		c->in_at += client_consume(c, c->in.data + c->in_at, c->in.len - c->in_at);
	collect(c);
	send_output(c);
	bool is_unblocked = was_blocked && !client_is_blocked(c) && has_input(c);
	return c->in_at != before || was_parked != (c->parked != NULL) || is_unblocked;
}

static void drive(struct client *c)
{
	c->busy = true;
	take_buffers(c);
	while (advance(c))
		;
	if (!has_input(c)) {
		buf_free(&c->in);
		c->in_at = 0;
	}
	c->busy = false;
	update(c);
}

static void leave_ready(struct client *c)
{
	if (!c->at_ready)
		return;
	*c->at_ready = c->next_ready;
	if (c->next_ready)
		c->next_ready->at_ready = c->at_ready;
	c->at_ready = NULL;
}

/* It is driven once this callback of the loop is over, however many of its replies come in it. */
static void make_ready(struct client *c)
{
	if (c->at_ready)
		return;
	c->next_ready = c->server->ready;
	c->at_ready = &c->server->ready;
	if (c->next_ready)
		c->next_ready->at_ready = &c->next_ready;
	c->server->ready = c;
	event_active(c->server->drive, EV_TIMEOUT, 0);
}

void client_hold(struct client *c)
{
	c->held = true;
}

void client_release(struct client *c)
{
	c->held = false;
	make_ready(c);
}

void client_wake_parked(struct server *server)
{
	for (struct client *c = server->clients; c; c = c->next)
		if (c->parked)
			make_ready(c);
}

void client_drive_ready(struct server *server)
{
	for (struct client *c; (c = server->ready); ) {
		leave_ready(c);
		drive(c);
	}
}

/* What has waited for nothing is done in the turn in which it began, and has kept all others waiting. */
static int64_t took_us(const struct slot *s)
{
	int64_t now_us = clock_turn_us();
	return (now_us == s->began_us ? clock_us() : now_us) - s->began_us;
}

void slot_done(struct slot *s)
{
	struct client *c = s->client;
	assert(!s->done);
	if (s->on_part) {
		s->done = true;
		s->on_part(s->arg);
		return;
	}
	if (!c) {
		out_fini(&s->out);
		free(s);
		return;
	}
	if (s->latency)
		histogram_add(s->latency, took_us(s));
	client_mark_done(s);
	c->pending[s->lane]--;
	count_output(c);
	/* Only the head of the queue can set anything moving, or the last that a parked request waits for; or it is too much. */
	bool is_too_much = c->counted > c->server->conf->max_output || is_total_due(c->server);
	if (!c->busy && (c->first == s || c->parked || is_too_much))
		make_ready(c);
}

/* ---- socket ---- */

static ssize_t receive(struct client *c, char *to, size_t size)
{
	ssize_t n;
	do
		n = recv(c->fd, to, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		c->eof = true;
	else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		c->broken = true;
	return n > 0 ? n : 0;
}

/* Input of a client that has none unfinished goes through the shared scratch. */
static void receive_fresh(struct client *c)
{
	struct buf *scratch = &c->server->scratch;
	char *room = buf_reserve(scratch, READ_SIZE);
	size_t n = room ? (size_t)receive(c, room, READ_SIZE) : 0;
	if (n == 0)
		return;
	take_buffers(c);
	size_t used = client_consume(c, room, n);
	if (used < n)
		buf_add(&c->in, room + used, n - used);
}

static void receive_more(struct client *c)
{
	buf_drop(&c->in, c->in_at);
	c->in_at = 0;
	char *room = buf_reserve(&c->in, READ_SIZE);
	if (room)
		c->in.len += (size_t)receive(c, room, READ_SIZE);
}

/* All that came has been answered, and nothing else is to be done but to send it. */
static bool is_answered(const struct client *c)
{
	return !c->first && !c->parked && !c->closing && !c->eof && !c->broken && !has_input(c) && !c->out.bytes.failed
		&& c->reading && !c->writing;
}

/* Reads the clock for all whose requests are read in this turn of the loop: the event that is made active is the last of it. */
static void begin_turn(struct server *s)
{
	if (s->is_in_turn)
		return;
	s->is_in_turn = true;
	clock_update();
	event_active(s->turn_over, EV_TIMEOUT, 0);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	char *room;
	size_t large = !has_input(c) ? request_large_room(&c->parser, &room) : 0;
	(void)fd, (void)what;
	begin_turn(c->server);
	c->heard_ms = clock_ms();
	c->busy = true;
	if (large)
		request_large_filled(&c->parser, (size_t)receive(c, room, large));
	else if (!has_input(c))
		receive_fresh(c);
	else
		receive_more(c);
	c->busy = false;
	if (c->in.failed)
		c->broken = true; /* no memory even for an unfinished line: this client is given up */
	if (is_answered(c) && out_send(&c->out, c->fd) == 0 && out_pending(&c->out) == 0)
		give_back_buffers(c);
	else
		drive(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	drive(arg);
}

struct client *client_new(struct server *server, int fd, uint64_t id)
{
	struct client *c = xcalloc(1, sizeof(*c));
	*c = (struct client){.server = server, .fd = fd, .id = id, .resp = 2, .ahead = REQUEST_BATCH_MAX, .out = OUT_INIT,
		.since_ms = clock_ms(), .heard_ms = clock_ms()};
	c->last = &c->first;
	request_init(&c->parser, &server->limits);
	event_assign(&c->readable, server->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	event_assign(&c->writable, server->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->next = server->clients;
	c->at = &server->clients;
	if (c->next)
		c->next->at = &c->next;
	server->clients = c;
	server->n_clients++;
	update(c);
	return c;
}

static void abandon_slots(struct client *c)
{
	for (struct slot *s = c->first, *next; s; s = next) {
		next = s->next;
		s->client = NULL;
		if (!s->done)
			continue;
		out_fini(&s->out);
		free(s);
	}
}

void client_free(struct client *c)
{
	assert(!c->busy && !c->held);
	leave_ready(c);
	set_event(&c->readable, false, &c->reading);
	set_event(&c->writable, false, &c->writing);
	close(c->fd);
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	c->server->n_clients--;
	c->server->output_bytes -= c->counted;
	abandon_slots(c);
	parked_free(c->parked);
	command_queue_free(c->queue);
	parked_release_owners(c->parser.argv, c->parser.argc);
	request_fini(&c->parser);
	buf_free(&c->in);
	out_fini(&c->out);
	free(c->name);
	free(c->library);
	free(c->library_version);
	free(c);
}

void client_hang_up(struct client *c)
{
	if (c->busy) { /* it asked for this itself, and is answered */
		c->closing = true;
		return;
	}
	c->broken = true;
	event_active(&c->readable, EV_READ, 0);
}

/* The kernel makes the cut, so that no request is ever taken in and not answered. What it holds can
 * still be read, and then the end of it. */
void client_drain(struct client *c)
{
	(void)shutdown(c->fd, SHUT_RD); /* fails only where the peer has gone, which is heard of anyway */
}

bool client_close_if_idle(struct client *c, int64_t idle_ms)
{
	if (c->first || c->parked || out_pending(&c->out) > 0 || clock_ms() - c->heard_ms < idle_ms)
		return false;
	client_free(c);
	return true;
}

/* ---- what commands ask ---- */

uint64_t client_id(const struct client *c)
{
	return c->id;
}

const char *client_name(const struct client *c)
{
	return c->name ? c->name : "";
}

void client_set_name(struct client *c, const char *name, size_t len)
{
	free(c->name);
	c->name = len ? xstrndup(name, len) : NULL;
}

void client_set_library(struct client *c, bool is_name, const char *text, size_t len)
{
	char **to = is_name ? &c->library : &c->library_version;
	free(*to);
	*to = xstrndup(text, len);
}

void client_set_replies(struct client *c, enum client_replies replies)
{
	c->replies = (uint8_t)replies;
}

bool client_is_mute(const struct client *c)
{
	return c->replies == CLIENT_REPLIES_OFF;
}

struct queue *client_queue(const struct client *c)
{
	return c->queue;
}

void client_set_queue(struct client *c, struct queue *q)
{
	command_queue_free(c->queue);
	c->queue = q;
}

struct queue *client_take_queue(struct client *c)
{
	struct queue *q = c->queue;
	c->queue = NULL;
	return q;
}

void client_facts(const struct client *c, struct client_facts *f)
{
	*f = (struct client_facts){.fd = c->fd, .age_ms = clock_ms() - c->since_ms, .idle_ms = clock_ms() - c->heard_ms,
		.input_bytes = c->in.len - c->in_at, .output_bytes = out_pending(&c->out) + c->slot_bytes,
		.library = c->library ? c->library : "", .library_version = c->library_version ? c->library_version : ""};
}

int client_resp(const struct client *c)
{
	return c->resp;
}

void client_set_resp(struct client *c, int resp)
{
	c->resp = resp;
}

static struct ucred peer_of(const struct client *c)
{
	struct ucred cred = {.pid = -1, .uid = (uid_t)-1};
	socklen_t len = sizeof(cred);
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		cred = (struct ucred){.pid = -1, .uid = (uid_t)-1};
	return cred;
}

uid_t client_uid(const struct client *c)
{
	return peer_of(c).uid;
}

pid_t client_group(const struct client *c)
{
	pid_t pid = peer_of(c).pid;
	return pid > 0 ? getpgid(pid) : -1;
}

void client_close_after_reply(struct client *c)
{
	c->closing = true;
}

struct client *client_next(const struct client *c)
{
	return c->next;
}
