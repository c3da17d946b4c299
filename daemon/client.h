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
struct histogram;
struct queue;
struct server;

#define CLIENT_NAME_MAX 256
#define CLIENT_SLOTS_MAX 128            /* replies owed to one client before it is not read any more */
#define CLIENT_OUTPUT_PAUSE 262144      /* bytes owed, likewise */

/* The place of one reply that is to come. */
struct slot {
	struct slot *next;
	struct client *client;          /* NULL once the client has gone, and in a part of a reply */
	struct out out;
	int resp;                       /* RESP version to encode in */
	struct histogram *latency;      /* counts how long it takes from began_us (clock_turn_us); NULL: it is a part */
	int64_t began_us;
	uint8_t lane;                   /* enum lane, of the request while it is pending */
	bool is_silent;                 /* the client wants no reply */
	bool done;
	void (*on_part)(void *arg);     /* a part of a reply (see slot_new_part): called when it is done */
	void *arg;
};

/* Whether replies are sent (CLIENT REPLY). SKIP: not that to the next request. */
enum client_replies { CLIENT_REPLIES_ON, CLIENT_REPLIES_OFF, CLIENT_REPLIES_SKIP };

/* Takes over fd (connected, non-blocking). Frees itself when the peer goes. */
struct client *client_new(struct server *server, int fd, uint64_t id);

/* Closes at once; slots still open become orphans, which their owners end with slot_done. */
void client_free(struct client *c);

/* The reply in slot->out is complete: what is due is sent soon, from the loop. slot is the
 * connection's again. */
void slot_done(struct slot *slot);

/* A slot for a part of a reply, with c's version of RESP: slot_done calls on_part instead, and
 * the part stays until slot_take. */
struct slot *slot_new_part(const struct client *c, void (*on_part)(void *arg), void *arg);

/* Moves what is in a part to out (NULL: drops it), and frees it. */
void slot_take(struct slot *part, struct out *out);

/* Of the connection. */
uint64_t client_id(const struct client *c);
const char *client_name(const struct client *c);                /* "" if none was given */
void client_set_name(struct client *c, const char *name, size_t len);   /* len <= CLIENT_NAME_MAX */
int client_resp(const struct client *c);
void client_set_resp(struct client *c, int resp);

void client_set_replies(struct client *c, enum client_replies replies);
bool client_is_mute(const struct client *c);                    /* CLIENT REPLY OFF */
void client_set_library(struct client *c, bool is_name, const char *text, size_t len);  /* CLIENT SETINFO; else the version */

/* The transaction being queued, or NULL. Setting it frees the one before; taking it leaves none. */
struct queue *client_queue(const struct client *c);
void client_set_queue(struct client *c, struct queue *q);
struct queue *client_take_queue(struct client *c);

/* For CLIENT LIST. Texts live as long as the client does not change them. */
struct client_facts {
	int fd;
	int64_t age_ms, idle_ms;
	size_t input_bytes, output_bytes;
	const char *library, *library_version;
};
void client_facts(const struct client *c, struct client_facts *f);

/* Closes the connection soon, from the loop, whatever is owed. */
void client_hang_up(struct client *c);

/* Takes in nothing that is sent from now on: who sends it is told so by its own system (EPIPE).
 * What was sent before is read and answered; then the connection is closed, from the loop. */
void client_drain(struct client *c);

/* Closes it now if it is owed nothing and has been silent for idle_ms. True if it is gone. */
bool client_close_if_idle(struct client *c, int64_t idle_ms);

/* The user at the other end (SO_PEERCRED, as of the connect); (uid_t)-1 if unknown. */
uid_t client_uid(const struct client *c);

/* The process group at the other end (as of now; of the process that connected), or -1. */
pid_t client_group(const struct client *c);

/* After the replies owed so far the connection is closed. */
void client_close_after_reply(struct client *c);

/* Keeps the connection's client, even if the peer goes, till it is released. */
void client_hold(struct client *c);
void client_release(struct client *c);

/* Requests that command_is_held has held back are looked at again, from the loop. */
void client_wake_parked(struct server *server);

/* For the server: goes on with the clients whose replies have come (server->ready). */
void client_drive_ready(struct server *server);

/* For the server's list. */
struct client *client_next(const struct client *c);

#endif
