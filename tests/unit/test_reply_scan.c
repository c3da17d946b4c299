/* Finding the ends of replies, and what they hold. What is found in a stream is written down
 * and compared with what is expected, however the bytes were cut on their way in:
 *
 *      [:1]  [$abc]  [+OK]     a reply; of a text its bytes
 *      [*2 :1 $nil]            its elements, one after the other; a nil that is a string or an aggregate
 *      ~                       the stream ends in the middle of a reply
 *      !                       what follows is no reply
 */
#include "../../proto/reply_scan.h"

#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"
#include "rig.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT(s) s, sizeof(s) - 1

/* ---- writing down ---- */

static bool is_aggregate(char type)
{
	return strchr("*~>%|", type);
}

static void say_element(struct buf *said, const struct reply_element *e)
{
	if (said->data[said->len - 1] != '[')
		buf_add_char(said, ' ');
	buf_add_char(said, e->type);
	if (is_aggregate(e->type) && e->number >= 0) {
		ck_assert_uint_eq(e->len, 0);
		buf_addf(said, "%" PRId64, e->number);
	} else if (is_aggregate(e->type) || (strchr("$=!", e->type) && e->number < 0)) {
		ck_assert_uint_eq(e->len, 0);
		buf_add_str(said, "nil");
	} else {
		buf_add(said, e->data, e->len);
	}
}

/* A whole reply of so many bytes. */
static void say_reply(struct buf *said, const char *data, size_t len)
{
	ck_assert_uint_eq(reply_length(data, len), len);
	buf_add_char(said, '[');
	for (size_t at = 0; at < len; ) {
		struct reply_element e;
		size_t n = reply_element(data + at, len - at, &e);
		ck_assert_msg(n > 0 && n <= len - at, "an element of %zu bytes at %zu of %zu", n, at, len);
		say_element(said, &e);
		at += n;
	}
	buf_add_char(said, ']');
}

struct feed {
	struct reply_scan scan;
	struct buf reply;               /* the bytes of the reply in work */
	struct buf said;
};

/* The bytes in a block of exactly their size, so that the sanitizer sees a read too far. */
static void feed(struct feed *f, const char *data, size_t len)
{
	char *block = malloc(len + !len);
	memcpy(block, data, len);
	for (size_t used = 0; used < len && !f->scan.has_failed; ) {
		bool is_end;
		size_t n = reply_scan(&f->scan, block + used, len - used, &is_end);
		ck_assert(n > 0 && n <= len - used);
		ck_assert(is_end || f->scan.has_failed || n == len - used);
		buf_add(&f->reply, block + used, n);
		used += n;
		if (!is_end)
			continue;
		say_reply(&f->said, f->reply.data, f->reply.len);
		f->reply.len = 0;
	}
	free(block);
}

static void feed_expect(struct feed *f, const char *expected, const char *how, size_t at)
{
	if (f->scan.has_failed)
		buf_add_char(&f->said, '!');
	else if (f->reply.len)
		buf_add_char(&f->said, '~');
	buf_add_char(&f->said, '\0');
	ck_assert_msg(strcmp(f->said.data, expected) == 0, "%s %zu: got %s, expected %s", how, at, f->said.data, expected);
	buf_free(&f->reply);
	buf_free(&f->said);
}

struct sample {
	const char *text;
	size_t len;
	const char *expected;
};

static void expect_however_cut(const struct sample *s)
{
	struct feed f = {0};
	for (size_t at = 0; at < s->len; at++, f = (struct feed){0}) {
		feed(&f, s->text, at);
		feed(&f, s->text + at, s->len - at);
		feed_expect(&f, s->expected, "cut at", at);
	}
	for (size_t i = 0; i < s->len; i++)
		feed(&f, s->text + i, 1);
	feed_expect(&f, s->expected, "byte by byte", s->len);
}

/* ---- good replies ---- */

#define LONG_TEXT "123456789 123456789 123456789 123456789 123456789"

