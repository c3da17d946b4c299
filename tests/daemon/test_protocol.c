/* The protocol over a real socket: every command, framing, order, hostile input. */
#include "harness.h"
#include "talk.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../../daemon/json.h"
#include "../../proto/buf.h"

#define MIB ((size_t)1 << 20)

/* m: lives in memory alone; slow: is fetched once the file go is there. */
static const char config[] =
	LISTEN NO_REDIS NO_DATABASE
	"types:\n"
	"  plain: {key: 'm:{name}', ttl: 1h, tiers: [memory], max_value: 64M}\n"
	"  slow:\n"
	"    key: 'slow:{name}'\n"
	"    ttl: 1h\n"
	"    tiers: [memory]\n"
	"    fetch: {exec: ['${DIR}/hook', '{name}'], timeout: 20s}\n";

static struct harness *start(void)
{
	struct harness *h = harness_new();
	harness_hook(h, "hook", "while ! [ -e \"$(dirname \"$0\")/go\" ]; do sleep 0.01; done\nprintf 'built %s' \"$1\"");
	harness_start(h, config);
	return h;
}

/* Reads up to and with the text end; returns all of it (free it). */
static char *read_through(int fd, const char *end)
{
	struct buf b = BUF_INIT;
	size_t n = strlen(end);
	do {
		raw_read(fd, buf_reserve(&b, 1), 1);
		b.len++;
	} while (b.len < n || memcmp(b.data + b.len - n, end, n) != 0);
	buf_add_char(&b, '\0');
	return b.data;
}

/* Sends all requests while reading all replies, so that neither side waits for the other to read. */
static void exchange(int fd, const struct buf *requests, const struct buf *replies)
{
	size_t sent = 0, got = 0;
	char part[65536];
	while (got < replies->len) {
		struct pollfd p = {.fd = fd, .events = POLLIN | (sent < requests->len ? POLLOUT : 0)};
		ck_assert_msg(poll(&p, 1, 5000) == 1, "stuck with %zu bytes sent and %zu received", sent, got);
		if (p.revents & POLLOUT) {
			ssize_t n = send(fd, requests->data + sent, requests->len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
			sent += n > 0 ? (size_t)n : 0;
		}
		if (!(p.revents & ~POLLOUT))
			continue;
		ssize_t n = read(fd, part, sizeof(part));
		ck_assert_msg(n > 0 && (size_t)n <= replies->len - got && memcmp(part, replies->data + got, (size_t)n) == 0,
			"wrong replies from byte %zu on", got);
		got += (size_t)n;
	}
}

/* ---- commands ---- */

START_TEST(ping_and_echo_answer)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "PONG", "PING");
	expect(c, "\"hello\"", "PING hello");
	expect(c, "\"hello\"", "ECHO hello");
	expect(c, "PONG", "ping");
	harness_free(h);
}
END_TEST

START_TEST(set_and_get_keep_every_byte)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	char all[512];
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	expect(c, "OK", "SET m:a %b", all, sizeof(all));
	redisReply *r = ask(c, "GET m:a");
	ck_assert_uint_eq(r->len, sizeof(all));
	ck_assert_mem_eq(r->str, all, sizeof(all));
	freeReplyObject(r);
	expect(c, "OK", "SET m:empty %s", "");
	expect(c, "\"\"", "GET m:empty");
	expect(c, "nil", "GET m:missing");
	expect(c, "[\"\", nil, nil]", "MGET m:empty m:missing m:gone");
	harness_free(h);
}
END_TEST

