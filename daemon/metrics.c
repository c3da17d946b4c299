/* The table of metrics, and how each is read and written; see metrics.h. A metric is told
 * (HELP and TYPE) even while it has no samples, as those of Redis where that is off. */
#include "metrics.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog.h"
#include "command.h"
#include "exposition.h"
#include "fetch.h"
#include "histogram.h"
#include "memory.h"
#include "redis.h"
#include "replay.h"
#include "server.h"
#include "status.h"
#include "tiers.h"
#include "version.h"
#include "warm.h"

#define LABELS_MAX 160          /* a type and what else there is: names are short and need no escaping */

struct page {
	struct buf *out;
	const struct server *server;
	struct catalog_parts parts;
};

struct metric {
	const char *name;
	const char *kind;
	void (*add)(struct page *p, const struct metric *m);
	uint64_t (*read)(const struct page *p);         /* of add_number */
	uint64_t (*read_type)(const struct page *p, const struct conf_type *type);      /* of add_types; SKIPPED: no sample */
	const char *help;
};

#define SKIPPED UINT64_MAX

/* ---- shapes of rows ---- */

static const char *with_type(char labels[LABELS_MAX], const struct conf_type *type, const char *more)
{
	snprintf(labels, LABELS_MAX, "type=\"%s\"%s%s", type->name, *more ? "," : "", more);
	return labels;
}

static void add_number(struct page *p, const struct metric *m)
{
	exposition_sample(p->out, m->name, "", m->read(p));
}

/* Likewise where Redis is not off. */
static void add_redis_number(struct page *p, const struct metric *m)
{
	if (p->parts.tiers->redis)
		add_number(p, m);
}

static const struct conf_type *type_at(const struct page *p, size_t i)
{
	const struct tiers *t = p->parts.tiers;
	return i < t->conf->n_types ? &t->conf->types[i] : &t->undeclared;
}

static void add_types(struct page *p, const struct metric *m)
{
	char labels[LABELS_MAX];
	for (size_t i = 0; i < p->parts.tiers->conf->n_types; i++) {
		const struct conf_type *type = type_at(p, i);
		uint64_t n = m->read_type(p, type);
		if (n != SKIPPED)
			exposition_sample(p->out, m->name, with_type(labels, type, ""), n);
	}
}

/* From those rows of tiers_counters that name this metric. */
static void add_counters(struct page *p, const struct metric *m)
{
	char labels[LABELS_MAX];
	for (size_t i = 0; i < tiers_n_counters; i++) {
		const struct counter *c = &tiers_counters[i];
		if (strcmp(c->metric, m->name) != 0)
			continue;
		for (size_t j = 0; j <= p->parts.tiers->conf->n_types; j++) {
			const struct conf_type *type = type_at(p, j);
			exposition_sample(p->out, m->name, with_type(labels, type, c->labels), tiers_counted(p->parts.tiers, type, c));
		}
	}
}

/* ---- the process ---- */

static void add_build(struct page *p, const struct metric *m)
{
	exposition_sample(p->out, m->name, "version=\"" VERSION "\"", 1);
}

static void add_start(struct page *p, const struct metric *m)
{
	exposition_seconds(p->out, m->name, "", (uint64_t)p->server->stats.started_at_ms * 1000);
}

static void add_cpu(struct page *p, const struct metric *m)
{
	struct rusage u = {0};
	(void)getrusage(RUSAGE_SELF, &u); /* does not fail */
	exposition_seconds(p->out, m->name, "", (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec));
}

static void add_resident(struct page *p, const struct metric *m)
{
	unsigned long size, resident;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f && fscanf(f, "%lu %lu", &size, &resident) == 2)
		exposition_sample(p->out, m->name, "", (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE));
	if (f)
		fclose(f);
}

static uint64_t ready(const struct page *p)
{
	return !status_unready(p->server);
}

static void add_reloads(struct page *p, const struct metric *m)
{
	exposition_sample(p->out, m->name, "result=\"success\"", p->server->stats.reloads);
	exposition_sample(p->out, m->name, "result=\"refused\"", p->server->stats.reloads_refused);
}

static void add_conf_time(struct page *p, const struct metric *m)
{
	exposition_seconds(p->out, m->name, "", (uint64_t)p->server->stats.conf_at_ms * 1000);
}

