/* The clients; see load.h. Each thread writes its own history; what all share is the
 * versions of the plain keys, the locks of the sourced ones, and a few atomic words.
 *
 * A change of a sourced key is two steps: the row, then the news. Whoever tells by DEL or
 * REFRESH may do so beside others (the lock is taken shared); who SETs the key in Redis
 * must be alone (taken exclusively), since the value it writes must be the newest. */
#include "load.h"

#include <check.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "../daemon/harness.h"
#include "../daemon/talk.h"
#include "source.h"

#define RECONNECT_LIMIT_MS 20000
#define AWAY_MAX 64
#define STALL_MS 1                      /* between two tries to connect */

struct span {
	int64_t from_ns, to_ns;
};

struct client {
	struct load *load;
	pthread_t thread;
	unsigned number, sidecar;       /* sidecar: of a foreigner, whom it tells when Redis was no help */
	bool is_foreign;
	uint64_t random;
	redisContext *daemon, *redis;
	struct source *source;
	struct history history;
	size_t room;
	atomic_size_t errors, lost;
	atomic_uint beats;              /* counts operations: moves on */
	struct op slowest;
	char first_error[160];
};

struct load {
	struct harness *h;
	struct load_options options;
	struct client *clients;
	unsigned n_clients;
	char *sockets[HARNESS_SIDECARS], *redis_socket;
	pthread_rwlock_t *locks;        /* by sourced key */
	atomic_llong *versions;         /* by plain key */
	atomic_size_t done;
	atomic_bool stopping, held;
	size_t errors_seen;
	int64_t began_ns, ended_ns;
	struct history all;             /* after the end */
	size_t all_room;
	struct span away[AWAY_MAX];
	size_t n_away, nils_away;
};

int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* xorshift: each client has its own, the same in each run. */
static unsigned dice(struct client *c, unsigned sides)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return (unsigned)(c->random >> 33) % sides;
}

/* ---- recording ---- */

static int64_t took_ns(const struct op *op)
{
	return op->end_ns - op->start_ns;
}

static void record(struct client *c, const struct op *op)
{
	if (c->history.n == c->room) {
		c->room = c->room ? 2 * c->room : 4096;
		c->history.ops = xrealloc(c->history.ops, c->room * sizeof(*op));
	}
	c->history.ops[c->history.n] = *op;
	c->history.ops[c->history.n++].client = (uint16_t)c->number;
	if (op->end_ns != CHECKER_UNKNOWN && took_ns(op) >= took_ns(&c->slowest))
		c->slowest = *op;
}

static void note_error(struct client *c, const char *what, const char *text)
{
	if (!c->first_error[0])
		snprintf(c->first_error, sizeof(c->first_error), "%s: %s", what, text);
	c->errors++;
}

/* ---- talking ---- */

/* Until it is there, or the load stops. */
static redisContext *connect_to(struct client *c, const char *path)
{
	int64_t end = now_ms() + RECONNECT_LIMIT_MS;
	while (!c->load->stopping && now_ms() < end) {
		redisContext *ctx = redisConnectUnixWithTimeout(path, (struct timeval){READ_LIMIT_S, 0});
		if (ctx && !ctx->err && redisSetTimeout(ctx, (struct timeval){READ_LIMIT_S, 0}) == REDIS_OK)
			return ctx;
		if (ctx)
			redisFree(ctx);
		nanosleep(&(struct timespec){.tv_nsec = STALL_MS * 1000000}, NULL);
	}
	return NULL;
}

/* The reply, or NULL: the connection was lost, and there is a new one (or NULL). */
static redisReply *say(struct client *c, bool to_redis, const char *fmt, ...)
{
	redisContext **ctx = to_redis ? &c->redis : &c->daemon;
	va_list ap;
	va_start(ap, fmt);
	redisReply *r = *ctx ? redisvCommand(*ctx, fmt, ap) : NULL;
	va_end(ap);
	if (r)
		return r;
	c->lost++;
	if (*ctx && !to_redis && (*ctx)->err == REDIS_ERR_IO)
		note_error(c, fmt, "no answer");
	if (*ctx)
		redisFree(*ctx);
	*ctx = connect_to(c, to_redis ? c->load->redis_socket : c->load->sockets[c->sidecar]);
	return NULL;
}

