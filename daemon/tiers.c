/* The tiers and the rules they share; see tiers.h. */
#include "tiers.h"

#include <inttypes.h>
#include <stddef.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "clock.h"
#include "redis.h"
#include "value.h"

#define PUBSUB_TRUST_MS 5000    /* memory is trusted for so long where the server refuses tracking */

#define COUNTER(field, metric, labels, help) {#field, offsetof(struct type_counters, field), metric, labels, help}

const struct counter tiers_counters[] = {
	COUNTER(memory_hits, "catcached_hits_total", "tier=\"memory\",found=\"value\"", "requests answered from memory"),
	COUNTER(redis_hits, "catcached_hits_total", "tier=\"redis\",found=\"value\"", "requests answered from Redis"),
	COUNTER(absent_hits, "catcached_hits_total", "tier=\"memory\",found=\"absence\"", "requests answered by a remembered absence"),
	COUNTER(stale_hits, "catcached_stale_hits_total", "tier=\"memory\",why=\"revalidating\"", "requests answered with a stale value that was held while it was refreshed"),
	COUNTER(stale_redis_hits, "catcached_stale_hits_total", "tier=\"redis\",why=\"revalidating\"", "the same with one that only Redis had"),
	COUNTER(stale_errors, "catcached_stale_hits_total", "tier=\"memory\",why=\"error\"", "requests answered with a stale value because the fetch failed or was slow"),
	COUNTER(misses, "catcached_misses_total", "tier=\"memory\"", "requests that memory could not answer"),
	COUNTER(redis_misses, "catcached_misses_total", "tier=\"redis\"", "requests that Redis could not answer either"),
	COUNTER(fetches, "catcached_fetches_total", "", "fetches begun"),
	COUNTER(fetched, "catcached_fetch_results_total", "result=\"value\"", "fetches that brought a value"),
	COUNTER(fetch_absent, "catcached_fetch_results_total", "result=\"absence\"", "fetches that found that the key does not exist"),
	COUNTER(fetch_failures, "catcached_fetch_results_total", "result=\"failure\"", "fetches that failed"),
	COUNTER(backoffs, "catcached_fetch_backoffs_total", "", "fetches not begun because the last one failed a short time ago"),
	COUNTER(fenced, "catcached_fills_dropped_total", "reason=\"changed\"", "fills not stored because the key changed meanwhile"),
	COUNTER(guarded, "catcached_fills_dropped_total", "reason=\"guard\"", "fills not stored because of the guard key"),
	COUNTER(refused_empty, "catcached_refusals_total", "reason=\"empty\"", "fetched values refused as empty"),
	COUNTER(refused_json, "catcached_refusals_total", "reason=\"json\"", "values refused as not JSON"),
	COUNTER(refused_shrunken, "catcached_refusals_total", "reason=\"shrunken\"", "fetched values refused as suddenly smaller"),
	COUNTER(oversize, "catcached_refusals_total", "reason=\"oversize\"", "values over max_value: SET refused, fetch not stored"),
	COUNTER(leases_won, "catcached_leases_total", "result=\"won\"", "fetches begun with the lease of the fleet"),
	COUNTER(leases_awaited, "catcached_leases_total", "result=\"awaited\"", "reads that waited for another sidecar's fetch"),
	COUNTER(sets, "catcached_sets_total", "", "values written by clients"),
	COUNTER(drops, "catcached_invalidations_total", "", "keys named by DEL or found by INVALIDATE"),
	COUNTER(cascades, "catcached_cascades_total", "", "invalidations of this type because of another"),
	COUNTER(redis_failures, "catcached_redis_failures_total", "", "reads and writes of Redis that failed"),
	COUNTER(timeouts, "catcached_timeouts_total", "", "requests that passed their deadline"),
};
const size_t tiers_n_counters = sizeof(tiers_counters) / sizeof(tiers_counters[0]);

/* A memory_ttl that is no shorter than the ttl asks for nothing: stale values are told
 * from fresh ones by the ttl. 0: Redis need not be asked again. */
static int64_t memory_ttl_ms(const struct conf_type *type)
{
	return type->ttl_ms && type->memory_ttl_ms >= type->ttl_ms ? 0 : type->memory_ttl_ms;
}

static bool is_refreshed_ahead(const struct conf_type *type)
{
	return type->fetch.kind != CONF_FETCH_NONE && type->refresh_ahead > 0;
}

/* Where Redis tells nothing by itself trust never lasts long. */
static void settle_trust(struct tiers *t, enum coherence now)
{
	for (size_t i = 0; i < t->conf->n_types; i++) {
		const struct conf_type *type = &t->conf->types[i];
		int64_t ms = type->in_redis && memory_ttl_ms(type) ? memory_ttl_ms(type) : INT64_MAX;
		if (type->in_redis && now == COHERENCE_PUBSUB && ms > PUBSUB_TRUST_MS)
			ms = PUBSUB_TRUST_MS;
		t->trusts[type->index] = (struct trust){.max_age_ms = ms, .part = is_refreshed_ahead(type) ? type->refresh_ahead : 1};
	}
}

