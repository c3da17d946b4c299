/* Commands that write values and TTLs: SET and its kin, GETEX, GETDEL, EXPIRE and its kin.
 * Each checks its words, then asks the catalog. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "clock.h"
#include "command.h"
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

/* A time as commands take it, and as it was read. */
struct time_arg {
	int64_t unit_ms;
	bool is_absolute;               /* since 1970, not from now */
	bool must_be_positive;
	int64_t ttl_ms, ends_at_ms;     /* ends_at_ms: 0 unless is_absolute */
};

/* Reads argument i as the end of a TTL. False: it is none, time_error says why. */
static bool read_time(const struct call *call, size_t i, struct time_arg *t)
{
	int64_t n;
	if (!request_integer(&call->argv[i], &n) || n > INT64_MAX / t->unit_ms || n < INT64_MIN / t->unit_ms)
		return false;
	n *= t->unit_ms;
	t->ends_at_ms = t->is_absolute ? n : 0;
	t->ttl_ms = t->is_absolute && n > 0 ? n - clock_wall_ms() : n; /* before 1970 is past as it is */
	return t->is_absolute ? n > 0 || !t->must_be_positive : n <= INT64_MAX - clock_wall_ms() && (n > 0 || !t->must_be_positive);
}

static void time_error(const struct call *call, size_t i, char *text, size_t size)
{
	int64_t n;
	char name[32];
	if (request_integer(&call->argv[i], &n))
		snprintf(text, size, "ERR invalid expire time in '%s' command", command_lower(call->command->name, name, sizeof(name)));
	else
		snprintf(text, size, "ERR value is not an integer or out of range");
}

/* The same, with the error reply written. */
static bool take_time(struct call *call, size_t i, struct time_arg *t)
{
	char text[96];
	if (read_time(call, i, t))
		return true;
	time_error(call, i, text, sizeof(text));
	call_error(call, text);
	return false;
}

/* Options of SET and GETEX. */
enum option_kind { OPTION_TIME, OPTION_KEEPTTL, OPTION_PERSIST, OPTION_CONDITION, OPTION_GET };

static const struct option {
	const char *word;
	enum option_kind kind;
	struct time_arg time;
	enum redis_condition condition;
	bool of_set, of_getex;
} options[] = {
	{"EX", OPTION_TIME, {1000, false, true, 0, 0}, REDIS_ALWAYS, true, true},
	{"PX", OPTION_TIME, {1, false, true, 0, 0}, REDIS_ALWAYS, true, true},
	{"EXAT", OPTION_TIME, {1000, true, true, 0, 0}, REDIS_ALWAYS, true, true},
	{"PXAT", OPTION_TIME, {1, true, true, 0, 0}, REDIS_ALWAYS, true, true},
	{"KEEPTTL", OPTION_KEEPTTL, {0}, REDIS_ALWAYS, true, false},
	{"PERSIST", OPTION_PERSIST, {0}, REDIS_ALWAYS, false, true},
	{"NX", OPTION_CONDITION, {0}, REDIS_IF_ABSENT, true, false},
	{"XX", OPTION_CONDITION, {0}, REDIS_IF_PRESENT, true, false},
	{"GET", OPTION_GET, {0}, REDIS_ALWAYS, true, false},
};

static const struct option *find_option(const struct call *call, size_t i)
{
	for (size_t k = 0; k < sizeof(options) / sizeof(options[0]); k++)
		if (call_arg_is(call, i, options[k].word))
			return &options[k];
	return NULL;
}

/* What the options of SET or GETEX come to, before their number is read. */
struct options_read {
	const struct option *ttl;       /* EX, ..., KEEPTTL or PERSIST */
	size_t time_at;                 /* the argument with its number */
	enum redis_condition condition;
	bool wants_old;
};

/* One of them; false: it contradicts one before it. The same one again is no
 * contradiction: the last one counts. */
static bool take_option(struct options_read *r, const struct option *o)
{
	switch (o->kind) {
	case OPTION_GET:
		r->wants_old = true;
		return true;
	case OPTION_CONDITION:
		if (r->condition && r->condition != o->condition)
			return false;
		r->condition = o->condition;
		return true;
	case OPTION_TIME:
	case OPTION_KEEPTTL:
	case OPTION_PERSIST:
		if (r->ttl && r->ttl != o)
			return false;
		break;
	}
	r->ttl = o;
	return true;
}

