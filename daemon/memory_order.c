/* S3-FIFO; see memory_order.h.
 *
 *   new --> young -- used --> proven <-+
 *             |                 |      |
 *             | unused          +-used-+
 *             v                 v unused
 *            gone              gone
 *
 * The young ones take a tenth of the bytes, so that what is asked for but once does not drive out what is
 * asked for often. Who comes back soon after it went while young is proven at once: the table remembers them. */
#include "memory_order.h"

#include "memory_drop.h"
#include "memory_entry.h"

#define YOUNG_PART 10   /* of the bytes one part */

static void append(struct memory_list *l, struct memory_entry *e)
{
	e->newer = 0;
	e->older = memory_link(l->newest);
	if (l->newest)
		l->newest->newer = memory_link(e);
	else
		l->oldest = e;
	l->newest = e;
	l->bytes += memory_entry_bytes(e);
}

void memory_order_add(struct memory_order *o, struct memory_entry *e)
{
	append(e->is_proven ? &o->proven : &o->young, e);
}

void memory_order_remove(struct memory_order *o, struct memory_entry *e, struct memory_drops *drops)
{
	struct memory_list *l = e->is_proven ? &o->proven : &o->young;
	struct memory_entry *newer = memory_linked(e->newer), *older = memory_linked(e->older);
	memory_drops_leave(drops, e);
	if (newer)
		newer->older = e->older;
	else
		l->newest = older;
	if (older)
		older->newer = e->newer;
	else
		l->oldest = newer;
	l->bytes -= memory_entry_bytes(e);
}

struct memory_entry *memory_order_look(struct memory_order *o, bool must_go, struct memory_drops *drops)
{
	bool is_young = !o->proven.oldest || (o->young.oldest && o->young.bytes * YOUNG_PART > o->young.bytes + o->proven.bytes);
	struct memory_entry *e = is_young ? o->young.oldest : o->proven.oldest;
	if (must_go || !e->is_used || memory_drop_of(drops, e))
		return e;
	memory_order_remove(o, e, drops);
	e->is_used = false;
	e->is_proven = true;
	append(&o->proven, e);
	return NULL;
}
