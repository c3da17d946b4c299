/* The parameters of connections to PostgreSQL; see pg_target.h. They are the URL's,
 * some of ours, and the addresses that were looked up: libpq takes several hosts as
 * lists of equal length, so a name with two addresses becomes two hosts. */
#include "pg_target.h"
#include "pg_lib.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../proto/buf.h"
#include "errand.h"

#define PARAMETERS_MAX 100      /* libpq 15 knows 41 */

struct pg_target {
	const char *keywords[PARAMETERS_MAX + 1];       /* libpq's own strings, or literals */
	char *values[PARAMETERS_MAX + 1];
	unsigned n;
	PQconninfoOption *options;      /* what keywords points into */

	char *hosts, *ports;            /* as given, with commas; hosts NULL: left to libpq */
	bool has_names;                 /* some of hosts are */
	unsigned skipped;               /* how many to begin behind */
	struct errand *errand;          /* the look-up under way */
	pg_target_done_fn done;
	void *arg;
};

/* One host as libpq gets it. */
struct endpoint {
	char *host;
	char *address;                  /* "": host is a path, an address or empty */
	char *port;                     /* "": the default */
};

/* Of the thread, then of on_looked_up. */
struct lookup {
	struct pg_target *target;       /* only on_looked_up may follow it */
	char *hosts, *ports;            /* copies, taken apart */
	struct endpoint *found;
	size_t n;
	char *error;                    /* of the last name that was not found */
};

/* ---- parameters ---- */

static const char *get(const struct pg_target *t, const char *keyword)
{
	for (unsigned i = 0; i < t->n; i++)
		if (strcmp(t->keywords[i], keyword) == 0)
			return t->values[i];
	return NULL;
}

/* Takes value over. keyword lives as long as t. */
static void set(struct pg_target *t, const char *keyword, char *value)
{
	unsigned i = 0;
	while (i < t->n && strcmp(t->keywords[i], keyword) != 0)
		i++;
	assert(i < PARAMETERS_MAX);
	free(t->values[i]);
	t->keywords[i] = keyword;
	t->values[i] = value;
	if (i == t->n)
		t->n++;
}

/* What the environment (PGHOST and so on) gives is taken up here where we change it. */
static void add_default(struct pg_target *t, const char *keyword, const char *variable)
{
	const char *value = getenv(variable);
	if (value && !get(t, keyword))
		set(t, keyword, xstrdup(value));
}

static void add_ours(struct pg_target *t)
{
	const char *options = get(t, "options");
	set(t, "options", xasprintf("%s -c default_transaction_read_only=on", options ? options : ""));
	set(t, "client_encoding", xstrdup("UTF8"));
	set(t, "fallback_application_name", xstrdup("catcached"));
}

/* A path of a Unix socket, or an address already. */
static bool is_name(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];
	if (*host == '\0' || *host == '/' || *host == '@')
		return false;
	return inet_pton(AF_INET, host, address) != 1 && inet_pton(AF_INET6, host, address) != 1;
}

static bool has_name(const char *hosts)
{
	char *copy = xstrdup(hosts), *rest = copy, *host;
	bool found = false;
	while (!found && (host = strsep(&rest, ",")))
		found = is_name(host);
	free(copy);
	return found;
}

struct pg_target *pg_target_new(const char *url)
{
	PQconninfoOption *options = pg.PQconninfoParse(url, NULL);
	if (!options)
		return NULL;
	struct pg_target *t = xcalloc(1, sizeof(*t));
	t->options = options;
	for (PQconninfoOption *o = options; o->keyword; o++)
		if (o->val)
			set(t, o->keyword, xstrdup(o->val));
	add_default(t, "host", "PGHOST");
	add_default(t, "hostaddr", "PGHOSTADDR");
	add_default(t, "port", "PGPORT");
	add_default(t, "options", "PGOPTIONS");
	add_ours(t);
	const char *hosts = get(t, "host"), *ports = get(t, "port");
	if (hosts && !get(t, "hostaddr")) {
		t->hosts = xstrdup(hosts);
		t->ports = xstrdup(ports ? ports : "");
		t->has_names = has_name(hosts);
	}
	return t;
}

