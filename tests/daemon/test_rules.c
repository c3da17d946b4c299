/* EXPLAIN, META and HEALTH tell the truth: in each state what they say is compared with what GET
 * then does. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define SOON_MS 10000
#define LONG_MS 30000
#define FETCH "fetch: {exec: ['${DIR}/hook', '{name}'], timeout: 20s}"

static const char config[] =
	LISTEN REDIS NO_DATABASE
	"guard: 'guard:on'\n"
	"types:\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n"
	"  fetched: {key: 'f:{name}', ttl: 100s, " FETCH "}\n"
	"  known: {key: 'k:{name}', ttl: 100s, negative_ttl: 60s, " FETCH "}\n"
	"  behind: {key: 'b:{name}', ttl: 300ms, stale_while_revalidate: 60s, " FETCH "}\n"
	"  spare: {key: 's:{name}', ttl: 300ms, stale_if_error: 60s, " FETCH "}\n"
	"  ahead: {key: 'a:{name}', ttl: 60s, refresh_ahead: 10%, " FETCH "}\n"
	"  local: {key: 'm:{name}', ttl: 100s, tiers: [memory]}\n"
	"  only: {key: only, ttl: 100s}\n";

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "cd \"$(dirname \"$0\")\"; n=$(wc -l <hook.runs)\n"
		"while [ -e hold ]; do sleep 0.01; done; \n"
		"[ \"$(cat status)\" = 0 ] || { echo the source is ill >&2; exit \"$(cat status)\"; }; printf 'run %d' \"$n\"");
	harness_write(w.h, "status", "0");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	w.redis = harness_connect_redis(w.h);
	harness_redis_ready(w.c);
	harness_tracking(w.c);
	return w;
}

static unsigned runs(struct world *w)
{
	return harness_hook_runs(w->h, "hook");
}

static void expect_health(struct world *w, const char *place, const char *text)
{
	const char *is = ask_health(w->c, place);
	ck_assert_msg(strcmp(is, text) == 0, "%s is %s, not %s", place, is, text);
}

static void wait_health(struct world *w, const char *place, const char *text)
{
	wait_until(strcmp(ask_health(w->c, place), text) == 0, LONG_MS);
}

static void expect_reason(struct world *w, const char *part)
{
	expect_health(w, "status", "degraded");
	const char *reasons = ask_health(w->c, "reasons");
	ck_assert_msg(strstr(reasons, part), "%s is not among the reasons: %s", part, reasons);
}

static void expect_well(struct world *w)
{
	expect_health(w, "status", "ok");
	expect_health(w, "reasons", "[]");
	expect_health(w, "redis.state", "up");
	expect_health(w, "redis.coherence", "tracking");
	expect_health(w, "guarded", "false");
	expect_health(w, "replay.keys", "0");
	expect_health(w, "flights.under_way", "0");
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

/* Words of a part of EXPLAIN, in this order, each behind the one before. */
static void expect_explained(redisContext *c, const char *key, const char *const *parts)
{
	redisReply *r = ask(c, "EXPLAIN %s", key);
	ck_assert_int_eq(r->type, REDIS_REPLY_STRING);
	const char *at = r->str;
	for (; *parts; parts++) {
		const char *found = strstr(at, *parts);
		ck_assert_msg(found, "\"%s\" is not said (here) of %s:\n%s", *parts, key, r->str);
		at = found + strlen(*parts);
	}
	freeReplyObject(r);
}
#define explained(c, key, ...) expect_explained(c, key, (const char *const[]){__VA_ARGS__, NULL})

static void expect_meta(redisContext *c, const char *key, const char *field, const char *text)
{
	const char *is = ask_meta(c, key, field);
	ck_assert_msg(strcmp(is, text) == 0, "%s of %s is %s, not %s", field, key, is, text);
}

/* ---- one key ---- */

