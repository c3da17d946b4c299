/* The exec driver with real programs: shell scripts in a temporary folder. */
#include <check.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "rig.h"

static struct rig rig;
static char dir[96];

/* ---- hooks ---- */

static void setup(void)
{
	rig_init(&rig);
	snprintf(dir, sizeof(dir), "%s", rig_folder(&rig));
	ck_assert_int_eq(setenv("DIR", dir, 1), 0);
	rig.driver = fetch_exec_new(rig.base, rig.cpu, &rig.self);
	ck_assert_ptr_nonnull(rig.driver);
}

static void teardown(void)
{
	rig_fini(&rig);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);      /* no zombie is left */
}

/* argv is kept by the orders that run. */
static void start_argv(struct answer *a, char **argv, const char *name, int64_t timeout_ms)
{
	rig.type.fetch.exec = argv;
	const struct fetch_order order = {.type = &rig.type, .name = name, .timeout_ms = timeout_ms};
	rig_order(&rig, a, &order);
}

/* Runs script with the shell; $1 is the name. The rig has one type, so the script is
 * the same for all orders under way. */
static void start_script(struct answer *a, const char *script, const char *name, int64_t timeout_ms)
{
	static char *argv[] = {"/bin/sh", "-c", NULL, "sh", "{name}", NULL};
	argv[2] = (char *)script;
	start_argv(a, argv, name, timeout_ms);
}

static void run_script(struct answer *a, const char *script)
{
	start_script(a, script, "", 10000);
	rig_wait(&rig, a);
}

static void expect_script_found(const char *script, const char *text)
{
	struct answer a;
	run_script(&a, script);
	expect_found(&a, text);
	answer_fini(&a);
}

static void expect_script_failed(const char *script, const char *error)
{
	struct answer a;
	run_script(&a, script);
	ck_assert_int_eq(a.status, FETCH_FAILED);
	ck_assert_str_eq(a.error, error);
}

