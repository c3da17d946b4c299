/* Reads under way; see flight.h.
 *
 *   MEMORY -> REDIS -> FETCH -> CHECK -> STORE -> landed: all waiters answered
 *      ^                                   |
 *      +---- the fence was broken ---------+
 *
 * Each step says what comes next, or that it waits for a callback. Invariant: a
 * flight is in the map until it lands; its fence stands from MEMORY to STORE. */
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
#include "log.h"
#include "redis.h"
#include "tiers.h"
#include "value.h"

#define GRACE_MS 1000
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

enum step { STEP_MEMORY, STEP_REDIS, STEP_FETCH, STEP_CHECK, STEP_STORE, STEP_WAIT, STEP_LANDED };

struct flight {
	struct keynode node;            /* owns the bytes of its key */
	struct flights *all;
	const struct conf_type *type;
	enum step step;
	bool is_fetching;               /* the tiers have nothing: a peek has its answer */
	struct fence fence;
	struct waiters waiters;
	struct check check;
	struct value *value;            /* fetched, from FETCH on */
	struct outcome outcome;         /* of this try */
	int64_t fetch_began_us;
	char error[ERROR_MAX];
};

struct flights {
	struct event_base *base;
	struct tiers *tiers;
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
	int64_t patience_ms = f->type->fetch.timeout_ms + f->all->tiers->conf->redis.timeout_ms + GRACE_MS;
	struct waiter *w = xmalloc(sizeof(*w));
	/* A refresh wants a fetch that begins now: what is under way is too old for it. */
	if (mode == READ_REFRESH && f->step != STEP_MEMORY)
		f->fence.broken = true;
	*w = (struct waiter){.mode = mode, .late = f->step != STEP_MEMORY && f->fence.broken,
		.deadline_ms = clock_ms() + patience_ms, .done = done, .arg = arg};
	TAILQ_INSERT_TAIL(&f->waiters, w, link);
	f->all->waiting++;
}

static bool is_awaited(const struct flight *f, enum read_mode mode)
{
	const struct waiter *w;
	TAILQ_FOREACH(w, &f->waiters, link)
		if (w->mode == mode)
			return true;
	return false;
}

typedef bool (*waiter_test)(struct waiter *w);

/* Answers those for whom test says so. They are taken out first, since an answer
 * may bring new waiters at once. */
static void answer(struct flight *f, waiter_test test, const struct outcome *o)
{
	struct waiters now = TAILQ_HEAD_INITIALIZER(now);
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
		w->done(w->arg, o);
		free(w);
	}
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

/* ---- steps ---- */

/* Every try begins here: what a SET put there meanwhile is the newest. */
static enum step step_memory(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	struct waiter *w;
	f->is_fetching = false;
	TAILQ_FOREACH(w, &f->waiters, link)
		w->late = false;
	fence_set(&t->fences, &f->fence, key_of_flight(f));
	if (is_awaited(f, READ_REFRESH))
		return STEP_FETCH;
	struct memory_entry *e = memory_get(t->memory, key_of_flight(f), clock_ms());
	if (!e)
		return STEP_REDIS;
	if (e->value)
		set_found(f, e->value, e->expires_ms ? e->expires_ms - clock_ms() : 0, "memory", e->source);
	else
		set_absent(f);
	(void)fence_lift(&t->fences, &f->fence);
	return STEP_LANDED;
}

static void on_redis_read(void *arg, const struct redis_result *r);

static enum step step_redis(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	if (tiers_has_redis(t, f->type)) {
		redis_read(t->redis, key_of_flight(f), on_redis_read, f);
		return STEP_WAIT;
	}
	if (!tiers_is_declared(t, f->type)) {
		set_error(f, "UNAVAILABLE redis: ", "the key is of no declared type, and Redis is off");
		return STEP_STORE;
	}
	set_absent(f);
	return STEP_FETCH;
}

/* Redis has no value, or cannot say: a declared type goes on to its fetch. */
static enum step without_redis(struct flight *f, const struct redis_result *r)
{
	if (r->status != REDIS_NIL)
		count(f)->redis_failures++;
	set_absent(f);
	if (r->status == REDIS_NIL || tiers_is_declared(f->all->tiers, f->type))
		return STEP_FETCH;
	set_error(f, r->status == REDIS_DOWN ? "UNAVAILABLE redis: " : "", r->error);
	return STEP_STORE;
}

