/* The Redis tier: one asynchronous connection on the loop, which many requests
 * share; commands sent in one turn of the loop go out in one write.
 *
 * Every call completes exactly once through its callback, never before it has
 * returned, at the latest a little after redis.timeout. While Redis is away
 * (redis_up is false) calls complete at once with REDIS_DOWN. A reply that takes
 * longer than the timeout with no byte arriving closes the connection; it comes
 * back by itself with exponential backoff.
 *
 * Keys and values are borrowed until the call returns. Nothing here assumes that
 * two keys live on the same node. */
#ifndef CATCACHED_REDIS_H
#define CATCACHED_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"
#include "redis_link.h"
#include "tracking.h"

struct histogram;
struct redis;
struct transaction;

enum redis_status {
	REDIS_ANSWERED,               /* it answered; see the fields each call fills */
	REDIS_NIL,              /* the key, or the condition for a write, is not there */
	REDIS_WRONGTYPE,        /* the key holds a list, a hash, ... */
	REDIS_ERROR,            /* it refused: error has its text (OOM, READONLY, ...) */
	REDIS_ABORTED,          /* the transaction came to nothing, or nobody knows to what: error says why */
	REDIS_DOWN,             /* it did not answer: error says why */
};

#define REDIS_TOKEN_LEN 16

/* Lives during the callback; value_ref what is kept. */
struct redis_result {
	enum redis_status status;
	struct value *value;    /* redis_read */
	int64_t ttl_ms;         /* redis_read, redis_probe: what is left; -1: no end */
	int64_t number;         /* redis_delete: keys touched; redis_probe: bytes; others say */
	char holder[REDIS_TOKEN_LEN + 1];       /* redis_acquire */
	const char *error;
};

typedef void (*redis_done_fn)(void *arg, const struct redis_result *r);

enum redis_condition { REDIS_ALWAYS, REDIS_IF_ABSENT, REDIS_IF_PRESENT };

/* What its owner wants to hear of; see tracking.h. All outlives it. */
struct redis_watch {
	const char *const *prefixes;    /* of the keys to hear of; none begins with another */
	size_t n_prefixes;
	void (*on_change)(void *arg, const struct key *key);
	void (*on_flush)(void *arg);
	void (*on_coherence)(void *arg, enum coherence now);
	void (*on_up)(void *arg);       /* it answers again: what is sent from here goes before all else */
	/* Commands of ours that change these keys have been sent: what is asked from here comes
	 * after them. Redis does not tell us of our own changes. NULL is allowed. */
	void (*on_own_change)(void *arg, const struct key *keys, size_t n);
	void *arg;
};

/* Starts connecting. conf outlives it. */
struct redis *redis_new(struct event_base *base, const struct conf_redis *conf, const struct redis_watch *watch);

/* Completes what is outstanding with REDIS_DOWN. NULL is allowed. */
void redis_free(struct redis *r);

bool redis_up(const struct redis *r);

/* closed while it is up; open while it is left alone between attempts to reach it;
 * half_open during an attempt. One for the process: while it is not closed, no other
 * connection to Redis is tried. */
const char *redis_breaker(const struct redis *r);

/* A first attempt to reach it is under way, with any of its connections that commands need: soon there
 * will be more to say. */
bool redis_is_coming(const struct redis *r);

/* Why it is not up; "" while it is. */
const char *redis_reason(const struct redis *r);

/* GET and PTTL in one round trip; or GET alone: then ttl_ms is not known, and -1. */
void redis_read(struct redis *r, const struct key *key, redis_done_fn done, void *arg);
void redis_read_value(struct redis *r, const struct key *key, redis_done_fn done, void *arg);

/* SET; ttl_ms 0: without end. REDIS_NIL when the condition did not hold. */
void redis_write(struct redis *r, const struct key *key, struct value *value, int64_t ttl_ms,
	enum redis_condition condition, redis_done_fn done, void *arg);

/* A value that has so much left, from_ms <= left < below_ms, counts as absent: it is past the TTL
 * that it was given, and only kept for the worst case. below_ms 0: none does. Where there is a
 * window a write by ours is told of by tracking, as if it were another's. */
struct redis_window {
	int64_t from_ms, below_ms;
};

/* SET with all its options. With wants_old result.value is what was there before, or REDIS_NIL
 * if nothing was: whether the condition held follows from that. */
