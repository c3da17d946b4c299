/* Requests read together. That they come out as from the parser is in test_request.c; here is how many are read, and where it ends. */
#include "../../proto/request_batch.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define PING "*1\r\n$4\r\nPING\r\n"
#define GET_K "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"

static const struct request_limits wide = {.max_arg = 512 << 20, .max_total = 1 << 30};

static size_t read_text(struct request_batch *b, const char *text)
{
	return request_batch_read(b, REQUEST_BATCH_MAX, &wide, text, strlen(text));
}

START_TEST(each_request_has_its_arguments_and_its_length)
{
	struct request_batch b;
	const char *text = GET_K PING GET_K;
	ck_assert_uint_eq(read_text(&b, text), 3);
	ck_assert_uint_eq(b.requests[0].argc, 2);
	ck_assert_uint_eq(b.requests[1].argc, 1);
	ck_assert_uint_eq(b.requests[0].len, strlen(GET_K));
	ck_assert_uint_eq(b.requests[1].len, strlen(PING));
	ck_assert_mem_eq(b.requests[1].argv[0].data, "PING", 4);
	ck_assert_ptr_eq(b.requests[2].argv[1].data, text + strlen(text) - 3);  /* where it lies, not a copy */
	ck_assert_uint_eq(b.requests[2].argv[1].len, 1);
	ck_assert_ptr_null(b.requests[2].argv[1].owner);
}
END_TEST

static const struct {
	const char *text;
	size_t n;
} ends[] = {
	{"", 0}, {"*", 0}, {"PING\r\n", 0}, {"*0\r\n" PING, 0},
	{PING "PING\r\n" PING, 1},
	{PING PING "*1\r\n$4\r\nPING\r", 2},
	{PING "*2\r\n$3\r\nGET\r\n$1000", 1},
	{PING "*2\r\n$3\r\nGET\r\n$10000\r\n", 1},
	{PING "*2\r\n$3\r\nGET\r\n$-1\r\n", 1},
	{PING "*17\r\n" PING, 1},
	{PING "*x\r\n", 1},
};

START_TEST(what_is_anything_else_ends_it)
{
	struct request_batch b;
	ck_assert_uint_eq(read_text(&b, ends[_i].text), ends[_i].n);
}
END_TEST

START_TEST(no_more_are_read_than_have_room)
{
	struct request_batch b;
	char text[64 * sizeof(PING)] = "", wide_one[16 * sizeof("$1\r\nx\r\n") + 8] = "*16\r\n";
	for (int i = 0; i < 64; i++)
		strcat(text, PING);
	ck_assert_uint_eq(read_text(&b, text), REQUEST_BATCH_MAX);
	ck_assert_uint_eq(request_batch_read(&b, 3, &wide, text, strlen(text)), 3);
	for (int i = 0; i < 16; i++)
		strcat(wide_one, "$1\r\nx\r\n");
	*text = '\0';
	for (int i = 0; i < 6; i++)
		strcat(text, wide_one);
	ck_assert_uint_eq(read_text(&b, text), REQUEST_BATCH_ARGS / 16);
	ck_assert_ptr_eq(b.requests[3].argv + b.requests[3].argc, b.args + REQUEST_BATCH_ARGS);
}
END_TEST

START_TEST(limits_end_it)
{
	struct request_batch b;
	static const struct request_limits narrow = {.max_arg = 4, .max_total = 7};
	ck_assert_uint_eq(request_batch_read(&b, REQUEST_BATCH_MAX, &narrow, PING GET_K, strlen(PING GET_K)), 2);
	ck_assert_uint_eq(request_batch_read(&b, REQUEST_BATCH_MAX, &narrow, PING "*1\r\n$5\r\n12345\r\n", strlen(PING) + 15), 1);
	ck_assert_uint_eq(request_batch_read(&b, REQUEST_BATCH_MAX, &narrow, PING "*2\r\n$4\r\n1234\r\n$4\r\n1234\r\n", strlen(PING) + 24), 1);
}
END_TEST

static Suite *request_batch_suite(void)
{
	Suite *s = suite_create("request_batch");
	TCase *tc = tcase_create("batches");
	tcase_add_test(tc, each_request_has_its_arguments_and_its_length);
	tcase_add_loop_test(tc, what_is_anything_else_ends_it, 0, sizeof(ends) / sizeof(ends[0]));
	tcase_add_test(tc, no_more_are_read_than_have_room);
	tcase_add_test(tc, limits_end_it);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(request_batch_suite());
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
