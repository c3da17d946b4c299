/* memory.c: each promise by itself, then thousands of random operations beside a
 * model that knows what must be there, in which order it goes, and the exact bytes. */
#include "../../daemon/memory.h"

#include <check.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "../../daemon/value.h"
#include "../../proto/buf.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PLENTY ((uint64_t)1 << 32)
#define FIRST_BUCKETS 1024      /* of memory_table.c, which the count of bytes includes */
#define LOOKS 16                /* of memory.c */
#define GONE_SHIFT 44           /* of memory_table.c */

static const struct memory_bounds no_bounds[8];

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
static int put(struct memory *m, struct key key, unsigned type, struct value *v, int64_t expires_ms)
{
	int result = memory_put(m, &key, &(struct memory_item){.type = type, .source = SOURCE_CLIENT, .value = v,
		.stored_ms = 1, .expires_ms = expires_ms});
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
	const struct value *v = e ? memory_value(e) : NULL;
	return v && v->len == strlen(text) && memcmp(v->data, text, strlen(text)) == 0;
}

static bool is_there(struct memory *m, const char *name)
{
	struct key key = key_named(name);
	return memory_peek(m, &key, 1) != NULL;
}

static size_t entry_footprint(const struct memory_entry *e)
{
	const struct value *v = memory_value(e);
	return malloc_usable_size((void *)e) + sizeof(size_t) + (v && !v->is_within ? value_footprint(v) : 0);
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

/* Present keys and absent ones, while the table is as large as that (memory.c's CACHED), and just below and above a doubling of it. */
START_TEST(prefetch_changes_nothing)
{
	enum { N = 40000 };
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	char names[16][16];
	struct key keys[16];
	for (unsigned n = 1; n <= N; n++) {
		put(m, key_numbered(n), 0, text_value("v"), MEMORY_FOREVER);
		if (n % 7 && (n & (n - 1)) && (n & (n + 1)))
			continue;
		for (unsigned i = 0; i < LEN(keys); i++)
			keys[i] = key_of(names[i], (size_t)snprintf(names[i], sizeof(names[i]), i % 3 ? "k%06u" : "absent%u", 1 + (n + i * 37) % n));
		uint64_t bytes = memory_bytes(m);
		memory_prefetch(m, keys, LEN(keys));
		ck_assert_uint_eq(memory_bytes(m), bytes);
		for (unsigned i = 0; i < LEN(keys); i++)
			ck_assert(!memory_get(m, &keys[i], 1) == (i % 3 == 0));
	}
	ck_assert_uint_gt(memory_bytes(m), 1 << 20);
	ck_assert_uint_eq(memory_entries(m), N);
	memory_free(m);
}
END_TEST

START_TEST(entry_tells_what_was_put)
{
	static const size_t lens[] = {0, 1, VALUE_WITHIN_MAX, VALUE_WITHIN_MAX + 1, 100000};
	static const int64_t ends[] = {100, -100, (int64_t)10 * 366 * 86400 * 1000, INT64_MAX - 1, MEMORY_FOREVER};
	struct memory *m = memory_new(PLENTY, no_bounds, 3);
	struct key a = key_named("a");
	for (size_t i = 0; i < LEN(lens); i++) {
		struct value *v = value_new(lens[i]);
		memset(v->data, 'x', v->len);
		struct memory_item item = {.type = 2, .source = SOURCE_REDIS, .value = v,
			.stored_ms = ((int64_t)1 << 39) + 5, .expires_ms = ends[i], .epoch = UINT32_MAX - 7};
		ck_assert_int_eq(memory_put(m, &a, &item), 0);
		const struct memory_entry *e = memory_get(m, &a, -1000);
		ck_assert(memory_value(e)->len == lens[i] && memcmp(memory_value(e)->data, v->data, lens[i]) == 0);
		ck_assert_uint_eq(e->type, 2);
		ck_assert_int_eq(e->source, SOURCE_REDIS);
		ck_assert_int_eq(memory_stored_ms(e), ((int64_t)1 << 39) + 5);
		ck_assert_int_eq(memory_age_ms(e, ((int64_t)1 << 39) + 9), 4);
		ck_assert_int_eq(memory_age_ms(e, 0), 0);
		ck_assert_int_eq(e->expires_ms, ends[i]);
		ck_assert_uint_eq(e->epoch, UINT32_MAX - 7);
		ck_assert(e->key_len == 1 && memory_key(e)[0] == 'a');
		value_unref(v);
	}
	memory_free(m);
}
END_TEST

START_TEST(longest_key_is_kept_whole)
{
	static const size_t lens[] = {10, 5000};
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	char name[4096];
	memset(name, 'n', sizeof(name));
	for (size_t i = 0; i < LEN(lens); i++) {
		struct key key = key_of(name, sizeof(name)), shorter = key_of(name, sizeof(name) - 1);
		put(m, key, 0, value_new(lens[i]), MEMORY_FOREVER);
		const struct memory_entry *e = memory_peek(m, &key, 1);
		ck_assert(e && e->key_len == sizeof(name) && memcmp(memory_key(e), name, sizeof(name)) == 0);
		ck_assert_ptr_null(memory_peek(m, &shorter, 1));
	}
	memory_free(m);
}
END_TEST

/* What a small entry costs beyond its key and value is a target of its own: tests/bench measures it. */
START_TEST(small_value_is_copied_and_a_large_one_shared)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("0123456789");
	struct value *small = text_value("0123456789abcdef"), *large = value_new(VALUE_WITHIN_MAX + 1);
	put(m, a, 0, value_ref(small), MEMORY_FOREVER);
	ck_assert_uint_eq(small->refs, 1);
	ck_assert(memory_value(memory_peek(m, &a, 1)) != small && memory_value(memory_peek(m, &a, 1))->is_within);
	ck_assert_uint_le(memory_bytes(m) - FIRST_BUCKETS * sizeof(void *), a.len + small->len + 64 - sizeof(void *));
	put(m, a, 0, value_ref(large), MEMORY_FOREVER);
	ck_assert_uint_eq(large->refs, 2);
	ck_assert_ptr_eq(memory_value(memory_peek(m, &a, 1)), large);
	memory_free(m);
	ck_assert_uint_eq(large->refs, 1);
	value_unref(small);
	value_unref(large);
}
END_TEST

