/* What the daemon writes to its log, and that no key or value is in it. */
#include "harness.h"
#include "talk.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char types[] =
	NO_DATABASE
	"types:\n"
	"  hooked: {key: 'h:{name}', ttl: 100s, format: json, fetch: {exec: ['${DIR}/hook', '{name}']}}\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n";

struct world {
	struct harness *h;
	redisContext *c;
};

static struct world start(const char *log_section)
{
	char yaml[2048];
	struct world w = {.h = harness_new()};
	snprintf(yaml, sizeof(yaml), "%s%s%s", LISTEN REDIS, log_section, types);
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "case $1 in secret-bad) exit 3;; esac; printf '[1,2,\"secret-value\"]'");
	harness_start(w.h, yaml);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	return w;
}

static void expect_logged(struct world *w, const char *part)
{
	char *log = NULL;
	wait_until((free(log), log = harness_log(w->h), strstr(log, part)), 5000);
	free(log);
}

static void do_all(struct world *w)
{
	expect(w->c, "\"[1,2,\"secret-value\"]\"", "GET h:secret-name");
	expect(w->c, "\"[1,2,\"secret-value\"]\"", "GET h:secret-name");
	expect(w->c, "1", "DEL h:secret-name");
	expect(w->c, "0", "INVALIDATE plain");
	for (int i = 0; i < 4; i++)
		expect_error(w->c, "UNAVAILABLE", "", "GET h:secret-bad");
	harness_redis_kill(w->h);
	wait_until(strcmp(ask_health(w->c, "redis.state"), "up") != 0, 5000);
	harness_redis_start(w->h, "");
	wait_until(strcmp(ask_health(w->c, "redis.state"), "up") == 0, 5000);
	harness_redis_ready(w->c);
}

START_TEST(changes_of_state_fetches_and_invalidations_are_told_without_keys)
{
	struct world w = start("");
	do_all(&w);
	expect_logged(&w, "<6>level=info event=fetched type=hooked bytes=");
	expect_logged(&w, "<6>level=info event=deleted type=hooked key=");
	expect_logged(&w, "<6>level=info event=invalidated type=plain by=");
	expect_logged(&w, "<4>level=warning event=fetch_failed type=hooked took_ms=");
	expect_logged(&w, "<4>level=warning event=redis_down link=catcached after_ms=");
	expect_logged(&w, "<4>level=warning event=redis_up link=catcached after_ms=");
	expect_logged(&w, "<4>level=warning event=coherence from=tracking to=");
	expect_logged(&w, " to=tracking after_ms=");
	char *log = harness_log(w.h);
	ck_assert_msg(!strstr(log, "secret") && !strstr(log, "level=debug"), "%s", log);
	free(log);
	harness_free(w.h);
}
END_TEST

START_TEST(hits_and_misses_are_told_at_debug)
{
	struct world w = start("log: {level: debug}\n");
	expect(w.c, "\"[1,2,\"secret-value\"]\"", "GET h:secret-name");
	expect(w.c, "\"[1,2,\"secret-value\"]\"", "GET h:secret-name");
	expect_logged(&w, "<7>level=debug event=miss type=hooked key=");
	expect_logged(&w, " tier=fetch found=true bytes=20 items=");
	expect_logged(&w, "<7>level=debug event=hit type=hooked key=");
	expect_logged(&w, " tier=memory found=true bytes=20 items=");
	expect(w.c, "nil", "GET p:none");
	expect_logged(&w, "<7>level=debug event=miss type=plain key=");
	expect_logged(&w, " tier=none found=false bytes=0 items=unknown took_ms=");
	expect_error(w.c, "UNAVAILABLE", "", "GET h:secret-bad");
	expect_logged(&w, " tier=error found=false bytes=0 items=unknown took_ms=");
	harness_tracking(w.c);
	redisContext *redis = harness_connect_redis(w.h);
	expect(redis, "OK", "SET p:secret-name secret-value");
	expect(w.c, "\"secret-value\"", "GET p:secret-name");
	expect_logged(&w, " tier=redis found=true bytes=12 items=unknown took_ms=");
	expect(redis, "OK", "SET p:secret-name secret-value");
	expect_logged(&w, "<7>level=debug event=changed type=plain key=");
	expect_logged(&w, " held=true");
	char *log = harness_log(w.h);
	ck_assert_msg(!strstr(log, "secret-value"), "%s", log);
	free(log);
	harness_free(w.h);
}
END_TEST