/* Reads the words from argument i on. False: the error reply is written. */
static bool read_options(struct call *call, size_t i, bool is_getex, struct options_read *r)
{
	for (; i < call->argc; i++) {
		const struct option *o = find_option(call, i);
		bool has_number = o && o->kind == OPTION_TIME;
		if (!o || !(is_getex ? o->of_getex : o->of_set) || (has_number && i + 1 == call->argc) || !take_option(r, o)) {
			call_error(call, "ERR syntax error");
			return false;
		}
		if (has_number)
			r->time_at = ++i;
	}
	return true;
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

static void set(struct call *call, size_t value_at, const struct catalog_set *how,
	void (*render)(struct slot *slot, const struct setting *s, const struct outcome *o))
{
	struct key_room *room = NULL;
	struct key key;
	struct value *v = NULL;
	if (call_key(call, 1, &room, &key) && (v = value_arg(call, value_at))) {
		struct setting *s = xmalloc(sizeof(*s));
		*s = (struct setting){.slot = call_defer(call), .catalog = call->server->catalog, .key = key_dup(&key),
			.value = v, .how = *how, .render = render};
		catalog_judge(s->catalog, &s->key, v, on_judged, s);
	}
	key_room_free(room);
}

void command_set(struct call *call)
{
	struct options_read r = {0};
	if (!read_options(call, 3, false, &r))
		return;
	struct catalog_set how = {.condition = r.condition, .wants_old = r.wants_old};
	if (r.ttl && r.ttl->kind == OPTION_KEEPTTL) {
		how.ttl = CATALOG_TTL_KEPT;
	} else if (r.ttl) {
		struct time_arg t = r.ttl->time;
		if (!take_time(call, r.time_at, &t))
			return;
		how = (struct catalog_set){.condition = r.condition, .wants_old = r.wants_old, .ttl = CATALOG_TTL_GIVEN,
			.ttl_ms = t.ttl_ms, .ends_at_ms = t.ends_at_ms};
	}
	set(call, 2, &how, render_set);
}

static void set_with_ttl(struct call *call, int64_t unit_ms)
{
	struct time_arg t = {.unit_ms = unit_ms, .must_be_positive = true};
	if (take_time(call, 2, &t))
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

/* ---- GETEX, GETDEL, EXPIRE, PERSIST ---- */

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
	char error[96];
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
	time_error(call, time_at, bad->error, sizeof(bad->error));
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
	struct options_read r = {0};
	struct key_room *room = NULL;
	struct key key;
	if (!read_options(call, 2, true, &r))
		return;
	struct time_arg t = r.ttl ? r.ttl->time : (struct time_arg){0};
	if (!r.ttl)
		command_get(call);
	else if (!call_key(call, 1, &room, &key))
		; /* the error reply is written */
	else if (r.ttl->kind == OPTION_PERSIST)
		getex(call, &key, &(struct catalog_edit){.what = REDIS_EDIT_PERSIST, .wants_value = true});
	else if (read_time(call, r.time_at, &t))
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

/* The conditions of EXPIRE that the words from argument 3 on name: at most one of them, or
 * XX with GT or LT, which want a TTL anyway (GT always, LT not: "XXLT"). False: the error
 * reply is written. */
static bool read_condition(struct call *call, const char **condition)
{
	static const char *const words[] = {"NX", "XX", "GT", "LT"};
	bool has[4] = {false};
	for (size_t i = 3; i < call->argc; i++) {
		size_t k = 0;
		while (k < 4 && !call_arg_is(call, i, words[k]))
			k++;
		if (k == 4) {
			char text[CALL_SHOWN_MAX + 32];
			snprintf(text, sizeof(text), "ERR Unsupported option %.*s", call_shown(&call->argv[i]), call->argv[i].data);
			call_error(call, text);
			return false;
		}
		has[k] = true;
	}
	if (has[0] && (has[1] || has[2] || has[3])) {
		call_error(call, "ERR NX and XX, GT or LT options at the same time are not compatible");
		return false;
	}
	if (has[2] && has[3]) {
		call_error(call, "ERR GT and LT options at the same time are not compatible");
		return false;
	}
	*condition = has[0] ? "NX" : has[2] ? "GT" : has[3] && has[1] ? "XX LT" : has[3] ? "LT" : has[1] ? "XX" : NULL;
	return true;
}

static void expire(struct call *call, struct time_arg kind)
{
	struct key_room *room = NULL;
	struct key key;
	struct catalog_edit how = {.what = REDIS_EDIT_TTL};
	char who[CALL_WHO_MAX];
	if (!read_condition(call, &how.condition) || !take_time(call, 2, &kind) || !call_key(call, 1, &room, &key))
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
