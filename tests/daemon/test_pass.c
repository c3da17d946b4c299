/* Commands that are Redis's own: where their keys are, and what becomes of keys of ours in them. */
#include "harness.h"
#include "talk.h"

#include <stdlib.h>
#include <string.h>

static const char config[] =
	LISTEN PATIENT_REDIS NO_DATABASE
	"types:\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n"
	"  hashed: {key: 'h:{name}', ttl: 100s, hash_names: true}\n"
	"  local: {key: 'm:{name}', ttl: 100s, tiers: [memory]}\n";

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	w.redis = harness_connect_redis(w.h);
	return w;
}

#define CONTEXT_B_1 "{\"b\": 1}"
#define HASH_B_1 "acd9387907fb416d"

/* ---- where keys are ---- */

static const char *const with_key[] = {
	"APPEND %s x", "MSETNX u:1 x %s x", "SDIFF u:1 %s", "OBJECT ENCODING %s", "XGROUP CREATE %s g $ MKSTREAM",
	"EVAL return 2 u:1 %s", "EVAL_RO return 1 %s", "EVALSHA x 1 %s", "FCALL f 1 %s",
	"LMPOP 2 u:1 %s LEFT", "ZMPOP 1 %s MIN", "SINTERCARD 2 u:1 %s", "ZUNION 2 u:1 %s", "ZUNIONSTORE u:1 1 %s", "ZUNIONSTORE %s 1 u:1",
	"SORT u:1 STORE %s", "SORT u:1 DESC store %s", "GEORADIUS u:1 1 1 1 m STORE %s", "GEORADIUS u:1 1 1 1 m COUNT 1 STOREDIST %s",
	"XREAD STREAMS %s 0", "XREAD COUNT 1 STREAMS u:1 %s 0 0", "XREADGROUP GROUP STREAMS x STREAMS %s 0",
	"MSETEX 2 u:1 x %s x", "HEXPIRE %s 1 FIELDS 1 f", "NO.SUCH %s",
};

static const char *const without_key[] = {
	"EVAL return 1 u:1 %s", "EVAL return x %s", "LMPOP 1 u:1 LEFT %s", "XADD u:1 * field %s", "XREAD STREAMS u:1 %s",
	"SADD u:1 %s", "PUBLISH u:1 %s", "SORT u:1 BY %s",
};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static void expect_each(redisContext *c, const char *const *list, size_t n, const char *key, const char *part, bool is_there)
{
	for (size_t i = 0; i < n; i++) {
		redisReply *r = ask(c, list[i], key);
		char *reply = render(r);
		ck_assert_msg(!strstr(reply, part) == !is_there, "%s: %s", list[i], reply);
		free(reply);
		freeReplyObject(r);
	}
}

START_TEST(keys_of_the_daemon_are_found_wherever_they_stand)
{
	struct world w = start();
	expect_each(w.c, with_key, LEN(with_key), "catcached:x", "the daemon's own", true);
	expect_each(w.c, without_key, LEN(without_key), "catcached:x", "the daemon's own", false);
	harness_free(w.h);
}
END_TEST

START_TEST(keys_that_memory_alone_keeps_are_found_wherever_they_stand)
{
	struct world w = start();
	expect_each(w.c, with_key, LEN(with_key), "m:x", "kept in memory only", true);
	expect_each(w.c, without_key, LEN(without_key), "m:x", "kept in memory only", false);
	harness_free(w.h);
}
END_TEST

START_TEST(names_are_hashed_wherever_they_stand)
{
	struct world w = start();
	expect(w.c, "3", "APPEND h:%s abc", CONTEXT_B_1);
	expect(w.redis, "\"abc\"", "GET h:" HASH_B_1);
	expect(w.c, "\"abc\"", "GET h:{\"b\":1}");
	expect(w.c, "\"abc\"", "EVAL %s 1 h:%s", "return redis.call('GET', KEYS[1])", CONTEXT_B_1);
	expect(w.c, "1", "MSETNX h:%s x h:plain y", "[1]");
	expect(w.redis, "\"y\"", "GET h:plain");
	expect(w.redis, "0", "EXISTS h:[1]");
	harness_free(w.h);
}
END_TEST

START_TEST(names_are_hashed_in_transactions_too)
{
	struct world w = start();
	expect(w.c, "OK", "MULTI");
	expect(w.c, "QUEUED", "APPEND h:%s abc", CONTEXT_B_1);
	expect(w.c, "QUEUED", "GET h:%s", "{\"b\":1}");
	expect(w.c, "[3, \"abc\"]", "EXEC");
	expect(w.redis, "\"abc\"", "GET h:" HASH_B_1);
	harness_free(w.h);
}
END_TEST

/* ---- connections ---- */

