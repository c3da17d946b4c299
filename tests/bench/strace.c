/* Counting system calls; see strace.h. */
#include "strace.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "load.h"
#include "server.h"

#define ATTACH_LIMIT_NS 5000000000
#define POLL_NS 1000000
#define SHARE_SHOWN 0.004       /* calls per request from which on a call is named */

/* True when strace has hold of all threads: they count it as their tracer. */
static bool is_traced(const struct server *s)
{
	char command[128];
	snprintf(command, sizeof(command), "! grep -qs '^TracerPid:\t0' /proc/%d/task/*/status", (int)s->pid);
	return system(command) == 0;
}

static pid_t attach(const struct server *s, const char *file)
{
	char pid_text[16];
	snprintf(pid_text, sizeof(pid_text), "%d", (int)s->pid);
	pid_t pid = server_fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(127);
		execlp("strace", "strace", "-c", "-f", "-o", file, "-p", pid_text, (char *)NULL);
		_exit(127);
	}
	for (int64_t end = now_ns() + ATTACH_LIMIT_NS; now_ns() < end;) {
		if (is_traced(s))
			return pid;
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	}
	server_end(pid);
	return -1;
}

/* Reads the table of strace -c: "% time, seconds, usecs/call, calls, [errors,] name". */
static double read_counts(const char *file, double requests, struct buf *parts)
{
	char line[256], last[2][64];
	double sum = 0, calls;
	FILE *f = fopen(file, "r");
	while (f && fgets(line, sizeof(line), f)) {
		int n = sscanf(line, "%*f %*f %*f %lf %63s %63s", &calls, last[0], last[1]);
		if (n < 2 || strcmp(last[n - 2], "total") == 0)
			continue;
		sum += calls;
		if (calls / requests >= SHARE_SHOWN)
			buf_addf(parts, "%s%s %.3f", parts->len ? ", " : "", last[n - 2], calls / requests);
	}
	if (f)
		fclose(f);
	return sum / requests;
}

double strace_calls(const struct server *s, const struct load_options *options, uint64_t requests, char **parts)
{
	struct buf b = BUF_INIT;
	double per_request = -1;
	char *file = server_path("strace");
	struct load *l = load_open(options);
	load_run(&l, 1, 3600, options->connections * options->depth);   /* so that connecting is over */
	load_reset(l);
	pid_t pid = attach(s, file);
	if (pid > 0) {
		load_run(&l, 1, 3600, requests);
		server_end(pid);
		per_request = read_counts(file, (double)load_result(l)->requests, &b);
	} else {
		buf_add_str(&b, "strace may not attach here (it needs root, or kernel.yama.ptrace_scope=0)");
	}
	load_close(l);
	free(file);
	buf_add_char(&b, '\0');
	*parts = b.data;
	return per_request;
}
