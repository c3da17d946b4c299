/* history.c: how long a failing fetch is left alone, what makes it forget, when a
 * shrunken result is believed, and its bound. Time is moved, not waited for. */
#include "../../daemon/history.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../../daemon/clock.h"
#include "rig.h"

#define SLACK_MS 1000           /* that may pass by itself between two steps on a busy machine */

static struct history *history;

static void setup(void)
{
	clock_update();
	history = history_new();
}

static void teardown(void)
{
	history_free(history);
}

static struct key key_named(const char *name)
{
	return key_of(name, strlen(name));
}

static const struct history_record *record_of(const char *name)
{
	struct key key = key_named(name);
	return history_find(history, &key);
}

static int64_t failed(const char *name, const char *error)
{
	struct key key = key_named(name);
	return history_failed(history, &key, 1500, error);
}

static void fetched(const char *name)
{
	struct key key = key_named(name);
	history_fetched(history, &key, 2500);
}

static void change(const char *name, const char *who)
{
	struct key key = key_named(name);
	history_changed(history, &key, who);
}

static bool confirms(const char *name, uint64_t size)
{
	struct key key = key_named(name);
	return history_confirms(history, &key, size);
}

/* ---- records ---- */

START_TEST(nothing_is_known_of_a_key_at_first)
{
	ck_assert_ptr_null(record_of("a"));
	fetched("b");
	ck_assert_ptr_null(record_of("a"));
	history_free(NULL);
}
END_TEST

START_TEST(record_tells_the_last_fetch_and_the_last_change)
{
	char name[] = "a";
	fetched(name);
	const struct history_record *r = record_of("a");
	ck_assert_int_eq(r->took_us, 2500);
	ck_assert_int_eq(r->fetched_at_ms, clock_wall_ms());
	ck_assert(r->failures == 0 && r->retry_ms == 0 && r->error[0] == '\0' && r->changed_at_ms == 0);
	failed(name, "no route");
	change(name, "pid 7");
	name[0] = 'x';                          /* the bytes of the key were borrowed */
	r = record_of("a");
	ck_assert_int_eq(r->took_us, 1500);
	ck_assert_str_eq(r->error, "no route");
	ck_assert_str_eq(r->changed_by, "pid 7");
	ck_assert_int_eq(r->changed_at_ms, clock_wall_ms());
}
END_TEST

START_TEST(texts_that_are_too_long_are_cut)
{
	char text[2 * HISTORY_TEXT_MAX];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	failed("a", text);
	change("a", text);
	ck_assert_uint_eq(strlen(record_of("a")->error), HISTORY_TEXT_MAX - 1);
	ck_assert_uint_eq(strlen(record_of("a")->changed_by), HISTORY_TEXT_MAX - 1);
}
END_TEST

/* ---- backing off ---- */

/* The nth failure in a row: min << (n - 1) up to max, minus up to a quarter. */
static void expect_backoff(int64_t ms, unsigned n)
{
	int64_t most = n < 9 ? (int64_t)HISTORY_BACKOFF_MIN_MS << (n - 1) : HISTORY_BACKOFF_MAX_MS;
	if (most > HISTORY_BACKOFF_MAX_MS)
		most = HISTORY_BACKOFF_MAX_MS;
	ck_assert_msg(ms <= most && ms >= most - most / 4, "%lld ms after %u failures", (long long)ms, n);
	ck_assert_int_eq(record_of("a")->retry_ms, clock_ms() + ms);
	ck_assert_uint_eq(record_of("a")->failures, n);
}

START_TEST(backoff_doubles_with_each_failure_up_to_its_bound)
{
	for (unsigned n = 1; n <= 100; n++) {
		expect_backoff(failed("a", "no route"), n);
		clock_skew(HISTORY_BACKOFF_MAX_MS);
	}
}
END_TEST

/* Else all sidecars would come back at the same moment. */
START_TEST(backoff_varies_by_chance)
{
	int64_t least = HISTORY_BACKOFF_MAX_MS, most = 0;
	for (unsigned i = 0; i < 200; i++) {
		fetched("a");
		int64_t ms = failed("a", "no route");
		least = ms < least ? ms : least;
		most = ms > most ? ms : most;
	}
	ck_assert_int_lt(least, HISTORY_BACKOFF_MIN_MS * 80 / 100);
	ck_assert_int_gt(most, HISTORY_BACKOFF_MIN_MS * 95 / 100);
}
END_TEST

START_TEST(fetch_that_succeeds_ends_the_backoff)
{
	for (unsigned i = 0; i < 5; i++)
		failed("a", "no route");
	fetched("a");
	ck_assert(record_of("a")->retry_ms == 0 && record_of("a")->failures == 0);
	ck_assert_str_eq(record_of("a")->error, "");
	expect_backoff(failed("a", "no route"), 1);
}
END_TEST

