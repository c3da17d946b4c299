/* A thread for one blocking call; see errand.h. Two hold an errand, the thread and
 * the loop; whoever lets go last releases it. So a thread that hangs for ever costs
 * its stack and its arg, and no one's time. */
#include "errand.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../proto/buf.h"
#include "clock.h"

struct errand {
	atomic_int holders;
	atomic_bool is_run;     /* release-acquire: hands arg from the thread to the loop */
	job_run_fn run;
	job_done_fn done, release;
	void *arg;
	int over_fd;            /* eventfd: run has returned */
	struct event *on_over;
};

static void let_go(struct errand *e)
{
	if (atomic_fetch_sub(&e->holders, 1) > 1)
		return;
	e->release(e->arg);
	close(e->over_fd);
	free(e);
}

static void *go(void *arg)
{
	struct errand *e = arg;
	e->run(e->arg);
	atomic_store(&e->is_run, true);
	(void)eventfd_write(e->over_fd, 1);     /* cannot fail: it is the only one */
	let_go(e);
	return NULL;
}

static void on_over(evutil_socket_t fd, short what, void *arg)
{
	struct errand *e = arg;
	(void)fd, (void)what;
	clock_update();
	event_free(e->on_over);
	assert(atomic_load(&e->is_run));
	e->done(e->arg);
	let_go(e);
}

struct errand *errand_start(struct event_base *base, const char *name,
	job_run_fn run, job_done_fn done, job_done_fn release, void *arg)
{
	struct errand *e = xmalloc(sizeof(*e));
	*e = (struct errand){.holders = 2, .run = run, .done = done, .release = release, .arg = arg};
	e->over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->over_fd < 0)
		goto free_errand;
	e->on_over = event_new(base, e->over_fd, EV_READ, on_over, e);
	if (!e->on_over || event_add(e->on_over, NULL) < 0)
		goto close_fd;
	pthread_t thread;
	errno = worker_thread(&thread, name, go, e);
	if (errno)
		goto close_fd;
	pthread_detach(thread);
	return e;
close_fd:
	if (e->on_over)
		event_free(e->on_over);
	close(e->over_fd);
free_errand:
	free(e);
	return NULL;
}

void errand_abandon(struct errand *e)
{
	if (!e)
		return;
	event_free(e->on_over);
	let_go(e);
}
