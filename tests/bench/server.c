/* The servers as processes; see server.h. */
#include "server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "load.h"
#include "turns.h"

#define START_LIMIT_NS 20000000000
#define STOP_LIMIT_NS 10000000000
#define CLIENT_LIMIT_S 60
#define POLL_NS 200000
#define WORDS_MAX 32

static const char *folder;
static cpu_set_t all_cpus;
static int cpus[3];             /* by enum place; PLACE_ANY has none */
static int64_t *exec_ns;        /* shared with the children */

void die(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fputs("bench: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void pause_ns(long ns)
{
	nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* ---- places ---- */

static void find_cpus(void)
{
	int n = 0;
	sched_getaffinity(0, sizeof(all_cpus), &all_cpus);
	for (int i = 0; i < CPU_SETSIZE && n < 3; i++)
		if (CPU_ISSET(i, &all_cpus))
			cpus[n++] = i;
	for (; n < 3; n++)
		cpus[n] = cpus[0];
}

void server_place_self(enum place place)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	if (place != PLACE_ANY)
		CPU_SET(cpus[place], &one);
	const cpu_set_t *set = place == PLACE_ANY ? &all_cpus : &one;
	if (sched_setaffinity(0, sizeof(*set), set) < 0)
		die("cannot pin a process: %s", strerror(errno));
}

void server_prefer_self(bool is_preferred)
{
	struct sched_param p = {.sched_priority = is_preferred ? 1 : 0};
	if (sched_setscheduler(0, is_preferred ? SCHED_FIFO : SCHED_OTHER, &p) < 0 && errno != EPERM)
		die("cannot be scheduled otherwise: %s", strerror(errno));
}

void server_setup(const char *path)
{
	folder = path;
	find_cpus();
	exec_ns = mmap(NULL, sizeof(*exec_ns), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (exec_ns == MAP_FAILED)
		die("no memory");
}

/* ---- files ---- */

char *server_path(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

void server_write(const char *name, const void *bytes, size_t len)
{
	char *path = server_path(name);
	FILE *f = fopen(path, "w");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f) != 0)
		die("%s: %s", path, strerror(errno));
	free(path);
}

/* ---- starting ---- */

pid_t server_fork(void)
{
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		die("cannot fork: %s", strerror(errno));
	if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		_exit(127);
	return pid;
}

static const char *word_for(const char *word, const char *socket)
{
	const struct passwd *user = getpwuid(geteuid());
	const char *build = getenv("BUILD");
	const struct {
		const char *name, *text;
	} words[] = {{"{S}", socket}, {"{D}", folder}, {"{B}", build ? build : "build"}, {"{U}", user ? user->pw_name : "nobody"}};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(word, words[i].name, 3) == 0)
			return xasprintf("%s%s", words[i].text, word + 3);
	return word;
}

/* Becomes the program. */
static _Noreturn void execute(const char *log, const char *socket, const char *const *argv)
{
	const char *words[WORDS_MAX] = {NULL};
	for (size_t i = 0; argv[i] && i < WORDS_MAX - 1; i++)
		words[i] = word_for(argv[i], socket);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	*exec_ns = now_ns();
	execvp(words[0], (char *const *)words);
	fprintf(stderr, "%s: %s\n", words[0], strerror(errno));
	_exit(127);
}

static int try_connect(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

int server_connect(const char *socket)
{
	int fd = try_connect(socket);
	if (fd < 0)
		die("%s: cannot connect: %s", socket, strerror(errno));
	return fd;
}

static void show_log(const char *log)
{
	char text[4096];
	FILE *f = fopen(log, "r");
	size_t n = f ? fread(text, 1, sizeof(text), f) : 0;
	fwrite(text, 1, n, stderr);
}

void server_start(struct server *s, const char *name, enum place place, const char *const *argv)
{
	char *log = xasprintf("%s/%s.log", folder, name);
	*s = (struct server){.name = name, .socket = xasprintf("%s/%s.sock", folder, name)};
	unlink(s->socket); /* of one of the same name before */
	s->pid = server_fork();
	if (s->pid == 0) {
		server_place_self(place);
		execute(log, s->socket, argv);
	}
	int fd;
	int64_t end = now_ns() + START_LIMIT_NS;
	while ((fd = try_connect(s->socket)) < 0) {
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid || now_ns() > end) {
			show_log(log);
			die("%s does not start", name);
		}
		pause_ns(POLL_NS);
	}
	s->exec_ns = *exec_ns;
	close(fd);
	free(log);
}

void server_start_daemon(struct server *s, const char *name, enum place place, const char *yaml)
{
	char *file = xasprintf("%s.yaml", name), *config = xasprintf("{D}/%s", file);
	char *text = xasprintf("listen: {path: '%s/%s.sock'}\nlog: {level: warning}\n%s", folder, name, yaml);
	const char *const argv[] = {"{B}/catcached", "-c", config, NULL};
	setenv("DIR", folder, 1);
	server_write(file, text, strlen(text));
	server_start(s, name, place, argv);
	free(file);
	free(config);
	free(text);
}

/* Shared with the daemon. */
static volatile struct turns *map_turns(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	void *room = fd < 0 || ftruncate(fd, sizeof(struct turns)) < 0 ? MAP_FAILED
		: mmap(NULL, sizeof(struct turns), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (room == MAP_FAILED)
		die("%s: %s", path, strerror(errno));
	close(fd);
	return room;
}

void server_start_daemon_timed(struct server *s, const char *name, enum place place, const char *yaml)
{
	const char *build = getenv("BUILD");
	char *file = xasprintf("%s/%s.turns", folder, name), *preloaded = xasprintf("%s/tests/bench/turns.so", build ? build : "build"),
		*whole = realpath(preloaded, NULL);
	if (!whole)
		die("%s: %s", preloaded, strerror(errno));
	volatile struct turns *turns = map_turns(file);
	setenv(TURNS_FILE, file, 1);
	setenv("LD_PRELOAD", whole, 1);
	server_start_daemon(s, name, place, yaml);
	unsetenv("LD_PRELOAD");
	s->turns = turns;
	free(file);
	free(preloaded);
	free(whole);
}

void server_time_turns(const struct server *s)
{
	*s->turns = (struct turns){.is_on = true};
}

double server_longest_turn_ms(const struct server *s)
{
	s->turns->is_on = false;
	if (s->turns->n == 0)
		die("%s: no turn of its loop was seen", s->name);
	return (double)s->turns->longest_ns / 1e6;
}

void server_start_redis(struct server *s, const char *name, enum place place)
{
	static const char *const argv[] = {
		"redis-server", "--unixsocket", "{S}", "--port", "0", "--save", "", "--appendonly", "no", "--dir", "{D}", NULL,
	};
	server_start(s, name, place, argv);
}

int server_run(const char *name, const char *const *argv)
{
	int status;
	char *log = xasprintf("%s/%s.log", folder, name);
	pid_t pid = server_fork();
	if (pid == 0)
		execute(log, "", argv);
	waitpid(pid, &status, 0);
	if (status != 0)
		show_log(log);
	free(log);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* ---- stopping ---- */

void server_end(pid_t pid)
{
	int64_t end = now_ns() + STOP_LIMIT_NS;
	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (now_ns() > end)
			kill(pid, SIGKILL);
		pause_ns(POLL_NS);
	}
}

void server_stop(struct server *s)
{
	if (s->pid)
		server_end(s->pid);
	if (s->turns)
		munmap((void *)s->turns, sizeof(*s->turns));
	free(s->socket);
	*s = (struct server){0};
}

/* ---- looking at them ---- */

struct redisContext *server_client(const struct server *s)
{
	struct timeval limit = {.tv_sec = CLIENT_LIMIT_S};
	redisContext *c = redisConnectUnixWithTimeout(s->socket, limit);
	if (!c || c->err || redisSetTimeout(c, limit) != REDIS_OK)
		die("%s: cannot connect", s->socket);
	return c;
}

void server_wait_tracking(const struct server *s)
{
	redisContext *c = server_client(s);
	int64_t end = now_ns() + START_LIMIT_NS;
	for (bool tracks = false; !tracks; pause_ns(POLL_NS)) {
		redisReply *r = redisCommand(c, "HEALTH");
		tracks = r && r->str && strstr(r->str, "\"tracking\"");
		freeReplyObject(r);
		if (now_ns() > end)
			die("%s does not find Redis", s->name);
	}
	redisFree(c);
}

static int64_t thread_cpu_ns(pid_t pid, const char *thread)
{
	char path[64];
	long long ns = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", (int)pid, thread);
	FILE *f = fopen(path, "r");
	if (!f)
		return 0; /* it has just ended */
	if (fscanf(f, "%lld", &ns) != 1)
		die("%s: not what was expected", path);
	fclose(f);
	return ns;
}

int64_t server_cpu_ns(const struct server *s)
{
	int64_t sum = 0;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task", (int)s->pid);
	DIR *d = opendir(path);
	if (!d)
		die("%s has ended", s->name);
	for (const struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			sum += thread_cpu_ns(s->pid, e->d_name);
	closedir(d);
	if (sum == 0)
		die("%s: no processor time in schedstat: this kernel does not count it", s->name);
	return sum;
}

int64_t server_memory(const struct server *s, const char *line)
{
	char path[64], text[128];
	long long kb = -1;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)s->pid);
	FILE *f = fopen(path, "r");
	while (f && kb < 0 && fgets(text, sizeof(text), f))
		if (strncmp(text, line, strlen(line)) == 0)
			kb = strtoll(text + strlen(line) + 1, NULL, 10);
	if (kb < 0)
		die("%s: no %s in its status", s->name, line);
	fclose(f);
	return kb * 1024;
}
