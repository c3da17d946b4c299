/* Redis absent, killed, hung, full: no client may see an error for it, or wait long. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define IN_TIME_MS 2000         /* redis.timeout is 250 ms; the rest is for a busy machine */

static const char config[] =
	LISTEN REDIS NO_DATABASE
	"types:\n"
	"  fetched:\n"
	"    key: 'f:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {exec: ['${DIR}/hook', '{name}']}\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n";

struct world {
	struct harness *h;
	redisContext *c;
};

static struct world start_without_redis(void)
{
	struct world w = {.h = harness_new()};
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	return w;
}

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	return w;
}

/* What every client may count on while there is no Redis. name: of keys not used before. */
static void expect_service_without_redis(redisContext *c, const char *name)
{
	char built[64];
	int64_t began = now_ms();
	snprintf(built, sizeof(built), "\"built %s\"", name);
	expect(c, built, "GET f:%s", name);
	expect(c, built, "GET f:%s", name);
	expect(c, "nil", "GET p:%s", name);
	expect(c, "OK", "SET p:%s mine", name);
	expect(c, "\"mine\"", "GET p:%s", name);
	expect(c, "nil", "SET p:%s other NX", name);
	expect(c, "OK", "SET p:%s new XX", name);
	expect(c, "\"new\"", "GET p:%s", name);
	expect(c, "1", "EXISTS p:%s", name);
	expect(c, "3", "STRLEN p:%s", name);
	expect(c, "1", "EXPIRE p:%s 50", name);
	ck_assert_int_le(ask_integer(c, "TTL p:%s", name), 50);
	expect(c, "OK", "REFRESH f:%s", name);
	expect(c, "1", "DEL p:%s", name);
	expect(c, "[nil, nil]", "MGET p:%s p:%s", name, name);
	expect(c, "1", "INVALIDATE f:%s*", name);
	expect(c, built, "GET f:%s", name);
	/* One request may have waited for the timeout; those after it must not. */
	ck_assert_int_lt(now_ms() - began, 2 * IN_TIME_MS);
}

/* Waits until a write through the daemon is seen in Redis, which has come back. */
static void expect_back(struct world *w)
{
	harness_redis_ready(w->c);
	redisContext *redis = harness_connect_redis(w->h);
	expect(w->c, "OK", "SET p:back 1");
	expect(redis, "\"1\"", "GET p:back");
	expect(redis, "OK", "SET p:theirs 2");
	expect(w->c, "\"2\"", "GET p:theirs");
}

START_TEST(redis_absent_at_start_is_no_error)
{
	struct world w = start_without_redis();
	expect_service_without_redis(w.c, "a");
	harness_redis_start(w.h, "");
	expect_back(&w);
	expect_service_without_redis(w.c, "b");
	harness_free(w.h);
}
END_TEST

START_TEST(redis_killed_is_no_error_and_comes_back)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:held 1");
	for (int i = 0; i < 3; i++) {
		char name[32];
		snprintf(name, sizeof(name), "round%d", i);
		harness_redis_kill(w.h);
		expect_service_without_redis(w.c, name);
		expect(w.c, "\"1\"", "GET p:held");
		harness_redis_start(w.h, "");
		expect_back(&w);
	}
	harness_free(w.h);
}
END_TEST

START_TEST(redis_hung_costs_one_timeout_and_comes_back)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:held 1");
	harness_redis_pause(w.h);
	int64_t began = now_ms();
	expect(w.c, "\"1\"", "GET p:held");
	expect(w.c, "\"built first\"", "GET f:first");
	ck_assert_int_lt(now_ms() - began, IN_TIME_MS);
	expect_service_without_redis(w.c, "a");
	harness_redis_resume(w.h);
	expect_back(&w);
	harness_free(w.h);
}
END_TEST

START_TEST(a_write_to_a_hung_redis_is_answered_and_kept)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a old");
	harness_redis_pause(w.h);
	int64_t began = now_ms();
	expect(w.c, "OK", "SET p:a new");
	expect(w.c, "\"new\"", "GET p:a");
	ck_assert_int_lt(now_ms() - began, IN_TIME_MS);
	harness_free(w.h);
}
END_TEST

START_TEST(a_del_while_redis_hangs_is_answered)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a 1");
	harness_redis_pause(w.h);
	int64_t began = now_ms();
	expect(w.c, "1", "DEL p:a p:b");
	expect(w.c, "nil", "GET p:a");
	ck_assert_int_lt(now_ms() - began, IN_TIME_MS);
	harness_free(w.h);
}
END_TEST

