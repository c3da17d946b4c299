/* catcachectl against the real daemon: what each command prints for people and for scripts,
 * how it exits, and what it advises when there is no daemon, or not ours. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "fake.h"
#include "harness.h"
#include "program.h"
#include "talk.h"

#define CONFIG LISTEN NO_REDIS NO_DATABASE \
	"admin: {users: [nobody]}\n" \
	"types:\n" \
	"  plain: {key: 'm:{name}', ttl: 1h}\n" \
	"  hooked: {key: 'h:{name}', ttl: 1m, fetch: {exec: ['${DIR}/hook', '{name}']}}\n"

/* Runs catcachectl with these words, up to a NULL, on the daemon's socket. */
#define ctl(h, ...) ctl_in(h, NULL, 0, (const char *[]){__VA_ARGS__, NULL})

static struct said ctl_in(struct harness *h, const void *in, size_t in_len, const char *const *words)
{
	const char *argv[16] = {program_path("catcachectl")};
	setenv("CATCACHED_SOCKET", harness_path(h, "s"), 1);
	for (size_t i = 0; words[i]; i++)
		argv[i + 1] = words[i];
	return program_run(argv, in, in_len);
}

#define SHOW(s) "it exits with %d, and says\n%s%s", (s).status, (s).out, (s).err

/* All that it is to be greeted by catcached, as the beginning of a fake's replies. */
#define GREETING {"HELLO", "+OK\r\n"}, {"INFO", "$23\r\ncatcached_version:0.0\r\n\r\n"}
#define REPLIES(...) (const struct fake_reply[]){GREETING, __VA_ARGS__, {NULL, NULL}}

/* It exits so, prints exactly this, and complains of nothing. */
static void says(struct said s, int status, const char *out)
{
	ck_assert_msg(s.status == status && strcmp(s.out, out) == 0 && s.err_len == 0, SHOW(s));
	said_free(&s);
}

/* It exits so, prints nothing, and complains: each of the parts (up to a NULL) is in that. */
#define complains(s, status, ...) complains_of(s, status, (const char *[]){__VA_ARGS__, NULL})

static void complains_of(struct said s, int status, const char *const *parts)
{
	ck_assert_msg(s.status == status && s.out_len == 0 && strncmp(s.err, "catcachectl: ", 13) == 0, SHOW(s));
	ck_assert_msg(s.err[s.err_len - 1] == '\n', SHOW(s));
	for (size_t i = 0; parts[i]; i++)
		ck_assert_msg(strstr(s.err, parts[i]), "no \"%s\" in\n%s", parts[i], s.err);
	said_free(&s);
}

/* It exits so, and each of the parts is in what it prints. */
#define shows(s, status, ...) shows_all(s, status, (const char *[]){__VA_ARGS__, NULL})

static void shows_all(struct said s, int status, const char *const *parts)
{
	ck_assert_msg(s.status == status && s.err_len == 0, SHOW(s));
	for (size_t i = 0; parts[i]; i++)
		ck_assert_msg(strstr(s.out, parts[i]), "no \"%s\" in\n%s", parts[i], s.out);
	said_free(&s);
}

static struct harness *start(void)
{
	struct harness *h = harness_new();
	harness_hook(h, "hook", "printf 'built %s' \"$1\"");
	harness_start(h, CONFIG);
	return h;
}

/* ---- values ---- */

START_TEST(get_writes_the_value_byte_for_byte)
{
	static const char value[] = "a\0b\r\n\xff\033[31m";
	struct harness *h = start();
	expect(harness_connect(h), "OK", "SET m:a %b", value, sizeof(value) - 1);
	struct said s = ctl(h, "get", "m:a");
	ck_assert_msg(s.status == 0, SHOW(s));
	ck_assert_uint_eq(s.out_len, sizeof(value) - 1);
	ck_assert_mem_eq(s.out, value, s.out_len);
	said_free(&s);
	says(ctl(h, "get", "h:x"), 0, "built x");
	harness_free(h);
}
END_TEST

