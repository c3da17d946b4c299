/* The daemon against a real Redis: the same commands to both, the same replies expected, byte
 * for byte. The commands come from a generator (generator.h, grammar.h) with a fixed seed.
 *
 *      DIFFER_SEED=n           another seed
 *      DIFFER_COMMANDS=n       how many commands each setup gets
 *      DIFFER_BATCH=n          how many are sent at once, at the most (1: each difference is told, not
 *                              only the first of a batch)
 *      DIFFER_SELF=1           a second Redis in the daemon's place: tests the generator, which
 *                              must find nothing
 *
 * What the daemon means to answer otherwise is in the table `intended` and is not generated. Nor are
 * commands that it refuses by design (blocking, subscribing, WATCH, SELECT of another database,
 * administration), or replies that depend on chance. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "differ.h"
#include "frame.h"
#include "generator.h"

#define COMMANDS (SANITIZED ? 5000 : 12000)     /* of each setup */
#define BATCH 80
#define SEED 20240607

#define RAW LISTEN PATIENT_REDIS NO_DATABASE "types:\n"

/* A daemon for the commands of one letter of the grammar. */
static const struct setup {
	char letter;
	const char *yaml;
	bool is_alone;                  /* without Redis */
	const char *prefixes[4];        /* of the keys */
} setups[] = {
	{'a', RAW "  other: {key: 'o:{name}', ttl: none}\n", false, {"u:"}},
	{'b', RAW "  raw: {key: 'r:{name}', ttl: none}\n", false, {"r:"}},
	{'c', RAW "  raw: {key: 'r:{name}', ttl: none, tiers: [redis]}\n", false, {"r:"}},
	{'d', LISTEN NO_REDIS NO_DATABASE "types:\n  raw: {key: 'r:{name}', ttl: none, tiers: [memory]}\n", true, {"r:"}},
	{'e', RAW "  both: {key: 'b:{name}', ttl: none}\n  redis: {key: 'r:{name}', ttl: none, tiers: [redis]}\n",
		false, {"b:", "r:", "u:"}},
};

/* ---- the world ---- */

struct world {
	struct harness *h;
	const char *reference;          /* the sockets' paths */
	const char *tested;
};

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static struct world start(const struct setup *s)
{
	struct world w = {.h = harness_new()};
	bool is_self = setting("DIFFER_SELF", 0);
	w.reference = differ_reference_start(w.h, "");
	w.tested = harness_path(w.h, is_self ? "redis.sock" : "s");
	if (!s->is_alone || is_self)
		harness_redis_start(w.h, "");
	if (!is_self)
		harness_start(w.h, s->yaml);
	if (!s->is_alone && !is_self)
		harness_tracking(harness_connect(w.h));
	return w;
}

/* ---- what is made up ---- */

static void expect_same(char letter)
{
	const struct setup *s = &setups[letter - 'a'];
	struct world w = start(s);
	char name[] = {letter, '\0'};
	struct differ_options options = {.setup = name, .seed = setting("DIFFER_SEED", SEED),
		.sockets = {w.reference, w.tested}, .max_batch = (uint32_t)setting("DIFFER_BATCH", BATCH)};
	struct generator *g = generator_new(options.seed, letter, s->prefixes);
	struct differ *d = differ_new(g, &options);
	differ_run(d, setting("DIFFER_COMMANDS", COMMANDS));
	char *report = differ_report(d);
	if (report)
		printf("%s", report), fflush(stdout);
	ck_assert_msg(!report, "setup %c: the daemon differs from Redis, see above", letter);
	differ_free(d);
	generator_free(g);
	harness_free(w.h);
}

START_TEST(undeclared_keys_are_as_in_redis)
{
	expect_same('a');
}
END_TEST

START_TEST(declared_keys_in_memory_and_redis_are_as_in_redis)
{
	expect_same('b');
}
END_TEST

START_TEST(declared_keys_in_redis_alone_are_as_in_redis)
{
	expect_same('c');
}
END_TEST

