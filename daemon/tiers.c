/* The tiers and the rules they share; see tiers.h. */
#include "tiers.h"

#include <stddef.h>
#include <stdlib.h>

#include "../proto/buf.h"
#include "clock.h"
#include "redis.h"

#define COUNTER(field, help) {#field, offsetof(struct type_counters, field), help}

const struct counter tiers_counters[] = {
	COUNTER(memory_hits, "requests answered from memory"),
	COUNTER(redis_hits, "requests answered from Redis"),
	COUNTER(absent_hits, "requests answered by a remembered absence"),
	COUNTER(misses, "requests that memory could not answer"),
	COUNTER(fetches, "fetches begun"),
	COUNTER(fetched, "fetches that brought a value"),
	COUNTER(fetch_absent, "fetches that found that the key does not exist"),
	COUNTER(fetch_failures, "fetches that failed"),
	COUNTER(fenced, "fills not stored because the key changed meanwhile"),
	COUNTER(refused_empty, "fetched values refused as empty"),
	COUNTER(refused_json, "values refused as not JSON"),
	COUNTER(oversize, "values over max_value: SET refused, fetch not stored"),
	COUNTER(sets, "values written by clients"),
	COUNTER(drops, "keys named by DEL or found by INVALIDATE"),
	COUNTER(redis_failures, "reads and writes of Redis that failed"),
	COUNTER(timeouts, "requests that passed their deadline"),
};
const size_t tiers_n_counters = sizeof(tiers_counters) / sizeof(tiers_counters[0]);

void tiers_init(struct tiers *t, const struct conf *conf, struct memory *memory)
{
	*t = (struct tiers){.conf = conf, .memory = memory};
	t->undeclared = (struct conf_type){.name = "undeclared", .index = (unsigned)conf->n_types,
		.in_redis = true, .max_value = conf->max_request};
	t->counters = xcalloc(conf->n_types + 1, sizeof(*t->counters));
}

void tiers_fini(struct tiers *t)
{
	free(t->counters);
}

const struct conf_type *tiers_type(const struct tiers *t, const struct key *key)
{
	const struct conf_type *type = conf_match(t->conf, key->data, key->len);
	return type ? type : &t->undeclared;
}

bool tiers_is_declared(const struct tiers *t, const struct conf_type *type)
{
	return type != &t->undeclared;
}

struct type_counters *tiers_count(struct tiers *t, const struct conf_type *type)
{
	return &t->counters[type->index];
}

bool tiers_has_redis(const struct tiers *t, const struct conf_type *type)
{
	return type->in_redis && t->redis;
}

bool tiers_reaches_redis(const struct tiers *t, const struct conf_type *type)
{
	return tiers_has_redis(t, type) && redis_up(t->redis);
}

int64_t tiers_ttl_ms(const struct conf_type *type)
{
	double part = type->jitter * ((double)random() / ((double)RAND_MAX + 1));
	return type->ttl_ms - (int64_t)(part * (double)type->ttl_ms);
}

static int64_t end_ms(int64_t span_ms)
{
	return span_ms ? clock_ms() + span_ms : 0;
}

int tiers_remember(struct tiers *t, const struct conf_type *type, const struct key *key,
	struct value *value, int64_t ttl_ms, enum source source)
{
	if (!type->in_memory)
		return -1;
	return memory_put(t->memory, key, &(struct memory_item){
		.type = type->index, .source = source, .value = value,
		.stored_ms = clock_ms(), .expires_ms = end_ms(ttl_ms), .until_ms = tiers_has_redis(t, type) ? end_ms(type->memory_ttl_ms) : 0});
}

void tiers_remember_absent(struct tiers *t, const struct conf_type *type, const struct key *key)
{
	if (type->in_memory && type->negative_ttl_ms)
		(void)memory_put(t->memory, key, &(struct memory_item){ /* no room: the next GET asks again */
			.type = type->index, .source = SOURCE_FETCH,
			.stored_ms = clock_ms(), .expires_ms = end_ms(type->negative_ttl_ms)});
}

bool tiers_forget(struct tiers *t, const struct key *key)
{
	fence_break(&t->fences, key);
	return memory_drop(t->memory, key, clock_ms());
}
