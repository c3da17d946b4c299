/* A request kept for later, with bytes of its own: one that must wait for the replies
 * before it, or that is queued in a transaction. */
#ifndef CATCACHED_PARKED_H
#define CATCACHED_PARKED_H

#include <stddef.h>

#include "../proto/request.h"

struct parked {
	struct parked *next;            /* the holder's to use */
	size_t argc;
	size_t len;                     /* bytes of its arguments */
	struct request_arg argv[];      /* an owner is a struct value, of which it holds a reference */
};

/* A copy of the request, or NULL without memory. */
struct parked *parked_new(const struct request_arg *argv, size_t argc);
void parked_free(struct parked *p);

/* Drops the references to the owners in argv. */
void parked_release_owners(const struct request_arg *argv, size_t argc);

#endif
