/* replay.c: what is queued while Redis is away, and what Redis is told when it is
 * back, which a real redis-server confirms. */
#include "../../daemon/replay.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../conf/conf.h"
#include "../../daemon/clock.h"
#include "../../daemon/memory.h"
#include "../../daemon/redis.h"
#include "../../daemon/value.h"
#include "../../proto/buf.h"
#include "redisd.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct conf_type plain = {.name = "plain", .index = 0, .key = "plain:", .prefix_len = 6},
	other = {.name = "other", .index = 1, .key = "other:", .prefix_len = 6},
	fetched = {.name = "fetched", .index = 2, .key = "fetched:", .prefix_len = 8, .fetch.kind = CONF_FETCH_EXEC};
static struct replay *replay;
static struct redis *redis;
static struct conf_redis conf;

/* ---- helpers ---- */

static void on_change(void *arg, const struct key *key)
{
	(void)arg, (void)key;
}

static void on_event(void *arg)
{
	(void)arg;
}

static void on_coherence(void *arg, enum coherence now)
{
	(void)arg, (void)now;
}

static const struct redis_watch watch = {.on_change = on_change, .on_flush = on_event,
	.on_coherence = on_coherence, .on_up = on_event};

static struct key key_named(const char *name)
{
	return key_of(name, strlen(name));
}

static void delete(const struct conf_type *type, const char *name)
{
	char *bytes = xstrdup(name);            /* gone when the call returns */
	struct key key = key_named(bytes);
	replay_delete(replay, type, &key);
	free(bytes);
}

static void write_bytes(const struct conf_type *type, const char *name, struct value *v, int64_t expires_ms)
{
	char *bytes = xstrdup(name);
	struct key key = key_named(bytes);
	replay_write(replay, type, &key, v, expires_ms);
	value_unref(v);
	free(bytes);
}

static void write_text(const struct conf_type *type, const char *name, const char *text, int64_t expires_ms)
{
	write_bytes(type, name, value_copy(text, strlen(text)), expires_ms);
}

static void flush(void)
{
	clock_update();
	replay_flush(replay, redis);
}

/* Flushes, and waits for the last answer; told how the server counts from there on. */
static void flush_to_the_end(void)
{
	told("CONFIG RESETSTAT");
	flush();
	run_until(redis_stats(redis)->pending == 0, LIMIT_MS);
}

static void setup_replay(void)
{
	redisd_init();
	conf = (struct conf_redis){.unix_path = socket_path, .connect_timeout_ms = LIMIT_MS, .timeout_ms = LIMIT_MS};
	replay = replay_new(4);
	redis = redis_new(base, &conf, &watch);
}

static void setup(void)
{
	setup_replay();
	start_server(NULL);
	run_until(redis_coherence(redis) == COHERENCE_TRACKING, LIMIT_MS);
}

static void teardown(void)
{
	redis_free(redis);
	replay_free(replay);
	redisd_fini();
}

/* ---- what is told ---- */

START_TEST(newest_word_on_a_key_wins)
{
	told("SET a old");
	told("SET b old");
	write_text(&plain, "a", "one", MEMORY_FOREVER);
	write_text(&plain, "a", "two", MEMORY_FOREVER);
	ck_assert_uint_eq(replay_count(replay), 1);
	ck_assert_uint_eq(replay_bytes(replay), 3);
	write_text(&plain, "b", "one", MEMORY_FOREVER);
	delete(&plain, "b");
	ck_assert_uint_eq(replay_bytes(replay), 3);
	delete(&plain, "c");
	write_text(&plain, "c", "three", MEMORY_FOREVER);
	ck_assert_uint_eq(replay_count(replay), 3);
	flush_to_the_end();
	expect_stored("a", "two");
	expect_stored("b", NULL);
	expect_stored("c", "three");
	ck_assert_uint_eq(replay_count(replay), 0);
	ck_assert_uint_eq(replay_bytes(replay), 0);
}
END_TEST

