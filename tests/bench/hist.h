/* A histogram of latencies: 64 steps for each power of two, so a quantile is right to 1.6 %. */
#ifndef CATCACHED_BENCH_HIST_H
#define CATCACHED_BENCH_HIST_H

#include <stdint.h>

#define HIST_STEPS 64
#define HIST_POWERS 36          /* up to HIST_STEPS << 35 ns, half an hour */

struct hist {
	uint64_t n, max_ns;
	uint32_t counts[HIST_POWERS * HIST_STEPS];
};

void hist_add(struct hist *h, uint64_t ns);

/* The latency that a part q (0 to 1) of all do not exceed; 1: the largest, exactly. 0 if there are none. */
uint64_t hist_quantile(const struct hist *h, double q);

/* How many took longer than that. */
uint64_t hist_above(const struct hist *h, uint64_t ns);

#endif
