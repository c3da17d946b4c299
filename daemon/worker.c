/* Pools of threads; see worker.h. Jobs go out through a list under a mutex and
 * come back through another, which an eventfd announces to the loop:
 *
 *      loop: submit --> waiting --> thread: run --> finished --> loop: done
 *                           lock, wake                  lock, eventfd
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

struct workers {
	pthread_mutex_t lock;           /* of the two lists, n_waiting and stopping */
	pthread_cond_t wake;            /* a job is waiting, or stopping */
	struct job_list waiting, finished;
	atomic_size_t n_waiting;        /* atomic only for workers_queued, which takes no lock */
	bool stopping;

	size_t max_queued;
	int finished_fd;
	struct event *on_finished;
	unsigned n_threads;             /* started */
	pthread_t threads[];
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

static struct job *take_job(struct workers *w)
{
	pthread_mutex_lock(&w->lock);
	while (STAILQ_EMPTY(&w->waiting) && !w->stopping)
		pthread_cond_wait(&w->wake, &w->lock);
	struct job *job = STAILQ_FIRST(&w->waiting);
	if (job) {
		STAILQ_REMOVE_HEAD(&w->waiting, next);
		atomic_fetch_sub(&w->n_waiting, 1);
	}
	pthread_mutex_unlock(&w->lock);
	return job;
}

static void hand_back(struct workers *w, struct job *job)
{
	pthread_mutex_lock(&w->lock);
	bool was_empty = STAILQ_EMPTY(&w->finished);
	STAILQ_INSERT_TAIL(&w->finished, job, next);
	pthread_mutex_unlock(&w->lock);
	if (was_empty)
		(void)eventfd_write(w->finished_fd, 1);         /* cannot fail: the count never nears 2^64 */
}

static void *work(void *arg)
{
	struct workers *w = arg;
	struct job *job;
	while ((job = take_job(w))) {
		job->run(job->arg);
		hand_back(w, job);
	}
	return NULL;
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

static int start_threads(struct workers *w, const char *name, unsigned threads)
{
	for (w->n_threads = 0; w->n_threads < threads; w->n_threads++) {
		errno = worker_thread(&w->threads[w->n_threads], name, work, w);
		if (errno)
			return -1;
	}
	return 0;
}

static void stop_threads(struct workers *w)
{
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n_threads; i++)
		pthread_join(w->threads[i], NULL);
}

struct workers *workers_new(struct event_base *base, const char *name, unsigned threads, size_t max_queued)
{
	assert(threads > 0);
	struct workers *w = xcalloc(1, sizeof(*w) + threads * sizeof(w->threads[0]));
	w->max_queued = max_queued;
	STAILQ_INIT(&w->waiting);
	STAILQ_INIT(&w->finished);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	w->finished_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->finished_fd < 0)
		goto fail;
	w->on_finished = event_new(base, w->finished_fd, EV_READ | EV_PERSIST, on_finished, w);
	if (!w->on_finished || event_add(w->on_finished, NULL) < 0)
		goto fail;
	if (start_threads(w, name, threads) == 0)
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
	pthread_cond_signal(&w->wake);
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
	free(w);
}
