/* catcached: options, configuration, the loop, and the way down. What is made here
 * is handed down; nothing below knows this file. */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "admin.h"
#include "catalog.h"
#include "clock.h"
#include "log.h"
#include "memory.h"
#include "notify.h"
#include "reload.h"
#include "server.h"
#include "version.h"
#include "warm.h"

#define EXPIRE_INTERVAL_MS 100
#define OTHER_DESCRIPTORS 512   /* besides the clients': databases, hooks, Redis, the loop */
#define LOOK_MS 2               /* at the start, between two looks whether Redis is there, */
#define OPEN_MS 1000            /* for so long at the most */
#define DRAIN_MS 3000           /* at the end, for what is owed to clients */
#define SETTLE_MS 1000          /* after it, for what Redis is still to be told */
#define LARGE_BLOCK (256 << 10)

enum { EXIT_BAD_CONFIG = 1, EXIT_USAGE = 2, EXIT_CANNOT_START = 3 };

struct daemon {
	struct event_base *base;
	const char *file;               /* of the configuration */
	struct conf *conf;
	struct conf *next;              /* being moved over to; NULL: none */
	struct reloader *reloader;
	struct catalog *catalog;
	struct server *server;
	struct admin *admin;            /* NULL: there is no HTTP port */
	struct notify *notify;
	int64_t open_at_ms;             /* whether Redis is there or not */
	struct warmer *warmer;
	struct event *terminate, *interrupt, *hangup, *expire, *opening, *patience;
};

static void usage(FILE *to)
{
	fputs("usage: catcached -c FILE            run in the foreground with this configuration\n"
	      "       catcached --check-config FILE  say what is wrong with a configuration; exit 1 if anything is\n"
	      "       catcached --help-config        list every configuration key with its default\n"
	      "       catcached --version | --help\n"
	      "exit status: 0 stopped by SIGTERM or SIGINT; 1 bad configuration; 2 usage; 3 cannot start\n", to);
}

static struct conf *load(const char *file)
{
	struct conf_errors errors = {0};
	struct conf *conf = conf_load(file, &errors);
	for (size_t i = 0; i < errors.n; i++)
		fprintf(stderr, "%s\n", errors.lines[i]);
	conf_errors_free(&errors);
	return conf;
}

static int check_config(const char *file)
{
	struct conf *conf = load(file);
	if (!conf)
		return EXIT_BAD_CONFIG;
	printf("%s: good, %zu types\n", file, conf->n_types);
	conf_free(conf);
	return 0;
}

/* ---- the process ---- */

static void set_log(const struct conf *conf)
{
	log_set_level((enum log_level)log_level_named(conf->log_level));
	log_set_json(strcmp(conf->log_format, "json") == 0);
}

/* Large values come and go as mappings of their own, so that what is freed goes back
 * to the system at once and does not leave holes; glibc would otherwise raise the
 * threshold to the largest block freed. */
static void set_up_allocator(void)
{
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BLOCK);
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MXFAST, 0); /* else many small blocks freed are joined all at once: 10 ms for 100,000 */
}

/* Where the system gives fewer descriptors than the clients may take, there are fewer
 * clients, so that fetches and Redis always find one. */
static void fit_descriptors(struct conf *conf)
{
	struct rlimit r;
	rlim_t want = (rlim_t)conf->max_clients + OTHER_DESCRIPTORS;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= want)
		return;
	rlim_t had = r.rlim_cur;
	r.rlim_cur = want < r.rlim_max ? want : r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		r.rlim_cur = had;
	if (r.rlim_cur >= want)
		return;
	conf->max_clients = r.rlim_cur > 2 * OTHER_DESCRIPTORS ? (unsigned)r.rlim_cur - OTHER_DESCRIPTORS : (unsigned)r.rlim_cur / 2;
	log_warning("few_descriptors", "wanted=%llu have=%llu max_clients=%u remedy=%s", (unsigned long long)want,
		(unsigned long long)r.rlim_cur, conf->max_clients, log_quote("raise LimitNOFILE, or lower listen.max_clients"));
}

