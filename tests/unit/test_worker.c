/* Worker pools: jobs out to threads, results back on the loop. */
#include "../../daemon/worker.h"

#include <check.h>
#include <dirent.h>
#include <event2/event.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "rig.h"

#define JOBS 5000

struct job {
	pthread_t thread;
	unsigned number, runs, dones;
	unsigned *order;                /* counts the dones of all */
	unsigned done_as;               /* the how manieth */
};

static void run_job(void *arg)
{
	struct job *job = arg;
	job->runs++;
	job->thread = pthread_self();
}

static void on_job(void *arg)
{
	struct job *job = arg;
	job->dones++;
	job->done_as = (*job->order)++;
}

/* A job that runs until the test lets it. */
struct gate {
	sem_t entered, open;
	unsigned dones;
};

static void gate_init(struct gate *gate)
{
	*gate = (struct gate){0};
	sem_init(&gate->entered, 0, 0);
	sem_init(&gate->open, 0, 0);
}

static void run_gate(void *arg)
{
	struct gate *gate = arg;
	sem_post(&gate->entered);
	sem_wait(&gate->open);
}

static void on_gate(void *arg)
{
	((struct gate *)arg)->dones++;
}

static void ignore(void *arg)
{
	(void)arg;
}

START_TEST(each_job_runs_once_off_the_loop_and_is_done_once_on_it)
{
	struct rig rig;
	rig_init(&rig);
	struct workers *w = workers_new(rig.base, "test", 4, JOBS);
	struct job *jobs = calloc(JOBS, sizeof(*jobs));
	unsigned dones = 0;
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = (struct job){.number = i, .order = &dones};
		ck_assert_int_eq(workers_submit(w, run_job, on_job, &jobs[i]), 0);
	}
	ck_assert_uint_eq(dones, 0);
	rig_run_until(&rig, &dones, JOBS);
	for (unsigned i = 0; i < JOBS; i++) {
		ck_assert_uint_eq(jobs[i].runs, 1);
		ck_assert_uint_eq(jobs[i].dones, 1);
		ck_assert(!pthread_equal(jobs[i].thread, pthread_self()));
	}
	free(jobs);
	workers_free(w);
	rig_fini(&rig);
}
END_TEST

START_TEST(one_thread_runs_jobs_in_the_order_they_came)
{
	struct rig rig;
	rig_init(&rig);
	struct workers *w = workers_new(rig.base, "test", 1, JOBS);
	struct job *jobs = calloc(JOBS, sizeof(*jobs));
	unsigned dones = 0;
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i] = (struct job){.number = i, .order = &dones};
		workers_submit(w, run_job, on_job, &jobs[i]);
	}
	rig_run_until(&rig, &dones, JOBS);
	for (unsigned i = 0; i < JOBS; i++)
		ck_assert_uint_eq(jobs[i].done_as, i);
	free(jobs);
	workers_free(w);
	rig_fini(&rig);
}
END_TEST

START_TEST(pool_of_n_threads_runs_n_jobs_at_once)
{
	enum { N = 5 };
	struct rig rig;
	struct gate gate;
	rig_init(&rig);
	gate_init(&gate);
	struct workers *w = workers_new(rig.base, "test", N, N);
	for (int i = 0; i < N; i++)
		workers_submit(w, run_gate, on_gate, &gate);
	for (int i = 0; i < N; i++)
		sem_wait(&gate.entered);        /* all of them are inside */
	for (int i = 0; i < N; i++)
		sem_post(&gate.open);
	rig_run_until(&rig, &gate.dones, N);
	workers_free(w);
	rig_fini(&rig);
}
END_TEST

START_TEST(full_queue_refuses_a_job_and_calls_nothing)
{
	struct rig rig;
	struct gate gate;
	unsigned dones = 0;
	struct job jobs[3] = {{.order = &dones}, {.order = &dones}, {.order = &dones}};
	rig_init(&rig);
	gate_init(&gate);
	struct workers *w = workers_new(rig.base, "test", 1, 2);
	ck_assert_int_eq(workers_submit(w, run_gate, on_gate, &gate), 0);
	sem_wait(&gate.entered);
	ck_assert_int_eq(workers_submit(w, run_job, on_job, &jobs[0]), 0);
	ck_assert_int_eq(workers_submit(w, run_job, on_job, &jobs[1]), 0);
	ck_assert_uint_eq(workers_queued(w), 2);
	ck_assert_int_eq(workers_submit(w, run_job, on_job, &jobs[2]), -1);
	sem_post(&gate.open);
	rig_run_until(&rig, &dones, 2);
	ck_assert_uint_eq(workers_queued(w), 0);
	ck_assert_int_eq(workers_submit(w, run_job, on_job, &jobs[2]), 0);
	rig_run_until(&rig, &dones, 3);
	ck_assert_uint_eq(jobs[2].runs, 1);
	workers_free(w);
	rig_fini(&rig);
}
END_TEST

START_TEST(freeing_runs_and_completes_all_that_was_submitted)
{
	struct rig rig;
	struct gate gate;
	struct job jobs[100];
	unsigned dones = 0;
	rig_init(&rig);
	gate_init(&gate);
	struct workers *w = workers_new(rig.base, "test", 2, 200);
	workers_submit(w, run_gate, on_gate, &gate);
	for (unsigned i = 0; i < 100; i++) {
		jobs[i] = (struct job){.order = &dones};
		workers_submit(w, run_job, on_job, &jobs[i]);
	}
	sem_post(&gate.open);
	workers_free(w);
	ck_assert_uint_eq(gate.dones, 1);
	ck_assert_uint_eq(dones, 100);
	rig_fini(&rig);
}
END_TEST

