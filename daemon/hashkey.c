/* Canonical JSON as Python prints it; see hashkey.h.
 *
 *      text --json_check_python--> known to be good --read_value--> tokens --add_value--> canonical text
 *
 * Only the first step meets bad input: behind it the readers trust the grammar
 * and the UTF-8, and need no bounds. They work on a copy of the text that ends in
 * a NUL, in which the strings are unescaped in place: no character is longer than
 * its escape. A string's bytes are then UTF-8 in which a lone surrogate has three
 * bytes like its neighbours ("WTF-8"), so comparing bytes is comparing code points. */
#include "hashkey.h"

#include <assert.h>
#include <blake2.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "json.h"

#define MAX_INTEGER_DIGITS 4300         /* Python's sys.get_int_max_str_digits() */
#define BLANKS " \t\n\r"

enum token_kind { OBJECT, ARRAY, STRING, FLOAT, VERBATIM };

/* One value. Tokens stand in the order of the text: those of a container follow
 * it, a member being two tokens, its name and its value. */
struct token {
	enum token_kind kind;
	const char *text;               /* STRING: unescaped; FLOAT: as written; VERBATIM: as it will be printed */
	size_t len;
	const struct token *behind;     /* the token behind this one and all that is in it */
};

struct reader {
	char *text;                     /* the copy */
	struct token *tokens;
	size_t n_tokens;
	const struct token **names;     /* of the members, sorted: a run for each object printed so far */
	size_t n_names;
	bool too_long;                  /* an integer beyond MAX_INTEGER_DIGITS was met */
};

static void reader_fini(struct reader *r)
{
	free(r->names);
	free(r->tokens);
	free(r->text);
}

static int reader_init(struct reader *r, const char *text, size_t len)
{
	/* At the most: a value has two bytes at least, counting the comma, colon or
	 * bracket behind it; only the last of all may have one. */
	size_t max_tokens = len / 2 + 1;
	*r = (struct reader){
		.text = malloc(len + 1),
		.tokens = calloc(max_tokens, sizeof(*r->tokens)),
		.names = calloc(max_tokens, sizeof(*r->names)),
	};
	if (!r->text || !r->tokens || !r->names) {
		reader_fini(r);
		return -1;
	}
	memcpy(r->text, text, len);
	r->text[len] = '\0';
	return 0;
}

/* ---- Reading: text to tokens ---- */

/* On to the next value, name or closing bracket: in a good text commas and colons
 * tell nothing that the order of the tokens does not. */
static char *skip_between(char *p)
{
	return p + strspn(p, BLANKS ",:");
}

static uint32_t read_hex4(const char *p)
{
	uint32_t n = 0;
	for (int i = 0; i < 4; i++)
		n = n << 4 | ((p[i] & 15u) + (p[i] > '9' ? 9 : 0));
	return n;
}

static bool is_high_surrogate(uint32_t code)
{
	return code >= 0xd800 && code <= 0xdbff;
}

static bool is_low_surrogate(uint32_t code)
{
	return code >= 0xdc00 && code <= 0xdfff;
}

static char *put_utf8(char *to, uint32_t code)
{
	static const uint32_t lead[] = {0, 0xc0, 0xe0, 0xf0};
	int tails = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
	*to++ = (char)(lead[tails] | code >> 6 * tails);
	while (tails--)
		*to++ = (char)(0x80 | (code >> 6 * tails & 0x3f));
	return to;
}

/* Puts the character of an escape at *to. p is behind the backslash. */
static char *unescape(char *p, char **to)
{
	static const char letters[] = "b\bf\fn\nr\rt\t";   /* pairs: the letter, its character */
	if (*p != 'u') {
		const char *letter = strchr(letters, *p);
		*(*to)++ = letter ? letter[1] : *p;
		return p + 1;
	}
	uint32_t code = read_hex4(p + 1);
	p += 5;
	if (is_high_surrogate(code) && p[0] == '\\' && p[1] == 'u') {
		uint32_t low = read_hex4(p + 2);
		if (is_low_surrogate(low)) {
			code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
			p += 6;
		}
	}
	*to = put_utf8(*to, code);
	return p;
}

