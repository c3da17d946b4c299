/* Entries; see memory_entry.h.
 *
 *   small value:  | fields | value | its bytes | key |      one block, freed with the value's last reference
 *   large, none:  | fields | pointer | key |
 *
 * 10 bytes of key and 16 of value take 72 bytes, which is what malloc gives without loss. */
#include "memory_entry.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#include "value.h"

#define REST offsetof(struct memory_entry, rest)
static_assert(REST == VALUE_WITHIN_AT, "value.h tells where a value within an entry is");

const char *memory_key(const struct memory_entry *e)
{
	return e->rest + (e->is_apart ? sizeof(struct value *) : sizeof(struct value) + memory_value(e)->len);
}

struct memory_entry *memory_entry_new(const struct key *key, const struct memory_item *item, int64_t stored_ms)
{
	struct value *v = item->value;
	bool is_apart = !v || v->len > VALUE_WITHIN_MAX;
	struct memory_entry *e = malloc(REST + (is_apart ? sizeof(v) : sizeof(*v) + v->len) + key->len);
	if (!e)
		return NULL;
	assert(memory_link(e) >> MEMORY_LINK_BITS == 0 && memory_linked(memory_link(e)) == e);
	*e = (struct memory_entry){.stored_low = (uint64_t)stored_ms, .stored_high = (uint64_t)stored_ms >> 20, .key_len = key->len,
		.source = item->source, .is_apart = is_apart, .expires_ms = item->expires_ms, .epoch = item->epoch, .type = (uint16_t)item->type};
	assert(memory_stored_ms(e) == stored_ms && e->key_len == key->len);
	if (!is_apart) {
		value_copy_within(e, v);
	} else {
		memcpy(e->rest, &v, sizeof(v));
		if (v)
			value_ref(v);
	}
	memcpy((char *)memory_key(e), key->data, key->len);
	return e;
}

void memory_entry_free(struct memory_entry *e)
{
	bool is_apart = e->is_apart;
	value_unref(memory_value(e)); /* else this frees e, once nobody holds the value any more */
	if (is_apart)
		free(e);
}

size_t memory_entry_bytes(const struct memory_entry *e)
{
	size_t own = malloc_usable_size((void *)e) + sizeof(size_t);
	return own + (e->is_apart && memory_value(e) ? value_footprint(memory_value(e)) : 0);
}

uint64_t memory_entry_hash(const struct memory_entry *e)
{
	return key_of(memory_key(e), e->key_len).hash;
}
