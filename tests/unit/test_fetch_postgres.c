/* The PostgreSQL driver with a real server, which is stopped, restarted and frozen. */
#include <check.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../postgres.h"
#include "rig.h"

#define CONNECTIONS 4
#define SESSIONS "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'catcached'"
#define BUSY SESSIONS " AND state = 'active'"

static struct postgres *pg;
static struct rig rig;

static void start_server(void)
{
	pg = postgres_start();
	postgres_sql(pg, "CREATE TABLE models (id int, name text, price numeric(30,10), on_sale bool, extra jsonb, raw bytea);"
		"INSERT INTO models VALUES (1, 'alpha', 0.1000000000, true, '{\"a\": [1, 2]}', '\\x00ff10'),"
		"(2, 'beta', 5, false, NULL, NULL), (3, 'it''s', 12345678901.0123456789, NULL, '\"text\"', '')");
}

static void stop_server(void)
{
	postgres_free(pg);
}

static void open_driver_to(const char *url)
{
	struct conf_database conf = {.kind = CONF_DATABASE_POSTGRES, .url = (char *)url, .connections = CONNECTIONS};
	rig_init(&rig);
	rig.driver = fetch_postgres_new(rig.base, rig.cpu, &conf, &rig.self);
	ck_assert_ptr_nonnull(rig.driver);
}

static void setup(void)
{
	postgres_restore(pg);
	open_driver_to(postgres_url(pg));
}

static void teardown(void)
{
	rig_fini(&rig);
}

/* What the server thinks becomes true a little later than what we see. */
static void expect_number(const char *sql, long n)
{
	long seen = -1;
	for (int64_t end_ms = rig_now_ms() + 10000; seen != n && rig_now_ms() < end_ms; ) {
		rig_run_for(&rig, 10);
		seen = postgres_integer(pg, sql);
	}
	ck_assert_int_eq(seen, n);
}

/* ---- rows ---- */

START_TEST(rows_keep_the_types_of_their_cells)
{
	expect_value(&rig, "SELECT * FROM models ORDER BY id", CONF_ROWS, "",
		"[{\"id\":1,\"name\":\"alpha\",\"price\":0.1000000000,\"on_sale\":true,\"extra\":{\"a\": [1, 2]},\"raw\":\"AP8Q\"},"
		"{\"id\":2,\"name\":\"beta\",\"price\":5.0000000000,\"on_sale\":false,\"extra\":null,\"raw\":null},"
		"{\"id\":3,\"name\":\"it's\",\"price\":12345678901.0123456789,\"on_sale\":null,\"extra\":\"text\",\"raw\":\"\"}]");
}
END_TEST

static const struct {
	const char *sql, *json;
} cells[] = {
	{"1::smallint", "1"}, {"9223372036854775807", "9223372036854775807"}, {"0.1::float4", "0.1"},
	{"0.1::float8 + 0.2::float8", "0.30000000000000004"}, {"1e300::float8", "1e+300"}, {"'NaN'::float8", "null"},
	{"'-Infinity'::float4", "null"}, {"'NaN'::numeric", "null"}, {"100::numeric", "100"}, {"'[1,  2]'::json", "[1,  2]"},
	{"'{\"b\":1,\"a\":2}'::jsonb", "{\"a\": 2, \"b\": 1}"}, {"'x'::varchar", "\"x\""}, {"DATE '2024-02-29'", "\"2024-02-29\""},
	{"ARRAY[1,2]", "\"{1,2}\""}, {"NULL::int", "null"}, {"json_build_object('a', 1)", "{\"a\" : 1}"},
	{"'\xc3\xa9\"\\'::text", "\"\xc3\xa9\\\"\\\\\""}, {"'\\xdeadbeef'::bytea", "\"3q2+7w==\""}, {"1 = 1", "true"},
};

START_TEST(cell_has_the_json_type_of_its_postgres_type)
{
	char *sql = NULL, *json = NULL;
	ck_assert_int_gt(asprintf(&sql, "SELECT %s AS x", cells[_i].sql), 0);
	ck_assert_int_gt(asprintf(&json, "{\"x\":%s}", cells[_i].json), 0);
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
	expect_value(&rig, "SELECT extra FROM models WHERE id = 2", CONF_VALUE, "", NULL);
}
END_TEST

