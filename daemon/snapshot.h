/* A file of what the daemon holds, so that it survives a restart: records, with a checksum over all of the file.
 * Written to a file beside it that takes its name when it is whole and on the disk; checked as a whole before anything
 * of it is told. It is of the machine that wrote it: numbers are in its byte order. Times are wall-clock milliseconds.
 *
 *      magic, version, time | records, bytes, XXH3-64 | record ...
 */
#ifndef CATCACHED_SNAPSHOT_H
#define CATCACHED_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_NEVER INT64_MAX
#define SNAPSHOT_SLACK_MS 5000  /* a clock may be set back by so much between writing and reading */

enum snapshot_kind {
	SNAPSHOT_VALUE,         /* of a key in memory */
	SNAPSHOT_WRITE,         /* what Redis is still to be told: this value, */
	SNAPSHOT_REMOVAL,       /* that the key is gone, */
	SNAPSHOT_CLEAR,         /* that all keys of a type are that begin with this one */
	SNAPSHOT_KINDS
};

struct snapshot_record {
	uint8_t kind, source;           /* source: enum source, of SNAPSHOT_VALUE */
	uint32_t key_len, value_len;
	uint64_t type;                  /* what its type has to look like; the caller's */
	int64_t stored_ms, expires_ms;  /* not negative; SNAPSHOT_NEVER: it does not end */
	const char *key, *value;
};

struct snapshot;

/* NULL and *error (free it): a sentence for the operator. A file that is there and is no snapshot is let be. */
struct snapshot *snapshot_create(const char *path, char **error);

/* Why none could be written there, a sentence for the operator (free it); NULL: nothing speaks against it now. Leaves nothing there. */
char *snapshot_trouble(const char *path);

/* 0; -1 once writing has failed: then snapshot_commit tells why. */
int snapshot_add(struct snapshot *s, const struct snapshot_record *record);

/* Ends it, and s: the file is there, whole; or -1 and *error, and what was there before is there still. */
int snapshot_commit(struct snapshot *s, char **error);

/* Uses up the file: checks it, removes it, and calls each for every record, in their order; what that points to lives
 * during the call. How many there were; 0 also where there is no file; -1 and *error: nothing of it was told. What is no
 * snapshot is let be; one that is damaged is removed, too: none is there again when another clock or version would take it. */
typedef void (*snapshot_each_fn)(void *arg, const struct snapshot_record *record);
int64_t snapshot_take(const char *path, snapshot_each_fn each, void *arg, char **error);

/* The same for n records in memory, without a file and its checksum. each may be NULL: it only looks whether they fill the
 * bytes exactly. */
bool snapshot_walk(const char *bytes, size_t len, uint64_t n, snapshot_each_fn each, void *arg);

#endif