START_TEST(get_of_a_missing_key_exits_with_1)
{
	struct harness *h = start();
	says(ctl(h, "get", "m:none"), 1, "");
	says(ctl(h, "get", "--json", "m:none"), 1, "{\"key\":\"m:none\",\"value\":null}\n");
	harness_free(h);
}
END_TEST

START_TEST(a_terminal_gets_a_newline_behind_the_value)
{
	struct harness *h = start();
	says(ctl(h, "set", "m:a", "one"), 0, "OK\n");
	says(ctl(h, "set", "m:b", "one\n"), 0, "OK\n");
	const char *ctl_path = program_path("catcachectl");
	const struct {
		const char *words[5], *shown;
	} rows[] = {
		{{ctl_path, "get", "m:a"}, "one\r\n"}, {{ctl_path, "get", "m:b"}, "one\r\n"},
		{{ctl_path, "--raw", "get", "m:a"}, "one"}, {{ctl_path, "GET", "m:a"}, "\"one\"\r\n"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct terminal t = terminal_run(rows[i].words, 80, 24);
		ck_assert_int_eq(terminal_end(&t), 0);
		ck_assert_str_eq(t.seen, rows[i].shown);
		terminal_free(&t);
	}
	harness_free(h);
}
END_TEST

START_TEST(a_terminal_is_told_in_words_what_exit_status_1_means)
{
	struct harness *h = start();
	says(ctl(h, "set", "m:a", "one"), 0, "OK\n");
	const char *ctl_path = program_path("catcachectl");
	const struct {
		const char *words[6], *shown;
	} rows[] = {
		{{ctl_path, "get", "m:none"}, "catcachectl: no such key: m:none\r\n"},
		{{ctl_path, "set", "--nx", "m:a", "2"}, "catcachectl: not set: there is such a key\r\n"},
		{{ctl_path, "set", "--xx", "m:none", "2"}, "catcachectl: not set: no such key\r\n"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct terminal t = terminal_run(rows[i].words, 80, 24);
		ck_assert_int_eq(terminal_end(&t), 1);
		ck_assert_str_eq(t.seen, rows[i].shown);
		terminal_free(&t);
	}
	harness_free(h);
}
END_TEST

START_TEST(set_takes_the_value_from_an_argument_or_from_stdin)
{
	static const char value[] = "x\0y\n";
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	says(ctl(h, "set", "m:a", "plain"), 0, "OK\n");
	expect(c, "\"plain\"", "GET m:a");
	says(ctl_in(h, value, 4, (const char *[]){"set", "m:a", "-", NULL}), 0, "OK\n");
	redisReply *r = ask(c, "GET m:a");
	ck_assert_uint_eq(r->len, 4);
	ck_assert_mem_eq(r->str, value, 4);
	freeReplyObject(r);
	says(ctl_in(h, "-", 1, (const char *[]){"-x", "set", "m:a", NULL}), 0, "OK\n");
	expect(c, "\"-\"", "GET m:a");
	says(ctl(h, "set", "m:a", "-"), 0, "OK\n");
	expect(c, "\"\"", "GET m:a");
	says(ctl(h, "set", "--", "m:a", "--ex"), 0, "OK\n");
	expect(c, "\"--ex\"", "GET m:a");
	harness_free(h);
}
END_TEST

START_TEST(set_takes_a_ttl_and_a_condition)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	says(ctl(h, "set", "m:a", "1", "--ex", "100"), 0, "OK\n");
	ck_assert_int_le(ask_integer(c, "TTL m:a"), 100);
	says(ctl(h, "set", "--px", "500000", "m:a", "2"), 0, "OK\n");
	ck_assert_int_gt(ask_integer(c, "TTL m:a"), 100);
	says(ctl(h, "set", "--nx", "m:a", "3"), 1, "");
	says(ctl(h, "set", "--xx", "m:b", "3"), 1, "");
	expect(c, "\"2\"", "GET m:a");
	says(ctl(h, "set", "--xx", "m:a", "3"), 0, "OK\n");
	says(ctl(h, "set", "--nx", "m:b", "3", "--json"), 0, "{\"key\":\"m:b\",\"stored\":true}\n");
	says(ctl(h, "set", "--nx", "m:b", "3", "--json"), 1, "{\"key\":\"m:b\",\"stored\":false}\n");
	complains(ctl(h, "set", "--nx", "--xx", "m:a", "4"), 2, "--nx and --xx exclude each other");
	complains(ctl(h, "set", "--ex", "1", "--px", "1", "m:a", "4"), 2, "--ex and --px exclude each other");
	complains(ctl(h, "set", "--ex", "soon", "m:a", "4"), 4, "ERR value is not an integer");
	harness_free(h);
}
END_TEST

START_TEST(a_value_of_20_mib_goes_in_and_out)
{
	enum { LEN = 20 << 20 };
	struct harness *h = start();
	char *value = xmalloc(LEN);
	for (size_t i = 0; i < LEN; i++)
		value[i] = (char)(i * 31 >> 3);
	says(ctl_in(h, value, LEN, (const char *[]){"set", "m:big", "-", NULL}), 0, "OK\n");
	struct said s = ctl(h, "get", "m:big");
	ck_assert(s.status == 0 && s.out_len == LEN && memcmp(s.out, value, LEN) == 0);
	said_free(&s);
	free(value);
	harness_free(h);
}
END_TEST

/* The daemon answers before it has read it all, and closes. */
START_TEST(a_value_over_max_request_is_told)
{
	struct harness *h = start();
	size_t len = ((size_t)64 << 20) + 1;
	char *value = xcalloc(1, len);
	complains(ctl_in(h, value, len, (const char *[]){"set", "m:big", "-", NULL}), 4, "invalid bulk length");
	free(value);
	harness_free(h);
}
END_TEST

START_TEST(del_and_invalidate_tell_how_many_there_were)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "OK", "MSET m:a 1 m:b 2 m:c 3");
	says(ctl(h, "del", "m:a", "m:none"), 0, "keys deleted: 1 of 2\n");
	says(ctl(h, "del", "m:none"), 0, "keys deleted: 0 of 1\n");
	says(ctl(h, "del", "--json", "m:b"), 0, "{\"deleted\":1}\n");
	says(ctl(h, "invalidate", "hooked", "m:*"), 0, "keys invalidated: 1\n");
	says(ctl(h, "--json", "invalidate", "plain"), 0, "{\"invalidated\":0}\n");
	complains(ctl(h, "invalidate", "nosuch"), 4, "ERR no such type", "catcachectl stats lists the types");
	harness_free(h);
}
END_TEST

