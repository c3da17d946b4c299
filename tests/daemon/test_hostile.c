/* Hostile clients: what they send gets Redis's reply, costs bounded memory, and the next client
 * notices nothing. test_protocol.c has the plain cases; here a real Redis is asked what is right.
 * DIFFER_SELF=1 puts another Redis in the daemon's place: the replies that are compared must be the same, then, too. */
#include "harness.h"
#include "talk.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "differ.h"

#define MIB ((size_t)1 << 20)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* m: lives in memory alone, b: in Redis too; all else is passed on. */
static const char config[] =
	"listen: {path: '${DIR}/s', max_clients: 10100}\n" REDIS NO_DATABASE
	"types:\n"
	"  memory: {key: 'm:{name}', ttl: none, tiers: [memory], max_value: 64M}\n"
	"  both: {key: 'b:{name}', ttl: none}\n";

struct world {
	struct harness *h;
	const char *reference, *tested;         /* the sockets' paths */
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	w.reference = differ_reference_start(w.h, "");
	w.tested = harness_path(w.h, getenv("DIFFER_SELF") ? "redis.sock" : "s");
	harness_redis_start(w.h, "");
	harness_start(w.h, config);
	harness_tracking(harness_connect(w.h));
	return w;
}

/* Somebody else is served, in time. */
static void expect_served(redisContext *c)
{
	expect(c, "OK", "SET m:other 1");
	expect(c, "\"1\"", "GET m:other");
}

/* ---- what a connection says till its end ---- */

/* Adds what comes up to the close. */
static void read_to_end(int fd, struct buf *to)
{
	for (;;) {
		ssize_t n = read(fd, buf_reserve(to, 65536), 65536);
		ck_assert_msg(n >= 0 || errno == ECONNRESET, "no close, but after %zu bytes: %s", to->len, strerror(errno));
		if (n <= 0)
			return;
		to->len += (size_t)n;
	}
}

/* Who is closed early need not have sent everything. */
static void send_all(int fd, const char *data, size_t len)
{
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(fd, data + sent, len - sent, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		sent += (size_t)n;
	}
}

/* Everything that is answered to the request and the end behind it. */
static struct buf answer_of(const char *path, const char *data, size_t len)
{
	struct buf reply = BUF_INIT;
	int fd = differ_connect(path);
	send_all(fd, data, len);
	shutdown(fd, SHUT_WR);
	read_to_end(fd, &reply);
	close(fd);
	buf_add_char(&reply, '\0');
	return reply;
}

/* Reads up to and with this text. */
static void raw_skip_to(int fd, const char *text)
{
	struct buf b = BUF_INIT;
	size_t n = strlen(text);
	while (b.len < n || memcmp(b.data + b.len - n, text, n) != 0) {
		raw_read(fd, buf_reserve(&b, 1), 1);
		b.len++;
	}
	buf_free(&b);
}

static bool is_same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void expect_same_answer(const struct world *w, const char *data, size_t len)
{
	struct buf right = answer_of(w->reference, data, len), got = answer_of(w->tested, data, len);
	ck_assert_msg(is_same(&right, &got), "%.*s\nRedis said   %.300s\nthe daemon said %.300s", (int)(len < 300 ? len : 300), data,
		right.data, got.data);
	buf_free(&right);
	buf_free(&got);
}

/* ---- broken frames ---- */

