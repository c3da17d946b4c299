/* Fetching from PostgreSQL: a few connections, made when they are needed and kept;
 * see fetch.h. What a connection does is in pg_link.c, where it leads in pg_target.c.
 *
 *      begin --> ready --dispatch--> an idle link: rows, rows ... --> over --> answer
 *                  |                                               |
 *                  |<------- once more, if the link was lost ------+
 *                  +-- no link and none to be had: fails at once
 *
 * There are as many links as calls may run, so each ready query will find one; it
 * takes the first that is idle, not one of its own. After a failed connect no other
 * is tried until the backoff timer has fired, and then one at a time.
 *
 * Rows are rendered on the loop as they come, in portions that libpq has read: 17,000
 * rows of 7 MB take 20 ms in all, and none of the portions 1 ms. But a single row is one
 * portion, however large: one of 7 MB holds the loop for 6 to 9 ms. */
#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../conf/sql.h"
#include "../proto/buf.h"
#include "clock.h"
#include "fetch.h"
#include "fetch_call.h"
#include "log.h"
#include "pg_lib.h"
#include "pg_link.h"
#include "pg_target.h"
#include "rows.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 3000

/* The types of columns that do not become strings; PostgreSQL never renumbers them. */
enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_JSON = 114,
	OID_FLOAT4 = 700, OID_FLOAT8 = 701, OID_NUMERIC = 1700, OID_JSONB = 3802 };

/* A call on its way through this driver. */
struct query {
	TAILQ_ENTRY(query) link;        /* while it is ready */
	struct postgres *owner;
	struct fetch_call *call;
	char *sql;                      /* with $1 */
	bool has_parameter;
	struct pg_link *on;             /* the link that runs it; NULL: ready */
	bool retried;
	struct rows rows;
	struct cell *cells;             /* of one row; NULL: no columns known yet */
};

struct postgres {
	struct event_base *base;
	struct fetch_calls *calls;
	struct pg_target *target;       /* NULL: the URL is not one, or there is no library */
	bool looking_up;
	TAILQ_HEAD(query_list, query) ready;
	unsigned n_ready;
	unsigned failures;              /* connects that failed, in a row, */
	int64_t refused_since_ms;       /* since then */
	struct event *backoff;          /* pending: no connects */
	char reason[FETCH_ERROR_MAX];   /* of the last that failed; or why there is no target */
	unsigned n_links;
	struct pg_link *links[];
};

static void dispatch(struct postgres *d);

/* ---- rows ---- */

static enum cell_kind cell_kind(Oid type)
{
	switch (type) {
	case OID_BOOL:
		return CELL_BOOL;
	case OID_INT2:
	case OID_INT4:
	case OID_INT8:
		return CELL_INTEGER;
	case OID_FLOAT4:
	case OID_FLOAT8:
	case OID_NUMERIC:
		return CELL_NUMBER;
	case OID_JSON:
	case OID_JSONB:
		return CELL_JSON;
	case OID_BYTEA:
		return CELL_BLOB;
	default:
		return CELL_TEXT;
	}
}

static int tell_columns(struct query *q, const PGresult *r)
{
	unsigned n = (unsigned)pg.PQnfields(r);
	const char **names = xcalloc(n, sizeof(*names));
	for (unsigned i = 0; i < n; i++)
		names[i] = pg.PQfname(r, (int)i);
	int result = rows_columns(&q->rows, n, names);
	free(names);
	q->cells = xcalloc(n, sizeof(*q->cells));
	return result;
}

/* bytea comes as text, and is the one kind whose bytes have to be made, and freed. */
static int read_cell(struct cell *cell, const PGresult *r, int row, int column)
{
	*cell = (struct cell){.kind = CELL_NULL};
	if (pg.PQgetisnull(r, row, column))
		return 0;
	cell->kind = cell_kind(pg.PQftype(r, column));
	cell->text = pg.PQgetvalue(r, row, column);
	cell->len = (size_t)pg.PQgetlength(r, row, column);
	if (cell->kind == CELL_BLOB)
		cell->text = (char *)pg.PQunescapeBytea((const unsigned char *)cell->text, &cell->len);
	return cell->text ? 0 : -1;
}

static void free_blobs(struct cell *cells, int n)
{
	for (int i = 0; i < n; i++) {
		if (cells[i].kind == CELL_BLOB)
			pg.PQfreemem((char *)cells[i].text);
		cells[i].kind = CELL_NULL;
	}
}

static int add_row(struct query *q, const PGresult *r, int row)
{
	int n = pg.PQnfields(r), result = 0;
	for (int i = 0; i < n && result == 0; i++)
		result = read_cell(&q->cells[i], r, row, i);
	if (result == 0)
		result = rows_add(&q->rows, q->cells);
	else
		q->rows.error = "out of memory";
	free_blobs(q->cells, n);
	return result;
}

static int on_rows(void *query, const PGresult *r)
{
	struct query *q = query;
	int result = q->cells ? 0 : tell_columns(q, r);
	for (int row = 0; row < pg.PQntuples(r) && result == 0; row++)
		result = add_row(q, r, row);
	if (result < 0)
		fetch_call_failed(q->call, "%s", q->rows.error);
	return result;
}