START_TEST(refresh_fetches)
{
	struct harness *h = start();
	says(ctl(h, "refresh", "h:x"), 0, "OK\n");
	says(ctl(h, "refresh", "--force", "--json", "h:x"), 0, "{\"key\":\"h:x\",\"refreshed\":true}\n");
	ck_assert_uint_eq(harness_hook_runs(h, "hook"), 2);
	complains(ctl(h, "refresh", "m:a"), 4, "ERR the key's type has no fetch");
	harness_hook(h, "hook", "exit 3");
	complains(ctl(h, "refresh", "h:x"), 4, "UNAVAILABLE fetch", "catcachectl health");
	harness_free(h);
}
END_TEST

START_TEST(meta_and_explain_describe_a_key)
{
	struct harness *h = start();
	expect(harness_connect(h), "OK", "SET m:a %s EX 181000", "[1,2,3]");
	shows(ctl(h, "meta", "m:a"), 0, "type    plain\n", "state   fresh\n", "size    7 B\n", "items   3\n", "ttl     2d 2h\n", "source  client\n");
	shows(ctl(h, "meta", "--json", "m:a"), 0, "{\"type\":\"plain\",\"tier\":\"memory\"", "\"size\":7,");
	shows(ctl(h, "meta", "m:none"), 1, "state   absent\n", "size    -\n");
	shows(ctl(h, "meta", "--json", "m:none"), 1, "\"state\":\"absent\"", "\"size\":null");
	shows(ctl(h, "explain", "m:a"), 0, "type: plain, by the prefix \"m:\"", "\nGET would answer from memory\n");
	shows(ctl(h, "explain", "--json", "m:a"), 0, "{\"key\":\"m:a\",\"explanation\":[\"type: plain", "\"GET would answer from memory\"]}\n");
	harness_free(h);
}
END_TEST

