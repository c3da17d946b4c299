/* The end: what was asked before SIGTERM is answered, what is sent after it is refused by the
 * system, and nobody holds the daemon up for long. */
#include "harness.h"
#include "talk.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define MIB ((size_t)1 << 20)
#define STOP_LIMIT_MS (SANITIZED ? 15000 : 5000)

static struct harness *start(void)
{
	struct harness *h = harness_new();
	harness_hook(h, "slow", "while ! [ -e $DIR/go ]; do sleep 0.02; done; echo -n value");
	harness_start(h, LISTEN NO_REDIS NO_DATABASE
		"types:\n"
		"  plain: {key: 'm:{name}', ttl: 1h, tiers: [memory]}\n"
		"  slow: {key: 's:{name}', ttl: 1h, tiers: [memory], fetch: {exec: ['${DIR}/slow', '{name}'], timeout: 1m}}\n");
	return h;
}

/* SIGTERM has been taken: an idle connection sees its end. */
static void begin_stop(struct harness *h)
{
	int idle = raw_connect(h);
	raw_send(idle, "PING\r\n");
	raw_expect(idle, "+PONG\r\n");
	harness_signal(h, SIGTERM);
	raw_expect_close(idle);
}

START_TEST(what_was_asked_before_the_stop_is_answered)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "SET m:a 1\r\nGET s:x\r\nSET m:a 2\r\nGET m:a\r\n");
	raw_expect(fd, "+OK\r\n");
	wait_until(harness_hook_runs(h, "slow") == 1, 10000);
	begin_stop(h);
	harness_write(h, "go", "");
	raw_expect(fd, "$5\r\nvalue\r\n+OK\r\n$1\r\n2\r\n");
	raw_expect_close(fd);
	harness_free(h);
}
END_TEST

START_TEST(nothing_can_be_sent_after_the_stop_has_begun)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	raw_send(fd, "GET s:x\r\n");
	wait_until(harness_hook_runs(h, "slow") == 1, 10000);
	begin_stop(h);
	ck_assert_int_eq(send(fd, "PING\r\n", 6, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	harness_write(h, "go", "");
	raw_expect(fd, "$5\r\nvalue\r\n");
	raw_expect_close(fd);
	harness_free(h);
}
END_TEST

START_TEST(a_stopping_daemon_takes_in_who_has_connected_before)
{
	struct harness *h = start();
	harness_signal(h, SIGSTOP);
	int fd = raw_connect(h);
	raw_send(fd, "PING\r\n");
	harness_signal(h, SIGTERM);
	harness_signal(h, SIGCONT);
	raw_expect(fd, "+PONG\r\n");
	raw_expect_close(fd);
	harness_free(h);
}
END_TEST

/* Reads what is there; the number of newlines in it, -1 at the end. */
static int read_lines(int fd, int flags)
{
	char bytes[65536];
	ssize_t n = recv(fd, bytes, sizeof(bytes), flags);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	int lines = 0;
	for (ssize_t i = 0; i < n; i++)
		lines += bytes[i] == '\n';
	return lines;
}

/* SIGTERM comes after so many requests of a stream that does not stop. */
static void stop_in_a_stream(long long after)
{
	struct harness *h = start();
	int fd = raw_connect(h);
	long long sent = 0, answered = 0;
	for (;;) {
		ssize_t n = send(fd, "PING\r\n", 6, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			break;
		ck_assert(n < 0 || n == 6);
		sent += n == 6;
		if (sent == after)
			harness_signal(h, SIGTERM);
		if (n < 0 || sent % 100 == 0) {
			int lines = read_lines(fd, MSG_DONTWAIT);
			answered += lines > 0 ? lines : 0;
		}
	}
	ck_assert_int_eq(errno, EPIPE);
	for (int lines; (lines = read_lines(fd, 0)) >= 0; )
		answered += lines;
	ck_assert_int_eq(answered, sent);
	close(fd);
	harness_free(h);
}

START_TEST(every_request_that_could_be_sent_gets_its_whole_reply)
{
	for (int i = 0; i < 10; i++)
		stop_in_a_stream(1000 + 777 * i);
}
END_TEST

START_TEST(deaf_clients_and_fetches_that_hang_hold_the_stop_up_for_seconds_only)
{
	struct harness *h = start();
	char *value = xmalloc(10 * MIB);
	memset(value, 'v', 10 * MIB);
	int deaf = raw_connect(h), waiting = raw_connect(h);
	raw_send(deaf, "*3\r\n$3\r\nSET\r\n$5\r\nm:big\r\n$10485760\r\n");
	raw_send_bytes(deaf, value, 10 * MIB);
	raw_send(deaf, "\r\nGET m:big\r\n");
	raw_expect(deaf, "+OK\r\n$10485760\r\n");
	raw_send(waiting, "GET s:never\r\n");
	wait_until(harness_hook_runs(h, "slow") == 1, 10000);
	int64_t began_ms = now_ms();
	harness_stop(h);
	ck_assert_int_lt(now_ms() - began_ms, STOP_LIMIT_MS);
	char *log = harness_log(h);
	ck_assert_msg(strstr(log, "event=clients_cut_off clients=2"), "%s", log);
	free(log);
	free(value);
	close(deaf);
	close(waiting);
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_was_asked_before_the_stop_is_answered,
		nothing_can_be_sent_after_the_stop_has_begun,
		a_stopping_daemon_takes_in_who_has_connected_before,
		every_request_that_could_be_sent_gets_its_whole_reply,
		deaf_clients_and_fetches_that_hang_hold_the_stop_up_for_seconds_only,
	};
	return harness_main("stop", tests, sizeof(tests) / sizeof(tests[0]));
}
