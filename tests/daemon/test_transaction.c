/* EXEC when Redis refuses it or is away, and what must not get among its commands. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"

static const char config[] =
	LISTEN REDIS NO_DATABASE
	"types:\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n"
	"  ahead: {key: 'f:{name}', ttl: 6s, refresh_ahead: 10%, fetch: {exec: ['${DIR}/hook']}}\n"
	"  local: {key: 'm:{name}', ttl: 100s, tiers: [memory], invalidates: [exact]}\n"
	"  exact: {key: 'one', ttl: 100s}\n";

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "printf built");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	w.redis = harness_connect_redis(w.h);
	return w;
}

static void fill_redis(struct world *w, bool is_full)
{
	expect(w->redis, "OK", "CONFIG SET maxmemory %d", is_full);
}

START_TEST(one_that_redis_refuses_is_not_carried_out_in_part)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a old");
	fill_redis(&w, true);
	expect(w.c, "OK", "MULTI");
	expect(w.c, "QUEUED", "SET p:a new");
	expect(w.c, "QUEUED", "SET p:b new NX");
	expect(w.c, "QUEUED", "EXPIRE p:a 50");
	expect(w.c, "QUEUED", "INCR n");
	expect_error(w.c, "EXECABORT", "previous errors", "EXEC");
	fill_redis(&w, false);
	expect(w.c, "\"old\"", "GET p:a");
	expect(w.c, "nil", "GET p:b");
	ck_assert_int_eq(ask_stat(w.c, "", "replay.keys"), 0);
	expect(w.redis, "\"old\"", "GET p:a");
	ck_assert_int_gt(ask_integer(w.redis, "TTL p:a"), 50);
	harness_free(w.h);
}
END_TEST

START_TEST(one_of_declared_keys_alone_is_kept_for_a_redis_that_is_full)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a old");
	fill_redis(&w, true);
	expect(w.c, "OK", "MULTI");
	expect(w.c, "QUEUED", "SET p:a new");
	expect(w.c, "QUEUED", "GET p:a");
	expect(w.c, "[OK, \"new\"]", "EXEC");
	expect(w.c, "\"new\"", "GET p:a");
	fill_redis(&w, false);
	expect_soon(w.redis, "\"new\"", "GET p:a");
	harness_free(w.h);
}
END_TEST

START_TEST(one_that_needs_redis_is_not_carried_out_in_part_while_it_is_away)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a old");
	harness_redis_kill(w.h);
	wait_until(strcmp(ask_health(w.c, "redis.state"), "up") != 0, 5000);
	expect(w.c, "OK", "MULTI");
	expect(w.c, "QUEUED", "SET p:b new");
	expect(w.c, "QUEUED", "INCR n");
	expect_error(w.c, "UNAVAILABLE redis", "", "EXEC");
	expect(w.c, "nil", "GET p:b");
	expect(w.c, "OK", "MULTI");
	expect(w.c, "QUEUED", "SET p:b new");
	expect(w.c, "[OK]", "EXEC");
	expect(w.c, "\"new\"", "GET p:b");
	harness_free(w.h);
}
END_TEST

/* The reply of EXEC does not wait for what its commands bring about besides, and that may fail later. */
START_TEST(what_it_brings_about_may_fail_after_its_reply)
{
	struct world w = start();
	expect(w.c, "OK", "SET m:a x");
	harness_redis_pause(w.h);
	expect(w.c, "OK", "MULTI");
	expect(w.c, "QUEUED", "DEL m:a");
	expect(w.c, "[1]", "EXEC");
	harness_redis_kill(w.h);
	wait_until(strcmp(ask_health(w.c, "redis.state"), "up") != 0, 5000);
	harness_free(w.h);
}
END_TEST

START_TEST(a_refresh_gets_not_among_its_replies)
{
	struct world w = start();
	expect(w.c, "\"built\"", "GET f:a");
	usleep(700000);         /* past refresh_ahead: a GET would start a refresh */
	for (int i = 1; i <= 50; i++) {
		char text[64];
		snprintf(text, sizeof(text), "[\"built\", %d, \"built\"]", i);
		expect(w.c, "OK", "MULTI");
		expect(w.c, "QUEUED", "GET f:a");
		expect(w.c, "QUEUED", "INCR n");
		expect(w.c, "QUEUED", "GET f:a");
		expect(w.c, text, "EXEC");
	}
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	harness_free(w.h);
}
END_TEST

/* None of the keys is asked for after the transaction, when the last has been changed. */
START_TEST(an_mget_of_many_keys_is_all_in_its_place)
{
	struct world w = start();
	struct buf mget = BUF_INIT, set = BUF_INIT;
	buf_add_str(&mget, "MGET");
	buf_add_str(&set, "MSET");
	for (int i = 0; i < 1500; i++) {
		buf_addf(&mget, " p:%d", i);
		buf_addf(&set, " p:%d old", i);
	}
	buf_add_char(&mget, '\0');
	buf_add_char(&set, '\0');
	freeReplyObject(ask(w.redis, set.data));
	expect(w.c, "OK", "MULTI");
	expect(w.c, "QUEUED", mget.data);
	expect(w.c, "QUEUED", "SET p:1499 new");
	redisReply *replies = ask(w.c, "EXEC");
	ck_assert_int_eq(replies->elements, 2);
	for (size_t i = 0; i < 1500; i++)
		ck_assert_str_eq(replies->element[0]->element[i]->str, "old");
	freeReplyObject(replies);
	buf_free(&mget);
	buf_free(&set);
	harness_free(w.h);
}
END_TEST

START_TEST(watch_in_it_is_an_error_that_spoils_nothing)
{
	struct world w = start();
	expect(w.c, "OK", "MULTI");
	expect_error(w.c, "ERR", "WATCH inside MULTI is not allowed", "WATCH p:a");
	expect(w.c, "QUEUED", "SET p:a x");
	expect(w.c, "[OK]", "EXEC");
	harness_free(w.h);
}
END_TEST

START_TEST(the_daemons_own_keys_are_not_shown_in_it_either)
{
	struct world w = start();
	expect(w.redis, "OK", "SET catcached:x 1");
	for (int i = 0; i < 20; i++) {
		expect(w.c, "OK", "MULTI");
		expect(w.c, "QUEUED", "RANDOMKEY");
		expect(w.c, "[nil]", "EXEC");
	}
	harness_free(w.h);
}
END_TEST

START_TEST(commands_of_later_versions_are_queued)
{
	struct world w = start();
	expect(w.c, "OK", "MULTI");
	expect(w.c, "QUEUED", "HEXPIRE h 1 FIELDS 1 f");
	expect(w.c, "QUEUED", "MSETEX 1 u:a x");
	expect(w.c, "QUEUED", "VRANGE v - +");
	expect_error(w.c, "EXECABORT", "previous errors", "EXEC");       /* this Redis does not know them */
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		one_that_redis_refuses_is_not_carried_out_in_part,
		one_of_declared_keys_alone_is_kept_for_a_redis_that_is_full,
		one_that_needs_redis_is_not_carried_out_in_part_while_it_is_away,
		what_it_brings_about_may_fail_after_its_reply,
		a_refresh_gets_not_among_its_replies,
		an_mget_of_many_keys_is_all_in_its_place,
		watch_in_it_is_an_error_that_spoils_nothing,
		the_daemons_own_keys_are_not_shown_in_it_either,
		commands_of_later_versions_are_queued,
	};
	return harness_main("transaction", tests, sizeof(tests) / sizeof(tests[0]));
}
