/* Finding the ends of replies: reply_scan must find the same ends however the stream is
 * cut, and reply_length and a walk with reply_element must agree with it.
 *
 *   byte 0: how the stream is cut; then the stream */
#include <stdbool.h>
#include <string.h>

#include "../../proto/buf.h"
#include "../../proto/reply_scan.h"
#include "fuzz.h"

#define ENDS_MAX 4096

struct scanned {
	struct reply_scan scan;
	size_t at;
	size_t ends[ENDS_MAX];          /* behind each whole reply */
	size_t n;
};

static void scan(struct scanned *s, const char *data, size_t len)
{
	char *block = malloc(len ? len : 1);    /* of its own size, so that a read too far shows */
	memcpy(block, data, len);
	for (size_t used = 0; used < len && s->n < ENDS_MAX && !s->scan.has_failed; ) {
		bool is_end;
		size_t n = reply_scan(&s->scan, block + used, len - used, &is_end);
		FUZZ_EXPECT(n > 0 && n <= len - used, "%zu of %zu bytes", n, len - used);
		FUZZ_EXPECT(is_end || s->scan.has_failed || n == len - used, "stopped without a reason");
		FUZZ_EXPECT(!is_end || !s->scan.has_failed, "failed and whole");
		used += n;
		s->at += n;
		if (is_end)
			s->ends[s->n++] = s->at;
	}
	free(block);
}

/* Bytes of the reply at data by its elements; 0: not whole, or none. */
static size_t walk(const char *data, size_t len)
{
	size_t at = 0;
	for (uint64_t owed = 1; owed > 0; owed--) {
		struct reply_element e;
		size_t n = reply_element(data + at, len - at, &e);
		if (n == 0)
			return 0;
		FUZZ_EXPECT(n <= len - at && e.type == data[at], "%zu bytes", n);
		bool holds_elements = strchr("*~>%|", e.type);
		FUZZ_EXPECT(!holds_elements || e.len == 0, "an aggregate with text");
		FUZZ_EXPECT(e.len == 0 || (e.data >= data + at && e.data + e.len <= data + at + n), "text elsewhere");
		owed += holds_elements && e.number > 0 ? (uint64_t)e.number : 0;
		owed += e.type == '|';  /* attributes stand before what they are of */
		at += n;
	}
	return at;
}

static void expect_agreement(const char *data, size_t len, const struct scanned *s)
{
	size_t start = 0;
	for (size_t i = 0; i < s->n; i++) {
		size_t size = s->ends[i] - start;
		FUZZ_EXPECT(reply_length(data + start, len - start) == size, "reply %zu has %zu bytes", i, size);
		FUZZ_EXPECT(reply_length(data + start, size - 1) == 0, "reply %zu is whole before its end", i);
		FUZZ_EXPECT(walk(data + start, len - start) == size, "reply %zu has %zu bytes, but not its elements", i, size);
		FUZZ_EXPECT(walk(data + start, size - 1) == 0, "the elements of reply %zu are whole before its end", i);
		start = s->ends[i];
	}
	if (s->n == ENDS_MAX)
		return;
	FUZZ_EXPECT(reply_length(data + start, len - start) == 0, "a length of what is no reply");
	FUZZ_EXPECT(walk(data + start, len - start) == 0, "elements of what is no reply");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct scanned whole, cut;
	if (size < 1)
		return 0;
	uint32_t seed = data[0];
	const char *stream = (const char *)data + 1;
	size_t len = size - 1;
	whole = cut = (struct scanned){0};
	scan(&whole, stream, len);
	for (size_t at = 0; at < len; ) {
		size_t n = fuzz_piece(&seed, len - at);
		scan(&cut, stream + at, n);
		at += n;
	}
	FUZZ_EXPECT(cut.n == whole.n && memcmp(cut.ends, whole.ends, whole.n * sizeof(whole.ends[0])) == 0, "%zu replies, %zu when cut",
		whole.n, cut.n);
	FUZZ_EXPECT(cut.scan.has_failed == whole.scan.has_failed, "failed %d when cut", cut.scan.has_failed);
	expect_agreement(stream, len, &whole);
	return 0;
}
