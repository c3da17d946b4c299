/* Keys and their hash; see key.h. The seed is drawn once, so that nobody outside
 * can choose keys that collide. */
#include "key.h"

#include <stdlib.h>
#include <sys/random.h>
#define XXH_INLINE_ALL          /* of short keys, the call would be a good part of the time */
#include <xxhash.h>

#include "../proto/buf.h"

static XXH64_hash_t seed(void)
{
	static XXH64_hash_t drawn;
	while (drawn == 0)
		/* No entropy yet, early at boot: an address is random enough. */
		if (getrandom(&drawn, sizeof(drawn), GRND_NONBLOCK) < 0)
			drawn = (XXH64_hash_t)(uintptr_t)&drawn;
	return drawn;
}

struct key key_of(const char *data, size_t len)
{
	return (struct key){.data = data, .len = (uint32_t)len, .hash = XXH3_64bits_withSeed(data, len, seed())};
}

struct key key_dup(const struct key *k)
{
	return (struct key){.data = xstrndup(k->data, k->len), .len = k->len, .hash = k->hash};
}

struct key_room {
	struct key_room *next;
	char bytes[];
};

char *key_room_add(struct key_room **room, size_t len)
{
	struct key_room *r = xmalloc(sizeof(*r) + len);
	r->next = *room;
	*room = r;
	return r->bytes;
}

void key_room_free(struct key_room *room)
{
	while (room) {
		struct key_room *next = room->next;
		free(room);
		room = next;
	}
}
