/* What is common to running commands; see command.h. */
#include "command.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "histogram.h"

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* In any case. (strncasecmp, which asks the locale, took a good part of the time of a hit.) */
static bool is_word(const char *data, size_t len, const char *word)
{
	size_t i = 0;
	while (i < len && word[i] && lower(data[i]) == lower(word[i]))
		i++;
	return i == len && !word[i];
}

static const struct command *find_in(const struct command *table, const char *name, size_t len)
{
	for (const struct command *c = table; c->name; c++)
		if (is_word(name, len, c->name))
			return c;
	return NULL;
}

const struct command *command_find(const char *name, size_t len)
{
	return len ? find_in(commands, name, len) : NULL;
}

const struct command *command_find_sub(const struct command *parent, const char *name, size_t len)
{
	return parent->sub && len ? find_in(parent->sub, name, len) : NULL;
}

/* ---- measuring ---- */

size_t command_count_rows(void)
{
	size_t n = 0;
	while (commands[n].name)
		n++;
	return n;
}

bool command_is_measured(const struct command *row)
{
	return row && !(row->flags & (COMMAND_PASSED | COMMAND_REFUSED));
}

struct histogram *command_latency(const struct call *call)
{
	const struct server *s = call->server;
	return command_is_measured(call->row) ? &s->latency[call->row - commands] : s->latency_of_others;
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
	return is_word(a->data, a->len, word);
}

bool call_integer_arg(struct call *call, size_t i, int64_t *n)
{
	bool is_good = request_integer(&call->argv[i], n);
	if (!is_good)
		call_error(call, "ERR value is not an integer or out of range");
	return is_good;
}

bool call_key(struct call *call, size_t i, struct key_room **room, struct key *key)
{
	const char *error = catalog_key(call->server->catalog, call->argv[i].data, call->argv[i].len, room, key);
	if (error)
		call_error(call, error);
	return !error;
}

struct key *call_keys(struct call *call, size_t step, size_t *n, struct key_room **room)
{
	struct key *keys = xcalloc((call->argc - 1 + step - 1) / step, sizeof(*keys));
	*n = 0;
	for (size_t i = 1; i < call->argc; i += step)
		if (!call_key(call, i, room, &keys[(*n)++])) {
			free(keys);
			return NULL;
		}
	return keys;
}

int call_shown(const struct request_arg *a)
{
	return (int)(a->len < CALL_SHOWN_MAX ? a->len : CALL_SHOWN_MAX);
}

const char *command_lower(const char *name, char *to, size_t size)
{
	size_t i = 0;
	for (; name[i] && i + 1 < size; i++)
		to[i] = lower(name[i]);
	to[i] = '\0';
	return to;
}

const char *call_who(const struct call *call, char text[CALL_WHO_MAX])
{
	const char *name = client_name(call->client);
	snprintf(text, CALL_WHO_MAX, "%s of client %llu%s%s, uid %ld", call->command->name,
		(unsigned long long)client_id(call->client), *name ? " " : "", name, (long)client_uid(call->client));
	return text;
}

void call_on_counted(void *slot, const struct outcome *o)
{
	struct slot *s = slot;
	if (o->status == OUTCOME_ERROR)
		reply_add_error(&s->out.bytes, o->error);
	else
		reply_add_integer(&s->out.bytes, o->number);
	slot_done(s);
}

/* ---- which way it goes ---- */

static bool is_declared(const struct call *call, size_t i)
{
	return i < call->argc && catalog_declares(call->server->catalog, call->argv[i].data, call->argv[i].len);
}

bool call_is_passed(const struct call *call)
{
	const struct command *c = call->command;
	if (!(c->flags & COMMAND_BOTH) || !catalog_passes(call->server->catalog))
		return false;
	size_t last = c->last_key < 0 ? call->argc + (size_t)c->last_key : (size_t)c->last_key;
	for (size_t i = (size_t)c->first_key; i <= last; i += (size_t)c->step)
		if (is_declared(call, i))
			return false;
	return true;
}

struct redis_route call_route(const struct call *call)
{
	return (struct redis_route){call->resp, client_id(call->client)};
}

bool command_is_redis(const struct call *call)
{
	const struct command *c = call->command;
	if (!catalog_passes(call->server->catalog))
		return false;
	return !c || c->flags & COMMAND_PASSED || call_is_passed(call);
}

static enum lane pass_lane(const struct command *c)
{
	return c && c->flags & COMMAND_READ ? LANE_PASS_READ : LANE_PASS_WRITE;
}

enum lane command_lane(const struct call *call)
{
	const struct command *c = call->command;
	if (client_queue(call->client) && !(c && c->flags & COMMAND_AT_ONCE))
		return LANE_NONE;
	if (!c)
		return catalog_passes(call->server->catalog) ? LANE_PASS_WRITE : LANE_NONE;
	if (c->flags & COMMAND_REFUSED)
		return LANE_NONE;
	if (c->flags & COMMAND_PASSED || call_is_passed(call))
		return pass_lane(c);
	if (c->flags & COMMAND_READ)
		return c->flags & COMMAND_FAST ? LANE_NONE : LANE_READ;
	return LANE_WRITE;
}

