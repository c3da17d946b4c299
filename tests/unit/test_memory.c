/* memory.c: each promise by itself, then thousands of random operations beside a
 * model that knows what must be there, in which order it goes, and the exact bytes. */
#include "../../daemon/memory.h"

#include <check.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/value.h"
#include "../../proto/buf.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PLENTY ((uint64_t)1 << 32)
#define FIRST_BUCKETS 1024      /* of memory.c, which the count of bytes includes */
#define MOVED_A_TURN 4

static const uint64_t no_bounds[8];

/* ---- helpers ---- */

/* A key over a string that lives until the test ends; the test process is short. */
static struct key key_named(const char *name)
{
	return key_of(name, strlen(name));
}

/* A key over the name of number n, in one of a few buffers used in turn. */
static struct key key_numbered(unsigned n)
{
	static char names[4][16];
	static unsigned next;
	char *name = names[next++ % LEN(names)];
	return key_of(name, (size_t)snprintf(name, sizeof(names[0]), "k%06u", n));
}

/* Puts and lets go of the value, as most callers do. */
static int put(struct memory *m, struct key key, unsigned type, struct value *v, int64_t gone_ms)
{
	int result = memory_put(m, &key, &(struct memory_item){.type = type, .source = SOURCE_CLIENT, .value = v,
		.stored_ms = 1, .gone_ms = gone_ms});
	value_unref(v);
	return result;
}

static struct value *text_value(const char *text)
{
	return value_copy(text, strlen(text));
}

static bool holds(struct memory *m, const char *name, const char *text)
{
	struct key key = key_named(name);
	const struct memory_entry *e = memory_peek(m, &key, 1);
	return e && e->value && e->value->len == strlen(text) && memcmp(e->value->data, text, strlen(text)) == 0;
}

static bool is_there(struct memory *m, const char *name)
{
	struct key key = key_named(name);
	return memory_peek(m, &key, 1) != NULL;
}

static size_t entry_footprint(const struct memory_entry *e)
{
	return malloc_usable_size((void *)e) + sizeof(size_t) + (e->value ? value_footprint(e->value) : 0);
}

/* ---- one promise at a time ---- */

START_TEST(value_put_is_found_until_it_is_dropped)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	ck_assert_ptr_null(memory_get(m, &a, 1));
	ck_assert_int_eq(put(m, a, 0, text_value("one"), MEMORY_FOREVER), 0);
	ck_assert(holds(m, "a", "one"));
	ck_assert(!is_there(m, "b"));
	ck_assert_uint_eq(memory_entries(m), 1);
	ck_assert(memory_drop(m, &a, 1));
	ck_assert(!is_there(m, "a"));
	ck_assert(!memory_drop(m, &a, 1));
	ck_assert_uint_eq(memory_entries(m), 0);
	memory_free(m);
}
END_TEST

START_TEST(entry_tells_what_was_put)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 3);
	struct value *v = text_value("v");
	struct key a = key_named("a");
	struct memory_item item = {.type = 2, .source = SOURCE_REDIS, .value = v,
		.stored_ms = 5, .fresh_ms = 50, .expires_ms = 100, .gone_ms = 200, .epoch = 7};
	ck_assert_int_eq(memory_put(m, &a, &item), 0);
	const struct memory_entry *e = memory_get(m, &a, 10);
	ck_assert(e->value == v && v->refs == 2);
	ck_assert_uint_eq(e->type, 2);
	ck_assert_int_eq(e->source, SOURCE_REDIS);
	ck_assert_int_eq(e->stored_ms, 5);
	ck_assert_int_eq(e->expires_ms, 100);
	ck_assert_int_eq(e->fresh_ms, 50);
	ck_assert_int_eq(e->gone_ms, 200);
	ck_assert_uint_eq(e->epoch, 7);
	ck_assert(e->key_len == 1 && e->key[0] == 'a' && e->hash == a.hash);
	memory_free(m);
	ck_assert_uint_eq(v->refs, 1);
	value_unref(v);
}
END_TEST

START_TEST(replaced_value_is_let_go)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 2);
	struct value *old = text_value("old");
	struct key a = key_named("a");
	put(m, a, 0, value_ref(old), MEMORY_FOREVER);
	ck_assert_uint_eq(old->refs, 2);
	put(m, a, 1, text_value("new"), MEMORY_FOREVER);
	ck_assert_uint_eq(old->refs, 1);
	ck_assert(holds(m, "a", "new"));
	ck_assert_uint_eq(memory_entries(m), 1);
	ck_assert_uint_eq(memory_type_stats(m, 0)->entries, 0);
	ck_assert_uint_eq(memory_type_stats(m, 0)->bytes, 0);
	ck_assert_uint_eq(memory_type_stats(m, 1)->entries, 1);
	ck_assert_uint_eq(memory_type_stats(m, 1)->evictions + memory_type_stats(m, 0)->evictions, 0);
	value_unref(old);
	memory_free(m);
}
END_TEST

