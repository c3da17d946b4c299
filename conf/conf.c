/* The configuration as a whole; see conf.h. A file passes through three hands, and
 * each goes on after an error:
 *
 *   yaml.c   text to tree: syntax, variables, keys given twice
 *   read_*   tree to struct conf, by the rows of schema.c
 *   rules.c  what no row can say: how keys agree, and defaults that follow other keys
 *
 * A node that was rejected is bad: from then on its key counts as not given, so
 * that one mistake is one error. */
#include "conf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "kind.h"
#include "rules.h"
#include "schema.h"
#include "yaml.h"

#define TYPE_NAME_MAX 64
#define TYPE_NAME_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_"

struct loader {
	struct conf *conf;
	struct yaml_problems problems;
};

static void read_row(struct loader *l, const struct schema_row *row, struct yaml_node *node, void *base);

/* Reading. */

/* The full name of a row's key, which is also the section of the keys in it; to be freed. */
static char *full_name(const struct schema_row *row)
{
	return xasprintf("%s%s%s", row->section, *row->section ? "." : "", row->name);
}

/* Whether node can be read as a section: a mapping, or nothing behind the colon. */
static bool is_section(const struct yaml_node *node)
{
	return node->kind == NODE_MAPPING || (node->kind == NODE_SCALAR && !*node->text);
}

static void report_unknown(struct loader *l, const char *section, const struct yaml_node *node)
{
	char *key = yaml_quote(node->key);
	const char *nearest = schema_nearest(section, node->key);
	if (nearest)
		yaml_problem_add(&l->problems, node->key_at, "unknown key %s; did you mean \"%s\"?", key, nearest);
	else
		yaml_problem_add(&l->problems, node->key_at, "unknown key %s", key);
	free(key);
}

/* Reads text, which is ours and right, as if it stood in the file as row's value. */
static void read_own(struct loader *l, const struct schema_row *row, const char *text, void *base)
{
	size_t before = l->problems.n;
	struct yaml_node *node = yaml_tree_parse(text, strlen(text), &l->problems);
	read_row(l, row, node, base);
	assert(l->problems.n == before);
	yaml_tree_free(node);
}

/* Reads the keys of a section into base. node is its mapping, or NULL where the
 * file leaves it out: then its defaults hold and nothing in it is required. */
static void read_section(struct loader *l, const char *section, const struct yaml_node *node, void *base)
{
	for (const struct yaml_node *n = node ? node->first : NULL; n; n = n->next) {
		if (!schema_find(section, n->key))
			report_unknown(l, section, n);
	}
	for (const struct schema_row *row = schema_rows; row->name; row++) {
		struct yaml_node *value = yaml_tree_get(node, row->name);
		if (strcmp(row->section, section) != 0)
			continue;
		if (value)
			read_row(l, row, value, base);
		else if (node && row->required)
			yaml_problem_add(&l->problems, node->key_at, "missing key \"%s\"", row->name);
		else if (row->kind == KIND_SECTION)
			read_row(l, row, NULL, base);
		else if (row->def)
			read_own(l, row, row->def, base);
	}
}

static void read_subsection(struct loader *l, const struct schema_row *row, struct yaml_node *node, void *base)
{
	char *section = full_name(row);
	if (!node || is_section(node))
		read_section(l, section, node, base);
	else if (row->off && node->kind == NODE_SCALAR && strcmp(node->text, "off") == 0)
		read_own(l, row, "{url: off}", base);
	else
		kind_reject(row, node, &l->problems);
	free(section);
}

/* Turns on the tier that node, an item of the list form, names. */
static void read_tier(struct loader *l, const char *section, struct yaml_node *node, struct conf_type *t)
{
	const struct schema_row *row = node->kind == NODE_SCALAR ? schema_find(section, node->text) : NULL;
	bool *on = row ? (bool *)((char *)t + row->offset) : NULL;
	char *name = yaml_quote(node->text ? node->text : "");
	if (!on)
		yaml_node_reject(node, &l->problems, "tiers: %s is not memory or redis", name);
	else if (*on)
		yaml_node_reject(node, &l->problems, "tiers: %s is listed twice", name);
	else
		*on = true;
	free(name);
}

