/* A connection to Redis; see redis_link.h.
 *
 *   WAITING --timer--> RESOLVING --errand--> CONNECTING --> HANDSHAKE --> TRIAL --> UP
 *      ^                                                                            |
 *      +------------------ lost(): error, time-out, refused, closed ----------------+
 *
 * Until the handshake has been answered there is the patience of connecting: so whoever
 * hung is reached as soon as it goes on. Then a PING is on trial, with the time-out of any
 * command: a server that is slower than that does not come up. Nor does one that is up
 * forget its failures before it has answered something.
 *
 * Invariant: ac is set from CONNECTING to UP and only then. Commands in
 * calls are in the order they were sent, which is the order of their replies; the
 * deadline timer watches the first. */
#include "redis_link.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "../proto/reply.h"
#include "../proto/reply_scan.h"
#include "clock.h"
#include "errand.h"
#include "histogram.h"
#include "log.h"
#include "out.h"
#include "redis_reply.h"
#include "value.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define TRICKLE_FACTOR 20       /* a reply that trickles in may take this many time-outs in all */
#define REASON_MAX 160
#define READ_SIZE 65536
#define KEEP_OUT 65536          /* a larger buffer of commands is given back when it is sent */

enum link_state { LINK_WAITING, LINK_RESOLVING, LINK_CONNECTING, LINK_HANDSHAKE, LINK_TRIAL, LINK_UP };

struct call {
	TAILQ_ENTRY(call) link;
	struct redis_link *owner;
	int64_t sent_ms;
	int64_t sent_us;                /* clock_us, where that is measured */
	redis_reply_fn done;
	redis_bytes_fn relay;           /* in the place of done */
	unsigned n_replies;             /* still to come; the last is relayed */
	void *arg;
};
TAILQ_HEAD(call_list, call);

struct redis_link {
	struct event_base *base;
	struct redis_link_options options;
	const struct conf_redis *conf;
	int64_t client_id;                      /* of a subscriber */

	enum link_state state;
	redisAsyncContext *ac;
	struct event *readable, *writable;      /* of ac's socket */
	struct event *flush;                    /* writes once all who are served in this turn of the loop have asked */
	struct event *retry;                    /* WAITING: try again */
	struct event *deadline;                 /* connecting, or the first call */
	struct event *refused;                  /* answers calls made while down */
	struct out out;                         /* commands on their way, once it is_ours */
	struct call_list calls, refused_calls;
	int64_t progress_ms;                    /* when bytes last came, or part of something large went */
	int64_t connect_deadline_ms;
	int64_t down_since_ms, up_since_ms;
	unsigned failures;                      /* in a row */
	bool closing;
	bool is_held;                           /* no attempts to connect */
	struct errand *lookup;                  /* RESOLVING */
	bool is_ours;                           /* hiredis has done its part (the handshake): what goes over it is written and read here */
	struct reply_scan scan;                 /* of the reply that is coming in, */
	bool is_pushed;                         /* or of what is none */
	struct redis_reading reading;           /* of a reply that is not relayed */
	bool is_tried, transacts;               /* whether MULTI is allowed, and that it is */
	char reason[REASON_MAX];
	struct redis_link_stats stats;
};

static void update_deadline(struct redis_link *l);

/* ---- hiredis on libevent: two persistent events ---- */

static void read_replies(struct redis_link *l);
static void drop(struct redis_link *l, const char *reason);

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *l = arg;
	(void)fd, (void)what;
	clock_update();
	l->progress_ms = clock_ms();
	if (l->is_ours)
		read_replies(l);
	else
		redisAsyncHandleRead(l->ac);
	update_deadline(l);
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
		drop(l, l->out.bytes.failed ? "out of memory for commands" : strerror(errno));
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
	update_deadline(l);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
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

static void add_read(void *arg)
{
	event_add(((struct redis_link *)arg)->readable, NULL);
}

static void del_read(void *arg)
{
	event_del(((struct redis_link *)arg)->readable);
}

static void add_write(void *arg)
{
	event_add(((struct redis_link *)arg)->writable, NULL);
}

static void del_write(void *arg)
{
	event_del(((struct redis_link *)arg)->writable);
}

