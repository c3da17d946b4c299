/* The canonical key of a request context: 16 hex digits equal to Python's
 *   hashlib.blake2b(json.dumps(ctx, sort_keys=True).encode(), digest_size=8).hexdigest()
 * where ctx = json.loads(text). So everything json.loads accepts in UTF-8 is
 * accepted (NaN, Infinity, lone surrogates, integers of up to 4300 digits), later
 * duplicates of a member win, keys sort by code point, floats print as repr().
 * One limit is ours: nesting up to JSON_MAX_DEPTH, where Python gives up somewhere
 * before 1000, depending on the caller's stack. Pure functions; any thread, as
 * long as LC_NUMERIC is the "C" it is unless setlocale is called. */
#ifndef CATCACHED_HASHKEY_H
#define CATCACHED_HASHKEY_H

#include <stddef.h>

#define HASHKEY_LEN 16

struct buf;

/* Appends the canonical text (what json.dumps gives; ASCII) of the JSON text.
 * 0; or -1, *reason set to a static string and out as it was. Needs some 20
 * times len bytes of memory while it runs. */
int hashkey_canonical(struct buf *out, const char *text, size_t len, const char **reason);

/* The key of a JSON text: 16 lower case hex digits and a NUL in hex.
 * 0, or -1 and *reason set to a static string. */
int hashkey(char hex[HASHKEY_LEN + 1], const char *text, size_t len, const char **reason);

#endif
