/* Shared immutable bytes; see value.h.
 *
 *   block of its own:  | facts | value | data ... |
 *   within an entry:   | the entry's fields | value | data ... | the rest of the entry | */
#include "value.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "../proto/buf.h"
#include "json.h"

#define MALLOC_OVERHEAD sizeof(size_t)  /* glibc's chunk header before each block */

/* Before a value in a block of its own. */
struct facts {
	uint64_t digest;
	int64_t items;
};

#define HEAD (sizeof(struct facts) + sizeof(struct value))

static void *block_of(const struct value *v)
{
	return (char *)v - (v->is_within ? VALUE_WITHIN_AT : sizeof(struct facts));
}

static struct value *value_in(void *block, size_t len)
{
	struct value *v = (void *)((char *)block + sizeof(struct facts));
	*v = (struct value){.refs = 1, .len = (uint32_t)len};
	return v;
}

struct value *value_new(size_t len)
{
	void *block = len <= VALUE_LEN_MAX ? malloc(HEAD + len) : NULL;
	return block ? value_in(block, len) : NULL;
}

struct value *value_copy(const void *data, size_t len)
{
	struct value *v = value_new(len);
	if (v && len)
		memcpy(v->data, data, len);
	return v;
}

struct value *value_copy_within(void *block, const struct value *from)
{
	struct value *v = (void *)((char *)block + VALUE_WITHIN_AT);
	assert(from->len <= VALUE_WITHIN_MAX);
	*v = (struct value){.refs = 1, .inspected = from->inspected, .is_json = from->is_json, .is_within = true, .len = from->len};
	memcpy(v->data, from->data, from->len);
	return v;
}

struct value *value_from_buf(struct buf *b)
{
	size_t len = b->len;
	char *block = b->failed || len > VALUE_LEN_MAX ? NULL : realloc(b->data, HEAD + len);
	if (!block)
		return NULL;
	memmove(block + HEAD, block, len);
	*b = (struct buf)BUF_INIT;
	return value_in(block, len);
}

struct value *value_shrink(struct value *v, size_t len)
{
	assert(v->refs == 1 && !v->is_within && len <= v->len);
	v->len = (uint32_t)len;
	char *smaller = realloc(block_of(v), HEAD + len);
	return smaller ? (void *)(smaller + sizeof(struct facts)) : v;
}

struct value *value_ref(struct value *v)
{
	assert(v->refs > 0 && v->refs < VALUE_REFS_MAX);
	v->refs++;
	return v;
}

void value_unref(struct value *v)
{
	if (!v)
		return;
	assert(v->refs > 0);
	if (--v->refs == 0)
		free(block_of(v));
}

void value_set_inspected(struct value *v, bool is_json, int64_t items, uint64_t digest)
{
	v->inspected = true;
	v->is_json = is_json;
	if (!v->is_within)
		*(struct facts *)block_of(v) = (struct facts){.digest = digest, .items = items};
}

int64_t value_items(const struct value *v)
{
	struct json_summary summary;
	struct json_error error;
	assert(v->inspected);
	if (!v->is_json)
		return VALUE_ITEMS_NONE;
	if (!v->is_within)
		return ((const struct facts *)block_of(v))->items;
	(void)json_check(v->data, v->len, &summary, &error); /* it is JSON, as was found before */
	return summary.kind == JSON_ARRAY ? summary.items : VALUE_ITEMS_NONE;
}

uint64_t value_digest(const struct value *v)
{
	assert(v->inspected);
	return v->is_within ? XXH3_64bits(v->data, v->len) : ((const struct facts *)block_of(v))->digest;
}

size_t value_footprint(const struct value *v)
{
	return malloc_usable_size(block_of(v)) + MALLOC_OVERHEAD;
}
