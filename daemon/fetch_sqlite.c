/* Fetching from a SQLite file on worker threads: as many threads as connections, and
 * each call that runs has a connection of its own. See fetch.h; what happens on the
 * thread is in sqlite_conn.c.
 *
 * Invariant: while a job runs, its connection belongs to the thread, but for the stop
 * flag; else it is on the free list and belongs to the loop. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "../proto/buf.h"
#include "fetch.h"
#include "fetch_call.h"
#include "sqlite_conn.h"
#include "worker.h"

struct job {
	SLIST_ENTRY(job) next_free;
	struct sqlite *owner;
	struct sqlite_conn *conn;
	struct fetch_call *call;        /* valid while it runs */
	atomic_bool stop;               /* nobody waits for it any more */
	struct fetch_result result;
};

struct sqlite {
	struct fetch_calls *calls;
	struct workers *workers;
	SLIST_HEAD(job_list, job) free;
	unsigned n_jobs;
	struct job jobs[];
};

static void run(void *arg)
{
	struct job *job = arg;
	sqlite_conn_fetch(job->conn, &job->call->order, &job->stop, &job->result);
}

static void on_run(void *arg)
{
	struct job *job = arg;
	struct fetch_call *call = job->call;
	SLIST_INSERT_HEAD(&job->owner->free, job, next_free);
	switch (job->result.status) {
	case FETCH_FOUND:
		fetch_call_found(call, job->result.value);
		break;
	case FETCH_ABSENT:
		fetch_call_absent(call);
		break;
	case FETCH_FAILED:
		fetch_call_blame(call, job->result.source, job->result.cause, "%s", job->result.error);
		break;
	}
	fetch_call_end(call);
}

static void begin(void *driver, struct fetch_call *call)
{
	struct sqlite *d = driver;
	struct job *job = SLIST_FIRST(&d->free);
	SLIST_REMOVE_HEAD(&d->free, next_free);
	call->run = job;
	job->call = call;
	atomic_store(&job->stop, false);
	/* The queue has room: it is as long as there are jobs. */
	int result = workers_submit(d->workers, run, on_run, job);
	assert(result == 0);
}

static void stop(void *driver, struct fetch_call *call)
{
	struct job *job = call->run;
	(void)driver;
	atomic_store(&job->stop, true);
}

static void start(void *self, const struct fetch_order *order, fetch_done_fn done, void *arg)
{
	struct sqlite *d = self;
	fetch_call_start(d->calls, order, done, arg);
}

static void sqlite_free(void *self)
{
	struct sqlite *d = self;
	fetch_calls_close(d->calls);
	workers_free(d->workers);       /* soon: each job has been told to stop */
	for (unsigned i = 0; i < d->n_jobs; i++)
		sqlite_conn_free(d->jobs[i].conn);
	fetch_calls_free(d->calls);
	free(d);
}

const struct fetch_driver *fetch_sqlite_new(struct event_base *base, const struct conf_database *conf, void **self)
{
	static const struct fetch_driver driver = {.name = "sqlite", .trial = "SELECT count(*) FROM sqlite_master", .start = start, .free = sqlite_free};
	static const struct fetch_runner runner = {begin, stop};
	unsigned n = conf->connections;
	struct workers *workers = workers_new(base, "sqlite", n, n);
	if (!workers)
		return NULL;
	struct sqlite *d = xcalloc(1, sizeof(*d) + n * sizeof(d->jobs[0]));
	d->workers = workers;
	d->calls = fetch_calls_new(base, NULL, n, &runner, d);
	d->n_jobs = n;
	for (unsigned i = 0; i < n; i++) {
		d->jobs[i].owner = d;
		d->jobs[i].conn = sqlite_conn_new(conf->url);
		SLIST_INSERT_HEAD(&d->free, &d->jobs[i], next_free);
	}
	*self = d;
	return &driver;
}
