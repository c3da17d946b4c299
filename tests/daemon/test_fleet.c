/* Several sidecars that want the same key: one of them fetches, and whatever becomes of that
 * fetch (it is slow, fails, finds nothing, may not be stored) is no worse for the others. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define SOON_MS 10000
#define FETCH "fetch: {exec: ['${DIR}/hook', '{name}', '${SOCKET}'], timeout: 10s"
#define FLEET 3

static const char config[] =
	LISTEN_SIDECAR REDIS NO_DATABASE
	"guard: 'guard:on'\n"
	"types:\n"
	"  fetched: {key: 'f:{name}', ttl: 100s, " FETCH "}}\n"
	"  spare: {key: 's:{name}', ttl: 300ms, stale_if_error: 1h, " FETCH "}}\n"
	"  soft: {key: 'q:{name}', ttl: 300ms, stale_if_error: 1h, " FETCH ", soft_timeout: 300ms}}\n"
	"  endless: {key: 'e:{name}', ttl: none, " FETCH "}}\n"
	"  known: {key: 'k:{name}', ttl: 300ms, stale_if_error: 1h, negative_ttl: 60s, " FETCH "}}\n"
	"  large: {key: 'l:{name}', ttl: 100s, max_value: 3, " FETCH "}}\n";

struct world {
	struct harness *h;
	redisContext *c[FLEET], *redis;
	int asks[FLEET];                /* connections on which something was asked */
};

/* The hook takes its answer when it begins: the file answer ("%d" in it: the number of the
 * run), or status in its place; begun.<run> tells that it has. Then it waits while the file hold, or hold.<run>, is there, and,
 * from the second run on, until there are as many runs as the file together says. A sidecar for which there is a file
 * ill.<socket> has a source of its own that fails. */
static const char hook[] =
	"cd \"$(dirname \"$0\")\"; n=$(wc -l <hook.runs); answer=$(cat answer); status=$(cat status); >begun.$n\n"
	"[ -e \"ill.$(basename \"$2\")\" ] && { echo ill here >&2; exit 3; }\n"
	"while [ -e hold ] || [ -e hold.$n ]; do sleep 0.01; done\n"
	"[ $n = 1 ] || while [ $(wc -l <hook.runs) -lt $(cat together) ]; do sleep 0.01; done\n"
	"[ \"$status\" = 0 ] || exit \"$status\"\n"
	"printf \"$answer\" \"$n\"";

static void put(struct world *w, const char *name, const char *text)
{
	char *fresh = xasprintf("%s.new", name);
	harness_write(w->h, fresh, text);
	rename(harness_path(w->h, fresh), harness_path(w->h, name));
	free(fresh);
}

static void away(struct world *w, const char *name)
{
	unlink(harness_path(w->h, name));
}

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	w.redis = harness_connect_redis(w.h);
	harness_hook(w.h, "hook", hook);
	put(&w, "answer", "run %d");
	put(&w, "status", "0");
	put(&w, "together", "0");
	for (unsigned i = 0; i < FLEET; i++) {
		harness_start_sidecar(w.h, i, config);
		w.c[i] = harness_connect_sidecar(w.h, i);
		w.asks[i] = raw_connect_sidecar(w.h, i);
	}
	for (unsigned i = 0; i < FLEET; i++)
		harness_tracking(w.c[i]);
	return w;
}

static void finish(struct world *w)
{
	for (unsigned i = 0; i < FLEET; i++)
		close(w->asks[i]);
	harness_free(w->h);
}

static unsigned runs(struct world *w)
{
	return harness_hook_runs(w->h, "hook");
}

/* The run has taken its answer. */
static void wait_begun(struct world *w, unsigned run)
{
	char *name = xasprintf("begun.%u", run);
	wait_until(access(harness_path(w->h, name), F_OK) == 0, SOON_MS);
	free(name);
}

