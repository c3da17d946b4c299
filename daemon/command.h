/* Commands: one row of a table for each, with all that is said of it. */
#ifndef CATCACHED_COMMAND_H
#define CATCACHED_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "../proto/reply.h"
#include "../proto/request.h"
#include "client.h"
#include "key.h"
#include "server.h"

enum command_flags {
	COMMAND_READ = 1,       /* changes nothing: may overlap with the reads before it; all others wait for those before them */
	COMMAND_WRITE = 2,
	COMMAND_ADMIN = 4,      /* only for admin.users */
	COMMAND_FAST = 8,       /* never waits for Redis or a fetch */
};

/* One request being run. Everything in it lives until run returns. */
struct call {
	struct server *server;
	struct client *client;
	const struct command *command;
	const struct request_arg *argv;
	size_t argc;
	int resp;
	struct out *out;        /* where the reply goes, unless call_defer is called */
	struct slot *slot;      /* what call_defer gave */
	bool deferred;
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
	const char *summary;
};

/* All commands, ended by a row without a name. */
extern const struct command commands[];

/* The row of that name in any case, or NULL. */
const struct command *command_find(const char *name, size_t len);

/* name in lower case, cut to size bytes; returns to. */
const char *command_lower(const char *name, char *to, size_t size);

/* Checks and runs one request (argc > 0): unknown commands, arity and rights are
 * answered here. */
void command_run(struct call *call);

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

/* All arguments behind the command as keys: an array to be freed; NULL and the error
 * reply is written if one of them is bad. */
struct key *call_keys(struct call *call, struct key_room **room);

/* True if argument i is word, in any case. */
bool call_arg_is(const struct call *call, size_t i, const char *word);

/* Handlers, by file. */
void command_ping(struct call *call);           /* command_connection.c */
void command_echo(struct call *call);
void command_quit(struct call *call);
void command_hello(struct call *call);
void command_select(struct call *call);
void command_client_id(struct call *call);
void command_client_getname(struct call *call);
void command_client_setname(struct call *call);
void command_client_ok(struct call *call);
void command_client_info(struct call *call);

void command_get(struct call *call);            /* command_read.c */
void command_mget(struct call *call);
void command_exists(struct call *call);
void command_strlen(struct call *call);
void command_ttl(struct call *call);
void command_pttl(struct call *call);
void command_peek(struct call *call);
void command_digest(struct call *call);
void command_getif(struct call *call);
void command_meta(struct call *call);
void command_explain(struct call *call);

void command_set(struct call *call);            /* command_write.c */
void command_setex(struct call *call);
void command_psetex(struct call *call);
void command_setnx(struct call *call);
void command_getset(struct call *call);
void command_del(struct call *call);
void command_expire(struct call *call);
void command_refresh(struct call *call);
void command_invalidate(struct call *call);

void command_hashkey(struct call *call);        /* command_server.c */
void command_stats(struct call *call);
void command_health(struct call *call);
void command_info(struct call *call);
void command_config_get(struct call *call);
void command_command(struct call *call);
void command_command_count(struct call *call);
void command_command_info(struct call *call);
void command_command_docs(struct call *call);

#endif
