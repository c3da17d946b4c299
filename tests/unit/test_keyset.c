/* Sets of keys by their hashes. */
#include "../../daemon/keyset.h"

#include <check.h>
#include <stdlib.h>

static uint64_t hash_of(uint64_t i)
{
	return i * 0x9e3779b97f4a7c15u;
}

START_TEST(what_was_added_is_in_and_nothing_else)
{
	struct keyset s = {0};
	ck_assert(!keyset_has(&s, 1));
	for (uint64_t i = 0; i < 100000; i++) {
		ck_assert(!keyset_has(&s, hash_of(i)));
		keyset_add(&s, hash_of(i));
		keyset_add(&s, hash_of(i));
		ck_assert(keyset_has(&s, hash_of(i)));
	}
	for (uint64_t i = 0; i < 100000; i++)
		ck_assert(keyset_has(&s, hash_of(i)));
	ck_assert(!keyset_has(&s, hash_of(100000)));
	ck_assert_uint_eq(s.n, 100000);
	keyset_free(&s);
}
END_TEST

START_TEST(hashes_that_end_alike_are_kept_apart)
{
	struct keyset s = {0};
	for (uint64_t i = 1; i < 1000; i++)
		keyset_add(&s, i << 40);
	for (uint64_t i = 1; i < 1000; i++)
		ck_assert(keyset_has(&s, i << 40) && !keyset_has(&s, (i << 40) + (1u << 20)));
	keyset_free(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("keyset");
	TCase *tc = tcase_create("keyset");
	tcase_add_test(tc, what_was_added_is_in_and_nothing_else);
	tcase_add_test(tc, hashes_that_end_alike_are_kept_apart);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
