/* Writing values over all tiers: SET with all its options, MSET; see catalog.h.
 *
 * A plain SET changes memory when it is sent to Redis, on one connection, so memory and
 * Redis see the writes of this daemon in one order. A write whose effect depends on what
 * Redis has is known only when Redis has said so: it stands behind a fence till then. */
#include <inttypes.h>
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

struct write {
	struct catalog *catalog;
	const struct conf_type *type;
	struct key key;                 /* owned */
	struct value *value;            /* a reference */
	struct catalog_set how;         /* its ttl_ms is the value's, if that is known */
	struct fence fence;             /* of a write that Redis decides on */
	bool is_relayed;                /* part of a transaction, which goes past the writes of others */
	bool had_word;                  /* Redis was still to be told something older of the key */
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

/* old: what was there before, if it was asked for and there was something. */
static void write_end(struct write *w, bool is_written, struct value *old)
{
	tiers_count(&w->catalog->tiers, w->type)->sets += is_written;
	if (is_written)
		history_noted(w->catalog->history, &w->key, "a SET");
	write_finish(w, &(struct outcome){.status = is_written ? OUTCOME_FOUND : OUTCOME_ABSENT, .value = old});
}

/* An end in the past: the key is gone as soon as it is written. */
static bool is_over(const struct write *w)
{
	return w->how.ttl == CATALOG_TTL_GIVEN && w->how.ttl_ms <= 0;
}

static int remember(struct write *w)
{
	struct tiers *t = &w->catalog->tiers;
	return is_over(w) ? 0 : tiers_remember(t, w->type, &w->key, w->value, w->how.ttl_ms, SOURCE_CLIENT, t->epoch);
}

/* Redis is to have it when it can. */
static void replay(struct write *w)
{
	struct catalog *c = w->catalog;
	int64_t expires_ms = w->how.ttl_ms ? clock_ms() + w->how.ttl_ms : MEMORY_FOREVER;
	if (!tiers_has_redis(&c->tiers, w->type))
		return;
	if (is_over(w))
		replay_delete(c->replay, w->type, &w->key);
	else
		replay_write(c->replay, w->type, &w->key, w->value, expires_ms);
}

/* Redis did not take it. With a memory tier the value lives there; no client sees an error for it. */
static void redis_refused(struct write *w, const struct redis_result *r)
{
	tiers_count(&w->catalog->tiers, w->type)->redis_failures++;
	bool is_aborted = r->status == REDIS_ABORTED;
	if (w->type->in_memory && !is_aborted) {
		replay(w);
		write_end(w, true, NULL);
		return;
	}
	if (is_aborted)
		tiers_forget(&w->catalog->tiers, &w->key);
	if (w->had_word)
		replay_delete(w->catalog->replay, w->type, &w->key);
	write_fail(w, r->status == REDIS_DOWN ? "UNAVAILABLE redis: " : "", r->error);
}

static void on_written(void *arg, const struct redis_result *r)
{
	struct write *w = arg;
	if (r->status == REDIS_ANSWERED) {
		replay_forget(w->catalog->replay, &w->key);
		if (w->is_relayed)
			tiers_forget(&w->catalog->tiers, &w->key); /* which of two came last Redis alone knows */
		write_end(w, true, NULL);
	} else {
		redis_refused(w, r);
	}
}

static bool holds(enum redis_condition condition, bool is_there)
{
	return condition == REDIS_ALWAYS || (condition == REDIS_IF_PRESENT) == is_there;
}

/* Without Redis the memory tier decides. */
static void write_to_memory(struct write *w)
{
	struct tiers *t = &w->catalog->tiers;
	struct memory_entry *e = catalog_live(w->catalog, &w->key);
	struct value *old = e && w->how.wants_old ? value_ref(memory_value(e)) : NULL;
	if (!holds(w->how.condition, e)) {
		write_end(w, false, old);
		value_unref(old);
		return;
	}
	if (w->how.ttl == CATALOG_TTL_KEPT)
		w->how.ttl_ms = e && e->expires_ms != MEMORY_FOREVER ? e->expires_ms - clock_ms() : 0;
	tiers_forget(t, &w->key);
	if (remember(w) == 0) {
		replay(w);
		write_end(w, true, old);
	} else if (w->type->in_memory)
		write_fail(w, "ERR ", "the value does not fit into memory.limit");
	else
		write_fail(w, "UNAVAILABLE redis: ", tiers_redis_reason(t, w->type));
	value_unref(old);
}

/* A write that Redis decided on is back. If the key was changed meanwhile, Redis
 * alone knows which came last. */
static void on_decided(void *arg, const struct redis_result *r)
{
	struct write *w = arg;
	struct tiers *t = &w->catalog->tiers;
	bool is_whole = fence_lift(&t->fences, &w->fence);
	if (r->status == REDIS_WRONGTYPE || r->status == REDIS_ABORTED) {
		write_fail(w, "", r->error);
		return;
	}
	if (r->status != REDIS_ANSWERED && r->status != REDIS_NIL) {
		tiers_count(t, w->type)->redis_failures++;
		write_to_memory(w);
		return;
	}
	bool is_written = w->how.wants_old ? holds(w->how.condition, r->status == REDIS_ANSWERED) : r->status == REDIS_ANSWERED;
	if (is_written) {
		replay_forget(w->catalog->replay, &w->key);
		tiers_forget(t, &w->key);
		if (is_whole && w->how.ttl != CATALOG_TTL_KEPT)
			(void)remember(w); /* no room: Redis has it */
	}
	write_end(w, is_written, w->how.wants_old ? r->value : NULL);
}

/* What Redis is told of how, in terms of how long it keeps the value. */
static struct redis_set redis_how(const struct write *w)
{
	const struct catalog_set *how = &w->how;
	struct redis_set set = {.condition = how->condition, .wants_old = how->wants_old, .keeps_ttl = how->ttl == CATALOG_TTL_KEPT,
		.stale = catalog_stale(w->catalog, w->type, &w->key)};
	if (how->ttl == CATALOG_TTL_GIVEN && how->ends_at_ms)
		set.ends_at_ms = tiers_redis_end_ms(w->type, how->ends_at_ms);
	else if (how->ttl != CATALOG_TTL_KEPT)
		set.ttl_ms = tiers_redis_ttl_ms(w->type, how->ttl_ms);
	if (is_over(w))
		set.ends_at_ms = how->ends_at_ms;
	return set;
}

/* What Redis was still to be told of the key is over, and a removal of many keys that is under
 * way spares it: it is told this now, and if it does not hear it, later. */
static void write_through(struct write *w)
{
	struct catalog *c = w->catalog;
	struct redis_set how = redis_how(w);
	struct value *unsent;
	int64_t expires_ms;
	w->had_word = replay_knows(c->replay, w->type, &w->key, &unsent, &expires_ms);
	if (w->had_word)
		replay_take(c->replay, w->type, &w->key);
	tiers_forget(&c->tiers, &w->key);
	(void)remember(w); /* no room: Redis has it */
	redis_write_as(c->tiers.redis, &w->key, w->value, &how, on_written, w);
}

static void write_to_tiers(struct write *w)
{
	struct tiers *t = &w->catalog->tiers;
	struct redis_set how = redis_how(w);
	bool is_plain = how.condition == REDIS_ALWAYS && !how.wants_old && !how.keeps_ttl;
	if (is_plain && tiers_reaches_redis(t, w->type)) {
		write_through(w);
	} else if (!catalog_redis_decides(w->catalog, w->type, &w->key)) {
		write_to_memory(w);
	} else {
		if (w->catalog->is_in_transaction)
			tiers_forget(t, &w->key); /* what reads it next in there is to see this */
		fence_set(&t->fences, &w->fence, &w->key);
		redis_write_as(t->redis, &w->key, w->value, &how, on_decided, w);
	}
}

void catalog_set(struct catalog *c, const struct key *key, struct value *v, const struct catalog_set *how,
	outcome_fn done, void *arg)
{
	struct write *w = xcalloc(1, sizeof(*w));
	*w = (struct write){.catalog = c, .type = tiers_type(&c->tiers, key), .key = key_dup(key), .value = value_ref(v),
		.how = *how, .is_relayed = c->is_in_transaction, .done = done, .arg = arg};
	if (w->how.ttl == CATALOG_TTL_OF_TYPE)
		w->how.ttl_ms = tiers_ttl_ms(w->type);
	write_to_tiers(w);
}

bool catalog_set_now(struct catalog *c, const struct key *key, struct value *v, const struct catalog_set *how, const char **error)
{
	struct tiers *t = &c->tiers;
	const struct conf_type *type = tiers_type(t, key);
	bool is_plain = how->condition == REDIS_ALWAYS && !how->wants_old && how->ttl != CATALOG_TTL_KEPT
		&& (how->ttl == CATALOG_TTL_OF_TYPE || how->ttl_ms > 0);
	if (!is_plain || !type->in_memory || tiers_has_redis(t, type) || type->format != CONF_RAW || v->len > type->max_value)
		return false;
	fence_break(&t->fences, key);
	int64_t ttl_ms = how->ttl == CATALOG_TTL_OF_TYPE ? tiers_ttl_ms(type) : how->ttl_ms;
	bool is_kept = tiers_remember(t, type, key, v, ttl_ms, SOURCE_CLIENT, t->epoch) == 0;
	tiers_count(t, type)->sets += is_kept;
	*error = is_kept ? NULL : "ERR the value does not fit into memory.limit";
	return true;
}

/* ---- judging a value before it is written ---- */

struct judging {
	struct catalog *catalog;
	const struct conf_type *type;
	struct check check;
	catalog_judged_fn done;
	void *arg;
};

static void judged(struct judging *j, const char *reason)
{
	char error[CATALOG_ERROR_MAX];
	snprintf(error, sizeof(error), "ERR invalid value: %s", reason);
	j->done(j->arg, reason[0] ? error : NULL);
	value_unref(j->check.value);
	free(j);
}

static void on_checked(void *arg)
{
	struct judging *j = arg;
	if (j->check.refusal[0])
		tiers_count(&j->catalog->tiers, j->type)->refused_json++;
	judged(j, j->check.refusal);
}

void catalog_judge(struct catalog *c, const struct key *key, struct value *v, catalog_judged_fn done, void *arg)
{
	struct judging *j = xcalloc(1, sizeof(*j));
	*j = (struct judging){.catalog = c, .type = tiers_type(&c->tiers, key), .check.value = value_ref(v), .done = done, .arg = arg};
	if (v->len > j->type->max_value) {
		char reason[128];
		snprintf(reason, sizeof(reason), "%" PRIu32 " bytes are over max_value of type %s (%llu)", v->len, j->type->name,
			(unsigned long long)j->type->max_value);
		tiers_count(&c->tiers, j->type)->oversize++;
		judged(j, reason);
	} else if (j->type->format == CONF_JSON) {
		j->check.want_json = true;
		check_start(&j->check, c->tiers.cpu, on_checked, j);
	} else {
		judged(j, "");
	}
}
