/* The SQLite driver on real files. */
#include <check.h>
#include <event2/event.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig.h"

#define RUNAWAY "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

static struct rig rig;
static char dir[96], path[128];

/* ---- files ---- */

static void run_sql(const char *file, const char *sql)
{
	sqlite3 *db;
	char *error = NULL;
	ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s: %s", sql, error);
	sqlite3_close(db);
}

static void setup_with(unsigned connections)
{
	struct conf_database conf = {.kind = CONF_DATABASE_SQLITE, .url = path, .connections = connections};
	rig_init(&rig);
	snprintf(dir, sizeof(dir), "%s", rig_folder(&rig));
	snprintf(path, sizeof(path), "%s/catalog.db", dir);
	rig.driver = fetch_sqlite_new(rig.base, &conf, &rig.self);
	ck_assert_ptr_nonnull(rig.driver);
}

static void setup(void)
{
	setup_with(4);
}

static void setup_models(void)
{
	setup();
	run_sql(path, "CREATE TABLE models (id INTEGER, name TEXT, price REAL, on_sale BOOLEAN, extra JSON, raw BLOB);"
		"INSERT INTO models VALUES (1, 'alpha', 0.1, 1, '{\"a\":[1,2]}', x'00ff10'),"
		"(2, 'beta', 5, 0, NULL, NULL), (3, 'it''s', 1e20, 7, 'no json', x'');");
}

static void teardown(void)
{
	rig_fini(&rig);
}

/* ---- rows ---- */

START_TEST(rows_keep_the_types_of_their_cells)
{
	expect_value(&rig, "SELECT * FROM models ORDER BY id", CONF_ROWS, "",
		"[{\"id\":1,\"name\":\"alpha\",\"price\":0.1,\"on_sale\":true,\"extra\":{\"a\":[1,2]},\"raw\":\"AP8Q\"},"
		"{\"id\":2,\"name\":\"beta\",\"price\":5.0,\"on_sale\":false,\"extra\":null,\"raw\":null},"
		"{\"id\":3,\"name\":\"it's\",\"price\":1e+20,\"on_sale\":7,\"extra\":\"no json\",\"raw\":\"\"}]");
}
END_TEST

START_TEST(declared_types_hold_in_views_and_lower_case)
{
	run_sql(path, "CREATE TABLE t (b bool, j jsonb, x INT); INSERT INTO t VALUES (1, '[1]', 1);"
		"CREATE VIEW v AS SELECT b AS bb, j AS jj, x FROM t");
	expect_value(&rig, "SELECT * FROM v", CONF_ROW, "", "{\"bb\":true,\"jj\":[1],\"x\":1}");
}
END_TEST

START_TEST(json_from_an_expression_is_a_string_with_and_without_sorting)
{
	expect_value(&rig, "SELECT json_array(id) AS j FROM models", CONF_ROWS, "",
		"[{\"j\":\"[1]\"},{\"j\":\"[2]\"},{\"j\":\"[3]\"}]");
	expect_value(&rig, "SELECT json_array(id) AS j FROM models ORDER BY id", CONF_ROWS, "",
		"[{\"j\":\"[1]\"},{\"j\":\"[2]\"},{\"j\":\"[3]\"}]");
}
END_TEST

static const struct {
	const char *sql, *json;
} numbers[] = {
	{"0.1 + 0.2", "0.30000000000000004"}, {"1.0 / 3", "0.3333333333333333"}, {"2.5", "2.5"}, {"-0.0", "-0.0"},
	{"5e-324", "4.94065645841247e-324"}, {"1.7976931348623157e308", "1.7976931348623157e+308"},
	{"9e999", "null"}, {"-9e999", "null"}, {"9223372036854775807", "9223372036854775807"},
	{"-9223372036854775808", "-9223372036854775808"}, {"9223372036854775808", "9.223372036854776e+18"},
	{"1e15", "1e+15"}, {"123456789012345.0", "123456789012345.0"}, {"0.000001", "1e-06"}, {"100.0", "100.0"},
};

