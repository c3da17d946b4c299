/* Addresses of hosts; see lookup.h. */
#include "lookup.h"

#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "../proto/buf.h"
#include "clock.h"
#include "errand.h"

struct lookup {
	char *host;
	unsigned turn;
	lookup_fn done;
	void *arg;
	char address[NI_MAXHOST];
	int error;
};

static const struct addrinfo *nth(const struct addrinfo *first, unsigned n)
{
	const struct addrinfo *a = first;
	for (; n > 0; n--)
		a = a->ai_next ? a->ai_next : first;
	return a;
}

static void look_up(void *arg)
{
	struct lookup *look = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	look->error = getaddrinfo(look->host, NULL, &hints, &found);
	if (look->error)
		return;
	const struct addrinfo *a = nth(found, look->turn);
	look->error = getnameinfo(a->ai_addr, a->ai_addrlen, look->address, sizeof(look->address), NULL, 0, NI_NUMERICHOST);
	freeaddrinfo(found);
}

static void on_looked_up(void *arg)
{
	struct lookup *look = arg;
	clock_update();
	look->done(look->arg, look->error ? NULL : look->address, look->error ? gai_strerror(look->error) : "");
}

static void lookup_free(void *arg)
{
	struct lookup *look = arg;
	free(look->host);
	free(look);
}

struct errand *lookup_start(struct event_base *base, const char *host, unsigned turn, lookup_fn done, void *arg)
{
	struct lookup *look = xcalloc(1, sizeof(*look));
	*look = (struct lookup){.host = xstrdup(host), .turn = turn, .done = done, .arg = arg};
	struct errand *e = errand_start(base, "look-up", look_up, on_looked_up, lookup_free, look);
	if (!e)
		lookup_free(look);
	return e;
}
