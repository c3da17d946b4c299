/* proto/ctl_text.c: figures at the edges of their units, and columns. */
#include "../../proto/ctl_text.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct row {
	double n;
	const char *text;
};

static void reads_as(struct text (*text_of)(double n), const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(strcmp(text_of(rows[i].n).s, rows[i].text) == 0, "%.3f is %s, not %s", rows[i].n, text_of(rows[i].n).s, rows[i].text);
}

START_TEST(bytes_have_the_largest_unit_that_fits)
{
	static const struct row rows[] = {
		{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"}, {1048575, "1.0 MiB"}, {1048524, "1023.9 KiB"}, {268435456, "256.0 MiB"},
		{1099511627776, "1.0 TiB"}, {1125899906842624.0 * 10, "10240.0 TiB"},
	};
	reads_as(text_bytes, rows, COUNT(rows));
}
END_TEST

START_TEST(durations_have_two_units_at_the_most)
{
	static const struct row ms[] = {
		{0.004, "0.00 ms"}, {9.99, "9.99 ms"}, {9.999, "10 ms"}, {999.4, "999 ms"}, {999.9, "1.0 s"}, {12345, "12.3 s"}, {59900, "59.9 s"}, {59960, "1m 0s"},
		{1787000, "29m 47s"},
	};
	static const struct row s[] = {{0, "0 s"}, {59, "59 s"}, {60, "1m 0s"}, {3599, "59m 59s"}, {3600, "1h 0m"}, {86399, "23h 59m"}, {86400, "1d 0h"}, {1e7, "115d 17h"}};
	reads_as(text_ms, ms, COUNT(ms));
	reads_as(text_s, s, COUNT(s));
}
END_TEST

START_TEST(counts_are_parted_by_thousands)
{
	static const struct row rows[] = {{0, "0"}, {999, "999"}, {1000, "1,000"}, {-1234567, "-1,234,567"}, {-100, "-100"}, {9007199254740992.0, "9,007,199,254,740,992"}};
	reads_as(text_count, rows, COUNT(rows));
}
END_TEST

START_TEST(rates_stay_short)
{
	static const struct row rows[] = {{0, "0.0"}, {99.94, "99.9"}, {99.96, "100"}, {1234, "1,234"}, {99999.4, "99,999"}, {99999.6, "100k"}, {9999499, "9999k"}, {9999600, "10.0M"}};
	reads_as(text_rate, rows, COUNT(rows));
	ck_assert_str_eq(text_rate(NAN).s, "-");
	ck_assert_str_eq(text_percent(1, 3).s, "33.3%");
	ck_assert_str_eq(text_percent(0, 0).s, "-");
}
END_TEST

START_TEST(columns_line_up_and_lines_end_without_blanks)
{
	struct table t = TABLE_INIT("lrl");
	struct buf b = BUF_INIT;
	static const char *const cells[] = {"NAME", "N", "TEXT", "a", "1,000", "x", "longer", "2", ""};
	for (size_t i = 0; i < COUNT(cells); i++)
		table_add(&t, "%s", cells[i]);
	table_print(&t, &b);
	buf_add_char(&b, '\0');
	ck_assert_str_eq(b.data, "NAME        N  TEXT\na       1,000  x\nlonger      2  \n");
	table_print(&t, &b);
	buf_free(&b);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {bytes_have_the_largest_unit_that_fits, durations_have_two_units_at_the_most, counts_are_parted_by_thousands,
		rates_stay_short, columns_line_up_and_lines_end_without_blanks};
	Suite *suite = suite_create("ctl_text");
	TCase *tc = tcase_create("ctl_text");
	for (size_t i = 0; i < COUNT(tests); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
