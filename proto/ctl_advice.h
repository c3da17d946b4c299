/* What went wrong on the way to the daemon, and what to do next: for a person. Each call
 * appends lines of text to b. */
#ifndef CATCACHED_CTL_ADVICE_H
#define CATCACHED_CTL_ADVICE_H

#include <stddef.h>

struct buf;

/* connect failed with this errno. Looks at the socket and at the caller's groups. */
void ctl_advice_connect(struct buf *b, const char *path, int error);

/* The first command was answered with this error. */
void ctl_advice_greeting(struct buf *b, const char *error, size_t len);

/* A command was answered with this error: nothing, if there is nothing to add to it. */
void ctl_advice_reply(struct buf *b, const char *error, size_t len);

#endif
