/* Reads under way; see flight.h.
 *
 *   MEMORY -> REDIS -> LEASE -> FETCH -> CHECK -> FILL -> STORE -> landed: all answered
 *      ^                 |                                  |
 *      |                 +-- another's: wait for a change --+-- the key has changed:
 *      +----------------------------------------------------+   another try
 *
 * Each step says what comes next, or that it waits for a callback. Invariants: a flight
 * is in the map until it lands; its fence stands while it is in a try; nothing that a
 * try found is stored unless its fence is whole, and in Redis unless the lease is ours
 * and the key unchanged there. */
#include "flight.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../proto/buf.h"
#include "check.h"
#include "clock.h"
#include "fetch.h"
#include "history.h"
#include "log.h"
#include "redis.h"
#include "replay.h"
#include "tiers.h"
#include "value.h"

#define GRACE_MS 1000
#define LEASE_MS 2000           /* a holder that dies delays the others by so much */
#define LEASE_RENEW_MS 600
#define SWEEP_MS 100            /* how often deadlines of waiters are looked at */
#define ERROR_MAX 400

struct waiter {
	TAILQ_ENTRY(waiter) link;
	enum read_mode mode;
	bool late;              /* came after the key changed under this try: its result is too old for it */
	unsigned tries;
	int64_t deadline_ms;
	outcome_fn done;
	void *arg;
};
TAILQ_HEAD(waiters, waiter);

enum step { STEP_MEMORY, STEP_REDIS, STEP_LEASE, STEP_FETCH, STEP_CHECK, STEP_FILL, STEP_STORE, STEP_WAIT, STEP_LANDED };

/* An older value that may be served if nothing better is to be had. */
struct held {
	struct value *value;            /* NULL: none */
	int64_t expires_ms;             /* end of its TTL, which may be past */
	int64_t stored_ms;              /* when it came here */
	enum source source;
};

struct flight {
	struct keynode node;            /* owns the bytes of its key */
	struct flights *all;
	const struct conf_type *type;
	enum step step;
	int64_t began_ms;
	struct waiters waiters;
	bool is_past_tiers;             /* the tiers have nothing better than what is held: a peek has its answer */
	bool is_behind;                 /* goes on even if nobody waits */
	bool is_slow;                   /* its fetch has passed soft_timeout */

	/* of this try */
	struct fence fence;             /* stands from MEMORY to the end of the try */
	uint32_t epoch;                 /* of the tiers when it began */
	bool is_newer_here;             /* Redis is still to be told of the key: what it has is not read */
	struct held held;
	struct value *value;            /* what was found */
	struct outcome outcome;
	struct check check;
	int64_t fetch_began_us;         /* 0: not yet */
	uint64_t guard_changes;         /* of the tiers when the fetch began */
	bool was_guarded;               /* likewise */

	/* the lease */
	bool is_leased;                 /* ours */
	bool is_filled;                 /* Redis has taken what was fetched in this try */
	bool is_awaiting;               /* somebody else's */
	bool was_woken;                 /* since it was asked for */
	int64_t lease_due_ms;           /* ours: renew it then; else: look again then */
	char token[REDIS_TOKEN_LEN + 1];
	char awaited[REDIS_TOKEN_LEN + 1];      /* of the holder waited for last */

	struct event *soft;             /* soft_timeout; made when first needed */
	char error[ERROR_MAX];
};

struct flights {
	struct event_base *base;
	struct tiers *tiers;
	struct history *history;
	struct replay *replay;
	struct fetcher *fetcher;
	struct keymap map;
	size_t waiting;
	struct event *sweep;            /* runs while there are flights */
	bool closing;
};

static void run(struct flight *f);

static const struct key *key_of_flight(const struct flight *f)
{
	return &f->node.key;
}

static const char *name_of(const struct flight *f)
{
	return f->type->exact ? "" : key_of_flight(f)->data + f->type->prefix_len;
}

/* ---- waiters ---- */

static void join(struct flight *f, enum read_mode mode, outcome_fn done, void *arg)
{
	int64_t patience_ms = f->type->fetch.timeout_ms + f->all->tiers->conf->redis.timeout_ms + LEASE_MS + GRACE_MS;
	struct waiter *w = xmalloc(sizeof(*w));
	/* A refresh wants a fetch that begins now: what is under way is too old for it. */
	if (mode >= READ_REFRESH && f->step != STEP_MEMORY && !f->is_awaiting)
		f->fence.broken = true;
	*w = (struct waiter){.mode = mode, .late = f->step != STEP_MEMORY && f->fence.broken,
		.deadline_ms = clock_ms() + patience_ms, .done = done, .arg = arg};
	TAILQ_INSERT_TAIL(&f->waiters, w, link);
	f->all->waiting++;
}

/* Somebody wants a fetch whatever the tiers have. */
static bool wants_fetch(const struct flight *f)
{
	const struct waiter *w;
	TAILQ_FOREACH(w, &f->waiters, link)
		if (w->mode >= READ_REFRESH)
			return true;
	return false;
}

