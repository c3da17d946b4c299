/* The parameters of a query, found without a parser: a lexer for what hides them.
 * See sql.h. Where SQLite and PostgreSQL read a text differently this follows
 * PostgreSQL. */
#include "sql.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"

static bool is_word_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_word(const char *p)
{
	while (is_word_start(*p) || is_digit(*p))
		p++;
	return p;
}

/* p is at the opening quote; a doubled one does not close. What is not closed goes to
 * the end. */
static const char *skip_quoted(const char *p, bool backslashes)
{
	char quote = *p++;
	for (; *p; p++) {
		if (backslashes && *p == '\\' && p[1])
			p++;
		else if (*p == quote && *++p != quote)
			break;
	}
	return p;
}

static const char *skip_comment(const char *p)
{
	unsigned depth = 0;
	do {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else if (p[0] == '*' && p[1] == '/') {
			depth--;
			p += 2;
		} else {
			p++;
		}
	} while (*p && depth > 0);
	return p;
}

/* $tag$ ... $tag$, or just the $ when no tag follows it. */
static const char *skip_dollar(const char *p)
{
	const char *tag_end = is_digit(p[1]) ? p : skip_word(p + 1);
	if (tag_end == p || *tag_end != '$')
		return p + 1;
	size_t tag_len = (size_t)(tag_end + 1 - p);
	for (const char *q = tag_end + 1; *q; q++)
		if (strncmp(q, p, tag_len) == 0)
			return q + tag_len;
	return p + strlen(p);
}

/* A word, or a string that begins with the letter E and so knows backslashes. A $
 * inside a word belongs to it. */
static const char *skip_word_or_string(const char *p)
{
	const char *end = skip_word(p);
	if (end == p + 1 && (*p == 'E' || *p == 'e') && *end == '\'')
		return skip_quoted(end, true);
	while (*end == '$')
		end = skip_word(end + 1);
	return end;
}

/* The end of the token at p, which is not a parameter. */
static const char *skip_token(const char *p)
{
	if (is_word_start(*p) || is_digit(*p))
		return skip_word_or_string(p);
	if (*p == '\'' || *p == '"')
		return skip_quoted(p, false);
	if (*p == '$')
		return skip_dollar(p);
	if (p[0] == '-' && p[1] == '-')
		return p + strcspn(p, "\n");
	if (p[0] == '/' && p[1] == '*')
		return skip_comment(p);
	if (p[0] == ':' && (p[1] == ':' || p[1] == '='))
		return p + 2;
	return p + 1;
}

char *sql_number_parameters(const char *sql, unsigned *uses, char **error)
{
	char *out = xmalloc(strlen(sql) + 1);   /* it never grows: " $1" for ":name" */
	char *to = out;
	const char *end;
	*uses = 0;
	for (const char *p = sql; *p; p = end) {
		if (*p != ':' || !is_word_start(p[1])) {
			end = skip_token(p);
			to = mempcpy(to, p, (size_t)(end - p));
			continue;
		}
		end = skip_word(p + 1);
		if (end - p != 5 || memcmp(p, ":name", 5) != 0) {
			*error = xasprintf("unknown parameter %.*s: the only one is :name", (int)(end - p), p);
			free(out);
			return NULL;
		}
		++*uses;
		to = mempcpy(to, " $1", 3);     /* the blank, because and$1 would be one word */
	}
	*to = '\0';
	return out;
}
