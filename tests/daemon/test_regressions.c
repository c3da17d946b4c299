/* Defects that a review found in older builds: each has a test, so that none comes back. */
#include "harness.h"
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define MIB ((size_t)1 << 20)
#define SOON_MS 10000
#define LONG_MS 40000                   /* for what is much work on a busy machine */
#define TIMEOUT_MS 250                  /* redis.timeout */
#define SLACK_MS 500                    /* what a request may take beyond it */

static const char config[] =
	LISTEN REDIS SQLITE
	"types:\n"
	"  fetched: {key: 'f:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook', '{name}'], timeout: 20s}}\n"
	"  made: {key: 'v:{name}', ttl: 100s, tiers: [memory], fetch: {sql: \"SELECT 'made ' || :name\", shape: value}}\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n"
	"  brief: {key: 'b:{name}', ttl: 100s, memory_ttl: 100ms}\n"
	"  hashed: {key: 'h:{name}', ttl: 100s, hash_names: true}\n"
	"  piece: {key: 'a:{name}', ttl: 100s, format: json, fetch: {sql: \"SELECT :name AS name\"}}\n"
	"  other: {key: 'a:x:{name}', ttl: 100s}\n"
	"  whole: {key: whole, ttl: 100s, fetch: {assemble: {sql: SELECT name FROM pieces, from: piece}}}\n";

/* The hook waits while the file hold is there. */
#define HOLD "cd \"$(dirname \"$0\")\"; while [ -e hold ]; do sleep 0.01; done\n"

struct world {
	struct harness *h;
	redisContext *c, *redis;
};

static struct world begin(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_sql(w.h, "CREATE TABLE pieces (name TEXT)");
	harness_hook(w.h, "hook", HOLD "printf 'built %s' \"$1\"");
	return w;
}

static void reach(struct world *w)
{
	w->c = harness_connect(w->h);
	w->redis = harness_connect_redis(w->h);
	harness_redis_ready(w->c);
	harness_tracking(w->c);
}

static struct world start(void)
{
	struct world w = begin();
	harness_start(w.h, config);
	reach(&w);
	return w;
}

static void hold(struct world *w)
{
	harness_write(w->h, "hold", "");
}

static void let_go(struct world *w)
{
	unlink(harness_path(w->h, "hold"));
}

static bool is_readable(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

/* ---- the protocol ---- */

/* Sends the words before and then name with n NUL bytes behind it. */
static void expect_unknown(redisContext *c, const char *before, const char *name, size_t n, const char *error)
{
	size_t len = strlen(name) + n;
	char *word = xcalloc(1, len);
	memcpy(word, name, strlen(name));
	const char *argv[] = {before ? before : word, word};
	size_t lens[] = {before ? strlen(before) : len, len};
	redisReply *r = redisCommandArgv(c, before ? 2 : 1, argv, lens);
	ck_assert_msg(r, "%s and %zu NUL bytes: %s", name, n, c->errstr);
	ck_assert_msg(r->type == REDIS_REPLY_ERROR && strncmp(r->str, error, strlen(error)) == 0, "%s and %zu NUL bytes: %s",
		name, n, render(r));
	freeReplyObject(r);
	free(word);
	expect(c, "PONG", "PING");
}

START_TEST(a_command_with_nul_bytes_behind_it_is_unknown)
{
	static const size_t counts[] = {1, 10, 1000, 1000000};
	static const char *const names[] = {"", "GET", "PING", "CLIENT", "COMMAND"};
	static const char *const subs[] = {"", "ID", "SETNAME"};
	struct world w = start();
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			expect_unknown(w.c, NULL, names[k], counts[i], "ERR unknown command");
		for (size_t k = 0; k < sizeof(subs) / sizeof(subs[0]); k++)
			expect_unknown(w.c, "CLIENT", subs[k], counts[i], "ERR unknown subcommand");
		expect_unknown(w.c, "CONFIG", "GET", counts[i], "ERR unknown subcommand");
	}
	harness_free(w.h);
}
END_TEST