static void expect_all(struct world *w, const char *text, const char *command)
{
	for (unsigned i = 0; i < FLEET; i++)
		expect(w->c[i], text, command);
}

/* Its TTL is over wherever it is, as EXPLAIN tells, which does not change it. */
static bool is_over(redisContext *c, const char *key)
{
	redisReply *r = ask(c, "EXPLAIN %s", key);
	const char *first = strstr(r->str, "ttl over since");
	bool is = first && strstr(first + 1, "ttl over since");
	freeReplyObject(r);
	return is;
}

/* All hold a value of key whose TTL is over: that of run 1. */
static void hold_expired(struct world *w, const char *key)
{
	char *get = xasprintf("GET %s", key);
	expect_all(w, "\"run 1\"", get);
	for (unsigned i = 0; i < FLEET; i++)
		wait_until(is_over(w->c[i], key), SOON_MS);
	ck_assert_uint_eq(runs(w), 1);
	free(get);
}

/* Sidecar 0 fetches key and the others wait for it; n runs of the hook before that. */
static void ask_all(struct world *w, const char *type, const char *key, unsigned n)
{
	char *line = xasprintf("GET %s\r\n", key);
	raw_send(w->asks[0], line);
	wait_begun(w, n + 1);
	for (unsigned i = 1; i < FLEET; i++) {
		long long before = ask_stat(w->c[i], type, "leases_awaited");
		raw_send(w->asks[i], line);
		wait_until(ask_stat(w->c[i], type, "leases_awaited") > before, SOON_MS);
	}
	free(line);
}

static void expect_answers(struct world *w, const char *bytes)
{
	for (unsigned i = 0; i < FLEET; i++)
		raw_expect(w->asks[i], bytes);
}

/* ---- stale values ---- */

START_TEST(an_expired_value_that_all_hold_is_fetched_once)
{
	struct world w = start();
	hold_expired(&w, "s:a");
	put(&w, "hold", "");
	ask_all(&w, "spare", "s:a", 1);
	away(&w, "hold");
	expect_answers(&w, "$5\r\nrun 2\r\n");
	ck_assert_uint_eq(runs(&w), 2);
	finish(&w);
}
END_TEST

/* Whoever fetches. The fetch is held until all have their answer. */
START_TEST(soft_timeout_runs_while_another_fetches)
{
	struct world w = start();
	hold_expired(&w, "q:a");
	put(&w, "hold", "");
	ask_all(&w, "soft", "q:a", 1);
	expect_answers(&w, "$5\r\nrun 1\r\n");
	expect_all(&w, "\"run 1\"", "GET q:a");
	away(&w, "hold");
	for (unsigned i = 0; i < FLEET; i++)
		expect_soon(w.c[i], "\"run 2\"", "PEEK q:a");
	finish(&w);
}
END_TEST

/* ---- failures ---- */

START_TEST(a_source_that_fails_for_one_sidecar_is_no_error_for_the_others)
{
	struct world w = start();
	put(&w, "ill.s", "");
	for (int i = 0; i < 8; i++)             /* others are told of the last failure for some 20 s */
		expect_error(w.c[0], "UNAVAILABLE", "ill here", "REFRESH f:a");
	expect(w.c[1], "\"run 9\"", "GET f:a");
	expect(w.c[2], "\"run 9\"", "GET f:a");
	expect_soon(w.c[0], "\"run 9\"", "GET f:a");
	finish(&w);
}
END_TEST

START_TEST(what_the_source_said_is_gone_does_not_come_back_when_it_fails)
{
	struct world w = start();
	hold_expired(&w, "k:a");
	put(&w, "status", "1");
	expect_all(&w, "nil", "GET k:a");
	expect(w.redis, "0", "EXISTS k:a");
	ck_assert_uint_eq(runs(&w), 2);
	put(&w, "status", "3");
	expect_error(w.c[0], "UNAVAILABLE", "exit status 3", "REFRESH k:a");
	expect(w.c[0], "0", "DEL k:a");         /* the absence is not remembered any more */
	for (unsigned i = 0; i < FLEET; i++)
		expect_error(w.c[i], "UNAVAILABLE", "exit status 3", "GET k:a");
	finish(&w);
}
END_TEST

