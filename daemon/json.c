/* A JSON scanner that builds nothing; see json.h. Recursive descent, as deep as
 * JSON_MAX_DEPTH and no deeper. Each scan_ function takes the place where its
 * part of the grammar begins and returns the place behind it, or NULL when it
 * stopped: then s->stop and s->reason are set, once, by fail().
 *
 * Nearly all bytes of a catalog are plain characters of strings: skip_plain
 * takes these eight at a time, the rest goes byte by byte. */
#include "json.h"

#include <endian.h>
#include <string.h>

#include "../proto/buf.h"

struct scan {
	const char *end;
	bool python;            /* the constants of Python's json are values too */
	unsigned depth;         /* containers open */
	int64_t items;          /* of the container that closed last: in the end the outermost */
	const char *stop;       /* after a failure: where */
	const char *reason;     /* and why */
};

static const char *fail(struct scan *s, const char *at, const char *reason)
{
	s->stop = at;
	s->reason = at == s->end ? "the text ends too soon" : reason;
	return NULL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex_digit(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

/* The high bit of each byte of word that may not stand in a string as it is: a
 * quote, a backslash, a control character; and of those beyond ASCII. A borrow can
 * also mark a byte above such a one, so only the lowest mark is to be trusted. */
static uint64_t mark_special(uint64_t word)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t quotes = word ^ ones * '"';
	uint64_t backslashes = word ^ ones * '\\';
	return (word | (word - ones * ' ') | (quotes - ones) | (backslashes - ones)) & ones * 0x80;
}

/* The first byte from p on that is not a plain ASCII character of a string. */
static const char *skip_plain(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t word;
		memcpy(&word, p, sizeof(word));
		uint64_t marks = mark_special(le64toh(word));
		if (marks)
			return p + __builtin_ctzll(marks) / 8;
	}
	while (p < end && (unsigned char)*p >= ' ' && (unsigned char)*p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* What the first byte leaves open, the bounds of the second decide: overlong
 * forms, surrogates and what lies beyond U+10FFFF are not UTF-8. */
size_t json_utf8_len(const char *p, const char *end)
{
	const unsigned char *u = (const unsigned char *)p;
	if (u[0] < 0x80)
		return 1;
	if (u[0] < 0xc2 || u[0] > 0xf4)
		return 0;
	size_t n = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	if ((size_t)(end - p) < n)
		return 0;
	unsigned char low = u[0] == 0xe0 ? 0xa0 : u[0] == 0xf0 ? 0x90 : 0x80;
	unsigned char high = u[0] == 0xed ? 0x9f : u[0] == 0xf4 ? 0x8f : 0xbf;
	if (u[1] < low || u[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* p is behind the backslash. */
static const char *scan_escape(struct scan *s, const char *p)
{
	if (p == s->end || *p == '\0' || !strchr("\"\\/bfnrtu", *p))
		return fail(s, p, "no such escape in a string");
	if (*p++ != 'u')
		return p;
	for (const char *last = p + 4; p < last; p++)
		if (p == s->end || !is_hex_digit(*p))
			return fail(s, p, "\\u without four hex digits");
	return p;
}

/* p is at the opening quote. */
static const char *scan_string(struct scan *s, const char *p)
{
	p++;
	while (p) {
		p = skip_plain(p, s->end);
		if (p == s->end)
			return fail(s, p, NULL);
		if (*p == '"')
			return p + 1;
		if (*p == '\\') {
			p = scan_escape(s, p + 1);
			continue;
		}
		if ((unsigned char)*p < ' ')
			return fail(s, p, "control character in a string");
		size_t n = json_utf8_len(p, s->end);
		p = n ? p + n : fail(s, p, "not valid UTF-8");
	}
	return NULL;
}

/* One digit or more. */
static const char *scan_digits(struct scan *s, const char *p)
{
	if (p == s->end || !is_digit(*p))
		return fail(s, p, "a digit was expected");
	while (p < s->end && is_digit(*p))
		p++;
	return p;
}

static const char *scan_word(struct scan *s, const char *p, const char *word)
{
	for (; *word; word++, p++)
		if (p == s->end || *p != *word)
			return fail(s, p, "a value was expected");
	return p;
}

static const char *scan_number(struct scan *s, const char *p)
{
	if (*p == '-') {
		p++;
		if (s->python && p < s->end && *p == 'I')
			return scan_word(s, p, "Infinity");
	}
	/* No digit may follow a leading zero: the caller stumbles over it. */
	p = p < s->end && *p == '0' ? p + 1 : scan_digits(s, p);
	if (p && p < s->end && *p == '.')
		p = scan_digits(s, p + 1);
	if (p && p < s->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < s->end && (*p == '+' || *p == '-'))
			p++;
		p = scan_digits(s, p);
	}
	return p;
}

static const char *scan_value(struct scan *s, const char *p);

/* A member's name and colon, and the blanks around them. */
static const char *scan_name(struct scan *s, const char *p)
{
	p = skip_blanks(p, s->end);
	if (p == s->end || *p != '"')
		return fail(s, p, "a member's name was expected");
	p = scan_string(s, p);
	if (!p)
		return NULL;
	p = skip_blanks(p, s->end);
	return p < s->end && *p == ':' ? p + 1 : fail(s, p, "a colon was expected");
}

/* p is behind the opening bracket; closer is '}' for an object, ']' for an array. */
static const char *scan_container(struct scan *s, const char *p, char closer)
{
	if (++s->depth > JSON_MAX_DEPTH)
		return fail(s, p - 1, "nested too deeply");
	int64_t items = 0;
	p = skip_blanks(p, s->end);
	bool more = p == s->end || *p != closer;
	if (!more)
		p++;
	while (more) {
		if (closer == '}')
			p = scan_name(s, p);
		p = p ? scan_value(s, skip_blanks(p, s->end)) : NULL;
		if (!p)
			return NULL;
		items++;
		p = skip_blanks(p, s->end);
		if (p == s->end || (*p != ',' && *p != closer))
			return fail(s, p, closer == '}' ? "a comma or } was expected" : "a comma or ] was expected");
		more = *p++ == ',';
	}
	s->depth--;
	s->items = items;
	return p;
}

static const char *scan_value(struct scan *s, const char *p)
{
	switch (p < s->end ? *p : '\0') {
	case '{':
		return scan_container(s, p + 1, '}');
	case '[':
		return scan_container(s, p + 1, ']');
	case '"':
		return scan_string(s, p);
	case '-': case '0': case '1': case '2': case '3': case '4':
	case '5': case '6': case '7': case '8': case '9':
		return scan_number(s, p);
	case 't':
		return scan_word(s, p, "true");
	case 'f':
		return scan_word(s, p, "false");
	case 'n':
		return scan_word(s, p, "null");
	case 'N':
		return s->python ? scan_word(s, p, "NaN") : fail(s, p, "a value was expected");
	case 'I':
		return s->python ? scan_word(s, p, "Infinity") : fail(s, p, "a value was expected");
	default:
		return fail(s, p, "a value was expected");
	}
}

static enum json_kind kind_of(char first)
{
	switch (first) {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 't': case 'f':
		return JSON_BOOL;
	case 'n':
		return JSON_NULL;
	default:
		return JSON_NUMBER;
	}
}

static struct json_summary summarize(const char *value, size_t len, int64_t items)
{
	enum json_kind kind = kind_of(*value);
	bool container = kind == JSON_OBJECT || kind == JSON_ARRAY;
	return (struct json_summary){
		.kind = kind,
		.items = items,
		.empty = (container && items == 0) || (kind == JSON_STRING && len == 2) || kind == JSON_NULL,
	};
}

static int check(const char *data, size_t len, bool python, struct json_summary *summary, struct json_error *err)
{
	if (len == 0)
		data = "";      /* NULL is allowed then, but not to add to */
	struct scan s = {.end = data + len, .python = python};
	const char *value = skip_blanks(data, s.end);
	const char *behind = scan_value(&s, value);
	const char *rest = behind ? skip_blanks(behind, s.end) : NULL;
	if (rest && rest < s.end)
		rest = fail(&s, rest, "something follows the JSON text");
	if (!rest) {
		if (err)
			*err = (struct json_error){.offset = (size_t)(s.stop - data), .reason = s.reason};
		return -1;
	}
	if (summary)
		*summary = summarize(value, (size_t)(behind - value), s.items);
	return 0;
}

int json_check(const char *data, size_t len, struct json_summary *summary, struct json_error *err)
{
	return check(data, len, false, summary, err);
}

int json_check_python(const char *data, size_t len, struct json_error *err)
{
	return check(data, len, true, NULL, err);
}

static void trim(const char **s, size_t *len)
{
	while (*len && is_blank(**s)) {
		++*s;
		--*len;
	}
	while (*len && is_blank((*s)[*len - 1]))
		--*len;
}

int json_array_inside(const char *data, size_t len, const char **inside, size_t *inside_len)
{
	trim(&data, &len);
	if (len < 2 || data[0] != '[' || data[len - 1] != ']')
		return -1;
	data++;
	len -= 2;
	trim(&data, &len);
	*inside = data;
	*inside_len = len;
	return 0;
}

/* c is a quote, a backslash or a control character. */
static void add_escape(struct buf *b, char c)
{
	static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";   /* pairs: the character, its escape */
	for (const char *pair = letters; *pair; pair += 2) {
		if (*pair == c) {
			buf_add(b, (char[]){'\\', pair[1]}, 2);
			return;
		}
	}
	buf_addf(b, "\\u%04x", (unsigned char)c);
}

void json_add_string(struct buf *b, const char *s, size_t len)
{
	const char *end = len ? s + len : s;
	const char *run = s;    /* from here on as it is */
	buf_add_char(b, '"');
	while ((s = skip_plain(s, end)) < end) {
		size_t n = json_utf8_len(s, end);
		if (n > 1) {
			s += n;
			continue;
		}
		buf_add(b, run, (size_t)(s - run));
		if (n == 1)
			add_escape(b, *s);
		else
			buf_add_str(b, "\xef\xbf\xbd");
		run = ++s;
	}
	buf_add(b, run, (size_t)(end - run));
	buf_add_char(b, '"');
}
