/* A client's connection: bytes in, requests run in order, replies out in order.
 *
 * A reply that is ready at once goes straight to the output. One that has to wait
 * (Redis, a fetch) gets a slot, which keeps its place; reads that follow on the same
 * connection may run meanwhile, a write waits for all before it and holds back all
 * behind it. A client that does not read its replies is not read either. */
#ifndef CATCACHED_CLIENT_H
#define CATCACHED_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "out.h"

struct client;
struct server;

#define CLIENT_NAME_MAX 256
#define CLIENT_SLOTS_MAX 128            /* replies owed to one client before it is not read any more */
#define CLIENT_OUTPUT_PAUSE 262144      /* bytes owed, likewise */

/* The place of one reply that is to come. */
struct slot {
	struct slot *next;
	struct client *client;          /* NULL once the client has gone */
	struct out out;
	int resp;                       /* RESP version to encode in */
	bool done;
};

/* Takes over fd (connected, non-blocking). Frees itself when the peer goes. */
struct client *client_new(struct server *server, int fd, uint64_t id);

/* Closes at once; slots still open become orphans, which their owners end with slot_done. */
void client_free(struct client *c);

/* The reply in slot->out is complete: sends what is due. slot is gone afterwards. */
void slot_done(struct slot *slot);

/* Of the connection. */
uint64_t client_id(const struct client *c);
const char *client_name(const struct client *c);                /* "" if none was given */
void client_set_name(struct client *c, const char *name, size_t len);   /* len <= CLIENT_NAME_MAX */
int client_resp(const struct client *c);
void client_set_resp(struct client *c, int resp);

/* The user at the other end (SO_PEERCRED, as of the connect); (uid_t)-1 if unknown. */
uid_t client_uid(const struct client *c);

/* The process group at the other end (as of now; of the process that connected), or -1. */
pid_t client_group(const struct client *c);

/* After the replies owed so far the connection is closed. */
void client_close_after_reply(struct client *c);

/* For the server's list. */
struct client *client_next(const struct client *c);

#endif
