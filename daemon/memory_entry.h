/* The links between entries; for memory*.c alone. */
#ifndef CATCACHED_MEMORY_ENTRY_H
#define CATCACHED_MEMORY_ENTRY_H

#include "memory.h"

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

#endif
