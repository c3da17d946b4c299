/* The request parser; request.h is its contract, PROTOCOL.md the format. One per
 * connection, driven by the server (and by catcachectl for the lines it reads).
 *
 * A request is read in small steps. Each step takes one element of the frame and
 * moves on to the next state (true), or stops for more bytes or for the caller (false):
 *
 *      START --> LINE ----------------------------------------> READY
 *        |                                                        ^
 *        `-----> COUNT --> LENGTH -+-> BODY -----------------+----'
 *                  |         ^     `-> SUPPLY -> FILL -> TAIL+
 *           *0 --> READY     `----- more arguments ----------'      at a mistake: FAILED
 *
 * Until the request is ready an argument of an array is known by an offset, because
 * the caller's buffer moves:
 *
 *      argv[0 .. saved)        into scratch, or a pointer already where it has an owner
 *      argv[saved .. argc)     into the caller's buffer
 */
#include "request.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ARGS_FIRST 16           /* argv's first size; doubled as arguments arrive */
#define ARGS_KEPT 128           /* argv up to this size is kept for the next request, by each connection */
#define SCRATCH_KEPT 4096       /* bytes, likewise */
#define CRLF_LEN 2

enum state {
	START,          /* nothing of the request is here */
	LINE,           /* a line, up to its newline */
	COUNT,          /* *N */
	LENGTH,         /* $N */
	BODY,           /* bulk_len bytes and CRLF, taken when all are here */
	SUPPLY,         /* the caller owes a request_supply */
	FILL,           /* large_len bytes, taken as they come */
	TAIL,           /* the CRLF behind them */
	READY,
	FAILED,
};

static bool fail(struct request_parser *p, const char *error)
{
	p->error = error;
	p->state = FAILED;
	return false;
}

/* ---- arguments ---- */

static bool grow_args(struct request_parser *p)
{
	size_t cap = p->cap_args ? 2 * p->cap_args : ARGS_FIRST;
	struct request_arg *argv = realloc(p->argv, cap * sizeof(*argv));
	if (!argv)
		return fail(p, "out of memory");
	p->argv = argv;
	p->cap_args = cap;
	return true;
}

/* Admits one more argument of len bytes: it is within the limits and has a place in argv. */
static bool admit_arg(struct request_parser *p, size_t len)
{
	if (len > p->limits->max_arg)
		return fail(p, "invalid bulk length");
	if (p->argc == REQUEST_ARGS_MAX || len > p->limits->max_total - p->total)
		return fail(p, "too big request");
	p->total += len;
	return p->argc < p->cap_args || grow_args(p);
}

/* Copies the arguments that lie in data to the scratch, because the caller is about to drop them. */
static bool save_args(struct request_parser *p, const char *data)
{
	for (; p->saved < p->argc; p->saved++) {
		struct request_arg *arg = &p->argv[p->saved];
		size_t offset = p->scratch.len;
		buf_add(&p->scratch, data + arg->offset, arg->len);
		arg->offset = offset;
	}
	return !p->scratch.failed || fail(p, "out of memory");
}

/* Turns offsets into pointers. An empty argument may have nothing to point into. */
static void resolve_args(struct request_parser *p, const char *data)
{
	for (size_t i = 0; i < p->argc; i++) {
		struct request_arg *arg = &p->argv[i];
		if (arg->owner)
			continue;
		const char *base = i < p->saved ? p->scratch.data : data;
		arg->data = arg->len ? base + arg->offset : "";
	}
}

/* The argument in work, n bytes from p->at on, is complete: on to the next one. */
static bool end_arg(struct request_parser *p, const char *data, size_t n)
{
	p->at += n;
	p->scan = p->at;
	if (--p->want_args > 0) {
		p->state = LENGTH;
		return true;
	}
	resolve_args(p, data);
	p->state = READY;
	return false;
}

/* ---- lines ---- */

