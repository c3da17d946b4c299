/* A PostgreSQL server for tests; see postgres.h. struct postgres lies in memory that
 * forked processes share: a test of Check runs in a child of who started the server.
 *
 * However the tests end, a process of ours, the keeper, ends the server and removes
 * the folder: it reads from a pipe that all of them hold open for writing, and none of
 * the programs they execute. */
#include "postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 60000          /* for a server to start or end on a busy machine */
#define POLL_MS 20

struct postgres {
	char dir[96];                   /* the cluster is in its folder data */
	char bin[96];                   /* where the programs are */
	char url[192];
	pid_t keeper;
	int tests_fd;                   /* the pipe's end that the tests hold */
	pid_t server;                   /* 0: not running */
	bool frozen;
};

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("postgres.c: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(EXIT_FAILURE);
}

/* ---- processes ---- */

/* In a child: become the user who may run PostgreSQL, with output to the log. */
static void become_postgres(const struct postgres *pg)
{
	char log[128];
	snprintf(log, sizeof(log), "%s/log", pg->dir);
	struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
	if (user && (initgroups("postgres", user->pw_gid) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
		_exit(126);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || chdir(pg->dir) < 0)
		_exit(126);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	setenv("LC_ALL", "C", 1);
	setenv("PATH", pg->bin, 1);     /* where initdb looks for itself and for postgres */
	setsid();               /* Check kills the process group of each test */
}

static pid_t run(const struct postgres *pg, const char *const argv[])
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", pg->bin, argv[0]);
	pid_t pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	become_postgres(pg);
	execv(path, (char *const *)argv);
	_exit(127);
}

/* It may be nobody's child any more, so its end is not seen by waitpid alone. */
static void wait_for_end(pid_t pid)
{
	int fd = pidfd_open(pid, 0);
	if (fd < 0)
		return;
	struct pollfd end = {.fd = fd, .events = POLLIN};
	if (poll(&end, 1, LIMIT_MS) != 1)
		die("the server does not end");
	close(fd);
	(void)waitpid(pid, NULL, WNOHANG);      /* if it is ours */
}

static void signal_children(pid_t parent, int number)
{
	char path[64];
	int child;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	FILE *f = fopen(path, "r");
	while (f && fscanf(f, "%d", &child) == 1)
		kill(child, number);
	if (f)
		fclose(f);
}

void postgres_freeze(struct postgres *pg)
{
	kill(pg->server, SIGSTOP);      /* first, so that no more sessions begin */
	signal_children(pg->server, SIGSTOP);
	pg->frozen = true;
}

void postgres_thaw(struct postgres *pg)
{
	if (!pg->frozen)
		return;
	signal_children(pg->server, SIGCONT);
	kill(pg->server, SIGCONT);
	pg->frozen = false;
}

static void stop(struct postgres *pg, int number)
{
	postgres_thaw(pg);
	if (pg->server) {
		kill(pg->server, number);
		wait_for_end(pg->server);
	}
	pg->server = 0;
}

/* ---- the keeper ---- */

static int on_entry_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void keep(struct postgres *pg, int fd)
{
	char ignored;
	setsid();                       /* whatever kills the tests does not mean us */
	while (read(fd, &ignored, 1) < 0 && errno == EINTR)
		;
	stop(pg, SIGQUIT);
	(void)nftw(pg->dir, on_entry_remove, 16, FTW_DEPTH | FTW_PHYS); /* what stays is in a temporary folder */
	_exit(EXIT_SUCCESS);
}

static void start_keeper(struct postgres *pg)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		die("pipe: %s", strerror(errno));
	pg->tests_fd = fds[1];
	pg->keeper = fork();
	if (pg->keeper < 0)
		die("fork: %s", strerror(errno));
	if (pg->keeper == 0) {
		close(fds[1]);
		keep(pg, fds[0]);
	}
	close(fds[0]);
}

/* ---- the cluster ---- */

