/* Operations on Redis; see redis_op.h. */
#include "redis_op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "../proto/reply.h"
#include "clock.h"
#include "out.h"
#include "value.h"

struct redis_op *redis_op_new(struct redis *r, redis_done_fn done, void *arg)
{
	struct redis_op *op = xcalloc(1, sizeof(*op));
	op->redis = r;
	op->sent_ms = clock_ms();
	op->done = done;
	op->arg = arg;
	op->takes = op->few;
	op->cap = REDIS_OP_FEW;
	return op;
}

/* The first trouble is the one that is told. */
void redis_op_fail(struct redis_op *op, enum redis_status status, const char *error)
{
	if (op->error)
		return;
	op->result.status = status;
	op->error = xstrdup(error);
	op->result.error = op->error;
}

static enum redis_status status_of(const struct redis_op *op, const char *error)
{
	if (strncmp(error, "WRONGTYPE ", 10) == 0)
		return REDIS_WRONGTYPE;
	return op->is_of_transaction && strncmp(error, "EXECABORT ", 10) == 0 ? REDIS_ABORTED : REDIS_ERROR;
}

static void on_reply(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_op *op = arg;
	redis_take_fn take = op->takes[op->taken++];
	if (!reply) {
		redis_op_fail(op, REDIS_DOWN, reason);
	} else if (reply->type == REDIS_REPLY_ERROR) {
		enum redis_status status = status_of(op, reply->str);
		op->redis->stats.errors += status != REDIS_WRONGTYPE;
		redis_op_fail(op, status, reply->str);
	} else if (take) {
		take(op, reply);
	}
	if (op->taken < op->n_replies)
		return;
	op->done(op->arg, &op->result);
	value_unref(op->result.value);
	free(op->error);
	if (op->takes != op->few)
		free(op->takes);
	free(op);
}

static void add_take(struct redis_op *op, redis_take_fn take)
{
	if (op->n_replies == op->cap) {
		bool is_first = op->takes == op->few;
		op->cap *= 2;
		op->takes = xrealloc(is_first ? NULL : op->takes, op->cap * sizeof(*op->takes));
		if (is_first)
			memcpy(op->takes, op->few, sizeof(op->few));
	}
	op->takes[op->n_replies++] = take;
}

struct out *redis_op_begin(struct redis_op *op, redis_take_fn take)
{
	struct transaction *open = op->redis->open;
	add_take(op, take);
	op->is_of_transaction = open;
	return open ? redis_transaction_add(open, on_reply, op) : redis_link_begin(op->redis->link, on_reply, op);
}

void redis_add_word(struct buf *b, const char *word)
{
	reply_add_bulk_str(b, word);
}

void redis_add_number(struct buf *b, int64_t n)
{
	char digits[24];
	reply_add_bulk(b, digits, (size_t)snprintf(digits, sizeof(digits), "%lld", (long long)n));
}
