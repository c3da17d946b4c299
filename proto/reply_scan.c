/* Finding the ends of replies; reply_scan.h is the contract. How deep elements are nested
 * does not matter for where a reply ends, only how many are still to come. */
#include "reply_scan.h"

#include <string.h>

#define COUNT_MAX ((int64_t)1 << 40)    /* no honest header says more */

enum shape { SHAPE_LINE, SHAPE_STRING, SHAPE_LIST, SHAPE_PAIRS, SHAPE_NONE };

static enum shape shape_of(char type)
{
	static const char lines[] = "+-:_,#(", strings[] = "$=!", lists[] = "*~>", pairs[] = "%|";
	if (type == '\0')
		return SHAPE_NONE;
	return strchr(lines, type) ? SHAPE_LINE : strchr(strings, type) ? SHAPE_STRING
		: strchr(lists, type) ? SHAPE_LIST : strchr(pairs, type) ? SHAPE_PAIRS : SHAPE_NONE;
}

/* The number of a header, len bytes without CR LF. False if it is none. */
static bool read_number(const char *text, size_t len, int64_t *n)
{
	bool is_negative = len > 0 && text[0] == '-';
	size_t at = is_negative;
	if (len == at || len - at > 19)
		return false;
	uint64_t v = 0, limit = (uint64_t)INT64_MAX + is_negative;
	for (; at < len; at++) {
		unsigned digit = (unsigned char)text[at] - (unsigned)'0';
		if (digit > 9 || v > (limit - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*n = is_negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* Reads a header, len bytes with its CR LF; *n is left alone where it says no number. False if it is none. */
static bool read_header(const char *line, size_t len, enum shape *shape, int64_t *n)
{
	*shape = len ? shape_of(line[0]) : SHAPE_NONE;
	if (len < 3 || line[len - 2] != '\r' || *shape == SHAPE_NONE)
		return false;
	if (*shape == SHAPE_LINE)
		return line[0] != ':' || read_number(line + 1, len - 3, n);
	return read_number(line + 1, len - 3, n) && *n >= -1 && *n < COUNT_MAX;
}

/* A header of an element is whole. */
static void take_header(struct reply_scan *s, const char *line, size_t len)
{
	enum shape shape;
	int64_t n = 0;
	if (!read_header(line, len, &shape, &n)) {
		s->has_failed = true;
		return;
	}
	s->owed--;
	if (shape == SHAPE_STRING && n >= 0)
		s->blob = (uint64_t)n + 2;
	else if (shape == SHAPE_LIST && n > 0)
		s->owed += (uint64_t)n;
	else if (shape == SHAPE_PAIRS && n > 0)
		s->owed += 2 * (uint64_t)n;
	if (line[0] == '|')
		s->owed++; /* attributes stand before the reply that they are of */
}

/* A part of a header line, or all of it. Texts longer than the room kept for a cut line are
 * lines whose text does not matter: their beginning and their end are kept. */
static size_t take_line(struct reply_scan *s, const char *data, size_t len)
{
	const char *end = memchr(data, '\n', len);
	size_t n = end ? (size_t)(end - data) + 1 : len;
	if (s->line_len == 0 && end) {
		take_header(s, data, n);
		return n;
	}
	size_t room = sizeof(s->line) - s->line_len, kept = n < room ? n : room;
	memcpy(s->line + s->line_len, data, kept);
	s->line_len += kept;
	if (kept < n) {
		if (shape_of(s->line[0]) != SHAPE_LINE) {
			s->has_failed = true;
			return n;
		}
		if (n >= 2)
			s->line[sizeof(s->line) - 2] = data[n - 2];
		else
			s->line[sizeof(s->line) - 2] = s->line[sizeof(s->line) - 1];
		s->line[sizeof(s->line) - 1] = data[n - 1];
	}
	if (end) {
		take_header(s, s->line, s->line_len);
		s->line_len = 0;
	}
	return n;
}

size_t reply_scan(struct reply_scan *s, const char *data, size_t len, bool *is_end)
{
	size_t used = 0;
	*is_end = false;
	while (used < len && !s->has_failed) {
		if (reply_scan_is_between(s))
			s->owed = 1;
		if (s->blob > 0) {
			size_t step = s->blob < len - used ? (size_t)s->blob : len - used;
			s->blob -= step;
			used += step;
		} else {
			used += take_line(s, data + used, len - used);
		}
		if (s->owed == 0 && s->blob == 0 && !s->has_failed) {
			*is_end = true;
			break;
		}
	}
	return used;
}

size_t reply_element(const char *data, size_t len, struct reply_element *e)
{
	const char *end = len ? memchr(data, '\n', len) : NULL;
	size_t header = end ? (size_t)(end - data) + 1 : 0;
	enum shape shape;
	int64_t n = 0;
	if (!read_header(data, header, &shape, &n))
		return 0;
	*e = (struct reply_element){.type = data[0], .number = n, .data = data + 1, .len = header - 3};
	if (shape == SHAPE_LINE)
		return header;
	e->len = 0;
	if (shape == SHAPE_PAIRS && e->number > 0)
		e->number *= 2;
	if (shape != SHAPE_STRING || e->number < 0)
		return header;
	if (len - header < (size_t)e->number + 2)
		return 0;
	e->data = data + header;
	e->len = (size_t)e->number;
	return header + e->len + 2;
}

size_t reply_length(const char *data, size_t len)
{
	struct reply_scan s = {0};
	bool is_end;
	size_t n = reply_scan(&s, data, len, &is_end);
	return is_end ? n : 0;
}
