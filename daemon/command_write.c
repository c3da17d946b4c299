/* Commands that change keys. Each checks its words, then asks the catalog. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "command.h"
#include "value.h"

static void reply_ok(struct slot *slot, const struct outcome *o)
{
	if (o->status == OUTCOME_ERROR)
		reply_add_error(&slot->out.bytes, o->error);
	else if (o->status == OUTCOME_ABSENT)
		reply_add_null(&slot->out.bytes, slot->resp);
	else
		reply_add_simple(&slot->out.bytes, "OK");
}

static void on_done(void *arg, const struct outcome *o)
{
	reply_ok(arg, o);
	slot_done(arg);
}

/* Whether the key existed or not, a refresh that did not fail is OK. */
static void on_refreshed(void *arg, const struct outcome *o)
{
	struct slot *slot = arg;
	if (o->status == OUTCOME_ERROR)
		reply_add_error(&slot->out.bytes, o->error);
	else
		reply_add_simple(&slot->out.bytes, "OK");
	slot_done(slot);
}

static void on_counted(void *arg, const struct outcome *o)
{
	struct slot *slot = arg;
	if (o->status == OUTCOME_ERROR)
		reply_add_error(&slot->out.bytes, o->error);
	else
		reply_add_integer(&slot->out.bytes, o->number);
	slot_done(slot);
}

/* ---- SET, SETEX ---- */

/* The value of argument i: the one it was read into if it is large, else a copy.
 * A reference, or NULL and the error reply is written. */
static struct value *value_arg(struct call *call, size_t i)
{
	const struct request_arg *a = &call->argv[i];
	struct value *v = a->owner ? value_ref(a->owner) : value_copy(a->data, a->len);
	if (!v)
		call_error(call, "ERR out of memory for the value");
	return v;
}

static void invalid_expire(struct call *call, const char *command)
{
	struct buf text = BUF_INIT;
	buf_addf(&text, "ERR invalid expire time in '%s' command", command);
	buf_add_char(&text, '\0');
	call_error(call, text.data);
	buf_free(&text);
}

/* Argument i as a TTL in units of unit_ms. True and *ttl_ms, or the error reply is written. */
static bool ttl_arg(struct call *call, size_t i, int64_t unit_ms, const char *command, int64_t *ttl_ms)
{
	int64_t n;
	if (!call_integer_arg(call, i, &n))
		return false;
	if (n <= 0 || n > INT64_MAX / 4 / unit_ms) {
		invalid_expire(call, command);
		return false;
	}
	*ttl_ms = n * unit_ms;
	return true;
}

static const struct set_option {
	const char *word;
	int64_t unit_ms;                        /* takes a TTL in this unit */
	enum redis_condition condition;         /* else sets this */
} set_options[] = {
	{"EX", 1000, REDIS_ALWAYS},
	{"PX", 1, REDIS_ALWAYS},
	{"NX", 0, REDIS_IF_ABSENT},
	{"XX", 0, REDIS_IF_PRESENT},
};

static const struct set_option *set_option(const struct call *call, size_t i)
{
	for (size_t k = 0; k < sizeof(set_options) / sizeof(set_options[0]); k++)
		if (call_arg_is(call, i, set_options[k].word))
			return &set_options[k];
	return NULL;
}

/* The words behind SET key value, in any order, none twice. True, or the error reply is written. */
static bool parse_set(struct call *call, struct catalog_set *how)
{
	for (size_t i = 3; i < call->argc; i++) {
		const struct set_option *o = set_option(call, i);
		bool takes_ttl = o && o->unit_ms;
		if (!o || (takes_ttl && (how->ttl_ms || i + 1 == call->argc)) || (!takes_ttl && how->condition)) {
			call_error(call, "ERR syntax error");
			return false;
		}
		if (!takes_ttl)
			how->condition = o->condition;
		else if (!ttl_arg(call, ++i, o->unit_ms, "set", &how->ttl_ms))
			return false;
	}
	return true;
}

