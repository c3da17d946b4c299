/* See frame.h. */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

/* ---- ends ---- */

/* Where the line that starts at `at` ends, its CRLF included; 0: not here. */
static size_t line_end(const char *data, size_t len, size_t at)
{
	const char *cr = memchr(data + at, '\r', len - at);
	size_t end = cr ? (size_t)(cr - data) + 2 : 0;
	return end <= len ? end : 0;
}

/* How many elements follow the header of a reply; -1: it has none. */
static long long count_elements(const char *header)
{
	long long n = strtoll(header + 1, NULL, 10);
	if (*header == '%')
		return n * 2;
	return strchr("*~>", *header) ? n : -1;
}

size_t frame_end(const char *data, size_t len, size_t at)
{
	if (at == len)
		return 0;
	if (!data[at] || !strchr("+-:_,#($=!*~>%", data[at]))
		return FRAME_BROKEN;
	size_t end = line_end(data, len, at);
	if (end == 0)
		return 0;
	if (strchr("$=!", data[at])) {
		long long n = strtoll(data + at + 1, NULL, 10);
		size_t behind = n < 0 ? end : end + (size_t)n + 2;
		return behind <= len ? behind : 0;
	}
	for (long long n = count_elements(data + at); n > 0 && end != 0 && end != FRAME_BROKEN; n--)
		end = frame_end(data, len, end);
	return end;
}

struct frame *frame_elements(struct frame f, size_t *n)
{
	long long count = f.len ? count_elements(f.data) : -1;
	*n = 0;
	if (count < 0)
		return NULL;
	struct frame *elements = xcalloc((size_t)count + 1, sizeof(*elements));
	size_t at = line_end(f.data, f.len, 0);
	for (; *n < (size_t)count; (*n)++) {
		size_t end = frame_end(f.data, f.len, at);
		elements[*n] = (struct frame){f.data + at, end - at};
		at = end;
	}
	return elements;
}

/* ---- rules ---- */

static bool same_bytes(struct frame a, struct frame b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static bool same_exact(struct frame a, struct frame b, int64_t slack_ms)
{
	(void)slack_ms;
	return same_bytes(a, b);
}

static bool same_integer(struct frame a, struct frame b, int64_t slack)
{
	if (a.len == 0 || b.len == 0 || *a.data != ':' || *b.data != ':')
		return false;
	long long x = strtoll(a.data + 1, NULL, 10), y = strtoll(b.data + 1, NULL, 10);
	return x > 0 && y > 0 && llabs(x - y) <= slack;
}

static bool same_milliseconds(struct frame a, struct frame b, int64_t slack_ms)
{
	return same_integer(a, b, slack_ms);
}

/* Rounded, so one second apart at the edge. */
static bool same_seconds(struct frame a, struct frame b, int64_t slack_ms)
{
	return same_integer(a, b, 1 + slack_ms / 1000);
}

static bool same_greeting(struct frame a, struct frame b, int64_t slack_ms)
{
	static const char id[] = "$2\r\nid\r\n";
	size_t n, m, i = 0;
	(void)slack_ms;
	struct frame *x = frame_elements(a, &n), *y = frame_elements(b, &m);
	bool same = x && y && n == m && *a.data == *b.data;
	for (; same && i < n; i++)
		same = same_bytes(x[i], y[i]) || (i > 0 && same_bytes(x[i - 1], (struct frame){id, sizeof(id) - 1}));
	free(x);
	free(y);
	return same;
}

static int by_bytes(const void *a, const void *b)
{
	const struct frame *x = a, *y = b;
	int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);
	return order ? order : (x->len > y->len) - (x->len < y->len);
}

static bool same_unordered(struct frame a, struct frame b, int64_t slack_ms)
{
	size_t n, m, i = 0;
	struct frame *x = frame_elements(a, &n), *y = frame_elements(b, &m);
	bool same = x && y && n == m && *a.data == *b.data;
	if (same) {
		qsort(x, n, sizeof(*x), by_bytes);
		qsort(y, m, sizeof(*y), by_bytes);
	}
	for (; same && i < n; i++)
		same = same_bytes(x[i], y[i]) || same_unordered(x[i], y[i], slack_ms);
	free(x);
	free(y);
	return same;
}

bool frame_same(enum frame_rule rule, struct frame a, struct frame b, int64_t slack_ms)
{
	static bool (*const rules[])(struct frame, struct frame, int64_t) = {
		[FRAME_EXACT] = same_exact,
		[FRAME_SECONDS] = same_seconds,
		[FRAME_MILLISECONDS] = same_milliseconds,
		[FRAME_UNORDERED] = same_unordered,
		[FRAME_GREETING] = same_greeting,
	};
	return same_bytes(a, b) || rules[rule](a, b, slack_ms);
}