/* Its truth is in the source, which may have moved on. */
START_TEST(value_of_a_type_with_a_fetch_is_told_as_a_removal)
{
	told("SET a old");
	struct value *v = value_copy("new", 3);
	write_bytes(&fetched, "a", value_ref(v), MEMORY_FOREVER);
	ck_assert_uint_eq(v->refs, 1);
	ck_assert_uint_eq(replay_bytes(replay), 0);
	flush_to_the_end();
	expect_stored("a", NULL);
	value_unref(v);
}
END_TEST

START_TEST(removals_are_one_command_a_slice)
{
	enum { KEYS = 5000 };
	char name[32];
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(name, sizeof(name), "k:%u", i);
		told("SET %s x", name);
		if (i % 2)
			delete(&plain, name);
		else
			write_text(&fetched, name, "new", MEMORY_FOREVER);
	}
	ck_assert_uint_eq(replay_count(replay), KEYS);
	flush_to_the_end();
	ck_assert_uint_eq(keys_stored(), 0);
	ck_assert_uint_eq(calls_of("del"), KEYS / REPLAY_SLICE);
}
END_TEST

START_TEST(value_is_told_with_the_ttl_that_is_left)
{
	write_text(&plain, "a", "value", clock_ms() + 100000);
	write_text(&plain, "b", "value", MEMORY_FOREVER);
	clock_skew(30000);
	flush_to_the_end();
	long long left_ms = number_of(tell("PTTL a"));
	ck_assert_msg(left_ms > 50000 && left_ms <= 70000, "%lld ms", left_ms);
	ck_assert_int_eq(number_of(tell("PTTL b")), -1);
}
END_TEST

/* What Redis has instead is older. */
START_TEST(value_whose_ttl_is_past_is_told_as_a_removal)
{
	told("SET a old");
	write_text(&plain, "a", "value", clock_ms() + 1000);
	clock_skew(1000);
	flush_to_the_end();
	expect_stored("a", NULL);
}
END_TEST

START_TEST(flush_of_nothing_tells_nothing)
{
	flush_to_the_end();
	ck_assert_uint_eq(calls_of("del") + keys_stored(), 0);
	delete(&plain, "a");
	flush_to_the_end();
	flush_to_the_end();
	ck_assert_uint_eq(calls_of("del"), 0);
}
END_TEST

/* ---- what fails again ---- */

START_TEST(what_fails_again_is_told_the_next_time)
{
	told("SET b old");
	write_text(&plain, "a", "value", MEMORY_FOREVER);
	delete(&plain, "b");
	pause_server();
	flush();
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(replay_count(replay), 2);     /* until Redis has taken it */
	kill_server();
	run_until(redis_stats(redis)->pending == 0, LIMIT_MS);
	ck_assert_uint_eq(replay_count(replay), 2);
	ck_assert_uint_eq(replay_bytes(replay), 5);
	start_server(NULL);
	told("SET b old");
	run_until(redis_up(redis), LIMIT_MS);
	flush_to_the_end();
	expect_stored("a", "value");
	expect_stored("b", NULL);
	ck_assert_uint_eq(replay_count(replay), 0);
}
END_TEST

START_TEST(what_the_server_refuses_is_kept)
{
	told("CONFIG SET maxmemory 1");
	write_text(&plain, "a", "value", MEMORY_FOREVER);
	flush_to_the_end();
	ck_assert_uint_eq(replay_count(replay), 1);
	told("CONFIG SET maxmemory 0");
	flush_to_the_end();
	expect_stored("a", "value");
	ck_assert_uint_eq(replay_count(replay), 0);
}
END_TEST

START_TEST(what_fails_again_does_not_replace_a_newer_word)
{
	write_text(&plain, "a", "older", MEMORY_FOREVER);
	delete(&plain, "b");
	pause_server();
	flush();
	delete(&plain, "a");
	write_text(&plain, "b", "newer", MEMORY_FOREVER);
	kill_server();
	run_until(redis_stats(redis)->pending == 0, LIMIT_MS);
	ck_assert_uint_eq(replay_count(replay), 2);
	start_server(NULL);
	told("SET a old");
	run_until(redis_up(redis), LIMIT_MS);
	flush_to_the_end();
	expect_stored("a", NULL);
	expect_stored("b", "newer");
}
END_TEST