START_TEST(what_was_found_out_about_a_small_value_goes_with_it)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	struct value *v = text_value("[1,2]");
	put(m, a, 0, value_ref(v), MEMORY_FOREVER);
	ck_assert(!memory_value(memory_peek(m, &a, 1))->inspected);
	value_set_inspected(v, true, 2, XXH3_64bits(v->data, v->len));
	put(m, a, 0, value_ref(v), MEMORY_FOREVER);
	const struct value *held = memory_value(memory_peek(m, &a, 1));
	ck_assert(held->inspected && held->is_json && held->is_within);
	ck_assert_int_eq(value_items(held), 2);
	ck_assert_uint_eq(value_digest(held), value_digest(v));
	value_unref(v);
	memory_free(m);
}
END_TEST

START_TEST(replaced_value_is_let_go)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 2);
	struct value *old = value_new(2000);
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
	static const size_t lens[] = {10, 5000};
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	for (size_t i = 0; i < LEN(lens); i++) {
		struct value *v = value_new(lens[i]);
		memset(v->data, 'v', v->len);
		put(m, a, 0, v, MEMORY_FOREVER);
		struct memory_entry *e = memory_peek(m, &a, 1);
		struct key own = {.data = memory_key(e), .len = e->key_len, .hash = a.hash};        /* goes while it is put */
		struct memory_item item = {.value = memory_value(e), .expires_ms = MEMORY_FOREVER};
		ck_assert_int_eq(memory_put(m, &own, &item), 0);
		const struct value *held = memory_value(memory_peek(m, &a, 1));
		ck_assert(held->len == lens[i] && held->data[0] == 'v' && held->data[lens[i] - 1] == 'v');
		ck_assert_uint_eq(held->refs, 1);
	}
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
		ck_assert(!e || (memory_value(e)->len == keys[i].len && memcmp(memory_value(e)->data, names[i], keys[i].len) == 0));
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

/* As many calls as it takes to look at all, where there are few. */
static void expire_all(struct memory *m, int64_t now_ms)
{
	for (unsigned i = 0; i <= 2 * FIRST_BUCKETS / MEMORY_SLICE; i++)
		(void)memory_expire(m, now_ms);
}

/* What it is worth meanwhile is not for the table to judge. */
START_TEST(value_past_its_ttl_is_kept_for_as_long_as_its_type_says)
{
	static const struct memory_bounds bounds[] = {{.keep_ms = 600}};
	struct memory *m = memory_new(PLENTY, bounds, 1);
	struct key a = key_named("a"), absent = key_named("absent"), far = key_named("far");
	put(m, a, 0, text_value("v"), 400);
	put(m, absent, 0, NULL, 400);
	put(m, far, 0, text_value("v"), INT64_MAX - 1);         /* its end and keep_ms are more than there is */
	ck_assert_ptr_nonnull(memory_get(m, &absent, 399));
	ck_assert_ptr_null(memory_peek(m, &absent, 400));
	ck_assert_ptr_nonnull(memory_peek(m, &a, 400));
	expire_all(m, 999);
	ck_assert_ptr_nonnull(memory_get(m, &a, 999));
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired, 1);
	ck_assert_ptr_null(memory_get(m, &a, 1000));
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired, 2);
	ck_assert_ptr_nonnull(memory_get(m, &far, INT64_MAX));
	memory_free(m);
}
END_TEST

START_TEST(new_end_counts_from_then_on)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	put(m, a, 0, text_value("v"), 1000);
	memory_set_end(memory_peek(m, &a, 1), 3000);
	const struct memory_entry *e = memory_get(m, &a, 2999);
	ck_assert_ptr_nonnull(e);
	ck_assert(e->expires_ms == 3000 && memory_stored_ms(e) == 1);
	memory_set_end(memory_peek(m, &a, 1), MEMORY_FOREVER);
	ck_assert_ptr_nonnull(memory_get(m, &a, 1000000));
	memory_set_end(memory_peek(m, &a, 1), 2000);
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
	ck_assert(e && !memory_value(e));
	ck_assert_uint_eq(memory_entries(m), 1);
	ck_assert(!memory_drop(m, &a, 999));
	ck_assert_uint_eq(memory_entries(m), 0);
	put(m, a, 0, NULL, 1000);
	ck_assert_ptr_null(memory_get(m, &a, 1000));
	put(m, a, 0, NULL, MEMORY_FOREVER);
	put(m, a, 0, text_value("v"), MEMORY_FOREVER);
	ck_assert(holds(m, "a", "v"));
	put(m, a, 0, NULL, MEMORY_FOREVER);
	ck_assert_ptr_null(memory_value(memory_get(m, &a, 1)));
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

