/* The table of commands, and what is common to running them; see command.h.
 * The commands used most stand first: the table is searched from the top. */
#include "command.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "catalog.h"

#define ARGS_SHOWN 128          /* bytes of an unknown command and of its arguments that the error repeats */

static const struct command client_commands[] = {
	{"ID", 2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_client_id, NULL, "connection", "The number of this connection."},
	{"GETNAME", 2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_client_getname, NULL, "connection", "The name of this connection."},
	{"SETNAME", 3, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_client_setname, NULL, "connection", "Names this connection."},
	{"SETINFO", 4, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_client_ok, NULL, "connection", "Accepted: a library tells its name."},
	{"INFO", 2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_client_info, NULL, "connection", "A line about this connection."},
	{"NO-EVICT", 3, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_client_ok, NULL, "connection", "Accepted: no client is ever evicted."},
	{"NO-TOUCH", 3, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_client_ok, NULL, "connection", "Accepted."},
	{0},
};

static const struct command config_commands[] = {
	{"GET", -3, COMMAND_READ | COMMAND_FAST | COMMAND_ADMIN, 0, 0, 0, command_config_get, NULL, "server", "Settings whose Redis name matches."},
	{0},
};

static const struct command command_commands[] = {
	{"COUNT", 2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_command_count, NULL, "server", "How many commands there are."},
	{"INFO", -2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_command_info, NULL, "server", "What clients need to know of commands."},
	{"DOCS", -2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_command_docs, NULL, "server", "Summaries of commands."},
	{0},
};

const struct command commands[] = {
	{"GET", 2, COMMAND_READ, 1, 1, 1, command_get, NULL, "string", "The value: from memory, Redis, or its fetch."},
	{"MGET", -2, COMMAND_READ, 1, -1, 1, command_mget, NULL, "string", "The values of several keys."},
	{"GETIF", 3, COMMAND_READ, 1, 1, 1, command_getif, NULL, "string", "The digest, and the value unless the digest is the caller's."},
	{"SET", -3, COMMAND_WRITE, 1, 1, 1, command_set, NULL, "string", "Writes a value through all tiers."},
	{"SETEX", 4, COMMAND_WRITE, 1, 1, 1, command_setex, NULL, "string", "SET with a TTL in seconds."},
	{"DEL", -2, COMMAND_WRITE, 1, -1, 1, command_del, NULL, "generic", "Removes keys from every tier."},
	{"UNLINK", -2, COMMAND_WRITE, 1, -1, 1, command_del, NULL, "generic", "The same as DEL."},
	{"EXISTS", -2, COMMAND_READ, 1, -1, 1, command_exists, NULL, "generic", "How many of the keys are in a tier."},
	{"TTL", 2, COMMAND_READ, 1, 1, 1, command_ttl, NULL, "generic", "What is left of the TTL, in seconds."},
	{"PTTL", 2, COMMAND_READ, 1, 1, 1, command_pttl, NULL, "generic", "What is left of the TTL, in milliseconds."},
	{"EXPIRE", 3, COMMAND_WRITE, 1, 1, 1, command_expire, NULL, "generic", "Sets the TTL of a key, in seconds."},
	{"STRLEN", 2, COMMAND_READ, 1, 1, 1, command_strlen, NULL, "string", "The length of the value, in bytes."},
	{"DIGEST", 2, COMMAND_READ, 1, 1, 1, command_digest, NULL, "string", "The XXH3-64 of the value, 16 hex digits."},
	{"PEEK", 2, COMMAND_READ, 1, 1, 1, command_peek, NULL, "string", "GET without fetching."},
	{"META", 2, COMMAND_READ, 1, 1, 1, command_meta, NULL, "catalog", "What is known about the value."},
	{"EXPLAIN", 2, COMMAND_READ, 1, 1, 1, command_explain, NULL, "catalog", "What GET would do now and why, for a person."},
	{"REFRESH", -2, COMMAND_WRITE, 1, 1, 1, command_refresh, NULL, "catalog", "Fetches now and replaces the value."},
	{"INVALIDATE", -2, COMMAND_WRITE | COMMAND_ADMIN, 0, 0, 0, command_invalidate, NULL, "catalog", "DEL for a type, or for prefix*."},
	{"HASHKEY", 2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_hashkey, NULL, "catalog", "The canonical key of a request context."},
	{"PING", -1, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_ping, NULL, "connection", "PONG, or the argument."},
	{"ECHO", 2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_echo, NULL, "connection", "The argument."},
	{"HELLO", -1, COMMAND_FAST, 0, 0, 0, command_hello, NULL, "connection", "Chooses the protocol version."},
	{"SELECT", 2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_select, NULL, "connection", "There is one database, 0."},
	{"QUIT", -1, COMMAND_FAST, 0, 0, 0, command_quit, NULL, "connection", "Closes the connection."},
	{"CLIENT", -2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, NULL, client_commands, "connection", "About this connection."},
	{"STATS", -1, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_stats, NULL, "server", "Figures as JSON."},
	{"HEALTH", 1, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_health, NULL, "server", "How the daemon is, as JSON."},
	{"INFO", -1, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_info, NULL, "server", "Figures in the sections of Redis."},
	{"CONFIG", -2, COMMAND_READ | COMMAND_FAST, 0, 0, 0, NULL, config_commands, "server", "Settings."},
	{"COMMAND", -1, COMMAND_READ | COMMAND_FAST, 0, 0, 0, command_command, command_commands, "server", "What commands there are."},
	{0},
};