START_TEST(a_broken_frame_gets_redis_reply)
{
	static const char *const inputs[] = {
		/* counts */
		"*0", "*-0", "*-1", "*-10", "*-2147483648", "*-9223372036854775808", "*2147483648", "*9223372036854775807",
		"*9223372036854775808", "*-9223372036854775809", "*99999999999999999999999999", "*abc", "*", "*+1", "*01", "* 1", "*1 ",
		"*1x", "*0x1", "*1.0", "*--1", "*-", "**", "*\t1", "*$1",
		/* lengths */
		"*1\r\n$-1", "*1\r\n$-0", "*1\r\n$+4", "*1\r\n$04", "*1\r\n$ 4", "*1\r\n$4 ", "*1\r\n$4x", "*1\r\n$", "*1\r\n$abc", "*1\r\n$1073741824",
		"*1\r\n$4294967300", "*1\r\n$9223372036854775807", "*1\r\n$9223372036854775808", "*1\r\n$-9223372036854775808",
		"*1\r\n$99999999999999999999999999", "*2\r\n$4\r\nPING\r\n$1073741824", "*3\r\n$3\r\nSET\r\n$3\r\nm:a\r\n$-5",
		/* other frames where an argument belongs, and nested arrays */
		"*1\r\n*1\r\n$4\r\nPING", "*2\r\n$3\r\nGET\r\n*1\r\n$3\r\nm:a", "*1\r\n*1\r\n*1\r\n*1\r\n$4\r\nPING", "*1\r\n:1", "*1\r\n+PING", "*1\r\n%1",
		"*1\r\n~1", "*1\r\n_", "*1\r\n\r\n", "*1\r\nPING", "*1\r\n \x01", "*1\r\n\x01", "*1\r\n\xff", "*2\r\n$4\r\nECHO\r\n:1",
		/* reply types as requests */
		"+PING", "-ERR", ":1", "$4\r\nPING", "%1\r\n$4\r\nPING\r\n$1\r\na", "~1\r\n$4\r\nPING", "_", "#t", ",1.5",
		/* what is behind an argument is not looked at */
		"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING", "*2\r\n$4\r\nECHO\r\n$2\r\nabcdef",
		"*1\n$4\nPING", "*1\r$4\r\nPING", "*1\rx$4\rxPING",
		/* transactions that there are not */
		"EXEC", "DISCARD", "EXEC\r\nEXEC", "MULTI\r\nMULTI\r\nEXEC", "MULTI\r\nNOSUCH\r\nEXEC\r\nEXEC", "MULTI\r\nGET\r\nGET m:a\r\nEXEC",
		"MULTI\r\nEXEC x\r\nEXEC", "MULTI\r\nDISCARD\r\nDISCARD", "MULTI\r\nGET m:a", "MULTI\r\nRESET\r\nEXEC",
		/* lines */
		"", " ", "\t", "\"\"", "''", "\"", "'", "a\"", "PING \"", "PING \"a\"b", "PING a\"b c\"", "PING 'a\\'b'", "PING \"\\x4\"", "PING \"\\xzz\"",
		"PING \"\\", "PING \\", "PING \"\\\"\"", "\"PING\"", "'ping'", "P\"ING\"", "PING \v x", "PING\fx", "\vPING", "PING \"a\"\v", "PING \"a\"\"b\"",
		/* unfinished */
		"PING\r\nPIN", "*2\r\n$4\r\nECHO\r\n$5\r\nab", "*3\r\n$3\r\nSET\r\n$3\r\nm:a\r\n",
	};
	struct world w = start();
	for (size_t i = 0; i < LENGTH(inputs); i++) {
		struct buf b = BUF_INIT;
		expect_same_answer(&w, inputs[i], strlen(inputs[i]));
		buf_addf(&b, "PING first\r\n%s\r\nPING last\r\nQUIT\r\n", inputs[i]);
		expect_same_answer(&w, b.data, b.len);
		buf_free(&b);
	}
	expect_served(harness_connect(w.h));
	harness_free(w.h);
}
END_TEST

/* A browser can be made to send these; Redis closes, without the replies that it still owes. */
START_TEST(http_is_closed_and_harms_nobody)
{
	static const char *const inputs[] = {"POST / HTTP/1.1\r\nHost: a\r\n\r\n", "post x\r\nPING\r\n", "Host: a\r\nPING\r\n", "host:\n",
		"*1\r\n$4\r\nPOST\r\n", "*2\r\n$4\r\npost\r\n$1\r\n/\r\nPING\r\n", "*1\r\n$5\r\nHost:\r\n", "MULTI\r\n*1\r\n$4\r\nPOST\r\n"};
	struct world w = start();
	redisContext *other = harness_connect(w.h);
	for (size_t i = 0; i < LENGTH(inputs); i++) {
		struct buf got = answer_of(w.tested, inputs[i], strlen(inputs[i]));
		ck_assert_msg(!strstr(got.data, "PONG") && !strstr(got.data, "UNAVAILABLE"), "%s got %s", inputs[i], got.data);
		ck_assert_int_eq(ask_integer(other, "INCR u:served"), i + 1);
		buf_free(&got);
	}
	harness_free(w.h);
}
END_TEST

