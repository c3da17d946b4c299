/* Transactions of clients: MULTI queues, DISCARD forgets; EXEC is in command_exec.c. */
#include <stdlib.h>

#include "command.h"
#include "parked.h"
#include "queue.h"

#define QUEUE_MAX_REQUESTS 1000000

void command_multi(struct call *call)
{
	if (client_queue(call->client)) {
		call_error(call, "ERR MULTI calls can not be nested");
		return;
	}
	struct queue *q = xcalloc(1, sizeof(*q));
	q->last = &q->first;
	client_set_queue(call->client, q);
	call_ok(call);
}

void command_queue_free(struct queue *q)
{
	if (!q)
		return;
	for (struct parked *p = q->first, *next; p; p = next) {
		next = p->next;
		parked_free(p);
	}
	free(q);
}

static bool has_room(const struct call *call, const struct queue *q)
{
	size_t len = 0;
	for (size_t i = 0; i < call->argc; i++)
		len += call->argv[i].len;
	return q->n < QUEUE_MAX_REQUESTS && q->len + len <= call->server->limits.max_total;
}

void command_queue(struct call *call, bool is_good)
{
	struct queue *q = client_queue(call->client);
	struct parked *p = NULL;
	if (is_good && !has_room(call, q)) {
		call_error(call, "ERR the transaction is larger than listen.max_request");
		is_good = false;
	}
	if (is_good && !(p = parked_new(call->argv, call->argc))) {
		call_error(call, "ERR out of memory for the transaction");
		is_good = false;
	}
	if (!is_good) {
		q->is_spoilt = true;
		return;
	}
	*q->last = p;
	q->last = &p->next;
	q->needs_redis |= command_is_redis(call);
	for (size_t i = 0; i < p->argc; i++)
		q->has_large |= p->argv[i].owner != NULL;
	q->n++;
	q->len += p->len;
	reply_add_simple(&call->out->bytes, "QUEUED");
}

void command_discard(struct call *call)
{
	if (!client_queue(call->client)) {
		call_error(call, "ERR DISCARD without MULTI");
		return;
	}
	client_set_queue(call->client, NULL);
	call_ok(call);
}

/* Nothing is watched here, so there is nothing to forget. */
void command_unwatch(struct call *call)
{
	call_ok(call);
}
