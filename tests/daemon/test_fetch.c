/* Fetches through the daemon: SQLite, hooks and assembled values. PostgreSQL has
 * test_postgres.c. What goes wrong gets an error that names the cause and
 * replaces nothing. */
#include "harness.h"
#include "talk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"

static const char config[] =
	LISTEN REDIS SQLITE
	"types:\n"
	"  rows:\n"
	"    key: 'rows:{name}'\n"
	"    ttl: 100s\n"
	"    format: json\n"
	"    fetch: {sql: 'SELECT * FROM items WHERE kind = :name ORDER BY id'}\n"
	"  row:\n"
	"    key: 'row:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {sql: 'SELECT id, label, kind AS \"the kind\" FROM items WHERE id = :name', shape: row}\n"
	"  value:\n"
	"    key: 'value:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {sql: 'SELECT label FROM items WHERE id = :name', shape: value}\n"
	"  broken:\n"
	"    key: 'broken:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {sql: 'SELECT * FROM no_such_table'}\n"
	"  endless:\n"
	"    key: 'endless:{name}'\n"
	"    ttl: 100s\n"
	"    fetch:\n"
	"      sql: WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n\n"
	"      timeout: 300ms\n"
	"  all: {key: all, ttl: 100s, fetch: {assemble: {sql: 'SELECT DISTINCT kind FROM items ORDER BY kind', from: rows}}}\n"
	"  hooked:\n"
	"    key: 'h:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {exec: ['${DIR}/hook', '{type}', '{name}'], timeout: 20s}\n"
	"  json:\n"
	"    key: 'j:{name}'\n"
	"    ttl: 100s\n"
	"    format: json\n"
	"    fetch: {exec: ['${DIR}/hook', '{type}', '{name}'], timeout: 20s}\n"
	"  hasty:\n"
	"    key: 'hasty:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {exec: ['${DIR}/hook', '{type}', '{name}'], timeout: 300ms}\n"
	"  unhooked: {key: 'u:{name}', ttl: 100s, fetch: {exec: ['${DIR}/no-such-hook']}}\n";

static const char items[] =
	"CREATE TABLE items (id INTEGER PRIMARY KEY, kind TEXT, label TEXT, price REAL, open BOOLEAN, tags JSON);"
	"INSERT INTO items VALUES (1, 'a', 'one', 0.25, 1, '[\"x\",{\"y\":2}]');"
	"INSERT INTO items VALUES (2, 'a', 'say \"two\"', NULL, 0, NULL);"
	"INSERT INTO items VALUES (3, 'b', 'three', 1e-7, NULL, '{}');";

#define A_ROWS \
	"{\"id\":1,\"kind\":\"a\",\"label\":\"one\",\"price\":0.25,\"open\":true,\"tags\":[\"x\",{\"y\":2}]}," \
	"{\"id\":2,\"kind\":\"a\",\"label\":\"say \\\"two\\\"\",\"price\":null,\"open\":false,\"tags\":null}"

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static struct world start_with(const char *hook)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_sql(w.h, items);
	harness_hook(w.h, "hook", hook);
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	w.redis = harness_connect_redis(w.h);
	harness_redis_ready(w.c);
	return w;
}

static struct world start(void)
{
	return start_with("printf '%s %s' \"$1\" \"$2\"");
}

/* Neither tier holds the key. */
static void expect_nothing_stored(struct world *w, const char *key)
{
	expect(w->c, "nil", "PEEK %s", key);
	expect(w->redis, "nil", "GET %s", key);
}

static void expect_health_has(struct world *w, const char *place, const char *part)
{
	ck_assert_msg(strstr(ask_health(w->c, place), part), "%s of %s", place, ask_health(w->c, place));
}

/* ---- SQLite ---- */

START_TEST(rows_keep_the_kinds_of_their_columns)
{
	struct world w = start();
	expect(w.c, "\"[" A_ROWS "]\"", "GET rows:a");
	expect(w.c, "\"[]\"", "GET rows:none");
	harness_free(w.h);
}
END_TEST

START_TEST(a_row_is_an_object_and_a_missing_one_nil)
{
	struct world w = start();
	expect(w.c, "\"{\"id\":3,\"label\":\"three\",\"the kind\":\"b\"}\"", "GET row:3");
	expect(w.c, "nil", "GET row:4");
	harness_free(w.h);
}
END_TEST

