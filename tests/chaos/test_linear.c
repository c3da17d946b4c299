/* One fleet, one truth: three sidecars, one Redis, a real source, many clients at once, and
 * every reply checked (checker.c says against what). CHAOS=full: the long run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../daemon/harness.h"
#include "../daemon/talk.h"
#include "../postgres.h"
#include "chaos.h"

#define SETTLE_MS 5000
#define SLOWEST_MS 1500         /* less than a lease: who waits for the end of one was forgotten when it ended */
#define STALE_MAX_MS 1000       /* a change takes milliseconds to be heard: a second means that it was not */

static struct postgres *cluster;

static void judge(struct load *l, const char *name)
{
	struct load_report r;
	load_judge(l, name, &r);
	if (r.slowest_ms >= SLOWEST_MS)
		load_tell_slowest(l, &r);
	ck_assert_msg(verdict_violations(&r.verdict) == 0, "%zu violations; %s", verdict_violations(&r.verdict), r.verdict.first);
	ck_assert_msg(r.errors == 0, "%zu errors; %s", r.errors, r.first_error);
	ck_assert_uint_eq(r.not_last, 0);
	if (!SANITIZED)
		ck_assert_msg(r.slowest_ms < SLOWEST_MS, "an operation took %.0f ms", r.slowest_ms);
	if (!SANITIZED)
		ck_assert_msg(r.verdict.staleness.max_ms < STALE_MAX_MS, "stale for %.0f ms", r.verdict.staleness.max_ms);
}

static void run_history(const char *name, const char *postgres_url, size_t max_ops)
{
	struct harness *h = harness_new();
	const struct load_options options = {.n_sidecars = HARNESS_SIDECARS, .n_clients = 24, .n_foreign = 3, .n_sourced = 16,
		.n_plain = 8, .write_percent = 12, .max_ops = max_ops};
	chaos_start(h, postgres_url, options.n_sourced, "");
	struct load *l = load_start(h, &options);
	load_stop(l);
	int64_t settled_ms = load_settle(l, harness_connect_redis(h), SETTLE_MS);
	judge(l, name);
	ck_assert_msg(settled_ms >= 0, "no agreement after %d ms of quiet", SETTLE_MS);
	printf("  agreed after %lld ms\n", (long long)settled_ms);
	load_free(l);
	harness_free(h);
}

START_TEST(sidecars_over_sqlite_tell_one_truth)
{
	run_history(tcase_name(), NULL, chaos_is_full() ? 200000 : 20000);
}
END_TEST

START_TEST(sidecars_over_postgres_tell_one_truth)
{
	postgres_restore(cluster);
	run_history(tcase_name(), postgres_url(cluster), chaos_is_full() ? 50000 : 5000);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		sidecars_over_sqlite_tell_one_truth,
		sidecars_over_postgres_tell_one_truth,
	};
	cluster = postgres_start();
	int status = chaos_main("linear", tests, sizeof(tests) / sizeof(tests[0]));
	postgres_free(cluster);
	return status;
}
