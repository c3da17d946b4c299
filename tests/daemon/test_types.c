/* What a cache type may declare: how long, how many, how large, what is refused. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../../proto/buf.h"

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

/* types: the lines below "types:". The hook says what the file answer holds, with the status in the file status. */
static struct world start(const char *types)
{
	struct world w = {.h = harness_new()};
	char *yaml = xasprintf(LISTEN REDIS NO_DATABASE "types:\n%s", types);
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "cd \"$(dirname \"$0\")\"; [ \"$(cat status)\" = 1 ] || cat answer; exit \"$(cat status)\"");
	harness_write(w.h, "answer", "fetched");
	harness_write(w.h, "status", "0");
	harness_start(w.h, yaml);
	free(yaml);
	w.c = harness_connect(w.h);
	w.redis = harness_connect_redis(w.h);
	harness_redis_ready(w.c);
	return w;
}

static bool is_nil(redisContext *c, const char *key)
{
	redisReply *r = ask(c, "GET %s", key);
	bool nil = r->type == REDIS_REPLY_NIL;
	freeReplyObject(r);
	return nil;
}

/* ---- time ---- */

START_TEST(a_value_ends_with_the_ttl_of_its_type)
{
	struct world w = start("  brief: {key: 'b:{name}', ttl: 300ms, tiers: [memory]}\n"
		"  both: {key: 'd:{name}', ttl: 300ms}\n"
		"  forever: {key: 'n:{name}', ttl: none}\n");
	int64_t began = now_ms();
	expect(w.c, "OK", "SET b:a 1");
	expect(w.c, "OK", "SET d:a 1");
	expect(w.c, "OK", "SET n:a 1");
	wait_until(is_nil(w.c, "b:a") && is_nil(w.c, "d:a"), 5000);
	ck_assert_int_ge(now_ms() - began, 295);
	expect(w.c, "-1", "TTL n:a");
	expect(w.redis, "-1", "TTL n:a");
	expect(w.c, "-2", "TTL b:a");
	harness_free(w.h);
}
END_TEST

START_TEST(an_expired_value_is_fetched_again)
{
	struct world w = start("  brief: {key: 'b:{name}', ttl: 200ms, fetch: {exec: ['${DIR}/hook']}}\n");
	expect(w.c, "\"fetched\"", "GET b:a");
	harness_write(w.h, "answer", "fetched again");
	wait_until(!is_nil(w.c, "b:a") && harness_hook_runs(w.h, "hook") >= 2, 5000);
	expect(w.c, "\"fetched again\"", "GET b:a");
	harness_free(w.h);
}
END_TEST

START_TEST(memory_ttl_sends_readers_back_to_redis)
{
	struct world w = start("  short: {key: 's:{name}', ttl: 100s, memory_ttl: 200ms}\n");
	expect(w.c, "OK", "SET s:a 1");
	expect(w.c, "\"1\"", "GET s:a");
	long long asked = harness_redis_calls(w.redis, "get");
	wait_until((expect(w.c, "\"1\"", "GET s:a"), harness_redis_calls(w.redis, "get") > asked), 5000);
	ck_assert_int_gt(ask_integer(w.c, "TTL s:a"), 80);
	harness_free(w.h);
}
END_TEST

START_TEST(jitter_spreads_the_ends)
{
	enum { N = 50 };
	struct world w = start("  spread: {key: 'j:{name}', ttl: 1000s, jitter: 50%}\n");
	long long least = 1000000, most = 0;
	for (int i = 0; i < N; i++) {
		expect(w.c, "OK", "SET j:%d 1", i);
		long long left = ask_integer(w.redis, "PTTL j:%d", i);
		ck_assert_msg(left > 490000 && left <= 1000000, "%lld ms left", left);
		least = left < least ? left : least;
		most = left > most ? left : most;
	}
	ck_assert_int_gt(most - least, 100000);
	expect(w.c, "OK", "SET j:exact 1 EX 900");
	ck_assert_int_gt(ask_integer(w.redis, "PTTL j:exact"), 890000);
	harness_free(w.h);
}
END_TEST