static const struct sample good[] = {
	/* RESP2 */
	{TEXT("+OK\r\n"), "[+OK]"},
	{TEXT("+\r\n"), "[+]"},
	{TEXT("-ERR no\r\n"), "[-ERR no]"},
	{TEXT(":0\r\n:-1\r\n"), "[:0][:-1]"},
	{TEXT(":9223372036854775807\r\n:-9223372036854775808\r\n"), "[:9223372036854775807][:-9223372036854775808]"},
	{TEXT("$5\r\nhello\r\n"), "[$hello]"},
	{TEXT("$0\r\n\r\n"), "[$]"},
	{TEXT("$-1\r\n"), "[$nil]"},
	{TEXT("$7\r\na\r\n$1\r\n\r\n:1\r\n"), "[$a\r\n$1\r\n][:1]"},
	{TEXT("*-1\r\n"), "[*nil]"},
	{TEXT("*0\r\n"), "[*0]"},
	{TEXT("*3\r\n:1\r\n$1\r\na\r\n$-1\r\n"), "[*3 :1 $a $nil]"},
	{TEXT("*2\r\n*2\r\n:1\r\n*0\r\n*1\r\n*1\r\n+x\r\n"), "[*2 *2 :1 *0 *1 *1 +x]"},
	{TEXT("*3\r\n+OK\r\n-ERR no\r\n:1\r\n"), "[*3 +OK -ERR no :1]"},
	/* RESP3 */
	{TEXT("_\r\n"), "[_]"},
	{TEXT("#t\r\n#f\r\n"), "[#t][#f]"},
	{TEXT(",1.5\r\n,inf\r\n,-1e300\r\n,nan\r\n"), "[,1.5][,inf][,-1e300][,nan]"},
	{TEXT("(3492890328409238509324850943850943825024385\r\n"), "[(3492890328409238509324850943850943825024385]"},
	{TEXT("=8\r\ntxt:some\r\n"), "[=txt:some]"},
	{TEXT("!6\r\nERR no\r\n"), "[!ERR no]"},
	{TEXT("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n"), "[%4 +a :1 +b *1 :2]"},
	{TEXT("%0\r\n~0\r\n"), "[%0][~0]"},
	{TEXT("~2\r\n$1\r\na\r\n_\r\n"), "[~2 $a _]"},
	{TEXT(">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n"), "[>2 +invalidate *1 $k]"},
	{TEXT("%1\r\n%1\r\n+a\r\n+b\r\n~1\r\n%1\r\n+c\r\n+d\r\n"), "[%2 %2 +a +b ~1 %2 +c +d]"},
	/* attributes belong to the reply, or the element, behind them */
	{TEXT("|1\r\n+ttl\r\n:3\r\n+OK\r\n"), "[|2 +ttl :3 +OK]"},
	{TEXT("|0\r\n+OK\r\n+OK\r\n"), "[|0 +OK][+OK]"},
	{TEXT("*2\r\n|1\r\n+k\r\n*1\r\n+v\r\n:1\r\n:2\r\n:3\r\n"), "[*2 |2 +k *1 +v :1 :2][:3]"},
	{TEXT("|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n+e\r\n"), "[|2 +a |2 +b +c +d +e]"},
	/* many in a row, and texts longer than what is kept of a cut line */
	{TEXT("+OK\r\n$3\r\nabc\r\n*1\r\n$-1\r\n:7\r\n"), "[+OK][$abc][*1 $nil][:7]"},
	{TEXT("+" LONG_TEXT "\r\n:1\r\n"), "[+" LONG_TEXT "][:1]"},
	{TEXT("*2\r\n-" LONG_TEXT "\r\n(" "123456789012345678901234567890" "\r\n"), "[*2 -" LONG_TEXT " (123456789012345678901234567890]"},
	{TEXT("+12345678901234567890123456789\r\n+123456789012345678901234567890\r\n+1234567890123456789012345678901\r\n"),
		"[+12345678901234567890123456789][+123456789012345678901234567890][+1234567890123456789012345678901]"},
	/* a CR alone does not end a line's text */
	{TEXT("+a\rb\r\n"), "[+a\rb]"},
	/* not whole */
	{TEXT("+OK\r\n+"), "[+OK]~"},
	{TEXT("$"), "~"},
	{TEXT("$5\r"), "~"},
	{TEXT("$5\r\nhell"), "~"},
	{TEXT("$5\r\nhello\r"), "~"},
	{TEXT("*2\r\n:1\r\n"), "~"},
	{TEXT("*2\r\n:1\r\n*1\r\n"), "~"},
	{TEXT("|1\r\n+a\r\n+b\r\n"), "~"},
};

START_TEST(good_replies_are_found_however_they_are_cut)
{
	expect_however_cut(&good[_i]);
}
END_TEST

/* ---- broken ones ---- */

static const struct sample bad[] = {
	{TEXT("x\r\n"), "!"},
	{TEXT("HTTP/1.1 400 Bad Request\r\n"), "!"},
	{TEXT("\r\n"), "!"},
	{TEXT("\n"), "!"},
	{TEXT("\0\r\n"), "!"},
	{TEXT("+OK\n"), "!"},
	{TEXT("+\n"), "!"},
	{TEXT(":\r\n"), "!"},
	{TEXT(":abc\r\n"), "!"},
	{TEXT(":1x\r\n"), "!"},
	{TEXT(":9223372036854775808\r\n"), "!"},
	{TEXT(":-9223372036854775809\r\n"), "!"},
	{TEXT("$\r\n"), "!"},
	{TEXT("$-\r\n"), "!"},
	{TEXT("$-2\r\n"), "!"},
	{TEXT("$a\r\n"), "!"},
	{TEXT("$ 1\r\n"), "!"},
	{TEXT("$1 \r\n"), "!"},
	{TEXT("$+1\r\n"), "!"},
	{TEXT("$?\r\n"), "!"},
	{TEXT("*-2\r\n"), "!"},
	{TEXT("*x\r\n"), "!"},
	{TEXT("%-2\r\n"), "!"},
	{TEXT("*1099511627776\r\n"), "!"},
	{TEXT("$1099511627776\r\n"), "!"},
	{TEXT("%1099511627776\r\n"), "!"},
	{TEXT("$18446744073709551617\r\n"), "!"},
	{TEXT("$00000000000000000000000000000000000000000001\r\nx\r\n"), "!"},
	{TEXT("+OK\r\n*2\r\n:1\r\nx\r\n+OK\r\n"), "[+OK]!"},
	{TEXT("|1\r\n+a\r\n+b\r\n?\r\n"), "!"},
};

