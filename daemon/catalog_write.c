/* Changing keys without a new value over all tiers: DEL, EXPIRE, PERSIST, GETEX, GETDEL;
 * see catalog.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "history.h"
#include "log.h"
#include "replay.h"
#include "value.h"

/* A value that memory has lost and that waits for Redis. */
static struct memory_entry *restore(struct catalog *c, const struct key *key)
{
	const struct conf_type *type = tiers_type(&c->tiers, key);
	struct value *unsent;
	int64_t expires_ms;
	if (!replay_knows(c->replay, type, key, &unsent, &expires_ms) || !unsent || clock_ms() >= expires_ms)
		return NULL;
	int64_t left_ms = expires_ms == MEMORY_FOREVER ? 0 : expires_ms - clock_ms();
	if (tiers_remember(&c->tiers, type, key, unsent, left_ms, SOURCE_CLIENT, c->tiers.epoch) < 0)
		return NULL;
	return memory_peek(c->tiers.memory, key, clock_ms());
}

struct memory_entry *catalog_live(struct catalog *c, const struct key *key)
{
	struct memory_entry *e = memory_peek(c->tiers.memory, key, clock_ms());
	if (!e)
		e = restore(c, key);
	return e && memory_value(e) && clock_ms() < e->expires_ms ? e : NULL;
}

/* ---- what Redis is still to be told ---- */

struct ahead {
	struct catalog *catalog;
	struct key key;                 /* owned */
};

static void on_told_ahead(void *arg, const struct redis_result *r)
{
	struct ahead *a = arg;
	struct catalog *c = a->catalog;
	if (r->status != REDIS_ANSWERED && !replay_has(c->replay, &a->key))
		replay_delete(c->replay, tiers_type(&c->tiers, &a->key), &a->key);
	free((char *)a->key.data);
	free(a);
}

bool catalog_redis_decides(struct catalog *c, const struct conf_type *type, const struct key *key)
{
	struct value *unsent;
	int64_t expires_ms;
	if (!tiers_reaches_redis(&c->tiers, type))
		return false;
	if (!replay_knows(c->replay, type, key, &unsent, &expires_ms))
		return true;
	if (catalog_live(c, key))
		return false;
	struct ahead *a = xmalloc(sizeof(*a));
	*a = (struct ahead){.catalog = c, .key = key_dup(key)};
	replay_take(c->replay, type, key);
	redis_delete(c->tiers.redis, key, 1, on_told_ahead, a);
	return true;
}

/* ---- DEL ---- */

/* What a removal of keys waits for: the answer of Redis, with what memory knows. */
struct change {
	struct catalog *catalog;
	struct key *keys;       /* those that Redis is told of, owned; to be told again if it did not hear */
	size_t n_keys;
	bool is_declared;       /* all of the keys are */
	bool is_relayed;        /* part of a transaction, which goes past the writes of others */
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
		if (!tiers_is_declared(t, type))
			continue;
		tiers_forget(t, &ch->keys[i]); /* a reader may have found it in Redis meanwhile */
		replay_delete(ch->catalog->replay, type, &ch->keys[i]);
	}
}

static void on_changed(void *arg, const struct redis_result *r)
{
	struct change *ch = arg;
	struct outcome o = {.status = OUTCOME_FOUND, .number = (int64_t)(ch->in_memory + ch->in_both)};
	char error[CATALOG_ERROR_MAX];
	for (size_t i = 0; i < ch->n_keys && r->status == REDIS_ANSWERED; i++) {
		replay_forget(ch->catalog->replay, &ch->keys[i]);
		if (ch->is_relayed)
			tiers_forget(&ch->catalog->tiers, &ch->keys[i]); /* which of two came last Redis alone knows */
	}
	if (r->status == REDIS_ANSWERED)
		o.number = (int64_t)ch->in_memory + catalog_touched(r->number, ch->in_both);
	else if (!ch->is_declared || r->status == REDIS_ABORTED)
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
	*ch = (struct change){.catalog = c, .is_relayed = c->is_in_transaction, .done = done, .arg = arg};
	keep_keys(ch, keys, n);
	if (ch->is_declared || c->tiers.redis)
		return ch;
	done(arg, &(struct outcome){.status = OUTCOME_ERROR, .error = CATALOG_REDIS_IS_OFF});
	change_free(ch);
	return NULL;
}

