/* The order in which entries of a type are evicted: SIEVE (Zhang, Yang, Yue, Vigfusson and Rashmi,
 * "SIEVE is Simpler than LRU", NSDI 2024), which a hit costs one bit. tests/bench/NOTES.md tells what it
 * was compared with. For memory.c alone. */
#ifndef CATCACHED_MEMORY_ORDER_H
#define CATCACHED_MEMORY_ORDER_H

#include "memory.h"

struct memory_order {
	struct memory_entry *newest, *oldest;   /* as they came */
	struct memory_entry *hand;              /* looked at next; NULL: the oldest */
};

void memory_order_add(struct memory_order *o, struct memory_entry *e);
void memory_order_remove(struct memory_order *o, struct memory_entry *e);

/* The hit: only writes to what is read anyway, and not again what is there. */
static inline void memory_order_use(struct memory_entry *e)
{
	if (!e->is_used)
		e->is_used = true;
}

/* Moves the hand past what was used since it was there before, and tells what is to go: the first that was not.
 * NULL: it came to the end; the next call begins anew. */
struct memory_entry *memory_order_look(struct memory_order *o);

#endif
