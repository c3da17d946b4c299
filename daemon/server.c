/* Listening and accepting; see server.h. */
#include "server.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "client.h"
#include "clock.h"
#include "command.h"
#include "histogram.h"
#include "log.h"

#define PASSED_NAME "clients"   /* FileDescriptorName= of systemd/catcached.socket */
#define BACKLOG 1024
#define ACCEPTS 64              /* taken in one turn of the loop */
#define PAUSE_MS 100            /* without descriptors, accepting rests this long */
#define SWEEP_MAX_MS 1000
#define ARGS_EXTRA (1 << 20)    /* bytes of a request beyond one argument of the largest size */

struct listener {
	struct server *server;
	int fd;
	bool is_passed;                 /* by the service manager, which keeps it */
	dev_t dev;                      /* of the socket file, to know it again */
	ino_t ino;
	bool is_starved;                /* accepting has failed and was told */
	struct event *acceptable;
	struct event *resume;
	struct event *sweep;            /* closes idle clients; not pending: they may stay */
};

static void turn_away(int fd)
{
	static const char error[] = "-ERR max number of clients reached\r\n";
	/* Best effort: whoever does not take it sees the close. */
	(void)!send(fd, error, sizeof(error) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void pause_accepting(struct listener *l, const char *reason)
{
	if (!l->is_starved)
		log_warning("accept_failed", "reason=%s", log_quote(reason));
	l->is_starved = true;
	event_del(l->acceptable);
	event_add(l->resume, &(struct timeval){.tv_usec = PAUSE_MS * 1000});
}

/* False when accepting is over for this turn. */
static bool accept_one(struct listener *l)
{
	struct server *s = l->server;
	int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		int why = errno;
		if (why == EMFILE || why == ENFILE || why == ENOMEM || why == ENOBUFS)
			pause_accepting(l, strerror(why));
		return why == EINTR || why == ECONNABORTED;
	}
	if (s->n_clients >= s->conf->max_clients) {
		s->stats.rejected++;
		turn_away(fd);
		return true;
	}
	l->is_starved = false;
	client_new(s, fd, ++s->stats.connections);
	return true;
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	for (int i = 0; i < ACCEPTS && accept_one(arg); i++)
		;
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	(void)fd, (void)what;
	event_add(l->acceptable, NULL);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = ((struct listener *)arg)->server;
	(void)fd, (void)what;
	clock_update();
	for (struct client *c = s->clients, *next; c; c = next) {
		next = client_next(c);
		s->stats.idle += client_close_if_idle(c, s->conf->idle_timeout_ms);
	}
}

/* Idle clients are noticed within a tenth of the time-out, or a second. */
static void set_sweeping(struct listener *l)
{
	int64_t ms = l->server->conf->idle_timeout_ms;
	event_del(l->sweep);
	if (!ms)
		return;
	clock_arm(l->sweep, ms > 10 * SWEEP_MAX_MS ? SWEEP_MAX_MS : ms / 10 + 1);
}

/* ---- the socket file ---- */

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	memcpy(a.sun_path, path, strlen(path)); /* conf checked that it fits */
	return a;
}

/* What becomes of connecting there: 0, or an errno. */
static int try_socket(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	int why = connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 ? errno : 0;
	close(fd);
	return why;
}

/* A daemon that died left its socket behind. Anything else in its place is not ours to remove. */
static int remove_stale(const char *path, const struct sockaddr_un *a, char **error)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode)) {
		*error = xasprintf("%s exists and is not a socket: move it away or change listen.path", path);
		return -1;
	}
	int why = try_socket(a);
	if (why == 0 || why == EAGAIN) {
		*error = xasprintf("%s is in use by a running daemon: stop it, or change listen.path", path);
		return -1;
	}
	if (why != ECONNREFUSED) {
		*error = xasprintf("cannot tell whether %s is in use: %s (if it is not, remove it; if it is, change listen.path)",
			path, strerror(why));
		return -1;
	}
	if (unlink(path) < 0) {
		*error = xasprintf("cannot replace the stale socket %s: %s (remove it, or let the daemon's user write to its folder)",
			path, strerror(errno));
		return -1;
	}
	return 0;
}

static int admit(const struct conf *conf, char **error)
{
	if (conf->has_listen_group && chown(conf->listen_path, (uid_t)-1, conf->listen_group) < 0) {
		*error = xasprintf("cannot give %s to listen.group: %s (the daemon's user must be in that group)",
			conf->listen_path, strerror(errno));
		return -1;
	}
	if (chmod(conf->listen_path, conf->listen_mode) < 0) {
		*error = xasprintf("cannot set listen.mode on %s: %s (use a folder on a file system with permissions)",
			conf->listen_path, strerror(errno));
		return -1;
	}
	return 0;
}

static const char *remedy(int why)
{
	switch (why) {
	case ENOENT: return "make its folder";
	case EACCES: return "let the daemon's user write to its folder";
	case EROFS: return "its folder is read-only here: see ReadWritePaths= and RuntimeDirectory= of the service";
	default: return "see to its folder";
	}
}

/* Binds with no rights for anybody, so that nobody gets in before the mode is set. */
static int listen_at(const struct conf *conf, char **error)
{
	struct sockaddr_un a = address_of(conf->listen_path);
	if (remove_stale(conf->listen_path, &a, error) < 0)
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0777);
	int bound = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&a, sizeof(a));
	int bind_errno = errno;
	umask(mask);
	if (bound < 0) {
		*error = xasprintf("cannot listen at %s: %s (%s, or change listen.path)", conf->listen_path,
			strerror(bind_errno), remedy(bind_errno));
		goto close_fd;
	}
	if (admit(conf, error) < 0)
		goto remove_path;
	if (listen(fd, BACKLOG) == 0)
		return fd;
	*error = xasprintf("cannot listen at %s: %s", conf->listen_path, strerror(errno));
