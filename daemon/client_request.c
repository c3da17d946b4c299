/* Requests of a connection: read together or one by one, run or parked, each with a slot for its reply where that has to wait; see
 * client.h and client_impl.h. */
#include <stdio.h>
#include <stdlib.h>

#include "../proto/reply.h"
#include "../proto/request_batch.h"
#include "catalog.h"
#include "client_impl.h"
#include "clock.h"
#include "histogram.h"
#include "parked.h"
#include "server.h"
#include "value.h"

bool client_is_blocked(const struct client *c)
{
	return c->closing || c->broken || c->pending[LANE_WRITE] || c->parked || c->n_slots >= CLIENT_SLOTS_MAX
		|| out_pending(&c->out) + c->slot_bytes >= CLIENT_OUTPUT_PAUSE;
}

static struct slot *slot_new(struct client *c)
{
	struct slot *s = xmalloc(sizeof(*s));
	*s = (struct slot){.client = c, .out = OUT_INIT, .resp = c->resp};
	*c->last = s;
	c->last = &s->next;
	c->n_slots++;
	return s;
}

struct slot *slot_new_part(const struct client *c, void (*on_part)(void *arg), void *arg)
{
	struct slot *s = xmalloc(sizeof(*s));
	*s = (struct slot){.out = OUT_INIT, .resp = c->resp, .on_part = on_part, .arg = arg};
	return s;
}

void slot_take(struct slot *part, struct out *out)
{
	if (out)
		out_move(out, &part->out);
	else
		out_fini(&part->out);
	free(part);
}

struct slot *call_defer(struct call *call)
{
	struct client *c = call->client;
	call->is_deferred = true;
	if (call->is_queued)
		return call->slot;
	if (!call->slot)
		call->slot = slot_new(c);
	call->slot->latency = command_latency(call);
	call->slot->began_us = clock_turn_us();
	call->slot->lane = (uint8_t)command_lane(call);
	c->pending[call->slot->lane]++;
	return call->slot;
}

void client_mark_done(struct slot *s)
{
	if (s->is_silent)
		out_fini(&s->out);
	s->done = true;
	s->client->slot_bytes += out_pending(&s->out);
}

/* An error that is known now goes behind the replies that are still owed. */
static void reply_error_now(struct client *c, const char *text)
{
	if (c->replies != CLIENT_REPLIES_ON)
		return;
	struct slot *s = c->first ? slot_new(c) : NULL;
	reply_add_error(s ? &s->out.bytes : &c->out.bytes, text);
	if (s)
		client_mark_done(s);
}

/* first: see struct call. */
static void run_request(struct client *c, const struct request_arg *argv, size_t argc, const struct key *first)
{
	struct call call = {.server = c->server, .client = c, .argv = argv, .argc = argc, .first = first, .resp = c->resp, .out = &c->out};
	bool is_silent = c->replies != CLIENT_REPLIES_ON;
	if (c->first || is_silent) {
		call.slot = slot_new(c);
		call.slot->is_silent = is_silent;
		call.out = &call.slot->out;
	}
	if (c->replies == CLIENT_REPLIES_SKIP)
		c->replies = CLIENT_REPLIES_ON;
	c->server->stats.commands++;
	command_run(&call);
	if (!call.is_deferred)
		histogram_add_instant(command_latency(&call));
	if (call.slot && !call.is_deferred)
		client_mark_done(call.slot);
}

/* What is pending and may not be overtaken, or must not run beside it: see enum lane. */
static bool must_wait(struct client *c, const struct request_arg *argv, size_t argc)
{
	if (!c->first && !c->server->executing)
		return false;
	struct call call = {.server = c->server, .client = c, .argv = argv, .argc = argc,
		.command = command_find(argv[0].data, argv[0].len)};
	if (command_is_held(&call))
		return true;
	switch (command_lane(&call)) {
	case LANE_READ:
		return c->pending[LANE_PASS_WRITE];
	case LANE_WRITE:
		return c->pending[LANE_READ] || c->pending[LANE_PASS_READ] || c->pending[LANE_PASS_WRITE];
	case LANE_PASS_WRITE:
		return c->pending[LANE_READ];
	default:
		return false;
	}
}