START_TEST(shapes_row_and_value_take_one_row_and_refuse_two)
{
	expect_value(&rig, "SELECT id, name FROM models WHERE id = 2", CONF_ROW, "", "{\"id\":2,\"name\":\"beta\"}");
	expect_value(&rig, "SELECT name, id FROM models WHERE id = 2", CONF_VALUE, "", "beta");
	expect_error(&rig, "SELECT id FROM models", CONF_ROW, "", "more than one row");
	expect_error(&rig, "SELECT id FROM models", CONF_VALUE, "", "more than one row");
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
}
END_TEST

START_TEST(bytea_is_decoded_and_names_end_with_a_zero_byte)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT raw FROM models WHERE id = 1", CONF_VALUE, "", 10000);
	rig_wait(&rig, &a);
	ck_assert_uint_eq(a.len, 3);
	ck_assert_mem_eq(a.text, "\0\xff\x10", 3);
	answer_fini(&a);
	rig_sql(&rig, &a, "SELECT name FROM models ORDER BY id", CONF_NAMES, "", 10000);
	rig_wait(&rig, &a);
	ck_assert_uint_eq(a.len, sizeof("alpha\0beta\0it's"));
	ck_assert_mem_eq(a.text, "alpha\0beta\0it's", a.len);
	answer_fini(&a);
}
END_TEST

START_TEST(large_result_comes_whole_and_too_large_a_one_is_refused)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT i AS id, 'model-' || i AS name FROM generate_series(1, 200000) i", CONF_ROWS, "", 30000);
	rig_wait(&rig, &a);
	ck_assert_int_eq(a.status, FETCH_FOUND);
	ck_assert_uint_gt(a.len, 6000000);
	ck_assert_str_eq(a.text + a.len - 36, "{\"id\":200000,\"name\":\"model-200000\"}]");
	answer_fini(&a);
	rig_sql(&rig, &a, "SELECT repeat('x', 1000000) AS x FROM generate_series(1, 1000)", CONF_ROWS, "", 60000);
	rig_wait(&rig, &a);
	expect_failed(&a, "larger than the limit");
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
}
END_TEST

START_TEST(large_single_cell_comes_whole)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT repeat('0123456789', 1000000)", CONF_VALUE, "", 30000);
	rig_wait(&rig, &a);
	ck_assert_int_eq(a.status, FETCH_FOUND);
	ck_assert_uint_eq(a.len, 10000000);
	ck_assert_str_eq(a.text + a.len - 10, "0123456789");
	answer_fini(&a);
}
END_TEST

/* ---- parameters ---- */

