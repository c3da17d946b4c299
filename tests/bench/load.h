/* The load generator: one thread that keeps connections to one server busy. Closed loop
 * (rate 0): each connection sends `depth` requests in one write, waits for all their
 * replies, and sends again. Paced: requests are due at fixed times, and their latency
 * counts from then, whether or not the connection was free; so a stall counts for all
 * whom it kept waiting.
 *
 * Every reply is compared with what it must be, up to the digits of its key at the head of the
 * value, and behind the value; the first reply of each load, in all its bytes. Any
 * difference, and any silence of LOAD_SILENCE_S, ends the benchmark. */
#ifndef CATCACHED_BENCH_LOAD_H
#define CATCACHED_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hist.h"
#include "wire.h"

#define LOAD_SILENCE_S 20

struct load;

struct load_options {
	const char *socket;
	const struct wire *wire;
	enum wire_op op;
	char prefix;            /* of the keys, see wire.h */
	size_t value_len;
	const char *digest;     /* WIRE_GETIF */
	unsigned connections, depth;
	uint32_t n_keys;        /* each request is for one of them, by chance */
	bool in_order;          /* for one after the other instead */
	bool same_reply;        /* the server answers for key 0 whatever it is asked */
	unsigned rate;          /* requests a second, of all connections together; 0: closed loop */
	int64_t end_ns;         /* WIRE_SET_BRIEF: when all values end; at most ten seconds ahead, at least one */
};

struct load_result {
	uint64_t requests;
	double seconds;         /* from the first request to the last reply */
	struct hist latency;
};

/* Connects. */
struct load *load_open(const struct load_options *options);
void load_close(struct load *l);

/* Drives n loads at once until `seconds` have passed or the first of them has begun `requests`
 * (0: no such limit), then waits for the replies that are owed. What is measured adds up;
 * load_reset forgets it. */
void load_run(struct load *const *loads, size_t n, double seconds, uint64_t requests);
void load_reset(struct load *l);
const struct load_result *load_result(const struct load *l);

/* Writes every key once, in order. */
void load_fill(const struct load_options *options);

/* The monotonic clock. */
int64_t now_ns(void);

#endif
