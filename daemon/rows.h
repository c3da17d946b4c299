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
	CELL_NUMBER,            /* text: a decimal number as the database prints it: verbatim if JSON knows the
	                           form, else brought into it (+1 01 1. .5); not a finite number -> null */
	CELL_BOOL,              /* text: begins with t, T, or a non-zero number = true */
	CELL_TEXT,
	CELL_JSON,              /* text put in verbatim if it is JSON, as a string if it is not */
	CELL_BLOB,              /* base64 (RFC 4648) string in rows and row; verbatim in value */
};

struct cell {
	enum cell_kind kind;
	const char *text;       /* need not end in a NUL; may be NULL if len is 0 */
	size_t len;             /* CELL_NULL looks at neither */
};

struct rows {
	enum conf_shape shape;
	size_t max_bytes;       /* stop beyond this many bytes of output */
	struct buf out;         /* a whole value after each call that succeeded */
	uint64_t count;         /* rows seen */
	unsigned columns;
	struct buf *labels;     /* rows and row: what stands before the cell of each column: {"a": or ,"b": */
	bool is_null;           /* shape value: the first cell was NULL */
	const char *error;      /* static string, once something failed */
};

/* Begins; shape as configured. Nothing is allocated yet. */
void rows_init(struct rows *r, enum conf_shape shape, size_t max_bytes);

/* Tells the column names, once, before the first row and also when no row will
 * come. No column at all is an error, and so is a duplicate name in shape rows or
 * row. 0 or -1 (r->error). */
int rows_columns(struct rows *r, unsigned n, const char *const *names);

/* Adds one row of r->columns cells. 0; or -1 and r->error is set (too large, no
 * memory, a second row where the shape is row or value, no usable name where it
 * is names). After an error it does nothing but return -1. */
int rows_add(struct rows *r, const struct cell *cells);

/* Ends; cannot fail. Returns true if there is a value (r->out holds it; the caller
 * takes it over with rows_fini still to be called), false if it does not exist: no
 * row for shape row or value, a NULL for value, or r->error is set. No row in shape
 * rows is "[]", in shape names no bytes. */
bool rows_end(struct rows *r);

/* Frees all. */
void rows_fini(struct rows *r);

#endif
