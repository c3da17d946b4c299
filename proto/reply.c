/* Encoding of replies; reply.h is the contract. Called by the commands, which write
 * into a connection's output or into the slot of a reply that comes later. */
#include "reply.h"

#include "buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRLF "\r\n"
#define CRLF_LEN 2
#define DOUBLE_MAX 32           /* "-1.7976931348623157e+308" and a NUL */

/* Writes CRLF at to; returns the byte behind it. */
static char *end_line(char *to)
{
	memcpy(to, CRLF, CRLF_LEN);
	return to + CRLF_LEN;
}

/* Writes data at to; returns the byte behind it. */
static char *put(char *to, const void *data, size_t len)
{
	if (len)
		memcpy(to, data, len);
	return to + len;
}

size_t reply_header(char *to, char type, int64_t n)
{
	uint64_t rest = n < 0 ? -(uint64_t)n : (uint64_t)n;
	size_t len = 1 + (n < 0) + 1;
	for (uint64_t limit = 10; rest >= limit; limit *= 10) /* which ends: 10^19 is above 2^63 */
		len++;
	to[0] = type;
	to[1] = '-';
	char *digit = to + len;
	do
		*--digit = (char)('0' + rest % 10);
	while (rest /= 10);
	end_line(to + len);
	return len + CRLF_LEN;
}

static void add_header(struct buf *b, char type, int64_t n)
{
	char *to = buf_reserve(b, REPLY_HEADER_MAX);
	if (to)
		b->len += reply_header(to, type, n);
}

/* A line of a type that is its text: + - , */
static void add_line(struct buf *b, char type, const char *text, size_t len)
{
	char *to = buf_reserve(b, 1 + len + CRLF_LEN);
	if (!to)
		return;
	*to = type;
	b->len += (size_t)(end_line(put(to + 1, text, len)) - to);
}

void reply_add_simple(struct buf *b, const char *text)
{
	add_line(b, '+', text, strlen(text));
}

void reply_add_error(struct buf *b, const char *text)
{
	text += strspn(text, CRLF);
	size_t first = b->len + 1, len = strlen(text);
	while (len > 0 && strchr(CRLF, text[len - 1]))
		len--;
	add_line(b, '-', text, len);
	for (size_t i = first; i + CRLF_LEN < b->len; i++)
		if (b->data[i] == '\r' || b->data[i] == '\n')
			b->data[i] = ' ';
}

void reply_add_integer(struct buf *b, int64_t n)
{
	add_header(b, ':', n);
}

void reply_add_bulk(struct buf *b, const void *data, size_t len)
{
	char *to = buf_reserve(b, REPLY_HEADER_MAX + len + CRLF_LEN);
	if (to)
		b->len += (size_t)(end_line(put(to + reply_header(to, '$', (int64_t)len), data, len)) - to);
}

void reply_add_bulk_str(struct buf *b, const char *s)
{
	reply_add_bulk(b, s, strlen(s));
}

void reply_add_array(struct buf *b, size_t n)
{
	add_header(b, '*', (int64_t)n);
}

void reply_add_null(struct buf *b, int resp)
{
	buf_add_str(b, resp == 3 ? "_" CRLF : "$-1" CRLF);
}

void reply_add_null_array(struct buf *b, int resp)
{
	buf_add_str(b, resp == 3 ? "_" CRLF : "*-1" CRLF);
}

void reply_add_map(struct buf *b, int resp, size_t pairs)
{
	if (resp == 3)
		add_header(b, '%', (int64_t)pairs);
	else
		add_header(b, '*', (int64_t)pairs * 2);
}

void reply_add_set(struct buf *b, int resp, size_t n)
{
	add_header(b, resp == 3 ? '~' : '*', (int64_t)n);
}

void reply_add_bool(struct buf *b, int resp, bool value)
{
	if (resp == 3)
		buf_add_str(b, value ? "#t" CRLF : "#f" CRLF);
	else
		add_header(b, ':', value);
}

/* The shortest number of 15 to 17 digits that reads back as value; with 17 any does.
 * Returns its length. */
static size_t print_double(char text[DOUBLE_MAX], double value)
{
	if (isnan(value))
		return (size_t)snprintf(text, DOUBLE_MAX, "nan");       /* printf may write -nan */
	int n = 0;
	for (int digits = 15; digits <= 17; digits++) {
		n = snprintf(text, DOUBLE_MAX, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	return (size_t)n;
}

void reply_add_double(struct buf *b, int resp, double value)
{
	char text[DOUBLE_MAX];
	size_t len = print_double(text, value);
	if (resp == 3)
		add_line(b, ',', text, len);
	else
		reply_add_bulk(b, text, len);
}

void reply_add_verbatim(struct buf *b, int resp, const char *text, size_t len)
{
	static const char format[] = "txt:";
	size_t format_len = sizeof(format) - 1;
	if (resp != 3) {
		reply_add_bulk(b, text, len);
		return;
	}
	char *to = buf_reserve(b, REPLY_HEADER_MAX + format_len + len + CRLF_LEN);
	if (!to)
		return;
	char *at = put(to + reply_header(to, '=', (int64_t)(format_len + len)), format, format_len);
	b->len += (size_t)(end_line(put(at, text, len)) - to);
}
