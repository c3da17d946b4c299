/* Interleaved rounds; see contest.h. */
#include "contest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "server.h"

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double median(const double *values, size_t n)
{
	double sorted[ROUNDS_MAX];
	if (n == 0 || n > ROUNDS_MAX)
		die("median of %zu values", n);
	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), compare);
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

/* -1 where the quantile would be one of the last few. */
static double quantile_us(const struct hist *h, double q)
{
	return (double)h->n * (1 - q) < 1 ? -1 : (double)hist_quantile(h, q) / 1000;
}

static void measure(struct contest *c, size_t i, const struct scale *scale)
{
	struct contestant *who = &c->contestants[i];
	struct load_options options = who->load;
	options.socket = who->server->socket;
	options.connections = c->connections;
	options.depth = c->depth;
	struct load *l = load_open(&options);
	load_run(&l, 1, scale->warm_s, 0);
	load_reset(l);
	int64_t cpu = server_cpu_ns(who->server), behind = who->behind ? server_cpu_ns(who->behind) : 0;
	load_run(&l, 1, scale->round_s, 0);
	cpu = server_cpu_ns(who->server) - cpu;
	behind = who->behind ? server_cpu_ns(who->behind) - behind : 0;
	const struct load_result *r = load_result(l);
	double n = (double)r->requests;
	double figures[FIGURES] = {
		[FIGURE_CPU_US] = (double)cpu / n / 1000,
		[FIGURE_BEHIND_US] = (double)behind / n / 1000,
		[FIGURE_PER_S] = n / r->seconds,
		[FIGURE_P50_US] = quantile_us(&r->latency, 0.5),
		[FIGURE_P99_US] = quantile_us(&r->latency, 0.99),
		[FIGURE_P999_US] = quantile_us(&r->latency, 0.999),
	};
	for (size_t f = 0; f < FIGURES; f++)
		c->figures[i][f][c->rounds] = figures[f];
	load_close(l);
}

static void tell(const struct contest *c)
{
	fprintf(stderr, "%-24s %2u x %-2u", c->what, c->connections, c->depth);
	for (size_t i = 0; i < c->n; i++)
		fprintf(stderr, "  %s %.2f us", c->contestants[i].name, median(c->figures[i][FIGURE_CPU_US], c->rounds));
	fputc('\n', stderr);
}

void contest_run(struct contest *c, const struct scale *scale)
{
	for (c->rounds = 0; c->rounds < scale->rounds; c->rounds++)
		for (size_t i = 0; i < c->n; i++)
			measure(c, i, scale);
	tell(c);
}

size_t contest_find(const struct contest *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->contestants[i].name, name) == 0)
			return i;
	die("%s: nobody is called %s", c->what, name);
}

double contest_median(const struct contest *c, const char *name, enum figure figure)
{
	return median(c->figures[contest_find(c, name)][figure], c->rounds);
}

double contest_ratio(const struct contest *c, enum figure figure, const char *name, const char *to)
{
	double ratios[ROUNDS_MAX];
	size_t i = contest_find(c, name), j = contest_find(c, to);
	for (unsigned r = 0; r < c->rounds; r++)
		ratios[r] = c->figures[i][figure][r] / c->figures[j][figure][r];
	return median(ratios, c->rounds);
}
