/* The queue that the drivers share, with a driver that only writes down what it is
 * told; and the choice of the driver by a fetcher. */
#include "../../daemon/fetch_call.h"

#include <check.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/value.h"
#include "../../proto/buf.h"
#include "rig.h"

#define SLOTS 3
#define CALLS_MAX 2000

static struct rig rig;
static struct fetch_calls *calls;
static struct fetch_call *begun[CALLS_MAX];     /* in that order */
static unsigned n_begun, n_stopped;
static bool ends_at_once, stops_slowly;

static void begin(void *driver, struct fetch_call *call)
{
	ck_assert_ptr_eq(driver, &rig);
	ck_assert_uint_lt(n_begun, CALLS_MAX);
	begun[n_begun++] = call;
	if (!ends_at_once)
		return;
	fetch_call_absent(call);
	fetch_call_end(call);
}

static void stop(void *driver, struct fetch_call *call)
{
	(void)driver;
	ck_assert(fetch_call_answered(call));
	n_stopped++;
	if (!stops_slowly)
		fetch_call_end(call);
}

/* The test's driver is freed by the tests: calls is NULL then. */
static void free_calls(void *self)
{
	(void)self;
	fetch_calls_close(calls);
	fetch_calls_free(calls);
	calls = NULL;
}

static void start(void *self, const struct fetch_order *order, fetch_done_fn done, void *arg)
{
	(void)self;
	fetch_call_start(calls, order, done, arg);
}

static void setup(void)
{
	static const struct fetch_runner runner = {begin, stop};
	static const struct fetch_driver driver = {.name = "noted", .start = start, .free = free_calls};
	rig_init(&rig);
	calls = fetch_calls_new(rig.base, rig.cpu, SLOTS, &runner, &rig);
	rig.driver = &driver;
}

static void teardown(void)
{
	rig_fini(&rig);
}

static void order(struct answer *a, const char *name, int64_t timeout_ms)
{
	rig_sql(&rig, a, "SELECT 1", CONF_ROWS, name, timeout_ms);
}

static void end_found(struct fetch_call *call, const char *text)
{
	fetch_call_found(call, value_copy(text, strlen(text)));
	fetch_call_end(call);
}

START_TEST(calls_begin_in_the_order_they_came_and_no_more_than_there_are_slots)
{
	struct answer a[10];
	char name[2] = "";
	for (int i = 0; i < 10; i++) {
		name[0] = (char)('0' + i);
		order(&a[i], name, 10000);      /* the name is copied */
	}
	ck_assert_uint_eq(n_begun, 0);
	rig_run_until(&rig, &n_begun, SLOTS);
	rig_run_for(&rig, 20);
	ck_assert_uint_eq(n_begun, SLOTS);
	for (unsigned i = 0; i < 10; i++) {
		rig_run_until(&rig, &n_begun, i + 1);
		ck_assert_int_eq(begun[i]->order.name[0], '0' + (int)i);
		ck_assert_str_eq(begun[i]->order.sql, "SELECT 1");
		end_found(begun[i], "yes");
		ck_assert_uint_eq(a[i].times, 1);
		expect_found(&a[i], "yes");
		answer_fini(&a[i]);
	}
}
END_TEST

START_TEST(calls_that_end_at_once_do_not_hold_the_loop)
{
	static struct answer a[CALLS_MAX];
	ends_at_once = true;
	for (int i = 0; i < CALLS_MAX; i++)
		order(&a[i], "", 10000);
	event_base_loop(rig.base, EVLOOP_ONCE);
	ck_assert_uint_gt(n_begun, 0);
	ck_assert_uint_lt(n_begun, 200);
	rig_run_until(&rig, &n_begun, CALLS_MAX);
	for (int i = 0; i < CALLS_MAX; i++) {
		ck_assert_uint_eq(a[i].times, 1);
		ck_assert_int_eq(a[i].status, FETCH_ABSENT);
	}
}
END_TEST

START_TEST(call_is_answered_at_its_deadline_and_its_slot_kept_until_it_ends)
{
	struct answer a[SLOTS], next;
	stops_slowly = true;
	for (int i = 0; i < SLOTS; i++)
		order(&a[i], "", 100);
	order(&next, "", 10000);
	for (int i = 0; i < SLOTS; i++) {
		rig_wait(&rig, &a[i]);
		expect_failed(&a[i], "timed out after 100 ms");
	}
	ck_assert_uint_eq(n_stopped, SLOTS);
	rig_run_for(&rig, 50);
	ck_assert_uint_eq(n_begun, SLOTS);
	for (int i = 0; i < SLOTS; i++)
		fetch_call_end(begun[i]);
	rig_run_until(&rig, &n_begun, SLOTS + 1);
	end_found(begun[SLOTS], "next");
	expect_found(&next, "next");
	answer_fini(&next);
}
END_TEST