static void on_stop(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;
	(void)what;
	log_info("stopping", "signal=%s", strsignal((int)sig));
	event_base_loopbreak(d->base);
}

/* ---- reloading ---- */

static void on_hangup(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;
	(void)sig, (void)what;
	clock_update();
	if (!d->reloader) /* it stops */
		return;
	notify_reloading(d->notify);
	reload_start(d->reloader);
}

/* Not while another one is to follow: whoever asked for that is not to be told of this one. */
static void on_idle(void *owner)
{
	struct daemon *d = owner;
	if (!d->server->unready)
		notify_ready(d->notify);
}

static void on_refused(void *owner)
{
	struct daemon *d = owner;
	d->server->stats.reloads_refused++;
}

static void tell_kept(const char *key)
{
	log_warning("reload_keeps", "key=%s remedy=%s", key, log_quote("restart the daemon: it counts from then on"));
}

static void on_reloaded(void *arg)
{
	struct daemon *d = arg;
	struct conf_changes changes = conf_changes(d->next, d->conf);
	d->next->before = d->conf;
	d->conf = d->next;
	d->next = NULL;
	server_set_conf(d->server, d->conf);
	set_log(d->conf);
	catalog_try_saving(d->conf->snapshot);
	d->server->stats.reloads++;
	d->server->stats.conf_at_ms = clock_wall_ms();
	log_info("reloaded", "file=%s types=%zu added=%zu removed=%zu changed=%zu", log_quote(d->file), d->conf->n_types,
		changes.added, changes.removed, changes.changed);
	reload_end(d->reloader);
}

static void on_good_file(void *owner, struct conf *conf)
{
	struct daemon *d = owner;
	conf_keep_fixed(conf, d->conf, tell_kept);
	fit_descriptors(conf);
	conf_succeed(conf, d->conf);
	d->next = conf;
	if (catalog_reload(d->catalog, conf, on_reloaded, d) == 0)
		return;
	log_error("reload_refused", "reason=%s remedy=%s", log_quote(strerror(errno)), log_quote("restart the daemon"));
	d->next = NULL;
	conf_free(conf);
	on_refused(d);
	reload_end(d->reloader);
}

static void free_confs(struct daemon *d)
{
	conf_free(d->next);
	for (struct conf *c = d->conf, *before; c; c = before) {
		before = c->before;
		conf_free(c);
	}
}

/* ---- running ---- */

static void on_expire(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	(void)fd, (void)what;
	clock_update();
	catalog_tick(d->catalog);
	log_tell_left_out(false);
}

/* The daemon is as good as it will be. */
static void be_ready(struct daemon *d)
{
	d->server->unready = NULL;
	notify_ready(d->notify);
	log_info("ready", "version=%s socket=%s types=%zu", VERSION, log_quote(d->conf->listen_path), d->conf->n_types);
}

static void on_warm(void *arg, size_t loaded, size_t failed)
{
	struct daemon *d = arg;
	(void)loaded, (void)failed;
	if (!event_pending(d->patience, EV_TIMEOUT, NULL)) /* it is ready, or stops */
		return;
	event_del(d->patience);
	be_ready(d);
}

static void on_impatience(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct warm_figures f = warm_figures(d->warmer);
	(void)fd, (void)what;
	clock_update();
	log_warning("warming_goes_on", "done=%zu of=%zu remedy=%s", f.done, f.total, log_quote("none: it is ready all the same; raise warm_timeout to wait longer"));
	be_ready(d);
}

static bool has_warm_lists(const struct conf *conf)
{
	size_t n = 0;
	for (size_t i = 0; i < conf->n_types; i++)
		n += warm_keys(&conf->types[i]);
	return n > 0;
}

