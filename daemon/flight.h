/* Reads that memory cannot answer, and refreshes. For one key at most one flight is
 * under way, however many wait for it: it asks memory, then Redis, then fetches under a
 * lease of the fleet, judges what came, stores it, and answers all. A flight whose key
 * is changed meanwhile stores nothing and starts again. */
#ifndef CATCACHED_FLIGHT_H
#define CATCACHED_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "outcome.h"

struct conf_type;
struct event_base;
struct fetcher;
struct flights;
struct history;
struct replay;
struct tiers;

#define FLIGHTS_MAX 10000       /* under way at once; one more read is refused */
#define FLIGHT_TRIES 3          /* fills broken by changes before a reader gets what was fetched, not stored */

enum read_mode {
	READ_GET,               /* through all tiers, then fetch */
	READ_PEEK,              /* through the tiers only */
	READ_REFRESH,           /* fetch, with a fetch that begins after this call */
	READ_FORCE,             /* the same, and store what comes whatever the guard and max_shrink say */
	READ_ORDERED,           /* through the tiers at once, in the order in which they are told of writes; then as READ_GET */
};

struct flights *flights_new(struct event_base *base, struct tiers *tiers, struct history *history,
	struct replay *replay);

/* Must be told before the first read of a type that has a fetch. */
void flights_set_fetcher(struct flights *all, struct fetcher *fetcher);

/* The configuration is another one: flights go on under what it says of their keys. One whose key belongs to
 * another type now (or to none) brings what it was to bring to those GETs that came before, and stores nothing; for
 * the others it begins again. */
void flights_retype(struct flights *all);

/* From now on every flight lands with an error as soon as what it waits for is over. */
void flights_close(struct flights *all);

/* All flights have landed (their fetcher, Redis and workers are freed before). */
void flights_free(struct flights *all);

struct read_order {
	enum read_mode mode;
	pid_t group;                    /* the process group of who asks, if that may be a program that fetches; else -1 */
	outcome_fn done;
	void *arg;
};

/* Reads key of type; the key is borrowed until the call returns. Waits at the most
 * for the type's fetch timeout, a Redis timeout, the lease of another sidecar (2 s) and a
 * second of grace. A program that would wait for itself, for the key it fetches or for one
 * whose fetch waits for that, gets what the tiers have, or an error for a refresh. */
void flights_read(struct flights *all, const struct conf_type *type, const struct key *key, const struct read_order *order);

/* Looks into the tiers at once, past a flight under way, and stores nothing. */
void flights_look(struct flights *all, const struct conf_type *type, const struct key *key, outcome_fn done, void *arg);

/* Refreshes key behind the back of those who are served meanwhile: nobody waits, and
 * nothing happens if a flight is under way or the key was tried in vain lately. */
void flights_refresh(struct flights *all, const struct conf_type *type, const struct key *key);

/* Something happened to key, or to its lease: whoever waits for another sidecar's fetch
 * of it looks again. flights_wake_all: something happened to Redis. */
void flights_wake(struct flights *all, const struct key *key);
void flights_wake_all(struct flights *all);

/* What is under way for key, for EXPLAIN. False: nothing. */
struct flight_view {
	bool is_fetching, is_leased;
	const char *awaits;             /* who holds the lease, if another sidecar fetches; lives until the loop goes on */
	bool answers_stale;             /* a GET that comes now does not wait for it */
	int64_t since_ms;               /* how long it has been fetching, or else under way */
	size_t waiting;
};
bool flights_explain(const struct flights *all, const struct key *key, struct flight_view *view);

size_t flights_count(const struct flights *all);
size_t flights_waiting(const struct flights *all);

#endif