START_TEST(value_put_again_over_itself_stays)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	put(m, a, 0, text_value("v"), MEMORY_FOREVER);
	struct memory_entry *e = memory_peek(m, &a, 1);
	struct key own = {.data = e->key, .len = e->key_len, .hash = e->hash};        /* goes while it is put */
	struct memory_item item = {.value = e->value, .gone_ms = MEMORY_FOREVER};
	ck_assert_int_eq(memory_put(m, &own, &item), 0);
	ck_assert(holds(m, "a", "v"));
	ck_assert_uint_eq(memory_peek(m, &a, 1)->value->refs, 1);
	memory_free(m);
}
END_TEST

START_TEST(keys_of_one_hash_are_kept_apart)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	static const char *const names[] = {"a", "b", "ab", "", "abc"};
	struct key keys[LEN(names)];
	for (size_t i = 0; i < LEN(names); i++) {
		keys[i] = (struct key){.data = names[i], .len = (uint32_t)strlen(names[i]), .hash = 7};
		put(m, keys[i], 0, text_value(names[i]), MEMORY_FOREVER);
	}
	ck_assert(memory_drop(m, &keys[1], 1));
	for (size_t i = 0; i < LEN(names); i++) {
		const struct memory_entry *e = memory_get(m, &keys[i], 1);
		ck_assert_int_eq(e != NULL, i != 1);
		ck_assert(!e || (e->value->len == keys[i].len && memcmp(e->value->data, names[i], keys[i].len) == 0));
	}
	memory_free(m);
}
END_TEST

START_TEST(entry_ends_at_its_ttl_and_not_before)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	put(m, a, 0, text_value("v"), 1000);
	ck_assert_ptr_nonnull(memory_get(m, &a, 999));
	ck_assert_ptr_nonnull(memory_peek(m, &a, 999));
	ck_assert_ptr_null(memory_peek(m, &a, 1000));
	ck_assert_uint_eq(memory_entries(m), 0);
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired, 1);
	put(m, a, 0, text_value("v"), 1000);
	ck_assert_ptr_null(memory_get(m, &a, 5000));
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired, 2);
	put(m, a, 0, text_value("v"), MEMORY_FOREVER);
	ck_assert_ptr_nonnull(memory_get(m, &a, INT64_MAX - 1));
	memory_free(m);
}
END_TEST

/* What it is worth before that is not for the table to judge. */
START_TEST(entry_past_its_ttl_is_kept_until_it_is_gone)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	struct value *v = text_value("v");
	struct memory_item item = {.value = v, .fresh_ms = 100, .expires_ms = 400, .gone_ms = 1000};
	ck_assert_int_eq(memory_put(m, &a, &item), 0);
	ck_assert_ptr_nonnull(memory_get(m, &a, 100));
	ck_assert_ptr_nonnull(memory_peek(m, &a, 400));
	memory_expire(m, 999, 2 * FIRST_BUCKETS);
	ck_assert_ptr_nonnull(memory_get(m, &a, 999));
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired, 0);
	ck_assert_ptr_null(memory_get(m, &a, 1000));
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired, 1);
	value_unref(v);
	memory_free(m);
}
END_TEST

START_TEST(new_times_count_from_then_on)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	put(m, a, 0, text_value("v"), 1000);
	memory_set_times(memory_peek(m, &a, 1), 1000, 2000, 3000);
	const struct memory_entry *e = memory_get(m, &a, 2999);
	ck_assert_ptr_nonnull(e);
	ck_assert(e->fresh_ms == 1000 && e->expires_ms == 2000 && e->gone_ms == 3000 && e->stored_ms == 1);
	memory_set_times(memory_peek(m, &a, 1), MEMORY_FOREVER, MEMORY_FOREVER, MEMORY_FOREVER);
	ck_assert_ptr_nonnull(memory_get(m, &a, 1000000));
	memory_set_times(memory_peek(m, &a, 1), 500, 1000, 2000);
	ck_assert_ptr_null(memory_get(m, &a, 2000));
	memory_free(m);
}
END_TEST

START_TEST(absence_is_remembered_and_is_no_value)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	ck_assert_int_eq(put(m, a, 0, NULL, 1000), 0);
	const struct memory_entry *e = memory_get(m, &a, 999);
	ck_assert(e && !e->value);
	ck_assert_uint_eq(memory_entries(m), 1);
	ck_assert(!memory_drop(m, &a, 999));
	ck_assert_uint_eq(memory_entries(m), 0);
	put(m, a, 0, NULL, 1000);
	ck_assert_ptr_null(memory_get(m, &a, 1000));
	put(m, a, 0, NULL, MEMORY_FOREVER);
	put(m, a, 0, text_value("v"), MEMORY_FOREVER);
	ck_assert(holds(m, "a", "v"));
	put(m, a, 0, NULL, MEMORY_FOREVER);
	ck_assert_ptr_null(memory_get(m, &a, 1)->value);
	memory_free(m);
}
END_TEST

