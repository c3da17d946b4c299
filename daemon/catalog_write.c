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
	return tiers_remember(&w->catalog->tiers, w->type, &w->key, w->value, w->how.ttl_ms, SOURCE_CLIENT);
}

/* Redis did not take it. With a memory tier the value lives there; no client sees an error for it. */
static void redis_refused(struct write *w, const struct redis_result *r)
{
	tiers_count(&w->catalog->tiers, w->type)->redis_failures++;
	if (w->type->in_memory)
		write_ok(w);
	else
		write_fail(w, r->status == REDIS_DOWN ? "UNAVAILABLE redis: " : "", r->error);
}

static void on_written(void *arg, const struct redis_result *r)
{
	struct write *w = arg;
	if (r->status == REDIS_OK)
		write_ok(w);
	else
		redis_refused(w, r);
}

/* Without Redis the memory tier decides whether the condition holds. */
static void write_to_memory(struct write *w)
{
	struct tiers *t = &w->catalog->tiers;
	const struct memory_entry *e = memory_peek(t->memory, &w->key, clock_ms());
	bool is_there = e && e->value;
	if ((w->how.condition == REDIS_IF_ABSENT && is_there) || (w->how.condition == REDIS_IF_PRESENT && !is_there)) {
		write_finish(w, &(struct outcome){.status = OUTCOME_ABSENT});
		return;
	}
	tiers_forget(t, &w->key);
	if (remember(w) == 0)
		write_ok(w);
	else if (w->type->in_memory)
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
	} else if (r->status == REDIS_OK) {
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
		tiers_forget(t, &w->key);
		(void)remember(w); /* no room: Redis has it */
		redis_write(t->redis, &w->key, w->value, w->how.ttl_ms, REDIS_ALWAYS, on_written, w);
	} else {
		fence_set(&t->fences, &w->fence, &w->key);
		redis_write(t->redis, &w->key, w->value, w->how.ttl_ms, w->how.condition, on_written_if, w);
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
	bool is_declared;       /* all of the keys are */
	uint64_t in_memory;     /* keys that only the memory tier holds, and that were there */
	uint64_t in_both;       /* keys of the memory tier that Redis should have too, and that were there */
	outcome_fn done;
	void *arg;
};

static void on_changed(void *arg, const struct redis_result *r)
{
	struct change *ch = arg;
	struct outcome o = {.status = OUTCOME_FOUND, .number = (int64_t)(ch->in_memory + ch->in_both)};
	char error[CATALOG_ERROR_MAX];
	if (r->status == REDIS_OK)
		o.number = (int64_t)ch->in_memory + catalog_touched(r->number, ch->in_both);
	else if (!ch->is_declared)
		o = catalog_without_redis(false, r, error);
	ch->done(ch->arg, &o);
	free(ch);
}

/* Fills in[] with those of keys that are in Redis; says whether all are declared. */
static size_t keys_in_redis(struct catalog *c, const struct key *keys, size_t n, struct key *in, bool *all_declared)
{
	size_t n_in = 0;
	*all_declared = true;
	for (size_t i = 0; i < n; i++) {
		const struct conf_type *type = tiers_type(&c->tiers, &keys[i]);
		if (!tiers_is_declared(&c->tiers, type))
			*all_declared = false;
		if (tiers_has_redis(&c->tiers, type))
			in[n_in++] = keys[i];
	}
	return n_in;
}

static void forget_all(struct catalog *c, const struct key *keys, size_t n, struct change *ch)
{
	for (size_t i = 0; i < n; i++) {
		const struct conf_type *type = tiers_type(&c->tiers, &keys[i]);
		bool was_there = tiers_forget(&c->tiers, &keys[i]);
		*(tiers_has_redis(&c->tiers, type) ? &ch->in_both : &ch->in_memory) += was_there;
		tiers_count(&c->tiers, type)->drops++;
	}
}

void catalog_delete(struct catalog *c, const struct key *keys, size_t n, outcome_fn done, void *arg)
{
	struct change *ch = xcalloc(1, sizeof(*ch));
	struct key *in_redis = xcalloc(n, sizeof(*in_redis));
	*ch = (struct change){.catalog = c, .done = done, .arg = arg};
	size_t n_in_redis = keys_in_redis(c, keys, n, in_redis, &ch->is_declared);
	if (!ch->is_declared && !c->tiers.redis) {
		done(arg, &(struct outcome){.status = OUTCOME_ERROR, .error = CATALOG_REDIS_IS_OFF});
		free(ch);
	} else {
		forget_all(c, keys, n, ch);
		if (n_in_redis)
			redis_delete(c->tiers.redis, in_redis, n_in_redis, on_changed, ch);
		else
			on_changed(ch, &(struct redis_result){.status = REDIS_OK});
	}
	free(in_redis);
}

void catalog_expire(struct catalog *c, const struct key *key, int64_t ttl_ms, outcome_fn done, void *arg)
{
	struct memory_entry *e = memory_peek(c->tiers.memory, key, clock_ms());
	const struct conf_type *type = tiers_type(&c->tiers, key);
	bool is_there = e && e->value;
	if (!tiers_is_declared(&c->tiers, type) && !c->tiers.redis) {
		done(arg, &(struct outcome){.status = OUTCOME_ERROR, .error = CATALOG_REDIS_IS_OFF});
		return;
	}
	fence_break(&c->tiers.fences, key); /* a fill under way knows the old TTL */
	if (is_there)
		memory_set_expiry(e, clock_ms() + ttl_ms, e->until_ms);

	struct change *ch = xcalloc(1, sizeof(*ch));
	*ch = (struct change){.catalog = c, .is_declared = tiers_is_declared(&c->tiers, type), .done = done, .arg = arg};
	if (tiers_has_redis(&c->tiers, type)) {
		ch->in_both = is_there;
		redis_expire(c->tiers.redis, key, ttl_ms, on_changed, ch);
	} else {
		ch->in_memory = is_there;
		on_changed(ch, &(struct redis_result){.status = REDIS_OK});
	}
}
