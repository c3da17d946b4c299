/* Open addressing, at most half full; see keyset.h. */
#include "keyset.h"

#include <stdlib.h>

#include "../proto/buf.h"

static void keyset_put(struct keyset *s, uint64_t hash)
{
	size_t i = hash & (s->cap - 1);
	while (s->at[i] && s->at[i] != hash)
		i = (i + 1) & (s->cap - 1);
	s->n += !s->at[i];
	s->at[i] = hash;
}

void keyset_add(struct keyset *s, uint64_t hash)
{
	if (2 * s->n >= s->cap) {
		struct keyset before = *s;
		*s = (struct keyset){.cap = before.cap ? 2 * before.cap : 1024};
		s->at = xcalloc(s->cap, sizeof(*s->at));
		for (size_t i = 0; i < before.cap; i++)
			if (before.at[i])
				keyset_put(s, before.at[i]);
		free(before.at);
	}
	keyset_put(s, hash + !hash);
}

bool keyset_has(struct keyset *s, uint64_t hash)
{
	size_t i = (hash + !hash) & (s->cap - 1);
	while (s->cap && s->at[i] && s->at[i] != hash + !hash)
		i = (i + 1) & (s->cap - 1);
	return s->cap && s->at[i];
}

void keyset_free(struct keyset *s)
{
	free(s->at);
}
