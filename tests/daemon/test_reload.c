/* SIGHUP: another configuration takes effect, a bad one changes nothing, and nobody notices either. */
#include "harness.h"
#include "talk.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLAIN "  plain: {key: 'p:{name}', ttl: 100s}\n"
#define LOCAL "  local: {key: 'm:{name}', ttl: 100s, tiers: [memory]}\n"
#define HOOKED "  hooked: {key: 'h:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook', '{name}']}}\n"
#define SLOW_CHECKED "  slow: {key: 's:{name}', ttl: 100s, format: json, refuse_empty: true, fetch: {exec: ['${DIR}/slow', '{name}']}}\n"
#define SLOW "  slow: {key: 's:{name}', ttl: 100s, fetch: {exec: ['${DIR}/slow', '{name}']}}\n"

static const char config[] = LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN LOCAL HOOKED;

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	w.redis = harness_connect_redis(w.h);
	return w;
}

static void expect_logged(struct world *w, const char *part)
{
	char *log = harness_log(w->h);
	ck_assert_msg(strstr(log, part), "no \"%s\" in:\n%s", part, log);
	free(log);
}

static unsigned count_logged(struct world *w, const char *part)
{
	char *log = harness_log(w->h);
	unsigned n = 0;
	for (const char *at = log; (at = strstr(at, part)); at++)
		n++;
	free(log);
	return n;
}

static void fill(struct world *w)
{
	expect(w->c, "OK", "SET p:a 1");
	expect(w->c, "OK", "SET m:a 2");
	expect(w->c, "\"built a\"", "GET h:a");
	expect(w->c, "OK", "SET m:x:a 3");
}

START_TEST(a_bad_file_is_told_and_changes_nothing)
{
	struct world w = start();
	fill(&w);
	harness_reload(w.h, LISTEN PATIENT_REDIS NO_DATABASE "nonsense: 1\ntypes:\n  plain: {key: 'p:{name}', ttl: x}\n");
	expect_logged(&w, "nonsense");
	expect_logged(&w, ":4:");
	expect_logged(&w, ":6:");
	expect(w.c, "\"1\"", "GET p:a");
	expect(w.c, "\"2\"", "GET m:a");
	ck_assert_int_gt(ask_integer(w.c, "TTL p:a"), 90);
	harness_reload(w.h, config);
	expect_logged(&w, "types=3 added=0 removed=0 changed=0");
	expect(w.c, "\"1\"", "GET p:a");
	expect_in(w.c, "\ncatcached_config_reloads_total{result=\"success\"} 1\n", "METRICS");
	expect_in(w.c, "\ncatcached_config_reloads_total{result=\"refused\"} 1\n", "METRICS");
	harness_free(w.h);
}
END_TEST

