/* The two parts of a connection; see client.h. client_request.c runs what it asks, client.c has its socket, and what it is owed. */
#ifndef CATCACHED_CLIENT_IMPL_H
#define CATCACHED_CLIENT_IMPL_H

#include <event2/event_struct.h>

#include "../proto/request.h"
#include "client.h"
#include "command.h"

struct parked;

struct client {
	struct client *next, **at;      /* in server->clients */
	struct client *next_ready, **at_ready;  /* in server->ready; at_ready NULL: it is not there */
	struct server *server;
	int fd;
	struct event readable, writable;
	bool reading, writing;          /* which of them are added */
	struct request_parser parser;
	struct buf in;                  /* input that is not a whole request yet, or must wait, */
	size_t in_at;                   /* from this byte on */
	struct out out;
	struct slot *first, **last;     /* replies owed, in order */
	size_t n_slots;
	size_t slot_bytes;              /* in those that are done */
	size_t counted;                 /* of what is not sent, so much is in server->output_bytes */
	size_t pending[LANES];          /* slots whose replies are not here yet, by the lane of their requests */
	struct parked *parked;          /* a request that must wait for the replies before it */
	struct queue *queue;            /* of MULTI */
	uint8_t replies;                /* enum client_replies */
	bool busy;                      /* input is being processed further up the stack */
	bool closing;                   /* no more requests; close when all is sent */
	bool eof;                       /* the peer will send nothing more */
	bool broken;                    /* the peer is gone: nothing can be sent */
	bool held;                      /* see client_hold */
	uint8_t ahead;                  /* requests to read together: one while each is waited for */
	int resp;
	uint64_t id;
	int64_t since_ms, heard_ms;     /* connected; last bytes from the peer */
	char *name;
	char *library, *library_version;        /* CLIENT SETINFO */
};

/* ---- client_request.c ---- */

/* No request of it may be run now: it is closing, or waits for a reply, or is owed too much. */
bool client_is_blocked(const struct client *c);

/* Runs what is whole in data, until it is blocked; returns the bytes used up. The rest is to be given again, with what follows it. */
size_t client_consume(struct client *c, const char *data, size_t len);

/* Runs the request that had to wait, if there is one and it need not wait any more. */
void client_run_parked(struct client *c);

/* The reply in s, which is not a part, is complete. */
void client_mark_done(struct slot *s);

#endif
