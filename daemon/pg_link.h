/* One connection to PostgreSQL on the loop: connecting, one query at a time, row by
 * row, cancelling. Whom it serves, and when to connect, is fetch_postgres.c's business.
 *
 *      CLOSED --connect--> CONNECTING --> IDLE --query--> RUNNING --> IDLE
 *         ^                    |           |     cancel --> CANCELLING --> IDLE
 *         +--------------------+-----------+-------------------+ whenever it is lost
 *
 * A function called by the owner never calls an owner's function before it returns,
 * but for pg_link_free. */
#ifndef CATCACHED_PG_LINK_H
#define CATCACHED_PG_LINK_H

#include <libpq-fe.h>
#include <stdbool.h>

struct event_base;
struct pg_error;
struct pg_link;

#define PG_CONNECT_MS 5000      /* a server that does not let us in by then is given up */
#define PG_CANCEL_MS 1000       /* a query that does not end by then, cancelled, is cut off */

enum pg_state { PG_CLOSED, PG_CONNECTING, PG_IDLE, PG_RUNNING, PG_CANCELLING };

/* What the owner is told. Texts live during the call. */
struct pg_link_owner {
	/* A connection is made: the state is IDLE. */
	void (*connected)(void *owner);
	/* It could not be made: CLOSED. silent: for want of an answer. */
	void (*refused)(void *owner, const char *reason, bool silent);
	/* Rows of the query, perhaps none, but with its columns. -1: no more of them; the query is cancelled. */
	int (*rows)(void *query, const PGresult *rows);
	/* The query is over: IDLE or CLOSED. error is NULL if all rows have come. */
	void (*over)(void *query, const struct pg_error *error);
};

struct pg_error {
	const char *text;       /* may quote keys and values if there is a sqlstate */
	const char *sqlstate;   /* five characters, or "": the server has not said anything */
	bool lost;              /* the connection went away in the middle */
};

/* A link in CLOSED. */
struct pg_link *pg_link_new(struct event_base *base, const struct pg_link_owner *owner, void *arg);

/* Closes at once; a query under way is over, as lost. NULL is allowed. */
void pg_link_free(struct pg_link *l);

enum pg_state pg_link_state(const struct pg_link *l);

/* In CLOSED: makes a connection of what PQconnectStart returned (taken over). */
void pg_link_connect(struct pg_link *l, PGconn *conn);

/* In IDLE: sends sql with $1 bound to parameter, as text (NULL: there is none). query
 * is the argument of rows and over. */
void pg_link_query(struct pg_link *l, const char *sql, const char *parameter, void *query);

/* In IDLE: closes it. */
void pg_link_close(struct pg_link *l);

/* In RUNNING: no more rows come; over follows within PG_CANCEL_MS. In other states: nothing. */
void pg_link_cancel(struct pg_link *l);

#endif