START_TEST(types_that_are_the_same_keep_what_they_have)
{
	struct world w = start();
	fill(&w);
	harness_reload(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types:\n"
		"  new: {key: 'n:{name}', ttl: 1s, tiers: [memory]}\n" HOOKED LOCAL
		"  plain: {key: 'p:{name}', ttl: 7s, max_value: 8}\n");
	expect_logged(&w, "types=4 added=1 removed=0 changed=1");
	ck_assert_str_eq(ask_meta(w.c, "m:a", "tier"), "memory");
	expect(w.c, "\"2\"", "GET m:a");
	expect(w.c, "\"1\"", "GET p:a");
	expect(w.c, "\"built a\"", "GET h:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	ck_assert_int_eq(ask_stat(w.c, "local", "sets"), 2);
	expect(w.c, "OK", "SET p:b 1");
	ck_assert_int_le(ask_integer(w.c, "TTL p:b"), 7);
	expect_error(w.c, "ERR", "max_value", "SET p:b 123456789");
	expect(w.c, "OK", "SET n:a 1");
	ck_assert_str_eq(ask_meta(w.c, "n:a", "type"), "new");
	harness_free(w.h);
}
END_TEST

START_TEST(what_was_a_types_that_is_gone_or_another_is_dropped)
{
	struct world w = start();
	fill(&w);
	harness_reload(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types:\n" LOCAL
		"  narrow: {key: 'm:x:{name}', ttl: 100s, tiers: [memory]}\n"
		"  plain: {key: 'p:{name}', ttl: 100s, tiers: [memory]}\n");
	expect(w.c, "\"2\"", "GET m:a");
	expect(w.c, "nil", "GET m:x:a");                /* it would be of another type */
	expect(w.c, "nil", "GET p:a");                  /* in other tiers */
	expect(w.c, "\"built a\"", "GET h:a");          /* Redis's own now */
	ck_assert_str_eq(ask_meta(w.c, "h:a", "type"), "undeclared");
	expect(w.c, "OK", "SET m:x:a 4");
	harness_reload(w.h, config);
	expect(w.c, "nil", "GET m:x:a");
	expect(w.c, "\"1\"", "GET p:a");                /* Redis has it still */
	expect(w.c, "\"2\"", "GET m:a");
	harness_free(w.h);
}
END_TEST

START_TEST(changes_are_heard_of_for_types_old_and_new)
{
	struct world w = start();
	fill(&w);
	harness_reload(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN "  new: {key: 'n:{name}', ttl: 100s}\n");
	for (int i = 0; i < 20; i++) {
		char text[16];
		snprintf(text, sizeof(text), "\"%d\"", i);
		for (int k = 0; k < 2; k++) {
			const char *key = k ? "p:a" : "n:a";
			expect(w.c, "OK", "SET %s old", key);
			expect(w.c, "\"old\"", "GET %s", key);
			expect(w.redis, "OK", "SET %s %d", key, i);
			expect_soon(w.c, text, "GET %s", key);
		}
	}
	harness_free(w.h);
}
END_TEST

START_TEST(a_fetch_under_way_reaches_who_waits)
{
	struct world w = start();
	harness_hook(w.h, "hook", "sleep 1; printf 'slow %s' \"$1\"");
	int fds[2];
	for (int i = 0; i < 2; i++) {
		fds[i] = raw_connect(w.h);
		raw_send(fds[i], i ? "GET h:b\r\n" : "GET h:a\r\n");
		raw_sent(fds[i]);
	}
	harness_reload(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN LOCAL
		"  hooked: {key: 'h:{name}', ttl: 50s, fetch: {exec: ['${DIR}/hook', '{name}']}}\n");
	raw_expect(fds[0], "$6\r\nslow a\r\n");
	raw_expect(fds[1], "$6\r\nslow b\r\n");
	for (int i = 0; i < 2; i++)
		close(fds[i]);
	expect(w.c, "\"slow a\"", "GET h:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 2);
	harness_free(w.h);
}
END_TEST

/* Without its type there is no fetch any more. Who asked before has what it brings; it is stored nowhere. */
static void change_under_way(const char *other, const char *text, const char *answer)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "slow", text);
	harness_start(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN SLOW_CHECKED);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	int early = raw_connect(w.h), late = raw_connect(w.h);
	raw_send(early, "GET s:a\r\n");
	wait_until(harness_hook_runs(w.h, "slow") == 1, 5000);
	harness_reload(w.h, other);
	raw_send(late, "GET s:a\r\n");
	raw_sent(late);
	harness_write(w.h, "go", "");
	raw_expect(early, answer);
	raw_expect(late, "$-1\r\n");
	expect(w.c, "nil", "GET s:a");
	expect(w.c, "0", "EXISTS s:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "slow"), 1);
	close(early);
	close(late);
	harness_free(w.h);
}

#define BUILD_SLOWLY(text) "while [ ! -e \"$DIR/go\" ]; do sleep 0.02; done; printf '" text "'"

START_TEST(a_fetch_whose_type_goes_reaches_who_waits)
{
	change_under_way(LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN, BUILD_SLOWLY("[1]"), "$3\r\n[1]\r\n");
}
END_TEST

START_TEST(a_fetch_whose_key_becomes_another_types_reaches_who_waits)
{
	change_under_way(LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN "  other: {key: 's:{name}', ttl: 9s, tiers: [memory]}\n",
		BUILD_SLOWLY("[1]"), "$3\r\n[1]\r\n");
}
END_TEST

START_TEST(a_fetch_whose_type_goes_is_still_judged_by_it)
{
	change_under_way(LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN, BUILD_SLOWLY("[]"), "-UNAVAILABLE fetch: refused: the result is empty\r\n");
}
END_TEST

START_TEST(memory_shrinks_to_a_new_limit)
{
	struct world w = start();
	char value[10001];
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < 500; i++)
		expect(w.c, "OK", "SET m:%d %s", i, value);
	harness_reload(w.h, LISTEN PATIENT_REDIS NO_DATABASE "memory: {limit: 1M}\ntypes:\n" PLAIN LOCAL);
	wait_until(ask_stat(w.c, "", "memory.bytes") <= 1 << 20, 5000);
	ck_assert_int_gt(ask_stat(w.c, "", "memory.entries"), 20);
	harness_reload(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN "  local: {key: 'm:{name}', ttl: 100s, tiers: [memory], max_entries: 3}\n");
	wait_until(ask_stat(w.c, "", "memory.entries") <= 3, 5000);
	harness_free(w.h);
}
END_TEST

