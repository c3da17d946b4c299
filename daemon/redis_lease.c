/* Leases: one fetch for the fleet, and fills that never cover something newer; see
 * redis.h. (After "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1; the value
 * of a lease is checked by Redis itself, since clients here write plain keys.)
 *
 *   catcached:lease:{key} = "<token> <mark>"     somebody fetches; mark: what the key looked like then
 *                         = "!absent", "!failed reason"    what the last fetch came to, for a time
 *                         = "?absent <token>"              the same, only for those who waited for token
 *
 * A DEL through any sidecar removes the lease with the key, so a fetch that began before
 * it cannot be stored. A change by anyone else shows in the mark: the key's time of
 * expiry (Redis 7; before that only its length) and its length.
 *
 * A fill is WATCH key lease, a check of both, and MULTI SET DEL EXEC: plain commands of the
 * connection that tracks, whose own writes do not come back to it, while the writes of a
 * script do. EXEC clears every WATCH of a connection, so fills go one by one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "../proto/reply.h"
#include "redis_op.h"
#include "value.h"

#define AWAITED_TOLD_MS 1000    /* long enough for those who waited to ask */
#define LEASE_PREFIX CONF_OWN_PREFIX "lease:{"

#define MARK \
	"local function mark(k) " \
	"if redis.call('EXISTS', k) == 0 then return '-' end " \
	"local len = redis.pcall('STRLEN', k) " \
	"local ends = redis.pcall('PEXPIRETIME', k) " \
	"if type(len) == 'table' then len = 'other' end " \
	"if type(ends) == 'table' then ends = 'unknown' end " \
	"return ends .. ':' .. len end "

static const char acquire_script[] = MARK
	"local held = redis.call('GET', KEYS[2]) "
	"local kind = held and string.sub(held, 1, 1) "
	"if kind == '!' and ARGV[3] == 'always' then held = false end "
	"if kind == '?' and held ~= '?absent ' .. ARGV[4] then held = false end "
	"if held then return {held, redis.call('PTTL', KEYS[2])} end "
	"if ARGV[3] == 'absent' and redis.call('EXISTS', KEYS[1]) == 1 then return {'present', 0} end "
	"redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. mark(KEYS[1]), 'PX', ARGV[2]) "
	"return {'won', 0}";

static const char check_script[] = MARK
	"return redis.call('GET', KEYS[2]) == ARGV[1] .. ' ' .. mark(KEYS[1]) and 1 or 0";

static const char mark_script[] = MARK "return mark(KEYS[1])";

static const char unfill_script[] = MARK
	"if mark(KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end "
	"return 1";

static const char renew_script[] =
	"local held = redis.call('GET', KEYS[1]) "
	"if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end "
	"return 1";

static const char release_script[] =
	"local held = redis.call('GET', KEYS[1]) "
	"if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end "
	"if ARGV[2] == '' then redis.call('DEL', KEYS[1]) "
	"else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end "
	"return 1";

static void add_lease(struct buf *b, const struct key *key)
{
	struct buf name = BUF_INIT;
	buf_add_str(&name, LEASE_PREFIX);
	buf_add(&name, key->data, key->len);
	buf_add_char(&name, '}');
	reply_add_bulk(b, name.data, name.len);
	buf_free(&name);
}

bool redis_lease_of(const struct key *lease, struct key *key)
{
	size_t prefix = strlen(LEASE_PREFIX);
	if (lease->len < prefix + 2 || memcmp(lease->data, LEASE_PREFIX, prefix) != 0)
		return false;
	*key = key_of(lease->data + prefix, lease->len - prefix - 1);
	return true;
}

void redis_add_leases(struct buf *b, const struct key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_lease(b, &keys[i]);
}

/* EVAL script, with key (unless NULL) and its lease as KEYS, and room for n_args ARGV behind. */
static void begin_script(struct buf *b, const char *script, const struct key *key, const struct key *lease_of, size_t n_args)
{
	reply_add_array(b, 3 + (key ? 2 : 1) + n_args);
	redis_add_word(b, "EVAL");
	redis_add_word(b, script);
	redis_add_number(b, key ? 2 : 1);
	if (key)
		reply_add_bulk(b, key->data, key->len);
	add_lease(b, lease_of);
}

