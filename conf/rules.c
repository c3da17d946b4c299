/* What no row can say of a configuration; see rules.h. A node that was rejected is
 * bad: here its key counts as not given, and what follows from it is not told. */
#include "rules.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "conf.h"
#include "schema.h"
#include "sql.h"
#include "yaml.h"

struct rules {
	struct conf *conf;
	const struct yaml_node *root;   /* of the file */
	struct yaml_problems *problems;
};

/* The value of key under mapping, or NULL when it is not there or bad. */
static struct yaml_node *given(const struct yaml_node *mapping, const char *key)
{
	struct yaml_node *node = yaml_tree_get(mapping, key);
	return node && !node->bad ? node : NULL;
}

/* Whether key under mapping is there and bad: what its value would be is not known. */
static bool is_bad(const struct yaml_node *mapping, const char *key)
{
	const struct yaml_node *node = yaml_tree_get(mapping, key);
	return node && node->bad;
}

/* The node that t was read from. */
static struct yaml_node *node_of(const struct rules *r, const struct conf_type *t)
{
	struct yaml_node *node = yaml_tree_get(r->root, "types")->first;
	for (unsigned i = 0; i < t->index; i++)
		node = node->next;
	return node;
}

static void check_key(struct rules *r, struct conf_type *t, const struct yaml_node *type)
{
	struct yaml_node *key = given(type, "key");
	const struct conf_type *other = r->conf->types;
	while (key && other < t && !(other->key && strcmp(other->key, t->key) == 0))
		other++;
	if (key && other < t) {
		char *name = yaml_quote(other->name);
		yaml_node_reject(key, r->problems, "key: the same as that of type %s on line %u",
			name, yaml_tree_get(node_of(r, other), "key")->at.line);
		free(name);
	}
	struct yaml_node *hash_names = given(type, "hash_names");
	if (hash_names && t->hash_names && t->exact)
		yaml_node_reject(hash_names, r->problems, "hash_names: the key has no {name} to hash");
}

/* Sets the defaults that follow other keys, and compares with them. */
static void check_limits(struct rules *r, struct conf_type *t, const struct yaml_node *type)
{
	struct yaml_node *memory_ttl = given(type, "memory_ttl");
	if (!memory_ttl)
		t->memory_ttl_ms = t->ttl_ms;
	else if (t->ttl_ms && (!t->memory_ttl_ms || t->memory_ttl_ms > t->ttl_ms))
		yaml_node_reject(memory_ttl, r->problems, "memory_ttl: %s is longer than ttl", memory_ttl->text);
	if (!given(type, "max_value"))
		t->max_value = r->conf->max_request;
	if (!given(yaml_tree_get(type, "fetch"), "timeout"))
		t->fetch.timeout_ms = r->conf->database.timeout_ms;
}

/* Node, a value of key, names a type that t means and that is not there. */
static void reject_unknown_type(struct rules *r, const struct conf_type *t, struct yaml_node *node, const char *key)
{
	const struct conf *c = r->conf;
	const char *nearest = NULL, *text = node->text ? node->text : "";
	size_t least = SIZE_MAX;
	for (size_t i = 0; i < c->n_types; i++) {
		size_t distance = schema_distance(text, c->types[i].name);
		if (&c->types[i] == t || distance >= least)
			continue;
		least = distance;
		nearest = c->types[i].name;
	}
	char *name = yaml_quote(text);
	if (nearest)
		yaml_node_reject(node, r->problems, "%s: there is no type %s; did you mean \"%s\"?", key, name, nearest);
	else
		yaml_node_reject(node, r->problems, "%s: there is no type %s", key, name);
	free(name);
}