START_TEST(name_is_bound_and_never_read_as_sql)
{
	static const char *const names[] = {"'; DROP TABLE models; --", "alpha' OR '1'='1", "\" ; x", "$1 :name ?",
		"\\", "a\nb", "\xc3\xa9\xe2\x82\xac", "%s%n", "$$"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		expect_value(&rig, "SELECT :name::text", CONF_VALUE, names[i], names[i]);
	expect_value(&rig, "SELECT id FROM models WHERE name = :name", CONF_VALUE, names[1], NULL);
	expect_value(&rig, "SELECT count(*) FROM models", CONF_VALUE, "", "3");
}
END_TEST

START_TEST(name_takes_the_type_it_is_compared_with)
{
	expect_value(&rig, "SELECT name FROM models WHERE id = :name", CONF_VALUE, "2", "beta");
	expect_value(&rig, "SELECT name FROM models WHERE id=:name AND id=:name::int", CONF_VALUE, "2", "beta");
	expect_value(&rig, "SELECT ':name', $$:name$$ /* :name */ -- :name", CONF_VALUE, "2", ":name");
}
END_TEST

START_TEST(other_parameters_are_refused)
{
	expect_error(&rig, "SELECT :id", CONF_VALUE, "", "unknown parameter :id");
	expect_error(&rig, "SELECT $1", CONF_VALUE, "", "");
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
}
END_TEST

/* ---- bad SQL ---- */

START_TEST(wrong_sql_names_the_cause_and_the_next_fetch_works)
{
	expect_error(&rig, "SELECT * FROM model", CONF_ROWS, "", "relation \"model\" does not exist");
	expect_error(&rig, "SELECT nam FROM models", CONF_ROWS, "", "column \"nam\" does not exist");
	expect_error(&rig, "SELEKT 1", CONF_ROWS, "", "syntax error at or near \"SELEKT\"");
	expect_error(&rig, "", CONF_ROWS, "", "gives no columns");
	expect_error(&rig, "SELECT", CONF_ROWS, "", "gives no columns");
	expect_error(&rig, "SELECT id, id FROM models", CONF_ROWS, "", "two columns have the same name");
	expect_error(&rig, "SELECT 10 / (3 - id) FROM models ORDER BY id", CONF_ROWS, "", "division by zero");
	expect_error(&rig, "SELECT 1; SELECT 2", CONF_VALUE, "", "multiple commands");
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
	ck_assert_int_eq(postgres_integer(pg, SESSIONS), 1);
}
END_TEST

START_TEST(statement_that_writes_is_refused)
{
	expect_error(&rig, "DELETE FROM models", CONF_ROWS, "", "read-only transaction");
	expect_error(&rig, "INSERT INTO models (id) VALUES (4) RETURNING id", CONF_ROWS, "", "read-only transaction");
	expect_error(&rig, "CREATE TABLE x (y int)", CONF_ROWS, "", "read-only transaction");
	expect_value(&rig, "SELECT count(*) FROM models", CONF_VALUE, "", "3");
}
END_TEST

START_TEST(statement_that_is_no_query_leaves_nothing_behind)
{
	expect_error(&rig, "BEGIN", CONF_ROWS, "", "gives no columns");
	expect_error(&rig, "COPY models TO STDOUT", CONF_ROWS, "", "COPY is not a query");
	expect_error(&rig, "LISTEN x", CONF_ROWS, "", "gives no columns");
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
	ck_assert_int_eq(postgres_integer(pg, SESSIONS " AND state LIKE '%transaction%'"), 0);
}
END_TEST

START_TEST(error_text_does_not_quote_a_value)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT name FROM models WHERE id = :name", CONF_VALUE, "secret", 10000);
	rig_wait(&rig, &a);
	expect_failed(&a, "invalid input syntax for type integer");
	ck_assert_ptr_null(strstr(a.error, "secret"));
	rig_sql(&rig, &a, "SELECT name::date FROM models", CONF_VALUE, "", 10000);
	rig_wait(&rig, &a);
	expect_failed(&a, "invalid input syntax for type date");
	ck_assert_ptr_null(strstr(a.error, "alpha"));
}
END_TEST

START_TEST(session_is_read_only_named_and_speaks_utf8)
{
	expect_value(&rig, "SELECT current_setting('default_transaction_read_only') || ' ' ||"
		" current_setting('application_name') || ' ' || current_setting('client_encoding')", CONF_VALUE, "",
		"on catcached UTF8");
}
END_TEST

START_TEST(options_of_the_url_are_kept)
{
	char url[300];
	rig_fini(&rig);
	snprintf(url, sizeof(url), "%s&application_name=mine&options=-c%%20search_path%%3Dnowhere", postgres_url(pg));
	open_driver_to(url);
	expect_value(&rig, "SELECT current_setting('default_transaction_read_only') || ' ' ||"
		" current_setting('application_name') || ' ' || current_setting('search_path')", CONF_VALUE, "",
		"on mine nowhere");
}
END_TEST

/* ---- the pool ---- */

