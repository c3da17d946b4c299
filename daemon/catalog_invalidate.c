/* INVALIDATE: removing all keys of a type or of a prefix; see catalog.h. Memory is
 * cleared at once; Redis is scanned, and what is found removed in batches. */
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "log.h"
#include "replay.h"

struct invalidation {
	struct catalog *catalog;
	const struct conf_type *type;   /* NULL: every declared type */
	char *prefix;
	size_t prefix_len;
	uint64_t in_memory, in_both;    /* as in struct change */
	int64_t in_redis;
	size_t pending;                 /* answers of Redis still to come, the scans' included */
	bool has_failed;
	outcome_fn done;
	void *arg;
};

static bool is_meant(void *arg, const struct key *key)
{
	const struct invalidation *inv = arg;
	if (key->len < inv->prefix_len || memcmp(key->data, inv->prefix, inv->prefix_len) != 0)
		return false;
	const struct conf_type *type = conf_match(inv->catalog->tiers.conf, key->data, key->len);
	return type && (!inv->type || inv->type == type);
}

/* Keys of type may be among those meant. */
static bool is_touched(const struct invalidation *inv, const struct conf_type *type)
{
	size_t common = type->prefix_len < inv->prefix_len ? type->prefix_len : inv->prefix_len;
	return (!inv->type || inv->type == type) && memcmp(type->key, inv->prefix, common) == 0;
}

static void clear_memory(struct invalidation *inv)
{
	struct tiers *t = &inv->catalog->tiers;
	fence_break_matching(&t->fences, is_meant, inv);
	for (size_t i = 0; i < t->conf->n_types; i++) {
		const struct conf_type *type = &t->conf->types[i];
		if (!is_touched(inv, type))
			continue;
		uint64_t dropped = memory_drop_prefix(t->memory, type->index, inv->prefix, inv->prefix_len, clock_ms());
		*(tiers_has_redis(t, type) ? &inv->in_both : &inv->in_memory) += dropped;
		tiers_count(t, type)->drops += dropped;
	}
}

/* What Redis did not hear of is to be cleared there when it is back. */
static void replay_invalidation(struct invalidation *inv)
{
	struct tiers *t = &inv->catalog->tiers;
	clear_memory(inv); /* a reader may have found some in Redis meanwhile */
	for (size_t i = 0; i < t->conf->n_types; i++) {
		const struct conf_type *type = &t->conf->types[i];
		if (is_touched(inv, type) && tiers_has_redis(t, type))
			replay_clear(inv->catalog->replay, type);
	}
}

static void on_invalidated(void *arg, const struct redis_result *r)
{
	struct invalidation *inv = arg;
	if (r->status == REDIS_ANSWERED)
		inv->in_redis += r->number;
	else
		inv->has_failed = true;
	if (--inv->pending)
		return;
	if (inv->has_failed)
		replay_invalidation(inv);
	inv->done(inv->arg, &(struct outcome){.status = OUTCOME_FOUND,
		.number = (int64_t)inv->in_memory + catalog_touched(inv->in_redis, inv->in_both)});
	free(inv->prefix);
	free(inv);
}

/* A reader may have brought a key back into memory since the beginning: it goes again
 * when its DEL is sent, and a later reader finds Redis without it. */
static void on_scanned(void *arg, const struct key *keys, size_t n)
{
	struct invalidation *inv = arg;
	struct tiers *t = &inv->catalog->tiers;
	struct key *meant = xcalloc(n, sizeof(*meant));
	size_t n_meant = 0;
	for (size_t i = 0; i < n; i++)
		if (is_meant(inv, &keys[i]) && tiers_has_redis(t, tiers_type(t, &keys[i])))
			meant[n_meant++] = keys[i];
	for (size_t i = 0; i < n_meant; i++)
		tiers_forget(t, &meant[i]);
	if (n_meant) {
		inv->pending++;
		redis_delete(t->redis, meant, n_meant, on_invalidated, inv);
	}
	free(meant);
}

