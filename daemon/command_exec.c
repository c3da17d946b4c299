/* EXEC: executes what MULTI has queued.
 *
 *   large values are judged -> the requests run, which Redis gets as one transaction in one
 *   write -> their replies, as they come in, make one array
 *
 * What takes long runs slice by slice, so that the loop turns meanwhile. To everybody else all of it
 * happens at once, when the last slice is over and Redis has been sent it: till then whatever
 * touches a key that it has touched is held (command_is_held). So there is one such execution at a time; others
 * that are as large, or touch the same keys, wait for it. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "clock.h"
#include "command.h"
#include "keyset.h"
#include "parked.h"
#include "queue.h"

#define SLICE_US 1000
#define SLICE_LOOK 8            /* the clock is looked at after so many requests */
#define SMALL 100               /* so many requests are not cut into slices */

struct execution {
	struct execution *next;         /* in awaiting of the server */
	struct server *server;
	struct slot *slot;              /* EXEC's own */
	struct queue *queue;
	struct parked *at;              /* the next to be run */
	struct event *more;             /* NULL: it is not cut into slices */
	struct keyset touched;          /* those of declared types, while it is */
	size_t n_run, n_taken;          /* requests that have been run; replies that are in slot */
	size_t owed;                    /* replies, or while judging values, that are not here yet; one more till Redis is done */
	bool is_running;                /* one of its requests, further up the stack */
	bool began_mute;                /* the client wanted no replies (CLIENT REPLY OFF) */
	char *abort_error;              /* if nothing came of it in Redis */
	size_t n_passed;                /* requests that Redis alone answers */
	struct slot *replies[];         /* the requests' */
};

/* ---- the keys ---- */

typedef bool (*hash_test)(struct keyset *s, uint64_t hash);

/* Calls test with the hash of each key of a declared type, until it says true. */
static bool any_key(const struct call *call, struct keyset *s, hash_test test)
{
	struct catalog *c = call->server->catalog;
	struct key_spans keys = command_key_spans(call);
	bool found = false;
	for (size_t n = 0; n < keys.n; n++)
		for (size_t i = keys.spans[n].first; i < keys.spans[n].end && !found; i += keys.spans[n].step) {
			struct key_room *room = NULL;
			struct key key;
			const struct request_arg *a = &call->argv[i];
			found = catalog_declares(c, a->data, a->len) && !catalog_key(c, a->data, a->len, &room, &key) && test(s, key.hash);
			key_room_free(room);
		}
	return found;
}

static bool add_to(struct keyset *s, uint64_t hash)
{
	keyset_add(s, hash);
	return false;
}

/* Ours, about any keys at all: SCAN, FLUSHDB, INVALIDATE, ... */
static bool is_about_all(const struct call *call)
{
	const struct command *c = call->command;
	return c && !c->first_key && !c->more_keys && !(c->flags & COMMAND_PASSED) && c->run != command_exec;
}

bool command_is_held(const struct call *call)
{
	struct execution *x = call->server->executing;
	return x && command_lane(call) != LANE_NONE && (is_about_all(call) || any_key(call, &x->touched, keyset_has));
}

static struct call call_of(const struct execution *x, const struct parked *p)
{
	return (struct call){.server = x->server, .client = x->slot->client, .argv = p->argv, .argc = p->argc, .is_queued = true,
		.command = command_find(p->argv[0].data, p->argv[0].len)};
}

/* Those that have been run are needed no more, but for their keys. */
static void note_keys(struct execution *x)
{
	struct queue *q = x->queue;
	for (struct parked *p; (p = q->first) != x->at; parked_free(p)) {
		struct call call = call_of(x, p);
		(void)any_key(&call, &x->touched, add_to);
		q->first = p->next;
	}
}

/* ---- the replies ---- */

static void execution_free(struct execution *x)
{
	if (x->more)
		event_free(x->more);
	command_queue_free(x->queue);
	keyset_free(&x->touched);
	free(x->abort_error);
	free(x);
}

/* If part of it was Redis's alone, all of it came to nothing. */
static void finish(struct execution *x)
{
	if (x->abort_error && x->n_passed > 0) {
		out_fini(&x->slot->out);
		x->slot->is_silent = x->began_mute;
		reply_add_error(&x->slot->out.bytes, x->abort_error);
	}
	slot_done(x->slot);
	execution_free(x);
}

/* Moves the replies that are here, in order, to the array. */
static void take_replies(struct execution *x)
{
	for (struct slot *s; x->n_taken < x->n_run && (s = x->replies[x->n_taken])->done; x->n_taken++)
		slot_take(s, s->is_silent ? NULL : &x->slot->out);
}

static void settle(struct execution *x)
{
	if (x->is_running)
		return;
	take_replies(x);
	if (x->owed == 0)
		finish(x);
}

static void on_reply(void *arg)
{
	struct execution *x = arg;
	x->owed--;
	settle(x);
}

static void on_end(void *arg, const char *error)
{
	struct execution *x = arg;
	x->abort_error = error ? xstrdup(error) : NULL;
	on_reply(x);
}