static void on_redis_read(void *arg, const struct redis_result *r)
{
	struct flight *f = arg;
	if (r->status == REDIS_OK) {
		set_found(f, r->value, r->ttl_ms > 0 ? r->ttl_ms : 0, "redis", SOURCE_REDIS);
		f->step = STEP_STORE;
	} else if (r->status == REDIS_WRONGTYPE) {
		set_error(f, "", r->error);
		f->step = STEP_STORE;
	} else {
		f->step = without_redis(f, r);
	}
	run(f);
}

static void on_fetched(void *arg, const struct fetch_result *r);

/* Those who do not want a fetch are answered now: the tiers have nothing. */
static enum step step_fetch(struct flight *f)
{
	if (f->type->fetch.kind == CONF_FETCH_NONE) {
		set_absent(f);
		return STEP_STORE;
	}
	if (!f->fence.broken)
		answer(f, is_peek, &(struct outcome){.status = OUTCOME_ABSENT});
	if (TAILQ_EMPTY(&f->waiters)) {
		set_absent(f);
		return STEP_STORE;
	}
	count(f)->fetches++;
	f->is_fetching = true;
	f->fetch_began_us = clock_us();
	fetch_start(f->all->fetcher, f->type, name_of(f), on_fetched, f);
	return STEP_WAIT;
}

static void on_fetched(void *arg, const struct fetch_result *r)
{
	struct flight *f = arg;
	struct type_counters *c = count(f);
	long long took_ms = (long long)(clock_us() - f->fetch_began_us) / 1000;
	clock_update();
	f->step = STEP_STORE;
	if (r->status == FETCH_FOUND) {
		c->fetched++;
		set_found(f, r->value, tiers_ttl_ms(f->type), "fetch", SOURCE_FETCH);
		f->step = STEP_CHECK;
		log_info("fetched", "type=%s bytes=%zu took_ms=%lld", f->type->name, r->value->len, took_ms);
	} else if (r->status == FETCH_ABSENT) {
		c->fetch_absent++;
		set_absent(f);
		f->outcome.tier = "fetch";
		log_info("fetched", "type=%s absent=true took_ms=%lld", f->type->name, took_ms);
	} else {
		c->fetch_failures++;
		set_error(f, "UNAVAILABLE fetch: ", r->error);
		log_warning("fetch_failed", "type=%s took_ms=%lld reason=%s", f->type->name, took_ms, log_quote(r->error));
	}
	run(f);
}

static void on_checked(void *arg);

static enum step step_check(struct flight *f)
{
	f->check = (struct check){.value = f->value, .want_json = f->type->format == CONF_JSON,
		.refuse_empty = f->type->refuse_empty};
	if (!f->check.want_json && !f->check.refuse_empty)
		return STEP_STORE;
	check_start(&f->check, f->all->tiers->cpu, on_checked, f);
	return STEP_WAIT;
}

static void on_checked(void *arg)
{
	struct flight *f = arg;
	f->step = STEP_STORE;
	if (f->check.refusal[0]) {
		++*(f->check.is_empty ? &count(f)->refused_empty : &count(f)->refused_json);
		set_error(f, "UNAVAILABLE fetch: refused: ", f->check.refusal);
		log_warning("fetch_refused", "type=%s reason=%s", f->type->name, log_quote(f->check.refusal));
	}
	run(f);
}

static void on_redis_stored(void *arg, const struct redis_result *r)
{
	struct type_counters *c = arg;
	if (r->status != REDIS_OK)
		c->redis_failures++;
}

static void store_fetched(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	int64_t ttl_ms = f->outcome.ttl_ms > 0 ? f->outcome.ttl_ms : 0;
	if (f->value->len > f->type->max_value) {
		count(f)->oversize++;
		log_warning("fetch_not_stored", "type=%s bytes=%zu max_value=%llu", f->type->name, f->value->len,
			(unsigned long long)f->type->max_value);
		return;
	}
	(void)tiers_remember(t, f->type, key_of_flight(f), f->value, ttl_ms, SOURCE_FETCH);
	if (tiers_reaches_redis(t, f->type))
		redis_write(t->redis, key_of_flight(f), f->value, ttl_ms, REDIS_ALWAYS, on_redis_stored, count(f));
}

