/* The assemble driver between a SQL driver and a catalog, both played by the test:
 * the list of parts comes when the test says so, and what a part is given is told by
 * its name: the name itself, or the rest of it behind "late " (when the test gives
 * it), "fail " (an error), "none " (does not exist) or "text ". */
#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/value.h"
#include "../../daemon/worker.h"
#include "../../proto/buf.h"
#include "rig.h"

#define PARTS_MAX 2000

/* ---- the stage ---- */

struct request {
	char *name;
	fetch_done_fn done;
	void *arg;
};

static struct rig rig;
static struct conf_type part_type = {.name = "parts"};

/* The SQL driver: answers with what is here, from the loop. */
static struct fetch_result list;
static struct buf list_names;
static struct event *list_event;
static fetch_done_fn list_done;
static void *list_arg;
static bool list_held;
static char list_name[32];

/* The catalog. */
static struct request late[PARTS_MAX];          /* parts not given yet */
static size_t n_late, n_asked, most_late;
static char *stack_low, *stack_high;            /* where on_ask was called */

static void on_list(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (list.status == FETCH_FOUND)
		list.value = value_copy(list_names.data, list_names.len);
	list_done(list_arg, &list);
	value_unref(list.value);
	list.value = NULL;
}

static void start_list(void *self, const struct fetch_order *order, fetch_done_fn done, void *arg)
{
	(void)self;
	ck_assert_str_eq(order->sql, "SELECT names");
	ck_assert_int_eq(order->shape, CONF_NAMES);
	snprintf(list_name, sizeof(list_name), "%s", order->name);
	list_done = done;
	list_arg = arg;
	if (!list_held)
		event_add(list_event, &(struct timeval){0});
}

static const struct fetch_driver sql_driver = {.name = "played", .start = start_list};

static void give(fetch_done_fn done, void *arg, enum fetch_status status, const char *text)
{
	struct fetch_result result = {.status = status};
	if (status == FETCH_FOUND)
		result.value = value_copy(text, strlen(text));
	else
		snprintf(result.error, sizeof(result.error), "%s", text);
	done(arg, &result);
	value_unref(result.value);
}

static void give_by_name(const char *name, fetch_done_fn done, void *arg)
{
	if (strncmp(name, "fail ", 5) == 0)
		give(done, arg, FETCH_FAILED, name + 5);
	else if (strncmp(name, "none ", 5) == 0)
		give(done, arg, FETCH_ABSENT, "");
	else
		give(done, arg, FETCH_FOUND, strncmp(name, "text ", 5) == 0 ? name + 5 : name);
}

static void on_ask(void *catalog, const struct conf_type *type, const char *name, fetch_done_fn done, void *arg)
{
	char *here = __builtin_frame_address(0);
	ck_assert_ptr_eq(catalog, &rig);
	ck_assert_ptr_eq(type, &part_type);
	n_asked++;
	if (!stack_low || here < stack_low)
		stack_low = here;
	if (!stack_high || here > stack_high)
		stack_high = here;
	if (strncmp(name, "late ", 5) != 0) {
		give_by_name(name, done, arg);
		return;
	}
	ck_assert_uint_lt(n_late, PARTS_MAX);
	late[n_late++] = (struct request){strdup(name + 5), done, arg};
	if (n_late > most_late)
		most_late = n_late;
}

/* Gives the late part of place i. */
static void give_late(size_t i)
{
	struct request r = late[i];
	memmove(&late[i], &late[i + 1], (--n_late - i) * sizeof(late[0]));
	give_by_name(r.name, r.done, r.arg);
	free(r.name);
}

static void setup(void)
{
	rig_init(&rig);
	list_event = evtimer_new(rig.base, on_list, NULL);
	rig.type.fetch.from_type = &part_type;
	const struct fetch_assemble_options options = {.cpu = rig.cpu, .sql = &sql_driver, .part = on_ask, .catalog = &rig};
	rig.driver = fetch_assemble_new(rig.base, &options, &rig.self);
	ck_assert_ptr_nonnull(rig.driver);
}

static void teardown(void)
{
	event_free(list_event);
	rig_fini(&rig);
	buf_free(&list_names);
	ck_assert_uint_eq(n_late, 0);
}

static void name_part(const char *name)
{
	buf_add(&list_names, name, strlen(name) + 1);
}

static void begin(struct answer *a, int64_t timeout_ms)
{
	rig_sql(&rig, a, "SELECT names", CONF_ROWS, "all", timeout_ms);
}

static void expect_assembled(const char *text)
{
	struct answer a;
	begin(&a, 10000);
	rig_wait(&rig, &a);
	expect_found(&a, text);
	answer_fini(&a);
}

static void expect_not_assembled(const char *error)
{
	struct answer a;
	begin(&a, 10000);
	rig_wait(&rig, &a);
	ck_assert_int_eq(a.status, FETCH_FAILED);
	ck_assert_str_eq(a.error, error);
}

