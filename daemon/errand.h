/* One call that may block for as long as it likes and cannot be interrupted (a
 * name look-up, PQcancel): it gets a thread of its own, which nobody waits for. */
#ifndef CATCACHED_ERRAND_H
#define CATCACHED_ERRAND_H

#include "worker.h"

struct event_base;
struct errand;

/* Calls run(arg) on a new thread (signals blocked), then done(arg) on the loop, never
 * before errand_start has returned, then release(arg). arg belongs to the thread
 * until done. NULL (errno) when the system has no thread or descriptor left: then
 * nothing is called. The errand itself is gone once done has been called. */
struct errand *errand_start(struct event_base *base, const char *name,
	job_run_fn run, job_done_fn done, job_done_fn release, void *arg);

/* done will not be called. run may go on; release(arg) follows it on its thread, or
 * is called here if run is over. NULL is allowed. */
void errand_abandon(struct errand *e);

#endif
