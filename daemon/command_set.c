/* Commands that write values: SET and its kin, MSET. Each checks its words, then asks the
 * catalog. */
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "command.h"
#include "command_options.h"
#include "value.h"

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

/* A SET on its way: its value is judged, then written. */
struct setting {
	struct slot *slot;
	struct catalog *catalog;
	struct key key;                 /* owned */
	struct value *value;
	struct catalog_set how;
	void (*render)(struct slot *slot, const struct setting *s, const struct outcome *o);
};

static void setting_end(struct setting *s, const struct outcome *o)
{
	if (o->status == OUTCOME_ERROR)
		reply_add_error(&s->slot->out.bytes, o->error);
	else
		s->render(s->slot, s, o);
	slot_done(s->slot);
	value_unref(s->value);
	free((char *)s->key.data);
	free(s);
}

static void on_set(void *arg, const struct outcome *o)
{
	setting_end(arg, o);
}

static void on_judged(void *arg, const char *error)
{
	struct setting *s = arg;
	if (error)
		setting_end(s, &(struct outcome){.status = OUTCOME_ERROR, .error = error});
	else
		catalog_set(s->catalog, &s->key, s->value, &s->how, on_set, s);
}

static void render_set(struct slot *slot, const struct setting *s, const struct outcome *o)
{
	if (s->how.wants_old && o->value)
		out_add_value(&slot->out, o->value);
	else if (s->how.wants_old || o->status == OUTCOME_ABSENT)
		reply_add_null(&slot->out.bytes, slot->resp);
	else
		reply_add_simple(&slot->out.bytes, "OK");
}

static void render_setnx(struct slot *slot, const struct setting *s, const struct outcome *o)
{
	(void)s;
	reply_add_integer(&slot->out.bytes, o->status == OUTCOME_FOUND);
}

/* ---- SET and its kin ---- */

static void set_value(struct call *call, const struct key *key, struct value *v, const struct catalog_set *how,
	void (*render)(struct slot *slot, const struct setting *s, const struct outcome *o))
{
	const char *error;
	if (catalog_set_now(call->server->catalog, key, v, how, &error)) {
		if (error)
			call_error(call, error);
		else
			call_ok(call);
		return;
	}
	struct setting *s = xmalloc(sizeof(*s));
	*s = (struct setting){.slot = call_defer(call), .catalog = call->server->catalog, .key = key_dup(key),
		.value = value_ref(v), .how = *how, .render = render};
	catalog_judge(s->catalog, &s->key, v, on_judged, s);
}

static void set(struct call *call, size_t value_at, const struct catalog_set *how,
	void (*render)(struct slot *slot, const struct setting *s, const struct outcome *o))
{
	struct key_room *room = NULL;
	struct key key;
	struct value *v = NULL;
	if (call_key(call, 1, &room, &key))
		v = value_arg(call, value_at);
	if (v)
		set_value(call, &key, v, how, render);
	value_unref(v);
	key_room_free(room);
}

void command_set(struct call *call)
{
	struct options r = {0};
	if (!options_read(call, 3, OPTION_OF_SET, &r))
		return;
	struct catalog_set how = {.condition = r.condition, .wants_old = r.wants_old};
	if (r.ttl && r.ttl->kind == OPTION_KEEPTTL) {
		how.ttl = CATALOG_TTL_KEPT;
	} else if (r.ttl) {
		struct time_arg t = r.ttl->time;
		if (!time_take(call, r.time_at, &t))
			return;
		how = (struct catalog_set){.condition = r.condition, .wants_old = r.wants_old, .ttl = CATALOG_TTL_GIVEN,
			.ttl_ms = t.ttl_ms, .ends_at_ms = t.ends_at_ms};
	}
	set(call, 2, &how, render_set);
}

static void set_with_ttl(struct call *call, int64_t unit_ms)
{
	struct time_arg t = {.unit_ms = unit_ms, .must_be_positive = true};
	if (time_take(call, 2, &t))
		set(call, 3, &(struct catalog_set){.ttl = CATALOG_TTL_GIVEN, .ttl_ms = t.ttl_ms}, render_set);
}

void command_setex(struct call *call)
{
	set_with_ttl(call, 1000);
}

void command_psetex(struct call *call)
{
	set_with_ttl(call, 1);
}

void command_setnx(struct call *call)
{
	set(call, 2, &(struct catalog_set){.condition = REDIS_IF_ABSENT}, render_setnx);
}

void command_getset(struct call *call)
{
	set(call, 2, &(struct catalog_set){.wants_old = true}, render_set);
}

/* ---- MSET: all values are judged before any is written ---- */

struct many {
	struct slot *slot;
	struct catalog *catalog;
	struct key_room *room;
	struct key *keys;
	char *key_bytes;                /* of the keys, once the call is over */
	size_t n, owed;
	char *error;                    /* the first */
	struct value *values[];
};

static void many_free(struct many *m)
{
	for (size_t i = 0; i < m->n; i++)
		value_unref(m->values[i]);
	key_room_free(m->room);
	free(m->keys);
	free(m->key_bytes);
	free(m->error);
	free(m);
}

static void note_error(struct many *m, const char *error)
{
	if (error && !m->error)
		m->error = xstrdup(error);
}

static void many_end(struct many *m)
{
	if (m->error)
		reply_add_error(&m->slot->out.bytes, m->error);
	else
		reply_add_simple(&m->slot->out.bytes, "OK");
	slot_done(m->slot);
	many_free(m);
}

static void on_one_set(void *arg, const struct outcome *o)
{
	struct many *m = arg;
	note_error(m, o->status == OUTCOME_ERROR ? o->error : NULL);
	if (--m->owed == 0)
		many_end(m);
}

static void on_one_judged(void *arg, const char *error)
{
	struct many *m = arg;
	note_error(m, error);
	if (--m->owed > 0)
		return;
	if (m->error) {
		many_end(m);
		return;
	}
	m->owed = m->n + 1;
	for (size_t i = 0; i < m->n; i++)
		catalog_set(m->catalog, &m->keys[i], m->values[i], &(struct catalog_set){0}, on_one_set, m);
	on_one_set(m, &(struct outcome){.status = OUTCOME_FOUND});
}

/* The request goes with the end of the call: the keys need bytes of their own. */
static void keep_key_bytes(struct many *m)
{
	size_t len = 0;
	for (size_t i = 0; i < m->n; i++)
		len += m->keys[i].len;
	char *to = m->key_bytes = xmalloc(len);
	for (size_t i = 0; i < m->n; to += m->keys[i++].len)
		m->keys[i].data = memcpy(to, m->keys[i].data, m->keys[i].len);
}

void command_mset(struct call *call)
{
	size_t n;
	struct key_room *room = NULL;
	if (call->argc % 2 == 0) {
		call_error(call, "ERR wrong number of arguments for 'mset' command");
		return;
	}
	struct key *keys = call_keys(call, 2, &n, &room);
	if (!keys) {
		key_room_free(room);
		return;
	}
	struct many *m = xcalloc(1, sizeof(*m) + n * sizeof(m->values[0]));
	*m = (struct many){.catalog = call->server->catalog, .room = room, .keys = keys, .n = n, .owed = n + 1};
	for (size_t i = 0; i < n; i++)
		if (!(m->values[i] = value_arg(call, 2 + 2 * i))) {
			many_free(m);
			return;
		}
	keep_key_bytes(m);
	m->slot = call_defer(call);
	for (size_t i = 0; i < n; i++)
		catalog_judge(m->catalog, &m->keys[i], m->values[i], on_one_judged, m);
	on_one_judged(m, NULL);
}
