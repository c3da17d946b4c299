/* INVALIDATE: removing all keys of a type or of a prefix; see catalog.h. For whoever asks
 * they are gone at once: from memory, and Redis is not asked for a key that is still to be
 * removed there (replay_knows). It is scanned, and what is found removed in batches; what
 * this daemon writes meanwhile is spared. If Redis is lost, that is done when it is back. */
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "history.h"
#include "log.h"
#include "replay.h"

struct invalidation {
	struct catalog *catalog;
	struct clear *clear;            /* what is to be removed from Redis; NULL: nothing is */
	uint64_t in_memory, in_both;    /* as in struct change */
	int64_t in_redis;
	size_t pending;                 /* answers still to come: of memory, and of Redis, the scans' included */
	enum redis_status status;       /* of the first answer of Redis that was none */
	outcome_fn done;
	void *arg;
};

/* What a type name or a prefix means. */
struct pattern {
	const struct conf *conf;
	const struct conf_type *type;   /* NULL: every declared type */
	const char *prefix;
	size_t len;
};

static bool is_meant(void *arg, const struct key *key)
{
	const struct pattern *p = arg;
	if (key->len < p->len || memcmp(key->data, p->prefix, p->len) != 0)
		return false;
	const struct conf_type *type = conf_match(p->conf, key->data, key->len);
	return type && (!p->type || p->type->index == type->index);
}

/* Keys of type may be among those meant. */
static bool is_touched(const struct pattern *p, const struct conf_type *type)
{
	size_t common = type->prefix_len < p->len ? type->prefix_len : p->len;
	return (!p->type || p->type->index == type->index) && memcmp(type->key, p->prefix, common) == 0;
}

/* ---- the end ---- */

/* Too many prefixes wait for Redis: whole types do in their place. */
static void widen(struct catalog *c, const struct clear *clear)
{
	const struct conf *conf = c->tiers.conf;
	struct pattern p = {.conf = conf, .type = clear->type, .prefix = clear->prefix, .len = clear->prefix_len};
	for (size_t i = 0; i < conf->n_types; i++)
		if (is_touched(&p, &conf->types[i]) && tiers_has_redis(&c->tiers, &conf->types[i]))
			replay_clear_later(c->replay, &conf->types[i]);
}

static void finish(struct invalidation *inv)
{
	struct catalog *c = inv->catalog;
	if (inv->clear && inv->status != REDIS_ANSWERED && replay_is_full_of_clears(c->replay)) {
		widen(c, inv->clear);
		inv->status = REDIS_ANSWERED;
	}
	if (inv->clear)
		replay_cleared(c->replay, inv->clear, inv->status);
	inv->done(inv->arg, &(struct outcome){.status = OUTCOME_FOUND,
		.number = (int64_t)inv->in_memory + catalog_touched(inv->in_redis, inv->in_both)});
	free(inv);
}

static void on_removed(void *arg, const struct redis_result *r)
{
	struct invalidation *inv = arg;
	if (r->status == REDIS_ANSWERED)
		inv->in_redis += r->number;
	else if (inv->status == REDIS_ANSWERED)
		inv->status = r->status;
	if (--inv->pending == 0)
		finish(inv);
}

/* ---- memory ---- */

static void on_dropped(void *arg, unsigned type, uint64_t live)
{
	struct invalidation *inv = arg;
	struct tiers *t = &inv->catalog->tiers;
	*(tiers_has_redis(t, t->types[type]) ? &inv->in_both : &inv->in_memory) += live;
	t->counters[type].drops += live;
	if (--inv->pending == 0)
		finish(inv);
}

static void clear_memory(struct invalidation *inv, struct pattern *p)
{
	struct tiers *t = &inv->catalog->tiers;
	fence_break_matching(&t->fences, is_meant, p);
	for (size_t i = 0; i < t->conf->n_types; i++) {
		if (!is_touched(p, &t->conf->types[i]))
			continue;
		inv->pending++;
		catalog_drop_prefix(inv->catalog, &t->conf->types[i], p->prefix, p->len, on_dropped, inv);
	}
}

/* ---- Redis ---- */

/* The keys among those found that are to be removed are. */
static void remove_meant(struct invalidation *inv, struct key *keys, size_t n)
{
	struct tiers *t = &inv->catalog->tiers;
	size_t n_meant = 0;
	for (size_t i = 0; i < n; i++) {
		const struct conf_type *type = tiers_type(t, &keys[i]);
		if (clear_means(inv->clear, type, &keys[i]) && tiers_has_redis(t, type))
			keys[n_meant++] = keys[i];
	}
	if (!n_meant)
		return;
	for (size_t i = 0; i < n_meant; i++)
		tiers_forget(t, &keys[i]); /* what came since and could not be spared */
	inv->pending++;
	redis_delete(t->redis, keys, n_meant, on_removed, inv);
}

