/* Commands: one row of a table for each, with all that is said of it (command_table.c). */
#ifndef CATCACHED_COMMAND_H
#define CATCACHED_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "../proto/reply.h"
#include "../proto/request.h"
#include "client.h"
#include "key.h"
#include "redis.h"
#include "server.h"

enum command_flags {
	COMMAND_READ = 1,       /* changes nothing: may overlap with the reads before it */
	COMMAND_WRITE = 2,
	COMMAND_ADMIN = 4,      /* only for admin.users */
	COMMAND_FAST = 8,       /* never waits for Redis or a fetch */
	COMMAND_BOTH = 16,      /* Redis has it, too: with keys of no declared type it is passed to it */
	COMMAND_PASSED = 32,    /* Redis has it, not we */
	COMMAND_REFUSED = 64,   /* Redis has it, but not for clients of ours */
	COMMAND_AT_ONCE = 128,  /* not queued in a transaction */
};

/* One request being run. Everything in it lives until run returns. */
struct call {
	struct server *server;
	struct client *client;
	const struct command *command;  /* NULL: unknown here */
	const struct command *row;      /* in commands: the same, or that of a subcommand's parent */
	const struct request_arg *argv;
	size_t argc;
	const struct key *first;        /* argv[1] as a key, if it is known already; else NULL */
	int resp;
	bool is_queued;         /* it is executed by EXEC */
	struct out *out;        /* where the reply goes, unless call_defer is called */
	struct slot *slot;      /* what call_defer gave */
	bool is_deferred;
	bool is_passed;         /* the reply is Redis's alone */
};

typedef void (*command_fn)(struct call *call);

struct command {
	const char *name;       /* upper case; subcommands: "CLIENT|ID" is shown, "ID" stands here */
	int arity;              /* words, the command's included; -n: n or more */
	unsigned flags;
	int first_key, last_key, step;  /* as in COMMAND INFO; 0: no keys */
	command_fn run;
	const struct command *sub;      /* subcommands, ended by an empty row; then run is NULL */
	const char *group;      /* of COMMAND DOCS */
	const char *syntax;     /* of the words behind the name, see command_syntax.h; "": none, or Redis's to tell */
	const char *summary;
	int more_keys;          /* keys that those three do not tell: behind their number, which is this word; or: */
};
#define KEYS_COUNTED_PAIRS (-1) /* behind their number, which is word 1, each with a value */
#define KEYS_STORED (-2)        /* behind STORE and STOREDIST */
#define KEYS_STREAMS (-3)       /* the first half of what is behind STREAMS */

/* All commands, ended by a row without a name. */
extern const struct command commands[];

/* How long requests take is counted by command: those of ours have a place of their own, at the
 * index of their row; all that is Redis's, or unknown, shares the last, which is at
 * command_count_rows(). */
size_t command_count_rows(void);
bool command_is_measured(const struct command *row);
struct histogram *command_latency(const struct call *call);     /* after command_check; see server.h */

/* The keys of a request that has been checked: words first, first + step, ... before end. Of a command
 * that is unknown here the first word may be one. */
#define KEY_SPANS_MAX 3
struct key_spans {
	size_t n;
	bool is_short;                  /* there are fewer words than their number says */
	struct key_span { size_t first, end, step; } spans[KEY_SPANS_MAX];
};
struct key_spans command_key_spans(const struct call *call);

/* The row of that name in any case, or NULL; of a subcommand. */
const struct command *command_find(const char *name, size_t len);
const struct command *command_find_sub(const struct command *parent, const char *name, size_t len);

/* The request has as many words as the row wants. */
bool command_fits(const struct command *c, size_t argc);

/* Checks and runs one request (argc > 0), or queues it in the client's transaction: unknown
 * commands, arity and rights are answered here. */
void command_run(struct call *call);

/* How a request may overlap with those before it on the same connection. */
enum lane {
	LANE_NONE,              /* it is answered at once: may overtake anything */
	LANE_READ,              /* reads the tiers */
	LANE_WRITE,             /* has the connection to itself */
	LANE_PASS_READ,         /* goes to Redis by the relay, which keeps the order of what goes that way */
	LANE_PASS_WRITE,
	LANES
};
enum lane command_lane(const struct call *call);

/* Why the request cannot be run as it is, or queued: writes the error reply and returns false.
 * Sets call->command. */
bool command_check(struct call *call);

/* From within run: the reply comes later. Returns the slot that will take it; end
 * with slot_done. Nothing may have been written to call->out. */
struct slot *call_defer(struct call *call);

/* Replies, for short. */
void call_error(struct call *call, const char *text);
void call_ok(struct call *call);
void call_integer(struct call *call, int64_t n);

/* Argument i as an integer: true and *n; else the error reply is written. */
bool call_integer_arg(struct call *call, size_t i, int64_t *n);

/* Argument i as a key (see catalog_key for room): true and *key; else the error reply
 * is written. */
bool call_key(struct call *call, size_t i, struct key_room **room, struct key *key);

