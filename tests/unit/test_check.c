/* check.c: what is refused and why, the digest and the items, on the loop for small
 * values and on a real pool of threads for large ones. */
#include "../../daemon/check.h"

#include <check.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "../../daemon/value.h"
#include "../../daemon/worker.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct event_base *base;
static struct workers *cpu;
static pthread_t loop_thread;
static unsigned n_done;
static bool is_done_on_loop;

static void setup(void)
{
	base = event_base_new();
	cpu = workers_new(base, "cpu", 2, 100);
	ck_assert(base && cpu);
	loop_thread = pthread_self();
	n_done = 0;
}

static void teardown(void)
{
	workers_free(cpu);
	event_base_free(base);
}

static void on_done(void *arg)
{
	(void)arg;
	n_done++;
	is_done_on_loop = pthread_equal(pthread_self(), loop_thread);
}

/* The workers' results come through the loop, which sleeps until one is there. */
static void run_until_done(unsigned n)
{
	while (n_done < n)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	ck_assert_uint_eq(n_done, n);
	ck_assert(is_done_on_loop);
}

/* Checks a small value, which is done at once. */
static struct check check_text(struct value *v, bool want_json, bool refuse_empty)
{
	struct check c = {.value = v, .want_json = want_json, .refuse_empty = refuse_empty, .refusal = "not overwritten"};
	n_done = 0;
	check_start(&c, cpu, on_done, NULL);
	ck_assert_uint_eq(n_done, 1);
	ck_assert(v->inspected);
	return c;
}

static const struct {
	const char *text;
	bool is_json, is_empty;
	int64_t items;
} texts[] = {
	{"[]", true, true, 0},
	{" [ ]\n", true, true, 0},
	{"{}", true, true, VALUE_ITEMS_NONE},
	{"\"\"", true, true, VALUE_ITEMS_NONE},
	{"null", true, true, VALUE_ITEMS_NONE},
	{"", false, true, VALUE_ITEMS_NONE},
	{"[1]", true, false, 1},
	{"[[],{},[1,2,3]]", true, false, 3},
	{"[null]", true, false, 1},
	{"{\"a\":[1,2]}", true, false, VALUE_ITEMS_NONE},
	{"\"[1,2]\"", true, false, VALUE_ITEMS_NONE},
	{"0", true, false, VALUE_ITEMS_NONE},
	{"false", true, false, VALUE_ITEMS_NONE},
	{" ", false, false, VALUE_ITEMS_NONE},
	{"[1,2", false, false, VALUE_ITEMS_NONE},
	{"[1] [2]", false, false, VALUE_ITEMS_NONE},
	{"plain", false, false, VALUE_ITEMS_NONE},
	{"\xff", false, false, VALUE_ITEMS_NONE},
};

START_TEST(each_text_is_judged_by_what_is_wanted)
{
	for (size_t i = 0; i < LEN(texts); i++) {
		for (unsigned wants = 0; wants < 4; wants++) {
			bool want_json = wants & 1, refuse_empty = wants & 2;
			struct value *v = value_copy(texts[i].text, strlen(texts[i].text));
			struct check c = check_text(v, want_json, refuse_empty);
			bool empty = refuse_empty && texts[i].is_empty, refused = empty || (want_json && !texts[i].is_json);
			ck_assert_msg(c.is_empty == empty, "%s: empty %d", texts[i].text, c.is_empty);
			ck_assert_msg((c.refusal[0] != '\0') == refused, "%s: '%s'", texts[i].text, c.refusal);
			ck_assert_msg(value_items(v) == texts[i].items, "%s: %ld items", texts[i].text, (long)value_items(v));
			ck_assert_uint_eq(value_digest(v), XXH3_64bits(v->data, v->len));
			value_unref(v);
		}
	}
}
END_TEST

START_TEST(refusal_says_what_is_wrong_and_where_but_not_the_value)
{
	struct value *v = value_copy("[1,2,secret]", 12);
	struct check c = check_text(v, true, true);
	ck_assert_msg(strstr(c.refusal, "not JSON") && strstr(c.refusal, "at byte 5"), "%s", c.refusal);
	ck_assert_ptr_null(strstr(c.refusal, "secret"));
	value_unref(v);
	v = value_copy("[]", 2);
	c = check_text(v, true, true);
	ck_assert_msg(strstr(c.refusal, "empty"), "%s", c.refusal);
	value_unref(v);
}
END_TEST

