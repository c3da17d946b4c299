/* The memory tier: a hash table of entries bounded in bytes, and in entries per
 * type. Entries hold values by reference; what is being written to a client stays
 * alive when its entry goes. Nothing here knows Redis, fetches or clients. */
#ifndef CATCACHED_MEMORY_H
#define CATCACHED_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"

struct memory;
struct value;

#define MEMORY_FOREVER INT64_MAX

enum source { SOURCE_CLIENT, SOURCE_FETCH, SOURCE_REDIS };      /* who brought the value here */

/* One key's place. Read-only outside memory.c; a pointer is good until the next
 * call that puts, drops, gets or expires. */
struct memory_entry {
	struct memory_entry *chain;             /* next in the bucket */
	struct memory_entry *newer, *older;     /* in the order of use, per type */
	struct value *value;                    /* NULL: known not to exist (negative_ttl) */
	int64_t stored_ms;                      /* clock_ms when it came */
	int64_t fresh_ms;                       /* until then a hit needs no second thought */
	int64_t expires_ms;                     /* end of its logical TTL; MEMORY_FOREVER: none */
	int64_t gone_ms;                        /* not even stale after this */
	uint64_t hash;
	uint64_t used;                          /* tick of the last hit: orders types among each other */
	uint32_t epoch;                         /* of the tracking it came under; see tiers.h */
	uint32_t key_len;
	uint16_t type;                          /* index in conf.types */
	uint8_t source;                         /* enum source */
	char key[];
};

/* What to put. */
struct memory_item {
	unsigned type;
	enum source source;
	struct value *value;                    /* NULL: does not exist */
	int64_t stored_ms, fresh_ms, expires_ms, gone_ms;
	uint32_t epoch;
};

struct memory_type_stats {
	uint64_t entries, bytes;                /* now */
	uint64_t evictions, expired;            /* so far */
};

/* limit: bytes for everything the table holds, allocator overhead and the table
 * itself included. max_entries[i] bounds type i (0: no bound of its own). */
struct memory *memory_new(uint64_t limit, const uint64_t *max_entries, size_t n_types);
void memory_free(struct memory *m);

/* The entry of key at now_ms, or NULL; one that is gone is dropped.
 * memory_get counts as use for eviction, memory_peek does not. */
struct memory_entry *memory_get(struct memory *m, const struct key *key, int64_t now_ms);
struct memory_entry *memory_peek(struct memory *m, const struct key *key, int64_t now_ms);

/* Puts item under key in place of what was there, with a reference of its own to
 * the value, and evicts the least recently used until all bounds hold. 0; or -1 if
 * the item alone is over the limit, or without memory: then nothing is left under key. */
int memory_put(struct memory *m, const struct key *key, const struct memory_item *item);

/* New times for an entry of this table, as in memory_item. */
void memory_set_times(struct memory_entry *e, int64_t fresh_ms, int64_t expires_ms, int64_t gone_ms);

/* Removes key. True if a live value (not a remembered absence) was there. */
bool memory_drop(struct memory *m, const struct key *key, int64_t now_ms);

/* Removes all of a type whose key begins with prefix ("" for all): at once for whoever asks;
 * what it took is given back slice by slice. If one slice is enough dropped is called
 * before the return, else from memory_sweep: with the count of live values removed. */
#define MEMORY_SLICE 1000       /* entries looked at in one: some 100 us */
typedef void (*memory_dropped_fn)(void *arg, unsigned type, uint64_t live);
void memory_drop_prefix(struct memory *m, unsigned type, const char *prefix, size_t prefix_len, int64_t now_ms,
	memory_dropped_fn dropped, void *arg);

/* The next slice. True if there are more: memory_sweep is then to be called again soon. */
bool memory_sweep(struct memory *m);

/* Walks the table, a part at a call: from cursor 0 on, with the cursor that each call gives
 * back, until that is 0. Every entry that is there from the first call to the last is shown,
 * some perhaps twice; each call shows those of some count buckets. */
typedef void (*memory_each_fn)(void *arg, const struct memory_entry *e);
uint64_t memory_scan(struct memory *m, uint64_t cursor, size_t count, memory_each_fn each, void *arg);

/* Walks a part of the table and drops what is past its end. Called at short
 * intervals; max_buckets bounds the work of one call. */
void memory_expire(struct memory *m, int64_t now_ms, size_t max_buckets);

uint64_t memory_bytes(const struct memory *m);
uint64_t memory_limit(const struct memory *m);
uint64_t memory_entries(const struct memory *m);
const struct memory_type_stats *memory_type_stats(const struct memory *m, unsigned type);

#endif
