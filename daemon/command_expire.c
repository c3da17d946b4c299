/* Commands that change what is left of a key without a new value: GETEX, GETDEL, EXPIRE and
 * its kin, PERSIST. */
#include <stdlib.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "command.h"
#include "command_options.h"

/* An edit on its way. */
struct editing {
	struct slot *slot;
	struct catalog *catalog;
	struct key key;                 /* owned */
	struct catalog_edit how;
	char who[CALL_WHO_MAX];
};

static void on_edited(void *arg, const struct outcome *o)
{
	struct editing *e = arg;
	struct buf *b = &e->slot->out.bytes;
	if (o->status == OUTCOME_ERROR)
		reply_add_error(b, o->error);
	else if (!e->how.wants_value)
		reply_add_integer(b, o->status == OUTCOME_FOUND ? o->number : 0);
	else if (o->status == OUTCOME_FOUND)
		out_add_value(&e->slot->out, o->value);
	else
		reply_add_null(b, e->slot->resp);
	slot_done(e->slot);
	free((char *)e->key.data);
	free(e);
}

static struct editing *editing_new(struct call *call, const struct key *key, const struct catalog_edit *how)
{
	struct editing *e = xcalloc(1, sizeof(*e));
	*e = (struct editing){.catalog = call->server->catalog, .key = key_dup(key), .how = *how};
	call_who(call, e->who);
	e->slot = call_defer(call);
	return e;
}

static void edit(struct call *call, const struct catalog_edit *how)
{
	struct key_room *room = NULL;
	struct key key;
	if (call_key(call, 1, &room, &key)) {
		struct editing *e = editing_new(call, &key, how);
		catalog_edit(e->catalog, &e->key, &e->how, e->who, on_edited, e);
	}
	key_room_free(room);
}

/* A key that has a fetch is had first, as by GET: then its TTL is changed. */
static void on_had(void *arg, const struct outcome *o)
{
	struct editing *e = arg;
	if (o->status == OUTCOME_FOUND)
		catalog_edit(e->catalog, &e->key, &e->how, e->who, on_edited, e);
	else
		on_edited(e, o);
}

/* Redis looks at the key before it looks at the number: so a bad number is an error only if
 * there is a string. */
struct bad_number {
	struct slot *slot;
	char error[TIME_ERROR_MAX];
};

static void on_looked_at(void *arg, const struct outcome *o)
{
	struct bad_number *bad = arg;
	if (o->status == OUTCOME_ABSENT)
		reply_add_null(&bad->slot->out.bytes, bad->slot->resp);
	else
		reply_add_error(&bad->slot->out.bytes, o->status == OUTCOME_ERROR ? o->error : bad->error);
	slot_done(bad->slot);
	free(bad);
}

static void refuse_number(struct call *call, const struct key *key, size_t time_at)
{
	struct bad_number *bad = xmalloc(sizeof(*bad));
	time_error(call, time_at, bad->error);
	bad->slot = call_defer(call);
	catalog_probe(call->server->catalog, key, on_looked_at, bad);
}

static void getex(struct call *call, const struct key *key, const struct catalog_edit *how)
{
	struct editing *e = editing_new(call, key, how);
	if (call->is_queued || catalog_type(e->catalog, key)->fetch.kind == CONF_FETCH_NONE)
		catalog_edit(e->catalog, &e->key, &e->how, e->who, on_edited, e);
	else
		catalog_read(e->catalog, &e->key, &(struct read_order){.mode = READ_GET, .group = client_group(call->client),
			.done = on_had, .arg = e});
}

void command_getex(struct call *call)
{
	struct options r = {0};
	struct key_room *room = NULL;
	struct key key;
	if (!options_read(call, 2, OPTION_OF_GETEX, &r))
		return;
	struct time_arg t = r.ttl ? r.ttl->time : (struct time_arg){0};
	if (!r.ttl)
		command_get(call);
	else if (!call_key(call, 1, &room, &key))
		; /* the error reply is written */
	else if (r.ttl->kind == OPTION_PERSIST)
		getex(call, &key, &(struct catalog_edit){.what = REDIS_EDIT_PERSIST, .wants_value = true});
	else if (time_read(call, r.time_at, &t))
		getex(call, &key, &(struct catalog_edit){.what = REDIS_EDIT_TTL, .ttl_ms = t.ttl_ms, .ends_at_ms = t.ends_at_ms, .wants_value = true});
	else
		refuse_number(call, &key, r.time_at);
	key_room_free(room);
}

void command_getdel(struct call *call)
{
	edit(call, &(struct catalog_edit){.what = REDIS_EDIT_DELETE, .wants_value = true});
}

void command_persist(struct call *call)
{
	edit(call, &(struct catalog_edit){.what = REDIS_EDIT_PERSIST});
}

static void expire(struct call *call, struct time_arg kind)
{
	struct key_room *room = NULL;
	struct key key;
	struct catalog_edit how = {.what = REDIS_EDIT_TTL};
	char who[CALL_WHO_MAX];
	if (!options_read_condition(call, &how.condition) || !time_take(call, 2, &kind) || !call_key(call, 1, &room, &key))
		goto out;
	how.ttl_ms = kind.ttl_ms;
	how.ends_at_ms = kind.ends_at_ms;
	if (how.condition || (how.ends_at_ms && how.ttl_ms > 0))
		edit(call, &how);
	else if (how.ttl_ms <= 0)
		catalog_delete(call->server->catalog, &key, 1, call_who(call, who), call_on_counted, call_defer(call));
	else
		catalog_expire(call->server->catalog, &key, how.ttl_ms, call_on_counted, call_defer(call));
out:
	key_room_free(room);
}

void command_expire(struct call *call)
{
	expire(call, (struct time_arg){.unit_ms = 1000, .is_absolute = false});
}

void command_pexpire(struct call *call)
{
	expire(call, (struct time_arg){.unit_ms = 1, .is_absolute = false});
}

void command_expireat(struct call *call)
{
	expire(call, (struct time_arg){.unit_ms = 1000, .is_absolute = true});
}

void command_pexpireat(struct call *call)
{
	expire(call, (struct time_arg){.unit_ms = 1, .is_absolute = true});
}
