/* Bounds: memory, entries, clients, keys; and one copy of a value for all its readers. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define MIB ((size_t)1 << 20)

static struct harness *start(const char *memory_limit)
{
	struct harness *h = harness_new();
	char *yaml = xasprintf("listen: {path: '${DIR}/s', max_clients: 300}\n"
		NO_REDIS NO_DATABASE
		"memory: {limit: %s}\n"
		"types:\n"
		"  plain: {key: 'm:{name}', ttl: 1h, tiers: [memory]}\n", memory_limit);
	harness_start(h, yaml);
	free(yaml);
	return h;
}

/* Sets m:0 to m:<n - 1> to values of len bytes, many commands under way at a time. */
static void flood(redisContext *c, int n, size_t len)
{
	enum { BATCH = 100 };
	char *value = xmalloc(len);
	memset(value, 'v', len);
	for (int done = 0; done < n; done += BATCH) {
		for (int i = done; i < done + BATCH; i++)
			redisAppendCommand(c, "SET m:%d %b", i, value, len);
		for (int i = 0; i < BATCH; i++) {
			void *reply = NULL;
			ck_assert_msg(redisGetReply(c, &reply) == REDIS_OK, "%s", c->errstr);
			ck_assert_int_eq(((redisReply *)reply)->type, REDIS_REPLY_STATUS);
			freeReplyObject(reply);
		}
	}
	free(value);
}

START_TEST(memory_limit_holds_with_many_large_values)
{
	struct harness *h = start("16M");
	redisContext *c = harness_connect(h);
	size_t before = harness_peak(h);
	flood(c, 10000, 10000);
	expect(c, "1", "EXISTS m:9999");
	expect(c, "0", "EXISTS m:0");
	expect(c, "1", "EXISTS m:%d", 10000 - 1000);
	size_t grown = harness_peak(h) - before;
	ck_assert_msg(SANITIZED || grown < 24 * MIB, "grown by %zu bytes", grown);
	harness_free(h);
}
END_TEST

START_TEST(memory_limit_counts_the_cost_of_small_values)
{
	struct harness *h = start("16M");
	redisContext *c = harness_connect(h);
	size_t before = harness_peak(h);
	flood(c, 300000, 8);
	expect(c, "1", "EXISTS m:299999");
	expect(c, "0", "EXISTS m:0");
	expect(c, "1", "EXISTS m:%d", 300000 - 50000);
	size_t grown = harness_peak(h) - before;
	ck_assert_msg(SANITIZED || grown < 24 * MIB, "grown by %zu bytes", grown);
	harness_free(h);
}
END_TEST

START_TEST(two_hundred_readers_share_one_copy_of_a_value)
{
	enum { N = 200 };
	const size_t len = 10 * MIB;
	struct harness *h = start("64M");
	int fds[N], writer = raw_connect(h);
	char *value = xmalloc(len);
	for (size_t i = 0; i < len; i++)
		value[i] = (char)(i * 31 + i / 4096);
	raw_send(writer, "*3\r\n$3\r\nSET\r\n$5\r\nm:big\r\n$10485760\r\n");
	raw_send_bytes(writer, value, len);
	raw_send(writer, "\r\n");
	raw_expect(writer, "+OK\r\n");
	for (int i = 0; i < N; i++) {
		fds[i] = raw_connect(h);
		raw_send(fds[i], "GET m:big\r\n");
		raw_expect(fds[i], "$10485760\r\n");
	}
	/* Replaced while everyone reads: who has begun reads the old value to its end. */
	raw_send(writer, "SET m:big new\r\nGET m:big\r\n");
	raw_expect(writer, "+OK\r\n$3\r\nnew\r\n");
	for (int i = 0; i < N; i++) {
		raw_expect_bytes(fds[i], value, len);
		raw_expect(fds[i], "\r\n");
		close(fds[i]);
	}
	if (!SANITIZED)
		ck_assert_uint_lt(harness_peak(h), 3 * len);
	free(value);
	close(writer);
	harness_free(h);
}
END_TEST

START_TEST(a_key_may_have_4096_bytes_and_no_more)
{
	struct harness *h = start("64M");
	redisContext *c = harness_connect(h);
	char key[4098];
	memset(key, 'k', sizeof(key) - 1);
	memcpy(key, "m:", 2);
	key[4097] = '\0';
	expect_error(c, "ERR", "4096", "GET %s", key);
	expect_error(c, "ERR", "4096", "SET %s 1", key);
	expect_error(c, "ERR", "4096", "DEL m:a %s", key);
	expect_error(c, "ERR", "4096", "MGET m:a %s", key);
	key[4096] = '\0';
	expect(c, "OK", "SET %s 1", key);
	expect(c, "\"1\"", "GET %s", key);
	harness_free(h);
}
END_TEST

START_TEST(a_refused_key_among_many_changes_nothing)
{
	struct harness *h = start("64M");
	redisContext *c = harness_connect(h);
	expect(c, "OK", "SET m:a 1");
	expect_error(c, "ERR", "", "DEL m:a %b", "m:\0", (size_t)3);
	expect(c, "\"1\"", "GET m:a");
	harness_free(h);
}
END_TEST

START_TEST(a_client_over_max_clients_is_told_and_closed)
{
	enum { N = 300 };
	struct harness *h = start("64M");
	int fds[N];
	for (int i = 0; i < N; i++) {
		fds[i] = raw_connect(h);
		raw_send(fds[i], "PING\r\n");
		raw_expect(fds[i], "+PONG\r\n");
	}
	int more = raw_connect(h);
	raw_expect(more, "-ERR max number of clients reached\r\n");
	raw_expect_close(more);
	close(fds[0]);
	redisContext *c = NULL;
	wait_until((c = harness_try_connect(h)) != NULL, 5000);
	expect(c, "PONG", "PING");
	for (int i = 1; i < N; i++)
		close(fds[i]);
	harness_free(h);
}
END_TEST

START_TEST(a_value_too_large_for_memory_is_served_from_redis)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	harness_start(h, LISTEN REDIS NO_DATABASE
		"memory: {limit: 1M}\n"
		"types:\n"
		"  plain: {key: 'p:{name}', ttl: 1h}\n");
	redisContext *c = harness_connect(h);
	harness_redis_ready(c);
	char *value = xmalloc(2 * MIB);
	memset(value, 'v', 2 * MIB);
	expect(c, "OK", "SET p:a old");
	expect(c, "OK", "SET p:a %b", value, 2 * MIB);
	for (int i = 0; i < 2; i++) {
		redisReply *r = ask(c, "GET p:a");
		ck_assert_uint_eq(r->len, 2 * MIB);
		freeReplyObject(r);
	}
	ck_assert_str_eq(ask_meta(c, "p:a", "tier"), "redis");
	free(value);
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		memory_limit_holds_with_many_large_values,
		memory_limit_counts_the_cost_of_small_values,
		two_hundred_readers_share_one_copy_of_a_value,
		a_key_may_have_4096_bytes_and_no_more,
		a_refused_key_among_many_changes_nothing,
		a_client_over_max_clients_is_told_and_closed,
		a_value_too_large_for_memory_is_served_from_redis,
	};
	return harness_main("limits", tests, sizeof(tests) / sizeof(tests[0]));
}
