/* What flight.c (reading) and catalog.c (writing) share: the tiers themselves, the
 * fences between readers and writers, the rules for how long a value lives, and
 * the counters of each type. */
#ifndef CATCACHED_TIERS_H
#define CATCACHED_TIERS_H

#include <stdbool.h>
#include <stdint.h>

#include "../conf/conf.h"
#include "fence.h"
#include "memory.h"

struct redis;
struct value;
struct workers;

/* Counted per type; the table in tiers.c names and explains each. */
struct type_counters {
	uint64_t memory_hits, redis_hits, absent_hits, misses;
	uint64_t fetches, fetched, fetch_absent, fetch_failures, fenced;
	uint64_t refused_empty, refused_json, oversize;
	uint64_t sets, drops, redis_failures, timeouts;
};

struct counter {
	const char *name;
	size_t offset;          /* of the uint64_t in struct type_counters */
	const char *help;
};
extern const struct counter tiers_counters[];
extern const size_t tiers_n_counters;

struct tiers {
	const struct conf *conf;
	struct memory *memory;
	struct redis *redis;            /* NULL: off; set by the owner, like cpu */
	struct workers *cpu;            /* for what would block the loop */
	struct fences fences;
	struct conf_type undeclared;    /* keys of no type: in Redis only; its index is conf->n_types */
	struct type_counters *counters; /* by type index, undeclared last */
};

/* The parts are the caller's and outlive it. */
void tiers_init(struct tiers *t, const struct conf *conf, struct memory *memory);
void tiers_fini(struct tiers *t);

/* The type that declares key, or t->undeclared. */
const struct conf_type *tiers_type(const struct tiers *t, const struct key *key);
bool tiers_is_declared(const struct tiers *t, const struct conf_type *type);
struct type_counters *tiers_count(struct tiers *t, const struct conf_type *type);

/* Redis is a tier of the type and is not off; it may still be down. */
bool tiers_has_redis(const struct tiers *t, const struct conf_type *type);

/* Redis is a tier of the type and answers now. */
bool tiers_reaches_redis(const struct tiers *t, const struct conf_type *type);

/* The TTL for a value that comes without one: the type's, shortened by up to its
 * jitter; 0: none. */
int64_t tiers_ttl_ms(const struct conf_type *type);

/* Puts value into the memory tier (if the type has it) to live ttl_ms from now (0:
 * no end), and where Redis has it too no longer than memory_ttl. 0; -1 if it did not fit: nothing is left there. */
int tiers_remember(struct tiers *t, const struct conf_type *type, const struct key *key,
	struct value *value, int64_t ttl_ms, enum source source);

/* Remembers for the type's negative_ttl that key does not exist. */
void tiers_remember_absent(struct tiers *t, const struct conf_type *type, const struct key *key);

/* The key is about to change, or has: breaks its fences and drops it from memory.
 * True if a live value was dropped. */
bool tiers_forget(struct tiers *t, const struct key *key);

#endif