START_TEST(drop_of_what_is_past_says_that_nothing_was_there)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	put(m, a, 0, text_value("v"), 1000);
	ck_assert(!memory_drop(m, &a, 1000));
	ck_assert_uint_eq(memory_entries(m), 0);
	memory_free(m);
}
END_TEST

START_TEST(least_recently_used_of_a_type_goes_when_it_is_full)
{
	static const uint64_t bounds[] = {3, 0};
	struct memory *m = memory_new(PLENTY, bounds, 2);
	struct key a = key_named("a"), b = key_named("b");
	put(m, key_named("other"), 1, text_value("x"), MEMORY_FOREVER);
	put(m, a, 0, text_value("x"), MEMORY_FOREVER);
	put(m, b, 0, text_value("x"), MEMORY_FOREVER);
	put(m, key_named("c"), 0, text_value("x"), MEMORY_FOREVER);
	memory_get(m, &a, 1);
	memory_peek(m, &b, 1);          /* no use */
	put(m, key_named("d"), 0, text_value("x"), MEMORY_FOREVER);
	ck_assert(!is_there(m, "b"));
	ck_assert(is_there(m, "a") && is_there(m, "c") && is_there(m, "d") && is_there(m, "other"));
	put(m, a, 0, text_value("y"), MEMORY_FOREVER);
	ck_assert(is_there(m, "c"));    /* a replacement is no further entry */
	put(m, key_named("e"), 0, NULL, MEMORY_FOREVER);
	ck_assert(!is_there(m, "c") && is_there(m, "a") && is_there(m, "d") && is_there(m, "e"));
	ck_assert_uint_eq(memory_type_stats(m, 0)->evictions, 2);
	ck_assert_uint_eq(memory_type_stats(m, 0)->entries, 3);
	memory_free(m);
}
END_TEST

START_TEST(least_recently_used_of_all_types_goes_when_the_bytes_are_used_up)
{
	struct memory *m = memory_new(FIRST_BUCKETS * sizeof(void *) + 41000, no_bounds, 3);
	struct key a = key_named("a");
	put(m, a, 0, value_new(10000), MEMORY_FOREVER);
	put(m, key_named("b"), 1, value_new(10000), MEMORY_FOREVER);
	put(m, key_named("c"), 2, value_new(10000), MEMORY_FOREVER);
	put(m, key_named("d"), 0, value_new(10000), MEMORY_FOREVER);
	ck_assert_uint_eq(memory_entries(m), 4);
	memory_get(m, &a, 1);
	put(m, key_named("e"), 2, value_new(10000), MEMORY_FOREVER);
	ck_assert(is_there(m, "a") && !is_there(m, "b"));
	put(m, key_named("f"), 1, value_new(20000), MEMORY_FOREVER);
	ck_assert(!is_there(m, "c") && !is_there(m, "d"));
	ck_assert(is_there(m, "a") && is_there(m, "e") && is_there(m, "f"));
	put(m, key_named("g"), 1, value_new(40000), MEMORY_FOREVER);
	ck_assert(is_there(m, "g"));
	ck_assert_uint_eq(memory_entries(m), 1);
	ck_assert_uint_eq(memory_type_stats(m, 0)->evictions, 2);
	ck_assert_uint_eq(memory_type_stats(m, 1)->evictions, 2);
	ck_assert_uint_eq(memory_type_stats(m, 2)->evictions, 2);
	memory_free(m);
}
END_TEST

START_TEST(item_over_the_limit_leaves_nothing_and_no_old_value)
{
	struct memory *m = memory_new(100000, no_bounds, 1);
	put(m, key_named("a"), 0, text_value("old"), MEMORY_FOREVER);
	put(m, key_named("b"), 0, text_value("kept"), MEMORY_FOREVER);
	struct value *large = value_new(100000);
	ck_assert_int_eq(put(m, key_named("a"), 0, value_ref(large), MEMORY_FOREVER), -1);
	ck_assert_uint_eq(large->refs, 1);
	ck_assert(!is_there(m, "a"));
	ck_assert(holds(m, "b", "kept"));
	ck_assert_uint_eq(memory_entries(m), 1);
	ck_assert_uint_le(memory_bytes(m), memory_limit(m));
	value_unref(large);
	memory_free(m);
}
END_TEST

/* What 1024 entries take, when the next one makes the table grow. */
static uint64_t fill_to_growth(struct memory *m)
{
	for (unsigned i = 0; i < FIRST_BUCKETS; i++)
		put(m, key_numbered(i), 0, text_value("x"), MEMORY_FOREVER);
	return memory_bytes(m);
}

