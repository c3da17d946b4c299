/* The life of a value past its refresh_ahead and its TTL, failures and how they are remembered,
 * and results that are refused. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define SOON_MS 10000
#define AT_ONCE_MS 2000                 /* where a fetch is held and would last for ever */
#define FETCH "fetch: {exec: ['${DIR}/hook', '{name}'], timeout: 20s}"
#define FETCH_SOFT(ms) "fetch: {exec: ['${DIR}/hook', '{name}'], timeout: 20s, soft_timeout: " ms "}"

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

/* The hook says what the file answer holds ("%d" in it: the number of the run), with the status in
 * the file status, and waits while the file hold is there. */
static const char hook[] =
	"cd \"$(dirname \"$0\")\"; n=$(wc -l <hook.runs); date +%s%N >>times\n"
	"while [ -e hold ]; do sleep 0.01; done; [ \"$(cat status)\" = 0 ] || echo the source is ill >&2\n"
	"printf \"$(cat answer)\" \"$n\"; exit \"$(cat status)\"";

static void answer_with(struct world *w, const char *answer, const char *status)
{
	/* Renamed into place, so that no run reads half of it. */
	harness_write(w->h, "answer.new", answer);
	rename(harness_path(w->h, "answer.new"), harness_path(w->h, "answer"));
	harness_write(w->h, "status.new", status);
	rename(harness_path(w->h, "status.new"), harness_path(w->h, "status"));
}

/* types: the lines below "types:". n sidecars. */
static struct world start_fleet(const char *types, unsigned n)
{
	struct world w = {.h = harness_new()};
	char *yaml = xasprintf(LISTEN_SIDECAR REDIS NO_DATABASE "types:\n%s", types);
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", hook);
	answer_with(&w, "v%d", "0");
	for (unsigned i = 0; i < n; i++) {
		harness_start_sidecar(w.h, i, yaml);
		harness_tracking(harness_connect_sidecar(w.h, i));
	}
	free(yaml);
	w.c = harness_connect(w.h);
	w.redis = harness_connect_redis(w.h);
	return w;
}

static struct world start(const char *types)
{
	return start_fleet(types, 1);
}

static unsigned runs(struct world *w)
{
	return harness_hook_runs(w->h, "hook");
}

static void hold(struct world *w)
{
	harness_write(w->h, "hold", "");
}

static void let_go(struct world *w)
{
	unlink(harness_path(w->h, "hold"));
}

/* What GET answers, as text; free it. */
static char *get(redisContext *c, const char *key)
{
	redisReply *r = ask(c, "GET %s", key);
	char *text = render(r);
	freeReplyObject(r);
	return text;
}

/* Nothing that was begun is under way any more. */
static void settle(redisContext *c)
{
	wait_until(ask_stat(c, "", "flights.under_way") == 0, SOON_MS);
}

static bool is_answer(redisContext *c, const char *key, const char *text)
{
	char *got = get(c, key);
	bool is = strcmp(got, text) == 0;
	free(got);
	return is;
}

/* The TTL is over in both tiers, as EXPLAIN tells, which does not change it. */
static bool is_over(redisContext *c, const char *key)
{
	redisReply *r = ask(c, "EXPLAIN %s", key);
	const char *first = strstr(r->str, "ttl over since");
	bool is = first && strstr(first + 1, "ttl over since");
	freeReplyObject(r);
	return is;
}

/* GET answers "v1", until it answers an error; a false nil fails the test. */
static bool has_ended(redisContext *c, const char *key)
{
	char *got = get(c, key);
	bool is_error = strncmp(got, "(error) UNAVAILABLE", 19) == 0;
	ck_assert_msg(is_error || strcmp(got, "\"v1\"") == 0, "%s", got);
	free(got);
	return is_error;
}

/* ---- stale values ---- */

