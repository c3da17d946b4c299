/* The circuit breaker, with the clock moved by the test. */
#include <check.h>
#include <stdlib.h>

#include "../../daemon/breaker.h"
#include "../../daemon/clock.h"

static struct breaker b;

static void setup(void)
{
	clock_update();
	b = (struct breaker){0};
}

static void fail_times(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		ck_assert(breaker_admits(&b));
		breaker_report(&b, BREAKER_FAILED);
	}
}

static void expect_open_for(int64_t ms)
{
	ck_assert_str_eq(breaker_state(&b), "open");
	clock_skew(ms - 100);
	ck_assert(!breaker_admits(&b));
	clock_skew(100);
	ck_assert_str_eq(breaker_state(&b), "half_open");
}

START_TEST(stays_closed_below_the_limit_of_failures)
{
	fail_times(BREAKER_FAILURES - 1);
	ck_assert_str_eq(breaker_state(&b), "closed");
	ck_assert(breaker_admits(&b));
	breaker_report(&b, BREAKER_ANSWERED);
	fail_times(BREAKER_FAILURES - 1);
	ck_assert_str_eq(breaker_state(&b), "closed");
}
END_TEST

START_TEST(opens_at_the_limit_and_lets_one_through_after_its_time)
{
	fail_times(BREAKER_FAILURES);
	ck_assert(!breaker_admits(&b));
	expect_open_for(BREAKER_MIN_MS);
	ck_assert(breaker_admits(&b));
	ck_assert(!breaker_admits(&b));
}
END_TEST

START_TEST(closes_when_the_one_let_through_is_answered)
{
	fail_times(BREAKER_FAILURES);
	expect_open_for(BREAKER_MIN_MS);
	ck_assert(breaker_admits(&b));
	breaker_report(&b, BREAKER_ANSWERED);
	ck_assert_str_eq(breaker_state(&b), "closed");
	ck_assert(breaker_admits(&b));
}
END_TEST

START_TEST(stays_open_twice_as_long_each_time_up_to_a_bound)
{
	fail_times(BREAKER_FAILURES);
	for (int64_t ms = BREAKER_MIN_MS; ms < 4 * BREAKER_MAX_MS; ms *= 2) {
		expect_open_for(ms < BREAKER_MAX_MS ? ms : BREAKER_MAX_MS);
		fail_times(1);
	}
}
END_TEST

START_TEST(late_failures_from_before_it_opened_change_nothing)
{
	for (int i = 0; i < BREAKER_FAILURES + 2; i++)
		ck_assert(breaker_admits(&b));
	for (int i = 0; i < BREAKER_FAILURES + 2; i++)
		breaker_report(&b, BREAKER_FAILED);
	expect_open_for(BREAKER_MIN_MS);
}
END_TEST

START_TEST(one_let_through_that_shows_nothing_leaves_it_to_the_next)
{
	fail_times(BREAKER_FAILURES);
	expect_open_for(BREAKER_MIN_MS);
	ck_assert(breaker_admits(&b));
	breaker_report(&b, BREAKER_UNKNOWN);
	ck_assert_str_eq(breaker_state(&b), "half_open");
	ck_assert(breaker_admits(&b));
	breaker_report(&b, BREAKER_ANSWERED);
	ck_assert_str_eq(breaker_state(&b), "closed");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("breaker");
	TCase *tc = tcase_create("breaker");
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, stays_closed_below_the_limit_of_failures);
	tcase_add_test(tc, opens_at_the_limit_and_lets_one_through_after_its_time);
	tcase_add_test(tc, closes_when_the_one_let_through_is_answered);
	tcase_add_test(tc, stays_open_twice_as_long_each_time_up_to_a_bound);
	tcase_add_test(tc, late_failures_from_before_it_opened_change_nothing);
	tcase_add_test(tc, one_let_through_that_shows_nothing_leaves_it_to_the_next);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