/* The new table costs bytes as well: an item that fits only without it. */
START_TEST(put_that_succeeds_has_stored_also_when_the_table_grows)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	uint64_t limit = fill_to_growth(m) + 100000;
	memory_free(m);
	m = memory_new(limit, no_bounds, 1);
	fill_to_growth(m);
	ck_assert_uint_eq(memory_entries(m), FIRST_BUCKETS);
	struct key key = key_named("large");
	size_t len = (size_t)limit - FIRST_BUCKETS * sizeof(void *) - 4096;
	int result = put(m, key, 0, value_new(len), MEMORY_FOREVER);
	ck_assert_msg((result == 0) == is_there(m, "large"), "put says %d, and %" PRIu64 " entries are there", result, memory_entries(m));
	ck_assert_uint_le(memory_bytes(m), memory_limit(m));
	memory_free(m);
}
END_TEST

START_TEST(evicted_value_stays_readable_for_who_holds_it)
{
	struct memory *m = memory_new(100000, no_bounds, 1);
	struct key a = key_named("a");
	struct value *v = value_new(60000);
	memset(v->data, 'v', v->len);
	put(m, a, 0, v, MEMORY_FOREVER);
	struct value *held = value_ref(memory_get(m, &a, 1)->value);
	ck_assert_uint_eq(held->refs, 2);
	put(m, key_named("b"), 0, value_new(60000), MEMORY_FOREVER);
	ck_assert(!is_there(m, "a"));
	ck_assert_uint_eq(held->refs, 1);
	for (size_t i = 0; i < held->len; i++)
		if (held->data[i] != 'v')
			ck_abort_msg("byte %zu has changed", i);
	value_unref(held);
	memory_free(m);
}
END_TEST

struct drop_count {
	unsigned times;
	uint64_t live;
};

static void on_dropped(void *arg, unsigned type, uint64_t live)
{
	struct drop_count *d = arg;
	(void)type;
	d->times++;
	d->live += live;
}

/* All of it at once. */
static uint64_t drop_prefix(struct memory *m, unsigned type, const char *prefix, size_t prefix_len, int64_t now)
{
	struct drop_count d = {0};
	memory_drop_prefix(m, type, prefix, prefix_len, now, on_dropped, &d);
	while (memory_sweep(m))
		;
	ck_assert_uint_eq(d.times, 1);
	return d.live;
}

START_TEST(prefix_drops_the_live_values_of_one_type_and_counts_them)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 2);
	static const char *const names[] = {"p:1", "p:22", "p:", "p", "q:1", "xp:1"};
	for (size_t i = 0; i < LEN(names); i++)
		put(m, key_named(names[i]), 0, text_value("x"), MEMORY_FOREVER);
	put(m, key_named("p:absent"), 0, NULL, MEMORY_FOREVER);
	put(m, key_named("p:past"), 0, text_value("x"), 500);
	put(m, key_named("p:other"), 1, text_value("x"), MEMORY_FOREVER);
	ck_assert_uint_eq(drop_prefix(m, 0, "p:", 2, 500), 3);
	ck_assert_uint_eq(memory_entries(m), 4);
	ck_assert(is_there(m, "p") && is_there(m, "q:1") && is_there(m, "xp:1") && is_there(m, "p:other"));
	ck_assert_uint_eq(drop_prefix(m, 0, "p:", 2, 500), 0);
	ck_assert_uint_eq(drop_prefix(m, 0, "", 0, 500), 3);
	ck_assert_uint_eq(memory_entries(m), 1);
	ck_assert_uint_eq(memory_type_stats(m, 0)->bytes, 0);
	ck_assert_uint_eq(drop_prefix(m, 1, "", 0, 500), 1);
	memory_free(m);
}
END_TEST

/* Sweeps slice by slice, and counts the slices. */
static unsigned sweep_drops(struct memory *m)
{
	unsigned slices = 1;
	while (memory_sweep(m))
		slices++;
	return slices;
}

/* Far more than a slice. */
static struct memory *new_memory_to_drop(unsigned n)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	for (unsigned i = 0; i < n; i++)
		put(m, key_numbered(i), 0, text_value("x"), MEMORY_FOREVER);
	return m;
}

START_TEST(large_drop_is_seen_at_once_and_done_in_slices)
{
	enum { N = 20 * MEMORY_SLICE };
	struct memory *m = new_memory_to_drop(N);
	struct drop_count drop = {0};
	memory_drop_prefix(m, 0, "", 0, 1, on_dropped, &drop);
	ck_assert_uint_eq(drop.times, 0);
	ck_assert_uint_eq(memory_entries(m), N - MEMORY_SLICE);
	for (unsigned i = 0; i < N; i += 7) {
		struct key key = key_numbered(i);
		ck_assert(!memory_get(m, &key, 1) && !memory_drop(m, &key, 1));
	}
	ck_assert_uint_gt(sweep_drops(m), 10);
	ck_assert_uint_eq(drop.times, 1);
	ck_assert_uint_eq(drop.live, N);        /* those that were asked for meanwhile, too */
	ck_assert_uint_eq(memory_entries(m), 0);
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired + memory_type_stats(m, 0)->evictions, 0);
	memory_free(m);
}
END_TEST

