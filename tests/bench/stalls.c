/* Do large values hold up small ones? Small GETs at a steady rate, alone and while catalogs
 * of 10 MB are refilled, or drained by slow readers. Here no process is pinned: the daemon's
 * threads go where the kernel puts them. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "bench.h"
#include "contest.h"
#include "load.h"
#include "report.h"
#include "server.h"

#define RATE 10000              /* small GETs a second */
#define CONNECTIONS 50
#define MODELS "14500"          /* in the database: 10 MB as JSON */
#define LIMIT_MS 2.0
#define READERS 20
#define READ_AT_ONCE 65536
#define READ_INTERVAL_NS 10000000       /* so each drains 6.5 MB a second */
#define NS 1000000000

static const char daemon_yaml[] =
	"memory: {limit: 512M}\n"
	"redis: {url: 'unix://${DIR}/catalogs.sock'}\n"
	"database: {url: 'sqlite://${DIR}/catalog.db'}\n"
	"types:\n"
	"  small: {key: 'h:{name}', ttl: 1d}\n"
	"  from_redis: {key: 'c:redis', ttl: 1h, format: json}\n"
	"  from_sqlite: {key: 'c:sqlite', ttl: 1h, format: json, fetch: {sql: 'SELECT * FROM models ORDER BY provider, id'}}\n";

/* What the children have done; shared with them. */
struct progress {
	unsigned from_redis, from_sqlite;       /* refills */
	unsigned stale;                         /* what came was the value before */
	unsigned drained;                       /* values read by slow readers */
};

struct stage {
	struct server redis, daemon;
	struct progress *progress;
	char *catalog;          /* what c:sqlite is, with a blank behind */
	size_t catalog_len;     /* without the blank */
};

static void pause_until(int64_t ns)
{
	int64_t left = ns - now_ns();
	if (left > 0)
		nanosleep(&(struct timespec){.tv_sec = left / NS, .tv_nsec = left % NS}, NULL);
}

/* The reply, which must be of this type. */
static redisReply *ask(redisContext *c, int type, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	redisReply *r = redisvCommand(c, fmt, args);
	va_end(args);
	if (!r || r->type != type)
		die("%s: %s", fmt, r ? r->str : c->errstr);
	return r;
}

static void tell(redisContext *c, const char *command)
{
	freeReplyObject(ask(c, REDIS_REPLY_STATUS, command));
}

static size_t length(redisContext *c, const char *get)
{
	redisReply *r = ask(c, REDIS_REPLY_STRING, get);
	size_t len = r->len;
	freeReplyObject(r);
	return len;
}

/* ---- what goes on beside ---- */

/* Each second a new value is put into Redis, and asked for; and the other is fetched anew, and asked for. */
static void refill(struct stage *s)
{
	redisContext *redis = server_client(&s->redis), *daemon = server_client(&s->daemon);
	int64_t due = now_ns();
	for (unsigned i = 0;; i++, due += NS) {
		size_t len = s->catalog_len + i % 2; /* a blank more or less, to tell them apart */
		freeReplyObject(ask(redis, REDIS_REPLY_STATUS, "SET c:redis %b", s->catalog, len));
		pause_until(now_ns() + NS / 50); /* by then the daemon has heard of it */
		*(length(daemon, "GET c:redis") == len ? &s->progress->from_redis : &s->progress->stale) += 1;
		pause_until(due + NS / 2);
		tell(daemon, "REFRESH c:sqlite FORCE");
		*(length(daemon, "GET c:sqlite") == s->catalog_len ? &s->progress->from_sqlite : &s->progress->stale) += 1;
		pause_until(due + NS);
	}
}

static void read_some(int fd, size_t *left, size_t reply_len, struct progress *progress)
{
	static const char request[] = "GET c:sqlite\r\n";
	static char bytes[READ_AT_ONCE];
	if (*left == 0) {
		if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != sizeof(request) - 1)
			die("a slow reader cannot send");
		*left = reply_len;
	}
	ssize_t n = recv(fd, bytes, *left < sizeof(bytes) ? *left : sizeof(bytes), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		die("a slow reader lost its connection");
	*left -= n > 0 ? (size_t)n : 0;
	progress->drained += *left == 0;
}

static void read_slowly(struct stage *s)
{
	int fds[READERS];
	size_t left[READERS] = {0};
	char header[32];
	size_t reply_len = (size_t)snprintf(header, sizeof(header), "$%zu\r\n\r\n", s->catalog_len) + s->catalog_len;
	for (size_t i = 0; i < READERS; i++)
		fds[i] = server_connect(s->daemon.socket);
	for (int64_t due = now_ns();; due += READ_INTERVAL_NS) {
		for (size_t i = 0; i < READERS; i++)
			read_some(fds[i], &left[i], reply_len, s->progress);
		pause_until(due);
	}
}

/* ---- the small ones ---- */

struct figures {
	double p50[ROUNDS_MAX], p999[ROUNDS_MAX], max[ROUNDS_MAX];   /* ms */
	double above[ROUNDS_MAX];                                       /* how many took over LIMIT_MS */
	double turn[ROUNDS_MAX];                                        /* the longest turn of the daemon's loop, ms */
};

