/* The two parts of a connection to Redis; see redis_link.h. redis_dial.c brings it up and takes it down, redis_link.c
 * carries commands and replies over it. */
#ifndef CATCACHED_REDIS_LINK_IMPL_H
#define CATCACHED_REDIS_LINK_IMPL_H

#include <event2/util.h>
#include <sys/queue.h>

#include "../proto/buf.h"
#include "../proto/reply_scan.h"
#include "out.h"
#include "redis_link.h"
#include "redis_reply.h"

#define REDIS_REASON_MAX 160

struct errand;
struct event;
struct redisAsyncContext;

enum link_state { LINK_WAITING, LINK_RESOLVING, LINK_CONNECTING, LINK_HANDSHAKE, LINK_TRIAL, LINK_UP };

TAILQ_HEAD(call_list, call);    /* of redis_link.c */

struct redis_link {
	struct event_base *base;
	struct redis_link_options options;
	const struct conf_redis *conf;
	int64_t client_id;                      /* of a subscriber */

	enum link_state state;
	struct redisAsyncContext *ac;
	struct event *readable, *writable;      /* of ac's socket */
	struct event *flush;                    /* writes once all who are served in this turn of the loop have asked */
	struct event *retry;                    /* WAITING: try again */
	struct event *deadline;                 /* connecting, or the first call */
	struct event *refused;                  /* answers calls made while down */
	struct out out;                         /* commands on their way, once it is_ours */
	struct out unsent;                      /* that of the last which was refused */
	struct call_list calls, refused_calls;
	int64_t progress_ms;                    /* when bytes last came, or part of something large went */
	int64_t connect_deadline_ms;
	int64_t down_since_ms, up_since_ms;
	unsigned failures;                      /* in a row */
	bool closing;
	bool is_held;                           /* no attempts to connect */
	struct errand *lookup;                  /* RESOLVING */
	bool is_ours;                           /* hiredis has done its part (the handshake): what goes over it is written and read here */
	struct reply_scan scan;                 /* of the reply that is coming in, */
	bool is_pushed;                         /* or of what is none */
	struct redis_reading reading;           /* of a reply that is not relayed */
	bool is_tried, transacts;               /* whether MULTI is allowed, and that it is */
	char reason[REDIS_REASON_MAX];
	struct redis_link_stats stats;
};

/* ---- redis_dial.c ---- */

/* From WAITING: tries once. It comes up, or is lost: then there is a timer for the next attempt. */
void redis_link_dial(struct redis_link *l);

/* The steps of the handshake are over. */
void redis_link_come_up(struct redis_link *l);

/* Gives the connection up, which there is: what is outstanding is answered from within, or soon after. */
void redis_link_drop(struct redis_link *l, const char *reason);

/* ---- redis_link.c ---- */

/* Of ac's socket; arg is the link. */
void redis_link_on_readable(evutil_socket_t fd, short what, void *arg);
void redis_link_on_writable(evutil_socket_t fd, short what, void *arg);

/* A step of the handshake: answered by way of hiredis. */
void redis_link_send_step(struct redis_link *l, const struct buf *b, redis_reply_fn done);

/* hiredis has done its part: from here on commands and replies go the link's own way. A relay has a last step there,
 * and then comes up. */
void redis_link_take_over(struct redis_link *l);
void redis_link_start_relaying(struct redis_link *l);

/* The connection is gone: has the calls answered that hiredis does not answer, and gives up what is half written or read. */
void redis_link_hand_back(struct redis_link *l);

/* Redis has answered something. */
void redis_link_proved(struct redis_link *l);

/* Has the deadline watched. */
void redis_link_update_deadline(struct redis_link *l);

#endif