/* ---- eviction ---- */

/* Puts names, a character each, in this order. */
static void put_all(struct memory *m, unsigned type, const char *names)
{
	for (; *names; names++)
		put(m, key_of(names, 1), type, text_value("x"), MEMORY_FOREVER);
}

static void use_all(struct memory *m, const char *names)
{
	for (; *names; names++) {
		struct key key = key_of(names, 1);
		ck_assert_ptr_nonnull(memory_get(m, &key, 1));
	}
}

static void expect_there(struct memory *m, const char *names)
{
	for (char name[2] = "a"; *name <= 'z'; ++*name)
		ck_assert_msg(is_there(m, name) == (strchr(names, *name) != NULL), "%s", name);
}

START_TEST(oldest_that_was_not_used_goes_when_a_type_is_full)
{
	static const struct memory_bounds bounds[] = {{.max_entries = 3}, {0}};
	struct memory *m = memory_new(PLENTY, bounds, 2);
	struct key b = key_named("b");
	put_all(m, 1, "o");
	put_all(m, 0, "abc");
	use_all(m, "a");
	memory_peek(m, &b, 1);          /* no use */
	put_all(m, 0, "d");
	expect_there(m, "acdo");
	put_all(m, 0, "a");             /* a replacement is no further entry */
	expect_there(m, "acdo");
	put_all(m, 0, "e");
	expect_there(m, "adeo");
	ck_assert_uint_eq(memory_type_stats(m, 0)->evictions, 2);
	ck_assert_uint_eq(memory_type_stats(m, 0)->entries, 3);
	memory_free(m);
}
END_TEST

START_TEST(what_is_asked_for_once_does_not_drive_out_what_was_used)
{
	static const struct memory_bounds bounds[] = {{.max_entries = 6}};
	struct memory *m = memory_new(PLENTY, bounds, 1);
	put_all(m, 0, "abc");
	use_all(m, "abc");
	put_all(m, 0, "defghijklmnopq");
	expect_there(m, "abcopq");
	memory_free(m);
}
END_TEST

/* A replacement is as good as what it is in place of. */
START_TEST(use_is_not_lost_when_the_value_is_replaced)
{
	static const struct memory_bounds bounds[] = {{.max_entries = 4}};
	struct memory *m = memory_new(PLENTY, bounds, 1);
	put_all(m, 0, "ab");
	use_all(m, "a");
	put_all(m, 0, "a");
	put_all(m, 0, "cdefg");         /* a is proven now */
	put_all(m, 0, "a");
	put_all(m, 0, "hijkl");
	expect_there(m, "ajkl");
	memory_free(m);
}
END_TEST

START_TEST(what_comes_back_soon_after_it_went_is_kept)
{
	static const struct memory_bounds bounds[] = {{.max_entries = 4}};
	struct memory *m = memory_new(PLENTY, bounds, 1);
	put_all(m, 0, "abcdef");
	expect_there(m, "cdef");
	put_all(m, 0, "a");
	put_all(m, 0, "ghijk");
	expect_there(m, "aijk");
	memory_free(m);
}
END_TEST

START_TEST(use_of_the_proven_counts_until_their_next_turn)
{
	static const struct memory_bounds bounds[] = {{.max_entries = 4}};
	struct memory *m = memory_new(PLENTY, bounds, 1);
	put_all(m, 0, "abcd");
	use_all(m, "abcd");
	put_all(m, 0, "e");             /* all are proven by it, and none was used since */
	expect_there(m, "bcde");
	use_all(m, "be");
	put_all(m, 0, "f");
	expect_there(m, "bdef");
	memory_free(m);
}
END_TEST

/* A million entries that were all used are no reason to look at all of them for one eviction. */
START_TEST(eviction_looks_at_a_bounded_number_of_entries)
{
	static const struct memory_bounds bounds[] = {{.max_entries = 3 * LOOKS}};
	struct memory *m = memory_new(PLENTY, bounds, 1);
	for (unsigned i = 0; i < 3 * LOOKS; i++) {
		struct key key = key_numbered(i);
		put(m, key, 0, text_value("x"), MEMORY_FOREVER);
		memory_get(m, &key, 1);
	}
	put(m, key_named("new"), 0, text_value("x"), MEMORY_FOREVER);
	struct key key = key_numbered(LOOKS);
	ck_assert_ptr_null(memory_peek(m, &key, 1));
	ck_assert_uint_eq(memory_entries(m), 3 * LOOKS);
	memory_free(m);
}
END_TEST