static void set(struct call *call, size_t value_at, const struct catalog_set *how)
{
	struct key_room *room = NULL;
	struct key key;
	if (call_key(call, 1, &room, &key)) {
		struct value *v = value_arg(call, value_at);
		if (v)
			catalog_set(call->server->catalog, &key, v, how, on_done, call_defer(call));
		value_unref(v);
	}
	key_room_free(room);
}

void command_set(struct call *call)
{
	struct catalog_set how = {0};
	if (parse_set(call, &how))
		set(call, 2, &how);
}

void command_setex(struct call *call)
{
	struct catalog_set how = {0};
	if (ttl_arg(call, 2, 1000, "setex", &how.ttl_ms))
		set(call, 3, &how);
}

/* ---- DEL, EXPIRE, REFRESH, INVALIDATE ---- */

#define WHO_MAX 128

/* The caller, for EXPLAIN. */
static const char *who(const struct call *call, char text[WHO_MAX])
{
	const char *name = client_name(call->client);
	snprintf(text, WHO_MAX, "%s of client %llu%s%s, uid %ld", call->command->name,
		(unsigned long long)client_id(call->client), *name ? " " : "", name, (long)client_uid(call->client));
	return text;
}

void command_del(struct call *call)
{
	size_t n = call->argc - 1;
	char name[WHO_MAX];
	struct key_room *room = NULL;
	struct key *keys = call_keys(call, &room);
	if (keys)
		catalog_delete(call->server->catalog, keys, n, who(call, name), on_counted, call_defer(call));
	key_room_free(room);
	free(keys);
}

void command_expire(struct call *call)
{
	struct key_room *room = NULL;
	struct key key;
	int64_t seconds;
	char name[WHO_MAX];
	if (!call_key(call, 1, &room, &key) || !call_integer_arg(call, 2, &seconds))
		goto out;
	if (seconds > INT64_MAX / 4000 || seconds < -(INT64_MAX / 4000))
		invalid_expire(call, "expire");
	else if (seconds <= 0)
		catalog_delete(call->server->catalog, &key, 1, who(call, name), on_counted, call_defer(call));
	else
		catalog_expire(call->server->catalog, &key, seconds * 1000, on_counted, call_defer(call));
out:
	key_room_free(room);
}

void command_refresh(struct call *call)
{
	struct key_room *room = NULL;
	struct key key;
	bool is_forced = call->argc == 3 && call_arg_is(call, 2, "FORCE");
	if (call->argc > 3 || (call->argc == 3 && !is_forced))
		call_error(call, "ERR syntax error");
	else if (call_key(call, 1, &room, &key))
		catalog_get(call->server->catalog, &key, is_forced ? READ_FORCE : READ_REFRESH, on_refreshed, call_defer(call));
	key_room_free(room);
}

/* Several patterns are invalidated at once; the reply is the sum. */
struct sum {
	struct slot *slot;
	size_t pending;
	int64_t number;
};

static void on_one_invalidated(void *arg, const struct outcome *o)
{
	struct sum *s = arg;
	s->number += o->number;
	if (--s->pending > 0)
		return;
	on_counted(s->slot, &(struct outcome){.status = OUTCOME_FOUND, .number = s->number});
	free(s);
}

/* All patterns are looked at before any is acted on. */
void command_invalidate(struct call *call)
{
	size_t n = call->argc - 1;
	char name[WHO_MAX];
	for (size_t i = 1; i <= n; i++) {
		const char *error = catalog_pattern_error(call->server->catalog, call->argv[i].data, call->argv[i].len);
		if (error) {
			call_error(call, error);
			return;
		}
	}
	struct sum *s = xmalloc(sizeof(*s));
	*s = (struct sum){.slot = call_defer(call), .pending = n};
	for (size_t i = 1; i <= n; i++)
		catalog_invalidate(call->server->catalog, call->argv[i].data, call->argv[i].len,
			who(call, name), on_one_invalidated, s);
}
