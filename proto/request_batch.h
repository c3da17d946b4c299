/* Requests that are read together: arrays of a few short arguments with all of their bytes
 * here, as nearly all are, standing one behind the other (a pipeline). To know several before the first
 * is run allows to ask the processor for the memory that they will need (see memory_prefetch), and
 * costs less than to take each in steps. What is anything else is request_parse's.
 *
 *      if (!request_pending(&parser) && (n = request_batch_read(&batch, max, limits, data, len)))
 *              use batch.requests[0..n)
 *      else
 *              request_parse(&parser, data, len) ...
 *
 * Pure: it keeps nothing between calls, so a caller who stops within a batch reads the rest again later. */
#ifndef CATCACHED_REQUEST_BATCH_H
#define CATCACHED_REQUEST_BATCH_H

#include "request.h"

#define REQUEST_BATCH_MAX 16            /* requests of a batch; */
#define REQUEST_BATCH_ARGS 64           /* arguments of all of them */

struct request_batch {
	struct {
		const struct request_arg *argv; /* into args, which point into data: no owners */
		size_t argc;                    /* at least 1 */
		size_t len;                     /* bytes of data that it takes */
	} requests[REQUEST_BATCH_MAX];
	struct request_arg args[REQUEST_BATCH_ARGS];
};

/* Reads the requests at the head of data, where one begins, as far as they are such and within the limits, and max of
 * them (up to REQUEST_BATCH_MAX) at the most. Their number. */
size_t request_batch_read(struct request_batch *b, size_t max, const struct request_limits *limits, const char *data, size_t len);

#endif
