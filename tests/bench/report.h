/* What came out: the table of targets, and tables of figures, as Markdown. */
#ifndef CATCACHED_BENCH_REPORT_H
#define CATCACHED_BENCH_REPORT_H

#include <stdbool.h>

struct report;

struct report *report_new(void);

/* A heading, a paragraph, or a row of a table, at the end of the figures. */
void report_add(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A target of the issue: "what" is measured as value and must be at most limit (AT_MOST),
 * below it (BELOW) or at least it (AT_LEAST). Compared as printed, with `decimals`; unit: "" for a ratio. */
enum report_rule { AT_MOST, BELOW, AT_LEAST };
void report_target(struct report *r, enum report_rule rule, double value, double limit, int decimals, const char *unit,
	const char *fmt, ...) __attribute__((format(printf, 7, 8)));

/* A target that could not be measured, and why. */
void report_unmeasured(struct report *r, const char *what, const char *why);

/* Prints it all, with NOTES.md of this folder (if there is one) behind it, on standard output and writes it to the
 * file; frees r. how: what kind of run it was. */
void report_finish(struct report *r, const char *file, const char *how);

#endif
