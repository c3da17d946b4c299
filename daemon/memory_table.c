/* The memory tier's hash table; see memory_table.h.
 *
 *   buckets: | 0 .. split | split .. 2^(k-1) | 2^(k-1) .. n |     mask = 2^k - 1
 *              \__________________________________________/
 *                halves of what was one: told apart by k bits of the hash; the rest by k - 1
 *
 * The hash is not kept in entries, which would cost more than to compute it when one moves. */
#include "memory_table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "memory_entry.h"

#define LINE 64                 /* of a cache; key and value of a small entry are within two of them */
#define GONE_SHIFT 44           /* the upper bits, which do not choose the bucket */

void memory_table_init(struct memory_table *t, size_t most)
{
	*t = (struct memory_table){.n = MEMORY_TABLE_MIN, .mask = MEMORY_TABLE_MIN - 1,
		.most = most > MEMORY_TABLE_MIN ? most : MEMORY_TABLE_MIN};
	void *room = mmap(NULL, t->most * sizeof(*t->buckets), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED) {
		perror("no address space for the table of the memory tier");
		abort();
	}
	t->buckets = room;
}

void memory_table_fini(struct memory_table *t)
{
	munmap(t->buckets, t->most * sizeof(*t->buckets));
}

size_t memory_table_bytes(const struct memory_table *t)
{
	return t->n * sizeof(*t->buckets);
}

static struct memory_bucket *bucket_of(const struct memory_table *t, uint64_t hash)
{
	size_t at = hash & t->mask;
	return &t->buckets[at < t->n ? at : at & t->mask >> 1];
}

static struct memory_entry *first_of(const struct memory_table *t, const struct key *key)
{
	return memory_linked(bucket_of(t, key->hash)->first);
}

struct memory_entry *memory_table_find(const struct memory_table *t, const struct key *key)
{
	struct memory_entry *e = first_of(t, key);
	while (e && (e->key_len != key->len || memcmp(memory_key(e), key->data, key->len) != 0))
		e = memory_linked(e->chain);
	return e;
}

static void prefetch_entry(const struct memory_entry *e)
{
	if (!e)
		return;
	__builtin_prefetch(e);
	__builtin_prefetch((const char *)e + LINE);
}

/* What an entry that is there leads to: its key, behind the value, and the next one. */
static void prefetch_behind(const struct memory_entry *e)
{
	if (!e)
		return;
	__builtin_prefetch(memory_key(e));
	prefetch_entry(memory_linked(e->chain));
}

/* In steps for all of them, each of which reads what the one before has asked for. */
void memory_table_prefetch(const struct memory_table *t, const struct key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(bucket_of(t, keys[i].hash));
	for (size_t i = 0; i < n; i++)
		prefetch_entry(first_of(t, &keys[i]));
	for (size_t i = 0; i < n; i++)
		prefetch_behind(first_of(t, &keys[i]));
}

void memory_table_set_most(struct memory_table *t, size_t most)
{
	if (most <= t->most)
		return;
	void *room = mremap(t->buckets, t->most * sizeof(*t->buckets), most * sizeof(*t->buckets), MREMAP_MAYMOVE);
	if (room == MAP_FAILED)
		return; /* then chains get longer */
	t->buckets = room;
	t->most = most;
}

static void push(struct memory_bucket *bucket, struct memory_entry *e)
{
	e->chain = bucket->first;
	bucket->first = memory_link(e);
}

void memory_table_add(struct memory_table *t, struct memory_entry *e, uint64_t hash)
{
	push(bucket_of(t, hash), e);
}

void memory_table_remove(struct memory_table *t, struct memory_entry *e, uint64_t hash)
{
	struct memory_bucket *bucket = bucket_of(t, hash);
	struct memory_entry *before = memory_linked(bucket->first);
	if (before == e) {
		bucket->first = e->chain;
		return;
	}
	while (before && memory_linked(before->chain) != e)
		before = memory_linked(before->chain);
	assert(before);
	before->chain = e->chain;
}

void memory_table_note_gone(struct memory_table *t, uint64_t hash)
{
	bucket_of(t, hash)->gone = hash >> GONE_SHIFT;
}

bool memory_table_is_gone(const struct memory_table *t, uint64_t hash)
{
	return hash >> GONE_SHIFT && bucket_of(t, hash)->gone == hash >> GONE_SHIFT;
}

void memory_table_grow(struct memory_table *t)
{
	if (t->n == t->most)
		return;
	if (t->n > t->mask)
		t->mask = t->mask * 2 + 1;
	struct memory_bucket *split = &t->buckets[t->n - (t->mask >> 1) - 1];
	struct memory_entry *e = memory_linked(split->first), *next;
	t->n++;
	split->first = 0;
	for (; e; e = next) {
		next = memory_linked(e->chain);
		push(bucket_of(t, memory_entry_hash(e)), e);
	}
}

/* ---- walking ---- */

static uint64_t reversed(uint64_t v)
{
	uint64_t r = 0;
	for (int i = 0; i < 64; i++, v >>= 1)
		r = r << 1 | (v & 1);
	return r;
}

static void show_bucket(const struct memory_table *t, size_t at, memory_each_fn each, void *arg)
{
	for (const struct memory_entry *e = memory_linked(t->buckets[at].first); e; e = memory_linked(e->chain))
		each(arg, e);
}

/* The cursor counts with its highest bit first (Pieter Noordhuis's way, of Redis's SCAN):
 * when a bucket is split, both halves still come where the one would have. */
uint64_t memory_table_scan(const struct memory_table *t, uint64_t cursor, size_t count, memory_each_fn each, void *arg)
{
	while (count-- > 0) {
		uint64_t mask = t->n > t->mask ? t->mask : t->mask >> 1;
		for (size_t at = cursor & mask; at < t->n; at += mask + 1)
			show_bucket(t, at, each, arg);
		cursor = reversed(reversed(cursor | ~mask) + 1);
		if (cursor == 0)
			break;
	}
	return cursor;
}
