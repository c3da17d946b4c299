/* The request side of the protocol (PROTOCOL.md): a parser for lines and RESP
 * arrays that takes bytes as they come and stops anywhere. Pure: it owns no
 * socket and no buffer of the caller's.
 *
 *      struct request_parser p;  request_init(&p, &limits);
 *      for (;;) switch (request_parse(&p, data, len)) ...
 *
 * data/len are always all the bytes not consumed yet, from the first byte of the
 * current request on; the parser remembers how far it got and never looks at a
 * byte twice, but the buffer may move between calls. */
#ifndef CATCACHED_REQUEST_H
#define CATCACHED_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_LINE_MAX 65536          /* an unfinished line, or RESP header line, longer than this is refused */
#define REQUEST_ARGS_MAX 1048576        /* arguments of one request; more is "invalid multibulk length" */
#define REQUEST_LARGE 65536             /* an argument from this size on is collected out of line */

struct request_limits {
	size_t max_arg;         /* bytes of one argument; a longer bulk is "invalid bulk length" */
	size_t max_total;       /* bytes of all arguments together */
};

struct request_arg {
	const char *data;       /* in the caller's buffer, in the parser's scratch (quoted words), or the caller's own memory (out of line) */
	size_t len;
	void *owner;            /* what request_supply gave for it, else NULL */
};

enum request_status {
	REQUEST_MORE,           /* all that is there is understood; give more bytes */
	REQUEST_READY,          /* argv[0..argc) is a request of consumed bytes (argc 0: nothing to do, go on) */
	REQUEST_LARGE_ARG,      /* the next argument has large_len bytes: call request_supply */
	REQUEST_FAILED,         /* error is the text for "-ERR Protocol error: %s"; close the connection.
	                           Where error is NULL, close without a reply (an HTTP request by mistake) */
};

struct request_parser {
	const struct request_limits *limits;

	/* results */
	struct request_arg *argv;
	size_t argc;
	size_t consumed;        /* REQUEST_READY, REQUEST_LARGE_ARG: bytes of data the caller may drop */
	size_t large_len;       /* REQUEST_LARGE_ARG */
	const char *error;      /* REQUEST_FAILED */

	/* the parser's own; see request.c */
	size_t cap_args;
	size_t want_args;       /* arguments announced by *N and not yet here */
	size_t total;
	size_t scan;            /* bytes of data already looked at */
	size_t bulk_len;
	int state;
	char *large;            /* where an out-of-line argument goes */
	size_t large_filled;
	char *scratch;          /* unquoted words of a line */
	char error_text[48];
};

void request_init(struct request_parser *p, const struct request_limits *limits);

/* Goes on with the request at the head of data. After REQUEST_READY the caller
 * uses argv, then drops p->consumed bytes from its buffer and calls request_next;
 * argv's pointers live until then. Several requests in one buffer: repeat. */
enum request_status request_parse(struct request_parser *p, const char *data, size_t len);

/* After REQUEST_READY and the use of argv: makes ready for the next request.
 * Memory is kept for it, unless there was much of it. Owners are the caller's to release. */
void request_next(struct request_parser *p);

/* After REQUEST_LARGE_ARG the caller drops consumed bytes of its buffer and gives
 * memory of large_len bytes and an owner to name in argv (so the value of a SET is
 * read straight to where it stays). From then on the bytes of the argument come
 * through request_large_room / request_large_filled, or, those already in the
 * buffer, through request_parse (which copies them over and counts them consumed
 * with the next result). */
void request_supply(struct request_parser *p, char *memory, void *owner);

/* While an out-of-line argument is being filled: where the next bytes go, and how
 * many at the most; 0 otherwise. The caller reads into *to and reports the count.
 * Only call it when the caller's own buffer is empty (all of it parsed and dropped). */
size_t request_large_room(struct request_parser *p, char **to);
void request_large_filled(struct request_parser *p, size_t n);

/* Frees the parser's memory, whatever its state. Owners of arguments are the
 * caller's: those in argv[0..argc), the last of which may be only partly filled. */
void request_fini(struct request_parser *p);

/* True if the request begun so far is unfinished (for "closed in mid request"). */
bool request_pending(const struct request_parser *p);

#endif
