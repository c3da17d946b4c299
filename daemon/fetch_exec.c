/* Fetching from a program, the type's hook: what it writes to stdout is the value,
 * its exit status says what that is worth. See fetch.h; process.c does the forking.
 *
 *      begin --> SPAWNING --worker--> RUNNING --pidfd--> EXITED --> finish
 *                                        |    stdout's end or a grace period
 *                                        +--- stop: the group is killed, then as above
 *
 * Invariant: a hook's process group exists, if only as a zombie, from RUNNING to
 * finish, so killing the group never hits anyone else. */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../proto/buf.h"
#include "clock.h"
#include "fetch.h"
#include "fetch_call.h"
#include "log.h"
#include "process.h"
#include "worker.h"

#define HOOKS_MAX 256           /* at once; three descriptors each */
#define STDERR_MAX 200          /* bytes of its first line that are kept */
#define READ_SIZE 65536         /* a pipe's worth */
#define GRACE_MS 200            /* after the end of a hook, for the end of its output */
#define KILL_WAIT_MS 1000       /* when shutting down, for a killed hook */

enum hook_state { HOOK_SPAWNING, HOOK_RUNNING, HOOK_EXITED };

struct hook {
	LIST_ENTRY(hook) link;
	struct exec *owner;
	struct fetch_call *call;
	enum hook_state state;
	char **argv;
	_Atomic pid_t spawned;          /* set by the worker: its process, -1 if there is none; 0: not yet */
	int spawn_error;                /* errno, or 0; known when SPAWNING is over */
	struct process process;         /* from RUNNING on */
	int status;                     /* of the process; in EXITED */
	struct event *ended, *out_ready, *err_ready, *grace;    /* NULL: over */
	struct buf out;
	char line[STDERR_MAX + 1];      /* first line of stderr, so far */
	size_t line_len;
	bool line_ended;
};

struct exec {
	struct event_base *base;
	struct workers *spawner;        /* one thread: to execute may mean to wait for a disk */
	struct fetch_calls *calls;
	LIST_HEAD(hook_list, hook) hooks;
};

/* ---- the command line ---- */

/* word with each {type} and {name} replaced. What is put in is not looked at again. */
static char *expand(const char *word, const struct fetch_order *order)
{
	struct buf b = BUF_INIT;
	while (*word) {
		if (strncmp(word, "{type}", 6) == 0) {
			buf_add_str(&b, order->type->name);
			word += 6;
		} else if (strncmp(word, "{name}", 6) == 0) {
			buf_add_str(&b, order->name);
			word += 6;
		} else {
			buf_add_char(&b, *word++);
		}
	}
	buf_add_char(&b, '\0');
	return b.data;
}

/* The program itself is never put together from a key. */
static char **make_argv(const struct fetch_order *order)
{
	char *const *words = order->type->fetch.exec;
	size_t n = 0;
	while (words[n])
		n++;
	char **argv = xcalloc(n + 1, sizeof(*argv));
	argv[0] = xstrdup(words[0]);
	for (size_t i = 1; i < n; i++)
		argv[i] = expand(words[i], order);
	return argv;
}

static void free_argv(char **argv)
{
	for (char **word = argv; *word; word++)
		free(*word);
	free(argv);
}

/* ---- output ---- */

static void drop_event(struct event **e)
{
	if (*e)
		event_free(*e);
	*e = NULL;
}

static void keep_first_line(struct hook *h, const char *p, size_t n)
{
	for (; n > 0 && !h->line_ended; p++, n--) {
		h->line_ended = *p == '\n' || h->line_len == STDERR_MAX;
		if (!h->line_ended)
			h->line[h->line_len++] = *p ? *p : ' ';
	}
}

static ssize_t read_err(struct hook *h)
{
	char some[4096];
	ssize_t n = read(h->process.err_fd, some, sizeof(some));
	if (n > 0)
		keep_first_line(h, some, (size_t)n);
	return n;
}

