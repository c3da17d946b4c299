/* Removals of many keys at once, and what is written, read and asked while Redis has not
 * carried them out: because it is away, or because that takes its time. */
#include "harness.h"
#include "talk.h"

#include "../../proto/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DURABLE "--appendonly yes --appendfsync no"     /* what it holds survives being killed */
#define MANY 50000              /* keys that take far longer to scan than a SET takes */

static const char config[] =
	LISTEN REDIS NO_DATABASE
	"types:\n"
	"  fetched:\n"
	"    key: 'f:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {exec: ['${DIR}/hook', '{name}']}\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n"
	"  remote: {key: 'r:{name}', ttl: 100s, tiers: [redis]}\n"
	"  other: {key: 'o:{name}', ttl: 100s}\n";

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, DURABLE);
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	w.redis = harness_connect_redis(w.h);
	harness_tracking(w.c);
	return w;
}

static void lose_redis(struct world *w)
{
	harness_redis_kill(w->h);
	wait_until(strcmp(ask_health(w->c, "redis.state"), "down") == 0, READ_LIMIT_S * 1000);
}

static void get_redis_back(struct world *w)
{
	harness_redis_start(w->h, DURABLE);
	w->redis = harness_connect_redis(w->h);
	harness_redis_ready(w->c);
}

static bool is_all_told(redisContext *c)
{
	return strcmp(ask_health(c, "replay.keys"), "0") == 0 && strcmp(ask_health(c, "replay.clears"), "0") == 0;
}

static void wait_until_told(struct world *w)
{
	wait_until(is_all_told(w->c), 60000);
}

/* MANY keys of type plain, made by Redis itself. */
static void populate(struct world *w)
{
	freeReplyObject(ask(w->redis, "EVAL %s 0 %d", "for i = 1, ARGV[1] do redis.call('SET', 'p:many' .. i, 'x') end", MANY));
}

static void set_numbered(redisContext *c, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		expect(c, "OK", "SET p:w%u acknowledged", i);
}

static void expect_numbered(redisContext *c, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		expect(c, "\"acknowledged\"", "GET p:w%u", i);
}

/* ---- while Redis is away ---- */

START_TEST(what_is_written_after_an_invalidation_outlives_it)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:a old");
	expect(w.redis, "OK", "SET p:b old");
	lose_redis(&w);
	expect(w.c, "0", "INVALIDATE plain");
	expect(w.c, "OK", "SET p:a new");
	expect(w.c, "\"new\"", "GET p:a");
	expect(w.c, "nil", "GET p:b");
	get_redis_back(&w);
	wait_until_told(&w);
	expect(w.redis, "\"new\"", "GET p:a");
	expect(w.redis, "nil", "GET p:b");
	expect(w.c, "\"new\"", "GET p:a");
	harness_free(w.h);
}
END_TEST

START_TEST(prefix_removes_no_more_than_it_names)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:inv1 old");
	expect(w.redis, "OK", "SET p:inv2 old");
	expect(w.redis, "OK", "SET o:inv1 old");
	lose_redis(&w);
	expect(w.c, "0", "INVALIDATE p:inv1*");
	expect(w.c, "0", "INVALIDATE p:none*");
	get_redis_back(&w);
	expect(w.c, "nil", "GET p:inv1");
	expect(w.c, "\"old\"", "GET p:inv2");
	wait_until_told(&w);
	expect(w.redis, "nil", "GET p:inv1");
	expect(w.redis, "\"old\"", "GET p:inv2");
	expect(w.redis, "\"old\"", "GET o:inv1");
	harness_free(w.h);
}
END_TEST

/* They become one of the whole type, which is known to all. */
START_TEST(prefixes_too_many_clear_the_type)
{
	enum { PREFIXES = 150 };        /* over CLEARS_MAX */
	struct world w = start();
	expect(w.redis, "OK", "SET p:0 old");
	expect(w.redis, "OK", "SET o:0 old");
	lose_redis(&w);
	for (unsigned i = 0; i < PREFIXES; i++)
		expect(w.c, "0", "INVALIDATE p:%u*", i);
	expect(w.c, "OK", "SET p:0 new");
	wait_until(atoi(ask_health(w.c, "replay.clears")) < PREFIXES, 5000);
	get_redis_back(&w);
	wait_until_told(&w);
	expect(w.redis, "\"old\"", "GET o:0");
	expect(w.redis, "\"new\"", "GET p:0");
	harness_free(w.h);
}
END_TEST

/* n SETs of type fetched, whose truth is elsewhere. */
static void fill_queue(redisContext *c, unsigned n)
{
	enum { AT_ONCE = 500 };
	for (unsigned i = 0; i < n; i += AT_ONCE) {
		for (unsigned k = i; k < i + AT_ONCE; k++)
			redisAppendCommand(c, "SET f:z%u x", k);
		for (unsigned k = 0; k < AT_ONCE; k++) {
			redisReply *r = NULL;
			ck_assert_int_eq(redisGetReply(c, (void **)&r), REDIS_OK);
			freeReplyObject(r);
		}
	}
}