/* The type that t is assembled from, and whether it can be. */
static void check_from(struct rules *r, struct conf_type *t, struct yaml_node *from)
{
	const struct conf_type *part = conf_type_named(r->conf, t->fetch.from, strlen(t->fetch.from));
	char *name = yaml_quote(t->fetch.from);
	if (!part)
		reject_unknown_type(r, t, from, "from");
	else if (part->exact)
		yaml_node_reject(from, r->problems, "from: type %s has no {name}, so it has no parts", name);
	else if (part->format != CONF_JSON && !is_bad(node_of(r, part), "format"))
		yaml_node_reject(from, r->problems, "from: type %s is not of format json", name);
	t->fetch.from_type = part;
	free(name);
}

/* Finds which kind of fetch it is; returns its node or NULL. */
static struct yaml_node *fetch_source(struct rules *r, struct conf_type *t, const struct yaml_node *fetch)
{
	static const char *const sources[] = {
		[CONF_FETCH_SQL] = "sql", [CONF_FETCH_EXEC] = "exec", [CONF_FETCH_ASSEMBLE] = "assemble"};
	struct yaml_node *source = NULL;
	for (int kind = CONF_FETCH_SQL; kind <= CONF_FETCH_ASSEMBLE; kind++) {
		struct yaml_node *node = yaml_tree_get(fetch, sources[kind]);
		if (node && source)
			yaml_problem_add(r->problems, node->key_at, "%s: the fetch has %s already",
				node->key, source->key);
		if (node && !source) {
			source = node;
			t->fetch.kind = (enum conf_fetch_kind)kind;
		}
	}
	if (!source)
		yaml_problem_add(r->problems, fetch->key_at, "fetch: one of sql, exec and assemble is needed");
	return source;
}

/* A command begins with a program; the rest of its words the row can judge. */
static void check_command(struct rules *r, struct yaml_node *command)
{
	struct yaml_node *program = command->first;
	if (!program)
		yaml_node_reject(command, r->problems, "exec: a program is needed");
	if (!program || program->bad)
		return;
	char *name = yaml_quote(program->text);
	if (*program->text != '/')
		yaml_node_reject(program, r->problems, "exec: %s is not an absolute path", name);
	if (strstr(program->text, "{type}") || strstr(program->text, "{name}"))
		yaml_node_reject(program, r->problems, "exec: which program runs must not depend on the key");
	free(name);
}

/* The parameters of a query. The error names one, except in what may be a URL. */
static void check_sql(struct rules *r, const struct conf_type *t, struct yaml_node *sql)
{
	unsigned uses = 0;
	char *error = NULL, *numbered = sql_number_parameters(sql->text, &uses, &error);
	if (t->fetch.kind == CONF_FETCH_ASSEMBLE && (uses || error))
		yaml_node_reject(sql, r->problems, "sql: a query for the parts takes no parameter");
	else if (error)
		yaml_node_reject(sql, r->problems, "sql: %s",
			strstr(sql->text, "://") ? "unknown parameter: the only one is :name" : error);
	free(error);
	free(numbered);
}

static void check_fetch(struct rules *r, struct conf_type *t, const struct yaml_node *type)
{
	const struct yaml_node *fetch = given(type, "fetch");
	struct yaml_node *source = fetch ? fetch_source(r, t, fetch) : NULL;
	if (!source)
		return;
	const struct yaml_node *database = yaml_tree_get(r->root, "database");
	bool database_off = r->conf->database.kind == CONF_DATABASE_OFF &&
		!is_bad(r->root, "database") && !is_bad(database, "url");
	if (t->fetch.kind != CONF_FETCH_EXEC && database_off)
		yaml_problem_add(r->problems, source->key_at, "%s: needs a database, and that is off", source->key);
	struct yaml_node *shape = given(fetch, "shape"), *exec = given(fetch, "exec"), *from = given(source, "from");
	struct yaml_node *sql = given(t->fetch.kind == CONF_FETCH_ASSEMBLE ? source : fetch, "sql");
	if (shape && t->fetch.kind != CONF_FETCH_SQL)
		yaml_problem_add(r->problems, shape->key_at, "shape: goes with sql only");
	if (exec)
		check_command(r, exec);
	if (from)
		check_from(r, t, from);
	if (sql)
		check_sql(r, t, sql);
}