static bool is_over(ssize_t n)
{
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void on_err_ready(evutil_socket_t fd, short what, void *arg)
{
	struct hook *h = arg;
	(void)fd, (void)what;
	if (is_over(read_err(h)))
		drop_event(&h->err_ready);
}

/* What comes is not wanted any more. */
static void give_up(struct hook *h, const char *reason)
{
	fetch_call_failed(h->call, "%s", reason);
	drop_event(&h->out_ready);
	process_kill(&h->process);
}

static void finish(struct hook *h);

static void on_out_ready(evutil_socket_t fd, short what, void *arg)
{
	struct hook *h = arg;
	(void)what;
	clock_update();
	char *to = buf_reserve(&h->out, READ_SIZE);
	if (!to) {
		give_up(h, "out of memory");
		return;
	}
	ssize_t n = read(fd, to, READ_SIZE);
	if (n > 0)
		h->out.len += (size_t)n;
	if (h->out.len > FETCH_MAX_BYTES) {
		give_up(h, "the output is larger than the limit of 256 MiB");
	} else if (is_over(n)) {
		drop_event(&h->out_ready);
		if (h->state == HOOK_EXITED)
			finish(h);
	}
}

/* ---- the end of a hook ---- */

static void hook_free(struct hook *h)
{
	LIST_REMOVE(h, link);
	drop_event(&h->ended);
	drop_event(&h->out_ready);
	drop_event(&h->err_ready);
	drop_event(&h->grace);
	free_argv(h->argv);
	buf_free(&h->out);
	free(h);
}

static void answer_failure(struct hook *h)
{
	char cause[FETCH_CAUSE_MAX];
	if (h->status == PROCESS_UNKNOWN) {
		fetch_call_failed(h->call, "exit status lost");
		return;
	}
	snprintf(cause, sizeof(cause), h->status < 0 ? "killed by signal %d" : "exit status %d", abs(h->status));
	fetch_call_blame(h->call, BREAKER_FAILED, cause, "%s%s%s", cause, h->line_len ? ": " : "", h->line);
}

/* Exit status 1 without output means that the key does not exist; but it is also what many an
 * interpreter ends with when the program breaks. So one that has begun to write a value has
 * failed; and that it had last words is told, and these, which may quote the key, to who is
 * debugging. */
static void answer_absence(struct hook *h)
{
	const char *type = h->call->order.type->name;
	if (h->line_len) {
		log_warning("hook_says_absent", "type=%s remedy=%s", type,
			log_quote("it wrote to stderr: if it broke it must not exit with 1; log.level debug shows what it wrote"));
		log_debug("source_said", "type=%s text=%s", type, log_quote(h->line));
	}
	fetch_call_absent(h->call);
}

/* The process has ended. Whom it left behind goes with it. */
static void finish(struct hook *h)
{
	struct fetch_call *call = h->call;
	process_kill(&h->process);
	(void)read_err(h);              /* its end may have come before its last words */
	process_reap(&h->process);
	if (h->status == 0) {
		fetch_call_end_with(call, &h->out);
	} else {
		if (h->status == 1 && h->out.len == 0)
			answer_absence(h);
		else
			answer_failure(h);
		fetch_call_end(call);
	}
	hook_free(h);
}

static void on_grace(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	finish(arg);
}

/* If stdout is still open, somebody whom the hook left behind holds it, or the rest of
 * it has not been read yet: both get the grace period. */
static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct hook *h = arg;
	(void)fd, (void)what;
	clock_update();
	drop_event(&h->ended);
	h->status = process_status(&h->process);
	h->state = HOOK_EXITED;
	if (!h->out_ready || fetch_call_answered(h->call))
		finish(h);
	else
		event_add(h->grace, &(struct timeval){.tv_usec = GRACE_MS * 1000});
}

/* ---- the driver ---- */

static struct event *watch(struct hook *h, int fd, short what, event_callback_fn callback)
{
	struct event *e = event_new(h->owner->base, fd, what, callback, h);
	if (!e || (fd >= 0 && event_add(e, NULL) < 0))
		abort();                /* as for any bookkeeping allocation */
	return e;
}

