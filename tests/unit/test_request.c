/* The request parser. What comes out of it is written down as a transcript and
 * compared with the one expected, however the bytes were cut on their way in:
 *
 *      [GET|k]         a request        []              one with nothing to do
 *      !text           failed           !               failed without a text
 *      ~               the input ends in the middle of a request
 *      \x00            a byte that does not print
 *      <70000>         an argument of so many bytes, all as pattern() wrote them
 */
#include "../../proto/request_batch.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LONG_ARG 64             /* longer ones are abbreviated in the transcript */
#define TEXT(s) s, sizeof(s) - 1

static const struct request_limits wide = {.max_arg = 512 << 20, .max_total = 1 << 30};

static char pattern_byte(size_t i)
{
	return (char)('a' + i % 23);
}

static void add_pattern(struct buf *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf_add_char(b, pattern_byte(i));
}

/* ---- a server's way with its input, as small as can be ---- */

struct feed {
	struct request_parser p;
	struct buf input;       /* read and not consumed */
	struct buf said;        /* the transcript */
	bool direct;            /* reads out-of-line arguments to where they stay */
	bool batched;           /* reads what it can by request_batch_read */
	bool poor;              /* has no memory for them */
	bool failed;
};

static void feed_init(struct feed *f, const struct request_limits *limits)
{
	*f = (struct feed){0};
	request_init(&f->p, limits);
}

static void release_owners(struct feed *f)
{
	for (size_t i = 0; i < f->p.argc; i++)
		free(f->p.argv[i].owner);
}

static void feed_fini(struct feed *f)
{
	if (request_pending(&f->p) || f->failed)
		release_owners(f);
	request_fini(&f->p);
	buf_free(&f->input);
	buf_free(&f->said);
}

static void say_arg(struct buf *said, const struct request_arg *arg)
{
	ck_assert_ptr_nonnull(arg->data);
	if (arg->len > LONG_ARG) {
		size_t same = 0;
		while (same < arg->len && arg->data[same] == pattern_byte(same))
			same++;
		buf_addf(said, same == arg->len ? "<%zu>" : "<%zu damaged>", arg->len);
		return;
	}
	for (size_t i = 0; i < arg->len; i++) {
		if (arg->data[i] >= ' ' && arg->data[i] <= '~')
			buf_add_char(said, arg->data[i]);
		else
			buf_addf(said, "\\x%02x", (unsigned char)arg->data[i]);
	}
}

static void say_args(struct buf *said, const struct request_arg *argv, size_t argc)
{
	buf_add_char(said, '[');
	for (size_t i = 0; i < argc; i++) {
		if (i)
			buf_add_char(said, '|');
		say_arg(said, &argv[i]);
	}
	buf_add_char(said, ']');
}

static void say_request(struct feed *f)
{
	if (f->p.discarded)
		buf_add_str(&f->said, "discarded");
	say_args(&f->said, f->p.argv, f->p.argc);
	release_owners(f);
}

/* Reads a batch if it can; the bytes used up. */
static size_t read_batch(struct feed *f, const char *data, size_t len)
{
	struct request_batch b;
	size_t n = f->batched && !request_pending(&f->p) ? request_batch_read(&b, REQUEST_BATCH_MAX, f->p.limits, data, len) : 0, used = 0;
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_gt(b.requests[i].argc, 0);
		say_args(&f->said, b.requests[i].argv, b.requests[i].argc);
		used += b.requests[i].len;
	}
	return used;
}

static void supply(struct feed *f)
{
	char *to;
	ck_assert_uint_eq(request_large_room(&f->p, &to), 0);
	char *memory = f->poor ? NULL : malloc(f->p.large_len);
	request_supply(&f->p, memory, memory);
}

/* One call, with the input in a block of its own and of exactly its size, so that the
 * sanitizer sees a read too far, and a pointer kept over a call. True: there may be more in it. */
static bool parse_once(struct feed *f)
{
	char *block = NULL;
	if (f->input.len) {
		block = malloc(f->input.len);
		memcpy(block, f->input.data, f->input.len);
	}
	size_t read = read_batch(f, block, f->input.len);
	if (read) {
		free(block);
		buf_drop(&f->input, read);
		return true;
	}
	enum request_status status = request_parse(&f->p, block, f->input.len);
	if (status == REQUEST_READY) {
		say_request(f);
	} else if (status == REQUEST_LARGE_ARG) {
		supply(f);
	} else if (status == REQUEST_FAILED) {
		f->failed = true;
		buf_addf(&f->said, "!%s", f->p.error ? f->p.error : "");
	}
	free(block);
	buf_drop(&f->input, f->p.consumed);
	if (status == REQUEST_READY)
		request_next(&f->p);
	return status == REQUEST_READY || status == REQUEST_LARGE_ARG;
}

