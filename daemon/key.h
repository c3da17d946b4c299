/* A cache key with its hash: computed once per request and handed down to every
 * table that is asked. */
#ifndef CATCACHED_KEY_H
#define CATCACHED_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct key {
	const char *data;       /* borrowed; not terminated */
	uint32_t len;           /* 1..CONF_KEY_MAX */
	uint64_t hash;          /* XXH3-64, seeded at random for this process */
};

/* A key over len bytes at data, which it borrows. */
struct key key_of(const char *data, size_t len);

/* A copy with bytes of its own, which have a NUL behind them for the drivers' sake;
 * free them with free((char *)copy.data). */
struct key key_dup(const struct key *k);

/* Room for the bytes of keys that are made here rather than sent (hashed names):
 * starts as NULL, lives until key_room_free. */
struct key_room;
char *key_room_add(struct key_room **room, size_t len);
void key_room_free(struct key_room *room);

static inline bool key_equal(const struct key *a, const struct key *b)
{
	return a->hash == b->hash && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

#endif
