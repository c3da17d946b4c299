/* Fences on keys; see fence.h. */
#include "fence.h"

#include <stddef.h>

static struct fence *fence_at(struct keynode *node)
{
	return (struct fence *)((char *)node - offsetof(struct fence, node));
}

void fence_set(struct fences *all, struct fence *f, const struct key *key)
{
	*f = (struct fence){.node = {.key = *key}};
	keymap_add(&all->map, &f->node);
}

bool fence_lift(struct fences *all, struct fence *f)
{
	keymap_remove(&all->map, &f->node);
	return !f->broken;
}

void fence_break(struct fences *all, const struct key *key)
{
	for (struct keynode *n = keymap_find(&all->map, key); n; n = keymap_next(n))
		fence_at(n)->broken = true;
}

void fence_break_matching(struct fences *all, bool (*matches)(void *arg, const struct key *key), void *arg)
{
	for (struct keynode *n = keymap_first(&all->map); n; n = keymap_after(&all->map, n))
		if (matches(arg, &n->key))
			fence_at(n)->broken = true;
}