START_TEST(set_honours_its_options_in_any_order_and_case)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "nil", "SET m:a 1 XX");
	expect(c, "OK", "SET m:a 1 NX");
	expect(c, "nil", "SET m:a 2 nx");
	expect(c, "\"1\"", "GET m:a");
	expect(c, "OK", "SET m:a 3 ex 100 xx");
	ck_assert_int_le(ask_integer(c, "PTTL m:a"), 100000);
	ck_assert_int_gt(ask_integer(c, "PTTL m:a"), 90000);
	expect(c, "OK", "SET m:a 4 XX PX 50000");
	ck_assert_int_le(ask_integer(c, "PTTL m:a"), 50000);
	expect(c, "OK", "SETEX m:a 20 5");
	ck_assert_int_le(ask_integer(c, "TTL m:a"), 20);
	expect(c, "\"5\"", "GET m:a");
	expect(c, "OK", "SET m:a 6");
	ck_assert_int_gt(ask_integer(c, "TTL m:a"), 3000);
	harness_free(h);
}
END_TEST

START_TEST(set_refuses_bad_options_and_keeps_the_value)
{
	static const char *const bad[] = {"EX 0", "EX -1", "EX x", "EX", "PX 1.5", "EX 99999999999999999999",
		"NX XX", "BOGUS", "EX 10 PX 10"};
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "OK", "SET m:a kept");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char command[100];
		snprintf(command, sizeof(command), "SET m:a lost %s", bad[i]);
		redisReply *r = redisCommand(c, command);
		ck_assert_msg(r && r->type == REDIS_REPLY_ERROR && strncmp(r->str, "ERR ", 4) == 0, "%s was accepted", command);
		freeReplyObject(r);
	}
	expect_error(c, "ERR", "invalid expire time", "SETEX m:a 0 lost");
	expect_error(c, "ERR", "not an integer", "SETEX m:a ten lost");
	expect(c, "\"kept\"", "GET m:a");
	harness_free(h);
}
END_TEST

START_TEST(del_unlink_and_exists_count_keys)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "OK", "SET m:a 1");
	expect(c, "OK", "SET m:b 1");
	expect(c, "OK", "SET m:c 1");
	expect(c, "3", "EXISTS m:a m:b m:a m:x");
	expect(c, "2", "DEL m:a m:b m:x");
	expect(c, "0", "EXISTS m:a");
	expect(c, "1", "UNLINK m:c");
	expect(c, "0", "DEL m:c");
	expect(c, "[nil, nil, nil]", "MGET m:a m:b m:c");
	harness_free(h);
}
END_TEST

START_TEST(expire_sets_the_time_left_and_a_past_one_removes)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "-2", "TTL m:a");
	expect(c, "-2", "PTTL m:a");
	expect(c, "0", "EXPIRE m:a 10");
	expect(c, "OK", "SET m:a 1");
	expect(c, "1", "EXPIRE m:a 10");
	ck_assert_int_le(ask_integer(c, "TTL m:a"), 10);
	ck_assert_int_gt(ask_integer(c, "PTTL m:a"), 5000);
	expect_error(c, "ERR", "not an integer", "EXPIRE m:a soon");
	expect(c, "1", "EXPIRE m:a 0");
	expect(c, "nil", "GET m:a");
	harness_free(h);
}
END_TEST

START_TEST(strlen_digest_and_meta_describe_a_value)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	char digest[20], shown[24];
	snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)XXH3_64bits("[1,2,3]", 7));
	snprintf(shown, sizeof(shown), "\"%s\"", digest);
	expect(c, "0", "STRLEN m:a");
	expect(c, "nil", "DIGEST m:a");
	ck_assert_str_eq(ask_meta(c, "m:a", "state"), "absent");
	expect(c, "OK", "SET m:a [1,2,3]");
	expect(c, "7", "STRLEN m:a");
	expect(c, shown, "DIGEST m:a");
	ck_assert_str_eq(ask_meta(c, "m:a", "type"), "plain");
	ck_assert_str_eq(ask_meta(c, "m:a", "tier"), "memory");
	ck_assert_str_eq(ask_meta(c, "m:a", "state"), "fresh");
	ck_assert_str_eq(ask_meta(c, "m:a", "size"), "7");
	ck_assert_str_eq(ask_meta(c, "m:a", "items"), "3");
	ck_assert_str_eq(ask_meta(c, "m:a", "digest"), digest);
	ck_assert_int_gt(atol(ask_meta(c, "m:a", "ttl_ms")), 3000000);
	ck_assert_int_lt(atol(ask_meta(c, "m:a", "age_ms")), 60000);
	ck_assert_ptr_nonnull(ask_meta(c, "m:a", "source"));
	ck_assert_ptr_nonnull(ask_meta(c, "m:a", "stored_at"));
	harness_free(h);
}
END_TEST