START_TEST(flush_while_redis_is_away_loses_nothing)
{
	write_text(&plain, "a", "value", MEMORY_FOREVER);
	delete(&fetched, "b");
	run_until(redis_reason(redis)[0], LIMIT_MS);
	flush();
	run_until(redis_stats(redis)->pending == 0, LIMIT_MS);
	ck_assert_uint_eq(replay_count(replay), 2);
	start_server(NULL);
	run_until(redis_up(redis), LIMIT_MS);
	flush_to_the_end();
	expect_stored("a", "value");
	ck_assert_uint_eq(replay_count(replay), 0);
}
END_TEST

/* ---- what is known meanwhile ---- */

/* The value the queue has for a key of plain: its bytes, "" for none; NULL: nothing is known. */
static const char *known(const struct conf_type *type, const char *name)
{
	static char text[32];
	struct key key = key_named(name);
	struct value *v = NULL;
	int64_t expires_ms = 0;
	if (!replay_knows(replay, type, &key, &v, &expires_ms))
		return NULL;
	snprintf(text, sizeof(text), "%.*s", v ? (int)v->len : 0, v ? v->data : "");
	return text;
}

START_TEST(what_is_queued_is_known_until_redis_has_taken_it)
{
	ck_assert_ptr_null(known(&plain, "a"));
	write_text(&plain, "a", "value", MEMORY_FOREVER);
	delete(&plain, "b");
	write_text(&fetched, "c", "value", MEMORY_FOREVER);
	ck_assert_str_eq(known(&plain, "a"), "value");
	ck_assert_str_eq(known(&plain, "b"), "");
	ck_assert_str_eq(known(&fetched, "c"), "");
	ck_assert_ptr_null(known(&plain, "d"));
	pause_server();
	flush();
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_str_eq(known(&plain, "a"), "value");
	resume_server();
	run_until(redis_stats(redis)->pending == 0, LIMIT_MS);
	ck_assert(!known(&plain, "a") && !known(&plain, "b") && !known(&fetched, "c"));
}
END_TEST

/* The removal of a prefix, which Redis is not told of now. */
static struct clear *clear_later(const struct conf_type *type, const char *prefix)
{
	struct clear *c = replay_clear(replay, type, prefix, strlen(prefix));
	replay_cleared(replay, c, REDIS_DOWN);
	return c;
}

/* key, of plain, is still meant by c. */
static bool means(const struct clear *c, const char *name)
{
	struct key key = key_named(name);
	return clear_means(c, &plain, &key);
}

START_TEST(all_keys_that_are_to_be_cleared_are_known_as_removed)
{
	write_text(&plain, "plain:a", "value", MEMORY_FOREVER);
	write_text(&plain, "plain:b", "value", MEMORY_FOREVER);
	clear_later(&plain, "plain:a");
	ck_assert_str_eq(known(&plain, "plain:a"), "");
	ck_assert_str_eq(known(&plain, "plain:any"), "");
	ck_assert_str_eq(known(&plain, "plain:b"), "value");
	ck_assert_ptr_null(known(&plain, "plain:c"));
	ck_assert_ptr_null(known(&other, "plain:a"));
	ck_assert_uint_eq(replay_count(replay), 1);
	ck_assert_uint_eq(replay_clears(replay), 1);
}
END_TEST

/* It was acknowledged after them. */
START_TEST(what_is_written_behind_a_clear_outlives_it)
{
	struct clear *c = clear_later(&plain, "plain:");
	write_text(&plain, "plain:a", "newer", MEMORY_FOREVER);
	ck_assert_str_eq(known(&plain, "plain:a"), "newer");
	ck_assert(!means(c, "plain:a") && means(c, "plain:b"));
	flush_to_the_end();
	expect_stored("plain:a", "newer");
	ck_assert(!means(c, "plain:a"));        /* also now that Redis has it */
	ck_assert_ptr_null(known(&plain, "plain:a"));
	ck_assert_ptr_eq(replay_take_clear(replay), c);
	ck_assert_ptr_null(replay_take_clear(replay));
	ck_assert_str_eq(known(&plain, "plain:b"), "");         /* until it is done */
	replay_cleared(replay, c, REDIS_ANSWERED);
	ck_assert_ptr_null(known(&plain, "plain:b"));
}
END_TEST

