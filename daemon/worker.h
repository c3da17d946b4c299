/* Threads for what would block the loop: SQLite, the checking, joining and
 * hashing of large values, name look-ups. A pool runs jobs in the order they
 * came; each job's result is taken up on the loop. */
#ifndef CATCACHED_WORKER_H
#define CATCACHED_WORKER_H

#include <pthread.h>
#include <stddef.h>

struct event_base;
struct workers;

typedef void (*job_run_fn)(void *arg);   /* on a worker thread */
typedef void (*job_done_fn)(void *arg);  /* on the loop, later, never from within workers_submit */

#define WORKER_IDLE_S 2                 /* a thread without a job for so long ends */

/* A pool of up to `threads` (>= 1), started as jobs come, that holds at most max_queued jobs
 * waiting for one. name is for the threads (15 bytes are shown by ps). Threads block all
 * signals. NULL (errno) when the system has no descriptor left. */
struct workers *workers_new(struct event_base *base, const char *name, unsigned threads, size_t max_queued);

/* Queues a job; loop thread only. run is called once on some thread (only where the system has
 * none left on this one, at once), then done once on the loop. 0, or -1 when the queue is full or being freed: then neither is called. */
int workers_submit(struct workers *w, job_run_fn run, job_done_fn done, void *arg);

/* Jobs queued and not yet taken by a thread. */
size_t workers_queued(const struct workers *w);

/* Waits for the jobs that run, and calls done for all that were submitted (jobs
 * not yet begun are run too: whoever wants it short interrupts them first). Not
 * from within a done. NULL is allowed. */
void workers_free(struct workers *w);

/* pthread_create for a thread of this process: all signals blocked, named, default
 * attributes. 0 or an errno. */
int worker_thread(pthread_t *thread, const char *name, void *(*start)(void *), void *arg);

#endif