START_TEST(what_is_put_or_used_after_a_drop_began_stays)
{
	enum { N = 5 * MEMORY_SLICE };
	struct memory *m = new_memory_to_drop(N);
	struct key other = key_named("other"), last = key_numbered(N - 1);
	put(m, other, 0, text_value("x"), MEMORY_FOREVER);
	struct drop_count drop = {0};
	memory_drop_prefix(m, 0, "k", 1, 1, on_dropped, &drop);
	put(m, last, 0, text_value("new"), MEMORY_FOREVER);     /* in the place of one that is dropped */
	ck_assert_ptr_nonnull(memory_get(m, &other, 1));
	ck_assert(memory_sweep(m));
	ck_assert(is_there(m, "other") && memory_get(m, &last, 1));
	sweep_drops(m);
	ck_assert_uint_eq(drop.live, N);
	ck_assert_uint_eq(memory_entries(m), 2);
	ck_assert(is_there(m, "other") && memory_get(m, &last, 1));
	memory_free(m);
}
END_TEST

START_TEST(two_drops_at_once_count_each_entry_once)
{
	enum { N = 5 * MEMORY_SLICE };
	struct memory *m = new_memory_to_drop(N);
	struct drop_count first = {0}, second = {0};
	memory_drop_prefix(m, 0, "", 0, 1, on_dropped, &first);
	for (unsigned i = 0; i < 100; i++)
		put(m, key_numbered(i), 0, text_value("x"), MEMORY_FOREVER);
	memory_drop_prefix(m, 0, "", 0, 1, on_dropped, &second);
	memory_expire(m, 1, 10);
	sweep_drops(m);
	ck_assert(first.times == 1 && second.times == 1);
	ck_assert_uint_eq(first.live, N);
	ck_assert_uint_eq(second.live, 100);
	ck_assert_uint_eq(memory_entries(m), 0);
	memory_free(m);
}
END_TEST

START_TEST(memory_is_freed_in_the_middle_of_a_drop)
{
	struct memory *m = new_memory_to_drop(5 * MEMORY_SLICE);
	struct drop_count drop = {0};
	memory_drop_prefix(m, 0, "", 0, 1, on_dropped, &drop);
	memory_free(m);
	ck_assert_uint_eq(drop.times, 0);
}
END_TEST

/* ---- many entries ---- */

#define MANY 100000

static void assert_found(struct memory *m, unsigned n, bool expected)
{
	struct key key = key_numbered(n);
	const struct memory_entry *e = memory_get(m, &key, 1);
	if ((e != NULL) != expected || (e && (e->key_len != key.len || memcmp(e->key, key.data, key.len) != 0)))
		ck_abort_msg("key %u is %s", n, expected ? "not found" : "found");
}

START_TEST(table_grows_and_loses_nothing_on_the_way)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct value *v = text_value("shared");
	unsigned seed = 1;
	for (unsigned i = 0; i < MANY; i++) {
		put(m, key_numbered(i), 0, value_ref(v), MEMORY_FOREVER);
		assert_found(m, i, true);
		unsigned earlier = (unsigned)rand_r(&seed) % (i + 1);
		assert_found(m, earlier, earlier % 10 != 3 || earlier == i);
		if (i % 10 == 4) {
			struct key key = key_numbered(i - 1);
			if (!memory_drop(m, &key, 1))
				ck_abort_msg("key %u was not there to be dropped", i - 1);
			assert_found(m, i - 1, false);
		}
	}
	ck_assert_uint_eq(memory_entries(m), MANY - MANY / 10);
	size_t sum = 0;
	for (unsigned i = 0; i < MANY; i++) {
		struct key key = key_numbered(i);
		const struct memory_entry *e = memory_peek(m, &key, 1);
		if ((e != NULL) == (i % 10 == 3))
			ck_abort_msg("key %u", i);
		sum += e ? entry_footprint(e) : 0;
	}
	ck_assert_uint_eq(memory_type_stats(m, 0)->bytes, sum);
	ck_assert_uint_eq(memory_bytes(m) - sum, 131072 * sizeof(void *));
	memory_free(m);
	ck_assert_uint_eq(v->refs, 1);
	value_unref(v);
}
END_TEST

/* Entries of which each third has no end, then sweeps until those that have one are gone; the calls it took. */
static unsigned sweep(unsigned entries, size_t max_buckets, unsigned max_calls)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct value *v = text_value("x");
	unsigned calls = 0, kept = (entries + 2) / 3;
	for (unsigned i = 0; i < entries; i++)
		put(m, key_numbered(i), 0, value_ref(v), i % 3 ? 1000 : MEMORY_FOREVER);
	memory_expire(m, 999, entries);
	ck_assert_uint_eq(memory_entries(m), entries);
	for (; calls < max_calls && memory_entries(m) > kept; calls++)
		memory_expire(m, 1000, max_buckets);
	ck_assert_msg(memory_entries(m) == kept, "%" PRIu64 " of %u entries are left after %u calls", memory_entries(m), entries, calls);
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired, entries - kept);
	for (unsigned i = 0; i < entries; i++) {
		struct key key = key_numbered(i);
		if ((memory_peek(m, &key, 1) != NULL) != (i % 3 == 0))
			ck_abort_msg("key %u", i);
	}
	memory_free(m);
	value_unref(v);
	return calls;
}

