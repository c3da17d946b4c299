/* Finding where replies end in a stream of them, RESP2 or RESP3, and what they hold:
 * for who hands replies on without having to understand them. Pure.
 *
 * reply_scan takes bytes as they come. reply_element walks a whole reply that is there. */
#ifndef CATCACHED_REPLY_SCAN_H
#define CATCACHED_REPLY_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"

/* Begins as {0}. */
struct reply_scan {
	uint64_t owed;                  /* elements still to come of the reply in work; 0: between two replies */
	uint64_t blob;                  /* bytes still to come of a string, its CR LF included */
	char line[REPLY_HEADER_MAX];    /* the beginning of a header line that is not whole yet */
	size_t line_len;
	bool has_failed;                /* these are no replies: the stream is lost */
};

/* Takes bytes of the reply in work, no further than to its end; returns how many, and
 * sets *is_end when that is reached. Fewer than len without *is_end only if has_failed. */
size_t reply_scan(struct reply_scan *s, const char *data, size_t len, bool *is_end);

/* The next byte is the first of a reply. */
static inline bool reply_scan_is_between(const struct reply_scan *s)
{
	return s->owed == 0 && s->blob == 0;
}

/* One element of a reply. */
struct reply_element {
	char type;              /* its first byte: $ * : + - _ % ~ , # ( = > | ! */
	int64_t number;         /* strings: length, -1 for nil; aggregates: elements (a map of n pairs: 2n); : the integer */
	const char *data;       /* strings: their bytes; else the text behind the type */
	size_t len;             /* of data; 0 for nil and aggregates */
};

/* The element at data, which must be whole (its own elements need not be); returns the bytes
 * it takes up, those of an aggregate being its header's. 0: it is not whole, or no reply. */
size_t reply_element(const char *data, size_t len, struct reply_element *e);

/* Bytes of the whole reply at data with all its elements; 0: it is not whole, or no reply. */
size_t reply_length(const char *data, size_t len);

#endif
