/* Subscribers made deaf; see muffler.h. */
#include "muffler.h"

#include <check.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/un.h>

#include "../../proto/buf.h"
#include "redisd.h"

struct way {
	TAILQ_ENTRY(way) link;
	struct bufferevent *client, *server;
	bool is_subscriber;
};

char muffler_path[160];
bool muffler_is_on;

static TAILQ_HEAD(ways, way) ways;
static struct evconnlistener *listener;

static void way_free(struct way *w)
{
	TAILQ_REMOVE(&ways, w, link);
	bufferevent_free(w->client);
	bufferevent_free(w->server);
	free(w);
}

static void on_asked(struct bufferevent *from, void *arg)
{
	struct way *w = arg;
	struct evbuffer *in = bufferevent_get_input(from);
	if (evbuffer_search(in, "SUBSCRIBE", strlen("SUBSCRIBE"), NULL).pos >= 0)
		w->is_subscriber = true;
	bufferevent_write_buffer(w->server, in);
}

static void on_said(struct bufferevent *from, void *arg)
{
	struct way *w = arg;
	struct evbuffer *in = bufferevent_get_input(from);
	if (muffler_is_on && w->is_subscriber)
		evbuffer_drain(in, evbuffer_get_length(in));
	else
		bufferevent_write_buffer(w->client, in);
}

static void on_event(struct bufferevent *b, short what, void *arg)
{
	(void)b;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		way_free(arg);
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	ck_assert_uint_lt(strlen(path), sizeof(a.sun_path));
	memcpy(a.sun_path, path, strlen(path));
	return a;
}

static void on_client(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	struct way *w = xcalloc(1, sizeof(*w));
	struct sockaddr_un a = address_of(socket_path);
	(void)l, (void)from, (void)len, (void)arg;
	w->client = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	w->server = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	TAILQ_INSERT_TAIL(&ways, w, link);
	bufferevent_setcb(w->client, on_asked, NULL, on_event, w);
	bufferevent_setcb(w->server, on_said, NULL, on_event, w);
	bufferevent_enable(w->client, EV_READ | EV_WRITE);
	bufferevent_enable(w->server, EV_READ | EV_WRITE);
	if (bufferevent_socket_connect(w->server, (struct sockaddr *)&a, sizeof(a)) != 0)
		way_free(w);
}

void muffler_start(void)
{
	TAILQ_INIT(&ways);
	muffler_is_on = false;
	snprintf(muffler_path, sizeof(muffler_path), "%s.muffled", socket_path);
	struct sockaddr_un a = address_of(muffler_path);
	listener = evconnlistener_new_bind(base, on_client, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1,
		(struct sockaddr *)&a, sizeof(a));
	ck_assert_ptr_nonnull(listener);
}

void muffler_stop(void)
{
	evconnlistener_free(listener);
	while (!TAILQ_EMPTY(&ways))
		way_free(TAILQ_FIRST(&ways));
}
