/* catcachectl's commands that tell of the daemon in tables: meta, stats, health; see ctl.h. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "ctl_figures.h"
#include "ctl_json.h"
#include "ctl_text.h"

/* The reply as it is where the daemon gives JSON, else made JSON. */
static int show_json(const struct ctl *c, int status)
{
	struct reply_element e = ctl_reply(c);
	struct buf b = BUF_INIT;
	if (e.type == '$')
		buf_add(&b, e.data, e.len);
	else
		ctl_json_reply(&b, c->link.reply, c->link.reply_len);
	buf_add_char(&b, '\n');
	return ctl_show(&b, status);
}

/* ---- meta ---- */

static void add_size(struct table *t, const struct reply_element *e)
{
	struct text exact = text_count((double)e->number);
	if (e->number < 1024)
		table_add(t, "%s B", exact.s);
	else
		table_add(t, "%s (%s bytes)", text_bytes((double)e->number).s, exact.s);
}

static void add_ms(struct table *t, const struct reply_element *e)
{
	table_add(t, "%s", e->number < 0 ? "none" : text_ms((double)e->number).s);
}

static void add_time(struct table *t, const struct reply_element *e)
{
	char text[64];
	time_t s = (time_t)(e->number / 1000);
	struct tm tm;
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z", localtime_r(&s, &tm));
	table_add(t, "%s", text);
}

/* Fields of META with a unit; the others are shown as they are. */
static const struct {
	const char *field, *label;
	void (*add)(struct table *t, const struct reply_element *e);
} meta_fields[] = {
	{"age_ms", "age", add_ms}, {"ttl_ms", "ttl", add_ms}, {"size", "size", add_size}, {"stored_at", "stored", add_time},
};

static bool is_text(const struct reply_element *e, const char *text)
{
	return e->len == strlen(text) && memcmp(e->data, text, e->len) == 0;
}

static void add_meta(struct table *t, const struct reply_element *name, const struct reply_element *value)
{
	size_t i = 0, n = sizeof(meta_fields) / sizeof(meta_fields[0]);
	while (i < n && !is_text(name, meta_fields[i].field))
		i++;
	if (i < n)
		table_add(t, "%s", meta_fields[i].label);
	else
		table_add(t, "%.*s", (int)name->len, name->data);
	if (value->type == '_' || value->number < -1)
		table_add(t, "-");
	else if (i < n)
		meta_fields[i].add(t, value);
	else
		table_add(t, "%.*s", (int)value->len, value->data);
}

int ctl_meta(struct ctl *c)
{
	int status = ctl_ask_for(c, "META");
	if (status != CTL_GOOD)
		return status;
	struct table t = TABLE_INIT("ll");
	struct reply_element map, name, value;
	const char *at = c->link.reply, *end = at + c->link.reply_len;
	at += reply_element(at, (size_t)(end - at), &map);
	for (int64_t i = 0; i < map.number; i += 2) {
		at += reply_element(at, (size_t)(end - at), &name);
		(void)reply_element(at, (size_t)(end - at), &value);
		at += reply_length(at, (size_t)(end - at));
		add_meta(&t, &name, &value);
		if (is_text(&name, "state") && is_text(&value, "absent"))
			status = CTL_NO;
	}
	struct buf b = BUF_INIT;
	table_print(&t, &b);
	if (!c->is_json)
		return ctl_show(&b, status);
	buf_free(&b);
	return show_json(c, status);
}

/* ---- stats ---- */

static void add_type(struct table *t, const cJSON *type)
{
	struct reads r = reads_between(type, NULL);
	table_add(t, "%s", type->string);
	table_add(t, "%s", text_count(figure(type, "entries")).s);
	table_add(t, "%s", text_bytes(figure(type, "bytes")).s);
	table_add(t, "%s", text_count(r.all).s);
	table_add(t, "%s", text_percent(r.memory, r.all).s);
	table_add(t, "%s", text_percent(r.redis, r.all).s);
	table_add(t, "%s", text_count(r.fetches).s);
	table_add(t, "%s", text_count(r.failures).s);
	table_add(t, "%s", text_count(r.stale).s);
}

