/* EXPLAIN: what is known about one key, told to a person; see catalog.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "history.h"
#include "replay.h"
#include "value.h"

struct explanation {
	struct catalog *catalog;
	const struct conf_type *type;
	struct key key;                 /* owned */
	char holder[REDIS_TOKEN_LEN + 1];       /* of the lease; "": nobody */
	int64_t lease_ms;               /* how long he has it at the most */
	struct flight_view flight;      /* what is under way here */
	bool is_under_way;
	outcome_fn done;
	void *arg;
};

static const char *const source_names[] = {
	[SOURCE_CLIENT] = "a client's SET", [SOURCE_FETCH] = "a fetch", [SOURCE_REDIS] = "Redis",
};

static const char *const freshness_names[] = {
	[FRESH_YES] = "fresh", [FRESH_AHEAD] = "fresh, due for a refresh ahead", [FRESH_STALE] = "stale, served while it is refreshed",
	[FRESH_HELD] = "stale, served only if the fetch fails", [FRESH_SUSPECT] = "held, to be compared with Redis",
};

static void add_seconds(struct buf *b, const char *before, int64_t ms, const char *behind)
{
	buf_addf(b, "%s%.1f s%s", before, (double)ms / 1000, behind);
}

static void add_when(struct buf *b, int64_t wall_ms)
{
	time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;
	char text[32];
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&s, &tm));
	add_seconds(b, "", clock_wall_ms() - wall_ms, " ago");
	buf_addf(b, " (%s)", text);
}

static void add_type(struct buf *b, const struct explanation *x)
{
	const struct conf_type *t = x->type;
	if (!tiers_is_declared(&x->catalog->tiers, t)) {
		buf_add_str(b, "type: none declares this key, so it is Redis's alone\n");
		return;
	}
	buf_addf(b, "type: %s, by %s \"%.*s\"", t->name, t->exact ? "the key" : "the prefix", (int)t->prefix_len, t->key);
	if (t->ttl_ms)
		add_seconds(b, ", ttl ", t->ttl_ms, "");
	buf_addf(b, ", tiers%s%s\n", t->in_memory ? " memory" : "", t->in_redis ? " redis" : "");
}

static void add_memory(struct buf *b, const struct explanation *x, const struct memory_entry *e)
{
	if (!e) {
		buf_add_str(b, "memory: nothing\n");
		return;
	}
	buf_addf(b, "memory: %s", freshness_names[tiers_judge(&x->catalog->tiers, x->type, e)]);
	if (memory_value(e))
		buf_addf(b, ", %" PRIu32 " bytes from %s", memory_value(e)->len, source_names[e->source]);
	else
		buf_add_str(b, ", known not to exist");
	add_seconds(b, ", ", memory_age_ms(e, clock_ms()), " here");
	if (e->expires_ms != MEMORY_FOREVER && clock_ms() < e->expires_ms)
		add_seconds(b, ", ttl ", e->expires_ms - clock_ms(), " left");
	else if (e->expires_ms != MEMORY_FOREVER)
		add_seconds(b, ", ttl over since ", clock_ms() - e->expires_ms, "");
	buf_add_char(b, '\n');
}

static void add_redis(struct buf *b, const struct explanation *x, const struct redis_result *r)
{
	const struct tiers *t = &x->catalog->tiers;
	buf_add_str(b, "redis: ");
	if (!t->redis || !tiers_has_redis(t, x->type)) {
		buf_add_str(b, t->redis ? "not a tier of this type\n" : "off\n");
		return;
	}
	int64_t left_ms = catalog_left_ms(x->catalog, x->type, &x->key, r->ttl_ms), expires_ms;
	struct value *unsent;
	if (r->status == REDIS_NIL)
		buf_add_str(b, "nothing");
	else if (r->status != REDIS_ANSWERED)
		buf_addf(b, "no answer: %s", r->error);
	else if (left_ms)
		add_seconds(b, left_ms > 0 ? "ttl " : "ttl over since ", left_ms > 0 ? left_ms : -left_ms, left_ms > 0 ? " left" : "");
	else
		buf_add_str(b, "no ttl");
	if (r->status == REDIS_ANSWERED)
		buf_addf(b, ", %lld bytes", (long long)r->number);
	if (replay_knows(x->catalog->replay, x->type, &x->key, &unsent, &expires_ms))
		buf_add_str(b, ", and is still to be told of what was done here");
	buf_addf(b, "; its changes: %s\n", tracking_coherence_name(redis_coherence(t->redis)));
}

