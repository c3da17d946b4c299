/* redis_write_as and redis_edit with all their options, against a real redis-server: what is
 * answered, and what Redis has afterwards. */
#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../daemon/clock.h"
#include "../../daemon/value.h"
#include "redis_rig.h"
#include "redisd.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define OLD_MS 100000           /* what the key has left where it has a TTL */
#define SLACK_MS 50000          /* of what is left of it a loaded machine may take this much */

/* ---- what is there before ---- */

enum state { ABSENT, PLAIN, TIMED, LIST, STATES };

static void make(enum state state)
{
	static const char *const make[STATES] = {"PING", "SET k old", "SET k old PX 100000", "RPUSH k x"};
	told("DEL k");
	told(make[state]);
}

static int64_t wall_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- what is there afterwards ---- */

struct after {
	const char *value;              /* NULL: the key is gone */
	bool is_list;
	int64_t left_ms;                /* about; -1: no end */
	int64_t ends_at_ms;             /* exactly; 0: see left_ms */
};

static struct after of_state(enum state state)
{
	return (struct after){.value = state == ABSENT ? NULL : "old", .is_list = state == LIST, .left_ms = state == TIMED ? OLD_MS : -1};
}

static void expect_after(const struct after *after, const char *what)
{
	long long left_ms = number_of(tell("PTTL k")), ends_at_ms = number_of(tell("PEXPIRETIME k"));
	if (after->is_list)
		ck_assert_msg(number_of(tell("LLEN k")) == 1, "%s: the list has changed", what);
	else
		expect_stored("k", after->value);
	if (!after->value)
		ck_assert_msg(left_ms == -2, "%s: the key is there", what);
	else if (after->ends_at_ms)
		ck_assert_msg(ends_at_ms == after->ends_at_ms, "%s: it ends at %lld", what, ends_at_ms);
	else if (after->left_ms < 0)
		ck_assert_msg(left_ms == -1, "%s: %lld ms are left", what, left_ms);
	else
		ck_assert_msg(left_ms <= after->left_ms && left_ms > after->left_ms - SLACK_MS, "%s: %lld ms are left", what, left_ms);
}

/* ---- values that count as absent ---- */

/* Of TIMED, which has OLD_MS left: no window, two that it is not in, and one that it is in. */
static const struct redis_window windows[] = {{0, 0}, {0, OLD_MS - SLACK_MS}, {OLD_MS + 1, 2 * OLD_MS}, {1, 2 * OLD_MS}};

static enum state seen_through(const struct redis_window *stale, enum state state)
{
	return state == TIMED && stale == &windows[3] ? ABSENT : state;
}

/* ---- redis_write_as ---- */

enum ttl { TTL_NONE, TTL_MS, TTL_ENDS, TTL_KEPT, TTLS };

static struct after after_write(enum state state, enum state seen, enum ttl ttl, const struct redis_set *how)
{
	struct after after = {.value = "new", .left_ms = -1};
	bool holds = how->condition == REDIS_ALWAYS || (how->condition == REDIS_IF_ABSENT) == (seen == ABSENT);
	if (!holds || (how->wants_old && seen == LIST))
		return of_state(state);
	if (ttl == TTL_MS)
		after.left_ms = how->ttl_ms;
	else if (ttl == TTL_ENDS)
		after.ends_at_ms = how->ends_at_ms;
	else if (ttl == TTL_KEPT && seen == TIMED)
		after.left_ms = OLD_MS;
	return after;
}

static enum redis_status status_of_write(enum state seen, const struct redis_set *how)
{
	bool holds = how->condition == REDIS_ALWAYS || (how->condition == REDIS_IF_ABSENT) == (seen == ABSENT);
	if (!how->wants_old)
		return holds ? REDIS_ANSWERED : REDIS_NIL;
	return seen == LIST ? REDIS_WRONGTYPE : seen == ABSENT ? REDIS_NIL : REDIS_ANSWERED;
}

static void write_as(enum state state, enum ttl ttl, enum redis_condition condition, bool wants_old, const struct redis_window *stale)
{
	static const char *const states[] = {"absent", "plain", "timed", "list"}, *const ttls[] = {"none", "ttl_ms", "ends_at_ms", "keeps_ttl"};
	struct redis_set how = {.condition = condition, .wants_old = wants_old, .ttl_ms = ttl == TTL_MS ? 60000 : 0,
		.ends_at_ms = ttl == TTL_ENDS ? wall_ms() + 200000 : 0, .keeps_ttl = ttl == TTL_KEPT, .stale = *stale};
	enum state seen = seen_through(stale, state);
	struct key key = key_named("k");
	struct value *v = value_copy("new", 3);
	struct answer a = {0};
	char what[96];
	snprintf(what, sizeof(what), "%s, %s, condition %d, wants_old %d, window %td", states[state], ttls[ttl], condition, wants_old, stale - windows);
	make(state);
	clock_update();
	redis_write_as(redis, &key, v, &how, on_answer, &a);
	ck_assert_uint_eq(a.n, 0);
	value_unref(v);
	expect_answer(&a, status_of_write(seen, &how));
	ck_assert_msg(!wants_old == !a.value || a.status != REDIS_ANSWERED, "%s: value %d", what, a.value != NULL);
	if (a.value)
		ck_assert(a.value->len == 3 && memcmp(a.value->data, "old", 3) == 0);
	struct after after = after_write(state, seen, ttl, &how);
	expect_after(&after, what);
	answer_clear(&a);
}