/* The hook of a waits until that of b has begun. */
START_TEST(pipelined_reads_overlap_and_their_replies_stay_in_order)
{
	struct world w = start();
	harness_hook(w.h, "hook", "cd \"$(dirname \"$0\")\"; : >\"began-$1\"\n"
		"while [ \"$1\" = a ] && ! [ -e began-b ]; do sleep 0.01; done; printf 'built %s' \"$1\"");
	int fd = raw_connect(w.h);
	raw_send(fd, "GET f:a\r\nGET f:b\r\nPING\r\nSET f:a new\r\nGET f:a\r\n");
	wait_until(is_readable(fd), LONG_MS);
	raw_expect(fd, "$7\r\nbuilt a\r\n$7\r\nbuilt b\r\n+PONG\r\n+OK\r\n$3\r\nnew\r\n");
	close(fd);
	harness_free(w.h);
}
END_TEST

static void mget_cold(struct world *w, const char *prefix, size_t n, const char *first, const char *last)
{
	struct buf b = BUF_INIT;
	char line[32], end[64];
	int fd = raw_connect(w->h);
	buf_addf(&b, "*%zu\r\n$4\r\nMGET\r\n", n + 1);
	for (size_t i = 0; i < n; i++) {
		int len = snprintf(line, sizeof(line), "%s%05zu", prefix, i);
		buf_addf(&b, "$%d\r\n%s\r\n", len, line);
	}
	raw_send_bytes(fd, b.data, b.len);
	buf_free(&b);
	wait_until(is_readable(fd), LONG_MS);
	snprintf(line, sizeof(line), "*%zu\r\n", n);
	raw_expect(fd, line);
	raw_expect(fd, first);
	char *rest = xmalloc(n * strlen(first));
	raw_read(fd, rest, (n - 1) * strlen(first));
	snprintf(end, sizeof(end), "%.*s", (int)strlen(last), rest + (n - 1) * strlen(first) - strlen(last));
	ck_assert_str_eq(end, last);
	free(rest);
	close(fd);
}

START_TEST(mget_of_20000_cold_keys_answers_them_all)
{
	struct world w = start();
	mget_cold(&w, "p:", 20000, "$-1\r\n", "$-1\r\n");
	mget_cold(&w, "v:", 20000, "$10\r\nmade 00000\r\n", "$10\r\nmade 19999\r\n");
	ck_assert_int_eq(ask_stat(w.c, "made", "fetches"), 20000);
	harness_free(w.h);
}
END_TEST

START_TEST(a_peek_under_way_while_its_key_is_deleted_never_fetches)
{
	struct world w = begin();
	char *yaml = xasprintf("listen: {path: '${DIR}/s'}\n"
		"redis: {url: 'unix://${DIR}/redis.sock', timeout: 20s}\n%s", strstr(config, "database:"));
	harness_start(w.h, yaml);
	free(yaml);
	reach(&w);
	int peek = raw_connect(w.h), del = raw_connect(w.h);
	for (int i = 0; i < 5; i++) {
		harness_redis_pause(w.h);
		raw_send(peek, "PEEK f:a\r\n");
		raw_sent(peek);
		raw_send(del, "DEL f:a\r\n");
		raw_sent(del);
		expect(w.c, "PONG", "PING");
		harness_redis_resume(w.h);
		raw_expect(peek, "$-1\r\n");
		raw_expect(del, ":0\r\n");
	}
	ck_assert_int_eq(ask_stat(w.c, "fetched", "fetches"), 0);
	ck_assert_uint_eq(harness_hook_runs(w.h, "hook"), 0);
	close(peek);
	close(del);
	harness_free(w.h);
}
END_TEST

/* ---- Redis hangs, or is full ---- */

enum { TRICKLERS = 60, TRICKLE_MS = 20, TRICKLE_FOR_MS = 3000 };

struct trickler {
	int fd;
	int64_t sent_ms;        /* 0: idle */
	bool is_first;          /* sent before the first timeout can be over */
};

/* Takes the replies that have come; the longest that one took, but for the first. */
static void take_replies(struct trickler *t, int64_t *longest_ms)
{
	for (int i = 0; i < TRICKLERS; i++) {
		if (!t[i].sent_ms || !is_readable(t[i].fd))
			continue;
		raw_expect(t[i].fd, "$-1\r\n");
		int64_t took_ms = now_ms() - t[i].sent_ms;
		if (!t[i].is_first && took_ms > *longest_ms)
			*longest_ms = took_ms;
		t[i].sent_ms = 0;
	}
}

