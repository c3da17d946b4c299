/* What a try of a flight has found and holds, and how it ends; see flight_impl.h. */
#include "flight_impl.h"

#include <stdio.h>

#include "clock.h"
#include "log.h"
#include "redis.h"
#include "value.h"

const struct key *flight_key(const struct flight *f)
{
	return &f->node.key;
}

const char *flight_name(const struct flight *f)
{
	return f->type->exact ? "" : flight_key(f)->data + f->type->prefix_len;
}

struct type_counters *flight_count(struct flight *f)
{
	return tiers_count(f->all->tiers, f->type);
}

/* ---- what was found ---- */

void flight_set_found(struct flight *f, struct value *v, int64_t ttl_ms, const char *tier, enum source source)
{
	value_unref(f->value);
	f->value = value_ref(v);
	f->outcome = (struct outcome){.status = OUTCOME_FOUND, .value = f->value, .ttl_ms = ttl_ms ? ttl_ms : -1,
		.tier = tier, .source = source};
}

void flight_set_absent(struct flight *f)
{
	value_unref(f->value);
	f->value = NULL;
	f->outcome = (struct outcome){.status = OUTCOME_ABSENT};
}

void flight_set_error(struct flight *f, const char *prefix, const char *reason)
{
	snprintf(f->error, sizeof(f->error), "%s%s", prefix, reason);
	f->outcome = (struct outcome){.status = OUTCOME_ERROR, .error = f->error};
}

/* ---- what is held ---- */

void flight_drop_held(struct flight *f)
{
	value_unref(f->held.value);
	f->held = (struct held){0};
}

void flight_hold(struct flight *f, struct value *v, int64_t expires_ms, enum source source)
{
	struct value *kept = v ? value_ref(v) : NULL;
	flight_drop_held(f);
	f->held = (struct held){.value = kept, .expires_ms = expires_ms, .stored_ms = clock_ms(), .source = source};
}

bool flight_is_held_fresh(const struct flight *f)
{
	return f->held.value && clock_ms() < f->held.expires_ms;
}

/* It may stand in for a fetch that failed or takes long (stale_if_error). */
bool flight_is_held_usable(const struct flight *f)
{
	return f->held.value && !f->fence.broken
		&& (f->held.expires_ms == MEMORY_FOREVER || clock_ms() < f->held.expires_ms + f->type->stale_if_error_ms);
}

struct outcome flight_outcome_of_held(const struct flight *f)
{
	int64_t left_ms = f->held.expires_ms == MEMORY_FOREVER ? -1 : f->held.expires_ms - clock_ms();
	return (struct outcome){.status = OUTCOME_FOUND, .value = f->held.value, .ttl_ms = left_ms,
		.is_stale = left_ms <= 0 && f->held.expires_ms != MEMORY_FOREVER,
		.age_ms = clock_ms() - f->held.stored_ms, .tier = "memory", .source = f->held.source};
}

/* Who is answered may ask again at once, and is waiting again then. */
void flight_serve_held(struct flight *f, waiter_test test)
{
	for (size_t n = 1; n > 0 && flight_is_held_usable(f); flight_count(f)->stale_errors += n) {
		struct outcome o = flight_outcome_of_held(f);
		n = flight_answer(f, test, &o);
	}
}

/* ---- ends of a try ---- */

enum step flight_end_try(struct flight *f)
{
	(void)fence_lift(&f->all->tiers->fences, &f->fence);
	return STEP_LANDED;
}

enum step flight_without_value(struct flight *f, int64_t known_for_ms)
{
	flight_set_absent(f);
	tiers_remember_absent(f->all->tiers, f->type, flight_key(f), known_for_ms, f->epoch);
	return flight_end_try(f);
}

void flight_give_lease_back(struct flight *f, enum redis_lease outcome, int64_t tell_ms)
{
	if (f->is_leased && tiers_reaches_redis(f->all->tiers, f->type))
		redis_release(f->all->tiers->redis, flight_key(f), f->token, outcome, f->error, tell_ms);
	f->is_leased = false;
}

/* The key changed under this try. What was found is answered only to those who have
 * waited for several tries, and only if nothing newer is there yet; if it is another type's now, to
 * all who asked before: there may be no fetch for it any more. */
enum step flight_try_again(struct flight *f)
{
	flight_count(f)->fenced++;
	log_debug("fenced", "type=%s", f->type->name);
	flight_give_lease_back(f, REDIS_LEASE_WON, 0);
	if (f->outcome.status == OUTCOME_FOUND && !memory_peek(f->all->tiers->memory, flight_key(f), clock_ms())) {
		flight_answer(f, f->has_moved ? waiter_is_early_get : waiter_has_tried_enough, &f->outcome);
		flight_keep_spare(f);
	}
	flight_end_try(f);
	/* A refresh behind has nothing to do any more: the key is newer than what it would bring. */
	f->is_behind = false;
	return flight_is_wanted(f) ? STEP_MEMORY : STEP_LANDED;
}

/* The fetch brought nothing that may be stored. An older value that is held is served
 * instead, as long as stale_if_error says; else the error. */
enum step flight_fail_try(struct flight *f, const char *prefix, const char *reason)
{
	flight_set_error(f, prefix, reason);
	if (f->fence.broken && !memory_peek(f->all->tiers->memory, flight_key(f), clock_ms()))
		flight_answer(f, waiter_is_early, &f->outcome);
	if (f->fence.broken)
		return flight_try_again(f);
	flight_serve_held(f, waiter_is_get);
	return f->fence.broken ? flight_try_again(f) : flight_end_try(f);
}
