/* JSON without building anything: a strict check (RFC 8259) and the outer shape
 * of a text. Written here, not taken from cJSON, because catalogs are 10 MB and
 * more: a tree of one is some 100 MB, and cJSON accepts texts that other parsers
 * refuse. Pure functions; any thread. */
#ifndef CATCACHED_JSON_H
#define CATCACHED_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_MAX_DEPTH 512      /* arrays and objects inside one another */

enum json_kind { JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_NUMBER, JSON_BOOL, JSON_NULL };

struct json_summary {
	enum json_kind kind;    /* of the whole text */
	int64_t items;          /* elements of the outer array, members of the outer object, else 0 */
	bool empty;             /* [], {}, "" or null */
};

struct json_error {
	size_t offset;          /* the first byte no JSON text could have there (of a bad UTF-8
	                           sequence its first); len if the text only ends too soon */
	const char *reason;     /* a static string */
};

/* Checks that the whole of data is exactly one JSON text: grammar, valid UTF-8,
 * nesting up to JSON_MAX_DEPTH, surrounding blanks allowed, nothing behind it
 * (and no byte order mark before it). Escapes of lone surrogates are in the
 * RFC's grammar and pass. 0 and *summary filled, or -1 and *err filled; the
 * other is left alone. Either may be NULL. */
int json_check(const char *data, size_t len, struct json_summary *summary, struct json_error *err);

/* The same check for what Python's json.loads takes: NaN, Infinity and -Infinity are values too. */
int json_check_python(const char *data, size_t len, struct json_error *err);

/* The inside of an array: the bytes between its outer brackets without the
 * blanks around them. Looks at the two ends only (the text is known to be JSON).
 * 0 and *inside (into data), *inside_len (0 for an empty array), or -1 if it is not an array. */
int json_array_inside(const char *data, size_t len, const char **inside, size_t *inside_len);

struct buf;

/* Appends s as a JSON string with its quotes. Each byte that is not part of valid
 * UTF-8 becomes U+FFFD. Lack of memory shows in b->failed. */
void json_add_string(struct buf *b, const char *s, size_t len);

/* The length of the UTF-8 sequence at p (p < end): 1 to 4, or 0 if it is none. */
size_t json_utf8_len(const char *p, const char *end);

#endif
