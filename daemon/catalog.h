/* The catalog: keys and what can be done to them, over all tiers. Commands talk to
 * this and to nothing below. Each operation answers through its outcome_fn exactly
 * once, possibly before the call returns; keys and values given are borrowed until
 * the call returns. */
#ifndef CATCACHED_CATALOG_H
#define CATCACHED_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "flight.h"
#include "key.h"
#include "outcome.h"
#include "redis.h"

struct buf;
struct catalog;
struct cJSON;
struct conf;
struct conf_type;
struct event_base;
struct fetcher;
struct replay;
struct request_arg;
struct tiers;

/* Makes the tiers that conf declares and starts connecting. conf outlives it. NULL
 * (errno) when the system has no thread or descriptor left. */
struct catalog *catalog_new(struct event_base *base, const struct conf *conf);

/* Ends what is under way with errors, then frees. No client may be left. NULL is allowed. */
void catalog_free(struct catalog *c);

/* The daemon stops: does at once what was put off (cascades). Redis hears of it while the
 * loop runs and catalog_is_busy. */
void catalog_finish(struct catalog *c);

/* Moves over to conf, which is to follow the configuration before (conf_succeed); both outlive the catalog. Meanwhile
 * everything goes on; done is called from the loop when it is done, at the latest after some seconds. One at a time.
 * 0; or -1 (errno: no thread or descriptor is left, or EOVERFLOW: too many types since the start): all stays as it was. */
typedef void (*catalog_reloaded_fn)(void *arg);
int catalog_reload(struct catalog *c, const struct conf *conf, catalog_reloaded_fn done, void *arg);

/* Such a move, if one is under way, is not to be done any more: all stays as it is. */
void catalog_reload_cancel(struct catalog *c);

/* Saves values, and what Redis is still to be told, in the file; or the log tells why not. path NULL: nowhere. What Redis will
 * not be told then the log tells, too. At the end, after catalog_finish. */
void catalog_save(struct catalog *c, const char *path);

/* Whether that will be possible: if not, the log tells why. path NULL: nothing to tell. */
void catalog_try_saving(const char *path);

/* Loads what catalog_save has saved, if the file is there and whole and as far as it holds still, and removes it before: it is
 * older than what is to come. At the start, before anybody is served. */
void catalog_load(struct catalog *c, const char *path);

/* At the start: whether Redis is there will soon be known. */
bool catalog_awaits_redis(const struct catalog *c);

/* Redis owes an answer. */
bool catalog_is_busy(const struct catalog *c);

#define CATALOG_CONTEXT_MAX 8192        /* bytes of a JSON context that is hashed: some 0.5 ms at the worst, on the loop */

/* Makes *key of what a client wrote, which it borrows: checks it, and where its type
 * says hash_names replaces a name that is a JSON object or array by its HASHKEY, in
 * bytes added to *room. NULL, or the error reply (good until the next call). */
const char *catalog_key(struct catalog *c, const char *data, size_t len, struct key_room **room, struct key *key);

/* The type that declares key; one named "undeclared" if none does. */
const struct conf_type *catalog_type(struct catalog *c, const struct key *key);

/* What is likely to be asked next, all of it: see memory_prefetch. */
void catalog_prefetch(const struct catalog *c, const struct key *keys, size_t n);

/* The hit path: the value of key if memory has one that may be served, counted as use
 * (mode GET starts a refresh behind where one is due, PEEK does not);
 * good until the next call. NULL: it is known not to exist if *is_absent, else call
 * catalog_get. */
struct value *catalog_hit(struct catalog *c, const struct key *key, enum read_mode mode, bool *is_absent);

/* Found, absent, or an error. */
void catalog_get(struct catalog *c, const struct key *key, enum read_mode mode, outcome_fn done, void *arg);

/* The same for who may be a program that fetches, and must not wait for itself: see flights_read. */
void catalog_read(struct catalog *c, const struct key *key, const struct read_order *order);

/* Makes sure that the digest and the items of v are known, then calls done (at
 * once, or from the loop after a worker looked at a large value). */
void catalog_inspect(struct catalog *c, struct value *v, void (*done)(void *arg), void *arg);

/* Judges v before it is written to key: size and format. error: the error reply, or NULL.
 * Calls done at once, or from the loop after a worker looked at a large value. */
typedef void (*catalog_judged_fn)(void *arg, const char *error);
void catalog_judge(struct catalog *c, const struct key *key, struct value *v, catalog_judged_fn done, void *arg);

struct catalog_set {
	enum { CATALOG_TTL_OF_TYPE, CATALOG_TTL_GIVEN, CATALOG_TTL_KEPT } ttl;
	int64_t ttl_ms;                 /* CATALOG_TTL_GIVEN: from now; not positive: it is over */
	int64_t ends_at_ms;             /* the same as it was given, ms since 1970; 0: ttl_ms was given */
	enum redis_condition condition;
	bool wants_old;
};

/* Writes v, which is a good one, through all tiers. Found: written; absent: the condition
 * did not hold. With wants_old outcome.value is what was there before, or NULL. A value
 * past its TTL counts as absent. */