/* Each of these would harm or hold up the connections to Redis that all clients share, were it passed on as it is. */
START_TEST(no_command_harms_those_who_share_the_connections_to_redis)
{
	static const char *const inputs[] = {"QUIT", "RESET", "HELLO 3", "HELLO 2", "AUTH x", "AUTH a b", "SELECT 1", "CLIENT REPLY OFF",
		"CLIENT REPLY SKIP", "CLIENT PAUSE 100000 ALL", "CLIENT TRACKING ON",
		"CLIENT NO-EVICT on", "CLIENT SETNAME x", "CLIENT|REPLY OFF", "SUBSCRIBE x", "PSUBSCRIBE x", "SSUBSCRIBE x", "UNSUBSCRIBE",
		"PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "SYNC", "PSYNC ? -1", "REPLCONF capa eof", "BLPOP u:none 0", "BRPOP u:none 0",
		"BRPOPLPUSH u:none u:b 0", "BLMOVE u:none u:b LEFT RIGHT 0", "BLMPOP 0 1 u:none LEFT", "BZPOPMIN u:none 0", "BZPOPMAX u:none 0",
		"BZMPOP 0 1 u:none MIN", "XREAD BLOCK 0 STREAMS u:none $", "XREAD COUNT 1 bLoCk 0 STREAMS u:none $",
		"XREADGROUP GROUP g c BLOCK 0 STREAMS u:none >", "WAIT 1 0", "WAIT 0 100000", "DEBUG SLEEP 10", "DEBUG SEGFAULT", "SHUTDOWN NOSAVE",
		"SCRIPT DEBUG YES", "SCRIPT DEBUG SYNC", "SCRIPT KILL", "FUNCTION KILL", "FAILOVER", "REPLICAOF 127.0.0.1 1", "SLAVEOF 127.0.0.1 1",
		"CONFIG SET requirepass x", "CONFIG SET maxclients 1", "CONFIG SET timeout 1", "CONFIG SET proto-max-bulk-len 1mb",
		"ACL SETUSER default off", "SWAPDB 0 1", "MULTI\nMULTI", "MULTI\nBLPOP u:none 0\nEXEC", "MULTI\nSELECT 1\nEXEC",
		"MULTI\nCLIENT REPLY OFF\nEXEC", "MULTI\nSUBSCRIBE x\nEXEC", "MULTI\nHELLO 3\nEXEC", "MULTI\nQUIT", "MULTI\nRESET\nEXEC", "EXEC",
		"DISCARD", "WATCH u:served", "UNWATCH", "MULTI\nWATCH u:served\nEXEC", "READONLY", "READWRITE", "ASKING",
		"EVAL \"redis.setresp(3) return 1\" 0", "EVAL \"return redis.call('subscribe','x')\" 0", "EVAL \"return redis.call('multi')\" 0",
		"MIGRATE 127.0.0.1 1 u:served 0 100000", "RESTORE u:x 0 x", "CLUSTER RESET", "MODULE LOAD /none", "SAVE", "NOSUCH\\x00REPLY"};
	struct world w = start();
	redisContext *other = harness_connect(w.h);
	int map = differ_connect(w.tested);
	expect(other, "1", "HSET u:h f v");
	raw_send(map, "HELLO 3\r\nPING 'greeted'\r\n");
	raw_skip_to(map, "greeted\r\n");
	for (size_t i = 0; i < LENGTH(inputs); i++) {
		int fd = differ_connect(w.tested);
		raw_send(fd, inputs[i]);
		raw_send(fd, "\nINCR u:mine\nPING\n");
		raw_sent(fd);
		int64_t began = now_ms();
		long long n = ask_integer(other, "INCR u:served");
		ck_assert_msg(n == (long long)i + 1 && now_ms() - began < 2000, "after %s: %lld, and it took %lld ms", inputs[i], n,
			(long long)(now_ms() - began));
		raw_send(map, "HGETALL u:h\r\n");
		raw_expect(map, "%1\r\n$1\r\nf\r\n$1\r\nv\r\n");
		close(fd);
	}
	close(map);
	harness_free(w.h);
}
END_TEST

