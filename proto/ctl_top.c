/* catcachectl top: the daemon's figures, live. Each round is two looks at STATS, one delay
 * apart, and one at HEALTH. On a terminal a round fills the screen and a daemon that goes
 * away is waited for; else it is a block of text. See ctl.h. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "ctl_figures.h"
#include "ctl_screen.h"
#include "ctl_text.h"

#define NAME_WIDTH 20
#define SCREEN_TIMEOUT_MS 1000  /* keys and signals wait for as long */

struct top {
	struct ctl *c;
	struct figures figures;
	struct buf frame;               /* what a round shows: lines */
	int64_t delay_ms;
	long rounds_left;               /* negative: no end */
	bool is_screen;                 /* on a terminal */
	struct screen screen;
};

/* ---- a round for people ---- */

static void add_clock(struct buf *b)
{
	char text[16];
	time_t s = time(NULL);
	struct tm tm;
	strftime(text, sizeof(text), "%H:%M:%S", localtime_r(&s, &tm));
	buf_add_str(b, text);
}

static void add_head(struct top *t)
{
	const cJSON *now = t->figures.now;
	struct buf *b = &t->frame;
	add_clock(b);
	buf_addf(b, "  catcached %s, pid %.0f, up %s, %s", figure_text(now, "server.version"), figure(now, "server.pid"),
		text_s(figure(now, "server.uptime_s")).s, figure_text(t->figures.health, "status"));
	buf_addf(b, "  %s\n\n", t->c->socket);
}

static void add_requests(struct top *t)
{
	const struct figures *f = &t->figures;
	struct buf *b = &t->frame;
	struct reads r = figures_reads(f);
	double s = figures_seconds(f);
	buf_addf(b, "requests  %s/s, reads %s/s", text_rate(figures_rate(f, "server.commands")).s, text_rate(r.all / s).s);
	buf_addf(b, "   clients %s of %s\n", text_count(figure(f->now, "server.clients")).s, text_count(figure(f->now, "server.max_clients")).s);
	if (isnan(s))
		r = (struct reads){0};
	buf_addf(b, "answered  memory %s, redis %s, source %s", text_percent(r.memory, r.all).s, text_percent(r.redis, r.all).s,
		text_percent(r.source, r.all).s);
	buf_addf(b, "   stale %s\n", text_percent(r.stale, r.all).s);
	buf_addf(b, "memory    %s of %s (%s)   entries %s\n", text_bytes(figure(f->now, "memory.bytes")).s, text_bytes(figure(f->now, "memory.limit")).s,
		text_percent(figure(f->now, "memory.bytes"), figure(f->now, "memory.limit")).s, text_count(figure(f->now, "memory.entries")).s);
}

static void add_health(struct top *t)
{
	const struct figures *f = &t->figures;
	const cJSON *health = f->health;
	struct buf *b = &t->frame;
	bool has_redis = strcmp(figure_text(health, "redis.state"), "off") != 0;
	buf_addf(b, "redis     %s", figure_text(health, "redis.state"));
	if (has_redis)
		buf_addf(b, ", %s, breaker %s   commands %s/s, errors %s/s", figure_text(health, "redis.coherence"),
			figure_text(health, "redis.breaker"), text_rate(figures_rate(f, "redis.commands")).s, text_rate(figures_rate(f, "redis.errors")).s);
	buf_addf(b, "\nsources   database %s, programs %s   guard %s\n", figure_text(health, "sources.database"),
		figure_text(health, "sources.programs"), cJSON_IsTrue(figure_at(health, "guarded")) ? "set" : "not set");
	buf_addf(b, "flights   %s under way, %s waiting", text_count(figure(health, "flights.under_way")).s,
		text_count(figure(health, "flights.waiting")).s);
	buf_addf(b, "   replay keys %s (%s)\n", text_count(figure(health, "replay.keys")).s, text_bytes(figure(health, "replay.bytes")).s);
	const cJSON *reason;
	cJSON_ArrayForEach(reason, figure_at(health, "reasons"))
		if (cJSON_IsString(reason))
			screen_add_folded(b, "degraded  ", reason->valuestring);
	buf_add_char(b, '\n');
}

