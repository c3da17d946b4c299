/* Changing single keys over all tiers: SET, DEL, EXPIRE; see catalog.h.
 *
 * A write changes memory when it is sent to Redis, on one connection, so memory and
 * Redis see the writes of this daemon in one order. A conditional write is known to
 * hold only when Redis has said so: it stands behind a fence till then. */
#include <stdio.h>
#include <stdlib.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "check.h"
#include "clock.h"
#include "history.h"
#include "replay.h"
#include "value.h"

/* ---- SET ---- */

struct write {
	struct catalog *catalog;
	const struct conf_type *type;
	struct key key;                 /* owned */
	struct value *value;            /* a reference */
	struct catalog_set how;
	struct check check;
	struct fence fence;             /* conditional writes */
	outcome_fn done;
	void *arg;
};

static void write_finish(struct write *w, const struct outcome *o)
{
	w->done(w->arg, o);
	value_unref(w->value);
	free((char *)w->key.data);
	free(w);
}

static void write_fail(struct write *w, const char *prefix, const char *reason)
{
	char error[CATALOG_ERROR_MAX];
	snprintf(error, sizeof(error), "%s%s", prefix, reason);
	write_finish(w, &(struct outcome){.status = OUTCOME_ERROR, .error = error});
}

static void write_ok(struct write *w)
{
	tiers_count(&w->catalog->tiers, w->type)->sets++;
	write_finish(w, &(struct outcome){.status = OUTCOME_FOUND});
}

static int remember(struct write *w)
{
	struct tiers *t = &w->catalog->tiers;
	return tiers_remember(t, w->type, &w->key, w->value, w->how.ttl_ms, SOURCE_CLIENT, t->epoch);
}

/* Redis is to have it when it can. */
static void replay(struct write *w)
{
	int64_t expires_ms = w->how.ttl_ms ? clock_ms() + w->how.ttl_ms : MEMORY_FOREVER;
	if (tiers_has_redis(&w->catalog->tiers, w->type))
		replay_write(w->catalog->replay, w->type, &w->key, w->value, expires_ms);
}

/* Redis did not take it. With a memory tier the value lives there; no client sees an error for it. */
static void redis_refused(struct write *w, const struct redis_result *r)
{
	tiers_count(&w->catalog->tiers, w->type)->redis_failures++;
	if (w->type->in_memory) {
		replay(w);
		write_ok(w);
	} else
		write_fail(w, r->status == REDIS_DOWN ? "UNAVAILABLE redis: " : "", r->error);
}

static void on_written(void *arg, const struct redis_result *r)
{
	struct write *w = arg;
	if (r->status == REDIS_ANSWERED) {
		replay_forget(w->catalog->replay, &w->key);
		write_ok(w);
	} else {
		redis_refused(w, r);
	}
}

static bool is_live(const struct memory_entry *e)
{
	return e && e->value && clock_ms() < e->expires_ms;
}

/* Without Redis the memory tier decides whether the condition holds. */
static void write_to_memory(struct write *w)
{
	struct tiers *t = &w->catalog->tiers;
	bool is_there = is_live(memory_peek(t->memory, &w->key, clock_ms()));
	if ((w->how.condition == REDIS_IF_ABSENT && is_there) || (w->how.condition == REDIS_IF_PRESENT && !is_there)) {
		write_finish(w, &(struct outcome){.status = OUTCOME_ABSENT});
		return;
	}
	tiers_forget(t, &w->key);
	if (remember(w) == 0) {
		replay(w);
		write_ok(w);
	} else if (w->type->in_memory)
		write_fail(w, "ERR ", "the value does not fit into memory.limit");
	else
		write_fail(w, "UNAVAILABLE redis: ", t->redis ? redis_reason(t->redis) : "off");
}

/* A conditional write is back. If the key was changed meanwhile, Redis
 * alone knows which came last. */
static void on_written_if(void *arg, const struct redis_result *r)
{
	struct write *w = arg;
	struct tiers *t = &w->catalog->tiers;
	bool whole = fence_lift(&t->fences, &w->fence);
	if (r->status == REDIS_NIL) {
		write_finish(w, &(struct outcome){.status = OUTCOME_ABSENT});
	} else if (r->status == REDIS_ANSWERED) {
		replay_forget(w->catalog->replay, &w->key);
		tiers_forget(t, &w->key);
		if (whole)
			(void)remember(w); /* no room: Redis has it */
		write_ok(w);
	} else {
		tiers_count(t, w->type)->redis_failures++;
		write_to_memory(w);
	}
}

