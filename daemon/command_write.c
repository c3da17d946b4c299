/* Commands that remove or refresh: DEL, REFRESH, INVALIDATE. Each checks its words, then asks
 * the catalog. */
#include <stdlib.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "command.h"
#include "warm.h"

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

void command_del(struct call *call)
{
	size_t n;
	char name[CALL_WHO_MAX];
	struct key_room *room = NULL;
	struct key *keys = call_keys(call, 1, &n, &room);
	if (keys)
		catalog_delete(call->server->catalog, keys, n, call_who(call, name), call_on_counted, call_defer(call));
	key_room_free(room);
	free(keys);
}

void command_refresh(struct call *call)
{
	struct key_room *room = NULL;
	struct key key;
	bool is_forced = call->argc == 3 && call_arg_is(call, 2, "FORCE");
	if (call->argc > 3 || (call->argc == 3 && !is_forced))
		call_error(call, "ERR syntax error");
	else if (call_key(call, 1, &room, &key))
		catalog_read(call->server->catalog, &key, &(struct read_order){.mode = is_forced ? READ_FORCE : READ_REFRESH,
			.group = client_group(call->client), .done = on_refreshed, .arg = call_defer(call)});
	key_room_free(room);
}

/* Several patterns are invalidated at once; the reply is the sum. */
struct sum {
	struct slot *slot;
	size_t pending;
	int64_t number;
};

static void on_one(void *arg, const struct outcome *o)
{
	struct sum *s = arg;
	s->number += o->number;
	if (--s->pending > 0)
		return;
	call_on_counted(s->slot, &(struct outcome){.status = OUTCOME_FOUND, .number = s->number});
	free(s);
}

/* All patterns are looked at before any is acted on. */
void command_invalidate(struct call *call)
{
	size_t n = call->argc - 1;
	char name[CALL_WHO_MAX];
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
			call_who(call, name), on_one, s);
}

/* ---- WARM ---- */

static void on_warmed(void *arg, size_t loaded, size_t failed)
{
	struct sum *s = arg;
	(void)failed; /* the log tells */
	on_one(s, &(struct outcome){.status = OUTCOME_FOUND, .number = (int64_t)loaded});
}

/* The type that argument i names, if it has a warm list; else NULL, and the error reply is written. */
static const struct conf_type *warm_type(struct call *call, size_t i)
{
	const struct conf_type *type = conf_type_named(call->server->conf, call->argv[i].data, call->argv[i].len);
	if (type && type->warm)
		return type;
	call_error(call, type ? "ERR the type has no warm list" : "ERR no such type");
	return NULL;
}

void command_warm(struct call *call)
{
	struct server *server = call->server;
	size_t n = call->argc - 1;
	for (size_t i = 1; i <= n; i++)
		if (!warm_type(call, i))
			return;
	struct sum *s = xmalloc(sizeof(*s));
	*s = (struct sum){.slot = call_defer(call), .pending = n ? n : 1};
	if (n == 0)
		warm_start(server->warmer, server->conf, NULL, on_warmed, s);
	for (size_t i = 1; i <= n; i++)
		warm_start(server->warmer, server->conf, warm_type(call, i), on_warmed, s);
}