/* A type and how busy it was; what is read most stands first, then what holds most. */
struct busy {
	const cJSON *type;
	struct reads reads;
};

static int by_reads(const void *one, const void *other)
{
	const struct busy *a = one, *b = other;
	double bytes = figure(b->type, "bytes") - figure(a->type, "bytes");
	if (a->reads.all != b->reads.all)
		return a->reads.all < b->reads.all ? 1 : -1;
	return bytes > 0 ? 1 : bytes < 0 ? -1 : strcmp(a->type->string, b->type->string);
}

/* The types in this order; to be freed. */
static struct busy *sort_types(const struct figures *f, size_t *n)
{
	const cJSON *types = figure_at(f->now, "types"), *type;
	struct busy *all = xcalloc((size_t)cJSON_GetArraySize(types) + 1, sizeof(*all));
	*n = 0;
	cJSON_ArrayForEach(type, types)
		all[(*n)++] = (struct busy){.type = type, .reads = reads_between(type, figures_before(f, type->string))};
	qsort(all, *n, sizeof(*all), by_reads);
	return all;
}

static void add_type(struct table *t, const struct busy *busy, double s)
{
	const struct reads *r = &busy->reads;
	double entries = figure(busy->type, "entries");
	table_add(t, "%-*.*s", NAME_WIDTH, NAME_WIDTH, busy->type->string);
	table_add(t, "%7s", entries < 1e6 ? text_count(entries).s : text_rate(entries).s);
	table_add(t, "%9s", text_bytes(figure(busy->type, "bytes")).s);
	table_add(t, "%6s", text_rate(r->memory / s).s);
	table_add(t, "%6s", text_rate((r->redis + r->source) / s).s);
	table_add(t, "%7s", text_rate(r->fetches / s).s);
	table_add(t, "%7s", text_rate(r->stale / s).s);
}

static void add_types(struct top *t)
{
	static const char *const heads[] = {"TYPE", "ENTRIES", "BYTES", "HITS/S", "MISS/S", "FETCH/S", "STALE/S"};
	size_t n;
	struct busy *all = sort_types(&t->figures, &n);
	struct table table = TABLE_INIT("lrrrrrr");
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		table_add(&table, "%s", heads[i]);
	for (size_t i = 0; i < n; i++)
		add_type(&table, &all[i], figures_seconds(&t->figures));
	table_print(&table, &t->frame);
	free(all);
}

static void compose(struct top *t)
{
	t->frame.len = 0;
	add_head(t);
	add_requests(t);
	add_health(t);
	add_types(t);
}

/* ---- a round for scripts ---- */

static void add_rates(cJSON *o, const struct reads *r, double s)
{
	cJSON_AddNumberToObject(o, "reads_per_s", r->all / s);
	cJSON_AddNumberToObject(o, "memory_hits_per_s", r->memory / s);
	cJSON_AddNumberToObject(o, "redis_hits_per_s", r->redis / s);
	cJSON_AddNumberToObject(o, "source_reads_per_s", r->source / s);
	cJSON_AddNumberToObject(o, "stale_per_s", r->stale / s);
	cJSON_AddNumberToObject(o, "fetches_per_s", r->fetches / s);
	cJSON_AddNumberToObject(o, "fetch_failures_per_s", r->failures / s);
}