START_TEST(pool_of_n_runs_n_at_once_and_the_rest_behind_them)
{
	struct answer a[12];
	for (int i = 0; i < 12; i++)
		rig_sql(&rig, &a[i], "SELECT pg_sleep(0.4)::text", CONF_VALUE, "", 20000);
	expect_number(BUSY, CONNECTIONS);
	for (int i = 0; i < 12; i++) {
		rig_wait(&rig, &a[i]);
		expect_found(&a[i], "");
		answer_fini(&a[i]);
	}
	ck_assert_int_ge(a[11].took_ms, 1200);
	ck_assert_int_lt(a[11].took_ms, 4 * 12 * 100);  /* one behind the other would take that */
	ck_assert_int_eq(postgres_integer(pg, SESSIONS), CONNECTIONS);
}
END_TEST

START_TEST(connections_are_made_on_demand_and_kept)
{
	ck_assert_int_eq(postgres_integer(pg, SESSIONS), 0);
	for (int i = 0; i < 10; i++)
		expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
	ck_assert_int_eq(postgres_integer(pg, SESSIONS), 1);
}
END_TEST

START_TEST(fewer_connections_than_wanted_serve_all_the_same)
{
	struct answer a[12];
	postgres_sql(pg, "DROP ROLE IF EXISTS few; CREATE ROLE few LOGIN CONNECTION LIMIT 2");
	char url[300];
	rig_fini(&rig);
	snprintf(url, sizeof(url), "%s&user=few", postgres_url(pg));
	open_driver_to(url);
	for (int i = 0; i < 12; i++)
		rig_sql(&rig, &a[i], "SELECT pg_sleep(0.1)::text", CONF_VALUE, "", 20000);
	for (int i = 0; i < 12; i++) {
		rig_wait(&rig, &a[i]);
		expect_found(&a[i], "");
		answer_fini(&a[i]);
	}
}
END_TEST

/* ---- time ---- */

START_TEST(query_is_cancelled_at_its_timeout_and_the_connection_used_again)
{
	struct answer a[CONNECTIONS];
	for (int i = 0; i < CONNECTIONS; i++)
		rig_sql(&rig, &a[i], "SELECT pg_sleep(1000)", CONF_VALUE, "", 300);
	for (int i = 0; i < CONNECTIONS; i++) {
		rig_wait(&rig, &a[i]);
		expect_failed(&a[i], "timed out after 300 ms");
		expect_took(&a[i], 300);
	}
	expect_number(BUSY, 0);
	expect_number(SESSIONS, CONNECTIONS);
	for (int i = 0; i < 10; i++)
		expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
	ck_assert_int_eq(postgres_integer(pg, SESSIONS), CONNECTIONS);
}
END_TEST

START_TEST(time_in_the_queue_counts)
{
	struct answer running[CONNECTIONS], waiting;
	for (int i = 0; i < CONNECTIONS; i++)
		rig_sql(&rig, &running[i], "SELECT pg_sleep(1000)", CONF_VALUE, "", 1500);
	rig_sql(&rig, &waiting, "SELECT 1", CONF_VALUE, "", 200);
	rig_wait(&rig, &waiting);
	expect_failed(&waiting, "timed out after 200 ms, still waiting for its turn");
	expect_took(&waiting, 200);
	rig_drop_driver(&rig);
	expect_number(BUSY, 0);                 /* and freeing cancels what runs */
}
END_TEST

START_TEST(result_that_streams_for_long_is_cut_at_the_timeout)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT i FROM generate_series(1, 100) i WHERE pg_sleep(0.05) IS NOT NULL", CONF_ROWS, "", 300);
	rig_wait(&rig, &a);
	expect_failed(&a, "timed out after 300 ms");
	expect_took(&a, 300);
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
}
END_TEST

/* ---- a server in trouble ---- */

START_TEST(refused_connection_fails_at_once_and_says_why)
{
	struct answer a[20];
	postgres_stop_fast(pg);
	for (int i = 0; i < 20; i++)
		rig_sql(&rig, &a[i], "SELECT 1", CONF_VALUE, "", 10000);
	for (int i = 0; i < 20; i++) {
		rig_wait(&rig, &a[i]);
		expect_failed(&a[i], "No such file or directory");      /* its socket */
		ck_assert_int_lt(a[i].took_ms, 2000);
	}
	rig_run_for(&rig, 500);
	postgres_start_again(pg);
	/* Not at once, for there is a pause between attempts, but soon. */
	for (int64_t end_ms = rig_now_ms() + 10000; ; ) {
		rig_sql(&rig, &a[0], "SELECT 1", CONF_VALUE, "", 10000);
		rig_wait(&rig, &a[0]);
		if (a[0].status == FETCH_FOUND)
			break;
		ck_assert_int_lt(rig_now_ms(), end_ms);
		rig_run_for(&rig, 20);
	}
	answer_fini(&a[0]);
}
END_TEST