static void feed(struct feed *f, const char *data, size_t len)
{
	char *to;
	size_t room;
	while (f->direct && len && f->input.len == 0 && (room = request_large_room(&f->p, &to)) > 0) {
		size_t n = room < len ? room : len;
		memcpy(to, data, n);
		request_large_filled(&f->p, n);
		data += n;
		len -= n;
	}
	buf_add(&f->input, data, len);
	while (!f->failed && parse_once(f))
		;
}

/* Compares the transcript and ends the run. */
static void feed_expect(struct feed *f, const char *expected, const char *how, size_t at)
{
	if (request_pending(&f->p))
		buf_add_char(&f->said, '~');
	buf_add_char(&f->said, '\0');
	ck_assert_msg(strcmp(f->said.data, expected) == 0, "%s %zu: got %s, expected %s", how, at, f->said.data, expected);
	feed_fini(f);
}

/* ---- every way to cut an input ---- */

struct sample {
	const char *text;
	size_t len;
	const char *expected;
};

static void expect_read(const struct sample *s, size_t at, bool direct, bool batched)
{
	struct feed f;
	feed_init(&f, &wide);
	f.direct = direct;
	f.batched = batched;
	feed(&f, s->text, at);
	feed(&f, s->text + at, s->len - at);
	feed_expect(&f, s->expected, batched ? "batched, cut at" : "cut at", at);
}

/* In steps, and in batches. */
static void expect_cut_at(const struct sample *s, size_t at, bool direct)
{
	expect_read(s, at, direct, false);
	expect_read(s, at, direct, true);
}

static void expect_byte_by_byte(const struct sample *s, bool direct)
{
	struct feed f;
	feed_init(&f, &wide);
	f.direct = direct;
	for (size_t i = 0; i < s->len; i++)
		feed(&f, s->text + i, 1);
	feed_expect(&f, s->expected, "byte by byte", s->len);
}

/* Whole (cut at 0), cut at every byte, and byte by byte. */
static void expect_however_cut(const struct sample *s)
{
	for (size_t at = 0; at < s->len; at++)
		expect_cut_at(s, at, false);
	expect_byte_by_byte(s, false);
}

/* ---- good requests ---- */

static const struct sample good[] = {
	{TEXT("*1\r\n$4\r\nPING\r\n"), "[PING]"},
	{TEXT("*2\r\n$3\r\nGET\r\n$20\r\nmodels:gateway:groq1\r\n"), "[GET|models:gateway:groq1]"},
	{TEXT("*3\r\n$3\r\nset\r\n$1\r\nk\r\n$0\r\n\r\n"), "[set|k|]"},
	{TEXT("*1\r\n$0\r\n\r\n"), "[]"},
	{TEXT("*2\r\n$4\r\nECHO\r\n$6\r\n\0\r\n\xff$*\r\n"), "[ECHO|\\x00\\x0d\\x0a\\xff$*]"},
	{TEXT("*0\r\n"), "[]"},
	{TEXT("*-1\r\n*-10\r\n"), "[][]"},
	{TEXT("*0\r\n*1\r\n$4\r\nPING\r\n"), "[][PING]"},
	{TEXT("*10\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n"),
		"[0|1|2|3|4|5|6|7|8|9]"},
	/* as in Redis: the bytes where CRLF belongs are skipped unread, but a header ends with a CR */
	{TEXT("*1\r\n$4\r\nPINGxy*1\r\n$4\r\nPING\r\n"), "[PING][PING]"},
	{TEXT("*1\rx$4\ryPINGxy*1\ry$4\rxPINGyx*1\r\n$4\r\nQUIT\r\n"), "[PING][PING][QUIT]"},
	{TEXT("*1\rx$4\ryPING\r\n"), "[PING]"},
	{TEXT("*2\r\n$3\r\nGET\r\n$1\r\nkey\r\n$"), "[GET|k][]~"},
	{TEXT("PING\n"), "[PING]"},
	{TEXT("PING\r\n"), "[PING]"},
	{TEXT("get k\nGET K\r\n"), "[get|k][GET|K]"},
	{TEXT("\n"), "[]"},
	{TEXT("\r\n\r\n  \t \r\n"), "[][][]"},
	{TEXT("  GET \t k\v1  \r\n"), "[GET|k\\x0b1]"},
	{TEXT(" *1 $4\n"), "[*1|$4]"},
	{TEXT("POSTED\nHost\nHost:x\nECHO POST\nECHO Host:\n"), "[POSTED][Host][Host:x][ECHO|POST][ECHO|Host:]"},
	/* pipelines: kinds mixed, and one that stops in the middle */
	{TEXT("*1\r\n$4\r\nPING\r\nGET k\r\n\r\n*2\r\n$3\r\nGET\r\n$2\r\nkk\r\nQUIT\n"), "[PING][GET|k][][GET|kk][QUIT]"},
	{TEXT("PING\nGET 'a b'\nPING\n"), "[PING][GET|a b][PING]"},
	{TEXT("PING\nGET"), "[PING]~"},
	{TEXT("*"), "~"},
	{TEXT("*1\r"), "~"},
	{TEXT("*1\r\n"), "~"},
	{TEXT("*1\n$4\nPING\n"), "~"},
	{TEXT("*2\r\n$4\r\nPING\r\n$5"), "~"},
	{TEXT("*1\r\n$4\r\nPING\r"), "~"},
	{TEXT("*1\r\n$65535\r\nx"), "~"},
	{TEXT("*1048576\r\n$1\r\nx\r\n"), "~"},
};

