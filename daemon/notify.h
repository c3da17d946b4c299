/* What the service manager is told (systemd, sd_notify(3)): that the daemon is ready, reads
 * its configuration again, or stops; one line on how it does; and that the loop still turns.
 * Started by hand, without a service manager, all of this does nothing. */
#ifndef CATCACHED_NOTIFY_H
#define CATCACHED_NOTIFY_H

struct buf;
struct event_base;
struct notify;

/* Adds to line, without a line's end, how the daemon does: what `systemctl status` shows. */
typedef void (*notify_status_fn)(void *arg, struct buf *line);

/* From now on a timer of the loop feeds the watchdog, if there is one (WATCHDOG_USEC): a loop
 * that hangs is not fed. */
struct notify *notify_new(struct event_base *base, notify_status_fn status, void *arg);
void notify_free(struct notify *n);     /* NULL is allowed */

/* The daemon can serve: at the start, and after notify_reloading whether the reload went well or
 * not. From the first time on the status line is told every few seconds. */
void notify_ready(struct notify *n);

void notify_reloading(struct notify *n);

/* The last of all: nothing but the watchdog goes on. */
void notify_stopping(struct notify *n);

#endif
