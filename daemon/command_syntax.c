/* What is said of arguments; see command_syntax.h. A sequence of words is read from the left; brackets
 * and choices hold sequences again. The syntax is the table's, so nothing in it is wrong. */
#include "command_syntax.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "../proto/buf.h"
#include "../proto/reply.h"

struct text {
	const char *at, *end;
};

/* One or more arguments, encoded. */
struct arguments {
	struct buf bytes;
	size_t n;
};

struct argument {
	struct text name, token;        /* token: the word before it; empty: none */
	const char *type;
	bool is_optional, is_repeated;
	struct arguments *parts;        /* of a choice or a block; they are freed */
};

static size_t length(struct text t)
{
	return (size_t)(t.end - t.at);
}

static struct text text_of(const char *s)
{
	return (struct text){s, s + strlen(s)};
}

static bool ends_with_dots(struct text t)
{
	return length(t) >= 3 && memcmp(t.end - 3, "...", 3) == 0;
}

static struct text trim(struct text t)
{
	while (t.at < t.end && *t.at == ' ')
		t.at++;
	while (t.at < t.end && t.end[-1] == ' ')
		t.end--;
	return t;
}

/* Up to the first c outside of brackets, or to the end. */
static struct text until(struct text t, char c)
{
	struct text found = {t.at, t.at};
	for (int depth = 0; found.end < t.end && !(depth == 0 && *found.end == c); found.end++)
		depth += (*found.end == '[') - (*found.end == ']');
	return found;
}

/* ---- one argument ---- */

/* By the words that the table uses. */
static const char *type_of(struct text name)
{
	static const struct {
		const char *word, *type;
	} types[] = {
		{"key", "key"}, {"pattern", "pattern"}, {"seconds", "integer"}, {"milliseconds", "integer"}, {"unix-time-seconds", "unix-time"},
		{"unix-time-milliseconds", "unix-time"}, {"cursor", "integer"}, {"count", "integer"}, {"index", "integer"}, {"client-id", "integer"},
		{"protover", "integer"},
	};
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i].word) == length(name) && memcmp(types[i].word, name.at, length(name)) == 0)
			return types[i].type;
	return "string";
}

static void add_name(struct buf *b, struct text name)
{
	char lower[64];
	size_t n = 0;
	for (; name.at + n < name.end && n < sizeof(lower); n++)
		lower[n] = (char)tolower((unsigned char)name.at[n]);
	reply_add_bulk(b, lower, n);
}

static void add_argument(struct arguments *to, int resp, const struct argument *a)
{
	struct buf *b = &to->bytes;
	size_t n_flags = (size_t)a->is_optional + a->is_repeated;
	reply_add_map(b, resp, 2 + (size_t)(length(a->token) > 0) + (n_flags > 0) + (a->parts != NULL));
	reply_add_bulk_str(b, "name");
	add_name(b, a->name);
	reply_add_bulk_str(b, "type");
	reply_add_bulk_str(b, a->type);
	if (length(a->token)) {
		reply_add_bulk_str(b, "token");
		reply_add_bulk(b, a->token.at, length(a->token));
	}
	if (n_flags) {
		reply_add_bulk_str(b, "flags");
		reply_add_set(b, resp, n_flags);
	}
	if (a->is_optional)
		reply_add_simple(b, "optional");
	if (a->is_repeated)
		reply_add_simple(b, "multiple");
	if (a->parts) {
		reply_add_bulk_str(b, "arguments");
		reply_add_array(b, a->parts->n);
		buf_add(b, a->parts->bytes.data, a->parts->bytes.len);
		buf_free(&a->parts->bytes);
	}
	to->n++;
}

/* ---- sequences ---- */

static void add_sequence(struct arguments *to, int resp, struct text t);

/* What is in brackets, or repeated: one argument, whatever it is made of. */
static void add_group(struct arguments *to, int resp, struct text t, bool is_optional, bool is_repeated)
{
	struct arguments parts = {.bytes = BUF_INIT};
	struct argument a = {.is_optional = is_optional, .is_repeated = is_repeated, .parts = &parts};
	struct text first = until(t, '|'), word = until(t, ' ');
	bool is_choice = first.end < t.end, is_token = isupper((unsigned char)*t.at);
	if (is_choice) {
		a.name = text_of("option");
		a.type = "oneof";
		for (struct text rest = t; rest.at < t.end; rest.at = first.end + (first.end < t.end)) {
			rest.end = t.end;
			first = until(rest, '|');
			add_group(&parts, resp, trim(first), false, false);
		}
	} else if (word.end == t.end) {
		a.name = word;
		a.token = is_token ? word : a.token;
		a.type = is_token ? "pure-token" : type_of(word);
		a.parts = NULL;
	} else if (is_token && !memchr(word.end + 1, ' ', (size_t)(t.end - word.end - 1))) {
		a.name = (struct text){word.end + 1, t.end};
		a.token = word;
		a.type = type_of(a.name);
		a.parts = NULL;
	} else {
		a.name = text_of("block");
		a.type = "block";
		add_sequence(&parts, resp, t);
	}
	add_argument(to, resp, &a);
}

/* The end of "x [x ...]" if t begins with that, and *once is x; else NULL. */
static const char *repeated_end(struct text t, struct text *once)
{
	*once = trim(until(t, '['));
	if (once->end == t.end || once->at == once->end)
		return NULL;
	struct text again = until((struct text){once->end + 2, t.end}, ']');
	bool is_same = ends_with_dots(again) && length(again) == length(*once) + 4 && memcmp(again.at, once->at, length(*once)) == 0;
	return is_same ? again.end + 1 : NULL;
}

/* The end of what t begins with: a bracket, a word, or a word as it is and the caller's behind it. */
static const char *item_end(struct text t)
{
	struct text word = until(t, ' ');
	bool has_value = isupper((unsigned char)*t.at) && word.end + 1 < t.end && islower((unsigned char)word.end[1]);
	return has_value ? until((struct text){word.end + 1, t.end}, ' ').end : word.end;
}

static void add_sequence(struct arguments *to, int resp, struct text t)
{
	struct text once;
	for (t = trim(t); t.at < t.end; t = trim(t)) {
		const char *end = repeated_end(t, &once);
		if (end) {
			add_group(to, resp, once, false, true);
		} else if (*t.at == '[') {
			end = item_end(t);
			struct text inner = {t.at + 1, end - 1};
			bool is_repeated = ends_with_dots(inner);
			inner.end -= is_repeated ? 4 : 0;
			add_group(to, resp, inner, true, is_repeated);
		} else {
			end = item_end(t);
			add_group(to, resp, (struct text){t.at, end}, false, false);
		}
		t.at = end;
	}
}

void command_syntax_add(struct buf *b, int resp, const char *syntax)
{
	struct arguments all = {.bytes = BUF_INIT};
	struct text t = text_of(syntax);
	if (until(t, '|').end < t.end)
		add_group(&all, resp, t, false, false);
	else
		add_sequence(&all, resp, t);
	reply_add_array(b, all.n);
	buf_add(b, all.bytes.data, all.bytes.len);
	buf_free(&all.bytes);
}
