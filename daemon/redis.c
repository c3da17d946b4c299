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
#include "redis_link.h"
#include "value.h"

#define SCAN_COUNT "1000"

struct redis {
	struct redis_link *link;
	struct redis_stats stats;
};

struct operation;
typedef void (*take_fn)(struct operation *op, const redisReply *reply);

struct operation {
	struct redis *redis;
	take_fn takes[2];               /* how to read the replies, in order */
	unsigned n_replies, taken;
	int64_t sent_ms;
	redis_done_fn done;
	void *arg;
	struct redis_result result;
	char *error;                    /* what result.error points at */
};

static void on_state(void *arg, bool up)
{
	(void)arg, (void)up;
}

struct redis *redis_new(struct event_base *base, const struct conf_redis *conf)
{
	struct redis *r = xcalloc(1, sizeof(*r));
	r->link = redis_link_new(base, conf, on_state, r);
	return r;
}

void redis_free(struct redis *r)
{
	if (!r)
		return;
	redis_link_free(r->link);
	free(r);
}

bool redis_up(const struct redis *r)
{
	return redis_link_up(r->link);
}

const char *redis_reason(const struct redis *r)
{
	return redis_link_reason(r->link);
}

/* ---- operations ---- */

static struct operation *operation_new(struct redis *r, redis_done_fn done, void *arg)
{
	struct operation *op = xcalloc(1, sizeof(*op));
	op->redis = r;
	op->sent_ms = clock_ms();
	op->done = done;
	op->arg = arg;
	return op;
}

/* The first trouble is the one that is told. */
static void fail(struct operation *op, enum redis_status status, const char *error)
{
	if (op->error)
		return;
	op->result.status = status;
	op->error = xstrdup(error);
	op->result.error = op->error;
}

static void on_reply(void *arg, const redisReply *reply, const char *reason)
{
	struct operation *op = arg;
	take_fn take = op->takes[op->taken++];
	if (!reply) {
		fail(op, REDIS_DOWN, reason);
	} else if (reply->type == REDIS_REPLY_ERROR) {
		bool wrong_type = strncmp(reply->str, "WRONGTYPE", 9) == 0;
		op->redis->stats.errors += !wrong_type;
		fail(op, wrong_type ? REDIS_WRONGTYPE : REDIS_ERROR, reply->str);
	} else {
		take(op, reply);
	}
	if (op->taken < op->n_replies)
		return;
	op->done(op->arg, &op->result);
	value_unref(op->result.value);
	free(op->error);
	free(op);
}

/* Sends the command in b; its reply goes to take. */
static void send_command(struct operation *op, take_fn take, struct buf *b)
{
	struct iovec piece = {.iov_base = b->data, .iov_len = b->len};
	op->takes[op->n_replies++] = take;
	redis_link_send(op->redis->link, &piece, 1, on_reply, op);
	buf_free(b);
}

static void add_word(struct buf *b, const char *word)
{
	reply_add_bulk_str(b, word);
}

static void add_number(struct buf *b, int64_t n)
{
	char digits[24];
	reply_add_bulk(b, digits, (size_t)snprintf(digits, sizeof(digits), "%lld", (long long)n));
}

static void send_key_command(struct operation *op, take_fn take, const char *word, const struct key *key)
{
	struct buf b = BUF_INIT;
	reply_add_array(&b, 2);
	add_word(&b, word);
	reply_add_bulk(&b, key->data, key->len);
	send_command(op, take, &b);
}

/* ---- reading ---- */

static void take_value(struct operation *op, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_NIL) {
		op->result.status = REDIS_NIL;
		return;
	}
	op->result.value = redis_link_value(reply);
	if (!op->result.value)
		fail(op, REDIS_ERROR, "out of memory for the value");
}

/* What is left counts from when Redis looked, which was after the command was sent:
 * counted from there a value never outlives its key. -2: the key is gone. */
static void take_ttl(struct operation *op, const redisReply *reply)
{
	int64_t left_ms = reply->integer;
	if (left_ms >= 0)
		left_ms -= clock_ms() - op->sent_ms;
	op->result.ttl_ms = reply->integer == -1 ? -1 : left_ms;
	if (reply->integer != -1 && left_ms <= 0 && op->result.status == REDIS_OK)
		op->result.status = REDIS_NIL;
}