/* hiredis is done with the socket. The link may be on a new one already. */
static void cleanup(void *arg)
{
	struct redis_link *l = arg;
	if (l->readable)
		event_free(l->readable);
	if (l->writable)
		event_free(l->writable);
	l->readable = l->writable = NULL;
}

/* ---- up and down ---- */

/* By a timer, not by making the event active: who is refused may ask again at once, and
 * the loop is to look at everybody else in between. */
static void answer_refused_soon(struct redis_link *l)
{
	event_add(l->refused, &(struct timeval){0});
}

static int64_t backoff_ms(const struct redis_link *l)
{
	int64_t ms = BACKOFF_MIN_MS << (l->failures < 8 ? l->failures : 8);
	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	return ms / 2 + random() % (ms / 2 + 1);
}

/* Relays are many and share the fate of the link that they follow. */
static enum log_level level_of(const struct redis_link *l)
{
	return l->options.relay_resp ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;
}

/* The first failure is told; the next ones, until it is up again, are the same story. */
static void tell_down(struct redis_link *l, bool was_up, const char *reason)
{
	log_event(l->closing || l->failures ? LOG_LEVEL_DEBUG : level_of(l), "redis_down", "link=%s after_ms=%lld reason=%s", l->options.name,
		(long long)(was_up ? clock_ms() - l->up_since_ms : clock_ms() - l->down_since_ms), log_quote(reason));
}

/* The one way down, from any state; the context is hiredis's to free, or freed by drop. */
static void lost(struct redis_link *l, const char *reason)
{
	bool was_up = l->state == LINK_UP;
	l->ac = NULL;
	if (l->is_ours && !TAILQ_EMPTY(&l->calls)) {
		TAILQ_CONCAT(&l->refused_calls, &l->calls, link);
		answer_refused_soon(l);
	}
	l->is_ours = false;
	redis_reading_fini(&l->reading);
	out_fini(&l->out);
	l->state = LINK_WAITING;
	event_del(l->deadline);
	if (was_up)
		l->down_since_ms = clock_ms();
	tell_down(l, was_up, reason);
	snprintf(l->reason, sizeof(l->reason), "%s", reason);
	l->stats.drops += was_up;
	if (!l->closing && !l->is_held)
		clock_arm(l->retry, backoff_ms(l));
	l->failures++;
	if (was_up)
		l->options.on_state(l->options.arg, false);
}

/* We give the connection up: outstanding calls are answered from within. */
static void drop(struct redis_link *l, const char *reason)
{
	redisAsyncContext *ac = l->ac;
	char kept[REASON_MAX];
	snprintf(kept, sizeof(kept), "%s", reason);
	lost(l, kept);
	redisAsyncFree(ac);
}

static void come_up(struct redis_link *l)
{
	l->state = LINK_UP;
	event_del(l->deadline); /* that of the trial */
	l->reason[0] = '\0';
	l->stats.connects++;
	l->up_since_ms = clock_ms();
	log_event(level_of(l), "redis_up", "link=%s after_ms=%lld", l->options.name, (long long)(clock_ms() - l->down_since_ms));
	l->options.on_state(l->options.arg, true);
}

static struct redis_link *link_of(const redisAsyncContext *ac)
{
	struct redis_link *l = ac->data;
	return l && l->ac == ac ? l : NULL;
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = link_of(ac);
	(void)status;
	if (l)
		lost(l, ac->err ? ac->errstr : "connection closed");
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
static void update_deadline(struct redis_link *l)
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
		update_deadline(l);
		return;
	}
	char reason[REASON_MAX];
	bool connecting = is_connecting(l);
	snprintf(reason, sizeof(reason), "timed out after %lld ms while %s",
		(long long)(connecting ? l->conf->connect_timeout_ms : l->conf->timeout_ms),
		connecting ? "connecting" : "waiting for a reply");
	l->stats.timeouts++;
	drop(l, reason);
}

/* ---- commands ---- */

static struct call *call_new(struct redis_link *l)
{
	struct call *c = xmalloc(sizeof(*c));
	*c = (struct call){.owner = l, .sent_ms = clock_ms(), .sent_us = l->options.latency ? clock_us() : 0};
	l->stats.pending++;
	return c;
}