START_TEST(write_does_what_its_options_say)
{
	for (enum ttl ttl = 0; ttl < TTLS; ttl++)
		for (enum redis_condition condition = REDIS_ALWAYS; condition <= REDIS_IF_PRESENT; condition++)
			for (int wants_old = 0; wants_old < 2; wants_old++)
				for (size_t i = 0; i < LEN(windows); i++)
					write_as((enum state)_i, ttl, condition, wants_old, &windows[i]);
}
END_TEST

START_TEST(old_value_of_any_size_comes_back_unchanged)
{
	static const size_t lens[] = {0, 1, 16383, 16384, 1 << 20};
	struct key key = key_named("k");
	for (size_t i = 0; i < LEN(lens); i++) {
		struct answer a = {0};
		struct value *v = value_copy("new", 3);
		char *old = xcalloc(1, lens[i] + 1);
		for (size_t at = 0; at < lens[i]; at++)
			old[at] = (char)(at * 7 % 251);
		for (int with_window = 0; with_window < 2; with_window++) {
			told("SET k %b", old, lens[i]);
			redis_write_as(redis, &key, v, &(struct redis_set){.wants_old = true, .stale = {0, with_window * 1000}}, on_answer, &a);
			expect_answer_value(&a, old, lens[i]);
			expect_stored("k", "new");
		}
		value_unref(v);
		free(old);
	}
}
END_TEST

START_TEST(write_that_ended_before_now_leaves_nothing)
{
	struct key key = key_named("k");
	struct value *v = value_copy("new", 3);
	struct answer a = {0};
	make(TIMED);
	redis_write_as(redis, &key, v, &(struct redis_set){.ends_at_ms = 1}, on_answer, &a);
	expect_answer(&a, REDIS_ANSWERED);
	expect_stored("k", NULL);
	value_unref(v);
}
END_TEST

/* ---- redis_edit ---- */

/* Whether a TTL of new_ms is set under the condition, where the key has old_ms left (-1: no end). */
static bool holds(const char *condition, int64_t old_ms, int64_t new_ms)
{
	bool has_ttl = old_ms >= 0;
	if (!condition)
		return true;
	if (strcmp(condition, "NX") == 0)
		return !has_ttl;
	if (strcmp(condition, "XX") == 0)
		return has_ttl;
	if (strcmp(condition, "GT") == 0)
		return has_ttl && new_ms > old_ms;
	if (strcmp(condition, "LT") == 0)
		return !has_ttl || new_ms < old_ms;
	return has_ttl && new_ms < old_ms;      /* XX LT */
}

static struct answer edit(const struct redis_edit *how)
{
	struct key key = key_named("k");
	struct answer a = {0};
	clock_update();
	redis_edit(redis, &key, how, on_answer, &a);
	ck_assert_uint_eq(a.n, 0);
	run_until(a.n, LIMIT_MS);
	return a;
}

static void edit_ttl(enum state state, const char *condition, int64_t new_ms, bool is_absolute, const struct redis_window *stale)
{
	struct redis_edit how = {.what = REDIS_EDIT_TTL, .condition = condition, .ttl_ms = is_absolute ? 0 : new_ms,
		.ends_at_ms = is_absolute ? wall_ms() + new_ms : 0, .stale = *stale};
	struct after after = of_state(state);
	char what[96];
	snprintf(what, sizeof(what), "state %d, %s, %lld ms, absolute %d, window %td", state, condition ? condition : "always",
		(long long)new_ms, is_absolute, stale - windows);
	make(state);
	bool is_changed = seen_through(stale, state) != ABSENT && holds(condition, after.left_ms, new_ms);
	struct answer a = edit(&how);
	expect_answer(&a, REDIS_ANSWERED);
	ck_assert_msg(a.number == is_changed, "%s: number %lld", what, (long long)a.number);
	if (is_changed && new_ms <= 0)
		after = (struct after){0};
	else if (is_changed && is_absolute)
		after.ends_at_ms = how.ends_at_ms;
	else if (is_changed)
		after.left_ms = new_ms;
	expect_after(&after, what);
}

START_TEST(edit_of_a_ttl_happens_on_its_condition)
{
	static const char *const conditions[] = {NULL, "NX", "XX", "GT", "LT", "XX LT"};
	static const int64_t ttls_ms[] = {50000, 200000, -1000};
	for (size_t i = 0; i < LEN(conditions); i++)
		for (size_t k = 0; k < LEN(ttls_ms); k++)
			for (int is_absolute = 0; is_absolute < 2; is_absolute++)
				for (size_t w = 0; w < LEN(windows); w++)
					edit_ttl((enum state)_i, conditions[i], ttls_ms[k], is_absolute, &windows[w]);
}
END_TEST

