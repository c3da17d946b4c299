/* All flights: the map, the driving of each from step to step, waking, deadlines; see
 * flight.h and flight_impl.h. */
#include "flight.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "clock.h"
#include "flight_impl.h"
#include "history.h"
#include "redis.h"
#include "replay.h"
#include "value.h"

static enum step (*const steps[])(struct flight *f) = {
	[STEP_MEMORY] = flight_step_memory,
	[STEP_REDIS] = flight_step_redis,
	[STEP_LEASE] = flight_step_lease,
	[STEP_FETCH] = flight_step_fetch,
	[STEP_CHECK] = flight_step_check,
	[STEP_FILL] = flight_step_fill,
	[STEP_STORE] = flight_step_store,
};

static void count_answers(struct flight *f)
{
	const struct waiter *w;
	bool is_hit = f->outcome.status == OUTCOME_FOUND && f->outcome.source == SOURCE_REDIS;
	bool is_miss = !is_hit && f->is_past_tiers && tiers_has_redis(f->all->tiers, f->type);
	TAILQ_FOREACH(w, &f->waiters, link) {
		flight_count(f)->redis_hits += is_hit;
		flight_count(f)->redis_misses += is_miss && w->mode < READ_REFRESH;
	}
}

static void land(struct flight *f)
{
	struct flights *all = f->all;
	keymap_remove(&all->map, &f->node);
	if (all->map.count == 0)
		event_del(all->sweep);
	count_answers(f);
	flight_answer(f, waiter_is_any, &f->outcome);
	flight_drop_held(f);
	value_unref(f->value);
	if (f->soft)
		event_free(f->soft);
	free(f);
}

/* The daemon stops: whatever the step, this flight goes no further. */
static void give_up(struct flight *f)
{
	if (f->step != STEP_MEMORY && f->step != STEP_LANDED)
		flight_end_try(f);
	flight_set_error(f, "UNAVAILABLE fetch: ", "shutting down");
	land(f);
}

void flight_run(struct flight *f)
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

/* ---- waking, deadlines ---- */

static void sweep_waiters(struct flight *f)
{
	if (TAILQ_EMPTY(&f->waiters) || !waiter_is_overdue(TAILQ_FIRST(&f->waiters)))
		return;
	if (f->is_judged)
		flight_answer(f, waiter_is_overdue_early, &f->outcome);
	flight_serve_held(f, waiter_is_overdue_get);
	flight_count(f)->timeouts += flight_answer(f, waiter_is_overdue, &(struct outcome){.status = OUTCOME_ERROR,
		.error = "UNAVAILABLE fetch: no answer within the deadline"});
}

static void wake(struct flight *f)
{
	f->is_awaiting = false;
	flight_end_try(f);
	f->step = flight_is_wanted(f) ? STEP_MEMORY : STEP_LANDED;
	flight_run(f);
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
	return clock_ms() >= f->lease_due_ms || (TAILQ_EMPTY(&f->waiters) && !f->is_slow)
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
			redis_renew(all->tiers->redis, flight_key(f), f->token, LEASE_MS);
		}
	}
	wake_where(all, is_lease_over);
}

/* ---- making and unmaking ---- */

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

void flights_retype(struct flights *all)
{
	for (struct keynode *n = keymap_first(&all->map); n; n = keymap_after(&all->map, n)) {
		struct flight *f = (struct flight *)n;
		const struct conf_type *type = tiers_type(all->tiers, flight_key(f));
		if (type->index == f->type->index) {
			f->type = type;
			continue;
		}
		f->has_moved = true;
		fence_break(&all->tiers->fences, flight_key(f));
	}
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

/* ---- reading ---- */

static struct flight *flight_new(struct flights *all, const struct conf_type *type, const struct key *key)
{
	struct flight *f = xcalloc(1, sizeof(*f) + key->len + 1);
	memcpy(f->key, key->data, key->len);
	f->node.key = (struct key){.data = f->key, .len = key->len, .hash = key->hash};
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
	bool is_revalidating = f->held.value && !f->held.is_missing && f->held.expires_ms != MEMORY_FOREVER
		&& clock_ms() < f->held.expires_ms + f->type->stale_while_revalidate_ms;
	return f->step == STEP_WAIT && f->is_past_tiers && !f->fence.broken && !flight_wants_fetch(f)
		&& (is_revalidating || (f->is_slow && flight_is_held_usable(f)));
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
	if ((e && memory_value(e) && (!may_ask || tiers_judge(t, type, e) != FRESH_SUSPECT)) || (unsent && clock_ms() < expires_ms)) {
		struct outcome o = e && memory_value(e) ? tiers_outcome(e) : (struct outcome){.status = OUTCOME_FOUND, .value = unsent,
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

void flights_read(struct flights *all, const struct conf_type *type, const struct key *key, const struct read_order *order)
{
	struct flight *f = (struct flight *)keymap_find(&all->map, key);
	struct read_order mine = *order;
	if (f && flight_waits_for(f, mine.group)) {
		if (mine.mode >= READ_REFRESH) {
			mine.done(mine.arg, &(struct outcome){.status = OUTCOME_ERROR, .error = "ERR the key is being fetched by who asks for it"});
			return;
		}
		mine.mode = READ_PEEK;
	}
	if (f && mine.mode == READ_PEEK && f->step == STEP_WAIT && (f->is_past_tiers || f->has_no_ttl || f->fence.broken)) {
		flights_look(all, type, key, mine.done, mine.arg);
	} else if (f && mine.mode == READ_GET && need_not_wait(f)) {
		struct outcome o = flight_outcome_of_held(f);
		tiers_tell_read(type, key, o.tier, o.value, 0);
		++*(f->is_slow ? &flight_count(f)->stale_errors : &flight_count(f)->stale_hits);
		mine.done(mine.arg, &o);
	} else if (f) {
		flight_join(f, &mine);
	} else if (all->map.count >= FLIGHTS_MAX) {
		mine.done(mine.arg, &(struct outcome){.status = OUTCOME_ERROR, .error = "UNAVAILABLE fetch: too many reads under way"});
	} else {
		f = flight_new(all, type, key);
		flight_join(f, &mine);
		flight_run(f);
	}
}

void flights_refresh(struct flights *all, const struct conf_type *type, const struct key *key)
{
	const struct history_record *h = history_find(all->history, key);
	if (keymap_find(&all->map, key) || all->map.count >= FLIGHTS_MAX || (h && clock_ms() < h->retry_ms))
		return;
	struct flight *f = flight_new(all, type, key);
	f->is_behind = true;
	flight_run(f);
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