static bool send_one(struct trickler *t, int n)
{
	char line[32];
	for (int i = 0; i < TRICKLERS; i++) {
		if (t[i].sent_ms)
			continue;
		snprintf(line, sizeof(line), "GET p:cold%d\r\n", n);
		t[i].sent_ms = now_ms();
		t[i].is_first = n == 0;
		raw_send(t[i].fd, line);
		return true;
	}
	return false;
}

static bool all_idle(const struct trickler *t)
{
	for (int i = 0; i < TRICKLERS; i++)
		if (t[i].sent_ms)
			return false;
	return true;
}

/* Requests that come while others wait were once taken for a sign of life of Redis. The time that
 * this test itself was not running is not the daemon's. */
START_TEST(a_trickle_of_requests_does_not_keep_a_hung_redis_alive)
{
	struct world w = start();
	struct trickler t[TRICKLERS] = {0};
	int64_t longest_ms = 0, stalled_ms = 0;
	for (int i = 0; i < TRICKLERS; i++)
		t[i].fd = raw_connect(w.h);
	harness_redis_pause(w.h);
	int64_t began = now_ms(), last = began, next = began;
	for (int n = 0; now_ms() < began + TRICKLE_FOR_MS || !all_idle(t); nap()) {
		int64_t now = now_ms();
		stalled_ms = now - last > stalled_ms ? now - last : stalled_ms;
		last = now;
		ck_assert_msg(now < began + 3 * TRICKLE_FOR_MS, "requests are not answered");
		take_replies(t, &longest_ms);
		if (now >= next && now < began + TRICKLE_FOR_MS) {
			ck_assert_msg(send_one(t, n++), "%d requests wait after %lld ms", TRICKLERS, (long long)(now - began));
			next += TRICKLE_MS;
		}
	}
	ck_assert_msg(longest_ms <= TIMEOUT_MS + SLACK_MS + 2 * stalled_ms, "one took %lld ms (we were away %lld ms)",
		(long long)longest_ms, (long long)stalled_ms);
	for (int i = 0; i < TRICKLERS; i++)
		close(t[i].fd);
	harness_free(w.h);
}
END_TEST

/* key is text for so long, which is several times its memory_ttl. */
static void expect_lasting(struct world *w, const char *text, const char *key)
{
	for (int64_t end = now_ms() + 500; now_ms() < end; nap())
		expect(w->c, text, "GET %s", key);
}

START_TEST(no_older_value_comes_back_after_a_write_to_a_hung_redis)
{
	struct world w = start();
	expect(w.c, "OK", "SET b:set old");
	expect(w.c, "OK", "SET b:del old");
	expect(w.c, "OK", "SET b:both old");
	harness_redis_pause(w.h);
	expect(w.c, "OK", "SET b:set new");
	expect(w.c, "1", "DEL b:del");
	expect(w.c, "OK", "SET b:both between");
	expect(w.c, "1", "DEL b:both");
	expect_lasting(&w, "\"new\"", "b:set");
	expect_lasting(&w, "nil", "b:del");
	expect_lasting(&w, "nil", "b:both");
	expect(w.c, "OK", "SET b:both new");
	harness_redis_resume(w.h);
	wait_until((expect(w.c, "\"new\"", "GET b:set"), expect(w.c, "nil", "GET b:del"), expect(w.c, "\"new\"", "GET b:both"),
		strcmp(ask_health(w.c, "redis.coherence"), "tracking") == 0), LONG_MS);
	expect_lasting(&w, "\"new\"", "b:set");
	expect_lasting(&w, "nil", "b:del");
	expect_lasting(&w, "\"new\"", "b:both");
	expect_soon(w.redis, "\"new\"", "GET b:set");
	expect_soon(w.redis, "nil", "GET b:del");
	expect_soon(w.redis, "\"new\"", "GET b:both");
	harness_free(w.h);
}
END_TEST

