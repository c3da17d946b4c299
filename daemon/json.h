/* JSON without building anything: a strict check (RFC 8259) and the outer shape
 * of a text. Written here, not taken from cJSON, because catalogs are 10 MB and
 * more: a tree of one is some 100 MB, and cJSON accepts texts that other parsers
 * refuse. Pure functions; any thread. */
#ifndef CATCACHED_JSON_H
#define CATCACHED_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_MAX_DEPTH 512

enum json_kind { JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_NUMBER, JSON_BOOL, JSON_NULL };

struct json_summary {
	enum json_kind kind;    /* of the whole text */
	int64_t items;          /* elements of the outer array, members of the outer object, else 0 */
	bool empty;             /* [], {}, "" or null */
};

struct json_error {
	size_t offset;          /* byte where the text stopped being JSON */
	const char *reason;     /* a static string */
};

/* Checks that the whole of data is exactly one JSON text: grammar, valid UTF-8,
 * nesting up to JSON_MAX_DEPTH, surrounding blanks allowed, nothing behind it.
 * 0 and *summary filled, or -1 and *err filled. Either may be NULL. */
int json_check(const char *data, size_t len, struct json_summary *summary, struct json_error *err);

/* The inside of an array: the bytes between its outer brackets without the
 * blanks around them. Looks at the two ends only (the text is known to be JSON).
 * 0 and *inside, *inside_len (0 for an empty array), or -1 if it is not an array. */
int json_array_inside(const char *data, size_t len, const char **inside, size_t *inside_len);

struct buf;

/* Appends s as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void json_add_string(struct buf *b, const char *s, size_t len);

#endif
