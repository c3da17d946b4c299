/* Fills: what was fetched goes to Redis, and never over something newer; see redis.h.
 *
 *   WATCH keys leases, a check of each --> MULTI, SET and DEL of each, an echo, EXEC --> the echo
 *        ^                                                          |
 *        +---- not executed: something that is watched has changed -+
 *
 * The writes are plain commands of the connection that tracks, since those do not come back
 * to it, while the writes of a script do. EXEC ends every WATCH of a connection, so there is
 * one batch at a time; what comes meanwhile goes with the next.
 *
 * A change before WATCH is seen by the check, or it left the key as it was (set and deleted
 * again, say); then only tracking tells of it, and its message may still be on its way
 * when EXEC's reply is there. So a fill is over when its echo has come the way of these
 * messages: what was changed before WATCH comes before it, and what comes after it is a
 * change of what was filled. An echo that
 * does not come within redis.timeout leaves open whether it is older than a change. */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "../proto/reply.h"
#include "clock.h"
#include "out.h"
#include "redis_op.h"
#include "value.h"

#define BATCH_MAX 200           /* fills */
#define BATCH_BYTES ((size_t)16 << 20)  /* and more with one fill that is larger */
#define TRIES 3                 /* of a batch, one fill of which may fail the others */

struct fill {
	TAILQ_ENTRY(fill) link;
	struct key key;                 /* owned */
	struct value *value;            /* a reference; NULL: the key does not exist */
	int64_t ttl_ms;
	char token[REDIS_TOKEN_LEN + 1];
	bool is_refused;                /* not ours any more, or the key has changed */
	redis_done_fn done;
	void *arg;
};

struct batch {
	TAILQ_ENTRY(batch) link;
	struct redis *redis;
	struct fills fills;
	struct fill *checked;           /* whose check's reply comes next */
	size_t n, bytes;
	unsigned tries;
	uint64_t number;                /* of the echo that was ordered last */
	bool was_mute;                  /* when it was */
	int64_t due_ms;                 /* when the echo is too late */
};

static const char check_script[] = REDIS_MARK_SCRIPT
	"local held = redis.pcall('GET', KEYS[2]) "
	"if type(held) ~= 'string' or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end "
	"local was = string.sub(held, #ARGV[1] + 2) "
	"return was == mark(KEYS[1], string.match(was, ':.*:')) and 1 or 0";

static const char unfill_script[] =
	"if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end "
	"return 1";

/* Whoever waits for it does so by the clock. */
static void ignore_result(void *arg, const struct redis_result *r)
{
	(void)arg, (void)r;
}

static void send_word(struct redis_op *op, redis_take_fn take, const char *word)
{
	struct buf *b = &redis_op_begin(op, take)->bytes;
	reply_add_array(b, 1);
	redis_add_word(b, word);
}

static void unwatch(struct redis *r)
{
	send_word(redis_op_new(r, ignore_result, NULL), NULL, "UNWATCH");
}

/* ---- the ends ---- */

static void batch_begin(struct redis *r);

/* Where nothing was stored the lease was not removed either: others need not wait for its end. */
static void fill_finish(struct redis *redis, struct fill *f, const struct redis_result *r)
{
	if (r->status == REDIS_ANSWERED && r->number > 0)
		tracking_publish(redis->tracking, &f->key, 1);
	if (r->status == REDIS_ANSWERED && r->number == 0)
		redis_release(redis, &f->key, f->token, REDIS_LEASE_WON, NULL, 0);
	f->done(f->arg, r);
	value_unref(f->value);
	free((char *)f->key.data);
	free(f);
}

static void finish_all(struct redis *redis, struct fills *fills, const struct redis_result *r)
{
	for (struct fill *f; (f = TAILQ_FIRST(fills)); ) {
		TAILQ_REMOVE(fills, f, link);
		fill_finish(redis, f, r);
	}
}

static void batch_finish(struct batch *b, const struct redis_result *r)
{
	finish_all(b->redis, &b->fills, r);
	free(b);
}

/* It needs the connection no more: the next one does. */
static void batch_leave(struct batch *b)
{
	struct redis *r = b->redis;
	r->filling.batch = NULL;
	batch_begin(r);
}

/* ---- the echo ---- */