/* p is behind the opening quote. */
static char *read_string(struct token *t, char *p)
{
	char *to = p;
	t->kind = STRING;
	t->text = p;
	while (*p != '"') {
		if (*p == '\\')
			p = unescape(p + 1, &to);
		else
			*to++ = *p++;
	}
	t->len = (size_t)(to - t->text);
	return p + 1;
}

/* A number, or a word like true or -Infinity: Python prints the words and
 * integers as they are written, but for -0, which is an integer and so has no sign. */
static char *read_scalar(struct reader *r, struct token *t, char *p)
{
	size_t sign = *p == '-';
	size_t digits = strspn(p + sign, "0123456789");
	size_t len = strcspn(p, BLANKS ",]}");
	bool is_integer = sign + digits == len;
	if (is_integer && digits > MAX_INTEGER_DIGITS)
		r->too_long = true;
	size_t drop = is_integer && sign && p[1] == '0';
	t->kind = digits == 0 || is_integer ? VERBATIM : FLOAT;
	t->text = p + drop;
	t->len = len - drop;
	return p + len;
}

/* p is at the first byte of a value; returns the place behind it. */
static char *read_value(struct reader *r, char *p)
{
	struct token *t = &r->tokens[r->n_tokens++];
	switch (*p) {
	case '{': case '[':
		t->kind = *p == '{' ? OBJECT : ARRAY;
		for (p = skip_between(p + 1); *p != '}' && *p != ']'; p = skip_between(p))
			p = read_value(r, p);
		p++;
		break;
	case '"':
		p = read_string(t, p + 1);
		break;
	default:
		p = read_scalar(r, t, p);
	}
	t->behind = &r->tokens[r->n_tokens];
	return p;
}

/* ---- Printing: tokens to canonical text ---- */

/* The code point at *p, which then moves behind it. */
static uint32_t next_code(const char **p)
{
	unsigned char first = (unsigned char)*(*p)++;
	if (first < 0x80)
		return first;
	int tails = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
	uint32_t code = first & (0x3fu >> tails);
	while (tails--)
		code = code << 6 | ((unsigned char)*(*p)++ & 0x3fu);
	return code;
}

static void add_unit(struct buf *out, uint32_t unit)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = {'\\', 'u', hex[unit >> 12], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]};
	buf_add(out, text, sizeof(text));
}

static void add_escape(struct buf *out, uint32_t code)
{
	static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";   /* pairs: the character, its escape */
	for (const char *pair = letters; *pair; pair += 2) {
		if (code == (uint32_t)*pair) {
			buf_add(out, (char[]){'\\', pair[1]}, 2);
			return;
		}
	}
	if (code < 0x10000) {
		add_unit(out, code);
		return;
	}
	add_unit(out, 0xd800 + ((code - 0x10000) >> 10));
	add_unit(out, 0xdc00 + ((code - 0x10000) & 0x3ff));
}

static void add_string(struct buf *out, const struct token *t)
{
	const char *p = t->text, *end = p + t->len;
	buf_add_char(out, '"');
	while (p < end) {
		const char *run = p;
		while (p < end && *p >= ' ' && *p <= '~' && *p != '"' && *p != '\\')
			p++;
		buf_add(out, run, (size_t)(p - run));
		if (p < end)
			add_escape(out, next_code(&p));
	}
	buf_add_char(out, '"');
}

/* Writes d as [-]d.ddde[+-]dd, with the fewest digits that read back as d and
 * perhaps zeros behind them. Among decimals of up to 15 digits no two read back as
 * the same number, so we need not try fewer; but that holds for normal numbers only. */
static void print_shortest(char text[32], double d)
{
	for (int digits = fpclassify(d) == FP_SUBNORMAL ? 1 : 15; digits <= 17; digits++) {
		snprintf(text, 32, "%.*e", digits - 1, d);
		if (strtod(text, NULL) == d)
			return;
		/* Above a power of two the numbers lie twice as far apart as below it: there
		 * the next decimal up may do where the nearest one, below, does not.
		 * (None of these ends in a 9; the test tries every power of two.) */
		++strchr(text, 'e')[-1];
		if (strtod(text, NULL) == d)
			return;
	}
}

/* repr(d): the shortest digits that read back as d, in exponent form below 1e-4
 * and from 1e16 on, else with at least one digit behind the point. */
