/* A redis-server for tests; see redisd.h. */
#include "../../daemon/redis_op.h"
#include "redisd.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../conf/conf.h"
#include "../../daemon/clock.h"
#include "../../daemon/log.h"

#define TICK_MS 5
#define ARGUMENTS_MAX 32

struct event_base *base;
redisContext *control;
char socket_path[128];

static char folder[64];                 /* of the program, made by the parent */
static struct event *tick;              /* wakes a loop that waits for a condition */
static pid_t server;

/* ---- time ---- */

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void wait_at_most(int64_t end_ms, const char *condition, const char *file, int line)
{
	if (now_ms() >= end_ms)
		ck_abort_msg("%s:%d: waited in vain for: %s", file, line, condition);
}

void run_for(int64_t ms)
{
	int64_t end_ms = now_ms() + ms;
	run_until(now_ms() >= end_ms, ms + LIMIT_MS);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

void redisd_init(void)
{
	signal(SIGPIPE, SIG_IGN);               /* as main does */
	log_set_level(LOG_LEVEL_ERROR);
	clock_update();
	snprintf(socket_path, sizeof(socket_path), "%s/%ld.sock", folder, (long)getpid());
	base = event_base_new();
	tick = event_new(base, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &(struct timeval){.tv_usec = TICK_MS * 1000});
}

void redisd_fini(void)
{
	kill_server();
	event_free(tick);
	event_base_free(base);
}

/* ---- the server ---- */

static void run_server(const char **arguments)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int nothing = open("/dev/null", O_RDWR);
	dup2(nothing, STDOUT_FILENO);
	dup2(nothing, STDERR_FILENO);
	execvp(arguments[0], (char *const *)arguments);
	_exit(127);
}

redisContext *connect_to_server(void)
{
	struct timeval limit = {.tv_sec = LIMIT_MS / 1000};
	redisContext *c = redisConnectUnixWithTimeout(socket_path, limit);
	if (c && c->err == 0 && redisSetTimeout(c, limit) == REDIS_OK)
		return c;
	redisFree(c);
	return NULL;
}

void start_server(const char *const *options)
{
	const char *arguments[ARGUMENTS_MAX] = {"redis-server", "--port", "0", "--unixsocket", socket_path, "--save", "",
		"--appendonly", "no", "--dir", folder};
	for (size_t n = 11; options && *options; options++) {
		ck_assert_uint_lt(n + 1, ARGUMENTS_MAX);
		arguments[n++] = *options;
	}
	int64_t end_ms = now_ms() + LIMIT_MS;
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server == 0)
		run_server(arguments);
	while (!(control = connect_to_server())) {
		ck_assert_msg(waitpid(server, NULL, WNOHANG) == 0, "redis-server does not start");
		wait_at_most(end_ms, "a redis-server that answers", __FILE__, __LINE__);
		nanosleep(&(struct timespec){.tv_nsec = TICK_MS * 1000000}, NULL);
	}
}

void kill_server(void)
{
	if (!server)
		return;
	redisFree(control);
	control = NULL;
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	server = 0;
}

void pause_server(void)
{
	int status;
	kill(server, SIGSTOP);
	ck_assert_int_eq(waitpid(server, &status, WUNTRACED), server);
	ck_assert(WIFSTOPPED(status));
}

void resume_server(void)
{
	kill(server, SIGCONT);
}

redisReply *tell(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	redisReply *reply = redisvCommand(control, fmt, ap);
	va_end(ap);
	ck_assert_msg(reply, "%s", control->errstr);
	ck_assert_msg(reply->type != REDIS_REPLY_ERROR, "%s: %s", fmt, reply->str);
	return reply;
}

long long number_of(redisReply *reply)
{
	ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
	long long n = reply->integer;
	freeReplyObject(reply);
	return n;
}

unsigned calls_of(const char *command)
{
	char row[64];
	unsigned calls = 0;
	redisReply *info = tell("INFO commandstats");
	snprintf(row, sizeof(row), "cmdstat_%s:calls=", command);
	const char *at = strstr(info->str, row);
	if (at)
		calls = (unsigned)strtoul(at + strlen(row), NULL, 10);
	freeReplyObject(info);
	return calls;
}

unsigned keys_stored(void)
{
	unsigned n = 0;
	redisReply *keys = tell("KEYS *");
	for (size_t i = 0; i < keys->elements; i++)
		n += strncmp(keys->element[i]->str, CONF_OWN_PREFIX, strlen(CONF_OWN_PREFIX)) != 0;
	freeReplyObject(keys);
	return n;
}

void expect_stored(const char *name, const char *bytes)
{
	redisReply *reply = tell("GET %s", name);
	ck_assert_msg(bytes ? reply->type == REDIS_REPLY_STRING : reply->type == REDIS_REPLY_NIL, "%s: type %d", name, reply->type);
	if (bytes)
		ck_assert_str_eq(reply->str, bytes);
	freeReplyObject(reply);
}

/* ---- the program ---- */

static int on_file_remove(const char *file, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(file);
}

int redisd_main(Suite *s)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(folder, sizeof(folder), "%s/redis-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(folder)) {
		perror(folder);
		return EXIT_FAILURE;
	}
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	(void)nftw(folder, on_file_remove, 8, FTW_DEPTH | FTW_PHYS);    /* best effort: it is in /tmp */
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

bool are_relays_up(const struct redis *r)
{
	bool is_up = true;
	for (int i = 0; i < REDIS_RELAYS; i++)
		is_up &= redis_link_up(r->relays[i]);
	return is_up;
}