static void measure(const struct call *c)
{
	if (c->owner->options.latency)
		histogram_add(c->owner->options.latency, clock_us() - c->sent_us);
}

/* It is up and has answered: what failed before is over. */
static void proved(struct redis_link *l)
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
		proved(l);
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
	while (!TAILQ_EMPTY(&now))
		finish(&now, TAILQ_FIRST(&now), NULL, l->reason);
}

static void refuse(struct redis_link *l, struct call *c)
{
	TAILQ_INSERT_TAIL(&l->refused_calls, c, link);
	answer_refused_soon(l);
}

/* A step of the handshake: answered by way of hiredis. */
static void send_step(struct redis_link *l, const struct buf *b, redis_reply_fn done)
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
	update_deadline(l);
}

/* c's command is the last in l->out. */
static void send_soon(struct redis_link *l, struct call *c)
{
	l->stats.commands++;
	TAILQ_INSERT_TAIL(&l->calls, c, link);
	event_active(l->flush, EV_TIMEOUT, 0);
	update_deadline(l);
}

void redis_link_send(struct redis_link *l, struct out *command, redis_reply_fn done, void *arg)
{
	struct call *c = call_new(l);
	c->done = done;
	c->arg = arg;
	c->n_replies = 1;
	if (l->state == LINK_UP) {
		out_move(&l->out, command);
		send_soon(l, c);
	} else {
		out_fini(command);
		refuse(l, c);
	}
}

void redis_link_send_buf(struct redis_link *l, struct buf *b, redis_reply_fn done, void *arg)
{
	struct out o = {.bytes = *b};
	*b = (struct buf)BUF_INIT;
	redis_link_send(l, &o, done, arg);
}

/* ---- replies ---- */

static void finish_read(struct redis_link *l, struct call *c)
{
	TAILQ_REMOVE(&l->calls, c, link);
	l->stats.pending--;
	measure(c);
}

/* Bytes of the reply that c is for; c is gone after the last. */
static void take(struct redis_link *l, struct call *c, const char *data, size_t len, bool is_end)
{
	if (is_end)
		finish_read(l, c);
	if (c->relay)
		c->relay(c->arg, data, len, is_end, "");
	else
		redis_reading_add(&l->reading, data, len);
	if (!c->relay && is_end)
		redis_reading_end(&l->reading, c->done, c->arg);
	if (is_end)
		free(c);
}

/* Bytes of one of the replies to c. */
static void hand_on_to(struct redis_link *l, struct call *c, const char *data, size_t len, bool is_end)
{
	bool is_last = c->n_replies == 1;
	proved(l);
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
	drop(l, n > 0 ? "replies out of step" : n == 0 ? "Server closed the connection" : strerror(errno));
}

static void take_over(struct redis_link *l)
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

void redis_link_relay(struct redis_link *l, const char *bytes, size_t len, unsigned n_replies, redis_bytes_fn done, void *arg)
{
	struct call *c = relayed_call(l, n_replies, done, arg);
	if (l->state == LINK_UP) {
		buf_add(&l->out.bytes, bytes, len);
		send_soon(l, c);
	} else {
		refuse(l, c);
	}
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
		come_up(l);
}

static void start_relaying(struct redis_link *l)
{
	static const char hello[] = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
	static const char trial[] = "*1\r\n$5\r\nMULTI\r\n*1\r\n$7\r\nDISCARD\r\n";
	take_over(l);
	l->is_tried = false;
	if (l->options.relay_resp == 3)
		buf_add_str(&l->out.bytes, hello);
	buf_add_str(&l->out.bytes, trial);
	send_soon(l, relayed_call(l, l->options.relay_resp == 3 ? 3 : 2, on_tried, l));
}

/* ---- connecting ---- */

static void on_handshake(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_link *l = arg;
	(void)reason;
	if (!reply || l->state != LINK_HANDSHAKE || reply->type != REDIS_REPLY_ERROR)
		return;
	drop(l, reply->str);
}

