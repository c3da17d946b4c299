/* A private PostgreSQL cluster for tests, in a temporary folder, reached only through
 * a Unix socket in it. Run by the user postgres if we are root, which it refuses to
 * be. Works across fork: what one process does to the server the others see. A
 * function that cannot do what it says ends the process with a message. */
#ifndef CATCACHED_TESTS_POSTGRES_H
#define CATCACHED_TESTS_POSTGRES_H

#include <stdbool.h>

struct postgres;

/* Makes a cluster (1-2 s) and starts its server. When this process and those it has
 * forked are gone, however they went, so are the server and the folder. */
struct postgres *postgres_start(void);

/* A URL of its database, for libpq. Lives until postgres_free. */
const char *postgres_url(const struct postgres *pg);

/* Executes statements. */
void postgres_sql(const struct postgres *pg, const char *sql);

/* The integer that a query gives. */
long postgres_integer(const struct postgres *pg, const char *sql);

/* Ends all sessions and the server, and starts it again; each has happened on return. */
void postgres_stop_fast(struct postgres *pg);
void postgres_start_again(struct postgres *pg);

/* SIGSTOP for the server and all sessions: connections stay, nothing answers. */
void postgres_freeze(struct postgres *pg);
void postgres_thaw(struct postgres *pg);

/* The state after postgres_start, whatever a test that failed has left. */
void postgres_restore(struct postgres *pg);

/* Ends the server and removes the folder; for who called postgres_start. NULL is allowed. */
void postgres_free(struct postgres *pg);

#endif
