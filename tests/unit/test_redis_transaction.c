/* Transactions against a real redis-server: each operation gets its reply as if it had been sent
 * alone, and when nothing comes of the whole, on_end and each operation hear why. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/clock.h"
#include "../../daemon/value.h"
#include "redis_rig.h"
#include "redisd.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define TIMEOUT_MS 500

/* What on_end was told. */
static struct {
	unsigned n, ends;
	char text[256];
	unsigned answered;              /* calls answered before it */
} aborted;

static struct answer answers[8];
static struct relayed relays[8];

static void clear(void)
{
	memset(&aborted, 0, sizeof(aborted));
	for (size_t i = 0; i < LEN(answers); i++)
		answer_clear(&answers[i]);
	for (size_t i = 0; i < LEN(relays); i++)
		relayed_clear(&relays[i]);
}

static void setup(void)
{
	setup_redis();
	clear();
}

static void teardown(void)
{
	teardown_rig();
	clear();
}

static void on_end(void *arg, const char *error)
{
	ck_assert_ptr_eq(arg, &aborted);
	aborted.ends++;
	aborted.n += error != NULL;
	snprintf(aborted.text, sizeof(aborted.text), "%s", error ? error : "");
	for (size_t i = 0; i < LEN(answers); i++)
		aborted.answered += answers[i].n + relays[i].n_ends;
}

static void begin(int resp)
{
	clock_update();
	redis_transaction_begin(redis, (struct redis_route){.resp = resp});
}

static void end(void)
{
	redis_transaction_end(redis, on_end, &aborted);
	for (size_t i = 0; i < LEN(answers); i++)
		ck_assert_msg(answers[i].n == 0 && relays[i].n_ends == 0, "answered before the call returned");
}

static void end_at_once(void)
{
	redis_transaction_end(redis, on_end, &aborted);
}

static void read_key(const char *name, struct answer *a)
{
	struct key key = key_named(name);
	redis_read(redis, &key, on_answer, a);
}

static void write_key(const char *name, const char *bytes, enum redis_condition condition, struct answer *a)
{
	struct key key = key_named(name);
	struct value *v = value_copy(bytes, strlen(bytes));
	redis_write(redis, &key, v, 60000, condition, on_answer, a);
	value_unref(v);
}

static void delete_key(const char *name, struct answer *a)
{
	struct key key = key_named(name);
	redis_delete(redis, &key, 1, on_answer, a);
}

static void pass(int resp, const char *const *words, struct relayed *r)
{
	struct buf b = BUF_INIT;
	add_command(&b, words);
	redis_pass(redis, (struct redis_route){.resp = resp}, b.data, b.len, on_relayed, r);
	buf_free(&b);
}

#define PASS(resp, r, ...) pass(resp, (const char *const[]){__VA_ARGS__, NULL}, r)

static void expect_text(struct relayed *r, const char *text)
{
	expect_relayed(r, text, strlen(text));
}

/* ---- replies ---- */

START_TEST(each_operation_gets_its_reply)
{
	int resp = _i;
	struct key a = key_named("a");
	told("SET b 0123456789 PX 60000");
	told("HSET h f 1");
	told("CONFIG RESETSTAT");
	begin(resp);
	write_key("a", "one", REDIS_ALWAYS, &answers[0]);
	write_key("a", "two", REDIS_IF_ABSENT, &answers[1]);
	read_key("a", &answers[2]);
	PASS(resp, &relays[0], "HGETALL", "h");
	redis_probe(redis, &(struct key){.data = "b", .len = 1}, on_answer, &answers[3]);
	redis_edit(redis, &a, &(struct redis_edit){.what = REDIS_EDIT_DELETE, .wants_value = true}, on_answer, &answers[4]);
	read_key("a", &answers[5]);
	delete_key("b", &answers[6]);
	PASS(resp, &relays[1], "GET", "none");
	redis_exists(redis, &a, on_answer, &answers[7]);
	end();
	expect_answer(&answers[0], REDIS_ANSWERED);
	expect_answer(&answers[1], REDIS_NIL);
	ck_assert_msg(answers[2].ttl_ms > 30000 && answers[2].ttl_ms <= 60000, "%lld ms", (long long)answers[2].ttl_ms);
	expect_answer_value(&answers[2], "one", 3);
	expect_text(&relays[0], resp == 3 ? "%1\r\n$1\r\nf\r\n$1\r\n1\r\n" : "*2\r\n$1\r\nf\r\n$1\r\n1\r\n");
	expect_answer(&answers[3], REDIS_ANSWERED);
	ck_assert_int_eq(answers[3].number, 10);
	expect_answer_value(&answers[4], "one", 3);
	expect_answer(&answers[5], REDIS_NIL);
	expect_answer(&answers[6], REDIS_ANSWERED);
	ck_assert_int_eq(answers[6].number, 1);
	expect_text(&relays[1], resp == 3 ? "_\r\n" : "$-1\r\n");
	expect_answer(&answers[7], REDIS_ANSWERED);
	ck_assert_int_eq(answers[7].number, 0);
	ck_assert_uint_eq(aborted.n, 0);
	ck_assert_uint_eq(calls_of("multi"), 1);
	ck_assert_uint_eq(calls_of("exec"), 1);
	ck_assert_uint_eq(keys_stored(), 1);
}
END_TEST

