/* What breaks under a fleet that works: each fault comes under steady load, no client may
 * see an error for it where a value could be served, and when it is over every sidecar,
 * Redis and the source agree. What was read meanwhile is judged as in test_linear. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "../daemon/harness.h"
#include "../daemon/talk.h"
#include "../postgres.h"
#include "chaos.h"
#include "proxy.h"
#include "source.h"

#define N_SOURCED 12
#define N_PLAIN 6
#define SETTLE_MS 8000
#define STEADY_OPS 1000         /* of undisturbed load before and after a fault */
#define STEADY_MS 20000         /* in which these must be done */
#define LEASE_MS 2000
#define OTHER_DAY_S 100000
#define SLACK_MS 1000           /* for a busy machine */

struct world {
	struct harness *h;
	struct load *load;
	struct proxy *proxy;
	struct postgres *pg;
	redisContext *sidecars[HARNESS_SIDECARS];
};

static struct postgres *cluster;

/* ---- beginning and end ---- */

static void run_steadily(struct world *w)
{
	size_t before = load_done(w->load);
	wait_until(load_done(w->load) >= before + STEADY_OPS, STEADY_MS);
}

static void start_load(struct world *w, unsigned n_foreign)
{
	w->load = load_start(w->h, &(struct load_options){.n_sidecars = HARNESS_SIDECARS, .n_clients = 12, .n_foreign = n_foreign,
		.n_sourced = N_SOURCED, .n_plain = N_PLAIN, .write_percent = 20, .pause_us = 1000, .owned = true});
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		w->sidecars[i] = harness_connect_sidecar(w->h, i);
	run_steadily(w);
}

static struct world begin(bool is_proxied, bool on_postgres, unsigned n_foreign)
{
	struct world w = {.h = harness_new()};
	if (on_postgres)
		postgres_restore(w.pg = cluster);
	if (is_proxied) {
		setenv("REDIS_SOCKET", harness_path(w.h, "proxy.sock"), 1);
		w.proxy = proxy_start(getenv("REDIS_SOCKET"), harness_path(w.h, "redis.sock"));
	}
	chaos_start(w.h, w.pg ? postgres_url(w.pg) : NULL, N_SOURCED, "");
	start_load(&w, n_foreign);
	return w;
}

/* The fault is over and the clients are gone: no error was seen, nothing stale stays. */
static void conclude(struct world *w)
{
	struct load_report r;
	int64_t settled_ms = load_settle(w->load, harness_connect_redis(w->h), SETTLE_MS);
	load_judge(w->load, tcase_name(), &r);
	printf("  agreed after %lld ms\n", (long long)settled_ms);
	fflush(stdout);
	ck_assert_msg(r.errors == 0 && r.lost_connections == 0, "%zu errors, %zu connections lost; %s", r.errors,
		r.lost_connections, r.first_error);
	ck_assert_msg(verdict_violations(&r.verdict) == 0, "%zu violations; %s", verdict_violations(&r.verdict), r.verdict.first);
	ck_assert_uint_eq(r.not_last, 0);
	ck_assert_msg(settled_ms >= 0, "no agreement after %d ms of quiet", SETTLE_MS);
	load_free(w->load);
	proxy_stop(w->proxy);
	harness_free(w->h);
}

static void finish(struct world *w)
{
	run_steadily(w);
	load_stop(w->load);
	conclude(w);
}

/* The fault lasts, and the fleet goes on working: each client is answered at least every second or so. */
static void endure(struct world *w, int64_t ms)
{
	for (int64_t end = now_ms() + ms; now_ms() < end;) {
		size_t before = load_done(w->load);
		wait_until(load_done(w->load) >= before + 24, 2000 + SLACK_MS);
	}
}

/* Redis is in reach again: waits until every sidecar has noticed. */
static void back(struct world *w)
{
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		harness_redis_ready(w->sidecars[i]);
	load_away(w->load, false);
}

/* ---- Redis ---- */