START_TEST(number_has_just_the_digits_it_takes_to_read_back_the_same)
{
	char *sql = NULL, *json = NULL;
	ck_assert_int_gt(asprintf(&sql, "SELECT %s AS x", numbers[_i].sql), 0);
	ck_assert_int_gt(asprintf(&json, "{\"x\":%s}", numbers[_i].json), 0);
	expect_value(&rig, sql, CONF_ROW, "", json);
	free(sql);
	free(json);
}
END_TEST

START_TEST(no_row_is_an_empty_array_or_does_not_exist)
{
	expect_value(&rig, "SELECT * FROM models WHERE id = 9", CONF_ROWS, "", "[]");
	expect_value(&rig, "SELECT * FROM models WHERE id = 9", CONF_ROW, "", NULL);
	expect_value(&rig, "SELECT name FROM models WHERE id = 9", CONF_VALUE, "", NULL);
	expect_value(&rig, "SELECT name FROM models WHERE id = 9", CONF_NAMES, "", "");
}
END_TEST

START_TEST(shapes_row_and_value_take_one_row)
{
	expect_value(&rig, "SELECT id, name FROM models WHERE id = 2", CONF_ROW, "", "{\"id\":2,\"name\":\"beta\"}");
	expect_value(&rig, "SELECT extra, id FROM models WHERE id = 1", CONF_VALUE, "", "{\"a\":[1,2]}");
	expect_value(&rig, "SELECT extra FROM models WHERE id = 2", CONF_VALUE, "", NULL);
	expect_error(&rig, "SELECT id FROM models", CONF_ROW, "", "more than one row");
	expect_error(&rig, "SELECT id FROM models", CONF_VALUE, "", "more than one row");
}
END_TEST

START_TEST(value_is_verbatim_zero_bytes_too)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT raw FROM models WHERE id = 1", CONF_VALUE, "", 10000);
	rig_wait(&rig, &a);
	ck_assert_uint_eq(a.len, 3);
	ck_assert_mem_eq(a.text, "\0\xff\x10", 3);
	answer_fini(&a);
}
END_TEST

START_TEST(names_are_each_followed_by_a_zero_byte)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT name FROM models ORDER BY id", CONF_NAMES, "", 10000);
	rig_wait(&rig, &a);
	ck_assert_uint_eq(a.len, sizeof("alpha\0beta\0it's"));
	ck_assert_mem_eq(a.text, "alpha\0beta\0it's", a.len);
	answer_fini(&a);
}
END_TEST

/* ---- parameters ---- */

