/* A histogram of latencies; see hist.h. Place i holds what lies from floor_of(i) up to
 * floor_of(i + 1): the first two powers are exact, each other one halves the precision. */
#include "hist.h"

#include <stddef.h>

#define PLACES (HIST_POWERS * HIST_STEPS)

static size_t place_of(uint64_t ns)
{
	if (ns < HIST_STEPS)
		return ns;
	unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - 6;
	size_t place = (shift + 1) * HIST_STEPS + (ns >> shift) - HIST_STEPS;
	return place < PLACES ? place : PLACES - 1;
}

static uint64_t floor_of(size_t place)
{
	if (place < HIST_STEPS)
		return place;
	size_t shift = place / HIST_STEPS - 1;
	return (uint64_t)(HIST_STEPS + place % HIST_STEPS) << shift;
}

void hist_add(struct hist *h, uint64_t ns)
{
	h->n++;
	h->counts[place_of(ns)]++;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t below = 0, wanted = (uint64_t)(q * (double)h->n);
	if (q >= 1)
		return h->max_ns;
	for (size_t i = 0; i < PLACES; i++) {
		below += h->counts[i];
		if (below > wanted)
			return floor_of(i);
	}
	return h->max_ns;
}

uint64_t hist_above(const struct hist *h, uint64_t ns)
{
	uint64_t above = 0;
	for (size_t i = place_of(ns) + 1; i < PLACES; i++)
		above += h->counts[i];
	return above;
}