/* ---- queries ---- */

static void make_ready(struct query *q)
{
	q->on = NULL;
	rows_init(&q->rows, q->call->order.shape, FETCH_MAX_BYTES);
	/* One that comes back has waited already. */
	if (q->retried)
		TAILQ_INSERT_HEAD(&q->owner->ready, q, link);
	else
		TAILQ_INSERT_TAIL(&q->owner->ready, q, link);
	q->owner->n_ready++;
}

static void leave_ready(struct query *q)
{
	TAILQ_REMOVE(&q->owner->ready, q, link);
	q->owner->n_ready--;
}

static void query_free(struct query *q)
{
	rows_fini(&q->rows);
	free(q->cells);
	free(q->sql);
	free(q);
}

static void fail_query(struct query *q, const char *error)
{
	fetch_call_failed(q->call, "%s", error);
	fetch_call_end(q->call);
	query_free(q);
}

static void fail_ready(struct postgres *d, const char *error)
{
	struct query *q;
	while ((q = TAILQ_FIRST(&d->ready))) {
		leave_ready(q);
		fail_query(q, error);
	}
}

static void finish_query(struct query *q)
{
	if (rows_end(&q->rows)) {
		fetch_call_end_with(q->call, &q->rows.out);
	} else {
		fetch_call_absent(q->call);
		fetch_call_end(q->call);
	}
	query_free(q);
}

/* ---- connections ---- */

static struct pg_link *link_in(const struct postgres *d, enum pg_state state)
{
	for (unsigned i = 0; i < d->n_links; i++)
		if (pg_link_state(d->links[i]) == state)
			return d->links[i];
	return NULL;
}

static unsigned count_in(const struct postgres *d, enum pg_state state)
{
	unsigned n = 0;
	for (unsigned i = 0; i < d->n_links; i++)
		n += pg_link_state(d->links[i]) == state;
	return n;
}

/* A link that is lost before the first row was most likely dead before the query was
 * sent: the server has been restarted. Queries only read, so it may run again, and on
 * a new link, because those that are idle are then dead too. */
static void retry(struct query *q)
{
	struct pg_link *l;
	q->retried = true;
	make_ready(q);
	while ((l = link_in(q->owner, PG_IDLE)))
		pg_link_close(l);
}

/* Classes of SQLSTATE (appendix A of PostgreSQL's manual), and of which of them the key may be the reason. */
static const struct sqlstate_class {
	const char *code, *name;
	bool is_of_key;
} classes[] = {
	{"08", "connection exception", false}, {"0A", "feature not supported", false}, {"22", "data exception", true},
	{"23", "integrity constraint violation", true}, {"25", "invalid transaction state", false},
	{"28", "invalid authorization", false}, {"40", "transaction rollback", false},
	{"42", "syntax error or access rule violation", false}, {"53", "insufficient resources", false},
	{"54", "program limit exceeded", false}, {"55", "object not in prerequisite state", false},
	{"57", "operator intervention", false}, {"58", "system error", false}, {"P0", "PL/pgSQL error", true},
	{"XX", "internal error", false},
};

static const struct sqlstate_class *class_of(const char *sqlstate)
{
	static const struct sqlstate_class other = {"", "error", false};
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i].code, 2) == 0)
			return &classes[i];
	return &other;
}

static void fail_with(struct query *q, const struct pg_error *error)
{
	const struct sqlstate_class *class = class_of(error->sqlstate);
	char cause[FETCH_CAUSE_MAX] = "";
	if (error->sqlstate[0])
		snprintf(cause, sizeof(cause), "SQLSTATE %s (%s)", error->sqlstate, class->name);
	fetch_call_blame(q->call, class->is_of_key ? BREAKER_ANSWERED : BREAKER_FAILED, cause, "%s", error->text);
	fetch_call_end(q->call);
	query_free(q);
}

static void on_over(void *query, const struct pg_error *error)
{
	struct query *q = query;
	struct postgres *d = q->owner;
	if (error && error->lost && !q->retried && !q->cells && !fetch_call_answered(q->call))
		retry(q);
	else if (error)
		fail_with(q, error);
	else
		finish_query(q);
	dispatch(d);
}

static void back_off(struct postgres *d)
{
	int64_t ms = BACKOFF_MIN_MS << (d->failures < 6 ? d->failures : 6);
	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	clock_arm(d->backoff, ms / 2 + random() % (ms / 2));    /* so that a fleet does not come back as one */
}

static void on_refused(void *owner, const char *reason, bool silent)
{
	struct postgres *d = owner;
	snprintf(d->reason, sizeof(d->reason), "%s", reason);
	if (d->failures == 0) {
		d->refused_since_ms = clock_ms();
		log_warning("postgres_refused", "reason=%s", log_quote(reason));
	}
	/* Links that were tried together fail together, and count as one. */
	if (!event_pending(d->backoff, EV_TIMEOUT, NULL)) {
		if (silent)
			pg_target_skip(d->target);
		back_off(d);
		d->failures++;
	}
	dispatch(d);
}