/* The leases of fetches under way for these keys go first: what they bring is too old. */
static void on_leases(void *arg, const struct key *leases, size_t n)
{
	struct invalidation *inv = arg;
	struct key *keys = xcalloc(n, sizeof(*keys));
	size_t n_keys = 0;
	for (size_t i = 0; i < n; i++)
		if (redis_lease_of(&leases[i], &keys[n_keys]) && is_meant(inv, &keys[n_keys]))
			n_keys++;
	if (n_keys) {
		inv->pending++;
		redis_delete(inv->catalog->tiers.redis, keys, n_keys, on_invalidated, inv);
	}
	free(keys);
}

static void scan(struct invalidation *inv)
{
	struct redis *redis = inv->catalog->tiers.redis;
	struct buf leases = BUF_INIT;
	buf_add_str(&leases, CONF_OWN_PREFIX "lease:{");
	buf_add(&leases, inv->prefix, inv->prefix_len);
	inv->pending = 2;
	redis_scan(redis, leases.data, leases.len, on_leases, on_invalidated, inv);
	redis_scan(redis, inv->prefix, inv->prefix_len, on_scanned, on_invalidated, inv);
	buf_free(&leases);
}

static void invalidate(struct catalog *c, const struct conf_type *type, const char *prefix, size_t len,
	outcome_fn done, void *arg)
{
	struct invalidation *inv = xcalloc(1, sizeof(*inv));
	*inv = (struct invalidation){.catalog = c, .type = type, .prefix = xstrndup(prefix, len), .prefix_len = len,
		.pending = 1, .done = done, .arg = arg};
	clear_memory(inv);
	log_info("invalidated", "type=%s keys_in_memory=%llu", type ? type->name : "any",
		(unsigned long long)(inv->in_memory + inv->in_both));
	if (c->tiers.redis)
		scan(inv);
	else
		on_invalidated(inv, &(struct redis_result){.status = REDIS_ANSWERED});
}

void catalog_clear(struct catalog *c, const struct conf_type *type, outcome_fn done, void *arg)
{
	if (type->exact) {
		struct key key = key_of(type->key, type->prefix_len);
		catalog_remove(c, &key, 1, "a cascade, or the end of an outage", done, arg);
	} else {
		invalidate(c, type, type->key, type->prefix_len, done, arg);
	}
}

static bool is_prefix(const char *pattern, size_t len)
{
	return len > 0 && pattern[len - 1] == '*';
}

const char *catalog_pattern_error(struct catalog *c, const char *pattern, size_t len)
{
	if (len > CONF_KEY_MAX || memchr(pattern, '\0', len))
		return "ERR invalid pattern: longer than 4096 bytes, or with a NUL byte";
	if (is_prefix(pattern, len) || conf_type_named(c->tiers.conf, pattern, len))
		return NULL;
	return "ERR no such type; a pattern is the name of a type, or prefix*";
}

/* Each type that the pattern touches begins a cascade. */
static void cascade(struct catalog *c, const struct conf_type *type, const char *prefix, size_t len)
{
	struct invalidation what = {.type = type, .prefix = (char *)prefix, .prefix_len = len};
	for (size_t i = 0; i < c->tiers.conf->n_types; i++)
		if (is_touched(&what, &c->tiers.conf->types[i]))
			catalog_cascade(c, &c->tiers.conf->types[i]);
}

void catalog_invalidate(struct catalog *c, const char *pattern, size_t len, const char *who, outcome_fn done, void *arg)
{
	const struct conf_type *type = is_prefix(pattern, len) ? NULL : conf_type_named(c->tiers.conf, pattern, len);
	const char *prefix = type ? type->key : pattern;
	size_t prefix_len = type ? type->prefix_len : len - 1;
	if (type && type->exact) {
		struct key key = key_of(type->key, type->prefix_len);
		catalog_delete(c, &key, 1, who, done, arg);
		return;
	}
	cascade(c, type, prefix, prefix_len);
	invalidate(c, type, prefix, prefix_len, done, arg);
}