/* The source says that the key does not exist: so it must not in any tier. */
static void store_absent(struct flight *f)
{
	struct tiers *t = f->all->tiers;
	(void)memory_drop(t->memory, key_of_flight(f), clock_ms());
	if (is_awaited(f, READ_REFRESH) && tiers_reaches_redis(t, f->type))
		redis_delete(t->redis, key_of_flight(f), 1, on_redis_stored, count(f));
	tiers_remember_absent(t, f->type, key_of_flight(f));
}

static void store(struct flight *f)
{
	const struct outcome *o = &f->outcome;
	if (o->status == OUTCOME_FOUND && o->source == SOURCE_FETCH)
		store_fetched(f);
	else if (o->status == OUTCOME_FOUND)
		(void)tiers_remember(f->all->tiers, f->type, key_of_flight(f), f->value, o->ttl_ms > 0 ? o->ttl_ms : 0, SOURCE_REDIS);
	else if (o->status == OUTCOME_ABSENT && o->tier)
		store_absent(f);
}

static enum step step_store(struct flight *f)
{
	if (fence_lift(&f->all->tiers->fences, &f->fence)) {
		store(f);
		return STEP_LANDED;
	}
	count(f)->fenced++;
	log_debug("fenced", "type=%s", f->type->name);
	/* One flight's failure is not another try's: a late waiter gets its own. */
	answer(f, has_tried_enough, &f->outcome);
	return TAILQ_EMPTY(&f->waiters) ? STEP_LANDED : STEP_MEMORY;
}

static enum step (*const steps[])(struct flight *f) = {
	[STEP_MEMORY] = step_memory,
	[STEP_REDIS] = step_redis,
	[STEP_FETCH] = step_fetch,
	[STEP_CHECK] = step_check,
	[STEP_STORE] = step_store,
};

static void count_answers(struct flight *f)
{
	const struct waiter *w;
	uint64_t *counter = f->outcome.source == SOURCE_REDIS && f->outcome.tier ? &count(f)->redis_hits : NULL;
	if (counter && f->outcome.status == OUTCOME_FOUND)
		TAILQ_FOREACH(w, &f->waiters, link)
			++*counter;
}

static void land(struct flight *f)
{
	struct flights *all = f->all;
	keymap_remove(&all->map, &f->node);
	if (all->map.count == 0)
		event_del(all->sweep);
	count_answers(f);
	answer(f, is_any, &f->outcome);
	value_unref(f->value);
	free((char *)f->node.key.data);
	free(f);
}

/* The daemon stops: whatever the step, this flight goes no further. */
static void give_up(struct flight *f)
{
	if (f->step != STEP_MEMORY)
		(void)fence_lift(&f->all->tiers->fences, &f->fence);
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

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct flights *all = arg;
	(void)fd, (void)what;
	clock_update();
	for (struct keynode *n = keymap_first(&all->map); n; n = keymap_after(&all->map, n)) {
		struct flight *f = (struct flight *)n;
		size_t before = all->waiting;
		if (TAILQ_EMPTY(&f->waiters) || !is_overdue(TAILQ_FIRST(&f->waiters)))
			continue;
		answer(f, is_overdue, &(struct outcome){.status = OUTCOME_ERROR,
			.error = "UNAVAILABLE fetch: no answer within the deadline"});
		count(f)->timeouts += before - all->waiting;
	}
}

struct flights *flights_new(struct event_base *base, struct tiers *tiers)
{
	struct flights *all = xcalloc(1, sizeof(*all));
	all->base = base;
	all->tiers = tiers;
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
	TAILQ_INIT(&f->waiters);
	if (all->map.count == 0)
		event_add(all->sweep, &(struct timeval){.tv_usec = SWEEP_MS * 1000});
	keymap_add(&all->map, &f->node);
	return f;
}

void flights_read(struct flights *all, const struct conf_type *type, const struct key *key,
	enum read_mode mode, outcome_fn done, void *arg)
{
	struct flight *f = (struct flight *)keymap_find(&all->map, key);
	if (f && f->is_fetching && mode == READ_PEEK && !f->fence.broken) {
		done(arg, &(struct outcome){.status = OUTCOME_ABSENT});
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

size_t flights_count(const struct flights *all)
{
	return all->map.count;
}

size_t flights_waiting(const struct flights *all)
{
	return all->waiting;
}