START_TEST(getif_sends_the_value_only_when_it_changed)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	char same[64], other[64], digest[20];
	snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)XXH3_64bits("hello", 5));
	snprintf(same, sizeof(same), "[\"%s\", nil]", digest);
	snprintf(other, sizeof(other), "[\"%s\", \"hello\"]", digest);
	expect(c, "nil", "GETIF m:a 0000000000000000");
	expect(c, "OK", "SET m:a hello");
	expect(c, other, "GETIF m:a 0000000000000000");
	expect(c, other, "GETIF m:a none");
	expect(c, same, "GETIF m:a %s", digest);
	ck_assert_int_eq(ask_stat(c, "plain", "memory_hits"), 3); /* also the first, for which the value was looked through */
	harness_free(h);
}
END_TEST

START_TEST(peek_and_the_describing_commands_never_fetch)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "nil", "PEEK slow:a");
	expect(c, "0", "EXISTS slow:a");
	expect(c, "-2", "TTL slow:a");
	expect(c, "-2", "PTTL slow:a");
	expect(c, "0", "STRLEN slow:a");
	expect(c, "nil", "DIGEST slow:a");
	ck_assert_str_eq(ask_meta(c, "slow:a", "state"), "absent");
	ck_assert_uint_eq(harness_hook_runs(h, "hook"), 0);
	harness_write(h, "go", "");
	expect(c, "\"built a\"", "GET slow:a");
	expect(c, "\"built a\"", "PEEK slow:a");
	ck_assert_uint_eq(harness_hook_runs(h, "hook"), 1);
	harness_free(h);
}
END_TEST

START_TEST(refresh_replaces_what_is_held)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	harness_write(h, "go", "");
	expect(c, "OK", "SET slow:a old");
	expect(c, "\"old\"", "GET slow:a");
	expect(c, "OK", "REFRESH slow:a");
	expect(c, "\"built a\"", "GET slow:a");
	expect_error(c, "ERR", "fetch", "REFRESH m:a");
	harness_free(h);
}
END_TEST

START_TEST(invalidate_takes_a_type_or_a_prefix)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	for (int i = 0; i < 10; i++)
		expect(c, "OK", "SET m:%s%d 1", i < 4 ? "a" : "b", i);
	expect(c, "4", "INVALIDATE m:a*");
	expect(c, "6", "EXISTS m:a0 m:b4 m:b5 m:b6 m:b7 m:b8 m:b9");
	expect(c, "6", "INVALIDATE plain");
	expect(c, "0", "INVALIDATE plain");
	expect_error(c, "ERR", "no such type", "INVALIDATE nosuch");
	harness_free(h);
}
END_TEST

START_TEST(hashkey_equals_pythons)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "\"87ea11d9b5b63f5a\"", "HASHKEY %s", "{\"b\":1,\"a\":[1.50,null,\"\u00e9\"]}");
	expect(c, "\"87ea11d9b5b63f5a\"", "HASHKEY %s", " {\"a\": [1.5, null, \"\\u00e9\"], \"b\": 1} ");
	expect(c, "\"2a24a769ad090bc1\"", "HASHKEY %s", "{\"tools\": true, \"model\": \"gpt-4\"}");
	expect_error(c, "ERR", "JSON", "HASHKEY %s", "{\"open\":");
	harness_free(h);
}
END_TEST

