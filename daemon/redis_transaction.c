/* Transactions: operations that Redis executes with nothing between; see redis.h.
 *
 *   begin .. operations add their commands .. end: MULTI, all of them, EXEC in one write
 *                                                  |
 *        each operation gets its element of EXEC's reply as if it had been sent alone
 *
 * They go over the relays: an EXEC on the data link would clear the WATCH of a fill.
 *
 * Replies are given out slice by slice, so that the loop turns meanwhile. */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "../proto/reply.h"
#include "../proto/reply_scan.h"
#include "clock.h"
#include "out.h"
#include "redis_op.h"
#include "redis_reply.h"

#define SLICE 500               /* replies given out in one go: some 0.5 ms */

/* Whose reply an element is: one of the two. */
struct member {
	redis_reply_fn done;
	redis_bytes_fn relayed;
	void *arg;
};

/* Nothing came of it. */
struct failure {
	char *text;                     /* what operations hear; NULL: it has not failed */
	struct buf line;                /* what commands that were passed hear, if: */
	bool is_said;                   /* Redis said so; else: */
	char *reason;                   /* why it said nothing */
};

struct transaction {
	struct redis *redis;
	struct redis_route route;
	struct out commands;
	struct buf reply;               /* EXEC's, as it comes in */
	struct failure failure;
	size_t told, at;                /* so many members have their replies; where the next one begins */
	struct event *more;
	TAILQ_ENTRY(transaction) link;  /* in transactions of redis, while replies are given out */
	struct member *members;
	size_t n, cap;
	bool is_mixed;                  /* commands were passed */
	redis_end_fn on_end;
	void *arg;
};

void redis_transaction_begin(struct redis *r, struct redis_route route)
{
	struct transaction *t = xcalloc(1, sizeof(*t));
	*t = (struct transaction){.redis = r, .route = route, .commands = OUT_INIT};
	reply_add_array(&t->commands.bytes, 1);
	redis_add_word(&t->commands.bytes, "MULTI");
	r->open = t;
}

struct transaction *redis_transaction_pause(struct redis *r)
{
	struct transaction *t = r->open;
	r->open = NULL;
	return t;
}

void redis_transaction_resume(struct redis *r, struct transaction *t)
{
	r->open = t;
}

static void add_member(struct transaction *t, const struct member *m)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 8;
		t->members = xrealloc(t->members, t->cap * sizeof(*t->members));
	}
	t->members[t->n++] = *m;
}

struct out *redis_transaction_add(struct transaction *t, redis_reply_fn done, void *arg)
{
	add_member(t, &(struct member){.done = done, .arg = arg});
	return &t->commands;
}

struct out *redis_transaction_relay(struct transaction *t, redis_bytes_fn relayed, void *arg)
{
	t->is_mixed = true;
	add_member(t, &(struct member){.relayed = relayed, .arg = arg});
	return &t->commands;
}

static void transaction_free(struct transaction *t)
{
	if (t->more)
		event_free(t->more);
	out_fini(&t->commands);
	buf_free(&t->reply);
	buf_free(&t->failure.line);
	free(t->failure.text);
	free(t->failure.reason);
	free(t->members);
	free(t);
}

/* ---- the replies ---- */

/* An operation is told that it was aborted by an error of that code. */
static char *text_for_operations(const struct transaction *t, const char *error)
{
	bool is_abort = strncmp(error, "EXECABORT ", 10) == 0;
	if (t->is_mixed == is_abort)
		return xstrdup(error);
	return xasprintf("%s %s", t->is_mixed ? "EXECABORT" : "ERR Redis refused the transaction:", error);
}

static void fail(const struct transaction *t, const struct member *m)
{
	const struct failure *f = &t->failure;
	redisReply said = {.type = REDIS_REPLY_ERROR, .str = f->text, .len = strlen(f->text)};
	bool is_told = f->is_said || t->is_mixed;
	if (m->relayed)
		m->relayed(m->arg, f->is_said ? f->line.data : NULL, f->line.len, f->is_said, f->reason);
	else
		m->done(m->arg, is_told ? &said : NULL, f->reason);
}

/* What operations ask for has the same look in both versions of RESP, but for the nil of RESP3. */
static void give(struct transaction *t, const struct member *m)
{
	static const char nil[] = "$-1\r\n";
	const char *data = t->reply.data + t->at;
	size_t len = reply_length(data, t->reply.len - t->at);
	t->at += len;
	if (m->relayed)
		m->relayed(m->arg, data, len, true, "");
	else if (data[0] == '_')
		redis_reply_read(nil, sizeof(nil) - 1, m->done, m->arg);
	else
		redis_reply_read(data, len, m->done, m->arg);
}

