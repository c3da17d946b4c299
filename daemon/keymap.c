/* The map of things under way; see keymap.h. */
#include "keymap.h"

#include <assert.h>

static size_t bucket_of(const struct key *key)
{
	return key->hash % KEYMAP_BUCKETS;
}

static struct keynode *first_equal(struct keynode *node, const struct key *key)
{
	while (node && !key_equal(&node->key, key))
		node = node->chain;
	return node;
}

struct keynode *keymap_find(const struct keymap *m, const struct key *key)
{
	return first_equal(m->buckets[bucket_of(key)], key);
}

struct keynode *keymap_next(const struct keynode *node)
{
	return first_equal(node->chain, &node->key);
}

void keymap_add(struct keymap *m, struct keynode *node)
{
	struct keynode **bucket = &m->buckets[bucket_of(&node->key)];
	node->chain = *bucket;
	*bucket = node;
	m->count++;
}

void keymap_remove(struct keymap *m, struct keynode *node)
{
	struct keynode **at = &m->buckets[bucket_of(&node->key)];
	while (*at && *at != node)
		at = &(*at)->chain;
	assert(*at);
	*at = node->chain;
	m->count--;
}

static struct keynode *first_from(const struct keymap *m, size_t bucket)
{
	for (; bucket < KEYMAP_BUCKETS; bucket++)
		if (m->buckets[bucket])
			return m->buckets[bucket];
	return NULL;
}

struct keynode *keymap_first(const struct keymap *m)
{
	return first_from(m, 0);
}

struct keynode *keymap_after(const struct keymap *m, const struct keynode *node)
{
	return node->chain ? node->chain : first_from(m, bucket_of(&node->key) + 1);
}