START_TEST(redis_killed_and_restarted_empty)
{
	struct world w = begin(false, false, 0);
	for (int i = 0; i < (chaos_is_full() ? 3 : 1); i++) {
		int64_t from_ns = now_ns();
		load_away(w.load, true);
		harness_redis_kill(w.h);
		endure(&w, 1000);
		harness_redis_start(w.h, "");
		load_lost(w.load, from_ns);
		back(&w);
		run_steadily(&w);
	}
	finish(&w);
}
END_TEST

static bool is_rewritten(redisContext *redis)
{
	redisReply *r = ask(redis, "INFO persistence");
	bool done = strstr(r->str, "aof_rewrite_in_progress:0");
	freeReplyObject(r);
	return done;
}

START_TEST(redis_killed_and_restarted_with_its_data)
{
	static const char durable[] = "--appendonly yes --appendfsync always";
	struct world w = begin(false, false, 0);
	redisContext *redis = harness_connect_redis(w.h);
	expect(redis, "OK", "CONFIG SET appendfsync always");
	expect(redis, "OK", "CONFIG SET appendonly yes");
	wait_until(is_rewritten(redis), STEADY_MS);
	for (int i = 0; i < (chaos_is_full() ? 3 : 1); i++) {
		run_steadily(&w);
		load_away(w.load, true);
		harness_redis_kill(w.h);
		endure(&w, 1000);
		harness_redis_start(w.h, durable);
		back(&w);
		run_steadily(&w);
	}
	finish(&w);
}
END_TEST

/* Nobody writes any more when it comes back. */
START_TEST(redis_hung_until_all_is_quiet)
{
	struct world w = begin(false, false, 0);
	load_away(w.load, true);
	harness_redis_pause(w.h);
	endure(&w, 1500);
	load_stop(w.load);
	harness_redis_resume(w.h);
	conclude(&w);
}
END_TEST

START_TEST(redis_hung)
{
	struct world w = begin(false, false, 0);
	load_away(w.load, true);
	harness_redis_pause(w.h);
	endure(&w, chaos_is_full() ? 10000 : 2000);
	harness_redis_resume(w.h);
	back(&w);
	finish(&w);
}
END_TEST

START_TEST(redis_hung_for_a_moment_again_and_again)
{
	struct world w = begin(false, false, 0);
	for (int i = 0; i < (chaos_is_full() ? 10 : 3); i++) {
		load_away(w.load, true);
		harness_redis_pause(w.h);
		endure(&w, 100 + 50 * i);
		harness_redis_resume(w.h);
		back(&w);
		run_steadily(&w);
	}
	finish(&w);
}
END_TEST

START_TEST(redis_slow)
{
	struct world w = begin(true, false, 0);
	proxy_delay(w.proxy, 100);
	endure(&w, chaos_is_full() ? 6000 : 2000);
	proxy_delay(w.proxy, 0);
	finish(&w);
}
END_TEST

static long long sum_of(struct world *w, const char *place)
{
	long long sum = 0;
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		sum += ask_stat(w->sidecars[i], "", place);
	return sum;
}

/* It could be reached, but no command would be answered in time: so nobody waits for it. */
START_TEST(redis_slower_than_its_timeout)
{
	struct world w = begin(true, false, 0);
	load_away(w.load, true);
	proxy_delay(w.proxy, 400);
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		wait_until(strcmp(ask_health(w.sidecars[i], "redis.state"), "down") == 0, STEADY_MS);
	long long connects = sum_of(&w, "redis.connects"), timeouts = sum_of(&w, "redis.timeouts");
	endure(&w, chaos_is_full() ? 6000 : 2000);
	wait_until(sum_of(&w, "redis.timeouts") >= timeouts + 2 * HARNESS_SIDECARS, STEADY_MS);
	ck_assert_int_eq(sum_of(&w, "redis.connects"), connects);
	proxy_delay(w.proxy, 0);
	back(&w);
	finish(&w);
}
END_TEST

START_TEST(replies_cut_in_the_middle)
{
	struct world w = begin(true, false, 0);
	for (size_t keep = 1; keep < (chaos_is_full() ? 40u : 12u); keep += 3) {
		load_away(w.load, true);
		proxy_cut(w.proxy, keep, 2);
		wait_until(proxy_cuts_left(w.proxy) == 0, STEADY_MS);
		back(&w);
		run_steadily(&w);
	}
	finish(&w);
}
END_TEST