START_TEST(no_older_value_comes_back_after_a_set_to_a_full_redis)
{
	struct world w = start();
	expect(w.c, "OK", "SET b:a old");
	expect(w.c, "OK", "SET f:a old");
	expect(w.redis, "OK", "CONFIG SET maxmemory 1");
	expect(w.c, "OK", "SET b:a new");
	expect(w.c, "OK", "SET f:a new");
	expect_lasting(&w, "\"new\"", "b:a");
	expect(w.c, "\"new\"", "GET f:a");
	expect(w.redis, "OK", "CONFIG SET maxmemory 0");
	expect_lasting(&w, "\"new\"", "b:a");
	expect_soon(w.redis, "\"new\"", "GET b:a");
	harness_free(w.h);
}
END_TEST

/* ---- bounds ---- */

START_TEST(a_log_that_nobody_reads_stops_nothing)
{
	struct world w = begin();
	int ends[2];
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	harness_start_limited(w.h, config, 0, ends[1]);
	close(ends[1]);
	w.c = harness_connect(w.h);
	mget_cold(&w, "v:", 5000, "$10\r\nmade 00000\r\n", "$10\r\nmade 04999\r\n");     /* each is a line */
	for (int i = 0; i < 100; i++)
		expect(w.c, "PONG", "PING");
	expect(w.c, "\"made last\"", "GET v:last");
	char first[16] = "";
	raw_read(ends[0], first, 15);
	ck_assert_msg(strstr(first, "level="), "the log begins with %s", first);
	harness_stop(w.h);
	close(ends[0]);
	harness_free(w.h);
}
END_TEST

/* Reads all that comes until n bytes have come. */
static void drain(int fd, size_t n)
{
	char *room = xmalloc(MIB);
	for (size_t got = 0; got < n;) {
		size_t part = n - got < MIB ? n - got : MIB;
		raw_read(fd, room, part);
		got += part;
	}
	free(room);
}

START_TEST(a_value_asked_for_100000_times_at_once_exists_once)
{
	enum { N = 100000, LEN = 4000 };
	struct world w = start();
	char *value = xmalloc(LEN);
	memset(value, 'v', LEN);
	expect(w.c, "OK", "SET p:a %b", value, (size_t)LEN);
	struct buf b = BUF_INIT;
	buf_addf(&b, "*%d\r\n$4\r\nMGET\r\n", N + 1);
	for (int i = 0; i < N; i++)
		buf_add_str(&b, "$3\r\np:a\r\n");
	int fd = raw_connect(w.h);
	raw_send_bytes(fd, b.data, b.len);
	wait_until(is_readable(fd), LONG_MS);
	expect(w.c, "PONG", "PING");
	size_t resident = harness_resident(w.h);
	ck_assert_msg(SANITIZED || resident < 100 * MIB, "%zu MiB", resident / MIB);
	raw_expect(fd, "*100000\r\n");
	drain(fd, (size_t)N * (strlen("$4000\r\n") + LEN + 2));
	size_t peak = harness_peak(w.h);
	ck_assert_msg(SANITIZED || peak < 100 * MIB, "%zu MiB", peak / MIB);
	close(fd);
	buf_free(&b);
	free(value);
	harness_free(w.h);
}
END_TEST

START_TEST(a_client_that_does_not_read_what_is_fetched_for_it_costs_bounded_memory)
{
	enum { N = 600, LEN = 1000000 };     /* what it has asked for is twice the bound */
	struct harness *h = harness_new();
	harness_sql(h, "CREATE TABLE t (i)");
	harness_start(h, LISTEN NO_REDIS SQLITE
		"memory: {limit: 32M}\n"
		"types:\n"
		"  large: {key: 'l:{name}', ttl: 100s, fetch: {sql: \"SELECT substr(hex(zeroblob(500000)) || :name, 1, 1000000)\", shape: value}}\n"
		"  plain: {key: 'p:{name}', ttl: 100s}\n");
	redisContext *c = harness_connect(h);
	struct buf b = BUF_INIT;
	for (int i = 0; i < N; i++)
		buf_addf(&b, "GET l:%d\r\n", i);
	int fd = raw_connect(h);
	raw_send_bytes(fd, b.data, b.len);
	buf_free(&b);
	wait_until(is_readable(fd) && ask_stat(c, "", "flights.under_way") == 0, LONG_MS);
	expect(c, "OK", "SET p:a 1");
	expect(c, "\"1\"", "GET p:a");
	redisReply *r = ask(c, "GET l:other");
	ck_assert_uint_eq(r->len, LEN);
	freeReplyObject(r);
	for (int i = 0; i < N; i++) {
		raw_expect(fd, "$1000000\r\n");
		drain(fd, LEN + 2);
	}
	size_t peak = harness_peak(h);
	ck_assert_msg(SANITIZED || peak < 300 * MIB, "%zu MiB", peak / MIB);
	close(fd);
	harness_free(h);
}
END_TEST