/* ---- number and size ---- */

START_TEST(max_entries_evicts_the_least_recently_used)
{
	struct world w = start("  few: {key: 'f:{name}', ttl: 100s, tiers: [memory], max_entries: 10}\n"
		"  many: {key: 'm:{name}', ttl: 100s, tiers: [memory]}\n");
	expect(w.c, "OK", "SET m:other 1");
	for (int i = 0; i < 10; i++)
		expect(w.c, "OK", "SET f:%d 1", i);
	expect(w.c, "\"1\"", "GET f:0");
	for (int i = 10; i < 15; i++)
		expect(w.c, "OK", "SET f:%d 1", i);
	expect(w.c, "1", "EXISTS f:0");
	expect(w.c, "0", "EXISTS f:1 f:2 f:3 f:4 f:5");
	expect(w.c, "9", "EXISTS f:6 f:7 f:8 f:9 f:10 f:11 f:12 f:13 f:14");
	expect(w.c, "1", "EXISTS m:other");
	harness_free(w.h);
}
END_TEST

START_TEST(a_set_over_max_value_is_refused_and_keeps_the_old)
{
	struct world w = start("  small: {key: 's:{name}', ttl: 100s, max_value: 1K}\n");
	char large[1025];
	memset(large, 'x', sizeof(large));
	expect(w.c, "OK", "SET s:a %b", large, (size_t)1024);
	expect(w.c, "OK", "SET s:a kept");
	expect_error(w.c, "ERR", "max_value", "SET s:a %b", large, sizeof(large));
	expect_error(w.c, "ERR", "max_value", "SETEX s:a 10 %b", large, sizeof(large));
	expect(w.c, "\"kept\"", "GET s:a");
	expect(w.redis, "\"kept\"", "GET s:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_fetch_over_max_value_is_served_but_not_stored)
{
	struct world w = start("  small: {key: 's:{name}', ttl: 100s, max_value: 1K, fetch: {exec: ['${DIR}/hook']}}\n");
	char large[2001] = "";
	memset(large, 'x', sizeof(large) - 1);
	harness_write(w.h, "answer", large);
	for (int i = 0; i < 2; i++) {
		redisReply *r = ask(w.c, "GET s:a");
		ck_assert_uint_eq(r->len, 2000);
		freeReplyObject(r);
	}
	expect(w.c, "nil", "PEEK s:a");
	expect(w.redis, "nil", "GET s:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 2);
	harness_free(w.h);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(json_is_checked_before_it_is_stored)
{
	static const char *const bad[] = {"", "{", "[1,]", "{'a':1}", "[1] [2]", "nul", "\"\xff\"", "01"};
	struct world w = start("  json: {key: 'j:{name}', ttl: 100s, format: json}\n");
	expect(w.c, "OK", "SET j:a %s", "{\"a\": [1, 2.5e3, \"\u00e9\", null]}");
	expect(w.c, "OK", "SET j:a [1]");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_error(w.c, "ERR", "JSON", "SET j:a %s", bad[i]);
	expect(w.c, "\"[1]\"", "GET j:a");
	expect(w.redis, "\"[1]\"", "GET j:a");
	harness_free(w.h);
}
END_TEST

START_TEST(large_json_is_checked_too)
{
	struct world w = start("  json: {key: 'j:{name}', ttl: 100s, format: json}\n");
	struct buf b = BUF_INIT;
	buf_add_char(&b, '[');
	for (int i = 0; i < 300000; i++)
		buf_addf(&b, "%s{\"n\":%d}", i ? "," : "", i);
	expect_error(w.c, "ERR", "JSON", "SET j:a %b", b.data, b.len);
	expect(w.c, "nil", "GET j:a");
	buf_add_char(&b, ']');
	expect(w.c, "OK", "SET j:a %b", b.data, b.len);
	ck_assert_str_eq(ask_meta(w.c, "j:a", "items"), "300000");
	buf_free(&b);
	harness_free(w.h);
}
END_TEST

START_TEST(an_empty_result_is_refused_where_declared)
{
	static const char *const empty[] = {"[]", "{}", " [ ] ", "null", "\"\"", ""};
	struct world w = start("  full: {key: 'f:{name}', ttl: 100s, refuse_empty: true, fetch: {exec: ['${DIR}/hook']}}\n"
		"  any: {key: 'a:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook']}}\n");
	harness_write(w.h, "answer", "[1]");
	expect(w.c, "\"[1]\"", "GET f:a");
	expect_soon(w.redis, "\"[1]\"", "GET f:a");
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		harness_write(w.h, "answer", empty[i]);
		expect_error(w.c, "UNAVAILABLE", "empty", "REFRESH f:a");
		expect(w.c, "\"[1]\"", "GET f:a");
		expect(w.redis, "\"[1]\"", "GET f:a");
		expect_error(w.c, "UNAVAILABLE", "empty", "GET f:cold");
		expect(w.redis, "nil", "GET f:cold");
	}
	harness_write(w.h, "answer", "[]");
	expect(w.c, "\"[]\"", "GET a:a");
	expect_soon(w.redis, "\"[]\"", "GET a:a");
	harness_free(w.h);
}
END_TEST

START_TEST(negative_ttl_remembers_that_it_does_not_exist)
{
	struct world w = start("  known: {key: 'k:{name}', ttl: 100s, negative_ttl: 400ms, fetch: {exec: ['${DIR}/hook']}}\n"
		"  unknown: {key: 'u:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook']}}\n");
	harness_write(w.h, "status", "1");
	int64_t began = now_ms();
	for (int i = 0; i < 5; i++)
		expect(w.c, "nil", "GET k:a");
	bool in_time = now_ms() - began < 400;
	ck_assert_msg(!in_time || harness_hook_runs(w.h, "hook") == 1, "%u fetches", harness_hook_runs(w.h, "hook"));
	expect(w.c, "0", "EXISTS k:a");
	expect(w.redis, "0", "EXISTS k:a");
	harness_write(w.h, "status", "0");
	wait_until(!is_nil(w.c, "k:a"), 5000);
	ck_assert_int_ge(now_ms() - began, 395);

	harness_write(w.h, "status", "1");
	unsigned before = harness_hook_runs(w.h, "hook");
	expect(w.c, "nil", "GET u:a");
	expect(w.c, "nil", "GET u:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), before + 2);
	harness_free(w.h);
}
END_TEST

START_TEST(a_set_ends_a_remembered_absence)
{
	struct world w = start("  known: {key: 'k:{name}', ttl: 100s, negative_ttl: 100s, fetch: {exec: ['${DIR}/hook']}}\n");
	harness_write(w.h, "status", "1");
	expect(w.c, "nil", "GET k:a");
	expect(w.c, "nil", "SET k:a 1 XX");
	expect(w.c, "OK", "SET k:a 1 NX");
	expect(w.c, "\"1\"", "GET k:a");
	expect(w.c, "nil", "GET k:b");
	harness_write(w.h, "status", "0");
	expect(w.c, "0", "DEL k:b");
	expect(w.c, "\"fetched\"", "GET k:b");
	harness_free(w.h);
}
END_TEST

/* ---- names ---- */

START_TEST(hash_names_puts_equal_contexts_under_one_key)
{
	struct world w = start("  routing: {key: 'routing:model:{name}', ttl: 100s, hash_names: true}\n");
	expect(w.c, "OK", "SET %s 1", "routing:model:{\"b\":1,\"a\":[1.50,null,\"\u00e9\"]}");
	expect(w.c, "\"1\"", "GET %s", "routing:model:{ \"a\" : [1.5, null, \"\\u00e9\"], \"b\" : 1 }");
	expect(w.c, "\"1\"", "GET routing:model:87ea11d9b5b63f5a");
	expect(w.redis, "\"1\"", "GET routing:model:87ea11d9b5b63f5a");
	ck_assert_uint_eq(harness_redis_keys(w.redis), 1);
	expect(w.c, "nil", "GET %s", "routing:model:{\"b\":2}");
	expect(w.c, "OK", "SET routing:model:plain-name 2");
	expect(w.redis, "\"2\"", "GET routing:model:plain-name");
	expect(w.c, "1", "DEL %s", "routing:model:{\"b\":1,\"a\":[1.5,null,\"\u00e9\"]}");
	expect(w.redis, "0", "EXISTS routing:model:87ea11d9b5b63f5a");
	harness_free(w.h);
}
END_TEST

START_TEST(the_longest_prefix_and_the_exact_key_win)
{
	struct world w = start("  wide: {key: 'm:{name}', ttl: 100s}\n"
		"  narrow: {key: 'm:x:{name}', ttl: 200s}\n"
		"  exact: {key: 'm:x:one', ttl: 300s}\n");
	ck_assert_str_eq(ask_meta(w.c, "m:a", "type"), "wide");
	ck_assert_str_eq(ask_meta(w.c, "m:x", "type"), "wide");
	ck_assert_str_eq(ask_meta(w.c, "m:x:", "type"), "wide");
	ck_assert_str_eq(ask_meta(w.c, "m:x:a", "type"), "narrow");
	ck_assert_str_eq(ask_meta(w.c, "m:x:one", "type"), "exact");
	ck_assert_str_eq(ask_meta(w.c, "m:x:one2", "type"), "narrow");
	expect(w.c, "OK", "SET m:x:one 1");
	ck_assert_int_gt(ask_integer(w.c, "TTL m:x:one"), 250);
	harness_free(w.h);
}
END_TEST

/* ---- the file itself ---- */

START_TEST(a_bad_configuration_is_told_line_by_line)
{
	struct harness *h = harness_new();
	const char *file = harness_write(h, "bad.yaml",
		"listen: {path: /tmp/x}\n"
		"types:\n"
		"  a: {key: 'a:{name}', ttl: soon}\n"
		"  b: {key: 'b:{name}', tll: 10}\n");
	const char *build = getenv("BUILD");
	char *command = xasprintf("%s/catcached --check-config '%s' 2>&1", build ? build : "build", file);
	char *first = xasprintf("%s:3:29: ", file), *second = xasprintf("%s:4:24: ", file);
	char text[4096] = "";
	FILE *f = popen(command, "r");
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	int status = pclose(f);
	ck_assert_int_eq(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 1);
	ck_assert_msg(strstr(text, first) && strstr(text, second) && strstr(text, "ttl"), "%s", text);
	free(command);
	free(first);
	free(second);
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_value_ends_with_the_ttl_of_its_type,
		an_expired_value_is_fetched_again,
		memory_ttl_sends_readers_back_to_redis,
		jitter_spreads_the_ends,
		max_entries_evicts_the_least_recently_used,
		a_set_over_max_value_is_refused_and_keeps_the_old,
		a_fetch_over_max_value_is_served_but_not_stored,
		json_is_checked_before_it_is_stored,
		large_json_is_checked_too,
		an_empty_result_is_refused_where_declared,
		negative_ttl_remembers_that_it_does_not_exist,
		a_set_ends_a_remembered_absence,
		hash_names_puts_equal_contexts_under_one_key,
		the_longest_prefix_and_the_exact_key_win,
		a_bad_configuration_is_told_line_by_line,
	};
	return harness_main("types", tests, sizeof(tests) / sizeof(tests[0]));
}
