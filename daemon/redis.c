/* The Redis tier's commands; see redis.h. Each is an operation: the replies it
 * still waits for, and how to read each of them into the result. */
#include "redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "../proto/reply.h"
#include "clock.h"
#include "out.h"
#include "redis_op.h"
#include "redis_reply.h"
#include "value.h"

#define SCAN_COUNT "1000"

/* ---- making and unmaking ---- */

/* Redis is tried by the link of our commands alone: the others follow it. */
static void on_state(void *arg, bool up)
{
	struct redis *r = arg;
	if (up)
		r->watch.on_up(r->watch.arg);
	tracking_on_data(r->tracking, up);
	for (int i = 0; i < REDIS_RELAYS && r->relays[i]; i++)
		redis_link_hold(r->relays[i], !up);
}

static void on_change(void *arg, const struct key *key)
{
	struct redis *r = arg;
	r->watch.on_change(r->watch.arg, key);
}

static void on_flush(void *arg)
{
	struct redis *r = arg;
	r->watch.on_flush(r->watch.arg);
}

static void on_coherence(void *arg, enum coherence now)
{
	struct redis *r = arg;
	r->watch.on_coherence(r->watch.arg, now);
	redis_filling_broke(r);
}

static void on_echo(void *arg, uint64_t number)
{
	redis_filling_echoed(arg, number);
}

static void on_relay_state(void *arg, bool up)
{
	struct redis *r = arg;
	if (!up)
		tracking_doubt(r->tracking);
}

struct redis *redis_new(struct event_base *base, const struct conf_redis *conf, const struct redis_watch *watch)
{
	struct redis *r = xcalloc(1, sizeof(*r));
	r->base = base;
	r->watch = *watch;
	TAILQ_INIT(&r->transactions);
	r->passes = conf->pass_through;
	redis_filling_init(r, base, conf->timeout_ms);
	r->link = redis_link_new(base, &(struct redis_link_options){.conf = conf, .name = "catcached",
		.on_state = on_state, .latency = &r->latency, .arg = r});
	for (int i = 0; i < REDIS_RELAYS; i++)
		r->relays[i] = redis_link_new(base, &(struct redis_link_options){.conf = conf, .name = "catcached-pass",
			.on_state = on_relay_state, .relay_resp = 2 + i / REDIS_RELAYS_OF_VERSION, .is_held = true,
			.latency = &r->latency, .arg = r});
	r->tracking = tracking_new(&(struct tracking_options){.base = base, .conf = conf, .data = r->link,
		.prefixes = watch->prefixes, .n_prefixes = watch->n_prefixes, .on_change = on_change,
		.on_flush = on_flush, .on_coherence = on_coherence, .on_echo = on_echo, .arg = r});
	return r;
}

void redis_free(struct redis *r)
{
	if (!r)
		return;
	redis_transactions_finish(r); /* while there are links for what follows from them */
	redis_link_free(r->link);
	for (int i = 0; i < REDIS_RELAYS; i++)
		redis_link_free(r->relays[i]);
	redis_transactions_finish(r);
	tracking_free(r->tracking);
	redis_filling_free(r);
	free(r);
}

bool redis_up(const struct redis *r)
{
	return redis_link_up(r->link);
}

const char *redis_breaker(const struct redis *r)
{
	return redis_link_up(r->link) ? "closed" : redis_link_is_trying(r->link) ? "half_open" : "open";
}

/* The relays are let go when the link comes up. */
bool redis_is_coming(const struct redis *r)
{
	bool is_trying = redis_link_is_trying(r->link);
	for (int i = 0; i < REDIS_RELAYS; i++)
		is_trying |= redis_link_is_trying(r->relays[i]);
	return is_trying;
}

const char *redis_reason(const struct redis *r)
{
	return redis_link_reason(r->link);
}

enum coherence redis_coherence(const struct redis *r)
{
	return tracking_coherence(r->tracking);
}

const struct tracking_stats *redis_tracking(const struct redis *r)
{
	return tracking_stats(r->tracking);
}

const struct histogram *redis_latency(const struct redis *r)
{
	return &r->latency;
}

const char *redis_refusal(const struct redis *r)
{
	return tracking_refusal(r->tracking);
}

const char *redis_mute(const struct redis *r)
{
	return tracking_mute(r->tracking);
}

void redis_note_refusal(struct redis *r, const char *error)
{
	tracking_note_refusal(r->tracking, error);
}

const char *redis_unwritable(const struct redis *r)
{
	return tracking_unwritable(r->tracking);
}

static void send_key_command(struct redis_op *op, redis_take_fn take, const char *word, const struct key *key)
{
	struct buf *b = &redis_op_begin(op, take)->bytes;
	reply_add_array(b, 2);
	redis_add_word(b, word);
	reply_add_bulk(b, key->data, key->len);
}

