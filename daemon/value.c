/* Shared immutable bytes; see value.h. */
#include "value.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"

#define MALLOC_OVERHEAD sizeof(size_t)  /* glibc's chunk header before each block */

struct value *value_new(size_t len)
{
	if (len > SIZE_MAX / 2)
		return NULL;
	struct value *v = malloc(sizeof(*v) + len);
	if (!v)
		return NULL;
	*v = (struct value){.refs = 1, .items = VALUE_ITEMS_UNKNOWN, .len = len};
	return v;
}

struct value *value_copy(const void *data, size_t len)
{
	struct value *v = value_new(len);
	if (v && len)
		memcpy(v->data, data, len);
	return v;
}

struct value *value_from_buf(struct buf *b)
{
	struct value *v = b->failed ? NULL : realloc(b->data, sizeof(*v) + b->len);
	if (!v)
		return NULL;
	memmove(v->data, v, b->len);
	*v = (struct value){.refs = 1, .items = VALUE_ITEMS_UNKNOWN, .len = b->len};
	*b = (struct buf)BUF_INIT;
	return v;
}

struct value *value_shrink(struct value *v, size_t len)
{
	assert(v->refs == 1 && len <= v->len);
	v->len = len;
	struct value *smaller = realloc(v, sizeof(*v) + len);
	return smaller ? smaller : v;
}

struct value *value_ref(struct value *v)
{
	assert(v->refs > 0 && v->refs < UINT32_MAX);
	v->refs++;
	return v;
}

void value_unref(struct value *v)
{
	if (!v)
		return;
	assert(v->refs > 0);
	if (--v->refs == 0)
		free(v);
}

size_t value_footprint(const struct value *v)
{
	return malloc_usable_size((void *)v) + MALLOC_OVERHEAD;
}