static void take_number(struct operation *op, const redisReply *reply)
{
	op->result.number = reply->integer;
}

void redis_read(struct redis *r, const struct key *key, redis_done_fn done, void *arg)
{
	struct operation *op = operation_new(r, done, arg);
	send_key_command(op, take_value, "GET", key);
	send_key_command(op, take_ttl, "PTTL", key);
}

void redis_probe(struct redis *r, const struct key *key, redis_done_fn done, void *arg)
{
	struct operation *op = operation_new(r, done, arg);
	send_key_command(op, take_ttl, "PTTL", key);
	send_key_command(op, take_number, "STRLEN", key);
}

/* ---- writing ---- */

static void take_written(struct operation *op, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_NIL)
		op->result.status = REDIS_NIL;
}

/* SET key value [PX ms] [NX|XX]: the value goes between what is formatted before
 * and behind it, so that a large one is not copied here. */
void redis_write(struct redis *r, const struct key *key, struct value *value, int64_t ttl_ms,
	enum redis_condition condition, redis_done_fn done, void *arg)
{
	struct operation *op = operation_new(r, done, arg);
	struct buf before = BUF_INIT, behind = BUF_INIT;
	char header[REPLY_HEADER_MAX];

	reply_add_array(&before, 3 + (ttl_ms ? 2 : 0) + (condition == REDIS_ALWAYS ? 0 : 1));
	add_word(&before, "SET");
	reply_add_bulk(&before, key->data, key->len);
	buf_add(&before, header, reply_header(header, '$', (int64_t)value->len));
	buf_add_str(&behind, "\r\n");
	if (ttl_ms) {
		add_word(&behind, "PX");
		add_number(&behind, ttl_ms);
	}
	if (condition != REDIS_ALWAYS)
		add_word(&behind, condition == REDIS_IF_ABSENT ? "NX" : "XX");

	struct iovec pieces[] = {
		{.iov_base = before.data, .iov_len = before.len},
		{.iov_base = value->data, .iov_len = value->len},
		{.iov_base = behind.data, .iov_len = behind.len},
	};
	op->takes[op->n_replies++] = take_written;
	redis_link_send(r->link, pieces, 3, on_reply, op);
	buf_free(&before);
	buf_free(&behind);
}

void redis_delete(struct redis *r, const struct key *keys, size_t n, redis_done_fn done, void *arg)
{
	struct operation *op = operation_new(r, done, arg);
	struct buf b = BUF_INIT;
	reply_add_array(&b, n + 1);
	add_word(&b, "DEL");
	for (size_t i = 0; i < n; i++)
		reply_add_bulk(&b, keys[i].data, keys[i].len);
	send_command(op, take_number, &b);
}

void redis_expire(struct redis *r, const struct key *key, int64_t ttl_ms, redis_done_fn done, void *arg)
{
	struct operation *op = operation_new(r, done, arg);
	struct buf b = BUF_INIT;
	reply_add_array(&b, 3);
	add_word(&b, "PEXPIRE");
	reply_add_bulk(&b, key->data, key->len);
	add_number(&b, ttl_ms);
	send_command(op, take_number, &b);
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
	struct buf b = BUF_INIT;
	reply_add_array(&b, 6);
	add_word(&b, "SCAN");
	add_word(&b, cursor);
	add_word(&b, "MATCH");
	add_word(&b, s->pattern);
	add_word(&b, "COUNT");
	add_word(&b, SCAN_COUNT);
	struct iovec piece = {.iov_base = b.data, .iov_len = b.len};
	redis_link_send(s->redis->link, &piece, 1, scan_on_reply, s);
	buf_free(&b);
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
		scan_finish(s, REDIS_OK, NULL);
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

const struct redis_stats *redis_stats(struct redis *r)
{
	const struct redis_link_stats *link = redis_link_stats(r->link);
	r->stats = (struct redis_stats){.commands = link->commands, .errors = r->stats.errors,
		.timeouts = link->timeouts, .connects = link->connects, .drops = link->drops, .pending = link->pending};
	return &r->stats;
}
