/* The steps of a flight that fetches: the fetch, the judgement of what came, the fill in
 * Redis, memory; see flight_impl.h. */
#include "flight_impl.h"

#include <event2/event.h>
#include <stdio.h>

#include "clock.h"
#include "fetch.h"
#include "history.h"
#include "log.h"
#include "redis.h"
#include "replay.h"
#include "value.h"

static enum step fetch_failed(struct flight *f, const char *reason)
{
	int64_t took_us = clock_us() - f->fetch_began_us;
	int64_t backoff_ms = history_failed(f->all->history, flight_key(f), took_us, reason);
	snprintf(f->error, sizeof(f->error), "%s", reason);
	flight_give_lease_back(f, REDIS_LEASE_FAILED, backoff_ms);
	return flight_fail_try(f, "UNAVAILABLE fetch: ", reason);
}

static void on_soft_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct flight *f = arg;
	(void)fd, (void)what;
	clock_update();
	if (!flight_is_held_usable(f))
		return;
	struct outcome o = flight_outcome_of_held(f);
	f->is_behind = f->is_slow = true;
	flight_count(f)->stale_errors += flight_answer(f, waiter_is_get, &o);
}

static void arm_soft_timeout(struct flight *f)
{
	int64_t ms = f->type->fetch.soft_timeout_ms;
	if (!ms || !flight_is_held_usable(f))
		return;
	if (!f->soft)
		f->soft = evtimer_new(f->all->base, on_soft_timeout, f);
	event_add(f->soft, &(struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000});
}

static void on_fetched(void *arg, const struct fetch_result *r);

enum step flight_step_fetch(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	flight_count(f)->fetches++;
	f->fetch_began_us = clock_us();
	f->was_guarded = t->is_guarded;
	f->guard_changes = t->guard_changes;
	arm_soft_timeout(f);
	fetch_start(f->all->fetcher, f->type, flight_name(f), on_fetched, f);
	return STEP_WAIT;
}

/* Served, but not stored in any tier. */
static enum step serve_only(struct flight *f, uint64_t *counter)
{
	++*counter;
	history_fetched(f->all->history, flight_key(f), clock_us() - f->fetch_began_us);
	flight_give_lease_back(f, REDIS_LEASE_WON, 0);
	return flight_end_try(f);
}

/* The guard key was set at some time while this fetch ran. */
static bool is_guarded(const struct flight *f)
{
	return (f->was_guarded || f->all->tiers->guard_changes != f->guard_changes) && !flight_is_forced(f);
}

/* The source says that the key does not exist: so it must not in any tier. */
static enum step fetched_nothing(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	flight_count(f)->fetch_absent++;
	history_fetched(f->all->history, flight_key(f), clock_us() - f->fetch_began_us);
	flight_drop_held(f);
	flight_set_absent(f);
	if (f->fence.broken)
		return flight_try_again(f);
	if (is_guarded(f))
		return serve_only(f, &flight_count(f)->guarded);
	(void)memory_drop(t->memory, flight_key(f), clock_ms());
	if (!tiers_reaches_redis(t, f->type) || !(flight_wants_fetch(f) || f->is_behind))
		flight_give_lease_back(f, REDIS_LEASE_ABSENT, f->type->negative_ttl_ms);
	else
		flight_remove(f); /* and the lease with it */
	f->is_leased = false;
	return flight_without_value(f, f->type->negative_ttl_ms);
}

static void on_fetched(void *arg, const struct fetch_result *r)
{
	struct flight *f = arg;
	clock_update();
	long long took_ms = (long long)(clock_us() - f->fetch_began_us) / 1000;
	if (f->soft)
		event_del(f->soft);
	if (r->status == FETCH_FOUND) {
		flight_count(f)->fetched++;
		flight_set_found(f, r->value, tiers_ttl_ms(f->type), "fetch", SOURCE_FETCH);
		log_info("fetched", "type=%s bytes=%zu took_ms=%lld", f->type->name, r->value->len, took_ms);
		f->step = STEP_CHECK;
	} else if (r->status == FETCH_ABSENT) {
		log_info("fetched", "type=%s absent=true took_ms=%lld", f->type->name, took_ms);
		f->step = fetched_nothing(f);
	} else {
		flight_count(f)->fetch_failures++;
		log_warning("fetch_failed", "type=%s took_ms=%lld reason=%s", f->type->name, took_ms, log_quote(r->error));
		f->step = fetch_failed(f, r->error);
	}
	flight_run(f);
}

/* ---- judging ---- */

static enum step refused(struct flight *f, uint64_t *counter, const char *reason)
{
	char text[CHECK_REFUSAL_MAX + 16];
	++*counter;
	snprintf(text, sizeof(text), "refused: %s", reason);
	log_warning("fetch_refused", "type=%s reason=%s", f->type->name, log_quote(reason));
	return fetch_failed(f, text);
}