START_TEST(json_holds_values_of_any_bytes)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "OK", "SET m:a %b", "q\"\\\n\0\xc3\xa4", (size_t)7);
	says(ctl(h, "get", "--json", "m:a"), 0, "{\"key\":\"m:a\",\"value\":\"q\\\"\\\\\\n\\u0000\xc3\xa4\"}\n");
	static const struct {
		const char *value, *json;
		size_t len;
	} rows[] = {
		{"\xff", "/w==", 1}, {"a\xff", "Yf8=", 2}, {"ab\xff", "YWL/", 3}, {"\xc0\x80", "wIA=", 2}, {"\xed\xa0\x80", "7aCA", 3},
		{"\xf4\x90\x80\x80", "9JCAgA==", 4}, {"\xe2\x82", "4oI=", 2},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *json = xasprintf("{\"key\":\"m:a\",\"value\":{\"base64\":\"%s\"}}\n", rows[i].json);
		expect(c, "OK", "SET m:a %b", rows[i].value, rows[i].len);
		says(ctl(h, "get", "--json", "m:a"), 0, json);
		free(json);
	}
	harness_free(h);
}
END_TEST

/* ---- the daemon ---- */

START_TEST(stats_shows_tables)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "OK", "SET m:a %s", "1");
	for (int i = 0; i < 3; i++)
		expect(c, "\"1\"", "GET m:a");
	expect(c, "nil", "GET m:none");
	shows(ctl(h, "stats"), 0, "catcached  0.", "of 10,000;", "of 256.0 MiB (", "redis      off\n", "\nTYPE        ENTRIES  ", "\nplain             1  ",
		"      4   75.0%   0.0%        0       0      0\n", "\nhooked            0    0 B      0       -      -        0       0      0\n");
	shows(ctl(h, "stats", "plain"), 0, "entries           1\n", "memory_hits       3\n", "misses            1\n");
	complains(ctl(h, "stats", "nosuch"), 4, "ERR no such type");
	struct said s = ctl(h, "stats", "--json");
	redisReply *r = ask(c, "STATS");
	ck_assert(s.out_len > 1 && s.out[s.out_len - 1] == '\n' && s.out[0] == '{');
	ck_assert_msg(strstr(s.out, "\"types\":{\"plain\":{\"entries\":1,") && strstr(r->str, "\"types\":{\"plain\":{\"entries\":1,"), "%s", s.out);
	freeReplyObject(r);
	said_free(&s);
	harness_free(h);
}
END_TEST

START_TEST(health_exits_with_5_when_degraded)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	harness_start(h, LISTEN REDIS NO_DATABASE "guard: lock\ntypes: {t: {key: 'm:{name}', ttl: 1h}}\n");
	redisContext *c = harness_connect(h);
	harness_tracking(c);
	shows(ctl(h, "health"), 0, "ok  catcached  0.", "\nok  redis      up, breaker closed\n", "\nok  coherence  changes in Redis are heard of at once\n",
		"\nok  database   breaker closed\n", "\nok  replay     nothing waits for Redis\n", "\nok  guard      not set\n");
	shows(ctl(h, "health", "--json"), 0, "\"status\":\"ok\",\"reasons\":[]}\n");
	harness_redis_kill(h);
	wait_until(strcmp(ask_health(c, "redis.state"), "down") == 0, READ_LIMIT_S * 1000);
	expect(c, "OK", "SET m:a 1");
	shows(ctl(h, "health"), 5, "degraded  catcached  0.", "\ndegraded  redis      down, breaker ", "\ndegraded  replay     1 keys (",
		"\n\nRedis does not answer: values come from memory");
	shows(ctl(h, "health", "--json"), 5, "\"status\":\"degraded\"");
	harness_free(h);
}
END_TEST

