/* What requests cost, beside Redis, memcached and the floor: GET hits of all sizes, SET,
 * GETIF, GET from Redis, and their system calls. All servers run all the time; only the one
 * that is measured has anything to do. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"
#include "bench.h"
#include "contest.h"
#include "report.h"
#include "server.h"
#include "strace.h"

#define MIB (1 << 20)
#define MB10 10000000
#define UNDER_WAY_MAX 600000000  /* bytes of replies; a server that copies holds them all in output buffers */
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char daemon_yaml[] =
	"memory: {limit: 1G}\n"
	"redis: {url: 'unix://${DIR}/behind.sock'}\n"
	"types:\n"
	"  hit: {key: 'h:{name}', ttl: 1d}\n"                   /* as types are by default: in memory and in Redis */
	"  large: {key: 'l:{name}', ttl: 1d}\n"
	"  memory: {key: 'm:{name}', ttl: 1d, tiers: [memory]}\n"
	"  redis: {key: 'r:{name}', ttl: 1d, tiers: [redis]}\n";

static const char *const memcached_argv[] = {
	"memcached", "-s", "{S}", "-t", "1", "-m", "1024", "-I", "32m", "-u", "{U}", NULL,
};

/* The large values are few, as catalogs are. */
static const struct size {
	const char *name;
	size_t bytes;
	uint32_t n_keys;
} sizes[] = {
	{"100 B", 100, 1000}, {"1 KB", 1024, 1000}, {"64 KB", 65536, 16}, {"1 MiB", MIB, 1}, {"10 MB", MB10, 1},
};

static const struct shape {
	unsigned connections, depth;
} shapes[] = {{1, 1}, {1, 16}, {50, 1}, {50, 16}};

static bool is_too_much(const struct size *size, const struct shape *shape)
{
	return size->bytes * shape->connections * shape->depth > UNDER_WAY_MAX;
}

struct peers {
	struct server floor, redis, memcached, behind, daemon;
};

static void start(struct peers *p)
{
	server_start_redis(&p->behind, "behind", PLACE_BEHIND);
	server_start_redis(&p->redis, "redis", PLACE_SERVER);
	server_start(&p->memcached, "memcached", PLACE_SERVER, memcached_argv);
	server_start_daemon(&p->daemon, "catcached", PLACE_SERVER, daemon_yaml);
	server_wait_tracking(&p->daemon);
}

static void stop(struct peers *p)
{
	server_stop(&p->daemon);
	server_stop(&p->memcached);
	server_stop(&p->redis);
	server_stop(&p->behind);
}

/* The floor answers with copies of one reply, so it is started anew for each size. */
static void start_floor(struct peers *p, size_t value_len)
{
	struct message request, reply;
	struct wire_words words = {.prefix = 'h', .value_len = value_len};
	message_init(&request, wire_redis.ops[WIRE_GET].request, &words);
	message_init(&reply, wire_redis.ops[WIRE_GET].reply, &words);
	server_write("reply", reply.bytes, reply.len);
	char *request_len = xasprintf("%zu", request.len);
	const char *const argv[] = {"{B}/tests/bench/floor", "{S}", request_len, "{D}/reply", NULL};
	server_start(&p->floor, "floor", PLACE_SERVER, argv);
	free(request_len);
	message_fini(&request);
	message_fini(&reply);
}

/* ---- contests ---- */

static struct load_options asking(const struct wire *wire, enum wire_op op, char prefix, const struct size *size)
{
	return (struct load_options){.wire = wire, .op = op, .prefix = prefix, .value_len = size->bytes, .n_keys = size->n_keys};
}

static void fill(const struct server *s, struct load_options options)
{
	options.socket = s->socket;
	load_fill(&options);
}

static void add(struct contest *c, const char *name, const struct server *server, struct load_options load)
{
	c->contestants[c->n++] = (struct contestant){.name = name, .server = server, .load = load};
}

