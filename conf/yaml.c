/* YAML text to a tree of marked nodes; see yaml.h. Called by conf.c for the file
 * and for the defaults of the tables, which are YAML too.
 *
 * libyaml's parser hands out a stream of events. The read_ functions are called
 * with the first event of a node in reader.event and return with its last one
 * there; NULL means that reading cannot go on, for a reason already reported. */
#include "yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "../proto/buf.h"

struct reader {
	yaml_parser_t parser;
	yaml_event_t event;             /* the one being looked at; owned */
	const char *text;               /* the whole input */
	size_t len;
	unsigned n_nodes;
	struct yaml_problems *problems;
};

/* Problems. */

__attribute__((format(printf, 3, 0)))
static void add_problem(struct yaml_problems *p, struct yaml_mark at, const char *fmt, va_list ap)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	for (char *c = text; *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	p->list = xrealloc(p->list, (p->n + 1) * sizeof *p->list);
	p->list[p->n] = (struct yaml_problem){at, p->n, text};
	p->n++;
}

void yaml_problem_add(struct yaml_problems *p, struct yaml_mark at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add_problem(p, at, fmt, ap);
	va_end(ap);
}

void yaml_node_reject(struct yaml_node *node, struct yaml_problems *p, const char *fmt, ...)
{
	if (node->bad)
		return;
	node->bad = true;
	va_list ap;
	va_start(ap, fmt);
	add_problem(p, node->at, fmt, ap);
	va_end(ap);
}

static int compare_problems(const void *left, const void *right)
{
	const struct yaml_problem *a = left, *b = right;
	if (a->at.line != b->at.line)
		return a->at.line < b->at.line ? -1 : 1;
	if (a->at.column != b->at.column)
		return a->at.column < b->at.column ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

void yaml_problems_sort(struct yaml_problems *p)
{
	if (p->n)
		qsort(p->list, p->n, sizeof *p->list, compare_problems);
}

void yaml_problems_free(struct yaml_problems *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->list[i].text);
	free(p->list);
	*p = (struct yaml_problems){0};
}

#define QUOTE_MAX 60

char *yaml_quote(const char *text)
{
	const char *url = strstr(text, "://");
	size_t show = url ? (size_t)(url - text) + 3 : strlen(text);
	if (show > QUOTE_MAX) {
		show = QUOTE_MAX;
		while (((unsigned char)text[show] & 0xC0) == 0x80)      /* inside a character */
			show--;
	}
	return xasprintf("\"%.*s%s\"", (int)show, text, text[show] ? "..." : "");
}

/* Variables. */

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

/* Appends what NAME} or NAME:-default} at p stands for. Returns the byte behind
 * the brace, or NULL and *why (to be freed). No part of a default is quoted in
 * *why: it may be a password. */
static const char *expand_variable(const char *p, struct buf *out, char **why)
{
	size_t name_len = isdigit((unsigned char)*p) ? 0 : strspn(p, NAME_CHARS);
	const char *end = strchr(p, '}'), *rest = p + name_len;
	bool has_default = strncmp(rest, ":-", 2) == 0;
	if (name_len == 0 || !end || (rest != end && !has_default)) {
		*why = xstrdup("expected ${NAME} or ${NAME:-default}; a literal ${ is written $${");
		return NULL;
	}
	char *name = xstrndup(p, name_len);
	const char *value = getenv(name);
	if (has_default && memmem(rest, (size_t)(end - rest), "${", 2)) {
		*why = xasprintf("the default of ${%s} must not hold another variable", name);
		end = NULL;
	} else if (has_default && (!value || !*value)) {
		buf_add(out, rest + 2, (size_t)(end - rest) - 2);
	} else if (value) {
		buf_add_str(out, value);
	} else {
		*why = xasprintf("environment variable %s is not set; ${%s:-default} would give it a default",
			name, name);
		end = NULL;
	}
	free(name);
	return end ? end + 1 : NULL;
}

/* Replaces the text of node by its expansion. */
static void expand(struct yaml_node *node, struct yaml_problems *problems)
{
	struct buf out = BUF_INIT;
	char *why = NULL;
	for (const char *p = node->text; p && *p; ) {
		if (strncmp(p, "$${", 3) == 0) {
			buf_add_str(&out, "${");
			p += 3;
		} else if (strncmp(p, "${", 2) == 0) {
			p = expand_variable(p + 2, &out, &why);
		} else {
			buf_add_char(&out, *p++);
		}
	}
	buf_add_char(&out, '\0');
	if (out.failed)
		abort();
	if (why) {
		yaml_node_reject(node, problems, "%s", why);
		free(why);
		buf_free(&out);
		return;
	}
	free(node->text);
	node->text = out.data;
}

