/* Links that relay: what Redis answers must arrive byte for byte as it says it on a plain
 * connection, and a link that is lost answers each call once. Against a real redis-server;
 * against a fake one for replies that break off. */
#include <check.h>
#include <errno.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../daemon/clock.h"
#include "../../daemon/out.h"
#include "../../daemon/redis_link.h"
#include "../../proto/reply_scan.h"
#include "redis_rig.h"
#include "redisd.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define TIMEOUT_MS 500          /* of links to servers that hang */
#define PART_MAX 65536          /* no more comes in one call */

/* ---- the link under test ---- */

static struct redis_link *link_;
static unsigned n_ups;

static void on_state(void *arg, bool up)
{
	(void)arg;
	n_ups += up;
}

static void open_link(int resp)
{
	n_ups = 0;
	link_ = redis_link_new(base, &(struct redis_link_options){.conf = &redis_conf, .name = "relay", .on_state = on_state, .relay_resp = resp});
}

static void bring_up(int resp)
{
	open_link(resp);
	run_until(redis_link_up(link_), LIMIT_MS);
}

static void teardown(void)
{
	redis_link_free(link_);
	link_ = NULL;
	teardown_rig();
}

static void relay_bytes(const char *bytes, size_t len, unsigned n_replies, struct relayed *r)
{
	clock_update();
	buf_add(&redis_link_begin_relay(link_, n_replies, on_relayed, r)->bytes, bytes, len);
	ck_assert_msg(r->n_parts == 0, "answered before the call returned");
}

static void relay(const char *const *words, struct relayed *r)
{
	struct buf b = BUF_INIT;
	add_command(&b, words);
	relay_bytes(b.data, b.len, 1, r);
	buf_free(&b);                           /* borrowed until the call returned */
}

#define RELAY(r, ...) relay((const char *const[]){__VA_ARGS__, NULL}, r)

/* ---- the same on a plain connection ---- */

static int plain_fd;