static void begin_figures(struct report *report, const char *title, const char *told)
{
	report_add(report, "\n## %s\n\n%s\n\n", title, told);
	report_add(report, "| request | connections x depth | server | CPU us/request | requests/s | p50 us | p99 us | p99.9 us |\n");
	report_add(report, "|---|---|---|---|---|---|---|---|\n");
}

static void add_figures(struct report *report, const struct contest *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const char *name = c->contestants[i].name;
		report_add(report, "| %s | %u x %u | %s | %.2f | %.0f |", c->what, c->connections, c->depth, name,
			contest_median(c, name, FIGURE_CPU_US), contest_median(c, name, FIGURE_PER_S));
		for (enum figure f = FIGURE_P50_US; f <= FIGURE_P999_US; f++) {
			double us = contest_median(c, name, f);
			report_add(report, us < 0 ? " |" : " %.0f |", us);
		}
		report_add(report, "\n");
	}
}

/* ---- GET hits ---- */

/* The targets of hits are for fifty connections. With one, the processor time of every server is mostly that of going to
 * sleep and of waking the client up. */
#define TARGET_CONNECTIONS 50

static const struct {
	const char *size;
	unsigned depth;
	const char *to;
	enum report_rule rule;
	double limit;
} hit_targets[] = {
	{"100 B", 1, "floor", AT_MOST, 1.10}, {"100 B", 1, "memcached", BELOW, 0.85}, {"100 B", 1, "redis", BELOW, 0.75},
	{"1 KB", 1, "floor", AT_MOST, 1.10}, {"1 KB", 1, "memcached", BELOW, 0.85}, {"1 KB", 1, "redis", BELOW, 0.75},
	{"100 B", 16, "redis", BELOW, 0.50}, {"100 B", 16, "floor", AT_MOST, 1.70},
	{"1 KB", 16, "redis", BELOW, 0.50}, {"1 KB", 16, "floor", AT_MOST, 1.70},
	{"1 MiB", 1, "floor", AT_MOST, 1.15}, {"1 MiB", 1, "redis", BELOW, 0.60},
};

static void judge_hits(struct report *report, const struct contest *c, const struct size *size)
{
	for (size_t i = 0; i < LENGTH(hit_targets) && c->connections == TARGET_CONNECTIONS; i++)
		if (strcmp(hit_targets[i].size, size->name) == 0 && hit_targets[i].depth == c->depth)
			report_target(report, hit_targets[i].rule, contest_ratio(c, FIGURE_CPU_US, "catcached", hit_targets[i].to),
				hit_targets[i].limit, 2, "", "GET hit %s, %u x %u: CPU, to %s", size->name, c->connections, c->depth,
				hit_targets[i].to);
}

static void add_ratios(struct report *report, const struct contest *c)
{
	report_add(report, "| %s | %u x %u | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", c->what, c->connections, c->depth,
		contest_ratio(c, FIGURE_CPU_US, "catcached", "floor"), contest_ratio(c, FIGURE_CPU_US, "catcached", "memcached"),
		contest_ratio(c, FIGURE_CPU_US, "catcached", "redis"), contest_ratio(c, FIGURE_PER_S, "catcached", "floor"),
		contest_ratio(c, FIGURE_PER_S, "catcached", "memcached"), contest_ratio(c, FIGURE_PER_S, "catcached", "redis"));
}

static void run_hits(struct contest *c, struct peers *p, const struct size *size, const struct shape *shape, const struct scale *scale)
{
	struct load_options unseeing = asking(&wire_redis, WIRE_GET, 'h', size);
	unseeing.same_reply = true;
	*c = (struct contest){.connections = shape->connections, .depth = shape->depth};
	c->what = size->name;
	add(c, "floor", &p->floor, unseeing);
	add(c, "memcached", &p->memcached, asking(&wire_memcached, WIRE_GET, 'h', size));
	add(c, "redis", &p->redis, asking(&wire_redis, WIRE_GET, 'h', size));
	add(c, "catcached", &p->daemon, asking(&wire_redis, WIRE_GET, 'h', size));
	contest_run(c, scale);
}