struct redis_set {
	int64_t ttl_ms;                 /* 0: without end, or as follows */
	int64_t ends_at_ms;             /* on Redis's clock, ms since 1970; 0: see ttl_ms */
	bool keeps_ttl;
	bool wants_old;                 /* Redis 6.2 and later; with REDIS_IF_ABSENT 7.0 */
	enum redis_condition condition;
	struct redis_window stale;      /* heeded where it makes a difference */
};
void redis_write_as(struct redis *r, const struct key *key, struct value *value, const struct redis_set *how,
	redis_done_fn done, void *arg);

/* Changes what is left of a key, without a new value: PEXPIRE, PEXPIREAT, PERSIST; with
 * wants_value GETEX, GETDEL (Redis 6.2 and later). */
struct redis_edit {
	enum { REDIS_EDIT_TTL, REDIS_EDIT_PERSIST, REDIS_EDIT_DELETE } what;    /* REDIS_EDIT_DELETE: with wants_value only */
	int64_t ttl_ms;                 /* REDIS_EDIT_TTL: from now; past if not positive */
	int64_t ends_at_ms;             /* in its place, as in redis_set; 0: see ttl_ms */
	const char *condition;          /* on the TTL: NX, XX, GT, LT or "XX LT" (Redis 7.0 and later); or NULL */
	bool wants_value;               /* result.value: what is there, or REDIS_NIL; else result.number: 1 if it was changed */
	struct redis_window stale;
};
void redis_edit(struct redis *r, const struct key *key, const struct redis_edit *how, redis_done_fn done, void *arg);

/* DEL of all in one command, after the leases of fetches under way for them, so that
 * none of these can be stored any more. */
void redis_delete(struct redis *r, const struct key *keys, size_t n, redis_done_fn done, void *arg);

/* PTTL and STRLEN in one round trip; REDIS_NIL if the key is not there. */
void redis_probe(struct redis *r, const struct key *key, redis_done_fn done, void *arg);

/* Walks all keys that begin with prefix: each is called with some of them, any
 * number of times, then done once. The keys live during the call. */
typedef void (*redis_each_fn)(void *arg, const struct key *keys, size_t n);
void redis_scan(struct redis *r, const char *prefix, size_t prefix_len, redis_each_fn each,
	redis_done_fn done, void *arg);

/* EXISTS; number is 1 or 0. */
void redis_exists(struct redis *r, const struct key *key, redis_done_fn done, void *arg);

/* ---- what is none of ours: commands of clients as they are ---- */

/* redis.pass_through is on. */
bool redis_passes(const struct redis *r);

/* On whose behalf: it has a connection of its version of RESP, and always the same, which it shares with
 * some of the others. So its commands stay in order, and a reply that takes long holds up few. */
struct redis_route {
	int resp;               /* 2 or 3 */
	uint64_t client;
};

/* Sends a command (RESP, a whole request) over the connection of that route, and hands its reply on as
 * the bytes come; see redis_bytes_fn. */
void redis_pass(struct redis *r, struct redis_route route, const char *bytes, size_t len, redis_bytes_fn done, void *arg);

/* From begin to end, which come in one turn of the loop (but for what is between pause and resume), whatever is sent to Redis is
 * gathered; then it goes out in one write between MULTI and EXEC. Each operation and each
 * command passed gets its own reply.
 *
 * on_end hears once, before any of these replies, what became of it: error is NULL if it was executed, or if there
 * was nothing for Redis; else it is the error reply for the whole. If a command was passed, all or nothing counts: then
 * operations are REDIS_ABORTED. If none was, each fails as if it had been sent alone. */
#define REDIS_TRANSACTION_MAX ((size_t)512 << 20)       /* bytes of all its replies */
typedef void (*redis_end_fn)(void *arg, const char *error);
void redis_transaction_begin(struct redis *r, struct redis_route route);
void redis_transaction_end(struct redis *r, redis_end_fn on_end, void *arg);
struct transaction *redis_transaction_pause(struct redis *r);
void redis_transaction_resume(struct redis *r, struct transaction *t);

/* ---- leases: one fetch for the fleet; see redis_lease.c ---- */

