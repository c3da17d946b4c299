/* How well the memory tier chooses what to evict: traces of keys, from a fixed seed, run through
 * the real memory.c and through models of LRU and S3-FIFO (Yang, Zhang, Qiu, Yue and Vigfusson,
 * SOSP 2023) that hold the same bytes. Prints hit ratios and byte hit ratios as a table.
 *
 *      build/tests/bench/hitratio [WORKLOAD ...] */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/memory.h"
#include "../../daemon/value.h"
#include "../../proto/buf.h"

#define REQUESTS 1000000
#define REQUESTS_A_MS 10        /* how fast time passes */
#define KEYS_MAX 400000
#define TYPES 3
#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- workloads ---- */

struct trace {
	uint32_t keys[REQUESTS];
	uint32_t lens[KEYS_MAX];        /* of the values */
	int64_t ttls_ms[KEYS_MAX];      /* 0: no end */
	uint8_t types[KEYS_MAX];
	uint32_t costs[KEYS_MAX];       /* what an entry takes in the real memory tier */
	uint64_t footprint;             /* all keys together */
};

static struct trace trace;
static uint64_t seed;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static double next_part(void)
{
	return (double)(next_random() >> 11) / (double)(1ULL << 53);
}

static double cdf[KEYS_MAX];

static void zipf_init(uint32_t n, double skew)
{
	double sum = 0;
	for (uint32_t i = 0; i < n; i++)
		cdf[i] = sum += 1 / pow(i + 1, skew);
	for (uint32_t i = 0; i < n; i++)
		cdf[i] /= sum;
}