static bool is_peeked(const struct flight *f)
{
	const struct waiter *w;
	TAILQ_FOREACH(w, &f->waiters, link)
		if (w->mode == READ_PEEK)
			return true;
	return false;
}

static bool is_forced(const struct flight *f)
{
	const struct waiter *w;
	TAILQ_FOREACH(w, &f->waiters, link)
		if (w->mode == READ_FORCE)
			return true;
	return false;
}

static bool is_wanted(const struct flight *f)
{
	return f->is_behind || !TAILQ_EMPTY(&f->waiters);
}

typedef bool (*waiter_test)(struct waiter *w);

/* Answers those for whom test says so; their number. They are taken out first, since an answer
 * may bring new waiters at once. */
static size_t answer(struct flight *f, waiter_test test, const struct outcome *o)
{
	struct waiters now = TAILQ_HEAD_INITIALIZER(now);
	size_t count = 0;
	for (struct waiter *w = TAILQ_FIRST(&f->waiters), *next; w; w = next) {
		next = TAILQ_NEXT(w, link);
		if (!test(w))
			continue;
		TAILQ_REMOVE(&f->waiters, w, link);
		TAILQ_INSERT_TAIL(&now, w, link);
	}
	for (struct waiter *w; (w = TAILQ_FIRST(&now)); ) {
		TAILQ_REMOVE(&now, w, link);
		f->all->waiting--;
		count++;
		w->done(w->arg, o);
		free(w);
	}
	return count;
}

static bool is_any(struct waiter *w)
{
	(void)w;
	return true;
}

static bool is_peek(struct waiter *w)
{
	return w->mode == READ_PEEK;
}

static bool is_get(struct waiter *w)
{
	return w->mode == READ_GET;
}

static bool is_early(struct waiter *w)
{
	return !w->late;
}

static bool is_overdue(struct waiter *w)
{
	return clock_ms() >= w->deadline_ms;
}

/* After a broken try: true for those who have waited for enough of them. */
static bool has_tried_enough(struct waiter *w)
{
	return !w->late && ++w->tries >= FLIGHT_TRIES;
}

/* ---- outcomes ---- */

static struct type_counters *count(struct flight *f)
{
	return tiers_count(f->all->tiers, f->type);
}

static void set_found(struct flight *f, struct value *v, int64_t ttl_ms, const char *tier, enum source source)
{
	value_unref(f->value);
	f->value = value_ref(v);
	f->outcome = (struct outcome){.status = OUTCOME_FOUND, .value = f->value, .ttl_ms = ttl_ms ? ttl_ms : -1,
		.tier = tier, .source = source};
}

static void set_absent(struct flight *f)
{
	f->outcome = (struct outcome){.status = OUTCOME_ABSENT};
}

static void set_error(struct flight *f, const char *prefix, const char *reason)
{
	snprintf(f->error, sizeof(f->error), "%s%s", prefix, reason);
	f->outcome = (struct outcome){.status = OUTCOME_ERROR, .error = f->error};
}

/* ---- what is held ---- */

static void drop_held(struct flight *f)
{
	value_unref(f->held.value);
	f->held = (struct held){0};
}

static void hold(struct flight *f, struct value *v, int64_t expires_ms, enum source source)
{
	struct value *kept = v ? value_ref(v) : NULL;
	drop_held(f);
	f->held = (struct held){.value = kept, .expires_ms = expires_ms, .stored_ms = clock_ms(), .source = source};
}

static bool is_held_fresh(const struct flight *f)
{
	return f->held.value && clock_ms() < f->held.expires_ms;
}

/* It may stand in for a fetch that failed or takes long (stale_if_error). */
static bool is_held_usable(const struct flight *f)
{
	return f->held.value && !f->fence.broken
		&& (f->held.expires_ms == MEMORY_FOREVER || clock_ms() < f->held.expires_ms + f->type->stale_if_error_ms);
}

static struct outcome outcome_of_held(const struct flight *f)
{
	int64_t left_ms = f->held.expires_ms == MEMORY_FOREVER ? -1 : f->held.expires_ms - clock_ms();
	return (struct outcome){.status = OUTCOME_FOUND, .value = f->held.value, .ttl_ms = left_ms,
		.is_stale = left_ms <= 0 && f->held.expires_ms != MEMORY_FOREVER,
		.age_ms = clock_ms() - f->held.stored_ms, .tier = "memory", .source = f->held.source};
}

/* ---- ends of a try ---- */

static enum step end_try(struct flight *f)
{
	if (f->soft)
		event_del(f->soft);
	(void)fence_lift(&f->all->tiers->fences, &f->fence);
	return STEP_LANDED;
}

static void give_lease_back(struct flight *f, enum redis_lease outcome, int64_t tell_ms)
{
	if (f->is_leased && tiers_reaches_redis(f->all->tiers, f->type))
		redis_release(f->all->tiers->redis, key_of_flight(f), f->token, outcome, f->error, tell_ms);
	f->is_leased = false;
}

