/* Reading the configuration again (SIGHUP): the file is read and checked on a thread of its own, since it
 * may look up users and names; a bad one is told in the log, error by error, and changes nothing. One at a time:
 * whoever asks meanwhile is served by one more after it. */
#ifndef CATCACHED_RELOAD_H
#define CATCACHED_RELOAD_H

struct conf;
struct event_base;
struct reloader;

struct reload_owner {
	/* conf is good, and the owner's from now on; reload_end is to follow, at once or later. */
	void (*apply)(void *owner, struct conf *conf);
	/* The file is bad, and has been told of: it stays as it is. */
	void (*refused)(void *owner);
	/* All that was asked for is done, well or not. */
	void (*idle)(void *owner);
};

struct reloader *reload_new(struct event_base *base, const char *file, const struct reload_owner *owner, void *arg);
void reload_free(struct reloader *r);           /* NULL is allowed; nothing is called any more */

void reload_start(struct reloader *r);

/* What apply began is done. */
void reload_end(struct reloader *r);

#endif
