/* COMMAND, and HELP of the commands that have subcommands: what the table says, for clients. What is
 * refused is not there, as far as they are concerned. */
#include <stdio.h>
#include <string.h>

#include "catalog.h"
#include "command.h"
#include "command_syntax.h"
#include "glob.h"

#define NAME_MAX_SIZE 64                /* of "client|id" */

static const struct command *next_command(const struct command *c)
{
	while (c->name && c->flags & COMMAND_REFUSED)
		c++;
	return c->name ? c : NULL;
}

#define FOR_EACH_COMMAND(c, table) \
	for (const struct command *c = next_command(table); c; c = next_command(c + 1))

#define FOR_EACH_SUB(c, parent) FOR_EACH_COMMAND(c, (parent)->sub ? (parent)->sub : &no_command)
static const struct command no_command;

static size_t count_commands(const struct command *table)
{
	size_t n = 0;
	FOR_EACH_COMMAND(c, table)
		n++;
	return n;
}

static size_t count_subs(const struct command *c)
{
	return c->sub ? count_commands(c->sub) : 0;
}

/* "get", or "client|id". */
static const char *full_name(const struct command *parent, const struct command *c, char name[NAME_MAX_SIZE])
{
	char whole[NAME_MAX_SIZE];
	snprintf(whole, sizeof(whole), "%s%s%s", parent ? parent->name : "", parent ? "|" : "", c->name);
	return command_lower(whole, name, NAME_MAX_SIZE);
}

struct found {
	const struct command *parent;   /* of a subcommand; else NULL */
	const struct command *row;      /* NULL: there is none */
};

static struct found find_full(const struct request_arg *name)
{
	const char *bar = memchr(name->data, '|', name->len);
	size_t len = bar ? (size_t)(bar - name->data) : name->len;
	struct found f = {.row = command_find(name->data, len)};
	if (bar && f.row) {
		f.parent = f.row;
		f.row = command_find_sub(f.parent, bar + 1, name->len - len - 1);
	}
	if (f.row && f.row->flags & COMMAND_REFUSED)
		f.row = NULL;
	return f;
}

/* ---- COMMAND, COMMAND INFO ---- */

static const struct {
	unsigned flag;
	const char *name;
} flag_names[] = {
	{COMMAND_READ, "readonly"}, {COMMAND_WRITE, "write"}, {COMMAND_ADMIN, "admin"}, {COMMAND_FAST, "fast"},
};
#define N_FLAGS (sizeof(flag_names) / sizeof(flag_names[0]))

static void add_flags(struct buf *b, int resp, const struct command *c)
{
	size_t n = c->more_keys != 0;
	for (size_t i = 0; i < N_FLAGS; i++)
		n += (c->flags & flag_names[i].flag) != 0;
	reply_add_set(b, resp, n);
	for (size_t i = 0; i < N_FLAGS; i++)
		if (c->flags & flag_names[i].flag)
			reply_add_simple(b, flag_names[i].name);
	if (c->more_keys)
		reply_add_simple(b, "movablekeys");
}

/* The ten fields of Redis 7, of which three (ACL categories, tips, key specifications) are empty. */
static void add_info(struct buf *b, int resp, const struct command *parent, const struct command *c)
{
	char name[NAME_MAX_SIZE];
	reply_add_array(b, 10);
	reply_add_bulk_str(b, full_name(parent, c, name));
	reply_add_integer(b, c->arity);
	add_flags(b, resp, c);
	reply_add_integer(b, c->first_key);
	reply_add_integer(b, c->last_key);
	reply_add_integer(b, c->step);
	reply_add_set(b, resp, 0);
	reply_add_set(b, resp, 0);
	reply_add_set(b, resp, 0);
	reply_add_array(b, count_subs(c));
	FOR_EACH_SUB(sub, c)
		add_info(b, resp, c, sub);
}

void command_command(struct call *call)
{
	reply_add_array(&call->out->bytes, count_commands(commands));
	FOR_EACH_COMMAND(c, commands)
		add_info(&call->out->bytes, call->resp, NULL, c);
}

void command_command_count(struct call *call)
{
	call_integer(call, (int64_t)count_commands(commands));
}

void command_command_info(struct call *call)
{
	if (call->argc == 2) {
		command_command(call);
		return;
	}
	reply_add_array(&call->out->bytes, call->argc - 2);
	for (size_t i = 2; i < call->argc; i++) {
		struct found f = find_full(&call->argv[i]);
		if (f.row)
			add_info(&call->out->bytes, call->resp, f.parent, f.row);
		else
			reply_add_null(&call->out->bytes, call->resp);
	}
}

/* ---- COMMAND DOCS ---- */

static void add_docs(struct buf *b, int resp, const struct command *parent, const struct command *c)
{
	char name[NAME_MAX_SIZE];
	size_t n_subs = count_subs(c);
	reply_add_bulk_str(b, full_name(parent, c, name));
	reply_add_map(b, resp, 2 + (size_t)(*c->syntax != '\0') + (n_subs > 0));
	reply_add_bulk_str(b, "summary");
	reply_add_bulk_str(b, c->summary);
	reply_add_bulk_str(b, "group");
	reply_add_bulk_str(b, c->group);
	if (*c->syntax) {
		reply_add_bulk_str(b, "arguments");
		command_syntax_add(b, resp, c->syntax);
	}
	if (n_subs) {
		reply_add_bulk_str(b, "subcommands");
		reply_add_map(b, resp, n_subs);
	}
	FOR_EACH_SUB(sub, c)
		add_docs(b, resp, c, sub);
}