static void write_to_tiers(struct write *w)
{
	struct tiers *t = &w->catalog->tiers;
	if (!tiers_reaches_redis(t, w->type)) {
		write_to_memory(w);
	} else if (w->how.condition == REDIS_ALWAYS) {
		if (replay_has(w->catalog->replay, &w->key))
			replay(w);
		tiers_forget(t, &w->key);
		(void)remember(w); /* no room: Redis has it */
		redis_write(t->redis, &w->key, w->value, tiers_redis_ttl_ms(w->type, w->how.ttl_ms), REDIS_ALWAYS, on_written, w);
	} else {
		fence_set(&t->fences, &w->fence, &w->key);
		redis_write(t->redis, &w->key, w->value, tiers_redis_ttl_ms(w->type, w->how.ttl_ms), w->how.condition, on_written_if, w);
	}
}

static void on_checked(void *arg)
{
	struct write *w = arg;
	if (w->check.refusal[0]) {
		tiers_count(&w->catalog->tiers, w->type)->refused_json++;
		write_fail(w, "ERR invalid value: ", w->check.refusal);
	} else {
		write_to_tiers(w);
	}
}

void catalog_set(struct catalog *c, const struct key *key, struct value *v, const struct catalog_set *how,
	outcome_fn done, void *arg)
{
	struct write *w = xcalloc(1, sizeof(*w));
	*w = (struct write){.catalog = c, .type = tiers_type(&c->tiers, key), .key = key_dup(key), .value = value_ref(v),
		.how = *how, .done = done, .arg = arg};
	if (v->len > w->type->max_value) {
		char reason[128];
		snprintf(reason, sizeof(reason), "%zu bytes are over max_value of type %s (%llu)", v->len, w->type->name,
			(unsigned long long)w->type->max_value);
		tiers_count(&c->tiers, w->type)->oversize++;
		write_fail(w, "ERR invalid value: ", reason);
		return;
	}
	if (!w->how.ttl_ms)
		w->how.ttl_ms = tiers_ttl_ms(w->type);
	if (w->type->format == CONF_JSON) {
		w->check = (struct check){.value = v, .want_json = true};
		check_start(&w->check, c->tiers.cpu, on_checked, w);
	} else {
		write_to_tiers(w);
	}
}

/* ---- DEL, EXPIRE ---- */

/* What a change of keys waits for: the answer of Redis, with what memory knows. */
struct change {
	struct catalog *catalog;
	struct key *keys;       /* those that Redis is told of, owned; to be told again if it did not hear */
	size_t n_keys;
	int64_t ttl_ms;         /* EXPIRE: the new one; 0: DEL */
	bool is_declared;       /* all of the keys are */
	uint64_t in_memory;     /* keys that only the memory tier holds, and that were there */
	uint64_t in_both;       /* keys of the memory tier that Redis should have too, and that were there */
	outcome_fn done;
	void *arg;
};

static void change_free(struct change *ch)
{
	for (size_t i = 0; i < ch->n_keys; i++)
		free((char *)ch->keys[i].data);
	free(ch->keys);
	free(ch);
}

/* Redis did not hear of it (or perhaps it did: once more does no harm). */
static void replay_change(struct change *ch)
{
	struct tiers *t = &ch->catalog->tiers;
	for (size_t i = 0; i < ch->n_keys; i++) {
		const struct conf_type *type = tiers_type(t, &ch->keys[i]);
		const struct memory_entry *e = ch->ttl_ms ? memory_peek(t->memory, &ch->keys[i], clock_ms()) : NULL;
		if (e && e->value) {
			replay_write(ch->catalog->replay, type, &ch->keys[i], e->value, e->expires_ms);
		} else if (tiers_is_declared(t, type)) {
			tiers_forget(t, &ch->keys[i]); /* a reader may have found it in Redis meanwhile */
			replay_delete(ch->catalog->replay, type, &ch->keys[i]);
		}
	}
}