START_TEST(a_fresh_value_is_called_so)
{
	struct world w = start();
	expect(w.c, "\"run 1\"", "GET f:a");
	expect_soon(w.redis, "1", "EXISTS f:a");
	explained(w.c, "f:a", "type: fetched, by the prefix \"f:\", ttl 100.0 s, tiers memory redis\n",
		"memory: fresh, 5 bytes from a fetch", "redis: ttl ", " s left, 5 bytes; its changes: tracking\n",
		"fetch: by a program; the last one took", "GET would answer from memory\n");
	expect_meta(w.c, "f:a", "state", "fresh");
	long long asked = harness_redis_calls(w.redis, "get");
	expect(w.c, "\"run 1\"", "GET f:a");
	ck_assert_int_eq(harness_redis_calls(w.redis, "get"), asked);
	ck_assert_uint_eq(runs(&w), 1);

	expect(w.c, "OK", "SET p:a mine");
	explained(w.c, "p:a", "type: plain", "memory: fresh, 4 bytes from a client's SET", "fetch: none\n", "GET would answer from memory\n");
	expect(w.c, "OK", "SET m:a mine");
	explained(w.c, "m:a", "tiers memory\n", "redis: not a tier of this type\n", "GET would answer from memory\n");
	expect(w.c, "OK", "SET only mine");
	explained(w.c, "only", "type: only, by the key \"only\"");
	expect_well(&w);
	harness_free(w.h);
}
END_TEST

START_TEST(a_value_that_only_redis_has_is_told)
{
	struct world w = start();
	expect(w.redis, "OK", "SET f:a theirs EX 50");
	explained(w.c, "f:a", "memory: nothing\n", "redis: ttl ", "6 bytes", "fetch: by a program; none known\n", "GET would answer from Redis\n");
	expect_meta(w.c, "f:a", "tier", "redis");
	expect(w.c, "\"theirs\"", "GET f:a");
	explained(w.c, "f:a", "memory: fresh, 6 bytes from Redis", "GET would answer from memory\n");
	ck_assert_uint_eq(runs(&w), 0);
	freeReplyObject(ask(w.redis, "RPUSH f:list x"));
	explained(w.c, "f:list", "GET would answer an error: the key holds another type in Redis\n");
	expect_error(w.c, "WRONGTYPE", "", "GET f:list");
	harness_free(w.h);
}
END_TEST

