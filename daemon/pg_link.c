/* A connection to PostgreSQL; see pg_link.h. libpq does the protocol, and does not
 * block here: names have been looked up before, sending and receiving are
 * non-blocking, and PQcancel, which blocks, runs on a thread of its own.
 *
 * Invariant: in every state but CLOSED there is a conn, and io waits for its socket
 * or has just fired. io is a one-shot event, so that nothing waits for the socket
 * while libpq may close it and open another of the same number. */
#include "pg_link.h"
#include "pg_lib.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "clock.h"
#include "errand.h"
#include "fetch.h"
#include "log.h"

#define TLS_POLL_MS 20

struct pg_link {
	struct event_base *base;
	const struct pg_link_owner *owner;
	void *arg;

	enum pg_state state;
	PGconn *conn;
	struct event io;
	struct event limit;             /* CONNECTING, CANCELLING: the end of our patience */
	PostgresPollingStatusType polling;      /* CONNECTING: what libpq waits for */

	void *query;                    /* RUNNING, CANCELLING */
	char *error;                    /* what the server said of it, or NULL */
	char sqlstate[6];               /* of that */
	bool unsent;                    /* libpq holds a part of it */
	bool broken;                    /* libpq refused it: give the connection up */
	bool unwanted;                  /* the owner wants no more rows */
	bool complete;                  /* all of its rows have come */
	bool ended;                     /* the server is done with it */
	struct errand *canceller;       /* PQcancel is under way */
};

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_limit(evutil_socket_t fd, short what, void *arg);

/* ---- waiting ---- */

static short wanted(const struct pg_link *l)
{
	if (l->state == PG_CONNECTING)
		return l->polling == PGRES_POLLING_READING ? EV_READ : EV_WRITE;
	return l->unsent ? EV_READ | EV_WRITE : EV_READ;
}

/* The one place that arms io. With TLS there may be more to read than the socket
 * shows: libpq takes some of a record and leaves the rest in the TLS library's buffer,
 * so we look again after a while. */
static void watch(struct pg_link *l)
{
	static const struct timeval at_once = {0}, soon = {.tv_usec = TLS_POLL_MS * 1000};
	const struct timeval *timeout = NULL;
	int fd = pg.PQsocket(l->conn);
	if (fd < 0 || l->broken)
		timeout = &at_once;
	else if (l->query && pg.PQsslInUse(l->conn))
		timeout = &soon;
	event_del(&l->io);
	event_assign(&l->io, l->base, fd, fd < 0 ? 0 : wanted(l), on_io, l);
	event_add(&l->io, timeout);
}

static void limit(struct pg_link *l, int ms)
{
	clock_arm(&l->limit, ms);
}

/* ---- down ---- */

static void close_link(struct pg_link *l)
{
	event_del(&l->io);
	event_del(&l->limit);
	errand_abandon(l->canceller);
	l->canceller = NULL;
	pg.PQfinish(l->conn);
	l->conn = NULL;
	l->state = PG_CLOSED;
}

static void tell_over(struct pg_link *l, const char *error, bool lost)
{
	void *query = l->query;
	char *said = l->error;
	const struct pg_error e = {.text = said ? said : error, .sqlstate = l->sqlstate, .lost = lost};
	l->query = NULL;
	l->error = NULL;
	l->owner->over(query, e.text ? &e : NULL);
	free(said);
}

/* The one way down from any state. reason NULL: libpq says why; else our patience is
 * at its end. */
static void lose(struct pg_link *l, const char *reason)
{
	enum pg_state before = l->state;
	bool silent = reason;
	if (!reason)
		reason = pg.PQerrorMessage(l->conn);
	char *line = xstrndup(reason, strcspn(reason, "\n"));
	close_link(l);
	if (before == PG_CONNECTING)
		l->owner->refused(l->arg, line, silent);
	else if (before == PG_IDLE)
		log_debug("postgres_idle_closed", "reason=%s", log_quote(line));
	else
		tell_over(l, line, true);
	free(line);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct pg_link *l = arg;
	(void)fd, (void)what;
	clock_update();
	lose(l, l->state == PG_CONNECTING ? "no connection: timed out" : "the query does not end");
}

/* ---- connecting ---- */

/* NOTICEs would go to stderr. */
static void ignore_notice(void *arg, const PGresult *notice)
{
	(void)arg, (void)notice;
}

static void step_connecting(struct pg_link *l)
{
	l->polling = pg.PQconnectPoll(l->conn);
	if (l->polling == PGRES_POLLING_FAILED) {
		lose(l, NULL);
		return;
	}
	if (l->polling == PGRES_POLLING_OK) {
		event_del(&l->limit);
		(void)pg.PQsetnonblocking(l->conn, 1);     /* fails only if output is waiting */
		l->state = PG_IDLE;
	}
	watch(l);
	if (l->state == PG_IDLE)
		l->owner->connected(l->arg);
}

void pg_link_connect(struct pg_link *l, PGconn *conn)
{
	assert(l->state == PG_CLOSED);
	l->conn = conn;
	l->state = PG_CONNECTING;
	l->polling = PGRES_POLLING_WRITING;     /* as the manual says of the first call */
	l->unsent = l->broken = false;
	pg.PQsetNoticeReceiver(conn, ignore_notice, NULL);
	limit(l, PG_CONNECT_MS);
	watch(l);
}

/* ---- a query ---- */

static void keep_error(struct pg_link *l, const PGresult *r)
{
	const char *state = pg.PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *text = pg.PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	if (l->error)
		return;
	if (!text)
		text = pg.PQresultErrorMessage(r);
	l->error = xstrdup(text);
	snprintf(l->sqlstate, sizeof(l->sqlstate), "%s", state ? state : "");
	if (state && strncmp(state, "22", 2) == 0)      /* data exceptions quote the datum */
		fetch_redact(l->error);
}