START_TEST(good_requests_come_out_the_same_however_they_are_cut)
{
	expect_however_cut(&good[_i]);
}
END_TEST

/* ---- bad ones ---- */

#define BAD_COUNT "!invalid multibulk length"
#define BAD_BULK "!invalid bulk length"

static const struct sample bad[] = {
	{TEXT("*\r\n"), BAD_COUNT},
	{TEXT("*-\r\n"), BAD_COUNT},
	{TEXT("*abc\r\n"), BAD_COUNT},
	{TEXT("*+1\r\n"), BAD_COUNT},
	{TEXT("*01\r\n"), BAD_COUNT},
	{TEXT("*01\r\n$4\r\nPING\r\n"), BAD_COUNT},
	{TEXT("*-0\r\n"), BAD_COUNT},
	{TEXT("* 1\r\n"), BAD_COUNT},
	{TEXT("*1 \r\n"), BAD_COUNT},
	{TEXT("*1\0\r\n"), BAD_COUNT},
	{TEXT("*1\n\r\n"), BAD_COUNT},
	{TEXT("*1048577\r\n"), BAD_COUNT},
	{TEXT("*2147483648\r\n"), BAD_COUNT},
	{TEXT("*18446744073709551617\r\n"), BAD_COUNT},
	{TEXT("*99999999999999999999999999999999999\r\n"), BAD_COUNT},
	{TEXT("*1\r\n$\r\n"), BAD_BULK},
	{TEXT("*1\r\n$-1\r\n"), BAD_BULK},
	{TEXT("*1\r\n$abc\r\n"), BAD_BULK},
	{TEXT("*1\r\n$+4\r\n"), BAD_BULK},
	{TEXT("*1\r\n$04\r\n"), BAD_BULK},
	{TEXT("*1\r\n$04\r\nPING\r\n"), BAD_BULK},
	{TEXT("*1\r\n$4x\r\n"), BAD_BULK},
	{TEXT("*1\r\n$536870913\r\n"), BAD_BULK},
	{TEXT("*1\r\n$18446744073709551620\r\nPING\r\n"), BAD_BULK},
	{TEXT("*2\r\n$3\r\nGET\r\n$-1\r\n"), BAD_BULK},
	{TEXT("*1\r\nPING\r\n"), "!expected '$', got 'P'"},
	{TEXT("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n"), "!expected '$', got 'f'"},
	{TEXT("*1\r\n\r\n"), "!expected '$', got '\r'"},
	{TEXT("*1\r\n\0\r\n"), "!expected '$', got '"},
	{TEXT("*1\r\n\xff\r\n"), "!expected '$', got '\xff'"},
	{TEXT("*3\r\n$3\r\nSET\r\n$1\r\nkey\r\n$1\r\nv\r\n"), "!expected '$', got '\r'"},     /* k, CRLF is "ey" */
	{TEXT("GET \"k\r\n"), "!unbalanced quotes in request"},
	{TEXT("PING\nGET 'k\n"), "[PING]!unbalanced quotes in request"},
	{TEXT("GET \0k\n"), "!NUL byte in inline request"},
	{TEXT("\0\n"), "!NUL byte in inline request"},
	{TEXT("POST / HTTP/1.1\r\n"), "!"},
	{TEXT("PING\r\npost x\r\nPING\r\n"), "[PING]!"},
	{TEXT("hOST: localhost\r\n"), "!"},
	/* nothing behind a failure is understood */
	{TEXT("*1\r\n$-1\r\n*1\r\n$4\r\nPING\r\n"), BAD_BULK},
};

START_TEST(bad_requests_fail_the_same_however_they_are_cut)
{
	expect_however_cut(&bad[_i]);
}
END_TEST

