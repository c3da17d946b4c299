/* The same commands to two servers, and their replies compared. Commands go out in
 * batches to both at once. After a difference both servers are emptied and connected
 * anew, so that what is found next is not its echo, and the run goes on: a report
 * tells of all, alike ones counted together. */
#ifndef CATCACHED_TESTS_DIFFER_H
#define CATCACHED_TESTS_DIFFER_H

#include <stddef.h>
#include <stdint.h>

struct differ;
struct generator;
struct harness;

struct differ_options {
	const char *setup;              /* for the report */
	uint64_t seed;                  /* likewise */
	const char *sockets[2];         /* paths: the reference, the one to be tested */
	uint32_t max_batch;             /* commands sent at once, at the most */
};

/* Connects. The options, and g, live as long as the differ. */
struct differ *differ_new(struct generator *g, const struct differ_options *options);
void differ_free(struct differ *d);

/* Sends n commands. It may stop early, when nothing but differences comes. */
void differ_run(struct differ *d, size_t n);

/* What differed, for a person; NULL: nothing. Free it. */
char *differ_report(const struct differ *d);

/* Starts a Redis beside the harness's, with further words of its command line, and waits until it listens.
 * It dies with the test. Returns the path of its socket, which lives as long as h. */
const char *differ_reference_start(struct harness *h, const char *options);

/* A connection to the socket at path, on which reads and writes have a limit of time. */
int differ_connect(const char *path);

#endif
