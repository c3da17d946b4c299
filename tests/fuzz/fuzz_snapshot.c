/* The records of a snapshot: whatever the bytes are, what is told of them lies within them, and they are told as a
 * whole if they fit.
 *
 *   byte 0: how many records there are to be; then the records */
#include <string.h>

#include "../../daemon/snapshot.h"
#include "fuzz.h"

struct told {
	const char *end;                /* of the bytes */
	const char *at;                 /* where the record before ended */
	uint64_t n;
	unsigned sum;
};

static unsigned sum_of(const char *bytes, size_t len)
{
	unsigned sum = 0;
	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + (unsigned char)bytes[i];
	return sum;
}

static void on_record(void *arg, const struct snapshot_record *r)
{
	struct told *t = arg;
	FUZZ_EXPECT(r->kind < SNAPSHOT_KINDS && r->stored_ms >= 0 && r->expires_ms >= 0, "kind %u", r->kind);
	FUZZ_EXPECT(r->key > t->at && r->value == r->key + r->key_len, "record %llu is not behind the one before", (unsigned long long)t->n);
	FUZZ_EXPECT(r->value_len <= (size_t)(t->end - r->value), "%u bytes are not there", r->value_len);
	t->sum += sum_of(r->key, r->key_len) + sum_of(r->value, r->value_len);  /* a sanitizer sees it read */
	t->at = r->value + r->value_len;
	t->n++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	const char *bytes = (const char *)data + 1;
	struct told t = {.end = bytes + size - 1, .at = bytes};
	bool fits = snapshot_walk(bytes, size - 1, data[0], NULL, NULL);
	bool is_told = snapshot_walk(bytes, size - 1, data[0], on_record, &t);
	FUZZ_EXPECT(fits == is_told, "%d, but %d when told", fits, is_told);
	FUZZ_EXPECT(!fits || (t.n == data[0] && t.at == t.end), "%llu records", (unsigned long long)t.n);
	return 0;
}