enum redis_lease {
	REDIS_LEASE_WON,                /* fetch, then redis_fill or redis_release */
	REDIS_LEASE_HELD,               /* somebody fetches: ttl_ms says for how long at the most */
	REDIS_LEASE_PRESENT,            /* a newer value has come meanwhile: read again */
	REDIS_LEASE_ABSENT,             /* somebody fetched: the key does not exist */
	REDIS_LEASE_FAILED,             /* somebody fetched and failed: error says why; not again before ttl_ms */
	REDIS_LEASE_UNSTORED,           /* who was waited for fetched what is not stored: fetch, without a lease */
};

enum redis_claim {
	REDIS_CLAIM_ABSENT,             /* only while there is no value: else PRESENT */
	REDIS_CLAIM_REFRESH,            /* only while there is none that ends later than left_ms from now: else PRESENT */
	REDIS_CLAIM_REPLACE,            /* whether there is one or not */
	REDIS_CLAIM_ALWAYS,             /* and whatever the last fetch came to: never ABSENT, FAILED or UNSTORED */
};

struct redis_bid {
	const char *token;              /* in whose name: REDIS_TOKEN_LEN characters */
	int64_t lease_ms;               /* for how long */
	enum redis_claim claim;
	int64_t left_ms;                /* REDIS_CLAIM_REFRESH */
	bool defies_failure;            /* never FAILED */
	const char *awaited;            /* the token of the holder waited for before, or "" */
};

/* Asks for the lease of key. result.number is an enum redis_lease; HELD: holder too. */
void redis_acquire(struct redis *r, const struct key *key, const struct redis_bid *bid, redis_done_fn done, void *arg);

/* Another lease_ms for a lease that is still ours; nobody waits for the answer. */
void redis_renew(struct redis *r, const struct key *key, const char *token, int64_t lease_ms);

/* Gives the lease back, if it is still ours: WON; FAILED with error, which all are told for
 * tell_ms; or UNSTORED, which those are told who wait. Nobody waits for the answer. */
void redis_release(struct redis *r, const struct key *key, const char *token, enum redis_lease outcome,
	const char *error, int64_t tell_ms);

/* Whether all are told that key does not exist: number is 1 or 0. */
void redis_told_absent(struct redis *r, const struct key *key, redis_done_fn done, void *arg);

/* If key is the lease of a key: that key, borrowed from it. */
bool redis_lease_of(const struct key *lease, struct key *key);

/* ---- fills that never cover something newer; see redis_fill.c ---- */

/* Stores what was fetched, value for ttl_ms (0: no end), and gives the lease back, if the lease
 * is still ours and the key is as it was when we got it. With value NULL the key does not
 * exist: it is removed, and all are told so for ttl_ms (0: only those who wait for us).
 * number is 0 if that was not done, else an enum redis_filled. A lease is not to be renewed meanwhile. */
enum redis_filled {
	REDIS_FILLED = 1,               /* where changes are heard of, all that were made before it have been heard of */
	REDIS_FILLED_UNPROVEN,          /* they should have been, but are not: it may be older than one of them */
};
void redis_fill(struct redis *r, const struct key *key, const char *token, struct value *value, int64_t ttl_ms,
	redis_done_fn done, void *arg);

/* Removes key, if it still has the bytes of value: what was stored is to be taken back, since a
 * change was heard of that was made before, unseen (a key set and deleted again is absent
 * as it was). Nobody waits for the answer. */
void redis_unfill(struct redis *r, const struct key *key, struct value *value);

/* How much of what changes in Redis is heard; why no more (tracking_refusal), why the others are
 * told nothing (tracking_mute), and why it is proved by messages (tracking_unwritable). */
enum coherence redis_coherence(const struct redis *r);
const char *redis_refusal(const struct redis *r);
const char *redis_mute(const struct redis *r);
const char *redis_unwritable(const struct redis *r);

/* A write was refused because Redis is full or read-only; see tracking_note_refusal. */
void redis_note_refusal(struct redis *r, const char *error);

/* Commands that Redis has not answered, those of clients included. */
size_t redis_pending(const struct redis *r);

/* That, or what has been answered and waits for something else: a fill for its proof, replies to be given out. */
bool redis_owes(const struct redis *r);

struct redis_stats {
	uint64_t commands, errors, timeouts, connects, drops;
	size_t pending;         /* commands sent and not answered, now */
};
const struct redis_stats *redis_stats(struct redis *r);
const struct tracking_stats *redis_tracking(const struct redis *r);

/* How long it took to answer commands, those of clients included. */
const struct histogram *redis_latency(const struct redis *r);

#endif
