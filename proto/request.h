/* The request side of the protocol (PROTOCOL.md): a parser for lines and RESP
 * arrays that takes bytes as they come and stops anywhere. Pure: it owns no
 * socket and no buffer of the caller's.
 *
 *      for (;;) {
 *              status = request_parse(&p, data, len);
 *              on REQUEST_READY:       use p.argv[0..p.argc)
 *              on REQUEST_LARGE_ARG:   request_supply(&p, memory, owner)
 *              data += p.consumed, len -= p.consumed;
 *              on REQUEST_READY:       request_next(&p)
 *              on REQUEST_MORE:        wait for bytes
 *              on REQUEST_FAILED:      answer with p.error, close
 *      }
 *
 * data/len are always all the bytes not consumed yet. What is unfinished stays
 * there until it is consumed; the buffer may move and grow between calls. The
 * parser remembers how far it got and never searches a byte again, so a request
 * costs time linear in its length however small the pieces. */
#ifndef CATCACHED_REQUEST_H
#define CATCACHED_REQUEST_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_LINE_MAX 65536          /* an unfinished line, or RESP header line, longer than this is refused */
#define REQUEST_ARGS_MAX 1048576        /* arguments of one request; more is "invalid multibulk length" */
#define REQUEST_LARGE 65536             /* an argument of an array from this size on is collected out of line */

struct request_limits {
	size_t max_arg;         /* bytes of one argument; more is "invalid bulk length" */
	size_t max_total;       /* bytes of all arguments together; more is "too big request" */
};

struct request_arg {
	union {
		const char *data;       /* in the caller's buffer, in the parser's scratch, or the memory supplied; never NULL */
		size_t offset;          /* the parser's own, before REQUEST_READY */
	};
	size_t len;
	void *owner;            /* what request_supply gave for it, else NULL; valid at any time */
};

enum request_status {
	REQUEST_MORE,           /* all that is there is understood; give more bytes */
	REQUEST_READY,          /* argv[0..argc) is a request (argc 0: nothing to do, go on) */
	REQUEST_LARGE_ARG,      /* the next argument has large_len bytes: call request_supply */
	REQUEST_FAILED,         /* error is the text for "-ERR Protocol error: %s"; close the connection.
	                           Where error is NULL, close without a reply (an HTTP request by mistake) */
};

struct request_parser {
	const struct request_limits *limits;

	/* results */
	struct request_arg *argv;
	size_t argc;
	size_t consumed;        /* any status: bytes of data the caller now drops. With REQUEST_MORE it is 0,
	                           except while an out-of-line argument is being filled */
	size_t large_len;       /* REQUEST_LARGE_ARG */
	bool discarded;         /* REQUEST_READY: an argument got no memory and is empty; answer with an error */
	const char *error;      /* REQUEST_FAILED; lives as long as the parser */

	/* the parser's own; see request.c */
	int state;
	size_t at;              /* bytes of data done with: where the line or argument in work begins */
	size_t scan;            /* bytes of data searched for the end of that line */
	size_t cap_args;
	size_t want_args;       /* arguments announced by *N and not here yet */
	size_t saved;           /* arguments at the head of argv that need the caller's buffer no more */
	size_t total;           /* bytes of the arguments so far, the one in work included */
	size_t bulk_len;        /* bytes of the argument in work, when it stays in the caller's buffer */
	char *large;            /* where an out-of-line argument goes; NULL: thrown away */
	size_t large_filled;
	struct buf scratch;     /* unquoted words of a line; arguments saved from the caller's buffer */
	char error_text[32];
};

/* limits must outlive the parser and may change between requests. */
void request_init(struct request_parser *p, const struct request_limits *limits);

/* Goes on with the request at the head of data; then the caller drops p->consumed
 * bytes. argv's data pointers live until it does so. A parser that has failed
 * stays failed. data may be NULL when len is 0. */
enum request_status request_parse(struct request_parser *p, const char *data, size_t len);

/* After REQUEST_READY and the use of argv: makes ready for the next request.
 * Memory is kept for it, unless there was much of it. Owners are the caller's to release. */
void request_next(struct request_parser *p);

/* After REQUEST_LARGE_ARG: gives memory of large_len bytes and an owner, not NULL,
 * to name in argv (so the value of a SET is read straight to where it stays).
 * Memory and owner NULL, when there is none to give: the bytes are thrown away, so
 * the connection stays in step, and the request arrives with discarded set.
 *
 * The arguments before this one are safe in the parser's scratch by now. The bytes
 * of this one come through request_large_room / request_large_filled, or, those
 * already in the caller's buffer, through request_parse, which copies them over and
 * counts them as consumed. */
void request_supply(struct request_parser *p, char *memory, void *owner);

/* While an out-of-line argument is being filled: where the next bytes go, and how
 * many at the most; else 0. The caller reads into *to and reports the count, then
 * parses what it read into its own buffer behind that, if anything.
 * Only call it when the caller's own buffer is empty (all of it parsed and dropped). */
size_t request_large_room(struct request_parser *p, char **to);
void request_large_filled(struct request_parser *p, size_t n);

/* Frees the parser's memory, whatever its state. Owners of arguments are the
 * caller's: those in argv[0..argc), the last of which may be only partly filled. */
void request_fini(struct request_parser *p);

/* An argument as an integer, strictly as Redis reads one: digits with an optional minus, no
 * leading zero, nothing else, within 64 bits. False if it is none: *n is as it was. */
bool request_integer(const struct request_arg *a, int64_t *n);

/* True if the request begun so far is unfinished (for "closed in mid request"). */
bool request_pending(const struct request_parser *p);

#endif
