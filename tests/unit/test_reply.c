/* Replies, byte for byte, as RESP2 and RESP3 clients must see them. */
#include "../../proto/reply.h"

#include "../../proto/buf.h"

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct buf out;

static void setup(void)
{
	out = (struct buf)BUF_INIT;
}

static void teardown(void)
{
	buf_free(&out);
}

/* What was written since the last call. */
static void expect_bytes(const char *bytes, size_t len)
{
	ck_assert(!out.failed);
	buf_add_char(&out, '\0');
	ck_assert_msg(out.len == len + 1 && memcmp(out.data, bytes, len) == 0, "got %s, expected %s", out.data, bytes);
	out.len = 0;
}

#define EXPECT(bytes) expect_bytes(bytes, sizeof(bytes) - 1)

START_TEST(header_line_fits_for_every_number)
{
	static const struct {
		int64_t n;
		const char *line;
	} rows[] = {
		{0, ":0\r\n"}, {7, ":7\r\n"}, {10, ":10\r\n"}, {-1, ":-1\r\n"}, {1234567890123, ":1234567890123\r\n"},
		{INT64_MAX, ":9223372036854775807\r\n"}, {INT64_MIN, ":-9223372036854775808\r\n"},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		char line[REPLY_HEADER_MAX];
		size_t len = reply_header(line, ':', rows[i].n);
		ck_assert_uint_eq(len, strlen(rows[i].line));
		ck_assert_mem_eq(line, rows[i].line, len);
	}
}
END_TEST

START_TEST(replies_of_both_versions_are_equal_where_resp_is)
{
	reply_add_simple(&out, "OK");
	EXPECT("+OK\r\n");
	reply_add_integer(&out, -2);
	EXPECT(":-2\r\n");
	reply_add_array(&out, 0);
	EXPECT("*0\r\n");
	reply_add_array(&out, 100000);
	EXPECT("*100000\r\n");
	reply_add_bulk(&out, "a\r\n\0b", 5);
	EXPECT("$5\r\na\r\n\0b\r\n");
	reply_add_bulk(&out, NULL, 0);
	EXPECT("$0\r\n\r\n");
	reply_add_bulk_str(&out, "value");
	EXPECT("$5\r\nvalue\r\n");
}
END_TEST

START_TEST(error_stays_on_one_line)
{
	reply_add_error(&out, "ERR unknown command 'a'");
	EXPECT("-ERR unknown command 'a'\r\n");
	reply_add_bulk_str(&out, "\r\n");
	reply_add_error(&out, "\nERR a\r\nb\n");
	reply_add_bulk_str(&out, "\r\n");
	EXPECT("$2\r\n\r\n\r\n-ERR a  b\r\n$2\r\n\r\n\r\n");
	reply_add_error(&out, "");
	EXPECT("-\r\n");
}
END_TEST

START_TEST(null_is_told_as_each_version_does)
{
	reply_add_null(&out, 2);
	EXPECT("$-1\r\n");
	reply_add_null(&out, 3);
	EXPECT("_\r\n");
	reply_add_null_array(&out, 2);
	EXPECT("*-1\r\n");
	reply_add_null_array(&out, 3);
	EXPECT("_\r\n");
}
END_TEST

START_TEST(map_is_a_flat_array_in_resp2)
{
	reply_add_map(&out, 2, 7);
	EXPECT("*14\r\n");
	reply_add_map(&out, 3, 7);
	EXPECT("%7\r\n");
}
END_TEST

START_TEST(set_is_an_array_in_resp2)
{
	reply_add_set(&out, 2, 3);
	EXPECT("*3\r\n");
	reply_add_set(&out, 3, 3);
	EXPECT("~3\r\n");
}
END_TEST

START_TEST(bool_is_an_integer_in_resp2)
{
	reply_add_bool(&out, 2, true);
	reply_add_bool(&out, 2, false);
	EXPECT(":1\r\n:0\r\n");
	reply_add_bool(&out, 3, true);
	reply_add_bool(&out, 3, false);
	EXPECT("#t\r\n#f\r\n");
}
END_TEST

START_TEST(verbatim_text_is_a_bulk_in_resp2)
{
	reply_add_verbatim(&out, 2, "a\nb", 3);
	EXPECT("$3\r\na\nb\r\n");
	reply_add_verbatim(&out, 3, "a\nb", 3);
	EXPECT("=7\r\ntxt:a\nb\r\n");
	reply_add_verbatim(&out, 3, "", 0);
	EXPECT("=4\r\ntxt:\r\n");
}
END_TEST

