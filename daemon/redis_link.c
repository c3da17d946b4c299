/* Commands and replies over a connection to Redis, and their deadlines; see redis_link.h.
 *
 * Invariant: ac is set from CONNECTING to UP and only then. Commands in
 * calls are in the order they were sent, which is the order of their replies; the
 * deadline timer watches the first. */
#include "redis_link.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../conf/conf.h"
#include "clock.h"
#include "errand.h"
#include "histogram.h"
#include "redis_link_impl.h"

#define TRICKLE_FACTOR 20       /* a reply that trickles in may take this many time-outs in all */
#define READ_SIZE 65536
#define KEEP_OUT 65536          /* a larger buffer of commands is given back when it is sent */

struct call {
	TAILQ_ENTRY(call) link;
	struct redis_link *owner;
	int64_t sent_ms;
	int64_t sent_us;                /* clock_turn_us */
	redis_reply_fn done;
	redis_bytes_fn relay;           /* in the place of done */
	unsigned n_replies;             /* still to come; the last is relayed */
	void *arg;
};

/* ---- the socket ---- */

static void read_replies(struct redis_link *l);

void redis_link_on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *l = arg;
	(void)fd, (void)what;
	clock_update();
	l->progress_ms = clock_ms();
	if (l->is_ours)
		read_replies(l);
	else
		redisAsyncHandleRead(l->ac);
	redis_link_update_deadline(l);
}

/* Something large goes out piece by piece: that is progress. A small command is gone at once,
 * whether anybody is there to read it or not: that is none. */
static void note_progress(struct redis_link *l, bool is_more)
{
	if (is_more)
		l->progress_ms = clock_ms();
}

static void send_out(struct redis_link *l)
{
	size_t pending = out_pending(&l->out);
	if (l->out.bytes.failed || (out_send(&l->out, l->ac->c.fd) < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) {
		redis_link_drop(l, l->out.bytes.failed ? "out of memory for commands" : strerror(errno));
		return;
	}
	size_t left = out_pending(&l->out);
	note_progress(l, left > 0 && left < pending);
	if (left > 0) {
		event_add(l->writable, NULL);
		return;
	}
	event_del(l->writable);
	if (l->out.bytes.cap > KEEP_OUT)
		out_fini(&l->out);
}

static void send_by_hiredis(struct redis_link *l)
{
	redisAsyncHandleWrite(l->ac);
	note_progress(l, l->ac && l->ac->c.obuf[0] != '\0');
}

static void write_out(struct redis_link *l)
{
	clock_update();
	if (l->is_ours)
		send_out(l);
	else
		send_by_hiredis(l);
	redis_link_update_deadline(l);
}

void redis_link_on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	write_out(arg);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *l = arg;
	(void)fd, (void)what;
	if (l->ac && l->is_ours)
		write_out(l);
}

/* ---- deadlines ---- */

/* SUBSCRIBE, the last step of a subscriber, is no call. */
static bool is_connecting(const struct redis_link *l)
{
	return l->state == LINK_CONNECTING || l->state == LINK_HANDSHAKE || (l->state == LINK_TRIAL && TAILQ_EMPTY(&l->calls));
}

static int64_t due_ms(const struct redis_link *l)
{
	const struct call *first = TAILQ_FIRST(&l->calls);
	if (is_connecting(l))
		return l->connect_deadline_ms;
	if (!first)
		return 0;
	int64_t alive_ms = l->progress_ms > first->sent_ms ? l->progress_ms : first->sent_ms;
	int64_t due = alive_ms + l->conf->timeout_ms;
	int64_t last = first->sent_ms + TRICKLE_FACTOR * l->conf->timeout_ms;
	return due < last ? due : last;
}

/* Arms the timer if it is not: it may fire early, when it is set again. */
void redis_link_update_deadline(struct redis_link *l)
{
	if (!l->ac || event_pending(l->deadline, EV_TIMEOUT, NULL))
		return;
	int64_t due = due_ms(l);
	if (due)
		clock_arm(l->deadline, due > clock_ms() ? due - clock_ms() : 1);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *l = arg;
	(void)fd, (void)what;
	clock_update();
	int64_t due = due_ms(l);
	if (due == 0)
		return;
	if (clock_ms() < due) {
		redis_link_update_deadline(l);
		return;
	}
	char reason[REDIS_REASON_MAX];
	bool connecting = is_connecting(l);
	snprintf(reason, sizeof(reason), "timed out after %lld ms while %s",
		(long long)(connecting ? l->conf->connect_timeout_ms : l->conf->timeout_ms),
		connecting ? "connecting" : "waiting for a reply");
	l->stats.timeouts++;
	redis_link_drop(l, reason);
}

/* ---- commands ---- */

static struct call *call_new(struct redis_link *l)
{
	struct call *c = xmalloc(sizeof(*c));
	*c = (struct call){.owner = l, .sent_ms = clock_ms(), .sent_us = clock_turn_us()};
	l->stats.pending++;
	return c;
}

static void measure(const struct call *c)
{
	if (c->owner->options.latency)
		histogram_add(c->owner->options.latency, clock_turn_us() - c->sent_us);
}

