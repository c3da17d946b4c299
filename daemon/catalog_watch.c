/* What the catalog does when something happens in Redis: a key changed, everything was
 * flushed, it is heard again or not any more, it is back. See tracking.h. */
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "history.h"
#include "log.h"
#include "replay.h"

#define GUARD_LOOK_MS 1000      /* between two looks at the guard key where nobody tells of its changes */
#define LEASES CONF_OWN_PREFIX "lease:{"

/* ---- prefixes ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, a prefix stands before all that begin with it: those are dropped. */
static size_t drop_covered(char **prefixes, size_t n)
{
	size_t kept = 0;
	qsort(prefixes, n, sizeof(*prefixes), by_text);
	for (size_t i = 0; i < n; i++) {
		const char *last = kept ? prefixes[kept - 1] : NULL;
		if (last && strncmp(prefixes[i], last, strlen(last)) == 0)
			free(prefixes[i]);
		else
			prefixes[kept++] = prefixes[i];
	}
	return kept;
}

static void collect_prefixes(struct catalog *c)
{
	const struct conf *conf = c->tiers.conf;
	char **prefixes = xcalloc(conf->n_types + 2, sizeof(*prefixes));
	size_t n = 0;
	for (size_t i = 0; i < conf->n_types; i++)
		if (conf->types[i].in_redis)
			prefixes[n++] = xstrndup(conf->types[i].key, conf->types[i].prefix_len);
	if (conf->guard)
		prefixes[n++] = xstrdup(conf->guard);
	prefixes[n++] = xstrdup(LEASES);
	c->n_prefixes = drop_covered(prefixes, n);
	c->prefixes = (const char **)prefixes;
}

/* ---- the guard key ---- */

/* Of several looks under way the last to be answered counts. Without an answer it stays as it
 * was known last, to be looked at again. */
static void on_guard(void *arg, const struct redis_result *r)
{
	struct catalog *c = arg;
	c->is_guard_known = r->status == REDIS_ANSWERED;
	if (--c->guard_looks == 0 && c->is_guard_known)
		tiers_set_guarded(&c->tiers, r->number > 0);
}

static void look_at_guard(struct catalog *c)
{
	if (!c->guard.len)
		return;
	c->guard_looks++;
	c->guard_looked_ms = clock_ms();
	redis_exists(c->tiers.redis, &c->guard, on_guard, c);
}

void catalog_guard_changed(struct catalog *c)
{
	tiers_set_guarded(&c->tiers, true);
	look_at_guard(c);
}

void catalog_guard_tick(struct catalog *c)
{
	struct redis *redis = c->tiers.redis;
	if (!c->guard.len || !redis || !redis_up(redis) || clock_ms() - c->guard_looked_ms < GUARD_LOOK_MS)
		return;
	if (redis_coherence(redis) != COHERENCE_TRACKING || !c->is_guard_known)
		look_at_guard(c);
}

static void on_own_change(void *arg, const struct key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (catalog_is_guard(arg, keys[i].data, keys[i].len))
			catalog_guard_changed(arg);
}

/* ---- events ---- */

/* What happened to the lease of a key that is remembered as absent: another sidecar may
 * have found the same, or have ended it with a DEL. */
struct absence {
	struct catalog *catalog;
	struct key key;                 /* owned */
};

static void on_told(void *arg, const struct redis_result *r)
{
	struct absence *a = arg;
	const struct memory_entry *e = memory_peek(a->catalog->tiers.memory, &a->key, clock_ms());
	/* Only the absence goes: a fetch of ours may be what changed the lease. */
	if (r->status == REDIS_ANSWERED && r->number == 0 && e && !memory_value(e))
		(void)memory_drop(a->catalog->tiers.memory, &a->key, clock_ms());
	free((char *)a->key.data);
	free(a);
}

static void lease_changed(struct catalog *c, const struct key *key)
{
	const struct memory_entry *e = memory_peek(c->tiers.memory, key, clock_ms());
	if (e && !memory_value(e)) {
		struct absence *a = xmalloc(sizeof(*a));
		*a = (struct absence){.catalog = c, .key = key_dup(key)};
		redis_told_absent(c->tiers.redis, key, on_told, a);
	}
	flights_wake(c->flights, key);
}

static void on_change(void *arg, const struct key *key)
{
	struct catalog *c = arg;
	struct key leased;
	if (redis_lease_of(key, &leased)) {
		lease_changed(c, &leased);
		return;
	}
	if (catalog_is_guard(c, key->data, key->len))
		catalog_guard_changed(c);
	const struct conf_type *type = tiers_type(&c->tiers, key);
	history_noted(c->history, key, "a change heard from Redis");
	recent_changed(&c->tiers.recent, type->name, key->hash, "a change heard from Redis");
	if (type->fetch.kind != CONF_FETCH_NONE)
		history_heard(c->history, key);
	tiers_forget(&c->tiers, key);
	flights_wake(c->flights, key);
}

static bool is_in_redis(void *arg, const struct key *key)
{
	struct catalog *c = arg;
	return tiers_has_redis(&c->tiers, tiers_type(&c->tiers, key));
}

static void ignore_dropped(void *arg, unsigned type, uint64_t live)
{
	(void)arg, (void)type, (void)live;
}

static void on_flush(void *arg)
{
	struct catalog *c = arg;
	const struct conf *conf = c->tiers.conf;
	log_warning("redis_flushed", "%s", "");
	fence_break_matching(&c->tiers.fences, is_in_redis, c);
	for (size_t i = 0; i < conf->n_types; i++)
		if (tiers_has_redis(&c->tiers, &conf->types[i]))
			catalog_drop_prefix(c, &conf->types[i], "", 0, ignore_dropped, NULL);
	if (c->guard.len)
		catalog_guard_changed(c);
	flights_wake_all(c->flights);
}

static void on_coherence(void *arg, enum coherence now)
{
	struct catalog *c = arg;
	tiers_set_coherence(&c->tiers, now);
	if (now != COHERENCE_AWAY)
		look_at_guard(c);
	flights_wake_all(c->flights);
}

static void on_up(void *arg)
{
	struct catalog *c = arg;
	catalog_clear_redis(c);
	replay_flush(c->replay, c->tiers.redis);
}

/* What Redis refused at first it has taken now. What others changed meanwhile it may have
 * refused, too, and told nobody of: a DEL of what only we hold, for one. */
static void caught_up(struct catalog *c)
{
	log_info("replayed", "%s", "");
	tiers_distrust(&c->tiers);
}

void catalog_replay_some(struct catalog *c)
{
	bool has_words = replay_count(c->replay), waits = has_words || replay_clears(c->replay);
	if (!c->tiers.redis || !redis_up(c->tiers.redis))
		return;
	if (c->is_behind && !waits && !redis_unwritable(c->tiers.redis)[0]) /* else that is for when it takes writes again */
		caught_up(c);
	c->is_behind = waits && (c->is_behind || has_words);
	on_up(c);
}

struct redis_watch catalog_watch_init(struct catalog *c)
{
	if (c->tiers.conf->guard)
		c->guard = key_of(c->tiers.conf->guard, strlen(c->tiers.conf->guard));
	collect_prefixes(c);
	return (struct redis_watch){.prefixes = c->prefixes, .n_prefixes = c->n_prefixes, .on_change = on_change,
		.on_flush = on_flush, .on_coherence = on_coherence, .on_up = on_up, .on_own_change = on_own_change, .arg = c};
}

void catalog_watch_fini(struct catalog *c)
{
	for (size_t i = 0; i < c->n_prefixes; i++)
		free((char *)c->prefixes[i]);
	free(c->prefixes);
}