START_TEST(a_stale_value_that_is_refreshed_behind_is_called_so)
{
	struct world w = start();
	expect(w.c, "\"run 1\"", "GET b:a");
	expect_soon(w.redis, "1", "EXISTS b:a");
	harness_write(w.h, "hold", "");
	wait_until(is_over(w.c, "b:a"), SOON_MS);
	/* From memory or, since its memory_ttl is over, from Redis. */
	explained(w.c, "b:a", "redis: ttl over since", "GET would answer ", "and refresh behind\n");
	ck_assert_uint_eq(runs(&w), 1);
	expect(w.c, "\"run 1\"", "GET b:a");
	wait_until(runs(&w) == 2, SOON_MS);
	expect_health(&w, "flights.under_way", "1");
	expect_health(&w, "flights.waiting", "0");
	unlink(harness_path(w.h, "hold"));
	expect_soon(w.c, "\"run 2\"", "GET b:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_stale_value_kept_for_failures_is_called_so)
{
	struct world w = start();
	expect(w.c, "\"run 1\"", "GET s:a");
	expect_soon(w.redis, "1", "EXISTS s:a");
	wait_until(is_over(w.c, "s:a"), SOON_MS);
	explained(w.c, "s:a", "ttl over since", "redis: ttl over since",
		"GET would fetch, and answer the stale value if that fails\n");
	expect_meta(w.c, "s:a", "state", "stale");
	harness_write(w.h, "status", "2");
	expect(w.c, "\"run 1\"", "GET s:a");
	ck_assert_uint_eq(runs(&w), 2);
	for (int i = 0; i < 8; i++)
		expect_error(w.c, "UNAVAILABLE", "the source is ill", "REFRESH s:a");
	unsigned before = runs(&w);
	explained(w.c, "s:a", "the source is ill; not again for", "GET would answer the stale value: the last fetch failed a short time ago\n");
	expect(w.c, "\"run 1\"", "GET s:a");
	ck_assert_uint_eq(runs(&w), before);
	harness_free(w.h);
}
END_TEST

START_TEST(a_value_due_for_a_refresh_ahead_is_called_so)
{
	struct world w = start();
	expect(w.c, "\"run 1\"", "GET a:a");
	explained(w.c, "a:a", "memory: fresh, 5 bytes");
	expect(w.c, "1", "EXPIRE a:a 10");              /* due after one of them */
	expect_in_soon(w.c, "memory: fresh, due for a refresh ahead", "EXPLAIN a:a");
	explained(w.c, "a:a", "memory: fresh, due for a refresh ahead", "GET would answer from memory, and refresh behind\n");
	ck_assert_uint_eq(runs(&w), 1);
	expect(w.c, "\"run 1\"", "GET a:a");
	wait_until(runs(&w) == 2, SOON_MS);
	expect_soon(w.c, "\"run 2\"", "GET a:a");
	harness_free(w.h);
}
END_TEST

START_TEST(an_absence_is_called_so)
{
	struct world w = start();
	explained(w.c, "p:a", "memory: nothing\n", "redis: nothing;", "GET would answer nil: no tier has it, and the type has no fetch\n");
	expect(w.c, "nil", "GET p:a");
	explained(w.c, "f:a", "memory: nothing\n", "redis: nothing;", "none known\n", "GET would fetch\n");
	expect(w.c, "\"run 1\"", "GET f:a");
	explained(w.c, "unknown", "type: none declares this key, so it is Redis's alone\n", "GET would answer nil");
	expect(w.c, "nil", "GET unknown");

	harness_write(w.h, "status", "1");
	expect(w.c, "nil", "GET k:a");
	explained(w.c, "k:a", "memory: fresh, known not to exist", "redis: nothing;",
		"GET would answer nil: it is remembered that the key does not exist\n");
	expect_meta(w.c, "k:a", "state", "absent");
	expect(w.c, "nil", "GET k:a");
	ck_assert_uint_eq(runs(&w), 2);
	expect(w.c, "0", "DEL k:a");
	explained(w.c, "k:a", "memory: nothing\n", "invalidated: by DEL of client ", "GET would fetch\n");
	expect(w.c, "nil", "GET k:a");
	ck_assert_uint_eq(runs(&w), 3);
	harness_free(w.h);
}
END_TEST

START_TEST(a_pause_after_failures_is_told_with_its_reason)
{
	struct world w = start();
	harness_write(w.h, "status", "2");
	for (int i = 0; i < 8; i++)                     /* the pause after the last is some 20 s */
		expect_error(w.c, "UNAVAILABLE", "the source is ill", "REFRESH f:a");
	explained(w.c, "f:a", "and failed (8 in a row): exit status 2: the source is ill; not again for ",
		"GET would answer an error: the last fetch failed a short time ago\n");
	unsigned before = runs(&w);
	expect_error(w.c, "UNAVAILABLE", "the source is ill", "GET f:a");
	ck_assert_uint_eq(runs(&w), before);
	harness_write(w.h, "status", "0");
	expect(w.c, "OK", "REFRESH f:a");
	explained(w.c, "f:a", "memory: fresh", "fetch: by a program; the last one took", "GET would answer from memory\n");
	redisReply *r = ask(w.c, "EXPLAIN f:a");
	ck_assert_msg(!strstr(r->str, "failed") && !strstr(r->str, "not again"), "%s", r->str);
	freeReplyObject(r);
	harness_free(w.h);
}
END_TEST

START_TEST(who_invalidated_last_is_told)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a 1");
	expect(w.c, "OK", "CLIENT SETNAME sync-job");
	expect(w.c, "1", "DEL p:a");
	explained(w.c, "p:a", "invalidated: by DEL of client ", " sync-job, uid ", " s ago (20");
	harness_free(w.h);
}
END_TEST

/* ---- the whole ---- */

START_TEST(the_guard_is_told)
{
	struct world w = start();
	expect_well(&w);
	expect(w.redis, "OK", "SET guard:on 1");
	wait_health(&w, "guarded", "true");
	expect_reason(&w, "the guard key is set");
	explained(w.c, "f:a", "guard: set, so what is fetched is not stored\n", "GET would fetch\n");
	expect(w.c, "\"run 1\"", "GET f:a");
	explained(w.c, "f:a", "memory: nothing\n", "redis: nothing;", "guard: set", "GET would fetch\n");
	expect(w.redis, "1", "DEL guard:on");
	wait_health(&w, "guarded", "false");
	expect_well(&w);
	harness_free(w.h);
}
END_TEST

START_TEST(a_redis_that_is_down_is_told_and_so_is_what_waits_for_it)
{
	struct world w = start();
	expect(w.c, "\"run 1\"", "GET f:held");
	harness_redis_kill(w.h);
	wait_health(&w, "redis.state", "down");
	expect_health(&w, "redis.coherence", "away");
	expect_reason(&w, "Redis does not answer");
	ck_assert_str_ne(ask_health(w.c, "redis.reason"), "");
	explained(w.c, "f:held", "memory: fresh", "redis: no answer: ", "; its changes: away\n", "GET would answer from memory\n");
	expect(w.c, "\"run 1\"", "GET f:held");
	explained(w.c, "f:cold", "memory: nothing\n", "redis: no answer: ", "GET would fetch\n");
	expect(w.c, "\"run 2\"", "GET f:cold");
	explained(w.c, "p:a", "GET would answer nil");
	expect(w.c, "nil", "GET p:a");
	explained(w.c, "unknown", "GET would answer an error: Redis does not answer\n");
	expect_error(w.c, "UNAVAILABLE redis", "", "GET unknown");
	long long waiting = atoll(ask_health(w.c, "replay.keys"));
	expect(w.c, "OK", "SET p:a 1234");
	ck_assert_int_eq(atoll(ask_health(w.c, "replay.keys")), waiting + 1);
	expect_health(&w, "replay.bytes", "4");
	harness_redis_start(w.h, "");
	wait_health(&w, "redis.coherence", "tracking");
	wait_health(&w, "replay.keys", "0");
	w.redis = harness_connect_redis(w.h);
	expect(w.redis, "\"1234\"", "GET p:a");
	expect_well(&w);
	harness_free(w.h);
}
END_TEST

/* Subscribing is forbidden, so it stays deaf. */
START_TEST(deafness_is_told)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a mine");
	expect(w.c, "OK", "SET p:gone mine");
	expect(w.redis, "OK", "ACL SETUSER default resetchannels");
	freeReplyObject(ask(w.redis, "CLIENT KILL TYPE pubsub"));
	wait_health(&w, "redis.coherence", "deaf");
	expect_health(&w, "redis.state", "up");
	expect_reason(&w, "not heard of");
	explained(w.c, "p:a", "memory: held, to be compared with Redis, 4 bytes", "its changes: deaf\n", "GET would answer from Redis\n");
	expect(w.redis, "OK", "SET p:a theirs");
	expect(w.redis, "1", "DEL p:gone");
	expect(w.c, "\"theirs\"", "GET p:a");
	explained(w.c, "p:gone", "memory: held, to be compared with Redis", "redis: nothing;", "GET would answer nil");
	expect(w.c, "nil", "GET p:gone");
	expect(w.redis, "OK", "ACL SETUSER default allchannels");
	wait_health(&w, "redis.coherence", "tracking");
	expect_well(&w);
	expect(w.c, "\"theirs\"", "GET p:a");
	explained(w.c, "p:a", "memory: fresh", "its changes: tracking\n", "GET would answer from memory\n");
	harness_free(w.h);
}
END_TEST

