/* The catalog: making it, keys, and what only looks; see catalog.h. Reading a key that
 * memory does not have is flight.c's. */
#include "catalog_impl.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "check.h"
#include "clock.h"
#include "fetch.h"
#include "hashkey.h"
#include "history.h"
#include "memory.h"
#include "replay.h"
#include "value.h"
#include "worker.h"

#define CPU_THREADS 2
#define CPU_QUEUE 10000

/* ---- making and unmaking ---- */

void catalog_sweep_soon(struct catalog *c)
{
	event_add(c->sweep, &(struct timeval){.tv_sec = 0});
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct catalog *c = arg;
	(void)fd, (void)what;
	clock_update();
	bool goes_on = memory_sweep(c->tiers.memory);
	if (!goes_on && c->expires_much)
		c->expires_much = memory_expire(c->tiers.memory, clock_ms());
	if (goes_on || c->expires_much)
		catalog_sweep_soon(c);
}

void catalog_drop_prefix(struct catalog *c, const struct conf_type *type, const char *prefix, size_t len,
	memory_dropped_fn dropped, void *arg)
{
	memory_drop_prefix(c->tiers.memory, type->index, prefix, len, clock_ms(), dropped, arg);
	catalog_sweep_soon(c);
}

struct catalog *catalog_new(struct event_base *base, const struct conf *conf)
{
	struct catalog *c = xcalloc(1, sizeof(*c));
	c->base = base;
	c->sweep = evtimer_new(base, on_sweep, c);
	tiers_init(&c->tiers, conf, tiers_new_memory(conf));
	c->tiers.sweep = c->sweep;
	c->history = history_new();
	c->replay = replay_new(conf->n_places);
	c->flights = flights_new(base, &c->tiers, c->history, c->replay);
	catalog_cascades_init(c);
	c->tiers.cpu = workers_new(base, "cpu", CPU_THREADS, CPU_QUEUE);
	if (!c->tiers.cpu)
		goto fail;
	c->fetcher = fetcher_new(base, conf, c->tiers.cpu, catalog_part, c);
	if (!c->fetcher)
		goto fail;
	flights_set_fetcher(c->flights, c->fetcher);
	catalog_set_guard(c);
	if (!conf->redis.off)
		catalog_watch(c, watcher_new(c, conf));
	return c;
fail:
	catalog_free(c);
	return NULL;
}

/* Redis and the fetches first: what waits for them is answered and may still hand
 * work to the pool. */
void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	catalog_reload_cancel(c);
	catalog_cascades_fini(c);
	while (memory_sweep(c->tiers.memory))
		;
	flights_close(c->flights);
	catalog_watch_fini(c);
	fetcher_free(c->fetcher);
	workers_free(c->tiers.cpu);
	flights_free(c->flights);
	event_free(c->sweep);
	replay_free(c->replay);
	history_free(c->history);
	memory_free(c->tiers.memory);
	tiers_fini(&c->tiers);
	free(c);
}

void catalog_finish(struct catalog *c)
{
	catalog_cascades_fire(c);
}

bool catalog_awaits_redis(const struct catalog *c)
{
	return c->tiers.redis && redis_is_coming(c->tiers.redis);
}

bool catalog_is_busy(const struct catalog *c)
{
	return c->tiers.redis && redis_pending(c->tiers.redis);
}

struct memory *catalog_memory(const struct catalog *c)
{
	return c->tiers.memory;
}

struct catalog_parts catalog_parts(struct catalog *c)
{
	return (struct catalog_parts){.tiers = &c->tiers, .replay = c->replay, .flights = c->flights, .fetcher = c->fetcher};
}

/* ---- keys ---- */

/* True if the name was a JSON object or array: then *key is its HASHKEY behind the prefix. */
static bool hash_name(const struct conf_type *type, const char *data, size_t len, struct key_room **room, struct key *key)
{
	char hex[HASHKEY_LEN + 1];
	const char *name = data + type->prefix_len, *reason;
	size_t name_len = len - type->prefix_len, blanks = 0;
	while (blanks < name_len && strchr(" \t\r\n", name[blanks]))
		blanks++;
	if (blanks == name_len || !strchr("{[", name[blanks]) || name_len > CATALOG_CONTEXT_MAX
	    || hashkey(hex, name, name_len, &reason) < 0)
		return false;
	char *made = key_room_add(room, type->prefix_len + HASHKEY_LEN);
	memcpy(made, data, type->prefix_len);
	memcpy(made + type->prefix_len, hex, HASHKEY_LEN);
	*key = key_of(made, type->prefix_len + HASHKEY_LEN);
	return true;
}