/* key, which is of type, was invalidated by who. */
static void note_invalidation(struct catalog *c, const struct conf_type *type, const struct key *key, const char *who)
{
	log_info("deleted", "type=%s key=%016" PRIx64 " by=%s", type->name, key->hash, log_quote(who));
	history_changed(c->history, key, who);
	recent_changed(&c->tiers.recent, type->name, key->hash, who);
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
			note_invalidation(c, type, &keys[i], who);
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

/* ---- changes that Redis decides on ---- */

struct edit {
	struct catalog *catalog;
	const struct conf_type *type;
	struct key key;                 /* owned */
	struct catalog_edit how;
	struct fence fence;
	int64_t ends_ms;                /* clock_ms of the new TTL's end */
	outcome_fn done;
	void *arg;
};

static void edit_finish(struct edit *ed, const struct outcome *o)
{
	if (o->status == OUTCOME_FOUND && ed->how.what != REDIS_EDIT_DELETE && (o->number || ed->how.wants_value))
		history_noted(ed->catalog->history, &ed->key, "a new TTL");
	ed->done(ed->arg, o);
	free((char *)ed->key.data);
	free(ed);
}

/* The condition of EXPIRE, on the TTL that e has: no TTL counts as one without end. */
static bool ttl_condition_holds(const struct catalog_edit *how, const struct memory_entry *e)
{
	bool is_endless = e->expires_ms == MEMORY_FOREVER;
	int64_t ends_ms = clock_ms() + how->ttl_ms;
	if (!how->condition)
		return true;
	if (strcmp(how->condition, "NX") == 0)
		return is_endless;
	if (strcmp(how->condition, "XX") == 0)
		return !is_endless;
	if (strcmp(how->condition, "GT") == 0)
		return !is_endless && ends_ms > e->expires_ms;
	return is_endless ? strcmp(how->condition, "LT") == 0 : ends_ms < e->expires_ms;
}

/* What Redis did not hear of, to be told when it is back. */
static void replay_edit(struct edit *ed)
{
	struct catalog *c = ed->catalog;
	const struct memory_entry *e = catalog_live(c, &ed->key);
	if (!tiers_has_redis(&c->tiers, ed->type))
		return;
	if (e)
		replay_write(c->replay, ed->type, &ed->key, memory_value(e), e->expires_ms);
	else
		replay_delete(c->replay, ed->type, &ed->key);
}

/* Without Redis the memory tier decides. What it does not have is left as it is in Redis. */
static void edit_memory(struct edit *ed, const struct redis_result *r)
{
	struct tiers *t = &ed->catalog->tiers;
	const struct catalog_edit *how = &ed->how;
	struct memory_entry *e = catalog_live(ed->catalog, &ed->key);
	char error[CATALOG_ERROR_MAX];
	if (!e) {
		struct outcome o = catalog_without_redis(tiers_is_declared(t, ed->type), r, error);
		edit_finish(ed, &o);
		return;
	}
	struct value *v = value_ref(memory_value(e));
	bool is_changed = how->what != REDIS_EDIT_PERSIST || e->expires_ms != MEMORY_FOREVER;
	if (how->what == REDIS_EDIT_TTL)
		is_changed = ttl_condition_holds(how, e);
	fence_break(&t->fences, &ed->key); /* a fill under way knows the old TTL */
	if (is_changed && (how->what == REDIS_EDIT_DELETE || (how->what == REDIS_EDIT_TTL && how->ttl_ms <= 0)))
		tiers_forget(t, &ed->key);
	else if (is_changed)
		tiers_set_ttl(e, how->what == REDIS_EDIT_PERSIST ? 0 : how->ttl_ms);
	if (is_changed)
		replay_edit(ed);
	edit_finish(ed, &(struct outcome){.status = OUTCOME_FOUND, .value = v, .number = is_changed});
	value_unref(v);
}

/* Redis has changed it, or not. What memory has is good still with a new TTL, if nothing else
 * changed the key meanwhile; else memory reads it again when it is asked. */
static void edit_what_is_held(struct edit *ed, bool is_whole, const struct redis_result *r)
{
	struct tiers *t = &ed->catalog->tiers;
	struct memory_entry *e = catalog_live(ed->catalog, &ed->key);
	fence_break(&t->fences, &ed->key); /* a fill under way knows the old TTL */
	if (e && is_whole && ed->how.what == REDIS_EDIT_TTL && r->number == 1 && ed->ends_ms > clock_ms())
		tiers_set_ttl(e, ed->ends_ms - clock_ms());
	else
		tiers_forget(t, &ed->key);
}

static void on_edited(void *arg, const struct redis_result *r)
{
	struct edit *ed = arg;
	struct tiers *t = &ed->catalog->tiers;
	bool is_whole = fence_lift(&t->fences, &ed->fence);
	if (r->status == REDIS_WRONGTYPE || r->status == REDIS_ABORTED) {
		edit_finish(ed, &(struct outcome){.status = OUTCOME_ERROR, .error = r->error});
		return;
	}
	if (r->status == REDIS_DOWN || r->status == REDIS_ERROR) {
		tiers_count(t, ed->type)->redis_failures++;
		edit_memory(ed, r);
		return;
	}
	edit_what_is_held(ed, is_whole, r);
	replay_forget(ed->catalog->replay, &ed->key);
	edit_finish(ed, &(struct outcome){.status = r->status == REDIS_NIL ? OUTCOME_ABSENT : OUTCOME_FOUND,
		.value = r->value, .number = r->number});
}

static struct redis_edit redis_how(const struct edit *ed)
{
	const struct catalog_edit *how = &ed->how;
	struct redis_edit edit = {.what = how->what, .condition = how->condition, .wants_value = how->wants_value,
		.stale = catalog_stale(ed->catalog, ed->type, &ed->key)};
	bool is_over = how->ttl_ms <= 0;
	if (how->ends_at_ms > 0 && (!is_over || how->wants_value))
		edit.ends_at_ms = is_over ? how->ends_at_ms : tiers_redis_end_ms(ed->type, how->ends_at_ms);
	else
		edit.ttl_ms = is_over ? how->ttl_ms : tiers_redis_ttl_ms(ed->type, how->ttl_ms);
	return edit;
}

void catalog_edit(struct catalog *c, const struct key *key, const struct catalog_edit *how, const char *who,
	outcome_fn done, void *arg)
{
	struct edit *ed = xcalloc(1, sizeof(*ed));
	struct tiers *t = &c->tiers;
	*ed = (struct edit){.catalog = c, .type = tiers_type(t, key), .key = key_dup(key), .how = *how,
		.ends_ms = clock_ms() + how->ttl_ms, .done = done, .arg = arg};
	if (how->what == REDIS_EDIT_DELETE && tiers_is_declared(t, ed->type)) {
		catalog_cascade(c, ed->type);
		note_invalidation(c, ed->type, key, who);
	}
	if (!catalog_redis_decides(c, ed->type, key)) {
		edit_memory(ed, &(struct redis_result){.status = REDIS_DOWN, .error = tiers_redis_reason(t, ed->type)});
		return;
	}
	struct redis_edit edit = redis_how(ed);
	if (c->is_in_transaction)
		tiers_forget(t, key); /* what reads it next in there is to see this */
	fence_set(&t->fences, &ed->fence, &ed->key);
	redis_edit(t->redis, &ed->key, &edit, on_edited, ed);
}

void catalog_expire(struct catalog *c, const struct key *key, int64_t ttl_ms, outcome_fn done, void *arg)
{
	catalog_edit(c, key, &(struct catalog_edit){.what = REDIS_EDIT_TTL, .ttl_ms = ttl_ms}, NULL, done, arg);
}
