/* The memory tier: a hash table of entries bounded in bytes, and in entries per
 * type. Values are held by reference; what is being written to a client stays
 * alive when its entry goes. Nothing here knows Redis, fetches or clients. */
#ifndef CATCACHED_MEMORY_H
#define CATCACHED_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "key.h"

struct memory;
struct value;

#define MEMORY_FOREVER INT64_MAX

enum source { SOURCE_CLIENT, SOURCE_FETCH, SOURCE_REDIS };      /* who brought the value here */

/* One key's place, in as few bytes as can be, for there are millions: blocks begin at a multiple of 16 and
 * below 2^48, which leaves 20 bits of a pointer for others. Read-only outside memory*.c; a pointer is
 * good until the next call that puts, drops, gets or expires. */
struct memory_entry {
	uint64_t chain : 44, stored_low : 20;   /* next in the bucket; see memory_stored_ms */
	uint64_t newer : 44, stored_high : 20;  /* in the order of eviction, per type */
	uint64_t older : 44;
	uint64_t key_len : 13, source : 2;      /* enum source */
	uint64_t is_used : 1;                   /* since eviction last looked at it */
	uint64_t is_proven : 1;                 /* see memory_order.h */
	uint64_t is_apart : 1;                  /* the value is in a block of its own */
	int64_t expires_ms;                     /* end of its logical TTL; MEMORY_FOREVER: none */
	uint32_t epoch;                         /* of the tracking it came under; see tiers.h */
	uint16_t type;                          /* its place, see conf.h */
	char rest[];                            /* the value, or a pointer to it; then the key */
};

/* NULL: known not to exist (negative_ttl). A reference keeps a small value's whole entry from being freed. */
static inline struct value *memory_value(const struct memory_entry *e)
{
	struct value *v;
	if (!e->is_apart)
		return (struct value *)e->rest;
	memcpy(&v, e->rest, sizeof(v));
	return v;
}

/* clock_ms when it came; later by as many ms as there were drops to be told from in that one. */
static inline int64_t memory_stored_ms(const struct memory_entry *e)
{
	return (int64_t)((uint64_t)e->stored_high << 20 | e->stored_low);
}

/* For how long it has been here. */
static inline int64_t memory_age_ms(const struct memory_entry *e, int64_t now_ms)
{
	int64_t stored_ms = memory_stored_ms(e);
	return now_ms > stored_ms ? now_ms - stored_ms : 0;
}

/* The e->key_len bytes of its key. */
const char *memory_key(const struct memory_entry *e);

/* What to put. */
struct memory_item {
	unsigned type;
	enum source source;
	struct value *value;                    /* NULL: does not exist */
	int64_t stored_ms, expires_ms;          /* stored_ms never goes back from one put to the next */
	uint32_t epoch;
};

struct memory_type_stats {
	uint64_t entries, bytes;                /* now */
	uint64_t evictions, expired;            /* so far */
};

/* What is settled for a type. */
#define MEMORY_TYPES_MAX UINT16_MAX
struct memory_bounds {
	uint64_t max_entries;                   /* 0: no bound of its own */
	int64_t keep_ms;                        /* how long its values are kept past their end */
};

/* limit: bytes for everything the table holds, allocator overhead and the table itself included. */
struct memory *memory_new(uint64_t limit, const struct memory_bounds *types, size_t n_types);
void memory_free(struct memory *m);

/* New bounds, for as many types as before or more. What is over them now goes with the next puts and sweeps. */
void memory_set_bounds(struct memory *m, uint64_t limit, const struct memory_bounds *types, size_t n_types);

/* The entry of key at now_ms, or NULL; one that is past its end, and past its type's keep_ms
 * if it has a value, is dropped. memory_get counts as use for eviction, memory_peek does not. */
struct memory_entry *memory_get(struct memory *m, const struct key *key, int64_t now_ms);
struct memory_entry *memory_peek(struct memory *m, const struct key *key, int64_t now_ms);

/* Asks the processor for what memory_get of each of the keys will look at, which in a large table is in none of its caches.
 * To ask for several at once takes hardly longer than for one. Changes nothing. */
void memory_prefetch(const struct memory *m, const struct key *keys, size_t n);

/* Puts item under key in place of what was there, once as much is evicted as all bounds ask for. Of what is over the limit
 * in bytes one slice goes, and what is over it by more than one part in MEMORY_OVER_PART; if memory_is_over then, the rest is
 * to go by memory_sweep. A value up to VALUE_WITHIN_MAX is copied, of a larger one a reference is taken. 0; or -1 if
 * the item alone is over the limit, or without memory: then nothing is left under key. */
#define MEMORY_OVER_PART 8
int memory_put(struct memory *m, const struct key *key, const struct memory_item *item);

/* A new end for an entry. */
void memory_set_end(struct memory_entry *e, int64_t expires_ms);

/* Removes key. True if a live value (not a remembered absence) was there. */
bool memory_drop(struct memory *m, const struct key *key, int64_t now_ms);

/* Removes all of a type whose key begins with prefix ("" for all): at once for whoever asks;
 * what it took is given back slice by slice. If one slice is enough dropped is called
 * before the return, else from memory_sweep: with the count of live values removed. */
#define MEMORY_SLICE 1000       /* entries looked at in one, or a quarter of that removed, fewer of large values: up to some 200 us */
typedef void (*memory_dropped_fn)(void *arg, unsigned type, uint64_t live);
void memory_drop_prefix(struct memory *m, unsigned type, const char *prefix, size_t prefix_len, int64_t now_ms,
	memory_dropped_fn dropped, void *arg);

/* The next slice, of that or of what is over the bounds. True if there are more: memory_sweep is then to be called again soon. */
bool memory_sweep(struct memory *m);

/* Walks the table, a part at a call: from cursor 0 on, with the cursor that each call gives
 * back, until that is 0. Every entry that is there from the first call to the last is shown,
 * some perhaps twice; each call shows those of some count buckets. */
typedef void (*memory_each_fn)(void *arg, const struct memory_entry *e);
uint64_t memory_scan(struct memory *m, uint64_t cursor, size_t count, memory_each_fn each, void *arg);

/* Walks a part of the table and drops what is past its end, a slice at a call. Called at short intervals. True
 * if much was past: then there is more, and it is to be called again soon. */
bool memory_expire(struct memory *m, int64_t now_ms);

uint64_t memory_bytes(const struct memory *m);
bool memory_is_over(const struct memory *m);    /* its limit, until it is swept */
uint64_t memory_limit(const struct memory *m);
uint64_t memory_entries(const struct memory *m);
const struct memory_type_stats *memory_type_stats(const struct memory *m, unsigned type);

#endif
