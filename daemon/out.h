/* Output on its way to a client: encoded bytes with values by reference between
 * them, so that a 10 MB value sent to 200 clients exists once. */
#ifndef CATCACHED_OUT_H
#define CATCACHED_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "../proto/buf.h"

struct value;

/* A value up to this size is copied between its header and its end, which is cheaper than
 * an iovec of its own; but not behind so many bytes: many small values are a lot, too. */
#define OUT_COPY_MAX 4096
#define OUT_COPY_BEHIND 65536

struct out_ref {
	size_t at;              /* it goes before this byte of out.bytes */
	struct value *value;
};

struct out {
	struct buf bytes;
	struct out_ref *refs;
	size_t n_refs, cap_refs;
	size_t ref_bytes;       /* bytes of all values referred to */
	size_t sent;            /* bytes of out.bytes already sent */
	size_t sent_refs;       /* refs already sent and released */
	size_t ref_sent;        /* bytes of the next ref already sent */
};

#define OUT_INIT {.bytes = BUF_INIT}

/* A bulk string of the value; takes a reference while it is needed. */
void out_add_value(struct out *o, struct value *v);

/* Appends all of from, of which nothing has been sent, and leaves it empty. Here as with the encoders bytes.failed tells
 * that memory ran out: what is there then must not be sent. */
void out_move(struct out *o, struct out *from);

/* Bytes not sent yet. */
size_t out_pending(const struct out *o);

/* Memory that would be free without what is pending here, about: of a value that others hold,
 * too, its share. Looks at each reference. */
size_t out_held(const struct out *o);

/* Sends what the socket takes. 0: something was sent or nothing is left; -1 with
 * errno (EAGAIN: wait until it is writable). When all is sent the buffers are empty. */
int out_send(struct out *o, int fd);

/* Drops everything and frees the memory; then as OUT_INIT. */
void out_fini(struct out *o);

#endif
