/* Rows of a database to the bytes of a value, in the shape the type declares.
 * The drivers feed cells with the kind their database gives them; any thread. */
#ifndef CATCACHED_ROWS_H
#define CATCACHED_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../conf/conf.h"
#include "../proto/buf.h"

enum cell_kind {
	CELL_NULL,
	CELL_INTEGER,           /* text: decimal digits, verbatim */
	CELL_NUMBER,            /* text: a decimal number as the database prints it; not finite -> null */
	CELL_BOOL,              /* text: begins with t, T, or a non-zero number = true */
	CELL_TEXT,
	CELL_JSON,              /* text put in verbatim if it is JSON, as a string if it is not */
	CELL_BLOB,              /* base64 (RFC 4648) string in rows and row; verbatim in value */
};

struct cell {
	enum cell_kind kind;
	const char *text;       /* NULL for CELL_NULL */
	size_t len;
};

struct rows {
	enum conf_shape shape;
	size_t max_bytes;       /* stop beyond this many bytes of output */
	struct buf out;
	uint64_t count;         /* rows seen */
	unsigned columns;
	char **names;           /* column names, already as JSON strings with quotes and colon */
	bool is_null;           /* shape value: the first cell was NULL */
	const char *error;      /* static string, once something failed */
};

/* Begins; shape as configured. Nothing is allocated yet. */
void rows_init(struct rows *r, enum conf_shape shape, size_t max_bytes);

/* Tells the column names, once, before the first row. A duplicate name is an error. 0 or -1 (r->error). */
int rows_columns(struct rows *r, unsigned n, const char *const *names);

/* Adds one row of r->columns cells. 0; or -1 and r->error is set (too large, no
 * memory, a second row where the shape is row or value). */
int rows_add(struct rows *r, const struct cell *cells);

/* Ends. Returns true if there is a value (r->out holds it; the caller takes it
 * over with rows_fini still to be called), false if it does not exist: no row
 * for shape row or value, or a NULL for value. No row in shape rows is "[]". */
bool rows_end(struct rows *r);

/* Frees all. */
void rows_fini(struct rows *r);

#endif
