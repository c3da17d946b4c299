/* Removals of many entries; see memory_drop.h. */
#include "memory_drop.h"

#include <stdlib.h>

#include "../proto/buf.h"
#include "memory_entry.h"
#include "memory_order.h"

struct memory_drop *memory_drop_new(struct memory_drops *drops, const struct memory_order *order, const char *prefix, size_t prefix_len)
{
	struct memory_drop *d = xmalloc(sizeof(*d));
	*d = (struct memory_drop){.prefix = xstrndup(prefix, prefix_len), .prefix_len = prefix_len, .order = order,
		.at = order->young.oldest ? order->young.oldest : order->proven.oldest, .last = order->proven.newest};
	TAILQ_INSERT_TAIL(drops, d, link);
	return d;
}

void memory_drop_free(struct memory_drops *drops, struct memory_drop *d)
{
	TAILQ_REMOVE(drops, d, link);
	free(d->prefix);
	free(d);
}

static bool means(const struct memory_drop *d, const struct memory_entry *e)
{
	return d->type == e->type && memory_stored_ms(e) <= d->until_ms && e->key_len >= d->prefix_len
		&& memcmp(memory_key(e), d->prefix, d->prefix_len) == 0;
}

struct memory_drop *memory_drop_of(const struct memory_drops *drops, const struct memory_entry *e)
{
	struct memory_drop *d;
	TAILQ_FOREACH(d, drops, link)
		if (means(d, e))
			return d;
	return NULL;
}

static struct memory_entry *first_proven(const struct memory_drop *d)
{
	return d->last ? d->order->proven.oldest : NULL;
}

static struct memory_entry *after(const struct memory_drop *d, const struct memory_entry *e)
{
	if (e->is_proven)
		return e == d->last ? NULL : memory_linked(e->newer);
	return e->newer ? memory_linked(e->newer) : first_proven(d);
}

struct memory_entry *memory_drop_next(struct memory_drop *d, size_t *looks)
{
	for (; d->at && *looks > 0; --*looks) {
		struct memory_entry *e = d->at;
		if (means(d, e))
			return e;
		d->at = e->is_proven || memory_stored_ms(e) <= d->until_ms ? after(d, e) : first_proven(d);
	}
	return NULL;
}

void memory_drops_leave(struct memory_drops *drops, const struct memory_entry *e)
{
	struct memory_drop *d;
	TAILQ_FOREACH(d, drops, link) {
		if (d->at == e)
			d->at = after(d, e);
		if (d->last == e)
			d->last = memory_linked(e->older);
	}
}
