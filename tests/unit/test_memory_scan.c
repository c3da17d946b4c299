/* memory_scan: walking the table in parts while it is used. Each key is known by its number,
 * and it is counted how often a walk shows it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/memory.h"
#include "../../daemon/value.h"
#include "../../proto/buf.h"
#include "rig.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PLENTY ((uint64_t)1 << 32)
#define FIRST_BUCKETS 1024      /* of memory.c */
#define NUMBERS 8000

static const struct memory_bounds no_bounds[1];

static struct memory *memory;
static unsigned *shown;         /* by number of the key */

static void setup(void)
{
	memory = memory_new(PLENTY, no_bounds, 1);
	shown = xcalloc(NUMBERS, sizeof(*shown));
}

static void teardown(void)
{
	memory_free(memory);
	free(shown);
}

static struct key key_numbered(unsigned n, char name[16])
{
	return key_of(name, (size_t)snprintf(name, 16, "k%u", n));
}

static void put(unsigned n)
{
	char name[16];
	struct key key = key_numbered(n, name);
	struct value *v = value_copy(name, key.len);
	ck_assert_uint_lt(n, NUMBERS);
	ck_assert_int_eq(memory_put(memory, &key, &(struct memory_item){.value = v, .expires_ms = MEMORY_FOREVER}), 0);
	value_unref(v);
}

static void put_range(unsigned from, unsigned to)
{
	for (unsigned n = from; n < to; n++)
		put(n);
}

static void drop(unsigned n)
{
	char name[16];
	struct key key = key_numbered(n, name);
	ck_assert(memory_drop(memory, &key, 1));
}

/* What is shown is whole, and there. */
static void on_each(void *arg, const struct memory_entry *e)
{
	char name[16] = "";
	memcpy(name, memory_key(e), e->key_len);
	unsigned n = (unsigned)strtoul(name + 1, NULL, 10);
	ck_assert_uint_lt(n, NUMBERS);
	struct key key = key_numbered(n, name);
	ck_assert_ptr_eq(memory_peek(memory, &key, 1), e);
	shown[n]++;
	++*(size_t *)arg;
}

/* A walk from cursor 0, `count` at a call, with between called after each call. Returns the number of calls. */
static size_t walk(size_t count, void (*between)(size_t call))
{
	uint64_t cursor = 0;
	size_t calls = 0, total = 0;
	do {
		cursor = memory_scan(memory, cursor, count, on_each, &total);
		if (between)
			between(calls);
		ck_assert_uint_lt(++calls, 10000000);
	} while (cursor != 0);
	return calls;
}

static void expect_shown(unsigned from, unsigned to, unsigned least, unsigned most)
{
	for (unsigned n = from; n < to; n++)
		ck_assert_msg(shown[n] >= least && shown[n] <= most, "k%u was shown %u times", n, shown[n]);
}

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to;
}

START_TEST(empty_table_is_walked_to_its_end)
{
	ck_assert_uint_eq(walk(1, NULL), FIRST_BUCKETS);
	ck_assert_uint_eq(walk(1000, NULL), 2);
	ck_assert_uint_eq(walk(FIRST_BUCKETS, NULL), 1);
	expect_shown(0, NUMBERS, 0, 0);
}
END_TEST

START_TEST(table_at_rest_shows_each_entry_once_however_large_the_parts)
{
	static const unsigned entries[] = {1, 1000, 1024};
	static const size_t counts[] = {1, 7, 100, 1023, 1024, 1000000};
	for (size_t i = 0; i < LEN(entries); i++) {
		put_range(i ? entries[i - 1] : 0, entries[i]);
		for (size_t k = 0; k < LEN(counts); k++) {
			memset(shown, 0, NUMBERS * sizeof(*shown));
			ck_assert_uint_eq(walk(counts[k], NULL), round_up(FIRST_BUCKETS, counts[k]));
			expect_shown(0, entries[i], 1, 1);
			expect_shown(entries[i], NUMBERS, 0, 0);
		}
	}
}
END_TEST

