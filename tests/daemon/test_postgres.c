/* Fetches from PostgreSQL through the daemon, against a private cluster that all
 * tests of this file share. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "../postgres.h"

static const char config[] =
	LISTEN REDIS
	"database: {url: '${DATABASE_URL}', connections: 2, timeout: 5s}\n"
	"types:\n"
	"  rows:\n"
	"    key: 'rows:{name}'\n"
	"    ttl: 100s\n"
	"    format: json\n"
	"    fetch: {sql: 'SELECT * FROM items WHERE kind = :name ORDER BY id'}\n"
	"  row:\n"
	"    key: 'row:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {sql: 'SELECT id, label FROM items WHERE id = :name', shape: row}\n"
	"  value:\n"
	"    key: 'value:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {sql: 'SELECT label FROM items WHERE id::text = :name', shape: value}\n"
	"  broken: {key: 'broken:{name}', ttl: 100s, fetch: {sql: 'SELECT * FROM no_such_table'}}\n"
	"  raising: {key: 'raising:{name}', ttl: 100s, fetch: {sql: 'SELECT raising(:name)', shape: value}}\n"
	"  slow:\n"
	"    key: 'slow:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {sql: 'SELECT pg_sleep(60) /* slow */', shape: value, timeout: 300ms}\n"
	"  all: {key: all, ttl: 100s, fetch: {assemble: {sql: 'SELECT DISTINCT kind FROM items ORDER BY kind', from: rows}}}\n";

static const char items[] =
	"DROP TABLE IF EXISTS items;"
	"CREATE TABLE items (id INTEGER PRIMARY KEY, kind TEXT, label TEXT, price REAL, open BOOLEAN, tags JSON);"
	"INSERT INTO items VALUES (1, 'a', 'one', 0.25, true, '[\"x\",{\"y\":2}]');"
	"INSERT INTO items VALUES (2, 'a', 'say \"two\"', NULL, false, NULL);"
	"INSERT INTO items VALUES (3, 'b', 'three', 'NaN', NULL, '{}');"
	"CREATE OR REPLACE FUNCTION raising(TEXT) RETURNS TEXT LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no such thing: %', $1; END$$;";

#define A_ROWS \
	"{\"id\":1,\"kind\":\"a\",\"label\":\"one\",\"price\":0.25,\"open\":true,\"tags\":[\"x\",{\"y\":2}]}," \
	"{\"id\":2,\"kind\":\"a\",\"label\":\"say \\\"two\\\"\",\"price\":null,\"open\":false,\"tags\":null}"

static struct postgres *cluster;

struct world {
	struct harness *h;
	redisContext *c;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	postgres_restore(cluster);
	postgres_sql(cluster, items);
	setenv("DATABASE_URL", postgres_url(cluster), 1);
	harness_redis_start(w.h, "");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	return w;
}

START_TEST(rows_keep_the_kinds_of_their_columns)
{
	struct world w = start();
	expect(w.c, "\"[" A_ROWS "]\"", "GET rows:a");
	expect(w.c, "\"[]\"", "GET rows:none");
	expect(w.c, "\"{\"id\":3,\"label\":\"three\"}\"", "GET row:3");
	expect(w.c, "nil", "GET row:4");
	expect(w.c, "\"say \"two\"\"", "GET value:2");
	expect(w.c, "nil", "GET value:4");
	harness_free(w.h);
}
END_TEST

START_TEST(names_are_bound_and_never_part_of_the_sql)
{
	struct world w = start();
	expect(w.c, "\"[]\"", "GET %s", "rows:a' OR '1'='1");
	expect(w.c, "nil", "GET %s", "value:1; DROP TABLE items");
	expect(w.c, "\"[" A_ROWS "]\"", "GET rows:a");
	harness_free(w.h);
}
END_TEST

START_TEST(an_assembled_value_joins_its_parts)
{
	struct world w = start();
	expect(w.c, "\"[" A_ROWS ",{\"id\":3,\"kind\":\"b\",\"label\":\"three\",\"price\":null,\"open\":null,\"tags\":{}}]\"",
		"GET all");
	harness_free(w.h);
}
END_TEST

START_TEST(failing_sql_is_named_and_keeps_the_old_value)
{
	struct world w = start();
	expect_error(w.c, "UNAVAILABLE", "no_such_table", "GET broken:a");
	expect(w.c, "OK", "SET broken:a kept");
	expect_error(w.c, "UNAVAILABLE", "no_such_table", "REFRESH broken:a");
	expect(w.c, "\"kept\"", "GET broken:a");
	expect_error(w.c, "UNAVAILABLE", "", "GET row:not-a-number");
	expect(w.c, "\"[" A_ROWS "]\"", "GET rows:a");
	harness_free(w.h);
}
END_TEST

START_TEST(what_the_server_says_of_a_key_is_told_to_who_asked_and_not_logged)
{
	struct world w = start();
	for (int i = 0; i < 5; i++)
		expect_error(w.c, "UNAVAILABLE", "no such thing: secret", "GET raising:secret%d", i);
	ck_assert_str_eq(ask_health(w.c, "sources.database"), "closed");        /* it has answered */
	char *log = NULL;
	wait_until((free(log), log = harness_log(w.h), strstr(log, "SQLSTATE P0001 (PL/pgSQL error)")), 5000);
	ck_assert_msg(!strstr(log, "secret"), "%s", log);
	free(log);
	harness_free(w.h);
}
END_TEST