/* The next fetch may begin at once; if it fails too, that is one failure more. */
START_TEST(change_by_somebody_ends_the_wait_and_no_more)
{
	for (unsigned i = 0; i < 3; i++)
		failed("a", "no route");
	change("a", "pid 7");
	ck_assert_int_eq(record_of("a")->retry_ms, 0);
	expect_backoff(failed("a", "no route"), 4);
}
END_TEST

START_TEST(each_key_backs_off_for_itself)
{
	failed("b", "no route");
	failed("b", "no route");
	fetched("c");
	expect_backoff(failed("a", "no route"), 1);
	ck_assert_uint_eq(record_of("b")->failures, 2);
	ck_assert_int_eq(record_of("c")->retry_ms, 0);
}
END_TEST

START_TEST(failure_told_by_another_sidecar_lasts_as_long_as_it_says)
{
	struct key key = key_named("a");
	history_told(history, &key, "no route", 700);
	ck_assert_int_eq(record_of("a")->retry_ms, clock_ms() + 700);
	ck_assert_str_eq(record_of("a")->error, "no route");
	expect_backoff(failed("a", "no route"), 1);       /* its failures are not ours */
}
END_TEST

/* ---- confirming ---- */

START_TEST(shrunken_result_is_confirmed_by_the_same_a_minute_later)
{
	ck_assert(!confirms("a", 1000));
	ck_assert(!confirms("a", 1000));
	clock_skew(HISTORY_CONFIRM_MS - SLACK_MS);
	ck_assert(!confirms("a", 1000));        /* which does not begin the minute anew: */
	clock_skew(SLACK_MS);
	ck_assert(!confirms("b", 1000));
	ck_assert(confirms("a", 1000));
}
END_TEST

START_TEST(result_that_is_a_little_smaller_or_any_larger_confirms_too)
{
	static const uint64_t sizes[] = {900, 999, 1001, 5000};
	static const char *const names[] = {"a", "b", "c", "d"};
	for (size_t i = 0; i < 4; i++)
		ck_assert(!confirms(names[i], 1000));
	clock_skew(HISTORY_CONFIRM_MS);
	for (size_t i = 0; i < 4; i++)
		ck_assert_msg(confirms(names[i], sizes[i]), "%u", (unsigned)sizes[i]);
}
END_TEST

/* It shrinks on: no two fetches have said the same yet. */
START_TEST(result_that_is_much_smaller_still_begins_the_minute_anew)
{
	ck_assert(!confirms("a", 1000));
	clock_skew(HISTORY_CONFIRM_MS);
	ck_assert(!confirms("a", 899));
	clock_skew(HISTORY_CONFIRM_MS - SLACK_MS);
	ck_assert(!confirms("a", 899));
	clock_skew(SLACK_MS);
	ck_assert(confirms("a", 899));
}
END_TEST

START_TEST(good_fetch_between_makes_the_refusal_forgotten)
{
	ck_assert(!confirms("a", 1000));
	fetched("a");
	clock_skew(HISTORY_CONFIRM_MS);
	ck_assert(!confirms("a", 1000));
}
END_TEST

/* The refusal itself counts as a failure, and the source may be down in between. */
START_TEST(failures_between_do_not_make_the_refusal_forgotten)
{
	ck_assert(!confirms("a", 1000));
	failed("a", "refused");
	clock_skew(HISTORY_CONFIRM_MS);
	failed("a", "no route");
	change("a", "pid 7");
	ck_assert(confirms("a", 1000));
}
END_TEST

/* ---- the bound ---- */

static const char *number(unsigned n)
{
	static char name[16];
	snprintf(name, sizeof(name), "%u", n);
	return name;
}

START_TEST(least_recently_written_is_forgotten_first)
{
	for (unsigned i = 0; i < HISTORY_MAX; i++)
		fetched(number(i));
	ck_assert_ptr_nonnull(record_of("0"));
	failed("0", "no route");                  /* now the newest; reading is no use */
	fetched("more");
	ck_assert_ptr_null(record_of("1"));
	ck_assert(record_of("0") && record_of("2") && record_of("more"));
	ck_assert_str_eq(record_of("0")->error, "no route");
	for (unsigned i = 0; i < HISTORY_MAX - 2; i++)
		change(number(HISTORY_MAX + i), "pid 7");
	ck_assert(record_of("0") && record_of("more"));
	ck_assert_ptr_null(record_of(number(HISTORY_MAX - 1)));
	confirms("last", 1);
	ck_assert_ptr_null(record_of("0"));
	ck_assert_ptr_nonnull(record_of("more"));
}
END_TEST

/* ---- for EXPLAIN ---- */

static const struct conf_type *const type_m = (const struct conf_type *)"m", *const type_n = (const struct conf_type *)"n";

static void note(const char *name, const char *what)
{
	struct key key = key_named(name);
	history_noted(history, &key, what);
}

static void expect_note(const char *name, const char *what)
{
	struct key key = key_named(name);
	ck_assert_pstr_eq(history_last_note(history, &key).by, what);
}

static void expect_invalidation(const struct conf_type *type, const char *name, const char *who)
{
	struct key key = key_named(name);
	ck_assert_pstr_eq(history_last_invalidation(history, type, &key).by, who);
}

