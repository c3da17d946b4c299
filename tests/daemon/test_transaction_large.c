/* Transactions so large that they are executed slice by slice: everybody else is served meanwhile, and nobody sees a part. */
#include "harness.h"
#include "talk.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define LARGE 100000
#define MIDDLE 20000

static const char config[] =
	LISTEN PATIENT_REDIS NO_DATABASE
	"memory: {limit: 1G}\n"
	"types:\n"
	"  plain: {key: 'p:{name}', ttl: none}\n"
	"  local: {key: 'm:{name}', ttl: none, tiers: [memory]}\n";

struct world {
	struct harness *h;
	redisContext *c;
	int fd;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	harness_tracking(w.c);
	w.fd = raw_connect(w.h);
	return w;
}

/* Queues SET prefix0 value, prefix1 value, ... of n keys. */
static void queue(int fd, const char *prefix, unsigned n, const char *value)
{
	struct buf b = BUF_INIT;
	char queued[9];
	buf_add_str(&b, "MULTI\r\n");
	for (unsigned i = 0; i < n; i++)
		buf_addf(&b, "SET %s%u %s\r\n", prefix, i, value);
	/* In parts: neither side keeps much for the other. */
	for (size_t at = 0, part; at < b.len; at += part) {
		part = b.len - at < 65536 ? b.len - at : 65536;
		while (b.data[at + part - 1] != '\n')
			part--;
		raw_send_bytes(fd, b.data + at, part);
		for (size_t i = at; i < at + part; i++)
			if (b.data[i] == '\n' && i == 6)
				raw_expect(fd, "+OK\r\n");
			else if (b.data[i] == '\n')
				raw_read(fd, queued, sizeof(queued));
	}
	buf_free(&b);
}

static void read_oks(int fd, unsigned n)
{
	char head[16], ok[5];
	raw_read(fd, head, (size_t)snprintf(head, sizeof(head), "*%u\r\n", n));
	for (unsigned i = 0; i < n; i++) {
		raw_read(fd, ok, sizeof(ok));
		ck_assert(memcmp(ok, "+OK\r\n", sizeof(ok)) == 0);
	}
}

