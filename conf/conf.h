/* The configuration: catcached.yaml read, expanded, checked and typed. What each
 * key means is told once, in the tables of schema.c (name, kind, default, bounds,
 * help); the loader, the manual-page check and this struct follow them.
 *
 * A struct conf is immutable once loaded and owned by whoever loaded it. Durations
 * are milliseconds, sizes are bytes. */
#ifndef CATCACHED_CONF_H
#define CATCACHED_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define CONF_KEY_MAX 4096       /* bytes of a cache key */
#define CONF_OWN_PREFIX "catcached:"    /* the daemon's own keys in Redis; no type may claim them */

enum conf_format { CONF_RAW, CONF_JSON };
enum conf_shape { CONF_ROWS, CONF_ROW, CONF_VALUE,
	CONF_NAMES              /* not from YAML: the first column, each name NUL-terminated, for assemble */
};
enum conf_fetch_kind { CONF_FETCH_NONE, CONF_FETCH_SQL, CONF_FETCH_EXEC, CONF_FETCH_ASSEMBLE };
enum conf_database_kind { CONF_DATABASE_OFF, CONF_DATABASE_SQLITE, CONF_DATABASE_POSTGRES };

struct conf_fetch {
	enum conf_fetch_kind kind;
	char *sql;                      /* of sql or of assemble, with :name parameters; else NULL */
	enum conf_shape shape;
	char **exec;                    /* NULL-terminated argv, or NULL */
	char *from;                     /* assemble: the type of the parts, or NULL */
	const struct conf_type *from_type;      /* the same, resolved; points into the same conf */
	int64_t timeout_ms;             /* default: database.timeout */
	int64_t soft_timeout_ms;        /* after so long a stale value is served instead; 0: never */
};

struct conf_type {
	char *name;
	unsigned index;                 /* its place in tables by type: see conf.n_places */
	char *key;                      /* as written: models:gateway:{name} */
	size_t prefix_len;              /* bytes of key before {name}; the whole key when exact */
	bool exact;                     /* no {name} */
	int64_t ttl_ms;                 /* 0: none, lives until removed */
	int64_t memory_ttl_ms;          /* 0: none; never more than ttl_ms */
	bool in_memory, in_redis;       /* tiers, as configured (redis may still be off) */
	uint64_t max_entries;           /* 0: bounded by memory.limit alone */
	uint64_t max_value;
	enum conf_format format;
	bool refuse_empty;
	int64_t negative_ttl_ms;        /* 0: not remembered */
	double jitter;                  /* 0..1: the part of ttl that chance may take off */
	bool hash_names;
	int64_t stale_while_revalidate_ms;      /* RFC 5861; 0: off, as for the next three */
	int64_t stale_if_error_ms;      /* RFC 5861 */
	double refresh_ahead;           /* 0..1: a hit after this part of the ttl starts a refresh */
	double max_shrink;              /* 0..1: a fetched value smaller by more than this part is refused */
	const struct conf_type **invalidates;   /* types cleared after this one, through all their own too; points into the same conf */
	size_t n_invalidates;
	int64_t debounce_ms;            /* how long invalidations of those are collected; 0: not at all */
	char **warm;                    /* names of keys to be loaded at the start, NULL-terminated; NULL: none */
	struct conf_fetch fetch;
	const struct conf_type *shorter;        /* conf_match's: the type with the longest prefix that
	                                         * begins this one's, or NULL */
};

struct conf_redis {
	bool off;
	char *url;                      /* as given, expanded; may hold a password: never log it; NULL when off */
	char *unix_path;                /* or NULL: TCP */
	char *host;                     /* TCP: a name or an address, without brackets; else NULL */
	uint16_t port;
	char *user, *password;          /* NULL if none */
	unsigned db;
	int64_t connect_timeout_ms, timeout_ms;
	bool pass_through;              /* commands and keys that are none of ours go to Redis as they are */
};

