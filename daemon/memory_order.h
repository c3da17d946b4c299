/* The order in which entries of a type are evicted: S3-FIFO (Yang, Zhang, Qiu, Yue and Vigfusson, "FIFO
 * Queues are All You Need for Cache Eviction", SOSP 2023) with one bit of use, all that a hit writes.
 * tests/bench/NOTES.md tells what it was compared with. For memory*.c alone. */
#ifndef CATCACHED_MEMORY_ORDER_H
#define CATCACHED_MEMORY_ORDER_H

#include "memory.h"

struct memory_drops;

struct memory_list {
	struct memory_entry *newest, *oldest;
	uint64_t bytes;
};

struct memory_order {
	struct memory_list young;       /* came a short time ago */
	struct memory_list proven;      /* were used while they were young, or came back */
};

/* As young, or proven, as it says itself. */
void memory_order_add(struct memory_order *o, struct memory_entry *e);
void memory_order_remove(struct memory_order *o, struct memory_entry *e, struct memory_drops *drops);

/* The hit: only writes to what is read anyway, and not again what is there. */
static inline void memory_order_use(struct memory_entry *e)
{
	if (!e->is_used)
		e->is_used = true;
}

/* Looks at the entry whose turn it is, of which there is at least one. What was used since the last look gets
 * another turn, unless it must_go: NULL; else it is what is to go. */
struct memory_entry *memory_order_look(struct memory_order *o, bool must_go, struct memory_drops *drops);

#endif
