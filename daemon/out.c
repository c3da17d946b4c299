/* Output by reference; see out.h.
 *
 *   bytes:  $5\r\n|hello\r\n$10485760\r\n|\r\n:1\r\n
 *   refs:                               ^ the 10 MB value goes here */
#include "out.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "../proto/reply.h"
#include "value.h"

#define IOVECS 64
#define COMPACT_MIN 65536
#define OUT_COPY_SMALL 64       /* what a reference would take anyway */

static void add_ref(struct out *o, struct value *v)
{
	if (o->n_refs == o->cap_refs) {
		o->cap_refs = o->cap_refs ? o->cap_refs * 2 : 4;
		o->refs = xrealloc(o->refs, o->cap_refs * sizeof(*o->refs));
	}
	o->refs[o->n_refs++] = (struct out_ref){.at = o->bytes.len, .value = value_ref(v)};
	o->ref_bytes += v->len;
}

void out_add_value(struct out *o, struct value *v)
{
	if (v->len <= OUT_COPY_SMALL || (v->len <= OUT_COPY_MAX && o->bytes.len < OUT_COPY_BEHIND)) {
		reply_add_bulk(&o->bytes, v->data, v->len);
		return;
	}
	char header[REPLY_HEADER_MAX];
	buf_add(&o->bytes, header, reply_header(header, '$', (int64_t)v->len));
	add_ref(o, v);
	buf_add(&o->bytes, "\r\n", 2);
}

void out_move(struct out *o, struct out *from)
{
	size_t base = o->bytes.len;
	buf_add(&o->bytes, from->bytes.data, from->bytes.len);
	for (size_t i = 0; i < from->n_refs; i++) {
		add_ref(o, from->refs[i].value);
		o->refs[o->n_refs - 1].at = base + from->refs[i].at;
	}
	o->bytes.failed |= from->bytes.failed;
	out_fini(from);
}

size_t out_pending(const struct out *o)
{
	return o->bytes.len - o->sent + o->ref_bytes - o->ref_sent;
}

size_t out_held(const struct out *o)
{
	size_t held = o->bytes.len - o->sent;
	for (size_t i = o->sent_refs; i < o->n_refs; i++)
		held += o->refs[i].value->len / o->refs[i].value->refs;
	return held;
}

/* Describes up to IOVECS pieces of what is not sent yet; their number. */
static size_t gather(const struct out *o, struct iovec *iov)
{
	size_t n = 0, at = o->sent, skip = o->ref_sent;
	for (size_t i = o->sent_refs; n < IOVECS && i <= o->n_refs; i++) {
		size_t until = i < o->n_refs ? o->refs[i].at : o->bytes.len;
		if (until > at)
			iov[n++] = (struct iovec){.iov_base = o->bytes.data + at, .iov_len = until - at};
		at = until;
		if (i == o->n_refs || n == IOVECS)
			break;
		struct value *v = o->refs[i].value;
		iov[n++] = (struct iovec){.iov_base = v->data + skip, .iov_len = v->len - skip};
		skip = 0;
	}
	return n;
}

/* Forgets n bytes that were sent. */
static void advance(struct out *o, size_t n)
{
	while (n > 0) {
		bool has_ref = o->sent_refs < o->n_refs;
		size_t until = has_ref ? o->refs[o->sent_refs].at : o->bytes.len;
		size_t step = until - o->sent < n ? until - o->sent : n;
		o->sent += step;
		n -= step;
		if (n == 0 || !has_ref)
			continue;
		struct value *v = o->refs[o->sent_refs].value;
		step = v->len - o->ref_sent < n ? v->len - o->ref_sent : n;
		o->ref_sent += step;
		n -= step;
		if (o->ref_sent == v->len) {
			o->ref_bytes -= v->len;
			o->ref_sent = 0;
			o->sent_refs++;
			value_unref(v);
		}
	}
}

/* Moves what is left down to the start, once enough has gone for that to be cheap. */
static void compact(struct out *o)
{
	if (o->sent < o->bytes.len && (o->sent < COMPACT_MIN || o->sent < o->bytes.len / 2))
		return;
	o->n_refs -= o->sent_refs;
	for (size_t i = 0; i < o->n_refs; i++) {
		o->refs[i] = o->refs[i + o->sent_refs];
		o->refs[i].at -= o->sent;
	}
	o->sent_refs = 0;
	buf_drop(&o->bytes, o->sent);
	o->sent = 0;
}

/* Bytes alone, as most output is. */
static int send_bytes(struct out *o, int fd)
{
	ssize_t n;
	do
		n = send(fd, o->bytes.data + o->sent, o->bytes.len - o->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	o->sent += (size_t)n;
	if (o->sent == o->bytes.len)
		o->sent = o->bytes.len = 0;
	else
		compact(o);
	return 0;
}

int out_send(struct out *o, int fd)
{
	if (out_pending(o) == 0)
		return 0;
	if (o->n_refs == 0)
		return send_bytes(o, fd);
	struct iovec iov[IOVECS];
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = gather(o, iov)};
	ssize_t n;
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	advance(o, (size_t)n);
	compact(o);
	return 0;
}

void out_fini(struct out *o)
{
	for (size_t i = o->sent_refs; i < o->n_refs; i++)
		value_unref(o->refs[i].value);
	free(o->refs);
	buf_free(&o->bytes);
	*o = (struct out)OUT_INIT;
}