/* Whether the daemon keeps the connection; then it has answered. */
static bool is_admitted(int fd)
{
	static const char refusal[] = "-ERR max number of clients reached\r\n";
	char first;
	(void)!send(fd, "PING\r\n", 6, MSG_NOSIGNAL);      /* it may have been closed already */
	raw_read(fd, &first, 1);
	if (first == '+') {
		raw_expect(fd, "PONG\r\n");
		return true;
	}
	raw_expect(fd, refusal + (first == '-'));
	raw_expect_close(fd);
	return false;
}

START_TEST(clients_beyond_the_descriptors_are_refused_and_fetches_still_work)
{
	enum { N = 100 };
	struct world w = begin();
	harness_start_limited(w.h, config, 80, -1);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	int fds[N], n = 0, refused = 0;
	for (int i = 0; i < N; i++) {
		int fd = raw_connect(w.h);
		if (is_admitted(fd))
			fds[n++] = fd;
		else
			refused++;
	}
	ck_assert_msg(n >= 16 && n < 80 && refused > 0, "%d admitted, %d refused", n, refused);
	expect(w.c, "\"built a\"", "GET f:a");
	expect(w.c, "\"made a\"", "GET v:a");
	expect(w.c, "OK", "SET p:a 1");
	for (int i = 0; i < n; i++)
		close(fds[i]);
	harness_free(w.h);
}
END_TEST

/* ---- the socket file ---- */

/* Runs the daemon as user nobody until it ends; its exit status, or -1 if it does not end or dies. The
 * program is opened by us, so that nobody needs to reach it. */
