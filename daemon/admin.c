/* The HTTP port; see admin.h. libevent's evhttp does the protocol; here are the socket, the
 * bounds, and what is at each path.
 *
 * evhttp does not count its connections, nor tell of their end. So a reference to each is kept here,
 * and a sweep looks which of them evhttp is done with; at ADMIN_CONNECTIONS the socket rests until
 * one has gone. */
#include "admin.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "server.h"
#include "status.h"

#define BACKLOG 64
#define ADMIN_CONNECTIONS 64
#define SWEEP_MS 100
#define HEADERS_MAX 8192
#define BODY_MAX 1024           /* of a request: none has a use for one */
#define TIMEOUT_S 10            /* a connection that is silent, or does not take what it is sent, for so long is closed */

extern const char status_html[];        /* daemon/status.html, by the Makefile */
extern const size_t status_html_len;

struct admin {
	struct event_base *base;
	const struct server *server;
	struct evhttp *http;
	struct evhttp_bound_socket *socket;
	struct bufferevent *connections[ADMIN_CONNECTIONS];
	size_t n_connections;
	struct event *sweep;            /* runs while there are connections */
};

/* ---- answers ---- */

#define TEXT "text/plain; charset=utf-8"
#define JSON "application/json"
#define HTML "text/html; charset=utf-8"

static void reply(struct evhttp_request *r, int code, const char *type, const void *body, size_t len)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(r);
	struct evbuffer *b = evbuffer_new();
	bool is_head = evhttp_request_get_command(r) == EVHTTP_REQ_HEAD; /* evhttp would send the body */
	char digits[24];
	snprintf(digits, sizeof(digits), "%zu", len);
	if (is_head)
		evhttp_add_header(headers, "Content-Length", digits);
	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Cache-Control", "no-store");
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	if (!b || evbuffer_add(b, body, is_head ? 0 : len) < 0)
		evhttp_send_error(r, HTTP_INTERNAL, NULL);
	else
		evhttp_send_reply(r, code, NULL, b);
	if (b)
		evbuffer_free(b);
}

static void reply_text(struct evhttp_request *r, int code, const char *text)
{
	char line[256];
	reply(r, code, TEXT, line, (size_t)snprintf(line, sizeof(line), "%s\n", text));
}

static void answer_metrics(const struct admin *a, struct evhttp_request *r)
{
	struct buf text = BUF_INIT;
	metrics_add(&text, a->server);
	if (text.failed)
		reply_text(r, HTTP_INTERNAL, "out of memory");
	else
		reply(r, HTTP_OK, METRICS_CONTENT_TYPE, text.data, text.len);
	buf_free(&text);
}

static void answer_health(const struct admin *a, struct evhttp_request *r)
{
	(void)a;
	reply_text(r, HTTP_OK, "ok");
}

static void answer_readiness(const struct admin *a, struct evhttp_request *r)
{
	const char *unready = status_unready(a->server);
	reply_text(r, unready ? HTTP_SERVUNAVAIL : HTTP_OK, unready ? unready : "ready");
}

static void answer_page(const struct admin *a, struct evhttp_request *r)
{
	(void)a;
	evhttp_add_header(evhttp_request_get_output_headers(r), "Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	reply(r, HTTP_OK, HTML, status_html, status_html_len);
}

static void answer_figures(const struct admin *a, struct evhttp_request *r)
{
	cJSON *page = status_page(a->server);
	char *text = cJSON_PrintUnformatted(page);
	if (text)
		reply(r, HTTP_OK, JSON, text, strlen(text));
	else
		reply_text(r, HTTP_INTERNAL, "out of memory");
	cJSON_free(text);
	cJSON_Delete(page);
}

static void answer_root(const struct admin *a, struct evhttp_request *r)
{
	(void)a;
	evhttp_add_header(evhttp_request_get_output_headers(r), "Location", "/status");
	reply_text(r, HTTP_MOVETEMP, "/status");
}

static const struct path {
	const char *path;
	void (*answer)(const struct admin *a, struct evhttp_request *r);
} paths[] = {
	{"/metrics", answer_metrics},
	{"/healthz", answer_health},
	{"/readyz", answer_readiness},
	{"/status", answer_page},
	{"/status.json", answer_figures},
	{"/", answer_root},
};

static const struct path *find_path(struct evhttp_request *r)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(r);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	for (size_t i = 0; path && i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strcmp(path, paths[i].path) == 0)
			return &paths[i];
	return NULL;
}

static void on_request(struct evhttp_request *r, void *arg)
{
	const struct path *found = find_path(r);
	enum evhttp_cmd_type method = evhttp_request_get_command(r);
	clock_update();
	if (!found) {
		reply_text(r, HTTP_NOTFOUND, "not here; there are /metrics /healthz /readyz /status /status.json");
	} else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
		evhttp_add_header(evhttp_request_get_output_headers(r), "Allow", "GET, HEAD");
		reply_text(r, HTTP_BADMETHOD, "only GET and HEAD");
	} else {
		found->answer(arg, r);
	}
}