/* ---- the lease ---- */

static const char *const claims[] = {
	[REDIS_CLAIM_ABSENT] = "absent", [REDIS_CLAIM_REFRESH] = "refresh", [REDIS_CLAIM_ALWAYS] = "always",
};

static void take_lease(struct redis_op *op, const redisReply *reply)
{
	const char *word = reply->element[0]->str;
	struct redis_result *r = &op->result;
	r->ttl_ms = reply->element[1]->integer;
	if (strcmp(word, "won") == 0) {
		r->number = REDIS_LEASE_WON;
	} else if (strcmp(word, "present") == 0) {
		r->number = REDIS_LEASE_PRESENT;
	} else if (strcmp(word, "!absent") == 0 || word[0] == '?') {
		r->number = REDIS_LEASE_ABSENT;
	} else if (strncmp(word, "!failed ", 8) == 0) {
		r->number = REDIS_LEASE_FAILED;
		op->error = xstrdup(word + 8);
		r->error = op->error;
	} else {
		r->number = REDIS_LEASE_HELD;
		snprintf(r->holder, sizeof(r->holder), "%s", word);
	}
}

void redis_acquire(struct redis *r, const struct key *key, const struct redis_bid *bid, redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	struct buf b = BUF_INIT;
	begin_script(&b, acquire_script, key, key, 4);
	redis_add_word(&b, bid->token);
	redis_add_number(&b, bid->lease_ms);
	redis_add_word(&b, claims[bid->claim]);
	redis_add_word(&b, bid->awaited);
	redis_op_send(op, take_lease, &b);
}

static void take_told(struct redis_op *op, const redisReply *reply)
{
	op->result.number = reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "!absent") == 0;
}

void redis_told_absent(struct redis *r, const struct key *key, redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	struct buf b = BUF_INIT;
	reply_add_array(&b, 2);
	redis_add_word(&b, "GET");
	add_lease(&b, key);
	redis_op_send(op, take_told, &b);
}

/* A lease that cannot be renewed or given back runs out by itself. */
static void ignore_result(void *arg, const struct redis_result *r)
{
	(void)arg, (void)r;
}

void redis_renew(struct redis *r, const struct key *key, const char *token, int64_t lease_ms)
{
	struct redis_op *op = redis_op_new(r, ignore_result, NULL);
	struct buf b = BUF_INIT;
	begin_script(&b, renew_script, NULL, key, 2);
	redis_add_word(&b, token);
	redis_add_number(&b, lease_ms);
	redis_op_send(op, NULL, &b);
}

void redis_release(struct redis *r, const struct key *key, const char *token, enum redis_lease outcome,
	const char *error, int64_t tell_ms)
{
	struct redis_op *op = redis_op_new(r, ignore_result, NULL);
	struct buf b = BUF_INIT, told = BUF_INIT;
	if (outcome == REDIS_LEASE_ABSENT && tell_ms > 0)
		buf_add_str(&told, "!absent");
	else if (outcome == REDIS_LEASE_ABSENT)
		buf_addf(&told, "?absent %s", token);
	else if (outcome == REDIS_LEASE_FAILED && tell_ms > 0)
		buf_addf(&told, "!failed %s", error);
	begin_script(&b, release_script, NULL, key, 3);
	redis_add_word(&b, token);
	reply_add_bulk(&b, told.data, told.len);
	redis_add_number(&b, tell_ms > 0 ? tell_ms : AWAITED_TOLD_MS);
	redis_op_send(op, NULL, &b);
	buf_free(&told);
}

void redis_unfill(struct redis *r, const struct key *key, const char *mark)
{
	struct redis_op *op = redis_op_new(r, ignore_result, NULL);
	struct buf b = BUF_INIT;
	begin_script(&b, unfill_script, key, key, 1);
	redis_add_word(&b, mark);
	redis_op_send(op, NULL, &b);
}

/* ---- the fill ---- */

struct fill {
	struct fill *next;
	struct redis *redis;
	struct key key;                 /* owned */
	struct value *value;            /* a reference */
	int64_t ttl_ms;
	redis_done_fn done;
	void *arg;
	char token[REDIS_TOKEN_LEN + 1];
};