/* ---- reading ---- */

static void take_value(struct redis_op *op, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_NIL) {
		op->result.status = REDIS_NIL;
		return;
	}
	op->result.value = redis_reply_value(reply);
	if (!op->result.value)
		redis_op_fail(op, REDIS_ERROR, "out of memory for the value");
}

/* What is left counts from when Redis looked, which was after the command was sent:
 * counted from there a value never outlives its key. -2: the key is gone. */
static void take_ttl(struct redis_op *op, const redisReply *reply)
{
	int64_t left_ms = reply->integer;
	if (left_ms >= 0)
		left_ms -= clock_ms() - op->sent_ms;
	op->result.ttl_ms = reply->integer == -1 ? -1 : left_ms;
	if (reply->integer != -1 && left_ms <= 0 && op->result.status == REDIS_ANSWERED)
		op->result.status = REDIS_NIL;
}

static void take_number(struct redis_op *op, const redisReply *reply)
{
	op->result.number = reply->integer;
}

void redis_read(struct redis *r, const struct key *key, redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	send_key_command(op, take_value, "GET", key);
	send_key_command(op, take_ttl, "PTTL", key);
}

void redis_read_value(struct redis *r, const struct key *key, redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	op->result.ttl_ms = -1;
	send_key_command(op, take_value, "GET", key);
}

void redis_probe(struct redis *r, const struct key *key, redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	send_key_command(op, take_ttl, "PTTL", key);
	send_key_command(op, take_number, "STRLEN", key);
}

/* ---- writing ---- */

/* Whatever writes, deletes or expires keys ends here. */
static void tell_changed(struct redis *r, const struct key *keys, size_t n)
{
	tracking_publish(r->tracking, keys, n);
	if (r->watch.on_own_change)
		r->watch.on_own_change(r->watch.arg, keys, n);
}

static void take_written(struct redis_op *op, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_NIL)
		op->result.status = REDIS_NIL;
}

/* The words behind SET key value. */
static size_t add_set_options(struct buf *b, const struct redis_set *how)
{
	size_t n = 0;
	if (how->ends_at_ms || how->ttl_ms) {
		redis_add_word(b, how->ends_at_ms ? "PXAT" : "PX");
		redis_add_number(b, how->ends_at_ms ? how->ends_at_ms : how->ttl_ms);
		n += 2;
	} else if (how->keeps_ttl) {
		redis_add_word(b, "KEEPTTL");
		n++;
	}
	if (how->condition != REDIS_ALWAYS) {
		redis_add_word(b, how->condition == REDIS_IF_ABSENT ? "NX" : "XX");
		n++;
	}
	if (how->wants_old) {
		redis_add_word(b, "GET");
		n++;
	}
	return n;
}

/* A large value goes by reference. */
void redis_op_send_set(struct redis_op *op, redis_take_fn take, const struct key *key, struct value *value,
	const struct redis_set *how)
{
	struct out *o = redis_op_begin(op, take);
	struct buf options = BUF_INIT;
	reply_add_array(&o->bytes, 3 + add_set_options(&options, how));
	redis_add_word(&o->bytes, "SET");
	reply_add_bulk(&o->bytes, key->data, key->len);
	out_add_value(o, value);
	buf_add(&o->bytes, options.data, options.len);
	buf_free(&options);
}

/* A command on one key: its name, and the words behind the key. */
struct words {
	const char *name;
	size_t n;
	struct buf rest;
};

/* The command, unless what is there is stale: then that is removed first, or (ARGV[3]) the
 * reply is that of a key that is not there. */
static const char window_script[] =
	"local left = redis.call('PTTL', KEYS[1]) "
	"if left >= tonumber(ARGV[1]) and left < tonumber(ARGV[2]) then "
	"if ARGV[3] == 'number' then return 0 end "
	"if ARGV[3] == 'nil' then return false end "
	"redis.call('DEL', KEYS[1]) end "
	"return redis.pcall(ARGV[4], KEYS[1], unpack(ARGV, 5))";

/* Sends the command as it is, or with a window. Frees w->rest. */
static void send_words(struct redis_op *op, redis_take_fn take, const struct key *key, struct words *w,
	const struct redis_window *stale, const char *absent)
{
	struct buf *b = &redis_op_begin(op, take)->bytes;
	reply_add_array(b, w->n + (stale->below_ms ? 8 : 2));
	if (stale->below_ms) {
		redis_add_word(b, "EVAL");
		redis_add_word(b, window_script);
		redis_add_word(b, "1");
		reply_add_bulk(b, key->data, key->len);
		redis_add_number(b, stale->from_ms);
		redis_add_number(b, stale->below_ms);
		redis_add_word(b, absent);
	}
	redis_add_word(b, w->name);
	if (!stale->below_ms)
		reply_add_bulk(b, key->data, key->len);
	buf_add(b, w->rest.data, w->rest.len);
	buf_free(&w->rest);
}

