/* INVALIDATE: removing all keys of a type or of a prefix; see catalog.h. Memory is
 * cleared at once; Redis is scanned, and what is found removed in batches. */
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "log.h"

struct invalidation {
	struct catalog *catalog;
	const struct conf_type *type;   /* NULL: every declared type */
	char *prefix;
	size_t prefix_len;
	uint64_t in_memory, in_both;    /* as in struct change */
	int64_t in_redis;
	size_t pending;                 /* answers of Redis still to come, the scan's included */
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

static void on_invalidated(void *arg, const struct redis_result *r)
{
	struct invalidation *inv = arg;
	if (r->status == REDIS_OK)
		inv->in_redis += r->number;
	if (--inv->pending)
		return;
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

static void invalidate_memory(struct invalidation *inv)
{
	struct tiers *t = &inv->catalog->tiers;
	fence_break_matching(&t->fences, is_meant, inv);
	for (size_t i = 0; i < t->conf->n_types; i++) {
		const struct conf_type *type = &t->conf->types[i];
		if (inv->type && inv->type != type)
			continue;
		uint64_t dropped = memory_drop_prefix(t->memory, type->index, inv->prefix, inv->prefix_len, clock_ms());
		*(tiers_has_redis(t, type) ? &inv->in_both : &inv->in_memory) += dropped;
		tiers_count(t, type)->drops += dropped;
	}
}

static void invalidate(struct catalog *c, const struct conf_type *type, const char *prefix, size_t len,
	outcome_fn done, void *arg)
{
	struct invalidation *inv = xcalloc(1, sizeof(*inv));
	*inv = (struct invalidation){.catalog = c, .type = type, .prefix = xstrndup(prefix, len), .prefix_len = len,
		.pending = 1, .done = done, .arg = arg};
	invalidate_memory(inv);
	log_info("invalidated", "type=%s keys_in_memory=%llu", type ? type->name : "any",
		(unsigned long long)(inv->in_memory + inv->in_both));
	if (c->tiers.redis)
		redis_scan(c->tiers.redis, inv->prefix, len, on_scanned, on_invalidated, inv);
	else
		on_invalidated(inv, &(struct redis_result){.status = REDIS_OK});
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

void catalog_invalidate(struct catalog *c, const char *pattern, size_t len, outcome_fn done, void *arg)
{
	const struct conf_type *type = conf_type_named(c->tiers.conf, pattern, len);
	if (is_prefix(pattern, len)) {
		invalidate(c, NULL, pattern, len - 1, done, arg);
	} else if (type->exact) {
		struct key key = key_of(type->key, type->prefix_len);
		catalog_delete(c, &key, 1, done, arg);
	} else {
		invalidate(c, type, type->key, type->prefix_len, done, arg);
	}
}
