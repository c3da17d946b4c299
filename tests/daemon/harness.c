/* The ground of the daemon tests; see harness.h. One struct harness a test, in
 * the test's own process; the folders of all tests of a program lie in `base`,
 * which the parent makes and removes. A folder still there when all have run is
 * that of a test that failed. */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "talk.h"

#define TEST_LIMIT_S (SANITIZED ? 120 : 60)
#define START_LIMIT_MS 20000
#define POLL_MS 5
#define CONNECTIONS_MAX 512
#define LOG_SHOWN_MAX 20000                     /* bytes of a failed test's log, from its end */

struct harness {
	char *dir;
	char **paths;                           /* what harness_path gave */
	size_t n_paths;
	redisContext *connections[CONNECTIONS_MAX];
	size_t n_connections;
	pid_t sidecars[HARNESS_SIDECARS];       /* 0: not running; the first is "the daemon" */
	pid_t redis;
};

static char base[64];                           /* the folder of the program */

/* ---- files ---- */

static int on_entry_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void remove_tree(const char *dir)
{
	(void)nftw(dir, on_entry_remove, 16, FTW_DEPTH | FTW_PHYS);     /* best effort: it is in /tmp */
}

/* The whole file with a NUL behind it, or NULL if it is not there. */
static char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	struct buf b = BUF_INIT;
	size_t n;
	do {
		n = fread(buf_reserve(&b, 65536), 1, 65535, f);
		b.len += n;
	} while (n);
	fclose(f);
	buf_add_char(&b, '\0');
	return b.data;
}

const char *harness_path(struct harness *h, const char *name)
{
	h->paths = xrealloc(h->paths, (h->n_paths + 1) * sizeof(*h->paths));
	return h->paths[h->n_paths++] = xasprintf("%s/%s", h->dir, name);
}

const char *harness_write(struct harness *h, const char *name, const char *text)
{
	const char *path = harness_path(h, name);
	FILE *f = fopen(path, "w");
	ck_assert_msg(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s: %s", path, strerror(errno));
	return path;
}

/* ---- time ---- */

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000}, NULL);
}

void wait_a_little(int64_t end_ms, const char *condition, const char *file, int line)
{
	if (now_ms() >= end_ms)
		ck_abort_msg("%s:%d: waited in vain for: %s", file, line, condition);
	nap();
}

/* ---- processes ---- */

/* Starts a program that dies with this one; its output goes to log_fd, or to the file log if
 * that is -1. descriptors: its limit of them, 0: ours. */