/* A stale value is as good as none, but for a write that is to happen only if there is one. */
static void send_windowed_set(struct redis_op *op, const struct key *key, struct value *value, const struct redis_set *how)
{
	struct words w = {.name = "SET", .rest = BUF_INIT};
	reply_add_bulk(&w.rest, value->data, value->len);
	w.n = 1 + add_set_options(&w.rest, how);
	send_words(op, how->wants_old ? take_value : take_written, key, &w, &how->stale,
		how->condition == REDIS_IF_PRESENT ? "nil" : "");
}

static bool depends_on_what_is_there(const struct redis_set *how)
{
	return how->condition != REDIS_ALWAYS || how->wants_old || how->keeps_ttl;
}

void redis_write_as(struct redis *r, const struct key *key, struct value *value, const struct redis_set *how,
	redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	if (how->stale.below_ms && depends_on_what_is_there(how))
		send_windowed_set(op, key, value, how);
	else
		redis_op_send_set(op, how->wants_old ? take_value : take_written, key, value, how);
	tell_changed(r, key, 1);
}

void redis_write(struct redis *r, const struct key *key, struct value *value, int64_t ttl_ms,
	enum redis_condition condition, redis_done_fn done, void *arg)
{
	redis_write_as(r, key, value, &(struct redis_set){.ttl_ms = ttl_ms, .condition = condition}, done, arg);
}

/* DEL of the keys, or UNLINK of their leases (so that DEL counts the keys alone, also in
 * Redis's statistics). */
static void send_delete(struct redis_op *op, redis_take_fn take, const struct key *keys, size_t n, bool leases)
{
	struct buf *b = &redis_op_begin(op, take)->bytes;
	reply_add_array(b, n + 1);
	redis_add_word(b, leases ? "UNLINK" : "DEL");
	for (size_t i = 0; i < n; i++)
		if (leases)
			redis_add_lease(b, &keys[i]);
		else
			reply_add_bulk(b, keys[i].data, keys[i].len);
}

void redis_delete(struct redis *r, const struct key *keys, size_t n, redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	send_delete(op, NULL, keys, n, true);
	send_delete(op, take_number, keys, n, false);
	tell_changed(r, keys, n);
}

void redis_exists(struct redis *r, const struct key *key, redis_done_fn done, void *arg)
{
	send_key_command(redis_op_new(r, done, arg), take_number, "EXISTS", key);
}

static void add_time(struct words *w, const struct redis_edit *how)
{
	redis_add_number(&w->rest, how->ends_at_ms ? how->ends_at_ms : how->ttl_ms);
	w->n++;
}

static void add_option(struct words *w, const char *word)
{
	redis_add_word(&w->rest, word);
	w->n++;
}

/* GETEX key PX ms | PXAT ms | PERSIST, GETDEL key. */
static void set_reading_words(struct words *w, const struct redis_edit *how)
{
	w->name = how->what == REDIS_EDIT_DELETE ? "GETDEL" : "GETEX";
	if (how->what == REDIS_EDIT_PERSIST)
		add_option(w, "PERSIST");
	if (how->what != REDIS_EDIT_TTL)
		return;
	add_option(w, how->ends_at_ms ? "PXAT" : "PX");
	add_time(w, how);
}

/* PERSIST key, PEXPIRE key ms [condition], PEXPIREAT key ms [condition]. */
static void set_words(struct words *w, const struct redis_edit *how)
{
	w->name = how->what == REDIS_EDIT_PERSIST ? "PERSIST" : how->ends_at_ms ? "PEXPIREAT" : "PEXPIRE";
	if (how->what == REDIS_EDIT_PERSIST)
		return;
	add_time(w, how);
	const char *condition = how->condition, *second = condition ? strchr(condition, ' ') : NULL;
	if (second) {
		reply_add_bulk(&w->rest, condition, (size_t)(second - condition));
		w->n++;
		condition = second + 1;
	}
	if (condition)
		add_option(w, condition);
}

void redis_edit(struct redis *r, const struct key *key, const struct redis_edit *how, redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	struct words w = {.rest = BUF_INIT};
	if (how->what == REDIS_EDIT_DELETE)
		send_delete(op, NULL, key, 1, true);
	if (how->wants_value)
		set_reading_words(&w, how);
	else
		set_words(&w, how);
	send_words(op, how->wants_value ? take_value : take_number, key, &w, &how->stale, how->wants_value ? "nil" : "number");
	tell_changed(r, key, 1);
}

