/* What the catalog's own files share: catalog.c (making, keys, reading),
 * catalog_watch.c, catalog_set.c, catalog_write.c, catalog_pass.c, catalog_invalidate.c, catalog_cascade.c,
 * catalog_explain.c and catalog_stats.c. For nobody else. */
#ifndef CATCACHED_CATALOG_IMPL_H
#define CATCACHED_CATALOG_IMPL_H

#include <string.h>

#include "catalog.h"
#include "tiers.h"

struct cascade;
struct fetcher;
struct history;
struct replay;

struct catalog {
	struct tiers tiers;
	struct history *history;
	struct replay *replay;
	struct flights *flights;
	struct fetcher *fetcher;
	struct cascade *cascades;       /* by type index; see catalog_cascade.c */
	uint64_t cascade_round;
	struct event_base *base;
	struct watcher *watcher;        /* of tiers.redis; NULL: Redis is off */
	struct watcher *retired;        /* of those before, which owe answers still */
	struct reload *reload;          /* under way; NULL: none */
	struct key guard;               /* len 0: none */
	unsigned guard_looks;           /* under way */
	bool is_guard_known;            /* the last look was answered */
	int64_t guard_looked_ms;
	bool is_in_transaction;         /* between catalog_begin and catalog_end, but not while paused */
	struct {
		struct transaction *transaction;        /* of Redis; NULL: Redis is off */
		void (*hurry)(void *arg);       /* NULL: none is paused */
		void *arg;
	} paused;
	bool is_behind;                 /* Redis had words of ours to be told at some tick, and not taken all since */
	bool is_clearing;               /* a removal of many keys that had to wait is being carried out */
	bool expires_much;              /* more than is done in one tick */
	struct event *sweep;            /* runs while memory is to be swept, or expires much */
};

#define CATALOG_REDIS_IS_OFF "UNAVAILABLE redis: the key is of no declared type, and Redis is off"
#define CATALOG_ERROR_MAX 256

/* A Redis and what is heard from it; see catalog_watch.c. It connects; what it tells counts from catalog_watch on,
 * when it takes the place of the one before (NULL: Redis is off). Those before are freed by a catalog_watch_tidy, once they
 * owe nothing, or too late. conf outlives it. */
struct watcher *watcher_new(struct catalog *c, const struct conf *conf);
void watcher_free(struct watcher *w);           /* NULL is allowed */
bool watcher_is_ready(const struct watcher *w); /* all its connections are made */
bool watcher_serves(const struct watcher *w, const struct conf *conf);          /* it would be the same for conf */
void catalog_watch(struct catalog *c, struct watcher *w);
void catalog_watch_tidy(struct catalog *c);
void catalog_watch_fini(struct catalog *c);

/* No transaction is paused when this returns. */
void catalog_hurry(struct catalog *c);

/* The guard key may have been changed by us: until Redis has said what it is, it counts as set. */
void catalog_guard_changed(struct catalog *c);
static inline bool catalog_is_guard(const struct catalog *c, const char *data, size_t len)
{
	return len && len == c->guard.len && memcmp(data, c->guard.data, len) == 0;
}

/* The guard key is the configuration's. */
void catalog_set_guard(struct catalog *c);

/* Looks at the guard key if nobody tells of its changes; called at short intervals. */
void catalog_guard_tick(struct catalog *c);

/* Tells Redis again what it refused (full, read-only); called at short intervals. */
void catalog_replay_some(struct catalog *c);

/* Carries out what waits of removals of many keys at once (see replay.h), one after the other. */
void catalog_clear_redis(struct catalog *c);

/* memory_sweep, between which the loop serves whoever else is there. */
void catalog_sweep_soon(struct catalog *c);

/* memory_drop_prefix, and sees to the sweeping. */
void catalog_drop_prefix(struct catalog *c, const struct conf_type *type, const char *prefix, size_t len,
	memory_dropped_fn dropped, void *arg);

/* True if Redis is to decide what becomes of key; else memory is, which knows better (or
 * Redis is not there). What Redis is still to be told of key goes there ahead. */
bool catalog_redis_decides(struct catalog *c, const struct conf_type *type, const struct key *key);

/* The entry of key in memory, if it has a value that is not past its TTL; else NULL. A value
 * that only waits for Redis is put there again. */
struct memory_entry *catalog_live(struct catalog *c, const struct key *key);

/* The timers of the cascades. */
void catalog_cascades_init(struct catalog *c);
void catalog_cascades_fini(struct catalog *c);
void catalog_cascades_fire(struct catalog *c);  /* those that wait for their time: now */

/* A key of type was invalidated here: so will be what depends on it. */
void catalog_cascade(struct catalog *c, const struct conf_type *type);

/* A part of an assembled value, as a fetch_part_fn. */
struct fetch_result;
void catalog_part(void *catalog, const struct conf_type *type, const char *name,
	void (*done)(void *arg, const struct fetch_result *result), void *arg);

/* catalog_delete without a cascade. */
void catalog_remove(struct catalog *c, const struct key *keys, size_t n, const char *who, outcome_fn done, void *arg);

/* Removes all keys of type, without a cascade. */
void catalog_clear(struct catalog *c, const struct conf_type *type, outcome_fn done, void *arg);

/* What Redis is to take for absent: values of type that are past their TTL. */
struct redis_window catalog_stale(const struct catalog *c, const struct conf_type *type, const struct key *key);

/* tiers_logical_ttl_ms for a key of which a change by others may have been heard. */
int64_t catalog_left_ms(const struct catalog *c, const struct conf_type *type, const struct key *key, int64_t redis_ms);

/* Redis gave no good answer about a key: a declared key is then not known to exist;
 * for another there is no one else to ask, so the outcome is an error, put into error. */
struct outcome catalog_without_redis(bool is_declared, const struct redis_result *r, char error[CATALOG_ERROR_MAX]);

/* How many keys a removal touched: what Redis says; but a key written while Redis was
 * away is in memory only, so no fewer than memory knew of. */
static inline int64_t catalog_touched(int64_t in_redis, uint64_t in_both)
{
	return in_redis > (int64_t)in_both ? in_redis : (int64_t)in_both;
}

#endif
