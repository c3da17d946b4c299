/* Steady load on a fleet, every operation of it recorded: clients of the sidecars, and
 * foreign clients of Redis, each a thread with connections of its own. Sourced keys are
 * f:0, f:1, ... (their type fetches from source.h's table), plain ones p:0, p:1, ... */
#ifndef CATCACHED_TESTS_LOAD_H
#define CATCACHED_TESTS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checker.h"

struct harness;
struct load;

struct load_options {
	unsigned n_sidecars, n_clients, n_foreign;      /* clients are spread over the sidecars */
	uint32_t n_sourced, n_plain;
	unsigned write_percent;
	size_t max_ops;         /* they stop by themselves after so many in all; 0: never */
	unsigned pause_us;      /* of each client after each operation */
	bool owned;             /* a plain key is written through one sidecar only, and not by foreigners */
};

/* $DATABASE_URL is the source, already made. */
struct load *load_start(struct harness *h, const struct load_options *options);

size_t load_done(struct load *l);       /* operations so far */

/* No change of the source begins from here on, and none is under way on return; or they go on. */
void load_hold(struct load *l, bool held);

/* Redis lost what it had, at some time since from_ns: every plain key may have been removed by that. */
void load_lost(struct load *l, int64_t from_ns);

/* Redis is out of reach of some sidecar, or is again of all. What a sidecar does not hold it can then
 * not know: the nil it gives for a plain key is no news, and is not judged. */
void load_away(struct load *l, bool is_away);

/* Ends the clients. */
void load_stop(struct load *l);

/* After load_stop: waits until all sidecars, Redis and the source agree on every key, at most
 * limit_ms. Returns how long that took; -1 if they did not (told on stdout). redis: a connection. */
struct redisContext;
int64_t load_settle(struct load *l, struct redisContext *redis, int64_t limit_ms);

struct load_report {
	struct verdict verdict;
	size_t ops, errors, lost_connections;
	size_t nils_away;       /* those not judged; see load_away */
	size_t not_last;        /* plain keys whose last value somebody had overwritten */
	double seconds, slowest_ms;
	struct op slowest;
	char first_error[160];
};

/* After load_settle: judges it all and prints the figures under the name. */
void load_judge(struct load *l, const char *name, struct load_report *report);

/* Prints what else was done with the key of the slowest operation when that began. */
void load_tell_slowest(const struct load *l, const struct load_report *report);

/* Errors since the last call of this, or the start. */
size_t load_new_errors(struct load *l);

void load_free(struct load *l);

int64_t now_ns(void);

#endif
