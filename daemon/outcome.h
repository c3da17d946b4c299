/* What came of an operation on a key: the one shape in which the catalog answers. */
#ifndef CATCACHED_OUTCOME_H
#define CATCACHED_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum outcome_status { OUTCOME_FOUND, OUTCOME_ABSENT, OUTCOME_ERROR };

/* Lives during the callback; value_ref what is kept. */
struct outcome {
	enum outcome_status status;
	struct value *value;            /* found by a read */
	int64_t number;                 /* keys touched, or bytes, as the operation says */
	bool is_stale;                  /* its TTL is past: ttl_ms tells since when */
	int64_t ttl_ms;                 /* what is left of the logical TTL; -1: no end */
	int64_t age_ms;                 /* since it came to this daemon; -1: unknown */
	const char *tier;               /* memory, redis or fetch: who answered */
	enum source source;             /* who brought it */
	const char *error;              /* OUTCOME_ERROR: the whole error reply, code first */
};

/* Called exactly once, possibly before the call that was given it returns. */
typedef void (*outcome_fn)(void *arg, const struct outcome *o);

#endif
