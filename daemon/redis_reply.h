/* Replies of Redis as hiredis reads them, but for large strings: these become values as they
 * are read, so that ten megabytes are not copied once more. */
#ifndef CATCACHED_REDIS_REPLY_H
#define CATCACHED_REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "redis_link.h"

struct redisReader;
struct value;

/* Replies that come in piece by piece, one after the other. A large string is written where it is to stay, so that
 * no piece is more work than its own bytes. Begins as {0}. */
struct redis_reading {
	struct redisReader *reader;     /* of all others */
	struct value *large;            /* being filled; NULL: this is none */
	size_t filled;                  /* bytes of it */
	bool has_begun, has_failed;
};

/* Bytes of the reply (RESP2) in work, no further than to its end. */
void redis_reading_add(struct redis_reading *r, const char *data, size_t len);

/* That was its end: calls done with it, or without memory with NULL. r must still be there when done returns, but
 * may have been given up by it. */
void redis_reading_end(struct redis_reading *r, redis_reply_fn done, void *arg);

/* Gives up what is in work, and all memory; then as {0}. */
void redis_reading_fini(struct redis_reading *r);

/* Calls done with the reply (RESP2) in these bytes, which are all of it, if it is no array and short; else returns false. */
bool redis_reply_read_short(const char *data, size_t len, redis_reply_fn done, void *arg);

/* The same, whatever it is. */
void redis_reply_read(const char *data, size_t len, redis_reply_fn done, void *arg);

/* The bytes of a string reply as a value: a reference to where the reply has them
 * if it is large, a copy otherwise; NULL without memory. */
struct value *redis_reply_value(const struct redisReply *reply);

#endif
