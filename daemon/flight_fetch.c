/* The steps of a flight that fetches: the fetch, the judgement of what came, the fill in
 * Redis, memory; see flight_impl.h. */
#include "flight_impl.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "fetch.h"
#include "history.h"
#include "log.h"
#include "redis.h"
#include "replay.h"
#include "value.h"

/* For the figures of the type. */
static void count_fetch(struct flight *f, bool failed)
{
	struct type_fetches *all = tiers_fetches(f->all->tiers, f->type);
	int64_t took_us = clock_us() - f->fetch_began_us;
	histogram_add(&all->took, took_us);
	all->last_at_ms = clock_wall_ms();
	all->last_us = took_us;
	recent_fetched(&f->all->tiers->recent, f->type->name, flight_key(f)->hash, took_us, failed);
}

/* cause is what may be logged of a failure. */
static void keep_error(struct flight *f, const char *cause)
{
	struct type_fetches *all = tiers_fetches(f->all->tiers, f->type);
	all->error_at_ms = clock_wall_ms();
	snprintf(all->error, sizeof(all->error), "%s", cause);
}

static enum step fetch_failed(struct flight *f, const char *reason, bool is_of_source)
{
	int64_t took_us = clock_us() - f->fetch_began_us;
	int64_t backoff_ms = history_failed(f->all->history, flight_key(f), took_us, reason);
	snprintf(f->error, sizeof(f->error), "%s", reason);
	/* That our breaker is open says nothing about the others. */
	flight_give_lease_back(f, is_of_source ? REDIS_LEASE_FAILED : REDIS_LEASE_WON, backoff_ms);
	return flight_fail_try(f, "UNAVAILABLE fetch: ", reason);
}

static void on_fetched(void *arg, const struct fetch_result *r);

enum step flight_step_fetch(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	flight_count(f)->fetches++;
	f->fetch_began_us = clock_us();
	f->was_guarded = t->is_guarded;
	f->guard_changes = t->guard_changes;
	fetch_start(f->all->fetcher, f->type, flight_name(f), on_fetched, f);
	return STEP_WAIT;
}

/* Served, but not stored in any tier: those who wait elsewhere do so in vain. */
static enum step serve_only(struct flight *f, uint64_t *counter)
{
	++*counter;
	history_fetched(f->all->history, flight_key(f), clock_us() - f->fetch_began_us);
	flight_give_lease_back(f, REDIS_LEASE_UNSTORED, 0);
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
	flight_count(f)->fetch_absent++;
	flight_drop_held(f);
	flight_set_absent(f);
	return STEP_FILL;
}

static void on_fetched(void *arg, const struct fetch_result *r)
{
	struct flight *f = arg;
	clock_update();
	long long took_ms = (long long)(clock_us() - f->fetch_began_us) / 1000;
	if (!r->was_refused)
		count_fetch(f, r->status == FETCH_FAILED);
	if (f->soft)
		event_del(f->soft);
	if (r->status == FETCH_FOUND) {
		flight_count(f)->fetched++;
		flight_set_found(f, r->value, tiers_ttl_ms(f->type), "fetch", SOURCE_FETCH);
		log_info("fetched", "type=%s bytes=%" PRIu32 " took_ms=%lld", f->type->name, r->value->len, took_ms);
		f->step = STEP_CHECK;
	} else if (r->status == FETCH_ABSENT) {
		log_info("fetched", "type=%s absent=true took_ms=%lld", f->type->name, took_ms);
		f->step = fetched_nothing(f);
	} else {
		flight_count(f)->fetch_failures++;
		keep_error(f, fetch_cause(r));
		log_warning("fetch_failed", "type=%s took_ms=%lld reason=%s", f->type->name, took_ms, log_quote(fetch_cause(r)));
		f->step = fetch_failed(f, r->error, !r->was_refused);
	}
	flight_run(f);
}

/* ---- judging ---- */

static enum step refused(struct flight *f, uint64_t *counter, const char *reason)
{
	char text[CHECK_REFUSAL_MAX + 16];
	++*counter;
	snprintf(text, sizeof(text), "refused: %s", reason);
	keep_error(f, text);
	log_warning("fetch_refused", "type=%s reason=%s", f->type->name, log_quote(reason));
	return fetch_failed(f, text, true);
}

/* What max_shrink compares: elements of an array, else bytes. */
static uint64_t size_of(const struct value *v, bool in_items)
{
	return in_items ? (uint64_t)value_items(v) : v->len;
}

