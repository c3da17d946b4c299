/* The choice of a driver, and what the SQL drivers need to know of SQL. See
 * fetch.h. The catalog calls fetch_start; the drivers do the rest. */
#include "fetch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"

struct source {
	const struct fetch_driver *driver;      /* NULL: nothing needs it */
	void *self;
};

struct fetcher {
	struct source sql, exec, assemble;
};

/* ---- drivers ---- */

static bool is_used(const struct conf *conf, enum conf_fetch_kind kind)
{
	for (size_t i = 0; i < conf->n_types; i++)
		if (conf->types[i].fetch.kind == kind)
			return true;
	return false;
}

static void source_free(struct source *s)
{
	if (s->driver)
		s->driver->free(s->self);
}

static const struct fetch_driver *open_sql(struct event_base *base, const struct conf_database *conf,
	struct workers *cpu, void **self)
{
	if (conf->kind == CONF_DATABASE_SQLITE)
		return fetch_sqlite_new(base, conf, self);
	assert(conf->kind == CONF_DATABASE_POSTGRES);
	return fetch_postgres_new(base, cpu, conf, self);
}

struct fetcher *fetcher_new(struct event_base *base, const struct conf *conf, struct workers *cpu,
	fetch_part_fn part, void *catalog)
{
	struct fetcher *f = xcalloc(1, sizeof(*f));
	bool assembles = is_used(conf, CONF_FETCH_ASSEMBLE);
	if (assembles || is_used(conf, CONF_FETCH_SQL)) {
		f->sql.driver = open_sql(base, &conf->database, cpu, &f->sql.self);
		if (!f->sql.driver)
			goto fail;
	}
	if (is_used(conf, CONF_FETCH_EXEC)) {
		f->exec.driver = fetch_exec_new(base, cpu, &f->exec.self);
		if (!f->exec.driver)
			goto fail;
	}
	if (assembles) {
		const struct fetch_assemble_options options = {.cpu = cpu, .sql = f->sql.driver,
			.sql_self = f->sql.self, .part = part, .catalog = catalog};
		f->assemble.driver = fetch_assemble_new(base, &options, &f->assemble.self);
		if (!f->assemble.driver)
			goto fail;
	}
	return f;
fail:;
	int error = errno;
	fetcher_free(f);
	errno = error;
	return NULL;
}

void fetcher_free(struct fetcher *f)
{
	if (!f)
		return;
	source_free(&f->assemble);      /* before the driver it asks */
	source_free(&f->exec);
	source_free(&f->sql);
	free(f);
}

void fetch_start(struct fetcher *f, const struct conf_type *type, const char *name,
	fetch_done_fn done, void *arg)
{
	const struct source *source = NULL;
	switch (type->fetch.kind) {
	case CONF_FETCH_NONE:
		break;
	case CONF_FETCH_SQL:
		source = &f->sql;
		break;
	case CONF_FETCH_EXEC:
		source = &f->exec;
		break;
	case CONF_FETCH_ASSEMBLE:
		source = &f->assemble;
		break;
	}
	assert(source && source->driver);
	const struct fetch_order order = {.type = type, .sql = type->fetch.sql, .shape = type->fetch.shape,
		.name = name, .timeout_ms = type->fetch.timeout_ms};
	source->driver->start(source->self, &order, done, arg);
}

/* ---- SQL ---- */

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

char *fetch_number_parameters(const char *sql, unsigned *uses, char **error)
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

void fetch_redact(char *message)
{
	char *open = strpbrk(message, "\"'[");
	if (!open)
		return;
	/* To the last one of its kind: what is quoted may have some inside. */
	char *close = strrchr(open + 1, *open == '[' ? ']' : *open);
	if (close)
		memmove(open + 1, close, strlen(close) + 1);
	else
		open[1] = '\0';
}