void pg_target_free(struct pg_target *t)
{
	if (!t)
		return;
	errand_abandon(t->errand);
	for (unsigned i = 0; i < t->n; i++)
		free(t->values[i]);
	pg.PQconninfoFree(t->options);
	free(t->hosts);
	free(t->ports);
	free(t);
}

PGconn *pg_target_connect(const struct pg_target *t)
{
	return pg.PQconnectStartParams(t->keywords, (const char *const *)t->values, 0);
}

/* ---- looking up ---- */

bool pg_target_has_names(const struct pg_target *t)
{
	return t->has_names;
}

static void add_endpoint(struct lookup *l, const char *host, const char *address, const char *port)
{
	l->found = xrealloc(l->found, (l->n + 1) * sizeof(*l->found));
	l->found[l->n++] = (struct endpoint){xstrdup(host), xstrdup(address), xstrdup(port)};
}

static void add_addresses(struct lookup *l, const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	int error = getaddrinfo(host, NULL, &hints, &found);
	if (error) {
		free(l->error);
		l->error = xasprintf("cannot look up %s: %s", host, gai_strerror(error));
		return;
	}
	for (struct addrinfo *a = found; a; a = a->ai_next) {
		char address[NI_MAXHOST];
		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) == 0)
			add_endpoint(l, host, address, port);
	}
	freeaddrinfo(found);
}

/* On the thread. A single port is that of all hosts. A name that is not found leaves
 * the others to be tried. */
static void look_up(void *arg)
{
	struct lookup *l = arg;
	char *hosts = l->hosts, *ports = l->ports;
	const char *port = strsep(&ports, ","), *host;
	while ((host = strsep(&hosts, ","))) {
		if (is_name(host))
			add_addresses(l, host, port);
		else
			add_endpoint(l, host, "", port);
		if (ports)
			port = strsep(&ports, ",");
	}
}

static void use_endpoints(struct pg_target *t, const struct lookup *l)
{
	struct buf host = BUF_INIT, address = BUF_INIT, port = BUF_INIT;
	for (size_t i = 0; i < l->n; i++) {
		const struct endpoint *e = &l->found[(i + t->skipped) % l->n];
		const char *comma = i ? "," : "";
		buf_addf(&host, "%s%s", comma, e->host);
		buf_addf(&address, "%s%s", comma, e->address);
		buf_addf(&port, "%s%s", comma, e->port);
	}
	set(t, "host", xstrndup(host.data, host.len));
	set(t, "hostaddr", xstrndup(address.data, address.len));
	set(t, "port", xstrndup(port.data, port.len));
	buf_free(&host);
	buf_free(&address);
	buf_free(&port);
}

static void on_looked_up(void *arg)
{
	struct lookup *l = arg;
	struct pg_target *t = l->target;
	t->errand = NULL;
	if (l->n > 0)
		use_endpoints(t, l);
	t->done(t->arg, l->n > 0 ? NULL : l->error);
}

static struct lookup *lookup_new(struct pg_target *t)
{
	struct lookup *l = xcalloc(1, sizeof(*l));
	l->target = t;
	l->hosts = xstrdup(t->hosts);
	l->ports = xstrdup(t->ports);
	return l;
}

static void lookup_free(void *arg)
{
	struct lookup *l = arg;
	for (size_t i = 0; i < l->n; i++) {
		free(l->found[i].host);
		free(l->found[i].address);
		free(l->found[i].port);
	}
	free(l->found);
	free(l->hosts);
	free(l->ports);
	free(l->error);
	free(l);
}

int pg_target_look_up(struct pg_target *t, struct event_base *base, pg_target_done_fn done, void *arg)
{
	struct lookup *l = lookup_new(t);
	t->done = done;
	t->arg = arg;
	t->errand = errand_start(base, "look-up", look_up, on_looked_up, lookup_free, l);
	if (t->errand)
		return 0;
	lookup_free(l);
	return -1;
}

void pg_target_skip(struct pg_target *t)
{
	t->skipped++;
	if (!t->hosts || t->has_names)
		return;
	struct lookup *l = lookup_new(t);
	look_up(l);                     /* asks nobody: there are no names */
	use_endpoints(t, l);
	lookup_free(l);
}