static char *path_of(const char *name)
{
	static char path[160];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static pid_t read_pid(const char *name)
{
	int pid = 0;
	FILE *f = fopen(path_of(name), "r");
	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

/* A process that is killed is gone a moment later; one that is nobody's is reaped by init. */
static void expect_gone(pid_t pid)
{
	char path[64], state = 0;
	ck_assert_int_gt(pid, 0);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (int64_t end_ms = rig_now_ms() + 5000; rig_now_ms() < end_ms; usleep(5000)) {
		FILE *f = fopen(path, "r");
		if (!f)
			return;
		bool is_read = fscanf(f, "%*d %*s %c", &state) == 1;
		fclose(f);
		if (!is_read || state == 'Z')
			return;
	}
	ck_abort_msg("process %d is alive, state %c", (int)pid, state);
}

/* ---- what it says ---- */

START_TEST(exit_status_0_is_found_and_stdout_the_value)
{
	expect_script_found("printf '[1,2]\\n'", "[1,2]\n");
	expect_script_found("exit 0", "");
	expect_script_found("echo yes; echo no >&2", "yes\n");
}
END_TEST

START_TEST(exit_status_1_does_not_exist_unless_something_was_printed)
{
	struct answer a;
	run_script(&a, "echo no such model >&2; exit 1");
	ck_assert_int_eq(a.status, FETCH_ABSENT);
	expect_script_failed("printf '[1,2'; echo Traceback >&2; exit 1", "exit status 1: Traceback");
}
END_TEST

START_TEST(any_other_exit_status_is_an_error_with_the_first_line_of_stderr)
{
	expect_script_failed("echo no; printf 'cannot reach it\\nmore\\n' >&2; exit 3", "exit status 3: cannot reach it");
	expect_script_failed("exit 255", "exit status 255");
	expect_script_failed("printf 'no newline' >&2; exit 2", "exit status 2: no newline");
	expect_script_failed("printf 'a\\tb\\033[1m\\r\\n' >&2; exit 2", "exit status 2: a b [1m ");
}
END_TEST

START_TEST(long_stderr_is_cut_and_drained)
{
	struct answer a;
	run_script(&a, "head -c 300000 /dev/zero | tr '\\0' x >&2; exit 4");
	ck_assert_int_eq(a.status, FETCH_FAILED);
	ck_assert_uint_eq(strlen(a.error), strlen("exit status 4: ") + 200);
	expect_script_found("head -c 300000 /dev/zero >&2; echo fine", "fine\n");
}
END_TEST

START_TEST(hook_that_dies_is_an_error_that_names_the_signal)
{
	expect_script_failed("echo half; kill -SEGV $$", "killed by signal 11");
	expect_script_failed("echo oh >&2; kill -KILL $$", "killed by signal 9: oh");
}
END_TEST

START_TEST(program_that_cannot_run_is_an_error_that_says_why)
{
	struct answer a;
	char error[256];
	char *argv[] = {path_of("none"), NULL};
	start_argv(&a, argv, "", 10000);
	rig_wait(&rig, &a);
	snprintf(error, sizeof(error), "cannot run %s/none: No such file or directory", dir);
	expect_failed(&a, error);

	FILE *f = fopen(path_of("none"), "w");
	fputs("just text\n", f);
	fclose(f);
	chmod(path_of("none"), 0644);
	start_argv(&a, argv, "", 10000);
	rig_wait(&rig, &a);
	expect_failed(&a, ": Permission denied");
	chmod(path_of("none"), 0755);
	start_argv(&a, argv, "", 10000);
	rig_wait(&rig, &a);
	expect_failed(&a, ": Exec format error");       /* so no shell has been tried */
}
END_TEST

START_TEST(program_without_a_slash_is_searched_in_the_path)
{
	struct answer a;
	char *argv[] = {"echo", "-n", "found", NULL};
	start_argv(&a, argv, "", 10000);
	rig_wait(&rig, &a);
	expect_found(&a, "found");
	answer_fini(&a);
}
END_TEST

START_TEST(garbage_and_zero_bytes_come_verbatim)
{
	struct answer a;
	run_script(&a, "printf 'a\\000\\377\\nb'");
	ck_assert_uint_eq(a.len, 5);
	ck_assert_mem_eq(a.text, "a\0\xff\nb", 5);
	answer_fini(&a);
}
END_TEST

START_TEST(large_output_comes_whole)
{
	struct answer a;
	run_script(&a, "head -c 20000000 /dev/zero | tr '\\0' x; printf end");
	ck_assert_int_eq(a.status, FETCH_FOUND);
	ck_assert_uint_eq(a.len, 20000003);
	ck_assert_str_eq(a.text + 19999998, "xxend");
	answer_fini(&a);
}
END_TEST

START_TEST(too_large_an_output_is_refused_and_its_writer_killed)
{
	struct answer a;
	start_script(&a, "echo $$ >$DIR/pid; exec cat /dev/zero", "", 30000);
	rig_wait(&rig, &a);
	expect_failed(&a, "larger than the limit");
	rig_drop_driver(&rig);
	expect_gone(read_pid("pid"));
}
END_TEST

/* ---- what it is given ---- */

static const char *const names[] = {"plain", "two words", "", "it's", "\"quoted\"", "$(touch $DIR/x)", "`id`; rm -rf /",
	"a\nb", "-n", "*", "{type}", "{name}", "\\", "%s", "\xff\xfe", "\xc3\xa9", "a&b|c>d"};

START_TEST(name_reaches_the_program_verbatim)
{
	struct answer a;
	char *argv[] = {"/usr/bin/printf", "%s|", "{name}", "<{name}:{type}:{name}>", "{other}", NULL};
	char *text = NULL;
	start_argv(&a, argv, names[_i], 10000);
	rig_wait(&rig, &a);
	ck_assert_int_gt(asprintf(&text, "%s|<%s:things:%s>|{other}|", names[_i], names[_i], names[_i]), 0);
	expect_found(&a, text);
	free(text);
	answer_fini(&a);
	ck_assert_int_eq(access(path_of("x"), F_OK), -1);
}
END_TEST

START_TEST(program_is_not_put_together_from_the_name)
{
	struct answer a;
	char *argv[] = {"/bin/{name}", NULL};
	start_argv(&a, argv, "true", 10000);
	rig_wait(&rig, &a);
	expect_failed(&a, "cannot run /bin/{name}: No such file");
}
END_TEST

START_TEST(stdin_is_empty_and_the_environment_is_ours)
{
	setenv("CATCACHED_TEST", "passed on", 1);
	expect_script_found("cat; printf \"$CATCACHED_TEST\"", "passed on");
	expect_script_found("readlink /proc/self/fd/0", "/dev/null\n");
}
END_TEST

START_TEST(nothing_but_the_three_descriptors_is_inherited)
{
	int leaky = open("/dev/null", O_RDONLY);        /* as a library might, without O_CLOEXEC */
	ck_assert_int_ge(leaky, 3);
	struct answer a;
	char *argv[] = {"/bin/ls", "/proc/self/fd", NULL};
	start_argv(&a, argv, "", 10000);
	rig_wait(&rig, &a);
	expect_found(&a, "0\n1\n2\n3\n");               /* 3 is the folder that ls reads */
	answer_fini(&a);
	close(leaky);
}
END_TEST

START_TEST(signals_are_as_in_a_fresh_process)
{
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	signal(SIGPIPE, SIG_IGN);
	struct answer a;
	unsigned long blocked, ignored;
	run_script(&a, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status");
	ck_assert_int_eq(sscanf(a.text, "SigBlk: %lx SigIgn: %lx", &blocked, &ignored), 2);
	ck_assert_uint_eq(blocked, 0);
	ck_assert_uint_eq(ignored & 0x7fffffff, 0);     /* 32 and 33 are glibc's own */
	answer_fini(&a);
}
END_TEST

START_TEST(hook_leads_a_process_group_of_its_own)
{
	expect_script_found("set -- $(cat /proc/$$/stat); test $5 = $$ && printf own", "own");
}
END_TEST

/* ---- time ---- */

/* What the script has written to DIR/pids: its process group, a line a run. The loop stands still. */
static int await_groups(pid_t *groups, int n)
{
	char path[128];
	int found = 0;
	snprintf(path, sizeof(path), "%s/pids", dir);
	for (int64_t end = rig_now_ms() + RIG_LIMIT_MS; found < n && rig_now_ms() < end; usleep(1000)) {
		FILE *f = fopen(path, "r");
		for (found = 0; f && found < n && fscanf(f, "%d\n", &groups[found]) == 1; )
			found++;
		if (f)
			fclose(f);
	}
	return found;
}

/* It may ask us for something as soon as it runs, which is before we are told that it does. */
START_TEST(hook_is_known_by_its_process_group_as_soon_as_it_runs)
{
	enum { N = 3 };
	struct answer answers[N];
	pid_t groups[N];
	for (int i = 0; i < N; i++)
		start_script(&answers[i], "echo $$ >>$DIR/pids; exec sleep 60", "a", 1000);
	event_base_loop(rig.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);       /* one pass: they are begun */
	ck_assert_int_eq(await_groups(groups, N), N);
	for (int i = 0; i < N; i++) {
		const struct fetch_order *order = fetch_exec_run_by(rig.self, groups[i]);
		ck_assert_ptr_nonnull(order);
		ck_assert_str_eq(order->name, "a");
	}
	ck_assert_ptr_null(fetch_exec_run_by(rig.self, getpid()));
	for (int i = 0; i < N; i++) {
		rig_wait(&rig, &answers[i]);
		answer_fini(&answers[i]);
	}
}
END_TEST

START_TEST(hook_that_hangs_is_killed_with_all_it_started_at_its_timeout)
{
	struct answer a;
	start_script(&a, "trap '' TERM INT HUP; echo $$ >$DIR/pid; sleep 1000 & echo $! >$DIR/child; printf some; wait",
		"", 400);
	rig_wait(&rig, &a);
	expect_failed(&a, "timed out after 400 ms");
	expect_took(&a, 400);
	expect_gone(read_pid("pid"));
	expect_gone(read_pid("child"));
	expect_script_found("echo next", "next\n");
}
END_TEST

START_TEST(hook_that_closes_stdout_and_lingers_is_waited_for)
{
	struct answer a;
	expect_script_found("echo done; exec >&-; sleep 0.3; exit 0", "done\n");
	start_script(&a, "echo done; exec >&- 2>&-; sleep 1000", "", 400);
	rig_wait(&rig, &a);
	expect_failed(&a, "timed out after 400 ms");
}
END_TEST

START_TEST(grandchild_that_holds_stdout_delays_the_value_by_a_moment_and_is_killed)
{
	struct answer a;
	start_script(&a, "sleep 1000 & echo $! >$DIR/child; echo value", "", 20000);
	rig_wait(&rig, &a);
	expect_found(&a, "value\n");
	ck_assert_int_lt(a.took_ms, 3000);
	expect_gone(read_pid("child"));
	answer_fini(&a);
}
END_TEST

START_TEST(grandchild_that_goes_on_writing_is_still_read_for_a_moment)
{
	expect_script_found("(sleep 0.05; echo late) & echo early", "early\nlate\n");
}
END_TEST

START_TEST(timeout_in_the_grace_period_ends_it)
{
	struct answer a;
	start_script(&a, "sleep 1000 & echo value; exec true", "", 150);
	rig_wait(&rig, &a);
	/* Found if the machine was slow to see it, for then its grace was over. */
	if (a.status == FETCH_FAILED)
		expect_failed(&a, "timed out after 150 ms");
	answer_fini(&a);
	rig_drop_driver(&rig);
}
END_TEST

START_TEST(two_hundred_hooks_run_at_once_and_the_next_ones_wait)
{
	/* Each says that it runs and waits for the word, so they can only end together. */
	enum { N = 300, AT_ONCE = 256 };
	static struct answer a[N];
	for (int i = 0; i < N; i++)
		start_script(&a[i], "echo x >>$DIR/runs; while ! [ -e $DIR/go ]; do sleep 0.2; done; echo $1", "n", 60000);
	struct stat st = {0};
	for (int64_t end_ms = rig_now_ms() + RIG_LIMIT_MS; st.st_size < 2 * AT_ONCE && rig_now_ms() < end_ms; ) {
		rig_run_for(&rig, 20);
		(void)stat(path_of("runs"), &st);
	}
	rig_run_for(&rig, 100);
	(void)stat(path_of("runs"), &st);
	ck_assert_int_eq(st.st_size, 2 * AT_ONCE);
	fclose(fopen(path_of("go"), "w"));
	for (int i = 0; i < N; i++) {
		rig_wait(&rig, &a[i]);
		expect_found(&a[i], "n\n");
		answer_fini(&a[i]);
	}
}
END_TEST

START_TEST(time_spent_waiting_for_a_slot_counts)
{
	static struct answer running[256];
	struct answer waiting;
	for (int i = 0; i < 256; i++)
		start_script(&running[i], "exec sleep 1000", "", 2000);
	start_script(&waiting, "exec sleep 1000", "", 300);
	rig_wait(&rig, &waiting);
	expect_failed(&waiting, "timed out after 300 ms, still waiting for its turn");
	expect_took(&waiting, 300);
	rig_drop_driver(&rig);
}
END_TEST

/* ---- the end ---- */

START_TEST(no_descriptor_and_no_process_is_left_behind)
{
	struct answer a;
	expect_script_found("exit 0", "");
	unsigned before = rig_descriptors();
	for (int i = 0; i < 20; i++) {
		expect_script_found("echo a", "a\n");
		expect_script_failed("exit 2", "exit status 2");
		start_script(&a, "sleep 1000", "", 20);
		rig_wait(&rig, &a);
	}
	/* The last one killed may still be on its way out. */
	for (int64_t end_ms = rig_now_ms() + 5000; rig_descriptors() > before && rig_now_ms() < end_ms; )
		rig_run_for(&rig, 5);
	ck_assert_uint_eq(rig_descriptors(), before);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

START_TEST(freeing_kills_the_hooks_and_completes_everything)
{
	enum { N = 300 };
	static struct answer a[N];
	for (int i = 0; i < N; i++)
		start_script(&a[i], "echo $$ >$DIR/pid.$$; sleep 1000", "", 60000);
	rig_run_for(&rig, 300);
	rig_drop_driver(&rig);
	for (int i = 0; i < N; i++) {
		ck_assert_uint_eq(a[i].times, 1);
		expect_failed(&a[i], "shutting down");
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch_exec");
	TCase *tc = tcase_create("exec");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, exit_status_0_is_found_and_stdout_the_value);
	tcase_add_test(tc, exit_status_1_does_not_exist_unless_something_was_printed);
	tcase_add_test(tc, any_other_exit_status_is_an_error_with_the_first_line_of_stderr);
	tcase_add_test(tc, long_stderr_is_cut_and_drained);
	tcase_add_test(tc, hook_that_dies_is_an_error_that_names_the_signal);
	tcase_add_test(tc, program_that_cannot_run_is_an_error_that_says_why);
	tcase_add_test(tc, program_without_a_slash_is_searched_in_the_path);
	tcase_add_test(tc, garbage_and_zero_bytes_come_verbatim);
	tcase_add_test(tc, large_output_comes_whole);
	tcase_add_test(tc, too_large_an_output_is_refused_and_its_writer_killed);
	tcase_add_loop_test(tc, name_reaches_the_program_verbatim, 0, sizeof(names) / sizeof(names[0]));
	tcase_add_test(tc, program_is_not_put_together_from_the_name);
	tcase_add_test(tc, stdin_is_empty_and_the_environment_is_ours);
	tcase_add_test(tc, nothing_but_the_three_descriptors_is_inherited);
	tcase_add_test(tc, signals_are_as_in_a_fresh_process);
	tcase_add_test(tc, hook_leads_a_process_group_of_its_own);
	tcase_add_test(tc, hook_is_known_by_its_process_group_as_soon_as_it_runs);
	tcase_add_test(tc, hook_that_hangs_is_killed_with_all_it_started_at_its_timeout);
	tcase_add_test(tc, hook_that_closes_stdout_and_lingers_is_waited_for);
	tcase_add_test(tc, grandchild_that_holds_stdout_delays_the_value_by_a_moment_and_is_killed);
	tcase_add_test(tc, grandchild_that_goes_on_writing_is_still_read_for_a_moment);
	tcase_add_test(tc, timeout_in_the_grace_period_ends_it);
	tcase_add_test(tc, two_hundred_hooks_run_at_once_and_the_next_ones_wait);
	tcase_add_test(tc, time_spent_waiting_for_a_slot_counts);
	tcase_add_test(tc, no_descriptor_and_no_process_is_left_behind);
	tcase_add_test(tc, freeing_kills_the_hooks_and_completes_everything);
	suite_add_tcase(s, tc);
	return rig_main(s);
}
