/* The HTTP port: what is at each path, what is answered to requests that are not good, and its
 * bounds; readiness. What Prometheus and a browser make of it is in tests/watch. */
#include "harness.h"
#include "talk.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define ADMIN "admin: {listen: '127.0.0.1:0'}\n"
#define TYPES "types:\n  a: {key: 'a:{name}', ttl: 100s}\n"
#define CONNECTIONS_MAX 64      /* as in daemon/admin.c */

/* The port that the daemon chose, as its log tells. */
static int port_of(struct harness *h)
{
	static const char mark[] = "event=admin_ready host=127.0.0.1 port=";
	char *log = harness_log(h);
	const char *at = strstr(log, mark);
	int port = at ? atoi(at + strlen(mark)) : 0;
	free(log);
	ck_assert_msg(port > 0, "the log tells of no port");
	return port;
}

static int dial(struct harness *h)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(h)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){READ_LIMIT_S * 4, 0}, sizeof(struct timeval));
	ck_assert_msg(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "nobody listens");
	return fd;
}

/* All that comes until the other end closes, in memory that lives until the next call. */
static const char *read_all(int fd)
{
	static struct buf b;
	ssize_t n;
	b.len = 0;
	while ((n = read(fd, buf_reserve(&b, 65536), 65535)) > 0)
		b.len += (size_t)n;
	ck_assert_msg(n == 0, "no end of the reply");
	buf_add_char(&b, '\0');
	close(fd);
	return b.data;
}

/* The whole reply to a request line and further headers. */
static const char *answer(struct harness *h, const char *line, const char *headers)
{
	char *request = xasprintf("%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", line, headers);
	int fd = dial(h);
	raw_send(fd, request);
	free(request);
	return read_all(fd);
}

static void expect_answer(struct harness *h, const char *line, const char *status, const char *part)
{
	const char *reply = answer(h, line, "");
	ck_assert_msg(strncmp(reply, "HTTP/1.1 ", 9) == 0 && strncmp(reply + 9, status, strlen(status)) == 0, "%s: %s", line, reply);
	ck_assert_msg(strstr(reply, part) != NULL, "%s: no %s in %s", line, part, reply);
}

static struct harness *start_alone(void)
{
	struct harness *h = harness_new();
	harness_start(h, LISTEN ADMIN NO_REDIS NO_DATABASE TYPES);
	return h;
}