static void on_changed(void *arg, const struct redis_result *r)
{
	struct change *ch = arg;
	struct outcome o = {.status = OUTCOME_FOUND, .number = (int64_t)(ch->in_memory + ch->in_both)};
	char error[CATALOG_ERROR_MAX];
	for (size_t i = 0; i < ch->n_keys && r->status == REDIS_ANSWERED && !ch->ttl_ms; i++)
		replay_forget(ch->catalog->replay, &ch->keys[i]);
	if (r->status == REDIS_ANSWERED)
		o.number = (int64_t)ch->in_memory + catalog_touched(r->number, ch->in_both);
	else if (!ch->is_declared)
		o = catalog_without_redis(false, r, error);
	if (r->status == REDIS_DOWN || r->status == REDIS_ERROR)
		replay_change(ch);
	ch->done(ch->arg, &o);
	change_free(ch);
}

/* Copies those of keys that are in Redis to ch, and notes whether all are declared. */
static void keep_keys(struct change *ch, const struct key *keys, size_t n)
{
	struct tiers *t = &ch->catalog->tiers;
	ch->keys = xcalloc(n, sizeof(*ch->keys));
	ch->is_declared = true;
	for (size_t i = 0; i < n; i++) {
		const struct conf_type *type = tiers_type(t, &keys[i]);
		ch->is_declared &= tiers_is_declared(t, type);
		if (tiers_has_redis(t, type))
			ch->keys[ch->n_keys++] = key_dup(&keys[i]);
	}
}

static struct change *change_new(struct catalog *c, const struct key *keys, size_t n, outcome_fn done, void *arg)
{
	struct change *ch = xcalloc(1, sizeof(*ch));
	*ch = (struct change){.catalog = c, .done = done, .arg = arg};
	keep_keys(ch, keys, n);
	if (ch->is_declared || c->tiers.redis)
		return ch;
	done(arg, &(struct outcome){.status = OUTCOME_ERROR, .error = CATALOG_REDIS_IS_OFF});
	change_free(ch);
	return NULL;
}

static void forget_all(struct change *ch, const struct key *keys, size_t n, const char *who)
{
	struct catalog *c = ch->catalog;
	for (size_t i = 0; i < n; i++) {
		const struct conf_type *type = tiers_type(&c->tiers, &keys[i]);
		bool was_there = tiers_forget(&c->tiers, &keys[i]);
		*(tiers_has_redis(&c->tiers, type) ? &ch->in_both : &ch->in_memory) += was_there;
		tiers_count(&c->tiers, type)->drops++;
		if (replay_has(c->replay, &keys[i]))
			replay_delete(c->replay, type, &keys[i]);
		if (tiers_is_declared(&c->tiers, type))
			history_changed(c->history, &keys[i], who);
	}
}

void catalog_delete(struct catalog *c, const struct key *keys, size_t n, const char *who, outcome_fn done, void *arg)
{
	for (size_t i = 0; i < n; i++) {
		const struct conf_type *type = tiers_type(&c->tiers, &keys[i]);
		if (tiers_is_declared(&c->tiers, type))
			catalog_cascade(c, type);
	}
	catalog_remove(c, keys, n, who, done, arg);
}

void catalog_remove(struct catalog *c, const struct key *keys, size_t n, const char *who, outcome_fn done, void *arg)
{
	struct change *ch = change_new(c, keys, n, done, arg);
	if (!ch)
		return;
	forget_all(ch, keys, n, who);
	if (ch->n_keys)
		redis_delete(c->tiers.redis, ch->keys, ch->n_keys, on_changed, ch);
	/* Reads that wait for another sidecar's fetch: it is too old now, and its lease is gone. */
	for (size_t i = 0; i < n; i++)
		flights_wake(c->flights, &keys[i]);
	if (!ch->n_keys)
		on_changed(ch, &(struct redis_result){.status = REDIS_ANSWERED});
}

void catalog_expire(struct catalog *c, const struct key *key, int64_t ttl_ms, outcome_fn done, void *arg)
{
	struct change *ch = change_new(c, key, 1, done, arg);
	if (!ch)
		return;
	const struct conf_type *type = tiers_type(&c->tiers, key);
	struct memory_entry *e = memory_peek(c->tiers.memory, key, clock_ms());
	bool is_there = is_live(e);
	ch->ttl_ms = ttl_ms;
	*(ch->n_keys ? &ch->in_both : &ch->in_memory) = is_there;
	fence_break(&c->tiers.fences, key); /* a fill under way knows the old TTL */
	if (is_there)
		tiers_set_ttl(&c->tiers, type, e, ttl_ms);
	if (ch->n_keys)
		redis_expire(c->tiers.redis, key, tiers_redis_ttl_ms(type, ttl_ms), on_changed, ch);
	else
		on_changed(ch, &(struct redis_result){.status = REDIS_ANSWERED});
}