START_TEST(key_that_is_taken_is_neither_queued_nor_cleared)
{
	struct key a = key_named("plain:a");
	struct clear *c = clear_later(&plain, "plain:");
	write_text(&plain, "plain:a", "value", MEMORY_FOREVER);
	replay_take(replay, &plain, &a);
	ck_assert_uint_eq(replay_count(replay), 0);
	ck_assert(!means(c, "plain:a"));
}
END_TEST

/* The removal of a key that a clear waits for would say nothing new. */
START_TEST(removal_behind_a_clear_that_waits_takes_no_room)
{
	clear_later(NULL, "");
	delete(&plain, "plain:a");
	delete(&fetched, "fetched:a");
	ck_assert_uint_eq(replay_count(replay), 0);
	write_text(&plain, "plain:a", "value", MEMORY_FOREVER);
	delete(&plain, "plain:a");
	ck_assert_uint_eq(replay_count(replay), 1);
	ck_assert_uint_eq(replay_bytes(replay), 0);
}
END_TEST

START_TEST(what_is_forgotten_is_not_told)
{
	struct key a = key_named("a"), b = key_named("b"), none = key_named("none");
	told("SET a newest");
	told("SET b newest");
	write_text(&plain, "a", "value", MEMORY_FOREVER);
	delete(&plain, "b");
	replay_forget(replay, &a);
	replay_forget(replay, &b);
	replay_forget(replay, &none);
	ck_assert_uint_eq(replay_count(replay) + replay_bytes(replay), 0);
	flush_to_the_end();
	expect_stored("a", "newest");
	expect_stored("b", "newest");
}
END_TEST

/* Also while its answer is outstanding. */
START_TEST(what_is_forgotten_on_its_way_does_not_come_back)
{
	struct key a = key_named("a"), b = key_named("b");
	write_text(&plain, "a", "value", MEMORY_FOREVER);
	delete(&plain, "b");
	pause_server();
	flush();
	replay_forget(replay, &a);
	replay_forget(replay, &b);
	kill_server();
	run_until(redis_stats(redis)->pending == 0, LIMIT_MS);
	ck_assert_uint_eq(replay_count(replay), 0);
	ck_assert_uint_eq(replay_bytes(replay), 0);
}
END_TEST

/* What is under way is not sent twice, and a newer word behind it is. */
START_TEST(second_flush_sends_what_the_first_has_not)
{
	write_text(&plain, "a", "older", MEMORY_FOREVER);
	delete(&plain, "b");
	told("CONFIG RESETSTAT");
	pause_server();
	flush();
	write_text(&plain, "a", "newer", MEMORY_FOREVER);
	flush();
	flush();
	resume_server();
	run_until(redis_stats(redis)->pending == 0, LIMIT_MS);
	expect_stored("a", "newer");
	ck_assert_uint_eq(calls_of("del"), 1);
	ck_assert_uint_eq(replay_count(replay), 0);
}
END_TEST

/* ---- the bounds ---- */

static void fill_with(const struct conf_type *type, unsigned n)
{
	char name[32];
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s:%u", type->name, i);
		delete(type, name);
	}
}

/* Its truth is in the source: nothing is lost with it. */
START_TEST(type_with_a_fetch_gives_way_for_one_without)
{
	fill_with(&fetched, REPLAY_MAX / 4);
	fill_with(&other, REPLAY_MAX - REPLAY_MAX / 4);
	ck_assert_uint_eq(replay_count(replay), REPLAY_MAX);
	delete(&other, "other:7");              /* no key more */
	ck_assert_uint_eq(replay_count(replay), REPLAY_MAX);
	write_text(&plain, "plain:a", "acknowledged", MEMORY_FOREVER);
	ck_assert_uint_eq(replay_count(replay), REPLAY_MAX - REPLAY_MAX / 4 + 1);
	ck_assert_str_eq(known(&plain, "plain:a"), "acknowledged");
	ck_assert_str_eq(known(&fetched, "fetched:any"), "");
	ck_assert_ptr_null(known(&other, "other:any"));
	ck_assert_uint_eq(replay_lost(replay), 0);
	struct clear *c = replay_take_clear(replay);
	ck_assert_ptr_eq(c->type, &fetched);
	replay_cleared(replay, c, REDIS_ANSWERED);
	ck_assert_ptr_null(replay_take_clear(replay));
}
END_TEST