static void on_removed(void *arg, const struct redis_result *r)
{
	struct type_counters *c = arg;
	if (r->status != REDIS_ANSWERED)
		c->redis_failures++;
}

/* The key changed under this try. What was found is answered only to those who have
 * waited for several tries, and only if nothing newer is there yet. */
static enum step try_again(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	count(f)->fenced++;
	log_debug("fenced", "type=%s", f->type->name);
	give_lease_back(f, REDIS_LEASE_WON, 0);
	bool has_newer = memory_peek(t->memory, key_of_flight(f), clock_ms());
	size_t served = 0;
	if (!has_newer && f->outcome.status == OUTCOME_FOUND)
		served = answer(f, has_tried_enough, &f->outcome);
	/* What was served may be newer than what Redis has: nobody is to read that after it. */
	if (served && f->outcome.source == SOURCE_FETCH && tiers_reaches_redis(t, f->type))
		redis_delete(t->redis, key_of_flight(f), 1, on_removed, count(f));
	end_try(f);
	/* A refresh behind has nothing to do any more: the key is newer than what it would bring. */
	f->is_behind = false;
	return is_wanted(f) ? STEP_MEMORY : STEP_LANDED;
}

/* The fetch brought nothing that may be stored. An older value that is held is served
 * instead, as long as stale_if_error says; else the error. */
static enum step fail_try(struct flight *f, const char *prefix, const char *reason)
{
	set_error(f, prefix, reason);
	if (f->fence.broken && !memory_peek(f->all->tiers->memory, key_of_flight(f), clock_ms()))
		answer(f, is_early, &f->outcome);
	if (f->fence.broken)
		return try_again(f);
	/* Who is answered may ask again at once, and is waiting again then. */
	for (size_t n = 1; n > 0 && is_held_usable(f); count(f)->stale_errors += n) {
		struct outcome o = outcome_of_held(f);
		n = answer(f, is_get, &o);
	}
	return f->fence.broken ? try_again(f) : end_try(f);
}

static enum step fetch_failed(struct flight *f, const char *reason)
{
	int64_t took_us = clock_us() - f->fetch_began_us;
	int64_t backoff_ms = history_failed(f->all->history, key_of_flight(f), took_us, reason);
	snprintf(f->error, sizeof(f->error), "%s", reason);
	give_lease_back(f, REDIS_LEASE_FAILED, backoff_ms);
	return fail_try(f, "UNAVAILABLE fetch: ", reason);
}

/* ---- steps ---- */

/* Every try begins here: what a SET put there meanwhile is the newest. */
static enum step step_memory(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	struct waiter *w;
	TAILQ_FOREACH(w, &f->waiters, link)
		w->late = false;
	fence_set(&t->fences, &f->fence, key_of_flight(f));
	f->epoch = t->epoch;
	f->is_past_tiers = f->is_filled = f->is_slow = false;
	f->fetch_began_us = 0;
	drop_held(f);
	set_absent(f);
	struct memory_entry *e = memory_get(t->memory, key_of_flight(f), clock_ms());
	if (e) {
		hold(f, e->value, e->expires_ms, e->source);
		f->held.stored_ms = e->stored_ms;
	}
	struct value *unsent;
	int64_t expires_ms;
	f->is_newer_here = replay_knows(f->all->replay, f->type, key_of_flight(f), &unsent, &expires_ms);
	if (wants_fetch(f) || f->is_behind)
		return !e && !f->is_newer_here && (f->type->max_shrink > 0 || is_peeked(f)) ? STEP_REDIS : STEP_LEASE;
	if (!e && unsent) {
		hold(f, unsent, expires_ms, SOURCE_CLIENT);
		f->outcome = outcome_of_held(f);
		return end_try(f);
	}
	if (!e)
		return f->is_newer_here ? STEP_LEASE : STEP_REDIS;
	enum freshness fresh = tiers_judge(t, f->type, e);
	if (fresh == FRESH_SUSPECT && !f->is_newer_here)
		return STEP_REDIS;
	if (fresh == FRESH_SUSPECT && !is_held_fresh(f))
		return STEP_LEASE;
	if (fresh == FRESH_HELD)
		return STEP_LEASE;
	if (e->value)
		f->outcome = outcome_of_held(f);
	return end_try(f);
}

static void on_redis_read(void *arg, const struct redis_result *r);

static enum step step_redis(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	if (tiers_has_redis(t, f->type)) {
		redis_read(t->redis, key_of_flight(f), on_redis_read, f);
		return STEP_WAIT;
	}
	if (tiers_is_declared(t, f->type))
		return STEP_LEASE;
	set_error(f, "UNAVAILABLE redis: ", "the key is of no declared type, and Redis is off");
	return end_try(f);
}