static void on_scanned(void *arg, const struct key *keys, size_t n)
{
	struct key *found = xcalloc(n, sizeof(*found));
	memcpy(found, keys, n * sizeof(*found));
	remove_meant(arg, found, n);
	free(found);
}

static void on_leases(void *arg, const struct key *leases, size_t n)
{
	struct key *keys = xcalloc(n, sizeof(*keys));
	size_t n_keys = 0;
	for (size_t i = 0; i < n; i++)
		n_keys += redis_lease_of(&leases[i], &keys[n_keys]);
	remove_meant(arg, keys, n_keys);
	free(keys);
}

static void on_leases_scanned(void *arg, const struct redis_result *r)
{
	struct invalidation *inv = arg;
	struct redis *redis = inv->catalog->tiers.redis;
	if (!redis) { /* a reload has turned it off meanwhile: the rest waits till there is one again */
		on_removed(inv, &(struct redis_result){.status = REDIS_DOWN});
		return;
	}
	inv->pending++;
	redis_scan(redis, inv->clear->prefix, inv->clear->prefix_len, on_scanned, on_removed, inv);
	on_removed(inv, r);
}

/* The leases of fetches under way for these keys go first: what they bring is too old. What
 * they have stored before that is there when the keys are looked for. */
static void clear_redis(struct invalidation *inv)
{
	struct buf leases = BUF_INIT;
	buf_add_str(&leases, CONF_OWN_PREFIX "lease:{");
	buf_add(&leases, inv->clear->prefix, inv->clear->prefix_len);
	inv->pending++;
	redis_scan(inv->catalog->tiers.redis, leases.data, leases.len, on_leases, on_leases_scanned, inv);
	buf_free(&leases);
}

/* Some of the types that are touched are in Redis. */
static bool touches_redis(const struct catalog *c, const struct pattern *p)
{
	for (size_t i = 0; i < p->conf->n_types; i++)
		if (is_touched(p, &p->conf->types[i]) && tiers_has_redis(&c->tiers, &p->conf->types[i]))
			return true;
	return false;
}

static void invalidate(struct catalog *c, const struct conf_type *type, const char *prefix, size_t len,
	const char *who, outcome_fn done, void *arg)
{
	struct pattern p = {.conf = c->tiers.conf, .type = type, .prefix = prefix, .len = len};
	struct invalidation *inv = xcalloc(1, sizeof(*inv));
	*inv = (struct invalidation){.catalog = c, .pending = 1, .status = REDIS_ANSWERED, .done = done, .arg = arg};
	log_info("invalidated", "type=%s by=%s", type ? type->name : "any", log_quote(who));
	history_cleared(c->history, type, prefix, len, who);
	recent_changed(&c->tiers.recent, type ? type->name : "any type", 0, who);
	if (touches_redis(c, &p)) {
		inv->clear = replay_clear(c->replay, type, prefix, len);
		clear_redis(inv);
	}
	clear_memory(inv, &p);
	on_removed(inv, &(struct redis_result){.status = REDIS_ANSWERED});
}

static void on_cleared(void *arg, const struct outcome *o)
{
	struct catalog *c = arg;
	(void)o; /* if Redis was lost again, it waits again */
	c->is_clearing = false;
	catalog_replay_some(c);
}

void catalog_clear_redis(struct catalog *c)
{
	struct clear *clear = c->is_clearing ? NULL : replay_take_clear(c->replay);
	if (!clear)
		return;
	struct invalidation *inv = xcalloc(1, sizeof(*inv));
	*inv = (struct invalidation){.catalog = c, .clear = clear, .status = REDIS_ANSWERED, .done = on_cleared, .arg = c};
	c->is_clearing = true;
	clear_redis(inv);
}

void catalog_clear(struct catalog *c, const struct conf_type *type, outcome_fn done, void *arg)
{
	if (type->exact) {
		struct key key = key_of(type->key, type->prefix_len);
		catalog_remove(c, &key, 1, "a cascade", done, arg);
	} else {
		invalidate(c, type, type->key, type->prefix_len, "a cascade", done, arg);
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
	struct pattern p = {.conf = c->tiers.conf, .type = type, .prefix = prefix, .len = len};
	for (size_t i = 0; i < c->tiers.conf->n_types; i++)
		if (is_touched(&p, &c->tiers.conf->types[i]))
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
	invalidate(c, type, prefix, prefix_len, who, done, arg);
}