/* ---- passing on ---- */

struct redis_link *redis_relay_of(const struct redis *r, struct redis_route route)
{
	return r->relays[(route.resp == 3) * REDIS_RELAYS_OF_VERSION + route.client % REDIS_RELAYS_OF_VERSION];
}

bool redis_passes(const struct redis *r)
{
	return r->passes;
}

void redis_pass(struct redis *r, struct redis_route route, const char *bytes, size_t len, redis_bytes_fn done, void *arg)
{
	struct out *o = r->open ? redis_transaction_relay(r->open, done, arg) : redis_link_begin_relay(redis_relay_of(r, route), 1, done, arg);
	buf_add(&o->bytes, bytes, len);
}

/* ---- scanning ---- */

struct scan {
	struct redis *redis;
	char *pattern;
	redis_each_fn each;
	redis_done_fn done;
	void *arg;
};

/* prefix* with what SCAN's MATCH would take for a wildcard escaped. */
static char *scan_pattern(const char *prefix, size_t len)
{
	struct buf b = BUF_INIT;
	for (size_t i = 0; i < len; i++) {
		if (strchr("*?[]\\^", prefix[i]))
			buf_add_char(&b, '\\');
		buf_add_char(&b, prefix[i]);
	}
	buf_add(&b, "*", 2);
	return b.data;
}

static void scan_on_reply(void *arg, const redisReply *reply, const char *reason);

static void scan_step(struct scan *s, const char *cursor)
{
	struct buf *b = &redis_link_begin(s->redis->link, scan_on_reply, s)->bytes;
	reply_add_array(b, 6);
	redis_add_word(b, "SCAN");
	redis_add_word(b, cursor);
	redis_add_word(b, "MATCH");
	redis_add_word(b, s->pattern);
	redis_add_word(b, "COUNT");
	redis_add_word(b, SCAN_COUNT);
}

static void scan_finish(struct scan *s, enum redis_status status, const char *error)
{
	s->done(s->arg, &(struct redis_result){.status = status, .error = error});
	free(s->pattern);
	free(s);
}

static void scan_on_reply(void *arg, const redisReply *reply, const char *reason)
{
	struct scan *s = arg;
	if (!reply || reply->type == REDIS_REPLY_ERROR) {
		scan_finish(s, reply ? REDIS_ERROR : REDIS_DOWN, reply ? reply->str : reason);
		return;
	}
	const redisReply *found = reply->element[1];
	struct key *keys = xcalloc(found->elements, sizeof(*keys));
	for (size_t i = 0; i < found->elements; i++)
		keys[i] = key_of(found->element[i]->str, (size_t)found->element[i]->len);
	if (found->elements)
		s->each(s->arg, keys, found->elements);
	free(keys);
	if (strcmp(reply->element[0]->str, "0") == 0)
		scan_finish(s, REDIS_ANSWERED, NULL);
	else
		scan_step(s, reply->element[0]->str);
}

void redis_scan(struct redis *r, const char *prefix, size_t prefix_len, redis_each_fn each,
	redis_done_fn done, void *arg)
{
	struct scan *s = xmalloc(sizeof(*s));
	*s = (struct scan){.redis = r, .pattern = scan_pattern(prefix, prefix_len), .each = each, .done = done, .arg = arg};
	scan_step(s, "0");
}

size_t redis_pending(const struct redis *r)
{
	size_t n = redis_link_stats(r->link)->pending;
	for (int i = 0; i < REDIS_RELAYS; i++)
		n += redis_link_stats(r->relays[i])->pending;
	return n;
}

bool redis_owes(const struct redis *r)
{
	const struct filling *f = &r->filling;
	return redis_pending(r) || f->batch || !TAILQ_EMPTY(&f->waiting) || !TAILQ_EMPTY(&f->taken) || !TAILQ_EMPTY(&r->transactions);
}

static void add_stats(struct redis_stats *sum, const struct redis_link *link)
{
	const struct redis_link_stats *s = redis_link_stats(link);
	sum->commands += s->commands;
	sum->pending += redis_link_up(link) ? s->pending : 0;
}

const struct redis_stats *redis_stats(struct redis *r)
{
	r->stats = (struct redis_stats){.errors = r->stats.errors};
	add_stats(&r->stats, r->link);
	for (int i = 0; i < REDIS_RELAYS; i++)
		add_stats(&r->stats, r->relays[i]);
	r->stats.timeouts = redis_link_stats(r->link)->timeouts;
	r->stats.connects = redis_link_stats(r->link)->connects;
	r->stats.drops = redis_link_stats(r->link)->drops;
	return &r->stats;
}