static void add_fetch(struct buf *b, const struct explanation *x, const struct history_record *h)
{
	static const char *const kinds[] = {"", "SQL", "a program", "assembling its parts"};
	if (x->type->fetch.kind == CONF_FETCH_NONE) {
		buf_add_str(b, "fetch: none\n");
		return;
	}
	buf_addf(b, "fetch: by %s; ", kinds[x->type->fetch.kind]);
	if (!h || !h->fetched_at_ms) {
		buf_add_str(b, "none known\n");
		return;
	}
	buf_addf(b, "the last one took %.1f ms, ", (double)h->took_us / 1000);
	add_when(b, h->fetched_at_ms);
	if (h->error[0])
		buf_addf(b, ", and failed (%u in a row): %s", h->failures, h->error);
	if (h->retry_ms > clock_ms())
		add_seconds(b, "; not again for ", h->retry_ms - clock_ms(), "");
	if (h->refused_ms)
		add_seconds(b, "; a smaller result was refused ", clock_ms() - h->refused_ms, " ago");
	buf_add_char(b, '\n');
}

/* What is being done for the key, here and elsewhere. */
static void add_under_way(struct buf *b, const struct explanation *x)
{
	const struct flight_view *f = &x->flight;
	if (x->is_under_way) {
		add_seconds(b, f->is_fetching ? "under way: a fetch since " : "under way: a read since ", f->since_ms, "");
		if (f->is_fetching)
			buf_add_str(b, f->is_leased ? ", with the lease of the fleet" : ", without a lease");
		if (f->awaits)
			buf_add_str(b, ", which waits for another sidecar's fetch");
		buf_addf(b, "; %zu waiting\n", f->waiting);
	}
	if (!x->holder[0] || (x->is_under_way && f->is_leased))
		return;
	buf_addf(b, "lease: another sidecar fetches (lease %s", x->holder);
	add_seconds(b, ", for ", x->lease_ms, " more at the most, unless renewed)\n");
}

static void add_change(struct buf *b, const char *how, const struct history_change *change)
{
	if (!change->by)
		return;
	buf_addf(b, "%s: by %s, ", how, change->by);
	add_when(b, change->at_ms);
	buf_add_char(b, '\n');
}

/* The last invalidation, and what came after it. */
static void add_changes(struct buf *b, const struct explanation *x)
{
	struct history_change invalidation = history_last_invalidation(x->catalog->history, x->type, &x->key);
	struct history_change note = history_last_note(x->catalog->history, &x->key);
	if (note.number > invalidation.number)
		add_change(b, "changed", &note);
	add_change(b, "invalidated", &invalidation);
}

/* What a fetch would mean for GET, if no tier has a fresh value. stale_ms: how long the one that
 * they have is past its TTL; -1: they have none. */
static const char *next_fetch(const struct explanation *x, int64_t stale_ms, const struct history_record *h)
{
	bool may_serve = stale_ms >= 0 && stale_ms < x->type->stale_if_error_ms;
	if (stale_ms >= 0 && stale_ms < x->type->stale_while_revalidate_ms)
		return "answer the stale value, and refresh behind";
	if (x->is_under_way && x->flight.answers_stale)
		return "answer the stale value, while it is being fetched";
	if (x->is_under_way)
		return "wait for what is under way";
	if (h && h->retry_ms > clock_ms())
		return may_serve ? "answer the stale value: the last fetch failed a short time ago"
			: "answer an error: the last fetch failed a short time ago";
	if (x->holder[0])
		return "wait for the fetch of another sidecar";
	return may_serve ? "fetch, and answer the stale value if that fails" : "fetch";
}

