/* Rows from a SQLite file; see sqlite_conn.h. fetch_sqlite.c calls it from its worker
 * threads. After any failure the file is closed, and the next fetch begins anew: what
 * was wrong with it may have been repaired. */
#include "sqlite_conn.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "../proto/buf.h"
#include "fetch.h"
#include "rows.h"
#include "value.h"

#define STATEMENTS 16           /* prepared statements kept */
#define STEPS_PER_LOOK 1000     /* of SQLite's machine between two looks at stop (some 20 us) */
#define BUSY_SLEEP_MAX_MS 20
#define NUMBER_MAX 32

struct statement {
	char *sql;
	sqlite3_stmt *prepared;
};

struct sqlite_conn {
	char *path;
	sqlite3 *db;                    /* NULL: to be opened */
	dev_t dev;                      /* of the file that is open */
	ino_t ino;
	struct statement statements[STATEMENTS];
	unsigned oldest;                /* counts replacements of them */

	const atomic_bool *stop;        /* of the fetch that runs, and what comes of it */
	struct fetch_result *result;
};

/* ---- failing ---- */

static int fail(struct sqlite_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct sqlite_conn *c, const char *fmt, ...)
{
	va_list ap;
	c->result->status = FETCH_FAILED;
	c->result->source = BREAKER_FAILED;
	va_start(ap, fmt);
	vsnprintf(c->result->error, sizeof(c->result->error), fmt, ap);
	va_end(ap);
	return -1;
}

/* What SQLite says. Errors of the SQL are plain from that; those of the file want its
 * path and the system's word. */
static int fail_database(struct sqlite_conn *c)
{
	const char *reason = sqlite3_errmsg(c->db);
	int system_error = sqlite3_system_errno(c->db), code = sqlite3_errcode(c->db);
	snprintf(c->result->cause, sizeof(c->result->cause), "SQLite error %d (%s)", code, sqlite3_errstr(code));
	if (code == SQLITE_ERROR)
		return fail(c, "%s", reason);
	if (system_error == 0)
		return fail(c, "%s: %s", reason, c->path);
	return fail(c, "%s: %s: %s", reason, c->path, strerrordesc_np(system_error));
}

/* A statement that is good failed, so it was this value that it could not do; the message may quote it. */
static int fail_step(struct sqlite_conn *c)
{
	fail_database(c);
	if (sqlite3_errcode(c->db) == SQLITE_ERROR) {
		c->result->source = BREAKER_ANSWERED;
		fetch_redact(c->result->error);
	}
	return -1;
}

/* ---- the file ---- */

static int on_progress(void *arg)
{
	struct sqlite_conn *c = arg;
	return atomic_load(c->stop);
}

/* Another process holds a lock that excludes us: wait for it as long as somebody waits for us. */
static int on_busy(void *arg, int tries)
{
	struct sqlite_conn *c = arg;
	int ms = tries < BUSY_SLEEP_MAX_MS ? tries + 1 : BUSY_SLEEP_MAX_MS;
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
	return !atomic_load(c->stop);
}

static void close_file(struct sqlite_conn *c)
{
	for (unsigned i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(c->statements[i].prepared);
		free(c->statements[i].sql);
		c->statements[i] = (struct statement){0};
	}
	sqlite3_close(c->db);
	c->db = NULL;
}

static int open_file(struct sqlite_conn *c, const struct stat *file)
{
	int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
	if (sqlite3_open_v2(c->path, &c->db, flags, NULL) != SQLITE_OK)
		return c->db ? fail_database(c) : fail(c, "out of memory");
	c->dev = file->st_dev;
	c->ino = file->st_ino;
	sqlite3_progress_handler(c->db, STEPS_PER_LOOK, on_progress, c);
	sqlite3_busy_handler(c->db, on_busy, c);
	sqlite3_limit(c->db, SQLITE_LIMIT_LENGTH, (int)FETCH_MAX_BYTES);
	/* Belt and braces: the file is open for reading only. And a cache of pages for each
	 * connection is memory spent twice: the kernel has one. */
	if (sqlite3_exec(c->db, "PRAGMA query_only = on; PRAGMA cache_size = -32", NULL, NULL, NULL) != SQLITE_OK)
		return fail_database(c);
	return 0;
}