const char *catalog_key(struct catalog *c, const char *data, size_t len, struct key_room **room, struct key *key)
{
	if (len == 0)
		return "ERR invalid key: empty";
	if (memchr(data, '\0', len))
		return "ERR invalid key: contains a NUL byte";
	if (len >= strlen(CONF_OWN_PREFIX) && memcmp(data, CONF_OWN_PREFIX, strlen(CONF_OWN_PREFIX)) == 0)
		return "ERR invalid key: keys that begin with " CONF_OWN_PREFIX " are the daemon's own";
	if (memchr(data, '{', len) || memchr(data, '[', len)) {
		const struct conf_type *type = conf_match(c->tiers.conf, data, len);
		if (type && type->hash_names && hash_name(type, data, len, room, key))
			return NULL;
	}
	if (len > CONF_KEY_MAX)
		return "ERR invalid key: longer than 4096 bytes";
	*key = key_of(data, len);
	return NULL;
}

const struct conf_type *catalog_type(struct catalog *c, const struct key *key)
{
	return tiers_type(&c->tiers, key);
}

/* ---- reading ---- */

/* An entry that needs a second thought. True if it may be served; a refresh behind is
 * started where it is due. It may be gone from memory then. */
static bool may_serve(struct catalog *c, const struct key *key, const struct memory_entry *e, bool refreshes)
{
	const struct conf_type *type = c->tiers.types[e->type];
	enum freshness fresh = tiers_judge(&c->tiers, type, e);
	if (fresh == FRESH_HELD || fresh == FRESH_SUSPECT)
		return false;
	if (fresh == FRESH_STALE)
		tiers_count(&c->tiers, type)->stale_hits++;
	if (fresh != FRESH_YES && refreshes && !c->is_in_transaction) /* what Redis is told for that is not the client's */
		flights_refresh(c->flights, type, key);
	return true;
}

void catalog_prefetch(const struct catalog *c, const struct key *keys, size_t n)
{
	memory_prefetch(c->tiers.memory, keys, n);
}

struct value *catalog_hit(struct catalog *c, const struct key *key, enum read_mode mode, bool *is_absent)
{
	const struct memory_entry *e = memory_get(c->tiers.memory, key, clock_ms());
	*is_absent = false;
	if (!e)
		return NULL;
	struct type_counters *count = &c->tiers.counters[e->type];
	const struct conf_type *type = c->tiers.types[e->type];
	struct value *v = memory_value(e);
	bool absent = !v;
	if (!tiers_is_fresh(&c->tiers, e, clock_ms()) && !may_serve(c, key, e, mode == READ_GET))
		return NULL;
	++*(v ? &count->memory_hits : &count->absent_hits);
	*is_absent = absent;
	tiers_tell_read(type, key, "memory", v, 0);
	return v;
}

static bool serve_from_memory(struct catalog *c, const struct key *key, enum read_mode mode, outcome_fn done, void *arg)
{
	const struct memory_entry *e = memory_get(c->tiers.memory, key, clock_ms());
	if (!e)
		return false;
	struct outcome o = tiers_outcome(e);
	const struct conf_type *type = c->tiers.types[e->type];
	struct type_counters *count = &c->tiers.counters[e->type];
	struct value *v = memory_value(e) ? value_ref(memory_value(e)) : NULL; /* what follows may change the key */
	bool serves = tiers_is_fresh(&c->tiers, e, clock_ms()) || may_serve(c, key, e, mode == READ_GET);
	if (serves) {
		++*(v ? &count->memory_hits : &count->absent_hits);
		tiers_tell_read(type, key, "memory", v, 0);
		done(arg, &o);
	}
	value_unref(v);
	return serves;
}

/* What depends on a refreshed value is to be made of the new one: so it follows it. */
struct refresh {
	struct catalog *catalog;
	const struct conf_type *type;
	struct key key;                 /* owned */
	outcome_fn done;
	void *arg;
};

static void on_refreshed(void *arg, const struct outcome *o)
{
	struct refresh *r = arg;
	if (o->status != OUTCOME_ERROR) {
		catalog_cascade(r->catalog, r->type);
		history_noted(r->catalog->history, &r->key, "a REFRESH");
	}
	r->done(r->arg, o);
	free((char *)r->key.data);
	free(r);
}

static void refresh(struct catalog *c, const struct conf_type *type, const struct key *key, const struct read_order *order)
{
	struct refresh *r = xmalloc(sizeof(*r));
	*r = (struct refresh){.catalog = c, .type = type, .key = key_dup(key), .done = order->done, .arg = order->arg};
	flights_read(c->flights, type, key, &(struct read_order){.mode = order->mode, .group = order->group, .done = on_refreshed, .arg = r});
}