/* Follows the chain of parts from t. If it comes back to t there is no first value to begin with. */
static void check_circle(struct rules *r, const struct conf_type *t)
{
	const struct conf_type *part = t->fetch.from_type;
	for (size_t i = 0; part && part != t && i < r->conf->n_types; i++)
		part = part->fetch.from_type;
	if (part != t)
		return;
	struct yaml_node *assemble = yaml_tree_get(yaml_tree_get(node_of(r, t), "fetch"), "assemble");
	char *name = yaml_quote(t->name);
	yaml_node_reject(yaml_tree_get(assemble, "from"), r->problems,
		"from: type %s would be assembled from itself", name);
	free(name);
}

/* Reports that the key of node is idle without what it needs. */
static void report_need(struct rules *r, const struct yaml_node *node, const char *what)
{
	yaml_problem_add(r->problems, node->key_at, "%s: needs %s", node->key, what);
}

/* The keys that say what becomes of an old value beside a fetched one. */
static void check_old_value(struct rules *r, const struct conf_type *t, const struct yaml_node *type)
{
	static const struct {
		const char *key;
		bool needs_end;         /* of the ttl, since it counts from there */
	} keys[] = {{"max_shrink", false}, {"stale_while_revalidate", true}, {"stale_if_error", true}, {"refresh_ahead", true}};
	bool is_endless = given(type, "ttl") && !t->ttl_ms;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		const struct yaml_node *node = given(type, keys[i].key);
		if (node && !yaml_tree_get(type, "fetch"))
			report_need(r, node, "a fetch");
		else if (node && keys[i].needs_end && is_endless)
			report_need(r, node, "a ttl that is not none");
	}
}

/* After check_limits: timeout_ms is set, or 0 where it cannot be known. */
static void check_soft_timeout(struct rules *r, const struct conf_type *t, const struct yaml_node *type)
{
	const struct yaml_node *fetch = given(type, "fetch");
	struct yaml_node *soft = given(fetch, "soft_timeout");
	if (!soft)
		return;
	if (!t->stale_if_error_ms && !is_bad(type, "stale_if_error"))
		report_need(r, soft, "stale_if_error");
	if (t->fetch.timeout_ms && t->fetch.soft_timeout_ms >= t->fetch.timeout_ms && !is_bad(fetch, "timeout"))
		yaml_node_reject(soft, r->problems, "soft_timeout: %s is not shorter than the timeout of the fetch", soft->text);
}

/* Cascades. */

static bool invalidates(const struct conf_type *t, const struct conf_type *other)
{
	for (size_t i = 0; i < t->n_invalidates; i++) {
		if (t->invalidates[i] == other)
			return true;
	}
	return false;
}

/* Adds the type that node names to those that t invalidates. */
static void add_invalidated(struct rules *r, struct conf_type *t, struct yaml_node *node)
{
	const char *text = node->text ? node->text : "";
	const struct conf_type *other = conf_type_named(r->conf, text, strlen(text));
	char *name = yaml_quote(text);
	if (!other) {
		reject_unknown_type(r, t, node, "invalidates");
	} else if (other == t) {
		yaml_node_reject(node, r->problems, "invalidates: type %s would invalidate itself", name);
	} else if (invalidates(t, other)) {
		yaml_node_reject(node, r->problems, "invalidates: %s is listed twice", name);
	} else {
		t->invalidates = xrealloc(t->invalidates, (t->n_invalidates + 1) * sizeof *t->invalidates);
		t->invalidates[t->n_invalidates++] = other;
	}
	free(name);
}

static void check_invalidates(struct rules *r, struct conf_type *t, const struct yaml_node *type)
{
	const struct yaml_node *list = given(type, "invalidates"), *debounce = given(type, "debounce");
	if (debounce && !yaml_tree_get(type, "invalidates"))
		report_need(r, debounce, "invalidates");
	for (struct yaml_node *node = list ? list->first : NULL; node; node = node->next)
		add_invalidated(r, t, node);
}