/* after_ms of the last line of event, -1 if there is none. */
static long long state_lasted(struct world *w, const char *event)
{
	char *log = harness_log(w->h), *last = NULL, *after = NULL;
	for (char *at = log; (at = strstr(at, event)); at++)
		last = at;
	after = last ? strstr(last, "after_ms=") : NULL;
	long long ms = after ? atoll(after + strlen("after_ms=")) : -1;
	free(log);
	return ms;
}

START_TEST(database_that_fails_and_works_again_is_told_with_how_long)
{
	struct world w = {.h = harness_new()};
	int64_t began_ms = now_ms();
	harness_sql(w.h, "CREATE TABLE t(k, v); "
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999) INSERT INTO t SELECT i, 'secret-value' FROM n");
	harness_start(w.h, LISTEN NO_REDIS SQLITE "types:\n  sql: {key: 'q:{name}', ttl: 100s, fetch: {sql: 'SELECT v FROM t WHERE k = :name', shape: value}}\n");
	w.c = harness_connect(w.h);
	harness_sql(w.h, "ALTER TABLE t RENAME TO away");
	for (int i = 1; i <= 4; i++)
		expect_error(w.c, "UNAVAILABLE", "", "GET q:%d", i);
	expect_logged(&w, "<4>level=warning event=source_fails type=sql after_ms=");
	ck_assert_int_le(state_lasted(&w, "event=source_fails"), now_ms() - began_ms);
	began_ms = now_ms();
	harness_sql(w.h, "ALTER TABLE away RENAME TO t");
	for (int i = 5; i < 999 && state_lasted(&w, "event=source_works") < 0; i++) {
		freeReplyObject(ask(w.c, "GET q:%d", i));
		nap();
	}
	expect_logged(&w, "<4>level=warning event=source_works type=sql after_ms=");
	ck_assert_int_ge(state_lasted(&w, "event=source_works"), 500);       /* a breaker is open for a second */
	ck_assert_int_le(state_lasted(&w, "event=source_works"), now_ms() - began_ms + 1000);
	char *log = harness_log(w.h);
	ck_assert_msg(!strstr(log, "secret"), "%s", log);
	free(log);
	harness_free(w.h);
}
END_TEST

START_TEST(json_lines_are_json)
{
	struct world w = start("log: {level: debug, format: json}\n");
	do_all(&w);
	expect_logged(&w, "{\"level\":\"warning\",\"event\":\"redis_up\",\"link\":\"catcached\",\"after_ms\":");
	char *log = harness_log(w.h), *rest = log;
	unsigned n = 0;
	for (char *line; (line = strsep(&rest, "\n")) && *line; n++) {
		cJSON *json = cJSON_Parse(line);
		ck_assert_msg(json && cJSON_GetObjectItem(json, "event"), "%s", line);
		cJSON_Delete(json);
	}
	ck_assert_uint_gt(n, 10);
	free(log);
	harness_free(w.h);
}
END_TEST

START_TEST(an_event_that_comes_too_often_is_counted)
{
	struct world w = start("");
	for (int i = 0; i < 300; i++)
		expect(w.c, "0", "DEL p:%d", i);
	harness_signal(w.h, SIGTERM);
	expect_logged(&w, "event=log_left_out of=deleted lines=250");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		changes_of_state_fetches_and_invalidations_are_told_without_keys,
		hits_and_misses_are_told_at_debug,
		database_that_fails_and_works_again_is_told_with_how_long,
		json_lines_are_json,
		an_event_that_comes_too_often_is_counted,
	};
	return harness_main("log", tests, sizeof(tests) / sizeof(tests[0]));
}
