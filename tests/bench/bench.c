/* make bench: measures catcached beside Redis, memcached and a bare echo server, and what
 * its issue sets targets for. Exit status 0 also when targets are missed: it tells, it does not judge.
 *
 *      BUILD=build BENCH=quick|full build/tests/bench/bench [PART ...]
 *
 * A run that is quick, or of some parts only, leaves RESULTS.md here alone and writes its own
 * to $BUILD/tests/bench. */
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "bench.h"
#include "load.h"
#include "report.h"
#include "server.h"

static const struct scale scales[] = {
	{.name = "", .told = "The default run.", .rounds = 7, .warm_s = 0.04, .round_s = 0.16, .traced_requests = 2000,
		.stall_rounds = 3, .stall_s = 3, .churn_s = 20, .many = 1000000, .most = 10000000},
	{.name = "full", .told = "The full run (BENCH=full).", .rounds = 11, .warm_s = 0.1, .round_s = 0.5, .traced_requests = 5000,
		.stall_rounds = 5, .stall_s = 10, .churn_s = 600, .many = 1000000, .most = 10000000},
	{.name = "quick", .told = "A QUICK run (BENCH=quick), for development: too short to be trusted.", .rounds = 3, .warm_s = 0.01,
		.round_s = 0.03, .traced_requests = 500, .stall_rounds = 1, .stall_s = 2, .churn_s = 2, .many = 200000, .most = 1000000},
};

static const struct scale *find_scale(void)
{
	const char *name = getenv("BENCH");
	for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++)
		if (strcmp(scales[i].name, name ? name : "") == 0)
			return &scales[i];
	die("BENCH is quick, full, or not set");
}

static const struct part {
	const char *name;
	void (*measure)(const struct scale *scale, struct report *report);
} parts[] = {
	{"hits", hits_measure}, {"stalls", stalls_measure}, {"memory", memory_measure}, {"growth", growth_measure},
};

static bool is_wanted(const struct part *part, char *const *names)
{
	bool wanted = !*names;
	for (; *names; names++)
		wanted |= strcmp(*names, part->name) == 0;
	return wanted;
}

static void measure(const char *folder, char *const *names)
{
	const struct scale *scale = find_scale();
	const char *build = getenv("BUILD");
	bool is_partial = strcmp(scale->name, "quick") == 0 || *names;
	char *file = xasprintf("%s%stests/bench/RESULTS.md", !is_partial ? "" : build ? build : "build", is_partial ? "/" : "");
	struct report *report = report_new();
	signal(SIGPIPE, SIG_IGN);
	server_setup(folder);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		int64_t start = now_ns();
		if (!is_wanted(&parts[i], names))
			continue;
		parts[i].measure(scale, report);
		fprintf(stderr, "%s took %.0f s\n", parts[i].name, (double)(now_ns() - start) / 1e9);
	}
	report_finish(report, file, scale->told);
	fprintf(stderr, "written to %s\n", file);
	free(file);
}

static int on_entry_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static pid_t child;

static void on_signal(int number)
{
	(void)number;
	kill(child, SIGKILL);
}

/* The work is done by a child, so that however it ends the folder is removed. All else dies with it. */
int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	char *folder = xasprintf("%s/catcached-bench-XXXXXX", tmp ? tmp : "/tmp");
	int status = -1;
	if (!mkdtemp(folder)) {
		perror(folder);
		return 1;
	}
	pid_t parent = getpid();
	child = fork();
	if (child == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(1);
		measure(folder, argv + (argc > 0));
		return 0;
	}
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	for (size_t i = 0; child > 0 && i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_RESTART}, NULL);
	if (child > 0)
		waitpid(child, &status, 0);
	(void)nftw(folder, on_entry_remove, 16, FTW_DEPTH | FTW_PHYS); /* best effort */
	free(folder);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