static void run_until_late(size_t n)
{
	for (int64_t end_ms = rig_now_ms() + RIG_LIMIT_MS; n_late < n; ) {
		ck_assert_msg(rig_now_ms() < end_ms, "waited in vain");
		event_base_loop(rig.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
}

/* ---- joining ---- */

START_TEST(parts_are_joined_in_the_order_of_the_list)
{
	name_part("[1,2]");
	name_part("[ {\"a\" : 3} ]");
	name_part(" [4] ");
	expect_assembled("[1,2,{\"a\" : 3},4]");
	ck_assert_str_eq(list_name, "all");
}
END_TEST

START_TEST(parts_that_come_in_another_order_are_joined_in_that_of_the_list)
{
	struct answer a;
	name_part("late [1]");
	name_part("[2]");
	name_part("late [3]");
	name_part("late [4]");
	begin(&a, 10000);
	run_until_late(3);
	give_late(2);
	give_late(0);
	ck_assert_uint_eq(a.times, 0);
	give_late(0);
	rig_wait(&rig, &a);
	expect_found(&a, "[1,2,3,4]");
	answer_fini(&a);
}
END_TEST

START_TEST(no_names_are_an_empty_array)
{
	expect_assembled("[]");
	list.status = FETCH_ABSENT;
	expect_assembled("[]");
	ck_assert_uint_eq(n_asked, 0);
}
END_TEST

START_TEST(empty_parts_and_parts_that_do_not_exist_add_nothing_not_even_a_comma)
{
	name_part("[]");
	name_part("[1]");
	name_part("[ ]");
	name_part("none x");
	name_part("[2]");
	name_part("none y");
	expect_assembled("[1,2]");
}
END_TEST

START_TEST(only_empty_parts_are_an_empty_array)
{
	name_part("[]");
	name_part("none x");
	expect_assembled("[]");
}
END_TEST

START_TEST(part_that_is_no_array_fails_the_whole_with_its_number)
{
	name_part("[1]");
	name_part("text {\"a\":1}");
	name_part("[2]");
	expect_not_assembled("part 2 of 3 is not a JSON array");
}
END_TEST

START_TEST(part_without_bytes_is_no_array)
{
	name_part("[1]");
	name_part("text ");
	expect_not_assembled("part 2 of 2 is not a JSON array");
}
END_TEST

START_TEST(large_parts_are_joined_byte_for_byte)
{
	enum { N = 40, ITEMS = 20000 };
	struct buf whole = BUF_INIT;
	struct answer a;
	buf_add_char(&whole, '[');
	for (int i = 0; i < N; i++) {
		struct buf part = BUF_INIT;
		buf_add_char(&part, '[');
		for (int j = 0; j < ITEMS; j++)
			buf_addf(&part, "%s\"%d-%d\"", j ? "," : "", i, j);
		buf_add(&whole, i ? "," : "", i ? 1 : 0);
		buf_add(&whole, part.data + 1, part.len - 1);
		buf_add_str(&part, "]");
		buf_add_char(&part, '\0');
		name_part(part.data);
		buf_free(&part);
	}
	buf_add_str(&whole, "]");
	begin(&a, 20000);
	rig_wait(&rig, &a);
	ck_assert_int_eq(a.status, FETCH_FOUND);
	ck_assert_uint_eq(a.len, whole.len);
	ck_assert_mem_eq(a.text, whole.data, whole.len);
	answer_fini(&a);
	buf_free(&whole);
}
END_TEST

/* ---- failing ---- */

START_TEST(part_that_fails_fails_the_whole_at_once_with_its_number_and_reason)
{
	struct answer a;
	name_part("[1]");
	name_part("late [2]");
	name_part("fail no connection");
	name_part("[3]");
	begin(&a, 10000);
	rig_wait(&rig, &a);
	expect_failed(&a, "part 3 of 4 failed: no connection");
	ck_assert_uint_eq(n_asked, 3);
	give_late(0);                   /* comes too late and harms nobody */
	rig_run_for(&rig, 20);
	ck_assert_uint_eq(a.times, 1);
}
END_TEST

START_TEST(late_part_that_fails_fails_the_whole)
{
	struct answer a;
	name_part("late fail broken");
	name_part("late [2]");
	begin(&a, 10000);
	run_until_late(2);
	give_late(0);
	rig_wait(&rig, &a);
	expect_failed(&a, "part 1 of 2 failed: broken");
	give_late(0);
}
END_TEST

START_TEST(list_that_fails_fails_the_whole)
{
	list.status = FETCH_FAILED;
	strcpy(list.error, "no such table: providers");
	expect_not_assembled("the list of parts failed: no such table: providers");
	ck_assert_uint_eq(n_asked, 0);
}
END_TEST

/* ---- many ---- */

START_TEST(thousand_parts_at_once_do_not_grow_the_stack)
{
	struct buf whole = BUF_INIT;
	char name[32];
	buf_add_char(&whole, '[');
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "[%d]", i);
		name_part(name);
		buf_addf(&whole, "%s%d", i ? "," : "", i);
	}
	buf_add_char(&whole, ']');
	buf_add_char(&whole, '\0');
	expect_assembled(whole.data);
	ck_assert_uint_eq(n_asked, 1000);
	ck_assert_int_lt(stack_high - stack_low, 1000);
	buf_free(&whole);
}
END_TEST