/* A read within a transaction: what is not there is fetched after it. */
struct ordered {
	struct catalog *catalog;
	struct key key;                 /* owned */
	outcome_fn done;
	void *arg;
};

static void on_ordered(void *arg, const struct outcome *o)
{
	struct ordered *r = arg;
	const struct conf_type *type = tiers_type(&r->catalog->tiers, &r->key);
	bool is_good = o->status == OUTCOME_FOUND && !o->is_stale;
	if (is_good || o->status == OUTCOME_ERROR || type->fetch.kind == CONF_FETCH_NONE)
		r->done(r->arg, is_good || o->status == OUTCOME_ERROR ? o : &(struct outcome){.status = OUTCOME_ABSENT});
	else
		catalog_get(r->catalog, &r->key, READ_GET, r->done, r->arg);
	free((char *)r->key.data);
	free(r);
}

static void get_ordered(struct catalog *c, const struct key *key, outcome_fn done, void *arg)
{
	struct ordered *r = xmalloc(sizeof(*r));
	*r = (struct ordered){.catalog = c, .key = key_dup(key), .done = done, .arg = arg};
	flights_look(c->flights, tiers_type(&c->tiers, key), key, on_ordered, r);
}

void catalog_read(struct catalog *c, const struct key *key, const struct read_order *order)
{
	enum read_mode mode = order->mode;
	if (mode == READ_ORDERED) {
		get_ordered(c, key, order->done, order->arg);
		return;
	}
	bool wants_fetch = mode == READ_REFRESH || mode == READ_FORCE;
	if (!wants_fetch && serve_from_memory(c, key, mode, order->done, order->arg))
		return;
	const struct conf_type *type = tiers_type(&c->tiers, key);
	if (wants_fetch && type->fetch.kind == CONF_FETCH_NONE) {
		order->done(order->arg, &(struct outcome){.status = OUTCOME_ERROR, .error = "ERR the key's type has no fetch"});
		return;
	}
	if (wants_fetch) {
		refresh(c, type, key, order);
		return;
	}
	tiers_count(&c->tiers, type)->misses++;
	flights_read(c->flights, type, key, order);
}

void catalog_get(struct catalog *c, const struct key *key, enum read_mode mode, outcome_fn done, void *arg)
{
	catalog_read(c, key, &(struct read_order){.mode = mode, .group = -1, .done = done, .arg = arg});
}

/* How the assemble driver gets a part: a read like any other. */
struct part_order {
	fetch_done_fn done;
	void *arg;
};

static void on_part(void *arg, const struct outcome *o)
{
	struct part_order *order = arg;
	struct fetch_result r = {
		.status = o->status == OUTCOME_FOUND ? FETCH_FOUND : o->status == OUTCOME_ABSENT ? FETCH_ABSENT : FETCH_FAILED,
		.value = o->value};
	if (o->error)
		snprintf(r.error, sizeof(r.error), "%s", o->error);
	order->done(order->arg, &r);
	free(order);
}

void catalog_part(void *catalog, const struct conf_type *type, const char *name, fetch_done_fn done, void *arg)
{
	struct catalog *c = catalog;
	struct part_order *order = xmalloc(sizeof(*order));
	struct buf key_bytes = BUF_INIT;
	struct key_room *room = NULL;
	struct key key;
	*order = (struct part_order){.done = done, .arg = arg};
	buf_add(&key_bytes, type->key, type->prefix_len);
	buf_add_str(&key_bytes, name);
	const char *error = catalog_key(c, key_bytes.data, key_bytes.len, &room, &key);
	if (!error && catalog_type(c, &key)->index != type->index)
		error = "ERR the name is empty, or its key belongs to another type";
	if (error)
		on_part(order, &(struct outcome){.status = OUTCOME_ERROR, .error = error});
	else
		catalog_get(c, &key, READ_GET, on_part, order);
	buf_free(&key_bytes);
	key_room_free(room);
}

struct inspection {
	struct check check;
	void (*done)(void *arg);
	void *arg;
};

static void on_inspected(void *arg)
{
	struct inspection *i = arg;
	i->done(i->arg);
	value_unref(i->check.value);
	free(i);
}

void catalog_inspect(struct catalog *c, struct value *v, void (*done)(void *arg), void *arg)
{
	if (v->inspected) {
		done(arg);
		return;
	}
	struct inspection *i = xcalloc(1, sizeof(*i));
	*i = (struct inspection){.check.value = value_ref(v), .done = done, .arg = arg};
	check_start(&i->check, c->tiers.cpu, on_inspected, i);
}