static void finish_first_taken(struct redis *r, enum redis_filled how)
{
	struct batch *b = TAILQ_FIRST(&r->filling.taken);
	TAILQ_REMOVE(&r->filling.taken, b, link);
	batch_finish(b, &(struct redis_result){.status = REDIS_ANSWERED, .number = how});
}

void redis_filling_echoed(struct redis *r, uint64_t number)
{
	struct batch *b;
	r->filling.echoed = number;
	while ((b = TAILQ_FIRST(&r->filling.taken)) && b->number <= number)
		finish_first_taken(r, REDIS_FILLED);
}

static void await_first_taken(struct filling *all)
{
	const struct batch *b = TAILQ_FIRST(&all->taken);
	if (!b || evtimer_pending(all->overdue, NULL))
		return;
	clock_arm(all->overdue, b->due_ms > clock_ms() ? b->due_ms - clock_ms() + 1 : 1);
}

static void on_overdue(evutil_socket_t fd, short what, void *arg)
{
	struct redis *r = arg;
	struct batch *b;
	(void)fd, (void)what;
	clock_update();
	while ((b = TAILQ_FIRST(&r->filling.taken)) && b->due_ms <= clock_ms())
		finish_first_taken(r, REDIS_FILLED_UNPROVEN);
	await_first_taken(&r->filling);
}

void redis_filling_broke(struct redis *r)
{
	redis_filling_echoed(r, r->filling.number);
}

static bool has_echoes(const struct redis *r)
{
	enum coherence c = redis_coherence(r);
	return c == COHERENCE_TRACKING || c == COHERENCE_PUBSUB;
}

/* ---- storing ---- */

static void batch_check(struct batch *b);

static void on_stored(void *arg, const struct redis_result *r)
{
	struct batch *b = arg;
	struct filling *all = &b->redis->filling;
	bool is_echo_refused = r->status == REDIS_ERROR && b->number && !b->was_mute && tracking_mute(b->redis->tracking)[0];
	bool is_one_refused = r->status == REDIS_ANSWERED && r->number == 0 && b->n > 1;
	if ((is_echo_refused || is_one_refused) && ++b->tries < TRIES) {
		batch_check(b);
		return;
	}
	bool is_echo_due = r->status == REDIS_ANSWERED && r->number == 1 && b->number > all->echoed;
	if (is_echo_due) {
		b->due_ms = clock_ms() + all->timeout_ms;
		TAILQ_INSERT_TAIL(&all->taken, b, link);
		await_first_taken(all);
	}
	batch_leave(b);
	if (!is_echo_due)
		batch_finish(b, r);
}

/* EXEC's reply: an array, or nil when what was watched has changed. */
static void take_exec(struct redis_op *op, const redisReply *reply)
{
	op->result.number = reply->type == REDIS_REPLY_ARRAY;
}

static void send_del(struct redis_op *op, const struct key *key, bool lease)
{
	struct buf *b = &redis_op_begin(op, NULL)->bytes;
	reply_add_array(b, 2);
	redis_add_word(b, "DEL");
	if (lease)
		redis_add_lease(b, key);
	else
		reply_add_bulk(b, key->data, key->len);
}

/* In place of the lease: what others are told of a key that does not exist. */
static void send_absence(struct redis_op *op, const struct fill *f)
{
	struct buf *b = &redis_op_begin(op, NULL)->bytes;
	struct buf told = BUF_INIT;
	buf_addf(&told, f->ttl_ms ? "!absent" : "?absent %s", f->token);
	reply_add_array(b, 5);
	redis_add_word(b, "SET");
	redis_add_lease(b, &f->key);
	reply_add_bulk(b, told.data, told.len);
	redis_add_word(b, "PX");
	redis_add_number(b, f->ttl_ms ? f->ttl_ms : REDIS_AWAITED_TOLD_MS);
	buf_free(&told);
}

static void batch_store(struct batch *b)
{
	struct redis_op *op = redis_op_new(b->redis, on_stored, b);
	struct filling *all = &b->redis->filling;
	const struct fill *f;
	b->number = 0;
	b->was_mute = tracking_mute(b->redis->tracking)[0];
	send_word(op, NULL, "MULTI");
	TAILQ_FOREACH(f, &b->fills, link) {
		if (f->value)
			redis_op_send_set(op, NULL, &f->key, f->value, &(struct redis_set){.ttl_ms = f->ttl_ms});
		else
			send_del(op, &f->key, false);
		if (f->value)
			send_del(op, &f->key, true);
		else
			send_absence(op, f);
	}
	if (has_echoes(b->redis)) {
		b->number = ++all->number;
		tracking_send_echo(b->redis->tracking, b->number);
	}
	send_word(op, take_exec, "EXEC");
}