/* Redis has the value. It is the newest there is: what is held goes. */
static enum step read_from_redis(struct flight *f, const struct redis_result *r)
{
	int64_t left_ms = tiers_logical_ttl_ms(f->type, r->ttl_ms);
	if (left_ms < 0 && history_is_foreign(f->all->history, key_of_flight(f), r->ttl_ms, tiers_window_ms(f->type)))
		left_ms = r->ttl_ms;
	if (left_ms >= 0)
		set_found(f, r->value, left_ms, "redis", SOURCE_REDIS);
	if (f->fence.broken)
		return try_again(f);
	if (left_ms >= 0 && !wants_fetch(f))
		return STEP_STORE;
	set_absent(f);
	hold(f, r->value, left_ms ? clock_ms() + left_ms : MEMORY_FOREVER, SOURCE_REDIS);
	(void)tiers_remember(f->all->tiers, f->type, key_of_flight(f), r->value, left_ms, SOURCE_REDIS, f->epoch);
	if (left_ms < 0 && -left_ms < f->type->stale_while_revalidate_ms) {
		struct outcome o = outcome_of_held(f);
		f->is_behind = true;
		count(f)->stale_hits += answer(f, is_get, &o);
	}
	return STEP_LEASE;
}

/* Redis says that there is nothing: so what memory holds was removed unheard. */
static enum step missing_in_redis(struct flight *f)
{
	if (f->fence.broken)
		return try_again(f);
	if (f->held.value)
		(void)memory_drop(f->all->tiers->memory, key_of_flight(f), clock_ms());
	drop_held(f);
	return STEP_LEASE;
}

/* Redis cannot say. What is held and not past its TTL is as good as it gets; a declared
 * type goes on to its fetch. */
static enum step without_redis(struct flight *f, const struct redis_result *r)
{
	count(f)->redis_failures++;
	if (f->fence.broken)
		return try_again(f);
	if (is_held_fresh(f) && !wants_fetch(f)) {
		f->outcome = outcome_of_held(f);
		return end_try(f);
	}
	if (tiers_is_declared(f->all->tiers, f->type))
		return STEP_LEASE;
	set_error(f, r->status == REDIS_DOWN ? "UNAVAILABLE redis: " : "", r->error);
	return end_try(f);
}

static void on_redis_read(void *arg, const struct redis_result *r)
{
	struct flight *f = arg;
	if (r->status == REDIS_ANSWERED) {
		f->step = read_from_redis(f, r);
	} else if (r->status == REDIS_NIL) {
		f->step = missing_in_redis(f);
	} else if (r->status == REDIS_WRONGTYPE) {
		set_error(f, "", r->error);
		f->step = end_try(f);
	} else {
		f->step = without_redis(f, r);
	}
	run(f);
}

/* For those who do not want a fetch: the tiers have nothing better than this. */
static struct outcome outcome_of_tiers(const struct flight *f)
{
	return f->held.value ? outcome_of_held(f) : (struct outcome){.status = OUTCOME_ABSENT};
}

static void answer_peeks(struct flight *f)
{
	struct outcome o = outcome_of_tiers(f);
	f->is_past_tiers = true;
	answer(f, is_peek, &o);
}

static void on_lease(void *arg, const struct redis_result *r);

/* One fetch for the fleet: Redis says whose it is. */
static enum step step_lease(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	if (f->fence.broken)
		return try_again(f);
	if (f->type->fetch.kind == CONF_FETCH_NONE)
		return end_try(f);
	answer_peeks(f);
	if (!is_wanted(f))
		return end_try(f);
	const struct history_record *h = history_find(f->all->history, key_of_flight(f));
	if (h && clock_ms() < h->retry_ms && !wants_fetch(f)) {
		count(f)->backoffs++;
		return fail_try(f, "UNAVAILABLE fetch: ", h->error);
	}
	if (!tiers_reaches_redis(t, f->type))
		return STEP_FETCH;
	snprintf(f->token, sizeof(f->token), "%08lx%08lx", (unsigned long)random() & 0xffffffff, (unsigned long)random() & 0xffffffff);
	enum redis_claim claim = wants_fetch(f) ? REDIS_CLAIM_ALWAYS : f->held.value || f->is_newer_here ? REDIS_CLAIM_REFRESH : REDIS_CLAIM_ABSENT;
	f->was_woken = false;
	redis_acquire(t->redis, key_of_flight(f), &(struct redis_bid){.token = f->token, .lease_ms = LEASE_MS,
		.claim = claim, .awaited = f->awaited}, on_lease, f);
	return STEP_WAIT;
}

/* Another sidecar fetches. What it stores is heard of through tracking, which breaks
 * the fence; so is its lease when it ends. */
