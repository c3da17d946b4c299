/* Pools of threads; see worker.h. Jobs go out through a list under a mutex and
 * come back through another, which an eventfd announces to the loop:
 *
 *      loop: submit --> waiting --> thread: run --> finished --> loop: done
 *                           lock, wake                  lock, eventfd
 *
 * Threads are started when there is something to do, and end when there has been nothing for a
 * while: a process of one thread pays less for each system call on a descriptor (the kernel
 * need not count who uses it), 7 % of a hit in memory.
 *
 * Invariant: the eventfd is readable while finished is not empty, because it is
 * written by whoever makes it non-empty and read before it is emptied. */
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "../proto/buf.h"
#include "clock.h"

struct job {
	STAILQ_ENTRY(job) next;
	job_run_fn run;
	job_done_fn done;
	void *arg;
};
STAILQ_HEAD(job_list, job);

/* A thread's place in the pool. */
struct place {
	bool is_taken;                  /* there is a thread, to be joined; the loop's */
	bool is_gone;                   /* which has ended, or is about to */
	pthread_t thread;
	struct workers *pool;
};

struct workers {
	pthread_mutex_t lock;           /* of all but what is below */
	pthread_cond_t wake;            /* a job is waiting, or stopping */
	struct job_list waiting, finished;
	atomic_size_t n_waiting;        /* atomic only for workers_queued, which takes no lock */
	unsigned n_idle;                /* threads that wait for a job, */
	unsigned n_working;             /* of so many */
	bool stopping;

	char *name;
	size_t max_queued;
	int finished_fd;
	struct event *on_finished;
	unsigned n_places;
	struct place places[];          /* of these the lock is of is_gone */
};

int worker_thread(pthread_t *thread, const char *name, void *(*start)(void *), void *arg)
{
	sigset_t all, before;
	char short_name[16];            /* a longer one would be refused */
	snprintf(short_name, sizeof(short_name), "%s", name);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(thread, NULL, start, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		(void)pthread_setname_np(*thread, short_name);  /* for ps only */
	return error;
}

/* A job; or NULL when the pool stops, or there has been none for a while. The lock is held, here and below. */
static struct job *take_job(struct workers *w)
{
	struct timespec end;
	int timed_out = 0;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += WORKER_IDLE_S;
	w->n_idle++;
	while (STAILQ_EMPTY(&w->waiting) && !w->stopping && !timed_out)
		timed_out = pthread_cond_timedwait(&w->wake, &w->lock, &end);
	w->n_idle--;
	struct job *job = STAILQ_FIRST(&w->waiting);
	if (job) {
		STAILQ_REMOVE_HEAD(&w->waiting, next);
		atomic_fetch_sub(&w->n_waiting, 1);
	}
	return job;
}

static void hand_back(struct workers *w, struct job *job)
{
	if (STAILQ_EMPTY(&w->finished))
		(void)eventfd_write(w->finished_fd, 1);         /* cannot fail: the count never nears 2^64 */
	STAILQ_INSERT_TAIL(&w->finished, job, next);
}

static void *work(void *arg)
{
	struct place *place = arg;
	struct workers *w = place->pool;
	struct job *job;
	pthread_mutex_lock(&w->lock);
	while ((job = take_job(w))) {
		pthread_mutex_unlock(&w->lock);
		job->run(job->arg);
		pthread_mutex_lock(&w->lock);
		hand_back(w, job);
	}
	place->is_gone = true;
	w->n_working--;
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static struct place *free_place(struct workers *w)
{
	struct place *p = w->places;
	while (p->is_taken && !p->is_gone)
		p++;
	if (p->is_taken)
		pthread_join(p->thread, NULL);  /* it has let go of the lock */
	p->is_taken = p->is_gone = false;
	return p;
}

/* One more thread if there are more jobs than threads without one. -1: there is none, and none to be had. */
static int provide_thread(struct workers *w)
{
	if (w->n_waiting <= w->n_idle || w->n_working == w->n_places)
		return 0;
	struct place *place = free_place(w);
	place->is_taken = worker_thread(&place->thread, w->name, work, place) == 0;
	w->n_working += place->is_taken;
	return w->n_working ? 0 : -1;
}

/* A system without threads left is served slowly, rather than not at all. */
static void run_here(struct workers *w)
{
	struct job *job = STAILQ_FIRST(&w->waiting);
	STAILQ_REMOVE_HEAD(&w->waiting, next);
	atomic_fetch_sub(&w->n_waiting, 1);
	job->run(job->arg);
	hand_back(w, job);
}

static void finish_jobs(struct workers *w)
{
	struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
	pthread_mutex_lock(&w->lock);
	STAILQ_CONCAT(&finished, &w->finished);
	pthread_mutex_unlock(&w->lock);
	while (!STAILQ_EMPTY(&finished)) {
		struct job *job = STAILQ_FIRST(&finished);
		STAILQ_REMOVE_HEAD(&finished, next);
		job->done(job->arg);
		free(job);
	}
}

static void on_finished(evutil_socket_t fd, short what, void *arg)
{
	struct workers *w = arg;
	eventfd_t ignored;
	(void)what;
	(void)eventfd_read(fd, &ignored);       /* before the list is taken, so that no job is missed */
	clock_update();
	finish_jobs(w);
}

static void stop_threads(struct workers *w)
{
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n_places; i++)
		if (w->places[i].is_taken)
			pthread_join(w->places[i].thread, NULL);
}

static void init_wake(pthread_cond_t *wake)
{
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

struct workers *workers_new(struct event_base *base, const char *name, unsigned threads, size_t max_queued)
{
	assert(threads > 0);
	struct workers *w = xcalloc(1, sizeof(*w) + threads * sizeof(w->places[0]));
	w->name = xstrdup(name);
	w->max_queued = max_queued;
	for (w->n_places = 0; w->n_places < threads; w->n_places++)
		w->places[w->n_places].pool = w;
	STAILQ_INIT(&w->waiting);
	STAILQ_INIT(&w->finished);
	pthread_mutex_init(&w->lock, NULL);
	init_wake(&w->wake);
	w->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->finished_fd < 0)
		goto fail;
	w->on_finished = event_new(base, w->finished_fd, EV_READ | EV_PERSIST, on_finished, w);
	if (!w->on_finished || event_add(w->on_finished, NULL) < 0)
		goto fail;
	return w;
fail:;
	int error = errno;
	workers_free(w);
	errno = error;
	return NULL;
}

int workers_submit(struct workers *w, job_run_fn run, job_done_fn done, void *arg)
{
	if (w->stopping || atomic_load(&w->n_waiting) >= w->max_queued)
		return -1;
	struct job *job = xmalloc(sizeof(*job));
	*job = (struct job){.run = run, .done = done, .arg = arg};
	pthread_mutex_lock(&w->lock);
	STAILQ_INSERT_TAIL(&w->waiting, job, next);
	atomic_fetch_add(&w->n_waiting, 1);
	if (provide_thread(w) == 0)
		pthread_cond_signal(&w->wake);
	else
		run_here(w);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

size_t workers_queued(const struct workers *w)
{
	return atomic_load(&w->n_waiting);
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	stop_threads(w);
	finish_jobs(w);
	if (w->on_finished)
		event_free(w->on_finished);
	if (w->finished_fd >= 0)
		close(w->finished_fd);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w->name);
	free(w);
}
