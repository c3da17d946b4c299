/* A circuit breaker (Nygard, "Release It!"): what fails again and again is left alone
 * for a while, so that its trouble does not become ours.
 *
 *   CLOSED --BREAKER_FAILURES in a row--> OPEN --time--> HALF OPEN: one is let through
 *      ^                                   ^                 |
 *      +-------------- it answers ---------+--- it fails ----+   (OPEN lasts twice as long then)
 *
 * Embedded in its owner; all zero is a new one, closed. */
#ifndef CATCACHED_BREAKER_H
#define CATCACHED_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES 3
#define BREAKER_MIN_MS 1000     /* the first time open */
#define BREAKER_MAX_MS 30000

struct breaker {
	unsigned failures;      /* in a row */
	int64_t open_ms;        /* how long it is open this time; 0: closed */
	int64_t until_ms;       /* clock_ms of its end */
	bool is_probing;        /* one was let through and has not come back */
};

/* True if a request may be made; then breaker_report must follow. */
bool breaker_admits(struct breaker *b);

/* What a request that was admitted showed of what it was made to. */
enum breaker_outcome {
	BREAKER_UNKNOWN,        /* nothing */
	BREAKER_ANSWERED,       /* that it works, if perhaps not for this request */
	BREAKER_FAILED,
};
void breaker_report(struct breaker *b, enum breaker_outcome outcome);

/* closed, open, or half_open. */
const char *breaker_state(const struct breaker *b);

#endif
