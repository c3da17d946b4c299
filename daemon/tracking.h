/* Hearing of every change in Redis, whoever makes it: CLIENT TRACKING in BCAST mode
 * on the connection that carries the commands, redirected to a subscriber (Redis
 * 6.0 and later; https://redis.io/docs/manual/client-side-caching/).
 *
 * That the messages really come is proved over and over by a probe: a key of our own
 * is written over a third connection and must be seen coming back. A subscriber that
 * was lost, or tracking that ended without a word, is noticed that way within two
 * seconds and set up again. So is SWAPDB, of which Redis says nothing: the probe is not
 * found where it was written. A server that takes no writes (full, a replica) gets
 * messages for a probe instead.
 *
 * A server that refuses CLIENT TRACKING leaves the sidecars to tell each other, over
 * a pub/sub channel; what applications change there is then only noticed by TTL. A sidecar
 * that depends on being told says so every few seconds, so that those whom Redis tells of
 * changes tell it, too; and so does one whose values Redis does not take. Every half minute it asks for tracking again.
 * That it is told is proved by messages to itself. Who may not PUBLISH either is deaf. */
#ifndef CATCACHED_TRACKING_H
#define CATCACHED_TRACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"
#include "key.h"

struct conf_redis;
struct event_base;
struct redis_link;
struct tracking;

/* How much of what changes in Redis reaches us. */
enum coherence {
	COHERENCE_AWAY,         /* Redis does not answer */
	COHERENCE_DEAF,         /* it answers, but its changes are not heard of (yet, or any more) */
	COHERENCE_TRACKING,     /* every change is heard of */
	COHERENCE_PUBSUB,       /* tracking is refused: changes made through sidecars are heard of */
};

/* All outlives the tracking. The callbacks come from the loop. */
struct tracking_options {
	struct event_base *base;
	const struct conf_redis *conf;
	struct redis_link *data;                /* carries the commands; its state is told with tracking_on_data */
	const char *const *prefixes;            /* of the keys to hear of; none begins with another */
	size_t n_prefixes;
	void (*on_change)(void *arg, const struct key *key);    /* the key was changed, or is gone */
	void (*on_flush)(void *arg);                            /* every key is gone */
	void (*on_coherence)(void *arg, enum coherence now);
	void (*on_echo)(void *arg, uint64_t number);            /* see tracking_send_echo */
	void *arg;
};

struct tracking *tracking_new(const struct tracking_options *options);

/* To be freed after the data link, whose last answers come here. NULL is allowed. */
void tracking_free(struct tracking *t);

/* The data link came up, or was lost: the links of the tracking follow it. */
void tracking_on_data(struct tracking *t, bool up);

/* Another link was lost: looks whether the data link still answers. */
void tracking_doubt(struct tracking *t);

enum coherence tracking_coherence(const struct tracking *t);
const char *tracking_coherence_name(enum coherence c);

/* Why tracking is refused (COHERENCE_PUBSUB); "" else. */
const char *tracking_refusal(const struct tracking *t);

/* Why PUBLISH is refused, so that the others cannot be told; "" while it is not. */
const char *tracking_mute(const struct tracking *t);

/* Why the server does not take the probe, so that messages prove what it would (COHERENCE_TRACKING);
 * "" else. */
const char *tracking_unwritable(const struct tracking *t);

/* Redis has refused a write, being full or read-only: as if the probe had been refused. */
void tracking_note_refusal(struct tracking *t, const char *error);

/* We changed these keys: tells the other sidecars if Redis may not do so for one of them. */
void tracking_publish(struct tracking *t, const struct key *keys, size_t n);

/* Sends a command over the data link (between MULTI and EXEC, say) that, when it is executed,
 * makes us hear of number (> 0), unless coherence changes before that. What was changed before,
 * in an earlier round of Redis's loop, is heard of before it, what was changed in a later
 * one, after it. If it is refused tracking_mute says so by the next reply, and the
 * next one is a key that is changed in place of a message. */
void tracking_send_echo(struct tracking *t, uint64_t number);

/* Counts so far. */
struct tracking_stats {
	uint64_t messages, repairs;
	int64_t last_proof_ms;          /* clock_ms of the newest; 0: none yet */
	struct histogram round_trip;    /* from sending the probe's write to hearing of it */
};
const struct tracking_stats *tracking_stats(const struct tracking *t);

#endif