/* ---- running ---- */

static void add_shown(struct buf *b, const struct request_arg *a, size_t max)
{
	buf_add_char(b, '\'');
	buf_add(b, a->data, strnlen(a->data, a->len < max ? a->len : max));
	buf_add_str(b, "' ");
}

static void unknown_command(struct call *call)
{
	struct buf b = BUF_INIT;
	const struct request_arg *name = &call->argv[0];
	buf_add_str(&b, "ERR unknown command '");
	buf_add(&b, name->data, strnlen(name->data, (size_t)call_shown(name)));
	buf_add_str(&b, "', with args beginning with: ");
	size_t start = b.len;
	for (size_t i = 1; i < call->argc && b.len - start < CALL_SHOWN_MAX; i++)
		add_shown(&b, &call->argv[i], CALL_SHOWN_MAX - (b.len - start));
	buf_add_char(&b, '\0');
	call_error(call, b.data);
	buf_free(&b);
}

static void unknown_subcommand(struct call *call)
{
	char text[256];
	snprintf(text, sizeof(text), "ERR unknown subcommand '%.*s'. Try %s HELP.",
		call_shown(&call->argv[1]), call->argv[1].data, call->command->name);
	call_error(call, text);
}

/* name is "get", or "client|id". */
static void wrong_arity(struct call *call, const struct command *parent)
{
	char text[160], name[64], shown[64];
	snprintf(name, sizeof(name), "%s%s%s", parent ? parent->name : "", parent ? "|" : "", call->command->name);
	bool ends_transaction = call->command->run == command_exec; /* even if there is none */
	snprintf(text, sizeof(text), "%s wrong number of arguments for '%s' command",
		ends_transaction ? "EXECABORT Transaction discarded because of:" : "ERR", command_lower(name, shown, sizeof(shown)));
	if (ends_transaction)
		client_set_queue(call->client, NULL);
	call_error(call, text);
}

bool command_fits(const struct command *c, size_t argc)
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

static bool name_has(const struct call *call, char c)
{
	return memchr(call->argv[0].data, c, call->argv[0].len);
}

/* What Redis will judge at once is Redis's to judge. */
static bool is_redis_to_judge(const struct call *call)
{
	return !client_queue(call->client) && !call->is_queued && catalog_passes(call->server->catalog);
}

/* A name that is not in the table. In a transaction, where Redis would judge too late, only one
 * that is of a module is taken on trust. (Redis may take what stands before a NUL for the name.) */
static bool is_redis_to_know(const struct call *call)
{
	return !name_has(call, '\0') && (is_redis_to_judge(call) || (name_has(call, '.') && catalog_passes(call->server->catalog)));
}

/* What a browser sends, or can be made to send, is not answered, as in Redis (which would
 * close the connection that all share). */
static bool is_http(const struct call *call)
{
	return call_arg_is(call, 0, "POST") || call_arg_is(call, 0, "Host:");
}

static bool check_subcommand(struct call *call)
{
	const struct command *parent = call->command;
	const struct request_arg *word = &call->argv[1];
	const struct command *sub = command_find_sub(parent, word->data, word->len);
	if (!sub && parent->flags & COMMAND_PASSED && is_redis_to_judge(call))
		return true;
	if (!sub) {
		unknown_subcommand(call);
		return false;
	}
	call->command = sub;
	return true;
}

bool command_check(struct call *call)
{
	const struct command *found = command_find(call->argv[0].data, call->argv[0].len);
	call->command = call->row = found;
	if (!found && is_http(call)) {
		client_close_after_reply(call->client);
		return false;
	}
	if (!found && is_redis_to_know(call))
		return true;
	if (!found) {
		unknown_command(call);
		return false;
	}
	if (found->sub && call->argc > 1 && !check_subcommand(call))
		return false;
	const struct command *c = call->command;
	bool is_judged_here = !(c->flags & COMMAND_PASSED) || !is_redis_to_judge(call);
	if (is_judged_here && (!command_fits(c, call->argc) || !c->run)) {
		wrong_arity(call, c == found ? NULL : found);
		return false;
	}
	if (c->flags & COMMAND_ADMIN && !is_admin(call)) {
		call_error(call, "NOPERM this command is for admin.users of the configuration only");
		return false;
	}
	return true;
}

void command_run(struct call *call)
{
	bool is_good = command_check(call);
	const struct command *c = call->command;
	bool is_at_once = is_good && c && c->flags & COMMAND_AT_ONCE;
	if (client_queue(call->client) && !call->is_queued && !is_at_once) {
		if (is_good && c && c->flags & COMMAND_REFUSED) {
			c->run(call);
			is_good = false;
		}
		command_queue(call, is_good);
		return;
	}
	if (!is_good)
		return;
	/* GET looks into memory first, where only declared keys are. */
	if (!c || !c->run || (c->run != command_get && call_is_passed(call)))
		command_pass(call);
	else
		c->run(call);
}