START_TEST(a_server_that_refuses_tracking_is_told)
{
	struct world w = start();
	expect(w.redis, "OK", "ACL SETUSER default -client|tracking");
	freeReplyObject(ask(w.redis, "CLIENT KILL TYPE pubsub"));
	wait_health(&w, "redis.coherence", "pubsub");
	expect_health(&w, "redis.state", "up");
	expect_reason(&w, "refuses CLIENT TRACKING");
	expect(w.c, "OK", "SET p:a mine");
	explained(w.c, "p:a", "its changes: pubsub\n", "GET would answer from memory\n");
	harness_free(w.h);
}
END_TEST

START_TEST(redis_off_is_told_and_is_no_fault)
{
	struct world w = {.h = harness_new()};
	harness_start(w.h, LISTEN NO_REDIS NO_DATABASE "types: {plain: {key: 'p:{name}', ttl: 100s}}\n");
	w.c = harness_connect(w.h);
	expect_health(&w, "redis.state", "off");
	expect_health(&w, "status", "ok");
	explained(w.c, "p:a", "redis: off\n", "GET would answer nil");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_fresh_value_is_called_so,
		a_value_that_only_redis_has_is_told,
		a_stale_value_that_is_refreshed_behind_is_called_so,
		a_stale_value_kept_for_failures_is_called_so,
		a_value_due_for_a_refresh_ahead_is_called_so,
		an_absence_is_called_so,
		a_pause_after_failures_is_told_with_its_reason,
		who_invalidated_last_is_told,
		the_guard_is_told,
		a_redis_that_is_down_is_told_and_so_is_what_waits_for_it,
		deafness_is_told,
		a_server_that_refuses_tracking_is_told,
		redis_off_is_told_and_is_no_fault,
	};
	return harness_main("rules", tests, sizeof(tests) / sizeof(tests[0]));
}
