/* A Redis that refused for a while and takes all again, without having been away: what the
 * sidecars hold from that time is compared with it. */
#include "harness.h"
#include "talk.h"

#include <string.h>

#define FLEET 2

static const char config[] =
	LISTEN_SIDECAR REDIS NO_DATABASE
	"types:\n"
	"  fetched: {key: 'f:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook'], timeout: 20s}}\n";

struct world {
	struct harness *h;
	redisContext *c[FLEET], *redis;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "cat \"$(dirname \"$0\")/source\"");
	harness_write(w.h, "source", "old");
	for (unsigned i = 0; i < FLEET; i++) {
		harness_start_sidecar(w.h, i, config);
		w.c[i] = harness_connect_sidecar(w.h, i);
		harness_tracking(w.c[i]);
	}
	w.redis = harness_connect_redis(w.h);
	return w;
}

/* Sidecar 1 alone holds the value, so that nobody hears of the DEL, then or later. */
START_TEST(what_one_removed_while_redis_was_read_only_the_other_does_not_keep)
{
	struct world w = start();
	expect(w.redis, "OK", "REPLICAOF 127.0.0.1 1");         /* read-only: no such master */
	expect(w.c[1], "\"old\"", "GET f:a");
	harness_write(w.h, "source", "new");
	(void)ask_integer(w.c[0], "DEL f:a");
	expect(w.c[0], "\"new\"", "GET f:a");
	expect(w.redis, "OK", "REPLICAOF NO ONE");
	for (unsigned i = 0; i < FLEET; i++) {
		wait_until(strcmp(ask_health(w.c[i], "replay.keys"), "0") == 0, 10000);
		expect_soon(w.c[i], "\"new\"", "GET f:a");
	}
	expect_soon(w.redis, "\"new\"", "GET f:a");
	harness_free(w.h);
}
END_TEST

START_TEST(value_written_while_redis_was_full_is_not_kept_by_one_alone)
{
	struct world w = start();
	expect(w.redis, "OK", "CONFIG SET maxmemory 1");
	expect(w.c[0], "OK", "SET f:a mine");
	expect(w.c[0], "\"mine\"", "GET f:a");
	expect(w.c[1], "\"old\"", "GET f:a");
	expect(w.redis, "OK", "CONFIG SET maxmemory 0");
	for (unsigned i = 0; i < FLEET; i++) {
		wait_until(strcmp(ask_health(w.c[i], "replay.keys"), "0") == 0, 10000);
		expect_soon(w.c[i], "\"old\"", "GET f:a");
	}
	harness_free(w.h);
}
END_TEST

/* It cannot be stored in Redis, but the first fetch after that is known is kept in memory. */
START_TEST(what_is_fetched_while_redis_is_full_is_fetched_once)
{
	struct world w = start();
	expect(w.redis, "OK", "CONFIG SET maxmemory 1");
	for (int64_t end = now_ms() + 2000; now_ms() < end; nap()) /* what is done for it behind is done some ten times in that */
		expect(w.c[0], "\"old\"", "GET f:a");
	ck_assert_uint_le(harness_hook_runs(w.h, "hook"), 3);
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_one_removed_while_redis_was_read_only_the_other_does_not_keep,
		value_written_while_redis_was_full_is_not_kept_by_one_alone,
		what_is_fetched_while_redis_is_full_is_fetched_once,
	};
	return harness_main("recovery", tests, sizeof(tests) / sizeof(tests[0]));
}