START_TEST(server_that_is_away_is_not_asked_in_a_hot_loop)
{
	struct answer a;
	unsigned orders = 0;
	postgres_stop_fast(pg);
	for (int64_t end_ms = rig_now_ms() + 1000; rig_now_ms() < end_ms; orders++) {
		rig_sql(&rig, &a, "SELECT 1", CONF_VALUE, "", 10000);
		rig_wait(&rig, &a);
		expect_failed(&a, "No such file");
	}
	ck_assert_uint_gt(orders, 50);          /* they fail at once */
}
END_TEST

static void make_all_connections(void)
{
	struct answer a[CONNECTIONS];
	for (int i = 0; i < CONNECTIONS; i++)
		rig_sql(&rig, &a[i], "SELECT pg_sleep(0.3)::text", CONF_VALUE, "", 10000);
	for (int i = 0; i < CONNECTIONS; i++) {
		rig_wait(&rig, &a[i]);
		answer_fini(&a[i]);
	}
	ck_assert_int_eq(postgres_integer(pg, SESSIONS), CONNECTIONS);
}

START_TEST(server_that_was_restarted_costs_no_fetch)
{
	struct answer a[CONNECTIONS];
	make_all_connections();
	/* The loop does not run meanwhile, so it sends to connections that are dead. */
	postgres_stop_fast(pg);
	postgres_start_again(pg);
	for (int i = 0; i < CONNECTIONS; i++)
		rig_sql(&rig, &a[i], "SELECT 'fine'", CONF_VALUE, "", 10000);
	for (int i = 0; i < CONNECTIONS; i++) {
		rig_wait(&rig, &a[i]);
		expect_found(&a[i], "fine");
		answer_fini(&a[i]);
	}
}
END_TEST

