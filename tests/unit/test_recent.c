/* Unit tests of daemon/recent. */
#include "../../daemon/recent.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../../daemon/clock.h"
#include "rig.h"

START_TEST(the_slowest_fetches_stay_and_come_in_order)
{
	struct recent r = {0};
	struct recent_fetch found[RECENT_MAX];
	clock_update();
	ck_assert_uint_eq(recent_slowest(&r, found), 0);
	for (int i = 1; i <= 100; i++)
		recent_fetched(&r, "t", (uint64_t)i, i * 7 % 101, i == 3);
	ck_assert_uint_eq(recent_slowest(&r, found), RECENT_MAX);
	for (int i = 0; i < RECENT_MAX; i++) {
		ck_assert_int_eq(found[i].took_us, 100 - i);
		ck_assert_int_eq((int64_t)found[i].hash * 7 % 101, found[i].took_us);
		ck_assert_str_eq(found[i].type, "t");
	}
}
END_TEST

START_TEST(a_slow_fetch_is_told_for_an_hour)
{
	struct recent r = {0};
	struct recent_fetch found[RECENT_MAX];
	clock_update();
	for (int i = 0; i < RECENT_MAX; i++)
		recent_fetched(&r, "old", 1, 1000000, false);
	clock_skew(RECENT_SLOW_MS + 100);
	ck_assert_uint_eq(recent_slowest(&r, found), 0);
	recent_fetched(&r, "new", 2, 1, true);
	ck_assert_uint_eq(recent_slowest(&r, found), 1);
	ck_assert_str_eq(found[0].type, "new");
	ck_assert(found[0].failed);
}
END_TEST

START_TEST(changes_come_the_last_first)
{
	struct recent r = {0};
	char by[16];
	clock_update();
	ck_assert_ptr_null(recent_change(&r, 0));
	for (int i = 0; i < 30; i++) {
		snprintf(by, sizeof(by), "client %d", i);
		recent_changed(&r, "t", (uint64_t)i, by);
	}
	for (size_t i = 0; i < RECENT_MAX; i++)
		ck_assert_uint_eq(recent_change(&r, i)->hash, 29 - i);
	ck_assert_ptr_null(recent_change(&r, RECENT_MAX));
}
END_TEST

START_TEST(a_burst_is_one_change)
{
	struct recent r = {0};
	char by[2 * RECENT_TEXT_MAX];
	clock_update();
	memset(by, 'x', sizeof(by));
	by[sizeof(by) - 1] = '\0';      /* longer than is kept */
	for (int i = 0; i < 1000; i++)
		recent_changed(&r, "t", (uint64_t)i, by);
	recent_changed(&r, "u", 7, by);
	recent_changed(&r, "u", 0, "another");
	ck_assert_uint_eq(recent_change(&r, 2)->times, 1000);
	ck_assert_uint_eq(recent_change(&r, 2)->hash, 999);
	ck_assert_uint_eq(recent_change(&r, 1)->times, 1);
	ck_assert_uint_eq(recent_change(&r, 0)->hash, 0);
	ck_assert_ptr_null(recent_change(&r, 3));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("recent");
	TCase *tc = tcase_create("lists");
	tcase_add_test(tc, the_slowest_fetches_stay_and_come_in_order);
	tcase_add_test(tc, a_slow_fetch_is_told_for_an_hour);
	tcase_add_test(tc, changes_come_the_last_first);
	tcase_add_test(tc, a_burst_is_one_change);
	suite_add_tcase(suite, tc);
	return rig_main(suite);
}