START_TEST(without_a_fetch_the_type_with_the_most_keys_gives_way_and_that_is_counted)
{
	write_text(&plain, "plain:a", "kept", MEMORY_FOREVER);
	write_text(&other, "other:a", "lost", MEMORY_FOREVER);
	fill_with(&other, REPLAY_MAX - 2);
	ck_assert_uint_eq(replay_count(replay), REPLAY_MAX);
	write_text(&plain, "plain:b", "kept", MEMORY_FOREVER);
	ck_assert_uint_eq(replay_count(replay), 2);
	ck_assert_uint_eq(replay_lost(replay), 1);
	write_text(&other, "other:b", "after", MEMORY_FOREVER);
	flush_to_the_end();
	expect_stored("plain:a", "kept");
	expect_stored("plain:b", "kept");
	expect_stored("other:b", "after");
	struct clear *c = replay_take_clear(replay);
	struct key after = key_named("other:b"), before = key_named("other:a");
	ck_assert_ptr_eq(c->type, &other);
	ck_assert(clear_means(c, &other, &before) && !clear_means(c, &other, &after));
	replay_cleared(replay, c, REDIS_ANSWERED);
}
END_TEST

/* No more than must be, and what Redis has instead is removed. */
START_TEST(bytes_too_many_lose_the_oldest_values_of_the_heaviest_type)
{
	size_t len = REPLAY_MAX_BYTES / 4;
	static const char *const names[] = {"plain:a", "plain:b", "plain:c"};
	told("SET plain:a old");
	for (size_t i = 0; i < LEN(names); i++)
		write_bytes(&plain, names[i], value_new(len), MEMORY_FOREVER);
	write_bytes(&other, "other:a", value_new(len), MEMORY_FOREVER);
	ck_assert_uint_eq(replay_bytes(replay), REPLAY_MAX_BYTES);
	write_bytes(&plain, "plain:b", value_new(len), MEMORY_FOREVER);         /* in place of the old one */
	ck_assert_uint_eq(replay_lost(replay), 0);
	write_text(&other, "other:b", "x", MEMORY_FOREVER);
	ck_assert_uint_eq(replay_count(replay), 5);
	ck_assert_uint_eq(replay_bytes(replay), 3 * len + 1);
	ck_assert_uint_eq(replay_lost(replay), 1);
	ck_assert_str_eq(known(&plain, "plain:a"), "");
	ck_assert_uint_eq(replay_clears(replay), 0);
	flush_to_the_end();
	expect_stored("plain:a", NULL);
	expect_stored("other:b", "x");
	ck_assert_int_eq(number_of(tell("STRLEN plain:b")), (long long)len);
}
END_TEST

START_TEST(value_over_the_bound_is_lost_and_no_other)
{
	write_text(&plain, "plain:a", "kept", MEMORY_FOREVER);
	write_bytes(&plain, "plain:b", value_new(REPLAY_MAX_BYTES + 1), MEMORY_FOREVER);
	ck_assert_uint_eq(replay_lost(replay), 1);
	ck_assert_uint_eq(replay_count(replay), 2);
	ck_assert_uint_eq(replay_bytes(replay), 4);
}
END_TEST

/* ---- slices ---- */

/* All is told, but never much at a time, and in between it is known still. */
START_TEST(flush_sends_a_slice_and_goes_on_when_that_is_answered)
{
	enum { VALUES = 8 };
	size_t len = REPLAY_SLICE_BYTES / 2;
	char name[32];
	for (unsigned i = 0; i < VALUES; i++) {
		snprintf(name, sizeof(name), "plain:%u", i);
		write_bytes(&plain, name, value_new(len), MEMORY_FOREVER);
	}
	fill_with(&fetched, 2 * REPLAY_SLICE);
	flush();
	unsigned steps = 0;
	for (size_t left = replay_count(replay); left; left = replay_count(replay)) {
		size_t before = left;
		run_until(replay_count(replay) < before, LIMIT_MS);
		ck_assert_uint_le(before - replay_count(replay), REPLAY_SLICE);
		steps++;
	}
	ck_assert_uint_ge(steps, VALUES / 2);
	ck_assert_uint_eq(keys_stored(), VALUES);
	ck_assert_uint_eq(replay_bytes(replay), 0);
}
END_TEST