static int run_as_nobody(const char *folder)
{
	const char *build = getenv("BUILD");
	char *program = xasprintf("%s/catcached", build ? build : "build");
	const struct passwd *nobody = getpwnam("nobody");
	int fd = open(program, O_RDONLY | O_CLOEXEC), status;
	ck_assert_msg(fd >= 0 && nobody, "%s, or user nobody, is missing", program);
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 2);
		if (chdir(folder) < 0 || setgid(nobody->pw_gid) < 0 || setuid(nobody->pw_uid) < 0)
			_exit(126);
		fexecve(fd, (char *const[]){"catcached", "-c", "nobody.yaml", NULL}, environ);
		_exit(127);
	}
	for (int64_t end = now_ms() + SOON_MS; waitpid(pid, &status, WNOHANG) != pid; nap())
		if (now_ms() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
	close(fd);
	free(program);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	ck_assert_msg(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s: %s", path, strerror(errno));
}

/* Nobody may write to the folder, but not connect to the socket: once that was taken for a dead one. */
START_TEST(the_socket_of_another_user_is_never_replaced)
{
	if (geteuid() != 0) {
		fprintf(stderr, "skipped: only root can become another user\n");
		return;
	}
	char folder[] = "/tmp/cc-nobody-XXXXXX";
	struct stat before, after;
	struct harness *h = harness_new();
	ck_assert(mkdtemp(folder) && chmod(folder, 0777) == 0);
	setenv("OPEN", folder, 1);
	char *link_to = xasprintf("%s/s", folder), *yaml = xasprintf("%s/nobody.yaml", folder);
	ck_assert_int_eq(symlink(link_to, harness_path(h, "s")), 0);
	write_text(yaml, "listen: {path: '${OPEN}/s'}\n" NO_REDIS NO_DATABASE "types: {plain: {key: 'p:{name}', ttl: 1h}}\n");
	chmod(yaml, 0644);
	harness_start(h, "listen: {path: '${OPEN}/s', mode: '0600'}\n" NO_REDIS NO_DATABASE
		"types: {plain: {key: 'p:{name}', ttl: 1h}}\n");
	ck_assert_int_eq(lstat(link_to, &before), 0);
	int status = run_as_nobody(folder);
	bool is_there = lstat(link_to, &after) == 0;
	redisContext *c = is_there ? harness_try_connect(h) : NULL;
	harness_stop(h);
	unlink(link_to);
	unlink(yaml);
	rmdir(folder);
	ck_assert_int_eq(status, 3);
	ck_assert_msg(is_there && before.st_ino == after.st_ino && before.st_uid == after.st_uid, "the socket is another one");
	ck_assert_msg(c, "the first daemon does not answer");
	free(link_to);
	free(yaml);
	harness_free(h);
}
END_TEST

START_TEST(a_daemon_that_stops_leaves_the_socket_of_its_successor)
{
	struct harness *h = harness_new();
	static const char yaml[] = LISTEN NO_REDIS NO_DATABASE "types: {plain: {key: 'p:{name}', ttl: 1h}}\n";
	harness_start(h, yaml);
	ck_assert_int_eq(unlink(harness_path(h, "s")), 0);
	ck_assert_int_eq(symlink("s", harness_path(h, "s1")), 0);        /* so the harness finds it */
	harness_start_sidecar(h, 1, yaml);
	redisContext *c = harness_connect(h);
	expect(c, "OK", "SET p:a 1");
	harness_stop(h);
	ck_assert_int_eq(access(harness_path(h, "s"), F_OK), 0);
	expect(harness_connect(h), "\"1\"", "GET p:a");
	harness_stop_sidecar(h, 1);
	ck_assert_int_ne(access(harness_path(h, "s"), F_OK), 0);
	harness_free(h);
}
END_TEST

/* ---- fetches ---- */

START_TEST(last_words_of_a_hook_that_says_absent_are_worth_a_warning)
{
	struct world w = start();
	harness_hook(w.h, "hook", "echo Traceback: no module named $1 >&2; exit 1");
	expect(w.c, "nil", "GET f:requests");
	char *log = NULL;
	wait_until((free(log), log = harness_log(w.h), strstr(log, "hook_says_absent")), 5000);
	ck_assert_msg(!strstr(log, "requests"), "%s", log);     /* but may quote the key */
	const char *line = strstr(log, "hook_says_absent");
	ck_assert_msg(line, "%s", log);
	while (line > log && line[-1] != '\n')
		line--;
	const char *level = strstr(line, "level=");
	ck_assert_msg(level && strncmp(level, "level=warning", 13) == 0, "%.80s", line);
	free(log);
	harness_free(w.h);
}
END_TEST

START_TEST(an_assembled_value_with_a_name_that_makes_no_key_fails)
{
	static const char *const names[] = {"''", "'x:1'"};
	struct world w = start();
	expect(w.redis, "OK", "SET a: %s", "[\"not a part\"]");
	expect(w.redis, "OK", "SET a:x:1 %s", "[\"not a part\"]");
	for (size_t i = 0; i < 2; i++) {
		char *sql = xasprintf("DELETE FROM pieces; INSERT INTO pieces VALUES ('good'), (%s)", names[i]);
		harness_sql(w.h, sql);
		free(sql);
		expect_error(w.c, "UNAVAILABLE", "part 2 of 2 failed", "REFRESH whole");
		expect_error(w.c, "UNAVAILABLE", i ? "another type" : "empty", "REFRESH whole");
		expect(w.c, "nil", "PEEK whole");
		expect(w.redis, "nil", "GET whole");
	}
	harness_sql(w.h, "DELETE FROM pieces; INSERT INTO pieces VALUES ('good')");
	expect(w.c, "OK", "REFRESH whole");
	expect(w.c, "\"[{\"name\":\"good\"}]\"", "GET whole");
	harness_free(w.h);
}
END_TEST

START_TEST(the_count_of_timeouts_stays_true)
{
	struct world w = start();
	int readers = raw_connect(w.h), refresher = raw_connect(w.h);
	for (int i = 0; i < 5; i++) {
		unsigned runs = harness_hook_runs(w.h, "hook");
		hold(&w);
		raw_send(refresher, "REFRESH f:a\r\n");
		wait_until(harness_hook_runs(w.h, "hook") > runs, LONG_MS);
		raw_send(readers, "GET f:a\r\nGET f:a\r\nPEEK f:a\r\nGET f:a\r\n");
		raw_sent(readers);
		freeReplyObject(ask(w.c, "DEL f:a"));
		let_go(&w);
		raw_expect(refresher, "+OK\r\n");
		expect(w.c, "\"built a\"", "GET f:a");
	}
	ck_assert_int_eq(ask_stat(w.c, "fetched", "timeouts"), 0);
	ck_assert_int_eq(ask_stat(w.c, "", "flights.waiting"), 0);
	close(readers);
	close(refresher);
	harness_free(w.h);
}
END_TEST

/* ---- names ---- */

START_TEST(blanks_before_a_context_do_not_matter)
{
	struct world w = start();
	expect(w.c, "OK", "SET %s 1", "h:{\"a\":1}");
	expect(w.c, "\"1\"", "GET %s", "h:  {\"a\":1}");
	expect(w.c, "\"1\"", "GET %s", "h:\n\t {\"a\": 1} ");
	expect(w.c, "1", "DEL %s", "h: {\"a\":1}");
	expect(w.c, "nil", "GET %s", "h:{\"a\":1}");
	harness_free(w.h);
}
END_TEST

START_TEST(a_name_that_only_begins_like_json_is_a_plain_key)
{
	static const char *const names[] = {"[prod]-x", "{", "[", "{tag}rest", "[1] [2]", " {x", "{\"a\":1}x"};
	struct world w = start();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		expect(w.c, "OK", "SET h:%s %d", names[i], (int)i);
		expect(w.redis, "1", "EXISTS h:%s", names[i]);
	}
	ck_assert_uint_eq(harness_redis_keys(w.redis), sizeof(names) / sizeof(names[0]));
	expect(w.c, "\"0\"", "GET h:[prod]-x");
	harness_free(w.h);
}
END_TEST