START_TEST(failed_parser_stays_failed)
{
	struct request_parser p;
	request_init(&p, &wide);
	ck_assert_int_eq(request_parse(&p, "*x\r\n", 4), REQUEST_FAILED);
	ck_assert_uint_eq(p.consumed, 0);
	ck_assert_int_eq(request_parse(&p, "PING\n", 5), REQUEST_FAILED);
	ck_assert_str_eq(p.error, "invalid multibulk length");
	ck_assert(!request_pending(&p));
	request_fini(&p);
}
END_TEST

/* ---- quoting ---- */

static const struct sample quoting[] = {
	{TEXT("\"a b\"\n"), "[a b]"},
	{TEXT("'a b'\n"), "[a b]"},
	{TEXT("\"\" ''\n"), "[|]"},
	{TEXT("a\"b c\" d\n"), "[ab c|d]"},
	{TEXT("a'b c'\td\n"), "[ab c|d]"},
	{TEXT("x \"y\" z 'w' v\r\n"), "[x|y|z|w|v]"},
	{TEXT("\"\\n\\r\\t\\b\\a\"\n"), "[\\x0a\\x0d\\x09\\x08\\x07]"},
	{TEXT("\"\\x00\\xfF\\x41\"\n"), "[\\x00\\xffA]"},
	{TEXT("\"\\x4 \\xg1 \\x\"\n"), "[x4 xg1 x]"},
	{TEXT("\"\\\\ \\\" \\q\"\n"), "[\\ \" q]"},
	{TEXT("\"'\" '\"'\n"), "['|\"]"},
	{TEXT("'\\' \\\\ \\n'\n"), "[' \\\\ \\n]"},
	{TEXT("a\\ b\\n\n"), "[a\\|b\\n]"},
	{TEXT("a\\\"b\"\n"), "[a\\b]"},
	{TEXT("\"a\"\v'b'\n"), "[a|b]"},
	{TEXT("\"a\rb\" c\rd\n"), "[a\\x0db|c|d]"},
	{TEXT("\"a\"b\n"), "!unbalanced quotes in request"},
	{TEXT("'a'\"b\"\n"), "!unbalanced quotes in request"},
	{TEXT("\"a\\\"\n"), "!unbalanced quotes in request"},
	{TEXT("'a\\'\n"), "!unbalanced quotes in request"},
	{TEXT("\"a\\\n"), "!unbalanced quotes in request"},
	{TEXT("\"\n"), "!unbalanced quotes in request"},
	{TEXT("a'\r\n"), "!unbalanced quotes in request"},
	{TEXT("\"\\x4\n"), "!unbalanced quotes in request"},
};

START_TEST(quotes_are_understood_as_in_redis)
{
	expect_however_cut(&quoting[_i]);
}
END_TEST

/* ---- limits ---- */

/* head, then n bytes of fill, then tail. */
static void expect_padded(const char *head, char fill, size_t n, const char *tail, const char *expected)
{
	struct feed f;
	struct buf text = BUF_INIT;
	buf_add_str(&text, head);
	memset(buf_reserve(&text, n), fill, n);
	text.len += n;
	buf_add_str(&text, tail);
	feed_init(&f, &wide);
	feed(&f, text.data, text.len);
	buf_free(&text);
	feed_expect(&f, expected, "bytes of padding", n);
}

START_TEST(line_without_an_end_is_refused_beyond_the_limit)
{
	expect_padded("", 'x', REQUEST_LINE_MAX, "", "~");
	expect_padded("", 'x', REQUEST_LINE_MAX + 1, "", "!too big inline request");
	expect_padded("", '\0', REQUEST_LINE_MAX + 1, "", "!too big inline request");
}
END_TEST

START_TEST(longer_line_is_accepted_when_it_arrives_with_its_end)
{
	expect_padded("ECHO ", ' ', 70000, "x\n", "[ECHO|x]");
}
END_TEST

START_TEST(header_line_without_an_end_is_refused_beyond_the_limit)
{
	expect_padded("*", '1', REQUEST_LINE_MAX - 1, "", "~");
	expect_padded("*", '1', REQUEST_LINE_MAX, "", "!too big mbulk count string");
	expect_padded("*1\r\n$", '1', REQUEST_LINE_MAX - 1, "", "~");
	expect_padded("*1\r\n$", '1', REQUEST_LINE_MAX, "", "!too big bulk count string");
	expect_padded("*2\r\n$1\r\nk\r\n", 'x', REQUEST_LINE_MAX, "", "~");
	expect_padded("*2\r\n$1\r\nk\r\n", 'x', REQUEST_LINE_MAX + 1, "", "!too big bulk count string");
}
END_TEST