START_TEST(a_hundred_thousand_nested_arrays_get_redis_reply)
{
	enum { N = 100000 };
	struct world w = start();
	struct buf b = BUF_INIT;
	for (int i = 0; i < N; i++)
		buf_add_str(&b, "*1\r\n");
	expect_same_answer(&w, b.data, b.len);
	buf_free(&b);
	expect_served(harness_connect(w.h));
	harness_free(w.h);
}
END_TEST

/* ---- a conversation, cut and broken ---- */

/* It leaves no key behind, and names none of those in memory alone: they would not do for a command misspelt. */
static const char conversation[] =
	"PING\r\n"
	"*3\r\n$3\r\nSET\r\n$3\r\nb:c\r\n$7\r\nhe\r\nl*o\r\n"
	"GET b:c\n"
	"  set\tb:d \"two words\\x41\"  \r\n"
	"*3\r\n$4\r\nMGET\r\n$3\r\nb:c\r\n$3\r\nb:d\r\n"
	"\r\n*0\r\n*-1\r\n"
	"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$3\r\nb:a\r\n$1\r\n5\r\n*2\r\n$4\r\nINCR\r\n$3\r\nb:a\r\nGET b:d\r\n*1\r\n$4\r\nEXEC\r\n"
	"EXEC\r\nNOSUCH a 'b c'\r\nget\r\n"
	"*4\r\n$5\r\nLPUSH\r\n$3\r\nu:l\r\n$1\r\nx\r\n$0\r\n\r\n*4\r\n$6\r\nLRANGE\r\n$3\r\nu:l\r\n$1\r\n0\r\n$2\r\n-1\r\n"
	"STRLEN u:l\r\nEXISTS b:c b:d b:a u:l\r\n"
	"*5\r\n$3\r\nDEL\r\n$3\r\nb:c\r\n$3\r\nb:d\r\n$3\r\nb:a\r\n$3\r\nu:l\r\n"
	"PING 'the end'\r\n";
#define CONVERSATION_LEN (sizeof(conversation) - 1)

static void expect_answer(int fd, const struct buf *right)
{
	struct buf got = BUF_INIT;
	shutdown(fd, SHUT_WR);
	read_to_end(fd, &got);
	close(fd);
	buf_add_char(&got, '\0');
	ck_assert_msg(is_same(right, &got), "Redis said   %s\nthe daemon said %s", right->data, got.data);
	buf_free(&got);
}

START_TEST(a_conversation_cut_at_any_byte_gets_redis_replies)
{
	struct world w = start();
	struct buf right = answer_of(w.reference, conversation, CONVERSATION_LEN);
	for (size_t cut = 0; cut <= CONVERSATION_LEN; cut++) {
		int fd = differ_connect(w.tested);
		raw_send_bytes(fd, conversation, cut);
		raw_sent(fd);
		raw_send_bytes(fd, conversation + cut, CONVERSATION_LEN - cut);
		expect_answer(fd, &right);
	}
	buf_free(&right);
	harness_free(w.h);
}
END_TEST

/* So many can say it at once. */
static const char harmless[] = "PING\r\n*2\r\n$4\r\nECHO\r\n$5\r\nabcde\r\nMULTI\r\nPING 'x y'\r\nNOSUCH\r\nEXEC\r\n";

START_TEST(clients_that_send_byte_by_byte_hold_up_nobody)
{
	enum { N = 10 };
	struct world w = start();
	int fds[N];
	redisContext *other = harness_connect(w.h);
	struct buf right = answer_of(w.reference, harmless, sizeof(harmless) - 1);
	for (int i = 0; i < N; i++)
		fds[i] = differ_connect(w.tested);
	for (size_t at = 0; at < sizeof(harmless) - 1; at++) {
		for (int i = 0; i < N; i++)
			raw_send_bytes(fds[i], harmless + at, 1);
		for (int i = 0; i < N; i++)
			raw_sent(fds[i]);
		expect_served(other);
	}
	for (int i = 0; i < N; i++)
		expect_answer(fds[i], &right);
	buf_free(&right);
	harness_free(w.h);
}
END_TEST