struct probe {
	struct catalog *catalog;
	const struct conf_type *type;
	struct key key;                 /* owned */
	bool is_declared;
	outcome_fn done;
	void *arg;
};

struct outcome catalog_without_redis(bool is_declared, const struct redis_result *r, char error[CATALOG_ERROR_MAX])
{
	if (is_declared || r->status == REDIS_NIL)
		return (struct outcome){.status = OUTCOME_ABSENT};
	snprintf(error, CATALOG_ERROR_MAX, "%s%s", r->status == REDIS_DOWN ? "UNAVAILABLE redis: " : "", r->error);
	return (struct outcome){.status = OUTCOME_ERROR, .error = error};
}

int64_t catalog_left_ms(const struct catalog *c, const struct conf_type *type, const struct key *key, int64_t redis_ms)
{
	int64_t left_ms = tiers_logical_ttl_ms(type, redis_ms);
	return left_ms < 0 && history_is_foreign(c->history, key, redis_ms, tiers_window_ms(type)) ? redis_ms : left_ms;
}

struct redis_window catalog_stale(const struct catalog *c, const struct conf_type *type, const struct key *key)
{
	int64_t window_ms = tiers_window_ms(type);
	return (struct redis_window){.from_ms = history_foreign_below(c->history, key, window_ms), .below_ms = window_ms};
}

static void on_probed(void *arg, const struct redis_result *r)
{
	struct probe *p = arg;
	char error[CATALOG_ERROR_MAX];
	int64_t left_ms = catalog_left_ms(p->catalog, p->type, &p->key, r->ttl_ms);
	struct outcome o = {.status = OUTCOME_FOUND, .number = r->number, .ttl_ms = left_ms ? left_ms : -1, .tier = "redis"};
	if (r->status == REDIS_WRONGTYPE)
		o = (struct outcome){.status = OUTCOME_ERROR, .error = r->error, .ttl_ms = o.ttl_ms};
	else if (r->status != REDIS_ANSWERED)
		o = catalog_without_redis(p->is_declared, r, error);
	else if (left_ms < 0)
		o = (struct outcome){.status = OUTCOME_ABSENT};
	p->done(p->arg, &o);
	free((char *)p->key.data);
	free(p);
}

/* What is known here without asking Redis. False: it is to be asked. */
static bool probe_here(struct catalog *c, const struct conf_type *type, const struct key *key, struct outcome *o)
{
	const struct memory_entry *e = memory_peek(c->tiers.memory, key, clock_ms());
	struct value *unsent;
	int64_t expires_ms;
	bool is_newer_here = replay_knows(c->replay, type, key, &unsent, &expires_ms);
	if (!e && unsent)
		e = catalog_live(c, key);
	*o = (struct outcome){.status = OUTCOME_ABSENT};
	if (e && (is_newer_here || tiers_judge(&c->tiers, type, e) != FRESH_SUSPECT || !tiers_reaches_redis(&c->tiers, type))) {
		struct outcome held = tiers_outcome(e);
		if (!held.is_stale)
			*o = held;
		return true;
	}
	return is_newer_here;
}

void catalog_probe(struct catalog *c, const struct key *key, outcome_fn done, void *arg)
{
	const struct conf_type *type = tiers_type(&c->tiers, key);
	struct outcome o;
	if (probe_here(c, type, key, &o)) {
		done(arg, &o);
	} else if (tiers_has_redis(&c->tiers, type)) {
		struct probe *p = xmalloc(sizeof(*p));
		*p = (struct probe){.catalog = c, .type = type, .key = key_dup(key), .is_declared = tiers_is_declared(&c->tiers, type), .done = done, .arg = arg};
		redis_probe(c->tiers.redis, key, on_probed, p);
	} else if (tiers_is_declared(&c->tiers, type)) {
		done(arg, &(struct outcome){.status = OUTCOME_ABSENT});
	} else {
		done(arg, &(struct outcome){.status = OUTCOME_ERROR, .error = CATALOG_REDIS_IS_OFF});
	}
}

/* ---- housekeeping ---- */

void catalog_tick(struct catalog *c)
{
	c->expires_much = memory_expire(c->tiers.memory, clock_ms());
	if (c->expires_much || memory_is_over(c->tiers.memory))
		catalog_sweep_soon(c);
	catalog_replay_some(c);
	catalog_guard_tick(c);
	catalog_watch_tidy(c);
	fetcher_tidy(c->fetcher);
}