START_TEST(clients_share_several_connections_to_redis)
{
	struct world w = start();
	redisContext *clients[8];
	for (int i = 0; i < 8; i++) {
		clients[i] = harness_connect(w.h);
		expect(clients[i], i ? "\"x\"" : "nil", "GETSET u:a x");
	}
	redisReply *list = ask(w.redis, "CLIENT LIST");
	int used = 0;
	for (const char *at = list->str; (at = strstr(at, "cmd=getset")); at++)
		used++;
	ck_assert_int_eq(used, 4);
	freeReplyObject(list);
	harness_free(w.h);
}
END_TEST

/* ---- what memory holds of them ---- */

START_TEST(what_a_passed_command_changed_is_read_anew)
{
	struct world w = start();
	for (int i = 0; i < 200; i++) {
		expect(w.c, "OK", "SET p:a x");
		expect(w.c, "\"x\"", "GET p:a");
		expect(w.c, "2", "APPEND p:a y");
		expect(w.c, "\"xy\"", "GET p:a");
		expect(w.c, "nil", "EVAL %s 1 p:a", "redis.call('SET', KEYS[1], 'z')");
		expect(w.c, "\"z\"", "GET p:a");
	}
	harness_free(w.h);
}
END_TEST

static void send_all(redisContext *c, const char *command)
{
	ck_assert_int_eq(redisAppendCommand(c, command), REDIS_OK);
	for (int done = 0; !done;)
		ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
}

static long long next_integer(redisContext *c)
{
	void *reply;
	ck_assert_int_eq(redisGetReply(c, &reply), REDIS_OK);
	redisReply *r = reply;
	ck_assert_msg(r->type != REDIS_REPLY_ERROR, "%s", r->str);
	long long n = r->type == REDIS_REPLY_INTEGER ? r->integer : r->str ? atoll(r->str) : 0;
	freeReplyObject(reply);
	return n;
}

/* Where Redis tells of no changes, and another client's read fills memory between the command and its reply. */
START_TEST(what_a_passed_command_changed_is_read_anew_without_tracking)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	w.redis = harness_connect_redis(w.h);
	expect(w.redis, "OK", "ACL SETUSER default -client|tracking");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	redisContext *other = harness_connect(w.h);
	for (int i = 1; i <= 2000; i++) {
		send_all(w.c, "INCR p:a");
		send_all(other, "GET p:a");
		ck_assert_int_eq(next_integer(w.c), i);
		send_all(w.c, "GET p:a");
		ck_assert_int_eq(next_integer(w.c), i);
		(void)next_integer(other);
	}
	harness_free(w.h);
}
END_TEST

START_TEST(a_write_after_a_passed_one_in_a_transaction_is_what_is_read)
{
	struct world w = start();
	for (int i = 0; i < 50; i++) {
		expect(w.c, "OK", "MULTI");
		expect(w.c, "QUEUED", "SET p:a x");
		expect(w.c, "QUEUED", "APPEND p:a y");
		expect(w.c, "QUEUED", "GET p:a");
		expect(w.c, "[OK, 2, \"xy\"]", "EXEC");
		expect(w.c, "\"xy\"", "GET p:a");
	}
	harness_free(w.h);
}
END_TEST

/* ---- without Redis ---- */

START_TEST(keys_of_no_type_get_one_error_where_redis_is_off)
{
	static const char *const commands[] = {
		"GET %s", "MGET p:a %s", "GETIF %s 0", "PEEK %s", "SET %s x", "SET %s x NX GET", "SETEX %s 9 x", "SETNX %s x", "GETSET %s x", "GETDEL %s", "GETEX %s EX 9",
		"MSET p:a x %s x", "DEL p:a %s", "UNLINK %s", "EXISTS p:a %s", "TOUCH %s", "TTL %s", "EXPIRETIME %s", "EXPIRE %s 9", "PERSIST %s", "STRLEN %s",
		"TYPE %s", "DIGEST %s", "META %s",
	};
	struct harness *h = harness_new();
	harness_start(h, LISTEN NO_REDIS NO_DATABASE "types:\n  plain: {key: 'p:{name}', ttl: 100s}\n");
	redisContext *c = harness_connect(h);
	expect_each(c, commands, LEN(commands), "u:x", "(error) UNAVAILABLE redis: the key is of no declared type, and Redis is off", true);
	expect_error(c, "UNAVAILABLE redis", "'INCR' needs Redis, which is off", "INCR u:x");
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		keys_of_no_type_get_one_error_where_redis_is_off,
		keys_of_the_daemon_are_found_wherever_they_stand,
		keys_that_memory_alone_keeps_are_found_wherever_they_stand,
		names_are_hashed_wherever_they_stand,
		names_are_hashed_in_transactions_too,
		clients_share_several_connections_to_redis,
		what_a_passed_command_changed_is_read_anew,
		what_a_passed_command_changed_is_read_anew_without_tracking,
		a_write_after_a_passed_one_in_a_transaction_is_what_is_read,
	};
	return harness_main("pass", tests, sizeof(tests) / sizeof(tests[0]));
}
