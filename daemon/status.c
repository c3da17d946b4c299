/* Figures for the status page, and readiness; see status.h. Called by admin.c and commands. */
#include "status.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "clock.h"
#include "fetch.h"
#include "memory.h"
#include "redis.h"
#include "server.h"
#include "tiers.h"
#include "version.h"
#include "warm.h"

/* ---- readiness ---- */

static bool can_fetch(const struct catalog_parts *p, const struct conf_type *type)
{
	bool needs_database = type->fetch.kind == CONF_FETCH_SQL || type->fetch.kind == CONF_FETCH_ASSEMBLE;
	return strcmp(fetch_type_health(p->fetcher, type).state, "closed") == 0
		&& !(needs_database && strcmp(fetch_database_health(p->fetcher).state, "closed") != 0);
}

const char *status_unready(const struct server *s)
{
	struct catalog_parts p = catalog_parts(s->catalog);
	bool has_source = p.tiers->redis, works = p.tiers->redis && redis_up(p.tiers->redis);
	if (s->unready)
		return s->unready;
	for (size_t i = 0; i < s->conf->n_types && !works; i++) {
		if (s->conf->types[i].fetch.kind == CONF_FETCH_NONE)
			continue;
		has_source = true;
		works = can_fetch(&p, &s->conf->types[i]);
	}
	if (has_source && !works && memory_entries(p.tiers->memory) == 0)
		return "neither Redis nor a source of fetches answers, and memory holds nothing";
	return NULL;
}

/* ---- figures ---- */

struct cJSON *status_server(const struct server *s)
{
	cJSON *o = cJSON_CreateObject();
	cJSON_AddStringToObject(o, "version", VERSION);
	cJSON_AddNumberToObject(o, "pid", getpid());
	cJSON_AddNumberToObject(o, "uptime_s", (double)((clock_ms() - s->stats.started_ms) / 1000));
	cJSON_AddNumberToObject(o, "clients", (double)s->n_clients);
	cJSON_AddNumberToObject(o, "max_clients", s->conf->max_clients);
	cJSON_AddNumberToObject(o, "connections", (double)s->stats.connections);
	cJSON_AddNumberToObject(o, "rejected_connections", (double)s->stats.rejected);
	cJSON_AddNumberToObject(o, "commands", (double)s->stats.commands);
	cJSON_AddNumberToObject(o, "protocol_errors", (double)s->stats.protocol_errors);
	return o;
}

struct cJSON *status_warm(const struct server *s)
{
	struct warm_figures f = warm_figures(s->warmer);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "done", (double)f.done);
	cJSON_AddNumberToObject(o, "total", (double)f.total);
	cJSON_AddNumberToObject(o, "loaded", (double)f.loaded);
	cJSON_AddNumberToObject(o, "failed", (double)f.failed);
	return o;
}

static void add_tracking(cJSON *page, const struct redis *redis)
{
	cJSON *o = cJSON_AddObjectToObject(page, "tracking");
	const struct tracking_stats *t = redis_tracking(redis);
	uint64_t proofs = histogram_count(&t->round_trip);
	cJSON_AddNumberToObject(o, "messages", (double)t->messages);
	cJSON_AddNumberToObject(o, "repairs", (double)t->repairs);
	if (proofs)
		cJSON_AddNumberToObject(o, "round_trip_us", (double)(t->round_trip.sum_us / proofs));
}

/* What the page says of a type besides its figures in STATS. */
static cJSON *declared(const struct catalog_parts *p, const struct conf_type *type)
{
	static const char *const kinds[] = {[CONF_FETCH_SQL] = "sql", [CONF_FETCH_EXEC] = "exec", [CONF_FETCH_ASSEMBLE] = "assemble"};
	const struct type_fetches *f = tiers_fetches(p->tiers, type);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "ttl_ms", (double)type->ttl_ms);
	cJSON_AddNumberToObject(o, "max_entries", (double)type->max_entries);
	if (type->fetch.kind == CONF_FETCH_NONE)
		return o;
	cJSON_AddStringToObject(o, "fetch", kinds[type->fetch.kind]);
	cJSON_AddStringToObject(o, "breaker", fetch_type_health(p->fetcher, type).state);
	if (f->last_at_ms) {
		cJSON_AddNumberToObject(o, "fetched_at_ms", (double)f->last_at_ms);
		cJSON_AddNumberToObject(o, "took_us", (double)f->last_us);
	}
	if (f->error_at_ms) {
		cJSON_AddNumberToObject(o, "error_at_ms", (double)f->error_at_ms);
		cJSON_AddStringToObject(o, "error", f->error);
	}
	return o;
}

static void add_hash(cJSON *o, uint64_t hash)
{
	char hex[17];
	snprintf(hex, sizeof(hex), "%016" PRIx64, hash);
	cJSON_AddStringToObject(o, "key_hash", hex);
}

static void add_slowest(cJSON *page, const struct recent *recent)
{
	struct recent_fetch found[RECENT_MAX];
	cJSON *all = cJSON_AddArrayToObject(page, "slowest");
	size_t n = recent_slowest(recent, found);
	for (size_t i = 0; i < n; i++) {
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "type", found[i].type);
		add_hash(o, found[i].hash);
		cJSON_AddNumberToObject(o, "at_ms", (double)found[i].at_ms);
		cJSON_AddNumberToObject(o, "took_us", (double)found[i].took_us);
		cJSON_AddBoolToObject(o, "failed", found[i].failed);
		cJSON_AddItemToArray(all, o);
	}
}

static void add_changes(cJSON *page, const struct recent *recent)
{
	const struct recent_change *c;
	cJSON *all = cJSON_AddArrayToObject(page, "invalidations");
	for (size_t i = 0; (c = recent_change(recent, i)); i++) {
		cJSON *o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "type", c->type);
		if (c->hash)
			add_hash(o, c->hash);
		cJSON_AddStringToObject(o, "by", c->by);
		cJSON_AddNumberToObject(o, "at_ms", (double)c->at_ms);
		cJSON_AddNumberToObject(o, "times", (double)c->times);
		cJSON_AddItemToArray(all, o);
	}
}

struct cJSON *status_page(const struct server *s)
{
	struct catalog_parts p = catalog_parts(s->catalog);
	const char *unready = status_unready(s);
	cJSON *page = catalog_stats(s->catalog, NULL);
	cJSON_AddNumberToObject(page, "now_ms", (double)clock_wall_ms());
	cJSON_AddItemToObject(page, "server", status_server(s));
	cJSON_AddItemToObject(page, "health", catalog_health(s->catalog));
	if (unready)
		cJSON_AddStringToObject(page, "unready", unready);
	if (p.tiers->redis)
		add_tracking(page, p.tiers->redis);
	cJSON *types = cJSON_AddObjectToObject(page, "declared");
	for (size_t i = 0; i < s->conf->n_types; i++)
		cJSON_AddItemToObject(types, s->conf->types[i].name, declared(&p, &s->conf->types[i]));
	add_slowest(page, &p.tiers->recent);
	add_changes(page, &p.tiers->recent);
	return page;
}
