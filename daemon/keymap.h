/* A small intrusive hash map by key: for the things under way (fetches, fences),
 * of which there are thousands, not millions. Nodes live in their owner's struct;
 * the map owns nothing. Several nodes may have the same key. */
#ifndef CATCACHED_KEYMAP_H
#define CATCACHED_KEYMAP_H

#include "key.h"

#define KEYMAP_BUCKETS 1024

struct keynode {
	struct keynode *chain;
	struct key key;         /* set by the owner before keymap_add; bytes live as long as the node is in */
};

struct keymap {
	struct keynode *buckets[KEYMAP_BUCKETS];
	size_t count;
};

/* The first node of key, or the next one of the same key after node; NULL at the end. */
struct keynode *keymap_find(const struct keymap *m, const struct key *key);
struct keynode *keymap_next(const struct keynode *node);

void keymap_add(struct keymap *m, struct keynode *node);

/* node must be in. */
void keymap_remove(struct keymap *m, struct keynode *node);

/* Every node, in no order: for (n = keymap_first(m); n; n = keymap_after(m, n)).
 * The node at hand may not be removed meanwhile. */
struct keynode *keymap_first(const struct keymap *m);
struct keynode *keymap_after(const struct keymap *m, const struct keynode *node);

#endif