START_TEST(the_network_to_redis_stalls)
{
	struct world w = begin(true, false, 0);
	load_away(w.load, true);
	proxy_stall(w.proxy, true);
	endure(&w, chaos_is_full() ? 5000 : 1500);
	proxy_stall(w.proxy, false);
	back(&w);
	finish(&w);
}
END_TEST

START_TEST(redis_full)
{
	struct world w = begin(false, false, 0);
	redisContext *redis = harness_connect_redis(w.h);
	expect(redis, "OK", "CONFIG SET maxmemory 1");
	endure(&w, 2000);
	expect(redis, "OK", "CONFIG SET maxmemory 0");
	finish(&w);
}
END_TEST

/* What was refused arrives by itself: nobody writes any more when Redis has room again. */
START_TEST(redis_full_until_all_is_quiet)
{
	struct world w = begin(false, false, 0);
	redisContext *redis = harness_connect_redis(w.h);
	expect(redis, "OK", "CONFIG SET maxmemory 1");
	endure(&w, 1000);
	load_stop(w.load);
	expect(redis, "OK", "CONFIG SET maxmemory 0");
	conclude(&w);
}
END_TEST

START_TEST(redis_read_only)
{
	struct world w = begin(false, false, 0);
	redisContext *redis = harness_connect_redis(w.h);
	expect(redis, "OK", "REPLICAOF 127.0.0.1 1");
	endure(&w, 2000);
	expect(redis, "OK", "REPLICAOF NO ONE");
	finish(&w);
}
END_TEST

START_TEST(redis_read_only_until_all_is_quiet)
{
	struct world w = begin(false, false, 0);
	redisContext *redis = harness_connect_redis(w.h);
	expect(redis, "OK", "REPLICAOF 127.0.0.1 1");
	endure(&w, 1000);
	load_stop(w.load);
	expect(redis, "OK", "REPLICAOF NO ONE");
	conclude(&w);
}
END_TEST

/* Returns how many connections of that name were killed. */
static unsigned kill_clients(redisContext *redis, const char *name)
{
	unsigned n = 0;
	char *wanted = xasprintf(" name=%s ", name);
	redisReply *list = ask(redis, "CLIENT LIST");
	for (char *rest = list->str, *line; (line = strsep(&rest, "\n"));) {
		if (!strstr(line, wanted))
			continue;
		n += ask_integer(redis, "CLIENT KILL ID %lld", atoll(line + strlen("id="))) > 0;
	}
	freeReplyObject(list);
	free(wanted);
	return n;
}

static void kill_again_and_again(const char *name)
{
	struct world w = begin(false, false, 2);
	redisContext *redis = harness_connect_redis(w.h);
	for (int i = 0; i < (chaos_is_full() ? 10 : 4); i++) {
		load_away(w.load, true);
		wait_until(kill_clients(redis, name) > 0, STEADY_MS);
		back(&w);
		run_steadily(&w);
	}
	finish(&w);
}

START_TEST(the_subscriber_is_killed)
{
	kill_again_and_again("catcached-tracking");
}
END_TEST

START_TEST(the_data_connection_is_killed)
{
	kill_again_and_again("catcached");
}
END_TEST

START_TEST(the_probe_connection_is_killed)
{
	kill_again_and_again("catcached-probe");
}
END_TEST

/* ---- the database ---- */

/* Nothing is changed meanwhile, and every key is there: so there is a value for every read. */
static struct world begin_with_a_full_cache(void)
{
	struct world w = begin(false, true, 0);
	load_hold(w.load, true);
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		for (unsigned k = 0; k < N_SOURCED; k++)
			freeReplyObject(ask(harness_connect_sidecar(w.h, i), "GET f:%u", k));
	return w;
}

/* A key that was never fetched has nothing to serve: an error that says why, and no nil. */
static void expect_no_false_nil(struct world *w)
{
	redisContext *c = harness_connect_sidecar(w->h, 0);
	expect_error(c, "UNAVAILABLE fetch", "", "GET f:never");
	int64_t began = now_ms();
	expect_error(c, "UNAVAILABLE fetch", "", "GET f:never");
	ck_assert_int_lt(now_ms() - began, SLACK_MS);
}