static pid_t spawn_limited(const char *const *argv, const char *log, unsigned descriptors, int log_fd)
{
	pid_t parent = getpid(), pid = fork();
	ck_assert(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	int out = log_fd >= 0 ? log_fd : open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), in = open("/dev/null", O_RDONLY);
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (descriptors)
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){descriptors, descriptors});
	execvp(argv[0], (char *const *)argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static pid_t spawn(const char *const *argv, const char *log)
{
	return spawn_limited(argv, log, 0, -1);
}

/* True once pid has ended; *status is then as of waitpid. */
static bool ended(pid_t pid, int *status)
{
	return waitpid(pid, status, WNOHANG) == pid;
}

static void kill_now(pid_t *pid)
{
	if (*pid) {
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

/* Runs a program to its end; it must succeed. */
static void run(const char *const *argv, const char *log)
{
	int status;
	pid_t pid = spawn(argv, log);
	wait_until(ended(pid, &status), START_LIMIT_MS);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s failed with status %#x", argv[0], status);
}

/* ---- the harness ---- */

struct harness *harness_new(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	struct harness *h = xcalloc(1, sizeof(*h));
	h->dir = xasprintf("%s/%s", base, tcase_name());
	ck_assert_msg(mkdir(h->dir, 0700) == 0, "%s: %s", h->dir, strerror(errno));
	setenv("DIR", h->dir, 1);
	setenv("CATCACHED_ADMIN_LISTEN", "none", 1);     /* tests run beside each other */
	return h;
}

void harness_free(struct harness *h)
{
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		if (h->sidecars[i])
			harness_stop_sidecar(h, i);
	for (size_t i = 0; i < h->n_connections; i++)
		redisFree(h->connections[i]);
	kill_now(&h->redis);
	remove_tree(h->dir);
	for (size_t i = 0; i < h->n_paths; i++)
		free(h->paths[i]);
	free(h->paths);
	free(h->dir);
	free(h);
}

/* A connection to the socket name if PING is answered there. */
static redisContext *try_connect(struct harness *h, const char *name)
{
	char *path = xasprintf("%s/%s", h->dir, name);
	redisContext *c = redisConnectUnixWithTimeout(path, (struct timeval){READ_LIMIT_S, 0});
	free(path);
	redisReply *r = NULL;
	if (c && !c->err && redisSetTimeout(c, (struct timeval){READ_LIMIT_S, 0}) == REDIS_OK)
		r = redisCommand(c, "PING");
	bool answers = r && (r->type == REDIS_REPLY_STATUS || strncmp(r->str, "NOAUTH", 6) == 0);
	freeReplyObject(r);
	if (answers)
		return c;
	if (c)
		redisFree(c);
	return NULL;
}

/* Remembers c, which may be NULL, for harness_free. */
static redisContext *keep(struct harness *h, redisContext *c)
{
	ck_assert(h->n_connections < CONNECTIONS_MAX);
	if (c)
		h->connections[h->n_connections++] = c;
	return c;
}

redisContext *harness_try_connect(struct harness *h)
{
	return keep(h, try_connect(h, "s"));
}

static redisContext *connect_to(struct harness *h, const char *name)
{
	redisContext *c = keep(h, try_connect(h, name));
	ck_assert_msg(c, "%s/%s does not answer PING", h->dir, name);
	return c;
}

redisContext *harness_connect(struct harness *h)
{
	return connect_to(h, "s");
}

redisContext *harness_connect_redis(struct harness *h)
{
	return connect_to(h, "redis.sock");
}

/* Waits until pid answers PING on the socket. */
static void wait_for_server(struct harness *h, pid_t pid, const char *name)
{
	int status;
	redisContext *c = NULL;
	wait_until(ended(pid, &status) || (c = try_connect(h, name)), START_LIMIT_MS);
	ck_assert_msg(c, "%s ended at once, with status %#x", name, status);
	redisFree(c);
}

const char *harness_socket(unsigned i)
{
	static const char *const names[HARNESS_SIDECARS] = {"s", "s1", "s2"};
	return names[i];
}

/* A file of it: daemon.log of the first, s1.log of the second. Free it. */
static char *sidecar_file(const struct harness *h, unsigned i, const char *kind)
{
	return i ? xasprintf("%s/%s.%s", h->dir, harness_socket(i), kind) : xasprintf("%s/daemon.%s", h->dir, kind);
}

static void start_limited(struct harness *h, unsigned i, unsigned descriptors, int log_fd)
{
	const char *build = getenv("BUILD");
	char *program = xasprintf("%s/catcached", build ? build : "build");
	char *conf = sidecar_file(h, i, "yaml"), *log = sidecar_file(h, i, "log");
	setenv("SOCKET", harness_path(h, harness_socket(i)), 1);
	h->sidecars[i] = spawn_limited((const char *[]){program, "-c", conf, NULL}, log, descriptors, log_fd);
	free(program);
	free(conf);
	free(log);
	wait_for_server(h, h->sidecars[i], harness_socket(i));
}

void harness_restart_sidecar(struct harness *h, unsigned i)
{
	start_limited(h, i, 0, -1);
}

static void write_config(struct harness *h, unsigned i, const char *yaml)
{
	char *conf = sidecar_file(h, i, "yaml");
	harness_write(h, strrchr(conf, '/') + 1, yaml);
	free(conf);
}

void harness_start_sidecar(struct harness *h, unsigned i, const char *yaml)
{
	write_config(h, i, yaml);
	harness_restart_sidecar(h, i);
}

void harness_start_limited(struct harness *h, const char *yaml, unsigned descriptors, int log_fd)
{
	write_config(h, 0, yaml);
	start_limited(h, 0, descriptors, log_fd);
}

void harness_start(struct harness *h, const char *yaml)
{
	harness_start_sidecar(h, 0, yaml);
}

static unsigned count_in_log(const struct harness *h, const char *event)
{
	char *log = harness_log(h);
	unsigned n = 0;
	for (const char *at = log; (at = strstr(at, event)); at++)
		n++;
	free(log);
	return n;
}

/* In whichever format the log is. */
static unsigned count_reloads(const struct harness *h)
{
	return count_in_log(h, "event=reloaded") + count_in_log(h, "event=reload_refused")
		+ count_in_log(h, "\"event\":\"reloaded\"") + count_in_log(h, "\"event\":\"reload_refused\"");
}

void harness_reload(struct harness *h, const char *yaml)
{
	unsigned before = count_reloads(h);
	write_config(h, 0, yaml);
	harness_signal(h, SIGHUP);
	wait_until(count_reloads(h) > before, 10000);
}

redisContext *harness_connect_sidecar(struct harness *h, unsigned i)
{
	return connect_to(h, harness_socket(i));
}

void harness_kill_sidecar(struct harness *h, unsigned i)
{
	kill_now(&h->sidecars[i]);
}

char *harness_shipped_config(void)
{
	struct buf b = BUF_INIT;
	char line[1024];
	bool skipping = false;
	FILE *f = fopen("conf/catcached.yaml", "r");
	ck_assert_msg(f, "conf/catcached.yaml: %s", strerror(errno));
	buf_add_str(&b, LISTEN);
	while (fgets(line, sizeof(line), f)) {
		skipping = strncmp(line, "listen:", 7) == 0 || (skipping && line[0] == ' ');
		if (!skipping)
			buf_add_str(&b, line);
	}
	fclose(f);
	buf_add_char(&b, '\0');
	return b.data;
}

char *harness_log(const struct harness *h)
{
	char *path = sidecar_file(h, 0, "log");
	char *text = read_file(path);
	free(path);
	return text ? text : xstrdup("");
}

static void expect_no_reports(const char *path)
{
	static const char *const reports[] = {"ERROR: AddressSanitizer", "ERROR: LeakSanitizer",
		"WARNING: ThreadSanitizer", "runtime error:"};
	char *log = read_file(path);
	for (size_t i = 0; log && i < sizeof(reports) / sizeof(reports[0]); i++)
		ck_assert_msg(!strstr(log, reports[i]), "%s", reports[i]);
	free(log);
}

void harness_stop_sidecar(struct harness *h, unsigned i)
{
	int status;
	kill(h->sidecars[i], SIGTERM);
	wait_until(ended(h->sidecars[i], &status), START_LIMIT_MS);
	h->sidecars[i] = 0;
	char *path = sidecar_file(h, i, "log");
	expect_no_reports(path);
	free(path);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "sidecar %u ended with status %#x", i, status);
}

void harness_stop(struct harness *h)
{
	harness_stop_sidecar(h, 0);
}

void harness_signal(const struct harness *h, int number)
{
	ck_assert_int_eq(kill(h->sidecars[0], number), 0);
}

void harness_restart(struct harness *h)
{
	harness_stop(h);
	harness_restart_sidecar(h, 0);
}

/* A size that /proc tells of the daemon, in bytes. */
static size_t process_bytes(const struct harness *h, const char *field)
{
	char *path = xasprintf("/proc/%d/status", (int)h->sidecars[0]);
	char *text = read_file(path);
	const char *line = text ? strstr(text, field) : NULL;
	ck_assert_msg(line, "%s has no %s", path, field);
	size_t kilobytes = strtoul(line + strlen(field), NULL, 10);
	free(text);
	free(path);
	return kilobytes * 1024;
}

size_t harness_peak(const struct harness *h)
{
	return process_bytes(h, "VmHWM:");
}

size_t harness_resident(const struct harness *h)
{
	return process_bytes(h, "VmRSS:");
}

/* ---- what is underneath ---- */

void harness_redis_start(struct harness *h, const char *options)
{
	char *socket = xasprintf("%s/redis.sock", h->dir), *log = xasprintf("%s/redis.log", h->dir);
	char *words = xstrdup(options), *rest = words, *word;
	const char *argv[32] = {"redis-server", "--port", "0", "--unixsocket", socket, "--dir", h->dir,
		"--save", "", "--appendonly", "no"};
	for (size_t n = 11; (word = strsep(&rest, " ")) && n < 31; n++)
		argv[n] = *word ? word : NULL;
	h->redis = spawn(argv, log);
	free(words);
	free(log);
	free(socket);
	wait_for_server(h, h->redis, "redis.sock");
}

void harness_redis_kill(struct harness *h)
{
	kill_now(&h->redis);
}

void harness_redis_pause(struct harness *h)
{
	int status;
	kill(h->redis, SIGSTOP);
	wait_until(waitpid(h->redis, &status, WNOHANG | WUNTRACED) == h->redis && WIFSTOPPED(status), START_LIMIT_MS);
}

void harness_redis_resume(struct harness *h)
{
	kill(h->redis, SIGCONT);
}

/* Keys of no type go to Redis over a connection of their own, or get an error. */
static bool reaches_redis(redisContext *c)
{
	redisReply *r = ask(c, "EXISTS harness");
	bool reached = r->type == REDIS_REPLY_INTEGER;
	freeReplyObject(r);
	return reached && strcmp(ask_health(c, "redis.state"), "up") == 0;
}

void harness_redis_ready(redisContext *c)
{
	wait_until(reaches_redis(c), START_LIMIT_MS);
}

void harness_tracking(redisContext *c)
{
	wait_until(strcmp(ask_health(c, "redis.coherence"), "tracking") == 0, START_LIMIT_MS);
}

long long harness_redis_calls(redisContext *redis, const char *command)
{
	char *field = xasprintf("cmdstat_%s:calls=", command);
	redisReply *info = ask(redis, "INFO commandstats");
	const char *at = strstr(info->str, field);
	long long calls = at ? atoll(at + strlen(field)) : 0;
	freeReplyObject(info);
	free(field);
	return calls;
}

void harness_sample(struct harness *h, unsigned models)
{
	char count[16];
	snprintf(count, sizeof(count), "%u", models);
	const char *file = harness_path(h, "catalog.db"), *log = harness_path(h, "load.log");
	if (models)
		run((const char *[]){"tests/data/load", "--models", count, file, NULL}, log);
	else
		run((const char *[]){"tests/data/load", file, NULL}, log);
}

void harness_sql(struct harness *h, const char *sql)
{
	sqlite3 *db = NULL;
	char *path = xasprintf("%s/catalog.db", h->dir), *error = NULL;
	int rc = sqlite3_open(path, &db);
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(db, START_LIMIT_MS);
		rc = sqlite3_exec(db, sql, NULL, NULL, &error);
	}
	ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, error ? error : sqlite3_errstr(rc));
	sqlite3_close(db);
	free(path);
}