static void on_connected(void *owner)
{
	struct postgres *d = owner;
	if (d->failures > 0)
		log_warning("postgres_connected", "failures=%u after_ms=%lld", d->failures, (long long)(clock_ms() - d->refused_since_ms));
	d->failures = 0;
	event_del(d->backoff);
	dispatch(d);
}

/* One for each query that finds none; after a failure just one, to try. */
static void connect_links(struct postgres *d)
{
	struct pg_link *l;
	unsigned limit = d->failures && d->n_ready ? 1 : d->n_ready;
	while (count_in(d, PG_CONNECTING) < limit && (l = link_in(d, PG_CLOSED)))
		pg_link_connect(l, pg_target_connect(d->target));
}

static void on_looked_up(void *arg, const char *error)
{
	struct postgres *d = arg;
	d->looking_up = false;
	if (error)
		on_refused(d, error, false);
	else
		connect_links(d);
}

static void look_up(struct postgres *d)
{
	if (d->looking_up)
		return;
	if (pg_target_look_up(d->target, d->base, on_looked_up, d) == 0)
		d->looking_up = true;
	else
		on_refused(d, "no thread to look up a name", false);
}

/* There are queries and no idle link: a new one, or those that there are, or none. */
static void find_links(struct postgres *d)
{
	bool may_connect = !event_pending(d->backoff, EV_TIMEOUT, NULL);
	if (!d->target)
		fail_ready(d, d->reason);
	else if (!may_connect && count_in(d, PG_CLOSED) == d->n_links)
		fail_ready(d, d->reason);
	else if (may_connect && pg_target_has_names(d->target))
		look_up(d);
	else if (may_connect)
		connect_links(d);
}

/* Brings ready queries and links together, whenever there is one more of either. */
static void dispatch(struct postgres *d)
{
	struct pg_link *l;
	struct query *q;
	while ((q = TAILQ_FIRST(&d->ready)) && (l = link_in(d, PG_IDLE))) {
		leave_ready(q);
		q->on = l;
		pg_link_query(l, q->sql, q->has_parameter ? q->call->order.name : NULL, q);
	}
	if (q)
		find_links(d);
}

static void on_backoff(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	dispatch(arg);
}

/* ---- the driver ---- */

static void begin(void *driver, struct fetch_call *call)
{
	struct postgres *d = driver;
	unsigned uses;
	char *error, *sql = sql_number_parameters(call->order.sql, &uses, &error);
	if (!sql) {
		fetch_call_failed(call, "%s", error);
		fetch_call_end(call);
		free(error);
		return;
	}
	struct query *q = xcalloc(1, sizeof(*q));
	*q = (struct query){.owner = d, .call = call, .sql = sql, .has_parameter = uses > 0};
	call->run = q;
	make_ready(q);
	dispatch(d);
}

static void stop(void *driver, struct fetch_call *call)
{
	struct query *q = call->run;
	(void)driver;
	if (q->on) {
		pg_link_cancel(q->on);
		return;
	}
	leave_ready(q);
	fetch_call_end(call);
	query_free(q);
}

static void start(void *self, const struct fetch_order *order, fetch_done_fn done, void *arg)
{
	struct postgres *d = self;
	fetch_call_start(d->calls, order, done, arg);
}

static struct fetch_health health(const void *self)
{
	const struct postgres *d = self;
	if (d->failures == 0)
		return (struct fetch_health){"closed", ""};
	return (struct fetch_health){event_pending(d->backoff, EV_TIMEOUT, NULL) ? "open" : "half_open", d->reason};
}

static void postgres_free(void *self)
{
	struct postgres *d = self;
	fetch_calls_close(d->calls);
	for (unsigned i = 0; i < d->n_links; i++)
		pg_link_free(d->links[i]);
	fetch_calls_free(d->calls);
	pg_target_free(d->target);
	event_free(d->backoff);
	free(d);
}

const struct fetch_driver *fetch_postgres_new(struct event_base *base, struct workers *cpu,
	const struct conf_database *conf, void **self)
{
	static const struct fetch_driver driver = {.name = "postgres", .trial = "SELECT 1", .start = start,
		.free = postgres_free, .health = health};
	static const struct fetch_runner runner = {begin, stop};
	static const struct pg_link_owner owner = {on_connected, on_refused, on_rows, on_over};
	unsigned n = conf->connections;
	struct postgres *d = xcalloc(1, sizeof(*d) + n * sizeof(struct pg_link *));
	d->base = base;
	TAILQ_INIT(&d->ready);
	d->calls = fetch_calls_new(base, cpu, n, &runner, d);
	const char *trouble = pg_lib_load();
	d->target = trouble ? NULL : pg_target_new(conf->url);
	snprintf(d->reason, sizeof(d->reason), "%s", trouble ? trouble : "the database URL is not valid");
	d->backoff = evtimer_new(base, on_backoff, d);
	for (d->n_links = 0; d->n_links < n; d->n_links++)
		d->links[d->n_links] = pg_link_new(base, &owner, d);
	*self = d;
	return &driver;
}