START_TEST(stats_and_info_tell_of_the_daemon)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	struct json_summary summary;
	redisReply *r = ask(c, "STATS");
	ck_assert_msg(json_check(r->str, r->len, &summary, NULL) == 0 && summary.kind == JSON_OBJECT, "STATS: %s", r->str);
	freeReplyObject(r);
	r = ask(c, "STATS plain");
	ck_assert_msg(json_check(r->str, r->len, &summary, NULL) == 0 && summary.kind == JSON_OBJECT, "STATS plain: %s", r->str);
	freeReplyObject(r);
	expect_error(c, "ERR", "no such type", "STATS nosuch");
	r = ask(c, "INFO");
	ck_assert_ptr_nonnull(strstr(r->str, "# Server"));
	ck_assert_ptr_nonnull(strstr(r->str, "redis_version:"));
	freeReplyObject(r);
	harness_free(h);
}
END_TEST

START_TEST(client_libraries_find_what_they_ask_on_connecting)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "OK", "CLIENT SETNAME gateway");
	expect(c, "\"gateway\"", "CLIENT GETNAME");
	expect(c, "OK", "CLIENT SETINFO LIB-NAME test");
	ck_assert_int_gt(ask_integer(c, "CLIENT ID"), 0);
	expect(c, "OK", "SELECT 0");
	expect_error(c, "ERR", "", "SELECT x");
	ck_assert_int_gt(ask_integer(c, "COMMAND COUNT"), 25);
	redisReply *r = ask(c, "COMMAND");
	ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
	ck_assert_uint_gt(r->elements, 25);
	freeReplyObject(r);
	r = ask(c, "CONFIG GET maxmemory");
	ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
	freeReplyObject(r);
	r = ask(c, "HELLO");
	ck_assert_uint_eq(r->elements, 14);
	freeReplyObject(r);
	expect_error(c, "NOPROTO", "", "HELLO 4");
	expect_error(c, "ERR", "", "HELLO x");
	harness_free(h);
}
END_TEST

START_TEST(quit_answers_and_closes)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "PING\r\nQUIT\r\n");
	raw_expect(fd, "+PONG\r\n+OK\r\n");
	raw_expect_close(fd);
	harness_free(h);
}
END_TEST

START_TEST(hello_3_switches_to_resp3_and_back)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "GET m:x\r\nHELLO 3\r\n");
	raw_expect(fd, "$-1\r\n%7\r\n");
	char *rest = read_through(fd, "$7\r\nmodules\r\n*0\r\n");
	ck_assert_ptr_nonnull(strstr(rest, "$5\r\nproto\r\n:3\r\n"));
	free(rest);
	raw_send(fd, "GET m:x\r\nMGET m:x\r\nGETIF m:x 0\r\nMETA m:x\r\n");
	raw_expect(fd, "_\r\n*1\r\n_\r\n_\r\n%");
	raw_send(fd, "HELLO 2\r\n");
	free(read_through(fd, "*14\r\n"));
	free(read_through(fd, "$7\r\nmodules\r\n*0\r\n"));
	raw_send(fd, "GET m:x\r\n");
	raw_expect(fd, "$-1\r\n");
	close(fd);
	harness_free(h);
}
END_TEST

/* ---- framing ---- */