/* The sizes around that where a reply on the link becomes a value as it is read. */
START_TEST(values_of_any_size_come_as_they_are)
{
	static const size_t lens[] = {0, 1, 16383, 16384, 16385, 100000, 5 << 20};
	int resp = _i;
	for (size_t i = 0; i < LEN(lens); i++) {
		char *bytes = xcalloc(1, lens[i] + 1), header[32];
		struct buf expected = BUF_INIT;
		for (size_t at = 0; at < lens[i]; at++)
			bytes[at] = (char)(at * 13 % 253);
		struct key key = key_named("k");
		struct value *v = value_copy(bytes, lens[i]);
		begin(resp);
		redis_write(redis, &key, v, 0, REDIS_ALWAYS, on_answer, &answers[0]);
		read_key("k", &answers[1]);
		PASS(resp, &relays[0], "GET", "k");
		redis_edit(redis, &key, &(struct redis_edit){.what = REDIS_EDIT_DELETE, .wants_value = true}, on_answer, &answers[2]);
		end();
		expect_answer(&answers[0], REDIS_ANSWERED);
		ck_assert_uint_eq(v->refs, 1); /* of a large one there was another while it went out */
		expect_answer_value(&answers[1], bytes, lens[i]);
		buf_add(&expected, header, (size_t)snprintf(header, sizeof(header), "$%zu\r\n", lens[i]));
		buf_add(&expected, bytes, lens[i]);
		buf_add_str(&expected, "\r\n");
		expect_relayed(&relays[0], expected.data, expected.len);
		expect_answer_value(&answers[2], bytes, lens[i]);
		answer_clear(&answers[0]);
		buf_free(&expected);
		value_unref(v);
		free(bytes);
	}
	ck_assert_uint_eq(aborted.n, 0);
}
END_TEST