START_TEST(sweep_drops_all_that_is_past_in_one_round)
{
	sweep(100, 2048, 1);
	sweep(1000, 100, 11);
	sweep(MANY, 2048, 131072 / 2048);
}
END_TEST

START_TEST(sweep_looks_at_no_more_buckets_than_it_is_told)
{
	ck_assert_uint_gt(sweep(1000, 1, FIRST_BUCKETS), 1000 / 3);
}
END_TEST

/* 65537 entries: the table has just begun to grow, and nothing is put any more. */
START_TEST(sweep_of_a_growing_table_needs_few_rounds_too)
{
	sweep(65537, 2048, 4 * 131072 / 2048);
}
END_TEST

/* ---- the model ---- */

#define TYPES 3
#define STEPS 20000

struct model_entry {
	bool is_in;
	unsigned type;
	struct value *value;            /* the model's own reference; NULL: an absence */
	int64_t gone_ms;
	uint64_t used;
	size_t bytes;
};

struct model {
	struct memory *memory;
	const uint64_t *max_entries;
	struct model_entry *at;
	unsigned n_keys;
	uint64_t tick, bytes, entries;
	struct memory_type_stats types[TYPES];
	size_t buckets, old_buckets, moved;
	int64_t now_ms;
	unsigned seed;
};

static unsigned chance(struct model *o, unsigned n)
{
	return (unsigned)rand_r(&o->seed) % n;
}

static bool model_is_past(const struct model *o, const struct model_entry *e)
{
	return o->now_ms >= e->gone_ms;
}

static void model_remove(struct model *o, struct model_entry *e)
{
	o->bytes -= e->bytes;
	o->entries--;
	o->types[e->type].bytes -= e->bytes;
	o->types[e->type].entries--;
	if (e->value && e->value->refs != 1)
		ck_abort_msg("a value that is gone has %u references", e->value->refs);
	value_unref(e->value);
	*e = (struct model_entry){0};
}

static void model_turn(struct model *o, size_t buckets)
{
	o->moved += buckets;
	if (o->moved < o->old_buckets)
		return;
	o->bytes -= o->old_buckets * sizeof(void *);
	o->old_buckets = 0;
}

static void model_grow(struct model *o)
{
	if (o->old_buckets) {
		model_turn(o, MOVED_A_TURN);
	} else if (o->entries >= o->buckets) {
		o->old_buckets = o->buckets;
		o->moved = 0;
		o->buckets *= 2;
		o->bytes += o->buckets * sizeof(void *);
	}
}

/* type TYPES: of any. */
static struct model_entry *model_oldest(struct model *o, unsigned type)
{
	struct model_entry *oldest = NULL;
	for (unsigned i = 0; i < o->n_keys; i++) {
		struct model_entry *e = &o->at[i];
		if (e->is_in && (type == TYPES || e->type == type) && (!oldest || e->used < oldest->used))
			oldest = e;
	}
	return oldest;
}

static void model_evict(struct model *o, struct model_entry *e)
{
	ck_assert_ptr_nonnull(e);
	o->types[e->type].evictions++;
	model_remove(o, e);
}

static void model_keep_bounds(struct model *o, unsigned type)
{
	while (o->max_entries[type] && o->types[type].entries > o->max_entries[type])
		model_evict(o, model_oldest(o, type));
	while (o->bytes > memory_limit(o->memory))
		model_evict(o, model_oldest(o, TYPES));
}

/* Mostly small, some up to 100 KB. */
static struct value *model_value(struct model *o)
{
	static const unsigned sizes[] = {1, 100, 100, 100, 3000, 100000};
	struct value *v = value_new(chance(o, sizes[chance(o, LEN(sizes))] + 1));
	memset(v->data, (int)chance(o, 256), v->len);
	return v;
}

static int64_t model_end(struct model *o)
{
	return chance(o, 3) ? MEMORY_FOREVER : o->now_ms + 1 + chance(o, 50000);
}

static void do_put(struct model *o, unsigned n)
{
	struct key key = key_numbered(n);
	struct model_entry *e = &o->at[n];
	struct memory_item item = {.type = chance(o, 8) ? n % TYPES : chance(o, TYPES), .stored_ms = o->now_ms,
		.value = chance(o, 10) ? model_value(o) : NULL, .fresh_ms = o->now_ms, .expires_ms = o->now_ms, .gone_ms = model_end(o)};
	ck_assert_int_eq(memory_put(o->memory, &key, &item), 0);
	const struct memory_entry *real = memory_peek(o->memory, &key, 0);
	if (!real || real->value != item.value)
		ck_abort_msg("key %u is not what was put", n);
	if (e->is_in)
		model_remove(o, e);
	model_grow(o);
	*e = (struct model_entry){.is_in = true, .type = item.type, .value = item.value, .gone_ms = item.gone_ms,
		.used = ++o->tick, .bytes = entry_footprint(real)};
	o->bytes += e->bytes;
	o->entries++;
	o->types[e->type].bytes += e->bytes;
	o->types[e->type].entries++;
	model_keep_bounds(o, e->type);
}