static void expect_limited(const char *text, const char *expected)
{
	static const struct request_limits narrow = {.max_arg = 8, .max_total = 20};
	for (int batched = 0; batched < 2; batched++) {
		struct feed f;
		feed_init(&f, &narrow);
		f.batched = batched;
		feed(&f, text, strlen(text));
		feed_expect(&f, expected, text, 0);
	}
}

START_TEST(argument_over_the_limit_is_refused_before_it_arrives)
{
	expect_limited("*2\r\n$4\r\nECHO\r\n$8\r\n12345678\r\n", "[ECHO|12345678]");
	expect_limited("*2\r\n$4\r\nECHO\r\n$9\r\n", "!invalid bulk length");
	expect_limited("ECHO 12345678\n", "[ECHO|12345678]");
	expect_limited("ECHO 123456789\n", "!invalid bulk length");
	expect_limited("ECHO \"\\x31\\x32\\x33\"\n", "[ECHO|123]");
}
END_TEST

START_TEST(arguments_over_the_total_are_refused_before_they_arrive)
{
	expect_limited("*3\r\n$4\r\nECHO\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n", "[ECHO|12345678|12345678]");
	expect_limited("*4\r\n$4\r\nECHO\r\n$8\r\n12345678\r\n$7\r\n1234567\r\n$2\r\n", "!too big request");
	expect_limited("ECHO 12345678 12345678\n", "[ECHO|12345678|12345678]");
	expect_limited("ECHO 12345678 12345678 1\n", "!too big request");
	/* of each request on its own */
	expect_limited("ECHO 12345678\nECHO 12345678\n*1\r\n$4\r\nPING\r\n", "[ECHO|12345678][ECHO|12345678][PING]");
	expect_limited("*1\r\n$4\r\nPING\r\n*4\r\n$4\r\nECHO\r\n$8\r\n12345678\r\n$7\r\n1234567\r\n$2\r\nxx\r\n", "[PING]!too big request");
}
END_TEST

START_TEST(line_of_too_many_words_is_refused)
{
	struct buf text = BUF_INIT;
	struct request_parser p;
	for (size_t i = 0; i <= REQUEST_ARGS_MAX; i++)
		buf_add_str(&text, "x ");
	text.data[text.len - 1] = '\n';
	request_init(&p, &wide);
	ck_assert_int_eq(request_parse(&p, text.data, text.len), REQUEST_FAILED);
	ck_assert_str_eq(p.error, "too big request");
	request_fini(&p);
	request_init(&p, &wide);
	ck_assert_int_eq(request_parse(&p, text.data + 2, text.len - 2), REQUEST_READY);
	ck_assert_uint_eq(p.argc, REQUEST_ARGS_MAX);
	request_fini(&p);
	buf_free(&text);
}
END_TEST

/* ---- arguments out of line ---- */