static void give_out(struct transaction *t, size_t max)
{
	for (size_t end = t->n - t->told > max ? t->told + max : t->n; t->told < end; t->told++)
		if (t->failure.text)
			fail(t, &t->members[t->told]);
		else
			give(t, &t->members[t->told]);
	if (t->told < t->n) {
		event_add(t->more, &(struct timeval){0});
		return;
	}
	TAILQ_REMOVE(&t->redis->transactions, t, link);
	transaction_free(t);
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	give_out(arg, SLICE);
}

void redis_transactions_finish(struct redis *r)
{
	struct transaction *t;
	while ((t = TAILQ_FIRST(&r->transactions)))
		give_out(t, SIZE_MAX);
}

/* It has been decided what becomes of it. Takes t over. */
static void start_giving(struct transaction *t, const char *error)
{
	t->more = evtimer_new(t->redis->base, on_more, t);
	TAILQ_INSERT_TAIL(&t->redis->transactions, t, link);
	t->on_end(t->arg, error);
	give_out(t, SLICE);
}

/* Nothing came of it. error: what Redis said, or NULL and reason tells why it said nothing. */
static void fail_all(struct transaction *t, const char *error, const char *reason)
{
	char *whole = error ? xstrdup(error) : xasprintf("UNAVAILABLE redis: %s", reason);
	t->failure = (struct failure){.text = text_for_operations(t, whole), .reason = xstrdup(reason), .is_said = error};
	reply_add_error(&t->failure.line, whole);
	start_giving(t, whole);
	free(whole);
}

/* The user has lost the right to it since the relay came up. */
static bool is_without_multi(const struct reply_element *reply)
{
	static const char error[] = "ERR EXEC without MULTI";
	return reply->type == '-' && reply->len == strlen(error) && memcmp(reply->data, error, reply->len) == 0;
}

/* Takes t over. */
static void distribute(struct transaction *t)
{
	struct redis *r = t->redis;
	struct redis_route route = t->route;
	struct reply_element head;
	size_t at = reply_element(t->reply.data, t->reply.len, &head);
	if (at && is_without_multi(&head)) {
		fail_all(t, NULL, "MULTI was refused, and the commands were carried out one by one");
		redis_link_restart(redis_relay_of(r, route), "MULTI is refused"); /* it sees then what is allowed */
	} else if (at && head.type == '-') {
		char *error = xstrndup(head.data, head.len);
		fail_all(t, error, "");
		free(error);
	} else if (!at || head.type != '*' || (size_t)head.number != t->n) {
		fail_all(t, NULL, "a reply that is not understood");
	} else {
		t->at = at;
		start_giving(t, NULL);
	}
}

static void on_bytes(void *arg, const char *data, size_t len, bool is_end, const char *reason)
{
	struct transaction *t = arg;
	if (data && !t->reply.failed) {
		if (t->reply.len + len <= REDIS_TRANSACTION_MAX)
			buf_add(&t->reply, data, len);
		else
			t->reply.failed = true;
	}
	if (data && !is_end)
		return;
	if (data && !t->reply.failed) {
		distribute(t);
		return;
	}
	fail_all(t, data ? "ERR the replies of the transaction are too large together; it was executed" : NULL, reason);
}

static void send_all(struct transaction *t)
{
	struct redis_link *relay = redis_relay_of(t->redis, t->route);
	reply_add_array(&t->commands.bytes, 1);
	redis_add_word(&t->commands.bytes, "EXEC");
	if (t->commands.bytes.failed) {
		fail_all(t, NULL, "out of memory for the transaction");
	} else if (redis_link_up(relay) && !redis_link_transacts(relay)) {
		fail_all(t, "NOPERM Redis does not allow MULTI to the user in redis.url", "");
	} else {
		out_move(redis_link_begin_relay(relay, (unsigned)t->n + 2, on_bytes, t), &t->commands);
	}
}

void redis_transaction_end(struct redis *r, redis_end_fn on_end, void *arg)
{
	struct transaction *t = redis_transaction_pause(r);
	t->on_end = on_end;
	t->arg = arg;
	if (t->n > 0) {
		send_all(t);
		return;
	}
	on_end(arg, NULL);
	transaction_free(t);
}