static bool is_answered(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

/* ---- */

START_TEST(others_are_served_during_a_large_one)
{
	struct world w = start();
	unsigned served = 0;
	queue(w.fd, "m:", LARGE, "x");
	raw_send(w.fd, "EXEC\r\n");
	for (; !is_answered(w.fd); served++)
		expect(w.c, "PONG", "PING");
	read_oks(w.fd, LARGE);
	ck_assert_msg(served > 10, "%u pings were answered", served);
	harness_free(w.h);
}
END_TEST

static void expect_both_or_none(const char *prefix)
{
	struct world w = start();
	unsigned looks = 0;
	char key[16];
	queue(w.fd, prefix, LARGE, "x");
	snprintf(key, sizeof(key), "%s%u", prefix, LARGE - 1);
	raw_send(w.fd, "EXEC\r\n");
	for (bool is_over = false; !is_over; looks++) {
		is_over = is_answered(w.fd);
		redisReply *both = ask(w.c, "MGET %s0 %s", prefix, key);
		ck_assert_int_eq(both->elements, 2);
		ck_assert_msg(both->element[0]->type == both->element[1]->type, "half of it is seen, at look %u", looks);
		freeReplyObject(both);
	}
	read_oks(w.fd, LARGE);
	harness_free(w.h);
}

START_TEST(nobody_sees_a_part_of_what_is_in_memory)
{
	expect_both_or_none("m:");
}
END_TEST

START_TEST(nobody_sees_a_part_of_what_is_in_redis)
{
	expect_both_or_none("p:");
}
END_TEST

/* All of one, then all of the other; and a small one sees no mixture. */
START_TEST(two_large_ones_do_not_mix)
{
	struct world w = start();
	const int fds[2] = {w.fd, raw_connect(w.h)};
	queue(fds[0], "m:", MIDDLE, "a");
	queue(fds[1], "m:", MIDDLE, "b");
	raw_send(fds[0], "EXEC\r\n");
	raw_send(fds[1], "EXEC\r\n");
	for (bool is_over = false; !is_over;) {
		is_over = is_answered(fds[0]) && is_answered(fds[1]);
		expect(w.c, "OK", "MULTI");
		expect(w.c, "QUEUED", "GET m:%u", MIDDLE - 1);
		expect(w.c, "QUEUED", "GET m:0");
		redisReply *both = ask(w.c, "EXEC");
		ck_assert_int_eq(both->elements, 2);
		ck_assert_int_eq(both->element[0]->type, both->element[1]->type);
		if (both->element[0]->type == REDIS_REPLY_STRING)
			ck_assert_str_eq(both->element[0]->str, both->element[1]->str);
		freeReplyObject(both);
	}
	read_oks(fds[0], MIDDLE);
	read_oks(fds[1], MIDDLE);
	harness_free(w.h);
}
END_TEST

START_TEST(one_whose_client_leaves_is_carried_out_all_the_same)
{
	struct world w = start();
	queue(w.fd, "m:", LARGE, "x");
	raw_send(w.fd, "EXEC\r\n");
	raw_sent(w.fd);
	close(w.fd);
	expect_soon(w.c, "[\"x\", \"x\"]", "MGET m:0 m:%u", LARGE - 1);
	harness_free(w.h);
}
END_TEST

START_TEST(a_client_killed_in_the_middle_is_gone_afterwards)
{
	struct world w = start();
	raw_send(w.fd, "CLIENT ID\r\n");
	char id[8] = "";
	raw_read(w.fd, id, 4);
	queue(w.fd, "m:", LARGE, "x");
	raw_send(w.fd, "EXEC\r\n");
	raw_sent(w.fd);
	id[2] = '\0';
	expect(w.c, "1", "CLIENT KILL ID %s", id + 1);
	expect_soon(w.c, "[\"x\", \"x\"]", "MGET m:0 m:%u", LARGE - 1);
	expect_soon(w.c, "\"\"", "CLIENT LIST ID %s", id + 1);
	harness_free(w.h);
}
END_TEST

START_TEST(another_configuration_counts_after_it)
{
	static const char other[] = LISTEN NO_REDIS NO_DATABASE "types:\n  local: {key: 'm:{name}', ttl: none, tiers: [memory]}\n";
	struct world w = start();
	queue(w.fd, "p:", LARGE, "x");
	raw_send(w.fd, "EXEC\r\n");
	harness_reload(w.h, other);
	read_oks(w.fd, LARGE);
	expect(w.c, "OK", "SET m:a x");
	harness_free(w.h);
}
END_TEST

START_TEST(it_is_answered_before_the_daemon_stops)
{
	struct world w = start();
	queue(w.fd, "m:", LARGE, "x");
	raw_send(w.fd, "EXEC\r\n");
	raw_sent(w.fd);
	harness_signal(w.h, SIGTERM);
	read_oks(w.fd, LARGE);
	harness_free(w.h);
}
END_TEST

/* What comes of it while Redis is away is given out slice by slice, too. */
START_TEST(a_large_one_is_kept_while_redis_is_away)
{
	struct world w = start();
	harness_redis_kill(w.h);
	wait_until(strcmp(ask_health(w.c, "redis.state"), "up") != 0, 5000);
	queue(w.fd, "p:", MIDDLE, "x");
	raw_send(w.fd, "EXEC\r\n");
	read_oks(w.fd, MIDDLE);
	expect(w.c, "[\"x\", \"x\"]", "MGET p:0 p:%u", MIDDLE - 1);
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		others_are_served_during_a_large_one,
		nobody_sees_a_part_of_what_is_in_memory,
		nobody_sees_a_part_of_what_is_in_redis,
		two_large_ones_do_not_mix,
		one_whose_client_leaves_is_carried_out_all_the_same,
		a_client_killed_in_the_middle_is_gone_afterwards,
		another_configuration_counts_after_it,
		it_is_answered_before_the_daemon_stops,
		a_large_one_is_kept_while_redis_is_away,
	};
	return harness_main("transaction_large", tests, sizeof(tests) / sizeof(tests[0]));
}
