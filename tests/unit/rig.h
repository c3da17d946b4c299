/* What the tests of the fetch drivers have in common: a loop, a pool of workers, a
 * driver, and answers waited for with a limit. */
#ifndef CATCACHED_TESTS_RIG_H
#define CATCACHED_TESTS_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../daemon/fetch.h"

#define RIG_LIMIT_MS 30000      /* nothing waited for takes longer */

struct rig {
	struct event_base *base;
	struct workers *cpu;
	const struct fetch_driver *driver;
	void *self;
	struct conf_type type;          /* of the orders; its name is "things" */
	char dir[96];                   /* "": none was asked for */
};

/* What came of one order. */
struct answer {
	unsigned times;                 /* the callback was called */
	enum fetch_status status;
	char *text;                     /* found: the bytes, and a NUL behind them */
	size_t len;
	char error[FETCH_ERROR_MAX];
	char cause[FETCH_CAUSE_MAX];
	enum breaker_outcome source;
	int64_t begun_ms, took_ms;
};

struct Suite;

/* Runs the suite. Returns what main returns. */
int rig_main(struct Suite *s);

/* The test makes the driver between the two; rig_fini frees it. */
void rig_init(struct rig *rig);
void rig_fini(struct rig *rig);

/* A temporary folder, the same at each call. rig_fini removes it. */
const char *rig_folder(struct rig *rig);

/* Frees the driver alone. */
void rig_drop_driver(struct rig *rig);

/* Starts an order; asserts that it does not call back at once. */
void rig_order(struct rig *rig, struct answer *answer, const struct fetch_order *order);

/* The same for SQL. */
void rig_sql(struct rig *rig, struct answer *answer, const char *sql, enum conf_shape shape,
	const char *name, int64_t timeout_ms);

/* Runs the loop until the answer is there; then it must be there once. */
void rig_wait(struct rig *rig, struct answer *answer);

/* Runs the loop until *number >= least. */
void rig_run_until(struct rig *rig, const unsigned *number, unsigned least);

/* Runs the loop for ms. Only to see that something does not happen. */
void rig_run_for(struct rig *rig, int ms);

/* rig_sql and rig_wait, with 10 s and the answer compared. text NULL: absent. error: a
 * part of the text. */
void expect_value(struct rig *rig, const char *sql, enum conf_shape shape, const char *name, const char *text);
void expect_error(struct rig *rig, const char *sql, enum conf_shape shape, const char *name, const char *error);

/* The answer is this. */
void expect_found(const struct answer *answer, const char *text);
void expect_failed(const struct answer *answer, const char *part);

/* The answer took about ms: not less, and not much more. */
void expect_took(const struct answer *answer, int64_t ms);

void answer_fini(struct answer *answer);

/* How many descriptors this process has open. */
unsigned rig_descriptors(void);

int64_t rig_now_ms(void);

#endif