static void *return_at_once(void *arg)
{
	return arg;
}

static unsigned count_threads(void)
{
	unsigned n = 0;
	DIR *tasks = opendir("/proc/self/task");
	for (struct dirent *d; (d = readdir(tasks)); )
		n += d->d_name[0] != '.';
	closedir(tasks);
	return n;
}

START_TEST(threads_come_with_jobs_and_go_when_there_is_nothing_to_do)
{
	struct rig rig;
	unsigned dones = 0, before;
	struct job jobs[2] = {{.order = &dones}, {.order = &dones}};
	pthread_t first;
	rig_init(&rig);
	ck_assert_int_eq(worker_thread(&first, "first", return_at_once, NULL), 0);      /* with it a sanitizer begins its own */
	pthread_join(first, NULL);
	before = count_threads();
	struct workers *w = workers_new(rig.base, "test", 4, 10);
	ck_assert_uint_eq(count_threads(), before);
	workers_submit(w, run_job, on_job, &jobs[0]);
	rig_run_until(&rig, &dones, 1);
	ck_assert_uint_eq(count_threads(), before + 1);
	for (int i = 0; i < 1000 && count_threads() > before; i++)
		usleep(10000);
	ck_assert_uint_eq(count_threads(), before);
	workers_submit(w, run_job, on_job, &jobs[1]);
	rig_run_until(&rig, &dones, 2);
	workers_free(w);
	rig_fini(&rig);
}
END_TEST

START_TEST(without_threads_jobs_are_run_all_the_same)
{
	struct rig rig;
	unsigned dones = 0;
	struct job jobs[2] = {{.order = &dones}, {.order = &dones}};
	pthread_attr_t attr;
	rig_init(&rig);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)1 << 50);      /* more than there are addresses */
	ck_assert_int_eq(pthread_setattr_default_np(&attr), 0);
	struct workers *w = workers_new(rig.base, "test", 4, 10);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(workers_submit(w, run_job, on_job, &jobs[i]), 0);
	ck_assert_uint_eq(dones, 0);
	rig_run_until(&rig, &dones, 2);
	for (int i = 0; i < 2; i++)
		ck_assert(pthread_equal(jobs[i].thread, pthread_self()));
	workers_free(w);
	pthread_attr_destroy(&attr);
	rig_fini(&rig);
}
END_TEST

struct chain {
	struct workers *w;
	unsigned left, refused;
};

static void on_chain(void *arg)
{
	struct chain *chain = arg;
	if (chain->left == 0)
		return;
	chain->left--;
	if (workers_submit(chain->w, ignore, on_chain, chain) < 0)
		chain->refused++;
}

START_TEST(done_may_submit_and_is_refused_when_the_pool_is_being_freed)
{
	struct rig rig;
	rig_init(&rig);
	struct chain chain = {.w = workers_new(rig.base, "test", 2, 10), .left = 100};
	workers_submit(chain.w, ignore, on_chain, &chain);
	while (chain.left > 50)
		event_base_loop(rig.base, EVLOOP_ONCE);
	workers_free(chain.w);
	ck_assert_uint_eq(chain.refused, 1);
	rig_fini(&rig);
}
END_TEST

static void read_own_state(void *arg)
{
	char *state = arg;
	sigset_t blocked;
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	bool all = sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGHUP) == 1
		&& sigismember(&blocked, SIGCHLD) == 1 && sigismember(&blocked, SIGPIPE) == 1;
	prctl(PR_GET_NAME, state);
	strcat(state, all ? " blocks" : " lets through");
}

START_TEST(threads_have_a_name_and_block_signals_and_the_loop_still_gets_them)
{
	struct rig rig;
	char state[64] = "";
	sigset_t blocked;
	rig_init(&rig);
	struct workers *w = workers_new(rig.base, "a-very-long-name-for-a-thread", 1, 1);
	workers_submit(w, read_own_state, ignore, state);
	workers_free(w);
	ck_assert_str_eq(state, "a-very-long-nam blocks");
	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	ck_assert_int_eq(sigismember(&blocked, SIGTERM), 0);
	rig_fini(&rig);
}
END_TEST

START_TEST(freeing_no_pool_does_nothing)
{
	workers_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker");
	TCase *tc = tcase_create("worker");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, each_job_runs_once_off_the_loop_and_is_done_once_on_it);
	tcase_add_test(tc, one_thread_runs_jobs_in_the_order_they_came);
	tcase_add_test(tc, pool_of_n_threads_runs_n_jobs_at_once);
	tcase_add_test(tc, full_queue_refuses_a_job_and_calls_nothing);
	tcase_add_test(tc, freeing_runs_and_completes_all_that_was_submitted);
	tcase_add_test(tc, done_may_submit_and_is_refused_when_the_pool_is_being_freed);
	tcase_add_test(tc, threads_have_a_name_and_block_signals_and_the_loop_still_gets_them);
	tcase_add_test(tc, threads_come_with_jobs_and_go_when_there_is_nothing_to_do);
	tcase_add_test(tc, without_threads_jobs_are_run_all_the_same);
	tcase_add_test(tc, freeing_no_pool_does_nothing);
	suite_add_tcase(s, tc);
	return rig_main(s);
}
