/* What the catalog does when something happens in Redis: a key changed, everything was
 * flushed, it is heard again or not any more, it is back. See tracking.h. */
#include <inttypes.h>
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
#define RETIRED_MS 10000        /* a Redis that still owes answers after so long is let go */

/* A Redis, and what it is told of. Only the current one is listened to. */
struct watcher {
	struct catalog *catalog;
	const struct conf *conf;
	struct redis *redis;
	char **prefixes;                /* of what it is to tell of */
	size_t n_prefixes;
	int64_t retired_ms;
	struct watcher *next;           /* in catalog.retired */
};

/* The catalog, if it listens to w; else NULL. */
static struct catalog *listener(const struct watcher *w)
{
	return w->catalog->watcher == w ? w->catalog : NULL;
}

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

static char **collect_prefixes(const struct conf *conf, size_t *n_prefixes)
{
	char **prefixes = xcalloc(conf->n_types + 2, sizeof(*prefixes));
	size_t n = 0;
	for (size_t i = 0; i < conf->n_types; i++)
		if (conf->types[i].in_redis)
			prefixes[n++] = xstrndup(conf->types[i].key, conf->types[i].prefix_len);
	if (conf->guard)
		prefixes[n++] = xstrdup(conf->guard);
	prefixes[n++] = xstrdup(LEASES);
	*n_prefixes = drop_covered(prefixes, n);
	return prefixes;
}

static void free_prefixes(char **prefixes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(prefixes[i]);
	free(prefixes);
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

void catalog_set_guard(struct catalog *c)
{
	const char *guard = c->tiers.conf->guard;
	struct key key = guard ? key_of(guard, strlen(guard)) : (struct key){.len = 0};
	bool is_same = key.len == c->guard.len && (!key.len || key_equal(&key, &c->guard));
	c->guard = key;
	if (is_same)
		return;
	c->is_guard_known = false;
	tiers_set_guarded(&c->tiers, false);
	if (c->tiers.redis)
		look_at_guard(c);
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
	struct catalog *c = listener(arg);
	for (size_t i = 0; i < n && c; i++)
		if (catalog_is_guard(c, keys[i].data, keys[i].len))
			catalog_guard_changed(c);
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
	struct catalog *c = listener(arg);
	struct key leased;
	if (!c)
		return;
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
	bool was_held = tiers_forget(&c->tiers, key);
	log_debug("changed", "type=%s key=%016" PRIx64 " held=%s", type->name, key->hash, was_held ? "true" : "false");
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
	struct catalog *c = listener(arg);
	if (!c)
		return;
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

static void set_coherence(struct catalog *c, enum coherence now)
{
	tiers_set_coherence(&c->tiers, now);
	if (now != COHERENCE_AWAY)
		look_at_guard(c);
	flights_wake_all(c->flights);
}

static void on_coherence(void *arg, enum coherence now)
{
	struct catalog *c = listener(arg);
	if (c)
		set_coherence(c, now);
}

static void tell_what_waits(struct catalog *c)
{
	catalog_clear_redis(c);
	replay_flush(c->replay, c->tiers.redis);
}

static void on_up(void *arg)
{
	struct catalog *c = listener(arg);
	if (c)
		tell_what_waits(c);
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
	tell_what_waits(c);
}

/* ---- which Redis ---- */

struct watcher *watcher_new(struct catalog *c, const struct conf *conf)
{
	struct watcher *w = xcalloc(1, sizeof(*w));
	*w = (struct watcher){.catalog = c, .conf = conf};
	w->prefixes = collect_prefixes(conf, &w->n_prefixes);
	const struct redis_watch watch = {.prefixes = (const char *const *)w->prefixes, .n_prefixes = w->n_prefixes, .on_change = on_change,
		.on_flush = on_flush, .on_coherence = on_coherence, .on_up = on_up, .on_own_change = on_own_change, .arg = w};
	w->redis = redis_new(c->base, &conf->redis, &watch);
	return w;
}

void watcher_free(struct watcher *w)
{
	if (!w)
		return;
	redis_free(w->redis);
	free_prefixes(w->prefixes, w->n_prefixes);
	free(w);
}

bool watcher_is_ready(const struct watcher *w)
{
	enum coherence now = redis_coherence(w->redis);
	return redis_up(w->redis) && !redis_is_coming(w->redis) && (now == COHERENCE_TRACKING || now == COHERENCE_PUBSUB);
}

bool watcher_serves(const struct watcher *w, const struct conf *conf)
{
	size_t n;
	char **prefixes = collect_prefixes(conf, &n);
	bool is_same = n == w->n_prefixes && conf_is_same_redis(&w->conf->redis, &conf->redis);
	for (size_t i = 0; i < n && is_same; i++)
		is_same = strcmp(prefixes[i], w->prefixes[i]) == 0;
	free_prefixes(prefixes, n);
	return is_same;
}

static void retire(struct catalog *c, struct watcher *w)
{
	w->retired_ms = clock_ms();
	w->next = c->retired;
	c->retired = w;
}

void catalog_watch(struct catalog *c, struct watcher *w)
{
	if (c->watcher)
		retire(c, c->watcher);
	c->watcher = w;
	c->tiers.redis = w ? w->redis : NULL;
	set_coherence(c, w ? redis_coherence(w->redis) : COHERENCE_AWAY);
	if (w && redis_up(w->redis))
		tell_what_waits(c);
}

void catalog_watch_tidy(struct catalog *c)
{
	for (struct watcher **at = &c->retired, *w; (w = *at); ) {
		if (redis_owes(w->redis) && clock_ms() - w->retired_ms < RETIRED_MS) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		watcher_free(w);
	}
}

void catalog_watch_fini(struct catalog *c)
{
	struct watcher *w = c->watcher;
	while (c->retired) {
		struct watcher *next = c->retired->next;
		watcher_free(c->retired);
		c->retired = next;
	}
	watcher_free(w);        /* what it answers with asks for it still */
	c->watcher = NULL;
	c->tiers.redis = NULL;
}
