/* The catalog's figures for STATS and INFO, and how the whole is, for HEALTH; see catalog.h. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "fetch.h"
#include "replay.h"

static cJSON *type_stats(struct catalog *c, const struct conf_type *type)
{
	const struct memory_type_stats *m = memory_type_stats(c->tiers.memory, type->index);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "entries", (double)m->entries);
	cJSON_AddNumberToObject(o, "bytes", (double)m->bytes);
	cJSON_AddNumberToObject(o, "evictions", (double)m->evictions);
	cJSON_AddNumberToObject(o, "expired", (double)m->expired);
	for (size_t i = 0; i < tiers_n_counters; i++)
		cJSON_AddNumberToObject(o, tiers_counters[i].name, (double)tiers_counted(&c->tiers, type, &tiers_counters[i]));
	return o;
}

static cJSON *redis_figures(struct catalog *c)
{
	cJSON *o = cJSON_CreateObject();
	struct redis *redis = c->tiers.redis;
	cJSON_AddStringToObject(o, "state", catalog_redis_state(c));
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

static cJSON *replay_figures(const struct catalog *c)
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
	cJSON_AddItemToObject(o, "replay", replay_figures(c));
	cJSON *flights = cJSON_AddObjectToObject(o, "flights");
	cJSON_AddNumberToObject(flights, "under_way", (double)flights_count(c->flights));
	cJSON_AddNumberToObject(flights, "waiting", (double)flights_waiting(c->flights));
	cJSON *types = cJSON_AddObjectToObject(o, "types");
	for (size_t i = 0; i < c->tiers.conf->n_types; i++)
		cJSON_AddItemToObject(types, c->tiers.conf->types[i].name, type_stats(c, &c->tiers.conf->types[i]));
	cJSON_AddItemToObject(types, c->tiers.undeclared.name, type_stats(c, &c->tiers.undeclared));
	return o;
}

struct catalog_reads catalog_reads(const struct catalog *c)
{
	struct catalog_reads reads = {0};
	for (size_t i = 0; i < c->tiers.n_places; i++) {
		const struct type_counters *t = &c->tiers.counters[i];
		reads.hits += t->memory_hits + t->absent_hits;
		reads.misses += t->misses;
	}
	return reads;
}

void catalog_info(struct catalog *c, struct buf *b)
{
	struct catalog_reads reads = catalog_reads(c);
	uint64_t expired = 0, evicted = 0;
	for (size_t i = 0; i < c->tiers.n_places; i++) {
		const struct memory_type_stats *m = memory_type_stats(c->tiers.memory, (unsigned)i);
		expired += m->expired;
		evicted += m->evictions;
	}
	buf_addf(b, "keyspace_hits:%llu\r\nkeyspace_misses:%llu\r\nexpired_keys:%llu\r\nevicted_keys:%llu\r\n",
		(unsigned long long)reads.hits, (unsigned long long)reads.misses, (unsigned long long)expired, (unsigned long long)evicted);
}

const char *catalog_redis_state(const struct catalog *c)
{
	return !c->tiers.redis ? "off" : redis_up(c->tiers.redis) ? "up" : "down";
}

const char *catalog_redis_reason(const struct catalog *c)
{
	return c->tiers.redis ? redis_reason(c->tiers.redis) : "";
}

/* ---- HEALTH ---- */

static void add_reason(cJSON *reasons, const char *text)
{
	cJSON_AddItemToArray(reasons, cJSON_CreateString(text));
}

/* Why Redis is not all that it should be, in the words of Redis or of the link; "" if it is. */
static const char *redis_complaint(const struct redis *redis)
{
	const char *said[] = {redis_reason(redis), redis_refusal(redis), redis_mute(redis), redis_unwritable(redis)};
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (said[i][0])
			return said[i];
	return "";
}

static const char *proof_of(enum coherence c, bool is_writable)
{
	if (c == COHERENCE_TRACKING && is_writable)
		return "key";
	return c == COHERENCE_TRACKING || c == COHERENCE_PUBSUB ? "message" : "none";
}