/* What max_shrink compares: elements of an array, else bytes. */
static uint64_t size_of(const struct value *v, bool in_items)
{
	return in_items ? (uint64_t)v->items : v->len;
}

static enum step judge_size(struct flight *f)
{
	const struct value *old = f->held.value;
	bool in_items = old->items >= 0 && f->value->items >= 0;
	uint64_t was = size_of(old, in_items), is = size_of(f->value, in_items);
	char reason[CHECK_REFUSAL_MAX];
	if ((double)is >= (double)was * (1 - f->type->max_shrink) || flight_is_forced(f)
	    || history_confirms(f->all->history, flight_key(f), is))
		return STEP_FILL;
	snprintf(reason, sizeof(reason), "%llu %s where %llu were held", (unsigned long long)is,
		in_items ? "items" : "bytes", (unsigned long long)was);
	return refused(f, &flight_count(f)->refused_shrunken, reason);
}

static void on_old_checked(void *arg)
{
	struct flight *f = arg;
	f->step = judge_size(f);
	flight_run(f);
}

/* After the checks of the new value itself. */
static enum step compare_sizes(struct flight *f)
{
	if (f->type->max_shrink <= 0 || !f->held.value)
		return STEP_FILL;
	if (f->held.value->inspected)
		return judge_size(f);
	f->check = (struct check){.value = f->held.value};
	check_start(&f->check, f->all->tiers->cpu, on_old_checked, f);
	return STEP_WAIT;
}

static void on_checked(void *arg)
{
	struct flight *f = arg;
	if (f->check.refusal[0])
		f->step = refused(f, f->check.is_empty ? &flight_count(f)->refused_empty : &flight_count(f)->refused_json, f->check.refusal);
	else {
		f->step = STEP_WAIT;
		enum step next = compare_sizes(f);
		if (next == STEP_WAIT)
			return;
		f->step = next;
	}
	flight_run(f);
}

enum step flight_step_check(struct flight *f)
{
	f->check = (struct check){.value = f->value, .want_json = f->type->format == CONF_JSON,
		.refuse_empty = f->type->refuse_empty};
	if (!f->check.want_json && !f->check.refuse_empty && f->type->max_shrink <= 0)
		return STEP_FILL;
	check_start(&f->check, f->all->tiers->cpu, on_checked, f);
	return STEP_WAIT;
}

/* ---- storing ---- */

static void on_filled(void *arg, const struct redis_result *r);

enum step flight_step_fill(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	if (f->fence.broken)
		return flight_try_again(f);
	if (f->value->len > f->type->max_value) {
		log_warning("fetch_not_stored", "type=%s bytes=%zu max_value=%llu", f->type->name, f->value->len,
			(unsigned long long)f->type->max_value);
		return serve_only(f, &flight_count(f)->oversize);
	}
	if (is_guarded(f))
		return serve_only(f, &flight_count(f)->guarded);
	if (!f->is_leased || !tiers_reaches_redis(t, f->type))
		return STEP_STORE;
	redis_fill(t->redis, flight_key(f), f->token, f->value,
		tiers_redis_ttl_ms(f->type, f->outcome.ttl_ms > 0 ? f->outcome.ttl_ms : 0), on_filled, f);
	return STEP_WAIT;
}

/* A Redis that is full or read-only does not take it; memory still does. */
static void on_filled(void *arg, const struct redis_result *r)
{
	struct flight *f = arg;
	bool is_refused = r->status == REDIS_ANSWERED && r->number == 0;
	f->is_filled = r->status == REDIS_ANSWERED && !is_refused;
	if (f->is_filled && f->fence.broken)
		redis_unfill(f->all->tiers->redis, flight_key(f), r->mark);
	else if (f->is_filled)
		history_filled(f->all->history, flight_key(f), r->mark);
	if (r->status != REDIS_ANSWERED)
		flight_count(f)->redis_failures++;
	else
		f->is_leased = false; /* it went with the fill, or was not ours any more */
	f->step = is_refused ? flight_try_again(f) : STEP_STORE;
	flight_run(f);
}

enum step flight_step_store(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	const struct outcome *o = &f->outcome;
	if (f->fence.broken)
		return flight_try_again(f);
	(void)tiers_remember(t, f->type, flight_key(f), f->value, o->ttl_ms > 0 ? o->ttl_ms : 0, o->source, f->epoch);
	/* Redis does not have it: what it has instead is older. */
	if (o->source == SOURCE_FETCH && tiers_has_redis(t, f->type) && !f->is_filled)
		replay_delete(f->all->replay, f->type, flight_key(f));
	if (o->source == SOURCE_FETCH)
		history_fetched(f->all->history, flight_key(f), clock_us() - f->fetch_began_us);
	flight_give_lease_back(f, REDIS_LEASE_WON, 0);
	return flight_end_try(f);
}
