/* The reply side of the protocol: RESP2 and RESP3 encoding into a buf. Pure.
 * resp is the connection's version, 2 or 3: where the two differ the function
 * takes it and writes the type a RESP3 client expects.
 *
 * Each call appends a whole element or, when there is no memory, nothing and sets
 * b->failed: check it once, at the end. After array, map and set the caller
 * appends the elements announced. */
#ifndef CATCACHED_REPLY_H
#define CATCACHED_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

#define REPLY_HEADER_MAX 32     /* the longest header line: type, 20 digits, \r\n */

/* Writes "<type><n>\r\n" at to (REPLY_HEADER_MAX bytes, not terminated); returns its length.
 * For a bulk whose data is sent from where it lies. */
size_t reply_header(char *to, char type, int64_t n);

void reply_add_simple(struct buf *b, const char *text);                 /* +text, which has no CR or LF */
/* -text. CR and LF at its ends go, those inside become blanks. text begins with its code: "ERR ...". */
void reply_add_error(struct buf *b, const char *text);
void reply_add_integer(struct buf *b, int64_t n);                       /* :n */
void reply_add_bulk(struct buf *b, const void *data, size_t len);       /* $len data */
void reply_add_bulk_str(struct buf *b, const char *s);
void reply_add_array(struct buf *b, size_t n);                          /* *n, then n replies */
void reply_add_null(struct buf *b, int resp);                           /* $-1 or _ */
void reply_add_null_array(struct buf *b, int resp);                     /* *-1 or _ */
void reply_add_map(struct buf *b, int resp, size_t pairs);              /* *2n or %n, then key, value, ... */
void reply_add_set(struct buf *b, int resp, size_t n);                  /* *n or ~n */
void reply_add_bool(struct buf *b, int resp, bool value);               /* :1 or #t */
void reply_add_double(struct buf *b, int resp, double value);           /* bulk or , with the shortest digits that read back */
void reply_add_verbatim(struct buf *b, int resp, const char *text, size_t len); /* bulk or =len txt: */

#endif
