/* What the tests of this folder share: the fleet that they drive. */
#ifndef CATCACHED_TESTS_CHAOS_H
#define CATCACHED_TESTS_CHAOS_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "load.h"

struct harness;

/* CHAOS=full: the long runs. */
bool chaos_is_full(void);

/* harness_main, with more time for each test. */
int chaos_main(const char *area, const TTest *const *tests, size_t n);

/* The source (PostgreSQL, or SQLite if postgres_url is NULL), Redis with these options, and all
 * sidecars, who have reached it. They reach it at $REDIS_SOCKET: DIR/redis.sock unless it was set. */
void chaos_start(struct harness *h, const char *postgres_url, uint32_t n_sourced, const char *redis_options);

#endif
