/* Growable bytes and the allocation policy. */
#include "../../proto/buf.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* The sanitizers' allocators give up on sizes that no machine has; here they are asked for on purpose. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static struct buf b;

static void setup(void)
{
	b = (struct buf)BUF_INIT;
}

static void teardown(void)
{
	buf_free(&b);
}

static void expect_bytes(const char *bytes)
{
	ck_assert(!b.failed);
	ck_assert_uint_eq(b.len, strlen(bytes));
	ck_assert_mem_eq(b.data, bytes, b.len);
}

START_TEST(new_buffer_is_empty_and_owns_nothing)
{
	ck_assert_ptr_null(b.data);
	ck_assert_uint_eq(b.len, 0);
	ck_assert_uint_eq(b.cap, 0);
}
END_TEST

START_TEST(appends_follow_each_other)
{
	buf_add(&b, "ab\0c", 4);
	buf_add_str(&b, "");
	buf_add_str(&b, "def");
	buf_add_char(&b, '\n');
	buf_addf(&b, "%d%%|%s", 42, "x");
	ck_assert_uint_eq(b.len, 13);
	ck_assert_mem_eq(b.data, "ab\0cdef\n42%|x", 13);
	ck_assert(!b.failed);
}
END_TEST

START_TEST(appending_nothing_needs_no_memory)
{
	buf_add(&b, NULL, 0);
	buf_add_str(&b, "");
	ck_assert_ptr_null(b.data);
	ck_assert(!b.failed);
}
END_TEST

START_TEST(formatted_text_may_be_longer_than_the_buffer)
{
	for (int width = 1; width < 1000; width++) {
		buf_free(&b);
		buf_addf(&b, "%s", "");
		buf_addf(&b, "%*d", width, 7);
		ck_assert_uint_eq(b.len, (size_t)width);
		ck_assert_int_eq(b.data[width - 1], '7');
	}
}
END_TEST

START_TEST(reserved_room_becomes_bytes_when_the_caller_counts_them)
{
	buf_add_str(&b, "ab");
	char *to = buf_reserve(&b, 1000);
	ck_assert_ptr_eq(to, b.data + 2);
	ck_assert_uint_ge(b.cap - b.len, 1000);
	memset(to, 'x', 1000);
	ck_assert_uint_eq(b.len, 2);
	b.len += 3;
	expect_bytes("abxxx");
}
END_TEST

START_TEST(room_that_is_there_is_not_allocated_again)
{
	char *data = buf_reserve(&b, 100);
	size_t cap = b.cap;
	b.len = cap - 10;
	ck_assert_ptr_eq(buf_reserve(&b, 10), data + cap - 10);
	ck_assert_ptr_eq(b.data, data);
	ck_assert_uint_eq(b.cap, cap);
	b.len = cap;
	ck_assert_ptr_nonnull(buf_reserve(&b, 1));
	ck_assert_uint_gt(b.cap, cap);
}
END_TEST

START_TEST(growth_takes_few_allocations)
{
	size_t allocations = 0, cap = 0;
	for (size_t i = 0; i < 1000000; i++) {
		buf_add_char(&b, (char)i);
		allocations += b.cap != cap;
		cap = b.cap;
	}
	ck_assert_uint_eq(b.len, 1000000);
	ck_assert_uint_lt(allocations, 40);
	size_t same = 0;
	while (same < b.len && b.data[same] == (char)same)
		same++;
	ck_assert_uint_eq(same, b.len);
}
END_TEST

START_TEST(dropped_bytes_leave_the_rest_in_front)
{
	buf_drop(&b, 0);
	buf_add_str(&b, "abcdef");
	buf_drop(&b, 0);
	expect_bytes("abcdef");
	buf_drop(&b, 2);
	expect_bytes("cdef");
	buf_add_str(&b, "g");
	buf_drop(&b, 1);
	expect_bytes("defg");
	buf_drop(&b, 4);
	ck_assert_uint_eq(b.len, 0);
}
END_TEST

START_TEST(append_without_memory_is_left_out_and_remembered)
{
	buf_add_str(&b, "kept");
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX - 100));    /* more than can be asked for */
	ck_assert(b.failed);
	b.failed = false;
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX / 4 - 8));  /* more than there is */
	ck_assert(b.failed);
	b.failed = false;
	buf_add(&b, "x", SIZE_MAX / 4 - 8);
	ck_assert(b.failed);
	b.failed = false;
	expect_bytes("kept");
}
END_TEST

START_TEST(formatted_text_without_memory_is_left_out)
{
	struct buf full = {NULL, SIZE_MAX / 4, SIZE_MAX / 4, false};
	buf_addf(&full, "%d", 1);
	ck_assert(full.failed);
	ck_assert_uint_eq(full.len, SIZE_MAX / 4);
}
END_TEST

START_TEST(freed_buffer_can_be_used_again)
{
	buf_add_str(&b, "abc");
	b.failed = true;
	buf_free(&b);
	ck_assert_ptr_null(b.data);
	ck_assert_uint_eq(b.cap, 0);
	buf_free(&b);
	buf_add_str(&b, "d");
	expect_bytes("d");
}
END_TEST

START_TEST(bookkeeping_allocations_give_memory)
{
	char *p = xmalloc(0);
	ck_assert_ptr_nonnull(p);
	p = xrealloc(p, 4);
	memcpy(p, "abc", 4);
	p = xrealloc(p, 4000);
	ck_assert_str_eq(p, "abc");
	free(p);
	char *zeros = xcalloc(3, 5);
	ck_assert_mem_eq(zeros, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
	free(zeros);
	free(xcalloc(0, 0));
}
END_TEST

START_TEST(copied_strings_are_their_own)
{
	char *s = xstrdup("abc"), *part = xstrndup("abc", 2), *text = xasprintf("%s-%d", s, 7);
	ck_assert_str_eq(s, "abc");
	ck_assert_str_eq(part, "ab");
	ck_assert_str_eq(text, "abc-7");
	free(s);
	free(part);
	free(text);
}
END_TEST

START_TEST(bookkeeping_without_memory_aborts)
{
	volatile size_t much = SIZE_MAX / 2;
	free(xmalloc(much));
}
END_TEST

static Suite *buf_suite(void)
{
	Suite *s = suite_create("buf");
	TCase *tc = tcase_create("bytes");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, new_buffer_is_empty_and_owns_nothing);
	tcase_add_test(tc, appends_follow_each_other);
	tcase_add_test(tc, appending_nothing_needs_no_memory);
	tcase_add_test(tc, formatted_text_may_be_longer_than_the_buffer);
	tcase_add_test(tc, reserved_room_becomes_bytes_when_the_caller_counts_them);
	tcase_add_test(tc, room_that_is_there_is_not_allocated_again);
	tcase_add_test(tc, growth_takes_few_allocations);
	tcase_add_test(tc, dropped_bytes_leave_the_rest_in_front);
	tcase_add_test(tc, append_without_memory_is_left_out_and_remembered);
	tcase_add_test(tc, formatted_text_without_memory_is_left_out);
	tcase_add_test(tc, freed_buffer_can_be_used_again);
	suite_add_tcase(s, tc);

	tc = tcase_create("allocation policy");
	tcase_add_test(tc, bookkeeping_allocations_give_memory);
	tcase_add_test(tc, copied_strings_are_their_own);
	tcase_add_test_raise_signal(tc, bookkeeping_without_memory_aborts, SIGABRT);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(buf_suite());
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
