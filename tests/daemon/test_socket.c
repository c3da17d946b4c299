/* The socket file, whoever made it: one in use is never stolen, a stale one is replaced, one that
 * systemd passes is used and left in place, and each trouble has a message that names the remedy. */
#include "harness.h"
#include "program.h"
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../proto/buf.h"

#define REST NO_REDIS NO_DATABASE "types: {plain: {key: 'm:{name}', ttl: 1h, tiers: [memory]}}\n"
#define CONFIG LISTEN REST
#define LIMIT_MS 20000

/* A daemon with this configuration must not start, and say this in its one line. */
static void expect_refused(struct harness *h, const char *yaml, const char *part)
{
	const char *conf = harness_write(h, "refused.yaml", yaml);
	struct said s = program_run((const char *[]){program_path("catcached"), "-c", conf, NULL}, NULL, 0);
	ck_assert_msg(s.status == 3, "exit status %d: %s", s.status, s.err);
	ck_assert_msg(strstr(s.err, part), "no '%s' in: %s", part, s.err);
	ck_assert_msg(strchr(s.err, '\n') == s.err + s.err_len - 1, "not one line: %s", s.err);
	said_free(&s);
}

START_TEST(a_socket_in_use_is_never_stolen)
{
	struct harness *h = harness_new();
	harness_start(h, CONFIG);
	redisContext *c = harness_connect(h);
	expect_refused(h, CONFIG, "is in use by a running daemon: stop it, or change listen.path");
	expect(c, "PONG", "PING");
	expect(harness_connect(h), "PONG", "PING");
	harness_free(h);
}
END_TEST

START_TEST(a_socket_whose_daemon_hangs_is_not_stolen_either)
{
	struct harness *h = harness_new();
	harness_start(h, CONFIG);
	harness_signal(h, SIGSTOP);
	expect_refused(h, CONFIG, "is in use by a running daemon");
	harness_signal(h, SIGCONT);
	harness_free(h);
}
END_TEST

START_TEST(a_stale_socket_is_replaced)
{
	struct harness *h = harness_new();
	close(raw_bind(harness_path(h, "s"), SOCK_STREAM, 16));
	harness_start(h, CONFIG);
	harness_kill_sidecar(h, 0);
	ck_assert_int_eq(access(harness_path(h, "s"), F_OK), 0);
	harness_restart_sidecar(h, 0);
	harness_stop(h);
	ck_assert_int_eq(access(harness_path(h, "s"), F_OK), -1);
	harness_free(h);
}
END_TEST

START_TEST(a_path_that_cannot_be_used_has_a_message_with_the_remedy)
{
	struct harness *h = harness_new();
	harness_write(h, "file", "");
	expect_refused(h, "listen: {path: '${DIR}/none/s'}\n" REST, "No such file or directory (make its folder, or change listen.path)");
	expect_refused(h, "listen: {path: '${DIR}/file'}\n" REST, "is not a socket: move it away or change listen.path");
	expect_refused(h, "listen: {path: '${DIR}/file/s'}\n" REST, "(see to its folder, or change listen.path)");
	harness_free(h);
}
END_TEST

