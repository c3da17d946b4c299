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

static void on_guard(void *arg, const struct redis_result *r)
{
	struct catalog *c = arg;
	/* Without an answer it stays as it was known last; coherence comes back with another question. */
	if (r->status == REDIS_ANSWERED)
		tiers_set_guarded(&c->tiers, r->number > 0);
}

static void look_at_guard(struct catalog *c)
{
	if (c->guard.len)
		redis_exists(c->tiers.redis, &c->guard, on_guard, c);
}

/* It was set or removed: until Redis has said which, it counts as set. */
static void guard_changed(struct catalog *c)
{
	tiers_set_guarded(&c->tiers, true);
	look_at_guard(c);
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
	if (r->status == REDIS_ANSWERED && r->number == 0 && e && !e->value)
		(void)memory_drop(a->catalog->tiers.memory, &a->key, clock_ms());
	free((char *)a->key.data);
	free(a);
}

static void lease_changed(struct catalog *c, const struct key *key)
{
	const struct memory_entry *e = memory_peek(c->tiers.memory, key, clock_ms());
	if (e && !e->value) {
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
	if (c->guard.len && key_equal(key, &c->guard))
		guard_changed(c);
	if (tiers_type(&c->tiers, key)->fetch.kind != CONF_FETCH_NONE)
		history_heard(c->history, key);
	tiers_forget(&c->tiers, key);
	flights_wake(c->flights, key);
}

static bool is_in_redis(void *arg, const struct key *key)
{
	struct catalog *c = arg;
	return tiers_has_redis(&c->tiers, tiers_type(&c->tiers, key));
}

static void on_flush(void *arg)
{
	struct catalog *c = arg;
	const struct conf *conf = c->tiers.conf;
	log_warning("redis_flushed", "%s", "");
	fence_break_matching(&c->tiers.fences, is_in_redis, c);
	for (size_t i = 0; i < conf->n_types; i++)
		if (tiers_has_redis(&c->tiers, &conf->types[i]))
			memory_drop_prefix(c->tiers.memory, conf->types[i].index, "", 0, clock_ms());
	if (c->guard.len)
		guard_changed(c);
	flights_wake_all(c->flights);
}

static void on_coherence(void *arg, enum coherence now)
{
	struct catalog *c = arg;
	tiers_set_coherence(&c->tiers, now);
	if (now == COHERENCE_TRACKING || now == COHERENCE_PUBSUB)
		look_at_guard(c);
	flights_wake_all(c->flights);
}

static void on_cleared(void *arg, const struct outcome *o)
{
	bool *is_clearing = arg;
	(void)o; /* if Redis was lost again, catalog_clear has queued it again */
	*is_clearing = false;
}

/* Till all of the type is gone from Redis, nothing of it is read there. */
static void clear_type(void *arg, const struct conf_type *type)
{
	struct catalog *c = arg;
	c->tiers.is_clearing[type->index] = true;
	catalog_clear(c, type, on_cleared, &c->tiers.is_clearing[type->index]);
}

static void on_up(void *arg)
{
	struct catalog *c = arg;
	replay_flush(c->replay, c->tiers.redis, clear_type, c);
}

void catalog_replay_some(struct catalog *c)
{
	if (c->tiers.redis && redis_up(c->tiers.redis) && replay_count(c->replay))
		on_up(c);
}

struct redis_watch catalog_watch_init(struct catalog *c)
{
	if (c->tiers.conf->guard)
		c->guard = key_of(c->tiers.conf->guard, strlen(c->tiers.conf->guard));
	collect_prefixes(c);
	return (struct redis_watch){.prefixes = c->prefixes, .n_prefixes = c->n_prefixes, .on_change = on_change,
		.on_flush = on_flush, .on_coherence = on_coherence, .on_up = on_up, .arg = c};
}

void catalog_watch_fini(struct catalog *c)
{
	for (size_t i = 0; i < c->n_prefixes; i++)
		free((char *)c->prefixes[i]);
	free(c->prefixes);
}