static enum step judge_size(struct flight *f)
{
	const struct value *old = f->held.value;
	bool in_items = value_items(old) >= 0 && value_items(f->value) >= 0;
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

/* Served and not stored; but what the tiers have is older, and who asked for a refresh is
 * not to find it again. */
static enum step serve_unheard(struct flight *f)
{
	(void)memory_drop(f->all->tiers->memory, flight_key(f), clock_ms());
	replay_delete(f->all->replay, f->type, flight_key(f));
	return serve_only(f, &flight_count(f)->fenced);
}

enum step flight_step_fill(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	struct value *v = f->value;
	f->is_judged = true;
	if (f->fence.broken)
		return flight_try_again(f);
	if (v && v->len > f->type->max_value) {
		log_warning("fetch_not_stored", "type=%s bytes=%" PRIu32 " max_value=%llu", f->type->name, v->len,
			(unsigned long long)f->type->max_value);
		return serve_only(f, &flight_count(f)->oversize);
	}
	if (is_guarded(f))
		return serve_only(f, &flight_count(f)->guarded);
	if (f->is_unheard && tiers_reaches_redis(t, f->type))
		return serve_unheard(f);
	if (!f->is_leased || !tiers_reaches_redis(t, f->type))
		return STEP_STORE;
	replay_take(f->all->replay, f->type, flight_key(f)); /* a removal of many keys that is under way does not mean this */
	/* For the last time: a renewal that came between would look like a change. */
	redis_renew(t->redis, flight_key(f), f->token, LEASE_MS);
	f->lease_due_ms = INT64_MAX;
	redis_fill(t->redis, flight_key(f), f->token, v, v ? tiers_redis_ttl_ms(f->type, f->outcome.ttl_ms > 0 ? f->outcome.ttl_ms : 0)
		: f->type->negative_ttl_ms, on_filled, f);
	return STEP_WAIT;
}

/* The lease is not ours any more, or the key has changed. If Redis was lost meanwhile nobody
 * knows which: then another try would come to no better. */
static enum step fill_refused(struct flight *f)
{
	bool was_lost = f->epoch < f->all->tiers->trusted_epoch;
	return was_lost && !f->fence.broken ? serve_only(f, &flight_count(f)->fenced) : flight_try_again(f);
}

/* It may be older than a change that was not heard of in time: nobody is to have it from a tier. */
static enum step fill_unproven(struct flight *f)
{
	(void)memory_drop(f->all->tiers->memory, flight_key(f), clock_ms());
	return serve_only(f, &flight_count(f)->fenced);
}

/* A Redis that is full or read-only does not take it; memory still does. */
static void on_filled(void *arg, const struct redis_result *r)
{
	struct flight *f = arg;
	bool is_answered = r->status == REDIS_ANSWERED, is_too_late = f->fence.broken || is_guarded(f);
	bool is_unproven = is_answered && r->number == REDIS_FILLED_UNPROVEN;
	f->is_filled = is_answered && r->number > 0;
	if (f->is_filled && (is_too_late || is_unproven) && f->value && f->all->tiers->redis)
		redis_unfill(f->all->tiers->redis, flight_key(f), f->value);
	if (is_answered)
		f->is_leased = false; /* it went with the fill, or was not ours any more */
	else
		flight_count(f)->redis_failures++;
	if (is_answered && !f->is_filled)
		f->step = fill_refused(f);
	else if (is_too_late && !f->fence.broken)
		f->step = serve_only(f, &flight_count(f)->guarded);
	else if (is_unproven && !f->fence.broken)
		f->step = fill_unproven(f);
	else
		f->step = STEP_STORE;
	flight_run(f);
}

enum step flight_step_store(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	const struct outcome *o = &f->outcome;
	bool is_fetched = !f->value || o->source == SOURCE_FETCH;
	if (f->fence.broken)
		return flight_try_again(f);
	if (f->value) {
		(void)tiers_remember(t, f->type, flight_key(f), f->value, o->ttl_ms > 0 ? o->ttl_ms : 0, o->source, f->epoch);
	} else {
		(void)memory_drop(t->memory, flight_key(f), clock_ms());
		tiers_remember_absent(t, f->type, flight_key(f), f->type->negative_ttl_ms, f->epoch);
	}
	/* Redis does not have it: what it has instead is older. */
	if (is_fetched && tiers_has_redis(t, f->type) && !f->is_filled)
		replay_delete(f->all->replay, f->type, flight_key(f));
	if (is_fetched)
		history_fetched(f->all->history, flight_key(f), clock_us() - f->fetch_began_us);
	flight_give_lease_back(f, REDIS_LEASE_WON, 0);
	return flight_end_try(f);
}
