/* The catalog: making it, keys, and what only looks; see catalog.h. Reading a key that
 * memory does not have is flight.c's. */
#include "catalog_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "check.h"
#include "clock.h"
#include "fetch.h"
#include "hashkey.h"
#include "memory.h"
#include "value.h"
#include "worker.h"

#define CPU_THREADS 2
#define CPU_QUEUE 10000
#define EXPIRE_BUCKETS 2048     /* looked at in one call: some 20 us */

/* ---- making and unmaking ---- */

static void part(void *catalog, const struct conf_type *type, const char *name, fetch_done_fn done, void *arg);

static struct memory *new_memory(const struct conf *conf)
{
	uint64_t *max_entries = xcalloc(conf->n_types + 1, sizeof(*max_entries));
	for (size_t i = 0; i < conf->n_types; i++)
		max_entries[i] = conf->types[i].max_entries;
	struct memory *m = memory_new(conf->memory_limit, max_entries, conf->n_types + 1);
	free(max_entries);
	return m;
}

struct catalog *catalog_new(struct event_base *base, const struct conf *conf)
{
	struct catalog *c = xcalloc(1, sizeof(*c));
	tiers_init(&c->tiers, conf, new_memory(conf));
	c->flights = flights_new(base, &c->tiers);
	c->tiers.cpu = workers_new(base, "cpu", CPU_THREADS, CPU_QUEUE);
	if (!c->tiers.cpu)
		goto fail;
	c->fetcher = fetcher_new(base, conf, c->tiers.cpu, part, c);
	if (!c->fetcher)
		goto fail;
	flights_set_fetcher(c->flights, c->fetcher);
	if (!conf->redis.off)
		c->tiers.redis = redis_new(base, &conf->redis);
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
	flights_close(c->flights);
	redis_free(c->tiers.redis);
	c->tiers.redis = NULL;
	fetcher_free(c->fetcher);
	workers_free(c->tiers.cpu);
	flights_free(c->flights);
	memory_free(c->tiers.memory);
	tiers_fini(&c->tiers);
	free(c);
}

const struct memory *catalog_memory(const struct catalog *c)
{
	return c->tiers.memory;
}

const struct conf *catalog_conf(const struct catalog *c)
{
	return c->tiers.conf;
}

/* ---- keys ---- */

static const char *hash_name(const struct conf_type *type, const char *data, size_t len, struct key_room **room, struct key *key)
{
	static char error[128];
	char hex[HASHKEY_LEN + 1];
	const char *reason;
	if (hashkey(hex, data + type->prefix_len, len - type->prefix_len, &reason) < 0) {
		snprintf(error, sizeof(error), "ERR invalid key: the name begins like JSON but is not: %s", reason);
		return error;
	}
	char *made = key_room_add(room, type->prefix_len + HASHKEY_LEN);
	memcpy(made, data, type->prefix_len);
	memcpy(made + type->prefix_len, hex, HASHKEY_LEN);
	*key = key_of(made, type->prefix_len + HASHKEY_LEN);
	return NULL;
}

const char *catalog_key(struct catalog *c, const char *data, size_t len, struct key_room **room, struct key *key)
{
	if (len == 0)
		return "ERR invalid key: empty";
	if (len > CONF_KEY_MAX)
		return "ERR invalid key: longer than 4096 bytes";
	if (memchr(data, '\0', len))
		return "ERR invalid key: contains a NUL byte";
	if (len >= strlen(CONF_OWN_PREFIX) && memcmp(data, CONF_OWN_PREFIX, strlen(CONF_OWN_PREFIX)) == 0)
		return "ERR invalid key: keys that begin with " CONF_OWN_PREFIX " are the daemon's own";
	if (memchr(data, '{', len) || memchr(data, '[', len)) {
		const struct conf_type *type = conf_match(c->tiers.conf, data, len);
		if (type && type->hash_names && strchr("{[", data[type->prefix_len]))
			return hash_name(type, data, len, room, key);
	}
	*key = key_of(data, len);
	return NULL;
}

const struct conf_type *catalog_type(struct catalog *c, const struct key *key)
{
	return tiers_type(&c->tiers, key);
}

/* ---- reading ---- */

static void found_in_memory(const struct memory_entry *e, struct outcome *o)
{
	*o = (struct outcome){
		.status = e->value ? OUTCOME_FOUND : OUTCOME_ABSENT, .value = e->value,
		.number = e->value ? (int64_t)e->value->len : 0,
		.ttl_ms = e->expires_ms ? e->expires_ms - clock_ms() : -1, .age_ms = clock_ms() - e->stored_ms,
		.tier = "memory", .source = e->source};
}

const struct memory_entry *catalog_hit(struct catalog *c, const struct key *key)
{
	const struct memory_entry *e = memory_get(c->tiers.memory, key, clock_ms());
	if (e)
		++*(e->value ? &c->tiers.counters[e->type].memory_hits : &c->tiers.counters[e->type].absent_hits);
	return e;
}

void catalog_get(struct catalog *c, const struct key *key, enum read_mode mode, outcome_fn done, void *arg)
{
	const struct memory_entry *e = mode == READ_REFRESH ? NULL : catalog_hit(c, key);
	if (e) {
		struct outcome o;
		found_in_memory(e, &o);
		if (o.value)
			value_ref(o.value); /* done may change the key */
		done(arg, &o);
		value_unref(o.value);
		return;
	}
	const struct conf_type *type = tiers_type(&c->tiers, key);
	if (mode == READ_REFRESH && type->fetch.kind == CONF_FETCH_NONE) {
		done(arg, &(struct outcome){.status = OUTCOME_ERROR, .error = "ERR the key's type has no fetch"});
		return;
	}
	tiers_count(&c->tiers, type)->misses++;
	flights_read(c->flights, type, key, mode, done, arg);
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

static void part(void *catalog, const struct conf_type *type, const char *name, fetch_done_fn done, void *arg)
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

static void on_probed(void *arg, const struct redis_result *r)
{
	struct probe *p = arg;
	char error[CATALOG_ERROR_MAX];
	struct outcome o = {.status = OUTCOME_FOUND, .number = r->number, .ttl_ms = r->ttl_ms, .tier = "redis"};
	if (r->status == REDIS_WRONGTYPE)
		o = (struct outcome){.status = OUTCOME_ERROR, .error = r->error};
	else if (r->status != REDIS_OK || r->ttl_ms == -2)
		o = catalog_without_redis(p->is_declared, r, error);
	p->done(p->arg, &o);
	free(p);
}

void catalog_probe(struct catalog *c, const struct key *key, outcome_fn done, void *arg)
{
	const struct memory_entry *e = memory_peek(c->tiers.memory, key, clock_ms());
	const struct conf_type *type = tiers_type(&c->tiers, key);
	if (e) {
		struct outcome o;
		found_in_memory(e, &o);
		done(arg, &o);
	} else if (tiers_has_redis(&c->tiers, type)) {
		struct probe *p = xmalloc(sizeof(*p));
		*p = (struct probe){.is_declared = tiers_is_declared(&c->tiers, type), .done = done, .arg = arg};
		redis_probe(c->tiers.redis, key, on_probed, p);
	} else if (tiers_is_declared(&c->tiers, type)) {
		done(arg, &(struct outcome){.status = OUTCOME_ABSENT});
	} else {
		done(arg, &(struct outcome){.status = OUTCOME_ERROR, .error = CATALOG_REDIS_IS_OFF});
	}
}

/* ---- housekeeping ---- */

void catalog_expire_some(struct catalog *c)
{
	memory_expire(c->tiers.memory, clock_ms(), EXPIRE_BUCKETS);
}