START_TEST(full_queue_costs_a_type_without_a_fetch_nothing)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:theirs kept");
	expect(w.c, "OK", "SET p:mine kept");
	expect(w.c, "\"built a\"", "GET f:a");
	expect_soon(w.redis, "\"built a\"", "GET f:a");
	lose_redis(&w);
	fill_queue(w.c, 10000);
	expect(w.c, "OK", "SET p:new acknowledged");
	ck_assert_str_eq(ask_health(w.c, "replay.lost"), "0");
	get_redis_back(&w);
	wait_until_told(&w);
	expect(w.redis, "\"kept\"", "GET p:theirs");
	expect(w.redis, "\"kept\"", "GET p:mine");
	expect(w.redis, "\"acknowledged\"", "GET p:new");
	expect(w.c, "\"acknowledged\"", "GET p:new");
	expect(w.redis, "nil", "GET f:a");      /* what gave way */
	harness_free(w.h);
}
END_TEST

/* ---- while it is carried out ---- */

START_TEST(what_is_written_while_keys_are_removed_after_an_outage_stays)
{
	struct world w = start();
	populate(&w);
	lose_redis(&w);
	expect(w.c, "0", "INVALIDATE plain");
	set_numbered(w.c, 0, 20);
	get_redis_back(&w);
	set_numbered(w.c, 20, 60);
	expect(w.c, "nil", "GET p:many1");      /* removed or not, it is not there */
	expect(w.c, "0", "EXISTS p:many2");
	expect(w.c, "-2", "TTL p:many3");
	wait_until_told(&w);
	ck_assert_uint_eq(harness_redis_keys(w.redis), 60);
	expect_numbered(w.redis, 60);
	expect_numbered(w.c, 60);
	ck_assert_str_eq(ask_health(w.c, "replay.lost"), "0");
	harness_free(w.h);
}
END_TEST

/* An INVALIDATE has begun and is not answered yet. */
static int begin_to_invalidate(struct world *w, const char *line)
{
	int fd = raw_connect(w->h);
	raw_send(fd, line);
	raw_sent(fd);
	expect(w->c, "PONG", "PING");           /* a turn of the loop later at the latest it has begun */
	return fd;
}

START_TEST(what_is_written_during_an_invalidation_stays)
{
	struct world w = start();
	char reply[32];
	populate(&w);
	int fd = begin_to_invalidate(&w, "INVALIDATE p:*\r\n");
	set_numbered(w.c, 0, 60);
	expect(w.c, "OK", "SET r:a acknowledged");
	snprintf(reply, sizeof(reply), ":%d\r\n", MANY);
	raw_expect(fd, reply);
	ck_assert_uint_eq(harness_redis_keys(w.redis), 61);
	expect_numbered(w.redis, 60);
	expect_numbered(w.c, 60);
	harness_free(w.h);
}
END_TEST

/* Keys among which Redis looks for those of the fetched type for some tenths of a second. */
static void fill_up(struct world *w)
{
	for (int part = 0; part < 8; part++)    /* all at once would pass for an outage */
		freeReplyObject(ask(w->redis, "EVAL %s 0 %d %d", "for i = 1, ARGV[1] do redis.call('SET', 'x:' .. ARGV[2] .. ':' .. i, 'x') end",
			MANY, part));
	harness_redis_ready(w->c);
	harness_tracking(w->c);
}

/* Many SETs are on their way to Redis at the same time as what it was still to be told. */
START_TEST(what_is_written_in_a_pipeline_during_an_invalidation_stays)
{
	enum { N = 20000 };
	struct world w = start();
	struct buf sets = BUF_INIT;
	fill_up(&w);
	for (int i = 0; i < N; i++)
		buf_addf(&sets, "SET f:w%d acknowledged\r\n", i);
	int fd = begin_to_invalidate(&w, "INVALIDATE f:*\r\n"), other = raw_connect(w.h);
	raw_send_bytes(other, sets.data, sets.len);
	for (int i = 0; i < N; i++)
		raw_expect(other, "+OK\r\n");
	raw_expect(fd, ":0\r\n");
	wait_until_told(&w);
	ck_assert_uint_eq(harness_redis_keys(w.redis), 8 * MANY + N);
	buf_free(&sets);
	harness_free(w.h);
}
END_TEST

START_TEST(what_is_fetched_during_an_invalidation_stays_in_redis)
{
	struct world w = start();
	fill_up(&w);
	int fd = begin_to_invalidate(&w, "INVALIDATE f:*\r\n");
	expect(w.c, "\"built a\"", "GET f:a");
	raw_expect(fd, ":0\r\n");
	wait_until_told(&w);
	expect(w.redis, "\"built a\"", "GET f:a");
	harness_free(w.h);
}
END_TEST