/* Events to nodes. */

static struct yaml_mark mark_of(yaml_mark_t m)
{
	return (struct yaml_mark){(unsigned)m.line + 1, (unsigned)m.column + 1};
}

/* The place of the byte at offset, for the errors of libyaml that have no mark. */
static struct yaml_mark mark_at(const struct reader *r, size_t offset)
{
	struct yaml_mark at = {1, 1};
	for (size_t i = 0; i < offset && i < r->len; i++) {
		if (r->text[i] == '\n')
			at = (struct yaml_mark){at.line + 1, 1};
		else if (((unsigned char)r->text[i] & 0xC0) != 0x80)    /* the first byte of a character */
			at.column++;
	}
	return at;
}

static void report_syntax(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *problem = p->problem ? p->problem : "out of memory";
	struct yaml_mark at = mark_of(p->problem_mark), begin = mark_of(p->context_mark);
	if (p->error == YAML_READER_ERROR)
		yaml_problem_add(r->problems, mark_at(r, p->problem_offset), "%s", problem);
	else if (p->context && begin.line < at.line)
		yaml_problem_add(r->problems, at, "%s %s that begins on line %u", problem, p->context, begin.line);
	else
		yaml_problem_add(r->problems, at, "%s%s%s", problem, p->context ? " " : "", p->context ? p->context : "");
}

/* Puts the next event in r->event. 0, or -1 and the syntax error reported. */
static int advance(struct reader *r)
{
	yaml_event_delete(&r->event);
	if (yaml_parser_parse(&r->parser, &r->event))
		return 0;
	report_syntax(r);
	return -1;
}

static struct yaml_node *new_node(enum yaml_node_kind kind, struct yaml_mark at)
{
	struct yaml_node *node = xcalloc(1, sizeof *node);
	node->kind = kind;
	node->at = node->key_at = at;
	return node;
}

void yaml_tree_free(struct yaml_node *node)
{
	while (node) {
		struct yaml_node *next = node->next;
		yaml_tree_free(node->first);
		free(node->key);
		free(node->text);
		free(node);
		node = next;
	}
}

struct yaml_node *yaml_tree_get(const struct yaml_node *mapping, const char *key)
{
	if (!mapping || mapping->kind != NODE_MAPPING)
		return NULL;
	for (struct yaml_node *n = mapping->first; n; n = n->next) {
		if (strcmp(n->key, key) == 0)
			return n;
	}
	return NULL;
}

/* The scalar of the current event, not expanded. */
static struct yaml_node *read_scalar(const struct reader *r)
{
	struct yaml_node *node = new_node(NODE_SCALAR, mark_of(r->event.start_mark));
	const char *value = (const char *)r->event.data.scalar.value;
	size_t len = r->event.data.scalar.length;
	node->text = xstrndup(value, len);
	if (strlen(node->text) != len)
		yaml_node_reject(node, r->problems, "a NUL byte in a text");
	return node;
}

static struct yaml_node *read_alias(const struct reader *r)
{
	struct yaml_node *node = new_node(NODE_SCALAR, mark_of(r->event.start_mark));
	node->text = xstrdup("");
	yaml_node_reject(node, r->problems, "aliases (*name) are not supported: write the value out");
	return node;
}

/* Reports an anchor or tag on the node whose first event this is. */
static void refuse_properties(const struct reader *r)
{
	const yaml_event_t *e = &r->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;
	if (e->type == YAML_SCALAR_EVENT) {
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
	} else if (e->type == YAML_MAPPING_START_EVENT) {
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
	}
	if (anchor)
		yaml_problem_add(r->problems, mark_of(e->start_mark), "anchors (&name) are not supported");
	if (tag)
		yaml_problem_add(r->problems, mark_of(e->start_mark), "tags (!name) are not supported");
}

static struct yaml_node *read_sequence(struct reader *r, unsigned depth);
static struct yaml_node *read_mapping(struct reader *r, unsigned depth);

/* The node that begins with the current event; a scalar's variables are not expanded. */
static struct yaml_node *read_node(struct reader *r, unsigned depth)
{
	const char *limit = depth > YAML_MAX_DEPTH ? "nested too deeply" :
		++r->n_nodes > YAML_MAX_NODES ? "too many values in one file" : NULL;
	if (limit) {
		yaml_problem_add(r->problems, mark_of(r->event.start_mark), "%s", limit);
		return NULL;
	}
	refuse_properties(r);
	switch (r->event.type) {
	case YAML_SEQUENCE_START_EVENT:
		return read_sequence(r, depth);
	case YAML_MAPPING_START_EVENT:
		return read_mapping(r, depth);
	case YAML_ALIAS_EVENT:
		return read_alias(r);
	default:
		return read_scalar(r);
	}
}