/* Redis tells these two apart: isspace() is skipped between words, but \v and \f do not end one. */
static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool ends_word(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 'a' - 'A';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char escaped(char c)
{
	switch (c) {
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	case 'b': return '\b';
	case 'a': return '\a';
	default:  return c;
	}
}

/* Writes the character that starts at `at` inside quotes; returns where the next one starts.
 * A backslash that escapes nothing stands for itself. */
static const char *unquote_char(const char *at, const char *end, char quote, char *out)
{
	size_t left = (size_t)(end - at);
	if (*at == '\\' && left >= 2 && quote == '"') {
		if (left >= 4 && at[1] == 'x' && hex_digit(at[2]) >= 0 && hex_digit(at[3]) >= 0) {
			*out = (char)(hex_digit(at[2]) << 4 | hex_digit(at[3]));
			return at + 4;
		}
		*out = escaped(at[1]);
		return at + 2;
	}
	if (*at == '\\' && left >= 2 && at[1] == quote)
		at++;
	*out = *at;
	return at + 1;
}

/* Takes the word from..end that has a quote at `open` and ends where that closes. The
 * word goes to the scratch, which has room. Returns where it ends; NULL: unbalanced. */
static const char *take_quoted(struct buf *scratch, const char *from, const char *open, const char *end,
                               struct request_arg *word)
{
	size_t plain = (size_t)(open - from);
	char *start = scratch->data + scratch->len;
	char *out = start + plain;
	memcpy(start, from, plain);
	const char *at = open + 1;
	while (at < end && *at != *open)
		at = unquote_char(at, end, *open, out++);
	if (at == end || (at + 1 < end && !is_blank(at[1])))
		return NULL;
	*word = (struct request_arg){.data = start, .len = (size_t)(out - start)};
	scratch->len += word->len;
	return at + 1;
}

static const char *take_word(struct buf *scratch, const char *from, const char *end, struct request_arg *word)
{
	const char *at = from;
	for (; at < end && !ends_word(*at); at++)
		if (*at == '"' || *at == '\'')
			return take_quoted(scratch, from, at, end, word);
	*word = (struct request_arg){.data = from, .len = (size_t)(at - from)};
	return at;
}

/* argv gets pointers at once: neither data nor the scratch moves before the request is ready. */
static bool split_words(struct request_parser *p, const char *at, const char *end)
{
	for (;;) {
		struct request_arg word;
		while (at < end && is_blank(*at))
			at++;
		if (at == end)
			return true;
		at = take_word(&p->scratch, at, end, &word);
		if (!at)
			return fail(p, "unbalanced quotes in request");
		if (!admit_arg(p, word.len))
			return false;
		p->argv[p->argc++] = word;
	}
}

/* What a browser sends first, or can be made to send by a page: not ours. */
static bool is_http(const struct request_parser *p)
{
	if (p->argc == 0)
		return false;
	const struct request_arg *name = &p->argv[0];
	return (name->len == 4 && strncasecmp(name->data, "POST", 4) == 0) ||
	       (name->len == 5 && strncasecmp(name->data, "Host:", 5) == 0);
}

static bool take_line(struct request_parser *p, const char *data, size_t len)
{
	const char *end = memchr(data + p->scan, '\n', len - p->scan);
	if (!end) {
		p->scan = len;
		return len > REQUEST_LINE_MAX ? fail(p, "too big inline request") : false;
	}
	size_t line_len = (size_t)(end - data);
	p->at = line_len + 1;
	if (memchr(data, '\0', line_len))
		return fail(p, "NUL byte in inline request");
	if (!buf_reserve(&p->scratch, p->at))   /* words only get shorter by unquoting */
		return fail(p, "out of memory");
	if (!split_words(p, data, end))         /* to which the CR of a CRLF is a blank */
		return false;
	if (is_http(p))
		return fail(p, NULL);
	p->state = READY;
	return false;
}

/* ---- arrays ---- */

/* Looks for the end of the header line at p->at, and leaves p->scan on its CR. As in
 * Redis the byte behind that must be here but may be any: it is skipped. */
static bool find_header_end(struct request_parser *p, const char *data, size_t len, const char *too_big)
{
	size_t scan = p->scan;
	while (scan < len && data[scan] != '\r')
		scan++;
	p->scan = scan;
	if (scan == len && len - p->at > REQUEST_LINE_MAX)
		return fail(p, too_big);
	return scan + 1 < len;
}

bool request_integer(const struct request_arg *a, int64_t *n)
{
	bool is_negative = a->len > 0 && a->data[0] == '-';
	size_t at = is_negative;
	uint64_t v = 0, limit = (uint64_t)INT64_MAX + is_negative;
	if (a->len == at || a->len - at > 19 || (a->data[at] == '0' && a->len > 1))
		return false;
	for (; at < a->len; at++) {
		unsigned digit = (unsigned char)a->data[at] - (unsigned)'0';
		if (digit > 9 || v > (limit - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*n = is_negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* Reads the number of the header line that ends at p->scan, and goes past that line. */
static bool take_header_number(struct request_parser *p, const char *data, int64_t *n)
{
	struct request_arg digits = {.data = data + p->at + 1, .len = p->scan - p->at - 1};
	p->at = p->scan += CRLF_LEN;
	return request_integer(&digits, n);
}

static bool take_count(struct request_parser *p, const char *data, size_t len)
{
	int64_t n;
	if (!find_header_end(p, data, len, "too big mbulk count string"))
		return false;
	if (!take_header_number(p, data, &n) || n > REQUEST_ARGS_MAX)
		return fail(p, "invalid multibulk length");
	p->want_args = n > 0 ? (size_t)n : 0;
	p->state = n > 0 ? LENGTH : READY;
	return n > 0;
}

static bool fail_expected_bulk(struct request_parser *p, char got)
{
	snprintf(p->error_text, sizeof(p->error_text), "expected '$', got '%c'", got);
	return fail(p, p->error_text);
}

static bool take_length(struct request_parser *p, const char *data, size_t len)
{
	int64_t n;
	if (!find_header_end(p, data, len, "too big bulk count string"))
		return false;
	if (data[p->at] != '$')
		return fail_expected_bulk(p, data[p->at]);
	if (!take_header_number(p, data, &n) || n < 0)
		return fail(p, "invalid bulk length");
	if (!admit_arg(p, (size_t)n))
		return false;
	if (n >= REQUEST_LARGE) {
		p->large_len = (size_t)n;
		if (save_args(p, data))
			p->state = SUPPLY;
		return false;
	}
	p->bulk_len = (size_t)n;
	p->state = BODY;
	return true;
}

static bool take_body(struct request_parser *p, const char *data, size_t len)
{
	if (len - p->at < p->bulk_len + CRLF_LEN)
		return false;
	p->argv[p->argc++] = (struct request_arg){.offset = p->at, .len = p->bulk_len};
	return end_arg(p, data, p->bulk_len + CRLF_LEN);
}

/* ---- arguments out of line ---- */

static void count_filled(struct request_parser *p, size_t n)
{
	p->large_filled += n;
	if (p->large_filled == p->large_len)
		p->state = TAIL;
}

static bool take_fill(struct request_parser *p, const char *data, size_t len)
{
	size_t want = p->large_len - p->large_filled;
	size_t n = len - p->at < want ? len - p->at : want;
	if (p->large)
		memcpy(p->large + p->large_filled, data + p->at, n);
	p->at += n;
	count_filled(p, n);
	return true;
}

static bool take_tail(struct request_parser *p, const char *data, size_t len)
{
	return len - p->at >= CRLF_LEN && end_arg(p, data, CRLF_LEN);
}

void request_supply(struct request_parser *p, char *memory, void *owner)
{
	assert(p->state == SUPPLY && !memory == !owner);
	p->argv[p->argc++] = (struct request_arg){.data = memory, .len = memory ? p->large_len : 0, .owner = owner};
	p->saved = p->argc;
	p->discarded |= !memory;
	p->large = memory;
	p->large_filled = 0;
	p->state = FILL;
}

size_t request_large_room(struct request_parser *p, char **to)
{
	if (p->state != FILL || !p->large)
		return 0;
	*to = p->large + p->large_filled;
	return p->large_len - p->large_filled;
}

void request_large_filled(struct request_parser *p, size_t n)
{
	assert(p->state == FILL && n <= p->large_len - p->large_filled);
	count_filled(p, n);
}

/* ---- the parser ---- */

/* One step at data[p->at], which is there. */
static bool step(struct request_parser *p, const char *data, size_t len)
{
	switch ((enum state)p->state) {
	case START:
		p->state = *data == '*' ? COUNT : LINE;
		return true;
	case LINE:      return take_line(p, data, len);
	case COUNT:     return take_count(p, data, len);
	case LENGTH:    return take_length(p, data, len);
	case BODY:      return take_body(p, data, len);
	case FILL:      return take_fill(p, data, len);
	case TAIL:      return take_tail(p, data, len);
	case SUPPLY:
	case READY:
	case FAILED:
		break;
	}
	return false;
}

/* The caller drops all that is done with. */
static enum request_status let_go(struct request_parser *p, enum request_status status)
{
	p->consumed = p->at;
	p->at = p->scan = 0;
	return status;
}

enum request_status request_parse(struct request_parser *p, const char *data, size_t len)
{
	assert(p->state != SUPPLY && p->state != READY && len >= p->scan);
	p->consumed = 0;
	while (p->at < len && step(p, data, len))
		;
	switch ((enum state)p->state) {
	case READY:     return let_go(p, REQUEST_READY);
	case SUPPLY:    return let_go(p, REQUEST_LARGE_ARG);
	case FILL:
	case TAIL:      return let_go(p, REQUEST_MORE);
	case FAILED:    return REQUEST_FAILED;
	default:        return REQUEST_MORE;
	}
}

void request_init(struct request_parser *p, const struct request_limits *limits)
{
	*p = (struct request_parser){.limits = limits, .state = START};
}

void request_next(struct request_parser *p)
{
	assert(p->state == READY);
	if (p->cap_args > ARGS_KEPT) {
		free(p->argv);
		p->argv = NULL;
		p->cap_args = 0;
	}
	if (p->scratch.cap > SCRATCH_KEPT)
		buf_free(&p->scratch);
	p->scratch.len = 0;
	p->argc = p->saved = p->total = 0;
	p->discarded = false;
	p->state = START;
}

bool request_pending(const struct request_parser *p)
{
	return p->state != START && p->state != READY && p->state != FAILED;
}

void request_fini(struct request_parser *p)
{
	free(p->argv);
	buf_free(&p->scratch);
	*p = (struct request_parser){.state = FAILED};
}