static struct buf large_set(size_t len, const char *tail)
{
	struct buf text = BUF_INIT;
	buf_addf(&text, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", len);
	add_pattern(&text, len);
	buf_add_str(&text, "\r\n");
	buf_add_str(&text, tail);
	return text;
}

/* Every byte near the ends, and now and then one in the middle. */
static size_t next_cut(size_t at, size_t len)
{
	enum { EDGE = 80, STRIDE = 1499 };
	return at < EDGE || at + STRIDE + EDGE > len ? at + 1 : at + STRIDE;
}

START_TEST(large_argument_comes_out_the_same_wherever_it_is_cut)
{
	struct buf text = large_set(REQUEST_LARGE, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
	struct sample s = {text.data, text.len, "[SET|k|<65536>][GET|k]"};
	for (size_t at = 0; at < s.len; at = next_cut(at, s.len)) {
		expect_cut_at(&s, at, false);
		expect_cut_at(&s, at, true);
	}
	expect_byte_by_byte(&s, false);
	expect_byte_by_byte(&s, true);
	buf_free(&text);
}
END_TEST

START_TEST(argument_just_below_large_stays_in_the_buffer)
{
	struct buf text = large_set(REQUEST_LARGE - 1, "");
	struct request_parser p;
	request_init(&p, &wide);
	ck_assert_int_eq(request_parse(&p, text.data, text.len), REQUEST_READY);
	ck_assert_ptr_null(p.argv[2].owner);
	ck_assert_ptr_eq(p.argv[2].data, text.data + text.len - 2 - (REQUEST_LARGE - 1));
	request_fini(&p);
	buf_free(&text);
}
END_TEST

START_TEST(arguments_around_large_ones_survive)
{
	struct buf text = BUF_INIT;
	buf_addf(&text, "*6\r\n$4\r\nMSET\r\n$0\r\n\r\n$%d\r\n", REQUEST_LARGE);
	add_pattern(&text, REQUEST_LARGE);
	buf_addf(&text, "\r\n$5\r\nother\r\n$%d\r\n", REQUEST_LARGE + 1);
	add_pattern(&text, REQUEST_LARGE + 1);
	buf_add_str(&text, "\r\n$4\r\nlast\r\n");
	struct sample s = {text.data, text.len, "[MSET||<65536>|other|<65537>|last]"};
	for (size_t at = 0; at < s.len; at += 1009)
		expect_cut_at(&s, at, at % 2 == 0);
	expect_byte_by_byte(&s, false);
	expect_byte_by_byte(&s, true);
	buf_free(&text);
}
END_TEST

START_TEST(empty_argument_before_a_large_one_is_empty_not_null)
{
	struct buf text = BUF_INIT;
	buf_addf(&text, "*2\r\n$0\r\n\r\n$%d\r\n", REQUEST_LARGE);
	add_pattern(&text, REQUEST_LARGE);
	buf_add_str(&text, "\r\n");
	struct sample s = {text.data, text.len, "[|<65536>]"};
	expect_cut_at(&s, 0, true);
	buf_free(&text);
}
END_TEST

START_TEST(large_argument_is_read_straight_to_the_memory_supplied)
{
	static char memory[REQUEST_LARGE];
	struct buf text = large_set(sizeof(memory), "");
	size_t head = text.len - sizeof(memory) - 2;
	struct request_parser p;
	char *to = NULL;
	int owner;
	request_init(&p, &wide);
	ck_assert_uint_eq(request_large_room(&p, &to), 0);
	ck_assert_int_eq(request_parse(&p, text.data, head + 3), REQUEST_LARGE_ARG);
	ck_assert_uint_eq(p.consumed, head);
	ck_assert_uint_eq(p.large_len, sizeof(memory));
	ck_assert_uint_eq(request_large_room(&p, &to), 0);
	request_supply(&p, memory, &owner);
	ck_assert_ptr_eq(p.argv[2].owner, &owner);
	/* three bytes were in the buffer already, the rest goes past it */
	ck_assert_int_eq(request_parse(&p, text.data + head, 3), REQUEST_MORE);
	ck_assert_uint_eq(p.consumed, 3);
	ck_assert_uint_eq(request_large_room(&p, &to), sizeof(memory) - 3);
	ck_assert_ptr_eq(to, memory + 3);
	memcpy(to, text.data + head + 3, sizeof(memory) - 3);
	request_large_filled(&p, sizeof(memory) - 3);
	ck_assert_uint_eq(request_large_room(&p, &to), 0);
	ck_assert(request_pending(&p));
	ck_assert_int_eq(request_parse(&p, "\r", 1), REQUEST_MORE);
	ck_assert_uint_eq(p.consumed, 0);
	ck_assert_int_eq(request_parse(&p, "\r\n", 2), REQUEST_READY);
	ck_assert_uint_eq(p.consumed, 2);
	ck_assert_ptr_eq(p.argv[2].data, memory);
	ck_assert_mem_eq(memory, text.data + head, sizeof(memory));
	request_fini(&p);
	buf_free(&text);
}
END_TEST

START_TEST(large_argument_without_memory_is_thrown_away_and_the_stream_stays_in_step)
{
	struct buf text = large_set(REQUEST_LARGE, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
	struct sample s = {text.data, text.len, "discarded[SET|k|][SET|k|v]"};
	for (size_t piece = 1; piece <= s.len; piece = piece * 3 + 1) {
		struct feed f;
		feed_init(&f, &wide);
		f.poor = f.direct = true;
		for (size_t at = 0; at < s.len; at += piece)
			feed(&f, s.text + at, at + piece < s.len ? piece : s.len - at);
		feed_expect(&f, s.expected, "in pieces of", piece);
	}
	buf_free(&text);
}
END_TEST

START_TEST(owner_of_an_unfinished_argument_is_left_to_the_caller)
{
	struct buf text = large_set(REQUEST_LARGE, "");
	static char memory[REQUEST_LARGE];
	struct request_parser p;
	request_init(&p, &wide);
	size_t head = text.len - sizeof(memory) - 2;
	ck_assert_int_eq(request_parse(&p, text.data, head), REQUEST_LARGE_ARG);
	request_supply(&p, memory, memory);
	ck_assert_int_eq(request_parse(&p, text.data + head, 10), REQUEST_MORE);
	ck_assert_uint_eq(p.argc, 3);
	ck_assert_ptr_null(p.argv[0].owner);
	ck_assert_ptr_null(p.argv[1].owner);
	ck_assert_ptr_eq(p.argv[2].owner, memory);
	request_fini(&p);
	buf_free(&text);
}
END_TEST

START_TEST(owner_is_still_named_when_what_follows_is_broken)
{
	struct buf text = BUF_INIT;
	buf_addf(&text, "*3\r\n$3\r\nSET\r\n$%d\r\n", REQUEST_LARGE);
	add_pattern(&text, REQUEST_LARGE);
	buf_add_str(&text, "\r\n$x\r\n");
	struct sample s = {text.data, text.len, BAD_BULK};
	for (size_t at = 0; at < s.len; at += 4099)
		expect_cut_at(&s, at, true);    /* feed_fini frees the owner; the leak checker sees it if not */
	buf_free(&text);
}
END_TEST

/* ---- cost ---- */

START_TEST(announced_arguments_take_no_memory_before_they_arrive)
{
	struct request_parser p;
	request_init(&p, &wide);
	ck_assert_int_eq(request_parse(&p, TEXT("*1000000\r\n$1\r\nx\r\n")), REQUEST_MORE);
	ck_assert_uint_le(p.cap_args, 16);
	request_fini(&p);
}
END_TEST

START_TEST(sixteen_gets_in_one_buffer_allocate_nothing_once_warm)
{
	struct buf text = BUF_INIT;
	struct request_parser p;
	request_init(&p, &wide);
	for (int i = 0; i < 16; i++)
		buf_addf(&text, "*2\r\n$3\r\nGET\r\n$20\r\nmodels:gateway:key%02d\r\n", i);
	size_t at = 0;
	const struct request_arg *argv = NULL;
	for (int i = 0; i < 16; i++) {
		ck_assert_int_eq(request_parse(&p, text.data + at, text.len - at), REQUEST_READY);
		ck_assert(argv == NULL || argv == p.argv);
		ck_assert_ptr_eq(p.argv[1].data, text.data + at + 18);  /* where it lies, not a copy */
		argv = p.argv;
		at += p.consumed;
		request_next(&p);
	}
	ck_assert_ptr_null(p.scratch.data);
	ck_assert_int_eq(request_parse(&p, text.data + at, text.len - at), REQUEST_MORE);
	ck_assert(!request_pending(&p));
	request_fini(&p);
	buf_free(&text);
}
END_TEST

START_TEST(quoted_words_of_each_line_use_the_same_scratch)
{
	struct request_parser p;
	const char *first = NULL;
	request_init(&p, &wide);
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(request_parse(&p, TEXT("GET 'models:gateway:groq'\n")), REQUEST_READY);
		ck_assert(first == NULL || first == p.argv[1].data);
		first = p.argv[1].data;
		request_next(&p);
	}
	request_fini(&p);
}
END_TEST

START_TEST(much_memory_is_given_back_after_the_request)
{
	struct buf text = BUF_INIT;
	struct request_parser p;
	buf_add_str(&text, "MGET ");
	for (int i = 0; i < 10000; i++)
		buf_add_str(&text, "'k' ");
	buf_add_str(&text, "\nGET k\n");
	request_init(&p, &wide);
	ck_assert_int_eq(request_parse(&p, text.data, text.len), REQUEST_READY);
	ck_assert_uint_eq(p.argc, 10001);
	size_t consumed = p.consumed;
	request_next(&p);
	ck_assert_uint_eq(p.cap_args, 0);
	ck_assert_uint_eq(p.scratch.cap, 0);
	ck_assert_int_eq(request_parse(&p, text.data + consumed, text.len - consumed), REQUEST_READY);
	request_fini(&p);
	buf_free(&text);
}
END_TEST

/* What the parser is done with is overwritten before the next call, so it cannot have
 * read it again; what is left within its reach is counted, over all calls. */
static size_t bytes_within_reach(struct request_parser *p, struct buf *text, size_t piece)
{
	size_t reach = 0, done = 0;
	enum request_status status = REQUEST_MORE;
	for (size_t len = 0; len < text->len && status == REQUEST_MORE;) {
		len = len + piece < text->len ? len + piece : text->len;
		memset(text->data + done, '!', p->at - done);
		done = p->at;
		reach += len - done;
		status = request_parse(p, text->data, len);
	}
	ck_assert_int_eq(status, REQUEST_READY);
	return reach;
}

START_TEST(request_of_100000_arguments_takes_linear_time_in_small_pieces)
{
	enum { KEYS = 100000, KEY_LEN = 20 };
	struct request_parser p;
	for (size_t piece = 1; piece < 100; piece += 49) {
		struct buf text = BUF_INIT;
		buf_addf(&text, "*%d\r\n$4\r\nMGET\r\n", KEYS + 1);
		size_t head = text.len;
		for (int i = 0; i < KEYS; i++)
			buf_addf(&text, "$%d\r\nmodels:model:%07d\r\n", KEY_LEN, i);
		size_t each = (text.len - head) / KEYS;
		request_init(&p, &wide);
		ck_assert_uint_le(bytes_within_reach(&p, &text, piece), text.len * (each + piece) / piece);
		ck_assert_uint_eq(p.argc, KEYS + 1);
		for (size_t i = 0; i < KEYS; i++) {
			ck_assert_ptr_eq(p.argv[i + 1].data, text.data + head + each * i + each - KEY_LEN - 2);
			ck_assert_uint_eq(p.argv[i + 1].len, KEY_LEN);
		}
		request_fini(&p);
		buf_free(&text);
	}
}
END_TEST

START_TEST(line_in_small_pieces_is_searched_once)
{
	enum { LEN = 60000 };
	struct request_parser p;
	struct buf text = BUF_INIT;
	request_init(&p, &wide);
	for (size_t i = 0; i < LEN; i++) {
		buf_add_char(&text, pattern_byte(i));
		ck_assert_int_eq(request_parse(&p, text.data, text.len), REQUEST_MORE);
		ck_assert_uint_eq(p.scan, text.len);
	}
	request_fini(&p);
	buf_free(&text);
}
END_TEST

/* ---- the rest of the contract ---- */

START_TEST(request_is_pending_from_its_first_byte_to_its_last)
{
	struct request_parser p;
	request_init(&p, &wide);
	ck_assert_int_eq(request_parse(&p, NULL, 0), REQUEST_MORE);
	ck_assert(!request_pending(&p));
	ck_assert_int_eq(request_parse(&p, "P", 1), REQUEST_MORE);
	ck_assert(request_pending(&p));
	ck_assert_int_eq(request_parse(&p, "PING\n", 5), REQUEST_READY);
	ck_assert(!request_pending(&p));
	request_next(&p);
	ck_assert(!request_pending(&p));
	request_fini(&p);
}
END_TEST

START_TEST(fini_is_harmless_twice)
{
	struct request_parser p;
	request_init(&p, &wide);
	ck_assert_int_eq(request_parse(&p, "GET 'k", 6), REQUEST_MORE);
	request_fini(&p);
	request_fini(&p);
	ck_assert(!request_pending(&p));
}
END_TEST

static Suite *request_suite(void)
{
	Suite *s = suite_create("request");
	TCase *tc = tcase_create("requests");
	tcase_add_loop_test(tc, good_requests_come_out_the_same_however_they_are_cut, 0, COUNT(good));
	tcase_add_loop_test(tc, bad_requests_fail_the_same_however_they_are_cut, 0, COUNT(bad));
	tcase_add_loop_test(tc, quotes_are_understood_as_in_redis, 0, COUNT(quoting));
	tcase_add_test(tc, failed_parser_stays_failed);
	tcase_add_test(tc, request_is_pending_from_its_first_byte_to_its_last);
	tcase_add_test(tc, fini_is_harmless_twice);
	suite_add_tcase(s, tc);

	tc = tcase_create("limits");
	tcase_add_test(tc, line_without_an_end_is_refused_beyond_the_limit);
	tcase_add_test(tc, longer_line_is_accepted_when_it_arrives_with_its_end);
	tcase_add_test(tc, header_line_without_an_end_is_refused_beyond_the_limit);
	tcase_add_test(tc, argument_over_the_limit_is_refused_before_it_arrives);
	tcase_add_test(tc, arguments_over_the_total_are_refused_before_they_arrive);
	tcase_add_test(tc, line_of_too_many_words_is_refused);
	suite_add_tcase(s, tc);

	tc = tcase_create("large arguments");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, large_argument_comes_out_the_same_wherever_it_is_cut);
	tcase_add_test(tc, argument_just_below_large_stays_in_the_buffer);
	tcase_add_test(tc, arguments_around_large_ones_survive);
	tcase_add_test(tc, empty_argument_before_a_large_one_is_empty_not_null);
	tcase_add_test(tc, large_argument_is_read_straight_to_the_memory_supplied);
	tcase_add_test(tc, large_argument_without_memory_is_thrown_away_and_the_stream_stays_in_step);
	tcase_add_test(tc, owner_of_an_unfinished_argument_is_left_to_the_caller);
	tcase_add_test(tc, owner_is_still_named_when_what_follows_is_broken);
	suite_add_tcase(s, tc);

	tc = tcase_create("cost");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, announced_arguments_take_no_memory_before_they_arrive);
	tcase_add_test(tc, sixteen_gets_in_one_buffer_allocate_nothing_once_warm);
	tcase_add_test(tc, quoted_words_of_each_line_use_the_same_scratch);
	tcase_add_test(tc, much_memory_is_given_back_after_the_request);
	tcase_add_test(tc, request_of_100000_arguments_takes_linear_time_in_small_pieces);
	tcase_add_test(tc, line_in_small_pieces_is_searched_once);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(request_suite());
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
