/* What could not be told to Redis while it was away, to be told when it is back: a
 * removal, or the newest value, per key. Types with a fetch are always replayed as
 * removals, since their truth is elsewhere and may have moved on.
 *
 * Bounded: past REPLAY_MAX keys, or REPLAY_MAX_BYTES of values, what is queued of the
 * type at hand is given up for a note that the whole type is to be cleared. So no
 * invalidation is ever lost. */
#ifndef CATCACHED_REPLAY_H
#define CATCACHED_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"

struct conf_type;
struct redis;
struct replay;
struct value;

#define REPLAY_MAX 10000
#define REPLAY_MAX_BYTES ((size_t)64 << 20)

/* n_types: the indexes of types are below this. */
struct replay *replay_new(size_t n_types);
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

/* The whole type is to be cleared. */
void replay_clear(struct replay *r, const struct conf_type *type);

/* Redis is back: sends all that is queued, removals in one command. Each stays queued
 * until Redis has taken it. Calls clear for each type that is to be cleared, and forgets that. */
void replay_flush(struct replay *r, struct redis *redis, void (*clear)(void *arg, const struct conf_type *type), void *arg);

/* True if Redis is still to be told of key (or of its whole type): what it has is older
 * than what was written here. *value is then the newest, borrowed until the next call, or
 * NULL if the key was removed or its value is the memory tier's to know. */
bool replay_knows(const struct replay *r, const struct conf_type *type, const struct key *key,
	struct value **value, int64_t *expires_ms);

size_t replay_count(const struct replay *r);
size_t replay_bytes(const struct replay *r);

#endif
