/* SIEVE; see memory_order.h.
 *
 *   oldest -newer-> used, unused, used ... newest <- what comes
 *                         ^ hand -->
 *
 * What was used stays where it is, with its bit cleared: until the hand is there again it must be used again. */
#include "memory_order.h"

#include "memory_entry.h"

#define LOOKS 100       /* the most entries passed over for one eviction, so that none takes long (some 10 us) */

void memory_order_add(struct memory_order *o, struct memory_entry *e)
{
	e->newer = 0;
	e->older = memory_link(o->newest);
	if (o->newest)
		o->newest->newer = memory_link(e);
	else
		o->oldest = e;
	o->newest = e;
}

void memory_order_remove(struct memory_order *o, struct memory_entry *e)
{
	struct memory_entry *newer = memory_linked(e->newer), *older = memory_linked(e->older);
	if (o->hand == e)
		o->hand = newer;
	if (newer)
		newer->older = e->older;
	else
		o->newest = older;
	if (older)
		older->newer = e->newer;
	else
		o->oldest = newer;
}

struct memory_entry *memory_order_look(struct memory_order *o)
{
	struct memory_entry *e = o->hand ? o->hand : o->oldest;
	for (unsigned i = 0; e && e->is_used && i < LOOKS; i++) {
		e->is_used = false;
		e = memory_linked(e->newer);
	}
	o->hand = e;
	return e;
}