/* What is to be removed and is there still is not there for whoever asks. */
START_TEST(conditions_are_judged_as_if_all_were_removed_already)
{
	struct world w = start();
	populate(&w);
	expect(w.redis, "OK", "SET r:a old");
	int fd = begin_to_invalidate(&w, "INVALIDATE *\r\n");
	expect(w.c, "nil", "SET p:many1 new XX");
	expect(w.c, "OK", "SET p:many2 new NX");
	expect(w.c, "0", "EXPIRE p:many3 50");
	expect(w.c, "nil", "SET r:a new XX");
	expect(w.c, "OK", "SET r:a new NX");
	expect(w.c, "nil", "GET p:many4");
	char reply[32];
	raw_read(fd, reply, 4);
	expect_soon(w.redis, "2", "EVAL %s 0", "local n = 0 for _, k in ipairs(redis.call('KEYS', '[pr]:*')) do n = n + 1 end return n");
	expect(w.redis, "\"new\"", "GET p:many2");
	expect(w.redis, "\"new\"", "GET r:a");
	expect(w.c, "\"new\"", "GET r:a");
	harness_free(w.h);
}
END_TEST

START_TEST(an_invalidation_that_redis_dies_under_is_finished_later)
{
	struct world w = start();
	populate(&w);
	int fd = begin_to_invalidate(&w, "INVALIDATE plain\r\n");
	expect(w.c, "OK", "SET p:w0 acknowledged");
	harness_redis_kill(w.h);
	char reply[1];
	raw_read(fd, reply, 1);                 /* it is answered all the same */
	expect(w.c, "nil", "GET p:many1");
	expect(w.c, "OK", "SET p:w1 acknowledged");
	get_redis_back(&w);
	wait_until_told(&w);
	ck_assert_uint_eq(harness_redis_keys(w.redis), 2);
	expect_numbered(w.redis, 2);
	harness_free(w.h);
}
END_TEST

/* ---- TTLs and what Redis has refused ---- */

START_TEST(expire_of_a_key_that_is_not_held_changes_nothing_in_an_outage)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:unseen old");
	lose_redis(&w);
	expect(w.c, "0", "EXPIRE p:unseen 50");
	expect_error(w.c, "UNAVAILABLE redis", "", "EXPIRE undeclared 50");
	get_redis_back(&w);
	wait_until_told(&w);
	expect(w.redis, "\"old\"", "GET p:unseen");
	expect(w.redis, "-1", "TTL p:unseen");
	harness_free(w.h);
}
END_TEST

START_TEST(expire_of_a_value_that_redis_has_refused_is_told_with_it)
{
	struct world w = start();
	expect(w.redis, "OK", "CONFIG SET maxmemory 1");
	expect(w.c, "OK", "SET p:a new");
	wait_until(strcmp(ask_health(w.c, "replay.keys"), "0") != 0, 5000);
	expect(w.c, "1", "EXPIRE p:a 30");
	expect(w.c, "nil", "SET p:a other NX");
	expect(w.c, "\"new\"", "GET p:a");
	expect(w.redis, "OK", "CONFIG SET maxmemory 0");
	wait_until_told(&w);
	expect(w.redis, "\"new\"", "GET p:a");
	ck_assert_int_le(ask_integer(w.redis, "PTTL p:a"), 30000);
	harness_free(w.h);
}
END_TEST

/* A DEL that Redis could not be told of: the key is not there, whatever it has. */
START_TEST(a_removal_that_waits_is_seen_by_all_commands)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:a old");
	expect(w.redis, "OK", "REPLICAOF 127.0.0.1 1");         /* read-only: no such master */
	(void)ask_integer(w.c, "DEL p:a");
	expect(w.c, "0", "EXISTS p:a");
	expect(w.c, "-2", "TTL p:a");
	expect(w.c, "nil", "SET p:a new XX");
	expect(w.c, "0", "EXPIRE p:a 50");
	expect(w.c, "nil", "GET p:a");
	expect(w.redis, "\"old\"", "GET p:a");
	expect(w.redis, "OK", "REPLICAOF NO ONE");
	wait_until_told(&w);
	expect(w.redis, "nil", "GET p:a");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_is_written_after_an_invalidation_outlives_it,
		prefix_removes_no_more_than_it_names,
		prefixes_too_many_clear_the_type,
		full_queue_costs_a_type_without_a_fetch_nothing,
		what_is_written_while_keys_are_removed_after_an_outage_stays,
		what_is_written_during_an_invalidation_stays,
		what_is_written_in_a_pipeline_during_an_invalidation_stays,
		what_is_fetched_during_an_invalidation_stays_in_redis,
		conditions_are_judged_as_if_all_were_removed_already,
		an_invalidation_that_redis_dies_under_is_finished_later,
		expire_of_a_key_that_is_not_held_changes_nothing_in_an_outage,
		expire_of_a_value_that_redis_has_refused_is_told_with_it,
		a_removal_that_waits_is_seen_by_all_commands,
	};
	return harness_main("clears", tests, sizeof(tests) / sizeof(tests[0]));
}