START_TEST(a_stale_value_is_served_at_once_and_refreshed_behind_once)
{
	struct world w = start("  swr: {key: 's:{name}', ttl: 300ms, stale_while_revalidate: 60s, " FETCH "}\n");
	expect(w.c, "\"v1\"", "GET s:a");
	hold(&w);
	wait_until(is_over(w.c, "s:a"), SOON_MS);
	unsigned asked = 0;
	/* For several times its memory_ttl, which is its ttl. */
	for (int64_t end = now_ms() + 1000; now_ms() < end; nap(), asked++) {
		int64_t began = now_ms();
		expect(w.c, "\"v1\"", "GET s:a");
		ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
	}
	expect(w.c, "[\"v1\", \"v1\"]", "MGET s:a s:a");
	wait_until(runs(&w) == 2, SOON_MS);
	ck_assert_int_ge(ask_stat(w.c, "swr", "stale_hits"), asked);
	let_go(&w);
	expect_soon(w.c, "\"v2\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_stale_value_that_two_sidecars_serve_is_fetched_once)
{
	struct world w = start_fleet("  swr: {key: 's:{name}', ttl: 300ms, stale_while_revalidate: 60s, " FETCH "}\n", 2);
	redisContext *other = harness_connect_sidecar(w.h, 1);
	expect(w.c, "\"v1\"", "GET s:a");
	expect_soon(w.redis, "\"v1\"", "GET s:a");
	hold(&w);
	expect(other, "\"v1\"", "GET s:a");
	wait_until(is_over(w.c, "s:a"), SOON_MS);
	wait_until(is_over(other, "s:a"), SOON_MS);
	for (int64_t end = now_ms() + 1000; now_ms() < end; nap()) {
		expect(w.c, "\"v1\"", "GET s:a");
		expect(other, "\"v1\"", "GET s:a");
	}
	wait_until(runs(&w) >= 2, SOON_MS);
	for (int i = 0; i < 20; i++)
		expect(other, "\"v1\"", "GET s:a");
	ck_assert_uint_eq(runs(&w), 2);
	let_go(&w);
	expect_soon(other, "\"v2\"", "GET s:a");
	expect_soon(w.c, "\"v2\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(looking_at_a_stale_value_fetches_nothing)
{
	struct world w = start("  swr: {key: 's:{name}', ttl: 300ms, stale_while_revalidate: 60s, " FETCH "}\n");
	expect(w.c, "\"v1\"", "GET s:a");
	wait_until(is_over(w.c, "s:a"), SOON_MS);
	expect(w.c, "0", "EXISTS s:a");
	expect(w.c, "\"v1\"", "PEEK s:a");                /* from Redis: its memory_ttl is over */
	settle(w.c);
	ck_assert_int_eq(ask_stat(w.c, "swr", "fetches"), 1);
	expect(w.c, "\"v1\"", "PEEK s:a");                /* from memory */
	ck_assert_str_eq(ask_meta(w.c, "s:a", "state"), "stale");
	freeReplyObject(ask(w.c, "DIGEST s:a"));
	settle(w.c);
	ck_assert_int_eq(ask_stat(w.c, "swr", "fetches"), 1);
	ck_assert_uint_eq(runs(&w), 1);
	harness_free(w.h);
}
END_TEST

START_TEST(a_stale_value_stands_in_for_a_failing_fetch)
{
	struct world w = start("  sie: {key: 's:{name}', ttl: 300ms, stale_if_error: 60s, " FETCH "}\n");
	expect(w.c, "\"v1\"", "GET s:a");
	answer_with(&w, "", "2");
	wait_until(is_over(w.c, "s:a"), SOON_MS);
	for (int i = 0; i < 10; i++)
		expect(w.c, "\"v1\"", "GET s:a");
	ck_assert_uint_ge(runs(&w), 2);
	ck_assert_int_ge(ask_stat(w.c, "sie", "stale_errors"), 10);
	expect_error(w.c, "UNAVAILABLE", "the source is ill", "REFRESH s:a");
	expect(w.c, "\"v1\"", "GET s:a");
	answer_with(&w, "well", "0");
	expect_soon(w.c, "\"well\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(beyond_stale_if_error_there_is_an_error_and_never_a_false_nil)
{
	struct world w = start("  sie: {key: 's:{name}', ttl: 200ms, stale_if_error: 400ms, " FETCH "}\n");
	int64_t began = now_ms();
	expect(w.c, "\"v1\"", "GET s:a");
	answer_with(&w, "", "2");
	wait_until(has_ended(w.c, "s:a"), SOON_MS);
	ck_assert_int_ge(now_ms() - began, 595);
	expect_soon(w.redis, "0", "EXISTS s:a");        /* it may live there a few ms longer */
	expect_error(w.c, "UNAVAILABLE", "the source is ill", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_stale_value_outlives_a_restart)
{
	struct world w = start("  sie: {key: 's:{name}', ttl: 300ms, stale_if_error: 60s, " FETCH "}\n");
	expect(w.c, "\"v1\"", "GET s:a");
	expect_soon(w.redis, "\"v1\"", "GET s:a");
	answer_with(&w, "", "2");
	wait_until(is_over(w.c, "s:a"), SOON_MS);
	harness_restart(w.h);
	w.c = harness_connect(w.h);
	harness_tracking(w.c);
	expect(w.c, "\"v1\"", "GET s:a");
	answer_with(&w, "well", "0");
	expect_soon(w.c, "\"well\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_stale_value_stands_in_for_a_slow_fetch_which_ends_behind)
{
	struct world w = start("  soft: {key: 's:{name}', ttl: 300ms, stale_if_error: 60s, " FETCH_SOFT("200ms") "}\n");
	expect(w.c, "\"v1\"", "GET s:a");
	hold(&w);
	wait_until(is_over(w.c, "s:a"), SOON_MS);
	int64_t began = now_ms();
	expect(w.c, "\"v1\"", "GET s:a");
	ck_assert_int_ge(now_ms() - began, 195);
	ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
	wait_until(runs(&w) == 2, SOON_MS);
	ck_assert_int_ge(ask_stat(w.c, "soft", "stale_errors"), 1);
	let_go(&w);
	expect_soon(w.redis, "\"v2\"", "GET s:a");
	ck_assert_uint_eq(runs(&w), 2);
	harness_free(w.h);
}
END_TEST

START_TEST(a_cold_key_is_waited_for_however_slow_it_is)
{
	struct world w = start("  soft: {key: 's:{name}', ttl: 300ms, stale_if_error: 60s, " FETCH_SOFT("50ms") "}\n");
	harness_hook(w.h, "hook", "sleep 0.3; printf slow");
	expect(w.c, "\"slow\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(refresh_ahead_replaces_a_value_that_is_in_use_before_it_ends)
{
	struct world w = start("  ahead: {key: 's:{name}', ttl: 5s, refresh_ahead: 10%, " FETCH "}\n"
		"  unused: {key: 'u:{name}', ttl: 5s, refresh_ahead: 10%, " FETCH "}\n");
	int64_t began = now_ms();
	expect(w.c, "\"v1\"", "GET s:a");
	wait_until(!is_answer(w.c, "s:a", "\"v1\""), 4500);
	ck_assert_int_ge(now_ms() - began, 495);
	ck_assert_int_eq(ask_stat(w.c, "ahead", "stale_hits"), 0);
	ck_assert_int_eq(ask_stat(w.c, "ahead", "misses"), 1);
	char *got = get(w.c, "s:a");
	ck_assert_msg(strncmp(got, "\"v", 2) == 0, "%s", got);
	free(got);
	harness_free(w.h);
}
END_TEST

START_TEST(a_refresh_ahead_that_fails_leaves_the_value_for_its_ttl)
{
	struct world w = start("  ahead: {key: 's:{name}', ttl: 2s, refresh_ahead: 10%, " FETCH "}\n");
	int64_t began = now_ms();
	expect(w.c, "\"v1\"", "GET s:a");
	answer_with(&w, "", "2");
	wait_until(has_ended(w.c, "s:a"), SOON_MS);
	ck_assert_int_ge(now_ms() - began, 1995);
	ck_assert_int_gt(ask_stat(w.c, "ahead", "fetch_failures"), 1);
	harness_free(w.h);
}
END_TEST

START_TEST(redis_keeps_a_value_for_its_ttl_and_the_longer_window)
{
	struct world w = start("  both: {key: 'b:{name}', ttl: 100s, stale_while_revalidate: 200s, stale_if_error: 1000s, " FETCH "}\n"
		"  swr: {key: 's:{name}', ttl: 100s, stale_while_revalidate: 200s, " FETCH "}\n"
		"  brief: {key: 'x:{name}', ttl: 300ms, stale_if_error: 1000s, " FETCH "}\n"
		"  plain: {key: 'p:{name}', ttl: 100s}\n");
	for (const char *const *key = (const char *const[]){"b:a", "s:a", "x:a", NULL}; *key; key++) {
		expect_in(w.c, "fetch: by a program", "EXPLAIN %s", *key);
		freeReplyObject(ask(w.c, "GET %s", *key));
		wait_until(ask_integer(w.redis, "EXISTS %s", *key) == 1, SOON_MS);
	}
	long long both = ask_integer(w.redis, "TTL b:a"), swr = ask_integer(w.redis, "TTL s:a");
	ck_assert_msg(both > 1050 && both <= 1100, "%lld s", both);
	ck_assert_msg(swr > 250 && swr <= 300, "%lld s", swr);
	ck_assert_int_le(ask_integer(w.c, "TTL b:a"), 100);
	ck_assert_int_gt(ask_integer(w.c, "TTL b:a"), 50);
	ck_assert_int_le(ask_integer(w.c, "PTTL s:a"), 100000);

	expect_soon(w.c, "-2", "PTTL x:a");
	expect(w.c, "-2", "TTL x:a");
	expect(w.c, "0", "EXISTS x:a");
	expect(w.c, "0", "STRLEN x:a");
	expect(w.redis, "1", "EXISTS x:a");

	expect(w.c, "OK", "SET b:a set EX 50");
	both = ask_integer(w.redis, "TTL b:a");
	ck_assert_msg(both > 1000 && both <= 1050, "%lld s", both);
	expect(w.c, "1", "EXPIRE b:a 20");
	both = ask_integer(w.redis, "TTL b:a");
	ck_assert_msg(both > 970 && both <= 1020, "%lld s", both);
	ck_assert_int_le(ask_integer(w.c, "TTL b:a"), 20);
	expect(w.c, "OK", "SET p:a set");
	ck_assert_int_le(ask_integer(w.redis, "TTL p:a"), 100);
	harness_free(w.h);
}
END_TEST

START_TEST(a_sidecar_that_reads_redis_knows_the_logical_ttl)
{
	struct world w = start_fleet("  both: {key: 'b:{name}', ttl: 100s, stale_if_error: 1000s, " FETCH "}\n", 2);
	redisContext *other = harness_connect_sidecar(w.h, 1);
	expect(w.c, "\"v1\"", "GET b:a");
	expect_soon(w.redis, "\"v1\"", "GET b:a");
	ck_assert_int_le(ask_integer(other, "TTL b:a"), 100);
	ck_assert_int_gt(ask_integer(other, "TTL b:a"), 50);
	expect(other, "\"v1\"", "GET b:a");
	ck_assert_int_le(ask_integer(other, "TTL b:a"), 100);
	ck_assert_int_gt(ask_integer(other, "TTL b:a"), 50);
	ck_assert_uint_eq(runs(&w), 1);
	harness_free(w.h);
}
END_TEST

/* ---- failures ---- */

START_TEST(what_one_sidecar_found_absent_the_other_does_not_fetch)
{
	struct world w = start_fleet("  known: {key: 'k:{name}', ttl: 100s, negative_ttl: 60s, " FETCH "}\n", 2);
	redisContext *other = harness_connect_sidecar(w.h, 1);
	answer_with(&w, "", "1");
	expect(w.c, "nil", "GET k:a");
	expect(other, "nil", "GET k:a");
	expect(w.c, "nil", "GET k:a");
	expect(other, "nil", "GET k:a");
	ck_assert_uint_eq(runs(&w), 1);
	answer_with(&w, "here", "0");
	expect(other, "OK", "REFRESH k:a");
	expect_soon(w.c, "\"here\"", "GET k:a");
	expect(other, "\"here\"", "GET k:a");
	ck_assert_uint_eq(runs(&w), 2);
	harness_free(w.h);
}
END_TEST

START_TEST(a_del_on_one_sidecar_ends_the_absence_that_the_other_remembers)
{
	struct world w = start_fleet("  known: {key: 'k:{name}', ttl: 100s, negative_ttl: 60s, " FETCH "}\n", 2);
	redisContext *other = harness_connect_sidecar(w.h, 1);
	answer_with(&w, "", "1");
	expect(w.c, "nil", "GET k:a");
	expect(other, "nil", "GET k:a");
	answer_with(&w, "here", "0");
	expect(other, "0", "DEL k:a");
	expect_soon(w.c, "\"here\"", "GET k:a");
	expect(other, "\"here\"", "GET k:a");
	ck_assert_uint_eq(runs(&w), 2);
	harness_free(w.h);
}
END_TEST

static unsigned run_times(struct world *w, int64_t *ms, unsigned max)
{
	FILE *f = fopen(harness_path(w->h, "times"), "r");
	unsigned n = 0;
	long long ns;
	while (f && n < max && fscanf(f, "%lld", &ns) == 1)
		ms[n++] = ns / 1000000;
	if (f)
		fclose(f);
	return n;
}

/* The pauses are 200 ms, 400 ms, 800 ms, less up to a quarter; the machine may only make them longer. */
START_TEST(a_failing_source_is_asked_ever_more_rarely)
{
	enum { N = 4 };
	static const int64_t least_ms[N - 1] = {150, 300, 600};
	struct world w = start("  failing: {key: 's:{name}', ttl: 100s, " FETCH "}\n");
	int64_t at[N];
	unsigned asked = 0;
	answer_with(&w, "", "2");
	while (runs(&w) < N) {
		expect_error(w.c, "UNAVAILABLE", "the source is ill", "GET s:a");
		ck_assert_uint_lt(++asked, 100000);
	}
	ck_assert_uint_eq(run_times(&w, at, N), N);
	for (int i = 0; i + 1 < N; i++)
		ck_assert_msg(at[i + 1] - at[i] >= least_ms[i], "pause %d was %lld ms", i + 1, (long long)(at[i + 1] - at[i]));
	ck_assert_int_gt(ask_stat(w.c, "failing", "backoffs"), 10);
	expect_in(w.c, "(4 in a row)", "EXPLAIN s:a");
	expect_in(w.c, "the source is ill", "EXPLAIN s:a");
	harness_free(w.h);
}
END_TEST

/* With nothing to serve it tries once for itself: the failure may be the other's own. */
START_TEST(what_failed_on_one_sidecar_the_other_tries_once)
{
	struct world w = start_fleet("  failing: {key: 's:{name}', ttl: 100s, " FETCH "}\n", 2);
	redisContext *other = harness_connect_sidecar(w.h, 1);
	answer_with(&w, "", "2");
	for (int i = 0; i < 8; i++)             /* the pause after the last is some 20 s */
		expect_error(w.c, "UNAVAILABLE", "the source is ill", "REFRESH s:a");
	unsigned before = runs(&w);
	expect_error(other, "UNAVAILABLE", "the source is ill", "GET s:a");
	ck_assert_uint_eq(runs(&w), before + 1);
	answer_with(&w, "well", "0");
	expect(other, "OK", "REFRESH s:a");
	expect_soon(w.c, "\"well\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_change_ends_the_pause_after_a_failure)
{
	struct world w = start("  failing: {key: 's:{name}', ttl: 100s, " FETCH "}\n");
	answer_with(&w, "", "2");
	for (int i = 0; i < 8; i++)
		expect_error(w.c, "UNAVAILABLE", "the source is ill", "REFRESH s:a");
	answer_with(&w, "well", "0");
	expect_error(w.c, "UNAVAILABLE", "the source is ill", "GET s:a");
	expect(w.c, "0", "DEL s:a");
	expect(w.c, "\"well\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

/* ---- refusals ---- */

START_TEST(an_empty_result_keeps_the_old_value_also_past_its_ttl)
{
	struct world w = start("  full: {key: 's:{name}', ttl: 300ms, stale_if_error: 60s, refuse_empty: true, format: json, " FETCH "}\n");
	answer_with(&w, "[1]", "0");
	expect(w.c, "\"[1]\"", "GET s:a");
	answer_with(&w, "[]", "0");
	expect_error(w.c, "UNAVAILABLE", "empty", "REFRESH s:a");
	expect_error(w.c, "UNAVAILABLE", "empty", "REFRESH s:a FORCE");
	wait_until(is_over(w.c, "s:a"), SOON_MS);
	expect(w.c, "\"[1]\"", "GET s:a");
	expect(w.redis, "\"[1]\"", "GET s:a");
	ck_assert_int_ge(ask_stat(w.c, "full", "refused_empty"), 2);
	expect_in(w.c, "refused", "EXPLAIN s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_shrunken_result_keeps_the_old_value_until_it_is_forced)
{
	struct world w = start("  large: {key: 's:{name}', ttl: 100s, max_shrink: 50%, format: json, " FETCH "}\n");
	answer_with(&w, "[1,2,3,4]", "0");
	expect(w.c, "\"[1,2,3,4]\"", "GET s:a");
	expect_soon(w.redis, "\"[1,2,3,4]\"", "GET s:a");
	answer_with(&w, "[1]", "0");
	for (int i = 0; i < 3; i++) {
		expect_error(w.c, "UNAVAILABLE", "1 items where 4 were held", "REFRESH s:a");
		expect(w.c, "\"[1,2,3,4]\"", "GET s:a");
		expect(w.redis, "\"[1,2,3,4]\"", "GET s:a");
	}
	ck_assert_int_eq(ask_stat(w.c, "large", "refused_shrunken"), 3);
	expect_in(w.c, "a smaller result was refused", "EXPLAIN s:a");
	char *log = harness_log(w.h);
	ck_assert_msg(strstr(log, "fetch_refused") && strstr(log, "1 items where 4 were held"), "%s", log);
	free(log);
	expect(w.c, "OK", "REFRESH s:a FORCE");
	expect(w.c, "\"[1]\"", "GET s:a");
	expect_soon(w.redis, "\"[1]\"", "GET s:a");
	answer_with(&w, "[1,2,3]", "0");
	expect(w.c, "OK", "REFRESH s:a");
	answer_with(&w, "[1,2]", "0");
	expect(w.c, "OK", "REFRESH s:a");
	expect(w.c, "\"[1,2]\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_shrunken_result_is_compared_with_what_redis_has)
{
	struct world w = start("  large: {key: 's:{name}', ttl: 100s, max_shrink: 50%, format: json, " FETCH "}\n");
	expect(w.redis, "OK", "SET s:a [1,2,3,4] EX 100");
	answer_with(&w, "[1]", "0");
	expect_error(w.c, "UNAVAILABLE", "1 items where 4 were held", "REFRESH s:a");
	expect(w.c, "\"[1,2,3,4]\"", "GET s:a");
	expect(w.redis, "\"[1,2,3,4]\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_stale_value_is_served_at_once_and_refreshed_behind_once,
		a_stale_value_that_two_sidecars_serve_is_fetched_once,
		looking_at_a_stale_value_fetches_nothing,
		a_stale_value_stands_in_for_a_failing_fetch,
		beyond_stale_if_error_there_is_an_error_and_never_a_false_nil,
		a_stale_value_outlives_a_restart,
		a_stale_value_stands_in_for_a_slow_fetch_which_ends_behind,
		a_cold_key_is_waited_for_however_slow_it_is,
		refresh_ahead_replaces_a_value_that_is_in_use_before_it_ends,
		a_refresh_ahead_that_fails_leaves_the_value_for_its_ttl,
		redis_keeps_a_value_for_its_ttl_and_the_longer_window,
		a_sidecar_that_reads_redis_knows_the_logical_ttl,
		what_one_sidecar_found_absent_the_other_does_not_fetch,
		a_del_on_one_sidecar_ends_the_absence_that_the_other_remembers,
		a_failing_source_is_asked_ever_more_rarely,
		what_failed_on_one_sidecar_the_other_tries_once,
		a_change_ends_the_pause_after_a_failure,
		an_empty_result_keeps_the_old_value_also_past_its_ttl,
		a_shrunken_result_keeps_the_old_value_until_it_is_forced,
		a_shrunken_result_is_compared_with_what_redis_has,
	};
	return harness_main("stale", tests, sizeof(tests) / sizeof(tests[0]));
}
