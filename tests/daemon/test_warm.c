/* Warm lists: loaded before the daemon calls itself ready, and by WARM. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../proto/buf.h"

static const char types[] =
	"types:\n"
	"  listed: {key: 'l:{name}', ttl: 100s, warm: [a, b, c], fetch: {exec: ['${DIR}/hook', '{name}']}}\n"
	"  single: {key: 'one', ttl: 100s, warm: [one], fetch: {exec: ['${DIR}/hook', one]}}\n"
	"  hashed: {key: 'h:{name}', ttl: 100s, hash_names: true, warm: ['{\"b\": 1}'], fetch: {exec: ['${DIR}/hook', '{name}']}}\n"
	"  bare: {key: 'b:{name}', ttl: 100s}\n";

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static void write_hook(struct world *w, const char *more)
{
	char *body = xasprintf("%s printf 'built %%s' \"$1\"", more);
	harness_hook(w->h, "hook", body);
	free(body);
}

static struct world start_with(const char *sections, const char *hook)
{
	struct world w = {.h = harness_new()};
	char *yaml = xasprintf("%s%s%s%s%s", LISTEN, PATIENT_REDIS, NO_DATABASE, sections, types);
	harness_redis_start(w.h, "");
	w.redis = harness_connect_redis(w.h);
	expect(w.redis, "OK", "SET l:b redis EX 90");
	write_hook(&w, hook);
	harness_start(w.h, yaml);
	w.c = harness_connect(w.h);
	free(yaml);
	return w;
}

static size_t at_in_log(const struct world *w, const char *part)
{
	char *log = harness_log(w->h);
	const char *at = strstr(log, part);
	size_t n = at ? (size_t)(at - log) + 1 : 0;
	free(log);
	return n;
}

static void wait_logged(struct world *w, const char *part)
{
	wait_until(at_in_log(w, part) > 0, 10000);
}

START_TEST(lists_are_loaded_before_it_is_ready_from_redis_first)
{
	struct world w = start_with("", "");
	wait_logged(&w, "event=ready");
	size_t warmed = at_in_log(&w, "event=warmed keys=5 failed=0");
	ck_assert_msg(warmed && warmed < at_in_log(&w, "event=ready"), "%zu", warmed);
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 4);   /* not for l:b */
	expect(w.c, "\"redis\"", "PEEK l:b");
	expect(w.c, "\"built a\"", "PEEK l:a");
	expect(w.c, "\"built one\"", "PEEK one");
	ck_assert_str_eq(ask_meta(w.c, "l:b", "tier"), "memory");
	ck_assert_str_eq(ask_meta(w.c, "h:acd9387907fb416d", "tier"), "memory");
	ck_assert_int_eq(ask_stat(w.c, "", "warm.loaded"), 5);
	harness_free(w.h);
}
END_TEST

START_TEST(it_is_ready_all_the_same_after_a_while)
{
	struct world w = start_with("warm_timeout: 300ms\n", "case $1 in a) sleep 2;; esac;");
	wait_logged(&w, "event=ready");
	ck_assert_uint_gt(at_in_log(&w, "event=warming_goes_on"), 0);
	ck_assert_uint_eq(at_in_log(&w, "event=warmed"), 0);
	expect(w.c, "PONG", "PING");
	wait_logged(&w, "event=warmed keys=5 failed=0");
	harness_free(w.h);
}
END_TEST

/* What the service manager has been told since the last call, in memory that lives until the next. */
static const char *told(int manager)
{
	static char all[4096];
	size_t len = 0;
	ssize_t n;
	while (len < sizeof(all) - 1 && (n = recv(manager, all + len, sizeof(all) - 1 - len, MSG_DONTWAIT)) > 0)
		len += (size_t)n;
	all[len] = '\0';
	return all;
}

