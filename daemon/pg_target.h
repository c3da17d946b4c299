/* Where a PostgreSQL URL leads, as parameters for libpq, and the looking up of its
 * host names before libpq does it: libpq would block the loop. (Not covered: hosts
 * that only a service file names. Give addresses there.) */
#ifndef CATCACHED_PG_TARGET_H
#define CATCACHED_PG_TARGET_H

#include <libpq-fe.h>
#include <stdbool.h>

struct event_base;
struct pg_target;

/* error is NULL, or a sentence that lives during the call. */
typedef void (*pg_target_done_fn)(void *arg, const char *error);

/* url is anything libpq takes; sessions are made read-only. Returns NULL if libpq
 * does not understand it. */
struct pg_target *pg_target_new(const char *url);

/* A look-up under way is abandoned. NULL is allowed. */
void pg_target_free(struct pg_target *t);

/* True if there are names to look up before each pg_target_connect. */
bool pg_target_has_names(const struct pg_target *t);

/* Looks them up on a thread; done is called once, from the loop, never before this
 * has returned, unless the target is freed first. One at a time. 0 or -1 (errno). */
int pg_target_look_up(struct pg_target *t, struct event_base *base, pg_target_done_fn done, void *arg);

/* PQconnectStart: a connection for PQconnectPoll, perhaps a failed one; NULL without memory. */
PGconn *pg_target_connect(const struct pg_target *t);

/* The host that is tried first does not answer: from the next look-up and connect on
 * it comes last. (libpq goes to the next host when one refuses, but not when one is
 * silent: that is left to the caller's patience.) */
void pg_target_skip(struct pg_target *t);

#endif
