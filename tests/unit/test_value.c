/* value.c: bytes, references, what they cost. */
#include "../../daemon/value.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(new_value_has_room_one_reference_and_was_not_looked_at)
{
	struct value *v = value_new(1000);
	memset(v->data, 'x', 1000);
	ck_assert_uint_eq(v->len, 1000);
	ck_assert_uint_eq(v->refs, 1);
	ck_assert(!v->inspected);
	ck_assert_int_eq(v->items, VALUE_ITEMS_UNKNOWN);
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
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
