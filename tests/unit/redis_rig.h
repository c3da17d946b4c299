/* What tests of struct redis share: one connected to the server of redisd.h, and answers that
 * are waited for. */
#ifndef CATCACHED_TESTS_REDIS_RIG_H
#define CATCACHED_TESTS_REDIS_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "../../conf/conf.h"
#include "../../daemon/redis.h"
#include "../../proto/buf.h"

extern struct redis *redis;             /* under test */
extern struct conf_redis redis_conf;    /* of it: the server's socket, long time-outs */

/* Fixtures. The first: a loop, and nothing else; then also a server; then also redis, up with both relays. */
void setup_rig(void);
void setup_server(void);
void setup_redis(void);
void teardown_rig(void);

void open_redis(void);
bool is_all_up(void);                   /* the link and the relays */

/* Of a call with a redis_done_fn. */
struct answer {
	unsigned n;                     /* it was called */
	enum redis_status status;
	struct value *value;
	int64_t ttl_ms, number;
	char error[256];
};
void on_answer(void *arg, const struct redis_result *r);

/* Waits for it; it must have come once, with this status. */
void expect_answer(struct answer *a, enum redis_status status);
/* The same, with this value. Clears it. */
void expect_answer_value(struct answer *a, const char *bytes, size_t len);
void answer_clear(struct answer *a);

/* Of a call with a redis_bytes_fn. */
struct relayed {
	struct buf bytes;
	unsigned n_ends;                /* is_end, or no more of it comes */
	unsigned n_parts;
	bool is_lost;
	char reason[256];
};
void on_relayed(void *arg, const char *data, size_t len, bool is_end, const char *reason);

/* Waits for its end. */
void wait_relayed(struct relayed *r);
/* Waits; it must be these bytes, whole. Clears it. */
void expect_relayed(struct relayed *r, const char *bytes, size_t len);
/* Waits; it must have been lost, for a reason that contains part. Clears it. */
void expect_lost(struct relayed *r, const char *part);
void relayed_clear(struct relayed *r);

/* Adds a command of words, ended by NULL. */
void add_command(struct buf *b, const char *const *words);

struct key key_named(const char *name);

#endif
