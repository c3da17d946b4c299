/* A contest: the same generator on several servers, or requests, in interleaved rounds. What
 * counts is the median over the rounds; of a ratio, that of the ratios within each round,
 * so that a machine that is slower for a while does not matter. */
#ifndef CATCACHED_BENCH_CONTEST_H
#define CATCACHED_BENCH_CONTEST_H

#include <stddef.h>

#include "load.h"

struct scale;
struct server;

#define CONTESTANTS_MAX 4
#define ROUNDS_MAX 32

enum figure {
	FIGURE_CPU_US,          /* of the server, for each request */
	FIGURE_BEHIND_US,       /* of what it asks in turn */
	FIGURE_PER_S,           /* requests */
	FIGURE_P50_US, FIGURE_P99_US, FIGURE_P999_US,   /* latency; below 0: too few requests in a round to tell */
	FIGURES
};

struct contestant {
	const char *name;
	const struct server *server;
	const struct server *behind;    /* what it asks in turn, or NULL; counted apart */
	struct load_options load;       /* its socket and numbers of connections and depth are set by the contest */
};

struct contest {
	const char *what;
	unsigned connections, depth;
	struct contestant contestants[CONTESTANTS_MAX];
	size_t n;
	double figures[CONTESTANTS_MAX][FIGURES][ROUNDS_MAX];
	unsigned rounds;
};

/* Measures all of them; tells the figures on standard error as they come. */
void contest_run(struct contest *c, const struct scale *scale);

/* The contestant of that name; it must be there. */
size_t contest_find(const struct contest *c, const char *name);

double contest_median(const struct contest *c, const char *name, enum figure figure);
double contest_ratio(const struct contest *c, enum figure figure, const char *name, const char *to);

double median(const double *values, size_t n);

#endif
