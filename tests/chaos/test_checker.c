/* The checker on histories made by hand: it must see what is wrong and let pass what is not. */
#include "checker.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define S 0                     /* a sourced key */
#define P 1                     /* a plain one */
#define MS(n) ((n) * 1000000LL)

/* Times in ms. A row is changed 1 ms before the cache is told. */
static struct op op(enum op_kind kind, uint32_t key, int64_t version, unsigned sidecar, int64_t start, int64_t end)
{
	return (struct op){.kind = kind, .key = key, .version = version, .sidecar = (uint8_t)sidecar,
		.born_ns = MS(start) - (kind == OP_WRITE && key == S ? MS(1) : 0), .start_ns = MS(start), .end_ns = MS(end)};
}

#define READ(...) op(OP_READ, __VA_ARGS__)
#define WRITE(...) op(OP_WRITE, __VA_ARGS__)
#define REMOVE(...) op(OP_REMOVE, __VA_ARGS__)

static struct verdict judge_ops(const struct op *ops, size_t n)
{
	struct verdict v;
	struct history h = {.ops = malloc(n * sizeof(*ops)), .n = n};
	memcpy(h.ops, ops, n * sizeof(*ops));
	checker_judge(&h, &(struct checker_options){.n_sourced = 1, .n_keys = 2, .n_sidecars = 3}, &v);
	free(h.ops);
	return v;
}

#define judge(...) judge_ops((const struct op[]){__VA_ARGS__}, sizeof((const struct op[]){__VA_ARGS__}) / sizeof(struct op))

/* Exactly these violations, and no others. */
static void expect_verdict(struct verdict v, size_t old_after_own, size_t went_back, size_t invented, size_t false_nils)
{
	ck_assert_uint_eq(v.old_after_own, old_after_own);
	ck_assert_uint_eq(v.went_back, went_back);
	ck_assert_uint_eq(v.invented, invented);
	ck_assert_uint_eq(v.false_nils, false_nils);
	ck_assert_int_eq(v.first[0] != '\0', verdict_violations(&v) > 0);
}

START_TEST(a_read_after_an_acknowledged_change_must_know_it)
{
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), WRITE(S, 2, 0, 10, 12), READ(S, 1, 0, 13, 14)), 1, 0, 0, 0);
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), WRITE(S, 2, 0, 10, 12), READ(S, 2, 0, 13, 14)), 0, 0, 0, 0);
	/* began before the acknowledgement */
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), WRITE(S, 2, 0, 10, 12), READ(S, 1, 0, 11, 14)), 0, 0, 0, 0);
	/* another sidecar acknowledged it */
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), WRITE(S, 2, 0, 10, 12), READ(S, 1, 1, 13, 14)), 0, 0, 0, 0);
	/* the row had been changed by somebody else too before this one told */
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), WRITE(S, 3, 1, 9, 30), WRITE(S, 2, 0, 10, 12), READ(S, 2, 0, 13, 14)), 1, 0, 0, 0);
}
END_TEST

START_TEST(a_change_that_may_not_have_happened_binds_nobody)
{
	struct op lost = WRITE(S, 2, 0, 10, 12);
	lost.end_ns = CHECKER_UNKNOWN;
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), lost, READ(S, 1, 0, 13, 14), READ(S, 2, 0, 15, 16)), 0, 0, 0, 0);
}
END_TEST

START_TEST(a_sidecar_must_not_go_back)
{
	expect_verdict(judge(WRITE(S, 1, 1, 1, 2), WRITE(S, 2, 1, 5, 6), READ(S, 2, 0, 7, 8), READ(S, 1, 0, 9, 10)), 0, 1, 0, 0);
	/* two sidecars */
	expect_verdict(judge(WRITE(S, 1, 1, 1, 2), WRITE(S, 2, 1, 5, 6), READ(S, 2, 0, 7, 8), READ(S, 1, 2, 9, 10)), 0, 0, 0, 0);
	/* at the same time */
	expect_verdict(judge(WRITE(S, 1, 1, 1, 2), WRITE(S, 2, 1, 5, 6), READ(S, 2, 0, 7, 10), READ(S, 1, 0, 9, 11)), 0, 0, 0, 0);
}
END_TEST

