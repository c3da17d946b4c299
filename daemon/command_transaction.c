/* Transactions of clients: MULTI queues, EXEC executes, DISCARD forgets.
 *
 *   EXEC: large values are judged -> all requests run in one turn of the loop, which
 *   Redis gets as one transaction -> their replies, in order, make one array */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "command.h"
#include "parked.h"

#define QUEUE_MAX_REQUESTS 1000000

struct queue {
	struct parked *first, **last;
	size_t n;
	size_t len;                     /* bytes of all arguments */
	bool is_spoilt;                 /* EXEC will refuse */
	bool needs_redis;               /* some of it is Redis's alone */
};

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

/* ---- EXEC ---- */

struct execution {
	struct server *server;
	struct slot *slot;              /* EXEC's own */
	struct queue *queue;
	size_t owed;                    /* replies, or while judging values, that are not here yet; one more till Redis is done */
	char *abort_error;              /* if nothing came of it in Redis */
	size_t n_passed;                /* requests that Redis alone answers */
	struct slot *replies[];         /* the requests' */
};

static void execution_free(struct execution *x)
{
	command_queue_free(x->queue);
	free(x->abort_error);
	free(x);
}

/* If part of it was Redis's alone, all of it came to nothing. */
static void finish(struct execution *x)
{
	struct out *out = &x->slot->out;
	bool is_refused = x->abort_error && x->n_passed > 0;
	if (is_refused)
		reply_add_error(&out->bytes, x->abort_error);
	else
		reply_add_array(&out->bytes, x->queue->n);
	for (size_t i = 0; i < x->queue->n; i++)
		slot_take(x->replies[i], is_refused ? NULL : out);
	slot_done(x->slot);
	execution_free(x);
}

static void on_reply(void *arg)
{
	struct execution *x = arg;
	if (--x->owed == 0)
		finish(x);
}

static void on_end(void *arg, const char *error)
{
	struct execution *x = arg;
	x->abort_error = error ? xstrdup(error) : NULL;
	on_reply(x);
}

static void run_one(struct execution *x, struct client *client, const struct parked *p, struct slot **reply)
{
	*reply = slot_new_part(client, on_reply, x);
	struct call call = {.server = x->server, .client = client, .argv = p->argv, .argc = p->argc,
		.resp = (*reply)->resp, .is_queued = true, .out = &(*reply)->out, .slot = *reply};
	x->owed++;
	x->server->stats.commands++;
	command_run(&call);
	x->n_passed += call.is_passed;
	if (!call.is_deferred)
		slot_done(*reply);
}

/* Nothing is executed. */
static void give_up(struct execution *x, const char *error)
{
	reply_add_error(&x->slot->out.bytes, error);
	slot_done(x->slot);
	execution_free(x);
}

static void execute(struct execution *x)
{
	struct catalog *c = x->server->catalog;
	struct client *client = x->slot->client;
	const char *reason = x->queue->needs_redis ? catalog_redis_reason(c) : "";
	size_t i = 0;
	if (!client) {
		give_up(x, "ERR the client is gone");
		return;
	}
	if (*reason) {
		char error[CALL_SHOWN_MAX + 64];
		snprintf(error, sizeof(error), "UNAVAILABLE redis: %s", reason);
		give_up(x, error);
		return;
	}
	x->owed = 1;
	catalog_begin(c, (struct redis_route){x->slot->resp, client_id(client)});
	for (struct parked *p = x->queue->first; p; p = p->next)
		run_one(x, client, p, &x->replies[i++]);
	catalog_end(c, on_end, x);
}

static void on_judged(void *arg)
{
	struct execution *x = arg;
	if (--x->owed == 0)
		execute(x);
}

/* A large value that must be judged would come too late for the transaction: so it is judged first. */
static void judge_values(struct execution *x)
{
	x->owed = 1;
	for (struct parked *p = x->queue->first; p; p = p->next)
		for (size_t i = 0; i < p->argc; i++)
			if (p->argv[i].owner) {
				x->owed++;
				catalog_inspect(x->server->catalog, p->argv[i].owner, on_judged, x);
			}
	on_judged(x);
}

void command_exec(struct call *call)
{
	struct queue *q = client_queue(call->client);
	if (!q) {
		call_error(call, "ERR EXEC without MULTI");
		return;
	}
	if (q->is_spoilt) {
		client_set_queue(call->client, NULL);
		call_error(call, "EXECABORT Transaction discarded because of previous errors.");
		return;
	}
	struct execution *x = xcalloc(1, sizeof(*x) + q->n * sizeof(x->replies[0]));
	*x = (struct execution){.server = call->server, .queue = client_take_queue(call->client)};
	x->slot = call_defer(call);
	judge_values(x);
}