static cJSON *redis_health(const struct catalog *c, cJSON *reasons)
{
	const struct redis *redis = c->tiers.redis;
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "state", catalog_redis_state(c));
	if (!redis)
		return o;
	enum coherence coherence = redis_coherence(redis);
	bool is_writable = !redis_unwritable(redis)[0];
	cJSON_AddStringToObject(o, "breaker", redis_breaker(redis));
	cJSON_AddStringToObject(o, "coherence", tracking_coherence_name(coherence));
	cJSON_AddStringToObject(o, "proof", proof_of(coherence, is_writable));
	cJSON_AddStringToObject(o, "reason", redis_complaint(redis));
	if (!redis_up(redis))
		add_reason(reasons, "Redis does not answer: values come from memory and the database, writes wait");
	else if (coherence == COHERENCE_DEAF)
		add_reason(reasons, "changes in Redis are not heard of: every read is compared with Redis");
	else if (coherence == COHERENCE_PUBSUB)
		add_reason(reasons, "Redis refuses CLIENT TRACKING: changes made past the sidecars are noticed late");
	else if (!is_writable)
		add_reason(reasons, "Redis takes no writes: they wait");
	if (redis_mute(redis)[0])
		add_reason(reasons, "Redis refuses PUBLISH: sidecars that it does not tell of changes are not told by this one");
	return o;
}

/* Of the states of breakers the one that is worse. */
static const char *worse(const char *a, const char *b)
{
	return strcmp(a, "open") == 0 || strcmp(b, "closed") == 0 ? a : b;
}

static void add_failing(cJSON *failing, const char *source, struct fetch_health health)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "source", source);
	cJSON_AddStringToObject(o, "state", health.state);
	cJSON_AddStringToObject(o, "error", health.cause);
	cJSON_AddItemToArray(failing, o);
}

static cJSON *source_health(const struct catalog *c, cJSON *reasons)
{
	const struct conf *conf = c->tiers.conf;
	cJSON *o = cJSON_CreateObject(), *failing = cJSON_CreateArray();
	struct fetch_health connections = fetch_database_health(c->fetcher);
	const char *database = connections.state, *programs = "closed";
	if (connections.cause[0]) {
		add_failing(failing, "database", connections);
		add_reason(reasons, "the database cannot be reached");
	}
	for (size_t i = 0; i < conf->n_types; i++) {
		const struct conf_type *type = &conf->types[i];
		struct fetch_health health = fetch_type_health(c->fetcher, type);
		const char **all = type->fetch.kind == CONF_FETCH_EXEC ? &programs : &database;
		*all = worse(*all, health.state);
		if (!health.cause[0])
			continue;
		char reason[CATALOG_ERROR_MAX];
		snprintf(reason, sizeof(reason), "fetches of type %s fail again and again", type->name);
		add_failing(failing, type->name, health);
		add_reason(reasons, reason);
	}
	cJSON_AddStringToObject(o, "database", database);
	cJSON_AddStringToObject(o, "programs", programs);
	cJSON_AddItemToObject(o, "failing", failing);
	return o;
}

struct cJSON *catalog_health(struct catalog *c)
{
	cJSON *o = cJSON_CreateObject(), *reasons = cJSON_CreateArray();
	cJSON_AddItemToObject(o, "redis", redis_health(c, reasons));
	cJSON_AddItemToObject(o, "sources", source_health(c, reasons));
	cJSON_AddItemToObject(o, "replay", replay_figures(c));
	cJSON *flights = cJSON_AddObjectToObject(o, "flights");
	cJSON_AddNumberToObject(flights, "under_way", (double)flights_count(c->flights));
	cJSON_AddNumberToObject(flights, "waiting", (double)flights_waiting(c->flights));
	cJSON_AddBoolToObject(o, "guarded", c->tiers.is_guarded);
	if (c->tiers.is_guarded)
		add_reason(reasons, "the guard key is set: what is fetched is not stored");
	cJSON_AddStringToObject(o, "status", cJSON_GetArraySize(reasons) ? "degraded" : "ok");
	cJSON_AddItemToObject(o, "reasons", reasons);
	return o;
}