void catalog_set(struct catalog *c, const struct key *key, struct value *v, const struct catalog_set *how,
	outcome_fn done, void *arg);

/* The shortest way: a plain write of a raw value to a type that memory alone keeps is done at
 * once. True: it was, and *error is the error reply or NULL. False: it is something else, to
 * be judged and set. */
bool catalog_set_now(struct catalog *c, const struct key *key, struct value *v, const struct catalog_set *how, const char **error);

/* Removes keys everywhere; outcome.number tells how many there were. who is kept for
 * EXPLAIN. Here and with catalog_invalidate the types that depend on them follow. */
void catalog_delete(struct catalog *c, const struct key *keys, size_t n, const char *who, outcome_fn done, void *arg);

/* New logical TTL (> 0); outcome.number is 1 if the key is there. */
void catalog_expire(struct catalog *c, const struct key *key, int64_t ttl_ms, outcome_fn done, void *arg);

/* Changes what is left of a key where that depends on what is there; the fields are those of
 * struct redis_edit, in logical times. Found: outcome.value is what was there, if
 * wants_value; outcome.number is 1 if something was changed. Absent: the key was not there,
 * which without wants_value may also be found with number 0. who: see catalog_delete. */
struct catalog_edit {
	int what;                       /* REDIS_EDIT_TTL, ... */
	int64_t ttl_ms, ends_at_ms;
	const char *condition;
	bool wants_value;
};
void catalog_edit(struct catalog *c, const struct key *key, const struct catalog_edit *how, const char *who,
	outcome_fn done, void *arg);

/* Without reading the value: found with number (its bytes) and ttl_ms, or absent. */
void catalog_probe(struct catalog *c, const struct key *key, outcome_fn done, void *arg);

/* Why pattern is neither the name of a type nor prefix*: an error reply; or NULL. */
const char *catalog_pattern_error(struct catalog *c, const char *pattern, size_t len);

/* Removes all keys of the type of that name, or all declared keys that match
 * "prefix*"; outcome.number tells how many. The pattern is a good one. */
void catalog_invalidate(struct catalog *c, const char *pattern, size_t len, const char *who,
	outcome_fn done, void *arg);

/* ---- what is none of the catalog's ---- */

/* Redis takes commands as they are (redis.pass_through). */
bool catalog_passes(const struct catalog *c);

/* A type declares the key of these bytes. */
bool catalog_declares(const struct catalog *c, const char *data, size_t len);

/* Sends the command to Redis and hands on its reply as it comes;
 * see redis_bytes_fn. Unless it only reads, keys in it that the catalog declares are read
 * anew afterwards. Only if catalog_passes. */
typedef redis_bytes_fn catalog_bytes_fn;
void catalog_pass(struct catalog *c, struct redis_route route, const struct request_arg *argv, size_t argc, bool reads,
	catalog_bytes_fn done, void *arg);

/* Between begin and end, in one turn of the loop (but see catalog_pause), what is asked of the catalog goes to
 * Redis as one transaction; see redis_transaction_begin, also for on_end, which is called once, perhaps before
 * catalog_end returns. Each call is answered all the same. */
void catalog_begin(struct catalog *c, struct redis_route route);
void catalog_end(struct catalog *c, redis_end_fn on_end, void *arg);

/* From pause to resume the loop turns, and what is asked of the catalog is not of the transaction. One at a
 * time is paused. hurry is called when it must come to its end at once, before it returns. */
void catalog_pause(struct catalog *c, void (*hurry)(void *arg), void *arg);
void catalog_resume(struct catalog *c);

/* Drops everything from memory; what is being fetched is not stored. */
void catalog_flush_memory(struct catalog *c);

/* Found: outcome.value is a text of some lines for a person. */
void catalog_explain(struct catalog *c, const struct key *key, outcome_fn done, void *arg);

/* Housekeeping: drops some of what is past its end, tells Redis again what it refused.
 * Called at short intervals. */
void catalog_tick(struct catalog *c);

/* Figures for STATS and INFO: an object to be deleted by the caller. type may be
 * NULL for all. */
struct cJSON *catalog_stats(struct catalog *c, const struct conf_type *type);
/* How the whole is, for HEALTH: an object to be deleted by the caller. */
struct cJSON *catalog_health(struct catalog *c);

/* Adds the lines of INFO's Stats section that the catalog knows. */
void catalog_info(struct catalog *c, struct buf *b);

/* Reads of all types so far: that memory answered, and that it could not. */
struct catalog_reads { uint64_t hits, misses; };
struct catalog_reads catalog_reads(const struct catalog *c);

/* up, down or off; and why it is down, else "". */
const char *catalog_redis_state(const struct catalog *c);
const char *catalog_redis_reason(const struct catalog *c);

struct memory *catalog_memory(const struct catalog *c);

/* What figures of it are read from; for reading only. */
struct catalog_parts {
	struct tiers *tiers;
	const struct replay *replay;
	const struct flights *flights;
	const struct fetcher *fetcher;
};
struct catalog_parts catalog_parts(struct catalog *c);

#endif
