/* Listening and accepting; see server.h. */
#include "server.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "client.h"
#include "clock.h"
#include "command.h"
#include "histogram.h"
#include "log.h"

#define BACKLOG 1024
#define ACCEPTS 64              /* taken in one turn of the loop */
#define PAUSE_MS 100            /* without descriptors, accepting rests this long */
#define SWEEP_MAX_MS 1000
#define ARGS_EXTRA (1 << 20)    /* bytes of a request beyond one argument of the largest size */

struct listener {
	struct server *server;
	int fd;
	dev_t dev;                      /* of the socket file, to know it again */
	ino_t ino;
	bool is_starved;                /* accepting has failed and was told */
	struct event *acceptable;
	struct event *resume;
	struct event *sweep;            /* closes idle clients; NULL: they may stay */
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
static void start_sweeping(struct listener *l)
{
	int64_t ms = l->server->conf->idle_timeout_ms;
	if (!ms)
		return;
	ms = ms > 10 * SWEEP_MAX_MS ? SWEEP_MAX_MS : ms / 10 + 1;
	l->sweep = event_new(l->server->base, -1, EV_PERSIST, on_sweep, l);
	event_add(l->sweep, &(struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000});
}

/* ---- the socket file ---- */

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	memcpy(a.sun_path, path, strlen(path)); /* conf checked that it fits */
	return a;
}

/* Nobody listens there any more. An error that leaves it open (no right to connect) does not count. */
static bool is_stale(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 && errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return refused;
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
	if (!is_stale(a)) {
		*error = xasprintf("%s is in use by a running daemon: stop it, or change listen.path", path);
		return -1;
	}
	if (unlink(path) < 0) {
		*error = xasprintf("cannot replace the stale socket %s: %s", path, strerror(errno));
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
		*error = xasprintf("cannot set listen.mode on %s: %s", conf->listen_path, strerror(errno));
		return -1;
	}
	return 0;
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
		*error = xasprintf("cannot listen at %s: %s (does its folder exist, and may this user write to it?)",
			conf->listen_path, strerror(bind_errno));
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
	if (lstat(path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(path);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	client_drive_ready(arg);
}

struct server *server_new(struct event_base *base, const struct conf *conf, struct catalog *catalog)
{
	struct server *s = xcalloc(1, sizeof(*s));
	*s = (struct server){.base = base, .conf = conf, .catalog = catalog, .spare = OUT_INIT,
		.limits = {.max_arg = conf->max_request, .max_total = conf->max_request + ARGS_EXTRA},
		.stats.started_ms = clock_ms(), .stats.started_at_ms = clock_wall_ms()};
	s->latency = xcalloc(command_count_rows() + 1, sizeof(*s->latency));
	s->latency_of_others = &s->latency[command_count_rows()];
	s->drive = evtimer_new(base, on_ready, s);
	return s;
}

int server_listen(struct server *s, char **error)
{
	int fd = listen_at(s->conf, error);
	if (fd < 0)
		return -1;
	struct listener *l = s->listener = xcalloc(1, sizeof(*l));
	*l = (struct listener){.server = s, .fd = fd};
	remember_own(l);
	l->acceptable = event_new(s->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	l->resume = evtimer_new(s->base, on_resume, l);
	event_add(l->acceptable, NULL);
	start_sweeping(l);
	return 0;
}

static void listener_free(struct listener *l)
{
	if (!l)
		return;
	event_free(l->acceptable);
	event_free(l->resume);
	if (l->sweep)
		event_free(l->sweep);
	close(l->fd);
	remove_own(l);
	free(l);
}

void server_free(struct server *s)
{
	if (!s)
		return;
	listener_free(s->listener);
	while (s->clients)
		client_free(s->clients);
	event_free(s->drive);
	buf_free(&s->scratch);
	out_fini(&s->spare);
	free(s->latency);
	free(s);
}