void harness_hook(struct harness *h, const char *name, const char *script)
{
	char *text = xasprintf("#!/bin/sh\necho run >>'%s/%s.runs'\n%s\n", h->dir, name, script);
	char *fresh = xasprintf("%s.new", name);
	const char *written = harness_write(h, fresh, text);
	/* Renamed into place: a running hook keeps its text, and exec never meets a file open for writing. */
	ck_assert_int_eq(chmod(written, 0700), 0);
	ck_assert_int_eq(rename(written, harness_path(h, name)), 0);
	free(fresh);
	free(text);
}

unsigned harness_hook_runs(struct harness *h, const char *name)
{
	char *path = xasprintf("%s/%s.runs", h->dir, name);
	char *text = read_file(path);
	unsigned runs = 0;
	for (const char *at = text; at && (at = strchr(at, '\n')); at++)
		runs++;
	free(text);
	free(path);
	return runs;
}

/* ---- running ---- */

/* The logs in the folder of a failed test. */
static void show_logs(const char *test)
{
	static const char *const names[] = {"daemon.log", "s1.log", "s2.log", "load.log"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = xasprintf("%s/%s/%s", base, test, names[i]);
		char *text = read_file(path);
		size_t len = text ? strlen(text) : 0;
		if (len)
			printf("-- %s of %s:\n%s\n", names[i], test, text + (len > LOG_SHOWN_MAX ? len - LOG_SHOWN_MAX : 0));
		free(text);
		free(path);
	}
}

static void show_failed(void)
{
	DIR *dir = opendir(base);
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (e->d_name[0] != '.')
			show_logs(e->d_name);
	if (dir)
		closedir(dir);
}

int harness_main(const char *area, const TTest *const *tests, size_t n)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(base, sizeof(base), "%s/t-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(base)) {
		perror(base);
		return EXIT_FAILURE;
	}
	Suite *suite = suite_create(area);
	for (size_t i = 0; i < n; i++) {
		TCase *test = tcase_create(tests[i]->name);
		tcase_set_timeout(test, TEST_LIMIT_S);
		tcase_add_test(test, tests[i]);
		suite_add_tcase(suite, test);
	}
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	show_failed();
	remove_tree(base);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

size_t harness_redis_keys(redisContext *redis)
{
	redisReply *r = ask(redis, "KEYS *");
	size_t n = 0;
	for (size_t i = 0; i < r->elements; i++)
		n += strncmp(r->element[i]->str, "catcached:", 10) != 0;
	freeReplyObject(r);
	return n;
}
