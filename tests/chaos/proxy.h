/* A proxy between a daemon and Redis, both on Unix sockets: a thread of the test that
 * passes bytes on and, when told to, holds replies back, cuts connections in the middle
 * of one, or passes nothing at all. What is said to it is in force when the call returns. */
#ifndef CATCACHED_TESTS_PROXY_H
#define CATCACHED_TESTS_PROXY_H

#include <stdbool.h>
#include <stddef.h>

struct proxy;

/* Listens on one path and connects to the other for each connection it gets. */
struct proxy *proxy_start(const char *listen_path, const char *server_path);

/* Closes all. NULL is allowed. */
void proxy_stop(struct proxy *p);

/* Every reply arrives so much later; 0: at once. */
void proxy_delay(struct proxy *p, int ms);

/* From each of the next `times` pieces of replies longer than keep bytes, only so many
 * are passed on; then the connection is closed. */
void proxy_cut(struct proxy *p, size_t keep, unsigned times);

/* Cuts still to be made. */
unsigned proxy_cuts_left(struct proxy *p);

/* Passes nothing, in neither direction, and accepts nobody, till told otherwise. */
void proxy_stall(struct proxy *p, bool is_stalled);

#endif
