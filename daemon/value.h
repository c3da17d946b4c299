/* A value: immutable bytes with a reference count. Made once by whoever got the
 * bytes (a client's SET, Redis, a fetch), then shared by the memory tier, by the
 * replies being written and by the write to Redis: no reader has a copy.
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

#define VALUE_ITEMS_UNKNOWN (-1) /* not looked at yet */
#define VALUE_ITEMS_NONE (-2)    /* not a JSON array */

struct value {
	uint32_t refs;
	bool inspected;         /* digest, items and is_json are known; see check.h */
	bool is_json;
	int64_t items;          /* elements of a JSON array, or VALUE_ITEMS_* */
	uint64_t digest;        /* XXH3-64 of the bytes, once inspected */
	size_t len;             /* bytes in data */
	char data[];            /* not terminated */
};

/* A value of len uninitialised bytes and one reference, or NULL when there is no memory. */
struct value *value_new(size_t len);

/* The same, with the bytes copied in. */
struct value *value_copy(const void *data, size_t len);

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

/* Bytes the allocator really holds for v, its own overhead included. */
size_t value_footprint(const struct value *v);

#endif
