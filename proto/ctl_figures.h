/* catcachectl: what STATS and HEALTH say, and how it changes. */
#ifndef CATCACHED_CTL_FIGURES_H
#define CATCACHED_CTL_FIGURES_H

#include <stddef.h>
#include <stdint.h>

struct cJSON;
struct ctl;

/* The number at a place like "memory.bytes"; 0 if there is none: older daemons tell less. */
double figure(const struct cJSON *tree, const char *place);

/* The text there; "?" if there is none. */
const char *figure_text(const struct cJSON *tree, const char *place);

const struct cJSON *figure_at(const struct cJSON *tree, const char *place);     /* NULL if there is none */

/* Two looks at one run of the daemon; before is NULL when there was one only. Begins as {0}. */
struct figures {
	struct cJSON *now, *before, *health;
	int64_t now_us, before_us;
};

/* Asks for STATS and HEALTH; what was now is then before. Returns an exit status: see ctl_try.
 * A daemon that was restarted counts from nothing: figures_free before the next look at it. */
int figures_take(struct figures *f, struct ctl *c);
void figures_free(struct figures *f);

/* What a counter has grown by a second; NAN with one look only. */
double figures_rate(const struct figures *f, const char *place);

/* The seconds between the looks; NAN with one only. */
double figures_seconds(const struct figures *f);

/* How reads of a type, or of all, were answered. */
struct reads {
	double all;
	double memory;          /* a remembered absence included */
	double redis;
	double source;          /* the rest: fetched, stale in place of that, absent, or an error */
	double stale;           /* answered with a stale value; counted above, too */
	double fetches, failures;
};

/* Between two looks at a type's figures; before may be NULL. */
struct reads reads_between(const struct cJSON *now, const struct cJSON *before);

/* Of all types together. */
struct reads figures_reads(const struct figures *f);

/* The type's figures at the first look, or NULL. */
const struct cJSON *figures_before(const struct figures *f, const char *type);

#endif