static void find_programs(struct postgres *pg)
{
	glob_t found;
	if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) != 0)
		die("PostgreSQL is not installed");
	snprintf(pg->bin, sizeof(pg->bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
	globfree(&found);
}

/* The folder belongs to the server's user, who must also get through to it. */
static void make_folder(struct postgres *pg)
{
	const char *tmp = getenv("TMPDIR");
	struct stat above;
	struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
	snprintf(pg->dir, sizeof(pg->dir), "%s/pg-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(pg->dir))
		die("%s: %s", pg->dir, strerror(errno));
	if (user && chown(pg->dir, user->pw_uid, user->pw_gid) < 0)
		die("%s: %s", pg->dir, strerror(errno));
	if (user && tmp && stat(tmp, &above) == 0 && !(above.st_mode & S_IXOTH))
		(void)chmod(tmp, (above.st_mode & 07777) | S_IXOTH);    /* if not, initdb says so */
}

static void show_log(const struct postgres *pg)
{
	char path[128], line[1024];
	snprintf(path, sizeof(path), "%s/log", pg->dir);
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		fputs(line, stderr);
	if (f)
		fclose(f);
}

static void make_cluster(struct postgres *pg)
{
	int status;
	pid_t pid = run(pg, (const char *const[]){"initdb", "--pgdata=data", "--username=catcached", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions", NULL});
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		show_log(pg);
		die("initdb failed");
	}
}

static void wait_until_ready(const struct postgres *pg)
{
	for (int ms = 0; PQping(pg->url) != PQPING_OK; ms += POLL_MS) {
		if (ms >= LIMIT_MS) {
			show_log(pg);
			die("the server does not start");
		}
		nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000}, NULL);
	}
}

void postgres_start_again(struct postgres *pg)
{
	pg->server = run(pg, (const char *const[]){"postgres", "-D", "data", "-k", pg->dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "max_connections=40", "-c", "shared_buffers=16MB", "-c", "autovacuum=off", NULL});
	wait_until_ready(pg);
}

struct postgres *postgres_start(void)
{
	struct postgres *pg = mmap(NULL, sizeof(*pg), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pg == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	find_programs(pg);
	make_folder(pg);
	start_keeper(pg);
	snprintf(pg->url, sizeof(pg->url), "postgresql://catcached@/postgres?host=%s", pg->dir);
	make_cluster(pg);
	postgres_start_again(pg);
	return pg;
}

void postgres_stop_fast(struct postgres *pg)
{
	stop(pg, SIGINT);
}

void postgres_restore(struct postgres *pg)
{
	postgres_thaw(pg);
	if (!pg->server)
		postgres_start_again(pg);
}

void postgres_free(struct postgres *pg)
{
	if (!pg)
		return;
	close(pg->tests_fd);
	waitpid(pg->keeper, NULL, 0);
	munmap(pg, sizeof(*pg));
}

/* ---- its database ---- */

const char *postgres_url(const struct postgres *pg)
{
	return pg->url;
}

static void ignore_notice(void *arg, const char *message)
{
	(void)arg, (void)message;
}

static PGresult *execute(PGconn *conn, const char *sql)
{
	PQsetNoticeProcessor(conn, ignore_notice, NULL);
	PGresult *r = PQexec(conn, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		die("%s: %s", sql, PQerrorMessage(conn));
	return r;
}

void postgres_sql(const struct postgres *pg, const char *sql)
{
	PGconn *conn = PQconnectdb(pg->url);
	PQclear(execute(conn, sql));
	PQfinish(conn);
}

long postgres_integer(const struct postgres *pg, const char *sql)
{
	PGconn *conn = PQconnectdb(pg->url);
	PGresult *r = execute(conn, sql);
	if (PQntuples(r) != 1 || PQnfields(r) != 1)
		die("not one value: %s", sql);
	long n = strtol(PQgetvalue(r, 0, 0), NULL, 10);
	PQclear(r);
	PQfinish(conn);
	return n;
}
