/* What the parts of the benchmark share: how long it runs, and the parts themselves. Each
 * part starts the servers it needs, measures, and puts rows into the report. */
#ifndef CATCACHED_BENCH_BENCH_H
#define CATCACHED_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct report;

struct scale {
	const char *name;               /* the value of $BENCH; "" for the default */
	const char *told;               /* for the report */
	unsigned rounds;
	double warm_s, round_s;         /* of each server in each round */
	unsigned traced_requests;       /* under strace */
	unsigned stall_rounds;
	double stall_s;                 /* of each part of such a round */
	double churn_s;
	uint32_t many, most;            /* entries: for cost and expiry; for growth */
};

void hits_measure(const struct scale *scale, struct report *report);
void stalls_measure(const struct scale *scale, struct report *report);
void memory_measure(const struct scale *scale, struct report *report);
void growth_measure(const struct scale *scale, struct report *report);

#endif
