/* The request parser: what it makes of a stream must not depend on how the stream is cut,
 * nor on whether requests are read in batches where that can be, and what it made of it, written as arrays, must parse
 * to itself.
 *
 *   byte 0: bits 0-1 limits, bit 2 reads large arguments to where they stay, bit 3 has no
 *   memory for them; byte 1: how the stream is cut; then the stream (see FUZZ_LARGE_MARK) */
#include <stdbool.h>
#include <string.h>

#include "../../proto/reply.h"
#include "../../proto/request_batch.h"
#include "fuzz.h"

static const struct request_limits limits[] = {
	{.max_arg = 1 << 20, .max_total = 2 << 20},
	{.max_arg = 100000, .max_total = 150000},
	{.max_arg = 64, .max_total = 100},
	{.max_arg = 0, .max_total = 0},
};

struct feed {
	struct request_parser p;
	char *block;                    /* what is not consumed, in a block of its own size, so that a read too far shows */
	size_t len;
	struct buf said;                /* the requests, as arrays */
	const char *error;              /* "": none; NULL: failed without a text */
	bool is_direct, is_poor, is_batched;
};

static void feed_init(struct feed *f, unsigned flags, bool is_batched)
{
	*f = (struct feed){.error = "", .is_direct = flags & 4, .is_poor = flags & 8, .is_batched = is_batched};
	request_init(&f->p, &limits[flags & 3]);
}

static bool has_failed(const struct feed *f)
{
	return !f->error || *f->error;
}

static void release_owners(struct feed *f)
{
	for (size_t i = 0; i < f->p.argc; i++)
		free(f->p.argv[i].owner);
}

static void feed_fini(struct feed *f)
{
	release_owners(f);
	request_fini(&f->p);
	buf_free(&f->said);
	free(f->block);
}

static void say_args(struct feed *f, const struct request_arg *argv, size_t argc)
{
	reply_add_array(&f->said, argc);
	for (size_t i = 0; i < argc; i++)
		reply_add_bulk(&f->said, argv[i].data, argv[i].len);
}

static void say(struct feed *f)
{
	say_args(f, f->p.argv, f->p.argc);
	FUZZ_EXPECT(!f->p.discarded || f->is_poor, "an argument was thrown away");
	release_owners(f);
}

static void supply(struct feed *f)
{
	char *memory = f->is_poor ? NULL : malloc(f->p.large_len);
	FUZZ_EXPECT(f->p.large_len <= f->p.limits->max_arg, "%zu bytes", f->p.large_len);
	request_supply(&f->p, memory, memory);
}

/* Reads a batch, if that can be; the bytes used up. */
static size_t read_batch(struct feed *f, const char *data, size_t len)
{
	struct request_batch b;
	size_t used = 0, n = f->is_batched && !request_pending(&f->p) ? request_batch_read(&b, REQUEST_BATCH_MAX, f->p.limits, data, len) : 0;
	for (size_t i = 0; i < n; i++) {
		FUZZ_EXPECT(b.requests[i].argc > 0, "nothing in a batch");
		say_args(f, b.requests[i].argv, b.requests[i].argc);
		used += b.requests[i].len;
	}
	FUZZ_EXPECT(used <= len, "read more than there was");
	return used;
}

/* Parses what is in the block; the bytes used up. */
static size_t parse(struct feed *f)
{
	size_t used = 0;
	while (!has_failed(f)) {
		size_t read = read_batch(f, f->block ? f->block + used : NULL, f->len - used);
		used += read;
		if (read)
			continue;
		enum request_status status = request_parse(&f->p, f->block ? f->block + used : NULL, f->len - used);
		FUZZ_EXPECT(f->p.consumed <= f->len - used, "consumed more than there was");
		if (status == REQUEST_READY)
			say(f);
		else if (status == REQUEST_LARGE_ARG)
			supply(f);
		else if (status == REQUEST_FAILED)
			f->error = f->p.error;
		used += f->p.consumed;
		if (status == REQUEST_READY)
			request_next(&f->p);
		else if (status != REQUEST_LARGE_ARG)
			break;
	}
	return used;
}

static void feed(struct feed *f, const char *data, size_t len)
{
	char *to;
	size_t room;
	if (has_failed(f))
		return;
	while (f->is_direct && len && f->len == 0 && (room = request_large_room(&f->p, &to)) > 0) {
		size_t n = room < len ? room : len;
		memcpy(to, data, n);
		request_large_filled(&f->p, n);
		data += n;
		len -= n;
	}
	char *block = f->len + len ? malloc(f->len + len) : NULL;
	if (f->len)
		memcpy(block, f->block, f->len);
	if (len)
		memcpy(block + f->len, data, len);
	free(f->block);
	f->block = block;
	f->len += len;
	size_t used = parse(f);
	char *rest = f->len > used ? malloc(f->len - used) : NULL;
	if (rest)
		memcpy(rest, f->block + used, f->len - used);
	free(f->block);
	f->block = rest;
	f->len -= used;
}

/* A line without its end is refused when it is too long: whether it is seen so depends on the cut. */
static bool is_cut_short(const struct feed *f)
{
	return f->error && strncmp(f->error, "too big ", 8) == 0 && strcmp(f->error, "too big request") != 0;
}

static void expect_same(const struct feed *whole, const struct feed *cut)
{
	bool is_prefix = cut->said.len <= whole->said.len;
	FUZZ_EXPECT(is_prefix && (cut->said.len == 0 || memcmp(whole->said.data, cut->said.data, cut->said.len) == 0),
		"other requests when cut");
	if (is_cut_short(cut))
		return;
	FUZZ_EXPECT(cut->said.len == whole->said.len, "fewer requests when cut");
	FUZZ_EXPECT(!cut->error == !whole->error && (!cut->error || strcmp(cut->error, whole->error) == 0),
		"\"%s\" when cut, else \"%s\"", cut->error ? cut->error : "closed", whole->error ? whole->error : "closed");
	FUZZ_EXPECT(request_pending(&cut->p) == request_pending(&whole->p), "pending %d when cut", request_pending(&cut->p));
}

static void run(const char *stream, size_t len, unsigned flags, uint32_t seed)
{
	struct feed whole, cut, again;
	feed_init(&whole, flags, false);
	feed(&whole, stream, len);
	feed_init(&cut, flags, true);
	for (size_t at = 0; at < len; ) {
		size_t n = fuzz_piece(&seed, len - at);
		feed(&cut, stream + at, n);
		at += n;
	}
	expect_same(&whole, &cut);
	feed_init(&again, flags & 7, true);
	feed(&again, whole.said.data, whole.said.len);
	FUZZ_EXPECT(!has_failed(&again) && !request_pending(&again.p), "\"%s\" when parsed again", again.error);
	FUZZ_EXPECT(again.said.len == whole.said.len && (again.said.len == 0 || memcmp(again.said.data, whole.said.data, again.said.len) == 0),
		"other requests when parsed again");
	feed_fini(&whole);
	feed_fini(&cut);
	feed_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf stream = BUF_INIT;
	unsigned n_large = 0;
	if (size < 2)
		return 0;
	for (size_t i = 2; i < size; i++)
		if (data[i] == FUZZ_LARGE_MARK && n_large++ < FUZZ_LARGE_MAX) {
			char *room = buf_reserve(&stream, FUZZ_LARGE);
			memset(room, 'x', FUZZ_LARGE);
			stream.len += FUZZ_LARGE;
		} else {
			buf_add_char(&stream, (char)data[i]);
		}
	run(stream.data, stream.len, data[0], data[1]);
	buf_free(&stream);
	return 0;
}