remove_path:
	unlink(conf->listen_path);
close_fd:
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- a socket that is passed ---- */

/* The descriptor of that name; -1 if none was passed, and if others were also *error. */
static int passed_socket(const char *name, char **error)
{
	char **names = NULL;
	int found = -1, n = sd_listen_fds_with_names(1, &names);
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			found = SD_LISTEN_FDS_START + i;
	if (n > 0 && found < 0)
		*error = xasprintf("the service manager passes a socket named %s, and none named %s: set FileDescriptorName=%s in the socket unit",
			names[0], name, name);
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return found;
}

/* The socket unit decides who may connect; a configuration that says otherwise is a trap. */
static void compare_rights(const struct conf *conf)
{
	struct stat st;
	if (stat(conf->listen_path, &st) < 0)
		return;
	if ((st.st_mode & 0777) != conf->listen_mode)
		log_warning("listen_mode_ignored", "socket=%04o configured=%04o remedy=%s", (unsigned)st.st_mode & 0777,
			(unsigned)conf->listen_mode, log_quote("set SocketMode= of the socket unit, which counts, or listen.mode"));
	if (conf->has_listen_group && st.st_gid != conf->listen_group)
		log_warning("listen_group_ignored", "socket=%u configured=%u remedy=%s", (unsigned)st.st_gid,
			(unsigned)conf->listen_group, log_quote("set SocketGroup= of the socket unit, which counts, or listen.group"));
}

/* -1 and no *error: none is passed. */
static int inherit(const struct conf *conf, char **error)
{
	int fd = passed_socket(PASSED_NAME, error);
	if (fd < 0)
		return -1;
	if (sd_is_socket_unix(fd, SOCK_STREAM, 1, conf->listen_path, 0) <= 0) {
		*error = xasprintf("the socket that the service manager passes does not listen at %s: make ListenStream= of the socket unit and listen.path the same",
			conf->listen_path);
		return -1;
	}
	if (evutil_make_socket_nonblocking(fd) < 0) {
		*error = xasprintf("cannot use the socket that the service manager passes: %s", strerror(errno));
		return -1;
	}
	compare_rights(conf);
	return fd;
}

/* ---- the server ---- */

static void remember_own(struct listener *l)
{
	struct stat st;
	if (lstat(l->server->conf->listen_path, &st) < 0)
		return;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
}

/* Whoever put another socket in its place is our successor. */
static void remove_own(const struct listener *l)
{
	struct stat st;
	const char *path = l->server->conf->listen_path;
	if (!l->is_passed && lstat(path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(path);
}

static void on_turn_over(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	(void)fd, (void)what;
	s->is_in_turn = false;
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	client_drive_ready(arg);
}

static struct request_limits limits_of(const struct conf *conf)
{
	return (struct request_limits){.max_arg = conf->max_request, .max_total = conf->max_request + ARGS_EXTRA};
}

struct server *server_new(struct event_base *base, const struct conf *conf, struct catalog *catalog)
{
	struct server *s = xcalloc(1, sizeof(*s));
	*s = (struct server){.base = base, .conf = conf, .catalog = catalog, .spare = OUT_INIT,
		.limits = limits_of(conf), .stats.started_ms = clock_ms(), .stats.started_at_ms = clock_wall_ms(),
		.stats.conf_at_ms = clock_wall_ms()};
	s->latency = xcalloc(command_count_rows() + 1, sizeof(*s->latency));
	s->latency_of_others = &s->latency[command_count_rows()];
	s->drive = evtimer_new(base, on_ready, s);
	s->turn_over = evtimer_new(base, on_turn_over, s);
	return s;
}

int server_listen(struct server *s, char **error)
{
	int passed = inherit(s->conf, error);
	int fd = passed < 0 && !*error ? listen_at(s->conf, error) : passed;
	if (fd < 0)
		return -1;
	struct listener *l = s->listener = xcalloc(1, sizeof(*l));
	*l = (struct listener){.server = s, .fd = fd, .is_passed = passed >= 0};
	remember_own(l);
	l->acceptable = event_new(s->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	l->resume = evtimer_new(s->base, on_resume, l);
	l->sweep = event_new(s->base, -1, EV_PERSIST, on_sweep, l);
	set_sweeping(l);
	return 0;
}

void server_set_conf(struct server *s, const struct conf *conf)
{
	s->conf = conf;
	s->limits = limits_of(conf);
	if (s->listener)
		set_sweeping(s->listener);
}

void server_open(struct server *s)
{
	event_add(s->listener->acceptable, NULL);
}

static void listener_free(struct listener *l)
{
	if (!l)
		return;
	event_free(l->acceptable);
	event_free(l->resume);
	event_free(l->sweep);
	close(l->fd);
	remove_own(l);
	free(l);
}

/* With its name gone nobody new can come to a socket of our own, so all who came are taken in; in
 * one that is passed they keep their place. */
static void stop_accepting(struct server *s)
{
	struct listener *l = s->listener;
	if (!l->is_passed) {
		remove_own(l);
		while (accept_one(l))
			;
	}
	listener_free(l);
	s->listener = NULL;
}

void server_drain(struct server *s)
{
	stop_accepting(s);
	for (struct client *c = s->clients; c; c = client_next(c))
		client_drain(c);
}

void server_free(struct server *s)
{
	if (!s)
		return;
	listener_free(s->listener);
	command_executions_hurry(s);
	while (s->clients)
		client_free(s->clients);
	event_free(s->drive);
	event_free(s->turn_over);
	buf_free(&s->scratch);
	out_fini(&s->spare);
	free(s->latency);
	free(s);
}
