/* EXPLAIN: what is known about one key, told to a person; see catalog.h. */
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
	if (e->value)
		buf_addf(b, ", %zu bytes from %s", e->value->len, source_names[e->source]);
	else
		buf_add_str(b, ", known not to exist");
	add_seconds(b, ", ", clock_ms() - e->stored_ms, " here");
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
	int64_t left_ms = catalog_left_ms(x->catalog, x->type, &x->key, r->ttl_ms);
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

static void add_change(struct buf *b, const struct history_record *h)
{
	if (!h || !h->changed_at_ms)
		return;
	buf_addf(b, "invalidated: by %s, ", h->changed_by);
	add_when(b, h->changed_at_ms);
	buf_add_char(b, '\n');
}

/* What GET would do now, in the order in which it looks. */
static const char *next_step(const struct explanation *x, const struct memory_entry *e, const struct redis_result *r,
	const struct history_record *h)
{
	const struct tiers *t = &x->catalog->tiers;
	enum freshness fresh = e ? tiers_judge(t, x->type, e) : FRESH_SUSPECT;
	if (e && fresh == FRESH_YES)
		return e->value ? "answer from memory" : "answer nil: it is remembered that the key does not exist";
	if (e && (fresh == FRESH_AHEAD || fresh == FRESH_STALE))
		return "answer from memory, and refresh behind";
	if (r->status == REDIS_ANSWERED && catalog_left_ms(x->catalog, x->type, &x->key, r->ttl_ms) >= 0)
		return "answer from Redis";
	if (r->status == REDIS_WRONGTYPE)
		return "answer an error: the key holds another type in Redis";
	if (x->type->fetch.kind == CONF_FETCH_NONE)
		return tiers_is_declared(t, x->type) || r->status == REDIS_NIL ? "answer nil: no tier has it, and the type has no fetch"
			: "answer an error: Redis does not answer";
	if (h && h->retry_ms > clock_ms())
		return e && e->value ? "answer the stale value: the last fetch failed a short time ago"
			: "answer an error: the last fetch failed a short time ago";
	return e && e->value ? "fetch, and answer the stale value if that fails" : "fetch";
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
	add_change(&b, h);
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
	struct value *v = explain(x, r);
	x->done(x->arg, v ? &(struct outcome){.status = OUTCOME_FOUND, .value = v}
		: &(struct outcome){.status = OUTCOME_ERROR, .error = "ERR out of memory"});
	value_unref(v);
	free((char *)x->key.data);
	free(x);
}

void catalog_explain(struct catalog *c, const struct key *key, outcome_fn done, void *arg)
{
	struct explanation *x = xmalloc(sizeof(*x));
	*x = (struct explanation){.catalog = c, .type = tiers_type(&c->tiers, key), .key = key_dup(key), .done = done, .arg = arg};
	if (tiers_has_redis(&c->tiers, x->type))
		redis_probe(c->tiers.redis, key, on_probed, x);
	else
		on_probed(x, &(struct redis_result){.status = REDIS_NIL});
}
