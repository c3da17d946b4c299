/* The socket: listening, accepting, and the list of clients. */
#ifndef CATCACHED_SERVER_H
#define CATCACHED_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "../proto/request.h"
#include "out.h"

struct catalog;
struct client;
struct conf;
struct event;
struct event_base;
struct execution;
struct histogram;
struct warmer;

struct server_stats {
	int64_t started_ms, started_at_ms;      /* clock_ms, clock_wall_ms */
	uint64_t connections, rejected; /* accepted so far; turned away at max_clients */
	uint64_t commands;              /* run so far */
	uint64_t protocol_errors;
	uint64_t over_output, over_total, idle; /* closed: owed more than listen.max_output; owed most when all were owed more than
	                                         * listen.max_output_total; silent for listen.idle_timeout */
	uint64_t reloads, reloads_refused;      /* of the configuration; counted by main */
	int64_t conf_at_ms;             /* clock_wall_ms when it was read that is in force */
};

/* What all clients share. Clients use it directly; nobody else writes it. */
struct server {
	struct event_base *base;
	const struct conf *conf;
	struct catalog *catalog;
	struct request_limits limits;
	struct client *clients;         /* linked through client_next */
	size_t n_clients;
	struct client *ready;           /* whose replies have come; driven by drive */
	struct event *drive;
	bool is_in_turn;                /* requests were read in this turn of the loop, so the clock is, too; till turn_over */
	struct event *turn_over;
	struct execution *executing;    /* an EXEC that takes several turns of the loop; see command_exec.c */
	struct execution *awaiting;     /* EXECs that wait for it */
	struct buf scratch;             /* where a client without unfinished input reads to */
	struct out spare;               /* output buffers of the last client that was done with them */
	uint64_t output_bytes;          /* owed to clients, a value for each who is owed it */
	uint64_t summed_bytes;          /* the same, when what is really held for them was last added up, */
	int64_t summed_ms;              /* and when that was */
	struct server_stats stats;
	struct histogram *latency;      /* by row of commands, */
	struct histogram *latency_of_others;    /* and behind them; see command_latency */
	struct warmer *warmer;          /* owned by main */
	const char *unready;            /* why it is not to be sent requests; NULL: it may be; owned by main */
	struct listener *listener;      /* NULL: it does not listen (any more) */
};

/* A server that nobody can connect to yet. */
struct server *server_new(struct event_base *base, const struct conf *conf, struct catalog *catalog);

/* Listens on conf->listen_path, where clients wait until server_open: on the socket that the service manager passes, if it does (socket
 * activation; called once in a process), else on one of its own. A socket file that nobody
 * listens on is replaced, one that is in use is not. 0; or -1 and *error (free it): a
 * sentence for the operator. */
int server_listen(struct server *s, char **error);

/* Takes clients in from now on. */
void server_open(struct server *s);

/* Another configuration, which outlives s, too: what it says of clients counts from now on. */
void server_set_conf(struct server *s, const struct conf *conf);

/* Takes in no more clients and no more requests; those that were sent are answered while the loop
 * runs, and each client is closed when it is owed nothing: n_clients sinks to 0. Who connects
 * from now on waits for the next daemon if the socket was passed, else is refused. */
void server_drain(struct server *s);

/* Closes the socket and all clients. NULL is allowed. */
void server_free(struct server *s);

#endif
