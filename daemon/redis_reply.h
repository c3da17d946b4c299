/* Replies of Redis as hiredis reads them, but for large strings: these become values as they
 * are read, so that ten megabytes are not copied once more. */
#ifndef CATCACHED_REDIS_REPLY_H
#define CATCACHED_REDIS_REPLY_H

#include <stddef.h>

#include "redis_link.h"

struct redisReader;
struct value;

/* From now on reader makes such replies; they are to be freed by its own functions. */
void redis_reply_use_values(struct redisReader *reader);

/* Calls done with the reply (RESP2) in these bytes, which are all of it. */
void redis_reply_read(const char *data, size_t len, redis_reply_fn done, void *arg);

/* The bytes of a string reply as a value: a reference to where the reply has them
 * if it is large, a copy otherwise; NULL without memory. */
struct value *redis_reply_value(const struct redisReply *reply);

#endif
