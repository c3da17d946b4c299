/* What the files of a flight share: flight.c (the map, driving, waking), flight_wait.c
 * (who waits), flight_try.c (what a try has, and its ends), and the steps: flight_read.c,
 * flight_lease.c, flight_fetch.c. For nobody else.
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
#ifndef CATCACHED_FLIGHT_IMPL_H
#define CATCACHED_FLIGHT_IMPL_H

#include <sys/queue.h>

#include "check.h"
#include "flight.h"
#include "redis.h"
#include "tiers.h"

#define LEASE_MS 2000           /* a holder that dies delays the others by so much */
#define LEASE_RENEW_MS 600
#define SWEEP_MS 100            /* how often deadlines of waiters are looked at */
#define ERROR_MAX 400

struct waiter {
	TAILQ_ENTRY(waiter) link;
	enum read_mode mode;
	bool late;              /* came after the key changed under this try: its result is too old for it */
	unsigned tries;
	struct value *spare;    /* what the last broken try had found for it: better than an error; or NULL */
	int64_t deadline_ms;
	pid_t group;            /* see struct read_order */
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
	bool is_from_before;            /* Redis was lost since it came */
	bool is_missing;                /* Redis does not have it; still, no change of it was heard of */
};

struct flight {
	struct keynode node;            /* its key has its bytes in key */
	struct flights *all;
	const struct conf_type *type;
	bool has_moved;                 /* the key is another type's since: this try goes on as what it was, the next one does not */
	enum step step;
	int64_t began_ms;
	struct waiters waiters;
	bool is_past_tiers;             /* the tiers have nothing better than what is held: a peek has its answer */
	bool is_behind;                 /* goes on even if nobody waits */
	bool is_slow;                   /* its fetch, or that of another, has passed soft_timeout */
	bool was_present;               /* Redis had something newer than what was held */

	/* of this try */
	struct fence fence;             /* stands from MEMORY to the end of the try */
	uint32_t epoch;                 /* of the tiers when it began */
	bool has_no_ttl;                /* Redis is asked for the value alone: each who wants to know more asks on his own */
	bool is_newer_here;             /* Redis is still to be told of the key: what it has is not read */
	struct held held;
	struct value *value;            /* what was found */
	struct outcome outcome;
	bool is_judged;                 /* it was fetched and may be served */
	struct check check;
	int64_t fetch_began_us;         /* 0: not yet */
	uint64_t guard_changes;         /* of the tiers when the fetch began */
	bool was_guarded;               /* likewise */

	/* the lease */
	bool is_leased;                 /* ours */
	bool is_unheard;                /* we fetch without one, and a DEL through another sidecar would leave no trace */
	bool is_filled;                 /* Redis has taken what was fetched in this try */
	bool is_awaiting;               /* somebody else's */
	bool was_woken;                 /* since it was asked for */
	int64_t lease_due_ms;           /* ours: renew it then (never during a fill); else: look again then */
	char token[REDIS_TOKEN_LEN + 1];
	char awaited[REDIS_TOKEN_LEN + 1];      /* of the holder waited for last */
	unsigned holders;               /* waited for so far */

	struct event *soft;             /* soft_timeout; made when first needed */
	char error[ERROR_MAX];
	char key[];                     /* with a NUL behind it, for the drivers' sake */
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

/* ---- flight.c ---- */

/* Drives f from f->step until it waits or has landed; f may be gone afterwards. */
void flight_run(struct flight *f);

/* ---- flight_wait.c: who waits ---- */

void flight_join(struct flight *f, const struct read_order *order);

/* True if f waits, if only by way of other fetches, for the program of this process group. */
bool flight_waits_for(const struct flight *f, pid_t group);

bool flight_wants_fetch(const struct flight *f);        /* somebody does, whatever the tiers have */
bool flight_is_peeked(const struct flight *f);
bool flight_has_gets_alone(const struct flight *f);     /* nobody waits for more than the value */
bool flight_is_forced(const struct flight *f);
bool flight_is_wanted(const struct flight *f);

/* Answers those for whom test says so; their number. Who has a spare gets that for an error. */
typedef bool (*waiter_test)(struct waiter *w);
size_t flight_answer(struct flight *f, waiter_test test, const struct outcome *o);
bool waiter_is_any(struct waiter *w);
bool waiter_is_peek(struct waiter *w);
bool waiter_is_get(struct waiter *w);
bool waiter_is_early(struct waiter *w);
bool waiter_is_early_get(struct waiter *w);
bool waiter_is_overdue(struct waiter *w);
bool waiter_is_overdue_early(struct waiter *w);
bool waiter_is_overdue_get(struct waiter *w);
bool waiter_has_tried_enough(struct waiter *w);         /* after a broken try, which it counts */

/* Keeps what a broken try has found for the GETs that came before it broke. */
void flight_keep_spare(struct flight *f);

/* ---- flight_try.c: what a try has, and its ends ---- */

const struct key *flight_key(const struct flight *f);
const char *flight_name(const struct flight *f);        /* what {name} stands for in it */
struct type_counters *flight_count(struct flight *f);

/* What was found. */
void flight_set_found(struct flight *f, struct value *v, int64_t ttl_ms, const char *tier, enum source source);
void flight_set_absent(struct flight *f);
void flight_set_error(struct flight *f, const char *prefix, const char *reason);

/* What is held. It is usable where it may stand in for a fetch that failed or takes long. */
void flight_hold(struct flight *f, struct value *v, int64_t expires_ms, enum source source);
void flight_serve_held(struct flight *f, waiter_test test);             /* while it is usable */
void flight_drop_held(struct flight *f);
bool flight_is_held_fresh(const struct flight *f);
bool flight_is_held_usable(const struct flight *f);
struct outcome flight_outcome_of_held(const struct flight *f);

void flight_give_lease_back(struct flight *f, enum redis_lease outcome, int64_t tell_ms);

/* Ends: with the outcome it has; absent, known for some ms; because the key changed; with
 * an error, where nothing that is held may be served. */
enum step flight_end_try(struct flight *f);
enum step flight_without_value(struct flight *f, int64_t known_for_ms);
enum step flight_try_again(struct flight *f);
enum step flight_fail_try(struct flight *f, const char *prefix, const char *reason);

/* ---- the steps ---- */

enum step flight_step_memory(struct flight *f);
enum step flight_step_redis(struct flight *f);
enum step flight_step_lease(struct flight *f);
enum step flight_step_fetch(struct flight *f);
enum step flight_step_check(struct flight *f);
enum step flight_step_fill(struct flight *f);
enum step flight_step_store(struct flight *f);

#endif
