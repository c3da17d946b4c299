/* Running a program and catching all it says: for the tests of catcachectl. Every function
 * fails the test when it cannot do what it says, and none waits without limit. */
#ifndef CATCACHED_TESTS_PROGRAM_H
#define CATCACHED_TESTS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What a program said, and how it exited. The texts have a NUL behind them. */
struct said {
	char *out, *err;
	size_t out_len, err_len;
	int status;
};

/* The path of a program of $BUILD, in memory that lives until the next call. */
const char *program_path(const char *name);

/* Runs argv to its end, with these bytes as stdin (NULL: nothing). Free with said_free. */
struct said program_run(const char *const *argv, const void *in, size_t in_len);
void said_free(struct said *s);

/* A program on a terminal of its own. */
struct terminal {
	pid_t pid;
	int fd;                 /* the side of the person */
	char *seen;             /* all that came, a NUL behind it */
	size_t len;
};

/* Starts argv on a terminal of that size. */
struct terminal terminal_run(const char *const *argv, unsigned columns, unsigned lines);

/* Reads what has come; false once the program has closed the terminal. */
bool terminal_read(struct terminal *t);

void terminal_type(struct terminal *t, const char *keys);

/* Reads until the program has ended; returns its exit status. Free with terminal_free. */
int terminal_end(struct terminal *t);
void terminal_free(struct terminal *t);

/* The last whole screen drawn: lines as they stand there. Fails if one is over columns wide, or there are
 * more than lines. To be freed; NULL if there is none yet. */
char *terminal_screen(const struct terminal *t, unsigned columns, unsigned lines);

#endif
