/* A read-only connection to a SQLite file. It blocks, so it is for worker threads,
 * one at a time. */
#ifndef CATCACHED_SQLITE_CONN_H
#define CATCACHED_SQLITE_CONN_H

#include <stdatomic.h>
#include <stdbool.h>

struct fetch_order;
struct fetch_result;
struct sqlite_conn;

/* Not opened yet. */
struct sqlite_conn *sqlite_conn_new(const char *path);

/* NULL is allowed. */
void sqlite_conn_free(struct sqlite_conn *c);

/* Runs the order's statement, opening the file first if it is not open or has been
 * replaced, and fills *result (the value with a reference for the caller). Ends soon
 * once *stop is true; the result is then a failure that nobody should see. */
void sqlite_conn_fetch(struct sqlite_conn *c, const struct fetch_order *order, const atomic_bool *stop,
	struct fetch_result *result);

#endif
