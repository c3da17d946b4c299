/* The catalog's figures for STATS and INFO; see catalog.h. */
#include <cjson/cJSON.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "replay.h"

static cJSON *type_stats(struct catalog *c, const struct conf_type *type)
{
	const struct memory_type_stats *m = memory_type_stats(c->tiers.memory, type->index);
	const char *counters = (const char *)tiers_count(&c->tiers, type);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "entries", (double)m->entries);
	cJSON_AddNumberToObject(o, "bytes", (double)m->bytes);
	cJSON_AddNumberToObject(o, "evictions", (double)m->evictions);
	cJSON_AddNumberToObject(o, "expired", (double)m->expired);
	for (size_t i = 0; i < tiers_n_counters; i++)
		cJSON_AddNumberToObject(o, tiers_counters[i].name,
			(double)*(const uint64_t *)(const void *)(counters + tiers_counters[i].offset));
	return o;
}

static cJSON *redis_figures(struct catalog *c)
{
	cJSON *o = cJSON_CreateObject();
	struct redis *redis = c->tiers.redis;
	cJSON_AddStringToObject(o, "state", !redis ? "off" : redis_up(redis) ? "up" : "down");
	if (!redis)
		return o;
	const struct redis_stats *s = redis_stats(redis);
	cJSON_AddStringToObject(o, "reason", redis_reason(redis));
	cJSON_AddNumberToObject(o, "commands", (double)s->commands);
	cJSON_AddNumberToObject(o, "errors", (double)s->errors);
	cJSON_AddNumberToObject(o, "timeouts", (double)s->timeouts);
	cJSON_AddNumberToObject(o, "connects", (double)s->connects);
	cJSON_AddNumberToObject(o, "drops", (double)s->drops);
	cJSON_AddNumberToObject(o, "pending", (double)s->pending);
	return o;
}

static cJSON *memory_figures(struct catalog *c)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "bytes", (double)memory_bytes(c->tiers.memory));
	cJSON_AddNumberToObject(o, "limit", (double)memory_limit(c->tiers.memory));
	cJSON_AddNumberToObject(o, "entries", (double)memory_entries(c->tiers.memory));
	return o;
}

struct cJSON *catalog_replay_figures(const struct catalog *c)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "keys", (double)replay_count(c->replay));
	cJSON_AddNumberToObject(o, "bytes", (double)replay_bytes(c->replay));
	cJSON_AddNumberToObject(o, "clears", (double)replay_clears(c->replay));
	cJSON_AddNumberToObject(o, "lost", (double)replay_lost(c->replay));
	return o;
}

struct cJSON *catalog_stats(struct catalog *c, const struct conf_type *type)
{
	if (type)
		return type_stats(c, type);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddItemToObject(o, "memory", memory_figures(c));
	cJSON_AddItemToObject(o, "redis", redis_figures(c));
	cJSON_AddItemToObject(o, "replay", catalog_replay_figures(c));
	cJSON *flights = cJSON_AddObjectToObject(o, "flights");
	cJSON_AddNumberToObject(flights, "under_way", (double)flights_count(c->flights));
	cJSON_AddNumberToObject(flights, "waiting", (double)flights_waiting(c->flights));
	cJSON *types = cJSON_AddObjectToObject(o, "types");
	for (size_t i = 0; i < c->tiers.conf->n_types; i++)
		cJSON_AddItemToObject(types, c->tiers.conf->types[i].name, type_stats(c, &c->tiers.conf->types[i]));
	cJSON_AddItemToObject(types, c->tiers.undeclared.name, type_stats(c, &c->tiers.undeclared));
	return o;
}

void catalog_info(struct catalog *c, struct buf *b)
{
	uint64_t hits = 0, misses = 0, expired = 0, evicted = 0;
	for (size_t i = 0; i <= c->tiers.conf->n_types; i++) {
		const struct type_counters *t = &c->tiers.counters[i];
		const struct memory_type_stats *m = memory_type_stats(c->tiers.memory, (unsigned)i);
		hits += t->memory_hits + t->absent_hits;
		misses += t->misses;
		expired += m->expired;
		evicted += m->evictions;
	}
	buf_addf(b, "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\nexpired_keys:%llu\r\nevicted_keys:%llu\r\n",
		(unsigned long long)hits, (unsigned long long)misses, (unsigned long long)expired, (unsigned long long)evicted);
}
