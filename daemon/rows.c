/* Rows to JSON; see rows.h. Called by the SQL drivers for each row, so a cell
 * costs a label and itself: the names are encoded once, in rows_columns, with the
 * punctuation that stands before them.
 *
 * Invariant: r->out is the whole value of the rows seen so far, closing brackets
 * included, so nothing is left to fail in rows_end. In shape rows each row takes
 * the last bracket away and puts a new one behind itself. */
#include "rows.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

static const char no_memory[] = "out of memory";
static const char too_large[] = "the rows are larger than the limit";

static int fail(struct rows *r, const char *error)
{
	r->error = error;
	return -1;
}

void rows_init(struct rows *r, enum conf_shape shape, size_t max_bytes)
{
	*r = (struct rows){.shape = shape, .max_bytes = max_bytes};
}

static int add_labels(struct rows *r, const char *const *names)
{
	r->labels = xcalloc(r->columns, sizeof(*r->labels));
	for (unsigned i = 0; i < r->columns; i++) {
		struct buf *label = &r->labels[i];
		buf_add_char(label, i ? ',' : '{');
		json_add_string(label, names[i], strlen(names[i]));
		buf_add_char(label, ':');
		if (label->failed)
			return fail(r, no_memory);
		for (unsigned j = 0; j < i; j++) {
			/* The first byte is not of the name. */
			const struct buf *other = &r->labels[j];
			if (other->len == label->len && !memcmp(other->data + 1, label->data + 1, label->len - 1))
				return fail(r, "two columns have the same name");
		}
	}
	return 0;
}

int rows_columns(struct rows *r, unsigned n, const char *const *names)
{
	assert(r->columns == 0);
	if (n == 0)
		return fail(r, "the statement gives no columns");
	r->columns = n;
	if ((r->shape == CONF_ROWS || r->shape == CONF_ROW) && add_labels(r, names) < 0)
		return -1;
	if (r->shape == CONF_ROWS)
		buf_add_str(&r->out, "[]");
	return r->out.failed ? fail(r, no_memory) : 0;
}

static const char *skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

static bool is_json_number(const char *s, size_t len)
{
	struct json_summary summary;
	return json_check(s, len, &summary, NULL) == 0 && summary.kind == JSON_NUMBER;
}

/* Adds a number in the form JSON wants: no plus, no leading zeros, digits on both
 * sides of a point. False, and nothing added, if it is not a number even then. */
static bool add_repaired_number(struct buf *b, const char *p, const char *end)
{
	size_t start = b->len;
	if (*p == '-')
		buf_add_char(b, '-');
	if (*p == '-' || *p == '+')
		p++;
	const char *point = skip_digits(p, end);        /* where it is, if there is one */
	const char *fraction = point < end && *point == '.' ? point + 1 : point;
	const char *exponent = skip_digits(fraction, end);
	bool good = (point > p || exponent > fraction)
		&& (exponent == end || *exponent == 'e' || *exponent == 'E');
	while (p < point && *p == '0')
		p++;
	if (p == point)
		buf_add_char(b, '0');
	buf_add(b, p, (size_t)((exponent > fraction ? exponent : point) - p));
	buf_add(b, exponent, (size_t)(end - exponent));
	good = good && !b->failed && is_json_number(b->data + start, b->len - start);
	if (!good)
		b->len = start;
	return good;
}

static void add_number(struct buf *b, const char *s, size_t len)
{
	if (is_json_number(s, len))
		buf_add(b, s, len);
	else if (len == 0 || !add_repaired_number(b, s, s + len))
		buf_add(b, "null", 4);
}

/* A number is not zero if a digit before its exponent is not. */
static bool is_true(const char *s, size_t len)
{
	if (len && (*s == 't' || *s == 'T'))
		return true;
	for (size_t i = 0; i < len && s[i] != 'e' && s[i] != 'E'; i++)
		if (s[i] >= '1' && s[i] <= '9')
			return true;
	return false;
}