static enum step await_other(struct flight *f, int64_t lease_ms)
{
	bool is_heard = redis_coherence(f->all->tiers->redis) == COHERENCE_TRACKING;
	if (TAILQ_EMPTY(&f->waiters))
		return end_try(f);
	if (f->fence.broken)
		return try_again(f);
	if (f->was_woken) {
		end_try(f);
		return STEP_MEMORY;
	}
	count(f)->leases_awaited++;
	f->is_awaiting = true;
	f->lease_due_ms = clock_ms() + (is_heard && lease_ms > 0 ? lease_ms : SWEEP_MS);
	return STEP_WAIT;
}

static enum step without_value(struct flight *f, int64_t known_for_ms)
{
	set_absent(f);
	tiers_remember_absent(f->all->tiers, f->type, key_of_flight(f), known_for_ms, f->epoch);
	return end_try(f);
}

static enum step leased(struct flight *f, const struct redis_result *r)
{
	switch ((enum redis_lease)r->number) {
	case REDIS_LEASE_WON:
		f->is_leased = true;
		f->lease_due_ms = clock_ms() + LEASE_RENEW_MS;
		count(f)->leases_won++;
		return STEP_FETCH;
	case REDIS_LEASE_HELD:
		memcpy(f->awaited, r->holder, sizeof(f->awaited));
		return await_other(f, r->ttl_ms);
	case REDIS_LEASE_PRESENT:
		end_try(f);
		return STEP_MEMORY;
	case REDIS_LEASE_ABSENT:
		return f->fence.broken ? try_again(f) : without_value(f, f->type->negative_ttl_ms ? r->ttl_ms : 0);
	case REDIS_LEASE_FAILED:
		history_told(f->all->history, key_of_flight(f), r->error, r->ttl_ms);
		return fail_try(f, "UNAVAILABLE fetch: ", r->error);
	}
	return STEP_FETCH;
}

/* A Redis that cannot lease (read-only, full, away) does not keep us from fetching. */
static void on_lease(void *arg, const struct redis_result *r)
{
	struct flight *f = arg;
	f->step = r->status == REDIS_ANSWERED ? leased(f, r) : STEP_FETCH;
	run(f);
}

static void on_soft_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct flight *f = arg;
	(void)fd, (void)what;
	clock_update();
	if (!is_held_usable(f))
		return;
	struct outcome o = outcome_of_held(f);
	f->is_behind = f->is_slow = true;
	count(f)->stale_errors += answer(f, is_get, &o);
}

static void arm_soft_timeout(struct flight *f)
{
	int64_t ms = f->type->fetch.soft_timeout_ms;
	if (!ms || !is_held_usable(f))
		return;
	if (!f->soft)
		f->soft = evtimer_new(f->all->base, on_soft_timeout, f);
	event_add(f->soft, &(struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000});
}

static void on_fetched(void *arg, const struct fetch_result *r);

static enum step step_fetch(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	count(f)->fetches++;
	f->fetch_began_us = clock_us();
	f->was_guarded = t->is_guarded;
	f->guard_changes = t->guard_changes;
	arm_soft_timeout(f);
	fetch_start(f->all->fetcher, f->type, name_of(f), on_fetched, f);
	return STEP_WAIT;
}

/* Served, but not stored in any tier. */
static enum step serve_only(struct flight *f, uint64_t *counter)
{
	++*counter;
	history_fetched(f->all->history, key_of_flight(f), clock_us() - f->fetch_began_us);
	give_lease_back(f, REDIS_LEASE_WON, 0);
	return end_try(f);
}

/* The guard key was set at some time while this fetch ran. */
static bool is_guarded(const struct flight *f)
{
	return (f->was_guarded || f->all->tiers->guard_changes != f->guard_changes) && !is_forced(f);
}

/* The source says that the key does not exist: so it must not in any tier. */
static enum step fetched_nothing(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	count(f)->fetch_absent++;
	history_fetched(f->all->history, key_of_flight(f), clock_us() - f->fetch_began_us);
	drop_held(f);
	set_absent(f);
	if (f->fence.broken)
		return try_again(f);
	if (is_guarded(f))
		return serve_only(f, &count(f)->guarded);
	(void)memory_drop(t->memory, key_of_flight(f), clock_ms());
	if (!tiers_reaches_redis(t, f->type) || !(wants_fetch(f) || f->is_behind))
		give_lease_back(f, REDIS_LEASE_ABSENT, f->type->negative_ttl_ms);
	else
		redis_delete(t->redis, key_of_flight(f), 1, on_removed, count(f)); /* and the lease with it */
	f->is_leased = false;
	return without_value(f, f->type->negative_ttl_ms);
}

