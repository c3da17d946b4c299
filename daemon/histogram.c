/* Durations by bucket; see histogram.h. */
#include "histogram.h"

/* From a hit in memory to the longest fetch. The alerts of conf/catcached.rules.yaml ask for
 * 100 and 500 ms, so these are bounds. */
const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
	100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

void histogram_add(struct histogram *h, int64_t took_us)
{
	int i = 0;
	if (took_us < 0)
		took_us = 0;
	while (i < HISTOGRAM_BOUNDS && took_us > histogram_bounds_us[i])
		i++;
	h->counts[i]++;
	h->sum_us += (uint64_t)took_us;
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;
	for (int i = 0; i <= HISTOGRAM_BOUNDS; i++)
		n += h->counts[i];
	return n;
}