/* The row was created, and the DEL that tells of it finds only the lease. */
START_TEST(an_absence_that_a_del_on_another_sidecar_came_over_is_not_told)
{
	struct world w = start();
	put(&w, "status", "1");
	put(&w, "hold.1", "");
	raw_send(w.asks[0], "GET k:a\r\n");
	wait_begun(&w, 1);
	put(&w, "status", "0");
	expect(w.c[1], "0", "DEL k:a");
	away(&w, "hold.1");
	raw_expect(w.asks[0], "$5\r\nrun 2\r\n");
	finish(&w);
}
END_TEST

/* ---- what is not stored ---- */

START_TEST(what_is_too_large_to_be_stored_is_fetched_by_all_at_once)
{
	struct world w = start();
	put(&w, "hold.1", "");
	ask_all(&w, "large", "l:a", 0);
	put(&w, "answer", "run n");
	put(&w, "together", "3");               /* each of them waits for the other to begin */
	away(&w, "hold.1");
	wait_until(runs(&w) == 3, SOON_MS);
	raw_expect(w.asks[0], "$5\r\nrun 1\r\n");
	raw_expect(w.asks[1], "$5\r\nrun n\r\n");
	raw_expect(w.asks[2], "$5\r\nrun n\r\n");
	expect(w.redis, "0", "EXISTS l:a");
	finish(&w);
}
END_TEST

START_TEST(under_the_guard_all_fetch_at_the_same_time)
{
	struct world w = start();
	expect(w.redis, "OK", "SET guard:on 1");
	for (unsigned i = 0; i < FLEET; i++)
		wait_until(strcmp(ask_health(w.c[i], "guarded"), "true") == 0, SOON_MS);
	put(&w, "answer", "done");
	put(&w, "together", "3");
	for (unsigned i = 0; i < FLEET; i++)
		raw_send(w.asks[i], "GET f:a\r\n");
	expect_answers(&w, "$4\r\ndone\r\n");
	ck_assert_uint_eq(runs(&w), 3);
	expect(w.redis, "0", "EXISTS f:a");
	finish(&w);
}
END_TEST

/* ---- foreign writes ---- */

/* Of the same length and the same end: nothing but the bytes tells it from what was filled. */
START_TEST(a_foreign_write_right_after_a_fill_stays)
{
	static const char *const fills[] = {"GET f:a", "GET e:a", "GET f:b"};
	static const char *const writes[] = {"SET f:a theirs KEEPTTL", "SET e:a theirs", "SETRANGE f:b 0 theirs"};
	static const char *const reads[] = {"GET f:a", "GET e:a", "GET f:b"};
	struct world w = start();
	put(&w, "answer", "filled");
	for (size_t i = 0; i < sizeof(fills) / sizeof(fills[0]); i++) {
		expect(w.c[0], "\"filled\"", fills[i]);
		expect(w.redis, "\"filled\"", reads[i]);
		freeReplyObject(ask(w.redis, writes[i]));
		for (unsigned k = 0; k < FLEET; k++)
			expect_soon(w.c[k], "\"theirs\"", reads[i]);
		expect(w.redis, "\"theirs\"", reads[i]);
	}
	ck_assert_uint_eq(runs(&w), 3);
	finish(&w);
}
END_TEST