START_TEST(name_is_bound_as_text_and_never_read_as_sql)
{
	static const char *const names[] = {"'; DROP TABLE models; --", "alpha' OR '1'='1", "\" ; x", "$1 :name ?",
		"\\", "a\nb", "\xc3\xa9\xe2\x82\xac", "%s%n"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		expect_value(&rig, "SELECT :name", CONF_VALUE, names[i], names[i]);
	expect_value(&rig, "SELECT id FROM models WHERE name = :name", CONF_VALUE, names[1], NULL);
	expect_value(&rig, "SELECT count(*) FROM models", CONF_VALUE, "", "3");
	expect_value(&rig, "SELECT typeof(:name)", CONF_VALUE, "12", "text");
}
END_TEST

START_TEST(name_may_occur_often_or_not_at_all)
{
	expect_value(&rig, "SELECT :name || :name || ':name' -- :name", CONF_VALUE, "ab", "abab:name");
	expect_value(&rig, "SELECT 1", CONF_VALUE, "ab", "1");
}
END_TEST

START_TEST(name_is_not_left_over_from_the_fetch_before)
{
	expect_value(&rig, "SELECT id FROM models WHERE name = :name", CONF_VALUE, "alpha", "1");
	expect_value(&rig, "SELECT id FROM models WHERE name = :name", CONF_VALUE, "beta", "2");
	expect_value(&rig, "SELECT id FROM models WHERE name = :name", CONF_VALUE, "", NULL);
}
END_TEST

START_TEST(other_parameters_are_refused)
{
	expect_error(&rig, "SELECT :id", CONF_VALUE, "", "the only one is :name");
	expect_error(&rig, "SELECT ?", CONF_VALUE, "", "the only one is :name");
	expect_error(&rig, "SELECT :name, @name", CONF_VALUE, "", "the only one is :name");
}
END_TEST

/* ---- bad SQL ---- */

START_TEST(wrong_sql_names_the_cause_and_the_next_fetch_works)
{
	expect_error(&rig, "SELECT * FROM model", CONF_ROWS, "", "no such table: model");
	expect_error(&rig, "SELECT nam FROM models", CONF_ROWS, "", "no such column: nam");
	expect_error(&rig, "SELEKT 1", CONF_ROWS, "", "near \"SELEKT\": syntax error");
	expect_error(&rig, "", CONF_ROWS, "", "no SQL statement");
	expect_error(&rig, " -- nothing", CONF_ROWS, "", "no SQL statement");
	expect_error(&rig, "SELECT id, id FROM models", CONF_ROWS, "", "two columns have the same name");
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
}
END_TEST

START_TEST(second_statement_is_refused)
{
	expect_error(&rig, "SELECT 1; SELECT 2", CONF_VALUE, "", "more than one SQL statement");
	expect_error(&rig, "SELECT 1; DROP TABLE models", CONF_VALUE, "", "more than one SQL statement");
	expect_error(&rig, "SELECT 1; ; x", CONF_VALUE, "", "syntax error");
	expect_value(&rig, "SELECT 1; -- end\n /* really */ ;", CONF_VALUE, "", "1");
}
END_TEST

START_TEST(statement_that_writes_is_refused)
{
	expect_error(&rig, "DELETE FROM models", CONF_ROWS, "", "writes");
	expect_error(&rig, "INSERT INTO models (id) VALUES (4) RETURNING id", CONF_ROWS, "", "writes");
	expect_error(&rig, "CREATE TABLE x (y)", CONF_ROWS, "", "writes");
	expect_error(&rig, "PRAGMA user_version = 7", CONF_ROWS, "", "writes");
	expect_error(&rig, "BEGIN", CONF_ROWS, "", "gives no columns");
	expect_value(&rig, "SELECT count(*) FROM models", CONF_VALUE, "", "3");
}
END_TEST

START_TEST(error_text_does_not_quote_a_value)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT json_extract(extra, :name) FROM models WHERE id = 1", CONF_VALUE, "secret", 10000);
	rig_wait(&rig, &a);
	expect_failed(&a, "JSON path");
	ck_assert_ptr_null(strstr(a.error, "secret"));
}
END_TEST

/* ---- the file ---- */

START_TEST(missing_file_is_named_and_found_when_it_appears)
{
	char error[256];
	snprintf(error, sizeof(error), "unable to open database file: %s: No such file or directory", path);
	expect_error(&rig, "SELECT 1", CONF_VALUE, "", error);
	run_sql(path, "CREATE TABLE t (x); INSERT INTO t VALUES ('here')");
	expect_value(&rig, "SELECT x FROM t", CONF_VALUE, "", "here");
}
END_TEST

START_TEST(file_that_is_removed_is_not_served_from_its_ghost)
{
	run_sql(path, "CREATE TABLE t (x); INSERT INTO t VALUES ('old')");
	expect_value(&rig, "SELECT x FROM t", CONF_VALUE, "", "old");
	unlink(path);
	expect_error(&rig, "SELECT x FROM t", CONF_VALUE, "", "No such file or directory");
}
END_TEST

START_TEST(file_that_is_replaced_is_opened_anew_by_every_connection)
{
	char other[160];
	snprintf(other, sizeof(other), "%s/new.db", dir);
	run_sql(path, "CREATE TABLE t (x); INSERT INTO t VALUES ('old')");
	run_sql(other, "CREATE TABLE t (y, x); INSERT INTO t VALUES (1, 'new')");
	struct answer before[8], after[8];
	for (int i = 0; i < 8; i++)
		rig_sql(&rig, &before[i], "SELECT x FROM t", CONF_VALUE, "", 10000);
	for (int i = 0; i < 8; i++)
		rig_wait(&rig, &before[i]);
	ck_assert_int_eq(rename(other, path), 0);
	for (int i = 0; i < 8; i++)
		rig_sql(&rig, &after[i], "SELECT x FROM t", CONF_VALUE, "", 10000);
	for (int i = 0; i < 8; i++) {
		rig_wait(&rig, &after[i]);
		expect_found(&before[i], "old");
		expect_found(&after[i], "new");
		answer_fini(&before[i]);
		answer_fini(&after[i]);
	}
}
END_TEST

