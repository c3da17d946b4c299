/* What could not be told to Redis while it was away, to be told when it is back: a
 * removal, or the newest value, per key; and removals of many keys at once (see clears.h),
 * which mean what is older than they are: words queued behind one outlive it. Types with
 * a fetch are always replayed as removals, since their truth is elsewhere and may have
 * moved on.
 *
 * Bounded, and no invalidation is ever lost. Past REPLAY_MAX keys the type with the most
 * is to be cleared as a whole, one with a fetch if there is any; past REPLAY_MAX_BYTES of
 * values the oldest of the type that has the most are to be removed. Only these bounds
 * can lose a write, which is counted and logged then. */
#ifndef CATCACHED_REPLAY_H
#define CATCACHED_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clears.h"
#include "key.h"
#include "redis.h"

struct conf_type;
struct replay;
struct value;

#define REPLAY_MAX 10000
#define REPLAY_MAX_BYTES ((size_t)64 << 20)
#define REPLAY_SLICE 500                        /* keys that are told at a time */
#define REPLAY_SLICE_BYTES ((size_t)1 << 20)    /* of values, likewise; one value may be larger */

/* n_types: the indexes of types are below this. */
struct replay *replay_new(size_t n_types);

/* There are more places of types than before (see conf.h). */
void replay_set_types(struct replay *r, size_t n_types);

/* Redis is freed before. */
void replay_free(struct replay *r);

/* The newest word on key: it is gone; or it has value (a reference is taken), to live
 * until expires_ms of clock_ms (MEMORY_FOREVER: no end). */
void replay_delete(struct replay *r, const struct conf_type *type, const struct key *key);
void replay_write(struct replay *r, const struct conf_type *type, const struct key *key, struct value *value, int64_t expires_ms);

/* True if a word on key is queued. While a newer one is being told to Redis directly, the
 * newer is to be queued in its place; replay_forget follows when Redis has taken it. */
bool replay_has(const struct replay *r, const struct key *key);

/* Redis has taken a newer word on key than what is queued of it. */
void replay_forget(struct replay *r, const struct key *key);

/* The caller removes key from Redis, now: it is not queued for that any more. */
void replay_take(struct replay *r, const struct conf_type *type, const struct key *key);

/* A removal of all keys of type (NULL: of every declared one) that begin with prefix, for the
 * caller to carry out now: what is queued of them is forgotten. replay_take_clear gives one that
 * waits and is due, or NULL. Each ends with replay_cleared, which tells what came of it: with
 * REDIS_DOWN it waits for Redis to be back, with REDIS_ERROR for a second. */
struct clear *replay_clear(struct replay *r, const struct conf_type *type, const char *prefix, size_t prefix_len);
struct clear *replay_take_clear(struct replay *r);
void replay_cleared(struct replay *r, struct clear *c, enum redis_status status);

/* The whole type is to be cleared when Redis is back. */
void replay_clear_later(struct replay *r, const struct conf_type *type);

/* All that Redis is still to be told: removals of many keys first, as they were ordered, then words on single keys (value
 * NULL: it is gone). */
struct replay_visitor {
	void (*clear)(void *arg, const struct clear *c);
	void (*word)(void *arg, const struct conf_type *type, const struct key *key, struct value *value, int64_t expires_ms);
	void *arg;
};
void replay_visit(const struct replay *r, const struct replay_visitor *visitor);

/* A removal of many keys that waited when the daemon stopped. Those come before words on single keys. */
void replay_clear_from_before(struct replay *r, const struct conf_type *type, const char *prefix, size_t prefix_len);

/* As many removals of many keys wait as may. */
bool replay_is_full_of_clears(const struct replay *r);

/* Redis is back: sends what is queued of single keys, slice by slice; each follows when Redis has
 * answered the one before. A word stays queued until Redis has taken it; what is refused is
 * sent again by the next flush. */
void replay_flush(struct replay *r, struct redis *redis);

/* True if Redis is still to be told of key: what it has is older than what was done here.
 * *value is then the newest, borrowed until the next call, or NULL if the key was removed or
 * its value is the memory tier's to know. */
bool replay_knows(const struct replay *r, const struct conf_type *type, const struct key *key,
	struct value **value, int64_t *expires_ms);

size_t replay_count(const struct replay *r);    /* words on single keys */
size_t replay_bytes(const struct replay *r);    /* of their values */
size_t replay_clears(const struct replay *r);   /* removals of many keys that Redis has not carried out */
uint64_t replay_lost(const struct replay *r);   /* writes that the bounds have lost so far */

#endif