/* Redis takes no writes; a program fails for several keys in a row. */
START_TEST(health_names_what_fails_and_why)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	harness_hook(h, "hook", "echo broken >&2; exit 3");
	harness_start(h, LISTEN REDIS NO_DATABASE "types: {hooked: {key: 'h:{name}', ttl: 1h, fetch: {exec: ['${DIR}/hook', '{name}']}}}\n");
	redisContext *c = harness_connect(h);
	harness_tracking(c);
	expect(harness_connect_redis(h), "OK", "REPLICAOF 127.0.0.1 1");
	for (int i = 0; i < 5; i++)
		expect_error(c, "UNAVAILABLE fetch", "", "GET h:%d", i);
	wait_until(strcmp(ask_health(c, "redis.proof"), "message") == 0, 3 * READ_LIMIT_S * 1000);
	shows(ctl(h, "health"), 5, "\ndegraded  redis      up, breaker closed: READONLY", "\nok        coherence  ", "\nok        database   breaker closed\n",
		"\ndegraded  programs   breaker ", "\ndegraded  hooked     breaker ", ": exit status 3\n", "\nfetches of type hooked fail again and again\n");
	harness_free(h);
}
END_TEST

START_TEST(ping_tells_version_and_time)
{
	struct harness *h = start();
	shows(ctl(h, "ping"), 0, "PONG from catcached 0.", " ms\n");
	shows(ctl(h, "--json", "ping"), 0, "{\"reply\":\"PONG\",\"ms\":", ",\"version\":\"0.");
	harness_free(h);
}
END_TEST

START_TEST(check_config_runs_the_daemon_beside_it)
{
	struct harness *h = harness_new();
	const char *good = harness_write(h, "good.yaml", "listen: {path: /s}\ntypes: {t: {key: k, ttl: 1}}\n");
	const char *bad = harness_write(h, "bad.yaml", "listen: {path: /s}\ntypes: {t: {key: k, tl: 1}}\n");
	char *shown = xasprintf("%s: good, 1 types\n", good), *json = xasprintf("{\"file\":\"%s\",\"good\":true,\"errors\":[]}\n", good);
	says(ctl(h, "check-config", good), 0, shown);
	says(ctl(h, "check-config", "--json", good), 0, json);
	struct said s = ctl(h, "check-config", bad);
	ck_assert_msg(s.status == 1 && strstr(s.err, "bad.yaml:2:21: unknown key \"tl\""), SHOW(s));
	said_free(&s);
	shows(ctl(h, "check-config", "--json", bad), 1, "\"good\":false,\"errors\":[{\"line\":2,\"column\":9,", "{\"line\":2,\"column\":21,\"message\":\"unknown key \\\"tl\\\"");
	shows(ctl(h, "check-config", "--json", "/nosuch"), 1, "\"good\":false,\"errors\":[{\"line\":1,\"column\":1,\"message\":\"cannot open: No such file");
	free(shown);
	free(json);
	harness_free(h);
}
END_TEST

START_TEST(warm_tells_a_daemon_that_cannot)
{
	struct harness *h = harness_new();
	struct fake *f = fake_start(harness_path(h, "s"), REPLIES({"WARM", "-ERR unknown command 'WARM', with args beginning with: \r\n"}));
	complains(ctl(h, "warm"), 4, "ERR unknown command 'WARM'", "this daemon is older than catcachectl");
	fake_stop(f);
	harness_free(h);
}
END_TEST