START_TEST(lines_and_arrays_mean_the_same)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "set m:a \"two words\\r\\n\\x41\"\nGET m:a\r\n*2\r\n$3\r\nget\r\n$3\r\nm:a\r\n"
		"  EXISTS\tm:a   'm:b' \r\n");
	raw_expect(fd, "+OK\r\n$12\r\ntwo words\r\nA\r\n$12\r\ntwo words\r\nA\r\n:1\r\n");
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(empty_requests_are_passed_over)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "\r\n\n   \r\n*0\r\n*-1\r\n*-10\r\nPING\r\n");
	raw_expect(fd, "+PONG\r\n");
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(a_request_may_arrive_cut_at_any_byte)
{
	static const char request[] = "*3\r\n$3\r\nSET\r\n$3\r\nm:a\r\n$11\r\nhello\r\nw\0r!\r\nGET m:a\r\n";
	static const char reply[] = "+OK\r\n$11\r\nhello\r\nw\0r!\r\n";
	struct harness *h = start();
	int fd = raw_connect(h);
	for (size_t cut = 1; cut < sizeof(request) - 1; cut++) {
		raw_send_bytes(fd, request, cut);
		raw_sent(fd);
		raw_send_bytes(fd, request + cut, sizeof(request) - 1 - cut);
		raw_expect_bytes(fd, reply, sizeof(reply) - 1);
	}
	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		raw_send_bytes(fd, request + i, 1);
		raw_sent(fd);
	}
	raw_expect_bytes(fd, reply, sizeof(reply) - 1);
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(a_value_of_64_mib_goes_in_and_out)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	size_t len = 64 * MIB;
	uint64_t *value = xmalloc(len);
	for (size_t i = 0; i < len / sizeof(*value); i++)
		value[i] = i * 0x9e3779b97f4a7c15u;
	raw_send(fd, "*3\r\n$3\r\nSET\r\n$5\r\nm:big\r\n$67108864\r\n");
	raw_send_bytes(fd, value, len);
	raw_send(fd, "\r\nGET m:big\r\nSTRLEN m:big\r\n");
	raw_expect(fd, "+OK\r\n$67108864\r\n");
	raw_expect_bytes(fd, value, len);
	raw_expect(fd, "\r\n:67108864\r\n");
	free(value);
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(an_argument_over_max_request_is_refused_before_it_is_sent)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "PING\r\n*3\r\n$3\r\nSET\r\n$5\r\nm:big\r\n$67108865\r\n");
	raw_expect(fd, "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n");
	raw_expect_close(fd);
	harness_free(h);
}
END_TEST

START_TEST(replies_come_in_the_order_of_the_requests)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "PING first\r\nGET slow:a\r\nPING second\r\nGET m:x\r\nMGET m:x slow:b m:x\r\nPING last\r\n");
	raw_expect(fd, "$5\r\nfirst\r\n");
	expect(harness_connect(h), "PONG", "PING");
	ck_assert_msg(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 0, "a reply came too early");
	harness_write(h, "go", "");
	raw_expect(fd, "$7\r\nbuilt a\r\n$6\r\nsecond\r\n$-1\r\n*3\r\n$-1\r\n$7\r\nbuilt b\r\n$-1\r\n$4\r\nlast\r\n");
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(ten_thousand_pipelined_requests_are_all_answered)
{
	enum { N = 10000 };
	struct harness *h = start();
	int fd = raw_connect(h);
	struct buf requests = BUF_INIT, replies = BUF_INIT;
	for (int i = 0; i < N; i++) {
		buf_addf(&requests, "SET m:%d %d\r\nGET m:%d\r\n", i % 100, i, i % 100);
		buf_addf(&replies, "+OK\r\n$%d\r\n%d\r\n", snprintf(NULL, 0, "%d", i), i);
	}
	exchange(fd, &requests, &replies);
	buf_free(&requests);
	buf_free(&replies);
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(a_client_that_stops_sending_still_gets_its_replies)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "SET m:a 1\nGET m:a\n");
	shutdown(fd, SHUT_WR);
	raw_expect(fd, "+OK\r\n$1\r\n1\r\n");
	raw_expect_close(fd);
	harness_free(h);
}
END_TEST

/* ---- bad input ---- */

struct hostile {
	const char *input, *reply;
};

static void send_hostile(struct harness *h, const struct hostile *t)
{
	int fd = raw_connect(h);
	raw_send(fd, t->input);
	raw_expect(fd, t->reply);
	raw_expect_close(fd);
}