static uint64_t chance(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* One to three bytes replaced, taken out or put in. No NUL, of which Redis makes nothing sensible. */
static size_t break_bytes(char *data, size_t len, uint64_t *state)
{
	static const char bytes[] = "\r\n *$:-+019aG\"'\\\x01\xff";
	for (uint64_t n = 1 + chance(state) % 3; n > 0; n--) {
		size_t at = chance(state) % len, way = chance(state) % 3;
		char c = bytes[chance(state) % (sizeof(bytes) - 1)];
		if (way == 1) {
			memmove(data + at, data + at + 1, len-- - at - 1);
			continue;
		}
		if (way == 2)
			memmove(data + at + 1, data + at, len++ - at);
		data[at] = c;
	}
	return len;
}

static void expect_cleared(const struct world *w)
{
	static const char clear[] = "DEL b:a b:c b:d u:l\r\n";
	struct buf a = answer_of(w->reference, clear, sizeof(clear) - 1), b = answer_of(w->tested, clear, sizeof(clear) - 1);
	ck_assert(a.data[0] == ':' && b.data[0] == ':');
	buf_free(&a);
	buf_free(&b);
}

START_TEST(a_broken_conversation_gets_redis_replies)
{
	enum { N = SANITIZED ? 500 : 3000 };
	const char *seed = getenv("DIFFER_SEED");
	uint64_t state = seed ? strtoull(seed, NULL, 10) : 4;
	struct world w = start();
	unsigned n_invalid = 0;
	for (int i = 0; i < N; i++) {
		char broken[CONVERSATION_LEN + 8];
		memcpy(broken, conversation, CONVERSATION_LEN);
		size_t len = break_bytes(broken, CONVERSATION_LEN, &state);
		struct buf right = answer_of(w.reference, broken, len), got = answer_of(w.tested, broken, len);
		/* No key is empty: here alone the daemon differs, and what it has refused may have cleared up. */
		bool is_invalid = strstr(got.data, "-ERR invalid key") != NULL;
		n_invalid += is_invalid;
		if (is_invalid)
			expect_cleared(&w);
		ck_assert_msg(is_invalid || is_same(&right, &got), "%.*s\nRedis said   %s\nthe daemon said %s", (int)len, broken, right.data,
			got.data);
		buf_free(&right);
		buf_free(&got);
	}
	ck_assert_uint_lt(n_invalid, N / 20);
	expect_served(harness_connect(w.h));
	harness_free(w.h);
}
END_TEST

/* ---- half-closed ---- */

START_TEST(who_stops_sending_still_gets_large_and_late_replies)
{
	enum { N = 30 };
	struct world w = start();
	redisContext *c = harness_connect(w.h);
	char *value = xmalloc(MIB);
	memset(value, 'v', MIB);
	expect(c, "OK", "SET m:big %b", value, MIB);
	expect(c, "OK", "SET u:big %b", value, MIB);
	struct buf request = BUF_INIT, got = BUF_INIT;
	for (int i = 0; i < N; i++)
		buf_addf(&request, "GET %s:big\r\n", i % 2 ? "m" : "u");
	int fd = differ_connect(w.tested);
	raw_send_bytes(fd, request.data, request.len);
	shutdown(fd, SHUT_WR);
	read_to_end(fd, &got);
	ck_assert_uint_eq(got.len, N * (strlen("$1048576\r\n") + MIB + 2));
	for (size_t i = 0; i < N; i++)
		ck_assert_mem_eq(got.data + i * (got.len / N), "$1048576\r\nvvvv", 14);
	close(fd);
	buf_free(&got);
	buf_free(&request);
	free(value);
	harness_free(w.h);
}
END_TEST

/* ---- floods ---- */

struct flood {
	int fd;
	struct buf requests;
};

/* All of it in one write, which ends when the last byte is taken. */
static void *write_flood(void *arg)
{
	const struct flood *f = arg;
	struct timeval none = {0};
	setsockopt(f->fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none));
	return (void *)(write(f->fd, f->requests.data, f->requests.len) == (ssize_t)f->requests.len ? f : NULL);
}

/* Reads n times this reply, while the other client asks something between two reads. Returns how long that took
 * at the worst, in ms. */