static void plain_send(const char *const *words)
{
	struct buf b = BUF_INIT;
	add_command(&b, words);
	ck_assert_int_eq(send(plain_fd, b.data, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
	buf_free(&b);
}

static struct buf plain_ask(const char *const *words)
{
	struct buf reply = BUF_INIT;
	struct reply_scan scan = {0};
	bool is_end = false;
	plain_send(words);
	while (!is_end) {
		char *room = buf_reserve(&reply, PART_MAX);
		ssize_t n = recv(plain_fd, room, PART_MAX, 0);
		ck_assert_int_gt(n, 0);
		ck_assert_uint_eq(reply_scan(&scan, room, (size_t)n, &is_end), (size_t)n);
		reply.len += (size_t)n;
	}
	return reply;
}

static struct sockaddr_un server_address(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	ck_assert_uint_lt(strlen(socket_path), sizeof(at.sun_path));
	memcpy(at.sun_path, socket_path, strlen(socket_path));
	return at;
}

static void plain_connect(int resp)
{
	struct sockaddr_un at = server_address();
	plain_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(plain_fd, (struct sockaddr *)&at, sizeof(at)), 0);
	if (resp == 3) {
		struct buf hello = plain_ask((const char *const[]){"HELLO", "3", NULL});
		buf_free(&hello);
	}
}

static void expect_as_plain(const char *const *words)
{
	struct relayed r = {0};
	struct buf expected = plain_ask(words);
	relay(words, &r);
	expect_relayed(&r, expected.data, expected.len);
	buf_free(&expected);
}

/* ---- replies ---- */

#define COMMAND(...) (const char *const[]){__VA_ARGS__, NULL}

static const char *const *const commands[] = {
	COMMAND("PING"),
	COMMAND("ECHO", ""),
	COMMAND("ECHO", "a\r\n$1\r\nb"),
	COMMAND("GET", "none"),
	COMMAND("GET", "s"),
	COMMAND("STRLEN", "s"),
	COMMAND("LRANGE", "l", "0", "-1"),
	COMMAND("LRANGE", "none", "0", "-1"),
	COMMAND("HGETALL", "h"),
	COMMAND("HGETALL", "none"),
	COMMAND("HMGET", "h", "f", "none", "g"),
	COMMAND("SMEMBERS", "one"),
	COMMAND("SISMEMBER", "one", "x"),
	COMMAND("ZRANGE", "z", "0", "-1", "WITHSCORES"),
	COMMAND("ZSCORE", "z", "a"),
	COMMAND("ZSCORE", "z", "c"),
	COMMAND("DEL", "none"),
	COMMAND("XRANGE", "x", "-", "+"),
	COMMAND("GEOPOS", "none", "a"),
	COMMAND("SCAN", "0", "MATCH", "nothing*", "COUNT", "1000"),
	COMMAND("CONFIG", "GET", "maxmemory*"),
	COMMAND("COMMAND", "INFO", "get", "none"),
	COMMAND("INFO", "nosuchsection"),
	COMMAND("NOSUCHCOMMAND", "a"),
	COMMAND("GET"),
	COMMAND("INCR", "l"),
	COMMAND("EVAL", "return {1, 'two', {3, {}}, false, redis.status_reply('FINE'), 3.7}", "0"),
	COMMAND("EVAL", "redis.setresp(3); return {map={a=1}}", "0"),
	COMMAND("EVAL", "redis.setresp(3); return {double=1.5}", "0"),
	COMMAND("EVAL", "return redis.error_reply('MINE no')", "0"),
	COMMAND("DEBUG", "PROTOCOL", "string"),
	COMMAND("DEBUG", "PROTOCOL", "integer"),
	COMMAND("DEBUG", "PROTOCOL", "double"),
	COMMAND("DEBUG", "PROTOCOL", "bignum"),
	COMMAND("DEBUG", "PROTOCOL", "null"),
	COMMAND("DEBUG", "PROTOCOL", "array"),
	COMMAND("DEBUG", "PROTOCOL", "set"),
	COMMAND("DEBUG", "PROTOCOL", "map"),
	COMMAND("DEBUG", "PROTOCOL", "attrib"),
	COMMAND("DEBUG", "PROTOCOL", "verbatim"),
	COMMAND("DEBUG", "PROTOCOL", "true"),
	COMMAND("DEBUG", "PROTOCOL", "false"),
};

static void fill(void)
{
	told("SET s value");
	told("RPUSH l a b %b", "c\0\r\n", (size_t)4);
	told("HSET h f 1 g 2");
	told("SADD one x");
	told("ZADD z 1.5 a inf b -3e300 c");
	told("XADD x 1-1 f v");
}

START_TEST(replies_are_those_of_a_plain_connection)
{
	fill();
	bring_up(_i);
	plain_connect(_i);
	for (size_t i = 0; i < LEN(commands); i++)
		expect_as_plain(commands[i]);
	ck_assert_uint_eq(n_ups, 1);
	ck_assert_uint_eq(redis_link_stats(link_)->pending, 0);
	close(plain_fd);
}
END_TEST

START_TEST(large_replies_come_in_parts)
{
	enum { BYTES = 20000000, ELEMENTS = 300000 };
	told("SETRANGE large %d x", BYTES);
	told("EVAL %s 0", "for i = 1, 300000 do redis.call('RPUSH', 'many', 'element ' .. i) end");
	bring_up(_i);
	plain_connect(_i);
	const char *const *const large[] = {COMMAND("GET", "large"), COMMAND("LRANGE", "many", "0", "-1"),
		COMMAND("MGET", "large", "none", "large")};
	for (size_t i = 0; i < LEN(large); i++) {
		struct relayed r = {0};
		relay(large[i], &r);
		struct buf expected = plain_ask(large[i]);
		wait_relayed(&r);
		ck_assert_uint_ge(r.n_parts, expected.len / PART_MAX);
		expect_relayed(&r, expected.data, expected.len);
		buf_free(&expected);
	}
	close(plain_fd);
}
END_TEST

START_TEST(each_of_many_calls_gets_its_reply)
{
	enum { CALLS = 20000 };
	struct relayed *calls = xcalloc(CALLS, sizeof(*calls));
	char text[32], key[16];
	told("SETRANGE large 100000 x");
	bring_up(_i);
	for (unsigned i = 0; i < CALLS; i++) {
		snprintf(key, sizeof(key), "%u", i);
		if (i % 1000 == 7)
			RELAY(&calls[i], "GET", "large");
		else
			RELAY(&calls[i], "ECHO", key);
	}
	ck_assert_uint_eq(redis_link_stats(link_)->pending, CALLS);
	for (unsigned i = 0; i < CALLS; i++) {
		int n = snprintf(key, sizeof(key), "%u", i);
		wait_relayed(&calls[i]);
		if (i % 1000 == 7)
			ck_assert_uint_eq(calls[i].bytes.len, strlen("$100001\r\n") + 100001 + 2);
		else
			expect_relayed(&calls[i], text, (size_t)snprintf(text, sizeof(text), "$%d\r\n%s\r\n", n, key));
		relayed_clear(&calls[i]);
	}
	ck_assert_uint_eq(redis_link_stats(link_)->pending, 0);
	free(calls);
}
END_TEST

START_TEST(of_several_commands_the_last_reply_is_handed_on)
{
	struct buf b = BUF_INIT;
	struct relayed several = {0}, one = {0};
	bring_up(_i);
	add_command(&b, COMMAND("MULTI"));
	add_command(&b, COMMAND("SET", "a", "1"));
	add_command(&b, COMMAND("NOSUCHCOMMAND"));
	relay_bytes(b.data, b.len, 3, &several);
	RELAY(&one, "DISCARD");
	wait_relayed(&several);
	ck_assert_msg(strncmp(several.bytes.data, "-ERR unknown command", 20) == 0, "%.*s", (int)several.bytes.len, several.bytes.data);
	expect_relayed(&one, "+OK\r\n", 5);
	b.len = 0;
	relayed_clear(&several);
	add_command(&b, COMMAND("MULTI"));
	add_command(&b, COMMAND("ECHO", "x"));
	add_command(&b, COMMAND("EXEC"));
	relay_bytes(b.data, b.len, 3, &several);
	expect_relayed(&several, "*1\r\n$1\r\nx\r\n", 11);
	buf_free(&b);
}
END_TEST

/* ---- while it is away ---- */

START_TEST(call_while_it_is_down_is_answered_at_once_but_from_the_loop)
{
	struct relayed r = {0};
	open_link(_i);
	RELAY(&r, "PING");
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(r.n_ends, 1);
	expect_lost(&r, "");
	start_server(NULL);
	run_until(redis_link_up(link_), LIMIT_MS);
	RELAY(&r, "PING");
	expect_relayed(&r, "+PONG\r\n", 7);
}
END_TEST

START_TEST(server_that_hangs_is_waited_for_no_longer_than_the_timeout)
{
	struct relayed r[10] = {0};
	redis_conf.timeout_ms = TIMEOUT_MS;
	bring_up(_i);
	pause_server();
	for (size_t i = 0; i < LEN(r); i++)
		RELAY(&r[i], "PING");
	for (size_t i = 0; i < LEN(r); i++)
		expect_lost(&r[i], "timed out");
	resume_server();
	run_until(redis_link_up(link_), LIMIT_MS);
	RELAY(&r[0], "PING");
	expect_relayed(&r[0], "+PONG\r\n", 7);
	for (size_t i = 1; i < LEN(r); i++)
		ck_assert_uint_eq(r[i].n_parts, 0);     /* late replies are no answers */
}
END_TEST

START_TEST(free_answers_each_outstanding_call_once)
{
	struct relayed r[5] = {0};
	bring_up(_i);
	pause_server();
	for (size_t i = 0; i < LEN(r); i++)
		RELAY(&r[i], "PING");
	event_base_loop(base, EVLOOP_NONBLOCK);
	redis_link_free(link_);
	link_ = NULL;
	for (size_t i = 0; i < LEN(r); i++)
		ck_assert(r[i].n_ends == 1 && r[i].n_parts == 1 && r[i].is_lost);
}
END_TEST

/* ---- a server that breaks off ---- */

/* It shakes hands, then answers the first thing it reads with text, and closes if it is to. */
static struct {
	struct evconnlistener *listener;
	const char *hello;              /* of a RESP3 relay */
	const char *text;
	bool closes;
	bool is_on_trial;               /* the link's PING after the handshake is next */
	unsigned n_connections, n_reads;
} fake;

static void fake_say(evutil_socket_t fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static struct event *fake_readable;

static void drop_fake_connection(void)
{
	if (!fake_readable)
		return;
	close(event_get_fd(fake_readable));
	event_free(fake_readable);
	fake_readable = NULL;
}

static void on_fake_readable(evutil_socket_t fd, short what, void *arg)
{
	char bytes[65536];
	(void)what, (void)arg;
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
	if (n <= 0) {
		event_del(fake_readable);
	} else if (memmem(bytes, (size_t)n, "SETNAME", 7)) {
		fake.is_on_trial = true;
		fake_say(fd, "+OK\r\n");
	} else if (fake.is_on_trial && memmem(bytes, (size_t)n, "PING", 4)) {
		fake.is_on_trial = false;
		fake_say(fd, "+PONG\r\n");
	} else if (memmem(bytes, (size_t)n, "DISCARD", 7)) {      /* behind MULTI: its last trial */
		if (memmem(bytes, (size_t)n, "HELLO", 5))
			fake_say(fd, fake.hello);
		fake_say(fd, "+OK\r\n+OK\r\n");
	} else {
		fake.n_reads++;
		fake_say(fd, fake.text);
		if (fake.closes)
			drop_fake_connection();
	}
}

static void on_fake_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int from_len, void *arg)
{
	(void)listener, (void)from, (void)from_len, (void)arg;
	drop_fake_connection();
	fake.n_connections++;
	fake_readable = event_new(base, fd, EV_READ | EV_PERSIST, on_fake_readable, NULL);
	event_add(fake_readable, NULL);
}

static void setup_fake(void)
{
	setup_rig();
	struct sockaddr_un at = server_address();
	memset(&fake, 0, sizeof(fake));
	fake.hello = "%1\r\n$5\r\nproto\r\n:3\r\n";
	fake.closes = true;
	fake.listener = evconnlistener_new_bind(base, on_fake_accept, NULL, LEV_OPT_CLOSE_ON_FREE, -1, (struct sockaddr *)&at, sizeof(at));
	ck_assert_ptr_nonnull(fake.listener);
}

static void teardown_fake(void)
{
	redis_link_free(link_);
	link_ = NULL;
	drop_fake_connection();
	evconnlistener_free(fake.listener);
	unlink(socket_path);
	teardown_rig();
}

/* Three calls, and what the server says before it goes: the first whole replies (of so many
 * calls) are theirs, the others are lost. */
static const struct {
	const char *text;
	unsigned n_whole;
} breaks[] = {
	{"", 0}, {"+", 0}, {"+OK\r", 0}, {"+OK\r\n", 1}, {"+OK\r\n$", 1}, {"$5\r\nhel", 0}, {"$5\r\nhello\r", 0}, {"$5\r\nhello\r\n:1\r\n*2\r\n+x\r\n", 2},
	{"*3\r\n:1\r\n*2\r\n+a\r\n", 0}, {"*1\r\n+a\r\n+OK\r\n-ERR no\r\n", 3}, {"%1\r\n+k\r\n", 0}, {"$1000000\r\nx", 0},
};

START_TEST(relay_lost_in_mid_reply_answers_each_call_once)
{
	bring_up(_i);
	for (size_t i = 0; i < LEN(breaks); i++) {
		struct relayed r[3] = {0};
		unsigned connections = fake.n_connections;
		fake.text = breaks[i].text;
		for (size_t k = 0; k < LEN(r); k++)
			RELAY(&r[k], "PING");
		for (size_t k = 0; k < LEN(r); k++) {
			wait_relayed(&r[k]);
			ck_assert_msg(r[k].is_lost == (k >= breaks[i].n_whole), "break %zu, call %zu: lost %d", i, k, r[k].is_lost);
		}
		run_until(fake.n_connections > connections && redis_link_up(link_), LIMIT_MS);
		for (size_t k = 0; k < LEN(r); k++) {
			ck_assert_uint_eq(r[k].n_ends, 1);
			relayed_clear(&r[k]);
		}
		ck_assert_uint_eq(redis_link_stats(link_)->pending, 0);
	}
}
END_TEST

/* What cannot be placed is the end of the connection, and of the calls on it. */
START_TEST(bytes_out_of_step_end_the_connection)
{
	static const struct {
		const char *text;
		unsigned n_whole;
	} wrong[] = {{"+a\r\n+b\r\n+c\r\n+d\r\n", 3}, {"HTTP/1.1 400 Bad Request\r\n\r\n", 0}, {"+a\r\n?\r\n", 1}, {"$-2\r\n", 0}, {"*1\r\n\r\n", 0}};
	fake.closes = false;
	bring_up(_i);
	for (size_t i = 0; i < LEN(wrong); i++) {
		struct relayed r[3] = {0};
		unsigned connections = fake.n_connections;
		fake.text = wrong[i].text;
		for (size_t k = 0; k < LEN(r); k++)
			RELAY(&r[k], "PING");
		run_until(fake.n_connections > connections && redis_link_up(link_), LIMIT_MS);
		for (size_t k = 0; k < LEN(r); k++) {
			wait_relayed(&r[k]);
			ck_assert_msg(r[k].is_lost == (k >= wrong[i].n_whole), "case %zu, call %zu: lost %d", i, k, r[k].is_lost);
			relayed_clear(&r[k]);
		}
	}
}
END_TEST

/* What RESP3 pushes stands between replies and is none. */
START_TEST(what_is_pushed_is_not_taken_for_a_reply)
{
	struct relayed r[2] = {0};
	fake.text = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n+a\r\n>1\r\n+x\r\n*1\r\n$1\r\nb\r\n>1\r\n+y\r\n";
	fake.closes = false;
	bring_up(3);
	unsigned connections = fake.n_connections;
	RELAY(&r[0], "PING");
	RELAY(&r[1], "PING");
	expect_relayed(&r[0], "+a\r\n", 4);
	expect_relayed(&r[1], "*1\r\n$1\r\nb\r\n", 11);
	fake_say(event_get_fd(fake_readable), ">1\r\n+z\r\n");    /* asked by nobody */
	RELAY(&r[0], "PING");
	expect_relayed(&r[0], "+a\r\n", 4);
	ck_assert_uint_eq(fake.n_connections, connections);
	relayed_clear(&r[0]);
	relayed_clear(&r[1]);
}
END_TEST

START_TEST(server_without_resp3_is_relayed_in_resp2)
{
	struct relayed r = {0};
	fake.hello = "-ERR unknown command 'HELLO'\r\n";
	fake.text = "$-1\r\n";
	fake.closes = false;
	bring_up(3);
	RELAY(&r, "GET", "a");
	expect_relayed(&r, "$-1\r\n", 5);
	ck_assert_uint_eq(n_ups, 1);
}
END_TEST

static struct relayed second;

static void on_first(void *arg, const char *data, size_t len, bool is_end, const char *reason)
{
	on_relayed(arg, data, len, is_end, reason);
	if (!is_end && data)
		return;
	RELAY(&second, "PING");
}

/* Also the call that is made when the first is lost is answered. */
START_TEST(call_may_follow_from_within_a_reply)
{
	static const char ping[] = "*1\r\n$4\r\nPING\r\n";
	struct relayed first = {0};
	for (int closes = 0; closes < 2; closes++) {
		fake.closes = closes;
		fake.text = closes ? "+PO" : "+PONG\r\n";
		if (!link_)
			bring_up(_i);
		buf_add_str(&redis_link_begin_relay(link_, 1, on_first, &first)->bytes, ping);
		wait_relayed(&first);
		wait_relayed(&second);
		ck_assert(first.is_lost == closes && second.is_lost == closes);
		relayed_clear(&first);
		relayed_clear(&second);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("redis_relay");
	TCase *tc = tcase_create("replies");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_server, teardown);
	tcase_add_loop_test(tc, replies_are_those_of_a_plain_connection, 2, 4);
	tcase_add_loop_test(tc, large_replies_come_in_parts, 2, 4);
	tcase_add_loop_test(tc, each_of_many_calls_gets_its_reply, 2, 4);
	tcase_add_loop_test(tc, of_several_commands_the_last_reply_is_handed_on, 2, 4);
	tcase_add_loop_test(tc, server_that_hangs_is_waited_for_no_longer_than_the_timeout, 2, 4);
	tcase_add_loop_test(tc, free_answers_each_outstanding_call_once, 2, 4);
	suite_add_tcase(suite, tc);

	tc = tcase_create("missing server");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_rig, teardown);
	tcase_add_loop_test(tc, call_while_it_is_down_is_answered_at_once_but_from_the_loop, 2, 4);
	suite_add_tcase(suite, tc);

	tc = tcase_create("fake server");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_fake, teardown_fake);
	tcase_add_loop_test(tc, relay_lost_in_mid_reply_answers_each_call_once, 2, 4);
	tcase_add_loop_test(tc, bytes_out_of_step_end_the_connection, 2, 4);
	tcase_add_test(tc, what_is_pushed_is_not_taken_for_a_reply);
	tcase_add_test(tc, server_without_resp3_is_relayed_in_resp2);
	tcase_add_loop_test(tc, call_may_follow_from_within_a_reply, 2, 4);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
