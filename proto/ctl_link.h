/* catcachectl's connection to the daemon: RESP3, one request at a time, every wait with a
 * limit. What fails says why, and what to do about it, in words for a person. */
#ifndef CATCACHED_CTL_LINK_H
#define CATCACHED_CTL_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "reply_scan.h"

struct request_arg;

/* Begins as CTL_LINK_INIT. */
struct ctl_link {
	int fd;                         /* -1: not connected */
	const char *path;
	struct buf in;                  /* what has come: the reply first */
	struct reply_scan scan;
	size_t scanned;                 /* bytes of in that scan has seen */
	const char *reply;              /* the whole reply, after ctl_link_receive gave 1 and until the next call */
	size_t reply_len;
	char version[32];               /* of the daemon */
	struct buf why;                 /* of the last failure: lines of text, ended by a NUL */
};

#define CTL_LINK_INIT {.fd = -1}

/* Connects, and makes sure that it is catcached that listens there. path lives as long as l.
 * Takes 5 s at the most, or timeout_ms if that is less. 0; -1 and why. */
int ctl_link_open(struct ctl_link *l, const char *path, int64_t timeout_ms);

/* May be opened again. */
void ctl_link_close(struct ctl_link *l);

/* Closes it and frees the memory. */
void ctl_link_free(struct ctl_link *l);

/* Sends a request. Nothing is owed by the daemon before it. 0; -1 and why. */
int ctl_link_send(struct ctl_link *l, const struct request_arg *argv, size_t argc, int64_t timeout_ms);

/* 1: the reply is there; 0: nothing came for timeout_ms; -1 and why: the connection is lost. */
int ctl_link_receive(struct ctl_link *l, int64_t timeout_ms);

/* why: that nothing came for timeout_ms. */
void ctl_link_say_silent(struct ctl_link *l, int64_t timeout_ms);

#endif
