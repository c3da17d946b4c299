/* sd_notify; see notify.h. */
#include "notify.h"

#include <event2/event.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "../proto/buf.h"

#define STATUS_INTERVAL_S 5
#define FEEDS_PER_TIMEOUT 4     /* so that one that comes late is not one too late */

struct notify {
	notify_status_fn status;
	void *arg;
	struct event *feed;             /* NULL: there is no watchdog */
	struct event *tell;
};

/* What cannot be told is not told: the service manager's own deadlines deal with silence. */
static void tell(const char *text)
{
	(void)sd_notify(0, text);
}

static void tell_with_status(const struct notify *n, const char *state)
{
	struct buf text = BUF_INIT;
	buf_add_str(&text, state);
	buf_add_str(&text, "STATUS=");
	n->status(n->arg, &text);
	buf_add_char(&text, '\0');
	if (!text.failed)
		tell(text.data);
	buf_free(&text);
}

static void on_feed(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	tell("WATCHDOG=1");
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	tell_with_status(arg, "");
}

struct notify *notify_new(struct event_base *base, notify_status_fn status, void *arg)
{
	struct notify *n = xcalloc(1, sizeof(*n));
	uint64_t timeout_us = 0;
	*n = (struct notify){.status = status, .arg = arg, .tell = event_new(base, -1, EV_PERSIST, on_tell, n)};
	if (sd_watchdog_enabled(0, &timeout_us) <= 0)
		return n;
	uint64_t us = timeout_us / FEEDS_PER_TIMEOUT;
	n->feed = event_new(base, -1, EV_PERSIST, on_feed, n);
	event_add(n->feed, &(struct timeval){.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)});
	return n;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	if (n->feed)
		event_free(n->feed);
	event_free(n->tell);
	free(n);
}

void notify_ready(struct notify *n)
{
	tell_with_status(n, "READY=1\n");
	event_add(n->tell, &(struct timeval){.tv_sec = STATUS_INTERVAL_S});
}

/* The time lets systemd tell this reload from one before it (Type=notify-reload). */
void notify_reloading(struct notify *n)
{
	struct timespec now;
	(void)n;
	clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	char *text = xasprintf("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reading the configuration again",
		(unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
	tell(text);
	free(text);
}

void notify_stopping(struct notify *n)
{
	event_del(n->tell);
	tell("STOPPING=1\nSTATUS=Answering what was asked");
}
