/* The step of a flight that decides who fetches: this sidecar, or another, which is then
 * waited for; see flight_impl.h. */
#include "flight_impl.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "history.h"
#include "redis.h"

#define BELIEVED_HOLDERS 2

/* ---- who need not wait ---- */

/* For those who do not want a fetch: the tiers have nothing better than this. */
static struct outcome outcome_of_tiers(const struct flight *f)
{
	bool has_value = f->held.value && !f->held.is_missing;
	return has_value ? flight_outcome_of_held(f) : (struct outcome){.status = OUTCOME_ABSENT};
}

static void answer_peeks(struct flight *f)
{
	struct outcome o = outcome_of_tiers(f);
	f->is_past_tiers = true;
	flight_answer(f, waiter_is_peek, &o);
}

/* Whoever fetches takes long: what is held is served, and replaced behind. */
static void serve_slow(struct flight *f)
{
	if (!flight_is_held_usable(f))
		return;
	f->is_behind = true;
	flight_serve_held(f, waiter_is_get);
}

static void on_soft_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct flight *f = arg;
	(void)fd, (void)what;
	clock_update();
	f->is_slow = true;
	serve_slow(f);
}

/* It runs from when a fetch was first wanted, whoever does it and however many tries it takes. */
static void heed_soft_timeout(struct flight *f)
{
	int64_t ms = f->type->fetch.soft_timeout_ms;
	if (f->is_slow)
		serve_slow(f);
	if (!ms || f->is_slow || !flight_is_held_usable(f))
		return;
	if (!f->soft)
		f->soft = evtimer_new(f->all->base, on_soft_timeout, f);
	if (!evtimer_pending(f->soft, NULL))
		clock_arm(f->soft, ms);
}

/* ---- the lease ---- */

static void on_lease(void *arg, const struct redis_result *r);

/* What Redis has left of the value that is held, at the most. */
static int64_t left_in_redis_ms(const struct flight *f)
{
	if (f->held.expires_ms == MEMORY_FOREVER)
		return INT64_MAX;
	int64_t ms = f->held.expires_ms - clock_ms() + tiers_window_ms(f->type);
	return (ms > 0 ? ms : 0) + f->all->tiers->conf->redis.timeout_ms; /* what it took to read it was counted off */
}

static enum redis_claim claim_of(const struct flight *f)
{
	if (flight_wants_fetch(f))
		return REDIS_CLAIM_ALWAYS;
	if (f->is_newer_here)
		return REDIS_CLAIM_REPLACE;
	if (!f->held.value || f->held.is_missing)
		return REDIS_CLAIM_ABSENT;
	return f->was_present ? REDIS_CLAIM_REPLACE : REDIS_CLAIM_REFRESH;
}

/* What failed elsewhere may work here. So where there is nothing to serve, nobody is believed
 * before it has failed here, too; or, to those who wait, for two others. */
static bool defies_failure(const struct flight *f, const struct history_record *h)
{
	return !flight_is_held_usable(f) && !(h && h->failures) && f->holders < BELIEVED_HOLDERS;
}

static void bid(struct flight *f, const struct history_record *h)
{
	struct redis_bid bid = {.token = f->token, .lease_ms = LEASE_MS, .claim = claim_of(f), .left_ms = left_in_redis_ms(f),
		.defies_failure = defies_failure(f, h), .awaited = f->awaited};
	snprintf(f->token, sizeof(f->token), "%08lx%08lx", (unsigned long)random() & 0xffffffff, (unsigned long)random() & 0xffffffff);
	f->was_woken = false;
	redis_acquire(f->all->tiers->redis, flight_key(f), &bid, on_lease, f);
}

/* One fetch for the fleet: Redis says whose it is. Under the guard nothing is stored, so
 * nobody would have what another fetches. */
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
	heed_soft_timeout(f);
	if (!tiers_reaches_redis(t, f->type) || (t->is_guarded && !flight_is_forced(f)))
		return STEP_FETCH;
	bid(f, h);
	return STEP_WAIT;
}

