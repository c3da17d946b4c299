/* The address of a host, without blocking the loop: getaddrinfo, on an errand. */
#ifndef CATCACHED_LOOKUP_H
#define CATCACHED_LOOKUP_H

struct errand;
struct event_base;

/* address is numeric, and lives during the call; NULL when there is none: reason then says why. */
typedef void (*lookup_fn)(void *arg, const char *address, const char *reason);

/* Calls done on the loop, with the first of host's addresses for turn 0, the next for turn 1, and so on in a
 * circle. To be given up by errand_abandon. NULL (errno) when the system has no thread left: then done is not called. */
struct errand *lookup_start(struct event_base *base, const char *host, unsigned turn, lookup_fn done, void *arg);

#endif