START_TEST(file_that_is_no_database_is_named)
{
	FILE *f = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fputs("garbage ", f);
	fclose(f);
	expect_error(&rig, "SELECT 1 FROM t", CONF_VALUE, "", "file is not a database: /");
	unlink(path);
	mkdir(path, 0700);
	expect_error(&rig, "SELECT 1 FROM t", CONF_VALUE, "", "catalog.db: Is a directory");
}
END_TEST

START_TEST(file_that_is_repaired_in_place_works_again)
{
	char other[160], copy[320];
	snprintf(other, sizeof(other), "%s/good.db", dir);
	run_sql(other, "CREATE TABLE t (x); INSERT INTO t VALUES ('good')");
	snprintf(copy, sizeof(copy), "cp %s %s", other, path);          /* keeps the inode */
	FILE *f = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fputs("garbage ", f);
	fclose(f);
	expect_error(&rig, "SELECT x FROM t", CONF_VALUE, "", "file is not a database");
	ck_assert_int_eq(system(copy), 0);
	expect_value(&rig, "SELECT x FROM t", CONF_VALUE, "", "good");
}
END_TEST

START_TEST(changed_schema_shows_in_a_statement_already_prepared)
{
	run_sql(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
	expect_value(&rig, "SELECT * FROM t", CONF_ROWS, "", "[{\"x\":1}]");
	run_sql(path, "ALTER TABLE t ADD COLUMN y; UPDATE t SET y = 2");
	expect_value(&rig, "SELECT * FROM t", CONF_ROWS, "", "[{\"x\":1,\"y\":2}]");
}
END_TEST

START_TEST(more_statements_than_are_kept_all_work_again_and_again)
{
	char sql[64], text[16];
	rig_fini(&rig);
	setup_with(1);
	run_sql(path, "CREATE TABLE t (x)");
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 40; i++) {
			snprintf(sql, sizeof(sql), "SELECT %d", i);
			snprintf(text, sizeof(text), "%d", i);
			expect_value(&rig, sql, CONF_VALUE, "", text);
		}
	}
}
END_TEST

/* ---- time ---- */

START_TEST(runaway_query_is_interrupted_at_its_timeout_and_the_next_works)
{
	struct answer a[4];
	run_sql(path, "CREATE TABLE t (x)");
	for (int i = 0; i < 4; i++)
		rig_sql(&rig, &a[i], RUNAWAY, CONF_VALUE, "", 300);
	for (int i = 0; i < 4; i++) {
		rig_wait(&rig, &a[i]);
		expect_failed(&a[i], "timed out after 300 ms");
		expect_took(&a[i], 300);
	}
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");    /* so the threads are free */
}
END_TEST

START_TEST(time_in_the_queue_counts)
{
	struct answer running[4], waiting;
	run_sql(path, "CREATE TABLE t (x)");
	for (int i = 0; i < 4; i++)
		rig_sql(&rig, &running[i], RUNAWAY, CONF_VALUE, "", 1500);
	rig_sql(&rig, &waiting, "SELECT 1", CONF_VALUE, "", 200);
	rig_wait(&rig, &waiting);
	expect_failed(&waiting, "timed out after 200 ms, still waiting for its turn");
	expect_took(&waiting, 200);
	for (int i = 0; i < 4; i++)
		rig_wait(&rig, &running[i]);
}
END_TEST