START_TEST(a_broken_frame_is_told_and_closed)
{
	static const struct hostile tests[] = {
		{"*1\r\nfoo\r\n", "-ERR Protocol error: expected '$', got 'f'\r\n"},
		{"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "-ERR Protocol error: expected '$', got 'f'\r\n"},
		{"*1\r\n$-10\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		{"*1\r\n$abc\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		{"*1\r\n$4x\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		{"*1\r\n$2000000000\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		{"*1\r\n$99999999999999999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		{"*20000000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
		{"*1048577\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
		{"*abc\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
		{"set \"\"\"test\"\"\"\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
		{"get \"open\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
		{"get 'open\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
		{"POST / HTTP/1.1\r\n", ""},
		{"Host: localhost\r\n", ""},
	};
	struct harness *h = start();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		send_hostile(h, &tests[i]);
	expect(harness_connect(h), "PONG", "PING");
	harness_free(h);
}
END_TEST

START_TEST(a_line_without_end_is_refused)
{
	static char line[70001];
	struct harness *h = start();
	memset(line, 'x', sizeof(line) - 1);
	send_hostile(h, &(struct hostile){line, "-ERR Protocol error: too big inline request\r\n"});
	memset(line, '1', sizeof(line) - 1);
	line[0] = '*';
	send_hostile(h, &(struct hostile){line, "-ERR Protocol error: too big mbulk count string\r\n"});
	memcpy(line, "*1\r\n$", 5);
	send_hostile(h, &(struct hostile){line, "-ERR Protocol error: too big bulk count string\r\n"});
	expect(harness_connect(h), "PONG", "PING");
	harness_free(h);
}
END_TEST

START_TEST(a_bad_request_leaves_the_connection_open)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect_error(c, "ERR", "unknown command 'NOSUCH'", "NOSUCH a b");
	expect_error(c, "ERR", "unknown command", "%s", "");
	expect_error(c, "ERR", "subcommand", "CLIENT NOSUCH");
	expect_error(c, "ERR", "NUL", "GET %b", "m:\0x", (size_t)4);
	expect_error(c, "ERR", "NUL", "SET %b v", "m:\0x", (size_t)4);
	expect_error(c, "ERR", "key", "GET %s", "");
	expect_error(c, "UNAVAILABLE redis", "", "GET undeclared");
	expect(c, "PONG", "PING");
	harness_free(h);
}
END_TEST

START_TEST(wrong_arity_is_named)
{
	static const char *const bad[] = {"ping a b", "echo", "get", "get m:a m:b", "mget", "set m:a", "setex m:a 1",
		"del", "unlink", "exists", "ttl", "ttl m:a m:b", "pttl", "expire m:a", "strlen", "digest", "getif m:a",
		"peek", "meta", "refresh", "invalidate", "hashkey", "select", "config", "client"};
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[100];
		snprintf(text, sizeof(text), "ERR wrong number of arguments for '%.*s' command", (int)strcspn(bad[i], " "), bad[i]);
		redisReply *r = redisCommand(c, bad[i]);
		ck_assert_msg(r && r->type == REDIS_REPLY_ERROR && strcmp(r->str, text) == 0, "%s: %s", bad[i],
			r ? r->str : c->errstr);
		freeReplyObject(r);
	}
	expect(c, "PONG", "PING");
	harness_free(h);
}
END_TEST

/* ---- slow readers ---- */

/* Sends until the daemon has read nothing for a while, at most len bytes. Returns the bytes sent. */
static size_t send_until_paused(int fd, const char *data, size_t len)
{
	size_t sent = 0;
	while (sent < len && poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 500) == 1) {
		ssize_t n = send(fd, data + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		ck_assert_msg(n > 0 || errno == EAGAIN, "send: %s", strerror(errno));
		sent += n > 0 ? (size_t)n : 0;
	}
	return sent;
}

START_TEST(a_slow_reader_is_paused_and_never_buffered_without_bound)
{
	enum { N = 1000, BODY = 100000 };
	struct harness *h = start();
	redisContext *other = harness_connect(h);
	int fd = raw_connect(h);
	struct buf request = BUF_INIT, all = BUF_INIT;
	buf_addf(&request, "*2\r\n$4\r\nECHO\r\n$%d\r\n", BODY);
	memset(buf_reserve(&request, BODY), 'x', BODY);
	request.len += BODY;
	buf_add_str(&request, "\r\n");
	for (int i = 0; i < N; i++)
		buf_add(&all, request.data, request.len);

	size_t sent = send_until_paused(fd, all.data, all.len);
	ck_assert_msg(sent < 32 * MIB, "%zu bytes were read from a client that reads nothing", sent);
	expect(other, "PONG", "PING");
	if (!SANITIZED)
		ck_assert_uint_lt(harness_peak(h), 64 * MIB);

	const char *reply = request.data + strlen("*2\r\n$4\r\nECHO\r\n");
	size_t reply_len = request.len - strlen("*2\r\n$4\r\nECHO\r\n"), whole = sent / request.len, rest = sent % request.len;
	for (size_t i = 0; i < whole; i++)
		raw_expect_bytes(fd, reply, reply_len);
	raw_send_bytes(fd, request.data + rest, request.len - rest);
	raw_expect_bytes(fd, reply, reply_len);
	raw_send(fd, "PING\r\n");
	raw_expect(fd, "+PONG\r\n");
	buf_free(&request);
	buf_free(&all);
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(a_client_may_leave_with_replies_unread)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	char *value = xcalloc(1, 4 * MIB);
	expect(c, "OK", "SET m:big %b", value, 4 * MIB);
	free(value);
	for (int i = 0; i < 20; i++) {
		int fd = raw_connect(h);
		raw_send(fd, "GET m:big\r\nGET m:big\r\nGET slow:a\r\nGET m:big\r\n");
		raw_expect(fd, "$4194304\r\n");
		close(fd);
	}
	harness_write(h, "go", "");
	expect(c, "\"built a\"", "GET slow:a");
	harness_free(h);
}
END_TEST

START_TEST(a_client_may_leave_in_the_middle_of_a_request)
{
	struct harness *h = start();
	static const char *const parts[] = {"GE", "*2\r\n$3\r\nGET\r\n$5\r\nm", "*3\r\n$3\r\nSET\r\n$3\r\nm:a\r\n$9000000\r\nxyz",
		"*1000000\r\n$4\r\nMGET\r\n$1\r\na\r\n"};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		int fd = raw_connect(h);
		raw_send(fd, parts[i]);
		raw_sent(fd);
		close(fd);
	}
	expect(harness_connect(h), "PONG", "PING");
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		ping_and_echo_answer,
		set_and_get_keep_every_byte,
		set_honours_its_options_in_any_order_and_case,
		set_refuses_bad_options_and_keeps_the_value,
		del_unlink_and_exists_count_keys,
		expire_sets_the_time_left_and_a_past_one_removes,
		strlen_digest_and_meta_describe_a_value,
		getif_sends_the_value_only_when_it_changed,
		peek_and_the_describing_commands_never_fetch,
		refresh_replaces_what_is_held,
		invalidate_takes_a_type_or_a_prefix,
		hashkey_equals_pythons,
		stats_and_info_tell_of_the_daemon,
		client_libraries_find_what_they_ask_on_connecting,
		quit_answers_and_closes,
		hello_3_switches_to_resp3_and_back,
		lines_and_arrays_mean_the_same,
		empty_requests_are_passed_over,
		a_request_may_arrive_cut_at_any_byte,
		a_value_of_64_mib_goes_in_and_out,
		an_argument_over_max_request_is_refused_before_it_is_sent,
		replies_come_in_the_order_of_the_requests,
		ten_thousand_pipelined_requests_are_all_answered,
		a_client_that_stops_sending_still_gets_its_replies,
		a_broken_frame_is_told_and_closed,
		a_line_without_end_is_refused,
		a_bad_request_leaves_the_connection_open,
		wrong_arity_is_named,
		a_slow_reader_is_paused_and_never_buffered_without_bound,
		a_client_may_leave_with_replies_unread,
		a_client_may_leave_in_the_middle_of_a_request,
	};
	return harness_main("protocol", tests, sizeof(tests) / sizeof(tests[0]));
}
