/* Rows with versions; see source.h. */
#include "source.h"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

#define BUSY_MS 20000
#define PAD " ........................................................................................................"
#define COST_MAX 2000           /* SQLite: rows of a recursion; PostgreSQL: microseconds */

struct source {
	sqlite3 *db;
	sqlite3_stmt *bump, *version;
	PGconn *pg;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "source.c: %s: %s\n", what, why);
	abort();
}

/* ---- making ---- */

/* Every fourth key is quick to fetch. */
static char *table_sql(uint32_t n_keys)
{
	struct buf b = BUF_INIT;
	buf_add_str(&b, "DROP TABLE IF EXISTS rows;"
		"CREATE TABLE rows (k TEXT PRIMARY KEY, version INTEGER NOT NULL, cost INTEGER NOT NULL, pad TEXT NOT NULL);");
	for (uint32_t i = 0; i < n_keys; i++)
		buf_addf(&b, "INSERT INTO rows VALUES ('%u', %d, %u, '%s');", i, SOURCE_BASE + 1, i % 4 * COST_MAX / 3, PAD);
	buf_add_char(&b, '\0');
	return b.data;
}

static void open_sqlite(struct source *s, const char *path)
{
	if (sqlite3_open(path, &s->db) != SQLITE_OK)
		die(path, sqlite3_errmsg(s->db));
	sqlite3_busy_timeout(s->db, BUSY_MS);
	sqlite3_exec(s->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF", NULL, NULL, NULL);
}

static void open_postgres(struct source *s, const char *url)
{
	s->pg = PQconnectdb(url);
	if (PQstatus(s->pg) != CONNECTION_OK)
		die(url, PQerrorMessage(s->pg));
	PQclear(PQexec(s->pg, "SET client_min_messages = error; SET synchronous_commit = off"));
}

static void make_rows(struct source *s, uint32_t n_keys)
{
	char *sql = table_sql(n_keys);
	if (s->db && sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		die("rows", sqlite3_errmsg(s->db));
	if (s->pg) {
		PGresult *r = PQexec(s->pg, sql);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			die("rows", PQerrorMessage(s->pg));
		PQclear(r);
	}
	free(sql);
}

void source_make(const char *path, const char *postgres_url, uint32_t n_keys)
{
	struct source s = {0};
	char *url = postgres_url ? xstrdup(postgres_url) : xasprintf("sqlite://%s", path);
	setenv("DATABASE_URL", url, 1);
	if (postgres_url)
		open_postgres(&s, url);
	else
		open_sqlite(&s, path);
	make_rows(&s, n_keys);
	sqlite3_close(s.db);
	PQfinish(s.pg);
	free(url);
}

/* ---- using ---- */

struct source *source_open(void)
{
	struct source *s = xcalloc(1, sizeof(*s));
	const char *url = getenv("DATABASE_URL");
	if (strncmp(url, "sqlite://", 9) != 0) {
		open_postgres(s, url);
		return s;
	}
	open_sqlite(s, url + 9);
	if (sqlite3_prepare_v2(s->db, "UPDATE rows SET version = version + 1 WHERE k = ?1 RETURNING version", -1, &s->bump, NULL)
	    || sqlite3_prepare_v2(s->db, "SELECT version FROM rows WHERE k = ?1", -1, &s->version, NULL))
		die("prepare", sqlite3_errmsg(s->db));
	return s;
}

void source_close(struct source *s)
{
	sqlite3_finalize(s->bump);
	sqlite3_finalize(s->version);
	sqlite3_close(s->db);
	PQfinish(s->pg);
	free(s);
}

static int64_t step_sqlite(sqlite3_stmt *st, const char *key)
{
	int64_t version = -1;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_TRANSIENT);
	if (sqlite3_step(st) == SQLITE_ROW)
		version = sqlite3_column_int64(st, 0) - SOURCE_BASE;
	/* RETURNING: the change is committed by the end of the statement. */
	while (sqlite3_step(st) == SQLITE_ROW)
		;
	return sqlite3_reset(st) == SQLITE_OK ? version : -1;
}

/* A connection that died while it was idle is only noticed when it is used: nothing was done then. */
static int64_t ask_postgres(struct source *s, const char *sql, const char *key)
{
	PGresult *r = PQexecParams(s->pg, sql, 1, NULL, (const char *const[]){key}, NULL, NULL, 0);
	if (PQstatus(s->pg) != CONNECTION_OK) {
		PQreset(s->pg);
		PQclear(r);
		r = PQexecParams(s->pg, sql, 1, NULL, (const char *const[]){key}, NULL, NULL, 0);
	}
	int64_t version = PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1 ? atoll(PQgetvalue(r, 0, 0)) - SOURCE_BASE : -1;
	PQclear(r);
	return version;
}

int64_t source_bump(struct source *s, uint32_t key)
{
	char text[16];
	snprintf(text, sizeof(text), "%u", key);
	return s->db ? step_sqlite(s->bump, text)
		: ask_postgres(s, "UPDATE rows SET version = version + 1 WHERE k = $1 RETURNING version", text);
}

int64_t source_version(struct source *s, uint32_t key)
{
	char text[16];
	snprintf(text, sizeof(text), "%u", key);
	return s->db ? step_sqlite(s->version, text) : ask_postgres(s, "SELECT version FROM rows WHERE k = $1", text);
}

void source_value(char out[SOURCE_VALUE_MAX], int64_t version)
{
	snprintf(out, SOURCE_VALUE_MAX, "%lld" PAD, (long long)version + SOURCE_BASE);
}

int64_t source_parse(const char *value)
{
	char *end;
	long long n = strtoll(value, &end, 10);
	return n > SOURCE_BASE && strcmp(end, PAD) == 0 ? n - SOURCE_BASE : -1;
}
