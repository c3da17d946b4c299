/* What flight.c (reading) and catalog.c (writing) share: the tiers themselves, the
 * fences between readers and writers, the rules for how long a value lives, and
 * the counters of each type. */
#ifndef CATCACHED_TIERS_H
#define CATCACHED_TIERS_H

#include <stdbool.h>
#include <stdint.h>

#include "../conf/conf.h"
#include "fence.h"
#include "histogram.h"
#include "log.h"
#include "memory.h"
#include "outcome.h"
#include "recent.h"
#include "tracking.h"

struct event;
struct redis;
struct value;
struct workers;

#define TIERS_ERROR_MAX 256

/* Counted per type; the table in tiers.c names and explains each. */
struct type_counters {
	uint64_t memory_hits, redis_hits, absent_hits, stale_hits, stale_redis_hits, stale_errors, misses, redis_misses;
	uint64_t fetches, fetched, fetch_absent, fetch_failures, backoffs, fenced, guarded;
	uint64_t refused_empty, refused_json, refused_shrunken, oversize;
	uint64_t leases_won, leases_awaited;
	uint64_t sets, drops, cascades, redis_failures, timeouts;
};

struct counter {
	const char *name;       /* in STATS */
	size_t offset;          /* of the uint64_t in struct type_counters */
	const char *metric;     /* in METRICS (metrics.c explains it), and its labels besides the type */
	const char *labels;
	const char *help;
};
extern const struct counter tiers_counters[];
extern const size_t tiers_n_counters;

/* The fetches of a type: how long those took that were begun, how the last one was, and what was
 * wrong with the last that failed or brought what is refused. */
struct type_fetches {
	struct histogram took;
	int64_t last_at_ms, last_us;            /* clock_wall_ms of its end, 0: none yet; how long it took */
	int64_t error_at_ms;                    /* likewise; 0: none yet */
	char error[TIERS_ERROR_MAX];            /* what may be logged of it */
};

/* What an entry in memory is worth now. */
enum freshness {
	FRESH_YES,              /* serve */
	FRESH_AHEAD,            /* serve, and refresh behind (refresh_ahead) */
	FRESH_STALE,            /* past its TTL: serve, and refresh behind (stale_while_revalidate) */
	FRESH_HELD,             /* past its TTL: serve only if the fetch fails (stale_if_error) */
	FRESH_SUSPECT,          /* Redis must be asked: it may have changed unheard, or memory_ttl is over */
};

/* How long an entry of a type is fresh beyond doubt. */
struct trust {
	int64_t max_age_ms;             /* then Redis is to be asked */
	double part;                    /* of its life; then it is refreshed ahead */
};

/* Entries carry the epoch they came under. While Redis tells of its changes those of
 * this epoch are trusted; a new epoch begins when it tells of them again after a break.
 * While Redis is away there is nothing better than what is held: all are trusted. */
struct tiers {
	const struct conf *conf;
	struct memory *memory;
	struct event *sweep;            /* of the owner, who does memory_sweep when it fires; NULL: nobody does */
	struct redis *redis;            /* NULL: off; set by the owner, like cpu */
	struct workers *cpu;            /* for what would block the loop */
	struct fences fences;
	uint32_t epoch;                 /* stamped on what comes now */
	uint32_t trusted_epoch;         /* entries from before it are suspect; 0: none is */
	bool is_guarded;                /* the guard key exists, as far as is known */
	uint64_t guard_changes;         /* how often is_guarded has changed */
	struct conf_type undeclared;    /* keys of no type: in Redis only; its place is conf->undeclared */
	size_t n_places;
	const struct conf_type **types; /* by place, as are counters, fetches and trusts: the type that is there, or was last */
	struct type_counters *counters;
	struct type_fetches *fetches;
	struct recent recent;
	struct trust *trusts;
};

/* A memory tier with the bounds that conf sets for its types. */
struct memory *tiers_new_memory(const struct conf *conf);

/* The parts are the caller's and outlive it. */
void tiers_init(struct tiers *t, const struct conf *conf, struct memory *memory);
void tiers_fini(struct tiers *t);

/* Another configuration, which has succeeded the one before (conf_succeed) and outlives t, too. */
void tiers_set_conf(struct tiers *t, const struct conf *conf);