static void take_result(struct pg_link *l, const PGresult *r)
{
	switch (pg.PQresultStatus(r)) {
	case PGRES_SINGLE_TUPLE:
	case PGRES_TUPLES_OK:
		l->complete = pg.PQresultStatus(r) == PGRES_TUPLES_OK;
		if (!l->unwanted)
			l->unwanted = l->owner->rows(l->query, r) < 0;
		break;
	case PGRES_COMMAND_OK:
	case PGRES_EMPTY_QUERY:
		if (!l->error)
			l->error = xstrdup("the SQL statement gives no columns");
		break;
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		if (!l->error)
			l->error = xstrdup("COPY is not a query");
		l->broken = true;       /* the protocol is in another mode now */
		break;
	default:
		keep_error(l, r);
		break;
	}
}

/* A statement like BEGIN leaves something behind: nobody else gets that session. */
static void finish_query(struct pg_link *l)
{
	event_del(&l->limit);
	if (l->broken || pg.PQtransactionStatus(l->conn) != PQTRANS_IDLE) {
		close_link(l);
	} else {
		l->state = PG_IDLE;
		watch(l);
	}
	tell_over(l, l->complete ? NULL : "the server sent no result", false);
}

static void step_query(struct pg_link *l)
{
	int flushed = !l->broken && pg.PQconsumeInput(l->conn) ? pg.PQflush(l->conn) : -1;
	l->unsent = flushed > 0;
	while (flushed >= 0 && !l->ended && !pg.PQisBusy(l->conn)) {
		PGresult *r = pg.PQgetResult(l->conn);
		if (r)
			take_result(l, r);
		l->ended = !r || l->broken;
		pg.PQclear(r);
	}
	if (l->unwanted && !l->ended)
		pg_link_cancel(l);
	if (pg.PQstatus(l->conn) == CONNECTION_BAD || flushed < 0)
		lose(l, NULL);
	else if (l->ended && !l->canceller)
		finish_query(l);
	else
		watch(l);
}

void pg_link_query(struct pg_link *l, const char *sql, const char *parameter, void *query)
{
	assert(l->state == PG_IDLE);
	l->query = query;
	l->state = PG_RUNNING;
	l->unwanted = l->complete = l->ended = false;
	l->sqlstate[0] = '\0';
	if (!pg.PQsendQueryParams(l->conn, sql, parameter ? 1 : 0, NULL, &parameter, NULL, NULL, 0)
		|| !pg.PQsetSingleRowMode(l->conn))
		l->broken = true;
	l->unsent = pg.PQflush(l->conn) > 0;
	watch(l);
}

/* Between queries the server may say that it is shutting down, or just go. */
static void step_idle(struct pg_link *l)
{
	PGnotify *notify;
	if (!pg.PQconsumeInput(l->conn) || pg.PQisBusy(l->conn) || pg.PQstatus(l->conn) == CONNECTION_BAD) {
		lose(l, NULL);
		return;
	}
	while ((notify = pg.PQnotifies(l->conn)))
		pg.PQfreemem(notify);
	watch(l);
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct pg_link *l = arg;
	(void)fd, (void)what;
	clock_update();
	switch (l->state) {
	case PG_CLOSED:
		abort();                /* io is not armed then */
	case PG_CONNECTING:
		step_connecting(l);
		break;
	case PG_IDLE:
		step_idle(l);
		break;
	case PG_RUNNING:
	case PG_CANCELLING:
		step_query(l);
		break;
	}
}

/* ---- cancelling ---- */

/* PQcancel connects to the server and waits until it hangs up; a server that hangs
 * itself never does. Until it has returned the connection is not used again: the
 * request might hit the next query. */
struct canceller {
	struct pg_link *link;           /* valid in done only */
	PGcancel *cancel;
};

static void run_cancel(void *arg)
{
	struct canceller *c = arg;
	char ignored[256];
	(void)pg.PQcancel(c->cancel, ignored, sizeof(ignored));    /* if it fails, on_limit follows */
}

static void on_cancelled(void *arg)
{
	struct canceller *c = arg;
	c->link->canceller = NULL;
	if (c->link->ended)
		finish_query(c->link);
}

static void canceller_free(void *arg)
{
	struct canceller *c = arg;
	pg.PQfreeCancel(c->cancel);
	free(c);
}

void pg_link_cancel(struct pg_link *l)
{
	if (l->state != PG_RUNNING)
		return;
	l->state = PG_CANCELLING;
	l->unwanted = true;
	struct canceller *c = xcalloc(1, sizeof(*c));
	c->link = l;
	c->cancel = pg.PQgetCancel(l->conn);
	l->canceller = errand_start(l->base, "cancel", run_cancel, on_cancelled, canceller_free, c);
	if (!l->canceller)
		canceller_free(c);
	limit(l, l->canceller ? PG_CANCEL_MS : 0);
}

/* ---- the whole ---- */

struct pg_link *pg_link_new(struct event_base *base, const struct pg_link_owner *owner, void *arg)
{
	struct pg_link *l = xcalloc(1, sizeof(*l));
	*l = (struct pg_link){.base = base, .owner = owner, .arg = arg};
	event_assign(&l->io, base, -1, 0, on_io, l);
	evtimer_assign(&l->limit, base, on_limit, l);
	return l;
}

void pg_link_close(struct pg_link *l)
{
	assert(l->state == PG_IDLE);
	close_link(l);
}

void pg_link_free(struct pg_link *l)
{
	if (!l)
		return;
	close_link(l);
	if (l->query)
		tell_over(l, "shutting down", true);
	free(l);
}

enum pg_state pg_link_state(const struct pg_link *l)
{
	return l->state;
}