static struct memory_bounds *bounds_of(const struct conf *conf)
{
	struct memory_bounds *bounds = xcalloc(conf->n_places, sizeof(*bounds));
	for (size_t i = 0; i < conf->n_types; i++) {
		const struct conf_type *type = &conf->types[i];
		bounds[type->index] = (struct memory_bounds){.max_entries = type->max_entries, .keep_ms = tiers_window_ms(type)};
	}
	return bounds;
}

struct memory *tiers_new_memory(const struct conf *conf)
{
	struct memory_bounds *bounds = bounds_of(conf);
	struct memory *m = memory_new(conf->memory_limit, bounds, conf->n_places);
	free(bounds);
	return m;
}

/* An array of elements of that size grows with what is new all zero. */
static void *grow(void *array, size_t size, size_t from, size_t to)
{
	char *grown = xrealloc(array, to * size);
	memset(grown + from * size, 0, (to - from) * size);
	return grown;
}

static void set_places(struct tiers *t, const struct conf *conf)
{
	size_t had = t->n_places;
	t->conf = conf;
	t->n_places = conf->n_places;
	t->undeclared = (struct conf_type){.name = "undeclared", .index = conf->undeclared, .in_redis = true, .max_value = conf->max_request};
	t->types = grow(t->types, sizeof(*t->types), had, t->n_places);
	t->counters = grow(t->counters, sizeof(*t->counters), had, t->n_places);
	t->trusts = grow(t->trusts, sizeof(*t->trusts), had, t->n_places);
	t->fetches = grow(t->fetches, sizeof(*t->fetches), had, t->n_places);
	for (size_t i = 0; i < conf->n_types; i++)
		t->types[conf->types[i].index] = &conf->types[i];
	t->types[conf->undeclared] = &t->undeclared;
}

void tiers_init(struct tiers *t, const struct conf *conf, struct memory *memory)
{
	*t = (struct tiers){.conf = conf, .memory = memory, .epoch = 1};
	set_places(t, conf);
	settle_trust(t, COHERENCE_AWAY);
}

void tiers_set_conf(struct tiers *t, const struct conf *conf)
{
	set_places(t, conf);
	struct memory_bounds *bounds = bounds_of(conf);
	memory_set_bounds(t->memory, conf->memory_limit, bounds, conf->n_places);
	free(bounds);
	settle_trust(t, t->redis ? redis_coherence(t->redis) : COHERENCE_AWAY);
}

