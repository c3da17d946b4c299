/* What happened to keys lately: the last fetch and how it ended, until when a failing
 * one is not tried again, a shrunken result that waits for confirmation, and who
 * changed the key last. For the rules of fetching, and for EXPLAIN.
 *
 * Bounded: HISTORY_MAX keys, the least recently written forgotten first. */
#ifndef CATCACHED_HISTORY_H
#define CATCACHED_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "keymap.h"

#define HISTORY_MAX 10000
#define HISTORY_TEXT_MAX 160
#define HISTORY_CONFIRM_MS 60000        /* a second fetch that long after a refused one may confirm it */
#define HISTORY_BACKOFF_MIN_MS 200      /* after the first failure; doubled by each that follows, */
#define HISTORY_BACKOFF_MAX_MS 30000    /* up to this; minus up to a quarter by chance */

struct history_record {
	struct keynode node;            /* owns the bytes of its key */
	TAILQ_ENTRY(history_record) link;
	int64_t fetched_at_ms;          /* clock_wall_ms at the end of the last fetch; 0: none yet */
	int64_t took_us;                /* how long that took */
	unsigned failures;              /* in a row */
	int64_t retry_ms;               /* clock_ms before which it is not fetched again; 0: it may be */
	int64_t refused_ms;             /* clock_ms of the first refusal of a shrunken result; 0: none */
	uint64_t refused_size;          /* its size */
	int64_t changed_at_ms;          /* clock_wall_ms of the last change through us; 0: none */
	uint64_t changed_number;        /* see history_change */
	int64_t heard_ms;               /* clock_ms when Redis last told of a change by others; 0: never */
	char error[HISTORY_TEXT_MAX];   /* of the last fetch; "" if it did not fail */
	char changed_by[HISTORY_TEXT_MAX];
};

struct conf_type;
struct history;

struct history *history_new(void);
void history_free(struct history *h);

/* The record of key, good until the next call that writes; NULL: nothing is known. */
const struct history_record *history_find(const struct history *h, const struct key *key);

/* A fetch of key ended well after took_us: failures and refusals are forgotten. */
void history_fetched(struct history *h, const struct key *key, int64_t took_us);

/* A fetch of key failed after took_us. Returns how many ms it is not to be tried again. */
int64_t history_failed(struct history *h, const struct key *key, int64_t took_us, const char *error);

/* The same for a failure that another sidecar reported: for ms. */
void history_told(struct history *h, const struct key *key, const char *error, int64_t ms);

/* A fetch brought a result of size, much smaller than what is held. True if it is to be
 * believed: the same was refused HISTORY_CONFIRM_MS ago or more, and this is no smaller
 * (by over a tenth) than that. */
bool history_confirms(struct history *h, const struct key *key, uint64_t size);

/* Redis told that others changed key. */
void history_heard(struct history *h, const struct key *key);

/* Sidecars give the values of a type with stale windows a Redis TTL of more than
 * window_ms; anyone else gives them what he likes. True if what is left, redis_ms, shows
 * that the change heard of last was of the latter kind, and shorter: then it is the
 * logical TTL as it stands. */
bool history_is_foreign(const struct history *h, const struct key *key, int64_t redis_ms, int64_t window_ms);

/* What is left below this shows the same. */
int64_t history_foreign_below(const struct history *h, const struct key *key, int64_t window_ms);

/* Somebody changed key through us: what failed before may be tried again at once. */
void history_changed(struct history *h, const struct key *key, const char *who);

/* ---- for EXPLAIN: who changed a key last ---- */

#define HISTORY_NOTES_MAX 16384         /* changes of single keys, and */
#define HISTORY_CLEARED_MAX 64          /* removals of many that are remembered, the oldest forgotten first */

/* key was changed; what (a literal) says how. Cheap: for changes of which there are many. */
void history_noted(struct history *h, const struct key *key, const char *what);

/* All keys of type (NULL: of every declared one) that begin with prefix were removed through us. */
void history_cleared(struct history *h, const struct conf_type *type, const char *prefix, size_t prefix_len, const char *who);

/* The last change that was noted of key, and the last invalidation of it, which is of type:
 * by history_changed or history_cleared. by lives until the next call that writes; NULL: none
 * is known. */
struct history_change {
	const char *by;
	int64_t at_ms;                  /* clock_wall_ms */
	uint64_t number;                /* counts all changes: the later one has the larger */
};
struct history_change history_last_note(const struct history *h, const struct key *key);
struct history_change history_last_invalidation(const struct history *h, const struct conf_type *type, const struct key *key);

#endif