/* It is up and has answered: what failed before is over. */
void redis_link_proved(struct redis_link *l)
{
	if (l->state == LINK_UP)
		l->failures = 0;
}

static void finish(struct call_list *list, struct call *c, const redisReply *reply, const char *reason)
{
	struct redis_link *l = c->owner;
	TAILQ_REMOVE(list, c, link);
	l->stats.pending--;
	if (c->relay)
		c->relay(c->arg, NULL, 0, false, reason);
	else
		c->done(c->arg, reply, reason);
	free(c);
}

static void on_reply(redisAsyncContext *ac, void *reply, void *privdata)
{
	struct call *c = privdata;
	struct redis_link *l = c->owner;
	(void)ac;
	if (reply) {
		redis_link_proved(l);
		measure(c);
	}
	finish(&l->calls, c, reply, reply ? "" : l->reason[0] ? l->reason : "connection closed");
}

static void on_refused(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *l = arg;
	struct call_list now = TAILQ_HEAD_INITIALIZER(now);
	(void)fd, (void)what;
	clock_update();
	TAILQ_CONCAT(&now, &l->refused_calls, link);
	out_fini(&l->unsent);
	while (!TAILQ_EMPTY(&now))
		finish(&now, TAILQ_FIRST(&now), NULL, l->reason);
}

/* By a timer, not by making the event active: who is refused may ask again at once, and
 * the loop is to look at everybody else in between. */
static void answer_refused_soon(struct redis_link *l)
{
	event_add(l->refused, &(struct timeval){0});
}

static void refuse(struct redis_link *l, struct call *c)
{
	TAILQ_INSERT_TAIL(&l->refused_calls, c, link);
	answer_refused_soon(l);
}

void redis_link_hand_back(struct redis_link *l)
{
	if (l->is_ours && !TAILQ_EMPTY(&l->calls)) {
		TAILQ_CONCAT(&l->refused_calls, &l->calls, link);
		answer_refused_soon(l);
	}
	l->is_ours = false;
	redis_reading_fini(&l->reading);
	out_fini(&l->out);
}

void redis_link_send_step(struct redis_link *l, const struct buf *b, redis_reply_fn done)
{
	struct call *c = call_new(l);
	c->done = done;
	c->arg = l;
	l->stats.commands++;
	if (!l->ac || redisAsyncFormattedCommand(l->ac, on_reply, c, b->data, b->len) != REDIS_OK) {
		refuse(l, c);
		return;
	}
	TAILQ_INSERT_TAIL(&l->calls, c, link);
	redis_link_update_deadline(l);
}

/* c's command is the last in l->out, or is to be. */
static void send_soon(struct redis_link *l, struct call *c)
{
	l->stats.commands++;
	TAILQ_INSERT_TAIL(&l->calls, c, link);
	event_active(l->flush, EV_TIMEOUT, 0);
	redis_link_update_deadline(l);
}

/* Where c's command goes. */
static struct out *begin(struct redis_link *l, struct call *c)
{
	if (l->state == LINK_UP) {
		send_soon(l, c);
		return &l->out;
	}
	refuse(l, c);
	out_fini(&l->unsent);
	return &l->unsent;
}

struct out *redis_link_begin(struct redis_link *l, redis_reply_fn done, void *arg)
{
	struct call *c = call_new(l);
	c->done = done;
	c->arg = arg;
	c->n_replies = 1;
	return begin(l, c);
}

/* ---- replies ---- */

static void finish_read(struct redis_link *l, struct call *c)
{
	TAILQ_REMOVE(&l->calls, c, link);
	l->stats.pending--;
	measure(c);
}

/* Most replies are short, and come in one piece. */
static void read_reply(struct redis_link *l, const struct call *c, const char *data, size_t len, bool is_end)
{
	bool is_whole = is_end && !l->reading.has_begun;
	if (is_whole && redis_reply_read_short(data, len, c->done, c->arg))
		return;
	redis_reading_add(&l->reading, data, len);
	if (is_end)
		redis_reading_end(&l->reading, c->done, c->arg);
}

/* Bytes of the reply that c is for; c is gone after the last. */
static void take(struct redis_link *l, struct call *c, const char *data, size_t len, bool is_end)
{
	if (is_end)
		finish_read(l, c);
	if (c->relay)
		c->relay(c->arg, data, len, is_end, "");
	else
		read_reply(l, c, data, len, is_end);
	if (is_end)
		free(c);
}

/* Bytes of one of the replies to c. */
static void hand_on_to(struct redis_link *l, struct call *c, const char *data, size_t len, bool is_end)
{
	bool is_last = c->n_replies == 1;
	redis_link_proved(l);
	c->n_replies -= is_end;
	if (is_last)
		take(l, c, data, len, is_end);
}

/* Hands on bytes of the reply to the first call. What nobody has asked for cannot be placed: -1; but for
 * what RESP3 pushes between replies, which is for nobody here. Whoever is told may give the connection up: then
 * the rest is nobody's. */