/* ---- connections ---- */

/* evhttp has callbacks in all that it uses. What it is done with has been shut down; the reference
 * here is the last. */
static bool is_gone(struct bufferevent *connection)
{
	bufferevent_data_cb read, write;
	bufferevent_event_cb event;
	bufferevent_getcb(connection, &read, &write, &event, NULL);
	return !read && !write && !event;
}

static void start_sweep(struct admin *a)
{
	event_add(a->sweep, &(struct timeval){.tv_usec = SWEEP_MS * 1000});
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct admin *a = arg;
	bool was_full = a->n_connections == ADMIN_CONNECTIONS;
	size_t kept = 0;
	(void)fd, (void)what;
	for (size_t i = 0; i < a->n_connections; i++)
		if (is_gone(a->connections[i]))
			bufferevent_decref(a->connections[i]);
		else
			a->connections[kept++] = a->connections[i];
	a->n_connections = kept;
	if (was_full && kept < ADMIN_CONNECTIONS)
		evconnlistener_enable(evhttp_bound_socket_get_listener(a->socket));
	if (kept)
		start_sweep(a);
}

/* For a connection that was accepted; evhttp gives it its socket. NULL: evhttp makes one of its
 * own, which is not counted. */
static struct bufferevent *on_accepted(struct event_base *base, void *arg)
{
	struct admin *a = arg;
	struct bufferevent *connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!connection || a->n_connections == ADMIN_CONNECTIONS)
		return connection;
	bufferevent_incref(connection);
	a->connections[a->n_connections++] = connection;
	if (a->n_connections == 1)
		start_sweep(a);
	if (a->n_connections == ADMIN_CONNECTIONS)
		evconnlistener_disable(evhttp_bound_socket_get_listener(a->socket));
	return connection;
}

/* ---- the socket ---- */

static const char *remedy_for(int why)
{
	if (why == EADDRINUSE)
		return "another process has it: stop that, or change admin.listen";
	if (why == EADDRNOTAVAIL)
		return "admin.listen must name an address of this host";
	if (why == EACCES)
		return "a port below 1024 takes CAP_NET_BIND_SERVICE: choose a higher one for admin.listen";
	return "change admin.listen, or set it to none";
}

static int listen_at(const struct addrinfo *at)
{
	const int on = 1;
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* without it, a port used a minute ago seems in use */
	if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}

/* At the first address of the host that can be listened at. */
static int listen_on(const struct conf *conf, char **error)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found;
	char port[8];
	int fd = -1;
	snprintf(port, sizeof(port), "%u", conf->admin_port);
	int unknown = getaddrinfo(conf->admin_host, port, &hints, &found);
	if (unknown) {
		*error = xasprintf("cannot listen at %s, port %s: %s (%s)", conf->admin_host, port, gai_strerror(unknown), remedy_for(EADDRNOTAVAIL));
		return -1;
	}
	for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
		fd = listen_at(at);
	if (fd < 0)
		*error = xasprintf("cannot listen at %s, port %s: %s (%s)", conf->admin_host, port, strerror(errno), remedy_for(errno));
	freeaddrinfo(found);
	return fd;
}

/* With the port that the system chose, if 0 was asked for. */
static void tell(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char host[NI_MAXHOST], port[NI_MAXSERV];
	if (getsockname(fd, (struct sockaddr *)&address, &len) == 0
	    && getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		log_info("admin_ready", "host=%s port=%s", host, port);
}

struct admin *admin_new(struct event_base *base, const struct conf *conf, const struct server *server, char **error)
{
	int fd = listen_on(conf, error);
	if (fd < 0)
		return NULL;
	struct admin *a = xcalloc(1, sizeof(*a));
	*a = (struct admin){.base = base, .server = server, .http = evhttp_new(base)};
	a->sweep = evtimer_new(base, on_sweep, a);
	if (a->http)
		a->socket = evhttp_accept_socket_with_handle(a->http, fd);
	if (!a->socket) {
		*error = xstrdup("cannot listen at admin.listen: out of memory");
		close(fd);
		admin_free(a);
		return NULL;
	}
	evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE
		| EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH); /* to be told that they are not */
	evhttp_set_max_headers_size(a->http, HEADERS_MAX);
	evhttp_set_max_body_size(a->http, BODY_MAX);
	evhttp_set_timeout(a->http, TIMEOUT_S);
	evhttp_set_bevcb(a->http, on_accepted, a);
	evhttp_set_gencb(a->http, on_request, a);
	tell(fd);
	return a;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	if (a->http)
		evhttp_free(a->http);
	for (size_t i = 0; i < a->n_connections; i++)
		bufferevent_decref(a->connections[i]);
	event_free(a->sweep);
	free(a);
}
