/* Unit tests of daemon/histogram. */
#include "../../daemon/histogram.h"

#include <check.h>
#include <stdbool.h>

#include "rig.h"

START_TEST(bounds_rise_and_have_those_of_the_alerts)
{
	bool has_100_ms = false, has_500_ms = false;
	for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
		ck_assert(i == 0 || histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
		has_100_ms |= histogram_bounds_us[i] == 100000;
		has_500_ms |= histogram_bounds_us[i] == 500000;
	}
	ck_assert(has_100_ms && has_500_ms);
}
END_TEST

START_TEST(a_bound_belongs_to_the_bucket_below_it)
{
	struct histogram h = {0};
	for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
		histogram_add(&h, histogram_bounds_us[i]);
		ck_assert_uint_eq(h.counts[i], 1 + (i > 0));
		histogram_add(&h, histogram_bounds_us[i] + 1);
		ck_assert_uint_eq(h.counts[i + 1], 1);
	}
	ck_assert_uint_eq(histogram_count(&h), 2 * HISTOGRAM_BOUNDS);
}
END_TEST

START_TEST(the_sum_is_of_what_was_measured)
{
	struct histogram h = {0};
	histogram_add(&h, 30);
	histogram_add(&h, 20000000);
	histogram_add(&h, -5);          /* two processors' clocks may differ */
	histogram_add_instant(&h);
	ck_assert_uint_eq(h.sum_us, 20000030);
	ck_assert_uint_eq(h.counts[0], 3);
	ck_assert_uint_eq(h.counts[HISTOGRAM_BOUNDS], 1);
	ck_assert_uint_eq(histogram_count(&h), 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("histogram");
	TCase *tc = tcase_create("buckets");
	tcase_add_test(tc, bounds_rise_and_have_those_of_the_alerts);
	tcase_add_test(tc, a_bound_belongs_to_the_bucket_below_it);
	tcase_add_test(tc, the_sum_is_of_what_was_measured);
	suite_add_tcase(suite, tc);
	return rig_main(suite);
}
