/* Orders on their way; see fetch_call.h. Owned by a driver, called by it and by
 * whoever starts fetches.
 *
 * Invariant: a call is on one of the two lists from start to end, and has a deadline
 * pending until it is answered. The one exception is a call whose bytes are being
 * copied when all is closed: it belongs to its job alone then. */
#include "fetch_call.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../proto/buf.h"
#include "clock.h"
#include "value.h"
#include "worker.h"

#define BEGIN_MAX 64            /* calls begun in one turn of the loop */
#define COPY_INLINE_MAX 65536   /* bytes copied on the loop (some 10 us) */

enum call_state {
	CALL_REFUSED,           /* too many wait; its deadline is now */
	CALL_WAITING,
	CALL_RUNNING,           /* begun, holds a slot; answered or not */
	CALL_STOPPING,          /* the same, answered, and its driver told to stop */
	CALL_MAKING,           /* ended; the cpu pool makes its value */
};

struct call {
	struct fetch_call pub;          /* first: what drivers hold is a pointer to it */
	TAILQ_ENTRY(call) link;
	struct fetch_calls *calls;      /* NULL: closed while copying */
	enum call_state state;
	struct event deadline;
	fetch_done_fn done;             /* NULL once answered */
	void *arg;
	char *sql, *name;
	struct buf bytes;               /* COPYING: what the driver gave */
	struct value *value;            /* COPYING: what is made of it; NULL without memory */
};
TAILQ_HEAD(call_list, call);

struct fetch_calls {
	struct event_base *base;
	struct workers *cpu;
	const struct fetch_runner *runner;
	void *driver;
	unsigned slots, n_running;
	size_t n_waiting;
	bool closed;
	struct call_list waiting;       /* WAITING and REFUSED */
	struct call_list begun;         /* RUNNING, STOPPING and COPYING */
	struct event *turn;             /* begins what waits */
};

/* ---- answers ---- */

static void answer(struct call *c, const struct fetch_result *result)
{
	fetch_done_fn done = c->done;
	if (!done)
		return;
	c->done = NULL;
	event_del(&c->deadline);
	done(c->arg, result);
}

void fetch_call_found(struct fetch_call *call, struct value *value)
{
	answer((struct call *)call, &(struct fetch_result){.status = FETCH_FOUND, .value = value});
	value_unref(value);
}

void fetch_call_absent(struct fetch_call *call)
{
	answer((struct call *)call, &(struct fetch_result){.status = FETCH_ABSENT});
}

static void fail(struct call *c, enum breaker_outcome source, const char *cause, const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));

