/* The catalog: keys and what can be done to them, over all tiers. Commands talk to
 * this and to nothing below. Each operation answers through its outcome_fn exactly
 * once, possibly before the call returns; keys and values given are borrowed until
 * the call returns. */
#ifndef CATCACHED_CATALOG_H
#define CATCACHED_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flight.h"
#include "key.h"
#include "outcome.h"
#include "redis.h"

struct buf;
struct catalog;
struct cJSON;
struct conf;
struct conf_type;
struct event_base;
struct memory_entry;

/* Makes the tiers that conf declares and starts connecting. conf outlives it. NULL
 * (errno) when the system has no thread or descriptor left. */
struct catalog *catalog_new(struct event_base *base, const struct conf *conf);

/* Ends what is under way with errors, then frees. No client may be left. NULL is allowed. */
void catalog_free(struct catalog *c);

/* Makes *key of what a client wrote, which it borrows: checks it, and where its type
 * says hash_names replaces a name that is a JSON object or array by its HASHKEY, in
 * bytes added to *room. NULL, or the error reply (good until the next call). */
const char *catalog_key(struct catalog *c, const char *data, size_t len, struct key_room **room, struct key *key);

/* The type that declares key; one named "undeclared" if none does. */
const struct conf_type *catalog_type(struct catalog *c, const struct key *key);

/* The hit path: the entry of key in memory, counted as use; NULL: call catalog_get.
 * An entry without a value is a remembered absence. */
const struct memory_entry *catalog_hit(struct catalog *c, const struct key *key);

/* Found, absent, or an error. */
void catalog_get(struct catalog *c, const struct key *key, enum read_mode mode, outcome_fn done, void *arg);

/* Makes sure that the digest and the items of v are known, then calls done (at
 * once, or from the loop after a worker looked at a large value). */
void catalog_inspect(struct catalog *c, struct value *v, void (*done)(void *arg), void *arg);

struct catalog_set {
	int64_t ttl_ms;                 /* 0: the type's */
	enum redis_condition condition;
};

/* Writes v through all tiers. Found: written; absent: the condition did not hold. */
void catalog_set(struct catalog *c, const struct key *key, struct value *v, const struct catalog_set *how,
	outcome_fn done, void *arg);

/* Removes keys everywhere; outcome.number tells how many there were. */
void catalog_delete(struct catalog *c, const struct key *keys, size_t n, outcome_fn done, void *arg);

/* New logical TTL (> 0); outcome.number is 1 if the key is there. */
void catalog_expire(struct catalog *c, const struct key *key, int64_t ttl_ms, outcome_fn done, void *arg);

/* Without reading the value: found with number (its bytes) and ttl_ms, or absent. */
void catalog_probe(struct catalog *c, const struct key *key, outcome_fn done, void *arg);

/* Why pattern is neither the name of a type nor prefix*: an error reply; or NULL. */
const char *catalog_pattern_error(struct catalog *c, const char *pattern, size_t len);

/* Removes all keys of the type of that name, or all declared keys that match
 * "prefix*"; outcome.number tells how many. The pattern is a good one. */
void catalog_invalidate(struct catalog *c, const char *pattern, size_t len, outcome_fn done, void *arg);

/* Drops some of what is past its end; called at short intervals. */
void catalog_expire_some(struct catalog *c);

/* Figures for STATS and INFO: an object to be deleted by the caller. type may be
 * NULL for all. */
struct cJSON *catalog_stats(struct catalog *c, const struct conf_type *type);
/* Adds the lines of INFO's Stats section that the catalog knows. */
void catalog_info(struct catalog *c, struct buf *b);

const struct memory *catalog_memory(const struct catalog *c);
const struct conf *catalog_conf(const struct catalog *c);

#endif