static int64_t read_flood(int fd, size_t n, const char *reply, redisContext *other)
{
	size_t len = strlen(reply), left = n * len;
	int64_t worst = 0;
	char *part = xmalloc(1000 * len);
	while (left > 0) {
		size_t size = left < 1000 * len ? left : 1000 * len;
		raw_read(fd, part, size);
		for (size_t i = 0; i < size; i += len)
			ck_assert_msg(memcmp(part + i, reply, len) == 0, "a wrong reply, %zu bytes before the end", left - i);
		left -= size;
		int64_t began = now_ms();
		expect_served(other);
		worst = now_ms() - began > worst ? now_ms() - began : worst;
	}
	free(part);
	return worst;
}

static void expect_flood_answered(struct world *w, size_t n, const char *request, const char *reply)
{
	redisContext *other = harness_connect(w->h);
	expect(other, "OK", "SET m:a 1");
	expect(other, "OK", "SET b:a 1");
	expect(other, "OK", "SET u:a 1");
	struct flood f = {.fd = differ_connect(w->tested)};
	for (size_t i = 0; i < n; i++)
		buf_add_str(&f.requests, request);
	size_t before = harness_resident(w->h);
	pthread_t writer;
	void *whole;
	ck_assert_int_eq(pthread_create(&writer, NULL, write_flood, &f), 0);
	int64_t worst = read_flood(f.fd, n, reply, other);
	pthread_join(writer, &whole);
	ck_assert_ptr_nonnull(whole);
	size_t grown = harness_peak(w->h) > before ? harness_peak(w->h) - before : 0;
	ck_assert_msg(SANITIZED || grown < 16 * MIB, "grown by %zu bytes", grown);
	ck_assert_msg(SANITIZED || worst < 1000, "another client waited for %lld ms", (long long)worst);
	buf_free(&f.requests);
	close(f.fd);
}

START_TEST(a_million_pings_in_one_write_are_answered)
{
	struct world w = start();
	expect_flood_answered(&w, SANITIZED ? 100000 : 1000000, "PING\n", "+PONG\r\n");
	harness_free(w.h);
}
END_TEST

START_TEST(a_million_gets_in_one_write_are_answered)
{
	struct world w = start();
	expect_flood_answered(&w, SANITIZED ? 100000 : 1000000, "*2\r\n$3\r\nGET\r\n$3\r\nm:a\r\n", "$1\r\n1\r\n");
	harness_free(w.h);
}
END_TEST

START_TEST(many_writes_in_one_write_are_answered)
{
	struct world w = start();
	expect_flood_answered(&w, SANITIZED ? 10000 : 50000, "SET b:a 1\r\n", "+OK\r\n");
	harness_free(w.h);
}
END_TEST

START_TEST(many_passed_commands_in_one_write_are_answered)
{
	struct world w = start();
	expect_flood_answered(&w, SANITIZED ? 10000 : 100000, "GETRANGE u:a 0 -1\r\n", "$1\r\n1\r\n");
	harness_free(w.h);
}
END_TEST

START_TEST(a_million_arguments_are_one_bad_request)
{
	enum { N = 1000000 };
	struct world w = start();
	redisContext *other = harness_connect(w.h);
	struct buf b = BUF_INIT;
	buf_addf(&b, "*%d\r\n$4\r\nECHO\r\n", N);
	for (int i = 1; i < N; i++)
		buf_add_str(&b, "$1\r\na\r\n");
	size_t before = harness_resident(w.h);
	for (int i = 0; i < 3; i++)
		expect_same_answer(&w, b.data, b.len);
	size_t grown = harness_peak(w.h) - before;
	ck_assert_msg(SANITIZED || grown < 128 * MIB, "grown by %zu bytes", grown);
	expect_served(other);
	buf_free(&b);
	harness_free(w.h);
}
END_TEST

/* ---- those who never read, and those who never finish ---- */

/* Sends the text to each again and again until nobody's is taken any more. */
static void send_until_paused(const int *fds, size_t n, const char *text, size_t len)
{
	struct pollfd *p = xcalloc(n, sizeof(*p));
	for (size_t i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = fds[i], .events = POLLOUT};
	while (poll(p, n, 300) > 0)
		for (size_t i = 0; i < n; i++)
			if (p[i].revents & POLLOUT)
				(void)send(p[i].fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);    /* cut anywhere: it is a flood */
	free(p);
}

