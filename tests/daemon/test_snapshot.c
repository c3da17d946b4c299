/* memory.snapshot: what memory held, and what Redis was still to be told, after a restart. */
#include "harness.h"
#include "talk.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define SNAPSHOT "memory: {snapshot: '${DIR}/kept'}\n"
#define TYPES \
	"types:\n" \
	"  plain: {key: 'p:{name}', ttl: 100s}\n" \
	"  brief: {key: 'b:{name}', ttl: 1s}\n" \
	"  local: {key: 'm:{name}', ttl: none, tiers: [memory]}\n" \
	"  hooked: {key: 'h:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook', '{name}']}}\n"

static const char alone[] = LISTEN NO_REDIS NO_DATABASE SNAPSHOT TYPES, with_redis[] = LISTEN PATIENT_REDIS NO_DATABASE SNAPSHOT TYPES,
	with_hasty_redis[] = LISTEN REDIS NO_DATABASE SNAPSHOT TYPES;

struct world {
	struct harness *h;
	redisContext *c;
};

static void restart(struct world *w)
{
	harness_restart(w->h);
	w->c = harness_connect(w->h);
}

static struct world start_alone(void)
{
	struct world w = {.h = harness_new()};
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_start(w.h, alone);
	w.c = harness_connect(w.h);
	return w;
}

static void expect_logged(struct world *w, const char *part)
{
	char *log = harness_log(w->h);
	ck_assert_msg(strstr(log, part), "no \"%s\" in:\n%s", part, log);
	free(log);
}