/* What a type loses is its part of the entries, if they are used alike. */
START_TEST(types_take_turns_when_the_bytes_are_used_up)
{
	enum { N = 300, BYTES = 5000 };
	struct memory *m = memory_new(FIRST_BUCKETS * sizeof(void *) + N * (BYTES + 128), no_bounds, 3);
	for (unsigned i = 0; i < N; i++)
		put(m, key_numbered(i), i % 3 ? 1 : 0, value_new(BYTES), MEMORY_FOREVER);
	for (unsigned i = 0; i < N / 2; i++)
		put(m, key_numbered(N + i), 2, value_new(BYTES), MEMORY_FOREVER);
	uint64_t lost[] = {memory_type_stats(m, 0)->evictions, memory_type_stats(m, 1)->evictions, memory_type_stats(m, 2)->evictions};
	ck_assert_uint_ge(lost[0] + lost[1] + lost[2], N / 2 - 10);
	ck_assert_uint_le(lost[0] * 2, lost[1] + 6);
	ck_assert_uint_ge(lost[0] * 2 + 6, lost[1]);
	ck_assert_uint_gt(lost[0], lost[2]);
	ck_assert_uint_le(memory_bytes(m), memory_limit(m));
	memory_free(m);
}
END_TEST

START_TEST(type_in_use_is_spared_while_others_are_not)
{
	enum { N = 50, BYTES = 10000 };
	struct memory *m = memory_new(FIRST_BUCKETS * sizeof(void *) + 2 * N * (BYTES + 200), no_bounds, 2);
	for (unsigned i = 0; i < 2 * N; i++)
		put(m, key_numbered(i), i / N, value_new(BYTES), MEMORY_FOREVER);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < N; i++) {
			struct key key = key_numbered(i);
			ck_assert_ptr_nonnull(memory_get(m, &key, 1));
		}
		for (unsigned i = 0; i < N / 5; i++)
			put(m, key_numbered(1000 + round * N + i), 1, value_new(BYTES), MEMORY_FOREVER);
	}
	ck_assert_uint_eq(memory_type_stats(m, 0)->entries, N);
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
	while (memory_sweep(m))
		;
	ck_assert_msg((result == 0) == is_there(m, "large"), "put says %d, and %" PRIu64 " entries are there", result, memory_entries(m));
	ck_assert_uint_le(memory_bytes(m), memory_limit(m));
	memory_free(m);
}
END_TEST

START_TEST(many_large_values_at_once_are_bounded_all_the_same)
{
	enum { LIMIT = 10000000, LARGE = 300000 };
	struct memory *m = memory_new(LIMIT, no_bounds, 1);
	for (unsigned i = 0; i < 200000; i++)
		put(m, key_numbered(i), 0, text_value("x"), MEMORY_FOREVER);
	for (unsigned i = 0; i < 100; i++) {
		put(m, key_numbered(1000000 + i), 0, value_new(LARGE), MEMORY_FOREVER);
		ck_assert_uint_le(memory_bytes(m), LIMIT + LIMIT / MEMORY_OVER_PART);
	}
	while (memory_sweep(m))
		;
	ck_assert_uint_le(memory_bytes(m), LIMIT);
	memory_free(m);
}
END_TEST

/* They go slice by slice, and it is none of them: also where nearly all others are proven. */
START_TEST(large_value_takes_the_place_of_many_slice_by_slice)
{
	enum { N = 100000, LARGE = 1000000 };
	for (int are_proven = 0; are_proven < 2; are_proven++) {
		struct memory *m = memory_new(10000000, no_bounds, 1);
		for (unsigned i = 0; i < 2 * N; i++) {
			struct key key = key_numbered(i);
			put(m, key, 0, text_value("x"), MEMORY_FOREVER);
			if (are_proven)
				(void)memory_get(m, &key, 1);
		}
		ck_assert(!memory_is_over(m) && !memory_sweep(m));
		uint64_t before = memory_entries(m);
		put(m, key_named("large"), 0, value_new(LARGE), MEMORY_FOREVER);
		ck_assert(memory_is_over(m));
		ck_assert_uint_le(before - memory_entries(m), MEMORY_SLICE / 4);
		for (bool goes_on = true; goes_on; ) {
			before = memory_entries(m);
			goes_on = memory_sweep(m);
			ck_assert_uint_le(before - memory_entries(m), MEMORY_SLICE / 4);
		}
		ck_assert(!memory_is_over(m) && is_there(m, "large"));
		ck_assert_uint_gt(memory_entries(m), N / 10);
		memory_free(m);
	}
}
END_TEST