static const struct command *find_in(const struct command *table, const char *name, size_t len)
{
	for (const struct command *c = table; c->name; c++)
		if (((name[0] ^ c->name[0]) & 0xdf) == 0 && strlen(c->name) == len && strncasecmp(name, c->name, len) == 0)
			return c;
	return NULL;
}

const struct command *command_find(const char *name, size_t len)
{
	return len ? find_in(commands, name, len) : NULL;
}

/* ---- replies ---- */

void call_error(struct call *call, const char *text)
{
	reply_add_error(&call->out->bytes, text);
}

void call_ok(struct call *call)
{
	reply_add_simple(&call->out->bytes, "OK");
}

void call_integer(struct call *call, int64_t n)
{
	reply_add_integer(&call->out->bytes, n);
}

bool call_arg_is(const struct call *call, size_t i, const char *word)
{
	const struct request_arg *a = &call->argv[i];
	return a->len == strlen(word) && strncasecmp(a->data, word, a->len) == 0;
}

/* An integer as Redis reads it: digits with an optional minus, nothing else. */
bool call_integer_arg(struct call *call, size_t i, int64_t *n)
{
	const struct request_arg *a = &call->argv[i];
	bool negative = a->len > 0 && a->data[0] == '-';
	size_t at = negative;
	uint64_t v = 0, limit = (uint64_t)INT64_MAX + negative;
	bool good = a->len > at && a->len - at <= 19 && (a->data[at] != '0' || a->len == 1);
	for (; good && at < a->len; at++) {
		unsigned digit = (unsigned char)a->data[at] - (unsigned)'0';
		good = digit <= 9 && v <= (limit - digit) / 10;
		v = v * 10 + digit;
	}
	if (!good) {
		call_error(call, "ERR value is not an integer or out of range");
		return false;
	}
	*n = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

bool call_key(struct call *call, size_t i, struct key_room **room, struct key *key)
{
	const char *error = catalog_key(call->server->catalog, call->argv[i].data, call->argv[i].len, room, key);
	if (error)
		call_error(call, error);
	return !error;
}

struct key *call_keys(struct call *call, struct key_room **room)
{
	struct key *keys = xcalloc(call->argc - 1, sizeof(*keys));
	for (size_t i = 1; i < call->argc; i++)
		if (!call_key(call, i, room, &keys[i - 1])) {
			free(keys);
			return NULL;
		}
	return keys;
}

const char *command_lower(const char *name, char *to, size_t size)
{
	size_t i = 0;
	for (; name[i] && i + 1 < size; i++)
		to[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
	to[i] = '\0';
	return to;
}

/* ---- running ---- */

static void add_shown(struct buf *b, const struct request_arg *a, size_t max)
{
	buf_add_char(b, '\'');
	buf_add(b, a->data, a->len < max ? a->len : max);
	buf_add_str(b, "' ");
}

static void unknown_command(struct call *call)
{
	struct buf b = BUF_INIT;
	const struct request_arg *name = &call->argv[0];
	buf_add_str(&b, "ERR unknown command '");
	buf_add(&b, name->data, name->len < ARGS_SHOWN ? name->len : ARGS_SHOWN);
	buf_add_str(&b, "', with args beginning with: ");
	size_t start = b.len;
	for (size_t i = 1; i < call->argc && b.len - start < ARGS_SHOWN; i++)
		add_shown(&b, &call->argv[i], ARGS_SHOWN - (b.len - start));
	buf_add_char(&b, '\0');
	for (size_t i = 0; i + 1 < b.len; i++)
		if (b.data[i] == '\0')
			b.data[i] = ' ';
	call_error(call, b.data);
	buf_free(&b);
}

static void unknown_subcommand(struct call *call)
{
	char text[256];
	snprintf(text, sizeof(text), "ERR unknown subcommand '%.*s'. Try %s HELP.",
		(int)(call->argv[1].len < ARGS_SHOWN ? call->argv[1].len : ARGS_SHOWN), call->argv[1].data, call->command->name);
	call_error(call, text);
}

/* name is "get", or "client|id". */
static void wrong_arity(struct call *call, const struct command *parent)
{
	char text[128], name[64];
	snprintf(name, sizeof(name), "%s%s%s", parent ? parent->name : "", parent ? "|" : "", call->command->name);
	for (char *p = name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p | 0x20);
	snprintf(text, sizeof(text), "ERR wrong number of arguments for '%s' command", name);
	call_error(call, text);
}

static bool fits(const struct command *c, size_t argc)
{
	return c->arity >= 0 ? argc == (size_t)c->arity : argc >= (size_t)-c->arity;
}

static bool is_admin(const struct call *call)
{
	const struct conf *conf = call->server->conf;
	uid_t uid = client_uid(call->client);
	bool admin = uid == geteuid();
	for (size_t i = 0; i < conf->n_admin_users; i++)
		admin |= uid == conf->admin_users[i];
	return admin && uid != (uid_t)-1;
}

void command_run(struct call *call)
{
	const struct command *parent = NULL;
	call->command = command_find(call->argv[0].data, call->argv[0].len);
	if (!call->command) {
		unknown_command(call);
		return;
	}
	if (call->command->sub && call->argc > 1) {
		parent = call->command;
		const struct request_arg *word = &call->argv[1];
		const struct command *sub = word->len ? find_in(parent->sub, word->data, word->len) : NULL;
		if (!sub) {
			unknown_subcommand(call);
			return;
		}
		call->command = sub;
	}
	if (!fits(call->command, call->argc) || !call->command->run)
		wrong_arity(call, parent);
	else if (call->command->flags & COMMAND_ADMIN && !is_admin(call))
		call_error(call, "NOPERM this command is for admin.users of the configuration only");
	else
		call->command->run(call);
}
