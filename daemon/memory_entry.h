/* Entries as such: making and freeing them, their links. For memory*.c alone. */
#ifndef CATCACHED_MEMORY_ENTRY_H
#define CATCACHED_MEMORY_ENTRY_H

#include "memory.h"

#define MEMORY_ENTRY_MIN 64     /* bytes of the smallest with what it takes of the table, to know how many there may be */
#define MEMORY_LINK_SHIFT 4     /* malloc gives multiples of 16 */
#define MEMORY_LINK_BITS 44

static inline uint64_t memory_link(const struct memory_entry *e)
{
	return (uint64_t)(uintptr_t)e >> MEMORY_LINK_SHIFT;
}

static inline struct memory_entry *memory_linked(uint64_t link)
{
	return (struct memory_entry *)(uintptr_t)(link << MEMORY_LINK_SHIFT);
}

/* An entry that is in nothing yet, or NULL without memory. */
struct memory_entry *memory_entry_new(const struct key *key, const struct memory_item *item, int64_t stored_ms);
void memory_entry_free(struct memory_entry *e);

/* What the allocator holds for it and its value, its own overhead included. */
size_t memory_entry_bytes(const struct memory_entry *e);

uint64_t memory_entry_hash(const struct memory_entry *e);

#endif