START_TEST(evicted_value_stays_readable_for_who_holds_it)
{
	struct memory *m = memory_new(100000, no_bounds, 1);
	struct key a = key_named("a");
	struct value *v = value_new(60000);
	memset(v->data, 'v', v->len);
	put(m, a, 0, v, MEMORY_FOREVER);
	struct value *held = value_ref(memory_value(memory_get(m, &a, 1)));
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

/* It lies within the entry, which is freed with its last reference. */
START_TEST(small_value_of_a_dropped_entry_stays_readable_for_who_holds_it)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct key a = key_named("a");
	put(m, a, 0, text_value("held"), MEMORY_FOREVER);
	struct value *held = value_ref(memory_value(memory_get(m, &a, 1)));
	put(m, a, 0, text_value("new"), MEMORY_FOREVER);
	memory_free(m);
	ck_assert_uint_eq(held->refs, 1);
	ck_assert(held->len == 4 && memcmp(held->data, "held", 4) == 0);
	value_unref(held);
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

#define REMOVED_AT_ONCE (MEMORY_SLICE / 4)      /* what is small */

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
	ck_assert_uint_eq(memory_entries(m), N - REMOVED_AT_ONCE);
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

/* All in one millisecond, which is not what tells them apart. */
START_TEST(drops_and_puts_by_turns_are_told_apart)
{
	enum { N = 3 * MEMORY_SLICE, TURNS = 50 };
	struct memory *m = new_memory_to_drop(N);
	struct drop_count drop = {0};
	struct key key = key_named("k-again");
	for (unsigned i = 0; i < TURNS; i++) {
		memory_drop_prefix(m, 0, "k", 1, 1, on_dropped, &drop);
		ck_assert_ptr_null(memory_peek(m, &key, 1));
		put(m, key, 0, text_value("x"), MEMORY_FOREVER);
		ck_assert_ptr_nonnull(memory_peek(m, &key, 1));
		ck_assert_int_eq(memory_age_ms(memory_peek(m, &key, 1), 1), 0);
	}
	sweep_drops(m);
	ck_assert_uint_eq(drop.times, TURNS);
	ck_assert_uint_eq(drop.live, N + TURNS - 1);
	ck_assert_uint_eq(memory_entries(m), 1);
	put(m, key, 0, text_value("x"), MEMORY_FOREVER);
	ck_assert_int_eq(memory_stored_ms(memory_peek(m, &key, 1)), 1);
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
	(void)memory_expire(m, 1);
	sweep_drops(m);
	ck_assert(first.times == 1 && second.times == 1);
	ck_assert_uint_eq(first.live, N);
	ck_assert_uint_eq(second.live, 100);
	ck_assert_uint_eq(memory_entries(m), 0);
	memory_free(m);
}
END_TEST

static void count_old(void *arg, const struct memory_entry *e)
{
	*(uint64_t *)arg += memory_key(e)[0] == 'd' && memory_value(e)->len == 1;
}

/* Entries are evicted, proven, given another turn and put while the drop walks. */
START_TEST(drop_misses_nothing_however_entries_move_meanwhile)
{
	enum { N = 10 * MEMORY_SLICE };
	static const struct memory_bounds bounds[] = {{.max_entries = N}};
	struct memory *m = memory_new(PLENTY, bounds, 1);
	struct drop_count drop = {0};
	struct key key;
	char name[16];
	for (unsigned i = 0; i < 2 * N; i++) {  /* half are to be dropped; some are proven */
		key = key_of(name, (size_t)snprintf(name, sizeof(name), "%c%u", i % 2 ? 'd' : 'k', i));
		put(m, key, 0, text_value("x"), MEMORY_FOREVER);
		if (i % 3 == 0)
			(void)memory_get(m, &key, 1);
	}
	memory_drop_prefix(m, 0, "d", 1, 1, on_dropped, &drop);
	unsigned slices = 1;
	for (bool goes_on = true; goes_on; slices++) {
		for (unsigned i = 0; i < 3000; i++) {
			key = key_of(name, (size_t)snprintf(name, sizeof(name), "%c%u", i % 4 ? 'k' : 'd', (slices * 3000 + i * 7) % (3 * N)));
			if (!memory_get(m, &key, 1))
				put(m, key, 0, text_value("new"), MEMORY_FOREVER);
		}
		goes_on = memory_sweep(m);
	}
	ck_assert_uint_eq(drop.times, 1);
	ck_assert_uint_lt(slices, 40);
	for (unsigned i = 0; i < 3 * N; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		ck_assert(!is_there(m, name) || holds(m, name, "new"));
	}
	uint64_t cursor = 0, old = 0;
	do
		cursor = memory_scan(m, cursor, 100, count_old, &old);
	while (cursor);
	ck_assert_uint_eq(old, 0);
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
	if ((e != NULL) != expected || (e && (e->key_len != key.len || memcmp(memory_key(e), key.data, key.len) != 0)))
		ck_abort_msg("key %u is %s", n, expected ? "not found" : "found");
}

START_TEST(table_grows_and_loses_nothing_on_the_way)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	struct value *v = value_new(VALUE_WITHIN_MAX + 1);      /* shared */
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
	ck_assert_uint_eq(memory_bytes(m) - sum, memory_entries(m) * sizeof(void *));
	memory_free(m);
	ck_assert_uint_eq(v->refs, 1);
	value_unref(v);
}
END_TEST

static struct memory *new_memory_of_thirds(unsigned entries)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	for (unsigned i = 0; i < entries; i++)
		put(m, key_numbered(i), 0, text_value("x"), i % 3 ? 1000 : MEMORY_FOREVER);
	return m;
}

/* Of entries those that have an end, as two thirds have; the calls it took. */
static unsigned expire_thirds(unsigned entries)
{
	struct memory *m = new_memory_of_thirds(entries);
	unsigned calls = 0, kept = (entries + 2) / 3;
	ck_assert(!memory_expire(m, 999));
	while (memory_entries(m) > kept && calls++ < entries)
		(void)memory_expire(m, 1000);
	ck_assert_msg(memory_entries(m) == kept, "%" PRIu64 " of %u entries are left after %u calls", memory_entries(m), entries, calls);
	ck_assert_uint_eq(memory_type_stats(m, 0)->expired, entries - kept);
	for (unsigned i = 0; i < entries; i++) {
		struct key key = key_numbered(i);
		if ((memory_peek(m, &key, 1) != NULL) != (i % 3 == 0))
			ck_abort_msg("key %u", i);
	}
	memory_free(m);
	return calls;
}

