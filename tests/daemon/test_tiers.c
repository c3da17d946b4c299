/* Memory, then Redis, then the fetch: the order, the times to live, the writes.
 * What a tier was asked is seen by the counters of Redis and the runs of the hook. */
#include "harness.h"
#include "talk.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../proto/buf.h"

static const char config[] =
	LISTEN REDIS NO_DATABASE
	"types:\n"
	"  fetched:\n"
	"    key: 'f:{name}'\n"
	"    ttl: 100s\n"
	"    fetch: {exec: ['${DIR}/hook', '{name}']}\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n"
	"  local: {key: 'm:{name}', ttl: 100s, tiers: [memory]}\n"
	"  remote: {key: 'r:{name}', ttl: 100s, tiers: [redis]}\n";

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static struct world start_with(const char *yaml)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_hook(w.h, "hook", "printf 'built %s' \"$1\"");
	harness_start(w.h, yaml);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	w.redis = harness_connect_redis(w.h);
	return w;
}

static struct world start(void)
{
	return start_with(config);
}

/* ---- the order ---- */

START_TEST(a_cold_get_fetches_and_fills_both_tiers)
{
	struct world w = start();
	expect(w.c, "\"built a\"", "GET f:a");
	ck_assert_str_eq(ask_meta(w.c, "f:a", "tier"), "memory");
	ck_assert_str_eq(ask_meta(w.c, "f:a", "source"), "fetch");
	expect_soon(w.redis, "\"built a\"", "GET f:a");
	ck_assert_int_gt(ask_integer(w.redis, "PTTL f:a"), 50000);
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	harness_free(w.h);
}
END_TEST

START_TEST(a_warm_get_asks_neither_redis_nor_the_fetch)
{
	struct world w = start();
	expect(w.c, "\"built a\"", "GET f:a");
	long long asked = harness_redis_calls(w.redis, "get");
	for (int i = 0; i < 100; i++)
		expect(w.c, "\"built a\"", "GET f:a");
	expect(w.c, "[\"built a\", \"built a\"]", "MGET f:a f:a");
	ck_assert_int_eq(harness_redis_calls(w.redis, "get"), asked);
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	harness_free(w.h);
}
END_TEST

START_TEST(a_value_in_redis_is_served_without_a_fetch)
{
	struct world w = start();
	expect(w.redis, "OK", "SET f:a %s EX 50", "from redis");
	ck_assert_str_eq(ask_meta(w.c, "f:a", "tier"), "redis");
	expect(w.c, "\"from redis\"", "GET f:a");
	ck_assert_str_eq(ask_meta(w.c, "f:a", "tier"), "memory");
	ck_assert_str_eq(ask_meta(w.c, "f:a", "source"), "redis");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 0);
	long long asked = harness_redis_calls(w.redis, "get");
	expect(w.c, "\"from redis\"", "GET f:a");
	ck_assert_int_eq(harness_redis_calls(w.redis, "get"), asked);
	harness_free(w.h);
}
END_TEST

START_TEST(a_restart_is_warm_from_redis)
{
	struct world w = start();
	expect(w.c, "\"built a\"", "GET f:a");
	expect_soon(w.redis, "\"built a\"", "GET f:a");
	harness_restart(w.h);
	redisContext *c = harness_connect(w.h);
	harness_redis_ready(c);
	expect(c, "\"built a\"", "GET f:a");
	ck_assert_str_eq(ask_meta(c, "f:a", "source"), "redis");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 1);
	harness_free(w.h);
}
END_TEST

START_TEST(mget_takes_each_key_from_where_it_is)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:memory 1");
	expect(w.redis, "OK", "SET p:redis 2");
	expect(w.c, "[\"1\", \"2\", \"built x\", nil, \"built y\"]", "MGET p:memory p:redis f:x p:none f:y");
	harness_free(w.h);
}
END_TEST

START_TEST(peek_reads_redis_but_never_fetches)
{
	struct world w = start();
	expect(w.c, "nil", "PEEK f:a");
	expect(w.redis, "OK", "SET f:a %s", "from redis");
	expect(w.c, "\"from redis\"", "PEEK f:a");
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 0);
	harness_free(w.h);
}
END_TEST

START_TEST(a_type_of_memory_alone_never_reaches_redis)
{
	struct world w = start();
	expect(w.c, "OK", "SET m:a 1");
	expect(w.c, "\"1\"", "GET m:a");
	expect(w.redis, "nil", "GET m:a");
	expect(w.redis, "OK", "SET m:b 2");
	expect(w.c, "nil", "GET m:b");
	harness_free(w.h);
}
END_TEST