START_TEST(broken_replies_fail_however_they_are_cut)
{
	expect_however_cut(&bad[_i]);
}
END_TEST

START_TEST(scan_that_has_failed_takes_nothing_more)
{
	struct reply_scan s = {0};
	bool is_end = true;
	(void)reply_scan(&s, "x\r\n", 3, &is_end);
	ck_assert(s.has_failed && !is_end);
	ck_assert_uint_eq(reply_scan(&s, "+OK\r\n", 5, &is_end), 0);
	ck_assert(s.has_failed && !is_end);
}
END_TEST

START_TEST(what_is_not_whole_or_no_reply_has_no_length)
{
	struct reply_element e;
	for (size_t i = 0; i < COUNT(good); i++) {
		size_t first = reply_length(good[i].text, good[i].len);
		for (size_t len = 0; len < first; len++)
			ck_assert_msg(reply_length(good[i].text, len) == 0, "sample %zu is whole with %zu bytes", i, len);
	}
	for (size_t i = 0; i < COUNT(bad); i++)
		ck_assert(reply_length(bad[i].text, bad[i].len) == 0 || bad[i].expected[0] == '[');
	ck_assert_uint_eq(reply_element("$3\r\nabc\r", 8, &e), 0);
	ck_assert_uint_eq(reply_element("*3\r", 3, &e), 0);
	ck_assert_uint_eq(reply_element("*3\r\n", 4, &e), 4);
	ck_assert_uint_eq(reply_element("", 0, &e), 0);
	ck_assert_uint_eq(reply_element(NULL, 0, &e), 0);
}
END_TEST

/* ---- large ---- */

/* Headers may announce what never comes; nothing is set aside for it, nothing overflows. */
START_TEST(huge_counts_are_waited_for)
{
	static const char *const headers[] = {"*1099511627775\r\n", "%1099511627775\r\n", "~1099511627775\r\n", ">1099511627775\r\n"};
	struct reply_scan s = {0};
	bool is_end;
	for (size_t i = 0; i < 1000; i++) {
		const char *header = headers[i % COUNT(headers)];
		ck_assert_uint_eq(reply_scan(&s, header, strlen(header), &is_end), strlen(header));
		ck_assert(!is_end && !s.has_failed);
	}
	ck_assert_uint_eq(s.owed, 1 + 1000 * (((uint64_t)1 << 40) - 2) + 250 * (((uint64_t)1 << 40) - 1));
	ck_assert_uint_eq(reply_scan(&s, "$1099511627775\r\nabc", 19, &is_end), 19);
	ck_assert_uint_eq(s.blob, ((uint64_t)1 << 40) - 1 + 2 - 3);
}
END_TEST

START_TEST(large_string_passes_in_pieces)
{
	enum { PIECE = 65536, PIECES = 1000 };
	struct reply_scan s = {0};
	char *piece = calloc(1, PIECE), header[32];
	bool is_end;
	snprintf(header, sizeof(header), "$%d\r\n", PIECE * PIECES);
	ck_assert_uint_eq(reply_scan(&s, header, strlen(header), &is_end), strlen(header));
	for (int i = 0; i < PIECES; i++) {
		ck_assert_uint_eq(reply_scan(&s, piece, PIECE, &is_end), PIECE);
		ck_assert(!is_end);
	}
	ck_assert_uint_eq(reply_scan(&s, "\r\n+OK\r\n", 7, &is_end), 2);
	ck_assert(is_end && !s.has_failed);
	ck_assert_uint_eq(reply_scan(&s, "+OK\r\n", 5, &is_end), 5);
	ck_assert(is_end);
	free(piece);
}
END_TEST

START_TEST(depth_costs_nothing)
{
	enum { DEPTH = 1000000 };
	struct buf b = BUF_INIT;
	for (int i = 0; i < DEPTH; i++)
		buf_add_str(&b, i % 2 ? "*1\r\n" : "|0\r\n");
	buf_add_str(&b, ":1\r\n");
	ck_assert_uint_eq(reply_length(b.data, b.len), b.len);
	ck_assert_uint_eq(reply_length(b.data, b.len - 1), 0);
	buf_free(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reply_scan");
	TCase *tc = tcase_create("replies");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, good_replies_are_found_however_they_are_cut, 0, COUNT(good));
	tcase_add_loop_test(tc, broken_replies_fail_however_they_are_cut, 0, COUNT(bad));
	tcase_add_test(tc, scan_that_has_failed_takes_nothing_more);
	tcase_add_test(tc, what_is_not_whole_or_no_reply_has_no_length);
	tcase_add_test(tc, huge_counts_are_waited_for);
	tcase_add_test(tc, large_string_passes_in_pieces);
	tcase_add_test(tc, depth_costs_nothing);
	suite_add_tcase(suite, tc);
	return rig_main(suite);
}