START_TEST(postgres_stopped_and_restarted)
{
	struct world w = begin_with_a_full_cache();
	postgres_stop_fast(w.pg);
	expect_no_false_nil(&w);
	endure(&w, 2000);
	postgres_start_again(w.pg);
	load_hold(w.load, false);
	finish(&w);
}
END_TEST

START_TEST(postgres_restarted_at_once)
{
	struct world w = begin_with_a_full_cache();
	postgres_stop_fast(w.pg);
	postgres_start_again(w.pg);
	load_hold(w.load, false);
	finish(&w);
}
END_TEST

START_TEST(postgres_hung)
{
	struct world w = begin_with_a_full_cache();
	postgres_freeze(w.pg);
	endure(&w, 1000);
	expect_no_false_nil(&w);
	postgres_thaw(w.pg);
	load_hold(w.load, false);
	finish(&w);
}
END_TEST

/* ---- hooks ---- */

static const char hook_config[] =
	LISTEN_SIDECAR
	"redis: {url: 'unix://${DIR}/redis.sock', timeout: 250ms}\n"
	NO_DATABASE
	"types:\n"
	"  hooked:\n"
	"    key: 'h:{name}'\n"
	"    ttl: 100s\n"
	"    format: json\n"
	"    fetch: {exec: ['${DIR}/hook', '{name}'], timeout: 1s}\n";

static const char slow_config[] =
	LISTEN_SIDECAR
	"redis: {url: 'unix://${REDIS_SOCKET}', timeout: 250ms}\n"
	NO_DATABASE
	"types: {hooked: {key: 'h:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook', '{name}'], timeout: 10s}}}\n";

/* One sidecar, and Redis 100 ms away. */
static struct world begin_slow(const char *script)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	setenv("REDIS_SOCKET", harness_path(w.h, "proxy.sock"), 1);
	w.proxy = proxy_start(getenv("REDIS_SOCKET"), harness_path(w.h, "redis.sock"));
	harness_hook(w.h, "hook", script);
	harness_start(w.h, slow_config);
	w.sidecars[0] = harness_connect(w.h);
	harness_tracking(w.sidecars[0]);
	proxy_delay(w.proxy, 100);
	return w;
}

static void end_slow(struct world *w)
{
	proxy_delay(w->proxy, 0);
	proxy_stop(w->proxy);
	harness_free(w->h);
}

/* The lease is renewed while it is fetched, at some times just when it is to be filled. */
START_TEST(a_fetch_over_a_slow_redis_is_stored_at_its_first_try)
{
	static const char *const takes[] = {"0.35", "0.40", "0.45", "0.50", "0.55", "0.60", "0.65"};
	enum { N = sizeof(takes) / sizeof(takes[0]) };
	struct world w = begin_slow("sleep $1; printf $1");
	redisContext *redis = harness_connect_redis(w.h);
	for (unsigned i = 0; i < N; i++) {
		char *text = xasprintf("\"%s\"", takes[i]);
		expect(w.sidecars[0], text, "GET h:%s", takes[i]);
		expect(redis, text, "GET h:%s", takes[i]);
		free(text);
	}
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), N);
	end_slow(&w);
}
END_TEST

START_TEST(many_keys_at_once_over_a_slow_redis_are_no_error)
{
	enum { N = 200 };
	struct world w = begin_slow("printf done");
	int fd = raw_connect(w.h);
	for (int i = 0; i < N; i++) {
		char line[32];
		snprintf(line, sizeof(line), "GET h:%d\r\n", i);
		raw_send(fd, line);
	}
	for (int i = 0; i < N; i++)
		raw_expect(fd, "$4\r\ndone\r\n");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), N);
	close(fd);
	end_slow(&w);
}
END_TEST

static struct world begin_with_hook(const char *script)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", script);
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		harness_start_sidecar(w.h, i, hook_config);
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		harness_redis_ready(harness_connect_sidecar(w.h, i));
	return w;
}

static void everybody_has(struct world *w, const char *value)
{
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		expect_soon(harness_connect_sidecar(w->h, i), value, "GET h:a");
}