START_TEST(warm_draws_a_bar_on_a_terminal_only)
{
	struct harness *h = harness_new();
	struct buf yaml = BUF_INIT;
	buf_add_str(&yaml, LISTEN NO_REDIS NO_DATABASE "types:\n  many: {key: 'k:{name}', ttl: 1h, fetch: {exec: ['${DIR}/hook', '{name}']}, warm: [");
	for (int i = 0; i < 48; i++)
		buf_addf(&yaml, "%s'%d'", i ? ", " : "", i);
	buf_add(&yaml, "]}\n", 4);
	harness_hook(h, "hook", "printf x");
	harness_start(h, yaml.data);
	harness_hook(h, "hook", "sleep 0.4; printf y");
	setenv("CATCACHED_SOCKET", harness_path(h, "s"), 1);
	shows(ctl(h, "warm", "many"), 0, "keys warmed: 48, in ");
	shows(ctl(h, "invalidate", "many"), 0, "keys invalidated: 48");
	struct terminal t = terminal_run((const char *[]){program_path("catcachectl"), "warm", NULL}, 80, 24);
	ck_assert_msg(terminal_end(&t) == 0, "%s", t.seen);
	ck_assert_msg(strstr(t.seen, "\r[                                        ] 0 of 48, 0.0%\033[K"), "%s", t.seen);
	ck_assert_msg(strstr(t.seen, "of 48, ") && strstr(t.seen, "\r[#####"), "%s", t.seen);
	ck_assert_msg(strstr(t.seen, "\r\033[Kkeys warmed: 48, in "), "%s", t.seen);
	terminal_free(&t);
	says(ctl(h, "warm", "--json"), 0, "{\"warmed\":48}\n");
	buf_free(&yaml);
	harness_free(h);
}
END_TEST

/* ---- any command ---- */

START_TEST(other_commands_are_sent_as_they_are)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	harness_start(h, LISTEN REDIS NO_DATABASE "types: {t: {key: 'm:{name}', ttl: 1h}}\n");
	harness_redis_ready(harness_connect(h));
	says(ctl(h, "hset", "limits", "--json", "1", "b", "2"), 0, "2\n");
	says(ctl(h, "hgetall", "limits"), 0, "--json\n1\nb\n2\n");
	says(ctl(h, "--json", "hgetall", "limits"), 0, "{\"--json\":\"1\",\"b\":\"2\"}\n");
	says(ctl(h, "--json", "mget", "m:none", "limits"), 0, "[null,null]\n");
	says(ctl(h, "ttl", "m:none"), 0, "-2\n");
	says(ctl(h, "GET", "m:none"), 1, "\n");
	says(ctl(h, "--json", "PING"), 0, "\"PONG\"\n");
	says(ctl(h, "--json", "eval", "return {1,{'a',false}}", "0"), 0, "[1,[\"a\",null]]\n");
	complains(ctl(h, "lpush", "m:x"), 4, "ERR wrong number of arguments");
	expect(harness_connect(h), "2", "LPUSH list a b");
	complains(ctl(h, "get", "list"), 4, "WRONGTYPE", "catcachectl type KEY");
	harness_free(h);
}
END_TEST

START_TEST(without_a_command_there_is_one_a_line)
{
	static const char lines[] = "set m:a \"x\\ny\"\n\nget m:a\nget 'open\nget m:none\nbogus\nquit\nget m:a\n";
	struct harness *h = start();
	struct said s = ctl_in(h, lines, sizeof(lines) - 1, (const char *[]){NULL});
	ck_assert_msg(s.status == 4 && strcmp(s.out, "OK\nx\ny\n\nOK\n") == 0, SHOW(s));
	ck_assert_msg(strstr(s.err, "not a command: unbalanced quotes") && strstr(s.err, "unknown command 'bogus'"), SHOW(s));
	said_free(&s);
	says(ctl_in(h, "ping", 4, (const char *[]){NULL}), 0, "PONG\n");
	harness_free(h);
}
END_TEST

START_TEST(a_person_at_a_terminal_gets_a_prompt)
{
	struct harness *h = start();
	setenv("CATCACHED_SOCKET", harness_path(h, "s"), 1);
	struct terminal t = terminal_run((const char *[]){program_path("catcachectl"), NULL}, 80, 24);
	terminal_type(&t, "mset m:a 1 m:b 2\nmget m:a m:b m:c\nquit\n");
	ck_assert_int_eq(terminal_end(&t), 0);
	ck_assert_msg(strstr(t.seen, "catcached> "), "%s", t.seen);
	ck_assert_msg(strstr(t.seen, "1) \"1\"\r\n2) \"2\"\r\n3) (nil)\r\n"), "%s", t.seen);
	terminal_free(&t);
	harness_free(h);
}
END_TEST

