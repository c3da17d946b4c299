/* A set of keys, by their hashes alone: one taken for another does no harm to who uses it. */
#ifndef CATCACHED_KEYSET_H
#define CATCACHED_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins as {0}. */
struct keyset {
	uint64_t *at;                   /* cap places, a power of two; 0: free */
	size_t n, cap;
};

void keyset_add(struct keyset *s, uint64_t hash);
bool keyset_has(struct keyset *s, uint64_t hash);
void keyset_free(struct keyset *s);

#endif