static void add_types(struct buf *b, const cJSON *stats)
{
	static const char *const heads[] = {"TYPE", "ENTRIES", "BYTES", "READS", "MEMORY", "REDIS", "FETCHES", "FAILED", "STALE"};
	struct table t = TABLE_INIT("lrrrrrrrr");
	const cJSON *type;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		table_add(&t, "%s", heads[i]);
	cJSON_ArrayForEach(type, figure_at(stats, "types"))
		add_type(&t, type);
	table_print(&t, b);
}

static void add_redis(struct table *t, const cJSON *stats)
{
	table_add(t, "redis");
	if (strcmp(figure_text(stats, "redis.state"), "off") == 0)
		table_add(t, "off");
	else
		table_add(t, "%s; %s commands, %s errors, %s time-outs, %s drops", figure_text(stats, "redis.state"),
			text_count(figure(stats, "redis.commands")).s, text_count(figure(stats, "redis.errors")).s,
			text_count(figure(stats, "redis.timeouts")).s, text_count(figure(stats, "redis.drops")).s);
}

static void add_daemon(struct buf *b, const cJSON *stats)
{
	struct table t = TABLE_INIT("ll");
	table_add(&t, "catcached");
	table_add(&t, "%s, pid %.0f, up %s", figure_text(stats, "server.version"), figure(stats, "server.pid"),
		text_s(figure(stats, "server.uptime_s")).s);
	table_add(&t, "clients");
	table_add(&t, "%s of %s; %s connections since the start, %s refused", text_count(figure(stats, "server.clients")).s,
		text_count(figure(stats, "server.max_clients")).s, text_count(figure(stats, "server.connections")).s,
		text_count(figure(stats, "server.rejected_connections")).s);
	table_add(&t, "commands");
	table_add(&t, "%s; %s broken frames", text_count(figure(stats, "server.commands")).s, text_count(figure(stats, "server.protocol_errors")).s);
	table_add(&t, "memory");
	table_add(&t, "%s of %s (%s), entries %s", text_bytes(figure(stats, "memory.bytes")).s, text_bytes(figure(stats, "memory.limit")).s,
		text_percent(figure(stats, "memory.bytes"), figure(stats, "memory.limit")).s, text_count(figure(stats, "memory.entries")).s);
	add_redis(&t, stats);
	table_add(&t, "flights");
	table_add(&t, "%s under way, %s waiting", text_count(figure(stats, "flights.under_way")).s,
		text_count(figure(stats, "flights.waiting")).s);
	table_print(&t, b);
}

/* Every counter of one type. */
static void add_counters(struct buf *b, const cJSON *stats)
{
	struct table t = TABLE_INIT("ll");
	const cJSON *counter;
	cJSON_ArrayForEach(counter, stats) {
		bool is_bytes = strcmp(counter->string, "bytes") == 0;
		table_add(&t, "%s", counter->string);
		if (cJSON_IsNumber(counter))
			table_add(&t, "%s", is_bytes ? text_bytes(counter->valuedouble).s : text_count(counter->valuedouble).s);
		else
			table_add(&t, "%s", cJSON_IsString(counter) ? counter->valuestring : "-");
	}
	table_print(&t, b);
}

/* The reply as JSON, to be freed; NULL if it is none. */
static cJSON *parse_reply(const struct ctl *c)
{
	struct reply_element e = ctl_reply(c);
	return cJSON_ParseWithLength(e.data, e.len);
}

int ctl_stats(struct ctl *c)
{
	int status = ctl_ask_for(c, "STATS");
	if (status != CTL_GOOD || c->is_json)
		return status == CTL_GOOD ? show_json(c, CTL_GOOD) : status;
	cJSON *stats = parse_reply(c);
	if (!stats)
		return ctl_tell(c, ctl_not_json(c, "STATS"));
	struct buf b = BUF_INIT;
	if (c->argc > 0) {
		add_counters(&b, stats);
	} else {
		add_daemon(&b, stats);
		buf_add_char(&b, '\n');
		add_types(&b, stats);
	}
	cJSON_Delete(stats);
	return ctl_show(&b, CTL_GOOD);
}

/* ---- health ---- */

static void add_component(struct table *t, bool is_good, const char *name, const char *text)
{
	table_add(t, "%s", is_good ? "ok" : "degraded");
	table_add(t, "%s", name);
	table_add(t, "%s", text);
}