START_TEST(wrong_usage_exits_with_2_and_says_what_is_right)
{
	struct harness *h = start();
	static const char *const bad[][4] = {{"get"}, {"get", "a", "b"}, {"set", "a"}, {"del"}, {"top", "x"}, {"check-config"}, {"stats", "a", "b"}};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct said s = ctl_in(h, NULL, 0, bad[i]);
		ck_assert_msg(s.status == 2 && s.out_len == 0 && strncmp(s.err, "usage: catcachectl ", 19) == 0, SHOW(s));
		said_free(&s);
	}
	complains(ctl(h, "--nosuch", "ping"), 2, "unknown option --nosuch", "catcachectl --help");
	complains(ctl(h, "ping", "--ex", "1"), 2, "unknown option --ex", "catcachectl ping --help");
	complains(ctl(h, "set", "a", "b", "--ex"), 2, "no argument behind --ex");
	complains(ctl(h, "--timeout", "0", "ping"), 2, "--timeout takes seconds");
	complains(ctl(h, "top", "-d", "never"), 2, "--delay takes seconds");
	complains(ctl(h, "top", "-n", "0"), 2, "--count takes a number");
	complains(ctl(h, "-x"), 2, "--stdin needs a command");
	harness_free(h);
}
END_TEST

START_TEST(a_full_stdout_exits_with_6)
{
	struct harness *h = start();
	setenv("CATCACHED_SOCKET", harness_path(h, "s"), 1);
	char *line = xasprintf("exec '%s' ping >/dev/full", program_path("catcachectl"));
	complains(program_run((const char *[]){"/bin/sh", "-c", line, NULL}, NULL, 0), 6, "cannot write to stdout: No space left");
	free(line);
	harness_free(h);
}
END_TEST

/* ---- no daemon ---- */

START_TEST(without_a_socket_it_asks_for_the_daemon)
{
	struct harness *h = harness_new();
	complains(ctl(h, "ping"), 3, "/s: cannot connect: No such file", "systemctl status catcached", "--socket");
	complains(ctl(h, "--socket", "/nosuch/socket", "ping"), 3, "/nosuch/socket: cannot connect");
	harness_write(h, "s", "a file");
	complains(ctl(h, "ping"), 3, "This is no socket");
	char path[200];
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	complains(ctl(h, "-s", path, "ping"), 3, "a socket's path has at most 107 bytes");
	harness_free(h);
}
END_TEST

START_TEST(a_socket_nobody_listens_on_is_told)
{
	struct harness *h = harness_new();
	close(raw_bind(harness_path(h, "s"), SOCK_STREAM, 1));
	complains(ctl(h, "ping"), 3, "Connection refused", "the daemon has ended", "systemctl start catcached");
	int fd = raw_bind(harness_path(h, "other"), SOCK_DGRAM, 0);
	complains(ctl(h, "-s", harness_path(h, "other"), "ping"), 3, "another kind of socket");
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(what_is_not_catcached_is_told)
{
	static const struct {
		struct fake_reply replies[4];
		const char *part;
	} rows[] = {
		{{{"HELLO", "HTTP/1.1 400 Bad Request\r\n\r\n"}}, "not in the protocol of catcached"},
		{{{"HELLO", "ERROR\r\n"}}, "not in the protocol of catcached"},
		{{{"HELLO", "-NOAUTH HELLO must be called with the client already authenticated\r\n"}}, "It is not catcached that answers so"},
		{{{"HELLO", "-ERR max number of clients reached\r\n"}}, "listen.max_clients"},
		{{{"HELLO", "+OK\r\n"}, {"INFO", "$21\r\nredis_version:6.2.99\n\r\n"}}, "a plain Redis (6.2.99) listens there"},
		{{{"HELLO", NULL}}, "the connection was closed"},
	};
	struct harness *h = harness_new();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fake *f = fake_start(harness_path(h, "s"), rows[i].replies);
		complains(ctl(h, "get", "a"), 3, rows[i].part);
		fake_stop(f);
	}
	harness_redis_start(h, "");
	complains(ctl(h, "-s", harness_path(h, "redis.sock"), "set", "a", "1"), 3, "redis.sock: a plain Redis (", "listen.path");
	expect(harness_connect_redis(h), "nil", "GET a");
	harness_free(h);
}
END_TEST

