/* Replies as bytes, for the differential test: where one ends, and whether two of
 * them say the same. */
#ifndef CATCACHED_TESTS_FRAME_H
#define CATCACHED_TESTS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame {
	const char *data;
	size_t len;             /* 0: there was no reply */
};

/* How two replies to one command are compared. */
enum frame_rule {
	FRAME_EXACT,            /* byte for byte */
	FRAME_SECONDS,          /* integers of a clock may differ a little */
	FRAME_MILLISECONDS,
	FRAME_UNORDERED,        /* elements in any order, on every level */
	FRAME_GREETING,         /* a map whose "id" may differ */
};

#define FRAME_BROKEN SIZE_MAX

/* Where the reply at data[at] ends (RESP2 or RESP3); 0: not all of it is here; FRAME_BROKEN: this is no reply. */
size_t frame_end(const char *data, size_t len, size_t at);

/* The n elements of an array, set or map (a map of two has four), as frames; free them. NULL if it is none of these. */
struct frame *frame_elements(struct frame f, size_t *n);

/* slack_ms: how far apart the clocks of the two may be. */
bool frame_same(enum frame_rule rule, struct frame a, struct frame b, int64_t slack_ms);

#endif