/* SUBSCRIBE's own confirmations, then the messages. */
static void on_subscribed(redisAsyncContext *ac, void *r, void *privdata)
{
	struct redis_link *l = privdata;
	const redisReply *reply = r;
	if (!reply || l->ac != ac || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
		return;
	if (strcmp(reply->element[0]->str, "message") == 0) {
		proved(l);
		l->options.on_message(l->options.arg, reply, "");
	} else if (l->state == LINK_TRIAL && strcmp(reply->element[0]->str, "subscribe") == 0
	    && !l->options.channels[reply->element[2]->integer])
		come_up(l);
}

static void add_words(struct buf *b, size_t n, const char *const *words)
{
	for (size_t i = 0; i < n; i++)
		reply_add_bulk_str(b, words[i]);
}

static void subscribe(struct redis_link *l)
{
	struct buf b = BUF_INIT;
	size_t n = 0;
	while (l->options.channels[n])
		n++;
	reply_add_array(&b, n + 1);
	reply_add_bulk_str(&b, "SUBSCRIBE");
	add_words(&b, n, l->options.channels);
	buf_add_char(&b, '\0');
	l->connect_deadline_ms = clock_ms() + l->conf->connect_timeout_ms;
	(void)redisAsyncFormattedCommand(l->ac, on_subscribed, l, b.data, b.len - 1); /* failed: it is closing, lost() follows */
	buf_free(&b);
}

static void on_client_id(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_link *l = arg;
	(void)reason;
	/* A server without CLIENT ID cannot redirect anything here, but it can publish. */
	if (reply)
		l->client_id = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

bool redis_link_is_unready(const char *error)
{
	static const char *const codes[] = {"BUSY ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN "};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strncmp(error, codes[i], strlen(codes[i])) == 0)
			return true;
	return false;
}

/* It serves, and in time. That it cannot write (MISCONF), or may not be asked this, is no
 * reason to stay away. */
static void on_pinged(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_link *l = arg;
	(void)reason;
	if (!reply || l->state != LINK_TRIAL)
		return;
	if (reply->type == REDIS_REPLY_ERROR && redis_link_is_unready(reply->str)) {
		drop(l, reply->str);
	} else if (l->options.relay_resp) {
		start_relaying(l);
	} else if (l->options.channels) {
		subscribe(l);
	} else {
		take_over(l);
		come_up(l);
	}
}

static void say(struct redis_link *l, redis_reply_fn done, size_t n, const char *const *words)
{
	struct buf b = BUF_INIT;
	reply_add_array(&b, n);
	add_words(&b, n, words);
	buf_add_char(&b, '\0'); /* hiredis looks at it as at a string */
	b.len--;
	send_step(l, &b, done);
	buf_free(&b);
}

/* CLIENT SETNAME is the last command of the handshake; some managed servers refuse it, which
 * does no harm. */
static void on_named(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_link *l = arg;
	(void)reason;
	if (!reply || l->state != LINK_HANDSHAKE)
		return;
	if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOAUTH", 6) == 0) {
		drop(l, reply->str);
		return;
	}
	l->state = LINK_TRIAL;
	event_del(l->deadline);                 /* that of connecting */
	say(l, on_pinged, 1, (const char *[]){"PING"});
}

static void shake_hands(struct redis_link *l)
{
	const struct conf_redis *c = l->conf;
	char db[16];
	l->state = LINK_HANDSHAKE;
	if (c->password && c->user)
		say(l, on_handshake, 3, (const char *[]){"AUTH", c->user, c->password});
	else if (c->password)
		say(l, on_handshake, 2, (const char *[]){"AUTH", c->password});
	snprintf(db, sizeof(db), "%u", c->db);
	if (c->db)
		say(l, on_handshake, 2, (const char *[]){"SELECT", db});
	if (l->options.channels)
		say(l, on_client_id, 2, (const char *[]){"CLIENT", "ID"});
	say(l, on_named, 3, (const char *[]){"CLIENT", "SETNAME", l->options.name});
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = link_of(ac);
	if (!l)
		return;
	if (status == REDIS_OK)
		shake_hands(l);
	else
		lost(l, ac->errstr);
}