static void on_fetched(void *arg, const struct fetch_result *r)
{
	struct flight *f = arg;
	clock_update();
	long long took_ms = (long long)(clock_us() - f->fetch_began_us) / 1000;
	if (f->soft)
		event_del(f->soft);
	if (r->status == FETCH_FOUND) {
		count(f)->fetched++;
		set_found(f, r->value, tiers_ttl_ms(f->type), "fetch", SOURCE_FETCH);
		log_info("fetched", "type=%s bytes=%zu took_ms=%lld", f->type->name, r->value->len, took_ms);
		f->step = STEP_CHECK;
	} else if (r->status == FETCH_ABSENT) {
		log_info("fetched", "type=%s absent=true took_ms=%lld", f->type->name, took_ms);
		f->step = fetched_nothing(f);
	} else {
		count(f)->fetch_failures++;
		log_warning("fetch_failed", "type=%s took_ms=%lld reason=%s", f->type->name, took_ms, log_quote(fetch_cause(r)));
		f->step = fetch_failed(f, r->error);
	}
	run(f);
}

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
	if ((double)is >= (double)was * (1 - f->type->max_shrink) || is_forced(f)
	    || history_confirms(f->all->history, key_of_flight(f), is))
		return STEP_FILL;
	snprintf(reason, sizeof(reason), "%llu %s where %llu were held", (unsigned long long)is,
		in_items ? "items" : "bytes", (unsigned long long)was);
	return refused(f, &count(f)->refused_shrunken, reason);
}

static void on_old_checked(void *arg)
{
	struct flight *f = arg;
	f->step = judge_size(f);
	run(f);
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
		f->step = refused(f, f->check.is_empty ? &count(f)->refused_empty : &count(f)->refused_json, f->check.refusal);
	else {
		f->step = STEP_WAIT;
		enum step next = compare_sizes(f);
		if (next == STEP_WAIT)
			return;
		f->step = next;
	}
	run(f);
}

static enum step step_check(struct flight *f)
{
	f->check = (struct check){.value = f->value, .want_json = f->type->format == CONF_JSON,
		.refuse_empty = f->type->refuse_empty};
	if (!f->check.want_json && !f->check.refuse_empty && f->type->max_shrink <= 0)
		return STEP_FILL;
	check_start(&f->check, f->all->tiers->cpu, on_checked, f);
	return STEP_WAIT;
}

static void on_filled(void *arg, const struct redis_result *r);

