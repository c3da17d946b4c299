/* value.c: bytes, references, what they cost. */
#include "../../daemon/value.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

START_TEST(new_value_has_room_one_reference_and_was_not_looked_at)
{
	struct value *v = value_new(1000);
	memset(v->data, 'x', 1000);
	ck_assert_uint_eq(v->len, 1000);
	ck_assert_uint_eq(v->refs, 1);
	ck_assert(!v->inspected);
	value_unref(v);
}
END_TEST

START_TEST(copy_has_the_bytes_whatever_they_are)
{
	static const char bytes[] = "a\0\xff\r\n";
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		struct value *v = value_copy(bytes, len);
		ck_assert_uint_eq(v->len, len);
		ck_assert_int_eq(memcmp(v->data, bytes, len), 0);
		value_unref(v);
	}
	struct value *empty = value_copy(NULL, 0);
	ck_assert_uint_eq(empty->len, 0);
	value_unref(empty);
}
END_TEST

START_TEST(length_that_cannot_be_is_refused)
{
	ck_assert_ptr_null(value_new(SIZE_MAX));
	ck_assert_ptr_null(value_new(SIZE_MAX - 16));
	ck_assert_ptr_null(value_new(SIZE_MAX / 2 + 1));
}
END_TEST

START_TEST(value_lives_until_its_last_reference)
{
	struct value *v = value_copy("abc", 3);
	ck_assert_ptr_eq(value_ref(v), v);
	ck_assert_ptr_eq(value_ref(v), v);
	ck_assert_uint_eq(v->refs, 3);
	value_unref(v);
	value_unref(v);
	ck_assert_uint_eq(v->refs, 1);
	ck_assert_int_eq(memcmp(v->data, "abc", 3), 0);
	value_unref(v);
	value_unref(NULL);
}
END_TEST

START_TEST(shrunk_value_keeps_its_beginning_and_costs_less)
{
	enum { LARGE = 1 << 20 };
	static const size_t lens[] = {LARGE, LARGE - 1, 5000, 1, 0};
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct value *v = value_new(LARGE);
		memset(v->data, 'x', LARGE);
		v = value_shrink(v, lens[i]);
		ck_assert_uint_eq(v->len, lens[i]);
		ck_assert_uint_eq(v->refs, 1);
		ck_assert(lens[i] == 0 || (v->data[0] == 'x' && v->data[lens[i] - 1] == 'x'));
		ck_assert_uint_lt(value_footprint(v), lens[i] + 10000);
		value_unref(v);
	}
}
END_TEST

START_TEST(footprint_covers_the_bytes_and_little_more)
{
	static const size_t lens[] = {0, 1, 24, 100, 4096, 65536, 200000, 10 << 20};
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct value *v = value_new(lens[i]);
		ck_assert_uint_ge(value_footprint(v), lens[i] + sizeof(*v));
		ck_assert_uint_le(value_footprint(v), lens[i] + sizeof(*v) + 8192);     /* two pages where it is mapped */
		value_unref(v);
	}
}
END_TEST

START_TEST(what_an_inspection_found_is_kept)
{
	struct value *v = value_copy("[1]", 3);
	value_set_inspected(v, true, 1, 0x123456789abcdef0);
	ck_assert(v->inspected && v->is_json);
	ck_assert_int_eq(value_items(v), 1);
	ck_assert_uint_eq(value_digest(v), 0x123456789abcdef0);
	v = value_shrink(v, 2);
	ck_assert_uint_eq(value_digest(v), 0x123456789abcdef0);
	value_unref(v);
}
END_TEST

/* Its last reference frees the block (a sanitizer tells), whoever has it. */
START_TEST(value_within_a_block_is_a_value_like_others)
{
	static const char *const texts[] = {"[1,2]", "{\"a\":1}", "no JSON", "", "[]"};
	static const int64_t items[] = {2, VALUE_ITEMS_NONE, VALUE_ITEMS_NONE, VALUE_ITEMS_NONE, 0};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct value *from = value_copy(texts[i], strlen(texts[i]));
		char *block = malloc(VALUE_WITHIN_AT + sizeof(*from) + from->len);
		ck_assert_ptr_nonnull(block);
		memset(block, 'b', VALUE_WITHIN_AT);
		struct value *v = value_copy_within(block, from);
		value_unref(from);
		ck_assert(!v->inspected);
		value_set_inspected(v, items[i] != VALUE_ITEMS_NONE || *texts[i] == '{', items[i], XXH3_64bits(v->data, v->len));
		for (size_t k = 0; k < VALUE_WITHIN_AT; k++)
			ck_assert_int_eq(block[k], 'b');
		ck_assert_int_eq(value_items(v), items[i]);
		ck_assert_uint_eq(value_digest(v), XXH3_64bits(texts[i], strlen(texts[i])));
		ck_assert_uint_ge(value_footprint(v), VALUE_WITHIN_AT + sizeof(*v) + v->len);
		ck_assert_ptr_eq(value_ref(v), v);
		value_unref(v);
		ck_assert(v->refs == 1 && v->len == strlen(texts[i]) && memcmp(v->data, texts[i], v->len) == 0);
		value_unref(v);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("value");
	TCase *tc = tcase_create("value");
	tcase_add_test(tc, new_value_has_room_one_reference_and_was_not_looked_at);
	tcase_add_test(tc, copy_has_the_bytes_whatever_they_are);
	tcase_add_test(tc, length_that_cannot_be_is_refused);
	tcase_add_test(tc, value_lives_until_its_last_reference);
	tcase_add_test(tc, shrunk_value_keeps_its_beginning_and_costs_less);
	tcase_add_test(tc, footprint_covers_the_bytes_and_little_more);
	tcase_add_test(tc, what_an_inspection_found_is_kept);
	tcase_add_test(tc, value_within_a_block_is_a_value_like_others);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