static void add_warm(struct page *p, const struct metric *m)
{
	struct warm_figures f = warm_figures(p->server->warmer);
	exposition_sample(p->out, m->name, "result=\"success\"", f.loaded);
	exposition_sample(p->out, m->name, "result=\"failure\"", f.failed);
}

static uint64_t warm_left(const struct page *p)
{
	struct warm_figures f = warm_figures(p->server->warmer);
	return f.total - f.done;
}

/* ---- clients ---- */

static uint64_t clients(const struct page *p)
{
	return p->server->n_clients;
}

static uint64_t clients_max(const struct page *p)
{
	return p->server->conf->max_clients;
}

static uint64_t connections(const struct page *p)
{
	return p->server->stats.connections;
}

static uint64_t rejected(const struct page *p)
{
	return p->server->stats.rejected;
}

static uint64_t output_bytes(const struct page *p)
{
	return p->server->output_bytes;
}

static uint64_t protocol_errors(const struct page *p)
{
	return p->server->stats.protocol_errors;
}

static void add_closed(struct page *p, const struct metric *m)
{
	exposition_sample(p->out, m->name, "reason=\"output\"", p->server->stats.over_output);
	exposition_sample(p->out, m->name, "reason=\"output_total\"", p->server->stats.over_total);
	exposition_sample(p->out, m->name, "reason=\"idle\"", p->server->stats.idle);
}

static void add_requests(struct page *p, const struct metric *m)
{
	char name[64], labels[LABELS_MAX];
	for (const struct command *c = commands; c->name; c++) {
		const struct histogram *h = &p->server->latency[c - commands];
		if (!histogram_count(h))
			continue;
		snprintf(labels, sizeof(labels), "command=\"%s\"", command_lower(c->name, name, sizeof(name)));
		exposition_histogram(p->out, m->name, labels, h);
	}
	if (histogram_count(p->server->latency_of_others))
		exposition_histogram(p->out, m->name, "command=\"other\"", p->server->latency_of_others);
}

/* ---- memory ---- */

static const struct memory_type_stats *in_memory(const struct page *p, const struct conf_type *type)
{
	return memory_type_stats(p->parts.tiers->memory, type->index);
}

static uint64_t entries(const struct page *p, const struct conf_type *type)
{
	return in_memory(p, type)->entries;
}

static uint64_t entries_max(const struct page *p, const struct conf_type *type)
{
	(void)p;
	return type->max_entries ? type->max_entries : SKIPPED;
}

static uint64_t type_bytes(const struct page *p, const struct conf_type *type)
{
	return in_memory(p, type)->bytes;
}

static uint64_t evictions(const struct page *p, const struct conf_type *type)
{
	return in_memory(p, type)->evictions;
}

static uint64_t expirations(const struct page *p, const struct conf_type *type)
{
	return in_memory(p, type)->expired;
}

static uint64_t memory_used(const struct page *p)
{
	return memory_bytes(p->parts.tiers->memory);
}

static uint64_t memory_max(const struct page *p)
{
	return memory_limit(p->parts.tiers->memory);
}

/* ---- reads and fetches ---- */

static uint64_t under_way(const struct page *p)
{
	return flights_count(p->parts.flights);
}

static uint64_t under_way_max(const struct page *p)
{
	(void)p;
	return FLIGHTS_MAX;
}

static uint64_t waiting(const struct page *p)
{
	return flights_waiting(p->parts.flights);
}

static uint64_t guarded(const struct page *p)
{
	return p->parts.tiers->is_guarded;
}

static bool is_fetched(const struct conf_type *type)
{
	return type->fetch.kind != CONF_FETCH_NONE;
}

static void add_fetches(struct page *p, const struct metric *m)
{
	char labels[LABELS_MAX];
	for (size_t i = 0; i < p->parts.tiers->conf->n_types; i++)
		if (is_fetched(type_at(p, i)))
			exposition_histogram(p->out, m->name, with_type(labels, type_at(p, i), ""), &tiers_fetches(p->parts.tiers, type_at(p, i))->took);
}

static const char *const breaker_states[] = {"closed", "half_open", "open", NULL};

static void add_fetch_breakers(struct page *p, const struct metric *m)
{
	char labels[LABELS_MAX];
	for (size_t i = 0; i < p->parts.tiers->conf->n_types; i++)
		if (is_fetched(type_at(p, i)))
			exposition_states(p->out, m->name, with_type(labels, type_at(p, i), ""), breaker_states, fetch_type_health(p->parts.fetcher, type_at(p, i)).state);
}

