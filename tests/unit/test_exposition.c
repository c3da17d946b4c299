/* Unit tests of daemon/exposition. */
#include "../../daemon/exposition.h"

#include <check.h>
#include <string.h>

#include "../../daemon/histogram.h"
#include "../../proto/buf.h"
#include "rig.h"

static struct buf b;

static void teardown(void)
{
	buf_free(&b);
}

static const char *text(void)
{
	buf_add_char(&b, '\0');
	return b.data;
}

START_TEST(samples_have_their_labels_and_whole_numbers)
{
	exposition_begin(&b, "x_total", "counter", "What x is.");
	exposition_sample(&b, "x_total", "", 0);
	exposition_sample(&b, "x_total", "type=\"a\",tier=\"redis\"", UINT64_MAX);
	ck_assert_str_eq(text(), "# HELP x_total What x is.\n# TYPE x_total counter\nx_total 0\n"
		"x_total{type=\"a\",tier=\"redis\"} 18446744073709551615\n");
}
END_TEST

START_TEST(times_are_seconds)
{
	static const struct {
		uint64_t us;
		const char *text;
	} cases[] = {{0, "t 0\n"}, {1, "t 0.000001\n"}, {250, "t 0.00025\n"}, {100000, "t 0.1\n"}, {10000000, "t 10\n"}, {1795660393983000, "t 1795660393.983\n"}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		b.len = 0;
		exposition_seconds(&b, "t", "", cases[i].us);
		ck_assert_str_eq(text(), cases[i].text);
	}
}
END_TEST

START_TEST(buckets_of_a_histogram_add_up)
{
	struct histogram h = {0};
	histogram_add_instant(&h);
	histogram_add(&h, 200);
	histogram_add(&h, 11000000);
	exposition_histogram(&b, "d_seconds", "command=\"get\"", &h);
	const char *all = text();
	ck_assert_ptr_eq(strstr(all, "d_seconds_bucket{command=\"get\",le=\"0.0001\"} 1\nd_seconds_bucket{command=\"get\",le=\"0.00025\"} 2\n"), all);
	ck_assert_ptr_nonnull(strstr(all, "le=\"10\"} 2\nd_seconds_bucket{command=\"get\",le=\"+Inf\"} 3\n"
		"d_seconds_sum{command=\"get\"} 11.0002\nd_seconds_count{command=\"get\"} 3\n"));
	b.len = 0;
	exposition_histogram(&b, "d_seconds", "", &h);
	ck_assert_ptr_nonnull(strstr(text(), "d_seconds_bucket{le=\"+Inf\"} 3\nd_seconds_sum 11.0002\nd_seconds_count 3\n"));
}
END_TEST

START_TEST(one_state_is_one)
{
	static const char *const states[] = {"closed", "open", NULL};
	exposition_states(&b, "s", "type=\"a\"", states, "open");
	exposition_states(&b, "s", "", states, "closed");
	ck_assert_str_eq(text(), "s{type=\"a\",state=\"closed\"} 0\ns{type=\"a\",state=\"open\"} 1\ns{state=\"closed\"} 1\ns{state=\"open\"} 0\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("exposition");
	TCase *tc = tcase_create("text");
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, samples_have_their_labels_and_whole_numbers);
	tcase_add_test(tc, times_are_seconds);
	tcase_add_test(tc, buckets_of_a_histogram_add_up);
	tcase_add_test(tc, one_state_is_one);
	suite_add_tcase(suite, tc);
	return rig_main(suite);
}