/* A server is there, takes the connection, and says nothing. */
START_TEST(a_database_that_hangs_delays_ready_by_the_timeout_only)
{
	struct world w = {.h = harness_new()};
	setenv("NOTIFY_SOCKET", harness_path(w.h, "notify"), 1);
	int manager = raw_bind(harness_path(w.h, "notify"), SOCK_DGRAM, 0), database = raw_bind(harness_path(w.h, ".s.PGSQL.5432"), SOCK_STREAM, 16);
	harness_start(w.h, LISTEN NO_REDIS "database: {url: 'postgresql:///x?host=${DIR}', timeout: 1m}\nwarm_timeout: 500ms\n"
		"types:\n  rows: {key: 'r:{name}', ttl: 100s, warm: [a, b], fetch: {sql: 'SELECT :name', timeout: 1m}}\n");
	w.c = harness_connect(w.h);
	wait_until(strstr(told(manager), "READY=1"), 10000);
	wait_logged(&w, "event=ready");
	size_t late = at_in_log(&w, "event=warming_goes_on done=0 of=2");
	ck_assert_msg(late && late < at_in_log(&w, "event=ready"), "%zu", late);
	ck_assert_int_eq(ask_stat(w.c, "", "warm.total"), 2);
	close(database);
	close(manager);
	harness_free(w.h);
}
END_TEST

START_TEST(clients_are_served_while_it_warms)
{
	struct world w = start_with("warm_timeout: 1m\n", "case $1 in a) sleep 1;; esac;");
	expect(w.c, "\"built c\"", "GET l:c");
	expect(w.c, "OK", "SET b:x 1");
	ck_assert_uint_eq(at_in_log(&w, "event=ready"), 0);
	wait_logged(&w, "event=ready");
	harness_free(w.h);
}
END_TEST

START_TEST(keys_that_cannot_be_had_are_counted_and_do_not_stop_it)
{
	struct world w = start_with("", "case $1 in a|c) exit 3;; esac;");
	wait_logged(&w, "event=ready");
	wait_logged(&w, "event=warmed keys=3 failed=2");
	ck_assert_int_eq(ask_stat(w.c, "", "warm.failed"), 2);
	harness_free(w.h);
}
END_TEST

START_TEST(warm_loads_the_lists_of_types)
{
	struct world w = start_with("", "");
	wait_logged(&w, "event=ready");
	expect(w.c, "3", "DEL l:a l:b l:c");
	expect(w.c, "3", "WARM listed");
	expect(w.c, "\"built b\"", "PEEK l:b");
	expect(w.c, "4", "WARM listed single");
	expect(w.c, "5", "WARM");
	expect_error(w.c, "ERR", "no such type", "WARM nope");
	expect_error(w.c, "ERR", "no warm list", "WARM listed bare");
	ck_assert_int_eq(ask_stat(w.c, "", "warm.total"), 0);
	harness_free(w.h);
}
END_TEST

START_TEST(fetches_go_on_some_at_a_time)
{
	struct world w = {.h = harness_new()};
	struct buf yaml = BUF_INIT;
	buf_add_str(&yaml, LISTEN NO_REDIS NO_DATABASE "types:\n  many: {key: 'k:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook', '{name}']}, warm: [");
	for (int i = 0; i < 60; i++)
		buf_addf(&yaml, "%s'%d'", i ? ", " : "", i);
	buf_add(&yaml, "]}\n", 4);
	harness_hook(w.h, "hook", "mkdir \"$DIR/on\" 2>/dev/null; touch \"$DIR/on/$1\"; ls \"$DIR/on\" | wc -l >> \"$DIR/counts\"; sleep 0.05; rm \"$DIR/on/$1\"; printf x");
	harness_start(w.h, yaml.data);
	wait_logged(&w, "event=warmed keys=60 failed=0");
	FILE *f = fopen(harness_path(w.h, "counts"), "r");
	ck_assert_ptr_nonnull(f);
	for (int n; fscanf(f, "%d", &n) == 1; )
		ck_assert_int_le(n, 16);
	fclose(f);
	buf_free(&yaml);
	harness_free(w.h);
}
END_TEST

START_TEST(a_stop_does_not_wait_for_the_lists)
{
	struct world w = start_with("warm_timeout: 1m\n", "sleep 2;");
	expect(w.c, "PONG", "PING");
	harness_stop(w.h);
	ck_assert_uint_eq(at_in_log(&w, "event=ready"), 0);
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		lists_are_loaded_before_it_is_ready_from_redis_first,
		it_is_ready_all_the_same_after_a_while,
		a_database_that_hangs_delays_ready_by_the_timeout_only,
		clients_are_served_while_it_warms,
		keys_that_cannot_be_had_are_counted_and_do_not_stop_it,
		warm_loads_the_lists_of_types,
		fetches_go_on_some_at_a_time,
		a_stop_does_not_wait_for_the_lists,
	};
	return harness_main("warm", tests, sizeof(tests) / sizeof(tests[0]));
}
