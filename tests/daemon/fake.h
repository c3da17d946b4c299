/* A server on a socket that says what a test wants it to say: what is not catcached, is an
 * older one, or one in a state that the real daemon is hard to bring to. */
#ifndef CATCACHED_TESTS_FAKE_H
#define CATCACHED_TESTS_FAKE_H

struct fake;

/* What is answered to a command: bytes; "": nothing; NULL: the connection is closed. Of
 * several rows for a command each serves once, in their order, and the last again and again.
 * A row of FAKE_OWED is sent to whom nothing was answered, once all rows before it have served. */
struct fake_reply {
	const char *command, *reply;
};
#define FAKE_OWED "(owed)"

/* Listens on path, in a thread. replies end with a row of NULL; they are copied. */
struct fake *fake_start(const char *path, const struct fake_reply *replies);

/* Ends it, and removes the socket. */
void fake_stop(struct fake *f);

#endif
