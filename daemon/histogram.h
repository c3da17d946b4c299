/* How long things took: counts by duration, in the buckets that Prometheus shows. All
 * histograms have the same buckets, so that they can be compared and added. Embedded in its
 * owner; all zero is an empty one. */
#ifndef CATCACHED_HISTOGRAM_H
#define CATCACHED_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BOUNDS 16

/* The upper bounds of the buckets, rising; behind the last there is one without a bound. */
extern const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

struct histogram {
	uint64_t counts[HISTOGRAM_BOUNDS + 1];  /* of each bucket alone */
	uint64_t sum_us;
};

/* Counts what took took_us (negative: 0). */
void histogram_add(struct histogram *h, int64_t took_us);

/* The same for what took no time worth measuring: it is in the lowest bucket, and adds nothing
 * to the sum. For paths where reading the clock would cost more than the rest. */
static inline void histogram_add_instant(struct histogram *h)
{
	h->counts[0]++;
}

/* All that was counted. */
uint64_t histogram_count(const struct histogram *h);

#endif
