/* Requests and replies as texts with blanks; see wire.h. */
#include "wire.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

const struct wire wire_redis = {{
	[WIRE_GET] = {"*2\r\n$3\r\nGET\r\n$10\r\n{k}\r\n", "${n}\r\n{v}\r\n"},
	[WIRE_SET] = {"*3\r\n$3\r\nSET\r\n$10\r\n{k}\r\n${n}\r\n{v}\r\n", "+OK\r\n"},
	[WIRE_SET_BRIEF] = {"*5\r\n$3\r\nSET\r\n$10\r\n{k}\r\n${n}\r\n{v}\r\n$2\r\nPX\r\n$4\r\n{t}\r\n", "+OK\r\n"},
	[WIRE_GETIF] = {"*3\r\n$5\r\nGETIF\r\n$10\r\n{k}\r\n$16\r\n{d}\r\n", "*2\r\n$16\r\n{d}\r\n$-1\r\n"},
	[WIRE_PING] = {"*1\r\n$4\r\nPING\r\n", "+PONG\r\n"},
}};

const struct wire wire_memcached = {{
	[WIRE_GET] = {"get {k}\r\n", "VALUE {k} 0 {n}\r\n{v}\r\nEND\r\n"},
	[WIRE_SET] = {"set {k} 0 0 {n}\r\n{v}\r\n", "STORED\r\n"},
}};

static void put_number(char *to, uint32_t number, size_t digits)
{
	while (digits--) {
		to[digits] = (char)('0' + number % 10);
		number /= 10;
	}
}

static void fill_value(char *to, uint32_t key, size_t len)
{
	assert(len >= WIRE_DIGITS);
	put_number(to, key, WIRE_DIGITS);
	for (size_t i = WIRE_DIGITS; i < len; i++)
		to[i] = (char)('a' + i % 26);
}

char *wire_value(uint32_t key, size_t len)
{
	char *bytes = xmalloc(len);
	fill_value(bytes, key, len);
	return bytes;
}

/* ---- what stands for a blank ---- */

static void add_digits(struct message *m, struct buf *b)
{
	assert(m->n_digits < sizeof(m->digits_at) / sizeof(m->digits_at[0]));
	m->digits_at[m->n_digits++] = b->len;
}

static void add_key(struct message *m, struct buf *b, const struct wire_words *words)
{
	buf_addf(b, "%c:", words->prefix);
	add_digits(m, b);
	buf_addf(b, "%0*d", WIRE_DIGITS, 0);
}

static void add_length(struct message *m, struct buf *b, const struct wire_words *words)
{
	(void)m;
	buf_addf(b, "%zu", words->value_len);
}

static void add_value(struct message *m, struct buf *b, const struct wire_words *words)
{
	add_digits(m, b);
	m->value_at = b->len;
	m->value_len = words->value_len;
	fill_value(buf_reserve(b, words->value_len), 0, words->value_len);
	b->len += words->value_len;
}

static void add_digest(struct message *m, struct buf *b, const struct wire_words *words)
{
	(void)m;
	buf_add_str(b, words->digest);
}

static void add_life(struct message *m, struct buf *b, const struct wire_words *words)
{
	(void)words;
	m->life_at = b->len;
	buf_addf(b, "%0*d", WIRE_LIFE_DIGITS, 0);
}

static const struct {
	char letter;
	void (*add)(struct message *m, struct buf *b, const struct wire_words *words);
} blanks[] = {
	{'k', add_key}, {'n', add_length}, {'v', add_value}, {'d', add_digest}, {'t', add_life},
};

static void add_blank(struct message *m, struct buf *b, char letter, const struct wire_words *words)
{
	for (size_t i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++)
		if (blanks[i].letter == letter)
			blanks[i].add(m, b, words);
}

void message_init(struct message *m, const char *text, const struct wire_words *words)
{
	struct buf b = BUF_INIT;
	*m = (struct message){0};
	for (const char *open; (open = strchr(text, '{')); text = open + strlen("{k}")) {
		buf_add(&b, text, (size_t)(open - text));
		add_blank(m, &b, open[1], words);
	}
	buf_add_str(&b, text);
	m->bytes = b.data;
	m->len = b.len;
}

void message_fini(struct message *m)
{
	free(m->bytes);
	*m = (struct message){0};
}

void message_stamp(const struct message *m, char *bytes, uint32_t key)
{
	for (size_t i = 0; i < m->n_digits; i++)
		put_number(bytes + m->digits_at[i], key, WIRE_DIGITS);
}

void message_stamp_life(const struct message *m, char *bytes, unsigned ms)
{
	if (m->life_at)
		put_number(bytes + m->life_at, ms, WIRE_LIFE_DIGITS);
}
