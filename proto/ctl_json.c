/* JSON of replies; see ctl_json.h. */
#include "ctl_json.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "buf.h"
#include "reply_scan.h"

/* Bytes of the UTF-8 sequence at s; 0 if there is none. Neither longer forms than needed,
 * nor surrogates, nor anything past U+10FFFF is one. */
static size_t sequence_length(const unsigned char *s, size_t len)
{
	static const struct {
		unsigned char first, last, second_first, second_last, len;
	} forms[] = {
		{0x00, 0x7f, 0, 0, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	size_t i = 0;
	while (i < sizeof(forms) / sizeof(forms[0]) && (s[0] < forms[i].first || s[0] > forms[i].last))
		i++;
	if (i == sizeof(forms) / sizeof(forms[0]) || forms[i].len > len)
		return 0;
	if (forms[i].len > 1 && (s[1] < forms[i].second_first || s[1] > forms[i].second_last))
		return 0;
	for (size_t k = 2; k < forms[i].len; k++)
		if ((s[k] & 0xc0) != 0x80)
			return 0;
	return forms[i].len;
}

static bool is_utf8(const char *data, size_t len)
{
	size_t step;
	for (; len > 0; data += step, len -= step)
		if (!(step = sequence_length((const unsigned char *)data, len)))
			return false;
	return true;
}

static void add_base64(struct buf *b, const unsigned char *s, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)s[i] << 16 | (n > 1 ? (uint32_t)s[i + 1] << 8 : 0) | (n > 2 ? s[i + 2] : 0);
		char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], '=', '='};
		if (n > 1)
			four[2] = digits[bits >> 6 & 63];
		if (n > 2)
			four[3] = digits[bits & 63];
		buf_add(b, four, 4);
	}
}

void ctl_json_string(struct buf *b, const char *data, size_t len)
{
	if (!is_utf8(data, len)) {
		buf_add_str(b, "{\"base64\":\"");
		add_base64(b, (const unsigned char *)data, len);
		buf_add_str(b, "\"}");
		return;
	}
	static const char special[] = "\"\\\n\r\t\b\f", escaped[] = "\"\\nrtbf";
	buf_add_char(b, '"');
	for (size_t i = 0; i < len; i++) {
		const char *at = data[i] ? strchr(special, data[i]) : NULL;
		if (at) {
			buf_add_char(b, '\\');
			buf_add_char(b, escaped[at - special]);
		} else if ((unsigned char)data[i] < ' ') {
			buf_addf(b, "\\u%04x", (unsigned char)data[i]);
		} else {
			buf_add_char(b, data[i]);
		}
	}
	buf_add_char(b, '"');
}

static size_t add_element(struct buf *b, const char *data, size_t len);

/* The key of a member must be a string: what is none becomes one that holds its JSON. */
static size_t add_key(struct buf *b, const char *data, size_t len)
{
	struct buf key = BUF_INIT;
	size_t used = add_element(&key, data, len);
	if (key.len && key.data[0] == '"')
		buf_add(b, key.data, key.len);
	else
		ctl_json_string(b, key.data, key.len);
	buf_free(&key);
	return used;
}

/* n elements, each behind the one before; returns their bytes. */
static size_t add_elements(struct buf *b, const char *data, size_t len, int64_t n, bool is_map)
{
	size_t used = 0;
	buf_add_char(b, is_map ? '{' : '[');
	for (int64_t i = 0; i < n; i++) {
		bool is_key = is_map && i % 2 == 0;
		if (i)
			buf_add_char(b, is_map && !is_key ? ':' : ',');
		used += is_key ? add_key(b, data + used, len - used) : add_element(b, data + used, len - used);
	}
	buf_add_char(b, is_map ? '}' : ']');
	return used;
}

/* A number with a fraction; JSON has no words for inf and nan. */
static void add_double(struct buf *b, const struct reply_element *e)
{
	bool is_number = e->len > 0 && isdigit((unsigned char)e->data[e->len - 1]);
	if (is_number)
		buf_add(b, e->data, e->len);
	else
		ctl_json_string(b, e->data, e->len);
}

static void add_error(struct buf *b, const struct reply_element *e)
{
	buf_add_str(b, "{\"error\":");
	ctl_json_string(b, e->data, e->len);
	buf_add_char(b, '}');
}

static void add_scalar(struct buf *b, const struct reply_element *e)
{
	bool is_nil = e->type == '_' || (e->type == '$' && e->number < 0);
	if (is_nil)
		buf_add_str(b, "null");
	else if (e->type == ':' || e->type == '(')
		buf_add(b, e->data, e->len);
	else if (e->type == '#')
		buf_add_str(b, e->data[0] == 't' ? "true" : "false");
	else if (e->type == ',')
		add_double(b, e);
	else if (e->type == '-' || e->type == '!')
		add_error(b, e);
	else if (e->type == '=' && e->len >= 4)
		ctl_json_string(b, e->data + 4, e->len - 4);
	else
		ctl_json_string(b, e->data, e->len);
}

/* Returns the bytes of the element at data and of all in it. */
static size_t add_element(struct buf *b, const char *data, size_t len)
{
	struct reply_element e;
	size_t used = reply_element(data, len, &e);
	if (!used)
		return len;
	if (!strchr("*~>%", e.type))
		add_scalar(b, &e);
	else if (e.number < 0)
		buf_add_str(b, "null");
	else
		used += add_elements(b, data + used, len - used, e.number, e.type == '%');
	return used;
}

void ctl_json_reply(struct buf *b, const char *reply, size_t len)
{
	(void)add_element(b, reply, len);
}