static void add_redis_health(struct table *t, const cJSON *health)
{
	static const struct {
		const char *coherence, *text;
		bool is_good;
	} links[] = {
		{"tracking", "changes in Redis are heard of at once", true},
		{"pubsub", "only changes made through sidecars are heard of: the server refuses CLIENT TRACKING", false},
		{"deaf", "changes in Redis are not heard of", false},
		{"away", "changes in Redis are not heard of: it is away", false},
	};
	char text[400];
	const char *state = figure_text(health, "redis.state"), *coherence = figure_text(health, "redis.coherence");
	const char *reason = figure_text(health, "redis.reason"), *breaker = figure_text(health, "redis.breaker");
	bool is_off = strcmp(state, "off") == 0, is_good = is_off || (strcmp(state, "up") == 0 && !*reason);
	snprintf(text, sizeof(text), "%s%s%s%s%s", state, is_off ? "" : ", breaker ", is_off ? "" : breaker,
		is_good ? "" : ": ", is_good ? "" : reason);
	add_component(t, is_good, "redis", text);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (strcmp(links[i].coherence, coherence) == 0)
			add_component(t, links[i].is_good, "coherence", links[i].text);
}

static void add_source(struct table *t, const char *name, const char *state, const char *error)
{
	char text[400];
	snprintf(text, sizeof(text), "breaker %s%s%s", state, *error ? ": " : "", error);
	add_component(t, strcmp(state, "closed") == 0 && !*error, name, text);
}

/* The database and the programs as a whole, then each that fails again and again. */
static void add_sources(struct table *t, const cJSON *health)
{
	const cJSON *failing;
	add_source(t, "database", figure_text(health, "sources.database"), "");
	add_source(t, "programs", figure_text(health, "sources.programs"), "");
	cJSON_ArrayForEach(failing, figure_at(health, "sources.failing"))
		add_source(t, figure_text(failing, "source"), figure_text(failing, "state"), figure_text(failing, "error"));
}

static void add_replay(struct table *t, const cJSON *health)
{
	char text[300];
	double keys = figure(health, "replay.keys"), clears = figure(health, "replay.clears"), lost = figure(health, "replay.lost");
	snprintf(text, sizeof(text), "%s keys (%s) and %s removals wait for Redis%s%s", text_count(keys).s, text_bytes(figure(health, "replay.bytes")).s,
		text_count(clears).s, lost > 0 ? "; writes lost so far: " : "", lost > 0 ? text_count(lost).s : "");
	add_component(t, keys + clears == 0, "replay", keys + clears + lost > 0 ? text : "nothing waits for Redis");
}

static void add_others(struct table *t, const cJSON *health)
{
	char text[200];
	bool is_guarded = cJSON_IsTrue(figure_at(health, "guarded"));
	add_component(t, !is_guarded, "guard", is_guarded ? "set: what is fetched is not stored" : "not set");
	snprintf(text, sizeof(text), "%s under way, %s waiting", text_count(figure(health, "flights.under_way")).s,
		text_count(figure(health, "flights.waiting")).s);
	add_component(t, true, "flights", text);
}

int ctl_health(struct ctl *c)
{
	int status = ctl_ask_for(c, "HEALTH");
	if (status != CTL_GOOD)
		return status;
	cJSON *health = parse_reply(c);
	if (!health)
		return ctl_tell(c, ctl_not_json(c, "HEALTH"));
	struct table t = TABLE_INIT("lll");
	struct buf b = BUF_INIT;
	const cJSON *reason;
	bool is_good = strcmp(figure_text(health, "status"), "ok") == 0;
	add_component(&t, is_good, "catcached", c->link.version);
	add_redis_health(&t, health);
	add_sources(&t, health);
	add_replay(&t, health);
	add_others(&t, health);
	table_print(&t, &b);
	cJSON_ArrayForEach(reason, figure_at(health, "reasons"))
		if (cJSON_IsString(reason))
			buf_addf(&b, "%s%s\n", reason == figure_at(health, "reasons")->child ? "\n" : "", reason->valuestring);
	cJSON_Delete(health);
	if (!c->is_json)
		return ctl_show(&b, is_good ? CTL_GOOD : CTL_DEGRADED);
	buf_free(&b);
	return show_json(c, is_good ? CTL_GOOD : CTL_DEGRADED);
}
