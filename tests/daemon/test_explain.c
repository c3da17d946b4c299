/* EXPLAIN and META in a fleet: who changed a key, who fetches it, and what GET would do with a
 * value that is past its TTL. What EXPLAIN says is compared with what GET then does. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLEET 2
#define FETCH "fetch: {exec: ['${DIR}/hook', '{name}'], timeout: 20s}"

static const char config[] =
	LISTEN_SIDECAR REDIS NO_DATABASE
	"types:\n"
	"  provider: {key: 'p:{name}', ttl: 100s, invalidates: [catalog, summary], debounce: 0, " FETCH "}\n"
	"  catalog: {key: catalog, ttl: 100s, " FETCH "}\n"
	"  summary: {key: 'u:{name}', ttl: 100s}\n"
	"  behind: {key: 'b:{name}', ttl: 200ms, stale_while_revalidate: 60s, " FETCH "}\n"
	"  spare: {key: 's:{name}', ttl: 200ms, stale_if_error: 60s, " FETCH "}\n";

struct world {
	struct harness *h;
	redisContext *c[FLEET], *redis;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "cd \"$(dirname \"$0\")\"; while [ -e hold ]; do sleep 0.01; done\n"
		"[ ! -e ill ] || exit 3; printf 'built %s' \"$1\"");
	for (unsigned i = 0; i < FLEET; i++) {
		harness_start_sidecar(w.h, i, config);
		w.c[i] = harness_connect_sidecar(w.h, i);
		harness_tracking(w.c[i]);
	}
	w.redis = harness_connect_redis(w.h);
	return w;
}

/* ---- who changed it ---- */

START_TEST(a_pattern_is_told_for_each_of_its_keys)
{
	struct world w = start();
	expect(w.c[0], "OK", "SET p:a x");
	expect(w.c[0], "1", "INVALIDATE p:a*");
	expect_in(w.c[0], "invalidated: by INVALIDATE of client ", "EXPLAIN p:a");
	expect_in(w.c[0], "invalidated: by INVALIDATE of client ", "EXPLAIN p:abc");
	redisReply *r = ask(w.c[0], "EXPLAIN p:b");
	ck_assert_ptr_null(strstr(r->str, "invalidated:"));
	freeReplyObject(r);
	expect(w.c[0], "0", "INVALIDATE summary");
	expect_in(w.c[0], "invalidated: by INVALIDATE of client ", "EXPLAIN u:any");
	harness_free(w.h);
}
END_TEST

START_TEST(a_cascade_is_told_for_what_it_removed)
{
	struct world w = start();
	expect(w.c[0], "OK", "SET u:a x");
	expect(w.c[0], "0", "DEL p:a");
	expect_in_soon(w.c[0], "invalidated: by a cascade", "EXPLAIN u:a");
	expect_in_soon(w.c[0], "invalidated: by a cascade", "EXPLAIN catalog");
	harness_free(w.h);
}
END_TEST

START_TEST(changes_by_others_and_by_us_are_told)
{
	struct world w = start();
	expect(w.c[0], "OK", "SET u:a x");
	expect_in(w.c[0], "changed: by a SET, ", "EXPLAIN u:a");
	expect(w.c[0], "1", "EXPIRE u:a 50");
	expect_in(w.c[0], "changed: by a new TTL, ", "EXPLAIN u:a");
	expect(w.redis, "1", "DEL u:a");
	expect_in_soon(w.c[0], "changed: by a change heard from Redis, ", "EXPLAIN u:a");
	expect(w.c[1], "OK", "SET p:a x");
	expect_in_soon(w.c[0], "changed: by a change heard from Redis, ", "EXPLAIN p:a");
	expect(w.c[0], "OK", "REFRESH p:a");
	expect_in(w.c[0], "changed: by a REFRESH, ", "EXPLAIN p:a");
	expect(w.c[0], "1", "DEL p:a");
	redisReply *r = ask(w.c[0], "EXPLAIN p:a");
	ck_assert(strstr(r->str, "invalidated: by DEL of client ") && !strstr(r->str, "changed: by"));
	freeReplyObject(r);
	harness_free(w.h);
}
END_TEST

