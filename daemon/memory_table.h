/* The memory tier's hash table, a linear one (Witold Litwin, 1980): it grows by one bucket at
 * a time, which takes over half of the entries of one other, so that no growth is ever waited for.
 * For memory.c alone. */
#ifndef CATCACHED_MEMORY_TABLE_H
#define CATCACHED_MEMORY_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "memory.h"

#define MEMORY_TABLE_MIN 1024   /* buckets to begin with */

/* A bucket also remembers one of its keys that is gone, by some bits of the hash; this is what takes no room else. */
struct memory_bucket {
	uint64_t first : 44;    /* entry; see memory_entry.h */
	uint64_t gone : 20;     /* 0: none */
};

struct memory_table {
	struct memory_bucket *buckets;
	size_t n;               /* buckets in use */
	size_t mask;            /* the least 2^k - 1 that all bucket numbers fit in */
	size_t most;            /* buckets there is address space for */
};

/* Room for that many buckets is reserved as addresses alone; memory is taken by those in use. */
void memory_table_init(struct memory_table *t, size_t most);

/* Room for more buckets, if there is any. */
void memory_table_set_most(struct memory_table *t, size_t most);
void memory_table_fini(struct memory_table *t);

size_t memory_table_bytes(const struct memory_table *t);

/* See memory_prefetch. */
void memory_table_prefetch(const struct memory_table *t, const struct key *keys, size_t n);

/* The entry of key, or NULL. */
struct memory_entry *memory_table_find(const struct memory_table *t, const struct key *key);

/* hash is that of the entry's key. */
void memory_table_add(struct memory_table *t, struct memory_entry *e, uint64_t hash);
void memory_table_remove(struct memory_table *t, struct memory_entry *e, uint64_t hash);

/* A key is gone; and whether it is the last of its bucket that went. */
void memory_table_note_gone(struct memory_table *t, uint64_t hash);
bool memory_table_is_gone(const struct memory_table *t, uint64_t hash);

/* One more bucket, unless there are as many as can be. */
void memory_table_grow(struct memory_table *t);

/* memory_scan. */
uint64_t memory_table_scan(const struct memory_table *t, uint64_t cursor, size_t count, memory_each_fn each, void *arg);

#endif