START_TEST(redis_can_be_left_and_come_back)
{
	struct world w = start();
	fill(&w);
	harness_reload(w.h, LISTEN NO_REDIS NO_DATABASE "types:\n" PLAIN LOCAL);
	expect(w.c, "\"1\"", "GET p:a");
	expect(w.c, "OK", "SET p:a here");
	expect(w.redis, "\"1\"", "GET p:a");
	expect_error(w.c, "UNAVAILABLE redis", "", "INCR n");
	harness_reload(w.h, config);
	expect(w.c, "1", "INCR n");
	expect(w.c, "OK", "SET p:a again");
	expect(w.redis, "\"again\"", "GET p:a");
	harness_free(w.h);
}
END_TEST

#define OTHER_REDIS "redis: {url: 'unix://${DIR}/redis.sock?db=1', timeout: 10s}\n"

/* What memory has from the one before is compared with it. */
START_TEST(another_redis_takes_its_place)
{
	struct world w = start();
	fill(&w);
	expect(w.redis, "OK", "SELECT 1");
	expect(w.redis, "OK", "SET p:a other");
	harness_reload(w.h, LISTEN OTHER_REDIS NO_DATABASE "types:\n" PLAIN LOCAL HOOKED);
	expect(w.c, "\"other\"", "GET p:a");
	expect(w.c, "\"2\"", "GET m:a");
	expect(w.c, "OK", "SET p:b 4");
	expect(w.redis, "\"4\"", "GET p:b");
	for (int i = 0; i < 20; i++) {                  /* it is heard of it */
		char text[16];
		snprintf(text, sizeof(text), "\"%d\"", i);
		expect(w.redis, "OK", "SET p:a %d", i);
		expect_soon(w.c, text, "GET p:a");
	}
	expect(w.redis, "OK", "SELECT 0");
	expect(w.redis, "\"1\"", "GET p:a");
	expect(w.redis, "nil", "GET p:b");
	harness_free(w.h);
}
END_TEST

START_TEST(another_database_is_asked)
{
	static const char type[] = "  sql: {key: 'q:{name}', ttl: 100s, fetch: {sql: 'SELECT v FROM t WHERE k = :name', shape: value}}\n";
	char yaml[1024];
	struct world w = {.h = harness_new()};
	harness_sql(w.h, "CREATE TABLE t(k, v); INSERT INTO t VALUES('a', 'first'), ('b', 'first')");
	snprintf(yaml, sizeof(yaml), LISTEN NO_REDIS SQLITE "types:\n%s", type);
	harness_start(w.h, yaml);
	w.c = harness_connect(w.h);
	expect(w.c, "\"first\"", "GET q:a");
	ck_assert_int_eq(rename(harness_path(w.h, "catalog.db"), harness_path(w.h, "old.db")), 0);
	harness_sql(w.h, "CREATE TABLE t(k, v); INSERT INTO t VALUES('a', 'second'), ('b', 'second')");
	ck_assert_int_eq(rename(harness_path(w.h, "catalog.db"), harness_path(w.h, "other.db")), 0);
	snprintf(yaml, sizeof(yaml), LISTEN NO_REDIS "database: {url: 'sqlite://${DIR}/other.db'}\ntypes:\n%s", type);
	harness_reload(w.h, yaml);
	expect(w.c, "\"first\"", "GET q:a");          /* it is fresh still */
	expect(w.c, "\"second\"", "GET q:b");
	harness_free(w.h);
}
END_TEST

START_TEST(guard_and_format_of_the_log_change)
{
	struct world w = start();
	char yaml[1024];
	snprintf(yaml, sizeof(yaml), LISTEN "log: {format: json}\nguard: g\n" PATIENT_REDIS NO_DATABASE "types:\n%s", PLAIN HOOKED);
	harness_reload(w.h, yaml);
	expect(w.c, "\"built a\"", "GET h:a");
	expect(w.redis, "OK", "SET g 1");
	expect_soon(w.c, "1", "EXISTS g");
	expect_in_soon(w.c, "guard: set", "EXPLAIN h:b");
	expect_logged(&w, "{\"level\":\"info\",\"event\":\"reloaded\"");
	harness_free(w.h);
}
END_TEST