/* Nothing is executed. */
static void give_up(struct execution *x, const char *error)
{
	reply_add_error(&x->slot->out.bytes, error);
	slot_done(x->slot);
	execution_free(x);
}

/* ---- the requests ---- */

static void start_those_waiting(struct server *s);
static void hurry(void *arg);

static void run_one(struct execution *x)
{
	const struct parked *p = x->at;
	struct slot *reply = slot_new_part(x->slot->client, on_reply, x);
	struct call call = call_of(x, p);
	call.resp = reply->resp;
	call.out = &reply->out;
	call.slot = reply;
	x->replies[x->n_run++] = reply;
	x->at = p->next;
	x->owed++;
	x->server->stats.commands++;
	command_run(&call);
	x->n_passed += call.is_passed;
	reply->is_silent = client_is_mute(x->slot->client);
	if (!call.is_deferred)
		slot_done(reply);
}

/* True if all have been run. */
static bool run_slice(struct execution *x, int64_t end_us)
{
	x->is_running = true;
	do
		for (size_t i = 0; x->at && i < SLICE_LOOK; i++)
			run_one(x);
	while (x->at && clock_us() < end_us);
	x->is_running = false;
	return !x->at;
}

/* It is over for everybody else. */
static void end_slices(struct execution *x)
{
	struct server *s = x->server;
	client_release(x->slot->client);
	s->executing = NULL;
	client_wake_parked(s);
}

static void end(struct execution *x)
{
	struct server *s = x->server;
	if (x->more)
		end_slices(x);
	catalog_end(s->catalog, on_end, x);
	start_those_waiting(s);
}

/* The loop turns before the next slice. */
static void pause_slices(struct execution *x)
{
	catalog_pause(x->server->catalog, hurry, x);
	note_keys(x);
	take_replies(x);
	event_add(x->more, &(struct timeval){0});
}

static void go_on(struct execution *x, int64_t end_us)
{
	catalog_resume(x->server->catalog);
	if (run_slice(x, end_us))
		end(x);
	else
		pause_slices(x);
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	go_on(arg, clock_us() + SLICE_US);
}

/* Without the rest being cut into slices. */
static void hurry(void *arg)
{
	struct execution *x = arg;
	event_del(x->more);
	go_on(x, INT64_MAX);
}

void command_executions_hurry(struct server *s)
{
	while (s->executing)
		hurry(s->executing);
}

/* The client is held: its requests speak for it. */
static void begin_slices(struct execution *x)
{
	x->more = evtimer_new(x->server->base, on_more, x);
	x->server->executing = x;
	client_hold(x->slot->client);
	pause_slices(x);
}

static void run_all(struct execution *x)
{
	struct catalog *c = x->server->catalog;
	x->owed = 1;
	x->at = x->queue->first;
	x->began_mute = x->slot->is_silent;
	x->slot->is_silent = false; /* CLIENT REPLY counts from its place in the queue on, as in Redis */
	if (!x->began_mute)
		reply_add_array(&x->slot->out.bytes, x->queue->n);
	catalog_begin(c, (struct redis_route){x->slot->resp, client_id(x->slot->client)});
	if (run_slice(x, x->queue->n <= SMALL ? INT64_MAX : clock_us() + SLICE_US))
		end(x);
	else
		begin_slices(x);
}

/* The one that is cut into slices is to be over first. */
static bool must_wait(const struct execution *x)
{
	if (x->server->executing && x->queue->n > SMALL)
		return true;
	for (const struct parked *p = x->queue->first; p && x->server->executing; p = p->next) {
		struct call call = call_of(x, p);
		if (command_is_held(&call))
			return true;
	}
	return false;
}

static void execute(struct execution *x)
{
	const char *reason = x->queue->needs_redis ? catalog_redis_reason(x->server->catalog) : "";
	if (*reason) {
		char error[CALL_SHOWN_MAX + 64];
		snprintf(error, sizeof(error), "UNAVAILABLE redis: %s", reason);
		give_up(x, error);
	} else {
		run_all(x);
	}
}

static void wait_in_turn(struct execution *x)
{
	struct execution **last = &x->server->awaiting;
	while (*last)
		last = &(*last)->next;
	*last = x;
}

static void execute_in_turn(struct execution *x)
{
	if (!x->slot->client)
		give_up(x, "ERR the client is gone");
	else if (must_wait(x))
		wait_in_turn(x);
	else
		execute(x);
}

static void start_those_waiting(struct server *s)
{
	struct execution *x = s->awaiting, *next;
	if (s->executing)
		return;
	s->awaiting = NULL;
	for (; x; x = next) {
		next = x->next;
		x->next = NULL;
		execute_in_turn(x);
	}
}

/* ---- EXEC ---- */

static void on_judged(void *arg)
{
	struct execution *x = arg;
	if (--x->owed == 0)
		execute_in_turn(x);
}

/* A large value that must be judged would come too late for the transaction: so it is judged first. */
static void judge_values(struct execution *x)
{
	x->owed = 1;
	for (struct parked *p = x->queue->has_large ? x->queue->first : NULL; p; p = p->next)
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
