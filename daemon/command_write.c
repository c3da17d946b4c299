/* Commands that change keys. Each checks its words, then asks the catalog. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "clock.h"
#include "command.h"
#include "value.h"

#define TTL_MAX_MS (INT64_MAX / 4)      /* some seventy million years */

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

/* ---- SET and its kin ---- */

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

static void invalid_expire(struct call *call)
{
	char text[96], name[32];
	snprintf(text, sizeof(text), "ERR invalid expire time in '%s' command", command_lower(call->command->name, name, sizeof(name)));
	call_error(call, text);
}

/* A time as commands take it. */
struct time_arg {
	int64_t unit_ms;
	bool is_absolute;               /* since 1970, not from now */
};

/* Argument i as the end of a TTL: true, *ttl_ms and *ends_at_ms (0 unless absolute); or the
 * error reply is written. */
static bool read_time(struct call *call, size_t i, struct time_arg kind, int64_t *ttl_ms, int64_t *ends_at_ms)
{
	int64_t n;
	if (!call_integer_arg(call, i, &n))
		return false;
	if (n > INT64_MAX / kind.unit_ms || n < INT64_MIN / kind.unit_ms
	    || (!kind.is_absolute && n * kind.unit_ms > INT64_MAX - clock_wall_ms())) {
		invalid_expire(call);
		return false;
	}
	n *= kind.unit_ms;
	*ends_at_ms = kind.is_absolute ? n : 0;
	*ttl_ms = kind.is_absolute ? n - clock_wall_ms() : n;
	if (*ttl_ms > TTL_MAX_MS) /* no clock of ours goes that far */
		*ttl_ms = TTL_MAX_MS;
	return true;
}

/* The same where Redis takes no time that is not positive. */
static bool read_positive_time(struct call *call, size_t i, struct time_arg kind, int64_t *ttl_ms, int64_t *ends_at_ms)
{
	if (!read_time(call, i, kind, ttl_ms, ends_at_ms))
		return false;
	if ((kind.is_absolute ? *ends_at_ms : *ttl_ms) > 0)
		return true;
	invalid_expire(call);
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
	{"EX", OPTION_TIME, {1000, false}, REDIS_ALWAYS, true, true},
	{"PX", OPTION_TIME, {1, false}, REDIS_ALWAYS, true, true},
	{"EXAT", OPTION_TIME, {1000, true}, REDIS_ALWAYS, true, true},
	{"PXAT", OPTION_TIME, {1, true}, REDIS_ALWAYS, true, true},
	{"KEEPTTL", OPTION_KEEPTTL, {0, false}, REDIS_ALWAYS, true, false},
	{"PERSIST", OPTION_PERSIST, {0, false}, REDIS_ALWAYS, false, true},
	{"NX", OPTION_CONDITION, {0, false}, REDIS_IF_ABSENT, true, false},
	{"XX", OPTION_CONDITION, {0, false}, REDIS_IF_PRESENT, true, false},
	{"GET", OPTION_GET, {0, false}, REDIS_ALWAYS, true, false},
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
 * contradiction, except for a TTL with a number. */
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
		if (r->ttl)
			return false;
		break;
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
		how.ttl = CATALOG_TTL_GIVEN;
		if (!read_positive_time(call, r.time_at, r.ttl->time, &how.ttl_ms, &how.ends_at_ms))
			return;
	}
	set(call, 2, &how, render_set);
}

static void set_with_ttl(struct call *call, int64_t unit_ms)
{
	struct catalog_set how = {.ttl = CATALOG_TTL_GIVEN};
	if (read_positive_time(call, 2, (struct time_arg){unit_ms, false}, &how.ttl_ms, &how.ends_at_ms))
		set(call, 3, &how, render_set);
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
		invalid_expire(call);
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
