/* The text format in which Prometheus reads metrics (version 0.0.4). Labels are given as they
 * are written, name="value" with commas between, "" for none: they need no escaping. Lack of
 * memory is told by b->failed. */
#ifndef CATCACHED_EXPOSITION_H
#define CATCACHED_EXPOSITION_H

#include <stdint.h>

struct buf;
struct histogram;

/* A metric, whose samples follow. kind is counter, gauge or histogram. */
void exposition_begin(struct buf *b, const char *name, const char *kind, const char *help);

void exposition_sample(struct buf *b, const char *name, const char *labels, uint64_t n);

/* A time in microseconds, in seconds. */
void exposition_seconds(struct buf *b, const char *name, const char *labels, uint64_t us);

/* All samples of a histogram. */
void exposition_histogram(struct buf *b, const char *name, const char *labels, const struct histogram *h);

/* A sample for each of the states (ended by NULL): 1 for the one that it is in, 0 for the others. */
void exposition_states(struct buf *b, const char *name, const char *labels, const char *const *states, const char *is);

#endif
