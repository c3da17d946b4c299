/* What MULTI queues for EXEC. For command_transaction.c and command_exec.c. */
#ifndef CATCACHED_QUEUE_H
#define CATCACHED_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct parked;

struct queue {
	struct parked *first, **last;   /* owned */
	size_t n;
	size_t len;                     /* bytes of all arguments */
	bool is_spoilt;                 /* EXEC will refuse */
	bool needs_redis;               /* some of it is Redis's alone */
	bool has_large;                 /* some arguments have an owner; see parked.h */
};

#endif