static void attach(struct redis_link *l, redisAsyncContext *ac)
{
	if (!ac || ac->err) {
		lost(l, ac ? ac->errstr : "out of memory");
		if (ac)
			redisAsyncFree(ac);
		return;
	}
	l->ac = ac;
	l->state = LINK_CONNECTING;
	l->progress_ms = clock_ms();
	l->connect_deadline_ms = clock_ms() + l->conf->connect_timeout_ms;
	redis_reply_use_values(ac->c.reader);
	cleanup(l);
	l->readable = event_new(l->base, ac->c.fd, EV_READ | EV_PERSIST, on_readable, l);
	l->writable = event_new(l->base, ac->c.fd, EV_WRITE | EV_PERSIST, on_writable, l);
	if (l->options.channels)
		(void)event_priority_set(l->readable, 0);       /* what has changed is heard before anybody is served */
	ac->data = l;
	ac->ev.data = l;
	ac->ev.addRead = add_read;
	ac->ev.delRead = del_read;
	ac->ev.addWrite = add_write;
	ac->ev.delWrite = del_write;
	ac->ev.cleanup = cleanup;
	redisAsyncSetDisconnectCallback(ac, on_disconnect);
	redisAsyncSetConnectCallback(ac, on_connect);
	update_deadline(l);
}

/* getaddrinfo blocks, so a host name is looked up on an errand. */
struct lookup {
	struct redis_link *owner;
	char *host;
	unsigned attempt;               /* a name's addresses are tried in turn, one at each attempt */
	char address[NI_MAXHOST];
	int error;
};

static const struct addrinfo *nth(const struct addrinfo *first, unsigned n)
{
	const struct addrinfo *a = first;
	for (; n > 0; n--)
		a = a->ai_next ? a->ai_next : first;
	return a;
}

static void look_up(void *arg)
{
	struct lookup *look = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	look->error = getaddrinfo(look->host, NULL, &hints, &found);
	if (look->error)
		return;
	const struct addrinfo *a = nth(found, look->attempt);
	look->error = getnameinfo(a->ai_addr, a->ai_addrlen, look->address, sizeof(look->address), NULL, 0, NI_NUMERICHOST);
	freeaddrinfo(found);
}

static void on_looked_up(void *arg)
{
	struct lookup *look = arg;
	struct redis_link *l = look->owner;
	clock_update();
	l->lookup = NULL;
	if (look->error)
		lost(l, gai_strerror(look->error));
	else
		attach(l, redisAsyncConnect(look->address, l->conf->port));
}

static void lookup_free(void *arg)
{
	struct lookup *look = arg;
	free(look->host);
	free(look);
}

static void start_lookup(struct redis_link *l)
{
	struct lookup *look = xcalloc(1, sizeof(*look));
	*look = (struct lookup){.owner = l, .host = xstrdup(l->conf->host), .attempt = l->failures};
	l->state = LINK_RESOLVING;
	l->lookup = errand_start(l->base, "look-up", look_up, on_looked_up, lookup_free, look);
	if (l->lookup)
		return;
	lookup_free(look);
	lost(l, "no thread for the name look-up");
}

static bool is_address(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void start(struct redis_link *l)
{
	const struct conf_redis *c = l->conf;
	if (c->unix_path)
		attach(l, redisAsyncConnectUnix(c->unix_path));
	else if (is_address(c->host))
		attach(l, redisAsyncConnect(c->host, c->port));
	else
		start_lookup(l);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	start(arg);
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
		start(l);
	return l;
}

void redis_link_hold(struct redis_link *l, bool held)
{
	l->is_held = held;
	if (l->state != LINK_WAITING)
		return;
	event_del(l->retry);
	if (!held)
		start(l);
}

void redis_link_free(struct redis_link *l)
{
	if (!l)
		return;
	l->closing = true;
	errand_abandon(l->lookup);
	if (l->ac)
		drop(l, "shutting down");
	while (!TAILQ_EMPTY(&l->refused_calls))
		on_refused(-1, 0, l);
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
		drop(l, reason);
}

const char *redis_link_reason(const struct redis_link *l)
{
	return l->state == LINK_UP ? "" : l->reason;
}

const struct redis_link_stats *redis_link_stats(const struct redis_link *l)
{
	return &l->stats;
}