/* ---- who fetches it ---- */

START_TEST(a_fetch_under_way_is_told_here_and_elsewhere)
{
	struct world w = start();
	harness_write(w.h, "hold", "");
	int fd = raw_connect_sidecar(w.h, 0), other = raw_connect_sidecar(w.h, 1);
	raw_send(fd, "GET p:a\r\n");
	expect_in_soon(w.c[0], "under way: a fetch since ", "EXPLAIN p:a");
	expect_in(w.c[0], ", with the lease of the fleet; 1 waiting\n", "EXPLAIN p:a");
	expect_in(w.c[0], "GET would wait for what is under way\n", "EXPLAIN p:a");
	expect_in(w.c[1], "lease: another sidecar fetches (lease ", "EXPLAIN p:a");
	expect_in(w.c[1], "GET would wait for the fetch of another sidecar\n", "EXPLAIN p:a");
	raw_send(other, "GET p:a\r\n");
	expect_in_soon(w.c[1], ", which waits for another sidecar's fetch; 1 waiting\n", "EXPLAIN p:a");
	unlink(harness_path(w.h, "hold"));
	raw_expect(fd, "$7\r\nbuilt a\r\n");
	raw_expect(other, "$7\r\nbuilt a\r\n");
	redisReply *r = ask(w.c[0], "EXPLAIN p:a");
	ck_assert(!strstr(r->str, "under way") && !strstr(r->str, "lease"));
	freeReplyObject(r);
	harness_free(w.h);
}
END_TEST

/* ---- values past their TTL ---- */

/* Its TTL is over, and sidecar 1 has never seen it. */
static void make_stale(struct world *w, const char *key)
{
	expect(w->c[0], "OK", "SET %s old", key);
	expect_soon(w->c[0], "-2", "PTTL %s", key);
	harness_stop_sidecar(w->h, 1);
	harness_restart_sidecar(w->h, 1);
	w->c[1] = harness_connect_sidecar(w->h, 1);
	harness_tracking(w->c[1]);
}

START_TEST(what_get_would_do_with_a_stale_value_that_only_redis_has_is_told)
{
	struct world w = start();
	harness_write(w.h, "ill", "");
	make_stale(&w, "b:a");
	expect_in(w.c[1], "GET would answer the stale value, and refresh behind\n", "EXPLAIN b:a");
	expect(w.c[1], "\"old\"", "GET b:a");
	ck_assert_int_eq(ask_stat(w.c[1], "behind", "stale_redis_hits"), 1);
	make_stale(&w, "s:a");
	expect_in(w.c[1], "GET would fetch, and answer the stale value if that fails\n", "EXPLAIN s:a");
	expect(w.c[1], "\"old\"", "GET s:a");
	expect_in(w.c[1], "GET would answer the stale value: the last fetch failed a short time ago\n", "EXPLAIN s:a");
	expect(w.c[1], "\"old\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(meta_tells_the_age_of_a_stale_value_that_is_held)
{
	struct world w = start();
	expect(w.c[0], "OK", "SET s:a old");
	expect_soon(w.c[0], "-2", "PTTL s:a");
	ck_assert_str_eq(ask_meta(w.c[0], "s:a", "state"), "stale");
	ck_assert_int_ge(atoll(ask_meta(w.c[0], "s:a", "age_ms")), 200);
	ck_assert_int_gt(atoll(ask_meta(w.c[0], "s:a", "stored_at")), 0);
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_pattern_is_told_for_each_of_its_keys,
		a_cascade_is_told_for_what_it_removed,
		changes_by_others_and_by_us_are_told,
		a_fetch_under_way_is_told_here_and_elsewhere,
		what_get_would_do_with_a_stale_value_that_only_redis_has_is_told,
		meta_tells_the_age_of_a_stale_value_that_is_held,
	};
	return harness_main("explain", tests, sizeof(tests) / sizeof(tests[0]));
}