START_TEST(at_most_64_parts_are_under_way_and_each_that_comes_makes_room)
{
	struct answer a;
	for (int i = 0; i < 300; i++)
		name_part("late [0]");
	begin(&a, 10000);
	run_until_late(64);
	rig_run_for(&rig, 20);
	ck_assert_uint_eq(n_late, 64);
	while (n_late > 0)
		give_late(n_late / 2);
	rig_wait(&rig, &a);
	ck_assert_int_eq(a.status, FETCH_FOUND);
	ck_assert_uint_eq(a.len, 2 * 300 + 1);
	ck_assert_uint_eq(most_late, 64);
	ck_assert_uint_eq(n_asked, 300);
	answer_fini(&a);
}
END_TEST

/* ---- time ---- */

START_TEST(deadline_covers_the_parts_and_late_ones_are_ignored)
{
	struct answer a;
	name_part("late [1]");
	name_part("late [2]");
	name_part("late fail x");
	begin(&a, 200);
	rig_wait(&rig, &a);
	expect_failed(&a, "timed out after 200 ms");
	expect_took(&a, 200);
	while (n_late > 0)
		give_late(0);
	ck_assert_uint_eq(a.times, 1);
}
END_TEST

START_TEST(deadline_covers_the_list_and_a_late_one_is_ignored)
{
	struct answer a;
	name_part("[1]");
	list_held = true;
	begin(&a, 200);
	rig_wait(&rig, &a);
	expect_failed(&a, "timed out after 200 ms");
	on_list(-1, 0, NULL);
	ck_assert_uint_eq(n_asked, 0);
	ck_assert_uint_eq(a.times, 1);
}
END_TEST

START_TEST(parts_may_come_after_the_driver_is_gone)
{
	struct answer a, b;
	name_part("late [1]");
	name_part("late [2]");
	begin(&a, 10000);
	run_until_late(2);
	list_held = true;
	begin(&b, 10000);
	rig_run_for(&rig, 20);
	rig_drop_driver(&rig);
	expect_failed(&a, "shutting down");
	expect_failed(&b, "shutting down");
	on_list(-1, 0, NULL);
	give_late(1);
	give_late(0);
	ck_assert_uint_eq(a.times, 1);
	ck_assert_uint_eq(b.times, 1);
}
END_TEST

static void sleep_a_little(void *arg)
{
	(void)arg;
	nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
}

static void ignore(void *arg)
{
	(void)arg;
}

START_TEST(join_may_end_after_the_driver_is_gone)
{
	/* The cpu pool is busy, so the join is still to come when the driver goes. */
	struct answer a;
	char *big = calloc(1, 200001);
	memset(big, ' ', 200000);
	big[0] = '[';
	big[199999] = ']';
	name_part(big);
	workers_submit(rig.cpu, sleep_a_little, ignore, NULL);
	workers_submit(rig.cpu, sleep_a_little, ignore, NULL);
	begin(&a, 10000);
	rig_run_for(&rig, 50);
	ck_assert_uint_eq(n_asked, 1);
	ck_assert_uint_eq(a.times, 0);
	rig_drop_driver(&rig);
	expect_failed(&a, "shutting down");
	free(big);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch_assemble");
	TCase *tc = tcase_create("assemble");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, parts_are_joined_in_the_order_of_the_list);
	tcase_add_test(tc, parts_that_come_in_another_order_are_joined_in_that_of_the_list);
	tcase_add_test(tc, no_names_are_an_empty_array);
	tcase_add_test(tc, empty_parts_and_parts_that_do_not_exist_add_nothing_not_even_a_comma);
	tcase_add_test(tc, only_empty_parts_are_an_empty_array);
	tcase_add_test(tc, part_that_is_no_array_fails_the_whole_with_its_number);
	tcase_add_test(tc, part_without_bytes_is_no_array);
	tcase_add_test(tc, large_parts_are_joined_byte_for_byte);
	tcase_add_test(tc, part_that_fails_fails_the_whole_at_once_with_its_number_and_reason);
	tcase_add_test(tc, late_part_that_fails_fails_the_whole);
	tcase_add_test(tc, list_that_fails_fails_the_whole);
	tcase_add_test(tc, thousand_parts_at_once_do_not_grow_the_stack);
	tcase_add_test(tc, at_most_64_parts_are_under_way_and_each_that_comes_makes_room);
	tcase_add_test(tc, deadline_covers_the_parts_and_late_ones_are_ignored);
	tcase_add_test(tc, deadline_covers_the_list_and_a_late_one_is_ignored);
	tcase_add_test(tc, parts_may_come_after_the_driver_is_gone);
	tcase_add_test(tc, join_may_end_after_the_driver_is_gone);
	suite_add_tcase(s, tc);
	return rig_main(s);
}
