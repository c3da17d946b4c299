/* The Redis tier: one asynchronous connection on the loop, which many requests
 * share; commands sent in one turn of the loop go out in one write.
 *
 * Every call completes exactly once through its callback, never before it has
 * returned, at the latest a little after redis.timeout. While Redis is away
 * (redis_up is false) calls complete at once with REDIS_DOWN. A reply that takes
 * longer than the timeout with no byte arriving closes the connection; it comes
 * back by itself with exponential backoff.
 *
 * Keys and values are borrowed until the call returns. Nothing here assumes that
 * two keys live on the same node. */
#ifndef CATCACHED_REDIS_H
#define CATCACHED_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "key.h"

struct conf_redis;
struct event_base;
struct redis;
struct value;

enum redis_status {
	REDIS_OK,               /* it answered; see the fields each call fills */
	REDIS_NIL,              /* the key, or the condition for a write, is not there */
	REDIS_WRONGTYPE,        /* the key holds a list, a hash, ... */
	REDIS_ERROR,            /* it refused: error has its text (OOM, READONLY, ...) */
	REDIS_DOWN,             /* it did not answer: error says why */
};

/* Lives during the callback; value_ref what is kept. */
struct redis_result {
	enum redis_status status;
	struct value *value;    /* redis_read */
	int64_t ttl_ms;         /* redis_read, redis_probe: what is left; -1: no end */
	int64_t number;         /* redis_delete, redis_expire: keys touched; redis_probe: bytes */
	const char *error;
};

typedef void (*redis_done_fn)(void *arg, const struct redis_result *r);

enum redis_condition { REDIS_ALWAYS, REDIS_IF_ABSENT, REDIS_IF_PRESENT };

/* Starts connecting. conf outlives it. */
struct redis *redis_new(struct event_base *base, const struct conf_redis *conf);

/* Completes what is outstanding with REDIS_DOWN. NULL is allowed. */
void redis_free(struct redis *r);

bool redis_up(const struct redis *r);

/* Why it is not up; "" while it is. */
const char *redis_reason(const struct redis *r);

/* GET and PTTL in one round trip. */
void redis_read(struct redis *r, const struct key *key, redis_done_fn done, void *arg);

/* SET; ttl_ms 0: without end. REDIS_NIL when the condition did not hold. */
void redis_write(struct redis *r, const struct key *key, struct value *value, int64_t ttl_ms,
	enum redis_condition condition, redis_done_fn done, void *arg);

/* DEL of all in one command. */
void redis_delete(struct redis *r, const struct key *keys, size_t n, redis_done_fn done, void *arg);

/* PEXPIRE; number is 1 if the key is there. */
void redis_expire(struct redis *r, const struct key *key, int64_t ttl_ms, redis_done_fn done, void *arg);

/* PTTL and STRLEN in one round trip; REDIS_NIL if the key is not there. */
void redis_probe(struct redis *r, const struct key *key, redis_done_fn done, void *arg);

/* Walks all keys that begin with prefix: each is called with some of them, any
 * number of times, then done once. The keys live during the call. */
typedef void (*redis_each_fn)(void *arg, const struct key *keys, size_t n);
void redis_scan(struct redis *r, const char *prefix, size_t prefix_len, redis_each_fn each,
	redis_done_fn done, void *arg);

struct redis_stats {
	uint64_t commands, errors, timeouts, connects, drops;
	size_t pending;         /* commands sent and not answered, now */
};
const struct redis_stats *redis_stats(struct redis *r);

#endif