/* The type that declares key, or t->undeclared. */
const struct conf_type *tiers_type(const struct tiers *t, const struct key *key);
bool tiers_is_declared(const struct tiers *t, const struct conf_type *type);
struct type_counters *tiers_count(struct tiers *t, const struct conf_type *type);
struct type_fetches *tiers_fetches(struct tiers *t, const struct conf_type *type);
uint64_t tiers_counted(const struct tiers *t, const struct conf_type *type, const struct counter *counter);

/* Redis is a tier of the type and is not off; it may still be down. */
bool tiers_has_redis(const struct tiers *t, const struct conf_type *type);

/* Redis is a tier of the type, and answers now. */
const char *tiers_redis_reason(const struct tiers *t, const struct conf_type *type);     /* why not, where it cannot be asked */
bool tiers_reaches_redis(const struct tiers *t, const struct conf_type *type);

/* The TTL for a value that comes without one: the type's, shortened by up to its
 * jitter; 0: none. */
int64_t tiers_ttl_ms(const struct conf_type *type);

/* How long a value is kept past its TTL: the longer stale window; 0 without a fetch. */
int64_t tiers_window_ms(const struct conf_type *type);

/* The TTL that Redis is given for a value that is to live ttl_ms, and the reverse: what
 * is left of the logical TTL where Redis has redis_ms left (-1: no end, gives 0). The
 * latter is negative for a stale value. */
int64_t tiers_redis_ttl_ms(const struct conf_type *type, int64_t ttl_ms);
int64_t tiers_redis_end_ms(const struct conf_type *type, int64_t ends_at_ms);      /* the same for an end on Redis's clock */
int64_t tiers_logical_ttl_ms(const struct conf_type *type, int64_t redis_ms);       /* of a value that a sidecar wrote; see history_is_foreign */

/* Redis's changes are heard of, or not any more: moves the epoch. */
void tiers_set_coherence(struct tiers *t, enum coherence now);

/* Nothing that is held is trusted any more until it is compared with Redis. */
void tiers_distrust(struct tiers *t);

void tiers_set_guarded(struct tiers *t, bool guarded);

/* The shortest test, for the hit path: e is fresh beyond doubt. */
static inline bool tiers_is_fresh(const struct tiers *t, const struct memory_entry *e, int64_t now_ms)
{
	const struct trust *trust = &t->trusts[e->type];
	int64_t age_ms = now_ms - memory_stored_ms(e), life_ms = e->expires_ms - memory_stored_ms(e);
	return age_ms < trust->max_age_ms && (double)age_ms < trust->part * (double)life_ms && e->epoch >= t->trusted_epoch;
}

enum freshness tiers_judge(const struct tiers *t, const struct conf_type *type, const struct memory_entry *e);

/* What an entry says of its key; the value is not referenced. */
struct outcome tiers_outcome(const struct memory_entry *e);

/* Puts value into the memory tier (if the type has it) to live ttl_ms from now (0: no
 * end; negative: it is stale already), trusted as what came under epoch. 0; -1 if it did
 * not fit: nothing is left there. */
int tiers_remember(struct tiers *t, const struct conf_type *type, const struct key *key,
	struct value *value, int64_t ttl_ms, enum source source, uint32_t epoch);

/* Remembers for ttl_ms that key does not exist. */
void tiers_remember_absent(struct tiers *t, const struct conf_type *type, const struct key *key, int64_t ttl_ms, uint32_t epoch);

/* Gives an entry a new logical TTL. */
void tiers_set_ttl(struct memory_entry *e, int64_t ttl_ms);

/* A line of debug: reads of key were answered by that tier: a hit of memory or redis (which may know that it does not exist), or
 * a miss: fetch; none: nobody has it; error: nobody can say. v: NULL: it does not exist. */
void tiers_log_read(const struct conf_type *type, const struct key *key, const char *tier, const struct value *v, int64_t took_ms);
static inline void tiers_tell_read(const struct conf_type *type, const struct key *key, const char *tier, const struct value *v, int64_t took_ms)
{
	if (log_enabled(LOG_LEVEL_DEBUG))
		tiers_log_read(type, key, tier, v, took_ms);
}

/* The key is about to change, or has: breaks its fences and drops it from memory.
 * True if a live value was dropped. */
bool tiers_forget(struct tiers *t, const struct key *key);

#endif