static void measure(struct stage *s, double seconds, struct figures *f, unsigned round)
{
	struct load_options o = {.socket = s->daemon.socket, .wire = &wire_redis, .op = WIRE_GET, .prefix = 'h', .value_len = 100,
		.n_keys = 1000, .connections = CONNECTIONS, .depth = 1, .rate = RATE};
	struct load *l = load_open(&o);
	server_time_turns(&s->daemon);
	server_prefer_self(true);
	load_run(&l, 1, seconds, 0);
	server_prefer_self(false);
	f->turn[round] = server_longest_turn_ms(&s->daemon);
	const struct hist *h = &load_result(l)->latency;
	f->p50[round] = (double)hist_quantile(h, 0.5) / 1e6;
	f->p999[round] = (double)hist_quantile(h, 0.999) / 1e6;
	f->max[round] = (double)h->max_ns / 1e6;
	f->above[round] = (double)hist_above(h, (uint64_t)(LIMIT_MS * 1e6));
	load_close(l);
}

static void measure_beside(struct stage *s, void (*act)(struct stage *), double seconds, struct figures *f, unsigned round)
{
	pid_t pid = server_fork();
	if (pid == 0) {
		act(s);
		_exit(0);
	}
	pause_until(now_ns() + NS / 4);
	measure(s, seconds, f, round);
	server_end(pid);
}

static void start(struct stage *s)
{
	char *db = server_path("catalog.db");
	const char *const argv[] = {"tests/data/load", "--models", MODELS, db, NULL};
	if (server_run("load", argv) != 0)
		die("no sample catalog");
	free(db);
	server_start_redis(&s->redis, "catalogs", PLACE_ANY);
	server_start_daemon_timed(&s->daemon, "catcached", PLACE_ANY, daemon_yaml);
	server_wait_tracking(&s->daemon);
	s->progress = mmap(NULL, sizeof(*s->progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->progress == MAP_FAILED)
		die("no memory");
	load_fill(&(struct load_options){.socket = s->daemon.socket, .wire = &wire_redis, .prefix = 'h', .value_len = 100, .n_keys = 1000});
	redisContext *c = server_client(&s->daemon);
	redisReply *r = ask(c, REDIS_REPLY_STRING, "GET c:sqlite");
	s->catalog_len = r->len;
	s->catalog = xasprintf("%s ", r->str);
	freeReplyObject(r);
	redisFree(c);
}

static void stop(struct stage *s)
{
	server_stop(&s->daemon);
	server_stop(&s->redis);
	munmap(s->progress, sizeof(*s->progress));
	free(s->catalog);
}

static void add_row(struct report *report, const char *what, const struct figures *f, unsigned rounds)
{
	fprintf(stderr, "small GETs, %s: p99.9 %.3f ms, max %.3f ms; longest turn %.3f ms\n", what, median(f->p999, rounds),
		median(f->max, rounds), median(f->turn, rounds));
	report_add(report, "| %s | %.3f | %.3f | %.3f | %.0f | %.3f |\n", what, median(f->p50, rounds), median(f->p999, rounds),
		median(f->max, rounds), median(f->above, rounds), median(f->turn, rounds));
}

static double excess(const struct figures *f, const struct figures *quiet, unsigned rounds)
{
	double more[ROUNDS_MAX];
	for (unsigned i = 0; i < rounds; i++)
		more[i] = f->p999[i] - quiet->p999[i];
	return median(more, rounds);
}

void stalls_measure(const struct scale *scale, struct report *report)
{
	struct stage s = {0};
	struct figures quiet, refilling, draining;
	unsigned rounds = scale->stall_rounds;
	start(&s);
	for (unsigned i = 0; i < rounds; i++) {
		measure(&s, scale->stall_s, &quiet, i);
		measure_beside(&s, refill, scale->stall_s, &refilling, i);
		measure_beside(&s, read_slowly, scale->stall_s, &draining, i);
	}
	report_add(report, "\n## Stalls\n\nGET hits of 100 B at %d a second on %d connections, latency counted from when a request was due (so whoever "
		"waits behind a stall counts, too); medians of %u rounds of %.0f s, in ms. Refills: %u from Redis, %u from SQLite, of %.1f MB each (%u "
		"answers were the value before). Slow readers: %d, %u values drained. Turn: the longest of the daemon's loop, in processor time (see "
		"turns.h). No process is pinned here, and who refills has to share the processors with all others.\n\n",
		RATE, CONNECTIONS, rounds, scale->stall_s, s.progress->from_redis, s.progress->from_sqlite, (double)s.catalog_len / 1e6,
		s.progress->stale, READERS, s.progress->drained);
	report_add(report, "| beside it | p50 | p99.9 | longest | over %.0f ms | turn |\n|---|---|---|---|---|---|\n", LIMIT_MS);
	add_row(report, "nothing", &quiet, rounds);
	add_row(report, "10 MB refilled each second from Redis, and from SQLite", &refilling, rounds);
	add_row(report, "20 slow readers of 10 MB", &draining, rounds);
	report_target(report, BELOW, excess(&refilling, &quiet, rounds), LIMIT_MS, 3, "ms", "small GETs while 10 MB are refilled: p99.9, more than alone");
	report_target(report, BELOW, excess(&draining, &quiet, rounds), LIMIT_MS, 3, "ms", "small GETs while 10 MB are drained slowly: p99.9, more than alone");
	report_target(report, BELOW, median(refilling.turn, rounds), LIMIT_MS, 3, "ms", "the same, refilled: longest turn of the loop");
	report_target(report, BELOW, median(draining.turn, rounds), LIMIT_MS, 3, "ms", "the same, drained slowly: longest turn of the loop");
	stop(&s);
}