START_TEST(last_note_of_a_key_is_told)
{
	expect_note("a", NULL);
	note("a", "a SET");
	note("b", "a REFRESH");
	note("a", "a new TTL");
	expect_note("a", "a new TTL");
	expect_note("b", "a REFRESH");
	ck_assert_ptr_null(record_of("a"));     /* takes no record from others */
	for (unsigned i = 0; i < HISTORY_NOTES_MAX - 1; i++)
		note("c", "a SET");
	expect_note("a", "a new TTL");
	expect_note("b", NULL);
}
END_TEST

START_TEST(invalidations_of_many_are_told_for_each_of_their_keys)
{
	char prefix[] = "m:a", who[] = "pid 7";
	history_cleared(history, type_m, prefix, 3, who);
	memset(prefix, 'x', 3);
	memset(who, 'x', 5);
	expect_invalidation(type_m, "m:a", "pid 7");
	expect_invalidation(type_m, "m:abc", "pid 7");
	expect_invalidation(type_n, "m:a", NULL);
	expect_invalidation(type_m, "m:b", NULL);
	history_cleared(history, NULL, "m", 1, "pid 8");
	expect_invalidation(type_m, "m:a", "pid 8");
	expect_invalidation(type_n, "m:b", "pid 8");
	change("m:a", "pid 9");
	expect_invalidation(type_m, "m:a", "pid 9");
	history_cleared(history, type_m, "m:", 2, "pid 10");
	expect_invalidation(type_m, "m:a", "pid 10");
	for (unsigned i = 0; i < HISTORY_CLEARED_MAX; i++)
		history_cleared(history, type_n, "n", 1, "pid 11");
	expect_invalidation(type_m, "m:a", "pid 9");
	expect_invalidation(type_m, "m:b", NULL);
}
END_TEST

/* Also of two within one millisecond. */
START_TEST(numbers_tell_which_of_two_changes_was_the_later)
{
	struct key key = key_named("a");
	note("a", "a SET");
	change("a", "pid 7");
	ck_assert_uint_lt(history_last_note(history, &key).number, history_last_invalidation(history, type_m, &key).number);
	note("a", "a SET");
	ck_assert_uint_gt(history_last_note(history, &key).number, history_last_invalidation(history, type_m, &key).number);
}
END_TEST

/* What sidecars write has more left than the window when it is written. */
START_TEST(shorter_ttl_than_the_window_shows_a_foreign_value_where_it_was_heard)
{
	struct key key = key_named("a");
	ck_assert_int_eq(history_foreign_below(history, &key, 60000), 0);
	ck_assert(!history_is_foreign(history, &key, 20000, 60000));
	(void)history_heard(history, &key);
	ck_assert(history_is_foreign(history, &key, 20000, 60000));
	ck_assert(!history_is_foreign(history, &key, 60000, 60000));
	clock_skew(30000);
	clock_update();
	int64_t below_ms = history_foreign_below(history, &key, 60000);
	ck_assert_msg(below_ms <= 30000 && below_ms > 30000 - SLACK_MS, "%lld ms", (long long)below_ms);
	clock_skew(60000);
	clock_update();
	ck_assert_int_eq(history_foreign_below(history, &key, 60000), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("history");
	TCase *tc = tcase_create("history");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nothing_is_known_of_a_key_at_first);
	tcase_add_test(tc, record_tells_the_last_fetch_and_the_last_change);
	tcase_add_test(tc, texts_that_are_too_long_are_cut);
	tcase_add_test(tc, backoff_doubles_with_each_failure_up_to_its_bound);
	tcase_add_test(tc, backoff_varies_by_chance);
	tcase_add_test(tc, fetch_that_succeeds_ends_the_backoff);
	tcase_add_test(tc, change_by_somebody_ends_the_wait_and_no_more);
	tcase_add_test(tc, each_key_backs_off_for_itself);
	tcase_add_test(tc, failure_told_by_another_sidecar_lasts_as_long_as_it_says);
	tcase_add_test(tc, shrunken_result_is_confirmed_by_the_same_a_minute_later);
	tcase_add_test(tc, result_that_is_a_little_smaller_or_any_larger_confirms_too);
	tcase_add_test(tc, result_that_is_much_smaller_still_begins_the_minute_anew);
	tcase_add_test(tc, good_fetch_between_makes_the_refusal_forgotten);
	tcase_add_test(tc, failures_between_do_not_make_the_refusal_forgotten);
	tcase_add_test(tc, least_recently_written_is_forgotten_first);
	tcase_add_test(tc, last_note_of_a_key_is_told);
	tcase_add_test(tc, invalidations_of_many_are_told_for_each_of_their_keys);
	tcase_add_test(tc, numbers_tell_which_of_two_changes_was_the_later);
	tcase_add_test(tc, shorter_ttl_than_the_window_shows_a_foreign_value_where_it_was_heard);
	suite_add_tcase(suite, tc);
	return rig_main(suite);
}
