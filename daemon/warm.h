/* Warm lists: keys that are loaded into memory before anybody asks for them, from Redis first, else by
 * their fetch, some at a time. They are read as GET reads them, so one fetch serves the fleet. */
#ifndef CATCACHED_WARM_H
#define CATCACHED_WARM_H

#include <stddef.h>
#include <stdint.h>

struct catalog;
struct conf;
struct conf_type;
struct event_base;
struct warmer;

#define WARM_PARALLEL 16        /* keys on their way at a time */

/* catalog outlives it, but for warm_free. */
struct warmer *warm_new(struct event_base *base, struct catalog *catalog);

/* Begins nothing more. */
void warm_close(struct warmer *w);

/* After the catalog was freed, which answers all that is on its way. NULL is allowed. */
void warm_free(struct warmer *w);

/* Loads the list of a type, or of all that have one (NULL). conf, which declares it, outlives w. done is called once, from
 * the loop: with how many keys were loaded, or are known not to exist, and how many could not be had. */
typedef void (*warm_done_fn)(void *arg, size_t loaded, size_t failed);
void warm_start(struct warmer *w, const struct conf *conf, const struct conf_type *type, warm_done_fn done, void *arg);

/* How many keys there are in the list of a type. */
size_t warm_keys(const struct conf_type *type);

/* Of the orders under way: keys in all, and how many of them are done. And of all so far. */
struct warm_figures {
	size_t total, done;
	uint64_t loaded, failed;
};
struct warm_figures warm_figures(const struct warmer *w);

#endif