static void read_tiers(struct loader *l, const struct schema_row *row, struct yaml_node *node, struct conf_type *t)
{
	char *section = full_name(row);
	bool bad = false;
	if (node->kind == NODE_MAPPING)
		read_section(l, section, node, t);
	else if (node->kind != NODE_SEQUENCE)
		kind_reject(row, node, &l->problems);
	for (struct yaml_node *n = node->first; n; n = n->next) {
		if (node->kind == NODE_SEQUENCE)
			read_tier(l, section, n, t);
		bad = bad || n->bad;
	}
	if (!t->in_memory && !t->in_redis && !bad)
		yaml_node_reject(node, &l->problems, "tiers: at least one of memory and redis must be on");
	free(section);
}

static void read_type(struct loader *l, const char *section, struct yaml_node *node, struct conf_type *t)
{
	size_t len = strlen(node->key);
	t->name = xstrdup(node->key);
	if (len == 0 || len > TYPE_NAME_MAX || strspn(node->key, TYPE_NAME_CHARS) != len) {
		char *name = yaml_quote(node->key);
		yaml_problem_add(&l->problems, node->key_at,
			"type name %s is not 1 to %d of the characters a-z, 0-9 and _", name, TYPE_NAME_MAX);
		free(name);
	}
	if (is_section(node) && !node->bad)
		read_section(l, section, node, t);
	else
		yaml_node_reject(node, &l->problems, "a type is a mapping of its keys");
}

static void read_types(struct loader *l, const struct schema_row *row, struct yaml_node *node)
{
	if (!is_section(node)) {
		kind_reject(row, node, &l->problems);
		return;
	}
	if (!node->first)
		yaml_node_reject(node, &l->problems, "types: at least one type is needed");
	struct conf *c = l->conf;
	for (const struct yaml_node *n = node->first; n; n = n->next)
		c->n_types++;
	c->types = xcalloc(c->n_types, sizeof *c->types);
	struct conf_type *t = c->types;
	for (struct yaml_node *n = node->first; n; n = n->next, t++) {
		t->index = (unsigned)(t - c->types);
		read_type(l, "types.NAME", n, t);
	}
}

/* Reads node as row says into base; node is NULL for a section that the file leaves out. */
static void read_row(struct loader *l, const struct schema_row *row, struct yaml_node *node, void *base)
{
	if (node && node->bad)
		return;
	switch (row->kind) {
	case KIND_SECTION:
		read_subsection(l, row, node, base);
		break;
	case KIND_TYPES:
		read_types(l, row, node);
		break;
	case KIND_TIERS:
		read_tiers(l, row, node, base);
		break;
	case KIND_INVALIDATES:
		if (node->kind != NODE_SEQUENCE)
			kind_reject(row, node, &l->problems);
		break;                  /* rules.c reads it when all types are known */
	default:
		kind_read(row, node, base, &l->problems);
	}
}

/* Matching. The types stand in the order of their literal prefixes, bytewise. Of
 * all types, those whose prefix begins a given key are then found so: the last
 * type that is not behind the key, and from it along .shorter, longest first. */

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return order ? order : a_len < b_len ? -1 : a_len > b_len;
}

static bool begins(const struct conf_type *t, const char *key, size_t len)
{
	return t->prefix_len <= len && memcmp(t->key, key, t->prefix_len) == 0;
}

static int compare_types(const void *left, const void *right)
{
	const struct conf_type *a = *(struct conf_type *const *)left, *b = *(struct conf_type *const *)right;
	return compare_bytes(a->key, a->prefix_len, b->key, b->prefix_len);
}

