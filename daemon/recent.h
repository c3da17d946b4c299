/* What the status page lists: the slowest fetches of the last hour, and the last
 * invalidations. Types and hashes of keys, never keys: whoever may connect to admin.listen may
 * look, and that is more than those whom the socket admits. Bounded; all zero is empty. */
#ifndef CATCACHED_RECENT_H
#define CATCACHED_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_MAX 12           /* of each */
#define RECENT_TEXT_MAX 128
#define RECENT_SLOW_MS 3600000  /* how long a slow fetch is told */

struct recent_fetch {
	char type[RECENT_TEXT_MAX];
	uint64_t hash;          /* of the key */
	int64_t at_ms;          /* clock_wall_ms of its end; 0: a free place */
	int64_t took_us;
	bool failed;
};

/* Those that follow each other, of one type and by the same, are one. */
struct recent_change {
	char type[RECENT_TEXT_MAX];
	char by[RECENT_TEXT_MAX];
	uint64_t hash;          /* of the last key; 0: of many at once */
	int64_t at_ms;          /* clock_wall_ms of the last */
	uint64_t times;
};

struct recent {
	struct recent_fetch slowest[RECENT_MAX];        /* in no order */
	struct recent_change changes[RECENT_MAX];       /* a ring: */
	size_t n_changes;       /* so far; the last is at (n_changes - 1) % RECENT_MAX */
};

/* A fetch has ended. */
void recent_fetched(struct recent *r, const char *type, uint64_t hash, int64_t took_us, bool failed);

/* A key of type was invalidated by somebody (hash 0: many were). */
void recent_changed(struct recent *r, const char *type, uint64_t hash, const char *by);

/* The slowest fetches of the last hour, the slowest first; the number of them. */
size_t recent_slowest(const struct recent *r, struct recent_fetch found[RECENT_MAX]);

/* The nth change, counted back from the last (0); NULL: there were no more. */
const struct recent_change *recent_change(const struct recent *r, size_t n);

#endif