START_TEST(values_survive_a_restart_without_redis)
{
	struct world w = start_alone();
	char *large = malloc(2000001);
	memset(large, 'x', 2000000);
	large[2000000] = '\0';
	expect(w.c, "OK", "SET p:a 1");
	expect(w.c, "OK", "SET m:a 2");
	expect(w.c, "OK", "SET m:large %s", large);
	expect(w.c, "\"built a\"", "GET h:a");
	expect(w.c, "OK", "SET p:brief x PX 1");
	restart(&w);
	expect(w.c, "\"1\"", "GET p:a");
	long long ttl = ask_integer(w.c, "TTL p:a");
	ck_assert_msg(ttl > 50 && ttl <= 100, "%lld", ttl);
	expect(w.c, "\"2\"", "GET m:a");
	expect(w.c, "-1", "TTL m:a");
	expect(w.c, "2000000", "STRLEN m:large");
	expect(w.c, "\"built a\"", "GET h:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	ck_assert_str_eq(ask_meta(w.c, "h:a", "source"), "fetch");
	expect(w.c, "nil", "GET p:brief");
	expect_logged(&w, "event=snapshot_saved values=");
	expect_logged(&w, "event=snapshot_loaded values=4 ");
	free(large);
	harness_free(w.h);
}
END_TEST

START_TEST(what_ends_meanwhile_does_not_come_back)
{
	struct world w = start_alone();
	expect(w.c, "OK", "SET b:a x");
	expect(w.c, "OK", "SET p:a x");
	harness_stop(w.h);
	sleep(2);
	harness_restart_sidecar(w.h, 0);
	w.c = harness_connect(w.h);
	expect(w.c, "nil", "GET b:a");
	expect(w.c, "\"x\"", "GET p:a");
	harness_free(w.h);
}
END_TEST

/* It would bring back older values than those that were served since. */
START_TEST(a_snapshot_is_used_once)
{
	struct world w = start_alone();
	expect(w.c, "OK", "SET m:a 1");
	restart(&w);
	ck_assert_int_ne(access(harness_path(w.h, "kept"), F_OK), 0);
	expect(w.c, "OK", "SET m:a 2");
	harness_kill_sidecar(w.h, 0);
	harness_restart_sidecar(w.h, 0);
	w.c = harness_connect(w.h);
	expect(w.c, "nil", "GET m:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_damaged_one_is_told_and_ignored)
{
	struct world w = start_alone();
	expect(w.c, "OK", "SET m:a 1");
	harness_stop(w.h);
	FILE *f = fopen(harness_path(w.h, "kept"), "r+");
	ck_assert_ptr_nonnull(f);
	fseek(f, -1, SEEK_END);
	fputc('!', f);
	fclose(f);
	harness_restart_sidecar(w.h, 0);
	w.c = harness_connect(w.h);
	expect(w.c, "nil", "GET m:a");
	expect_logged(&w, "<4>level=warning event=snapshot_ignored");
	expect_logged(&w, "its checksum is wrong");
	expect(w.c, "OK", "SET m:a 2");
	restart(&w);
	expect(w.c, "\"2\"", "GET m:a");
	harness_free(w.h);
}
END_TEST

START_TEST(values_of_a_type_that_has_changed_stay_away)
{
	struct world w = start_alone();
	expect(w.c, "OK", "SET p:a raw");
	expect(w.c, "OK", "SET m:a 1");
	harness_stop(w.h);
	harness_start(w.h, LISTEN NO_REDIS NO_DATABASE SNAPSHOT "types:\n  plain: {key: 'p:{name}', ttl: 100s, format: json}\n"
		"  local: {key: 'm:{name}', ttl: none, tiers: [memory]}\n");
	w.c = harness_connect(w.h);
	expect(w.c, "nil", "GET p:a");
	expect(w.c, "\"1\"", "GET m:a");
	harness_free(w.h);
}
END_TEST

START_TEST(a_file_that_cannot_be_written_is_told_and_the_stop_is_a_good_one)
{
	struct world w = {.h = harness_new()};
	harness_start(w.h, LISTEN NO_REDIS NO_DATABASE "memory: {snapshot: '${DIR}/no/kept'}\n" TYPES);
	w.c = harness_connect(w.h);
	expect_logged(&w, "<4>level=warning event=snapshot_impossible");
	expect_logged(&w, "make its folder");
	expect(w.c, "OK", "SET m:a 1");
	harness_stop(w.h);
	expect_logged(&w, "<3>level=error event=snapshot_failed");
	harness_free(w.h);
}
END_TEST

/* At the start, and by the reload that asks for it: not when it is needed. */
START_TEST(a_file_that_could_not_be_written_is_told_by_the_reload_that_asks_for_it)
{
	struct world w = start_alone();
	harness_reload(w.h, LISTEN NO_REDIS NO_DATABASE SNAPSHOT TYPES);
	char *log = harness_log(w.h);
	ck_assert_ptr_null(strstr(log, "snapshot_impossible"));
	free(log);
	ck_assert_int_ne(access(harness_path(w.h, "kept.new"), F_OK), 0);
	harness_reload(w.h, LISTEN NO_REDIS NO_DATABASE "memory: {snapshot: '${DIR}/no/kept'}\n" TYPES);
	expect_logged(&w, "<4>level=warning event=snapshot_impossible");
	harness_free(w.h);
}
END_TEST

static void limit_files(rlim_t bytes)
{
	struct rlimit r;
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = bytes;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* A limit of the system's on the size of files stands for it. */
START_TEST(a_full_disk_is_told_and_the_stop_is_a_good_one)
{
	struct world w = {.h = harness_new()};
	harness_hook(w.h, "hook", "printf x");
	limit_files(1 << 20);
	harness_start(w.h, alone);
	limit_files(RLIM_INFINITY);
	w.c = harness_connect(w.h);
	char *large = xasprintf("%02000000d", 0);
	expect(w.c, "OK", "SET m:a %s", large);
	expect(w.c, "OK", "SET m:b %s", large);
	harness_stop(w.h);
	expect_logged(&w, "<3>level=error event=snapshot_failed");
	expect_logged(&w, "make room on its disk");
	ck_assert_int_ne(access(harness_path(w.h, "kept"), F_OK), 0);
	ck_assert_int_ne(access(harness_path(w.h, "kept.new"), F_OK), 0);
	free(large);
	harness_free(w.h);
}
END_TEST

/* ---- with Redis ---- */

/* Redis runs, and is known to the daemon. */
static struct world start_with_redis(const char *yaml, redisContext **redis)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	*redis = harness_connect_redis(w.h);
	harness_hook(w.h, "hook", "printf x");
	harness_start(w.h, yaml);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	return w;
}

START_TEST(what_changed_in_redis_meanwhile_is_not_served_old)
{
	redisContext *redis;
	struct world w = start_with_redis(with_redis, &redis);
	expect(w.c, "OK", "SET p:a old");
	expect(w.c, "OK", "SET p:b same");
	expect(w.c, "OK", "SET p:c old");
	harness_stop(w.h);
	expect(redis, "OK", "SET p:a new");
	expect(redis, "1", "DEL p:c");
	harness_restart_sidecar(w.h, 0);
	w.c = harness_connect(w.h);
	expect(w.c, "\"new\"", "GET p:a");
	expect(w.c, "\"same\"", "GET p:b");
	expect(w.c, "nil", "GET p:c");
	harness_free(w.h);
}
END_TEST

START_TEST(what_redis_was_still_to_be_told_it_is_told_after_the_restart)
{
	redisContext *redis;
	struct world w = start_with_redis(with_hasty_redis, &redis);
	expect(redis, "OK", "SET p:a old");
	expect(redis, "OK", "SET p:b old");
	expect(redis, "OK", "SET b:x old");
	expect(redis, "OK", "SET p:x:1 old");
	expect(redis, "OK", "SET p:y old");
	harness_redis_pause(w.h);
	expect(w.c, "OK", "SET p:a new");
	freeReplyObject(ask(w.c, "DEL p:b"));
	freeReplyObject(ask(w.c, "INVALIDATE brief"));
	freeReplyObject(ask(w.c, "INVALIDATE p:x*"));
	wait_until(strcmp(ask_health(w.c, "redis.state"), "up") != 0, 15000);
	harness_stop(w.h);
	harness_redis_resume(w.h);
	harness_restart_sidecar(w.h, 0);
	w.c = harness_connect(w.h);
	expect_soon(redis, "\"new\"", "GET p:a");
	expect_soon(redis, "nil", "GET p:b");
	expect_soon(redis, "nil", "GET b:x");
	expect_soon(redis, "nil", "GET p:x:1");
	expect(w.c, "\"new\"", "GET p:a");
	expect(redis, "\"old\"", "GET p:y");
	expect_logged(&w, "event=snapshot_loaded values=1 words=2 clears=2 left_out=0");
	harness_free(w.h);
}
END_TEST

START_TEST(without_a_snapshot_the_log_tells_what_redis_will_not_hear_of)
{
	redisContext *redis;
	struct world w = start_with_redis(LISTEN REDIS NO_DATABASE TYPES, &redis);
	harness_redis_pause(w.h);
	expect(w.c, "OK", "SET p:a new");
	freeReplyObject(ask(w.c, "DEL p:b"));
	freeReplyObject(ask(w.c, "INVALIDATE brief"));
	wait_until(strcmp(ask_health(w.c, "redis.state"), "up") != 0, 15000);
	harness_stop(w.h);
	harness_redis_resume(w.h);
	expect_logged(&w, "<4>level=warning event=replay_lost words=2 clears=1 ");
	harness_free(w.h);
}
END_TEST

START_TEST(a_redis_that_hangs_at_the_start_is_compared_with_later)
{
	redisContext *redis;
	struct world w = start_with_redis(with_hasty_redis, &redis);
	expect(w.c, "OK", "SET p:a old");
	expect(w.c, "OK", "SET p:b same");
	harness_stop(w.h);
	expect(redis, "OK", "SET p:a new");
	harness_redis_pause(w.h);
	harness_restart_sidecar(w.h, 0);
	w.c = harness_connect(w.h);
	expect(w.c, "\"old\"", "GET p:a");
	expect(w.c, "\"same\"", "GET p:b");
	harness_redis_resume(w.h);
	harness_tracking(w.c);
	expect(w.c, "\"new\"", "GET p:a");
	expect(w.c, "\"same\"", "GET p:b");
	harness_free(w.h);
}
END_TEST

START_TEST(what_redis_does_not_have_while_it_is_away_is_served)
{
	redisContext *redis;
	struct world w = start_with_redis(with_redis, &redis);
	expect(w.c, "OK", "SET p:a 1");
	harness_stop(w.h);
	harness_redis_kill(w.h);
	harness_restart_sidecar(w.h, 0);
	w.c = harness_connect(w.h);
	expect(w.c, "\"1\"", "GET p:a");
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		values_survive_a_restart_without_redis,
		what_ends_meanwhile_does_not_come_back,
		a_snapshot_is_used_once,
		a_damaged_one_is_told_and_ignored,
		values_of_a_type_that_has_changed_stay_away,
		a_file_that_cannot_be_written_is_told_and_the_stop_is_a_good_one,
		a_file_that_could_not_be_written_is_told_by_the_reload_that_asks_for_it,
		a_full_disk_is_told_and_the_stop_is_a_good_one,
		what_changed_in_redis_meanwhile_is_not_served_old,
		what_redis_was_still_to_be_told_it_is_told_after_the_restart,
		without_a_snapshot_the_log_tells_what_redis_will_not_hear_of,
		a_redis_that_hangs_at_the_start_is_compared_with_later,
		what_redis_does_not_have_while_it_is_away_is_served,
	};
	return harness_main("snapshot", tests, sizeof(tests) / sizeof(tests[0]));
}