START_TEST(locked_file_is_waited_for_until_the_timeout)
{
	sqlite3 *db;
	struct answer a;
	run_sql(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
	sqlite3_open(path, &db);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	rig_sql(&rig, &a, "SELECT x FROM t", CONF_VALUE, "", 300);
	rig_wait(&rig, &a);
	expect_failed(&a, "timed out after 300 ms");
	expect_took(&a, 300);
	rig_sql(&rig, &a, "SELECT x FROM t", CONF_VALUE, "", 10000);
	rig_run_for(&rig, 50);
	ck_assert_uint_eq(a.times, 0);
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	rig_wait(&rig, &a);
	expect_found(&a, "1");
	answer_fini(&a);
	sqlite3_close(db);
}
END_TEST

START_TEST(pool_of_n_runs_n_at_once_and_the_rest_behind_them)
{
	/* Each query waits for the lock, so only what runs at the same time is there to be
	 * let go. Four wait for it; four more wait for their turn. */
	sqlite3 *db;
	struct answer a[8];
	run_sql(path, "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
	sqlite3_open(path, &db);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	for (int i = 0; i < 8; i++)
		rig_sql(&rig, &a[i], "SELECT x FROM t", CONF_VALUE, "", i < 4 ? 10000 : 300);
	for (int i = 4; i < 8; i++) {
		rig_wait(&rig, &a[i]);
		expect_failed(&a[i], "still waiting for its turn");
	}
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	for (int i = 0; i < 4; i++) {
		rig_wait(&rig, &a[i]);
		expect_found(&a[i], "1");
		answer_fini(&a[i]);
	}
	sqlite3_close(db);
}
END_TEST

START_TEST(loop_goes_on_while_a_query_runs)
{
	struct answer slow, quick;
	run_sql(path, "CREATE TABLE t (x)");
	rig_sql(&rig, &slow, RUNAWAY, CONF_VALUE, "", 1000);
	rig_sql(&rig, &quick, "SELECT 1", CONF_VALUE, "", 1000);
	rig_wait(&rig, &quick);
	expect_found(&quick, "1");
	ck_assert_uint_eq(slow.times, 0);
	rig_wait(&rig, &slow);
	answer_fini(&quick);
}
END_TEST

START_TEST(freeing_completes_everything_soon)
{
	struct answer a[10];
	run_sql(path, "CREATE TABLE t (x)");
	for (int i = 0; i < 10; i++)
		rig_sql(&rig, &a[i], RUNAWAY, CONF_VALUE, "", 60000);
	rig_run_for(&rig, 50);
	int64_t begun_ms = rig_now_ms();
	rig_drop_driver(&rig);
	ck_assert_int_lt(rig_now_ms() - begun_ms, 2000);
	for (int i = 0; i < 10; i++) {
		ck_assert_uint_eq(a[i].times, 1);
		expect_failed(&a[i], "shutting down");
	}
}
END_TEST

START_TEST(freeing_does_not_wait_for_a_lock)
{
	sqlite3 *db;
	struct answer a;
	run_sql(path, "CREATE TABLE t (x)");
	sqlite3_open(path, &db);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	rig_sql(&rig, &a, "SELECT x FROM t", CONF_VALUE, "", 60000);
	rig_run_for(&rig, 50);
	int64_t begun_ms = rig_now_ms();
	rig_drop_driver(&rig);
	ck_assert_int_lt(rig_now_ms() - begun_ms, 2000);
	expect_failed(&a, "shutting down");
	sqlite3_close(db);
}
END_TEST

START_TEST(too_many_orders_are_refused)
{
	enum { N = 4 + FETCH_MAX_WAITING + 10 };
	struct answer *a = calloc(N, sizeof(*a));
	run_sql(path, "CREATE TABLE t (x)");
	for (int i = 0; i < 4; i++)
		rig_sql(&rig, &a[i], RUNAWAY, CONF_VALUE, "", 60000);
	rig_run_for(&rig, 50);
	for (int i = 4; i < N; i++)
		rig_sql(&rig, &a[i], "SELECT 1", CONF_VALUE, "", 60000);
	for (int i = N - 10; i < N; i++) {
		rig_wait(&rig, &a[i]);
		expect_failed(&a[i], "10000 fetches are waiting already");
	}
	rig_drop_driver(&rig);
	for (int i = 0; i < N; i++)
		ck_assert_uint_eq(a[i].times, 1);
	free(a);
}
END_TEST

START_TEST(large_result_comes_whole_and_too_large_a_one_is_refused)
{
	struct answer a;
	run_sql(path, "CREATE TABLE t (x)");
	rig_sql(&rig, &a, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)"
		" SELECT i AS id, 'model-' || i AS name FROM n", CONF_ROWS, "", 30000);
	rig_wait(&rig, &a);
	ck_assert_int_eq(a.status, FETCH_FOUND);
	ck_assert_uint_gt(a.len, 3000000);
	ck_assert_str_eq(a.text + a.len - 36, "{\"id\":100000,\"name\":\"model-100000\"}]");
	answer_fini(&a);
	rig_sql(&rig, &a, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
		" SELECT hex(zeroblob(1000000)) AS x FROM n", CONF_ROWS, "", 30000);
	rig_wait(&rig, &a);
	expect_failed(&a, "larger than the limit");
	rig_sql(&rig, &a, "SELECT zeroblob(300000000) AS x", CONF_VALUE, "", 30000);
	rig_wait(&rig, &a);
	expect_failed(&a, "too big");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch_sqlite");
	TCase *tc = tcase_create("rows");
	tcase_add_checked_fixture(tc, setup_models, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, rows_keep_the_types_of_their_cells);
	tcase_add_test(tc, declared_types_hold_in_views_and_lower_case);
	tcase_add_test(tc, json_from_an_expression_is_a_string_with_and_without_sorting);
	tcase_add_loop_test(tc, number_has_just_the_digits_it_takes_to_read_back_the_same, 0,
		sizeof(numbers) / sizeof(numbers[0]));
	tcase_add_test(tc, no_row_is_an_empty_array_or_does_not_exist);
	tcase_add_test(tc, shapes_row_and_value_take_one_row);
	tcase_add_test(tc, value_is_verbatim_zero_bytes_too);
	tcase_add_test(tc, names_are_each_followed_by_a_zero_byte);
	tcase_add_test(tc, name_is_bound_as_text_and_never_read_as_sql);
	tcase_add_test(tc, name_may_occur_often_or_not_at_all);
	tcase_add_test(tc, name_is_not_left_over_from_the_fetch_before);
	tcase_add_test(tc, other_parameters_are_refused);
	tcase_add_test(tc, wrong_sql_names_the_cause_and_the_next_fetch_works);
	tcase_add_test(tc, second_statement_is_refused);
	tcase_add_test(tc, statement_that_writes_is_refused);
	tcase_add_test(tc, error_text_does_not_quote_a_value);
	suite_add_tcase(s, tc);

	tc = tcase_create("file and time");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, missing_file_is_named_and_found_when_it_appears);
	tcase_add_test(tc, file_that_is_removed_is_not_served_from_its_ghost);
	tcase_add_test(tc, file_that_is_replaced_is_opened_anew_by_every_connection);
	tcase_add_test(tc, file_that_is_no_database_is_named);
	tcase_add_test(tc, file_that_is_repaired_in_place_works_again);
	tcase_add_test(tc, changed_schema_shows_in_a_statement_already_prepared);
	tcase_add_test(tc, more_statements_than_are_kept_all_work_again_and_again);
	tcase_add_test(tc, runaway_query_is_interrupted_at_its_timeout_and_the_next_works);
	tcase_add_test(tc, time_in_the_queue_counts);
	tcase_add_test(tc, locked_file_is_waited_for_until_the_timeout);
	tcase_add_test(tc, pool_of_n_runs_n_at_once_and_the_rest_behind_them);
	tcase_add_test(tc, loop_goes_on_while_a_query_runs);
	tcase_add_test(tc, freeing_completes_everything_soon);
	tcase_add_test(tc, freeing_does_not_wait_for_a_lock);
	tcase_add_test(tc, too_many_orders_are_refused);
	tcase_add_test(tc, large_result_comes_whole_and_too_large_a_one_is_refused);
	suite_add_tcase(s, tc);
	return rig_main(s);
}
