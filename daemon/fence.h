/* Fences: how a fill learns that its key was changed while it was under way.
 *
 * Whoever is about to read a value that it may store later (from Redis, from a
 * fetch, a conditional write) sets a fence first. Every change to the key breaks
 * the fences that stand on it at that moment. The value may be stored only if the
 * fence is still whole when it is lifted. */
#ifndef CATCACHED_FENCE_H
#define CATCACHED_FENCE_H

#include <stdbool.h>

#include "keymap.h"

struct fence {
	struct keynode node;
	bool broken;
};

struct fences {
	struct keymap map;
};

/* Sets f, embedded in its owner, on key, whose bytes live until fence_lift. */
void fence_set(struct fences *all, struct fence *f, const struct key *key);

/* Takes f away. True if it is whole: nothing changed the key since fence_set. */
bool fence_lift(struct fences *all, struct fence *f);

/* The key changed: breaks what stands on it. */
void fence_break(struct fences *all, const struct key *key);

/* The same for each key for which matches says so. */
void fence_break_matching(struct fences *all, bool (*matches)(void *arg, const struct key *key), void *arg);

#endif