static void compose_json(struct top *t)
{
	const struct figures *f = &t->figures;
	double s = figures_seconds(f);
	size_t n;
	struct reads all = figures_reads(f);
	struct busy *busy = sort_types(f, &n);
	cJSON *o = cJSON_CreateObject();
	cJSON_AddNumberToObject(o, "seconds", s);
	cJSON_AddNumberToObject(o, "requests_per_s", figures_rate(f, "server.commands"));
	add_rates(o, &all, s);
	cJSON_AddItemToObject(o, "memory", cJSON_Duplicate(figure_at(f->now, "memory"), true));
	cJSON_AddItemToObject(o, "server", cJSON_Duplicate(figure_at(f->now, "server"), true));
	cJSON_AddItemToObject(o, "health", cJSON_Duplicate(f->health, true));
	cJSON *types = cJSON_AddObjectToObject(o, "types");
	for (size_t i = 0; i < n; i++) {
		cJSON *type = cJSON_AddObjectToObject(types, busy[i].type->string);
		cJSON_AddNumberToObject(type, "entries", figure(busy[i].type, "entries"));
		cJSON_AddNumberToObject(type, "bytes", figure(busy[i].type, "bytes"));
		add_rates(type, &busy[i].reads, s);
	}
	char *text = cJSON_PrintUnformatted(o);
	t->frame.len = 0;
	buf_addf(&t->frame, "%s\n", text);
	cJSON_free(text);
	cJSON_Delete(o);
	free(busy);
}

/* ---- the rounds ---- */

/* Until the next round is due. False if top is to end. */
static bool await_round(struct top *t, int64_t end_us)
{
	while (screen_wait(&t->screen, end_us)) {
		if (ctl_now_us() >= end_us)
			return true;
		if (t->is_screen)
			(void)screen_draw(&t->frame);   /* it may have another size; the next round tells if it is gone */
	}
	return false;
}

/* Asks, connecting first where the connection was lost. */
static int look(struct top *t)
{
	if (t->c->link.fd < 0 && ctl_link_open(&t->c->link, t->c->socket, t->c->timeout_ms) < 0)
		return CTL_AWAY;
	return figures_take(&t->figures, t->c);
}

/* A screen that says why there are no figures. */
static void compose_away(struct top *t)
{
	ctl_link_close(&t->c->link);
	figures_free(&t->figures);
	t->frame.len = 0;
	add_clock(&t->frame);
	buf_add_str(&t->frame, "  waiting for the daemon\n\n");
	screen_add_folded(&t->frame, "", t->c->link.why.data);
}

static int show(struct top *t)
{
	if (t->is_screen)
		return screen_draw(&t->frame);
	if (!t->c->is_json)
		buf_add_char(&t->frame, '\n');
	return ctl_write(t->frame.data, t->frame.len);
}

/* One round. The first has no rates yet: it is for screens only. */
static int do_round(struct top *t)
{
	int status = look(t);
	bool has_rates = status == CTL_GOOD && t->figures.before;
	if (status != CTL_GOOD && !t->is_screen)
		return ctl_tell(t->c, status);
	if (status != CTL_GOOD)
		compose_away(t);
	else if (t->c->is_json)
		compose_json(t);
	else
		compose(t);
	if (!has_rates)
		return t->is_screen ? show(t) : CTL_GOOD;
	if (t->rounds_left > 0)
		t->rounds_left--;
	return show(t);
}

static int run(struct top *t)
{
	int64_t next_us = ctl_now_us();
	int status;
	screen_enter(&t->screen, t->is_screen);
	do {
		status = do_round(t);
		next_us += t->delay_ms * 1000;
		if (next_us < ctl_now_us())
			next_us = ctl_now_us();         /* rounds that were missed are not made up for */
	} while (status == CTL_GOOD && t->rounds_left != 0 && await_round(t, next_us));
	screen_leave(&t->screen);
	return status;
}

int ctl_top(struct ctl *c)
{
	struct top t = {.c = c, .delay_ms = 1000, .rounds_left = -1, .is_screen = !c->is_plain && !c->is_json};
	char *end;
	if (c->options['n']) {
		t.rounds_left = strtol(c->options['n'], &end, 10);
		if (t.rounds_left <= 0 || *end) {
			ctl_complain("--count takes a number of rounds, not %s", c->options['n']);
			return CTL_USAGE;
		}
	}
	if (c->options['d'])
		t.delay_ms = (int64_t)(strtod(c->options['d'], NULL) * 1000);
	if (t.is_screen && c->timeout_ms > SCREEN_TIMEOUT_MS)
		c->timeout_ms = SCREEN_TIMEOUT_MS;
	int status = run(&t);
	figures_free(&t.figures);
	buf_free(&t.frame);
	return status;
}