/* Names that are not there are left out. */
void command_command_docs(struct call *call)
{
	struct buf *b = &call->out->bytes;
	size_t n = 0;
	for (size_t i = 2; i < call->argc; i++)
		n += find_full(&call->argv[i]).row != NULL;
	reply_add_map(b, call->resp, call->argc == 2 ? count_commands(commands) : n);
	for (size_t i = 2; i < call->argc; i++) {
		struct found f = find_full(&call->argv[i]);
		if (f.row)
			add_docs(b, call->resp, f.parent, f.row);
	}
	if (call->argc > 2)
		return;
	FOR_EACH_COMMAND(c, commands)
		add_docs(b, call->resp, NULL, c);
}

/* ---- COMMAND LIST ---- */

struct names {
	const struct request_arg *pattern;      /* NULL: all */
	struct buf bytes;
	size_t n;
};

static void list_name(struct names *l, const struct command *parent, const struct command *c)
{
	char name[NAME_MAX_SIZE];
	full_name(parent, c, name);
	if (l->pattern && !glob_matches(l->pattern->data, l->pattern->len, name, strlen(name), true))
		return;
	reply_add_bulk_str(&l->bytes, name);
	l->n++;
}

/* FILTERBY MODULE, ACLCAT or PATTERN: there are neither modules nor categories, so nothing is of one. */
void command_command_list(struct call *call)
{
	struct names l = {.bytes = BUF_INIT};
	bool has_filter = call->argc == 5 && call_arg_is(call, 2, "FILTERBY");
	bool is_empty = has_filter && (call_arg_is(call, 3, "MODULE") || call_arg_is(call, 3, "ACLCAT"));
	if (has_filter && call_arg_is(call, 3, "PATTERN"))
		l.pattern = &call->argv[4];
	if (call->argc > 2 && !is_empty && !l.pattern) {
		call_error(call, "ERR syntax error");
		return;
	}
	FOR_EACH_COMMAND(c, is_empty ? &no_command : commands) {
		list_name(&l, NULL, c);
		FOR_EACH_SUB(sub, c)
			list_name(&l, c, sub);
	}
	reply_add_array(&call->out->bytes, l.n);
	buf_add(&call->out->bytes, l.bytes.data, l.bytes.len);
	buf_free(&l.bytes);
}

/* ---- COMMAND GETKEYS ---- */

static void reply_keys(struct call *call, const struct call *about)
{
	struct key_spans keys = command_key_spans(about);
	size_t n = 0;
	for (size_t i = 0; i < keys.n; i++)
		n += (keys.spans[i].end - keys.spans[i].first + keys.spans[i].step - 1) / keys.spans[i].step;
	bool may_have_none = strcmp(about->command->group, "scripting") == 0;
	if ((n == 0 || keys.is_short) && !may_have_none) {
		call_error(call, "ERR Invalid arguments specified for command");
		return;
	}
	reply_add_array(&call->out->bytes, keys.is_short ? 0 : n);
	for (size_t s = 0; s < keys.n && !keys.is_short; s++)
		for (size_t i = keys.spans[s].first; i < keys.spans[s].end; i += keys.spans[s].step)
			reply_add_bulk(&call->out->bytes, about->argv[i].data, about->argv[i].len);
}

/* What the table does not have is Redis's to tell. */
void command_command_getkeys(struct call *call)
{
	if (call->argc < 4) {
		call_error(call, "ERR wrong number of arguments for 'command|getkeys' command");
		return;
	}
	struct call about = *call;
	about.argv += 2;
	about.argc -= 2;
	about.first = NULL;
	about.command = command_find(about.argv[0].data, about.argv[0].len);
	if (about.command && about.command->sub)
		about.command = command_find_sub(about.command, about.argv[1].data, about.argv[1].len);
	const struct command *c = about.command;
	if (!c || c->flags & COMMAND_REFUSED) {
		if (catalog_passes(call->server->catalog))
			command_pass(call);
		else
			call_error(call, "ERR Invalid command specified");
	} else if (!c->first_key && !c->more_keys) {
		call_error(call, "ERR The command has no key arguments");
	} else if (!command_fits(c, about.argc)) {
		call_error(call, "ERR Invalid number of arguments specified for command");
	} else {
		reply_keys(call, &about);
	}
}

/* ---- HELP ---- */

static void add_help(struct buf *b, const struct command *c, const char *name)
{
	char line[192];
	snprintf(line, sizeof(line), "%s%s%s", name, *c->syntax ? " " : "", c->syntax);
	reply_add_simple(b, line);
	snprintf(line, sizeof(line), "    %s", c->summary);
	reply_add_simple(b, line);
}

/* In Redis's form: simple strings, two for each subcommand. HELP itself comes last. */
void command_help(struct call *call)
{
	struct buf *b = &call->out->bytes;
	const struct command *parent = call->row;
	char line[96];
	reply_add_array(b, 1 + 2 * (count_subs(parent) + (parent->run != NULL)));
	snprintf(line, sizeof(line), "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", parent->name);
	reply_add_simple(b, line);
	if (parent->run)
		add_help(b, parent, "(no subcommand)");
	FOR_EACH_SUB(sub, parent)
		if (sub != call->command)
			add_help(b, sub, sub->name);
	add_help(b, call->command, call->command->name);
}
