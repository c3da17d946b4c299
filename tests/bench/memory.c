/* What the daemon costs in memory: idle, for each small entry, and at its limit; and how
 * soon it answers. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "bench.h"
#include "contest.h"
#include "load.h"
#include "report.h"
#include "server.h"

#define MB 1e6
#define KEY_LEN 10
#define VALUE_LEN 16
#define CHURN_LIMIT (256LL << 20)
#define CHURN_KEYS 100000
#define CHURN_MIN 100
#define CHURN_MAX 1000000
#define STARTS 7

static const char small_yaml[] =
	"memory: {limit: 4G}\nredis: off\n"
	"types:\n"
	"  memory: {key: 'm:{name}', ttl: 1d, tiers: [memory]}\n";

static const char churn_yaml[] =
	"memory: {limit: 256M}\nredis: off\n"
	"types:\n"
	"  memory: {key: 'm:{name}', ttl: 1d, tiers: [memory]}\n";

/* ---- starting, and doing nothing ---- */

/* The shipped configuration, listening elsewhere; its Redis and database are there. */
static void write_shipped_config(const char *socket)
{
	struct buf b = BUF_INIT;
	char line[1024];
	FILE *f = fopen("conf/catcached.yaml", "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "  path: ", 8) == 0)
			buf_addf(&b, "  path: '%s'\n", socket);
		else
			buf_add_str(&b, line);
	if (!f || !strstr(b.data, socket))
		die("conf/catcached.yaml is not what was expected");
	fclose(f);
	server_write("shipped.yaml", b.data, b.len);
	buf_free(&b);
}

static void measure_start(struct report *report)
{
	static const char *const argv[] = {"{B}/catcached", "-c", "{D}/shipped.yaml", NULL};
	char *socket = server_path("shipped.sock"), *redis_socket = server_path("near.sock"), *db = server_path("empty.db");
	char *redis_url = xasprintf("unix://%s", redis_socket), *database_url = xasprintf("sqlite://%s", db);
	double ready_ms[STARTS], resident[STARTS];
	struct server redis, s;
	setenv("REDIS_URL", redis_url, 1);
	setenv("DATABASE_URL", database_url, 1);
	server_write("empty.db", "", 0);
	write_shipped_config(socket);
	server_start_redis(&redis, "near", PLACE_ANY);
	for (size_t i = 0; i < STARTS; i++) {
		server_start(&s, "shipped", PLACE_ANY, argv);
		redisContext *c = server_client(&s);
		redisReply *r = redisCommand(c, "PING");
		ready_ms[i] = (double)(now_ns() - s.exec_ns) / 1e6;
		if (!r || r->type != REDIS_REPLY_STATUS)
			die("shipped: no PONG");
		freeReplyObject(r);
		redisFree(c);
		server_wait_tracking(&s);
		resident[i] = (double)server_memory(&s, "VmRSS:") / MB;
		server_stop(&s);
	}
	server_stop(&redis);
	report_add(report, "Idle with the shipped configuration, Redis reached: %.1f MB resident. Exec to first PONG: %.1f ms (medians of %d starts).\n\n",
		median(resident, STARTS), median(ready_ms, STARTS), STARTS);
	report_target(report, BELOW, median(resident, STARTS), 8, 2, "MB", "idle: resident memory");
	report_target(report, AT_MOST, median(ready_ms, STARTS), 20, 2, "ms", "exec to the first PONG");
	char *all[] = {socket, redis_socket, db, redis_url, database_url};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		free(all[i]);
}

/* ---- small entries ---- */

static void measure_entries(const struct scale *scale, struct report *report)
{
	struct server s;
	server_start_daemon(&s, "small", PLACE_ANY, small_yaml);
	struct load_options o = {.socket = s.socket, .wire = &wire_redis, .prefix = 'm', .value_len = VALUE_LEN, .n_keys = 1000};
	load_fill(&o); /* what the first requests take is no entry's cost */
	int64_t before = server_memory(&s, "VmRSS:");
	o.n_keys = scale->many;
	load_fill(&o);
	double cost = (double)(server_memory(&s, "VmRSS:") - before) / (scale->many - 1000) - KEY_LEN - VALUE_LEN;
	server_stop(&s);
	report_add(report, "%u entries of %d-byte keys and %d-byte values: %.1f bytes of resident memory each beyond key and value.\n\n",
		scale->many, KEY_LEN, VALUE_LEN, cost);
	report_target(report, AT_MOST, cost, 64, 1, "bytes", "small entry: memory beyond key and value");
}

/* ---- churn ---- */

static uint64_t next_random(void)
{
	static uint64_t state = 88172645463325252;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Every other size is as likely small as large (each factor of ten as often as the next), the rest just random. */
static size_t random_size(void)
{
	double part = (double)(next_random() >> 11) / (double)(1ULL << 53);
	if (next_random() & (1 << 20))
		return (size_t)(CHURN_MIN * pow((double)CHURN_MAX / CHURN_MIN, part));
	return CHURN_MIN + (size_t)(part * (CHURN_MAX - CHURN_MIN));
}

static void wait_for(int fd, bool to_write)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	struct timeval limit = {.tv_sec = LOAD_SILENCE_S};
	if (select(fd + 1, to_write ? NULL : &set, to_write ? &set : NULL, NULL, &limit) <= 0)
		die("churn: no answer");
}

static void send_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			die("churn: cannot send: %s", strerror(errno));
		if (n < 0)
			wait_for(fd, true);
		bytes += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

static void expect_ok(int fd)
{
	char reply[8];
	ssize_t n;
	wait_for(fd, false);
	if ((n = recv(fd, reply, sizeof(reply), 0)) != 5 || memcmp(reply, "+OK\r\n", 5) != 0)
		die("churn: wrong answer to SET: %.*s", n > 0 ? (int)n : 0, reply);
}

static void set_one(int fd, char *value)
{
	char head[96];
	size_t len = random_size();
	int n = snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$10\r\nm:%08u\r\n$%zu\r\n", (unsigned)(next_random() >> 32) % CHURN_KEYS, len);
	char saved[2] = {value[len], value[len + 1]};
	memcpy(value + len, "\r\n", 2);
	send_all(fd, head, (size_t)n);
	send_all(fd, value, len + 2);
	memcpy(value + len, saved, 2);
	expect_ok(fd);
}

static void measure_churn(const struct scale *scale, struct report *report)
{
	struct server s;
	char *value = wire_value(0, CHURN_MAX + 2);
	unsigned long sets = 0;
	server_start_daemon(&s, "churn", PLACE_ANY, churn_yaml);
	int fd = server_connect(s.socket);
	for (int64_t end = now_ns() + (int64_t)(scale->churn_s * 1e9); now_ns() < end; sets++)
		set_one(fd, value);
	double peak = (double)server_memory(&s, "VmHWM:"), now = (double)server_memory(&s, "VmRSS:");
	double bound = 1.20 * (double)CHURN_LIMIT + 8 * MB;
	close(fd);
	server_stop(&s);
	free(value);
	report_add(report, "Churn at memory.limit 256M, %.0f s: %lu SETs of 100 B to 1 MB; resident at the most %.1f MB, at the end %.1f MB; the bound is %.1f MB.\n",
		scale->churn_s, sets, peak / MB, now / MB, bound / MB);
	report_target(report, BELOW, peak / MB, bound / MB, 1, "MB", "churn of 100 B - 1 MB for %.0f s at the limit of 256M: peak resident memory",
		scale->churn_s);
}

void memory_measure(const struct scale *scale, struct report *report)
{
	report_add(report, "\n## Memory\n\n");
	measure_start(report);
	measure_entries(scale, report);
	measure_churn(scale, report);
}