static void index_keys(struct conf *c)
{
	c->by_prefix = xcalloc(c->n_types, sizeof *c->by_prefix);
	for (size_t i = 0; i < c->n_types; i++)
		c->by_prefix[i] = &c->types[i];
	qsort(c->by_prefix, c->n_types, sizeof *c->by_prefix, compare_types);
	for (size_t i = 1; i < c->n_types; i++) {
		struct conf_type *t = c->by_prefix[i];
		const struct conf_type *shorter = c->by_prefix[i - 1];
		while (shorter && !begins(shorter, t->key, t->prefix_len))
			shorter = shorter->shorter;
		t->shorter = shorter;
	}
}

const struct conf_type *conf_match(const struct conf *c, const char *key, size_t len)
{
	size_t low = 0, high = c->n_types;      /* all below low are not behind key, all from high on are */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct conf_type *t = c->by_prefix[middle];
		if (compare_bytes(t->key, t->prefix_len, key, len) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	const struct conf_type *t = low ? c->by_prefix[low - 1] : NULL;
	while (t && !(begins(t, key, len) && t->exact == (t->prefix_len == len)))
		t = t->shorter;
	return t;
}

const struct conf_type *conf_type_named(const struct conf *c, const char *name, size_t len)
{
	for (size_t i = 0; i < c->n_types; i++) {
		if (strlen(c->types[i].name) == len && memcmp(c->types[i].name, name, len) == 0)
			return &c->types[i];
	}
	return NULL;
}

/* The whole. */

static void add_errors(struct conf_errors *errors, const char *file, struct yaml_problems *problems)
{
	yaml_problems_sort(problems);
	errors->lines = xrealloc(errors->lines, (errors->n + problems->n) * sizeof *errors->lines);
	for (size_t i = 0; i < problems->n; i++) {
		const struct yaml_problem *p = &problems->list[i];
		errors->lines[errors->n++] = xasprintf("%s:%u:%u: %s", file, p->at.line, p->at.column, p->text);
	}
}

struct conf *conf_load(const char *file, struct conf_errors *errors)
{
	struct conf *c = xcalloc(1, sizeof *c);
	struct loader l = {.conf = c};
	c->file = xstrdup(file);
	struct yaml_node *root = yaml_tree_read(file, &l.problems);
	if (root && is_section(root)) {
		read_section(&l, "", root, c);
		rules_apply(c, root, &l.problems);
	} else if (root) {
		yaml_node_reject(root, &l.problems, "a configuration is a mapping of sections");
	}
	yaml_tree_free(root);
	c->undeclared = (unsigned)c->n_types;
	c->n_places = c->undeclared + 1;
	if (l.problems.n == 0) {
		index_keys(c);
	} else {
		add_errors(errors, file, &l.problems);
		conf_free(c);
		c = NULL;
	}
	yaml_problems_free(&l.problems);
	return c;
}

static void free_words(char **words)
{
	for (char **word = words; word && *word; word++)
		free(*word);
	free(words);
}

static void free_type(struct conf_type *t)
{
	free_words(t->fetch.exec);
	free_words(t->warm);
	free(t->fetch.sql);
	free(t->fetch.from);
	free(t->invalidates);
	free(t->key);
	free(t->name);
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_types; i++)
		free_type(&c->types[i]);
	free(c->types);
	free(c->by_prefix);
	free(c->redis.url);
	free(c->redis.unix_path);
	free(c->redis.host);
	free(c->redis.user);
	free(c->redis.password);
	free(c->database.url);
	free(c->admin_users);
	free(c->listen_path);
	free(c->snapshot);
	free(c->log_level);
	free(c->log_format);
	free(c->admin_host);
	free(c->guard);
	free(c->file);
	free(c);
}

void conf_errors_free(struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		free(errors->lines[i]);
	free(errors->lines);
	*errors = (struct conf_errors){0};
}

void conf_describe(FILE *out)
{
	for (const struct schema_row *row = schema_rows; row->name; row++) {
		char *name = full_name(row), *facts = kind_facts(row);
		fprintf(out, "%-33s  %-57s  %s\n", name, facts, row->help);
		free(facts);
		free(name);
	}
}