START_TEST(writes_of_a_plain_key_that_overlap_have_no_order)
{
	expect_verdict(judge(WRITE(P, 1, 1, 1, 5), WRITE(P, 2, 2, 2, 6), READ(P, 2, 0, 7, 8), READ(P, 1, 0, 9, 10)), 0, 0, 0, 0);
	expect_verdict(judge(WRITE(P, 1, 1, 1, 5), WRITE(P, 2, 2, 6, 7), READ(P, 2, 0, 8, 9), READ(P, 1, 0, 10, 11)), 0, 1, 0, 0);
	expect_verdict(judge(WRITE(P, 1, 0, 1, 5), WRITE(P, 2, 0, 6, 7), READ(P, 1, 0, 8, 9)), 1, 0, 0, 0);
}
END_TEST

START_TEST(a_nil_needs_a_removal)
{
	expect_verdict(judge(READ(P, 0, 0, 1, 2)), 0, 0, 0, 0);
	expect_verdict(judge(WRITE(P, 1, 0, 1, 2), READ(P, 0, 0, 3, 4)), 0, 0, 0, 1);
	expect_verdict(judge(WRITE(P, 1, 0, 1, 2), REMOVE(P, 2, 1, 3, 5), READ(P, 0, 0, 4, 6)), 0, 0, 0, 0);
	expect_verdict(judge(REMOVE(P, 1, 1, 1, 2), WRITE(P, 2, 0, 3, 4), READ(P, 0, 0, 5, 6)), 1, 0, 0, 0);
	expect_verdict(judge(WRITE(P, 1, 0, 1, 2), REMOVE(P, 2, 0, 3, 4), READ(P, 1, 0, 5, 6)), 1, 0, 0, 0);
	/* after a nil that can only be of the removal */
	expect_verdict(judge(WRITE(P, 1, 1, 1, 2), READ(P, 1, 0, 3, 4), REMOVE(P, 2, 1, 5, 6), READ(P, 0, 0, 7, 8),
		READ(P, 1, 0, 9, 10)), 0, 1, 0, 0);
	/* a row that is there is never nil */
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), READ(S, 0, 1, 3, 4)), 0, 0, 0, 1);
}
END_TEST

START_TEST(a_version_that_nobody_wrote_yet_is_invented)
{
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), READ(S, 7, 0, 3, 4)), 0, 0, 1, 0);
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), READ(S, 2, 0, 3, 4), WRITE(S, 2, 0, 10, 12)), 0, 0, 1, 0);
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), READ(S, 2, 0, 3, 10), WRITE(S, 2, 0, 10, 12)), 0, 0, 0, 0);
	expect_verdict(judge(WRITE(S, 1, 0, 1, 2), READ(S, -1, 0, 3, 4)), 0, 0, 1, 0);
}
END_TEST

START_TEST(staleness_is_measured_at_the_others)
{
	struct verdict v = judge(WRITE(S, 1, 0, 1, 2), WRITE(S, 2, 0, 10, 12), READ(S, 1, 1, 14, 15), READ(S, 1, 1, 19, 20),
		READ(S, 2, 1, 21, 22), READ(S, 1, 2, 11, 13), READ(S, 2, 2, 13, 14));
	expect_verdict(v, 0, 0, 0, 0);
	ck_assert_uint_eq(v.staleness.n, 4);
	ck_assert_double_eq(v.staleness.max_ms, 7);
	ck_assert_double_eq(v.staleness.p50_ms, 0);
}
END_TEST

START_TEST(the_last_word_must_not_have_been_overwritten)
{
	struct op ops[] = {WRITE(P, 1, 0, 1, 2), WRITE(P, 2, 0, 4, 8), WRITE(P, 3, 1, 5, 7), REMOVE(P, 4, 1, 3, 6)};
	struct history h = {.ops = ops, .n = 4};
	ck_assert(!checker_may_be_last(&h, P, 1));
	ck_assert(checker_may_be_last(&h, P, 2));
	ck_assert(checker_may_be_last(&h, P, 3));
	ck_assert(checker_may_be_last(&h, P, CHECKER_NIL));
	ops[1].start_ns = MS(7);
	ck_assert(!checker_may_be_last(&h, P, CHECKER_NIL));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_read_after_an_acknowledged_change_must_know_it,
		a_change_that_may_not_have_happened_binds_nobody,
		a_sidecar_must_not_go_back,
		writes_of_a_plain_key_that_overlap_have_no_order,
		a_nil_needs_a_removal,
		a_version_that_nobody_wrote_yet_is_invented,
		staleness_is_measured_at_the_others,
		the_last_word_must_not_have_been_overwritten,
	};
	Suite *suite = suite_create("checker");
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		TCase *test = tcase_create(tests[i]->name);
		tcase_add_test(test, tests[i]);
		suite_add_tcase(suite, test);
	}
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