/* 1025 entries make it grow; each of the next puts splits one of its buckets. */
START_TEST(table_in_the_middle_of_growing_shows_each_entry_once)
{
	put_range(0, 1024);
	for (unsigned n = 1024; n < 1024 + 400; n++) {
		put(n);
		if (n % 10 && n > 1030)
			continue;
		memset(shown, 0, NUMBERS * sizeof(*shown));
		walk(1 + n % 50, NULL);
		expect_shown(0, n + 1, 1, 1);
	}
}
END_TEST

static unsigned next_number, puts_a_call;

static void grow(size_t call)
{
	(void)call;
	for (unsigned i = 0; i < puts_a_call && next_number < NUMBERS; i++)
		put(next_number++);
}

/* What was there from the beginning is shown, at most twice, whatever comes meanwhile. */
START_TEST(nothing_is_missed_while_the_table_grows)
{
	static const unsigned paces[] = {1, 5, 1000}, begins[] = {1, 1024, 1500};
	static const size_t counts[] = {1, 10, 500};
	unsigned pace = paces[_i % LEN(paces)], begin = begins[_i / LEN(paces) % LEN(begins)];
	for (size_t k = 0; k < LEN(counts); k++) {
		teardown();
		setup();
		put_range(0, begin);
		next_number = begin;
		puts_a_call = pace;
		walk(counts[k], grow);
		expect_shown(0, begin, 1, 2);
		expect_shown(begin, NUMBERS, 0, 2);
	}
}
END_TEST

static void churn(size_t call)
{
	if (call < 1000)
		drop(1000 + (unsigned)call);
	put((unsigned)call % 1000);             /* in the place of the one that is there */
	grow(call);
}

START_TEST(nothing_is_missed_while_entries_come_and_go)
{
	put_range(0, 2000);
	next_number = 2000;
	puts_a_call = 3;
	walk(1, churn);
	expect_shown(0, 1000, 1, 2);
	expect_shown(1000, 2000, 0, 2);
}
END_TEST

static void drop_one(size_t call)
{
	if (call < 1000)
		drop((unsigned)call);
}

START_TEST(what_is_gone_is_not_shown)
{
	put_range(0, 1000);
	for (size_t i = 0; i < 1000; i++)
		drop_one(i);
	walk(10, NULL);
	expect_shown(0, NUMBERS, 0, 0);
}
END_TEST

/* Cursors come from clients. */
START_TEST(cursor_that_was_never_given_does_no_harm)
{
	static const uint64_t cursors[] = {1, FIRST_BUCKETS - 1, FIRST_BUCKETS, (uint64_t)1 << 63, UINT64_MAX, 0x5555555555555555};
	put_range(0, 1100);     /* it is growing */
	for (size_t i = 0; i < LEN(cursors); i++) {
		uint64_t cursor = cursors[i];
		size_t calls = 0, total = 0;
		do {
			cursor = memory_scan(memory, cursor, 1, on_each, &total);
			ck_assert_uint_le(++calls, 2 * FIRST_BUCKETS);
		} while (cursor != 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory_scan");
	TCase *tc = tcase_create("walks");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, empty_table_is_walked_to_its_end);
	tcase_add_test(tc, table_at_rest_shows_each_entry_once_however_large_the_parts);
	tcase_add_test(tc, table_in_the_middle_of_growing_shows_each_entry_once);
	tcase_add_loop_test(tc, nothing_is_missed_while_the_table_grows, 0, 9);
	tcase_add_test(tc, nothing_is_missed_while_entries_come_and_go);
	tcase_add_test(tc, what_is_gone_is_not_shown);
	tcase_add_test(tc, cursor_that_was_never_given_does_no_harm);
	suite_add_tcase(suite, tc);
	return rig_main(suite);
}