START_TEST(a_type_of_redis_alone_is_never_held)
{
	struct world w = start();
	expect(w.c, "OK", "SET r:a 1");
	expect(w.c, "\"1\"", "GET r:a");
	ck_assert_str_eq(ask_meta(w.c, "r:a", "tier"), "redis");
	expect(w.redis, "OK", "SET r:a 2");
	expect(w.c, "\"2\"", "GET r:a");
	expect(w.c, "1", "DEL r:a");
	expect(w.c, "nil", "GET r:a");
	harness_free(w.h);
}
END_TEST

/* Where it matters to nobody how long the value will live Redis is not asked for it; but who asks meanwhile is told. */
START_TEST(a_get_of_redis_alone_asks_for_the_value_alone)
{
	struct world w = start_with(LISTEN PATIENT_REDIS NO_DATABASE "types: {remote: {key: 'r:{name}', ttl: 100s, tiers: [redis]}}\n");
	redisContext *other = harness_connect(w.h);
	expect(w.redis, "OK", "SET r:a x EX 50");
	long long asked = harness_redis_calls(w.redis, "pttl");
	expect(w.c, "\"x\"", "GET r:a");
	expect(w.c, "[\"x\", nil]", "MGET r:a r:b");
	ck_assert_int_eq(harness_redis_calls(w.redis, "pttl"), asked);
	expect(w.redis, "OK", "CLIENT PAUSE 100 ALL");
	ck_assert_int_eq(redisAppendCommand(w.c, "GET r:a"), REDIS_OK);
	for (int done = 0; !done; )
		ck_assert_int_eq(redisBufferWrite(w.c, &done), REDIS_OK);
	ck_assert_int_gt(atoll(ask_meta(other, "r:a", "ttl_ms")), 40000);
	redisReply *r;
	ck_assert_int_eq(redisGetReply(w.c, (void **)&r), REDIS_OK);
	ck_assert_str_eq(r->str, "x");
	freeReplyObject(r);
	ck_assert_int_eq(harness_redis_calls(w.redis, "pttl"), asked + 1);
	harness_free(w.h);
}
END_TEST

START_TEST(a_key_of_no_type_goes_to_redis_and_is_not_held)
{
	struct world w = start();
	expect(w.c, "OK", "SET other 1 EX 50");
	expect(w.redis, "\"1\"", "GET other");
	expect(w.redis, "OK", "SET other 2 EX 60");
	expect(w.c, "\"2\"", "GET other");
	ck_assert_int_gt(ask_integer(w.c, "TTL other"), 50);
	expect(w.c, "1", "EXISTS other");
	expect(w.c, "[\"2\", nil]", "MGET other another");
	expect(w.c, "1", "DEL other");
	expect(w.redis, "nil", "GET other");
	harness_free(w.h);
}
END_TEST

/* ---- writes ---- */

START_TEST(a_set_is_written_through_with_its_ttl)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a %b", "by\0tes", (size_t)6);
	redisReply *r = ask(w.redis, "GET p:a");
	ck_assert_uint_eq(r->len, 6);
	ck_assert_mem_eq(r->str, "by\0tes", 6);
	freeReplyObject(r);
	long long left = ask_integer(w.redis, "PTTL p:a");
	ck_assert_msg(left > 90000 && left <= 100000, "%lld ms left", left);
	expect(w.c, "OK", "SET p:a 2 EX 20");
	left = ask_integer(w.redis, "PTTL p:a");
	ck_assert_msg(left > 15000 && left <= 20000, "%lld ms left", left);
	expect(w.redis, "\"2\"", "GET p:a");
	harness_free(w.h);
}
END_TEST

START_TEST(redis_cli_reads_what_the_daemon_wrote)
{
	struct world w = start();
	char command[512], line[64] = "";
	expect(w.c, "OK", "SET p:a %s", "seen by all");
	snprintf(command, sizeof(command), "redis-cli -s '%s' GET p:a", harness_path(w.h, "redis.sock"));
	FILE *cli = popen(command, "r");
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), cli));
	ck_assert_int_eq(pclose(cli), 0);
	ck_assert_str_eq(line, "seen by all\n");
	harness_free(w.h);
}
END_TEST

START_TEST(nx_and_xx_see_what_only_redis_has)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:a theirs");
	expect(w.c, "nil", "SET p:a mine NX");
	expect(w.c, "\"theirs\"", "GET p:a");
	expect(w.redis, "OK", "SET p:b theirs");
	expect(w.c, "OK", "SET p:b mine XX");
	expect(w.redis, "\"mine\"", "GET p:b");
	expect(w.c, "\"mine\"", "GET p:b");
	expect(w.c, "nil", "SET p:c mine XX");
	expect(w.redis, "nil", "GET p:c");
	expect(w.c, "OK", "SET p:c mine NX");
	expect(w.redis, "\"mine\"", "GET p:c");
	harness_free(w.h);
}
END_TEST

