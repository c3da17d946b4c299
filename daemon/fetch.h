/* Where a value comes from when no tier has it: one interface, four drivers
 * behind it (fetch_sqlite.c, fetch_postgres.c, fetch_exec.c, fetch_assemble.c).
 * The catalog sees only fetch_start. A driver neither stores nor judges values. */
#ifndef CATCACHED_FETCH_H
#define CATCACHED_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../conf/conf.h"
#include "breaker.h"

struct event_base;
struct fetcher;
struct value;
struct workers;

#define FETCH_MAX_BYTES ((size_t)256 << 20)     /* no fetched value may be larger, stored or not */
#define FETCH_MAX_WAITING 10000                 /* orders a driver queues behind those that run */
#define FETCH_ERROR_MAX 256
#define FETCH_CAUSE_MAX 128

enum fetch_status { FETCH_FOUND, FETCH_ABSENT, FETCH_FAILED };

/* What came of a fetch. Lives during the callback; value is the callback's to
 * value_ref if it keeps it. */
struct fetch_result {
	enum fetch_status status;
	struct value *value;            /* FETCH_FOUND */
	/* FETCH_FAILED: */
	enum breaker_outcome source;    /* what it shows of the type's query or program */
	bool was_refused;               /* it was not asked: it is left alone for a while */
	char error[FETCH_ERROR_MAX];    /* a line that names the cause, for who asked: the source's own words may quote keys and values */
	char cause[FETCH_CAUSE_MAX];    /* the same for the log, without them; "": they are not in error */
};

/* What may be logged of a failure. */
static inline const char *fetch_cause(const struct fetch_result *r)
{
	return r->cause[0] ? r->cause : r->error;
}

/* How a source is: closed, open or half_open (see breaker.h), and if it has failed several
 * times in a row the cause of its last failure; else "". */
struct fetch_health {
	const char *state, *cause;
};

typedef void (*fetch_done_fn)(void *arg, const struct fetch_result *result);

/* What is wanted. The driver copies sql and name before fetch_start returns. */
struct fetch_order {
	const struct conf_type *type;
	const char *sql;                /* for the SQL drivers; else unused */
	enum conf_shape shape;
	const char *name;               /* the {name} of the key, NUL-terminated; "" for an exact key */
	int64_t timeout_ms;             /* from now, waiting for a connection included */
};

/* A driver: how to make one order run. start calls done exactly once, from the
 * loop and never before it has returned, at the latest a little after the
 * timeout. free completes all that is under way as FETCH_FAILED first; nothing
 * may be started from those callbacks. */
struct fetch_driver {
	const char *name;               /* sqlite, postgres, exec, assemble */
	const char *trial;              /* SQL that works wherever the database does; NULL: not a driver of SQL */
	void (*start)(void *self, const struct fetch_order *order, fetch_done_fn done, void *arg);
	void (*free)(void *self);
	/* Whether its connections can be made; NULL: it has none. */
	struct fetch_health (*health)(const void *self);
};

/* How the assemble driver asks the catalog for a part: the value of name under
 * type, through its tiers. done is called exactly once, possibly before it returns. */
typedef void (*fetch_part_fn)(void *catalog, const struct conf_type *type, const char *name,
	fetch_done_fn done, void *arg);

/* The drivers that conf needs; conf outlives the fetcher. The database is tried, and the log
 * tells if it cannot be asked: that is known before the first key is missed. cpu is the pool for joining
 * parts and copying large values; it outlives the fetcher too, and so do the jobs that
 * are in it then. NULL (errno) when the system has no thread or descriptor left. */
struct fetcher *fetcher_new(struct event_base *base, const struct conf *conf, struct workers *cpu,
	fetch_part_fn part, void *catalog);

/* f takes the place of before, NULL or not, which it owns from now on: that ends what it has begun, and is freed by a
 * fetcher_tidy after it. */
void fetcher_succeed(struct fetcher *f, struct fetcher *before);

/* Called at short intervals, not from callbacks of fetches. */
void fetcher_tidy(struct fetcher *f);

/* Completes all fetches as FETCH_FAILED first; nothing may be started from those
 * callbacks, and it is not to be called from one. Parts that assemble still waits for
 * may come after it. NULL is allowed. */
void fetcher_free(struct fetcher *f);

/* Starts the fetch that type declares for name (type->fetch.kind is not NONE). Where f is of a configuration after
 * the type's, and that has no such source, it fails. A type
 * whose query or program failed for several keys in a row is left alone for a while: then the
 * fetch fails at once, see breaker.h. done
 * is called exactly once, from the loop, never before this has returned. */
void fetch_start(struct fetcher *f, const struct conf_type *type, const char *name,
	fetch_done_fn done, void *arg);

/* What the program of this process group is fetching now, good until the next call; NULL: nothing. */
const struct fetch_order *fetch_run_by(const struct fetcher *f, pid_t group);
const struct fetch_order *fetch_exec_run_by(const void *self, pid_t group);

/* How the connections to the database are, and how the query or program of a type is. The
 * texts live as long as the fetcher, but change. */
struct fetch_health fetch_database_health(const struct fetcher *f);
struct fetch_health fetch_type_health(const struct fetcher *f, const struct conf_type *type);

/* Constructors of the drivers; each stores its self and returns its table, or NULL (errno). */
const struct fetch_driver *fetch_sqlite_new(struct event_base *base, const struct conf_database *conf, void **self);
const struct fetch_driver *fetch_postgres_new(struct event_base *base, struct workers *cpu,
	const struct conf_database *conf, void **self);
const struct fetch_driver *fetch_exec_new(struct event_base *base, struct workers *cpu, void **self);

/* sql lists the parts; it is the caller's and freed after the assemble driver. */
struct fetch_assemble_options {
	struct workers *cpu;
	const struct fetch_driver *sql;
	void *sql_self;
	fetch_part_fn part;
	void *catalog;
};
const struct fetch_driver *fetch_assemble_new(struct event_base *base,
	const struct fetch_assemble_options *options, void **self);

/* Takes out of a database's message what stands between quotes (" or ') or brackets,
 * because a value may be quoted there. */
void fetch_redact(char *message);

#endif