START_TEST(a_context_longer_than_a_key_may_be_works)
{
	struct world w = start();
	struct buf b = BUF_INIT;
	buf_add_str(&b, "h:{\"prompt\": \"");
	for (int i = 0; i < 6000; i++)
		buf_add_char(&b, (char)('a' + i % 26));
	buf_add_str(&b, "\"}");
	expect(w.c, "OK", "SET %b 1", b.data, b.len);
	expect(w.c, "\"1\"", "GET %b", b.data, b.len);
	redisReply *r = ask(w.redis, "KEYS h:*");
	ck_assert_uint_eq(r->elements, 1);
	ck_assert_uint_eq(r->element[0]->len, strlen("h:") + 16);
	freeReplyObject(r);
	memcpy(b.data, "p:", 2);
	expect_error(w.c, "ERR", "4096", "SET %b 1", b.data, b.len);
	buf_free(&b);
	harness_free(w.h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_command_with_nul_bytes_behind_it_is_unknown,
		pipelined_reads_overlap_and_their_replies_stay_in_order,
		mget_of_20000_cold_keys_answers_them_all,
		a_peek_under_way_while_its_key_is_deleted_never_fetches,
		a_trickle_of_requests_does_not_keep_a_hung_redis_alive,
		no_older_value_comes_back_after_a_write_to_a_hung_redis,
		no_older_value_comes_back_after_a_set_to_a_full_redis,
		a_log_that_nobody_reads_stops_nothing,
		a_value_asked_for_100000_times_at_once_exists_once,
		a_client_that_does_not_read_what_is_fetched_for_it_costs_bounded_memory,
		clients_beyond_the_descriptors_are_refused_and_fetches_still_work,
		the_socket_of_another_user_is_never_replaced,
		a_daemon_that_stops_leaves_the_socket_of_its_successor,
		last_words_of_a_hook_that_says_absent_are_worth_a_warning,
		an_assembled_value_with_a_name_that_makes_no_key_fails,
		the_count_of_timeouts_stays_true,
		blanks_before_a_context_do_not_matter,
		a_name_that_only_begins_like_json_is_a_plain_key,
		a_context_longer_than_a_key_may_be_works,
	};
	return harness_main("regressions", tests, sizeof(tests) / sizeof(tests[0]));
}
