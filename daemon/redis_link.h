/* One connection to Redis on the loop: connecting, handshake, deadlines and coming
 * back. What the commands mean is redis.c's business.
 *
 * hiredis (0.14 and 1.x) connects, shakes hands, subscribes and parses what is small; what it does
 * not have is here: a time-out for commands, reconnecting, look-ups that do not block, and large
 * values that are neither sent nor read by way of buffers. */
#ifndef CATCACHED_REDIS_LINK_H
#define CATCACHED_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct conf_redis;
struct event_base;
struct histogram;
struct out;
struct redisReply;
struct redis_link;

/* reply is NULL when none came: reason then says why. Both live during the call. */
typedef void (*redis_reply_fn)(void *arg, const struct redisReply *reply, const char *reason);

/* A part of a reply as Redis sent it, in order; is_end tells of the last. data is NULL when
 * no more of it comes: reason then says why. All live during the call. */
typedef void (*redis_bytes_fn)(void *arg, const char *data, size_t len, bool is_end, const char *reason);
typedef void (*redis_state_fn)(void *arg, bool up);

/* What a link is for. All outlives the link. */
struct redis_link_options {
	const struct conf_redis *conf;
	const char *name;               /* CLIENT SETNAME */
	redis_state_fn on_state;        /* told when the link comes up (after the handshake) and when it is lost */

	/* A subscriber: SUBSCRIBE ends its handshake, and it carries no commands. */
	const char *const *channels;    /* ended by NULL; or NULL */
	redis_reply_fn on_message;      /* each message: ["message", channel, payload] */
	void *arg;                      /* of both callbacks */

	/* A relay: it carries commands by redis_link_begin_relay only. */
	int relay_resp;                 /* 2 or 3: the version its replies are in, if Redis speaks it; 0: no relay */

	bool is_held;                   /* as after redis_link_hold(l, true) */
	struct histogram *latency;      /* counts how long the commands took that were answered; or NULL */
};

/* Starts connecting. The link is up when a PING has been answered within the time-out
 * (conf->timeout_ms), so not while the server is slower than that, or serves nobody. */
struct redis_link *redis_link_new(struct event_base *base, const struct redis_link_options *options);

/* Answers what is outstanding with NULL, then frees. NULL is allowed. */
void redis_link_free(struct redis_link *l);

/* While held, a link that is down stays so; one that is up is not touched. Let go, it
 * starts connecting at once. For links that follow another one, so that Redis is tried by
 * one connection and not by all. */
void redis_link_hold(struct redis_link *l, bool held);

/* The error reply says that the server serves nobody at the moment (BUSY, LOADING, ...). */
bool redis_link_is_unready(const char *error);

bool redis_link_up(const struct redis_link *l);
bool redis_link_transacts(const struct redis_link *l);          /* a relay that is up: MULTI is allowed */
bool redis_link_is_trying(const struct redis_link *l);          /* to come up */
const char *redis_link_reason(const struct redis_link *l);      /* why it is down, "" while up */

/* CLIENT ID of the connection, while a subscriber is up. */
int64_t redis_link_client_id(const struct redis_link *l);

/* Gives the connection up, as after a time-out, and makes a new one. */
void redis_link_restart(struct redis_link *l, const char *reason);

/* Begins a command: returns where to append it, formatted as RESP, before anything else is asked of the link; values
 * in it are sent from where they are. done is called exactly once, never before the loop turns; soon with NULL when the
 * link is not up. */
struct out *redis_link_begin(struct redis_link *l, redis_reply_fn done, void *arg);

/* On a relay, and for n_replies commands that are appended together: done is handed the reply to the last
 * of them, piece by piece; the others are dropped. Its last call tells is_end or NULL. */
struct out *redis_link_begin_relay(struct redis_link *l, unsigned n_replies, redis_bytes_fn done, void *arg);

struct redis_link_stats {
	uint64_t commands, timeouts, connects, drops;
	size_t pending;
};
const struct redis_link_stats *redis_link_stats(const struct redis_link *l);

#endif