START_TEST(all_that_is_past_goes_in_one_round)
{
	ck_assert_uint_le(expire_thirds(100), 3);
	ck_assert_uint_le(expire_thirds(MANY), MANY / REMOVED_AT_ONCE + 2 * MANY / MEMORY_SLICE);
}
END_TEST

/* So many, and those of the last chain, are the most that anybody waits for. */
START_TEST(entries_that_end_at_once_go_in_slices)
{
	struct memory *m = new_memory_of_thirds(MANY);
	for (bool goes_on = true; goes_on; ) {
		uint64_t before = memory_entries(m);
		goes_on = memory_expire(m, 1000);
		ck_assert_uint_le(before - memory_entries(m), REMOVED_AT_ONCE + 10);
	}
	ck_assert_uint_le(memory_entries(m), MANY / 2);
	memory_free(m);
}
END_TEST

/* It is asked to go on soon. */
START_TEST(expiry_says_whether_much_was_past)
{
	struct memory *m = memory_new(PLENTY, no_bounds, 1);
	for (unsigned i = 0; i < MANY; i++)
		put(m, key_numbered(i), 0, text_value("x"), i % 10 ? MEMORY_FOREVER : 1000);
	ck_assert(!memory_expire(m, 999));
	unsigned calls = 1;
	while (memory_expire(m, 1000))
		calls++;
	ck_assert_uint_ge(calls, MANY / MEMORY_SLICE);
	ck_assert_uint_le(calls, 2 * MANY / MEMORY_SLICE);
	ck_assert_uint_eq(memory_entries(m), MANY - MANY / 10);
	memory_free(m);
}
END_TEST

/* To free a megabyte takes as long as to look at hundreds of entries. */
START_TEST(sweep_and_drop_do_less_at_once_where_values_are_large)
{
	enum { N = 20, LARGE = 1 << 20, AT_ONCE = MEMORY_SLICE / (LARGE / 4096) + 1 };
	struct memory *m = memory_new(PLENTY, no_bounds, 2);
	struct drop_count drop = {0};
	for (unsigned i = 0; i < 2 * N; i++)
		put(m, key_numbered(i), i / N, value_new(LARGE), 1000);
	memory_drop_prefix(m, 1, "", 0, 1, on_dropped, &drop);
	ck_assert_uint_ge(memory_type_stats(m, 1)->entries, N - AT_ONCE);
	ck_assert_uint_gt(sweep_drops(m), 3);
	ck_assert_uint_eq(drop.live, N);
	for (unsigned i = 0; i < N && memory_entries(m); i++) {
		uint64_t before = memory_entries(m);
		(void)memory_expire(m, 1000);
		ck_assert_uint_le(before - memory_entries(m), AT_ONCE + 8);         /* a bucket is looked at as a whole */
	}
	ck_assert_uint_eq(memory_entries(m), 0);
	for (unsigned i = 0; i < N; i++)
		put(m, key_numbered(i), 0, value_new(LARGE), MEMORY_FOREVER);
	memory_set_bounds(m, 2 * LARGE, no_bounds, 2);
	for (bool goes_on = true; goes_on; ) {
		uint64_t before = memory_entries(m);
		goes_on = memory_sweep(m);
		ck_assert_uint_le(before - memory_entries(m), AT_ONCE);
	}
	ck_assert_uint_eq(memory_entries(m), 1);
	memory_free(m);
}
END_TEST

/* ---- the model ---- */

#define TYPES 3
#define STEPS 20000

struct model_entry {
	bool is_in, is_used, is_proven;
	unsigned type;
	struct value *value;            /* the model's own reference; NULL: an absence */
	int64_t stored_ms, expires_ms;
	uint64_t number;                /* its place in its list */
	size_t bytes;
};

struct model_type {
	struct memory_type_stats stats;
	uint64_t bytes[2];              /* of the young ones, and the proven ones */
};

struct model {
	struct memory *memory;
	const struct memory_bounds *bounds;
	struct model_entry *at;
	unsigned n_keys;
	uint64_t places, turns, bytes, entries;
	struct model_type types[TYPES];
	size_t buckets;
	uint64_t gone[8 * FIRST_BUCKETS];       /* by bucket */
	int64_t now_ms;
	unsigned seed;
};

static unsigned chance(struct model *o, unsigned n)
{
	return (unsigned)rand_r(&o->seed) % n;
}

static bool model_is_past(const struct model *o, const struct model_entry *e)
{
	return e->expires_ms != MEMORY_FOREVER && o->now_ms >= e->expires_ms + (e->value ? o->bounds[e->type].keep_ms : 0);
}

static void model_remove(struct model *o, struct model_entry *e)
{
	struct model_type *t = &o->types[e->type];
	o->bytes -= e->bytes;
	o->entries--;
	t->bytes[e->is_proven] -= e->bytes;
	t->stats.bytes -= e->bytes;
	t->stats.entries--;
	if (e->value && e->value->refs != 1)
		ck_abort_msg("a value that is gone has %u references", e->value->refs);
	value_unref(e->value);
	*e = (struct model_entry){0};
}

/* ---- S3-FIFO, once more ---- */