static void expect_bounded_without_reader(const char *key)
{
	enum { N = SANITIZED ? 5 : 50 };
	struct world w = start();
	int fds[N];
	redisContext *other = harness_connect(w.h);
	char *value = xmalloc(MIB);
	struct buf requests = BUF_INIT;
	memset(value, 'v', MIB);
	expect(other, "OK", "SET %s %b", key, value, MIB);
	for (int i = 0; i < 1000; i++)
		buf_addf(&requests, "GET %s\r\nPING\r\n", key);
	size_t before = harness_resident(w.h);
	for (int i = 0; i < N; i++)
		fds[i] = differ_connect(w.tested);
	send_until_paused(fds, N, requests.data, requests.len);
	expect_served(other);
	size_t grown = harness_peak(w.h) > before ? harness_peak(w.h) - before : 0;
	ck_assert_msg(SANITIZED || grown < 100 * MIB, "grown by %zu bytes", grown);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	expect_served(other);
	expect_served(harness_connect(w.h));
	buf_free(&requests);
	free(value);
	harness_free(w.h);
}

START_TEST(clients_that_never_read_cost_little_memory)
{
	expect_bounded_without_reader("m:big");
}
END_TEST

START_TEST(clients_that_never_read_what_redis_holds_cost_little_memory)
{
	expect_bounded_without_reader("u:big");
}
END_TEST

/* What waits for Redis fails all at once when its time is up. */
START_TEST(a_flood_that_redis_does_not_answer_holds_up_nobody)
{
	enum { N = SANITIZED ? 5 : 50 };
	struct world w = start();
	int fds[N];
	redisContext *other = harness_connect(w.h);
	struct buf requests = BUF_INIT;
	for (int i = 0; i < 10000; i++)
		buf_add_str(&requests, "GET u:none\r\nPING\r\n");
	for (int i = 0; i < N; i++)
		fds[i] = differ_connect(w.tested);
	harness_redis_pause(w.h);
	for (int i = 0; i < N; i++)
		(void)send(fds[i], requests.data, requests.len, MSG_DONTWAIT | MSG_NOSIGNAL);   /* as much as is taken */
	int64_t worst = 0;
	for (int64_t began = now_ms(), now = began; now < began + 1000; nap()) {
		expect_served(other);
		worst = now_ms() - now > worst ? now_ms() - now : worst;
		now = now_ms();
	}
	ck_assert_msg(SANITIZED || worst < 250, "another client waited for %lld ms", (long long)worst);
	harness_redis_resume(w.h);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	expect_served(other);
	buf_free(&requests);
	harness_free(w.h);
}
END_TEST

START_TEST(what_is_announced_but_not_sent_costs_no_memory)
{
	enum { N = 200 };
	static const char *const announced[] = {"*3\r\n$3\r\nSET\r\n$3\r\nm:a\r\n$67108864\r\nx", "*1048576\r\n$4\r\nMGET\r\n$3\r\nm:a\r\n$3",
		"MULTI\r\n*3\r\n$3\r\nSET\r\n$3\r\nm:a\r\n$67000000\r\nx"};
	struct world w = start();
	redisContext *other = harness_connect(w.h);
	int fds[LENGTH(announced) * N];
	size_t before = harness_resident(w.h);
	for (size_t i = 0; i < LENGTH(fds); i++) {
		fds[i] = differ_connect(w.tested);
		raw_send(fds[i], announced[i % LENGTH(announced)]);
	}
	for (size_t i = 0; i < LENGTH(fds); i++)
		raw_sent(fds[i]);
	expect_served(other);
	size_t grown = harness_resident(w.h) - before;
	ck_assert_msg(SANITIZED || grown < 16 * MIB, "grown by %zu bytes", grown);
	for (size_t i = 0; i < LENGTH(fds); i++)
		close(fds[i]);
	expect_served(other);
	harness_free(w.h);
}
END_TEST