/* A JSON array of len bytes: [0,0,...,0]. */
static struct value *array_value(size_t len)
{
	struct value *v = value_new(len);
	for (size_t i = 0; i < len; i++)
		v->data[i] = i % 2 ? '0' : ',';
	v->data[0] = '[';
	v->data[len - 1] = ']';
	if (len % 2 == 0)
		v->data[len - 2] = ' ';
	return v;
}

START_TEST(small_value_is_checked_before_the_call_returns)
{
	struct value *v = array_value(CHECK_INLINE_MAX);
	check_text(v, true, true);
	ck_assert_int_eq(value_items(v), CHECK_INLINE_MAX / 2 - 1);
	value_unref(v);
}
END_TEST

START_TEST(large_value_is_checked_by_a_worker_and_done_on_the_loop)
{
	static const size_t lens[] = {CHECK_INLINE_MAX + 1, 3000001};
	for (size_t i = 0; i < LEN(lens); i++) {
		struct value *v = array_value(lens[i]);
		struct check c = {.value = v, .want_json = true};
		n_done = 0;
		check_start(&c, cpu, on_done, NULL);
		ck_assert_uint_eq(n_done, 0);
		ck_assert(!v->inspected);
		run_until_done(1);
		ck_assert(v->inspected);
		ck_assert_str_eq(c.refusal, "");
		ck_assert_int_eq(value_items(v), (int64_t)lens[i] / 2);
		ck_assert_uint_eq(value_digest(v), XXH3_64bits(v->data, v->len));
		value_unref(v);
	}
}
END_TEST

START_TEST(large_value_that_ends_too_soon_is_refused)
{
	struct value *v = array_value(1000001);
	v->data[v->len - 1] = ',';
	struct check c = {.value = v, .want_json = true, .refuse_empty = true};
	check_start(&c, cpu, on_done, NULL);
	run_until_done(1);
	ck_assert_msg(strstr(c.refusal, "not JSON") && strstr(c.refusal, "1000001"), "%s", c.refusal);
	ck_assert(!c.is_empty);
	value_unref(v);
}
END_TEST

START_TEST(many_checks_at_once_each_get_their_own_result)
{
	enum { CHECKS = 40 };
	struct check checks[CHECKS];
	for (size_t i = 0; i < CHECKS; i++) {
		checks[i] = (struct check){.value = array_value(CHECK_INLINE_MAX + 1 + 1000 * i), .want_json = true};
		if (i % 2)
			checks[i].value->data[0] = 'x';
		check_start(&checks[i], cpu, on_done, NULL);
	}
	run_until_done(CHECKS);
	for (size_t i = 0; i < CHECKS; i++) {
		const struct value *v = checks[i].value;
		ck_assert_int_eq(checks[i].refusal[0] != '\0', i % 2);
		ck_assert_int_eq(value_items(v), i % 2 ? VALUE_ITEMS_NONE : (int64_t)v->len / 2);
		ck_assert_uint_eq(value_digest(v), XXH3_64bits(v->data, v->len));
		value_unref(checks[i].value);
	}
}
END_TEST

START_TEST(full_queue_of_workers_is_no_failure)
{
	struct workers *full = workers_new(base, "full", 1, 0);
	struct value *v = array_value(CHECK_INLINE_MAX * 2);
	struct check c = {.value = v, .want_json = true};
	check_start(&c, full, on_done, NULL);
	ck_assert_uint_eq(n_done, 1);
	ck_assert(v->inspected);
	ck_assert_str_eq(c.refusal, "");
	value_unref(v);
	workers_free(full);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("check");
	TCase *tc = tcase_create("check");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_text_is_judged_by_what_is_wanted);
	tcase_add_test(tc, refusal_says_what_is_wrong_and_where_but_not_the_value);
	tcase_add_test(tc, small_value_is_checked_before_the_call_returns);
	tcase_add_test(tc, large_value_is_checked_by_a_worker_and_done_on_the_loop);
	tcase_add_test(tc, large_value_that_ends_too_soon_is_refused);
	tcase_add_test(tc, many_checks_at_once_each_get_their_own_result);
	tcase_add_test(tc, full_queue_of_workers_is_no_failure);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