static void measure_hits(struct peers *p, const struct scale *scale, struct report *report)
{
	struct contest *contests = xcalloc(LENGTH(sizes) * LENGTH(shapes), sizeof(*contests));
	size_t n = 0;
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		start_floor(p, sizes[i].bytes);
		fill(&p->memcached, asking(&wire_memcached, WIRE_SET, 'h', &sizes[i]));
		fill(&p->redis, asking(&wire_redis, WIRE_SET, 'h', &sizes[i]));
		fill(&p->daemon, asking(&wire_redis, WIRE_SET, 'h', &sizes[i]));
		for (size_t j = 0; j < LENGTH(shapes); j++) {
			if (is_too_much(&sizes[i], &shapes[j]))
				continue;
			run_hits(&contests[n], p, &sizes[i], &shapes[j], scale);
			judge_hits(report, &contests[n++], &sizes[i]);
		}
		server_stop(&p->floor);
	}
	report_add(report, "\n## GET hit: catcached as a ratio to the others\n\n"
		"| value | connections x depth | CPU to floor | to memcached | to redis | throughput to floor | to memcached | to redis |\n"
		"|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < n; i++)
		add_ratios(report, &contests[i]);
	begin_figures(report, "GET hit: figures", "1 MiB and 10 MB at 50 x 16 are left out: the output buffers of a server that copies "
		"would take gigabytes.");
	for (size_t i = 0; i < n; i++)
		add_figures(report, &contests[i]);
	free(contests);
}

/* ---- SET, GETIF, GET from Redis ---- */

static void measure_set(struct peers *p, const struct scale *scale, struct report *report)
{
	for (size_t j = 2; j < LENGTH(shapes); j++) {
		struct contest c = {.what = "SET 1 KB, memory only", .connections = shapes[j].connections, .depth = shapes[j].depth};
		add(&c, "memcached", &p->memcached, asking(&wire_memcached, WIRE_SET, 'm', &sizes[1]));
		add(&c, "redis", &p->redis, asking(&wire_redis, WIRE_SET, 'm', &sizes[1]));
		add(&c, "catcached", &p->daemon, asking(&wire_redis, WIRE_SET, 'm', &sizes[1]));
		contest_run(&c, scale);
		add_figures(report, &c);
		report_target(report, BELOW, contest_ratio(&c, FIGURE_CPU_US, "catcached", "memcached"), 1, 2, "",
			"SET 1 KB without Redis, %u x %u: CPU, to memcached", c.connections, c.depth);
	}
}

static void measure_getif(struct peers *p, const struct scale *scale, struct report *report)
{
	char digest[17] = "";
	const struct size *large = &sizes[LENGTH(sizes) - 1];
	fill(&p->daemon, asking(&wire_redis, WIRE_SET, 'l', large));
	fill(&p->daemon, asking(&wire_redis, WIRE_SET, 'h', &sizes[0]));
	redisContext *c = server_client(&p->daemon);
	redisReply *r = redisCommand(c, "DIGEST l:00000000");
	if (!r || r->type != REDIS_REPLY_STRING || r->len != 16)
		die("catcached: no digest");
	memcpy(digest, r->str, 17);
	freeReplyObject(r);
	redisFree(c);

	struct contest k = {.what = "GETIF unchanged 10 MB, GET 100 B", .connections = 50, .depth = 1};
	add(&k, "GETIF", &p->daemon, asking(&wire_redis, WIRE_GETIF, 'l', large));
	k.contestants[0].load.digest = digest;
	add(&k, "GET", &p->daemon, asking(&wire_redis, WIRE_GET, 'h', &sizes[0]));
	contest_run(&k, scale);
	add_figures(report, &k);
	report_target(report, AT_MOST, contest_ratio(&k, FIGURE_CPU_US, "GETIF", "GET"), 1, 2, "",
		"GETIF unchanged 10 MB, 50 x 1: CPU, to GET hit 100 B");
}