/* What Redis was asked for then is not enough now: how long it lives matters to memory. */
START_TEST(a_read_whose_type_comes_to_memory_is_done_anew)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_start(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types: {moved: {key: 't:{name}', ttl: 100s, tiers: [redis]}}\n");
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	w.redis = harness_connect_redis(w.h);
	expect(w.redis, "OK", "SET t:a x EX 50");
	expect(w.redis, "OK", "CLIENT PAUSE 1000 ALL");
	int fd = raw_connect(w.h);
	raw_send(fd, "GET t:a\r\n");
	raw_sent(fd);
	harness_reload(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types: {moved: {key: 't:{name}', ttl: 100s}}\n");
	raw_expect(fd, "$1\r\nx\r\n");
	close(fd);
	int64_t ttl_ms = atoll(ask_meta(w.c, "t:a", "ttl_ms"));
	ck_assert_msg(ttl_ms > 30000 && ttl_ms <= 50000, "ttl_ms %lld", (long long)ttl_ms);
	harness_free(w.h);
}
END_TEST

/* It answers when it is no tier any more: each command has asked it one thing, and has more to ask. */
START_TEST(a_redis_that_owes_answers_can_be_left)
{
	static const char *const commands[] = {"EXPLAIN p:a\r\n", "INVALIDATE plain\r\n", "GET h:b\r\n", "GET s:c\r\n", "SET p:b 1 NX\r\n",
		"GETDEL p:c\r\n", "MULTI\r\nINCR n\r\nSET p:d 1\r\nEXEC\r\n"};
	enum { N = sizeof(commands) / sizeof(commands[0]) };
	struct world w = {.h = harness_new()};
	int fds[N];
	char first;
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_hook(w.h, "slow", "while [ ! -e \"$DIR/go\" ]; do sleep 0.02; done; printf 'slow %s' \"$1\"");
	harness_start(w.h, LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN HOOKED SLOW);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	fds[3] = raw_connect(w.h);
	raw_send(fds[3], commands[3]);          /* it has its lease, and is to fill while Redis pauses */
	wait_until(harness_hook_runs(w.h, "slow") == 1, 5000);
	harness_redis_pause(w.h);
	harness_write(w.h, "go", "");
	for (int i = 0; i < N; i++) {
		if (i == 3)
			continue;
		fds[i] = raw_connect(w.h);
		raw_send(fds[i], commands[i]);
		raw_sent(fds[i]);
	}
	wait_until(ask_stat(w.c, "slow", "fetched") == 1, 5000);
	harness_reload(w.h, LISTEN NO_REDIS NO_DATABASE "types:\n" PLAIN HOOKED SLOW);
	harness_redis_resume(w.h);
	for (int i = 0; i < N; i++) {
		raw_read(fds[i], &first, 1);
		close(fds[i]);
	}
	expect(w.c, "\"slow c\"", "GET s:c");
	expect(w.c, "\"built b\"", "GET h:b");
	harness_free(w.h);
}
END_TEST

/* As long as the file has it, each time. */
START_TEST(what_cannot_change_is_told_and_kept)
{
	static const char *const keys[] = {"<4>level=warning event=reload_keeps key=listen.path ", "key=listen.mode ", "key=listen.group ", "key=admin.listen "};
	struct world w = start();
	for (unsigned i = 1; i <= 2; i++) {
		harness_reload(w.h, "listen: {path: '${DIR}/other', mode: '0600', group: '1'}\nadmin: {listen: '127.0.0.1:0'}\n"
			PATIENT_REDIS NO_DATABASE "types:\n" PLAIN);
		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			ck_assert_uint_eq(count_logged(&w, keys[k]), i);
	}
	expect_logged(&w, "remedy=\"restart the daemon: it counts from then on\"");
	redisContext *c = harness_connect(w.h);
	expect(c, "PONG", "PING");
	harness_free(w.h);
}
END_TEST

START_TEST(log_level_and_limits_of_clients_change)
{
	struct world w = start();
	harness_reload(w.h, "listen: {path: '${DIR}/s', max_clients: 1, max_request: 1K}\nlog: {level: debug}\n" PATIENT_REDIS NO_DATABASE "types:\n" PLAIN);
	int fd = raw_connect(w.h);
	raw_expect(fd, "-ERR max number of clients reached\r\n");
	close(fd);
	harness_signal(w.h, SIGHUP);
	char value[2049];
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	redisReply *reply = redisCommand(w.c, "SET p:a %s", value);
	ck_assert(reply && reply->type == REDIS_REPLY_ERROR);
	freeReplyObject(reply);
	harness_free(w.h);
}
END_TEST

/* ---- under load ---- */

struct load {
	const char *socket;
	atomic_bool stop;
	unsigned n, failed;
	char first[128];
};

static void note(struct load *l, const redisReply *reply, const char *wanted)
{
	char *text = reply ? render(reply) : strdup("no reply");
	l->n++;
	if (strcmp(text, wanted) != 0 && !l->failed++)
		snprintf(l->first, sizeof(l->first), "%s instead of %s", text, wanted);
	free(text);
}

static void *drive(void *arg)
{
	struct load *l = arg;
	redisContext *c = redisConnectUnix(l->socket);
	char wanted[32];
	for (int i = 0; !l->stop; i++) {
		redisReply *replies[4];
		replies[0] = redisCommand(c, "SET p:%d %d", i % 50, i);
		replies[1] = redisCommand(c, "GET p:%d", i % 50);
		replies[2] = redisCommand(c, "INCR n");
		replies[3] = redisCommand(c, "GET m:kept");
		snprintf(wanted, sizeof(wanted), "\"%d\"", i);
		note(l, replies[0], "OK");
		note(l, replies[1], wanted);
		snprintf(wanted, sizeof(wanted), "%d", i + 1);
		note(l, replies[2], wanted);
		note(l, replies[3], "\"for ever\"");
		for (int k = 0; k < 4; k++)
			freeReplyObject(replies[k]);
	}
	redisFree(c);
	return NULL;
}

START_TEST(reloads_under_load_fail_no_request)
{
	static const char *const configs[] = {
		LISTEN PATIENT_REDIS NO_DATABASE "types:\n" PLAIN LOCAL "  one: {key: 'o:{name}', ttl: 1s}\n",
		LISTEN PATIENT_REDIS NO_DATABASE "bad: 1\n",
		LISTEN PATIENT_REDIS NO_DATABASE "types:\n" LOCAL "  two: {key: 't:{name}', ttl: 1s}\n  plain: {key: 'p:{name}', ttl: 90s}\n",
		LISTEN "redis: {url: 'unix://${DIR}/redis.sock', timeout: 9s}\n" NO_DATABASE "types:\n" PLAIN LOCAL,
	};
	struct world w = start();
	struct load l = {.socket = harness_path(w.h, "s")};
	pthread_t thread;
	expect(w.c, "OK", "SET m:kept %s", "for ever");
	pthread_create(&thread, NULL, drive, &l);
	for (int i = 0; i < 12; i++) {
		harness_reload(w.h, configs[i % 4]);
		harness_signal(w.h, SIGHUP);
		harness_signal(w.h, SIGHUP);
	}
	l.stop = true;
	pthread_join(thread, NULL);
	ck_assert_uint_gt(l.n, 100);
	ck_assert_msg(l.failed == 0, "%u of %u: %s", l.failed, l.n, l.first);
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_bad_file_is_told_and_changes_nothing,
		types_that_are_the_same_keep_what_they_have,
		what_was_a_types_that_is_gone_or_another_is_dropped,
		changes_are_heard_of_for_types_old_and_new,
		a_fetch_under_way_reaches_who_waits,
		a_fetch_whose_type_goes_reaches_who_waits,
		a_fetch_whose_key_becomes_another_types_reaches_who_waits,
		a_fetch_whose_type_goes_is_still_judged_by_it,
		memory_shrinks_to_a_new_limit,
		redis_can_be_left_and_come_back,
		another_redis_takes_its_place,
		another_database_is_asked,
		guard_and_format_of_the_log_change,
		a_read_whose_type_comes_to_memory_is_done_anew,
		a_redis_that_owes_answers_can_be_left,
		what_cannot_change_is_told_and_kept,
		log_level_and_limits_of_clients_change,
		reloads_under_load_fail_no_request,
	};
	return harness_main("reload", tests, sizeof(tests) / sizeof(tests[0]));
}