static void add_database_breaker(struct page *p, const struct metric *m)
{
	if (p->parts.tiers->conf->database.kind != CONF_DATABASE_OFF)
		exposition_states(p->out, m->name, "", breaker_states, fetch_database_health(p->parts.fetcher).state);
}

/* ---- Redis ---- */

static uint64_t redis_is_up(const struct page *p)
{
	return redis_up(p->parts.tiers->redis);
}

static uint64_t redis_commands(const struct page *p)
{
	return redis_stats(p->parts.tiers->redis)->commands;
}

static uint64_t redis_errors(const struct page *p)
{
	return redis_stats(p->parts.tiers->redis)->errors;
}

static uint64_t redis_timeouts(const struct page *p)
{
	return redis_stats(p->parts.tiers->redis)->timeouts;
}

static uint64_t redis_connects(const struct page *p)
{
	return redis_stats(p->parts.tiers->redis)->connects;
}

static uint64_t redis_drops(const struct page *p)
{
	return redis_stats(p->parts.tiers->redis)->drops;
}

static uint64_t redis_owed(const struct page *p)
{
	return redis_stats(p->parts.tiers->redis)->pending;
}

static uint64_t tracking_messages(const struct page *p)
{
	return redis_tracking(p->parts.tiers->redis)->messages;
}

static uint64_t tracking_repairs(const struct page *p)
{
	return redis_tracking(p->parts.tiers->redis)->repairs;
}

static void add_redis_latency(struct page *p, const struct metric *m)
{
	if (p->parts.tiers->redis)
		exposition_histogram(p->out, m->name, "", redis_latency(p->parts.tiers->redis));
}

static void add_redis_breaker(struct page *p, const struct metric *m)
{
	if (p->parts.tiers->redis)
		exposition_states(p->out, m->name, "", breaker_states, redis_breaker(p->parts.tiers->redis));
}

static void add_round_trip(struct page *p, const struct metric *m)
{
	if (p->parts.tiers->redis)
		exposition_histogram(p->out, m->name, "", &redis_tracking(p->parts.tiers->redis)->round_trip);
}

static void add_tracking(struct page *p, const struct metric *m)
{
	const char *states[COHERENCE_PUBSUB + 2] = {NULL};
	if (!p->parts.tiers->redis)
		return;
	for (enum coherence c = COHERENCE_AWAY; c <= COHERENCE_PUBSUB; c++)
		states[c] = tracking_coherence_name(c);
	exposition_states(p->out, m->name, "", states, tracking_coherence_name(redis_coherence(p->parts.tiers->redis)));
}

static uint64_t replay_keys(const struct page *p)
{
	return replay_count(p->parts.replay);
}

static uint64_t replay_keys_max(const struct page *p)
{
	(void)p;
	return REPLAY_MAX;
}

static uint64_t replay_used(const struct page *p)
{
	return replay_bytes(p->parts.replay);
}

static uint64_t replay_used_max(const struct page *p)
{
	(void)p;
	return REPLAY_MAX_BYTES;
}

static uint64_t replay_many(const struct page *p)
{
	return replay_clears(p->parts.replay);
}

static uint64_t replay_gone(const struct page *p)
{
	return replay_lost(p->parts.replay);
}

/* ---- the table ---- */

#define COUNTER "counter"
#define GAUGE "gauge"
#define HISTOGRAM "histogram"
#define NUMBER(name, kind, read, help) {name, kind, add_number, read, NULL, help}
#define OF_REDIS(name, kind, read, help) {name, kind, add_redis_number, read, NULL, help}
#define BY_TYPE(name, kind, read, help) {name, kind, add_types, NULL, read, help}
#define COUNTED(name, help) {name, COUNTER, add_counters, NULL, NULL, help}
#define OTHER(name, kind, add, help) {name, kind, add, NULL, NULL, help}