START_TEST(error_of_one_is_its_own)
{
	told("RPUSH list x");
	begin(_i);
	read_key("list", &answers[0]);
	PASS(_i, &relays[0], "INCR", "list");
	write_key("a", "one", REDIS_ALWAYS, &answers[1]);
	PASS(_i, &relays[1], "EVAL", "return redis.error_reply('MINE is it')", "0");
	read_key("a", &answers[2]);
	end();
	expect_answer(&answers[0], REDIS_WRONGTYPE);
	expect_text(&relays[0], "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
	expect_answer(&answers[1], REDIS_ANSWERED);
	wait_relayed(&relays[1]);
	ck_assert_msg(strncmp(relays[1].bytes.data, "-MINE is it", 11) == 0, "%.*s", (int)relays[1].bytes.len, relays[1].bytes.data);
	expect_answer_value(&answers[2], "one", 3);
	ck_assert_uint_eq(aborted.n, 0);
}
END_TEST

START_TEST(many_operations_are_answered_in_order)
{
	enum { READS = 3000 };
	struct answer *reads = xcalloc(READS, sizeof(*reads));
	char text[16];
	for (unsigned i = 0; i < 10; i++)
		told("SET key:%u %u", i, i);
	begin(_i);
	for (unsigned i = 0; i < READS; i++) {
		snprintf(text, sizeof(text), "key:%u", i % 10);
		read_key(text, &reads[i]);
	}
	end();
	for (unsigned i = 0; i < READS; i++) {
		snprintf(text, sizeof(text), "%u", i % 10);
		expect_answer_value(&reads[i], text, 1);
	}
	free(reads);
}
END_TEST

START_TEST(transactions_one_after_the_other_do_not_mix)
{
	told("SET a 1");
	begin(_i);
	PASS(_i, &relays[0], "INCR", "a");
	end();
	read_key("a", &answers[0]);
	PASS(_i, &relays[1], "INCR", "a");
	begin(_i);
	PASS(_i, &relays[2], "INCR", "a");
	read_key("a", &answers[1]);
	redis_transaction_end(redis, on_end, &aborted);
	expect_text(&relays[0], ":2\r\n");
	expect_text(&relays[1], ":3\r\n");
	expect_text(&relays[2], ":4\r\n");
	expect_answer_value(&answers[1], "4", 1);
	expect_answer(&answers[0], REDIS_ANSWERED);     /* another connection: any of these */
	ck_assert_uint_eq(aborted.n, 0);
}
END_TEST

START_TEST(transaction_of_nothing_does_nothing)
{
	told("CONFIG RESETSTAT");
	begin(_i);
	end();
	read_key("a", &answers[0]);
	expect_answer(&answers[0], REDIS_NIL);
	ck_assert_uint_eq(aborted.n, 0);
	ck_assert_uint_eq(calls_of("multi"), 0);
	ck_assert_uint_eq(calls_of("exec"), 0);
}
END_TEST

/* ---- nothing comes of it ---- */

static void expect_aborted(const char *part)
{
	ck_assert_uint_eq(aborted.n, 1);
	ck_assert_uint_eq(aborted.ends, 1);
	ck_assert_uint_eq(aborted.answered, 0);
	ck_assert_msg(strstr(aborted.text, part), "\"%s\" without \"%s\"", aborted.text, part);
}

START_TEST(refused_command_aborts_all)
{
	begin(_i);
	write_key("a", "one", REDIS_ALWAYS, &answers[0]);
	PASS(_i, &relays[0], "GET");
	read_key("a", &answers[1]);
	end();
	expect_answer(&answers[0], REDIS_ABORTED);
	expect_answer(&answers[1], REDIS_ABORTED);
	expect_aborted("EXECABORT Transaction discarded because of previous errors.");
	ck_assert_str_eq(answers[0].error, aborted.text);
	expect_text(&relays[0], "-EXECABORT Transaction discarded because of previous errors.\r\n");
	expect_stored("a", NULL);
}
END_TEST

START_TEST(lack_of_memory_aborts_all)
{
	told("SET a old");
	told("CONFIG SET maxmemory 1");
	begin(_i);
	delete_key("a", &answers[0]);
	write_key("b", "one", REDIS_ALWAYS, &answers[1]);
	PASS(_i, &relays[0], "PING");
	end();
	expect_answer(&answers[0], REDIS_ABORTED);
	expect_answer(&answers[1], REDIS_ABORTED);
	expect_aborted("EXECABORT");
	wait_relayed(&relays[0]);
	ck_assert_msg(strncmp(relays[0].bytes.data, "-EXECABORT", 10) == 0 && !relays[0].is_lost, "%.*s", (int)relays[0].bytes.len, relays[0].bytes.data);
	told("CONFIG SET maxmemory 0");
	expect_stored("a", "old");
	ck_assert(redis_up(redis));
}
END_TEST

START_TEST(operations_alone_fail_one_by_one)
{
	told("CONFIG SET maxmemory 1");
	begin(_i);
	write_key("b", "one", REDIS_ALWAYS, &answers[0]);
	end();
	expect_answer(&answers[0], REDIS_ERROR);
	expect_aborted("EXECABORT");
	clear();
	kill_server();
	run_until(!is_all_up() && !redis_up(redis), LIMIT_MS);
	begin(_i);
	read_key("a", &answers[0]);
	end();
	expect_answer(&answers[0], REDIS_DOWN);
	expect_aborted("UNAVAILABLE redis: ");
}
END_TEST

/* Without MULTI the commands would be carried out one by one. */
START_TEST(user_without_multi_has_no_transactions)
{
	redis_free(redis);
	told("ACL SETUSER default -multi");
	open_redis();
	run_until(is_all_up(), LIMIT_MS);
	begin(_i);
	write_key("a", "one", REDIS_ALWAYS, &answers[0]);
	PASS(_i, &relays[0], "INCR", "n");
	end_at_once();
	expect_answer(&answers[0], REDIS_ABORTED);
	expect_aborted("NOPERM");
	expect_text(&relays[0], "-NOPERM Redis does not allow MULTI to the user in redis.url\r\n");
	expect_stored("a", NULL);
	PASS(_i, &relays[1], "INCR", "n");
	expect_text(&relays[1], ":1\r\n");
}
END_TEST

/* It has lost the right since. What was sent has been carried out, command by command: so it is not known to what it came. */
START_TEST(user_who_loses_multi_is_told_and_has_no_transactions)
{
	told("ACL SETUSER default -multi");
	begin(_i);
	write_key("a", "one", REDIS_ALWAYS, &answers[0]);
	PASS(_i, &relays[0], "INCR", "n");
	end();
	expect_answer(&answers[0], REDIS_ABORTED);
	expect_aborted("UNAVAILABLE redis: ");
	expect_lost(&relays[0], "MULTI");
	expect_stored("a", "one");
	run_until(!is_all_up(), LIMIT_MS);
	run_until(is_all_up(), LIMIT_MS);
	clear();
	begin(_i);
	write_key("b", "one", REDIS_ALWAYS, &answers[0]);
	end_at_once();
	expect_answer(&answers[0], REDIS_ERROR);
	expect_stored("b", NULL);
}
END_TEST

static void send_some(int resp)
{
	begin(resp);
	write_key("a", "one", REDIS_ALWAYS, &answers[0]);
	PASS(resp, &relays[0], "INCR", "n");
	read_key("a", &answers[1]);
	end();
}

static void expect_all_down(const char *part)
{
	expect_answer(&answers[0], REDIS_ABORTED);
	expect_answer(&answers[1], REDIS_ABORTED);
	expect_aborted("UNAVAILABLE redis: ");
	ck_assert_msg(strstr(aborted.text, part), "%s", aborted.text);
	expect_lost(&relays[0], part);
	for (size_t i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(aborted.n, 1);
	ck_assert(answers[0].n == 1 && answers[1].n == 1 && relays[0].n_ends == 0);
}

START_TEST(transaction_while_redis_is_down_is_answered_at_once)
{
	kill_server();
	run_until(!is_all_up() && !redis_up(redis), LIMIT_MS);
	send_some(_i);
	expect_all_down("");
	start_server(NULL);
	run_until(is_all_up(), LIMIT_MS);
	expect_stored("a", NULL);
	clear();
	send_some(_i);
	expect_answer_value(&answers[1], "one", 3);
	expect_text(&relays[0], ":1\r\n");
}
END_TEST

START_TEST(server_lost_before_it_answers_is_told_once)
{
	pause_server();
	send_some(_i);
	event_base_loop(base, EVLOOP_NONBLOCK);
	kill_server();
	expect_all_down("");
}
END_TEST

START_TEST(server_that_hangs_is_waited_for_no_longer_than_the_timeout)
{
	redis_free(redis);
	redis_conf.timeout_ms = TIMEOUT_MS;
	open_redis();
	run_until(is_all_up(), LIMIT_MS);
	pause_server();
	send_some(_i);
	expect_all_down("timed out");
	resume_server();
	run_until(is_all_up(), LIMIT_MS);
}
END_TEST

START_TEST(free_answers_what_is_outstanding)
{
	pause_server();
	send_some(_i);
	redis_free(redis);
	redis = NULL;
	ck_assert(answers[0].n == 1 && answers[1].n == 1 && relays[0].n_ends == 1);
	expect_all_down("");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("redis_transaction");
	TCase *tc = tcase_create("replies");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, each_operation_gets_its_reply, 2, 4);
	tcase_add_loop_test(tc, values_of_any_size_come_as_they_are, 2, 4);
	tcase_add_loop_test(tc, error_of_one_is_its_own, 2, 4);
	tcase_add_loop_test(tc, many_operations_are_answered_in_order, 2, 4);
	tcase_add_loop_test(tc, transactions_one_after_the_other_do_not_mix, 2, 4);
	tcase_add_loop_test(tc, transaction_of_nothing_does_nothing, 2, 4);
	suite_add_tcase(suite, tc);

	tc = tcase_create("nothing comes of it");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, refused_command_aborts_all, 2, 4);
	tcase_add_loop_test(tc, lack_of_memory_aborts_all, 2, 4);
	tcase_add_loop_test(tc, operations_alone_fail_one_by_one, 2, 4);
	tcase_add_loop_test(tc, user_without_multi_has_no_transactions, 2, 4);
	tcase_add_loop_test(tc, user_who_loses_multi_is_told_and_has_no_transactions, 2, 4);
	tcase_add_loop_test(tc, transaction_while_redis_is_down_is_answered_at_once, 2, 4);
	tcase_add_loop_test(tc, server_lost_before_it_answers_is_told_once, 2, 4);
	tcase_add_loop_test(tc, server_that_hangs_is_waited_for_no_longer_than_the_timeout, 2, 4);
	tcase_add_loop_test(tc, free_answers_what_is_outstanding, 2, 4);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