/* All arguments behind the command as keys, or every step-th of them: an array of *n to be
 * freed; NULL and the error reply is written if one of them is bad. */
struct key *call_keys(struct call *call, size_t step, size_t *n, struct key_room **room);

/* True if argument i is word, in any case. */
bool call_arg_is(const struct call *call, size_t i, const char *word);

/* Part of a request in an error text: at most max bytes of it are shown. */
#define CALL_SHOWN_MAX 128
int call_shown(const struct request_arg *a);

/* Who asks, for EXPLAIN; returns text. */
#define CALL_WHO_MAX 128
const char *call_who(const struct call *call, char text[CALL_WHO_MAX]);

/* An outcome_fn for a slot whose reply is outcome.number. */
struct outcome;
void call_on_counted(void *slot, const struct outcome *o);

/* True if no key of the request is declared and Redis takes such commands as they are. */
bool call_is_passed(const struct call *call);

/* What it is passed on for; see redis.h. */
struct redis_route call_route(const struct call *call);

/* True if Redis takes the request as it is: it is unknown here, not ours, or call_is_passed. */
bool command_is_redis(const struct call *call);

/* name in lower case, cut to size bytes; returns to. */
const char *command_lower(const char *name, char *to, size_t size);

/* Handlers, by file. */
void command_ping(struct call *call);           /* command_connection.c */
void command_echo(struct call *call);
void command_quit(struct call *call);
void command_hello(struct call *call);
void command_auth(struct call *call);
void command_select(struct call *call);
void command_reset(struct call *call);
void command_acl_whoami(struct call *call);
void command_client_id(struct call *call);
void command_client_getname(struct call *call);
void command_client_setname(struct call *call);
void command_client_setinfo(struct call *call);
void command_client_switch(struct call *call);
void command_client_tracking(struct call *call);
void command_client_trackinginfo(struct call *call);
void command_client_unblock(struct call *call);
void command_client_reply(struct call *call);
void command_client_getredir(struct call *call);

void command_client_info(struct call *call);    /* command_clients.c */
void command_client_list(struct call *call);
void command_client_kill(struct call *call);

void command_get(struct call *call);            /* command_read.c */
void command_mget(struct call *call);
void command_exists(struct call *call);
void command_strlen(struct call *call);
void command_type(struct call *call);
void command_ttl(struct call *call);
void command_pttl(struct call *call);
void command_expiretime(struct call *call);
void command_pexpiretime(struct call *call);
void command_peek(struct call *call);
void command_digest(struct call *call);
void command_getif(struct call *call);
void command_meta(struct call *call);
void command_explain(struct call *call);

void command_set(struct call *call);            /* command_set.c */
void command_setex(struct call *call);
void command_psetex(struct call *call);
void command_setnx(struct call *call);
void command_getset(struct call *call);
void command_mset(struct call *call);

void command_getex(struct call *call);          /* command_expire.c */
void command_getdel(struct call *call);
void command_expire(struct call *call);
void command_pexpire(struct call *call);
void command_expireat(struct call *call);
void command_pexpireat(struct call *call);
void command_persist(struct call *call);

void command_del(struct call *call);            /* command_write.c */
void command_refresh(struct call *call);
void command_invalidate(struct call *call);
void command_warm(struct call *call);

void command_pass(struct call *call);           /* command_pass.c */
void command_pass_streams(struct call *call);
void command_refuse_blocking(struct call *call);
void command_refuse_subscribing(struct call *call);
void command_refuse_tracking(struct call *call);
void command_refuse_watching(struct call *call);
void command_refuse_cluster(struct call *call);
void command_refuse_setting(struct call *call);
void command_refuse_harmful(struct call *call);

void command_scan(struct call *call);           /* command_keyspace.c */
void command_keys(struct call *call);
void command_randomkey(struct call *call);
void command_dbsize(struct call *call);
void command_flush(struct call *call);

void command_multi(struct call *call);          /* command_transaction.c */
void command_discard(struct call *call);
void command_unwatch(struct call *call);
/* Queues the request, or if it is not good (its error reply is written) spoils the transaction. */
void command_queue(struct call *call, bool is_good);
void command_queue_free(struct queue *q);       /* NULL is allowed */

void command_exec(struct call *call);           /* command_exec.c */
/* An EXEC is under way that takes several turns of the loop, and the request would see or disturb a part of it: it
 * is to wait till client_wake_parked. */
bool command_is_held(const struct call *call);
/* What is under way, or waits for it, goes to Redis in this turn of the loop. */
void command_executions_hurry(struct server *s);

void command_hashkey(struct call *call);        /* command_server.c */
void command_stats(struct call *call);
void command_health(struct call *call);
void command_metrics(struct call *call);
void command_info(struct call *call);
void command_config_get(struct call *call);

void command_command(struct call *call);        /* command_docs.c */
void command_command_count(struct call *call);
void command_command_info(struct call *call);
void command_command_docs(struct call *call);
void command_command_list(struct call *call);
void command_command_getkeys(struct call *call);
void command_help(struct call *call);

#endif