static void fail(struct call *c, enum breaker_outcome source, const char *cause, const char *fmt, va_list ap)
{
	struct fetch_result result = {.status = FETCH_FAILED, .source = source};
	snprintf(result.cause, sizeof(result.cause), "%s", cause);
	vsnprintf(result.error, sizeof(result.error), fmt, ap);
	/* It becomes a line of the protocol and of the log. */
	for (char *p = result.error; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	answer(c, &result);
}

void fetch_call_failed(struct fetch_call *call, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fail((struct call *)call, BREAKER_UNKNOWN, "", fmt, ap);
	va_end(ap);
}

void fetch_call_blame(struct fetch_call *call, enum breaker_outcome source, const char *cause, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fail((struct call *)call, source, cause, fmt, ap);
	va_end(ap);
}

/* One that waited for its turn shows nothing of its own query. */
static void answer_timed_out(struct call *c, const char *where)
{
	fetch_call_blame(&c->pub, c->state == CALL_RUNNING ? BREAKER_FAILED : BREAKER_UNKNOWN, "",
		"timed out after %lld ms%s", (long long)c->pub.order.timeout_ms, where);
}

bool fetch_call_answered(const struct fetch_call *call)
{
	return !((const struct call *)call)->done;
}

/* ---- the life of a call ---- */

static void call_free(struct call *c)
{
	event_del(&c->deadline);
	buf_free(&c->bytes);
	free(c->sql);
	free(c->name);
	free(c);
}

static void drop_waiting(struct call *c)
{
	TAILQ_REMOVE(&c->calls->waiting, c, link);
	c->calls->n_waiting--;
	call_free(c);
}

static void arm_turn(struct fetch_calls *calls)
{
	if (!calls->closed)
		event_add(calls->turn, &(struct timeval){0});
}

static void begin(struct call *c)
{
	struct fetch_calls *calls = c->calls;
	TAILQ_REMOVE(&calls->waiting, c, link);
	calls->n_waiting--;
	TAILQ_INSERT_TAIL(&calls->begun, c, link);
	calls->n_running++;
	c->state = CALL_RUNNING;
	calls->runner->begin(calls->driver, &c->pub);
}

static struct call *next_waiting(const struct fetch_calls *calls)
{
	struct call *c;
	TAILQ_FOREACH(c, &calls->waiting, link)
		if (c->state == CALL_WAITING)
			return c;
	return NULL;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct fetch_calls *calls = arg;
	struct call *c = NULL;
	(void)fd, (void)what;
	clock_update();
	for (unsigned i = 0; i < BEGIN_MAX && calls->n_running < calls->slots && (c = next_waiting(calls)); i++)
		begin(c);
	if (c && calls->n_running < calls->slots)
		arm_turn(calls);
}

static void stop(struct call *c)
{
	c->state = CALL_STOPPING;
	c->calls->runner->stop(c->calls->driver, &c->pub);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct call *c = arg;
	(void)fd, (void)what;
	clock_update();
	switch (c->state) {
	case CALL_REFUSED:
		fetch_call_failed(&c->pub, "%d fetches are waiting already", FETCH_MAX_WAITING);
		drop_waiting(c);
		break;
	case CALL_WAITING:
		answer_timed_out(c, ", still waiting for its turn");
		drop_waiting(c);
		break;
	case CALL_RUNNING:
		answer_timed_out(c, "");
		stop(c);
		break;
	case CALL_MAKING:
		answer_timed_out(c, "");
		break;
	case CALL_STOPPING:
		abort();                /* answered, so it has no deadline */
	}
}

void fetch_call_start(struct fetch_calls *calls, const struct fetch_order *order, fetch_done_fn done, void *arg)
{
	assert(!calls->closed);
	struct call *c = xcalloc(1, sizeof(*c));
	c->calls = calls;
	c->done = done;
	c->arg = arg;
	c->sql = order->sql ? xstrdup(order->sql) : NULL;
	c->name = xstrdup(order->name);
	c->pub.order = *order;
	c->pub.order.sql = c->sql;
	c->pub.order.name = c->name;
	c->state = calls->n_waiting < FETCH_MAX_WAITING ? CALL_WAITING : CALL_REFUSED;
	int64_t ms = c->state == CALL_WAITING ? order->timeout_ms : 0;
	evtimer_assign(&c->deadline, calls->base, on_deadline, c);
	clock_arm(&c->deadline, ms);
	TAILQ_INSERT_TAIL(&calls->waiting, c, link);
	calls->n_waiting++;
	arm_turn(calls);
}

static void leave_slot(struct call *c)
{
	assert(c->state == CALL_RUNNING || c->state == CALL_STOPPING);
	c->calls->n_running--;
	arm_turn(c->calls);
}

void fetch_call_end(struct fetch_call *call)
{
	struct call *c = (struct call *)call;
	assert(!c->done);
	leave_slot(c);
	TAILQ_REMOVE(&c->calls->begun, c, link);
	call_free(c);
}

/* ---- bytes to a value ---- */

/* On a cpu worker if they are many. */
static void make_value(void *arg)
{
	struct call *c = arg;
	c->value = value_from_buf(&c->bytes);
	buf_free(&c->bytes);
}

static void answer_made(struct call *c)
{
	if (c->value)
		fetch_call_found(&c->pub, c->value);
	else
		fetch_call_failed(&c->pub, "out of memory");
}

static void on_made(void *arg)
{
	struct call *c = arg;
	answer_made(c);
	if (c->calls)
		TAILQ_REMOVE(&c->calls->begun, c, link);
	call_free(c);
}

void fetch_call_end_with(struct fetch_call *call, struct buf *b)
{
	struct call *c = (struct call *)call;
	c->bytes = *b;
	*b = (struct buf)BUF_INIT;
	leave_slot(c);
	c->state = CALL_MAKING;
	if (c->done && c->bytes.len > COPY_INLINE_MAX && workers_submit(c->calls->cpu, make_value, on_made, c) == 0)
		return;
	if (c->done)
		make_value(c);
	on_made(c);
}

/* ---- all of them ---- */

struct fetch_calls *fetch_calls_new(struct event_base *base, struct workers *cpu, unsigned slots,
	const struct fetch_runner *runner, void *driver)
{
	struct fetch_calls *calls = xcalloc(1, sizeof(*calls));
	*calls = (struct fetch_calls){.base = base, .cpu = cpu, .slots = slots, .runner = runner, .driver = driver};
	TAILQ_INIT(&calls->waiting);
	TAILQ_INIT(&calls->begun);
	calls->turn = evtimer_new(base, on_turn, calls);
	return calls;
}

/* A call that closing has still to deal with. */
static struct call *next_begun(const struct fetch_calls *calls)
{
	struct call *c;
	TAILQ_FOREACH(c, &calls->begun, link)
		if (c->state != CALL_STOPPING)
			return c;
	return NULL;
}

void fetch_calls_close(struct fetch_calls *calls)
{
	struct call *c;
	calls->closed = true;
	event_del(calls->turn);
	while ((c = TAILQ_FIRST(&calls->waiting))) {
		fetch_call_failed(&c->pub, "shutting down");
		drop_waiting(c);
	}
	/* From the head each time: an answer may end others, the assemblies it is a part of. */
	while ((c = next_begun(calls))) {
		fetch_call_failed(&c->pub, "shutting down");
		if (c->state == CALL_MAKING) {
			TAILQ_REMOVE(&calls->begun, c, link);
			c->calls = NULL;
		} else {
			stop(c);
		}
	}
}

void fetch_calls_free(struct fetch_calls *calls)
{
	if (!calls)
		return;
	assert(calls->closed && TAILQ_EMPTY(&calls->waiting) && TAILQ_EMPTY(&calls->begun));
	event_free(calls->turn);
	free(calls);
}
