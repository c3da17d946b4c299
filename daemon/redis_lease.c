/* Leases: one fetch for the fleet; see redis.h. (After "Scaling Memcache at Facebook", NSDI
 * 2013, section 3.2.1; the value of a lease is checked by Redis itself, since clients here
 * write plain keys.)
 *
 *   catcached:lease:{key} = "<token> <mark>"     somebody fetches; mark: what the key looked like then
 *                         = "!absent", "!failed reason"    what the last fetch came to, for a time
 *                         = "?absent <token>", "?unstored <token>"     likewise, only for those who
 *                                                                      waited for token
 *
 * A DEL through any sidecar removes the lease with the key, so a fetch that began before
 * it cannot be stored (redis_fill.c). A change by anyone else shows in the mark: the key's
 * time of expiry (Redis 7; before that it is unknown) and its length. That is not all that
 * can change, but where Redis tells of changes the rest is heard of; where it does not, the
 * mark has a digest of the value, too. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "../proto/reply.h"
#include "out.h"
#include "redis_op.h"

#define LEASE_PREFIX CONF_OWN_PREFIX "lease:{"

static const char acquire_script[] = REDIS_MARK_SCRIPT
	"local held = redis.call('GET', KEYS[2]) "
	"local kind = held and string.sub(held, 1, 1) "
	"if kind == '!' or kind == '?' then "
	"if ARGV[3] == 'always' or (ARGV[6] == '1' and string.sub(held, 1, 7) == '!failed') "
	"or (kind == '?' and string.match(held, ' (.*)') ~= ARGV[4]) then held = false end end "
	"if held then return {held, redis.call('PTTL', KEYS[2])} end "
	"local left = redis.call('PTTL', KEYS[1]) "
	"if ARGV[3] == 'absent' and left ~= -2 then return {'present', 0} end "
	"if ARGV[3] == 'refresh' and (left == -1 or left > tonumber(ARGV[5])) then return {'present', 0} end "
	"redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. mark(KEYS[1], ARGV[7] == '1'), 'PX', ARGV[2]) "
	"return {'won', 0}";

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

void redis_add_lease(struct buf *b, const struct key *key)
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

void redis_begin_script(struct buf *b, const char *script, const struct key *key, const struct key *lease_of, size_t n_args)
{
	reply_add_array(b, 3 + (key ? 2 : 1) + n_args);
	redis_add_word(b, "EVAL");
	redis_add_word(b, script);
	redis_add_number(b, key ? 2 : 1);
	if (key)
		reply_add_bulk(b, key->data, key->len);
	redis_add_lease(b, lease_of);
}

/* ---- the lease ---- */

static const char *const claims[] = {
	[REDIS_CLAIM_ABSENT] = "absent", [REDIS_CLAIM_REFRESH] = "refresh", [REDIS_CLAIM_REPLACE] = "replace",
	[REDIS_CLAIM_ALWAYS] = "always",
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
	} else if (strncmp(word, "?unstored ", 10) == 0) {
		r->number = REDIS_LEASE_UNSTORED;
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
	struct buf *b = &redis_op_begin(op, take_lease)->bytes;
	redis_begin_script(b, acquire_script, key, key, 7);
	redis_add_word(b, bid->token);
	redis_add_number(b, bid->lease_ms);
	redis_add_word(b, claims[bid->claim]);
	redis_add_word(b, bid->awaited);
	redis_add_number(b, bid->left_ms);
	redis_add_number(b, bid->defies_failure);
	redis_add_number(b, redis_coherence(r) != COHERENCE_TRACKING);
}

static void take_told(struct redis_op *op, const redisReply *reply)
{
	op->result.number = reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "!absent") == 0;
}

void redis_told_absent(struct redis *r, const struct key *key, redis_done_fn done, void *arg)
{
	struct redis_op *op = redis_op_new(r, done, arg);
	struct buf *b = &redis_op_begin(op, take_told)->bytes;
	reply_add_array(b, 2);
	redis_add_word(b, "GET");
	redis_add_lease(b, key);
}

/* A lease that cannot be renewed or given back runs out by itself. */
static void ignore_result(void *arg, const struct redis_result *r)
{
	(void)arg, (void)r;
}

void redis_renew(struct redis *r, const struct key *key, const char *token, int64_t lease_ms)
{
	struct redis_op *op = redis_op_new(r, ignore_result, NULL);
	struct buf *b = &redis_op_begin(op, NULL)->bytes;
	redis_begin_script(b, renew_script, NULL, key, 2);
	redis_add_word(b, token);
	redis_add_number(b, lease_ms);
}

void redis_release(struct redis *r, const struct key *key, const char *token, enum redis_lease outcome,
	const char *error, int64_t tell_ms)
{
	struct redis_op *op = redis_op_new(r, ignore_result, NULL);
	struct buf *b = &redis_op_begin(op, NULL)->bytes;
	struct buf told = BUF_INIT;
	if (outcome == REDIS_LEASE_UNSTORED)
		buf_addf(&told, "?unstored %s", token);
	else if (outcome == REDIS_LEASE_FAILED && tell_ms > 0)
		buf_addf(&told, "!failed %s", error);
	redis_begin_script(b, release_script, NULL, key, 3);
	redis_add_word(b, token);
	reply_add_bulk(b, told.data, told.len);
	redis_add_number(b, outcome == REDIS_LEASE_UNSTORED ? REDIS_AWAITED_TOLD_MS : tell_ms);
	buf_free(&told);
}