/* Clients are served from now on; ready it calls itself when the warm lists are loaded, or take too long. */
static void open_up(struct daemon *d)
{
	int64_t ms = d->conf->warm_timeout_ms;
	server_open(d->server);
	if (!has_warm_lists(d->conf)) {
		be_ready(d);
		return;
	}
	d->server->unready = "warming";
	clock_arm(d->patience, ms);
	warm_start(d->warmer, d->conf, NULL, on_warm, d);
}

/* Clients that would be told that Redis is away, only because it has not been reached yet, wait for that
 * on the socket. */
static void on_opening(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	(void)fd, (void)what;
	clock_update();
	if (catalog_awaits_redis(d->catalog) && clock_ms() < d->open_at_ms)
		return;
	event_del(d->opening);
	open_up(d);
}

static void begin_opening(struct daemon *d)
{
	d->server->unready = "starting";
	d->open_at_ms = clock_ms() + OPEN_MS;
	d->patience = evtimer_new(d->base, on_impatience, d);
	d->opening = event_new(d->base, -1, EV_PERSIST, on_opening, d);
	event_add(d->opening, &(struct timeval){.tv_usec = LOOK_MS * 1000});
	on_opening(-1, 0, d);
}

static void watch(struct daemon *d)
{
	d->terminate = evsignal_new(d->base, SIGTERM, on_stop, d);
	d->interrupt = evsignal_new(d->base, SIGINT, on_stop, d);
	d->hangup = evsignal_new(d->base, SIGHUP, on_hangup, d);
	d->expire = event_new(d->base, -1, EV_PERSIST, on_expire, d);
	event_add(d->terminate, NULL);
	event_add(d->interrupt, NULL);
	event_add(d->hangup, NULL);
	event_add(d->expire, &(struct timeval){.tv_usec = EXPIRE_INTERVAL_MS * 1000});
}

/* Told again to stop, it does not die of that while it cleans up. */
static void unwatch(struct daemon *d)
{
	sigset_t heard;
	sigemptyset(&heard);
	sigaddset(&heard, SIGTERM);
	sigaddset(&heard, SIGINT);
	sigaddset(&heard, SIGHUP);
	sigprocmask(SIG_BLOCK, &heard, NULL);
	struct event **all[] = {&d->terminate, &d->interrupt, &d->hangup, &d->expire, &d->opening, &d->patience};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (*all[i])
			event_free(*all[i]);
}

#define PRIORITIES 2            /* the upper one is for news of changes in Redis (redis_link.c) */

/* One thread runs the loop, so it needs no locks. */
static struct event_base *new_base(void)
{
	struct event_config *c = event_config_new();
	event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK);
	struct event_base *base = event_base_new_with_config(c);
	event_config_free(c);
	if (base)
		(void)event_base_priority_init(base, PRIORITIES); /* fails only in a loop that runs */
	return base;
}

/* For `systemctl status`. */
static void tell_status(void *arg, struct buf *line)
{
	struct daemon *d = arg;
	struct catalog_reads reads = catalog_reads(d->catalog);
	const struct memory *memory = catalog_memory(d->catalog);
	uint64_t all = reads.hits + reads.misses;
	if (all)
		buf_addf(line, "hit ratio %.1f %% of %llu reads", 100.0 * (double)reads.hits / (double)all, (unsigned long long)all);
	else
		buf_add_str(line, "no reads yet");
	buf_addf(line, ", %zu clients, %zu values in %.1f MiB of memory, Redis %s", d->server->n_clients,
		(size_t)memory_entries(memory), (double)memory_bytes(memory) / (1 << 20), catalog_redis_state(d->catalog));
}

