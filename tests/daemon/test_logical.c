/* Commands speak of the logical TTL: a value past it is not there, though Redis keeps it for
 * the stale window, whether memory holds it or Redis alone. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char config[] =
	LISTEN REDIS NO_DATABASE
	"types:\n"
	"  spare: {key: 's:{name}', ttl: 200ms, stale_if_error: 60s, fetch: {exec: ['${DIR}/hook', '{name}']}}\n";

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static void connect_to(struct world *w)
{
	w->c = harness_connect(w->h);
	harness_tracking(w->c);
}

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "exit 3");
	harness_start(w.h, config);
	w.redis = harness_connect_redis(w.h);
	connect_to(&w);
	return w;
}

/* Each round of a test: with the value in memory too, and in Redis alone. */
enum where { IN_BOTH, IN_REDIS_ALONE, PLACES };

/* s:a is "old" and past its TTL. */
static void make_stale(struct world *w, enum where where)
{
	expect(w->c, "OK", "SET s:a old");
	expect_soon(w->c, "-2", "PTTL s:a");
	wait_until(ask_integer(w->redis, "PTTL s:a") < 60000, 10000);  /* the clock of Redis began a little later */
	expect(w->c, "0", "EXISTS s:a");
	if (where == IN_BOTH)
		return;
	harness_restart(w->h);
	connect_to(w);
	expect(w->c, "-2", "PTTL s:a");
}

static void expect_stored(struct world *w, const char *value)
{
	char text[64];
	snprintf(text, sizeof(text), "\"%s\"", value);
	expect(w->redis, text, "GET s:a");
}

START_TEST(nx_takes_a_value_past_its_ttl_for_absent)
{
	struct world w = start();
	for (enum where where = 0; where < PLACES; where++) {
		make_stale(&w, where);
		expect(w.c, "OK", "SET s:a new PX 30000 NX");
		expect(w.c, "\"new\"", "GET s:a");
		expect_stored(&w, "new");
		expect(w.c, "nil", "SET s:a newer NX");
		expect_stored(&w, "new");
	}
	harness_free(w.h);
}
END_TEST

/* It stays: it may be served yet if the source fails. */
START_TEST(xx_takes_a_value_past_its_ttl_for_absent)
{
	struct world w = start();
	for (enum where where = 0; where < PLACES; where++) {
		make_stale(&w, where);
		expect(w.c, "nil", "SET s:a new XX");
		expect_stored(&w, "old");
		expect(w.c, "nil", "SET s:a new XX GET");
		expect_stored(&w, "old");
		expect(w.c, "\"old\"", "GET s:a");
		expect(w.c, "OK", "SET s:a fresh PX 30000");
		expect(w.c, "OK", "SET s:a new PX 30000 XX");
		expect_stored(&w, "new");
	}
	harness_free(w.h);
}
END_TEST

START_TEST(set_with_get_tells_nothing_of_a_value_past_its_ttl)
{
	struct world w = start();
	for (enum where where = 0; where < PLACES; where++) {
		make_stale(&w, where);
		expect(w.c, "nil", "SET s:a new PX 30000 GET");
		expect(w.c, "\"new\"", "SET s:a newer PX 30000 GET");
		expect_stored(&w, "newer");
	}
	harness_free(w.h);
}
END_TEST

/* There is none to keep, as in Redis. */
START_TEST(keepttl_keeps_no_ttl_that_is_over)
{
	struct world w = start();
	for (enum where where = 0; where < PLACES; where++) {
		make_stale(&w, where);
		expect(w.c, "OK", "SET s:a new KEEPTTL");
		expect(w.c, "-1", "TTL s:a");
		expect(w.c, "\"new\"", "GET s:a");
	}
	harness_free(w.h);
}
END_TEST

START_TEST(expire_does_not_revive_a_value_past_its_ttl)
{
	struct world w = start();
	for (enum where where = 0; where < PLACES; where++) {
		make_stale(&w, where);
		expect(w.c, "0", "EXPIRE s:a 30");
		expect(w.c, "-2", "TTL s:a");
		expect_stored(&w, "old");
		expect(w.c, "OK", "SET s:a new PX 30000");
		expect(w.c, "1", "EXPIRE s:a 20");
		ck_assert_int_le(ask_integer(w.c, "TTL s:a"), 20);
		ck_assert_int_gt(ask_integer(w.redis, "TTL s:a"), 60);
	}
	harness_free(w.h);
}
END_TEST

/* What others give a TTL that is shorter than the window is fresh, where that was heard. */
START_TEST(value_of_another_program_is_there_for_its_ttl)
{
	struct world w = start();
	expect(w.redis, "OK", "SET s:a theirs PX 40000");
	expect_soon(w.c, "\"theirs\"", "GET s:a");
	expect(w.c, "nil", "SET s:a new NX");
	expect(w.c, "\"theirs\"", "SET s:a mine PX 30000 XX GET");
	expect(w.redis, "OK", "SET s:a theirs PX 40000");
	expect_soon(w.c, "\"theirs\"", "GET s:a");
	expect(w.c, "1", "EXPIRE s:a 20");
	ck_assert_int_le(ask_integer(w.c, "TTL s:a"), 20);
	expect(w.c, "\"theirs\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		nx_takes_a_value_past_its_ttl_for_absent,
		xx_takes_a_value_past_its_ttl_for_absent,
		set_with_get_tells_nothing_of_a_value_past_its_ttl,
		keepttl_keeps_no_ttl_that_is_over,
		expire_does_not_revive_a_value_past_its_ttl,
		value_of_another_program_is_there_for_its_ttl,
	};
	return harness_main("logical", tests, sizeof(tests) / sizeof(tests[0]));
}