START_TEST(call_that_waits_fails_at_its_deadline_and_is_never_begun)
{
	struct answer a[SLOTS], waiting;
	for (int i = 0; i < SLOTS; i++)
		order(&a[i], "", 10000);
	order(&waiting, "", 100);
	rig_wait(&rig, &waiting);
	expect_failed(&waiting, "timed out after 100 ms, still waiting for its turn");
	ck_assert_int_eq(waiting.source, BREAKER_UNKNOWN);      /* it was not asked */
	for (int i = 0; i < SLOTS; i++)
		end_found(begun[i], "");
	rig_run_for(&rig, 20);
	ck_assert_uint_eq(n_begun, SLOTS);
	for (int i = 0; i < SLOTS; i++)
		answer_fini(&a[i]);
}
END_TEST

START_TEST(only_the_first_answer_counts)
{
	struct answer a;
	order(&a, "", 10000);
	rig_run_until(&rig, &n_begun, 1);
	fetch_call_failed(begun[0], "first");
	ck_assert(fetch_call_answered(begun[0]));
	fetch_call_failed(begun[0], "second");
	fetch_call_absent(begun[0]);
	end_found(begun[0], "third");
	ck_assert_uint_eq(a.times, 1);
	expect_failed(&a, "first");
}
END_TEST

START_TEST(error_is_one_line_of_bounded_length)
{
	struct answer a;
	char longer[1000];
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	order(&a, "", 10000);
	rig_run_until(&rig, &n_begun, 1);
	fetch_call_failed(begun[0], "a\r\nb\tc\x1b %s", longer);
	fetch_call_end(begun[0]);
	expect_failed(&a, "a  b c  xxx");
	ck_assert_uint_eq(strlen(a.error), FETCH_ERROR_MAX - 1);
}
END_TEST

static const size_t sizes[] = {0, 1, 65536, 65537, 5000000};

START_TEST(bytes_become_the_value_and_the_slot_is_free_at_once)
{
	struct answer a;
	struct buf b = BUF_INIT;
	order(&a, "", 10000);
	rig_run_until(&rig, &n_begun, 1);
	for (size_t i = 0; i < sizes[_i]; i++)
		buf_add_char(&b, (char)('a' + i % 26));
	struct buf kept = BUF_INIT;
	buf_add(&kept, b.data, b.len);
	fetch_call_end_with(begun[0], &b);
	ck_assert_ptr_null(b.data);
	rig_wait(&rig, &a);
	ck_assert_int_eq(a.status, FETCH_FOUND);
	ck_assert_uint_eq(a.len, sizes[_i]);
	ck_assert_int_eq(a.len ? memcmp(a.text, kept.data, kept.len) : 0, 0);
	answer_fini(&a);
	buf_free(&kept);
}
END_TEST

START_TEST(closing_completes_all_and_what_is_being_copied)
{
	struct answer a[SLOTS + 2];
	struct buf b = BUF_INIT;
	for (int i = 0; i < SLOTS + 2; i++)
		order(&a[i], "", 10000);
	rig_run_until(&rig, &n_begun, SLOTS);
	memset(buf_reserve(&b, 1000000), 'x', 1000000);
	b.len = 1000000;
	fetch_call_end_with(begun[0], &b);
	rig_drop_driver(&rig);
	for (int i = 0; i < SLOTS + 2; i++) {
		ck_assert_uint_eq(a[i].times, 1);
		expect_failed(&a[i], "shutting down");
	}
	ck_assert_uint_eq(n_stopped, SLOTS - 1);
	/* The copy comes back after all, in rig_fini at the latest. */
}
END_TEST

/* ---- the fetcher ---- */

