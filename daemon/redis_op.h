/* What redis.c, redis_lease.c and redis_fill.c share: an operation is one or more commands sent in
 * one go, and how to read each of their replies into the one result. For nobody else. */
#ifndef CATCACHED_REDIS_OP_H
#define CATCACHED_REDIS_OP_H

#include <hiredis/hiredis.h>
#include <sys/queue.h>

#include "histogram.h"
#include "redis.h"

struct buf;
struct event;
struct event_base;
struct out;
struct transaction;

#define REDIS_AWAITED_TOLD_MS 1000      /* what those who waited for a fetch are told stays for so long: till they have asked */

#define REDIS_RELAYS_OF_VERSION 4
#define REDIS_RELAYS (2 * REDIS_RELAYS_OF_VERSION)

struct fill;
struct batch;

/* Fills on their way; see redis_fill.c. */
struct filling {
	TAILQ_HEAD(fills, fill) waiting;        /* for the next batch */
	struct batch *batch;                    /* being made; NULL: none */
	TAILQ_HEAD(batches, batch) taken;       /* by Redis; their echoes are still to come */
	uint64_t number, echoed;                /* of the last echo that was ordered, and of the last that was heard */
	struct event *overdue;                  /* when the first of taken has waited for its echo long enough */
	int64_t timeout_ms;                     /* which is so long */
};

struct redis {
	struct redis_link *link;        /* carries every command of ours */
	struct redis_link *relays[REDIS_RELAYS];        /* carry what clients have for Redis, and transactions: those of RESP2, then those of RESP3 */
	bool passes;                    /* redis.pass_through */
	struct event_base *base;
	struct transaction *open;       /* takes the commands of operations while it is being made; see redis_transaction.c */
	TAILQ_HEAD(transactions, transaction) transactions;     /* whose replies are here */
	struct tracking *tracking;
	struct redis_watch watch;
	struct redis_stats stats;
	struct histogram latency;       /* of the commands of all these links */
	struct filling filling;
};

#define REDIS_OP_FEW 2          /* most operations have no more replies */

struct redis_op;
typedef void (*redis_take_fn)(struct redis_op *op, const redisReply *reply);

struct redis_op {
	struct redis *redis;
	redis_take_fn *takes;           /* how to read the replies, in order; NULL: not at all */
	redis_take_fn few[REDIS_OP_FEW];        /* where they are at first */
	unsigned n_replies, taken, cap;
	bool is_of_transaction;         /* that of redis_transaction_begin */
	int64_t sent_ms;
	redis_done_fn done;
	void *arg;
	struct redis_result result;
	char *error;                    /* what result.error points at */
};

/* An operation, freed by itself when done has been called after its last reply. */
struct redis_op *redis_op_new(struct redis *r, redis_done_fn done, void *arg);

/* Begins a command of op: returns where to append it, before anything else is asked of Redis. No reply arrives before the loop turns. */
struct out *redis_op_begin(struct redis_op *op, redis_take_fn take);

/* From a take function: it went wrong. The first trouble is the one that is told. */
void redis_op_fail(struct redis_op *op, enum redis_status status, const char *error);

/* A command for the transaction that is open: returns where to append it; its reply comes through done, or relayed. */
struct out *redis_transaction_add(struct transaction *t, redis_reply_fn done, void *arg);
struct out *redis_transaction_relay(struct transaction *t, redis_bytes_fn relayed, void *arg);

/* Gives out at once what is left of the replies that are here. */
void redis_transactions_finish(struct redis *r);

struct redis_link *redis_relay_of(const struct redis *r, struct redis_route route);

/* SET as part of op; see redis_write_as. */
void redis_op_send_set(struct redis_op *op, redis_take_fn take, const struct key *key, struct value *value,
	const struct redis_set *how);

/* The name of the key's lease, as a word of a command. */
void redis_add_lease(struct buf *b, const struct key *key);

/* EVAL script, with key (unless NULL) and the lease of lease_of as KEYS, and room for n_args ARGV behind. */
void redis_begin_script(struct buf *b, const char *script, const struct key *key, const struct key *lease_of, size_t n_args);

/* What a key looks like; with a digest of its value if is_deep. */
#define REDIS_MARK_SCRIPT \
	"local function mark(k, is_deep) " \
	"if redis.call('EXISTS', k) == 0 then return '-' end " \
	"local len = redis.pcall('STRLEN', k) " \
	"local ends = redis.pcall('PEXPIRETIME', k) " \
	"if type(len) == 'table' then return 'other' end " \
	"if type(ends) == 'table' then ends = 'unknown' end " \
	"local m = ends .. ':' .. len " \
	"if is_deep then m = m .. ':' .. redis.sha1hex(redis.call('GET', k)) end " \
	"return m end "

void redis_filling_init(struct redis *r, struct event_base *base, int64_t timeout_ms);
void redis_filling_free(struct redis *r);
void redis_filling_echoed(struct redis *r, uint64_t number);
void redis_filling_broke(struct redis *r);              /* coherence has changed: no echo comes any more */

/* Words of a command. */
void redis_add_word(struct buf *b, const char *word);
void redis_add_number(struct buf *b, int64_t n);

#endif
