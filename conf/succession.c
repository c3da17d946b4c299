/* How one configuration follows another; see conf.h. What differs in a type is told by the tables of schema.h, so a
 * key that is new there is compared, too. */
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "conf.h"
#include "schema.h"

static bool is_same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* ---- what stays ---- */

static void keep_text(char **text, const char *before)
{
	free(*text);
	*text = before ? xstrdup(before) : NULL;
}

void conf_keep_fixed(struct conf *c, const struct conf *before, conf_kept_fn kept)
{
	const struct {
		const char *key;
		bool differs;
	} fixed[] = {
		{"listen.path", !is_same(c->listen_path, before->listen_path)},
		{"listen.mode", c->listen_mode != before->listen_mode},
		{"listen.group", c->has_listen_group != before->has_listen_group || c->listen_group != before->listen_group},
		{"admin.listen", !is_same(c->admin_host, before->admin_host) || c->admin_port != before->admin_port},
	};
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (fixed[i].differs)
			kept(fixed[i].key);
	keep_text(&c->listen_path, before->listen_path);
	c->listen_mode = before->listen_mode;
	c->has_listen_group = before->has_listen_group;
	c->listen_group = before->listen_group;
	keep_text(&c->admin_host, before->admin_host);
	c->admin_port = before->admin_port;
}

bool conf_is_same_redis(const struct conf_redis *a, const struct conf_redis *b)
{
	return is_same(a->url, b->url) && a->connect_timeout_ms == b->connect_timeout_ms && a->timeout_ms == b->timeout_ms
		&& a->pass_through == b->pass_through;
}

/* What is held for keys of a may be held for those of b. */
static bool is_same_type(const struct conf_type *a, const struct conf_type *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->key, b->key) == 0 && a->hash_names == b->hash_names && a->format == b->format
		&& a->in_memory == b->in_memory && a->in_redis == b->in_redis;
}

void conf_succeed(struct conf *c, const struct conf *before)
{
	c->undeclared = before->undeclared;
	c->n_places = before->n_places;
	for (size_t i = 0; i < c->n_types; i++) {
		struct conf_type *t = &c->types[i];
		const struct conf_type *same = conf_type_named(before, t->name, strlen(t->name));
		t->index = same && is_same_type(same, t) ? same->index : c->n_places++;
	}
}

/* ---- what differs ---- */

/* All of these compare fields a and b, of row, of the types that are given. */
typedef bool (*compare_fn)(const struct schema_row *row, const void *a, const void *b);

static bool is_same_value(const struct schema_row *row, const void *a, const void *b)
{
	return memcmp(a, b, row->width) == 0;
}

static bool is_same_text(const struct schema_row *row, const void *a, const void *b)
{
	(void)row;
	return is_same(*(char *const *)a, *(char *const *)b);
}

static bool is_same_list(const struct schema_row *row, const void *a, const void *b)
{
	char **s = *(char **const *)a, **t = *(char **const *)b;
	(void)row;
	if (!s || !t)
		return s == t;
	for (; *s && *t && strcmp(*s, *t) == 0; s++, t++)
		;
	return !*s && !*t;
}

/* By kind; the others are plain values. Not here: invalidates, which is a list of types. */
static const compare_fn compares[] = {
	[KIND_TEXT] = is_same_text,
	[KIND_KEY] = is_same_text,
	[KIND_COMMAND] = is_same_list,
	[KIND_NAMES] = is_same_list,
};

static bool clears_the_same(const struct conf_type *a, const struct conf_type *b)
{
	for (size_t i = 0; i < a->n_invalidates && i < b->n_invalidates; i++)
		if (strcmp(a->invalidates[i]->name, b->invalidates[i]->name) != 0)
			return false;
	return a->n_invalidates == b->n_invalidates;
}

static bool is_same_field(const struct schema_row *row, const struct conf_type *a, const struct conf_type *b)
{
	size_t kind = row->kind;
	if (kind == KIND_INVALIDATES)
		return clears_the_same(a, b);
	compare_fn compare = kind < sizeof(compares) / sizeof(compares[0]) && compares[kind] ? compares[kind] : is_same_value;
	return compare(row, (const char *)a + row->offset, (const char *)b + row->offset);
}

static bool is_unchanged(const struct conf_type *a, const struct conf_type *b)
{
	static const char section[] = "types.NAME";
	for (const struct schema_row *row = schema_rows; row->name; row++)
		if (strncmp(row->section, section, sizeof(section) - 1) == 0 && !is_same_field(row, a, b))
			return false;
	return true;
}

struct conf_changes conf_changes(const struct conf *c, const struct conf *before)
{
	struct conf_changes n = {.removed = before->n_types};
	for (size_t i = 0; i < c->n_types; i++) {
		const struct conf_type *t = &c->types[i];
		if (t->index >= before->n_places) {
			n.added++;
			continue;
		}
		n.removed--;
		n.changed += !is_unchanged(t, conf_type_named(before, t->name, strlen(t->name)));
	}
	return n;
}
