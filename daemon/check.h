/* Judging the bytes of a value before it is stored, and learning its digest and
 * its number of items on the way: all in one pass, off the loop when it is large. */
#ifndef CATCACHED_CHECK_H
#define CATCACHED_CHECK_H

#include <stdbool.h>
#include <stdint.h>

struct value;
struct workers;

#define CHECK_INLINE_MAX 65536  /* bytes checked on the loop at once (some 50 us) */
#define CHECK_REFUSAL_MAX 128

typedef void (*check_done_fn)(void *arg);

/* Owned by the caller until done. */
struct check {
	struct value *value;            /* the caller keeps a reference */
	bool want_json;                 /* refuse what is not JSON */
	bool refuse_empty;              /* refuse no bytes, [], {}, "" and null */
	bool is_empty;                  /* result: refused for being empty */
	char refusal[CHECK_REFUSAL_MAX];        /* result: why it is refused; "" if it is not */

	/* the check's own */
	int64_t items;
	uint64_t digest;
	bool is_json;
	check_done_fn done;
	void *arg;
};

/* Checks c->value, sets what is known of it (see value.h), and calls done: before it returns
 * if the value is small or was found good before, else from the loop after a worker did it. */
void check_start(struct check *c, struct workers *cpu, check_done_fn done, void *arg);

#endif