static struct conf_type types[] = {
	{.name = "parts", .fetch = {.kind = CONF_FETCH_SQL, .sql = "SELECT '[' || :name || ']'", .shape = CONF_VALUE,
		.timeout_ms = 10000}},
	{.name = "hooked", .fetch = {.kind = CONF_FETCH_EXEC, .exec = (char *[]){"echo", "-n", "{type} {name}", NULL},
		.timeout_ms = 10000}},
	{.name = "whole", .fetch = {.kind = CONF_FETCH_ASSEMBLE, .sql = "SELECT 1 UNION ALL SELECT 2", .from = "parts",
		.from_type = &types[0], .timeout_ms = 10000}},
	{.name = "plain", .fetch = {.kind = CONF_FETCH_NONE}},
};

static void on_fetched(void *arg, const struct fetch_result *result)
{
	struct answer *a = arg;
	a->times++;
	a->status = result->status;
	strcpy(a->error, result->error);
	if (result->status == FETCH_FOUND)
		a->text = xstrndup(result->value->data, a->len = result->value->len);
}

static void fetch_part(void *catalog, const struct conf_type *type, const char *name, fetch_done_fn done, void *arg)
{
	fetch_start(*(struct fetcher **)catalog, type, name, done, arg);
}

START_TEST(fetcher_gives_each_type_to_the_driver_it_declares)
{
	struct conf conf = {.types = types, .n_types = 4,
		.database = {.kind = CONF_DATABASE_SQLITE, .url = "/dev/null", .connections = 2}};
	struct answer a[3] = {0};
	struct fetcher *f = NULL;
	f = fetcher_new(rig.base, &conf, rig.cpu, fetch_part, &f);
	ck_assert_ptr_nonnull(f);
	fetch_start(f, &types[0], "x", on_fetched, &a[0]);
	fetch_start(f, &types[1], "x", on_fetched, &a[1]);
	fetch_start(f, &types[2], "", on_fetched, &a[2]);
	ck_assert_uint_eq(a[0].times + a[1].times + a[2].times, 0);
	for (int i = 0; i < 3; i++)
		rig_wait(&rig, &a[i]);
	expect_found(&a[0], "[x]");
	expect_found(&a[1], "hooked x");
	expect_found(&a[2], "[1,2]");
	for (int i = 0; i < 3; i++)
		answer_fini(&a[i]);
	fetcher_free(f);
}
END_TEST

START_TEST(freeing_a_fetcher_completes_all_its_fetches)
{
	struct conf conf = {.types = types, .n_types = 4,
		.database = {.kind = CONF_DATABASE_POSTGRES, .url = "postgresql:///x?host=/nowhere", .connections = 2}};
	struct answer a[30] = {0};
	struct fetcher *f = NULL;
	f = fetcher_new(rig.base, &conf, rig.cpu, fetch_part, &f);
	for (int i = 0; i < 30; i++)
		fetch_start(f, &types[i % 3], "x", on_fetched, &a[i]);
	fetcher_free(f);
	for (int i = 0; i < 30; i++) {
		ck_assert_uint_eq(a[i].times, 1);
		expect_failed(&a[i], "shutting down");
	}
	fetcher_free(NULL);
}
END_TEST

START_TEST(fetcher_that_nobody_needs_has_no_drivers)
{
	struct conf conf = {.types = &types[3], .n_types = 1};
	struct fetcher *f = fetcher_new(rig.base, &conf, rig.cpu, fetch_part, NULL);
	ck_assert_ptr_nonnull(f);
	fetcher_free(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch_call");
	TCase *tc = tcase_create("fetch_call");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, calls_begin_in_the_order_they_came_and_no_more_than_there_are_slots);
	tcase_add_test(tc, calls_that_end_at_once_do_not_hold_the_loop);
	tcase_add_test(tc, call_is_answered_at_its_deadline_and_its_slot_kept_until_it_ends);
	tcase_add_test(tc, call_that_waits_fails_at_its_deadline_and_is_never_begun);
	tcase_add_test(tc, only_the_first_answer_counts);
	tcase_add_test(tc, error_is_one_line_of_bounded_length);
	tcase_add_loop_test(tc, bytes_become_the_value_and_the_slot_is_free_at_once, 0, sizeof(sizes) / sizeof(sizes[0]));
	tcase_add_test(tc, closing_completes_all_and_what_is_being_copied);
	tcase_add_test(tc, fetcher_gives_each_type_to_the_driver_it_declares);
	tcase_add_test(tc, freeing_a_fetcher_completes_all_its_fetches);
	tcase_add_test(tc, fetcher_that_nobody_needs_has_no_drivers);
	suite_add_tcase(s, tc);
	return rig_main(s);
}