START_TEST(persist_takes_the_ttl)
{
	for (size_t i = 0; i < LEN(windows); i++) {
		make((enum state)_i);
		struct answer a = edit(&(struct redis_edit){.what = REDIS_EDIT_PERSIST, .stale = windows[i]});
		bool is_changed = seen_through(&windows[i], (enum state)_i) == TIMED;
		struct after after = of_state((enum state)_i);
		if (is_changed)
			after.left_ms = -1;
		expect_answer(&a, REDIS_ANSWERED);
		ck_assert_int_eq(a.number, is_changed);
		expect_after(&after, "persist");
	}
}
END_TEST

static void reading_edit(enum state state, struct redis_edit how, const struct after *after, const char *what)
{
	for (size_t i = 0; i < LEN(windows); i++) {
		enum state seen = seen_through(&windows[i], state);
		bool is_there = seen == PLAIN || seen == TIMED;
		struct after same = of_state(state);
		make(state);
		how.stale = windows[i];
		struct answer a = edit(&how);
		expect_answer(&a, seen == ABSENT ? REDIS_NIL : seen == LIST ? REDIS_WRONGTYPE : REDIS_ANSWERED);
		ck_assert_msg((a.value != NULL) == is_there, "%s: value %d", what, a.value != NULL);
		if (a.value)
			ck_assert(a.value->len == 3 && memcmp(a.value->data, "old", 3) == 0);
		expect_after(is_there ? after : &same, what);
		answer_clear(&a);
	}
}

START_TEST(edit_that_wants_the_value_brings_it)
{
	int64_t ends_at_ms = wall_ms() + 200000;
	enum state state = (enum state)_i;
	reading_edit(state, (struct redis_edit){.what = REDIS_EDIT_TTL, .ttl_ms = 60000, .wants_value = true},
		&(struct after){.value = "old", .left_ms = 60000}, "from now");
	reading_edit(state, (struct redis_edit){.what = REDIS_EDIT_TTL, .ends_at_ms = ends_at_ms, .wants_value = true},
		&(struct after){.value = "old", .ends_at_ms = ends_at_ms}, "absolute");
	reading_edit(state, (struct redis_edit){.what = REDIS_EDIT_TTL, .ends_at_ms = 1, .wants_value = true}, &(struct after){0}, "past");
	reading_edit(state, (struct redis_edit){.what = REDIS_EDIT_PERSIST, .wants_value = true},
		&(struct after){.value = "old", .left_ms = -1}, "persist");
	reading_edit(state, (struct redis_edit){.what = REDIS_EDIT_DELETE, .wants_value = true}, &(struct after){0}, "delete");
}
END_TEST

/* So that a fetch under way does not bring the key back. */
START_TEST(edit_that_deletes_takes_the_lease_too)
{
	make(PLAIN);
	told("SET catcached:lease:{k} token");
	struct answer a = edit(&(struct redis_edit){.what = REDIS_EDIT_DELETE, .wants_value = true});
	expect_answer(&a, REDIS_ANSWERED);
	expect_stored("catcached:lease:{k}", NULL);
	expect_stored("k", NULL);
	answer_clear(&a);
}
END_TEST

START_TEST(refused_edit_tells_why)
{
	make(PLAIN);
	told("REPLICAOF 127.0.0.1 1");
	struct answer a = edit(&(struct redis_edit){.what = REDIS_EDIT_TTL, .ttl_ms = 1000});
	expect_answer(&a, REDIS_ERROR);
	ck_assert_msg(strncmp(a.error, "READONLY ", 9) == 0, "%s", a.error);
	a = edit(&(struct redis_edit){.what = REDIS_EDIT_DELETE, .wants_value = true});
	expect_answer(&a, REDIS_ERROR);
	ck_assert_msg(strncmp(a.error, "READONLY ", 9) == 0, "%s", a.error);
	expect_stored("k", "old");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("redis_write");
	TCase *tc = tcase_create("options");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_redis, teardown_rig);
	tcase_add_loop_test(tc, write_does_what_its_options_say, 0, STATES);
	tcase_add_test(tc, old_value_of_any_size_comes_back_unchanged);
	tcase_add_test(tc, write_that_ended_before_now_leaves_nothing);
	tcase_add_loop_test(tc, edit_of_a_ttl_happens_on_its_condition, 0, STATES);
	tcase_add_loop_test(tc, persist_takes_the_ttl, 0, STATES);
	tcase_add_loop_test(tc, edit_that_wants_the_value_brings_it, 0, STATES);
	tcase_add_test(tc, edit_that_deletes_takes_the_lease_too);
	tcase_add_test(tc, refused_edit_tells_why);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
