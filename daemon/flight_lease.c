/* The step of a flight that decides who fetches: this sidecar, or another, which is then
 * waited for; see flight_impl.h. */
#include "flight_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "history.h"
#include "redis.h"

/* For those who do not want a fetch: the tiers have nothing better than this. */
static struct outcome outcome_of_tiers(const struct flight *f)
{
	return f->held.value ? flight_outcome_of_held(f) : (struct outcome){.status = OUTCOME_ABSENT};
}

static void answer_peeks(struct flight *f)
{
	struct outcome o = outcome_of_tiers(f);
	f->is_past_tiers = true;
	flight_answer(f, waiter_is_peek, &o);
}

static void on_lease(void *arg, const struct redis_result *r);

/* One fetch for the fleet: Redis says whose it is. */
enum step flight_step_lease(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	if (f->fence.broken)
		return flight_try_again(f);
	if (f->type->fetch.kind == CONF_FETCH_NONE)
		return flight_end_try(f);
	answer_peeks(f);
	if (!flight_is_wanted(f))
		return flight_end_try(f);
	const struct history_record *h = history_find(f->all->history, flight_key(f));
	if (h && clock_ms() < h->retry_ms && !flight_wants_fetch(f)) {
		flight_count(f)->backoffs++;
		return flight_fail_try(f, "UNAVAILABLE fetch: ", h->error);
	}
	if (!tiers_reaches_redis(t, f->type))
		return STEP_FETCH;
	snprintf(f->token, sizeof(f->token), "%08lx%08lx", (unsigned long)random() & 0xffffffff, (unsigned long)random() & 0xffffffff);
	enum redis_claim claim = flight_wants_fetch(f) ? REDIS_CLAIM_ALWAYS : f->held.value || f->is_newer_here ? REDIS_CLAIM_REFRESH : REDIS_CLAIM_ABSENT;
	f->was_woken = false;
	redis_acquire(t->redis, flight_key(f), &(struct redis_bid){.token = f->token, .lease_ms = LEASE_MS,
		.claim = claim, .awaited = f->awaited}, on_lease, f);
	return STEP_WAIT;
}

/* Another sidecar fetches. What it stores is heard of through tracking, which breaks
 * the fence; so is its lease when it ends. */
static enum step await_other(struct flight *f, int64_t lease_ms)
{
	bool is_heard = redis_coherence(f->all->tiers->redis) == COHERENCE_TRACKING;
	if (TAILQ_EMPTY(&f->waiters))
		return flight_end_try(f);
	if (f->fence.broken)
		return flight_try_again(f);
	if (f->was_woken) {
		flight_end_try(f);
		return STEP_MEMORY;
	}
	flight_count(f)->leases_awaited++;
	f->is_awaiting = true;
	f->lease_due_ms = clock_ms() + (is_heard && lease_ms > 0 ? lease_ms : SWEEP_MS);
	return STEP_WAIT;
}

static enum step leased(struct flight *f, const struct redis_result *r)
{
	switch ((enum redis_lease)r->number) {
	case REDIS_LEASE_WON:
		f->is_leased = true;
		f->lease_due_ms = clock_ms() + LEASE_RENEW_MS;
		flight_count(f)->leases_won++;
		return STEP_FETCH;
	case REDIS_LEASE_HELD:
		memcpy(f->awaited, r->holder, sizeof(f->awaited));
		return await_other(f, r->ttl_ms);
	case REDIS_LEASE_PRESENT:
		flight_end_try(f);
		return STEP_MEMORY;
	case REDIS_LEASE_ABSENT:
		return f->fence.broken ? flight_try_again(f) : flight_without_value(f, f->type->negative_ttl_ms ? r->ttl_ms : 0);
	case REDIS_LEASE_FAILED:
		history_told(f->all->history, flight_key(f), r->error, r->ttl_ms);
		return flight_fail_try(f, "UNAVAILABLE fetch: ", r->error);
	}
	return STEP_FETCH;
}

/* A Redis that cannot lease (read-only, full, away) does not keep us from fetching. */
static void on_lease(void *arg, const struct redis_result *r)
{
	struct flight *f = arg;
	f->step = r->status == REDIS_ANSWERED ? leased(f, r) : STEP_FETCH;
	flight_run(f);
}
