/* The HTTP port of admin.listen, for whoever watches the daemon: /metrics (Prometheus), /healthz
 * and /readyz (load balancers), /status (a page for people) and /status.json (what it shows).
 * It reads only what the daemon has at hand, so a request never waits, and never asks Redis.
 *
 * It has no login: who may connect may look, but finds no keys and no values. Bounded in
 * connections, headers and time. */
#ifndef CATCACHED_ADMIN_H
#define CATCACHED_ADMIN_H

struct admin;
struct conf;
struct event_base;
struct server;

/* Listens at conf->admin_host and admin_port and answers from the loop. All outlives it.
 * NULL and *error (free it): a sentence for the operator. Looks up the host, which may block. */
struct admin *admin_new(struct event_base *base, const struct conf *conf, const struct server *server, char **error);

/* Closes all connections. NULL is allowed. */
void admin_free(struct admin *a);

#endif