START_TEST(declared_keys_in_memory_alone_are_as_in_redis)
{
	expect_same('d');
}
END_TEST

START_TEST(keys_of_all_kinds_mixed_are_as_in_redis)
{
	expect_same('e');
}
END_TEST

/* ---- what ends ---- */

#define BRIEF "80"              /* ms */
#define LESS_BRIEF "160"

/* K stands for the key. */
static const char *const brief_lives[] = {
	"SET K v PX " BRIEF,
	"PSETEX K " BRIEF " v",
	"SET K v\nPEXPIRE K " BRIEF,
	"SET K v EX 1000\nPEXPIRE K " BRIEF " LT",
	"SET K v\nGETEX K PX " BRIEF,
	"SET K v PX " BRIEF "\nSET K w KEEPTTL",
	"MULTI\nSET K v\nPEXPIRE K " BRIEF "\nEXEC",
};

/* What is asked when it is over, each of a key not asked of before. */
static const char *const afterwards[] = {
	"GET K", "MGET K K", "EXISTS K", "TTL K", "PTTL K", "EXPIRETIME K", "STRLEN K", "TYPE K", "TOUCH K", "PERSIST K", "EXPIRE K 100",
	"DEL K", "UNLINK K", "GETDEL K", "GETSET K x", "GETEX K PERSIST", "SET K x XX", "SET K x NX", "SET K x GET", "SETNX K x",
	"SET K x KEEPTTL\nTTL K", "MULTI\nGET K\nSET K x\nGET K\nEXEC",
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The text with K replaced, and its lines ended. */
static void add_lines(struct buf *b, const char *text, const char *key)
{
	for (; *text; text++)
		if (*text == 'K' && (text[1] == ' ' || text[1] == '\n' || !text[1]))
			buf_add_str(b, key);
		else
			buf_add_char(b, *text);
	buf_add_char(b, '\n');
}

static size_t count_lines(const struct buf *b)
{
	size_t n = 0;
	for (size_t i = 0; i < b->len; i++)
		n += b->data[i] == '\n';
	return n;
}

/* Sends lines, each with one reply; adds the replies to *to. */
static void talk(int fd, const struct buf *lines, struct buf *to)
{
	size_t left = count_lines(lines), at = 0;
	struct buf in = BUF_INIT;
	raw_send_bytes(fd, lines->data, lines->len);
	while (left > 0) {
		size_t end = frame_end(in.data, in.len, at);
		ck_assert(end != FRAME_BROKEN);
		left -= end > 0;
		at = end > 0 ? end : at;
		if (end > 0)
			continue;
		ssize_t n = read(fd, buf_reserve(&in, 4096), 4096);
		ck_assert_msg(n > 0, "closed, or silent");
		in.len += (size_t)n;
	}
	buf_add(to, in.data, in.len);
	buf_free(&in);
}

/* The replies of both to these lines are the same. */
static void expect_same_talk(const int fds[2], const struct buf *lines)
{
	struct buf replies[2] = {BUF_INIT, BUF_INIT};
	for (size_t i = 0; i < 2; i++) {
		talk(fds[i], lines, &replies[i]);
		buf_add_char(&replies[i], '\0');
	}
	ck_assert_msg(replies[0].len == replies[1].len && memcmp(replies[0].data, replies[1].data, replies[0].len) == 0,
		"to %.*sRedis said   %.600s\nthe daemon said %.600s", (int)lines->len, lines->data, replies[0].data, replies[1].data);
	buf_free(&replies[0]);
	buf_free(&replies[1]);
}

static bool is_over(const int fds[2], const char *key)
{
	char line[100], reply[8];
	bool over = true;
	snprintf(line, sizeof(line), "EXISTS %s\n", key);
	for (size_t i = 0; i < 2; i++) {
		raw_send(fds[i], line);
		raw_read(fds[i], reply, 4);
		over &= memcmp(reply, ":0\r\n", 4) == 0;
	}
	return over;
}

#define MORTALS (LENGTH(brief_lives) * LENGTH(afterwards))

static const char *life_of(size_t i)
{
	return brief_lives[i % LENGTH(brief_lives)];
}

static const char *asked_of(size_t i)
{
	return afterwards[i / LENGTH(brief_lives)];
}

/* Sends to both what there is to say of each of the keys. */
static void say_of_all(const int fds[2], const char *prefix, const char *(*text_of)(size_t i))
{
	for (size_t i = 0; i < MORTALS; i++) {
		struct buf lines = BUF_INIT;
		char key[32];
		snprintf(key, sizeof(key), "%s%zu", prefix, i);
		add_lines(&lines, text_of(i), key);
		expect_same_talk(fds, &lines);
		buf_free(&lines);
	}
}

static void expect_same_end(char letter)
{
	const struct setup *s = &setups[letter - 'a'];
	struct world w = start(s);
	char witness[32];
	struct buf last = BUF_INIT;
	const int fds[2] = {differ_connect(w.reference), differ_connect(w.tested)};
	say_of_all(fds, s->prefixes[0], life_of);
	/* Set last, to live longest: when it is gone the others are, and none was looked at. */
	snprintf(witness, sizeof(witness), "%switness", s->prefixes[0]);
	add_lines(&last, "SET K v PX " LESS_BRIEF, witness);
	expect_same_talk(fds, &last);
	wait_until(is_over(fds, witness), 5000);
	say_of_all(fds, s->prefixes[0], asked_of);
	buf_free(&last);
	close(fds[0]);
	close(fds[1]);
	harness_free(w.h);
}

START_TEST(undeclared_keys_end_as_in_redis)
{
	expect_same_end('a');
}
END_TEST

START_TEST(declared_keys_in_memory_and_redis_end_as_in_redis)
{
	expect_same_end('b');
}
END_TEST

START_TEST(declared_keys_in_redis_alone_end_as_in_redis)
{
	expect_same_end('c');
}
END_TEST

START_TEST(declared_keys_in_memory_alone_end_as_in_redis)
{
	expect_same_end('d');
}
END_TEST

/* ---- large values ---- */

/* Replies of all sizes at which the daemon's ways part, alone and in a transaction; the value is Redis's own. */
static void expect_same_large(char letter)
{
	static const unsigned sizes[] = {16383, 16384, 65535, 65536, 300000, 1000000};
	static const char *const reads[] = {"GET K", "MGET K K", "GETEX K PERSIST", "GETEX K EX 1000", "SET K x GET", "GETSET K x", "GETDEL K",
		"GETRANGE K 0 -1", "ECHO x"};
	const struct setup *s = &setups[letter - 'a'];
	struct world w = start(s);
	const int fds[2] = {differ_connect(w.reference), differ_connect(w.tested)};
	char key[32];
	snprintf(key, sizeof(key), "%slarge", s->prefixes[0]);
	for (size_t i = 0; i < LENGTH(sizes) * LENGTH(reads) * 2; i++) {
		struct buf lines = BUF_INIT;
		const char *read = reads[i / 2 % LENGTH(reads)];
		buf_addf(&lines, "SETRANGE %s %u x\n", key, sizes[i / 2 / LENGTH(reads)] - 1);
		add_lines(&lines, i % 2 ? "MULTI\nSTRLEN K" : "STRLEN K", key);
		add_lines(&lines, read, key);
		add_lines(&lines, i % 2 ? "EXEC\nDEL K" : "DEL K", key);
		expect_same_talk(fds, &lines);
		buf_free(&lines);
	}
	close(fds[0]);
	close(fds[1]);
	harness_free(w.h);
}

START_TEST(large_values_in_memory_and_redis_are_as_in_redis)
{
	expect_same_large('b');
}
END_TEST

START_TEST(large_values_in_redis_alone_are_as_in_redis)
{
	expect_same_large('c');
}
END_TEST

/* ---- dialogues ---- */

/* What is sent on a new connection, which is then closed for writing: all that comes back, up to its end, is the same. */
static const char *const dialogues[] = {
	"CLIENT REPLY OFF\nPING\nCLIENT REPLY SKIP\nPING\nCLIENT REPLY ON\nPING a\n",
	"CLIENT REPLY SKIP\nPING\nPING a\n", "CLIENT REPLY SKIP\nCLIENT REPLY SKIP\nPING\nPING a\n", "CLIENT REPLY SKIP\nCLIENT REPLY ON\nPING a\n",
	"CLIENT REPLY SKIP\nCLIENT REPLY bad\nPING a\n", "CLIENT REPLY OFF\nCLIENT REPLY bad\nPING\n", "CLIENT REPLY SKIP\nNOSUCH\nPING a\n",
	"CLIENT REPLY OFF\nRESET\nPING a\n", "CLIENT REPLY SKIP\nRESET\nPING a\n", "CLIENT REPLY OFF\nQUIT\n", "CLIENT REPLY OFF\n*x\r\n", "CLIENT REPLY SKIP\n*x\r\n",
	"CLIENT REPLY OFF\nMULTI\nPING\nEXEC\nCLIENT REPLY ON\n", "CLIENT REPLY SKIP\nMULTI\nPING\nEXEC\n", "MULTI\nCLIENT REPLY SKIP\nPING\nDISCARD\nPING a\n",
	"MULTI\nPING\nRESET\nEXEC\nPING\n", "MULTI\nPING\nQUIT\n", "MULTI\nMULTI\nPING\nEXEC\n", "MULTI\nGET\nPING\nEXEC\nPING\n", "MULTI\nNOSUCH a b\nEXEC\n",
	"MULTI\nCLIENT REPLY OFF\nPING\nEXEC\nPING\nCLIENT REPLY ON\nPING\n", "MULTI\nPING\nCLIENT REPLY SKIP\nPING\nEXEC\nPING a\nPING b\n",
	"CLIENT REPLY OFF\nMULTI\nPING a\nCLIENT REPLY ON\nPING b\nEXEC\nPING c\n", "MULTI\nPING a\nCLIENT REPLY ON\nEXEC\nPING b\n",
	"CLIENT REPLY SKIP\nMULTI\nCLIENT REPLY ON\nEXEC\n", "CLIENT REPLY SKIP\n\nPING a\nPING b\n", "CLIENT REPLY\nCLIENT REPLY ON ON\nPING\n",
	"CLIENT REPLY OFF\nHELLO 3\nCLIENT REPLY ON\nGET nosuch\n", "CLIENT REPLY OFF\nMULTI\nRESET\nEXEC\n", "CLIENT REPLY SKIP\nMULTI\nRESET\nPING\n",
	"MULTI\nHELLO 4\nHELLO 3 FOO\nHELLO x\nEXEC\n", "MULTI\nWATCH a\nPING\nEXEC\n", "MULTI\nWATCH\nEXEC\n", "MULTI\nUNWATCH\nEXEC\n",
	"MULTI\nPING\nMULTI\nMULTI x\nEXEC\nEXEC\n", "MULTI\nGET\nQUIT\n", "MULTI\nPING\nRESET\nPING\nDISCARD\n", "MULTI\nEXEC\n", "EXEC x\nDISCARD x\nMULTI x\n",
	"MULTI\nCLIENT ID x\nEXEC\n", "MULTI\nCLIENT\nEXEC\n", "MULTI\nCLIENT NOSUCH\nEXEC\n", "MULTI\nOBJECT NOSUCH a\nEXEC\n", "MULTI\nXREAD\nEXEC\nXREAD\n",
	"MULTI\nGET b:a\nINCR b:n\nLPUSH b:n x\nGET b:n\nEXEC\nDEL b:n\n", "MULTI\nMSET b:a 1 b:b\nEXEC\n", "MULTI\nSET b:a 1 EX 0\nSET b:a 1 FOO\nEXEC\n",
	"MULTI\nEVAL \"return 1\" 0\nEVAL \"return {1,nil}\" 0\nEXEC\n", "MULTI\n\nPING\n*0\r\nEXEC\n", "MULTI\nPING\n*x\r\n",
	"EXEC\nDISCARD\nMULTI\nDISCARD\nDISCARD\n", "MULTI\nEXEC x\nEXEC\n", "MULTI\nDISCARD x\nEXEC\n", "MULTI\nMULTI x\nEXEC\n", "MULTI\nSELECT 0\nSELECT 99\nEXEC\n",
	"MULTI\nAUTH x\nAUTH default x\nAUTH nobody x\nEXEC\n", "MULTI\nCLIENT SETNAME n\nCLIENT GETNAME\nEXEC\nCLIENT GETNAME\nRESET\nCLIENT GETNAME\n",
	"HELLO 4\nHELLO x\nHELLO 2 AUTH\nHELLO 2 SETNAME\nHELLO 2 SETNAME \"a b\"\nHELLO 2 FOO\nHELLO 2 AUTH nobody x\nPING\n",
	"\nPING\n\r\nPING\r\n*0\r\n*-1\r\nPING\n", "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n*1\r\n$x\r\n", "PING \"\n", "PING 'a\n", "PING \"a\"b\n",
	"*1\r\n$-1\r\n", "*1\r\n$536870913\r\n", "*99999999999999999999\r\n", "*1\r\nPING\r\n", "*1\n$4\nPING\n", "GET\nGET a b\nSET a\nNOSUCH\nCLIENT\nCLIENT NOSUCH\nCONFIG NOSUCH\n",
};

/* The same of what the daemon answers itself, with or without Redis behind it. */
static const char *const housekeeping[] = {
	"COMMAND INFO nope\nCOMMAND INFO nope nope2\nCOMMAND DOCS nope\nCOMMAND NOPE\nCOMMAND COUNT x\n",
	"COMMAND LIST FILTERBY\nCOMMAND LIST FILTERBY PATTERN GETE*\nCOMMAND LIST filterby pattern *|getna[m-l]?\nCOMMAND LIST FILTERBY MODULE x\n",
	"COMMAND LIST FILTERBY ACLCAT nope\nCOMMAND LIST FILTERBY NOPE x\nCOMMAND LIST x\nCOMMAND LIST FILTERBY PATTERN a b\n",
	"COMMAND GETKEYS\nCOMMAND GETKEYS get\nCOMMAND GETKEYS get a\nCOMMAND GETKEYS get a b\nCOMMAND GETKEYS mset a 1 b 2\nCOMMAND GETKEYS client id\n",
	"COMMAND GETKEYS eval s 2 a b c\nCOMMAND GETKEYS eval s 0 a\nCOMMAND GETKEYS eval s 3 a b\nCOMMAND GETKEYS eval s x a\nCOMMAND GETKEYS eval s -1 a\n",
	"COMMAND GETKEYS zunion 2 a b\nCOMMAND GETKEYS zunion 3 a b\nCOMMAND GETKEYS zunion 0 a\nCOMMAND GETKEYS zunionstore d 2 a b\nCOMMAND GETKEYS lmpop 9 a LEFT\n",
	"COMMAND GETKEYS sort a BY x STORE b\nCOMMAND GETKEYS georadius a 1 1 1 m STORE b STOREDIST c\nCOMMAND GETKEYS georadius a 1 1 1 m STOREDIST b STORE c\n"
	"COMMAND GETKEYS sort a STORE b GET STORE STORE c\nCOMMAND GETKEYS xread COUNT 1 STREAMS a b 0 0\n",
	"COMMAND GETKEYS xread a b 0\nCOMMAND GETKEYS xreadgroup GROUP STREAMS x STREAMS k 0\nCOMMAND GETKEYS object freq k\nCOMMAND GETKEYS object help\n",
	"COMMAND GETKEYS xgroup create k g 0\nCOMMAND GETKEYS memory usage k\nCOMMAND GETKEYS sintercard 2 a b LIMIT 3\nCOMMAND GETKEYS bitop and d a b\n",
	"COMMAND GETKEYS nope a\nCOMMAND GETKEYS keys a\nCOMMAND GETKEYS set a\nCOMMAND GETKEYSANDFLAGS\n",
	"CLIENT HELP x\nCLIENT ID x\nCLIENT GETNAME\nCLIENT SETNAME\nCLIENT SETNAME a b\nCLIENT SETNAME \"a b\"\nCLIENT SETNAME a\nCLIENT GETNAME\nCLIENT SETNAME \"\"\nCLIENT GETNAME\n",
	"CLIENT NO-EVICT on\nCLIENT NO-EVICT OFF\nCLIENT NO-EVICT x\nCLIENT NO-EVICT\nCLIENT GETREDIR\nCLIENT TRACKINGINFO\nCLIENT TRACKING OFF\nCLIENT TRACKING\n",
	"CLIENT LIST TYPE x\nCLIENT LIST TYPE pubsub\nCLIENT LIST TYPE REPLICA\nCLIENT LIST TYPE\nCLIENT LIST TYPE normal x\nCLIENT LIST x y\nCLIENT INFO x\n",
	"CLIENT LIST ID\nCLIENT LIST ID x\nCLIENT LIST ID 0\nCLIENT LIST ID -1\nCLIENT LIST ID 999999\nCLIENT LIST ID 999999 x\nCLIENT LIST ID 999999 ID 999998\n",
	"CLIENT KILL\nCLIENT KILL ID\nCLIENT KILL ID x\nCLIENT KILL ID 0\nCLIENT KILL ID -1\nCLIENT KILL ID 1.5\nCLIENT KILL ID 999999\nCLIENT KILL 127.0.0.1:1\n",
	"CLIENT KILL ADDR x\nCLIENT KILL LADDR x\nCLIENT KILL TYPE x\nCLIENT KILL TYPE pubsub\nCLIENT KILL USER nobody\nCLIENT KILL USER default ID 999999\n",
	"CLIENT KILL SKIPME x ID 999999\nCLIENT KILL SKIPME yes ID 999999\nCLIENT KILL SKIPME no ID 999999\nCLIENT KILL x y\nCLIENT KILL ID 1 ID\nCLIENT KILL a b c\n",
	"CLIENT UNBLOCK\nCLIENT UNBLOCK 1\nCLIENT UNBLOCK x\nCLIENT UNBLOCK 1 TIMEOUT\nCLIENT UNBLOCK 1 x\nCLIENT REPLY\nCLIENT REPLY x\nCLIENT\nCLIENT x\n",
	"CONFIG\nCONFIG x\nCONFIG GET\nCONFIG GET nope\nCONFIG GET timeout\nCONFIG GET app[z-a]ndonl*\nCONFIG GET APPEND?NLY\nCONFIG HELP x\nACL WHOAMI\nACL WHOAMI x\nACL x\n",
	"SELECT\nSELECT 0\nSELECT x\nSELECT 99\nSELECT -1\nSELECT 99999999999999999999\nAUTH\nAUTH a\nAUTH a b c\nAUTH default x\nAUTH nobody x\n",
	"SCAN\nSCAN x\nSCAN 0 COUNT\nSCAN 0 COUNT x\nSCAN 0 COUNT 0\nSCAN 0 x\nSCAN 0 MATCH\nKEYS\nRANDOMKEY x\nDBSIZE x\nFLUSHDB x\nFLUSHALL SYNC x\n",
	"INFO nope\nINFO nope nope2\nECHO\nPING a b\nQUIT\n",
};

static void read_to_end(int fd, struct buf *all)
{
	char bytes[4096];
	ssize_t n;
	while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		buf_add(all, bytes, (size_t)n);
	buf_add(all, "", 1);
}

static void expect_same_dialogues(char letter, const char *const *list, size_t n)
{
	struct world w = start(&setups[letter - 'a']);
	const char *const sockets[2] = {w.reference, w.tested};
	for (size_t i = 0; i < n; i++) {
		struct buf said[2] = {BUF_INIT, BUF_INIT};
		for (int k = 0; k < 2; k++) {
			int fd = differ_connect(sockets[k]);
			raw_send(fd, list[i]);
			shutdown(fd, SHUT_WR);
			read_to_end(fd, &said[k]);
			close(fd);
		}
		ck_assert_msg(strcmp(said[0].data, said[1].data) == 0, "%s\nRedis says:\n%s\nand here it is:\n%s", list[i], said[0].data, said[1].data);
		buf_free(&said[0]);
		buf_free(&said[1]);
	}
	harness_free(w.h);
}

START_TEST(dialogues_are_as_with_redis)
{
	expect_same_dialogues('e', dialogues, LENGTH(dialogues));
}
END_TEST

START_TEST(housekeeping_is_as_with_redis)
{
	expect_same_dialogues('e', housekeeping, LENGTH(housekeeping));
}
END_TEST

START_TEST(housekeeping_without_redis_is_as_with_redis)
{
	expect_same_dialogues('d', housekeeping, LENGTH(housekeeping));
}
END_TEST

/* ---- what is meant to differ ---- */

/* Requests, a line each, and how the replies begin. The generator makes none of these. */
static const struct {
	const char *reason, *request, *redis, *daemon;
} intended[] = {
	{"no declared key has a NUL", "SET \"b:\\x00\" v", "+OK", "-ERR invalid key"},
	{"nor is any empty among declared ones", "DEL \"\" b:a", ":0", "-ERR invalid key"},
	{"the daemon's own keys are hidden", "GET catcached:lease:{b:a}", "$-1", "-ERR invalid key"},
	{"there are no ACL categories", "COMMAND LIST FILTERBY ACLCAT transaction", "*5", "*0"},
	{"nor the reasons to pause clients", "CLIENT UNPAUSE", "+OK", "-NOPERM"},
	{"there is one database", "SELECT 1", "+OK", "-ERR DB index is out of range"},
	{"in a transaction, only Redis knows the commands of its modules", "MULTI\nNO.SUCH", "+OK\r\n-ERR unknown command", "+OK\r\n+QUEUED"},
	{"its connections to Redis are shared, so nothing may be watched", "WATCH b:a", "+OK", "-ERR"},
};

static void expect_start(int fd, const char *reason, const char *request, const char *start)
{
	struct buf line = BUF_INIT, reply = BUF_INIT;
	buf_addf(&line, "%s\n", request);
	talk(fd, &line, &reply);
	ck_assert_msg(reply.len >= strlen(start) && memcmp(reply.data, start, strlen(start)) == 0, "%s: %s\nexpected %s\nbut got  %.*s",
		reason, request, start, (int)reply.len, reply.data);
	buf_free(&line);
	buf_free(&reply);
}

START_TEST(what_differs_is_meant_to)
{
	struct world w = start(&setups['e' - 'a']);
	bool is_self = setting("DIFFER_SELF", 0);
	for (size_t i = 0; i < LENGTH(intended); i++) {
		const int fds[2] = {differ_connect(w.reference), differ_connect(w.tested)};
		expect_start(fds[0], intended[i].reason, intended[i].request, intended[i].redis);
		expect_start(fds[1], intended[i].reason, intended[i].request, is_self ? intended[i].redis : intended[i].daemon);
		close(fds[0]);
		close(fds[1]);
	}
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		undeclared_keys_are_as_in_redis,
		declared_keys_in_memory_and_redis_are_as_in_redis,
		declared_keys_in_redis_alone_are_as_in_redis,
		declared_keys_in_memory_alone_are_as_in_redis,
		keys_of_all_kinds_mixed_are_as_in_redis,
		undeclared_keys_end_as_in_redis,
		declared_keys_in_memory_and_redis_end_as_in_redis,
		declared_keys_in_redis_alone_end_as_in_redis,
		declared_keys_in_memory_alone_end_as_in_redis,
		large_values_in_memory_and_redis_are_as_in_redis,
		large_values_in_redis_alone_are_as_in_redis,
		dialogues_are_as_with_redis,
		housekeeping_is_as_with_redis,
		housekeeping_without_redis_is_as_with_redis,
		what_differs_is_meant_to,
	};
	return harness_main("differential", tests, sizeof(tests) / sizeof(tests[0]));
}