static void spawn(void *arg)
{
	struct hook *h = arg;
	h->spawn_error = process_start(&h->process, h->argv);
	atomic_store(&h->spawned, h->spawn_error ? -1 : h->process.pid);
}

static void on_spawned(void *arg)
{
	struct hook *h = arg;
	if (h->spawn_error) {
		fetch_call_blame(h->call, BREAKER_FAILED, "", "cannot run %s: %s", h->argv[0], strerrordesc_np(h->spawn_error));
		fetch_call_end(h->call);
		hook_free(h);
		return;
	}
	h->state = HOOK_RUNNING;
	h->ended = watch(h, h->process.pid_fd, EV_READ, on_ended);
	h->out_ready = watch(h, h->process.out_fd, EV_READ | EV_PERSIST, on_out_ready);
	h->err_ready = watch(h, h->process.err_fd, EV_READ | EV_PERSIST, on_err_ready);
	h->grace = watch(h, -1, 0, on_grace);
	if (fetch_call_answered(h->call))
		process_kill(&h->process);
}

static void begin(void *driver, struct fetch_call *call)
{
	struct exec *d = driver;
	struct hook *h = xcalloc(1, sizeof(*h));
	h->owner = d;
	h->call = call;
	h->argv = make_argv(&call->order);
	LIST_INSERT_HEAD(&d->hooks, h, link);
	call->run = h;
	/* The queue has room: it is as long as there are slots. */
	int result = workers_submit(d->spawner, spawn, on_spawned, h);
	assert(result == 0);
}

static void stop(void *driver, struct fetch_call *call)
{
	struct hook *h = call->run;
	(void)driver;
	switch (h->state) {
	case HOOK_SPAWNING:             /* on_spawned will see that it is answered */
		break;
	case HOOK_RUNNING:
		process_kill(&h->process);
		break;
	case HOOK_EXITED:
		finish(h);
		break;
	}
}

static void start(void *self, const struct fetch_order *order, fetch_done_fn done, void *arg)
{
	struct exec *d = self;
	fetch_call_start(d->calls, order, done, arg);
}

/* SIGKILL is on its way to h; a process that hangs in the kernel is left to init. */
static void finish_killed(struct hook *h)
{
	struct pollfd end = {.fd = h->process.pid_fd, .events = POLLIN};
	(void)poll(&end, 1, KILL_WAIT_MS);
	h->status = process_status(&h->process);
	finish(h);
}

static void exec_free(void *self)
{
	struct exec *d = self;
	struct hook *h;
	fetch_calls_close(d->calls);
	workers_free(d->spawner);
	while ((h = LIST_FIRST(&d->hooks)))
		finish_killed(h);
	fetch_calls_free(d->calls);
	free(d);
}

const struct fetch_driver *fetch_exec_new(struct event_base *base, struct workers *cpu, void **self)
{
	static const struct fetch_driver driver = {.name = "exec", .start = start, .free = exec_free};
	static const struct fetch_runner runner = {begin, stop};
	struct workers *spawner = workers_new(base, "spawn", 1, HOOKS_MAX);
	if (!spawner)
		return NULL;
	/* A parent may have left it ignored; then no exit status would reach us. */
	signal(SIGCHLD, SIG_DFL);
	struct exec *d = xcalloc(1, sizeof(*d));
	d->base = base;
	d->spawner = spawner;
	d->calls = fetch_calls_new(base, cpu, HOOKS_MAX, &runner, d);
	*self = d;
	return &driver;
}

static bool is_child(pid_t pid)
{
	siginfo_t info;
	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* A hook may ask for something before the worker that started it says so. There is one worker,
 * and the last in the list is the first in its queue: what is a child, but not a known one,
 * is that. */
const struct fetch_order *fetch_exec_run_by(const void *self, pid_t group)
{
	const struct exec *x = self;
	const struct hook *h, *starting = NULL;
	LIST_FOREACH(h, &x->hooks, link) {
		pid_t pid = atomic_load(&h->spawned);
		if (pid == group && h->state != HOOK_EXITED)
			return &h->call->order;
		if (pid == 0)
			starting = h;
	}
	return starting && is_child(group) ? &starting->call->order : NULL;
}