void client_run_parked(struct client *c)
{
	struct parked *p = c->parked;
	if (!p || must_wait(c, p->argv, p->argc))
		return;
	c->parked = NULL;
	run_request(c, p->argv, p->argc, NULL);
	parked_free(p);
}

static void accept_request(struct client *c, const struct request_arg *argv, size_t argc, const struct key *first)
{
	if (!must_wait(c, argv, argc)) {
		run_request(c, argv, argc, first);
		return;
	}
	c->parked = parked_new(argv, argc);
	if (!c->parked)
		reply_error_now(c, "ERR out of memory for the request");
}

static void accept_parsed(struct client *c)
{
	struct request_parser *p = &c->parser;
	if (p->discarded)
		reply_error_now(c, "ERR out of memory for an argument");
	else if (p->argc > 0)
		accept_request(c, p->argv, p->argc, NULL);
	else if (c->replies == CLIENT_REPLIES_SKIP)
		c->replies = CLIENT_REPLIES_ON; /* what is skipped is the reply to nothing */
	parked_release_owners(p->argv, p->argc);
	request_next(p);
}

static void refuse_frame(struct client *c)
{
	c->closing = true;
	c->server->stats.protocol_errors++;
	if (!c->parser.error)
		return;
	char text[96];
	snprintf(text, sizeof(text), "ERR Protocol error: %s", c->parser.error);
	reply_error_now(c, text);
}

/* Without memory the argument is thrown away as it comes, and its request answered with an error. */
static void supply_large(struct client *c)
{
	struct value *v = value_new(c->parser.large_len);
	request_supply(&c->parser, v ? v->data : NULL, v);
}

/* What the requests are about is anywhere in memory: to wait for all of it at once takes less than one after the other. */
static void prefetch_keys(struct client *c, const struct request_batch *batch, size_t n, struct key *keys)
{
	for (size_t i = 0; i < n; i++) {
		const struct request_arg *arg = &batch->requests[i].argv[batch->requests[i].argc > 1];
		keys[i] = key_of(arg->data, arg->len);
	}
	catalog_prefetch(c->server->catalog, keys, n);
}

/* Runs the short requests at the head of data; returns the bytes used up. */
static size_t run_batch(struct client *c, const char *data, size_t len)
{
	struct request_batch batch;
	struct key keys[REQUEST_BATCH_MAX];
	size_t used = 0, n = request_batch_read(&batch, c->ahead, &c->server->limits, data, len);
	if (n > 1)
		prefetch_keys(c, &batch, n, keys);
	for (size_t i = 0; i < n && !client_is_blocked(c); i++) {
		bool is_first_known = n > 1 && batch.requests[i].argc > 1;
		accept_request(c, batch.requests[i].argv, batch.requests[i].argc, is_first_known ? &keys[i] : NULL);
		used += batch.requests[i].len;
	}
	c->ahead = client_is_blocked(c) ? 1 : REQUEST_BATCH_MAX;
	return used;
}

/* A step of a request of whatever kind, at *used; false when it needs more bytes, or there is nothing to be made of it. */
static bool take_step(struct client *c, const char *data, size_t len, size_t *used)
{
	enum request_status status = request_parse(&c->parser, data + *used, len - *used);
	*used += c->parser.consumed;
	switch (status) {
	case REQUEST_READY:
		accept_parsed(c);
		return true;
	case REQUEST_LARGE_ARG:
		supply_large(c);
		return true;
	case REQUEST_FAILED:
		refuse_frame(c);
		*used = len;
		return false;
	default:
		return false;
	}
}

size_t client_consume(struct client *c, const char *data, size_t len)
{
	size_t used = 0;
	while (used < len && !client_is_blocked(c)) {
		size_t n = request_pending(&c->parser) ? 0 : run_batch(c, data + used, len - used);
		used += n;
		if (n == 0 && !take_step(c, data, len, &used))
			break;
	}
	return used;
}
