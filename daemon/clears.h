/* Removals of many keys at once (all of a type, or of a prefix) that Redis has not carried
 * out to the end: it is scanned for the keys, which takes its time, and while it is away
 * they wait.
 *
 * Each is ordered at one moment and means what Redis had then. A key of it that is written
 * later is to be spared, however long it takes. */
#ifndef CATCACHED_CLEARS_H
#define CATCACHED_CLEARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "key.h"

struct conf_type;

#define CLEARS_MAX 100          /* that wait, for prefixes; then whole types are cleared in their place */
#define CLEARS_SPARED_MAX 100000        /* keys of one */
#define CLEARS_RETRY_MS 1000    /* after Redis has refused one */

/* Read-only outside clears.c; lives until clears_done, or while it waits until a later one
 * that means all of it comes to wait. */
struct clear {
	TAILQ_ENTRY(clear) link;
	const struct conf_type *type;   /* NULL: every declared type */
	char *prefix;
	size_t prefix_len;
	bool is_waiting;                /* else whoever ordered or took it is at work */
	int64_t retry_ms;               /* waiting: clock_ms before which it is not taken */
	uint64_t *spared;               /* marks of keys (0: a free place), a table that is a quarter empty at the least */
	size_t n_spared, room;
};

struct clears {
	TAILQ_HEAD(clear_list, clear) list;     /* as they were ordered */
	size_t count, waiting;
};

void clears_init(struct clears *all);
void clears_fini(struct clears *all);

/* A new one, for the caller to carry out; he ends with clears_done or clears_put_off. type is
 * a declared one, or NULL. */
struct clear *clears_order(struct clears *all, const struct conf_type *type, const char *prefix, size_t prefix_len);
void clears_done(struct clears *all, struct clear *c);
void clears_put_off(struct clears *all, struct clear *c, int64_t retry_ms);

/* The first one that waits and is due, for the caller to carry out; NULL: none. */
struct clear *clears_take(struct clears *all);

/* c means key, which is of type (one without a key is that of undeclared keys). */
bool clear_means(const struct clear *c, const struct conf_type *type, const struct key *key);

/* Any of them means key; any of those that wait. */
bool clears_mean(const struct clears *all, const struct conf_type *type, const struct key *key);
bool clears_wait_for(const struct clears *all, const struct conf_type *type, const struct key *key);

/* key is being written: from now on none of them means it. False if one has spared too
 * many keys already, and goes on meaning this one. */
bool clears_spare(struct clears *all, const struct conf_type *type, const struct key *key);

#endif
