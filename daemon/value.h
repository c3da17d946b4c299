/* A value: immutable bytes with a reference count. Made once by whoever got the
 * bytes (a client's SET, Redis, a fetch), then shared by the memory tier, by the
 * replies being written and by the write to Redis: no reader has a copy.
 *
 * A small value may lie within another block, the memory tier's entry: then its last
 * reference frees that block.
 *
 * Filled by one thread before it is shared; from then on owned by the loop
 * thread alone, so the count is a plain integer. A worker may read the bytes of
 * a value while the job that holds a reference runs. */
#ifndef CATCACHED_VALUE_H
#define CATCACHED_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

#define VALUE_LEN_MAX UINT32_MAX
#define VALUE_REFS_MAX ((1U << 29) - 1)
#define VALUE_ITEMS_NONE (-1)   /* not a JSON array */
#define VALUE_WITHIN_AT 38      /* a value within another block begins at this byte of it */
#define VALUE_WITHIN_MAX 1024   /* its bytes */

/* There are millions of small ones, so it is no larger than it has to be, and lies where there is room. */
struct value {
	uint32_t refs : 29;
	uint32_t inspected : 1;         /* digest, items and is_json are known; see check.h */
	uint32_t is_json : 1;
	uint32_t is_within : 1;
	uint32_t len;                   /* bytes in data */
	char data[];                    /* not terminated */
} __attribute__((packed, aligned(2)));

/* A value of len uninitialised bytes and one reference, or NULL when there is no memory. */
struct value *value_new(size_t len);

/* The same, with the bytes copied in. */
struct value *value_copy(const void *data, size_t len);

/* A copy of v, of up to VALUE_WITHIN_MAX bytes, in a malloc'ed block with room for it at
 * VALUE_WITHIN_AT. It has one reference; the block is its own from now on. */
struct value *value_copy_within(void *block, const struct value *v);

/* A value of b's bytes that takes over its memory; b is empty then. They are moved a
 * little within it, so for large ones this is work for a worker. NULL without memory
 * (or if b has failed): b is as it was. */
struct value *value_from_buf(struct buf *b);

/* Gives back the unused tail of a value nobody else holds; len <= v->len.
 * Returns the value, which may have moved. */
struct value *value_shrink(struct value *v, size_t len);

/* One more reference; returns v. */
struct value *value_ref(struct value *v);

/* One reference less; the last one frees. NULL is allowed. */
void value_unref(struct value *v);

/* What an inspection found: the XXH3-64 of the bytes, and the elements of a JSON array or
 * VALUE_ITEMS_NONE. Kept, except within another block: small values are quickly looked through again. */
void value_set_inspected(struct value *v, bool is_json, int64_t items, uint64_t digest);
int64_t value_items(const struct value *v);
uint64_t value_digest(const struct value *v);

/* Bytes the allocator really holds for v (the whole block that it is within), its own overhead included. */
size_t value_footprint(const struct value *v);

#endif
