/* Who waits for a flight, and what each of them wants; see flight_impl.h. */
#include "flight_impl.h"

#include <stdlib.h>

#include "../proto/buf.h"
#include "clock.h"
#include "fetch.h"
#include "value.h"

#define GRACE_MS 1000
#define CHAIN_MAX 16            /* programs that wait for each other, followed for so many */

void flight_join(struct flight *f, const struct read_order *order)
{
	int64_t patience_ms = f->type->fetch.timeout_ms + f->all->tiers->conf->redis.timeout_ms + LEASE_MS + GRACE_MS;
	struct waiter *w = xmalloc(sizeof(*w));
	/* A refresh wants a fetch that begins now: what is under way is too old for it. */
	if (order->mode >= READ_REFRESH && f->step != STEP_MEMORY && !f->is_awaiting)
		f->fence.broken = true;
	*w = (struct waiter){.mode = order->mode, .late = f->step != STEP_MEMORY && f->fence.broken,
		.deadline_ms = clock_ms() + patience_ms, .group = order->group, .done = order->done, .arg = order->arg};
	TAILQ_INSERT_TAIL(&f->waiters, w, link);
	f->all->waiting++;
}

/* ---- programs that ask ---- */

static const struct flight *flight_run_by(const struct flights *all, pid_t group)
{
	const struct fetch_order *order = group > 0 ? fetch_run_by(all->fetcher, group) : NULL;
	struct buf bytes = BUF_INIT;
	if (!order)
		return NULL;
	buf_add(&bytes, order->type->key, order->type->prefix_len);
	buf_add_str(&bytes, order->name);
	struct key key = key_of(bytes.data, bytes.len);
	const struct flight *f = (const struct flight *)keymap_find(&all->map, &key);
	buf_free(&bytes);
	return f;
}

/* True if f cannot end before g has: it is g, or a program for which g has a reader fetches what f waits for. */
static bool waits_for(const struct flight *f, const struct flight *g, unsigned depth)
{
	const struct waiter *w;
	if (f == g)
		return true;
	if (!g || depth == 0)
		return false;
	TAILQ_FOREACH(w, &g->waiters, link)
		if (w->group > 0 && waits_for(f, flight_run_by(f->all, w->group), depth - 1))
			return true;
	return false;
}

bool flight_waits_for(const struct flight *f, pid_t group)
{
	return waits_for(f, flight_run_by(f->all, group), CHAIN_MAX);
}

/* ---- what they want ---- */

static bool has_mode(const struct flight *f, enum read_mode from, enum read_mode to)
{
	const struct waiter *w;
	TAILQ_FOREACH(w, &f->waiters, link)
		if (w->mode >= from && w->mode <= to)
			return true;
	return false;
}

bool flight_wants_fetch(const struct flight *f)
{
	return has_mode(f, READ_REFRESH, READ_FORCE);
}

bool flight_is_peeked(const struct flight *f)
{
	return has_mode(f, READ_PEEK, READ_PEEK);
}

bool flight_has_gets_alone(const struct flight *f)
{
	return !has_mode(f, READ_PEEK, READ_ORDERED);
}

bool flight_is_forced(const struct flight *f)
{
	return has_mode(f, READ_FORCE, READ_FORCE);
}

bool flight_is_wanted(const struct flight *f)
{
	return f->is_behind || !TAILQ_EMPTY(&f->waiters);
}

static struct outcome outcome_of_spare(const struct flight *f, const struct waiter *w)
{
	return (struct outcome){.status = OUTCOME_FOUND, .value = w->spare, .ttl_ms = f->type->ttl_ms ? f->type->ttl_ms : -1,
		.age_ms = -1, .tier = "fetch", .source = SOURCE_FETCH};
}

static void tell_read(const struct flight *f, const struct outcome *o)
{
	const char *tier = o->status == OUTCOME_ERROR ? "error" : o->tier ? o->tier : f->fetch_began_us ? "fetch" : "none";
	tiers_tell_read(f->type, flight_key(f), tier, o->status == OUTCOME_FOUND ? o->value : NULL, clock_ms() - f->began_ms);
}

/* They are taken out first, since an answer may bring new waiters at once. */
size_t flight_answer(struct flight *f, waiter_test test, const struct outcome *o)
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
	if (!TAILQ_EMPTY(&now))
		tell_read(f, o);
	for (struct waiter *w; (w = TAILQ_FIRST(&now)); ) {
		TAILQ_REMOVE(&now, w, link);
		f->all->waiting--;
		count++;
		struct outcome spare = outcome_of_spare(f, w);
		w->done(w->arg, o->status == OUTCOME_ERROR && w->spare ? &spare : o);
		value_unref(w->spare);
		free(w);
	}
	return count;
}

bool waiter_is_any(struct waiter *w)
{
	(void)w;
	return true;
}

bool waiter_is_peek(struct waiter *w)
{
	return w->mode == READ_PEEK;
}

bool waiter_is_get(struct waiter *w)
{
	return w->mode == READ_GET;
}

bool waiter_is_early(struct waiter *w)
{
	return !w->late;
}

bool waiter_is_early_get(struct waiter *w)
{
	return !w->late && waiter_is_get(w);
}

bool waiter_is_overdue(struct waiter *w)
{
	return clock_ms() >= w->deadline_ms;
}

bool waiter_is_overdue_early(struct waiter *w)
{
	return waiter_is_overdue(w) && !w->late;
}

bool waiter_is_overdue_get(struct waiter *w)
{
	return waiter_is_overdue(w) && waiter_is_get(w);
}

bool waiter_has_tried_enough(struct waiter *w)
{
	return !w->late && ++w->tries >= FLIGHT_TRIES;
}

void flight_keep_spare(struct flight *f)
{
	struct waiter *w;
	TAILQ_FOREACH(w, &f->waiters, link)
		if (!w->late && waiter_is_get(w)) {
			value_unref(w->spare);
			w->spare = value_ref(f->value);
		}
}