/* Another sidecar fetches. What it stores is heard of through tracking, which breaks
 * the fence; so is its lease when it ends. */
static enum step await_other(struct flight *f, int64_t lease_ms)
{
	bool is_heard = tiers_reaches_redis(f->all->tiers, f->type) && redis_coherence(f->all->tiers->redis) == COHERENCE_TRACKING;
	if (TAILQ_EMPTY(&f->waiters) && !f->is_slow)
		return flight_end_try(f);
	if (f->was_woken) {
		flight_end_try(f);
		return STEP_MEMORY;
	}
	flight_count(f)->leases_awaited++;
	f->is_awaiting = true;
	f->lease_due_ms = clock_ms() + (is_heard && lease_ms > 0 ? lease_ms : SWEEP_MS);
	return STEP_WAIT;
}

/* Another sidecar has fetched, or somebody has written, and we have not heard of it yet: what
 * is held is older. */
static enum step read_newer(struct flight *f)
{
	f->was_present = true;
	f->is_behind = false;
	if (f->held.value)
		(void)memory_drop(f->all->tiers->memory, flight_key(f), clock_ms());
	flight_end_try(f);
	return flight_is_wanted(f) ? STEP_MEMORY : STEP_LANDED;
}

static enum step found_absent(struct flight *f, int64_t known_for_ms)
{
	(void)memory_drop(f->all->tiers->memory, flight_key(f), clock_ms());
	return flight_without_value(f, f->type->negative_ttl_ms ? known_for_ms : 0);
}

/* Where there is something to serve, or it has failed here before, it is not tried again so soon. */
static enum step failed_elsewhere(struct flight *f, const struct redis_result *r)
{
	const struct history_record *h = history_find(f->all->history, flight_key(f));
	if (flight_is_held_usable(f) || (h && h->failures))
		history_told(f->all->history, flight_key(f), r->error, r->ttl_ms);
	return flight_fail_try(f, "UNAVAILABLE fetch: ", r->error);
}

static enum step leased(struct flight *f, const struct redis_result *r)
{
	f->is_leased = r->number == REDIS_LEASE_WON;
	if (f->fence.broken)
		return flight_try_again(f);
	switch ((enum redis_lease)r->number) {
	case REDIS_LEASE_WON:
		f->lease_due_ms = clock_ms() + LEASE_RENEW_MS;
		flight_count(f)->leases_won++;
		return STEP_FETCH;
	case REDIS_LEASE_HELD:
		f->holders += strcmp(f->awaited, r->holder) != 0;
		memcpy(f->awaited, r->holder, sizeof(f->awaited));
		return await_other(f, r->ttl_ms);
	case REDIS_LEASE_PRESENT:
		return read_newer(f);
	case REDIS_LEASE_ABSENT:
		return found_absent(f, r->ttl_ms);
	case REDIS_LEASE_FAILED:
		return failed_elsewhere(f, r);
	case REDIS_LEASE_UNSTORED:
		return STEP_FETCH;
	}
	return STEP_FETCH;
}

/* A Redis that cannot lease (read-only, full, away) does not keep us from fetching. */
/* Redis has just become full, or read-only. Once that is known, sidecars tell each other of
 * changes; till then they do not. */
static bool is_refusing_unknown(const struct flight *f, const struct redis_result *r)
{
	return f->all->tiers->redis && r->status == REDIS_ERROR && (strncmp(r->error, "OOM", 3) == 0 || strncmp(r->error, "READONLY", 8) == 0)
		&& !redis_unwritable(f->all->tiers->redis)[0];
}

static void on_lease(void *arg, const struct redis_result *r)
{
	struct flight *f = arg;
	bool is_refusing = is_refusing_unknown(f, r);
	if (is_refusing)
		redis_note_refusal(f->all->tiers->redis, r->error);
	f->is_unheard = is_refusing || (r->status == REDIS_ANSWERED && r->number == REDIS_LEASE_UNSTORED);
	f->step = r->status == REDIS_ANSWERED ? leased(f, r) : STEP_FETCH;
	flight_run(f);
}