static void fill_begin(struct redis *r);

static void fill_finish(struct fill *f, const struct redis_result *result)
{
	struct redis *r = f->redis;
	r->fill = f->next;
	if (!r->fill)
		r->fill_last = &r->fill;
	if (r->fill)
		fill_begin(r);
	f->done(f->arg, result);
	value_unref(f->value);
	free((char *)f->key.data);
	free(f);
}

/* EXEC's reply: an array (of SET's, the mark, DEL's), or nil when what was watched has changed. */
static void take_exec(struct redis_op *op, const redisReply *reply)
{
	op->result.number = reply->type == REDIS_REPLY_ARRAY;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 1 && reply->element[1]->type == REDIS_REPLY_STRING)
		snprintf(op->result.mark, sizeof(op->result.mark), "%s", reply->element[1]->str);
}

/* Where nothing was stored the lease was not removed either: others need not wait for its end. */
static void on_filled(void *arg, const struct redis_result *r)
{
	struct fill *f = arg;
	if (r->status == REDIS_ANSWERED && r->number == 1)
		tracking_publish(f->redis->tracking, &f->key, 1);
	if (r->status == REDIS_ANSWERED && r->number == 0)
		redis_release(f->redis, &f->key, f->token, REDIS_LEASE_WON, NULL, 0);
	fill_finish(f, r);
}

static void send_word(struct redis_op *op, redis_take_fn take, const char *word)
{
	struct buf b = BUF_INIT;
	reply_add_array(&b, 1);
	redis_add_word(&b, word);
	redis_op_send(op, take, &b);
}

static void fill_store(struct fill *f)
{
	struct redis_op *op = redis_op_new(f->redis, on_filled, f);
	struct buf b = BUF_INIT, mark = BUF_INIT;
	send_word(op, NULL, "MULTI");
	redis_op_send_set(op, NULL, &f->key, f->value, &(struct redis_set){.ttl_ms = f->ttl_ms});
	begin_script(&mark, mark_script, &f->key, &f->key, 0);
	redis_op_send(op, NULL, &mark);
	reply_add_array(&b, 2);
	redis_add_word(&b, "DEL");
	add_lease(&b, &f->key);
	redis_op_send(op, NULL, &b);
	send_word(op, take_exec, "EXEC");
}

/* Not ours any more, or the key has changed: nothing is stored. */
static void fill_refuse(struct fill *f)
{
	struct redis_op *op = redis_op_new(f->redis, on_filled, f);
	send_word(op, NULL, "UNWATCH");
}

static void take_check(struct redis_op *op, const redisReply *reply)
{
	op->result.number = reply->integer;
}

static void on_checked(void *arg, const struct redis_result *r)
{
	struct fill *f = arg;
	if (r->status != REDIS_ANSWERED) {
		send_word(redis_op_new(f->redis, ignore_result, NULL), NULL, "UNWATCH");
		fill_finish(f, r);
	} else if (r->number == 1)
		fill_store(f);
	else
		fill_refuse(f);
}

static void fill_begin(struct redis *r)
{
	struct fill *f = r->fill;
	struct redis_op *op = redis_op_new(r, on_checked, f);
	struct buf watch = BUF_INIT, check = BUF_INIT;
	reply_add_array(&watch, 3);
	redis_add_word(&watch, "WATCH");
	reply_add_bulk(&watch, f->key.data, f->key.len);
	add_lease(&watch, &f->key);
	redis_op_send(op, NULL, &watch);
	begin_script(&check, check_script, &f->key, &f->key, 1);
	redis_add_word(&check, f->token);
	redis_op_send(op, take_check, &check);
}

void redis_fill(struct redis *r, const struct key *key, const char *token, struct value *value, int64_t ttl_ms,
	redis_done_fn done, void *arg)
{
	struct fill *f = xcalloc(1, sizeof(*f));
	*f = (struct fill){.redis = r, .key = key_dup(key), .value = value_ref(value), .ttl_ms = ttl_ms, .done = done, .arg = arg};
	snprintf(f->token, sizeof(f->token), "%s", token);
	*r->fill_last = f;
	r->fill_last = &f->next;
	if (r->fill == f)
		fill_begin(r);
}
