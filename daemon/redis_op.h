/* What redis.c and redis_lease.c share: an operation is one or more commands sent in
 * one go, and how to read each of their replies into the one result. For nobody else. */
#ifndef CATCACHED_REDIS_OP_H
#define CATCACHED_REDIS_OP_H

#include <hiredis/hiredis.h>

#include "redis.h"

struct buf;
struct transaction;

#define REDIS_OP_REPLIES 5

struct redis {
	struct redis_link *link;        /* carries every command of ours */
	struct redis_link *relays[2];   /* carry what clients have for Redis, and transactions, in RESP2 and RESP3 */
	bool passes;                    /* redis.pass_through */
	struct transaction *open;       /* takes the commands of operations while it is being made; see redis_transaction.c */
	struct tracking *tracking;
	struct redis_watch watch;
	struct redis_stats stats;
	struct fill *fill, **fill_last; /* fills in order; the first is being made; see redis_lease.c */
};

struct redis_op;
typedef void (*redis_take_fn)(struct redis_op *op, const redisReply *reply);

struct redis_op {
	struct redis *redis;
	redis_take_fn takes[REDIS_OP_REPLIES];  /* how to read the replies, in order; NULL: not at all */
	unsigned n_replies, taken;
	int64_t sent_ms;
	redis_done_fn done;
	void *arg;
	struct redis_result result;
	char *error;                    /* what result.error points at */
};

/* An operation, freed by itself when done has been called after its last reply. */
struct redis_op *redis_op_new(struct redis *r, redis_done_fn done, void *arg);

/* Sends a command as part of op and frees b. No reply arrives before this has returned. */
void redis_op_send(struct redis_op *op, redis_take_fn take, struct buf *b);
void redis_op_send_pieces(struct redis_op *op, redis_take_fn take, const struct iovec *pieces, size_t n);

/* From a take function: it went wrong. The first trouble is the one that is told. */
void redis_op_fail(struct redis_op *op, enum redis_status status, const char *error);

/* A command for the transaction that is open; its reply comes through done, or relayed. */
void redis_transaction_add(struct transaction *t, const struct iovec *pieces, size_t n, redis_reply_fn done, void *arg);
void redis_transaction_relay(struct transaction *t, const char *bytes, size_t len, redis_bytes_fn relayed, void *arg);

/* The link that relays replies in this version of RESP. */
struct redis_link *redis_relay_of(const struct redis *r, int resp);

/* SET as part of op; see redis_write_as. */
void redis_op_send_set(struct redis_op *op, redis_take_fn take, const struct key *key, struct value *value,
	const struct redis_set *how);

/* The names of the keys' leases, as words of a command. */
void redis_add_leases(struct buf *b, const struct key *keys, size_t n);

/* Words of a command. */
void redis_add_word(struct buf *b, const char *word);
void redis_add_number(struct buf *b, int64_t n);

#endif