/* The reply to a change. True if it was made; else nobody knows. */
static bool is_done(struct client *c, redisReply *r, const char *what)
{
	bool done = r && r->type != REDIS_REPLY_ERROR;
	if (r && !done && !c->is_foreign)
		note_error(c, what, r->str);
	freeReplyObject(r);
	return done;
}

/* ---- operations ---- */

static uint8_t side_of(const struct client *c)
{
	return c->is_foreign ? CHECKER_FOREIGN : (uint8_t)c->sidecar;
}

static uint32_t plain_index(const struct client *c, uint32_t plain)
{
	return c->load->options.n_sourced + plain;
}

static void read_key(struct client *c, uint32_t key)
{
	const struct load_options *o = &c->load->options;
	bool is_sourced = key < o->n_sourced;
	struct op op = {.key = key, .kind = OP_READ, .sidecar = (uint8_t)c->sidecar, .start_ns = now_ns()};
	redisReply *r = say(c, false, is_sourced ? "GET f:%u" : "GET p:%u", is_sourced ? key : key - o->n_sourced);
	op.end_ns = now_ns();
	op.born_ns = op.start_ns;
	if (r && r->type == REDIS_REPLY_ERROR)
		note_error(c, "GET", r->str);
	else if (r) {
		op.version = r->type == REDIS_REPLY_NIL ? CHECKER_NIL : source_parse(r->str);
		record(c, &op);
	}
	freeReplyObject(r);
}

/* A foreigner's DEL: if it found nothing it left no trace, so a sidecar is told. */
static bool tell_by_plain_del(struct client *c, uint32_t key, struct op *op)
{
	redisReply *r = say(c, true, "DEL f:%u", key);
	bool found = r && r->type == REDIS_REPLY_INTEGER && r->integer == 1;
	freeReplyObject(r);
	if (found)
		return true;
	op->sidecar = (uint8_t)c->sidecar;
	return is_done(c, say(c, false, "DEL f:%u", key), "DEL");
}

static bool tell_by_plain_set(struct client *c, uint32_t key, int64_t version)
{
	char value[SOURCE_VALUE_MAX];
	source_value(value, version);
	if (dice(c, 2))
		return is_done(c, say(c, true, "SET f:%u %s EX 300", key, value), "SET");
	return is_done(c, say(c, true, "SET f:%u %s", key, value), "SET");
}

/* The row first, then the news. How the news is told is drawn beforehand, as the lock depends on it. */
static void change_sourced(struct client *c, uint32_t key)
{
	unsigned way = dice(c, 4);
	pthread_rwlock_t *lock = &c->load->locks[key];
	bool is_set = c->is_foreign && way < 2;
	if (is_set)
		pthread_rwlock_wrlock(lock);
	else
		pthread_rwlock_rdlock(lock);
	struct op op = {.key = key, .kind = OP_WRITE, .sidecar = side_of(c), .born_ns = now_ns()};
	op.version = source_bump(c->source, key);
	op.start_ns = now_ns();
	bool told = false;
	if (op.version < 0)
		note_error(c, "source", "the row was not changed");
	else if (is_set)
		told = tell_by_plain_set(c, key, op.version);
	else if (c->is_foreign)
		told = tell_by_plain_del(c, key, &op);
	else
		told = is_done(c, say(c, false, way ? "DEL f:%u" : "REFRESH f:%u", key), way ? "DEL" : "REFRESH");
	op.end_ns = told ? now_ns() : CHECKER_UNKNOWN;
	if (op.version > 0)
		record(c, &op);
	while (op.version > 0 && !told && !c->load->stopping) /* or the caches would be stale for ever, rightly */
		told = is_done(c, say(c, false, "DEL f:%u", key), "DEL");
	pthread_rwlock_unlock(lock);
}

static void change_plain(struct client *c, uint32_t plain)
{
	char value[SOURCE_VALUE_MAX];
	struct op op = {.key = plain_index(c, plain), .kind = dice(c, 3) ? OP_WRITE : OP_REMOVE, .sidecar = side_of(c)};
	op.version = atomic_fetch_add(&c->load->versions[plain], 1) + 1;
	source_value(value, op.version);
	op.start_ns = op.born_ns = now_ns();
	redisReply *r = op.kind == OP_WRITE ? say(c, c->is_foreign, "SET p:%u %s", plain, value)
		: say(c, c->is_foreign, "DEL p:%u", plain);
	op.end_ns = is_done(c, r, op.kind == OP_WRITE ? "SET" : "DEL") ? now_ns() : CHECKER_UNKNOWN;
	record(c, &op);
}