static enum step step_fill(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	if (f->fence.broken)
		return try_again(f);
	if (f->value->len > f->type->max_value) {
		log_warning("fetch_not_stored", "type=%s bytes=%zu max_value=%llu", f->type->name, f->value->len,
			(unsigned long long)f->type->max_value);
		return serve_only(f, &count(f)->oversize);
	}
	if (is_guarded(f))
		return serve_only(f, &count(f)->guarded);
	if (!f->is_leased || !tiers_reaches_redis(t, f->type))
		return STEP_STORE;
	redis_fill(t->redis, key_of_flight(f), f->token, f->value,
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
		redis_unfill(f->all->tiers->redis, key_of_flight(f), r->mark);
	else if (f->is_filled)
		history_filled(f->all->history, key_of_flight(f), r->mark);
	if (r->status != REDIS_ANSWERED)
		count(f)->redis_failures++;
	else
		f->is_leased = false; /* it went with the fill, or was not ours any more */
	f->step = is_refused ? try_again(f) : STEP_STORE;
	run(f);
}

static enum step step_store(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	const struct outcome *o = &f->outcome;
	if (f->fence.broken)
		return try_again(f);
	(void)tiers_remember(t, f->type, key_of_flight(f), f->value, o->ttl_ms > 0 ? o->ttl_ms : 0, o->source, f->epoch);
	/* Redis does not have it: what it has instead is older. */
	if (o->source == SOURCE_FETCH && tiers_has_redis(t, f->type) && !f->is_filled)
		replay_delete(f->all->replay, f->type, key_of_flight(f));
	if (o->source == SOURCE_FETCH)
		history_fetched(f->all->history, key_of_flight(f), clock_us() - f->fetch_began_us);
	give_lease_back(f, REDIS_LEASE_WON, 0);
	return end_try(f);
}

static enum step (*const steps[])(struct flight *f) = {
	[STEP_MEMORY] = step_memory,
	[STEP_REDIS] = step_redis,
	[STEP_LEASE] = step_lease,
	[STEP_FETCH] = step_fetch,
	[STEP_CHECK] = step_check,
	[STEP_FILL] = step_fill,
	[STEP_STORE] = step_store,
};

static void count_answers(struct flight *f)
{
	const struct waiter *w;
	if (f->outcome.status == OUTCOME_FOUND && f->outcome.source == SOURCE_REDIS)
		TAILQ_FOREACH(w, &f->waiters, link)
			count(f)->redis_hits++;
}

static void land(struct flight *f)
{
	struct flights *all = f->all;
	keymap_remove(&all->map, &f->node);
	if (all->map.count == 0)
		event_del(all->sweep);
	count_answers(f);
	answer(f, is_any, &f->outcome);
	drop_held(f);
	value_unref(f->value);
	if (f->soft)
		event_free(f->soft);
	free((char *)f->node.key.data);
	free(f);
}

/* The daemon stops: whatever the step, this flight goes no further. */
static void give_up(struct flight *f)
{
	if (f->step != STEP_MEMORY && f->step != STEP_LANDED)
		end_try(f);
	set_error(f, "UNAVAILABLE fetch: ", "shutting down");
	land(f);
}

/* Drives f until it waits or has landed; f may be gone afterwards. */
static void run(struct flight *f)
{
	if (f->all->closing) {
		give_up(f);
		return;
	}
	while (f->step != STEP_WAIT && f->step != STEP_LANDED) {
		enum step before = f->step;
		f->step = STEP_WAIT; /* a check of a small value calls back at once */
		enum step next = steps[before](f);
		if (next == STEP_WAIT)
			return;
		f->step = next;
	}
	if (f->step == STEP_LANDED)
		land(f);
}

/* ---- all flights ---- */

static void sweep_waiters(struct flight *f)
{
	if (TAILQ_EMPTY(&f->waiters) || !is_overdue(TAILQ_FIRST(&f->waiters)))
		return;
	count(f)->timeouts += answer(f, is_overdue, &(struct outcome){.status = OUTCOME_ERROR,
		.error = "UNAVAILABLE fetch: no answer within the deadline"});
}

static void wake(struct flight *f)
{
	f->is_awaiting = false;
	end_try(f);
	f->step = is_wanted(f) ? STEP_MEMORY : STEP_LANDED;
	run(f);
}

/* A flight that is woken may land, and its clients may begin others: so the walk starts
 * again after each. None is awaiting twice, since none begins to await at once. */
static void wake_where(struct flights *all, bool (*test)(const struct flight *f))
{
	for (struct keynode *n = keymap_first(&all->map); n; ) {
		struct flight *f = (struct flight *)n;
		if (f->is_awaiting && test(f)) {
			wake(f);
			n = keymap_first(&all->map);
		} else {
			n = keymap_after(&all->map, n);
		}
	}
}

static bool is_lease_over(const struct flight *f)
{
	return clock_ms() >= f->lease_due_ms || TAILQ_EMPTY(&f->waiters)
		|| !tiers_reaches_redis(f->all->tiers, f->type);
}

static bool is_awaiting(const struct flight *f)
{
	return f->is_awaiting;
}

void flights_wake(struct flights *all, const struct key *key)
{
	struct flight *f = (struct flight *)keymap_find(&all->map, key);
	if (f && f->is_awaiting)
		wake(f);
	else if (f)
		f->was_woken = true;
}

void flights_wake_all(struct flights *all)
{
	wake_where(all, is_awaiting);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct flights *all = arg;
	(void)fd, (void)what;
	clock_update();
	for (struct keynode *n = keymap_first(&all->map); n; n = keymap_after(&all->map, n)) {
		struct flight *f = (struct flight *)n;
		sweep_waiters(f);
		if (f->is_leased && clock_ms() >= f->lease_due_ms && tiers_reaches_redis(all->tiers, f->type)) {
			f->lease_due_ms = clock_ms() + LEASE_RENEW_MS;
			redis_renew(all->tiers->redis, key_of_flight(f), f->token, LEASE_MS);
		}
	}
	wake_where(all, is_lease_over);
}

struct flights *flights_new(struct event_base *base, struct tiers *tiers, struct history *history,
	struct replay *replay)
{
	struct flights *all = xcalloc(1, sizeof(*all));
	all->base = base;
	all->tiers = tiers;
	all->history = history;
	all->replay = replay;
	all->sweep = event_new(base, -1, EV_PERSIST, on_sweep, all);
	return all;
}

void flights_set_fetcher(struct flights *all, struct fetcher *fetcher)
{
	all->fetcher = fetcher;
}

void flights_close(struct flights *all)
{
	all->closing = true;
	wake_where(all, is_awaiting);
}

void flights_free(struct flights *all)
{
	if (!all)
		return;
	assert(all->map.count == 0 && all->waiting == 0);
	event_free(all->sweep);
	free(all);
}

static struct flight *flight_new(struct flights *all, const struct conf_type *type, const struct key *key)
{
	struct flight *f = xcalloc(1, sizeof(*f));
	f->node.key = key_dup(key);
	f->all = all;
	f->type = type;
	f->began_ms = clock_ms();
	TAILQ_INIT(&f->waiters);
	if (all->map.count == 0)
		event_add(all->sweep, &(struct timeval){.tv_usec = SWEEP_MS * 1000});
	keymap_add(&all->map, &f->node);
	return f;
}

/* Whoever comes while f fetches gets what it holds at once, if that is still within
 * stale_while_revalidate, or if the fetch has passed its soft_timeout. */
static bool need_not_wait(const struct flight *f)
{
	bool is_revalidating = f->held.value && f->held.expires_ms != MEMORY_FOREVER
		&& clock_ms() < f->held.expires_ms + f->type->stale_while_revalidate_ms;
	return f->step == STEP_WAIT && f->is_past_tiers && !f->fence.broken && !wants_fetch(f)
		&& (is_revalidating || (f->is_slow && is_held_usable(f)));
}

struct look {
	const struct conf_type *type;
	bool is_declared;
	outcome_fn done;
	void *arg;
};

static void on_looked(void *arg, const struct redis_result *r)
{
	struct look *look = arg;
	struct outcome o = {.status = OUTCOME_ABSENT};
	char error[ERROR_MAX];
	if (r->status == REDIS_ANSWERED) {
		int64_t left_ms = tiers_logical_ttl_ms(look->type, r->ttl_ms);
		o = (struct outcome){.status = OUTCOME_FOUND, .value = r->value, .is_stale = left_ms < 0,
			.ttl_ms = left_ms ? left_ms : -1, .age_ms = -1, .tier = "redis", .source = SOURCE_REDIS};
	} else if (r->status == REDIS_WRONGTYPE || (r->status != REDIS_NIL && !look->is_declared)) {
		snprintf(error, sizeof(error), "%s%s", r->status == REDIS_DOWN ? "UNAVAILABLE redis: " : "", r->error);
		o = (struct outcome){.status = OUTCOME_ERROR, .error = error};
	}
	look->done(look->arg, &o);
	free(look);
}

void flights_look(struct flights *all, const struct conf_type *type, const struct key *key, outcome_fn done, void *arg)
{
	struct tiers *t = all->tiers;
	const struct memory_entry *e = memory_peek(t->memory, key, clock_ms());
	struct value *unsent;
	int64_t expires_ms;
	bool may_ask = !replay_knows(all->replay, type, key, &unsent, &expires_ms) && tiers_reaches_redis(t, type);
	if ((e && e->value && (!may_ask || tiers_judge(t, type, e) != FRESH_SUSPECT)) || (unsent && clock_ms() < expires_ms)) {
		struct outcome o = e && e->value ? tiers_outcome(e) : (struct outcome){.status = OUTCOME_FOUND, .value = unsent,
			.ttl_ms = expires_ms == MEMORY_FOREVER ? -1 : expires_ms - clock_ms(), .age_ms = -1, .tier = "memory"};
		value_ref(o.value); /* done may change the key */
		done(arg, &o);
		value_unref(o.value);
	} else if (may_ask) {
		struct look *look = xmalloc(sizeof(*look));
		*look = (struct look){.type = type, .is_declared = tiers_is_declared(t, type), .done = done, .arg = arg};
		redis_read(t->redis, key, on_looked, look);
	} else {
		done(arg, &(struct outcome){.status = OUTCOME_ABSENT});
	}
}

void flights_read(struct flights *all, const struct conf_type *type, const struct key *key,
	enum read_mode mode, outcome_fn done, void *arg)
{
	struct flight *f = (struct flight *)keymap_find(&all->map, key);
	if (f && mode == READ_PEEK && f->step == STEP_WAIT && (f->is_past_tiers || f->fence.broken)) {
		flights_look(all, type, key, done, arg);
		return;
	}
	if (f && mode == READ_GET && need_not_wait(f)) {
		struct outcome o = outcome_of_held(f);
		++*(f->is_slow ? &count(f)->stale_errors : &count(f)->stale_hits);
		done(arg, &o);
		return;
	}
	if (f) {
		join(f, mode, done, arg);
		return;
	}
	if (all->map.count >= FLIGHTS_MAX) {
		done(arg, &(struct outcome){.status = OUTCOME_ERROR, .error = "UNAVAILABLE fetch: too many reads under way"});
		return;
	}
	f = flight_new(all, type, key);
	join(f, mode, done, arg);
	run(f);
}

bool flights_is_fetched_by(const struct flights *all, const struct key *key, pid_t group)
{
	const struct flight *f = (const struct flight *)keymap_find(&all->map, key);
	return f && fetch_is_run_by(all->fetcher, f->type, name_of(f), group);
}

void flights_refresh(struct flights *all, const struct conf_type *type, const struct key *key)
{
	const struct history_record *h = history_find(all->history, key);
	if (keymap_find(&all->map, key) || all->map.count >= FLIGHTS_MAX || (h && clock_ms() < h->retry_ms))
		return;
	struct flight *f = flight_new(all, type, key);
	f->is_behind = true;
	run(f);
}

bool flights_explain(const struct flights *all, const struct key *key, struct flight_view *view)
{
	const struct flight *f = (const struct flight *)keymap_find(&all->map, key);
	const struct waiter *w;
	if (!f)
		return false;
	*view = (struct flight_view){.is_fetching = f->fetch_began_us, .is_leased = f->is_leased,
		.awaits = f->is_awaiting ? f->awaited : NULL, .answers_stale = need_not_wait(f),
		.since_ms = f->fetch_began_us ? (clock_us() - f->fetch_began_us) / 1000 : clock_ms() - f->began_ms};
	TAILQ_FOREACH(w, &f->waiters, link)
		view->waiting++;
	return true;
}

size_t flights_count(const struct flights *all)
{
	return all->map.count;
}

size_t flights_waiting(const struct flights *all)
{
	return all->waiting;
}
