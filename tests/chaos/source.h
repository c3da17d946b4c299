/* The truth of the chaos tests: a table of rows with growing versions, in SQLite (WAL) or
 * PostgreSQL, as $DATABASE_URL says. One connection for each thread. */
#ifndef CATCACHED_TESTS_SOURCE_H
#define CATCACHED_TESTS_SOURCE_H

#include <stdint.h>

struct source;

#define SOURCE_BASE 1000000             /* versions are written from here on: all have seven digits */
#define SOURCE_VALUE_MAX 256

/* The fetch of the sourced type, for the configuration: its value is as of source_value. The row
 * is read at the beginning, and the answer given a while later (how long depends on the key). */
#define SOURCE_SQL_SQLITE \
	"SELECT version || pad FROM rows WHERE k = :name AND (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL" \
	" SELECT x + 1 FROM c WHERE x < cost) SELECT count(*) FROM c) > 0"
#define SOURCE_SQL_POSTGRES \
	"SELECT version || pad FROM rows WHERE k = :name AND pg_sleep(cost / 1000000.0) IS NOT NULL"

/* Makes the table, with keys 0 to n_keys - 1 at version 1. Sets $DATABASE_URL for SQLite at path
 * if postgres_url is NULL. */
void source_make(const char *path, const char *postgres_url, uint32_t n_keys);

/* Fails the process when it cannot. */
struct source *source_open(void);
void source_close(struct source *s);

/* The next version of key; -1 if the database does not take it. */
int64_t source_bump(struct source *s, uint32_t key);

/* The present one. */
int64_t source_version(struct source *s, uint32_t key);

/* What a version looks like as a value, and back: CHECKER_NIL (0) for what is none. */
void source_value(char out[SOURCE_VALUE_MAX], int64_t version);
int64_t source_parse(const char *value);

#endif