static void do_put_too_large(struct model *o, unsigned n)
{
	struct key key = key_numbered(n);
	struct value *v = value_new((size_t)memory_limit(o->memory));
	ck_assert_int_eq(put(o->memory, key, 0, v, MEMORY_FOREVER), -1);
	if (o->at[n].is_in)
		model_remove(o, &o->at[n]);
}

static void do_look(struct model *o, unsigned n, bool is_get)
{
	struct key key = key_numbered(n);
	struct model_entry *e = &o->at[n];
	struct memory_entry *real = (is_get ? memory_get : memory_peek)(o->memory, &key, o->now_ms);
	bool live = e->is_in && !model_is_past(o, e);
	if ((real != NULL) != live || (real && real->value != e->value))
		ck_abort_msg("key %u", n);
	if (live && is_get)
		e->used = ++o->tick;
	if (e->is_in && !live) {
		o->types[e->type].expired++;
		model_remove(o, e);
	}
	if (real && chance(o, 20) == 0) {
		e->gone_ms = model_end(o);
		memory_set_times(real, o->now_ms, o->now_ms, e->gone_ms);
	}
}

static void do_drop(struct model *o, unsigned n)
{
	struct key key = key_numbered(n);
	struct model_entry *e = &o->at[n];
	bool was_live = e->is_in && e->value && !model_is_past(o, e);
	if (memory_drop(o->memory, &key, o->now_ms) != was_live)
		ck_abort_msg("key %u", n);
	if (e->is_in)
		model_remove(o, e);
}

/* All whose number begins like that of n, but for its last digits. */
static void do_drop_prefix(struct model *o, unsigned n)
{
	struct key key = key_numbered(n);
	unsigned type = chance(o, TYPES), tail = 1 + chance(o, 2), live = 0;
	for (unsigned i = 0, part = tail == 1 ? 10 : 100; i < o->n_keys; i++) {
		struct model_entry *e = &o->at[i];
		if (i / part != n / part || !e->is_in || e->type != type)
			continue;
		live += e->value && !model_is_past(o, e);
	}
	ck_assert_uint_eq(drop_prefix(o->memory, type, key.data, key.len - tail, o->now_ms), live);
	for (unsigned i = 0, part = tail == 1 ? 10 : 100; i < o->n_keys; i++)
		if (i / part == n / part && o->at[i].is_in && o->at[i].type == type)
			model_remove(o, &o->at[i]);
}

/* Which buckets are looked at is the table's business: what is gone must have been past. */
static void do_expire(struct model *o)
{
	size_t buckets = 1 + chance(o, 2000);
	memory_expire(o->memory, o->now_ms, buckets);
	if (o->old_buckets)
		model_turn(o, buckets);
	for (unsigned i = 0; i < o->n_keys; i++) {
		struct key key = key_numbered(i);
		struct model_entry *e = &o->at[i];
		if (!e->is_in || !model_is_past(o, e) || memory_peek(o->memory, &key, 0))
			continue;
		o->types[e->type].expired++;
		model_remove(o, e);
	}
}

static void check_sums(const struct model *o, unsigned step)
{
	if (memory_bytes(o->memory) != o->bytes || memory_entries(o->memory) != o->entries)
		ck_abort_msg("step %u: %" PRIu64 " bytes in %" PRIu64 " entries, the model has %" PRIu64 " in %" PRIu64, step,
			memory_bytes(o->memory), memory_entries(o->memory), o->bytes, o->entries);
	if (memory_bytes(o->memory) > memory_limit(o->memory))
		ck_abort_msg("step %u: over the limit", step);
	for (unsigned t = 0; t < TYPES; t++) {
		if (memcmp(memory_type_stats(o->memory, t), &o->types[t], sizeof(o->types[t])) != 0)
			ck_abort_msg("step %u: the figures of type %u differ", step, t);
		if (o->max_entries[t] && o->types[t].entries > o->max_entries[t])
			ck_abort_msg("step %u: type %u has too many entries", step, t);
	}
}

static void check_entries(struct model *o, unsigned step)
{
	for (unsigned i = 0; i < o->n_keys; i++) {
		struct key key = key_numbered(i);
		const struct memory_entry *real = memory_peek(o->memory, &key, 0);
		const struct model_entry *e = &o->at[i];
		if ((real != NULL) != e->is_in)
			ck_abort_msg("step %u: key %u is %sthere", step, i, real ? "" : "not ");
		if (real && (real->value != e->value || real->type != e->type || entry_footprint(real) != e->bytes))
			ck_abort_msg("step %u: key %u is another", step, i);
		if (e->value && e->value->refs != 2)
			ck_abort_msg("step %u: the value of key %u has %u references", step, i, e->value->refs);
	}
}