START_TEST(a_write_under_way_is_answered_when_the_daemon_stops)
{
	struct world w = start();
	int fd = raw_connect(w.h);
	harness_redis_pause(w.h);
	raw_send(fd, "SET p:a 1\r\n");
	raw_sent(fd);
	harness_stop(w.h);
	raw_expect(fd, "+OK\r\n");
	close(fd);
	harness_free(w.h);
}
END_TEST

START_TEST(redis_hung_while_the_daemon_starts_is_no_error)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_redis_pause(w.h);
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	expect_service_without_redis(w.c, "a");
	harness_redis_resume(w.h);
	expect_back(&w);
	harness_free(w.h);
}
END_TEST

START_TEST(requests_under_way_when_redis_dies_are_all_answered)
{
	enum { N = 200 };
	struct world w = start();
	int fds[N];
	harness_redis_pause(w.h);
	for (int i = 0; i < N; i++) {
		struct buf b = BUF_INIT;
		buf_addf(&b, "GET f:%d\r\nSET p:%d x\r\nGET p:%d\r\n", i % 10, i, i);
		fds[i] = raw_connect(w.h);
		raw_send_bytes(fds[i], b.data, b.len);
		buf_free(&b);
	}
	for (int i = 0; i < N; i++)
		raw_sent(fds[i]);
	harness_redis_kill(w.h);
	for (int i = 0; i < N; i++) {
		char reply[64];
		snprintf(reply, sizeof(reply), "$7\r\nbuilt %d\r\n+OK\r\n$1\r\nx\r\n", i % 10);
		raw_expect(fds[i], reply);
		close(fds[i]);
	}
	harness_free(w.h);
}
END_TEST

START_TEST(a_full_redis_is_no_error)
{
	struct world w = start();
	redisContext *redis = harness_connect_redis(w.h);
	expect(redis, "OK", "CONFIG SET maxmemory 1");
	expect(w.c, "OK", "SET p:a 1");
	expect(w.c, "\"1\"", "GET p:a");
	expect(w.c, "\"built a\"", "GET f:a");
	expect(w.c, "\"built a\"", "GET f:a");
	ck_assert_uint_eq(harness_redis_keys(redis), 0);
	expect(redis, "OK", "CONFIG SET maxmemory 0");
	expect(w.c, "OK", "SET p:a 2");
	expect(redis, "\"2\"", "GET p:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_read_only_redis_is_no_error)
{
	struct world w = start();
	redisContext *redis = harness_connect_redis(w.h);
	expect(redis, "OK", "SET p:theirs 1");
	expect(redis, "OK", "REPLICAOF 127.0.0.1 1");
	expect(w.c, "\"1\"", "GET p:theirs");
	expect(w.c, "OK", "SET p:a 1");
	expect(w.c, "\"1\"", "GET p:a");
	expect(w.c, "\"built a\"", "GET f:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_wrong_password_is_no_error_but_logged)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "--requirepass secret");
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_start(w.h, LISTEN NO_DATABASE
		"redis: {url: 'unix://:hunter2@${DIR}/redis.sock'}\n"
		"types:\n"
		"  fetched: {key: 'f:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook', '{name}']}}\n"
		"  plain: {key: 'p:{name}', ttl: 100s}\n");
	w.c = harness_connect(w.h);
	expect_service_without_redis(w.c, "a");
	char *log = NULL;
	wait_until((free(log), log = harness_log(w.h), strstr(log, "WRONGPASS")), 5000);
	ck_assert_msg(!strstr(log, "hunter2"), "the password is in the log: %s", log);
	free(log);
	harness_free(w.h);
}
END_TEST

START_TEST(a_key_of_no_type_gets_an_error_that_names_redis)
{
	struct world w = start_without_redis();
	expect_error(w.c, "UNAVAILABLE redis", "", "GET undeclared");
	expect_error(w.c, "UNAVAILABLE redis", "", "SET undeclared 1");
	expect_error(w.c, "UNAVAILABLE redis", "", "DEL undeclared");
	expect(w.c, "OK", "SET p:a 1");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		redis_absent_at_start_is_no_error,
		redis_killed_is_no_error_and_comes_back,
		redis_hung_costs_one_timeout_and_comes_back,
		a_write_to_a_hung_redis_is_answered_and_kept,
		a_del_while_redis_hangs_is_answered,
		a_write_under_way_is_answered_when_the_daemon_stops,
		redis_hung_while_the_daemon_starts_is_no_error,
		requests_under_way_when_redis_dies_are_all_answered,
		a_full_redis_is_no_error,
		a_read_only_redis_is_no_error,
		a_wrong_password_is_no_error_but_logged,
		a_key_of_no_type_gets_an_error_that_names_redis,
	};
	return harness_main("outage", tests, sizeof(tests) / sizeof(tests[0]));
}