static uint64_t *model_gone(struct model *o, const struct key *key)
{
	size_t size = FIRST_BUCKETS;
	while (size < o->buckets)
		size *= 2;
	size_t at = key->hash % size;
	return &o->gone[at < o->buckets ? at : at - size / 2];
}

/* A bucket that has seen none go holds 0, which therefore means none. */
static bool model_is_gone(struct model *o, const struct key *key)
{
	uint64_t tag = key->hash >> GONE_SHIFT;
	return tag && *model_gone(o, key) == tag;
}

static struct model_entry *model_oldest(struct model *o, unsigned type, bool is_proven)
{
	struct model_entry *oldest = NULL;
	for (unsigned i = 0; i < o->n_keys; i++) {
		struct model_entry *e = &o->at[i];
		if (e->is_in && e->type == type && e->is_proven == is_proven && (!oldest || e->number < oldest->number))
			oldest = e;
	}
	return oldest;
}

static struct model_entry *model_look(struct model *o, unsigned type, bool must_go)
{
	struct model_type *t = &o->types[type];
	struct model_entry *young = model_oldest(o, type, false), *proven = model_oldest(o, type, true);
	struct model_entry *e = young && (!proven || t->bytes[0] * 10 > t->stats.bytes) ? young : proven;
	if (must_go || !e->is_used)
		return e;
	t->bytes[e->is_proven] -= e->bytes;
	t->bytes[1] += e->bytes;
	e->is_proven = true;
	e->is_used = false;
	e->number = ++o->places;
	return NULL;
}

static unsigned model_turn(struct model *o)
{
	uint64_t part = ++o->turns * UINT64_C(0x9e3779b97f4a7c15), at = (part >> 32) * o->entries >> 32;
	unsigned type = 0;
	for (; at >= o->types[type].stats.entries; type++)
		at -= o->types[type].stats.entries;
	return type;
}

/* type TYPES: of any. */
static void model_evict(struct model *o, unsigned type)
{
	struct model_entry *e = NULL;
	for (unsigned i = 0; !e; i++)
		e = model_look(o, type == TYPES ? model_turn(o) : type, i == LOOKS);
	struct key key = key_numbered((unsigned)(e - o->at));
	if (!e->is_proven)
		*model_gone(o, &key) = key.hash >> GONE_SHIFT;
	o->types[e->type].stats.evictions++;
	model_remove(o, e);
}

