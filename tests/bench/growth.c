/* What size costs: hits among 10^3, 10^5 and 10^7 entries, pauses while the table grows, and
 * while a million entries expire at once. */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "contest.h"
#include "load.h"
#include "report.h"
#include "server.h"

#define VALUE_LEN 16
#define ENTRY_BYTES 300         /* what an entry may take, to see whether there is memory for all */
#define PING_RATE 2000
#define PINGERS 16              /* so many that a pause of a few ms does not hold up later pings by more than itself */
#define PAUSE_MS 1.0            /* the longest that is allowed */
#define EXPIRE_MS 9900          /* from the first SET to the end of all */
#define EXPIRE_MIN_MS 1000      /* there must be so much left at the last SET */
#define AFTER_S 5.0
#define NS 1000000000
#define TABLES 3                /* sizes of the table that are compared */

static const char daemon_yaml[] =
	"memory: {limit: 16G}\nredis: off\n"
	"types:\n"
	"  memory: {key: 'm:{name}', ttl: 1d, tiers: [memory]}\n";

static struct load_options entries(const struct server *s, enum wire_op op, uint32_t n)
{
	return (struct load_options){.socket = s->socket, .wire = &wire_redis, .op = op, .prefix = 'm', .value_len = VALUE_LEN,
		.n_keys = n, .connections = 4, .depth = 16};
}

/* ---- pauses ---- */

struct pauses {
	double p999_ms, max_ms;
	uint64_t long_ones, pings;      /* those over PAUSE_MS; all */
	double turn_ms;                 /* the longest turn of the loop */
};

/* Pings at a steady rate while the other load, if any, runs: for so many requests of it or so long. */
static struct pauses ping_beside(const struct server *s, struct load *other, uint64_t requests, double seconds)
{
	struct load_options o = {.socket = s->socket, .wire = &wire_redis, .op = WIRE_PING, .n_keys = 1, .connections = PINGERS, .depth = 1,
		.rate = PING_RATE};
	struct load *pinger = load_open(&o), *loads[] = {other ? other : pinger, pinger};
	server_time_turns(s);
	server_prefer_self(true);
	load_run(loads, other ? 2 : 1, seconds, requests);
	server_prefer_self(false);
	const struct hist *h = &load_result(pinger)->latency;
	struct pauses p = {.p999_ms = (double)hist_quantile(h, 0.999) / 1e6, .max_ms = (double)h->max_ns / 1e6,
		.long_ones = hist_above(h, (uint64_t)(PAUSE_MS * 1e6)), .pings = h->n, .turn_ms = server_longest_turn_ms(s)};
	load_close(pinger);
	return p;
}

static void add_pauses(struct report *report, const char *what, const struct pauses *p)
{
	fprintf(stderr, "pings, %s: p99.9 %.3f ms, max %.3f ms; longest turn %.3f ms\n", what, p->p999_ms, p->max_ms, p->turn_ms);
	report_add(report, "| %s | %.3f | %.3f | %llu of %llu | %.3f |\n", what, p->p999_ms, p->max_ms, (unsigned long long)p->long_ones,
		(unsigned long long)p->pings, p->turn_ms);
}

static struct pauses fill_with_pings(const struct server *s, uint32_t n, uint64_t requests)
{
	struct load_options o = entries(s, WIRE_SET, n);
	o.in_order = true;
	struct load *filler = load_open(&o);
	struct pauses p = ping_beside(s, filler, requests, 3600);
	load_close(filler);
	return p;
}

/* ---- growth ---- */

static void add_costs(struct report *report, const struct contest *c)
{
	const char *fewest = c->contestants[0].name;
	for (size_t i = 0; i < c->n; i++) {
		const char *name = c->contestants[i].name;
		double ratio = contest_ratio(c, FIGURE_CPU_US, name, fewest);
		report_add(report, "| %s | %u x %u | %.3f | %.2f |\n", name, c->connections, c->depth,
			contest_median(c, name, FIGURE_CPU_US), ratio);
		if (i > 0)
			report_target(report, AT_MOST, ratio, 1.6, 2, "", "GET hit, %u x %u, random keys of %s entries: CPU, to %s",
				c->connections, c->depth, name, fewest);
	}
}

static void measure_costs(const struct server *servers, const uint32_t *counts, const struct scale *scale, struct report *report)
{
	static const unsigned depths[] = {1, 16};
	report_add(report, "GET hits of %d B, each key by chance.\n\n| entries | connections x depth | CPU us/request | to the fewest |\n"
		"|---|---|---|---|\n", VALUE_LEN);
	for (size_t j = 0; j < 2; j++) {
		struct contest c = {.what = "GET hit by table size", .connections = 50, .depth = depths[j]};
		for (size_t i = 0; i < TABLES; i++)
			c.contestants[c.n++] = (struct contestant){.name = servers[i].name, .server = &servers[i],
				.load = entries(&servers[i], WIRE_GET, counts[i])};
		contest_run(&c, scale);
		add_costs(report, &c);
	}
}