START_TEST(each_path_has_its_kind_of_text)
{
	struct harness *h = start_alone();
	expect_answer(h, "GET /healthz", "200 ", "\r\n\r\nok\n");
	expect_answer(h, "GET /readyz", "200 ", "\r\n\r\nready\n");
	expect_answer(h, "GET /metrics", "200 ", "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	expect_answer(h, "GET /metrics", "200 ", "\ncatcached_clients 0\n");
	expect_answer(h, "GET /metrics?x=y", "200 ", "\ncatcached_clients 0\n");
	expect_answer(h, "GET /status", "200 ", "Content-Type: text/html; charset=utf-8\r\n");
	expect_answer(h, "GET /status", "200 ", "</html>");
	expect_answer(h, "GET /status", "200 ", "Content-Security-Policy: default-src 'none';");
	expect_answer(h, "GET /status.json", "200 ", "Content-Type: application/json\r\n");
	expect_answer(h, "GET /status.json", "200 ", "\"declared\":{\"a\":{");
	expect_answer(h, "GET /", "302 ", "Location: /status\r\n");
	harness_free(h);
}
END_TEST

START_TEST(what_is_not_there_or_not_done_has_its_code)
{
	struct harness *h = start_alone();
	expect_answer(h, "GET /nosuch", "404 ", "/metrics /healthz /readyz /status");
	expect_answer(h, "GET /metrics/", "404 ", "");
	expect_answer(h, "GET /%2e%2e/metrics", "404 ", "");
	expect_answer(h, "DELETE /metrics", "405 ", "Allow: GET, HEAD\r\n");
	expect_answer(h, "OPTIONS /status", "405 ", "Allow: GET, HEAD\r\n");
	expect_answer(h, "POST /nosuch", "404 ", "");
	expect_answer(h, "BREW /metrics", "501 ", "");
	expect_answer(h, "GET metrics", "404 ", "");
	const char *head = answer(h, "HEAD /metrics", "");
	ck_assert_msg(strncmp(head, "HTTP/1.1 200 ", 13) == 0 && strstr(head, "\r\nContent-Length: ")
		&& strcmp(strstr(head, "\r\n\r\n"), "\r\n\r\n") == 0, "%s", head);
	harness_free(h);
}
END_TEST

START_TEST(what_is_too_large_is_refused)
{
	struct harness *h = start_alone();
	char *headers = xasprintf("X: %09000d\r\n", 1);
	ck_assert_ptr_null(strstr(answer(h, "GET /healthz", headers), "200 OK"));
	free(headers);
	ck_assert_ptr_nonnull(strstr(answer(h, "POST /healthz", "Content-Length: 100000\r\n"), " 413 "));
	expect_answer(h, "GET /healthz", "200 ", "ok\n");
	harness_free(h);
}
END_TEST

START_TEST(one_connection_carries_many_requests)
{
	struct harness *h = start_alone();
	int fd = dial(h);
	for (int i = 0; i < 3; i++)
		raw_send(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
	raw_send(fd, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	const char *at = read_all(fd);
	for (int i = 0; i < 3; i++)
		ck_assert_msg((at = strstr(at, "\r\n\r\nok\n")) && (at += 7), "%d of 3", i);
	ck_assert_ptr_nonnull(strstr(at, "\r\n\r\nready\n"));
	harness_free(h);
}
END_TEST

/* Descriptors of the daemon that are sockets of its HTTP port, beyond the one that listens. */
static int admin_connections(struct harness *h)
{
	char line[512], *port = xasprintf(":%04X ", (unsigned)port_of(h));
	int n = 0;
	FILE *f = fopen("/proc/net/tcp", "r");
	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, port) == line + 14 && strstr(line, " 01 ") != NULL;    /* ours is the local end; established */
	if (f)
		fclose(f);
	free(port);
	return n;
}

START_TEST(connections_beyond_the_limit_wait_for_their_turn)
{
	struct harness *h = start_alone();
	int fds[CONNECTIONS_MAX + 1];
	for (int i = 0; i < CONNECTIONS_MAX; i++) {
		char reply[15];
		fds[i] = dial(h);
		raw_send(fds[i], "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
		raw_read(fds[i], reply, sizeof(reply));
		ck_assert_msg(memcmp(reply, "HTTP/1.1 200 OK", sizeof(reply)) == 0, "connection %d", i);
	}
	fds[CONNECTIONS_MAX] = dial(h);         /* in the queue of the system */
	raw_send(fds[CONNECTIONS_MAX], "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	redisContext *c = harness_connect(h);
	for (int i = 0; i < 100; i++)           /* the loop turns, and yet */
		expect(c, "PONG", "PING");
	char byte;
	ck_assert_int_lt(recv(fds[CONNECTIONS_MAX], &byte, 1, MSG_DONTWAIT), 0);
	close(fds[0]);
	ck_assert_ptr_nonnull(strstr(read_all(fds[CONNECTIONS_MAX]), "\r\n\r\nready\n"));
	for (int i = 1; i < CONNECTIONS_MAX; i++)
		close(fds[i]);
	wait_until(admin_connections(h) == 0, READ_LIMIT_S * 1000);
	expect_answer(h, "GET /healthz", "200 ", "ok\n");
	harness_free(h);
}
END_TEST

START_TEST(a_silent_connection_is_closed)
{
	struct harness *h = start_alone();
	int idle = dial(h), half = dial(h);     /* at once, since each takes its ten seconds */
	raw_send(half, "GET /metrics HTT");
	ck_assert_str_eq(read_all(idle), "");
	(void)!read_all(half);
	wait_until(admin_connections(h) == 0, READ_LIMIT_S * 1000);
	harness_free(h);
}
END_TEST

START_TEST(a_stop_with_connections_open_is_a_clean_one)
{
	struct harness *h = start_alone();
	int idle = dial(h), half = dial(h);
	raw_send(half, "GET /metrics HTT");
	expect_answer(h, "GET /healthz", "200 ", "ok\n");
	harness_stop(h);
	(void)!read_all(idle);
	(void)!read_all(half);
	harness_free(h);
}
END_TEST

/* ---- readiness ---- */

START_TEST(a_sidecar_that_can_answer_nothing_is_not_ready_and_says_why)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	harness_start(h, LISTEN ADMIN REDIS NO_DATABASE TYPES);
	redisContext *c = harness_connect(h);
	harness_redis_ready(c);
	expect_answer(h, "GET /readyz", "200 ", "ready\n");
	harness_redis_kill(h);
	wait_until(strcmp(ask_health(c, "redis.state"), "down") == 0, READ_LIMIT_S * 1000);
	expect_answer(h, "GET /readyz", "503 ", "neither Redis nor a source of fetches answers, and memory holds nothing\n");
	expect_answer(h, "GET /healthz", "200 ", "ok\n");
	expect_answer(h, "GET /metrics", "200 ", "\ncatcached_ready 0\n");
	expect(c, "OK", "SET a:1 x");           /* memory has it: degraded, but it serves */
	expect_answer(h, "GET /readyz", "200 ", "ready\n");
	harness_free(h);
}
END_TEST

START_TEST(a_sidecar_whose_fetches_work_is_ready_without_redis)
{
	struct harness *h = harness_new();
	harness_hook(h, "hook", "printf x");
	harness_start(h, LISTEN ADMIN REDIS NO_DATABASE "types:\n  a: {key: 'a:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook']}}\n");
	expect_answer(h, "GET /readyz", "200 ", "ready\n");
	harness_free(h);
}
END_TEST

/* Also of what waits for nothing, if it takes long: meanwhile all others wait. */
START_TEST(durations_are_measured_within_a_turn_of_the_loop)
{
	static const char sum[] = "\ncatcached_request_duration_seconds_sum{command=\"del\"} ";
	struct harness *h = harness_new();
	harness_start(h, LISTEN NO_REDIS NO_DATABASE "types: {a: {key: 'a:{name}', ttl: 100s}}\n");
	redisContext *c = harness_connect(h);
	struct buf line = BUF_INIT;
	buf_add_str(&line, "DEL");
	for (int i = 0; i < 8000; i++)
		buf_addf(&line, " a:%d", i);
	buf_add_str(&line, "\r\n");
	int fd = raw_connect(h);
	raw_send_bytes(fd, line.data, line.len);
	raw_expect(fd, ":0\r\n");
	redisReply *r = ask(c, "METRICS");
	const char *at = strstr(r->str, sum);
	ck_assert_msg(at && atof(at + strlen(sum)) > 0, "%.60s", at ? at : "no sum");
	freeReplyObject(r);
	buf_free(&line);
	close(fd);
	harness_free(h);
}
END_TEST

START_TEST(it_is_not_ready_while_it_warms)
{
	struct harness *h = harness_new();
	harness_hook(h, "hook", "while [ ! -e \"$DIR/go\" ]; do sleep 0.01; done; printf x");
	harness_start(h, LISTEN ADMIN NO_REDIS NO_DATABASE "warm_timeout: 1m\n"
		"types:\n  a: {key: 'a:{name}', ttl: 100s, warm: [b, c], fetch: {exec: ['${DIR}/hook']}}\n");
	redisContext *c = harness_connect(h);
	expect(c, "OK", "SET a:1 x");
	expect_answer(h, "GET /readyz", "503 ", "warming\n");
	expect_answer(h, "GET /healthz", "200 ", "ok\n");
	expect_answer(h, "GET /metrics", "200 ", "\ncatcached_warm_keys_left 2\n");
	harness_write(h, "go", "");
	wait_until(ask_stat(c, "", "warm.loaded") == 2, READ_LIMIT_S * 1000);
	expect_answer(h, "GET /readyz", "200 ", "ready\n");
	expect_answer(h, "GET /metrics", "200 ", "\ncatcached_warm_keys_total{result=\"success\"} 2\n");
	harness_free(h);
}
END_TEST

START_TEST(a_scrape_does_not_wait_for_a_redis_that_hangs)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	harness_start(h, LISTEN ADMIN "redis: {url: 'unix://${DIR}/redis.sock', timeout: 1h}\n" NO_DATABASE TYPES);
	redisContext *c = harness_connect(h);
	harness_redis_ready(c);
	harness_redis_pause(h);
	int fd = raw_connect(h);
	raw_send(fd, "GET a:1\r\n");
	raw_sent(fd);
	expect_answer(h, "GET /metrics", "200 ", "\ncatcached_redis_up 1\n");
	expect_answer(h, "GET /status.json", "200 ", "\"under_way\":1");
	harness_redis_resume(h);
	raw_expect(fd, "$-1\r\n");
	close(fd);
	harness_free(h);
}
END_TEST

/* ---- the start ---- */

/* Starts the daemon with this configuration, which it must refuse with exit status 3; its last
 * words, to be freed. */
static char *refused_start(struct harness *h, const char *yaml)
{
	const char *build = getenv("BUILD");
	char *command = xasprintf("%s/catcached -c %s 2>&1", build ? build : "build", harness_write(h, "second.yaml", yaml));
	FILE *f = popen(command, "r");
	struct buf said = BUF_INIT;
	size_t n = f ? fread(buf_reserve(&said, 65536), 1, 65535, f) : 0;
	said.len = n;
	buf_add_char(&said, '\0');
	int status = f ? pclose(f) : -1;
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 3, "status %#x: %s", status, said.data);
	free(command);
	return said.data;
}

START_TEST(a_port_in_use_ends_the_start_with_its_remedy)
{
	struct harness *h = start_alone();
	char *yaml = xasprintf("listen: {path: '${DIR}/second'}\nadmin: {listen: '127.0.0.1:%d'}\n" NO_REDIS NO_DATABASE TYPES, port_of(h));
	char *said = refused_start(h, yaml);
	char *expected = xasprintf("cannot listen at 127.0.0.1, port %d: Address already in use (another process has it: stop that, or change admin.listen)", port_of(h));
	ck_assert_msg(strstr(said, expected) != NULL, "%s", said);
	ck_assert_ptr_null(strstr(said, "event=ready"));
	ck_assert_int_lt(access(harness_path(h, "second"), F_OK), 0);
	expect_answer(h, "GET /healthz", "200 ", "ok\n");
	free(expected);
	free(said);
	free(yaml);
	harness_free(h);
}
END_TEST

START_TEST(an_address_of_another_host_ends_the_start_with_its_remedy)
{
	struct harness *h = harness_new();
	char *said = refused_start(h, "listen: {path: '${DIR}/second'}\nadmin: {listen: '192.0.2.1:9121'}\n" NO_REDIS NO_DATABASE TYPES);
	ck_assert_msg(strstr(said, "(admin.listen must name an address of this host)") != NULL, "%s", said);
	free(said);
	harness_free(h);
}
END_TEST

START_TEST(without_admin_listen_there_is_no_port)
{
	struct harness *h = harness_new();
	harness_start(h, LISTEN "admin: {listen: none}\n" NO_REDIS NO_DATABASE TYPES);
	char *log = harness_log(h);
	ck_assert_ptr_null(strstr(log, "admin_ready"));
	free(log);
	expect_in(harness_connect(h), "catcached_build_info{version=", "METRICS");
	harness_free(h);
}
END_TEST

START_TEST(the_shipped_configuration_has_the_port_of_the_manual)
{
	char *yaml = harness_shipped_config();
	ck_assert_ptr_nonnull(strstr(yaml, "  listen: \"${CATCACHED_ADMIN_LISTEN:-127.0.0.1:9121}\""));
	free(yaml);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		each_path_has_its_kind_of_text,
		what_is_not_there_or_not_done_has_its_code,
		what_is_too_large_is_refused,
		one_connection_carries_many_requests,
		connections_beyond_the_limit_wait_for_their_turn,
		a_silent_connection_is_closed,
		a_stop_with_connections_open_is_a_clean_one,
		a_sidecar_that_can_answer_nothing_is_not_ready_and_says_why,
		a_sidecar_whose_fetches_work_is_ready_without_redis,
		durations_are_measured_within_a_turn_of_the_loop,
		it_is_not_ready_while_it_warms,
		a_scrape_does_not_wait_for_a_redis_that_hangs,
		a_port_in_use_ends_the_start_with_its_remedy,
		an_address_of_another_host_ends_the_start_with_its_remedy,
		without_admin_listen_there_is_no_port,
		the_shipped_configuration_has_the_port_of_the_manual,
	};
	return harness_main("admin", tests, sizeof(tests) / sizeof(tests[0]));
}