START_TEST(del_of_many_keys_is_one_command_in_redis)
{
	enum { N = 500 };
	struct world w = start();
	struct buf keys = BUF_INIT;
	for (int i = 0; i < N; i++) {
		expect(i % 2 ? w.c : w.redis, "OK", "SET p:%d 1", i);
		buf_addf(&keys, " p:%d", i);
	}
	buf_add_char(&keys, '\0');
	char *command = xasprintf("DEL%s p:missing", keys.data);
	redisReply *r = redisCommand(w.c, command);
	ck_assert_int_eq(r->integer, N);
	freeReplyObject(r);
	ck_assert_int_eq(harness_redis_calls(w.redis, "del"), 1);
	ck_assert_int_eq(harness_redis_calls(w.redis, "unlink"), 1); /* the leases */
	ck_assert_uint_eq(harness_redis_keys(w.redis), 0);
	free(command);
	buf_free(&keys);
	harness_free(w.h);
}
END_TEST

START_TEST(exists_ttl_and_strlen_see_what_only_redis_has)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:a hello EX 50");
	expect(w.c, "1", "EXISTS p:a p:b");
	expect(w.c, "5", "STRLEN p:a");
	ck_assert_int_gt(ask_integer(w.c, "TTL p:a"), 40);
	ck_assert_int_le(ask_integer(w.c, "TTL p:a"), 50);
	expect(w.redis, "OK", "SET p:b endless");
	ck_assert_str_eq(ask_meta(w.c, "p:b", "state"), "fresh");
	harness_free(w.h);
}
END_TEST

START_TEST(expire_reaches_every_tier)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:a 1");
	expect(w.c, "1", "EXPIRE p:a 30");
	ck_assert_int_le(ask_integer(w.c, "TTL p:a"), 30);
	ck_assert_int_le(ask_integer(w.redis, "TTL p:a"), 30);
	expect(w.redis, "OK", "SET p:b 1");
	expect(w.c, "1", "EXPIRE p:b 30");
	ck_assert_int_le(ask_integer(w.redis, "TTL p:b"), 30);
	ck_assert_int_gt(ask_integer(w.redis, "TTL p:b"), 20);
	expect(w.c, "1", "EXPIRE p:a -1");
	expect(w.c, "nil", "GET p:a");
	expect(w.redis, "nil", "GET p:a");
	harness_free(w.h);
}
END_TEST

START_TEST(invalidate_removes_from_both_tiers)
{
	struct world w = start();
	expect(w.c, "OK", "SET p:one 1");
	expect(w.redis, "OK", "SET p:two 2");
	expect(w.redis, "OK", "SET q:other 3");
	expect(w.c, "2", "INVALIDATE p:*");
	expect(w.c, "[nil, nil]", "MGET p:one p:two");
	ck_assert_uint_eq(harness_redis_keys(w.redis), 1);
	expect(w.c, "OK", "SET p:one 1");
	expect(w.redis, "OK", "SET p:two 2");
	expect(w.c, "2", "INVALIDATE plain");
	expect(w.redis, "\"3\"", "GET q:other");
	ck_assert_uint_eq(harness_redis_keys(w.redis), 1);
	harness_free(w.h);
}
END_TEST

START_TEST(refresh_replaces_the_value_in_redis_too)
{
	struct world w = start();
	expect(w.c, "OK", "SET f:a old EX 10");
	expect(w.c, "OK", "REFRESH f:a");
	expect(w.c, "\"built a\"", "GET f:a");
	expect_soon(w.redis, "\"built a\"", "GET f:a");
	ck_assert_int_gt(ask_integer(w.redis, "TTL f:a"), 50);
	harness_free(w.h);
}
END_TEST

START_TEST(another_kind_of_key_in_redis_is_told_and_kept)
{
	struct world w = start();
	expect(w.redis, "1", "RPUSH p:list 1");
	expect_error(w.c, "WRONGTYPE", "", "GET p:list");
	expect(w.redis, "1", "LLEN p:list");
	expect(w.c, "PONG", "PING");
	harness_free(w.h);
}
END_TEST

/* ---- time ---- */