void tiers_fini(struct tiers *t)
{
	free(t->types);
	free(t->counters);
	free(t->trusts);
	free(t->fetches);
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

uint64_t tiers_counted(const struct tiers *t, const struct conf_type *type, const struct counter *counter)
{
	const char *counters = (const char *)&t->counters[type->index];
	return *(const uint64_t *)(const void *)(counters + counter->offset);
}

struct type_fetches *tiers_fetches(struct tiers *t, const struct conf_type *type)
{
	return &t->fetches[type->index];
}

bool tiers_has_redis(const struct tiers *t, const struct conf_type *type)
{
	return type->in_redis && t->redis;
}

const char *tiers_redis_reason(const struct tiers *t, const struct conf_type *type)
{
	if (t->redis)
		return redis_reason(t->redis);
	return tiers_is_declared(t, type) ? "Redis is off" : "the key is of no declared type, and Redis is off";
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

int64_t tiers_window_ms(const struct conf_type *type)
{
	if (type->fetch.kind == CONF_FETCH_NONE)
		return 0;
	return type->stale_if_error_ms > type->stale_while_revalidate_ms ? type->stale_if_error_ms : type->stale_while_revalidate_ms;
}

int64_t tiers_redis_ttl_ms(const struct conf_type *type, int64_t ttl_ms)
{
	return ttl_ms ? ttl_ms + tiers_window_ms(type) : 0;
}

int64_t tiers_redis_end_ms(const struct conf_type *type, int64_t ends_at_ms)
{
	int64_t window_ms = tiers_window_ms(type);
	return ends_at_ms > INT64_MAX - window_ms ? INT64_MAX : ends_at_ms + window_ms;
}

int64_t tiers_logical_ttl_ms(const struct conf_type *type, int64_t redis_ms)
{
	if (redis_ms < 0)
		return 0;
	int64_t left = redis_ms - tiers_window_ms(type);
	return left ? left : -1;
}

/* ---- trust ---- */

void tiers_set_coherence(struct tiers *t, enum coherence now)
{
	if (now == COHERENCE_TRACKING || now == COHERENCE_PUBSUB)
		t->epoch++;
	settle_trust(t, now);
	t->trusted_epoch = now == COHERENCE_AWAY ? 0 : now == COHERENCE_DEAF ? t->epoch + 1 : t->epoch;
}

void tiers_distrust(struct tiers *t)
{
	t->epoch++;
	t->trusted_epoch += t->trusted_epoch > 0;
}

void tiers_set_guarded(struct tiers *t, bool guarded)
{
	if (t->is_guarded == guarded)
		return;
	t->is_guarded = guarded;
	t->guard_changes++;
}

static bool is_suspect(const struct tiers *t, const struct conf_type *type, const struct memory_entry *e)
{
	if (e->epoch < t->trusted_epoch)
		return true;
	int64_t trust_ms = memory_ttl_ms(type);
	if (!tiers_reaches_redis(t, type))
		return false;
	if (redis_coherence(t->redis) == COHERENCE_PUBSUB && (!trust_ms || trust_ms > PUBSUB_TRUST_MS))
		trust_ms = PUBSUB_TRUST_MS;
	return trust_ms && clock_ms() >= memory_stored_ms(e) + trust_ms;
}

/* When refresh_ahead begins for a value that came at stored_ms and ends at expires_ms. */
static int64_t ahead_ms(const struct conf_type *type, int64_t stored_ms, int64_t expires_ms)
{
	if (expires_ms == MEMORY_FOREVER || !is_refreshed_ahead(type))
		return MEMORY_FOREVER;
	return expires_ms - (int64_t)((1 - type->refresh_ahead) * (double)(expires_ms - stored_ms));
}

enum freshness tiers_judge(const struct tiers *t, const struct conf_type *type, const struct memory_entry *e)
{
	int64_t now_ms = clock_ms();
	if (is_suspect(t, type, e))
		return FRESH_SUSPECT;
	if (now_ms < e->expires_ms)
		return memory_value(e) && now_ms >= ahead_ms(type, memory_stored_ms(e), e->expires_ms) ? FRESH_AHEAD : FRESH_YES;
	return now_ms < e->expires_ms + type->stale_while_revalidate_ms ? FRESH_STALE : FRESH_HELD;
}

/* ---- memory ---- */

struct outcome tiers_outcome(const struct memory_entry *e)
{
	return (struct outcome){
		.status = memory_value(e) ? OUTCOME_FOUND : OUTCOME_ABSENT, .value = memory_value(e),
		.number = memory_value(e) ? (int64_t)memory_value(e)->len : 0,
		.is_stale = clock_ms() >= e->expires_ms,
		.ttl_ms = e->expires_ms == MEMORY_FOREVER ? -1 : e->expires_ms - clock_ms(),
		.age_ms = memory_age_ms(e, clock_ms()), .tier = "memory", .source = e->source};
}

/* The end of a span from now; 0: none. */
static int64_t end_ms(int64_t span_ms)
{
	return span_ms ? clock_ms() + span_ms : MEMORY_FOREVER;
}

/* The loop shall serve others before all that is over the limit has gone. */
static int put(struct tiers *t, const struct key *key, const struct memory_item *item)
{
	int result = memory_put(t->memory, key, item);
	if (t->sweep && memory_is_over(t->memory))
		event_add(t->sweep, &(struct timeval){0});
	return result;
}

int tiers_remember(struct tiers *t, const struct conf_type *type, const struct key *key,
	struct value *value, int64_t ttl_ms, enum source source, uint32_t epoch)
{
	if (!type->in_memory)
		return -1;
	return put(t, key, &(struct memory_item){
		.type = type->index, .source = source, .value = value,
		.epoch = tiers_has_redis(t, type) ? epoch : UINT32_MAX, .stored_ms = clock_ms(), .expires_ms = end_ms(ttl_ms)});
}

void tiers_remember_absent(struct tiers *t, const struct conf_type *type, const struct key *key, int64_t ttl_ms, uint32_t epoch)
{
	if (type->in_memory && ttl_ms > 0)
		(void)put(t, key, &(struct memory_item){ /* no room: the next GET asks again */
			.type = type->index, .source = SOURCE_FETCH, .epoch = tiers_has_redis(t, type) ? epoch : UINT32_MAX,
			.stored_ms = clock_ms(), .expires_ms = end_ms(ttl_ms)});
}

void tiers_set_ttl(struct memory_entry *e, int64_t ttl_ms)
{
	memory_set_end(e, end_ms(ttl_ms));
}

bool tiers_forget(struct tiers *t, const struct key *key)
{
	fence_break(&t->fences, key);
	return memory_drop(t->memory, key, clock_ms());
}

/* ---- the log ---- */

void tiers_log_read(const struct conf_type *type, const struct key *key, const char *tier, const struct value *v, int64_t took_ms)
{
	bool is_hit = strcmp(tier, "memory") == 0 || strcmp(tier, "redis") == 0;
	char items[24] = "unknown";
	if (v && v->inspected && value_items(v) >= 0)
		snprintf(items, sizeof(items), "%" PRId64, value_items(v));
	log_debug(is_hit ? "hit" : "miss", "type=%s key=%016" PRIx64 " tier=%s found=%s bytes=%" PRIu32 " items=%s took_ms=%" PRId64,
		type->name, key->hash, tier, v ? "true" : "false", v ? v->len : 0, items, took_ms);
}