struct conf_database {
	enum conf_database_kind kind;
	char *url;                      /* PostgreSQL: a libpq URI as given, perhaps with a password;
	                                 * SQLite: the path, absolute or not; off: NULL */
	unsigned connections;
	int64_t timeout_ms;
};

struct conf {
	struct conf *before;            /* for whoever keeps those before it; not conf_free's */
	char *file;
	char *listen_path;
	mode_t listen_mode;
	bool has_listen_group;
	gid_t listen_group;
	unsigned max_clients;
	uint64_t max_request;           /* bytes of one argument of a request */
	uint64_t max_output;            /* bytes owed to one client */
	uint64_t max_output_total;      /* and to all */
	int64_t idle_timeout_ms;        /* 0: none */
	char *admin_host;               /* NULL: no HTTP port; without brackets */
	uint16_t admin_port;            /* 0: one that is free */
	uid_t *admin_users;             /* who may run admin commands, besides the daemon's own user */
	size_t n_admin_users;
	uint64_t memory_limit;
	char *snapshot;                 /* the file of it; or NULL */
	char *guard;                    /* while this key exists in Redis nothing fetched is stored; or NULL */
	int64_t warm_timeout_ms;        /* of the warm lists at the start */
	struct conf_redis redis;
	struct conf_database database;
	char *log_level;                /* error, warning, info, debug */
	char *log_format;               /* logfmt, json */
	struct conf_type *types;        /* in the order of the file */
	size_t n_types;
	unsigned n_places;              /* of tables by type: more than every type.index, */
	unsigned undeclared;            /* and the place for keys of no type */
	struct conf_type **by_prefix;   /* conf_match's: the same, in the order of their prefixes */
};

/* All that is wrong with a file, in the order of its lines. Begins as {0}. */
struct conf_errors {
	char **lines;                   /* "file:line:column: message" */
	size_t n;
};

/* Reads and checks file. Never stops at the first error; only a file that is not
 * YAML, or cannot be read, hides what else is wrong. Looks up users and groups,
 * which may block. Returns the configuration (to be freed with conf_free), or NULL
 * with at least one error added to errors. No error shows a password. */
struct conf *conf_load(const char *file, struct conf_errors *errors);
void conf_free(struct conf *c);

/* c is to follow before: types that are the same still get the places that they had, all others places that no type
 * has had; so what is kept by place goes on to mean the same. A type is the same still while name, key, hash_names, format
 * and tiers are. Called once, before c is used. */
void conf_succeed(struct conf *c, const struct conf *before);

/* Gives c what cannot change while the daemon runs (its socket and its HTTP port) as before has it, and tells kept of
 * each key that says otherwise. */
typedef void (*conf_kept_fn)(const char *key);
void conf_keep_fixed(struct conf *c, const struct conf *before, conf_kept_fn kept);

/* A connection made for a will do for b. */
bool conf_is_same_redis(const struct conf_redis *a, const struct conf_redis *b);

/* The types of c that before does not have; those of before that c does not have; and those of both of which a key
 * of the file has another value. A type that is not the same still (conf_succeed) is one that is gone and one that is new.
 * c has succeeded before. */
struct conf_changes {
	size_t added, removed, changed;
};
struct conf_changes conf_changes(const struct conf *c, const struct conf *before);

void conf_errors_free(struct conf_errors *errors);

/* The type that declares key: the longest literal prefix wins, an exact key before
 * any prefix of the same length. A {name} must not be empty. NULL if none does. */
const struct conf_type *conf_match(const struct conf *c, const char *key, size_t len);

/* The type of that name, or NULL. */
const struct conf_type *conf_type_named(const struct conf *c, const char *name, size_t len);

/* Writes every configuration key, a line each, in three columns with two or more
 * blanks between: full name; kind, bounds and default; help (all from the tables). */
void conf_describe(FILE *out);

#endif
