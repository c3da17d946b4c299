/* clears.c: which keys a removal of many means, and until when. */
#include "../../daemon/clears.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../conf/conf.h"
#include "../../daemon/clock.h"

static const struct conf_type m = {.name = "m", .key = "m:", .prefix_len = 2}, n = {.name = "n", .index = 1, .key = "n:", .prefix_len = 2},
	undeclared = {.name = "undeclared", .index = 2};
static struct clears all;

static void setup(void)
{
	clock_update();
	clears_init(&all);
}

static void teardown(void)
{
	clears_fini(&all);
}

static struct clear *order(const struct conf_type *type, const char *prefix)
{
	return clears_order(&all, type, prefix, strlen(prefix));
}

static bool mean(const struct conf_type *type, const char *name)
{
	struct key key = key_of(name, strlen(name));
	return clears_mean(&all, type, &key);
}

static bool spare(const struct conf_type *type, const char *name)
{
	struct key key = key_of(name, strlen(name));
	return clears_spare(&all, type, &key);
}

START_TEST(prefix_and_type_tell_what_is_meant)
{
	order(&m, "m:a");
	ck_assert(mean(&m, "m:a") && mean(&m, "m:abc"));
	ck_assert(!mean(&m, "m:") && !mean(&m, "m:b") && !mean(&n, "m:a"));
	order(NULL, "n");
	ck_assert(mean(&n, "n:x") && mean(&m, "nothing"));
	ck_assert(!mean(&undeclared, "n:x"));
}
END_TEST

START_TEST(done_means_nothing_any_more)
{
	struct clear *first = order(&m, "m:a"), *second = order(&m, "m:ab");
	clears_done(&all, first);
	ck_assert(!mean(&m, "m:a") && mean(&m, "m:ab"));
	clears_done(&all, second);
	ck_assert(!mean(&m, "m:ab"));
}
END_TEST

START_TEST(what_is_spared_is_meant_by_later_ones_only)
{
	struct clear *first = order(&m, "m:");
	ck_assert(spare(&m, "m:a"));
	ck_assert(!mean(&m, "m:a") && mean(&m, "m:b"));
	struct clear *second = order(&m, "m:");
	ck_assert(mean(&m, "m:a"));
	struct key a = key_of("m:a", 3);
	ck_assert(!clear_means(first, &m, &a) && clear_means(second, &m, &a));
}
END_TEST

START_TEST(many_keys_are_spared_up_to_the_bound)
{
	char name[32];
	order(&m, "m:");
	for (unsigned i = 0; i < CLEARS_SPARED_MAX; i++) {
		snprintf(name, sizeof(name), "m:%u", i);
		if (!spare(&m, name) || !spare(&m, name))       /* twice is once */
			ck_abort_msg("key %u is not spared", i);
	}
	ck_assert(!spare(&m, "m:one more"));
	ck_assert(mean(&m, "m:one more"));
	for (unsigned i = 0; i < CLEARS_SPARED_MAX; i++) {
		snprintf(name, sizeof(name), "m:%u", i);
		if (mean(&m, name))
			ck_abort_msg("key %u is meant", i);
	}
}
END_TEST

START_TEST(those_that_wait_are_taken_in_their_order_when_due)
{
	struct clear *first = order(&m, "m:a"), *second = order(&m, "m:b"), *at_work = order(&m, "m:c");
	ck_assert_ptr_null(clears_take(&all));
	clears_put_off(&all, first, clock_ms() + 60000);
	clears_put_off(&all, second, 0);
	ck_assert_uint_eq(all.waiting, 2);
	ck_assert_ptr_eq(clears_take(&all), second);
	ck_assert_ptr_null(clears_take(&all));
	ck_assert_uint_eq(all.waiting, 1);
	struct key a = key_of("m:a", 3), b = key_of("m:b", 3), c = key_of("m:c", 3);
	ck_assert(clears_wait_for(&all, &m, &a) && !clears_wait_for(&all, &m, &b) && !clears_wait_for(&all, &m, &c));
	clears_done(&all, at_work);
}
END_TEST

START_TEST(earlier_ones_that_wait_go_where_a_later_one_means_as_much)
{
	struct clear *narrow = order(&m, "m:a"), *any = order(NULL, "m:a"), *at_work = order(&m, "m:ab");
	clears_put_off(&all, narrow, 0);
	clears_put_off(&all, any, 0);           /* means all of narrow */
	ck_assert_uint_eq(all.waiting, 1);
	struct clear *wide = order(&m, "m:");
	clears_put_off(&all, wide, 0);          /* but not what any means of other types */
	ck_assert_uint_eq(all.waiting, 2);
	struct clear *again = order(&m, "m:");
	clears_put_off(&all, again, 0);
	ck_assert_uint_eq(all.waiting, 2);
	clears_done(&all, at_work);
	ck_assert_ptr_eq(clears_take(&all), any);
	ck_assert_ptr_eq(clears_take(&all), again);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("clears");
	TCase *tc = tcase_create("clears");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, prefix_and_type_tell_what_is_meant);
	tcase_add_test(tc, done_means_nothing_any_more);
	tcase_add_test(tc, what_is_spared_is_meant_by_later_ones_only);
	tcase_add_test(tc, many_keys_are_spared_up_to_the_bound);
	tcase_add_test(tc, those_that_wait_are_taken_in_their_order_when_due);
	tcase_add_test(tc, earlier_ones_that_wait_go_where_a_later_one_means_as_much);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
