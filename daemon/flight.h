/* Reads that memory cannot answer. For one key at most one flight is under way,
 * however many wait for it: it asks memory, then Redis, then fetches, judges what
 * came, stores it, and answers all. A flight whose key is changed meanwhile stores
 * nothing and starts again. */
#ifndef CATCACHED_FLIGHT_H
#define CATCACHED_FLIGHT_H

#include <stddef.h>

#include "outcome.h"

struct conf_type;
struct event_base;
struct fetcher;
struct flights;
struct tiers;

#define FLIGHTS_MAX 10000       /* under way at once; one more read is refused */
#define FLIGHT_TRIES 3          /* fills broken by changes before a reader gets what was fetched, not stored */

enum read_mode {
	READ_GET,               /* through all tiers, then fetch */
	READ_PEEK,              /* through the tiers only */
	READ_REFRESH,           /* fetch, with a fetch that begins after this call */
};

struct flights *flights_new(struct event_base *base, struct tiers *tiers);

/* Must be told before the first read of a type that has a fetch. */
void flights_set_fetcher(struct flights *all, struct fetcher *fetcher);

/* From now on every flight lands with an error as soon as what it waits for is over. */
void flights_close(struct flights *all);

/* All flights have landed (their fetcher, Redis and workers are freed before). */
void flights_free(struct flights *all);

/* Reads key of type; the key is borrowed until the call returns. Waits at the most
 * for the type's fetch timeout, a Redis timeout and a second of grace. */
void flights_read(struct flights *all, const struct conf_type *type, const struct key *key,
	enum read_mode mode, outcome_fn done, void *arg);

size_t flights_count(const struct flights *all);
size_t flights_waiting(const struct flights *all);

#endif
