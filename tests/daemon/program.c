/* Programs and what they say; see program.h. */
#include "program.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "harness.h"

#define RUN_LIMIT_MS (SANITIZED ? 60000 : 20000)

const char *program_path(const char *name)
{
	const char *build = getenv("BUILD");
	static char path[PATH_MAX];
	char *relative = xasprintf("%s/%s", build ? build : "build", name);
	ck_assert_msg(realpath(relative, path), "%s is missing", relative);
	free(relative);
	return path;
}

/* In the child: it dies with the test. */
static void become(const char *const *argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execvp(argv[0], (char *const *)argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* What is there appended to b; false at the end. */
static bool drain(int fd, struct buf *b)
{
	ssize_t n = read(fd, buf_reserve(b, 65536), 65536);
	if (n > 0)
		b->len += (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Writes what stdin is to be, and reads what is said, until both outputs are closed. */
static void talk(int in, const char *data, size_t len, const int outs[2], struct buf said[2])
{
	struct pollfd fds[3] = {{.fd = outs[0], .events = POLLIN}, {.fd = outs[1], .events = POLLIN}, {.fd = in, .events = POLLOUT}};
	int64_t end = now_ms() + RUN_LIMIT_MS;
	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		ck_assert_msg(now_ms() < end, "the program does not end; it said: %.*s", (int)said[1].len, said[1].data ? said[1].data : "");
		if (poll(fds, 3, 1000) <= 0)
			continue;
		for (int i = 0; i < 2; i++)
			if (fds[i].fd >= 0 && fds[i].revents && !drain(fds[i].fd, &said[i]))
				fds[i].fd = -1;
		if (!fds[2].revents)
			continue;
		ssize_t n = len ? write(in, data, len) : 0;
		if (n > 0)
			data += n, len -= (size_t)n;
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			close(in);
			fds[2].fd = -1;
		}
	}
	if (fds[2].fd >= 0)
		close(in);
}

static int exit_status(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct said program_run(const char *const *argv, const void *in, size_t in_len)
{
	int stdin_pipe[2], pipes[2][2];
	ck_assert(pipe2(stdin_pipe, O_CLOEXEC) == 0 && pipe2(pipes[0], O_CLOEXEC) == 0 && pipe2(pipes[1], O_CLOEXEC) == 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(stdin_pipe[0], STDIN_FILENO);
		dup2(pipes[0][1], STDOUT_FILENO);
		dup2(pipes[1][1], STDERR_FILENO);
		become(argv);
	}
	close(stdin_pipe[0]);
	close(pipes[0][1]);
	close(pipes[1][1]);
	fcntl(stdin_pipe[1], F_SETFL, O_NONBLOCK);
	struct buf said[2] = {BUF_INIT, BUF_INIT};
	talk(stdin_pipe[1], in, in_len, (int[]){pipes[0][0], pipes[1][0]}, said);
	close(pipes[0][0]);
	close(pipes[1][0]);
	struct said s = {.out_len = said[0].len, .err_len = said[1].len, .status = exit_status(pid)};
	buf_add_char(&said[0], '\0');
	buf_add_char(&said[1], '\0');
	s.out = said[0].data;
	s.err = said[1].data;
	return s;
}

void said_free(struct said *s)
{
	free(s->out);
	free(s->err);
}

/* ---- a terminal ---- */

struct terminal terminal_run(const char *const *argv, unsigned columns, unsigned lines)
{
	struct terminal t = {0};
	struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)lines};
	t.pid = forkpty(&t.fd, NULL, NULL, &size);
	ck_assert_int_ge(t.pid, 0);
	if (t.pid == 0)
		become(argv);
	t.seen = xcalloc(1, 1);
	return t;
}

bool terminal_read(struct terminal *t)
{
	char part[4096];
	if (poll(&(struct pollfd){.fd = t->fd, .events = POLLIN}, 1, 10) <= 0)
		return true;
	ssize_t n = read(t->fd, part, sizeof(part));
	if (n <= 0)
		return false;
	t->seen = xrealloc(t->seen, t->len + (size_t)n + 1);
	memcpy(t->seen + t->len, part, (size_t)n);
	t->len += (size_t)n;
	t->seen[t->len] = '\0';
	return true;
}

void terminal_type(struct terminal *t, const char *keys)
{
	ck_assert_int_eq(write(t->fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

int terminal_end(struct terminal *t)
{
	int64_t end = now_ms() + RUN_LIMIT_MS;
	while (terminal_read(t))
		ck_assert_msg(now_ms() < end, "the program does not end; it said: %s", t->seen);
	return exit_status(t->pid);
}

void terminal_free(struct terminal *t)
{
	close(t->fd);
	free(t->seen);
}

/* Where the last drawing begins that has also ended. */
static const char *last_drawing(const char *seen)
{
	const char *last = NULL;
	for (const char *at = seen; (at = strstr(at, "\033[H")); at++)
		if (strstr(at, "\033[J"))
			last = at;
	return last;
}

char *terminal_screen(const struct terminal *t, unsigned columns, unsigned lines)
{
	const char *at = last_drawing(t->seen), *end = at ? strstr(at, "\033[J") : NULL;
	struct buf b = BUF_INIT;
	unsigned column = 0, line = 1;
	if (!at)
		return NULL;
	while (at < end) {
		if (*at == '\033') {
			at += 2;                /* ESC [ */
			at += strspn(at, "0123456789;?") + 1;
			continue;
		}
		if (*at == '\n')
			column = 0, line++;
		else if (*at != '\r')
			column++;
		ck_assert_msg(column <= columns && line <= lines, "over the edge of %u by %u: %.*s", columns, lines, (int)(end - at), at);
		if (*at != '\r')
			buf_add_char(&b, *at);
		at++;
	}
	buf_add_char(&b, '\0');
	return b.data;
}