/* A way along .invalidates, from its end back to its beginning. */
struct way {
	const struct conf_type *type;
	const struct way *back;
};

/* The end of way invalidates a type that way has come by. */
static void reject_cycle(struct rules *r, const struct way *way, const struct conf_type *again)
{
	const struct yaml_node *list = yaml_tree_get(node_of(r, way->type), "invalidates");
	struct yaml_node *node = list->first;
	while (!node->text || strcmp(node->text, again->name) != 0)
		node = node->next;
	char *text = xstrdup(again->name);
	for (bool is_closed = false; !is_closed; way = way->back) {
		char *longer = xasprintf("%s -> %s", way->type->name, text);
		free(text);
		text = longer;
		is_closed = way->type == again;
	}
	yaml_node_reject(node, r->problems, "invalidates: %s is a cycle", text);
	free(text);
}

enum { UNSEEN, ON_THE_WAY, SEEN };

/* Goes on from the end of way. state is one of the above for each type. */
static void find_cycles(struct rules *r, const struct way *way, unsigned char *state)
{
	const struct conf_type *t = way->type;
	state[t->index] = ON_THE_WAY;
	for (size_t i = 0; i < t->n_invalidates; i++) {
		const struct conf_type *next = t->invalidates[i];
		if (state[next->index] == ON_THE_WAY)
			reject_cycle(r, way, next);
		else if (state[next->index] == UNSEEN)
			find_cycles(r, &(struct way){next, way}, state);
	}
	state[t->index] = SEEN;
}

static void check_cycles(struct rules *r)
{
	const struct conf *c = r->conf;
	unsigned char *state = xcalloc(c->n_types, 1);
	for (size_t i = 0; i < c->n_types; i++) {
		if (state[i] == UNSEEN)
			find_cycles(r, &(struct way){&c->types[i], NULL}, state);
	}
	free(state);
}

/* Warm lists. */

static bool is_listed_before(const struct yaml_node *list, const struct yaml_node *node)
{
	for (const struct yaml_node *n = list->first; n != node; n = n->next)
		if (n->text && strcmp(n->text, node->text) == 0)
			return true;
	return false;
}

static void check_warm(struct rules *r, struct conf_type *t, const struct yaml_node *type)
{
	const struct yaml_node *list = given(type, "warm");
	for (struct yaml_node *n = list && t->key ? list->first : NULL; n; n = n->next) {
		char *name = yaml_quote(n->text ? n->text : "");
		if (n->bad || !n->text)
			;
		else if (t->exact && strcmp(n->text, t->key) != 0)
			yaml_node_reject(n, r->problems, "warm: the type has but one key, %s: name that", t->key);
		else if (!t->exact && (!*n->text || t->prefix_len + strlen(n->text) > CONF_KEY_MAX))
			yaml_node_reject(n, r->problems, "warm: %s makes no key", name);
		else if (is_listed_before(list, n))
			yaml_node_reject(n, r->problems, "warm: %s is listed twice", name);
		free(name);
	}
}

/* The whole. */

static void check_type(struct rules *r, struct conf_type *t)
{
	const struct yaml_node *type = node_of(r, t);
	check_key(r, t, type);
	check_limits(r, t, type);
	check_fetch(r, t, type);
	check_old_value(r, t, type);
	check_soft_timeout(r, t, type);
	check_invalidates(r, t, type);
	check_warm(r, t, type);
}

void rules_apply(struct conf *c, const struct yaml_node *root, struct yaml_problems *problems)
{
	struct rules r = {c, root, problems};
	for (size_t i = 0; i < c->n_types; i++)
		check_type(&r, &c->types[i]);
	for (size_t i = 0; i < c->n_types; i++)
		check_circle(&r, &c->types[i]);
	check_cycles(&r);
}