/* What GET would do now, in the order in which it looks. */
static const char *next_step(const struct explanation *x, const struct memory_entry *e, const struct redis_result *r,
	const struct history_record *h)
{
	const struct tiers *t = &x->catalog->tiers;
	enum freshness fresh = e ? tiers_judge(t, x->type, e) : FRESH_SUSPECT;
	struct value *unsent;
	int64_t expires_ms, left_ms = 0, stale_ms = e && memory_value(e) && clock_ms() >= e->expires_ms ? clock_ms() - e->expires_ms : -1;
	bool is_newer_here = replay_knows(x->catalog->replay, x->type, &x->key, &unsent, &expires_ms);
	bool is_there = r->status == REDIS_ANSWERED && !is_newer_here;
	if (e && fresh == FRESH_YES)
		return memory_value(e) ? "answer from memory" : "answer nil: it is remembered that the key does not exist";
	if (e && (fresh == FRESH_AHEAD || fresh == FRESH_STALE))
		return "answer from memory, and refresh behind";
	if (!e && unsent)
		return "answer the value that waits for Redis";
	if (is_newer_here && e && memory_value(e) && stale_ms < 0)
		return "answer from memory";
	if (is_there)
		left_ms = catalog_left_ms(x->catalog, x->type, &x->key, r->ttl_ms);
	if (is_there && left_ms >= 0)
		return "answer from Redis";
	if (r->status == REDIS_WRONGTYPE)
		return "answer an error: the key holds another type in Redis";
	if (x->type->fetch.kind == CONF_FETCH_NONE)
		return tiers_is_declared(t, x->type) || r->status == REDIS_NIL ? "answer nil: no tier has it, and the type has no fetch"
			: "answer an error: Redis does not answer";
	return next_fetch(x, is_there ? -left_ms : stale_ms, h);
}

static struct value *explain(const struct explanation *x, const struct redis_result *r)
{
	const struct tiers *t = &x->catalog->tiers;
	const struct memory_entry *e = memory_peek(t->memory, &x->key, clock_ms());
	const struct history_record *h = history_find(x->catalog->history, &x->key);
	struct buf b = BUF_INIT;
	add_type(&b, x);
	add_memory(&b, x, e);
	add_redis(&b, x, r);
	add_fetch(&b, x, h);
	add_under_way(&b, x);
	add_changes(&b, x);
	if (t->is_guarded)
		buf_add_str(&b, "guard: set, so what is fetched is not stored\n");
	buf_addf(&b, "GET would %s\n", next_step(x, e, r, h));
	struct value *v = value_copy(b.data, b.len);
	buf_free(&b);
	return v;
}

static void on_probed(void *arg, const struct redis_result *r)
{
	struct explanation *x = arg;
	x->is_under_way = flights_explain(x->catalog->flights, &x->key, &x->flight);
	struct value *v = explain(x, r);
	x->done(x->arg, v ? &(struct outcome){.status = OUTCOME_FOUND, .value = v}
		: &(struct outcome){.status = OUTCOME_ERROR, .error = "ERR out of memory"});
	value_unref(v);
	free((char *)x->key.data);
	free(x);
}

/* "<token> <mark>": somebody fetches. What begins otherwise tells how a fetch ended. */
static void on_lease_read(void *arg, const struct redis_result *r)
{
	struct explanation *x = arg;
	if (r->status == REDIS_ANSWERED && r->value->len > REDIS_TOKEN_LEN && !strchr("!?", r->value->data[0])) {
		memcpy(x->holder, r->value->data, REDIS_TOKEN_LEN);
		x->lease_ms = r->ttl_ms;
	}
	if (x->catalog->tiers.redis)
		redis_probe(x->catalog->tiers.redis, &x->key, on_probed, x);
	else /* a reload has turned it off meanwhile */
		on_probed(x, &(struct redis_result){.status = REDIS_NIL});
}

static void read_lease(struct explanation *x)
{
	struct buf name = BUF_INIT;
	buf_add_str(&name, CONF_OWN_PREFIX "lease:{");
	buf_add(&name, x->key.data, x->key.len);
	buf_add_char(&name, '}');
	struct key lease = key_of(name.data, name.len);
	redis_read(x->catalog->tiers.redis, &lease, on_lease_read, x);
	buf_free(&name);
}

void catalog_explain(struct catalog *c, const struct key *key, outcome_fn done, void *arg)
{
	struct explanation *x = xmalloc(sizeof(*x));
	*x = (struct explanation){.catalog = c, .type = tiers_type(&c->tiers, key), .key = key_dup(key), .done = done, .arg = arg};
	if (tiers_has_redis(&c->tiers, x->type))
		read_lease(x);
	else
		on_probed(x, &(struct redis_result){.status = REDIS_NIL});
}
