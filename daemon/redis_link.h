/* One connection to Redis on the loop: connecting, handshake, deadlines and coming
 * back. What the commands mean is redis.c's business.
 *
 * hiredis (0.14 and 1.x) does the parsing and the buffering; what it does not have
 * is here: a time-out for commands, reconnecting, look-ups that do not block, and
 * large replies read straight into a struct value. */
#ifndef CATCACHED_REDIS_LINK_H
#define CATCACHED_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct conf_redis;
struct event_base;
struct redisReply;
struct redis_link;
struct value;

/* reply is NULL when none came: reason then says why. Both live during the call. */
typedef void (*redis_reply_fn)(void *arg, const struct redisReply *reply, const char *reason);
typedef void (*redis_state_fn)(void *arg, bool up);

/* Starts connecting to conf (which outlives the link). on_state is told each time
 * the link comes up (after AUTH, SELECT and CLIENT SETNAME) or is lost. */
struct redis_link *redis_link_new(struct event_base *base, const struct conf_redis *conf,
	redis_state_fn on_state, void *arg);

/* Answers what is outstanding with NULL, then frees. NULL is allowed. */
void redis_link_free(struct redis_link *l);

bool redis_link_up(const struct redis_link *l);
const char *redis_link_reason(const struct redis_link *l);      /* why it is down, "" while up */

/* Sends one command given as formatted RESP in pieces, the first of which holds at
 * least the first argument; they are copied. done is called exactly once, never
 * before this has returned; at once with NULL when the link is not up. */
void redis_link_send(struct redis_link *l, const struct iovec *pieces, size_t n, redis_reply_fn done, void *arg);

/* The bytes of a string reply (not of an element of an array) as a value: a reference to where the reply has them
 * if it is large, a copy if it is small; NULL without memory. */
struct value *redis_link_value(const struct redisReply *reply);

struct redis_link_stats {
	uint64_t commands, timeouts, connects, drops;
	size_t pending;
};
const struct redis_link_stats *redis_link_stats(const struct redis_link *l);

#endif