static void add_base64(struct buf *b, const char *s, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = (const unsigned char *)s;
	char *to = buf_reserve(b, len / 3 * 4 + 6);
	if (!to)
		return;
	char *start = to;
	*to++ = '"';
	for (; len > 0; in += 3) {
		size_t n = len < 3 ? len : 3;
		unsigned bits = 0;
		for (size_t i = 0; i < 3; i++)
			bits = bits << 8 | (i < n ? in[i] : 0u);
		*to++ = digits[bits >> 18];
		*to++ = digits[bits >> 12 & 63];
		*to++ = n > 1 ? digits[bits >> 6 & 63] : '=';
		*to++ = n > 2 ? digits[bits & 63] : '=';
		len -= n;
	}
	*to++ = '"';
	b->len += (size_t)(to - start);
}

static void add_cell(struct buf *b, const struct cell *c)
{
	switch (c->kind) {
	case CELL_NULL:
		buf_add(b, "null", 4);
		break;
	case CELL_INTEGER:
		buf_add(b, c->text, c->len);
		break;
	case CELL_NUMBER:
		add_number(b, c->text, c->len);
		break;
	case CELL_BOOL:
		buf_add_str(b, is_true(c->text, c->len) ? "true" : "false");
		break;
	case CELL_TEXT:
		json_add_string(b, c->text, c->len);
		break;
	case CELL_JSON:
		if (json_check(c->text, c->len, NULL, NULL) == 0)
			buf_add(b, c->text, c->len);
		else
			json_add_string(b, c->text, c->len);
		break;
	case CELL_BLOB:
		add_base64(b, c->text, c->len);
		break;
	}
}

/* Refuses a cell that cannot fit before it is copied, so that the memory taken
 * beyond max_bytes is bounded too. */
static int check_size(struct rows *r, const struct cell *c)
{
	size_t len = c->kind == CELL_NULL ? 0 : c->len;
	if (r->out.len > r->max_bytes || len > r->max_bytes - r->out.len)
		return fail(r, too_large);
	return 0;
}

static int add_object(struct rows *r, const struct cell *cells)
{
	for (unsigned i = 0; i < r->columns; i++) {
		if (check_size(r, &cells[i]) < 0)
			return -1;
		buf_add(&r->out, r->labels[i].data, r->labels[i].len);
		add_cell(&r->out, &cells[i]);
	}
	buf_add_char(&r->out, '}');
	return 0;
}

static int add_element(struct rows *r, const struct cell *cells)
{
	r->out.len--;           /* the bracket that ended the rows before */
	if (r->count > 1)
		buf_add_char(&r->out, ',');
	int result = add_object(r, cells);
	buf_add_char(&r->out, ']');
	return result;
}

static int add_verbatim(struct rows *r, const struct cell *c)
{
	if (check_size(r, c) < 0)
		return -1;
	r->is_null = c->kind == CELL_NULL;
	if (!r->is_null)
		buf_add(&r->out, c->text, c->len);
	return 0;
}

static int add_name(struct rows *r, const struct cell *c)
{
	if (c->kind == CELL_NULL)
		return fail(r, "a name is NULL");
	if (c->len && memchr(c->text, '\0', c->len))
		return fail(r, "a name has a NUL byte in it");
	if (check_size(r, c) < 0)
		return -1;
	buf_add(&r->out, c->text, c->len);
	buf_add_char(&r->out, '\0');
	return 0;
}

static int add_row(struct rows *r, const struct cell *cells)
{
	switch (r->shape) {
	case CONF_ROWS:
		return add_element(r, cells);
	case CONF_ROW:
		return add_object(r, cells);
	case CONF_VALUE:
		return add_verbatim(r, cells);
	case CONF_NAMES:
		return add_name(r, cells);
	}
	abort();
}

int rows_add(struct rows *r, const struct cell *cells)
{
	if (r->error)
		return -1;
	assert(r->columns > 0);
	bool single = r->shape == CONF_ROW || r->shape == CONF_VALUE;
	if (r->count++ > 0 && single)
		return fail(r, "more than one row");
	if (add_row(r, cells) < 0)
		return -1;
	if (r->out.failed)
		return fail(r, no_memory);
	return r->out.len > r->max_bytes ? fail(r, too_large) : 0;
}

bool rows_end(struct rows *r)
{
	if (r->error)
		return false;
	if (r->shape == CONF_ROW || r->shape == CONF_VALUE)
		return r->count > 0 && !r->is_null;
	return true;
}

void rows_fini(struct rows *r)
{
	for (unsigned i = 0; r->labels && i < r->columns; i++)
		buf_free(&r->labels[i]);
	free(r->labels);
	buf_free(&r->out);
}