/* Opens the file if it is not open, or is not the file any more that the path names. */
static int ensure_open(struct sqlite_conn *c)
{
	struct stat file;
	if (stat(c->path, &file) < 0)
		return fail(c, "unable to open database file: %s: %s", c->path, strerrordesc_np(errno));
	if (c->db && (file.st_dev != c->dev || file.st_ino != c->ino))
		close_file(c);
	return c->db ? 0 : open_file(c, &file);
}

/* ---- statements ---- */

/* What follows the first statement may only be blanks and comments. */
static int check_tail(struct sqlite_conn *c, const char *tail)
{
	sqlite3_stmt *more = NULL;
	while (*tail && !more)
		if (sqlite3_prepare_v2(c->db, tail, -1, &more, &tail) != SQLITE_OK)
			return fail_database(c);
	sqlite3_finalize(more);
	return more ? fail(c, "more than one SQL statement") : 0;
}

static int check_parameters(struct sqlite_conn *c, sqlite3_stmt *s)
{
	for (int i = 1; i <= sqlite3_bind_parameter_count(s); i++) {
		const char *name = sqlite3_bind_parameter_name(s, i);
		if (!name || strcmp(name, ":name") != 0)
			return fail(c, "unknown SQL parameter: the only one is :name");
	}
	return 0;
}

static int check_statement(struct sqlite_conn *c, sqlite3_stmt *s)
{
	if (!s)
		return fail(c, "no SQL statement");
	if (!sqlite3_stmt_readonly(s))
		return fail(c, "the SQL statement writes");
	return check_parameters(c, s);
}

static sqlite3_stmt *prepare(struct sqlite_conn *c, const char *sql)
{
	sqlite3_stmt *s = NULL;
	const char *tail;
	if (sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, &tail) != SQLITE_OK) {
		fail_database(c);
		return NULL;
	}
	if (check_statement(c, s) == 0 && check_tail(c, tail) == 0)
		return s;
	sqlite3_finalize(s);
	return NULL;
}

/* The prepared statement, from the few that are kept or new. They are the types'
 * statements, so in practice none is replaced. */
static sqlite3_stmt *find_statement(struct sqlite_conn *c, const char *sql)
{
	for (unsigned i = 0; i < STATEMENTS; i++)
		if (c->statements[i].sql && strcmp(c->statements[i].sql, sql) == 0)
			return c->statements[i].prepared;
	sqlite3_stmt *prepared = prepare(c, sql);
	if (!prepared)
		return NULL;
	struct statement *s = &c->statements[c->oldest++ % STATEMENTS];
	sqlite3_finalize(s->prepared);
	free(s->sql);
	*s = (struct statement){.sql = xstrdup(sql), .prepared = prepared};
	return prepared;
}

/* ---- rows ---- */

/* The kind of a cell is that of its value. SQLite has no values for JSON and booleans,
 * so for them the column's declaration counts. (JSON made by an expression has a
 * subtype, but loses it where the plan sorts: a column would change its form.) */
struct column {
	enum { DECLARED_OTHER, DECLARED_BOOL, DECLARED_JSON } declared;
	char number[NUMBER_MAX];        /* text of a floating-point cell */
};

static void column_init(struct column *column, const char *declared)
{
	column->declared = DECLARED_OTHER;
	if (!declared)
		return;
	if (strcasecmp(declared, "boolean") == 0 || strcasecmp(declared, "bool") == 0)
		column->declared = DECLARED_BOOL;
	else if (strcasecmp(declared, "json") == 0 || strcasecmp(declared, "jsonb") == 0)
		column->declared = DECLARED_JSON;
}

/* The shortest decimal that reads back as x, with a point or an exponent to tell it
 * from an integer. What is not finite becomes inf, which rows.c makes null. */
static void format_number(char text[NUMBER_MAX], double x)
{
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, NUMBER_MAX, "%.*g", digits, x);
		if (strtod(text, NULL) == x)
			break;
	}
	if (!text[strspn(text, "-0123456789")])
		strcat(text, ".0");
}

static enum cell_kind cell_kind(sqlite3_stmt *s, int i, const struct column *column)
{
	switch (sqlite3_column_type(s, i)) {
	case SQLITE_NULL:
		return CELL_NULL;
	case SQLITE_FLOAT:
		return CELL_NUMBER;
	case SQLITE_BLOB:
		return CELL_BLOB;
	case SQLITE_INTEGER:
		if (column->declared == DECLARED_BOOL && (sqlite3_column_int64(s, i) & ~1) == 0)
			return CELL_BOOL;
		return CELL_INTEGER;
	default:
		return column->declared == DECLARED_JSON ? CELL_JSON : CELL_TEXT;
	}
}