static struct yaml_node *read_value(struct reader *r, unsigned depth)
{
	struct yaml_node *node = read_node(r, depth);
	if (node && node->kind == NODE_SCALAR && !node->bad)
		expand(node, r->problems);
	return node;
}

static struct yaml_node *read_sequence(struct reader *r, unsigned depth)
{
	struct yaml_node *sequence = new_node(NODE_SEQUENCE, mark_of(r->event.start_mark));
	struct yaml_node **tail = &sequence->first;
	while (advance(r) == 0) {
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return sequence;
		*tail = read_value(r, depth + 1);
		if (!*tail)
			break;
		tail = &(*tail)->next;
	}
	yaml_tree_free(sequence);
	return NULL;
}

/* Whether key may name one more value of mapping; reports why not. */
static bool check_key(const struct reader *r, const struct yaml_node *mapping, struct yaml_node *key)
{
	if (key->kind != NODE_SCALAR) {
		yaml_node_reject(key, r->problems, "a key must be a word");
		return false;
	}
	const struct yaml_node *first = yaml_tree_get(mapping, key->text);
	if (first) {
		char *quoted = yaml_quote(key->text);
		yaml_node_reject(key, r->problems, "key %s is given twice; the first is on line %u",
			quoted, first->key_at.line);
		free(quoted);
	}
	return !key->bad;
}

static struct yaml_node *read_mapping(struct reader *r, unsigned depth)
{
	struct yaml_node *mapping = new_node(NODE_MAPPING, mark_of(r->event.start_mark));
	struct yaml_node **tail = &mapping->first;
	while (advance(r) == 0) {
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return mapping;
		struct yaml_node *key = read_node(r, depth + 1);
		struct yaml_node *value = key && advance(r) == 0 ? read_value(r, depth + 1) : NULL;
		if (value && check_key(r, mapping, key)) {
			value->key = key->text;
			value->key_at = key->at;
			key->text = NULL;
			*tail = value;
			tail = &value->next;
		} else {
			yaml_tree_free(value);
		}
		yaml_tree_free(key);
		if (!value)
			break;
	}
	yaml_tree_free(mapping);
	return NULL;
}

/* Files. */

/* The one document of the input. */
static struct yaml_node *read_document(struct reader *r)
{
	if (advance(r) < 0 || advance(r) < 0)           /* STREAM-START, then what follows it */
		return NULL;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return new_node(NODE_MAPPING, (struct yaml_mark){1, 1});
	if (advance(r) < 0)                             /* DOCUMENT-START */
		return NULL;
	struct yaml_node *root = read_value(r, 0);
	if (!root)
		return NULL;
	if (advance(r) < 0 || advance(r) < 0) {         /* DOCUMENT-END, then what follows it */
		yaml_tree_free(root);
		return NULL;
	}
	if (r->event.type != YAML_STREAM_END_EVENT)
		yaml_problem_add(r->problems, mark_of(r->event.start_mark), "a second document in one file");
	return root;
}

struct yaml_node *yaml_tree_parse(const char *text, size_t len, struct yaml_problems *problems)
{
	struct reader r = {.text = text, .len = len, .problems = problems};
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	struct yaml_node *root = read_document(&r);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	return root;
}

struct yaml_node *yaml_tree_read(const char *file, struct yaml_problems *problems)
{
	struct yaml_node *root = NULL;
	const struct yaml_mark top = {1, 1};
	char *text = NULL;
	FILE *f = fopen(file, "re");
	if (!f) {
		yaml_problem_add(problems, top, "cannot open: %s", strerror(errno));
		return NULL;
	}
	text = xmalloc(YAML_MAX_BYTES + 1);
	size_t len = fread(text, 1, YAML_MAX_BYTES + 1, f);
	if (ferror(f))
		yaml_problem_add(problems, top, "cannot read: %s", strerror(errno));
	else if (len > YAML_MAX_BYTES)
		yaml_problem_add(problems, top, "larger than %zu bytes", YAML_MAX_BYTES);
	else
		root = yaml_tree_parse(text, len, problems);
	free(text);
	(void)fclose(f);        /* read only: nothing can be lost */
	return root;
}
