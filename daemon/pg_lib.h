/* libpq, loaded when a PostgreSQL database is configured and not before: with what it brings along
 * (TLS, Kerberos, LDAP) it is half of an idle daemon's memory, and half of the time it takes to start.
 *
 * Its functions are called as pg.PQclear(...), with libpq's own prototypes. */
#ifndef CATCACHED_PG_LIB_H
#define CATCACHED_PG_LIB_H

#include <libpq-fe.h>

#define PG_FUNCTIONS(X) \
	X(PQcancel) X(PQclear) X(PQconnectPoll) X(PQconnectStartParams) X(PQconninfoFree) X(PQconninfoParse) X(PQconsumeInput) X(PQerrorMessage) \
	X(PQfinish) X(PQflush) X(PQfname) X(PQfreeCancel) X(PQfreemem) X(PQftype) X(PQgetCancel) X(PQgetResult) X(PQgetisnull) X(PQgetlength) \
	X(PQgetvalue) X(PQisBusy) X(PQnfields) X(PQnotifies) X(PQntuples) X(PQresultErrorField) X(PQresultErrorMessage) X(PQresultStatus) \
	X(PQsendQueryParams) X(PQsetNoticeReceiver) X(PQsetSingleRowMode) X(PQsetnonblocking) X(PQsocket) X(PQsslInUse) X(PQstatus) \
	X(PQtransactionStatus) X(PQunescapeBytea)

struct pg_lib {
#define PG_FIELD(name) __typeof__(&name) name;
	PG_FUNCTIONS(PG_FIELD)
#undef PG_FIELD
};
extern struct pg_lib pg;        /* good after pg_lib_load */

/* NULL; or why it cannot be had, for the operator. Once loaded it stays. */
const char *pg_lib_load(void);

#endif