static void model_make_room(struct model *o, unsigned type, size_t bytes)
{
	while (o->bounds[type].max_entries && o->types[type].stats.entries >= o->bounds[type].max_entries)
		model_evict(o, type);
	while (o->bytes + bytes > memory_limit(o->memory))
		model_evict(o, TYPES);
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

static bool is_same(const struct memory_entry *real, const struct value *v)
{
	const struct value *held = memory_value(real);
	return held && v ? held->len == v->len && memcmp(held->data, v->data, v->len) == 0 : held == v;
}

static void do_put(struct model *o, unsigned n)
{
	struct key key = key_numbered(n);
	struct model_entry *e = &o->at[n];
	struct memory_item item = {.type = chance(o, 8) ? n % TYPES : chance(o, TYPES), .stored_ms = o->now_ms,
		.value = chance(o, 10) ? model_value(o) : NULL, .expires_ms = model_end(o)};
	ck_assert_int_eq(memory_put(o->memory, &key, &item), 0);
	const struct memory_entry *real = memory_peek(o->memory, &key, 0);
	if (!real || !is_same(real, item.value))
		ck_abort_msg("key %u is not what was put", n);
	bool is_used = e->is_in && e->is_used, is_proven = e->is_in ? e->is_proven : model_is_gone(o, &key);
	if (e->is_in)
		model_remove(o, e);
	size_t bytes = entry_footprint(real);
	model_make_room(o, item.type, bytes + (o->entries == o->buckets ? sizeof(void *) : 0));
	*e = (struct model_entry){.is_in = true, .type = item.type, .value = item.value, .stored_ms = o->now_ms, .expires_ms = item.expires_ms,
		.number = ++o->places, .bytes = bytes, .is_used = is_used, .is_proven = is_proven};
	o->bytes += e->bytes;
	o->entries++;
	o->types[e->type].bytes[is_proven] += e->bytes;
	o->types[e->type].stats.bytes += e->bytes;
	o->types[e->type].stats.entries++;
	if (o->entries > o->buckets) {
		o->buckets++;
		o->bytes += sizeof(void *);
	}
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
	if ((real != NULL) != live || (real && !is_same(real, e->value)))
		ck_abort_msg("key %u", n);
	if (live && is_get)
		e->is_used = true;
	if (e->is_in && !live) {
		o->types[e->type].stats.expired++;
		model_remove(o, e);
	}
	if (real && chance(o, 20) == 0) {
		e->expires_ms = model_end(o);
		memory_set_end(real, e->expires_ms);
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
	(void)memory_expire(o->memory, o->now_ms);
	for (unsigned i = 0; i < o->n_keys; i++) {
		struct key key = key_numbered(i);
		struct model_entry *e = &o->at[i];
		if (!e->is_in || !model_is_past(o, e) || memory_peek(o->memory, &key, 0))
			continue;
		o->types[e->type].stats.expired++;
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
		if (memcmp(memory_type_stats(o->memory, t), &o->types[t].stats, sizeof(o->types[t].stats)) != 0)
			ck_abort_msg("step %u: the figures of type %u differ", step, t);
		if (o->bounds[t].max_entries && o->types[t].stats.entries > o->bounds[t].max_entries)
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
		if (!real)
			continue;
		if (!is_same(real, e->value) || real->type != e->type || memory_stored_ms(real) != e->stored_ms
		    || real->expires_ms != e->expires_ms || real->is_used != e->is_used || real->is_proven != e->is_proven || entry_footprint(real) != e->bytes)
			ck_abort_msg("step %u: key %u is another", step, i);
		if (e->value && e->value->refs != 1 + !memory_value(real)->is_within)
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
static struct model run_model(uint64_t limit, const struct memory_bounds *bounds, unsigned n_keys, unsigned checked_each)
{
	struct model o = {.memory = memory_new(limit, bounds, TYPES), .bounds = bounds, .n_keys = n_keys,
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
	static const struct memory_bounds bounds[TYPES] = {[1].keep_ms = 10000};
	struct model o = run_model(1 << 20, bounds, 600, 20);
	for (unsigned t = 0; t < TYPES; t++)
		ck_assert_uint_gt(o.types[t].stats.evictions, 100);
}
END_TEST

START_TEST(random_operations_agree_with_the_model_when_entries_are_bounded)
{
	static const struct memory_bounds bounds[TYPES] = {{.max_entries = 20, .keep_ms = 1000}, {0}, {.max_entries = 60}};
	struct model o = run_model(4 << 20, bounds, 600, 20);
	ck_assert_uint_gt(o.types[0].stats.evictions, 100);
	ck_assert_uint_gt(o.types[2].stats.evictions, 100);
}
END_TEST

START_TEST(random_operations_agree_with_the_model_while_the_table_grows)
{
	struct model o = run_model(100 << 20, no_bounds, 6000, 500);
	ck_assert_uint_ge(o.buckets, 2 * FIRST_BUCKETS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tc = tcase_create("memory");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, value_put_is_found_until_it_is_dropped);
	tcase_add_test(tc, prefetch_changes_nothing);
	tcase_add_test(tc, entry_tells_what_was_put);
	tcase_add_test(tc, longest_key_is_kept_whole);
	tcase_add_test(tc, small_value_is_copied_and_a_large_one_shared);
	tcase_add_test(tc, what_was_found_out_about_a_small_value_goes_with_it);
	tcase_add_test(tc, replaced_value_is_let_go);
	tcase_add_test(tc, value_put_again_over_itself_stays);
	tcase_add_test(tc, keys_of_one_hash_are_kept_apart);
	tcase_add_test(tc, entry_ends_at_its_ttl_and_not_before);
	tcase_add_test(tc, value_past_its_ttl_is_kept_for_as_long_as_its_type_says);
	tcase_add_test(tc, new_end_counts_from_then_on);
	tcase_add_test(tc, absence_is_remembered_and_is_no_value);
	tcase_add_test(tc, drop_of_what_is_past_says_that_nothing_was_there);
	tcase_add_test(tc, oldest_that_was_not_used_goes_when_a_type_is_full);
	tcase_add_test(tc, what_is_asked_for_once_does_not_drive_out_what_was_used);
	tcase_add_test(tc, use_is_not_lost_when_the_value_is_replaced);
	tcase_add_test(tc, what_comes_back_soon_after_it_went_is_kept);
	tcase_add_test(tc, use_of_the_proven_counts_until_their_next_turn);
	tcase_add_test(tc, eviction_looks_at_a_bounded_number_of_entries);
	tcase_add_test(tc, types_take_turns_when_the_bytes_are_used_up);
	tcase_add_test(tc, type_in_use_is_spared_while_others_are_not);
	tcase_add_test(tc, item_over_the_limit_leaves_nothing_and_no_old_value);
	tcase_add_test(tc, many_large_values_at_once_are_bounded_all_the_same);
	tcase_add_test(tc, large_value_takes_the_place_of_many_slice_by_slice);
	tcase_add_test(tc, put_that_succeeds_has_stored_also_when_the_table_grows);
	tcase_add_test(tc, evicted_value_stays_readable_for_who_holds_it);
	tcase_add_test(tc, small_value_of_a_dropped_entry_stays_readable_for_who_holds_it);
	tcase_add_test(tc, prefix_drops_the_live_values_of_one_type_and_counts_them);
	tcase_add_test(tc, large_drop_is_seen_at_once_and_done_in_slices);
	tcase_add_test(tc, what_is_put_or_used_after_a_drop_began_stays);
	tcase_add_test(tc, drops_and_puts_by_turns_are_told_apart);
	tcase_add_test(tc, two_drops_at_once_count_each_entry_once);
	tcase_add_test(tc, drop_misses_nothing_however_entries_move_meanwhile);
	tcase_add_test(tc, memory_is_freed_in_the_middle_of_a_drop);
	tcase_add_test(tc, table_grows_and_loses_nothing_on_the_way);
	tcase_add_test(tc, all_that_is_past_goes_in_one_round);
	tcase_add_test(tc, entries_that_end_at_once_go_in_slices);
	tcase_add_test(tc, expiry_says_whether_much_was_past);
	tcase_add_test(tc, sweep_and_drop_do_less_at_once_where_values_are_large);
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