static void read_cell(sqlite3_stmt *s, int i, struct column *column, struct cell *cell)
{
	*cell = (struct cell){.kind = cell_kind(s, i, column)};
	if (cell->kind == CELL_NULL)
		return;
	if (cell->kind == CELL_NUMBER) {
		format_number(column->number, sqlite3_column_double(s, i));
		cell->text = column->number;
		cell->len = strlen(column->number);
		return;
	}
	/* NULL for an empty blob, and without memory; the length is then 0. */
	const void *bytes = cell->kind == CELL_BLOB ? sqlite3_column_blob(s, i) : sqlite3_column_text(s, i);
	cell->text = bytes;
	cell->len = (size_t)sqlite3_column_bytes(s, i);
}

static int tell_columns(struct rows *rows, sqlite3_stmt *s, struct column *columns, int n)
{
	const char **names = xcalloc((size_t)n, sizeof(*names));
	for (int i = 0; i < n; i++) {
		column_init(&columns[i], sqlite3_column_decltype(s, i));
		names[i] = sqlite3_column_name(s, i);
	}
	int result = rows_columns(rows, (unsigned)n, names);
	free(names);
	return result;
}

static int add_row(struct rows *rows, sqlite3_stmt *s, struct column *columns, struct cell *cells, int n)
{
	for (int i = 0; i < n; i++)
		read_cell(s, i, &columns[i], &cells[i]);
	if (sqlite3_errcode(sqlite3_db_handle(s)) == SQLITE_NOMEM) {
		rows->error = "out of memory";
		return -1;
	}
	return rows_add(rows, cells);
}

/* The columns are asked for after the first step, which is when a changed schema shows. */
static int step_all(struct sqlite_conn *c, sqlite3_stmt *s, struct rows *rows)
{
	int state = sqlite3_step(s);
	if (state != SQLITE_ROW && state != SQLITE_DONE)
		return fail_step(c);
	int n = sqlite3_column_count(s);
	struct column *columns = xcalloc((size_t)n, sizeof(*columns));
	struct cell *cells = xcalloc((size_t)n, sizeof(*cells));
	int result = tell_columns(rows, s, columns, n);
	for (; result == 0 && state == SQLITE_ROW && !atomic_load(c->stop); state = sqlite3_step(s))
		result = add_row(rows, s, columns, cells, n);
	free(columns);
	free(cells);
	if (result < 0)
		return fail(c, "%s", rows->error);
	return state == SQLITE_DONE ? 0 : fail_step(c);
}

static int make_value(struct sqlite_conn *c, struct rows *rows)
{
	c->result->status = FETCH_ABSENT;
	if (!rows_end(rows))
		return 0;
	c->result->status = FETCH_FOUND;
	c->result->value = value_from_buf(&rows->out);
	return c->result->value ? 0 : fail(c, "out of memory");
}

static int fetch_rows(struct sqlite_conn *c, const struct fetch_order *order)
{
	sqlite3_stmt *s = find_statement(c, order->sql);
	if (!s)
		return -1;
	int name = sqlite3_bind_parameter_index(s, ":name");
	if (name > 0 && sqlite3_bind_text(s, name, order->name, -1, SQLITE_STATIC) != SQLITE_OK)
		return fail_database(c);
	struct rows rows;
	rows_init(&rows, order->shape, FETCH_MAX_BYTES);
	int result = step_all(c, s, &rows);
	(void)sqlite3_reset(s);         /* repeats the error of the step */
	(void)sqlite3_clear_bindings(s);
	if (result == 0)
		result = make_value(c, &rows);
	rows_fini(&rows);
	return result;
}

/* ---- the whole ---- */

void sqlite_conn_fetch(struct sqlite_conn *c, const struct fetch_order *order, const atomic_bool *stop,
	struct fetch_result *result)
{
	c->stop = stop;
	c->result = result;
	*result = (struct fetch_result){.status = FETCH_FAILED};
	if (ensure_open(c) < 0 || fetch_rows(c, order) < 0)
		close_file(c);
}

struct sqlite_conn *sqlite_conn_new(const char *path)
{
	struct sqlite_conn *c = xcalloc(1, sizeof(*c));
	c->path = xstrdup(path);
	return c;
}

void sqlite_conn_free(struct sqlite_conn *c)
{
	if (!c)
		return;
	close_file(c);
	free(c->path);
	free(c);
}