/* What the reader gets after so many tries was fetched before that. */
START_TEST(a_foreign_write_during_the_last_try_stays)
{
	struct world w = start();
	put(&w, "hold.1", "");
	put(&w, "hold.2", "");
	put(&w, "hold.3", "");
	raw_send(w.asks[0], "GET f:a\r\n");
	wait_begun(&w, 1);
	expect(w.c[0], "0", "DEL f:a");
	away(&w, "hold.1");
	wait_begun(&w, 2);
	expect(w.c[0], "0", "DEL f:a");
	away(&w, "hold.2");
	wait_begun(&w, 3);
	expect(w.redis, "OK", "SET f:a theirs");
	expect_soon(w.c[0], "\"theirs\"", "PEEK f:a");
	away(&w, "hold.3");
	raw_expect(w.asks[0], "$5\r\nrun 3\r\n");
	expect_all(&w, "\"theirs\"", "GET f:a");
	expect(w.redis, "\"theirs\"", "GET f:a");
	finish(&w);
}
END_TEST

/* ---- outages ---- */

/* It was never in Redis, since Redis was away; nothing was said against it. */
START_TEST(a_value_fetched_in_an_outage_outlives_it_if_the_source_fails)
{
	struct world w = start();
	harness_redis_kill(w.h);
	for (unsigned i = 0; i < FLEET; i++)
		wait_until(strcmp(ask_health(w.c[i], "redis.coherence"), "away") == 0, SOON_MS);
	expect(w.c[0], "\"run 1\"", "GET f:a");
	expect(w.c[0], "\"run 2\"", "GET f:b");
	put(&w, "status", "3");
	harness_redis_start(w.h, "");
	for (unsigned i = 0; i < FLEET; i++)
		harness_tracking(w.c[i]);
	wait_until(strcmp(ask_health(w.c[0], "replay.keys"), "0") == 0, SOON_MS);
	for (int i = 0; i < 3; i++)
		expect(w.c[0], "\"run 1\"", "GET f:a");
	expect(w.c[0], "nil", "PEEK f:a");      /* Redis does not have it */
	expect(w.c[0], "1", "DEL f:b");
	expect_error(w.c[0], "UNAVAILABLE", "exit status 3", "GET f:b");
	put(&w, "status", "0");
	expect(w.c[0], "OK", "REFRESH f:a");
	finish(&w);
}
END_TEST

START_TEST(a_value_that_redis_lost_is_served_if_the_source_fails)
{
	struct world w = start();
	expect_all(&w, "\"run 1\"", "GET f:a");
	expect_all(&w, "\"run 2\"", "GET f:b");
	put(&w, "status", "3");
	harness_redis_kill(w.h);
	harness_redis_start(w.h, "");
	for (unsigned i = 0; i < FLEET; i++)
		harness_tracking(w.c[i]);
	expect_all(&w, "\"run 1\"", "GET f:a");
	w.redis = harness_connect_redis(w.h);
	expect(w.redis, "OK", "SET f:b theirs");
	for (unsigned i = 0; i < FLEET; i++)
		expect_soon(w.c[i], "\"theirs\"", "GET f:b");
	expect(w.redis, "1", "DEL f:b");
	for (unsigned i = 0; i < FLEET; i++)
		wait_until(ask_integer(w.c[i], "STRLEN f:b") == 0, SOON_MS);
	for (unsigned i = 0; i < FLEET; i++)
		expect_error(w.c[i], "UNAVAILABLE", "exit status 3", "GET f:b");
	finish(&w);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		an_expired_value_that_all_hold_is_fetched_once,
		soft_timeout_runs_while_another_fetches,
		a_source_that_fails_for_one_sidecar_is_no_error_for_the_others,
		what_the_source_said_is_gone_does_not_come_back_when_it_fails,
		an_absence_that_a_del_on_another_sidecar_came_over_is_not_told,
		what_is_too_large_to_be_stored_is_fetched_by_all_at_once,
		under_the_guard_all_fetch_at_the_same_time,
		a_foreign_write_right_after_a_fill_stays,
		a_foreign_write_during_the_last_try_stays,
		a_value_fetched_in_an_outage_outlives_it_if_the_source_fails,
		a_value_that_redis_lost_is_served_if_the_source_fails,
	};
	return harness_main("fleet", tests, sizeof(tests) / sizeof(tests[0]));
}