/* The value that is there outlives a hook that went bad; a key without one gets an error
 * once on each sidecar, and from then on at once; the first good run heals all. */
static void survive_hook(const char *bad_script)
{
	struct world w = begin_with_hook("echo '[1,2,3]'");
	everybody_has(&w, "\"[1,2,3]\n\"");
	harness_hook(w.h, "hook", bad_script);
	unsigned runs = harness_hook_runs(w.h, "hook");
	expect_error(harness_connect_sidecar(w.h, 1), "UNAVAILABLE", "", "REFRESH h:a");
	everybody_has(&w, "\"[1,2,3]\n\"");
	int64_t began = now_ms();
	for (unsigned i = 0; i < 3 * HARNESS_SIDECARS; i++)
		expect_error(harness_connect_sidecar(w.h, i % HARNESS_SIDECARS), "UNAVAILABLE", "", "GET h:cold");
	/* REFRESH, one for each sidecar, and those that the backoff allows in that time */
	ck_assert_int_lt(now_ms() - began, 1000 * (HARNESS_SIDECARS + 1) + SLACK_MS);
	ck_assert_uint_le(harness_hook_runs(w.h, "hook") - runs, 1 + HARNESS_SIDECARS + 3);
	harness_hook(w.h, "hook", "echo '[4,5,6]'");
	expect_soon(harness_connect_sidecar(w.h, 2), "OK", "REFRESH h:a");
	everybody_has(&w, "\"[4,5,6]\n\"");
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		expect_soon(harness_connect_sidecar(w.h, i), "\"[4,5,6]\n\"", "GET h:cold");
	harness_free(w.h);
}

START_TEST(a_hook_crashes)
{
	survive_hook("kill -SEGV $$");
}
END_TEST

START_TEST(a_hook_fails_after_half_a_value)
{
	survive_hook("printf '[1,2'; exit 3");
}
END_TEST

START_TEST(a_hook_prints_half_a_value_and_calls_it_good)
{
	survive_hook("printf '[1,2'");
}
END_TEST

START_TEST(a_hook_hangs)
{
	survive_hook("exec sleep 60");
}
END_TEST

/* ---- a sidecar ---- */

static int ask_without_waiting(struct world *w, unsigned sidecar, const char *request)
{
	int fd = raw_connect_sidecar(w->h, sidecar);
	raw_send(fd, request);
	raw_sent(fd);
	return fd;
}

/* Only the first run of the hook is slow: that of the sidecar which will not see its end. */
START_TEST(a_sidecar_is_killed_while_it_holds_a_lease)
{
	struct world w = begin_with_hook("if mkdir \"$DIR/first\"; then exec sleep 20; fi; echo '[7]'");
	redisContext *redis = harness_connect_redis(w.h);
	int first = ask_without_waiting(&w, 0, "GET h:a\r\n"), others[2];
	wait_until(harness_hook_runs(w.h, "hook") == 1, STEADY_MS);
	wait_until(ask_integer(redis, "EXISTS catcached:lease:{h:a}") == 1, STEADY_MS);
	for (unsigned i = 0; i < 2; i++)
		others[i] = ask_without_waiting(&w, i + 1, "GET h:a\r\n");
	int64_t killed_ms = now_ms();
	harness_kill_sidecar(w.h, 0);
	for (unsigned i = 0; i < 2; i++)
		raw_expect(others[i], "$4\r\n[7]\n\r\n");
	int64_t delay_ms = now_ms() - killed_ms;
	printf("%s: the others waited %lld ms\n", tcase_name(), (long long)delay_ms);
	ck_assert_int_le(delay_ms, LEASE_MS + (SANITIZED ? 2 : 1) * SLACK_MS / 2);
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 2);
	harness_restart_sidecar(w.h, 0);
	expect_soon(harness_connect_sidecar(w.h, 0), "\"[7]\n\"", "GET h:a");
	close(first);
	close(others[0]);
	close(others[1]);
	harness_free(w.h);
}
END_TEST

/* ---- clocks ---- */

