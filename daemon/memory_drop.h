/* Removals of many entries under way, each on its walk through the order of a type. For memory*.c alone.
 *
 * A drop means all entries of its prefix that came before it began: stored_ms tells, which is later than that of
 * all drops under way. What it means does not change its place any more (memory_order.c sees to it), so the
 * walk goes through the young ones up to the first that came since, then up to the last of the
 * proven ones that there was. */
#ifndef CATCACHED_MEMORY_DROP_H
#define CATCACHED_MEMORY_DROP_H

#include <sys/queue.h>

#include "memory.h"

struct memory_order;

struct memory_drop {
	TAILQ_ENTRY(memory_drop) link;
	unsigned type;
	char *prefix;
	size_t prefix_len;
	int64_t until_ms;               /* means what was stored until then */
	int64_t now_ms;                 /* when it began: tells what was live */
	const struct memory_order *order;
	struct memory_entry *at;        /* to be looked at; NULL: none is left */
	struct memory_entry *last;      /* of the proven ones; NULL: none of them */
	uint64_t live;                  /* values removed so far, by whomever */
	memory_dropped_fn dropped;
	void *arg;
};
TAILQ_HEAD(memory_drops, memory_drop);

struct memory_drop *memory_drop_new(struct memory_drops *drops, const struct memory_order *order, const char *prefix, size_t prefix_len);
void memory_drop_free(struct memory_drops *drops, struct memory_drop *d);

/* The drop that means e, or NULL. */
struct memory_drop *memory_drop_of(const struct memory_drops *drops, const struct memory_entry *e);

/* The next that d means, or NULL: no more. Looks at no more than *looks, and counts them down. */
struct memory_entry *memory_drop_next(struct memory_drop *d, size_t *looks);

/* e is about to leave its place. */
void memory_drops_leave(struct memory_drops *drops, const struct memory_entry *e);

#endif