START_TEST(a_value_is_the_first_column_verbatim)
{
	struct world w = start();
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

START_TEST(failing_sql_is_named_and_stores_nothing)
{
	struct world w = start();
	expect_error(w.c, "UNAVAILABLE", "no_such_table", "GET broken:a");
	expect_nothing_stored(&w, "broken:a");
	expect(w.c, "OK", "SET broken:a kept");
	expect_error(w.c, "UNAVAILABLE", "no_such_table", "REFRESH broken:a");
	expect(w.c, "\"kept\"", "GET broken:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_missing_database_file_is_named_and_may_come_later)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	char *log = NULL;
	wait_until((free(log), log = harness_log(w.h), strstr(log, "event=database_unusable")), 5000);
	ck_assert_msg(strstr(log, "catalog.db") && strstr(log, "correct database.url"), "%s", log);
	free(log);
	expect_error(w.c, "UNAVAILABLE", "unable to open", "GET rows:a");
	ck_assert_int_ne(access(harness_path(w.h, "catalog.db"), F_OK), 0);
	harness_sql(w.h, items);
	expect_soon(w.c, "\"[" A_ROWS "]\"", "GET rows:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_good_database_is_tried_in_silence)
{
	struct world w = start();
	expect(w.c, "\"[" A_ROWS "]\"", "GET rows:a");
	char *log = harness_log(w.h);
	ck_assert_msg(!strstr(log, "database_unusable"), "%s", log);
	free(log);
	harness_free(w.h);
}
END_TEST

START_TEST(a_query_past_its_timeout_is_interrupted_and_blocks_nobody)
{
	struct world w = start();
	int fd = raw_connect(w.h);
	int64_t began = now_ms();
	raw_send(fd, "GET endless:a\r\n");
	raw_sent(fd);
	expect(w.c, "PONG", "PING");
	expect(w.c, "\"hooked x\"", "GET h:x");
	expect(w.c, "\"[]\"", "GET rows:none");
	raw_expect(fd, "-UNAVAILABLE ");
	ck_assert_int_ge(now_ms() - began, 290);
	ck_assert_int_lt(now_ms() - began, 5000);
	close(fd);
	expect_nothing_stored(&w, "endless:a");
	harness_free(w.h);
}
END_TEST

START_TEST(slow_queries_of_one_type_keep_no_other_from_the_database)
{
	struct world w = start();
	for (int i = 0; i < 4; i++)
		expect_error(w.c, "UNAVAILABLE", "", "GET endless:%d", i);
	expect_health_has(&w, "sources.failing", "timed out after 300 ms");
	expect_health_has(&w, "sources.failing", "\"endless\"");
	expect_health_has(&w, "reasons", "endless");
	ck_assert_str_eq(ask_health(w.c, "status"), "degraded");
	expect(w.c, "\"one\"", "GET value:1");
	harness_free(w.h);
}
END_TEST

START_TEST(a_change_in_the_database_is_seen_after_refresh)
{
	struct world w = start();
	expect(w.c, "\"three\"", "GET value:3");
	harness_sql(w.h, "UPDATE items SET label = 'drei' WHERE id = 3");
	expect(w.c, "\"three\"", "GET value:3");
	expect(w.c, "OK", "REFRESH value:3");
	expect(w.c, "\"drei\"", "GET value:3");
	harness_sql(w.h, "DELETE FROM items WHERE id = 3");
	expect(w.c, "1", "DEL value:3");
	expect(w.c, "nil", "GET value:3");
	harness_free(w.h);
}
END_TEST

/* ---- hooks ---- */

START_TEST(a_hook_gets_type_and_name_as_single_words)
{
	struct world w = start_with("printf '%s|' \"$@\"");
	expect(w.c, "\"hooked|a|\"", "GET h:a");
	expect(w.c, "\"hooked|$(id) 'x' *|\"", "GET %s", "h:$(id) 'x' *");
	expect(w.c, "\"hooked|--help|\"", "GET h:--help");
	harness_free(w.h);
}
END_TEST

START_TEST(exit_status_1_means_that_it_does_not_exist)
{
	struct world w = start_with("echo nothing here >&2; exit 1");
	expect(w.c, "nil", "GET h:a");
	expect_nothing_stored(&w, "h:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_failing_hook_is_told_with_its_first_line)
{
	struct world w = start_with("echo partial; echo the database is on fire >&2; echo second >&2; exit 3");
	expect_error(w.c, "UNAVAILABLE", "the database is on fire", "GET h:a");
	expect_error(w.c, "UNAVAILABLE", "3", "GET h:a");
	expect_nothing_stored(&w, "h:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_hook_that_fails_for_every_key_is_left_alone_and_health_says_why)
{
	enum { N = 30 };
	struct world w = start_with("echo trouble with $2 >&2; exit 3");
	for (int i = 0; i < N; i++)
		expect_error(w.c, "UNAVAILABLE", "", "GET h:secret%d", i);
	ck_assert_uint_lt(harness_hook_runs(w.h, "hook"), N / 2);
	ck_assert_str_ne(ask_health(w.c, "sources.programs"), "closed");
	expect_health_has(&w, "sources.failing", "\"error\":\"exit status 3\"");
	expect_health_has(&w, "reasons", "hooked");
	ck_assert_str_eq(ask_health(w.c, "status"), "degraded");
	harness_hook(w.h, "hook", "printf '[1]'");
	expect(w.c, "\"[1]\"", "GET j:a");
	expect_soon(w.c, "\"[1]\"", "GET h:a");
	wait_until(strcmp(ask_health(w.c, "status"), "ok") == 0, 10000);
	harness_free(w.h);
}
END_TEST

START_TEST(a_hook_that_fails_for_one_key_is_run_for_others)
{
	struct world w = start_with("[ \"$2\" != bad ] && exec printf good; exit 3");
	for (int i = 0; i < 5; i++)
		expect_error(w.c, "UNAVAILABLE", "exit status 3", "REFRESH h:bad");
	expect_health_has(&w, "sources.failing", "exit status 3");
	expect(w.c, "\"good\"", "GET h:good");
	wait_until(strcmp(ask_health(w.c, "status"), "ok") == 0, 10000);
	harness_free(w.h);
}
END_TEST

START_TEST(what_a_hook_says_of_a_key_is_told_to_who_asked_and_not_logged)
{
	struct world w = start_with("echo trouble with $2 >&2; exit 3");
	expect_error(w.c, "UNAVAILABLE", "trouble with secret", "GET h:secret");
	char *log = NULL;
	wait_until((free(log), log = harness_log(w.h), strstr(log, "exit status 3")), 5000);
	ck_assert_msg(!strstr(log, "secret"), "%s", log);
	free(log);
	harness_free(w.h);
}
END_TEST

START_TEST(a_dying_hook_is_told)
{
	struct world w = start_with("printf partial; kill -9 $$");
	expect_error(w.c, "UNAVAILABLE", "signal", "GET h:a");
	expect_nothing_stored(&w, "h:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_missing_hook_is_told)
{
	struct world w = start();
	expect_error(w.c, "UNAVAILABLE", "No such file", "GET u:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_hanging_hook_is_killed_with_its_children)
{
	struct world w = start_with("trap '' TERM; echo $$ >>\"$0.pids\"; sh -c 'trap \"\" TERM; echo $$ >>\"$0.pids\"; sleep 100; :' \"$0\"");
	int64_t began = now_ms();
	expect_error(w.c, "UNAVAILABLE", "", "GET hasty:a");
	ck_assert_int_ge(now_ms() - began, 290);
	ck_assert_int_lt(now_ms() - began, 5000);
	FILE *f = fopen(harness_path(w.h, "hook.pids"), "r");
	int pid, n = 0;
	for (; f && fscanf(f, "%d", &pid) == 1; n++)
		wait_until(kill(pid, 0) != 0 && errno == ESRCH, 5000);
	ck_assert_int_eq(n, 2);
	fclose(f);
	harness_free(w.h);
}
END_TEST

START_TEST(garbage_from_a_hook_is_not_stored_as_json)
{
	struct world w = start_with("printf '{\"open\": <html>'");
	expect_error(w.c, "UNAVAILABLE", "JSON", "GET j:a");
	expect_nothing_stored(&w, "j:a");
	harness_hook(w.h, "hook", "printf '{\"closed\": true}'");
	expect_soon(w.c, "\"{\"closed\": true}\"", "GET j:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_failed_refresh_keeps_the_old_value)
{
	static const char *const bad[] = {"exit 2", "printf '[1,'", "kill -9 $$"};
	struct world w = start_with("printf '[1]'");
	expect(w.c, "\"[1]\"", "GET j:a");
	expect_soon(w.redis, "\"[1]\"", "GET j:a");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		harness_hook(w.h, "hook", bad[i]);
		expect_error(w.c, "UNAVAILABLE", "", "REFRESH j:a");
		expect(w.c, "\"[1]\"", "GET j:a");
		expect(w.redis, "\"[1]\"", "GET j:a");
	}
	harness_hook(w.h, "hook", "printf '[2]'");
	expect(w.c, "OK", "REFRESH j:a");
	expect(w.c, "\"[2]\"", "GET j:a");
	harness_free(w.h);
}
END_TEST

START_TEST(endless_output_is_cut_off)
{
	struct world w = start_with("exec yes");
	int fd = raw_connect(w.h);
	raw_send(fd, "GET h:a\r\n");
	expect(w.c, "PONG", "PING");
	wait_until(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1, 25000);
	raw_expect(fd, "-UNAVAILABLE ");
	close(fd);
	expect_nothing_stored(&w, "h:a");
	harness_free(w.h);
}
END_TEST

/* ---- one fetch a key ---- */

START_TEST(a_hundred_clients_that_miss_share_one_fetch)
{
	enum { N = 100 };
	struct world w = start_with("while ! [ -e \"$(dirname \"$0\")/go\" ]; do sleep 0.01; done\nprintf done");
	int fds[N];
	for (int i = 0; i < N; i++) {
		fds[i] = raw_connect(w.h);
		raw_send(fds[i], "GET h:a\r\n");
	}
	for (int i = 0; i < N; i++)
		raw_sent(fds[i]);
	wait_until(harness_hook_runs(w.h, "hook") == 1, 5000);
	expect(w.c, "PONG", "PING");
	harness_write(w.h, "go", "");
	for (int i = 0; i < N; i++) {
		raw_expect(fds[i], "$4\r\ndone\r\n");
		close(fds[i]);
	}
	expect(w.c, "\"done\"", "GET h:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	harness_free(w.h);
}
END_TEST

START_TEST(different_keys_are_fetched_side_by_side)
{
	/* Each waits until the other has begun. */
	struct world w = start_with("d=$(dirname \"$0\"); : >\"$d/$2\"; while ! [ -e \"$d/a\" -a -e \"$d/b\" ]; do sleep 0.01; done; printf ok");
	int fd = raw_connect(w.h);
	raw_send(fd, "GET h:a\r\n");
	expect(w.c, "\"ok\"", "GET h:b");
	raw_expect(fd, "$2\r\nok\r\n");
	close(fd);
	harness_free(w.h);
}
END_TEST

START_TEST(everyone_who_waits_gets_the_failure)
{
	enum { N = 20 };
	struct world w = start_with("while ! [ -e \"$(dirname \"$0\")/go\" ]; do sleep 0.01; done\nexit 2");
	int fds[N];
	for (int i = 0; i < N; i++) {
		fds[i] = raw_connect(w.h);
		raw_send(fds[i], "GET h:a\r\n");
	}
	for (int i = 0; i < N; i++)
		raw_sent(fds[i]);
	expect(w.c, "PONG", "PING");
	harness_write(w.h, "go", "");
	for (int i = 0; i < N; i++) {
		raw_expect(fds[i], "-UNAVAILABLE ");
		close(fds[i]);
	}
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	harness_free(w.h);
}
END_TEST

START_TEST(a_fetch_goes_on_when_the_one_who_asked_leaves)
{
	struct world w = start_with("while ! [ -e \"$(dirname \"$0\")/go\" ]; do sleep 0.01; done\nprintf done");
	int fd = raw_connect(w.h);
	raw_send(fd, "GET h:a\r\n");
	wait_until(harness_hook_runs(w.h, "hook") == 1, 5000);
	close(fd);
	harness_write(w.h, "go", "");
	wait_until(ask_integer(w.c, "EXISTS h:a") == 1, 5000);
	expect(w.c, "\"done\"", "GET h:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	harness_free(w.h);
}
END_TEST

/* What a fetch brings that began before the change is out of date: it is neither served nor stored. */
START_TEST(a_change_during_a_fetch_is_never_overwritten)
{
	static const struct { const char *change, *then; } tests[] = {
		{"DEL h:a", "run 2"},
		{"INVALIDATE h:*", "run 2"},
		{"INVALIDATE hooked", "run 2"},
		{"SET h:a newer", "newer"},
	};
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct world w = start_with("n=$(wc -l <\"$0.runs\"); while ! [ -e \"$(dirname \"$0\")/go\" ]; do sleep 0.01; done\n"
			"printf 'run %d' \"$n\"");
		char shown[32], *raw = xasprintf("$%zu\r\n%s\r\n", strlen(tests[i].then), tests[i].then);
		int fd = raw_connect(w.h);
		raw_send(fd, "GET h:a\r\n");
		wait_until(harness_hook_runs(w.h, "hook") == 1, 5000);
		freeReplyObject(redisCommand(w.c, tests[i].change));
		harness_write(w.h, "go", "");
		raw_expect(fd, raw);
		close(fd);
		snprintf(shown, sizeof(shown), "\"%s\"", tests[i].then);
		expect(w.c, shown, "PEEK h:a");
		expect_soon(w.redis, shown, "GET h:a");
		free(raw);
		harness_free(w.h);
	}
}
END_TEST

START_TEST(the_daemon_stops_with_fetches_under_way)
{
	struct world w = start_with("exec sleep 100");
	int fd = raw_connect(w.h);
	raw_send(fd, "GET h:a\r\nGET endless:a\r\n");
	wait_until(harness_hook_runs(w.h, "hook") == 1, 5000);
	int64_t began = now_ms();
	harness_stop(w.h);
	ck_assert_int_lt(now_ms() - began, 5000);
	close(fd);
	harness_free(w.h);
}
END_TEST

/* ---- assembled values ---- */

START_TEST(an_assembled_value_joins_its_parts_and_keeps_them)
{
	struct world w = start();
	expect(w.c, "\"[" A_ROWS ",{\"id\":3,\"kind\":\"b\",\"label\":\"three\",\"price\":1e-07,\"open\":null,\"tags\":{}}]\"", "GET all");
	expect(w.c, "2", "EXISTS rows:a rows:b");
	ck_assert_str_eq(ask_meta(w.c, "all", "items"), "3");
	harness_free(w.h);
}
END_TEST

START_TEST(an_assembled_value_takes_parts_from_the_tiers)
{
	struct world w = start();
	expect(w.c, "OK", "SET rows:a [10]");
	expect(w.redis, "OK", "SET rows:b %s", "[ 20, 30 ]");
	expect(w.c, "\"[10,20, 30]\"", "GET all");
	expect(w.c, "OK", "SET rows:a %s", "[ ]");
	expect(w.c, "OK", "REFRESH all");
	expect(w.c, "\"[20, 30]\"", "GET all");
	harness_free(w.h);
}
END_TEST

START_TEST(an_assembled_value_with_a_bad_part_fails_and_keeps_the_old)
{
	struct world w = start();
	expect(w.c, "OK", "SET rows:a [10]");
	expect(w.c, "OK", "SET rows:b [20]");
	expect(w.c, "\"[10,20]\"", "GET all");
	expect(w.c, "OK", "SET rows:b {}");
	expect_error(w.c, "UNAVAILABLE", "part 2", "REFRESH all");
	expect(w.c, "\"[10,20]\"", "GET all");
	harness_sql(w.h, "DROP TABLE items");
	expect(w.c, "1", "DEL all");
	expect_error(w.c, "UNAVAILABLE", "items", "GET all");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		rows_keep_the_kinds_of_their_columns,
		a_row_is_an_object_and_a_missing_one_nil,
		a_value_is_the_first_column_verbatim,
		names_are_bound_and_never_part_of_the_sql,
		failing_sql_is_named_and_stores_nothing,
		a_missing_database_file_is_named_and_may_come_later,
		a_good_database_is_tried_in_silence,
		a_query_past_its_timeout_is_interrupted_and_blocks_nobody,
		slow_queries_of_one_type_keep_no_other_from_the_database,
		a_change_in_the_database_is_seen_after_refresh,
		a_hook_gets_type_and_name_as_single_words,
		exit_status_1_means_that_it_does_not_exist,
		a_failing_hook_is_told_with_its_first_line,
		a_hook_that_fails_for_every_key_is_left_alone_and_health_says_why,
		a_hook_that_fails_for_one_key_is_run_for_others,
		what_a_hook_says_of_a_key_is_told_to_who_asked_and_not_logged,
		a_dying_hook_is_told,
		a_missing_hook_is_told,
		a_hanging_hook_is_killed_with_its_children,
		garbage_from_a_hook_is_not_stored_as_json,
		a_failed_refresh_keeps_the_old_value,
		endless_output_is_cut_off,
		a_hundred_clients_that_miss_share_one_fetch,
		different_keys_are_fetched_side_by_side,
		everyone_who_waits_gets_the_failure,
		a_fetch_goes_on_when_the_one_who_asked_leaves,
		a_change_during_a_fetch_is_never_overwritten,
		the_daemon_stops_with_fetches_under_way,
		an_assembled_value_joins_its_parts_and_keeps_them,
		an_assembled_value_takes_parts_from_the_tiers,
		an_assembled_value_with_a_bad_part_fails_and_keeps_the_old,
	};
	return harness_main("fetch", tests, sizeof(tests) / sizeof(tests[0]));
}