/* ---- checking ---- */

static void take_out_refused(struct batch *b, struct fills *refused)
{
	for (struct fill *f = TAILQ_FIRST(&b->fills), *next; f; f = next) {
		next = TAILQ_NEXT(f, link);
		if (!f->is_refused)
			continue;
		TAILQ_REMOVE(&b->fills, f, link);
		TAILQ_INSERT_TAIL(refused, f, link);
		b->n--;
	}
}

static void on_checked(void *arg, const struct redis_result *r)
{
	struct batch *b = arg;
	struct redis *redis = b->redis;
	struct fills refused = TAILQ_HEAD_INITIALIZER(refused);
	take_out_refused(b, &refused);
	if (r->status == REDIS_ANSWERED && b->n > 0) {
		batch_store(b);
	} else {
		unwatch(redis);
		batch_leave(b);
		batch_finish(b, r);
	}
	/* After the EXEC: to give their leases back is a change of what is watched. */
	finish_all(redis, &refused, &(struct redis_result){.status = REDIS_ANSWERED});
}

static void take_check(struct redis_op *op, const redisReply *reply)
{
	struct batch *b = op->arg;
	b->checked->is_refused = reply->integer != 1;
	b->checked = TAILQ_NEXT(b->checked, link);
}

static void batch_check(struct batch *b)
{
	struct redis_op *op = redis_op_new(b->redis, on_checked, b);
	struct buf *watch = &redis_op_begin(op, NULL)->bytes;
	const struct fill *f;
	b->checked = TAILQ_FIRST(&b->fills);
	reply_add_array(watch, 1 + 2 * b->n);
	redis_add_word(watch, "WATCH");
	TAILQ_FOREACH(f, &b->fills, link) {
		reply_add_bulk(watch, f->key.data, f->key.len);
		redis_add_lease(watch, &f->key);
	}
	TAILQ_FOREACH(f, &b->fills, link) {
		struct buf *check = &redis_op_begin(op, take_check)->bytes;
		redis_begin_script(check, check_script, &f->key, &f->key, 1);
		redis_add_word(check, f->token);
	}
}

/* ---- batches ---- */

static void batch_begin(struct redis *r)
{
	struct filling *all = &r->filling;
	struct fill *f = TAILQ_FIRST(&all->waiting);
	if (all->batch || !f)
		return;
	struct batch *b = xcalloc(1, sizeof(*b));
	b->redis = r;
	TAILQ_INIT(&b->fills);
	for (; f && b->n < BATCH_MAX && b->bytes < BATCH_BYTES; f = TAILQ_FIRST(&all->waiting)) {
		TAILQ_REMOVE(&all->waiting, f, link);
		TAILQ_INSERT_TAIL(&b->fills, f, link);
		b->n++;
		b->bytes += f->value ? f->value->len : 0;
	}
	all->batch = b;
	batch_check(b);
}

void redis_filling_init(struct redis *r, struct event_base *base, int64_t timeout_ms)
{
	struct filling *all = &r->filling;
	TAILQ_INIT(&all->waiting);
	TAILQ_INIT(&all->taken);
	all->timeout_ms = timeout_ms;
	all->overdue = evtimer_new(base, on_overdue, r);
}

void redis_filling_free(struct redis *r)
{
	event_free(r->filling.overdue);
}

void redis_fill(struct redis *r, const struct key *key, const char *token, struct value *value, int64_t ttl_ms,
	redis_done_fn done, void *arg)
{
	struct fill *f = xcalloc(1, sizeof(*f));
	*f = (struct fill){.key = key_dup(key), .value = value ? value_ref(value) : NULL, .ttl_ms = ttl_ms, .done = done, .arg = arg};
	memcpy(f->token, token, sizeof(f->token));
	TAILQ_INSERT_TAIL(&r->filling.waiting, f, link);
	batch_begin(r);
}

void redis_unfill(struct redis *r, const struct key *key, struct value *value)
{
	struct out *o = redis_op_begin(redis_op_new(r, ignore_result, NULL), NULL);
	redis_begin_script(&o->bytes, unfill_script, key, key, 1);
	out_add_value(o, value);
}