static int start(struct daemon *d)
{
	char *error = NULL;
	d->base = new_base();
	if (!d->base) {
		log_error("cannot_start", "reason=%s", log_quote("no event loop"));
		return -1;
	}
	d->catalog = catalog_new(d->base, d->conf);
	if (!d->catalog) {
		log_error("cannot_start", "reason=%s", log_quote(strerror(errno)));
		return -1;
	}
	d->server = server_new(d->base, d->conf, d->catalog);
	d->server->warmer = d->warmer = warm_new(d->base, d->catalog);
	if (server_listen(d->server, &error) < 0
	    || (d->conf->admin_host && !(d->admin = admin_new(d->base, d->conf, d->server, &error)))) {
		log_error("cannot_start", "reason=%s", log_quote(error));
		free(error);
		return -1;
	}
	static const struct reload_owner owner = {on_good_file, on_refused, on_idle};
	d->reloader = reload_new(d->base, d->file, &owner, d);
	if (d->conf->snapshot)
		catalog_load(d->catalog, d->conf->snapshot);
	catalog_try_saving(d->conf->snapshot);
	d->notify = notify_new(d->base, tell_status, d);
	watch(d);
	begin_opening(d);
	return 0;
}

/* Something is owed: to a client, or by Redis. */
static bool is_busy(const struct daemon *d)
{
	return (d->server && d->server->n_clients > 0) || catalog_is_busy(d->catalog);
}

/* The loop goes on until nothing is owed; it turns at least every EXPIRE_INTERVAL_MS. */
static void settle(struct daemon *d, int64_t limit_ms)
{
	int64_t end_ms = clock_ms() + limit_ms;
	while (is_busy(d) && clock_ms() < end_ms) {
		event_base_loop(d->base, EVLOOP_ONCE);
		clock_update();
	}
}

/* Clients hear what became of all that they asked; then what these have left to be done
 * is done. */
static void wind_up(struct daemon *d)
{
	d->server->unready = "stopping";
	event_del(d->opening);
	event_del(d->patience);
	warm_close(d->warmer);
	reload_free(d->reloader);
	d->reloader = NULL;
	catalog_reload_cancel(d->catalog);
	notify_stopping(d->notify);
	server_drain(d->server);
	settle(d, DRAIN_MS);
	if (d->server->n_clients > 0)
		log_warning("clients_cut_off", "clients=%zu after_ms=%d", d->server->n_clients, DRAIN_MS);
	admin_free(d->admin);
	server_free(d->server);
	d->server = NULL;
	catalog_finish(d->catalog);
	settle(d, SETTLE_MS);
	catalog_save(d->catalog, d->conf->snapshot);
}

static void stop(struct daemon *d)
{
	reload_free(d->reloader);
	notify_free(d->notify);
	unwatch(d);
	server_free(d->server);
	catalog_free(d->catalog);
	warm_free(d->warmer);
	if (d->base)
		event_base_free(d->base);
	free_confs(d);
	libevent_global_shutdown();
}

static int run(const char *file)
{
	struct daemon d = {.file = file, .conf = load(file)};
	if (!d.conf)
		return EXIT_BAD_CONFIG;
	set_up_allocator();
	clock_update();
	srandom((unsigned)clock_us());
	set_log(d.conf);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that becomes too large is an error of write */
	fit_descriptors(d.conf);
	int status = start(&d) == 0 ? 0 : EXIT_CANNOT_START;
	if (status == 0) {
		event_base_dispatch(d.base);
		wind_up(&d);
	}
	stop(&d);
	if (status == 0)
		log_info("stopped", "%s", "");
	log_tell_left_out(true);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", required_argument, NULL, 'k'},
		{"help-config", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	int c = getopt_long(argc, argv, "c:h", options, NULL);
	bool alone = c == -1 || optind == argc;
	if (c == 'c' && alone)
		return run(optarg);
	if (c == 'k' && alone)
		return check_config(optarg);
	if (c == 'd' && alone)
		conf_describe(stdout);
	else if (c == 'h')
		usage(stdout);
	else if (c == 'v')
		printf("catcached %s\n", VERSION);
	else {
		usage(stderr);
		return EXIT_USAGE;
	}
	return 0;
}
