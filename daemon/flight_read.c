/* The steps of a flight through the tiers: memory, then Redis; see flight_impl.h. */
#include "flight_impl.h"

#include "clock.h"
#include "history.h"
#include "redis.h"
#include "replay.h"
#include "value.h"

/* Every try begins here: what a SET put there meanwhile is the newest. */
enum step flight_step_memory(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	struct waiter *w;
	if (f->has_moved)
		f->type = tiers_type(t, flight_key(f));
	f->has_moved = false;
	TAILQ_FOREACH(w, &f->waiters, link)
		w->late = false;
	fence_set(&t->fences, &f->fence, flight_key(f));
	f->epoch = t->epoch;
	f->is_past_tiers = f->is_filled = f->is_judged = f->is_unheard = f->has_no_ttl = false;
	f->fetch_began_us = 0;
	flight_drop_held(f);
	flight_set_absent(f);
	struct memory_entry *e = memory_get(t->memory, flight_key(f), clock_ms());
	if (e) {
		flight_hold(f, memory_value(e), e->expires_ms, e->source);
		f->held.stored_ms = clock_ms() - memory_age_ms(e, clock_ms());
		f->held.is_from_before = e->epoch < t->trusted_epoch;
	}
	struct value *unsent;
	int64_t expires_ms;
	f->is_newer_here = replay_knows(f->all->replay, f->type, flight_key(f), &unsent, &expires_ms);
	if (flight_wants_fetch(f) || f->is_behind)
		return !e && !f->is_newer_here && (f->type->max_shrink > 0 || flight_is_peeked(f)) ? STEP_REDIS : STEP_LEASE;
	if (!e && unsent) {
		flight_hold(f, unsent, expires_ms, SOURCE_CLIENT);
		f->outcome = flight_outcome_of_held(f);
		return flight_end_try(f);
	}
	if (!e)
		return f->is_newer_here ? STEP_LEASE : STEP_REDIS;
	enum freshness fresh = tiers_judge(t, f->type, e);
	if (fresh == FRESH_SUSPECT && !f->is_newer_here)
		return STEP_REDIS;
	if (fresh == FRESH_SUSPECT && !flight_is_held_fresh(f))
		return STEP_LEASE;
	if (fresh == FRESH_HELD)
		return STEP_LEASE;
	if (memory_value(e))
		f->outcome = flight_outcome_of_held(f);
	return flight_end_try(f);
}

/* How long it will live matters to nobody: memory does not take it, it is never stale, and all who wait want its bytes. (A
 * type that comes to memory meanwhile is another one: then the key has moved.) */
static bool is_value_enough(const struct flight *f)
{
	return !f->type->in_memory && tiers_window_ms(f->type) == 0 && flight_has_gets_alone(f);
}

static void on_redis_read(void *arg, const struct redis_result *r);

enum step flight_step_redis(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	if (tiers_has_redis(t, f->type)) {
		f->has_no_ttl = is_value_enough(f);
		(f->has_no_ttl ? redis_read_value : redis_read)(t->redis, flight_key(f), on_redis_read, f);
		return STEP_WAIT;
	}
	if (tiers_is_declared(t, f->type))
		return STEP_LEASE;
	flight_set_error(f, "UNAVAILABLE redis: ", tiers_redis_reason(t, f->type));
	return flight_end_try(f);
}

/* Redis has the value. It is the newest there is: what is held goes. */
static enum step read_from_redis(struct flight *f, const struct redis_result *r)
{
	int64_t left_ms = tiers_logical_ttl_ms(f->type, r->ttl_ms);
	if (left_ms < 0 && history_is_foreign(f->all->history, flight_key(f), r->ttl_ms, tiers_window_ms(f->type)))
		left_ms = r->ttl_ms;
	bool is_answer = left_ms >= 0 && !flight_wants_fetch(f);
	if (is_answer)
		flight_set_found(f, r->value, left_ms, "redis", SOURCE_REDIS);
	if (f->fence.broken)
		return flight_try_again(f);
	if (is_answer)
		return STEP_STORE;
	flight_set_absent(f);
	flight_hold(f, r->value, left_ms ? clock_ms() + left_ms : MEMORY_FOREVER, SOURCE_REDIS);
	(void)tiers_remember(f->all->tiers, f->type, flight_key(f), r->value, left_ms, SOURCE_REDIS, f->epoch);
	if (left_ms < 0 && -left_ms < f->type->stale_while_revalidate_ms) {
		struct outcome o = flight_outcome_of_held(f);
		f->is_behind = true;
		flight_count(f)->stale_redis_hits += flight_answer(f, waiter_is_get, &o);
	}
	return STEP_LEASE;
}

/* Redis says that there is nothing: so what memory holds was removed unheard. If Redis was
 * lost since it came, that may as well have been Redis's doing, or ours (what is fetched
 * without Redis is removed there): then it is kept for the case that the fetch fails. */
static enum step missing_in_redis(struct flight *f)
{
	if (f->fence.broken)
		return flight_try_again(f);
	f->held.is_missing = f->held.is_from_before && f->type->fetch.kind != CONF_FETCH_NONE;
	if (f->held.value && !f->held.is_missing) {
		(void)memory_drop(f->all->tiers->memory, flight_key(f), clock_ms());
		flight_drop_held(f);
	}
	return STEP_LEASE;
}

/* Redis cannot say. What is held and not past its TTL is as good as it gets; a declared
 * type goes on to its fetch. */
static enum step without_redis(struct flight *f, const struct redis_result *r)
{
	flight_count(f)->redis_failures++;
	if (f->fence.broken)
		return flight_try_again(f);
	if (flight_is_held_fresh(f) && !flight_wants_fetch(f)) {
		f->outcome = flight_outcome_of_held(f);
		return flight_end_try(f);
	}
	if (tiers_is_declared(f->all->tiers, f->type))
		return STEP_LEASE;
	flight_set_error(f, r->status == REDIS_DOWN ? "UNAVAILABLE redis: " : "", r->error);
	return flight_end_try(f);
}

static void on_redis_read(void *arg, const struct redis_result *r)
{
	struct flight *f = arg;
	if (r->status == REDIS_ANSWERED) {
		f->step = read_from_redis(f, r);
	} else if (r->status == REDIS_NIL) {
		f->step = missing_in_redis(f);
	} else if (r->status == REDIS_WRONGTYPE) {
		flight_set_error(f, "", r->error);
		f->step = flight_end_try(f);
	} else {
		f->step = without_redis(f, r);
	}
	flight_run(f);
}