START_TEST(a_query_that_always_fails_keeps_no_other_from_the_server)
{
	struct world w = start();
	for (int i = 0; i < 4; i++)
		expect_error(w.c, "UNAVAILABLE", "", "GET broken:%d", i);
	ck_assert_str_ne(ask_health(w.c, "sources.database"), "closed");
	const char *failing = ask_health(w.c, "sources.failing");
	ck_assert_msg(strstr(failing, "\"broken\"") && strstr(failing, "SQLSTATE 42P01"), "%s", failing);
	expect(w.c, "\"one\"", "GET value:1");
	harness_free(w.h);
}
END_TEST

START_TEST(a_query_past_its_timeout_is_cancelled_and_blocks_nobody)
{
	struct world w = start();
	int fds[2];
	int64_t began = now_ms();
	for (int i = 0; i < 2; i++) {
		fds[i] = raw_connect(w.h);
		raw_send(fds[i], i ? "GET slow:b\r\n" : "GET slow:a\r\n");
		raw_sent(fds[i]);
	}
	expect(w.c, "PONG", "PING");
	/* Both connections of the pool are busy: this waits for one of them. */
	expect(w.c, "\"[" A_ROWS "]\"", "GET rows:a");
	for (int i = 0; i < 2; i++) {
		raw_expect(fds[i], "-UNAVAILABLE ");
		close(fds[i]);
	}
	ck_assert_int_ge(now_ms() - began, 290);
	ck_assert_int_lt(now_ms() - began, 5000);
	wait_until(postgres_integer(cluster, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
		"AND query LIKE '%/* slow */%' AND pid <> pg_backend_pid()") == 0, 5000);
	harness_free(w.h);
}
END_TEST

START_TEST(more_keys_than_connections_are_all_fetched)
{
	enum { N = 50 };
	struct world w = start();
	for (int i = 0; i < N; i++)
		redisAppendCommand(w.c, "GET value:%d", i);
	for (int i = 0; i < N; i++) {
		void *reply = NULL;
		ck_assert_msg(redisGetReply(w.c, &reply) == REDIS_OK, "%s", w.c->errstr);
		ck_assert_int_eq(((redisReply *)reply)->type, i >= 1 && i <= 3 ? REDIS_REPLY_STRING : REDIS_REPLY_NIL);
		freeReplyObject(reply);
	}
	harness_free(w.h);
}
END_TEST

START_TEST(a_server_that_is_not_there_is_told_of_at_the_start)
{
	struct world w = {.h = harness_new()};
	postgres_restore(cluster);
	postgres_sql(cluster, items);
	setenv("DATABASE_URL", postgres_url(cluster), 1);
	postgres_stop_fast(cluster);
	harness_redis_start(w.h, "");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	char *log = NULL;
	wait_until((free(log), log = harness_log(w.h), strstr(log, "event=database_unusable")), 5000);
	ck_assert_msg(strstr(log, "correct database.url"), "%s", log);
	free(log);
	postgres_start_again(cluster);
	expect_soon(w.c, "\"three\"", "GET value:3");
	harness_free(w.h);
}
END_TEST

START_TEST(a_restarted_server_is_connected_to_again)
{
	struct world w = start();
	expect(w.c, "\"three\"", "GET value:3");
	postgres_stop_fast(cluster);
	expect_error(w.c, "UNAVAILABLE", "", "GET value:1");
	ck_assert_str_eq(ask_health(w.c, "status"), "degraded");
	ck_assert_str_ne(ask_health(w.c, "sources.database"), "closed");
	ck_assert_msg(strstr(ask_health(w.c, "sources.failing"), "{\"source\":\"database\","), "%s", ask_health(w.c, "sources.failing"));
	expect(w.c, "\"three\"", "GET value:3");
	expect_error(w.c, "UNAVAILABLE", "", "REFRESH value:3");
	expect(w.c, "\"three\"", "GET value:3");
	postgres_start_again(cluster);
	expect_soon(w.c, "\"one\"", "GET value:1");
	ck_assert_str_eq(ask_health(w.c, "status"), "ok");
	harness_free(w.h);
}
END_TEST

START_TEST(a_frozen_server_costs_the_timeout_and_nobody_else)
{
	struct world w = start();
	expect(w.c, "\"three\"", "GET value:3");
	postgres_freeze(cluster);
	int fd = raw_connect(w.h);
	int64_t began = now_ms();
	raw_send(fd, "GET slow:a\r\n");
	raw_sent(fd);
	expect(w.c, "\"three\"", "GET value:3");
	expect(w.c, "PONG", "PING");
	raw_expect(fd, "-UNAVAILABLE ");
	ck_assert_int_lt(now_ms() - began, 4000);
	close(fd);
	postgres_thaw(cluster);
	expect_soon(w.c, "\"one\"", "GET value:1");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		rows_keep_the_kinds_of_their_columns,
		names_are_bound_and_never_part_of_the_sql,
		an_assembled_value_joins_its_parts,
		failing_sql_is_named_and_keeps_the_old_value,
		what_the_server_says_of_a_key_is_told_to_who_asked_and_not_logged,
		a_query_that_always_fails_keeps_no_other_from_the_server,
		a_query_past_its_timeout_is_cancelled_and_blocks_nobody,
		more_keys_than_connections_are_all_fetched,
		a_server_that_is_not_there_is_told_of_at_the_start,
		a_restarted_server_is_connected_to_again,
		a_frozen_server_costs_the_timeout_and_nobody_else,
	};
	cluster = postgres_start();
	int status = harness_main("postgres", tests, sizeof(tests) / sizeof(tests[0]));
	postgres_free(cluster);
	return status;
}