/* What a user without rights is told: run by nobody, since root has all rights. */
static void expect_refused_to_nobody(struct harness *h, const char *part)
{
	const char *conf = harness_write(h, "nobody.yaml", CONFIG);
	chmod(conf, 0644);
	const char *program = harness_path(h, "catcached");
	char *copy = xasprintf("cp %s %s && chmod 755 %s", program_path("catcached"), program, program);
	ck_assert_int_eq(system(copy), 0);
	free(copy);
	struct said s = program_run((const char *[]){"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		program, "-c", conf, NULL}, NULL, 0);
	ck_assert_msg(s.status == 3 && strstr(s.err, part), "exit status %d, no '%s' in: %s", s.status, part, s.err);
	said_free(&s);
}

START_TEST(missing_rights_have_a_message_with_the_remedy)
{
	struct harness *h = harness_new();
	if (getuid() == 0) {
		char up[200];
		snprintf(up, sizeof(up), "%s/..", harness_path(h, ""));
		chmod(harness_path(h, ""), 0755);
		chmod(up, 0755);
		char *above = xasprintf("%s/..", up);
		chmod(above, 0711);
		free(above);
		expect_refused_to_nobody(h, "Permission denied (let the daemon's user write to its folder, or change listen.path)");
		int fd = raw_bind(harness_path(h, "s"), SOCK_STREAM, 16);
		chmod(harness_path(h, "s"), 0600);
		expect_refused_to_nobody(h, "is in use: Permission denied (if it is not, remove it");
		chmod(harness_path(h, "s"), 0666);
		close(fd);
		expect_refused_to_nobody(h, "cannot replace the stale socket");
	}
	harness_free(h);
}
END_TEST

/* ---- who connects ---- */

/* A connection of the user nobody, who finds the path as root does. */
static int connect_as_nobody(struct harness *h)
{
	ck_assert_int_eq(seteuid(65534), 0);
	(void)setfsuid(0);                      /* tells not whether it did it */
	int fd = raw_connect(h);
	ck_assert_int_eq(seteuid(0), 0);
	return fd;
}

START_TEST(admin_commands_are_for_admin_users)
{
	static const char *const commands[] = {"INVALIDATE plain", "WARM", "WARM plain", "FLUSHDB", "FLUSHALL", "CONFIG GET maxmemory", "CLIENT KILL ID 1"};
	struct harness *h = harness_new();
	if (getuid() == 0) {
		harness_start(h, "listen: {path: '${DIR}/s', mode: '0666'}\n" REST);
		int fd = connect_as_nobody(h);
		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
			raw_send(fd, commands[i]);
			raw_send(fd, "\r\n");
			raw_expect(fd, "-NOPERM this command is for admin.users of the configuration only\r\n");
		}
		raw_send(fd, "SET m:a x\r\nDEL m:a\r\n");
		raw_expect(fd, "+OK\r\n:1\r\n");
		close(fd);
		harness_stop(h);
		harness_start(h, "listen: {path: '${DIR}/s', mode: '0666'}\nadmin: {users: [nobody]}\n" REST);
		fd = connect_as_nobody(h);
		raw_send(fd, "WARM\r\nINVALIDATE plain\r\n");
		raw_expect(fd, ":0\r\n:0\r\n");
		close(fd);
	}
	harness_free(h);
}
END_TEST

/* ---- a socket that is passed ---- */

/* Starts the daemon as systemd would, with fd as its socket of that name. */
static pid_t start_passing(struct harness *h, const char *yaml, int fd, const char *name)
{
	const char *program = program_path("catcached"), *conf = harness_write(h, "passed.yaml", yaml);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	char own[16];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(own, sizeof(own), "%d", (int)getpid());
	setenv("LISTEN_PID", own, 1);
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_FDNAMES", name, 1);
	int log = creat(harness_path(h, "passed.log"), 0600), moved = dup(fd);
	dup2(log, STDERR_FILENO);
	dup2(moved, 3);
	execl(program, program, "-c", conf, (char *)NULL);
	_exit(127);
}

static int status_of(pid_t pid)
{
	int status;
	wait_until(waitpid(pid, &status, WNOHANG) == pid, LIMIT_MS);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool log_says(struct harness *h, const char *part)
{
	char text[4096] = "";
	FILE *f = fopen(harness_path(h, "passed.log"), "r");
	if (f) {
		(void)!fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	return strstr(text, part) != NULL;
}

START_TEST(who_connects_between_two_daemons_is_served_by_the_next)
{
	struct harness *h = harness_new();
	int listening = raw_bind(harness_path(h, "s"), SOCK_STREAM, 16);
	for (int i = 0; i < 3; i++) {
		int fd = raw_connect(h);
		raw_send(fd, "PING\r\n");
		pid_t pid = start_passing(h, CONFIG, listening, "clients");
		raw_expect(fd, "+PONG\r\n");
		kill(pid, SIGTERM);
		raw_expect_close(fd);
		ck_assert_int_eq(status_of(pid), 0);
		ck_assert_int_eq(access(harness_path(h, "s"), F_OK), 0);
	}
	close(listening);
	harness_free(h);
}
END_TEST

START_TEST(who_waits_for_the_start_finds_redis_reached)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	int listening = raw_bind(harness_path(h, "s"), SOCK_STREAM, 16);
	int fd = raw_connect(h);
	raw_send(fd, "INCR n\r\nLPUSH list 1\r\nSET s:a 1\r\nGET s:a\r\n");
	pid_t pid = start_passing(h, LISTEN PATIENT_REDIS NO_DATABASE "types: {shared: {key: 's:{name}', ttl: 1h}}\n", listening, "clients");
	raw_expect(fd, ":1\r\n:1\r\n+OK\r\n$1\r\n1\r\n");
	kill(pid, SIGTERM);
	ck_assert_int_eq(status_of(pid), 0);
	close(fd);
	close(listening);
	harness_free(h);
}
END_TEST

START_TEST(a_redis_that_hangs_holds_the_start_up_for_a_second_only)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	harness_redis_pause(h);
	int64_t began_ms = now_ms();
	harness_start(h, LISTEN PATIENT_REDIS NO_DATABASE "types: {plain: {key: 'm:{name}', ttl: 1h, tiers: [memory]}}\n");
	ck_assert_int_lt(now_ms() - began_ms, SANITIZED ? 9000 : 4000);
	harness_redis_resume(h);
	harness_free(h);
}
END_TEST

START_TEST(a_passed_socket_must_be_the_configured_one)
{
	struct harness *h = harness_new();
	int other = raw_bind(harness_path(h, "other"), SOCK_STREAM, 16);
	ck_assert_int_eq(status_of(start_passing(h, CONFIG, other, "clients")), 3);
	ck_assert(log_says(h, "make ListenStream= of the socket unit and listen.path the same"));
	ck_assert_int_eq(status_of(start_passing(h, CONFIG, other, "catcached.socket")), 3);
	ck_assert(log_says(h, "set FileDescriptorName=clients in the socket unit"));
	close(other);
	harness_free(h);
}
END_TEST

START_TEST(a_passed_socket_of_another_mode_is_warned_of)
{
	struct harness *h = harness_new();
	int listening = raw_bind(harness_path(h, "s"), SOCK_STREAM, 16);
	chmod(harness_path(h, "s"), 0666);
	pid_t pid = start_passing(h, CONFIG, listening, "clients");
	wait_until(log_says(h, "event=ready"), LIMIT_MS);
	ck_assert(log_says(h, "event=listen_mode_ignored socket=0666 configured=0660"));
	kill(pid, SIGTERM);
	ck_assert_int_eq(status_of(pid), 0);
	close(listening);
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_socket_in_use_is_never_stolen,
		a_socket_whose_daemon_hangs_is_not_stolen_either,
		a_stale_socket_is_replaced,
		a_path_that_cannot_be_used_has_a_message_with_the_remedy,
		missing_rights_have_a_message_with_the_remedy,
		admin_commands_are_for_admin_users,
		who_connects_between_two_daemons_is_served_by_the_next,
		who_waits_for_the_start_finds_redis_reached,
		a_redis_that_hangs_holds_the_start_up_for_a_second_only,
		a_passed_socket_must_be_the_configured_one,
		a_passed_socket_of_another_mode_is_warned_of,
	};
	return harness_main("socket", tests, sizeof(tests) / sizeof(tests[0]));
}
