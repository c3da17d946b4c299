/* Figures as Prometheus reads them (text format 0.0.4), for METRICS and /metrics: one row of
 * the table in metrics.c for each metric. Base units; labels are types, tiers, commands,
 * reasons and states, never keys. What is counted by type is told in STATS, too, from the
 * same rows (tiers_counters). */
#ifndef CATCACHED_METRICS_H
#define CATCACHED_METRICS_H

#include <stddef.h>

struct buf;
struct server;

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends all of them, as they are now; out->failed tells of a lack of memory. Asks nobody: it is
 * done within the call, in some 100 us for twelve types. */
void metrics_add(struct buf *out, const struct server *s);

#endif