START_TEST(a_transaction_without_end_is_bounded)
{
	struct world w = start();
	redisContext *other = harness_connect(w.h);
	struct buf b = BUF_INIT;
	int fd = differ_connect(w.tested);
	buf_add_str(&b, "*3\r\n$3\r\nSET\r\n$3\r\nm:a\r\n$32768\r\n");
	memset(buf_reserve(&b, 32768), 'x', 32768);
	b.len += 32768;
	buf_add_str(&b, "\r\n");
	size_t before = harness_resident(w.h);
	raw_send(fd, "MULTI\r\n");
	raw_expect(fd, "+OK\r\n");
	/* Half a gigabyte. The replies are taken; the daemon may refuse and close when it has had enough. */
	for (int i = 0; i < 16384; i++) {
		char reply[256];
		if (send(fd, b.data, b.len, MSG_NOSIGNAL) != (ssize_t)b.len || read(fd, reply, sizeof(reply)) <= 0)
			break;
	}
	expect_served(other);
	size_t grown = harness_peak(w.h) > before ? harness_peak(w.h) - before : 0;
	ck_assert_msg(SANITIZED || grown < 256 * MIB, "grown by %zu bytes", grown);
	close(fd);
	expect_served(harness_connect(w.h));
	buf_free(&b);
	harness_free(w.h);
}
END_TEST

/* ---- many ---- */

/* False if the machine does not allow it. */
static bool allow_descriptors(rlim_t n)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < n)
		return false;
	limit.rlim_cur = limit.rlim_cur < n ? n : limit.rlim_cur;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

START_TEST(ten_thousand_idle_clients_cost_under_100_megabytes)
{
	enum { N = 10000 };
	static int fds[N];
	if (SANITIZED || !allow_descriptors(N + 200))
		return;
	struct world w = start();
	redisContext *other = harness_connect(w.h);
	size_t before = harness_resident(w.h);
	for (int i = 0; i < N; i++) {
		fds[i] = differ_connect(w.tested);
		raw_send(fds[i], i % 2 ? "PING\r\n" : "*1\r\n$4\r\nPING\r\n");
		raw_expect(fds[i], "+PONG\r\n");
	}
	size_t grown = harness_resident(w.h) - before;
	ck_assert_msg(grown < 100000000, "grown by %zu bytes", grown);
	expect_served(other);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	expect_served(harness_connect(w.h));
	harness_free(w.h);
}
END_TEST

START_TEST(one_client_too_many_gets_redis_reply)
{
	enum { N = 20 };
	struct harness *h = harness_new();
	const char *paths[] = {differ_reference_start(h, "--maxclients 20"), harness_path(h, "s")};
	struct buf replies[2] = {BUF_INIT, BUF_INIT};
	harness_start(h, "listen: {path: '${DIR}/s', max_clients: 20}\n" NO_REDIS NO_DATABASE
		"types:\n  plain: {key: 'm:{name}', ttl: none, tiers: [memory]}\n");
	for (size_t k = 0; k < 2; k++) {
		int fds[N];
		for (int i = 0; i < N; i++) {
			fds[i] = differ_connect(paths[k]);
			raw_send(fds[i], "PING\r\n");
			raw_expect(fds[i], "+PONG\r\n");
		}
		int more = differ_connect(paths[k]);
		read_to_end(more, &replies[k]);
		close(more);
		for (int i = 0; i < N; i++)
			close(fds[i]);
	}
	ck_assert(is_same(&replies[0], &replies[1]));
	ck_assert_uint_gt(replies[0].len, 20);
	buf_free(&replies[0]);
	buf_free(&replies[1]);
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_broken_frame_gets_redis_reply,
		http_is_closed_and_harms_nobody,
		no_command_harms_those_who_share_the_connections_to_redis,
		a_hundred_thousand_nested_arrays_get_redis_reply,
		a_conversation_cut_at_any_byte_gets_redis_replies,
		clients_that_send_byte_by_byte_hold_up_nobody,
		a_broken_conversation_gets_redis_replies,
		who_stops_sending_still_gets_large_and_late_replies,
		a_million_pings_in_one_write_are_answered,
		a_million_gets_in_one_write_are_answered,
		many_writes_in_one_write_are_answered,
		many_passed_commands_in_one_write_are_answered,
		a_million_arguments_are_one_bad_request,
		clients_that_never_read_cost_little_memory,
		clients_that_never_read_what_redis_holds_cost_little_memory,
		a_flood_that_redis_does_not_answer_holds_up_nobody,
		what_is_announced_but_not_sent_costs_no_memory,
		a_transaction_without_end_is_bounded,
		ten_thousand_idle_clients_cost_under_100_megabytes,
		one_client_too_many_gets_redis_reply,
	};
	return harness_main("hostile", tests, sizeof(tests) / sizeof(tests[0]));
}