/* Moves CLOCK_MONOTONIC and CLOCK_BOOTTIME of the processes that are started from here on. */
static bool enter_time_namespace(int64_t offset_s)
{
	if (unshare(CLONE_NEWTIME) < 0)
		return false;
	char *text = xasprintf("monotonic %lld 0\nboottime %lld 0\n", (long long)offset_s, (long long)offset_s);
	int fd = open("/proc/self/timens_offsets", O_WRONLY);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	free(text);
	if (fd >= 0)
		close(fd);
	return done;
}

/* One of the sidecars lives in another day: what they tell each other holds no times of a clock of one host. */
START_TEST(sidecars_whose_clocks_differ_by_days)
{
	struct world w = {.h = harness_new()};
	chaos_start(w.h, NULL, N_SOURCED, "");
	harness_stop_sidecar(w.h, 2);
	if (!enter_time_namespace(OTHER_DAY_S))
		printf("%s: a time namespace needs more rights: the clocks are the same\n", tcase_name());
	harness_restart_sidecar(w.h, 2);
	start_load(&w, 1);
	finish(&w);
}
END_TEST

/* Seconds to be added to the wall clock of all who were started with it; see wallclock.c. NULL: no such library. */
static int64_t *wallclock_start(struct harness *h)
{
	const char *build = getenv("BUILD");
	char *library = xasprintf("%s/tests/chaos/wallclock.so", build ? build : "build");
	const char *path = harness_write(h, "wallclock", "........");
	int fd = open(path, O_RDWR);
	int64_t *offset_s = mmap(NULL, sizeof(*offset_s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	ck_assert(offset_s != MAP_FAILED);
	*offset_s = 0;
	setenv("WALLCLOCK", path, 1);
	const char *asan_options = getenv("ASAN_OPTIONS");
	char *full = realpath(library, NULL);
	char *asan = xasprintf("%s:verify_asan_link_order=0", asan_options ? asan_options : "detect_leaks=1");
	if (full)
		setenv("LD_PRELOAD", full, 1);
	setenv("ASAN_OPTIONS", asan, 1);
	bool is_there = full;
	free(full);
	free(asan);
	free(library);
	return is_there ? offset_s : NULL;
}

/* The wall clock of all, Redis included, is put back by an hour and then forward by a day. What
 * has a TTL in Redis has then run out. */
START_TEST(the_wall_clock_is_moved)
{
	struct harness *h = harness_new();
	int64_t *offset_s = wallclock_start(h);
	struct world w = {.h = h};
	ck_assert_msg(offset_s, "wallclock.so is not built");
	chaos_start(h, NULL, N_SOURCED, "");
	start_load(&w, 1);
	*offset_s = -3600;
	endure(&w, 1000);
	int64_t from_ns = now_ns();
	*offset_s = 86400;
	endure(&w, 1000);
	load_lost(w.load, from_ns);
	*offset_s = 0;
	endure(&w, 1000);
	finish(&w);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		redis_killed_and_restarted_empty,
		redis_killed_and_restarted_with_its_data,
		redis_hung_until_all_is_quiet,
		redis_hung,
		redis_hung_for_a_moment_again_and_again,
		redis_slow,
		redis_slower_than_its_timeout,
		replies_cut_in_the_middle,
		the_network_to_redis_stalls,
		redis_full,
		redis_full_until_all_is_quiet,
		redis_read_only,
		redis_read_only_until_all_is_quiet,
		the_subscriber_is_killed,
		the_data_connection_is_killed,
		the_probe_connection_is_killed,
		postgres_stopped_and_restarted,
		postgres_restarted_at_once,
		postgres_hung,
		a_fetch_over_a_slow_redis_is_stored_at_its_first_try,
		many_keys_at_once_over_a_slow_redis_are_no_error,
		a_hook_crashes,
		a_hook_fails_after_half_a_value,
		a_hook_prints_half_a_value_and_calls_it_good,
		a_hook_hangs,
		a_sidecar_is_killed_while_it_holds_a_lease,
		sidecars_whose_clocks_differ_by_days,
		the_wall_clock_is_moved,
	};
	cluster = postgres_start();
	int status = chaos_main("faults", tests, sizeof(tests) / sizeof(tests[0]));
	postgres_free(cluster);
	return status;
}