static void do_something(struct model *o)
{
	unsigned what = chance(o, 1000), n = chance(o, o->n_keys);
	if (chance(o, 4) == 0)
		n /= 4;                         /* some are used more than others */
	o->now_ms += chance(o, 20);
	if (what < 550)
		do_put(o, n);
	else if (what < 555)
		do_put_too_large(o, n);
	else if (what < 800)
		do_look(o, n, true);
	else if (what < 900)
		do_look(o, n, false);
	else if (what < 970)
		do_drop(o, n);
	else if (what < 975)
		do_drop_prefix(o, n);
	else
		do_expire(o);
}

/* Returns the model, emptied, for its figures. */
static struct model run_model(uint64_t limit, const uint64_t *max_entries, unsigned n_keys, unsigned checked_each)
{
	struct model o = {.memory = memory_new(limit, max_entries, TYPES), .max_entries = max_entries, .n_keys = n_keys,
		.at = xcalloc(n_keys, sizeof(*o.at)), .buckets = FIRST_BUCKETS, .now_ms = 1, .seed = n_keys,
		.bytes = FIRST_BUCKETS * sizeof(void *)};
	for (unsigned step = 0; step < STEPS; step++) {
		do_something(&o);
		check_sums(&o, step);
		if (step % checked_each == 0)
			check_entries(&o, step);
	}
	check_entries(&o, STEPS);
	memory_free(o.memory);
	for (unsigned i = 0; i < n_keys; i++) {
		ck_assert(!o.at[i].value || o.at[i].value->refs == 1);
		value_unref(o.at[i].value);
	}
	free(o.at);
	return o;
}

START_TEST(random_operations_agree_with_the_model_when_bytes_are_short)
{
	struct model o = run_model(1 << 20, no_bounds, 600, 20);
	for (unsigned t = 0; t < TYPES; t++)
		ck_assert_uint_gt(o.types[t].evictions, 100);
}
END_TEST

START_TEST(random_operations_agree_with_the_model_when_entries_are_bounded)
{
	static const uint64_t bounds[TYPES] = {20, 0, 60};
	struct model o = run_model(4 << 20, bounds, 600, 20);
	ck_assert_uint_gt(o.types[0].evictions, 100);
	ck_assert_uint_gt(o.types[2].evictions, 100);
}
END_TEST

START_TEST(random_operations_agree_with_the_model_while_the_table_grows)
{
	struct model o = run_model(100 << 20, no_bounds, 6000, 500);
	ck_assert_uint_ge(o.buckets, 4 * FIRST_BUCKETS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tc = tcase_create("memory");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, value_put_is_found_until_it_is_dropped);
	tcase_add_test(tc, entry_tells_what_was_put);
	tcase_add_test(tc, replaced_value_is_let_go);
	tcase_add_test(tc, value_put_again_over_itself_stays);
	tcase_add_test(tc, keys_of_one_hash_are_kept_apart);
	tcase_add_test(tc, entry_ends_at_its_ttl_and_not_before);
	tcase_add_test(tc, entry_past_its_ttl_is_kept_until_it_is_gone);
	tcase_add_test(tc, new_times_count_from_then_on);
	tcase_add_test(tc, absence_is_remembered_and_is_no_value);
	tcase_add_test(tc, drop_of_what_is_past_says_that_nothing_was_there);
	tcase_add_test(tc, least_recently_used_of_a_type_goes_when_it_is_full);
	tcase_add_test(tc, least_recently_used_of_all_types_goes_when_the_bytes_are_used_up);
	tcase_add_test(tc, item_over_the_limit_leaves_nothing_and_no_old_value);
	tcase_add_test(tc, put_that_succeeds_has_stored_also_when_the_table_grows);
	tcase_add_test(tc, evicted_value_stays_readable_for_who_holds_it);
	tcase_add_test(tc, prefix_drops_the_live_values_of_one_type_and_counts_them);
	tcase_add_test(tc, large_drop_is_seen_at_once_and_done_in_slices);
	tcase_add_test(tc, what_is_put_or_used_after_a_drop_began_stays);
	tcase_add_test(tc, two_drops_at_once_count_each_entry_once);
	tcase_add_test(tc, memory_is_freed_in_the_middle_of_a_drop);
	tcase_add_test(tc, table_grows_and_loses_nothing_on_the_way);
	tcase_add_test(tc, sweep_drops_all_that_is_past_in_one_round);
	tcase_add_test(tc, sweep_looks_at_no_more_buckets_than_it_is_told);
	tcase_add_test(tc, sweep_of_a_growing_table_needs_few_rounds_too);
	tcase_add_test(tc, random_operations_agree_with_the_model_when_bytes_are_short);
	tcase_add_test(tc, random_operations_agree_with_the_model_when_entries_are_bounded);
	tcase_add_test(tc, random_operations_agree_with_the_model_while_the_table_grows);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
