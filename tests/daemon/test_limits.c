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

/* ---- output ---- */

/* The sample of METRICS that begins with this. */
static unsigned long long metric(redisContext *c, const char *name)
{
	redisReply *r = ask(c, "METRICS");
	char *line = xasprintf("\n%s ", name);
	const char *at = strstr(r->str, line);
	ck_assert_msg(at, "no %s", name);
	unsigned long long n = strtoull(at + strlen(line), NULL, 10);
	free(line);
	freeReplyObject(r);
	return n;
}

#define OUTPUT "catcached_output_bytes"
#define CLOSED(reason) "catcached_clients_closed_total{reason=\"" reason "\"}"

/* A daemon beside Redis, in which u:big has one MiB. */
static struct harness *start_with_large(const char *listen, redisContext **c)
{
	struct harness *h = harness_new();
	char *yaml = xasprintf("listen: {path: '${DIR}/s', %s}\n" PATIENT_REDIS NO_DATABASE
		"types:\n"
		"  plain: {key: 'p:{name}', ttl: 1h}\n"
		"  slow: {key: 'slow:{name}', ttl: 1h, fetch: {exec: ['${DIR}/wait'], timeout: 30s}}\n", listen);
	harness_redis_start(h, "");
	harness_hook(h, "wait", "until [ -e \"$DIR/go\" ]; do sleep 0.02; done; printf x");
	harness_start(h, yaml);
	free(yaml);
	*c = harness_connect(h);
	harness_redis_ready(*c);
	expect(*c, "1048576", "SETRANGE u:big %d x", (int)MIB - 1);
	return h;
}

/* Asks for u:big n times in one write, on a connection of its own. */
static int ask_for_large(struct harness *h, const char *before, int n)
{
	struct buf b = BUF_INIT;
	int fd = raw_connect(h);
	buf_add_str(&b, before);
	for (int i = 0; i < n; i++)
		buf_add_str(&b, "GET u:big\r\n");
	raw_send_bytes(fd, b.data, b.len);
	buf_free(&b);
	return fd;
}

static void read_large(int fd, int n)
{
	char *value = xmalloc(MIB);
	for (int i = 0; i < n; i++) {
		raw_expect(fd, "$1048576\r\n");
		raw_read(fd, value, MIB);
		raw_expect(fd, "\r\n");
	}
	free(value);
	close(fd);
}

START_TEST(a_client_that_is_owed_too_much_is_closed)
{
	redisContext *c;
	struct harness *h = start_with_large("max_output: 8M", &c);
	int fine = ask_for_large(h, "", 4), greedy = ask_for_large(h, "", 16);
	wait_until(metric(c, CLOSED("output")) == 1, 10000);
	close(greedy);
	read_large(fine, 4);
	wait_until(metric(c, OUTPUT) == 0, 5000);
	ck_assert_uint_eq(metric(c, CLOSED("output_total")), 0);
	harness_free(h);
}
END_TEST

/* The first reply holds back the others, which are there already. */
START_TEST(a_client_that_is_owed_too_much_behind_a_slow_reply_is_closed)
{
	redisContext *c;
	struct harness *h = start_with_large("max_output: 8M", &c);
	int greedy = ask_for_large(h, "GET slow:a\r\n", 16);
	wait_until(metric(c, CLOSED("output")) == 1, 10000);
	ck_assert_uint_eq(metric(c, OUTPUT), 0);
	raw_expect_close(greedy);
	harness_write(h, "go", "");
	expect(c, "\"x\"", "GET slow:a");
	harness_free(h);
}
END_TEST

START_TEST(of_all_that_are_owed_too_much_the_one_that_is_owed_most_is_closed)
{
	redisContext *c;
	struct harness *h = start_with_large("max_output: 16M, max_output_total: 24M", &c);
	int most = ask_for_large(h, "", 12);
	wait_until(metric(c, OUTPUT) > 11 * MIB, 10000);
	int less = ask_for_large(h, "", 9);
	wait_until(metric(c, OUTPUT) > 19 * MIB, 10000);
	ck_assert_uint_eq(metric(c, CLOSED("output_total")), 0);
	int least = ask_for_large(h, "", 6);
	wait_until(metric(c, CLOSED("output_total")) == 1, 10000);
	close(most);
	read_large(less, 9);
	read_large(least, 6);
	wait_until(metric(c, OUTPUT) == 0, 5000);
	ck_assert_uint_eq(metric(c, CLOSED("output")) + metric(c, CLOSED("output_total")), 1);
	harness_free(h);
}
END_TEST

START_TEST(a_value_that_many_are_owed_counts_once)
{
	enum { N = 60 };
	redisContext *c;
	struct harness *h = start_with_large("max_output: 8M, max_output_total: 8M", &c);
	int fds[N];
	char *value = xmalloc(MIB);
	memset(value, 'v', MIB);
	expect(c, "OK", "SET p:a %b", value, MIB);
	for (int i = 0; i < N; i++) {
		fds[i] = raw_connect(h);
		raw_send(fds[i], "GET p:a\r\n");
		raw_expect(fds[i], "$1048576\r\n");
	}
	ck_assert_uint_gt(metric(c, OUTPUT), 24 * MIB);
	expect(c, "OK", "SET p:a new");
	for (int i = 0; i < N; i++) {
		raw_expect_bytes(fds[i], value, MIB);
		raw_expect(fds[i], "\r\n");
		close(fds[i]);
	}
	ck_assert_uint_eq(metric(c, CLOSED("output_total")), 0);
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
		a_client_that_is_owed_too_much_is_closed,
		a_client_that_is_owed_too_much_behind_a_slow_reply_is_closed,
		of_all_that_are_owed_too_much_the_one_that_is_owed_most_is_closed,
		a_value_that_many_are_owed_counts_once,
	};
	return harness_main("limits", tests, sizeof(tests) / sizeof(tests[0]));
}