static int hand_on(struct redis_link *l, const char *data, size_t len)
{
	const redisAsyncContext *ac = l->ac;
	while (len > 0 && l->ac == ac) {
		struct call *c = TAILQ_FIRST(&l->calls);
		bool is_end;
		if (reply_scan_is_between(&l->scan))
			l->is_pushed = data[0] == '>';
		size_t n = reply_scan(&l->scan, data, len, &is_end);
		if ((!c && !l->is_pushed) || l->scan.has_failed)
			return -1;
		if (!l->is_pushed)
			hand_on_to(l, c, data, n, is_end);
		data += n;
		len -= n;
	}
	return 0;
}

static void read_replies(struct redis_link *l)
{
	char room[READ_SIZE];
	ssize_t n = recv(l->ac->c.fd, room, sizeof(room), MSG_DONTWAIT);
	if (n > 0 && hand_on(l, room, (size_t)n) == 0)
		return;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	redis_link_drop(l, n > 0 ? "replies out of step" : n == 0 ? "Server closed the connection" : strerror(errno));
}

void redis_link_take_over(struct redis_link *l)
{
	l->is_ours = true;
	l->scan = (struct reply_scan){0};
}

/* ---- relaying ---- */

static struct call *relayed_call(struct redis_link *l, unsigned n_replies, redis_bytes_fn done, void *arg)
{
	struct call *c = call_new(l);
	c->relay = done;
	c->n_replies = n_replies;
	c->arg = arg;
	return c;
}

struct out *redis_link_begin_relay(struct redis_link *l, unsigned n_replies, redis_bytes_fn done, void *arg)
{
	return begin(l, relayed_call(l, n_replies, done, arg));
}

/* A server that does not speak RESP3 is a relay in RESP2. The reply is that to DISCARD, so it shows whether
 * there is MULTI for us: where there is none, a transaction would be carried out command by command. */
static void on_tried(void *arg, const char *data, size_t len, bool is_end, const char *reason)
{
	struct redis_link *l = arg;
	(void)len, (void)reason;
	if (data && l->state == LINK_TRIAL && !l->is_tried) {
		l->transacts = data[0] == '+';
		l->is_tried = true;
	}
	if (data && is_end && l->state == LINK_TRIAL)
		redis_link_come_up(l);
}

void redis_link_start_relaying(struct redis_link *l)
{
	static const char hello[] = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
	static const char trial[] = "*1\r\n$5\r\nMULTI\r\n*1\r\n$7\r\nDISCARD\r\n";
	redis_link_take_over(l);
	l->is_tried = false;
	if (l->options.relay_resp == 3)
		buf_add_str(&l->out.bytes, hello);
	buf_add_str(&l->out.bytes, trial);
	send_soon(l, relayed_call(l, l->options.relay_resp == 3 ? 3 : 2, on_tried, l));
}

/* ---- the link ---- */

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	redis_link_dial(arg);
}

struct redis_link *redis_link_new(struct event_base *base, const struct redis_link_options *options)
{
	struct redis_link *l = xcalloc(1, sizeof(*l));
	*l = (struct redis_link){.base = base, .options = *options, .conf = options->conf,
		.is_held = options->is_held, .down_since_ms = clock_ms(), .reason = "not connected yet"};
	TAILQ_INIT(&l->calls);
	TAILQ_INIT(&l->refused_calls);
	l->retry = evtimer_new(base, on_retry, l);
	l->deadline = evtimer_new(base, on_deadline, l);
	l->refused = evtimer_new(base, on_refused, l);
	l->flush = evtimer_new(base, on_flush, l);
	if (!l->is_held)
		redis_link_dial(l);
	return l;
}

void redis_link_hold(struct redis_link *l, bool held)
{
	l->is_held = held;
	if (l->state != LINK_WAITING)
		return;
	event_del(l->retry);
	if (!held)
		redis_link_dial(l);
}

void redis_link_free(struct redis_link *l)
{
	if (!l)
		return;
	l->closing = true;
	errand_abandon(l->lookup);
	if (l->ac)
		redis_link_drop(l, "shutting down");
	while (!TAILQ_EMPTY(&l->refused_calls))
		on_refused(-1, 0, l);
	out_fini(&l->unsent);
	assert(TAILQ_EMPTY(&l->calls));
	event_free(l->retry);
	event_free(l->deadline);
	event_free(l->refused);
	event_free(l->flush);
	free(l);
}

bool redis_link_up(const struct redis_link *l)
{
	return l->state == LINK_UP;
}

bool redis_link_transacts(const struct redis_link *l)
{
	return l->transacts;
}

bool redis_link_is_trying(const struct redis_link *l)
{
	return l->state != LINK_UP && l->state != LINK_WAITING;
}

int64_t redis_link_client_id(const struct redis_link *l)
{
	return l->client_id;
}

void redis_link_restart(struct redis_link *l, const char *reason)
{
	if (l->ac)
		redis_link_drop(l, reason);
}

const char *redis_link_reason(const struct redis_link *l)
{
	return l->state == LINK_UP ? "" : l->reason;
}

const struct redis_link_stats *redis_link_stats(const struct redis_link *l)
{
	return &l->stats;
}