static bool may_write_plain(const struct client *c, uint32_t plain)
{
	const struct load_options *o = &c->load->options;
	return !o->owned || (!c->is_foreign && plain % o->n_sidecars == c->sidecar);
}

static void operate(struct client *c)
{
	const struct load_options *o = &c->load->options;
	uint32_t key = dice(c, o->n_sourced + o->n_plain);
	bool is_sourced = key < o->n_sourced, writes = c->is_foreign || dice(c, 100) < o->write_percent;
	if (is_sourced && writes && !c->load->held)
		change_sourced(c, key);
	else if (!is_sourced && writes && may_write_plain(c, key - o->n_sourced))
		change_plain(c, key - o->n_sourced);
	else if (!c->is_foreign)
		read_key(c, key);
	else
		nap();
}

/* Foreigners write all the time, but no more than their share. */
static void rest(const struct client *c)
{
	const struct load_options *o = &c->load->options;
	long us = c->is_foreign ? (long)o->pause_us + 2000 : (long)o->pause_us;
	if (us)
		nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void *run_client(void *arg)
{
	struct client *c = arg;
	struct load *l = c->load;
	c->source = source_open();
	c->daemon = connect_to(c, l->sockets[c->sidecar]);
	c->redis = c->is_foreign ? connect_to(c, l->redis_socket) : NULL;
	while (!l->stopping) {
		size_t done = atomic_fetch_add(&l->done, 1);
		if (l->options.max_ops && done >= l->options.max_ops)
			break;
		operate(c);
		c->beats++;
		rest(c);
	}
	c->beats = UINT32_MAX / 2;
	source_close(c->source);
	if (c->daemon)
		redisFree(c->daemon);
	if (c->redis)
		redisFree(c->redis);
	return NULL;
}

/* ---- from the test ---- */

static void add_to_all(struct load *l, const struct op *op)
{
	if (l->all.n == l->all_room) {
		l->all_room = l->all_room ? 2 * l->all_room : 4096;
		l->all.ops = xrealloc(l->all.ops, l->all_room * sizeof(*op));
	}
	l->all.ops[l->all.n++] = *op;
}

struct load *load_start(struct harness *h, const struct load_options *options)
{
	struct load *l = xcalloc(1, sizeof(*l));
	l->h = h;
	l->options = *options;
	l->n_clients = options->n_clients + options->n_foreign;
	l->clients = xcalloc(l->n_clients, sizeof(*l->clients));
	l->locks = xcalloc(options->n_sourced + 1, sizeof(*l->locks));
	l->versions = xcalloc(options->n_plain + 1, sizeof(*l->versions));
	l->redis_socket = xstrdup(harness_path(h, "redis.sock"));
	for (unsigned i = 0; i < options->n_sidecars; i++)
		l->sockets[i] = xstrdup(harness_path(h, harness_socket(i)));
	for (uint32_t k = 0; k < options->n_sourced; k++) {
		pthread_rwlock_init(&l->locks[k], NULL);
		add_to_all(l, &(struct op){.key = k, .kind = OP_WRITE, .version = 1, .sidecar = CHECKER_FOREIGN});
	}
	l->began_ns = now_ns();
	for (unsigned i = 0; i < l->n_clients; i++) {
		struct client *c = &l->clients[i];
		c->load = l;
		c->number = i;
		c->sidecar = i % options->n_sidecars;
		c->is_foreign = i >= options->n_clients;
		c->random = 0x9e3779b97f4a7c15ULL * (i + 1);
		ck_assert_int_eq(pthread_create(&c->thread, NULL, run_client, c), 0);
	}
	return l;
}

size_t load_done(struct load *l)
{
	return l->done;
}

/* An operation that began before is over when the count has moved by two. */
void load_hold(struct load *l, bool held)
{
	l->held = held;
	for (unsigned i = 0; held && i < l->n_clients; i++) {
		unsigned before = l->clients[i].beats;
		wait_until(l->clients[i].beats >= before + 2, 2 * RECONNECT_LIMIT_MS);
	}
}

void load_lost(struct load *l, int64_t from_ns)
{
	for (uint32_t k = 0; k < l->options.n_plain; k++)
		add_to_all(l, &(struct op){.key = l->options.n_sourced + k, .kind = OP_REMOVE, .sidecar = CHECKER_FOREIGN,
			.version = atomic_fetch_add(&l->versions[k], 1) + 1, .born_ns = from_ns, .start_ns = from_ns,
			.end_ns = CHECKER_UNKNOWN});
}

void load_away(struct load *l, bool is_away)
{
	if (is_away) {
		ck_assert_uint_lt(l->n_away, AWAY_MAX);
		l->away[l->n_away++] = (struct span){now_ns(), INT64_MAX};
	} else {
		l->away[l->n_away - 1].to_ns = now_ns();
	}
}

static bool is_no_news(const struct load *l, const struct op *op)
{
	if (op->kind != OP_READ || op->version != CHECKER_NIL || op->key < l->options.n_sourced)
		return false;
	for (size_t i = 0; i < l->n_away; i++)
		if (op->start_ns <= l->away[i].to_ns && op->end_ns >= l->away[i].from_ns)
			return true;
	return false;
}

static void collect(struct load *l, const struct history *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (is_no_news(l, &h->ops[i]))
			l->nils_away++;
		else
			add_to_all(l, &h->ops[i]);
}

void load_stop(struct load *l)
{
	if (!l->options.max_ops)
		l->stopping = true;
	for (unsigned i = 0; i < l->n_clients; i++)
		pthread_join(l->clients[i].thread, NULL);
	l->ended_ns = now_ns();
	for (unsigned i = 0; i < l->n_clients; i++)
		collect(l, &l->clients[i].history);
}

size_t load_new_errors(struct load *l)
{
	size_t all = 0;
	for (unsigned i = 0; i < l->n_clients; i++)
		all += l->clients[i].errors;
	size_t fresh = all - l->errors_seen;
	l->errors_seen = all;
	return fresh;
}

/* ---- agreement ---- */

static int64_t final_read(redisContext *c, bool is_sourced, uint32_t k)
{
	redisReply *r = ask(c, is_sourced ? "GET f:%u" : "GET p:%u", k);
	int64_t version = r->type == REDIS_REPLY_STRING ? source_parse(r->str) : r->type == REDIS_REPLY_NIL ? CHECKER_NIL : -2;
	freeReplyObject(r);
	return version;
}

struct settling {
	struct load *load;
	redisContext *redis, *sidecars[HARNESS_SIDECARS];
	struct source *source;
	bool is_last_try;
};

/* All sidecars say what the truth is: for a sourced key the source (Redis may have nothing), else Redis. */
static bool agrees(struct settling *s, uint32_t key)
{
	struct load *l = s->load;
	bool is_sourced = key < l->options.n_sourced, agrees = true;
	uint32_t k = is_sourced ? key : key - l->options.n_sourced;
	int64_t truth = is_sourced ? source_version(s->source, key) : final_read(s->redis, false, k);
	for (unsigned i = 0; i < l->options.n_sidecars; i++) {
		struct op op = {.key = key, .kind = OP_READ, .sidecar = (uint8_t)i, .client = UINT16_MAX, .start_ns = now_ns()};
		op.version = final_read(s->sidecars[i], is_sourced, k);
		op.end_ns = now_ns();
		add_to_all(l, &op);
		agrees = agrees && op.version == truth;
		if (op.version != truth && s->is_last_try)
			printf("  %s:%u is %lld on sidecar %u, but the truth is %lld\n", is_sourced ? "f" : "p", k,
				(long long)op.version, i, (long long)truth);
	}
	int64_t in_redis = final_read(s->redis, is_sourced, k);
	if (in_redis != truth && in_redis != CHECKER_NIL && s->is_last_try)
		printf("  %s:%u is %lld in Redis, but the truth is %lld\n", is_sourced ? "f" : "p", k, (long long)in_redis,
			(long long)truth);
	return agrees && (in_redis == truth || in_redis == CHECKER_NIL);
}

static bool all_agree(struct settling *s)
{
	bool agree = true;
	for (uint32_t key = 0; key < s->load->options.n_sourced + s->load->options.n_plain; key++)
		agree = agrees(s, key) && agree;
	return agree;
}

int64_t load_settle(struct load *l, redisContext *redis, int64_t limit_ms)
{
	struct settling s = {.load = l, .redis = redis, .source = source_open()};
	for (unsigned i = 0; i < l->options.n_sidecars; i++)
		s.sidecars[i] = harness_connect_sidecar(l->h, i);
	int64_t began = now_ms();
	bool agree;
	while (!(agree = all_agree(&s)) && now_ms() - began < limit_ms)
		nap();
	int64_t took_ms = now_ms() - began;
	s.is_last_try = true;
	if (!agree)
		agree = all_agree(&s);
	source_close(s.source);
	return agree ? took_ms : -1;
}

/* ---- figures ---- */

static size_t count_not_last(struct load *l, redisContext *redis)
{
	size_t n = 0;
	for (uint32_t k = 0; k < l->options.n_plain; k++)
		n += !checker_may_be_last(&l->all, l->options.n_sourced + k, final_read(redis, false, k));
	return n;
}

static unsigned long long fetches_of(redisContext *c)
{
	unsigned long long n = 0;
	redisReply *r = ask(c, "STATS");
	for (const char *at = r->str; (at = strstr(at, "\"fetches\":")); )
		n += strtoull(at += strlen("\"fetches\":"), NULL, 10);
	freeReplyObject(r);
	return n;
}

static void sum_up(struct load *l, struct load_report *report)
{
	for (unsigned i = 0; i < l->n_clients; i++) {
		const struct client *c = &l->clients[i];
		report->errors += c->errors;
		report->lost_connections += c->lost;
		if (took_ns(&c->slowest) > took_ns(&report->slowest))
			report->slowest = c->slowest;
		if (!report->first_error[0])
			snprintf(report->first_error, sizeof(report->first_error), "%s", c->first_error);
	}
	report->slowest_ms = (double)took_ns(&report->slowest) / 1e6;
	report->seconds = (double)(l->ended_ns - l->began_ns) / 1e9;
}

void load_judge(struct load *l, const char *name, struct load_report *report)
{
	const struct verdict *v = &report->verdict;
	unsigned long long fetches = 0;
	*report = (struct load_report){.ops = l->all.n + l->nils_away, .nils_away = l->nils_away};
	sum_up(l, report);
	checker_judge(&l->all, &(struct checker_options){.n_sourced = l->options.n_sourced,
		.n_keys = l->options.n_sourced + l->options.n_plain, .n_sidecars = l->options.n_sidecars}, &report->verdict);
	report->not_last = count_not_last(l, harness_connect_redis(l->h));
	for (unsigned i = 0; i < l->options.n_sidecars; i++)
		fetches += fetches_of(harness_connect_sidecar(l->h, i));
	printf("%s: %zu operations (%zu reads, %zu changes) in %.1f s, %.0f/s, slowest %.1f ms; %llu fetches; %zu errors%s%s\n",
		name, report->ops, v->reads, v->writes, report->seconds, (double)report->ops / report->seconds, report->slowest_ms,
		fetches, report->errors, report->first_error[0] ? ", first: " : "", report->first_error);
	if (report->nils_away)
		printf("  %zu nils of plain keys while Redis was away, not judged\n", report->nils_away);
	printf("  stale at other sidecars after %zu changes: p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", v->staleness.n,
		v->staleness.p50_ms, v->staleness.p99_ms, v->staleness.max_ms);
	printf("  violations: %zu older than own change, %zu went back, %zu invented, %zu false nils, %zu not the last; %s\n",
		v->old_after_own, v->went_back, v->invented, v->false_nils, report->not_last, v->first[0] ? v->first : "none");
	if (verdict_violations(v))
		checker_tell(&l->all, v->culprit.key, v->culprit.end_ns);
	fflush(stdout);
}

void load_tell_slowest(const struct load *l, const struct load_report *report)
{
	const struct op *op = &report->slowest;
	printf("  the slowest: client %u on sidecar %u, version %lld of key %u; what began till 20 ms after it:\n",
		op->client, op->sidecar, (long long)op->version, op->key);
	checker_tell(&l->all, op->key, op->start_ns + 20000000);
	fflush(stdout);
}

void load_free(struct load *l)
{
	for (unsigned i = 0; i < l->n_clients; i++)
		free(l->clients[i].history.ops);
	for (unsigned i = 0; i < l->options.n_sidecars; i++)
		free(l->sockets[i]);
	for (uint32_t k = 0; k < l->options.n_sourced; k++)
		pthread_rwlock_destroy(&l->locks[k]);
	free(l->redis_socket);
	free(l->clients);
	free(l->locks);
	free(l->versions);
	free(l->all.ops);
	free(l);
}