static const struct metric metrics[] = {
	OTHER("catcached_build_info", GAUGE, add_build, "The version that runs; always 1."),
	OTHER("process_start_time_seconds", GAUGE, add_start, "When the daemon started, in seconds since 1970."),
	OTHER("process_resident_memory_bytes", GAUGE, add_resident, "Memory that the process holds."),
	OTHER("process_cpu_seconds_total", COUNTER, add_cpu, "Time on processors, of all threads."),
	NUMBER("catcached_ready", GAUGE, ready, "1 while /readyz says that requests may be sent here."),
	OTHER("catcached_warm_keys_total", COUNTER, add_warm, "Keys of warm lists that were loaded, or could not be."),
	NUMBER("catcached_warm_keys_left", GAUGE, warm_left, "Keys of the warm lists being loaded that are not done yet."),

	NUMBER("catcached_clients", GAUGE, clients, "Clients connected."),
	NUMBER("catcached_clients_max", GAUGE, clients_max, "Clients that may be connected (listen.max_clients)."),
	NUMBER("catcached_connections_total", COUNTER, connections, "Connections accepted."),
	NUMBER("catcached_connections_rejected_total", COUNTER, rejected, "Connections turned away at catcached_clients_max."),
	OTHER("catcached_config_reloads_total", COUNTER, add_reloads, "SIGHUPs after which the configuration was taken, or refused as bad."),
	OTHER("catcached_config_last_reload_success_timestamp_seconds", GAUGE, add_conf_time, "When the configuration in force was read, in seconds since 1970."),
	OTHER("catcached_clients_closed_total", COUNTER, add_closed,
		"Clients closed because they owed to read more than listen.max_output (output), or most of what was over listen.max_output_total "
		"(output_total), or said nothing for listen.idle_timeout (idle)."),
	NUMBER("catcached_output_bytes", GAUGE, output_bytes, "Replies that clients have not read yet; a value counts for each client that is owed it."),
	NUMBER("catcached_protocol_errors_total", COUNTER, protocol_errors, "Requests that broke the protocol: each closed its connection."),
	OTHER("catcached_request_duration_seconds", HISTOGRAM, add_requests,
		"From the turn of the loop in which a request was read to its reply, by command, of those used so far; commands that are Redis's alone are other. "
		"Requests that are answered at once (hits in memory) are in the lowest bucket without being measured, and add nothing to the sum."),

	COUNTED("catcached_hits_total", "Keys read that a tier could answer, with a value or with its remembered absence. "
		"All that were read are hits and misses of the memory tier."),
	COUNTED("catcached_misses_total", "Keys read that memory could not answer, and of these, those that Redis could not answer either."),
	COUNTED("catcached_stale_hits_total", "Keys read that were answered with a value past its TTL: while it was refreshed (revalidating), "
		"or because the fetch failed or was slow (error)."),
	COUNTED("catcached_timeouts_total", "Requests that passed their deadline and got an error."),
	NUMBER("catcached_flights", GAUGE, under_way, "Keys that are being read from Redis or fetched."),
	NUMBER("catcached_flights_max", GAUGE, under_way_max, "As many as may be; one more gets an error."),
	NUMBER("catcached_flights_waiting", GAUGE, waiting, "Requests that wait for those."),

	BY_TYPE("catcached_memory_entries", GAUGE, entries, "Entries in the memory tier."),
	BY_TYPE("catcached_memory_entries_max", GAUGE, entries_max, "As many as the type may have (max_entries), where it has such a bound."),
	BY_TYPE("catcached_memory_type_bytes", GAUGE, type_bytes, "Memory of a type's entries, overhead counted."),
	BY_TYPE("catcached_memory_evictions_total", COUNTER, evictions, "Entries that had to go for others."),
	BY_TYPE("catcached_memory_expirations_total", COUNTER, expirations, "Entries that went at their end."),
	NUMBER("catcached_memory_used_bytes", GAUGE, memory_used, "Memory of the memory tier, the table itself counted."),
	NUMBER("catcached_memory_limit_bytes", GAUGE, memory_max, "As much as it may have (memory.limit)."),

	COUNTED("catcached_fetches_total", "Fetches begun."),
	COUNTED("catcached_fetch_results_total", "Fetches that ended, by what they brought."),
	COUNTED("catcached_fetch_backoffs_total", "Fetches not begun because the last one of the key failed a short time ago."),
	OTHER("catcached_fetch_duration_seconds", HISTOGRAM, add_fetches, "How long fetches took that were begun, failed ones among them."),
	OTHER("catcached_fetch_breaker_state", GAUGE, add_fetch_breakers,
		"Whether the type's query or program is asked: 1 for its state. open: several keys in a row failed, it is left alone for a while."),
	OTHER("catcached_database_breaker_state", GAUGE, add_database_breaker,
		"Whether connections to the database are made: 1 for its state. open: it cannot be reached, it is left alone for a while."),
	COUNTED("catcached_refusals_total", "Values refused: empty, not json or suddenly shrunken results of fetches; SETs and results that are oversize (max_value)."),
	COUNTED("catcached_fills_dropped_total", "Fetched values that were served but not stored, because the key changed meanwhile (changed) or the guard key was set (guard)."),
	COUNTED("catcached_leases_total", "Fetches begun with the lease of the fleet (won), and reads that waited for another sidecar's fetch (awaited)."),
	NUMBER("catcached_guarded", GAUGE, guarded, "1 while the guard key is set: what is fetched is not stored."),

	COUNTED("catcached_sets_total", "Values written by clients."),
	COUNTED("catcached_invalidations_total", "Keys named by DEL or found by INVALIDATE."),
	COUNTED("catcached_cascades_total", "Invalidations of a type because of another."),

	OF_REDIS("catcached_redis_up", GAUGE, redis_is_up, "1 while Redis answers."),
	OTHER("catcached_redis_breaker_state", GAUGE, add_redis_breaker,
		"Whether Redis is asked: 1 for its state. open: it did not answer, it is left alone between attempts to reach it."),
	OTHER("catcached_redis_command_duration_seconds", HISTOGRAM, add_redis_latency, "From the turn of the loop in which a command was made to the one in which Redis's reply came, of those that were answered."),
	OF_REDIS("catcached_redis_commands_total", COUNTER, redis_commands, "Commands sent to Redis."),
	OF_REDIS("catcached_redis_errors_total", COUNTER, redis_errors, "Error replies to commands of the daemon's own."),
	OF_REDIS("catcached_redis_timeouts_total", COUNTER, redis_timeouts, "Connections given up because a reply took longer than redis.timeout."),
	OF_REDIS("catcached_redis_connects_total", COUNTER, redis_connects, "Times that Redis was reached."),
	OF_REDIS("catcached_redis_drops_total", COUNTER, redis_drops, "Times that it was lost."),
	OF_REDIS("catcached_redis_pending", GAUGE, redis_owed, "Commands that Redis has not answered yet."),
	COUNTED("catcached_redis_failures_total", "Reads and writes of the Redis tier that failed."),

	OTHER("catcached_tracking_state", GAUGE, add_tracking,
		"How much of what changes in Redis is heard of: 1 for the state. tracking: all; pubsub: what sidecars change; deaf: nothing; away: Redis does not answer."),
	OF_REDIS("catcached_tracking_messages_total", COUNTER, tracking_messages, "Changes by others that Redis told of."),
	OF_REDIS("catcached_tracking_repairs_total", COUNTER, tracking_repairs, "Times that tracking had to be set up anew, because its proof did not come or showed a break."),
	OTHER("catcached_tracking_probe_round_trip_seconds", HISTOGRAM, add_round_trip,
		"From the write of the daemon's own probe key, twice a second, to hearing that it changed: the way that news of a change by others takes, "
		"so an upper bound of how long such a change was not known here. (A change through this sidecar is known at once.)"),

	NUMBER("catcached_replay_keys", GAUGE, replay_keys, "Keys of which Redis is still to be told."),
	NUMBER("catcached_replay_keys_max", GAUGE, replay_keys_max, "As many as are kept: beyond, a whole type is cleared."),
	NUMBER("catcached_replay_bytes", GAUGE, replay_used, "Bytes of values among them."),
	NUMBER("catcached_replay_limit_bytes", GAUGE, replay_used_max, "As many as are kept."),
	NUMBER("catcached_replay_clears", GAUGE, replay_many, "Removals of many keys that Redis has not carried out yet."),
	NUMBER("catcached_replay_lost_total", COUNTER, replay_gone, "Writes that the bounds of the replay queue have lost."),
};

void metrics_add(struct buf *out, const struct server *s)
{
	struct page p = {.out = out, .server = s, .parts = catalog_parts(s->catalog)};
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		const struct metric *m = &metrics[i];
		exposition_begin(out, m->name, m->kind, m->help);
		m->add(&p, m);
	}
}