START_TEST(double_has_no_more_digits_than_it_needs)
{
	static const struct {
		double value;
		const char *text;
	} rows[] = {
		{0, "0"}, {-0.0, "-0"}, {1, "1"}, {1.5, "1.5"}, {-2.25, "-2.25"}, {0.1, "0.1"}, {0.1 + 0.2, "0.30000000000000004"},
		{5e-324, "4.94065645841247e-324"}, {DBL_MAX, "1.7976931348623157e+308"}, {-DBL_MAX, "-1.7976931348623157e+308"},
		{2.0 / 3, "0.6666666666666666"}, {1e15, "1e+15"}, {123456789012345, "123456789012345"},
		{9007199254740991, "9007199254740991"}, {INFINITY, "inf"}, {-INFINITY, "-inf"}, {NAN, "nan"}, {-NAN, "nan"},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		char line[64];
		snprintf(line, sizeof(line), ",%s\r\n", rows[i].text);
		reply_add_double(&out, 3, rows[i].value);
		expect_bytes(line, strlen(line));
		snprintf(line, sizeof(line), "$%zu\r\n%s\r\n", strlen(rows[i].text), rows[i].text);
		reply_add_double(&out, 2, rows[i].value);
		expect_bytes(line, strlen(line));
	}
}
END_TEST

START_TEST(double_reads_back_as_itself)
{
	double value = 0.1;
	for (int i = 0; i < 20000; i++) {
		value = value * 1.7320508 + 1e-9 * i;
		if (value > 1e300)
			value = 1e-300 * i;
		reply_add_double(&out, 3, value);
		buf_add_char(&out, '\0');
		ck_assert(strtod(out.data + 1, NULL) == value);
		out.len = 0;
	}
}
END_TEST

START_TEST(replies_follow_each_other_in_one_buffer)
{
	reply_add_array(&out, 3);
	reply_add_bulk_str(&out, "digest");
	reply_add_null(&out, 2);
	reply_add_error(&out, "ERR x");
	EXPECT("*3\r\n$6\r\ndigest\r\n$-1\r\n-ERR x\r\n");
}
END_TEST

/* out with one byte in it and room for so many more. */
static void give_room(size_t room)
{
	buf_free(&out);
	out = (struct buf){malloc(room + 1), 1, room + 1, false};
	out.data[0] = '.';
}

START_TEST(reply_grows_a_buffer_with_any_room_left)
{
	for (size_t room = 0; room < 64; room++) {
		give_room(room);
		reply_add_error(&out, "ERR x");
		EXPECT(".-ERR x\r\n");
		give_room(room);
		reply_add_integer(&out, 1);
		EXPECT(".:1\r\n");
		give_room(room);
		reply_add_verbatim(&out, 3, "0123456789", 10);
		EXPECT(".=14\r\ntxt:0123456789\r\n");
	}
}
END_TEST

/* A buffer that cannot grow: so near to the end of memory that any append overflows. */
START_TEST(reply_without_memory_is_left_out_whole)
{
	struct buf b = {out.data, SIZE_MAX / 4, SIZE_MAX / 4, false};
	reply_add_bulk_str(&b, "x");
	ck_assert(b.failed);
	b.failed = false;
	reply_add_error(&b, "ERR x\n");
	ck_assert(b.failed);
	b.failed = false;
	reply_add_integer(&b, 1);
	ck_assert(b.failed);
	b.failed = false;
	reply_add_null(&b, 3);
	ck_assert(b.failed);
	ck_assert_uint_eq(b.len, SIZE_MAX / 4);
}
END_TEST

static Suite *reply_suite(void)
{
	Suite *s = suite_create("reply");
	TCase *tc = tcase_create("replies");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, header_line_fits_for_every_number);
	tcase_add_test(tc, replies_of_both_versions_are_equal_where_resp_is);
	tcase_add_test(tc, error_stays_on_one_line);
	tcase_add_test(tc, null_is_told_as_each_version_does);
	tcase_add_test(tc, map_is_a_flat_array_in_resp2);
	tcase_add_test(tc, set_is_an_array_in_resp2);
	tcase_add_test(tc, bool_is_an_integer_in_resp2);
	tcase_add_test(tc, verbatim_text_is_a_bulk_in_resp2);
	tcase_add_test(tc, double_has_no_more_digits_than_it_needs);
	tcase_add_test(tc, double_reads_back_as_itself);
	tcase_add_test(tc, replies_follow_each_other_in_one_buffer);
	tcase_add_test(tc, reply_grows_a_buffer_with_any_room_left);
	tcase_add_test(tc, reply_without_memory_is_left_out_whole);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(reply_suite());
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