START_TEST(silence_ends_after_the_timeout)
{
	struct harness *h = harness_new();
	struct fake *f = fake_start(harness_path(h, "s"), REPLIES({"GET", ""}));
	complains(ctl(h, "--timeout", "0.2", "get", "a"), 3, "no answer within 0.2 s", "--timeout");
	fake_stop(f);
	harness_free(h);
}
END_TEST

/* As nobody, by descriptor: the folders of the build may be closed to that user. */
static struct said run_as_nobody(const char *path, const char *command, const char *argument)
{
	char *line = xasprintf("exec setpriv --reuid 65534 --regid 65534 --clear-groups /proc/self/fd/9 -s '%s' %s %s 9<'%s'", path, command, argument,
		program_path("catcachectl"));
	struct said s = program_run((const char *[]){"/bin/sh", "-c", line, NULL}, NULL, 0);
	free(line);
	return s;
}

START_TEST(without_permission_it_names_the_group)
{
	if (geteuid() != 0)
		return;                         /* root alone can become someone else */
	char folder[] = "/tmp/ctl-XXXXXX";
	ck_assert(mkdtemp(folder) && chmod(folder, 0755) == 0);
	char *path = xasprintf("%s/s", folder);
	int fd = raw_bind(path, SOCK_STREAM, 1);
	ck_assert(chown(path, 0, 1) == 0 && chmod(path, 0660) == 0);
	struct said in_group = run_as_nobody(path, "ping", "");
	ck_assert_int_eq(chmod(path, 0600), 0);
	struct said closed = run_as_nobody(path, "ping", "");
	ck_assert_int_eq(chmod(folder, 0700), 0);
	struct said no_way = run_as_nobody(path, "ping", "");
	close(fd);
	unlink(path);
	rmdir(folder);
	complains(in_group, 3, "Permission denied", "is root's and the group daemon's (mode 0660)", "usermod -aG daemon nobody", "log in again");
	complains(closed, 3, "(mode 0600)", "listen.group and listen.mode");
	complains(no_way, 3, "the folder /tmp/ctl-", "Its group may not enter it");
	free(path);
}
END_TEST

START_TEST(an_admins_command_names_admin_users)
{
	struct harness *h = harness_new();
	struct fake *f = fake_start(harness_path(h, "s"), REPLIES({"INVALIDATE", "-NOPERM this command is for admin.users of the configuration only\r\n"}));
	complains(ctl(h, "invalidate", "a"), 4, "NOPERM", "You are ", "admin.users of its configuration");
	fake_stop(f);
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		get_writes_the_value_byte_for_byte,
		get_of_a_missing_key_exits_with_1,
		a_terminal_gets_a_newline_behind_the_value,
		a_terminal_is_told_in_words_what_exit_status_1_means,
		set_takes_the_value_from_an_argument_or_from_stdin,
		set_takes_a_ttl_and_a_condition,
		a_value_of_20_mib_goes_in_and_out,
		a_value_over_max_request_is_told,
		del_and_invalidate_tell_how_many_there_were,
		refresh_fetches,
		meta_and_explain_describe_a_key,
		json_holds_values_of_any_bytes,
		stats_shows_tables,
		health_exits_with_5_when_degraded,
		health_names_what_fails_and_why,
		ping_tells_version_and_time,
		check_config_runs_the_daemon_beside_it,
		warm_tells_a_daemon_that_cannot,
		warm_draws_a_bar_on_a_terminal_only,
		other_commands_are_sent_as_they_are,
		without_a_command_there_is_one_a_line,
		a_person_at_a_terminal_gets_a_prompt,
		wrong_usage_exits_with_2_and_says_what_is_right,
		a_full_stdout_exits_with_6,
		without_a_socket_it_asks_for_the_daemon,
		a_socket_nobody_listens_on_is_told,
		what_is_not_catcached_is_told,
		silence_ends_after_the_timeout,
		without_permission_it_names_the_group,
		an_admins_command_names_admin_users,
	};
	return harness_main("catcachectl", tests, sizeof(tests) / sizeof(tests[0]));
}