/* As many as wanted, or what there is memory for. */
static uint32_t most_entries(uint32_t wanted)
{
	char line[128];
	unsigned long long kb = 0;
	FILE *f = fopen("/proc/meminfo", "r");
	while (f && kb == 0 && fgets(line, sizeof(line), f))
		(void)sscanf(line, "MemAvailable: %llu", &kb);
	if (f)
		fclose(f);
	return kb * 1024 / ENTRY_BYTES > wanted ? wanted : wanted / 10;
}

static void measure_growth(const struct scale *scale, struct report *report)
{
	const uint32_t counts[TABLES] = {1000, 100000, most_entries(scale->most)}, most = counts[TABLES - 1];
	char names[TABLES][16];
	struct server servers[TABLES];
	struct pauses growing, steady;
	for (size_t i = 0; i < TABLES; i++) {
		snprintf(names[i], sizeof(names[i]), "%u", counts[i]);
		server_start_daemon_timed(&servers[i], names[i], PLACE_SERVER, daemon_yaml);
		growing = fill_with_pings(&servers[i], counts[i], counts[i]);
	}
	steady = fill_with_pings(&servers[TABLES - 1], most, most / 4);
	measure_costs(servers, counts, scale, report);
	report_add(report, "\nPings at %d a second, latency from when they were due, and the longest turn of the daemon's loop in processor time (see "
		"turns.h), in ms:\n\n| beside | p99.9 | longest | over %.0f ms | turn |\n|---|---|---|---|---|\n", PING_RATE, PAUSE_MS);
	add_pauses(report, "SETs by which the table grows to the largest size", &growing);
	add_pauses(report, "the same SETs again, no growth", &steady);
	report_target(report, AT_MOST, growing.max_ms, PAUSE_MS, 3, "ms", "table grows to %u entries: longest wait of a ping (%.3f ms without growth)",
		most, steady.max_ms);
	report_target(report, AT_MOST, growing.turn_ms, PAUSE_MS, 3, "ms", "table grows to %u entries: longest turn of the loop", most);
	for (size_t i = 0; i < TABLES; i++)
		server_stop(&servers[i]);
}

/* ---- expiry ---- */

static void sleep_until(int64_t ns)
{
	int64_t left = ns - now_ns();
	if (left > 0)
		nanosleep(&(struct timespec){.tv_sec = left / NS, .tv_nsec = left % NS}, NULL);
}

/* How many entries the daemon holds, by its STATS. */
static long long count_entries(const struct server *s)
{
	redisContext *c = server_client(s);
	redisReply *r = redisCommand(c, "STATS");
	const char *at = r && r->type == REDIS_REPLY_STRING ? strstr(r->str, "\"entries\":") : NULL;
	long long n = at ? strtoll(at + strlen("\"entries\":"), NULL, 10) : -1;
	freeReplyObject(r);
	redisFree(c);
	return n;
}

static void measure_expiry(const struct scale *scale, struct report *report)
{
	struct server s;
	server_start_daemon_timed(&s, "expiry", PLACE_SERVER, daemon_yaml);
	struct load_options o = entries(&s, WIRE_SET_BRIEF, scale->many);
	o.in_order = true;
	o.end_ns = now_ns() + (int64_t)EXPIRE_MS * 1000000;
	struct load *filler = load_open(&o);
	load_run(&filler, 1, (EXPIRE_MS - EXPIRE_MIN_MS) / 1000.0, scale->many);
	bool all = load_result(filler)->requests >= scale->many;
	load_close(filler);
	sleep_until(o.end_ns - NS / 2);
	struct pauses during = ping_beside(&s, NULL, 0, AFTER_S);
	long long left = count_entries(&s);
	struct pauses after = ping_beside(&s, NULL, 0, AFTER_S); /* as long, since what the machine does comes now and then */
	server_stop(&s);
	add_pauses(report, "nothing", &after);
	add_pauses(report, "the expiry of all entries at one time", &during);
	report_add(report, "\nOf %u entries that expired at one time, %lld took up memory %.1f s later.\n", scale->many, left, AFTER_S - 0.5);
	if (!all) {
		report_unmeasured(report, "expiry of all entries at once", "they could not be written in time");
		return;
	}
	report_target(report, AT_MOST, during.max_ms, PAUSE_MS, 3, "ms", "%u entries expire at once: longest wait of a ping (%.3f ms after)",
		scale->many, after.max_ms);
	report_target(report, AT_MOST, during.turn_ms, PAUSE_MS, 3, "ms", "%u entries expire at once: longest turn of the loop", scale->many);
}

void growth_measure(const struct scale *scale, struct report *report)
{
	report_add(report, "\n## Growth\n\n");
	server_place_self(PLACE_GENERATOR);
	measure_growth(scale, report);
	measure_expiry(scale, report);
	server_place_self(PLACE_ANY);
}