static void measure_behind(struct peers *p, const struct scale *scale, struct report *report)
{
	fill(&p->daemon, asking(&wire_redis, WIRE_SET, 'r', &sizes[0]));
	fill(&p->redis, asking(&wire_redis, WIRE_SET, 'r', &sizes[0]));
	for (size_t j = 2; j < LENGTH(shapes); j++) {
		struct contest c = {.what = "GET 100 B from Redis", .connections = shapes[j].connections, .depth = shapes[j].depth};
		add(&c, "redis", &p->redis, asking(&wire_redis, WIRE_GET, 'r', &sizes[0]));
		add(&c, "catcached", &p->daemon, asking(&wire_redis, WIRE_GET, 'r', &sizes[0]));
		c.contestants[1].behind = &p->behind;
		contest_run(&c, scale);
		add_figures(report, &c);
		report_add(report, "| | | (the Redis behind it) | %.2f | | | | |\n", contest_median(&c, "catcached", FIGURE_BEHIND_US));
		if (c.depth == 1)
			report_target(report, AT_LEAST, contest_ratio(&c, FIGURE_PER_S, "catcached", "redis"), 1, 2, "",
				"GET 100 B from Redis, 50 x 1: throughput, to asking Redis directly");
	}
}

/* ---- system calls ---- */

static const struct {
	unsigned connections, depth;
	enum report_rule rule;
	double limit;
} call_targets[] = {
	{1, 1, AT_MOST, 3}, {50, 1, AT_MOST, 2.2}, {50, 16, BELOW, 0.2},
};

static void measure_calls(struct peers *p, const struct scale *scale, struct report *report)
{
	struct load_options unseeing = asking(&wire_redis, WIRE_GET, 'h', &sizes[0]);
	unseeing.same_reply = true;
	const struct contestant traced[] = {
		{.name = "floor", .server = &p->floor, .load = unseeing},
		{.name = "memcached", .server = &p->memcached, .load = asking(&wire_memcached, WIRE_GET, 'h', &sizes[0])},
		{.name = "redis", .server = &p->redis, .load = asking(&wire_redis, WIRE_GET, 'h', &sizes[0])},
		{.name = "catcached", .server = &p->daemon, .load = asking(&wire_redis, WIRE_GET, 'h', &sizes[0])},
	};
	start_floor(p, sizes[0].bytes);
	for (size_t i = 1; i < LENGTH(traced); i++)
		fill(traced[i].server, traced[i].load);
	report_add(report, "\n## System calls per request\n\nGET hit 100 B, counted by `strace -c -f` in runs of their own.\n\n"
		"| connections x depth | server | all | of which |\n|---|---|---|---|\n");
	for (size_t j = 0; j < LENGTH(call_targets); j++)
		for (size_t i = 0; i < LENGTH(traced); i++) {
			struct load_options load = traced[i].load;
			load.socket = traced[i].server->socket;
			load.connections = call_targets[j].connections;
			load.depth = call_targets[j].depth;
			char *parts;
			double all = strace_calls(traced[i].server, &load, scale->traced_requests * load.depth, &parts);
			report_add(report, "| %u x %u | %s | %.3f | %s |\n", load.connections, load.depth, traced[i].name, all, parts);
			free(parts);
			if (traced[i].server == &p->daemon && all >= 0)
				report_target(report, call_targets[j].rule, all, call_targets[j].limit, 3, "",
					"GET hit 100 B, %u x %u: system calls per request", load.connections, load.depth);
		}
	server_stop(&p->floor);
}

void hits_measure(const struct scale *scale, struct report *report)
{
	struct peers p = {0};
	start(&p);
	server_place_self(PLACE_GENERATOR);
	measure_hits(&p, scale, report);
	begin_figures(report, "Other requests", "The Redis that is asked directly has nobody else to serve; the one behind catcached shares its processor with the "
		"load generator where there are only two.");
	measure_set(&p, scale, report);
	measure_getif(&p, scale, report);
	measure_behind(&p, scale, report);
	measure_calls(&p, scale, report);
	server_place_self(PLACE_ANY);
	stop(&p);
}