START_TEST(idle_connections_that_die_are_noticed_and_closed)
{
	unsigned before = rig_descriptors();
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
	postgres_sql(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'catcached'");
	expect_number(SESSIONS, 0);
	rig_run_for(&rig, 50);
	ck_assert_uint_eq(rig_descriptors(), before);
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
}
END_TEST

START_TEST(query_cut_off_by_the_end_of_the_server_fails_and_says_so)
{
	struct answer a;
	rig_sql(&rig, &a, "SELECT repeat('x', 100000), pg_sleep(0.5) FROM generate_series(1, 100)", CONF_ROWS, "", 30000);
	expect_number(BUSY, 1);
	postgres_stop_fast(pg);
	rig_wait(&rig, &a);
	ck_assert_int_eq(a.status, FETCH_FAILED);
	ck_assert_str_ne(a.error, "");
}
END_TEST

START_TEST(frozen_server_fails_at_the_timeout_and_is_used_again_when_it_is_back)
{
	struct answer a[6];
	make_all_connections();
	postgres_freeze(pg);
	for (int i = 0; i < 6; i++)
		rig_sql(&rig, &a[i], "SELECT 1", CONF_VALUE, "", 400);
	for (int i = 0; i < 6; i++) {
		rig_wait(&rig, &a[i]);
		expect_failed(&a[i], "timed out after 400 ms");
		expect_took(&a[i], 400);
	}
	rig_run_for(&rig, 1500);                /* it does not answer the request to cancel either */
	postgres_thaw(pg);
	for (int i = 0; i < 6; i++) {
		rig_sql(&rig, &a[i], "SELECT 1", CONF_VALUE, "", 10000);
		rig_wait(&rig, &a[i]);
		expect_found(&a[i], "1");
		answer_fini(&a[i]);
	}
}
END_TEST

START_TEST(frozen_server_is_given_up_while_connecting_and_the_orders_fail)
{
	struct answer a;
	postgres_freeze(pg);
	rig_sql(&rig, &a, "SELECT 1", CONF_VALUE, "", 20000);
	rig_wait(&rig, &a);
	expect_failed(&a, "no connection: timed out");
	expect_took(&a, 5000);
	rig_sql(&rig, &a, "SELECT 1", CONF_VALUE, "", 20000);
	rig_wait(&rig, &a);
	expect_failed(&a, "no connection: timed out");
	ck_assert_int_lt(a.took_ms, 1000);      /* the pause between attempts: at once */
	postgres_thaw(pg);
}
END_TEST

START_TEST(freeing_completes_everything_at_once_even_with_a_frozen_server)
{
	struct answer a[10];
	for (int i = 0; i < 10; i++)
		rig_sql(&rig, &a[i], "SELECT pg_sleep(1000)", CONF_VALUE, "", 60000);
	expect_number(BUSY, CONNECTIONS);
	postgres_freeze(pg);
	int64_t begun_ms = rig_now_ms();
	rig_drop_driver(&rig);
	ck_assert_int_lt(rig_now_ms() - begun_ms, 1000);
	for (int i = 0; i < 10; i++) {
		ck_assert_uint_eq(a[i].times, 1);
		expect_failed(&a[i], "shutting down");
	}
	postgres_thaw(pg);
}
END_TEST

/* ---- where it is ---- */

static void expect_unreachable(const char *url, const char *error)
{
	struct answer a;
	rig_fini(&rig);
	open_driver_to(url);
	rig_sql(&rig, &a, "SELECT 1", CONF_VALUE, "", 20000);
	rig_wait(&rig, &a);
	expect_failed(&a, error);
	ck_assert_msg(!strstr(a.error, "hunter2"), "the password is in \"%s\"", a.error);
}

START_TEST(host_names_are_looked_up_before_connecting)
{
	/* Port 1 of this machine: nobody is there. no..host is refused without asking anyone. */
	expect_unreachable("postgresql://u:hunter2@localhost:1/x", "Connection refused");
	expect_unreachable("postgresql://u:hunter2@127.0.0.1:1/x", "Connection refused");
	expect_unreachable("postgresql://u:hunter2@no..host/x", "cannot look up no..host: ");
}
END_TEST

START_TEST(name_that_is_not_found_leaves_the_other_hosts_to_be_tried)
{
	char url[300];
	rig_fini(&rig);
	const char *folder = strstr(postgres_url(pg), "host=") + 5;
	snprintf(url, sizeof(url), "host=no..host,localhost,%s port=1,1,5432 user=catcached dbname=postgres", folder);
	open_driver_to(url);
	expect_value(&rig, "SELECT 1", CONF_VALUE, "", "1");
}
END_TEST

/* Takes connections, by the kernel alone, and says nothing. */
static int open_silent_port(int *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, len), 0);
	ck_assert_int_eq(listen(fd, 100), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static const char *const silent_hosts[] = {"127.0.0.1", "localhost"};

START_TEST(silent_host_costs_one_attempt_and_then_comes_last)
{
	struct answer a[3];
	char url[300];
	int port, fd = open_silent_port(&port);
	rig_fini(&rig);
	const char *folder = strstr(postgres_url(pg), "host=") + 5;
	snprintf(url, sizeof(url), "host=%s,%s port=%d,5432 user=catcached dbname=postgres", silent_hosts[_i], folder, port);
	open_driver_to(url);
	for (int i = 0; i < 3; i++)
		rig_sql(&rig, &a[i], "SELECT 1", CONF_VALUE, "", 20000);
	for (int i = 0; i < 3; i++) {
		rig_wait(&rig, &a[i]);
		expect_failed(&a[i], "no connection: timed out");
	}
	/* A name costs one attempt for each of its addresses: localhost may have two. */
	struct answer last = {.status = FETCH_FAILED};
	for (int i = 0; i <= _i && last.status == FETCH_FAILED; i++) {
		rig_run_for(&rig, 1000);        /* longer than the first pauses */
		free(last.text);
		last = (struct answer){.times = 0};
		rig_sql(&rig, &last, "SELECT 1", CONF_VALUE, "", 20000);
		rig_wait(&rig, &last);
	}
	ck_assert_int_eq(last.status, FETCH_FOUND);
	ck_assert_str_eq(last.text, "1");
	free(last.text);
	close(fd);
}
END_TEST

START_TEST(url_that_libpq_does_not_understand_fails_without_showing_it)
{
	expect_unreachable("postgresql://u:hunter2@[::1/x", "the database URL is not valid");
}
END_TEST

START_TEST(wrong_database_is_named)
{
	char url[300];
	snprintf(url, sizeof(url), "%s&dbname=nowhere&password=hunter2", postgres_url(pg));
	expect_unreachable(url, "database \"nowhere\" does not exist");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch_postgres");
	TCase *tc = tcase_create("postgres");
	tcase_add_unchecked_fixture(tc, start_server, stop_server);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, rows_keep_the_types_of_their_cells);
	tcase_add_loop_test(tc, cell_has_the_json_type_of_its_postgres_type, 0, sizeof(cells) / sizeof(cells[0]));
	tcase_add_test(tc, no_row_is_an_empty_array_or_does_not_exist);
	tcase_add_test(tc, shapes_row_and_value_take_one_row_and_refuse_two);
	tcase_add_test(tc, bytea_is_decoded_and_names_end_with_a_zero_byte);
	tcase_add_test(tc, large_result_comes_whole_and_too_large_a_one_is_refused);
	tcase_add_test(tc, large_single_cell_comes_whole);
	tcase_add_test(tc, name_is_bound_and_never_read_as_sql);
	tcase_add_test(tc, name_takes_the_type_it_is_compared_with);
	tcase_add_test(tc, other_parameters_are_refused);
	tcase_add_test(tc, wrong_sql_names_the_cause_and_the_next_fetch_works);
	tcase_add_test(tc, statement_that_writes_is_refused);
	tcase_add_test(tc, statement_that_is_no_query_leaves_nothing_behind);
	tcase_add_test(tc, error_text_does_not_quote_a_value);
	tcase_add_test(tc, session_is_read_only_named_and_speaks_utf8);
	tcase_add_test(tc, options_of_the_url_are_kept);
	tcase_add_test(tc, pool_of_n_runs_n_at_once_and_the_rest_behind_them);
	tcase_add_test(tc, connections_are_made_on_demand_and_kept);
	tcase_add_test(tc, fewer_connections_than_wanted_serve_all_the_same);
	tcase_add_test(tc, query_is_cancelled_at_its_timeout_and_the_connection_used_again);
	tcase_add_test(tc, time_in_the_queue_counts);
	tcase_add_test(tc, result_that_streams_for_long_is_cut_at_the_timeout);
	tcase_add_test(tc, refused_connection_fails_at_once_and_says_why);
	tcase_add_test(tc, server_that_is_away_is_not_asked_in_a_hot_loop);
	tcase_add_test(tc, server_that_was_restarted_costs_no_fetch);
	tcase_add_test(tc, idle_connections_that_die_are_noticed_and_closed);
	tcase_add_test(tc, query_cut_off_by_the_end_of_the_server_fails_and_says_so);
	tcase_add_test(tc, frozen_server_fails_at_the_timeout_and_is_used_again_when_it_is_back);
	tcase_add_test(tc, frozen_server_is_given_up_while_connecting_and_the_orders_fail);
	tcase_add_test(tc, freeing_completes_everything_at_once_even_with_a_frozen_server);
	tcase_add_test(tc, host_names_are_looked_up_before_connecting);
	tcase_add_test(tc, name_that_is_not_found_leaves_the_other_hosts_to_be_tried);
	tcase_add_loop_test(tc, silent_host_costs_one_attempt_and_then_comes_last, 0, 2);
	tcase_add_test(tc, url_that_libpq_does_not_understand_fails_without_showing_it);
	tcase_add_test(tc, wrong_database_is_named);
	suite_add_tcase(s, tc);
	return rig_main(s);
}