static uint32_t zipf(uint32_t n)
{
	double part = next_part();
	uint32_t low = 0, high = n - 1;
	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if (cdf[mid] < part)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

#define NUMBER 100000   /* of keys */

static void make_zipf(double skew)
{
	zipf_init(NUMBER, skew);
	for (uint32_t i = 0; i < REQUESTS; i++)
		trace.keys[i] = zipf(NUMBER);
}

/* A tenth of the requests, in one go each 100,000, are for keys one after the other. */
static void make_scan(double skew)
{
	uint32_t next = NUMBER;
	zipf_init(NUMBER, skew);
	for (uint32_t i = 0; i < REQUESTS; i++)
		trace.keys[i] = i % 100000 < 90000 ? zipf(NUMBER) : next++;
}

static void make_loop(double part)
{
	uint32_t next = 0, n = (uint32_t)(part * NUMBER);
	for (uint32_t i = 0; i < REQUESTS; i++)
		trace.keys[i] = next++ % n;
}

/* Half of the requests run round, the others are Zipf's. */
static void make_loop_beside(double skew)
{
	uint32_t next = 0;
	zipf_init(NUMBER, skew);
	for (uint32_t i = 0; i < REQUESTS; i++)
		trace.keys[i] = i % 2 ? zipf(NUMBER) : NUMBER + next++ % (NUMBER / 10);
}

/* What is popular becomes less so bit by bit: a new key comes in for each hundred requests. */
static void make_drift(double skew)
{
	zipf_init(NUMBER, skew);
	for (uint32_t i = 0; i < REQUESTS; i++)
		trace.keys[i] = (zipf(NUMBER) * 7919 + i / 100 * 7919) % NUMBER;
}

/* Each 250,000 requests all others are popular. */
static void make_shift(double skew)
{
	zipf_init(NUMBER, skew);
	for (uint32_t i = 0; i < REQUESTS; i++)
		trace.keys[i] = (zipf(NUMBER) + i / 250000 * 37813) % NUMBER;
}

/* 100 B to 1 MB, each factor of ten as often as the next; each lives 5 to 50 s. */
static void make_sizes(double skew)
{
	enum { N = 10000 };
	zipf_init(N, skew);
	for (uint32_t i = 0; i < N; i++) {
		trace.lens[i] = (uint32_t)(100 * pow(1e4, next_part()));
		trace.ttls_ms[i] = 5000 + (int64_t)(next_random() % 45000);
	}
	for (uint32_t i = 0; i < REQUESTS; i++)
		trace.keys[i] = zipf(N);
}

/* Three types: few large ones asked for often, many small ones, and a loop. */
static void make_types(double skew)
{
	uint32_t next = 0;
	zipf_init(NUMBER, skew);
	for (uint32_t i = 0; i < KEYS_MAX; i++) {
		trace.types[i] = i < NUMBER ? 0 : i < 2 * NUMBER ? 1 : 2;
		trace.lens[i] = i < NUMBER ? 100 : i < 2 * NUMBER ? 3000 : 500;
	}
	for (uint32_t i = 0; i < REQUESTS; i++)
		trace.keys[i] = i % 10 < 5 ? zipf(NUMBER) : i % 10 < 8 ? NUMBER + zipf(NUMBER) / 50 : 2 * NUMBER + next++ % 20000;
}

static const struct workload {
	const char *name;
	void (*make)(double how);
	double how;
} workloads[] = {
	{"zipf 0.7", make_zipf, 0.7}, {"zipf 0.8", make_zipf, 0.8}, {"zipf 0.9", make_zipf, 0.9}, {"zipf 1.0", make_zipf, 1.0},
	{"zipf 1.1", make_zipf, 1.1}, {"zipf 1.2", make_zipf, 1.2},
	{"scan + zipf 0.8", make_scan, 0.8}, {"scan + zipf 1.0", make_scan, 1.0},
	{"loop", make_loop, 1.0}, {"loop + zipf 1.0", make_loop_beside, 1.0},
	{"drift of zipf 0.8", make_drift, 0.8}, {"drift of zipf 1.0", make_drift, 1.0},
	{"shift of zipf 0.8", make_shift, 0.8}, {"shift of zipf 1.0", make_shift, 1.0},
	{"sizes and TTLs, zipf 0.8", make_sizes, 0.8}, {"sizes and TTLs, zipf 1.0", make_sizes, 1.0},
	{"three types", make_types, 0.9},
};

static struct key key_numbered(uint32_t n, char name[16])
{
	return key_of(name, (size_t)snprintf(name, 16, "k%09u", n));
}

/* ---- the memory tier ---- */

static struct memory *memory;

static void real_init(uint64_t limit)
{
	static const struct memory_bounds bounds[TYPES];
	memory = memory_new(limit, bounds, TYPES);
}

static void real_put(uint32_t n, const struct key *key, int64_t now_ms)
{
	struct value *v = value_new(trace.lens[n]);
	(void)memory_put(memory, key, &(struct memory_item){.type = trace.types[n], .value = v, .stored_ms = now_ms,
		.expires_ms = trace.ttls_ms[n] ? now_ms + trace.ttls_ms[n] : MEMORY_FOREVER}); /* too large: then it is a miss again */
	value_unref(v);
}

static bool real_ask(uint32_t n, int64_t now_ms)
{
	char name[16];
	struct key key = key_numbered(n, name);
	if (memory_get(memory, &key, now_ms))
		return true;
	real_put(n, &key, now_ms);
	return false;
}

static void real_fini(void)
{
	memory_free(memory);
}

/* What each key costs there. */
static void learn_costs(void)
{
	memset(trace.costs, 0, sizeof(trace.costs));
	trace.footprint = 0;
	real_init(UINT64_C(1) << 30);
	for (uint32_t i = 0; i < REQUESTS; i++) {
		uint32_t n = trace.keys[i];
		char name[16];
		struct key key = key_numbered(n, name);
		if (trace.costs[n])
			continue;
		uint64_t before = memory_bytes(memory);
		real_put(n, &key, 0);
		trace.costs[n] = (uint32_t)(memory_bytes(memory) - before + sizeof(void *));
		trace.footprint += trace.costs[n];
		(void)memory_drop(memory, &key, 0);
	}
	real_fini();
}

/* ---- models ---- */

#define NONE UINT32_MAX

struct list {
	uint32_t newest, oldest;
	uint64_t bytes, n;
};

static struct {
	uint32_t newer, older;
	struct list *in;                /* NULL: not there */
	uint8_t uses;
	int64_t ends_ms;
	uint64_t ghost;                 /* S3-FIFO: when it went */
} nodes[KEYS_MAX];

static struct list lru, small, main_list;
static uint64_t model_limit, ghosts;

static void list_remove(uint32_t n)
{
	struct list *l = nodes[n].in;
	*(nodes[n].newer != NONE ? &nodes[nodes[n].newer].older : &l->newest) = nodes[n].older;
	*(nodes[n].older != NONE ? &nodes[nodes[n].older].newer : &l->oldest) = nodes[n].newer;
	l->bytes -= trace.costs[n];
	l->n--;
	nodes[n].in = NULL;
}

static void list_add(struct list *l, uint32_t n)
{
	nodes[n].newer = NONE;
	nodes[n].older = l->newest;
	*(l->newest != NONE ? &nodes[l->newest].newer : &l->oldest) = n;
	l->newest = n;
	l->bytes += trace.costs[n];
	l->n++;
	nodes[n].in = l;
}

static void models_init(uint64_t limit)
{
	memset(nodes, 0, sizeof(nodes));
	lru = small = main_list = (struct list){.newest = NONE, .oldest = NONE};
	model_limit = limit;
	ghosts = 1;
}

/* True if it is there and not past its end. */
static bool model_has(uint32_t n, int64_t now_ms)
{
	if (!nodes[n].in)
		return false;
	if (!trace.ttls_ms[n] || now_ms < nodes[n].ends_ms)
		return true;
	list_remove(n);
	return false;
}

static bool lru_ask(uint32_t n, int64_t now_ms)
{
	bool hit = model_has(n, now_ms);
	if (hit)
		list_remove(n);
	else
		nodes[n].ends_ms = now_ms + trace.ttls_ms[n];
	if (trace.costs[n] > model_limit)
		return hit;
	while (lru.bytes + trace.costs[n] > model_limit)
		list_remove(lru.oldest);
	list_add(&lru, n);
	return hit;
}

static void s3_evict_small(void)
{
	uint32_t n = small.oldest;
	list_remove(n);
	if (nodes[n].uses > 1) {
		nodes[n].uses = 0;
		list_add(&main_list, n);
	} else {
		nodes[n].ghost = ghosts++;
	}
}

static void s3_evict_main(void)
{
	uint32_t n = main_list.oldest;
	list_remove(n);
	if (nodes[n].uses > 0) {
		nodes[n].uses--;
		list_add(&main_list, n);
	}
}

static bool s3_ask(uint32_t n, int64_t now_ms)
{
	if (model_has(n, now_ms)) {
		nodes[n].uses += nodes[n].uses < 3;
		return true;
	}
	nodes[n].ends_ms = now_ms + trace.ttls_ms[n];
	nodes[n].uses = 0;
	if (trace.costs[n] > model_limit)
		return false;
	while (small.bytes + main_list.bytes + trace.costs[n] > model_limit)
		if (small.bytes > model_limit / 10 || main_list.n == 0)
			s3_evict_small();
		else
			s3_evict_main();
	list_add(nodes[n].ghost && ghosts - nodes[n].ghost <= main_list.n ? &main_list : &small, n);
	return false;
}

static void models_fini(void)
{
}

/* ---- the table ---- */

static const struct contestant {
	const char *name;
	void (*init)(uint64_t limit);
	bool (*ask)(uint32_t n, int64_t now_ms);        /* a hit; else it is put */
	void (*fini)(void);
} contestants[] = {
	{"LRU", models_init, lru_ask, models_fini}, {"S3-FIFO", models_init, s3_ask, models_fini}, {"catcached", real_init, real_ask, real_fini},
};

static const double parts[] = {0.01, 0.05, 0.20};

static void run(const struct contestant *c, uint64_t limit, double *hits, double *bytes)
{
	uint64_t n_hits = 0, hit_bytes = 0, all_bytes = 0;
	c->init(limit);
	for (uint32_t i = 0; i < REQUESTS; i++) {
		uint32_t n = trace.keys[i];
		bool hit = c->ask(n, i / REQUESTS_A_MS);
		n_hits += hit;
		hit_bytes += hit ? trace.lens[n] : 0;
		all_bytes += trace.lens[n];
	}
	c->fini();
	*hits = 100.0 * (double)n_hits / REQUESTS;
	*bytes = 100.0 * (double)hit_bytes / (double)all_bytes;
}

static void run_workload(const struct workload *w)
{
	seed = 88172645463325252;
	for (uint32_t i = 0; i < KEYS_MAX; i++)
		trace.lens[i] = 100;
	memset(trace.ttls_ms, 0, sizeof(trace.ttls_ms));
	memset(trace.types, 0, sizeof(trace.types));
	w->make(w->how);
	learn_costs();
	for (size_t p = 0; p < LEN(parts); p++) {
		double hits[LEN(contestants)], bytes[LEN(contestants)];
		printf("| %s | %.0f %% |", w->name, 100 * parts[p]);
		for (size_t i = 0; i < LEN(contestants); i++)
			run(&contestants[i], (uint64_t)(parts[p] * (double)trace.footprint) + 8192, &hits[i], &bytes[i]);
		for (size_t i = 0; i < LEN(contestants); i++)
			printf(" %.1f |", hits[i]);
		for (size_t i = 0; i < LEN(contestants); i++)
			printf(" %.1f |", bytes[i]);
		printf("\n");
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	printf("| requests | cache |");
	for (size_t k = 0; k < 2 * LEN(contestants); k++)
		printf(" %s%s |", contestants[k % LEN(contestants)].name, k < LEN(contestants) ? "" : ", bytes");
	printf("\n|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < LEN(workloads); i++) {
		bool wanted = argc < 2;
		for (int k = 1; k < argc; k++)
			wanted |= strcmp(argv[k], workloads[i].name) == 0;
		if (wanted)
			run_workload(&workloads[i]);
	}
	return 0;
}