static void add_float(struct buf *out, double d)
{
	char text[32];
	if (isinf(d)) {         /* was 1e400 or the like */
		buf_add_str(out, d < 0 ? "-Infinity" : "Infinity");
		return;
	}
	print_shortest(text, d);
	char *exponent = strchr(text, 'e');
	char *point = strchr(text, '.');
	char *end = exponent;   /* of the mantissa without its zeros */
	while (point && end > point && (end[-1] == '0' || end[-1] == '.'))
		end--;
	int decimals = point && end > point ? (int)(end - point) - 1 : 0;
	int power = atoi(exponent + 1);
	if (power < -4 || power >= 16)
		buf_addf(out, "%.*s%s", (int)(end - text), text, exponent);
	else
		buf_addf(out, "%.*f", decimals > power ? decimals - power : 1, d);
}

static void add_value(struct reader *r, struct buf *out, const struct token *t);

static void add_array(struct reader *r, struct buf *out, const struct token *array)
{
	buf_add_char(out, '[');
	for (const struct token *t = array + 1; t < array->behind; t = t->behind) {
		if (t > array + 1)
			buf_add(out, ", ", 2);
		add_value(r, out, t);
	}
	buf_add_char(out, ']');
}

/* memcmp with the shorter string first. */
static int compare_names(const struct token *a, const struct token *b)
{
	size_t common = a->len < b->len ? a->len : b->len;
	int order = memcmp(a->text, b->text, common);
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* For qsort: equal names stay in the order of the text. */
static int compare_for_sort(const void *a, const void *b)
{
	const struct token *x = *(const struct token *const *)a;
	const struct token *y = *(const struct token *const *)b;
	int order = compare_names(x, y);
	return order ? order : (x > y) - (x < y);
}

static void add_object(struct reader *r, struct buf *out, const struct token *object)
{
	const struct token **names = &r->names[r->n_names];
	size_t n = 0;
	for (const struct token *t = object + 1; t < object->behind; t = t->behind->behind)
		names[n++] = t;
	qsort(names, n, sizeof(*names), compare_for_sort);
	r->n_names += n;
	const char *separator = "{";
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && compare_names(names[i], names[i + 1]) == 0)
			continue;       /* the last of equal names wins */
		buf_add_str(out, separator);
		add_string(out, names[i]);
		buf_add(out, ": ", 2);
		add_value(r, out, names[i]->behind);
		separator = ", ";
	}
	buf_add_str(out, n ? "}" : "{}");
}

static void add_value(struct reader *r, struct buf *out, const struct token *t)
{
	switch (t->kind) {
	case OBJECT:
		add_object(r, out, t);
		break;
	case ARRAY:
		add_array(r, out, t);
		break;
	case STRING:
		add_string(out, t);
		break;
	case FLOAT:
		add_float(out, strtod(t->text, NULL));
		break;
	case VERBATIM:
		buf_add(out, t->text, t->len);
		break;
	}
}

int hashkey_canonical(struct buf *out, const char *text, size_t len, const char **reason)
{
	struct json_error err;
	if (json_check_python(text, len, &err) < 0) {
		*reason = err.reason;
		return -1;
	}
	struct reader r;
	*reason = NULL;
	if (reader_init(&r, text, len) < 0) {
		*reason = "out of memory";
		return -1;
	}
	(void)read_value(&r, skip_between(r.text));     /* the check has seen that nothing follows */
	size_t before = out->len;
	if (r.too_long)
		*reason = "an integer of more than 4300 digits";
	else
		add_value(&r, out, r.tokens);
	if (out->failed)
		*reason = "out of memory";
	if (*reason)
		out->len = before;
	reader_fini(&r);
	return *reason ? -1 : 0;
}

int hashkey(char hex[HASHKEY_LEN + 1], const char *text, size_t len, const char **reason)
{
	struct buf canonical = BUF_INIT;
	uint8_t digest[HASHKEY_LEN / 2];
	int result = hashkey_canonical(&canonical, text, len, reason);
	if (result == 0) {
		int failed = blake2b(digest, canonical.data, NULL, sizeof(digest), canonical.len, 0);
		assert(!failed);        /* it only refuses lengths out of range */
		for (size_t i = 0; i < sizeof(digest); i++)
			snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	}
	buf_free(&canonical);
	return result;
}
