/* The calls of one driver: what the drivers have in common, so that each of them
 * only knows how to run one order. A call is an order on its way:
 *
 *      start --> WAITING --begin--> RUNNING --end--> gone
 *                   |                  |
 *                   +---- deadline ----+--> answered; the driver is told to stop
 *
 * At most `slots` calls run at once, FETCH_MAX_WAITING wait in the order they came.
 * To be answered and to end are two things: who waits hears at the deadline, at the
 * second; the slot is free when the driver has really let go (the query cancelled,
 * the process reaped). Loop thread only. */
#ifndef CATCACHED_FETCH_CALL_H
#define CATCACHED_FETCH_CALL_H

#include "fetch.h"

struct buf;
struct event_base;
struct fetch_calls;
struct workers;

/* What a driver sees of a call, from begin to end. */
struct fetch_call {
	struct fetch_order order;       /* sql and name are the call's own copies */
	void *run;                      /* the driver's */
};

/* What a driver does for its calls. */
struct fetch_runner {
	/* A slot is free for call: run it. May answer and end it at once. */
	void (*begin)(void *driver, struct fetch_call *call);
	/* call, begun and not ended, has been answered by its deadline or by closing:
	 * end it soon, now or later. Called at most once. */
	void (*stop)(void *driver, struct fetch_call *call);
};

/* cpu copies large values; NULL: a driver that does not use fetch_call_end_with. It
 * is freed after the calls. */
struct fetch_calls *fetch_calls_new(struct event_base *base, struct workers *cpu, unsigned slots,
	const struct fetch_runner *runner, void *driver);

/* Answers all as "shutting down", ends those that wait, and has the runner stop the
 * rest; no call begins after it. */
void fetch_calls_close(struct fetch_calls *calls);

/* Frees; closed before, and every call has ended. NULL is allowed. */
void fetch_calls_free(struct fetch_calls *calls);

/* What a driver's start is; see fetch.h. */
void fetch_call_start(struct fetch_calls *calls, const struct fetch_order *order, fetch_done_fn done, void *arg);

/* The answer: done is called with it, before these return. Only the first answer
 * counts: what comes after the deadline is dropped. found takes over the reference. */
void fetch_call_found(struct fetch_call *call, struct value *value);
void fetch_call_absent(struct fetch_call *call);
void fetch_call_failed(struct fetch_call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A failure that shows something of the source (see struct fetch_result), or whose text may
 * not be logged: then cause says as much as may, else it is "". */
void fetch_call_blame(struct fetch_call *call, enum breaker_outcome source, const char *cause, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* True once somebody, the driver or the deadline, has answered. */
bool fetch_call_answered(const struct fetch_call *call);

/* The driver is done with call, which has been answered, and never touches it again. */
void fetch_call_end(struct fetch_call *call);

/* Answers with the bytes, which it takes over (b is empty on return), and ends the
 * call. Large ones are made a value by the cpu pool: the answer then follows later. */
void fetch_call_end_with(struct fetch_call *call, struct buf *b);

#endif