START_TEST(memory_never_outlives_what_redis_has_left)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:a 1 PX 700");
	int64_t end = now_ms() + 700;
	redisReply *r;
	do {
		int64_t asked = now_ms();
		r = ask(w.c, "GET p:a");
		ck_assert_msg(r->type == REDIS_REPLY_NIL || asked < end + 5, "served %d ms after its end", (int)(asked - end));
		long long left = ask_integer(w.c, "PTTL p:a");
		ck_assert_msg(left <= 700, "%lld ms left", left);
		if (r->type != REDIS_REPLY_NIL) {
			freeReplyObject(r);
			r = NULL;
		}
		ck_assert_int_lt(now_ms(), end + 5000);
	} while (!r);
	freeReplyObject(r);
	ck_assert_int_ge(now_ms(), end - 5);
	harness_free(w.h);
}
END_TEST

START_TEST(a_value_read_in_its_last_millisecond_does_not_stay)
{
	enum { N = 3000 };
	struct world w = start();
	for (int i = 0; i < N; i++) {
		expect(w.redis, "OK", "SET p:%d 1 PX %d", i, 1 + i % 3);
		freeReplyObject(ask(w.c, "GET p:%d", i));
	}
	for (int i = 0; i < N; i++)
		expect_soon(w.c, "nil", "GET p:%d", i);
	harness_free(w.h);
}
END_TEST

START_TEST(a_value_without_end_in_redis_has_none_here)
{
	struct world w = start();
	expect(w.redis, "OK", "SET p:a 1");
	expect(w.c, "\"1\"", "GET p:a");
	ck_assert_str_eq(ask_meta(w.c, "p:a", "tier"), "memory");
	expect(w.c, "-1", "TTL p:a");
	harness_free(w.h);
}
END_TEST

/* ---- the link ---- */

START_TEST(auth_database_and_name_reach_redis)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "--requirepass secret");
	harness_start(h, LISTEN NO_DATABASE
		"redis: {url: 'unix://:secret@${DIR}/redis.sock?db=3'}\n"
		"types:\n"
		"  plain: {key: 'p:{name}', ttl: 100s}\n");
	redisContext *c = harness_connect(h), *redis = harness_connect_redis(h);
	harness_redis_ready(c);
	expect(redis, "OK", "AUTH secret");
	expect(redis, "OK", "SELECT 3");
	expect(c, "OK", "SET p:a 1");
	expect(redis, "\"1\"", "GET p:a");
	redisReply *r = ask(redis, "CLIENT LIST");
	ck_assert_msg(strstr(r->str, "name=catcached"), "CLIENT LIST: %s", r->str);
	freeReplyObject(r);
	harness_free(h);
}
END_TEST

/* A port nobody listens on, as far as one can know. */
static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

START_TEST(redis_over_tcp_serves_as_well)
{
	struct harness *h = harness_new();
	unsigned port = free_port();
	char text[512];
	snprintf(text, sizeof(text), "--port %u --bind 127.0.0.1", port);
	harness_redis_start(h, text);
	snprintf(text, sizeof(text), LISTEN NO_DATABASE
		"redis: {url: 'redis://localhost:%u/2'}\n"
		"types:\n"
		"  plain: {key: 'p:{name}', ttl: 100s}\n", port);
	harness_start(h, text);
	redisContext *c = harness_connect(h), *redis = harness_connect_redis(h);
	harness_redis_ready(c);
	expect(c, "OK", "SET p:a 1");
	expect(redis, "OK", "SELECT 2");
	expect(redis, "\"1\"", "GET p:a");
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_cold_get_fetches_and_fills_both_tiers,
		a_warm_get_asks_neither_redis_nor_the_fetch,
		a_value_in_redis_is_served_without_a_fetch,
		a_restart_is_warm_from_redis,
		mget_takes_each_key_from_where_it_is,
		peek_reads_redis_but_never_fetches,
		a_type_of_memory_alone_never_reaches_redis,
		a_type_of_redis_alone_is_never_held,
		a_get_of_redis_alone_asks_for_the_value_alone,
		a_key_of_no_type_goes_to_redis_and_is_not_held,
		a_set_is_written_through_with_its_ttl,
		redis_cli_reads_what_the_daemon_wrote,
		nx_and_xx_see_what_only_redis_has,
		del_of_many_keys_is_one_command_in_redis,
		exists_ttl_and_strlen_see_what_only_redis_has,
		expire_reaches_every_tier,
		invalidate_removes_from_both_tiers,
		refresh_replaces_the_value_in_redis_too,
		another_kind_of_key_in_redis_is_told_and_kept,
		memory_never_outlives_what_redis_has_left,
		a_value_read_in_its_last_millisecond_does_not_stay,
		a_value_without_end_in_redis_has_none_here,
		auth_database_and_name_reach_redis,
		redis_over_tcp_serves_as_well,
	};
	return harness_main("tiers", tests, sizeof(tests) / sizeof(tests[0]));
}