/* Each pass asks for each word once, so that a refused one does not keep the others waiting. */
START_TEST(refused_word_does_not_hold_up_the_others)
{
	for (unsigned i = 0; i < 3; i++)
		write_text(&plain, (const char *[]){"plain:a", "plain:b", "plain:c"}[i], "value", MEMORY_FOREVER);
	told("SET fetched:0 old");
	told("CONFIG SET maxmemory 1");
	fill_with(&fetched, 2 * REPLAY_SLICE);
	flush_to_the_end();
	expect_stored("fetched:0", NULL);
	ck_assert_uint_eq(replay_count(replay), 3);
	told("CONFIG SET maxmemory 0");
	flush_to_the_end();
	ck_assert_uint_eq(replay_count(replay), 0);
	expect_stored("plain:c", "value");
}
END_TEST

/* ---- ending ---- */

START_TEST(what_is_queued_is_freed_with_it)
{
	struct value *v = value_copy("value", 5);
	write_bytes(&plain, "a", value_ref(v), MEMORY_FOREVER);
	write_bytes(&plain, "b", value_ref(v), MEMORY_FOREVER);
	flush();                                /* refused: comes back when redis is freed */
	write_bytes(&plain, "c", value_ref(v), MEMORY_FOREVER);
	redis_free(redis);
	redis = NULL;
	ck_assert_uint_eq(replay_count(replay), 3);
	replay_free(replay);
	replay = NULL;
	ck_assert_uint_eq(v->refs, 1);
	value_unref(v);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("replay");
	TCase *tc = tcase_create("with a server");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, newest_word_on_a_key_wins);
	tcase_add_test(tc, value_of_a_type_with_a_fetch_is_told_as_a_removal);
	tcase_add_test(tc, removals_are_one_command_a_slice);
	tcase_add_test(tc, value_is_told_with_the_ttl_that_is_left);
	tcase_add_test(tc, value_whose_ttl_is_past_is_told_as_a_removal);
	tcase_add_test(tc, flush_of_nothing_tells_nothing);
	tcase_add_test(tc, what_fails_again_is_told_the_next_time);
	tcase_add_test(tc, what_the_server_refuses_is_kept);
	tcase_add_test(tc, what_fails_again_does_not_replace_a_newer_word);
	tcase_add_test(tc, what_is_queued_is_known_until_redis_has_taken_it);
	tcase_add_test(tc, all_keys_that_are_to_be_cleared_are_known_as_removed);
	tcase_add_test(tc, what_is_written_behind_a_clear_outlives_it);
	tcase_add_test(tc, key_that_is_taken_is_neither_queued_nor_cleared);
	tcase_add_test(tc, removal_behind_a_clear_that_waits_takes_no_room);
	tcase_add_test(tc, what_is_forgotten_is_not_told);
	tcase_add_test(tc, what_is_forgotten_on_its_way_does_not_come_back);
	tcase_add_test(tc, second_flush_sends_what_the_first_has_not);
	tcase_add_test(tc, type_with_a_fetch_gives_way_for_one_without);
	tcase_add_test(tc, without_a_fetch_the_type_with_the_most_keys_gives_way_and_that_is_counted);
	tcase_add_test(tc, bytes_too_many_lose_the_oldest_values_of_the_heaviest_type);
	tcase_add_test(tc, value_over_the_bound_is_lost_and_no_other);
	tcase_add_test(tc, flush_sends_a_slice_and_goes_on_when_that_is_answered);
	tcase_add_test(tc, refused_word_does_not_hold_up_the_others);
	suite_add_tcase(suite, tc);

	tc = tcase_create("without a server");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup_replay, teardown);
	tcase_add_test(tc, flush_while_redis_is_away_loses_nothing);
	tcase_add_test(tc, what_is_queued_is_freed_with_it);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
