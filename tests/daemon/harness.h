/* The ground of the daemon tests: the real daemon ($BUILD/catcached) in a
 * temporary folder, on a socket there, beside a private redis-server, a SQLite
 * file and hooks. talk.h has what is said to it.
 *
 * Each Check test runs in a process of its own. What it starts is ended by
 * harness_free; if the test fails first it dies with the test, and
 * harness_main shows the daemon's log and removes the folder. Every function
 * fails the test when it cannot do what it says, and none waits without limit. */
#ifndef CATCACHED_TESTS_HARNESS_H
#define CATCACHED_TESTS_HARNESS_H

#include <check.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct harness;

/* True if a sanitizer is built in: then all is slower, and memory cannot be measured. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) \
	|| __has_feature(thread_sanitizer)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define READ_LIMIT_S (SANITIZED ? 20 : 5)       /* how long any one read of a reply may take */

/* Runs the n tests of an area, each a Check case of its own name (so that
 * CK_RUN_CASE=name runs one alone). Returns what main returns. */
int harness_main(const char *area, const TTest *const *tests, size_t n);

/* A folder, and nothing running. $DIR is set to the folder. */
struct harness *harness_new(void);

/* Stops everything, checks that the daemon ended well, removes the folder. */
void harness_free(struct harness *h);

/* The path of name in the folder. Lives until harness_free. */
const char *harness_path(struct harness *h, const char *name);

/* Writes a file in the folder and returns its path. */
const char *harness_write(struct harness *h, const char *name, const char *text);

/* ---- the daemon ---- */

/* Lines of a configuration. $DIR is expanded by the daemon. */
#define LISTEN "listen: {path: '${DIR}/s'}\n"
#define REDIS "redis: {url: 'unix://${DIR}/redis.sock', timeout: 250ms}\n"
#define PATIENT_REDIS "redis: {url: 'unix://${DIR}/redis.sock', timeout: 10s}\n"  /* where a busy machine must not pass for an outage */
#define NO_REDIS "redis: {url: off}\n"
#define SQLITE "database: {url: 'sqlite://${DIR}/catalog.db'}\n"
#define NO_DATABASE "database: {url: off}\n"

/* Starts the daemon with this configuration and waits until it answers PING. */
void harness_start(struct harness *h, const char *yaml);

/* The same under a limit of descriptors (0: ours), with its log going to log_fd (-1: to its file). */
void harness_start_limited(struct harness *h, const char *yaml, unsigned descriptors, int log_fd);

/* conf/catcached.yaml with the socket moved to our folder; free it. */
char *harness_shipped_config(void);

/* Ends it with SIGTERM; it must exit with status 0 and no sanitizer report. */
void harness_stop(struct harness *h);

/* Gives it another configuration and SIGHUP, and waits until it has taken it (or refused it, if it is bad). */
void harness_reload(struct harness *h, const char *yaml);

/* Sends it a signal, and does not wait for what it does. */
void harness_signal(const struct harness *h, int number);

/* harness_stop, then started again with the same configuration. */
void harness_restart(struct harness *h);

/* Bytes of memory the daemon has held at the most (VmHWM). */
size_t harness_peak(const struct harness *h);

/* Bytes of memory the daemon holds now (VmRSS). */
size_t harness_resident(const struct harness *h);

/* The daemon's log so far; free it. */
char *harness_log(const struct harness *h);

/* ---- a fleet ---- */

/* Sidecar 0 is the daemon above. All read the same environment, in which $SOCKET is the
 * path of the sidecar's own socket. */
#define HARNESS_SIDECARS 3
#define LISTEN_SIDECAR "listen: {path: '${SOCKET}'}\n"

void harness_start_sidecar(struct harness *h, unsigned i, const char *yaml);
void harness_stop_sidecar(struct harness *h, unsigned i);       /* as harness_stop */
void harness_kill_sidecar(struct harness *h, unsigned i);       /* SIGKILL, and gone on return */
void harness_restart_sidecar(struct harness *h, unsigned i);    /* after either; the same configuration */
redisContext *harness_connect_sidecar(struct harness *h, unsigned i);

/* The name of its socket in the folder. */
const char *harness_socket(unsigned i);

/* ---- what is underneath ---- */

/* Starts redis-server on DIR/redis.sock with further words of its command line
 * ("" for none) and waits until it answers. */
void harness_redis_start(struct harness *h, const char *options);
void harness_redis_kill(struct harness *h);     /* SIGKILL, and gone on return */
void harness_redis_pause(struct harness *h);    /* SIGSTOP: connections stay, nothing answers */
void harness_redis_resume(struct harness *h);

/* Waits until the daemon behind c has reached Redis. */
void harness_redis_ready(redisContext *c);

/* Waits until the daemon behind c hears of all changes in Redis. */
void harness_tracking(redisContext *c);

/* How often Redis has been told this command (lower case). */
long long harness_redis_calls(redisContext *redis, const char *command);

/* How many keys Redis holds, the daemon's own (catcached:...) left out. */
size_t harness_redis_keys(redisContext *redis);

/* DIR/catalog.db with the sample catalog; models > 0 multiplies it. */
void harness_sample(struct harness *h, unsigned models);

/* Executes SQL on DIR/catalog.db, which is created if missing. */
void harness_sql(struct harness *h, const char *sql);

/* Writes the shell script DIR/name; every run of it is counted. */
void harness_hook(struct harness *h, const char *name, const char *script);

/* Runs of the script so far. */
unsigned harness_hook_runs(struct harness *h, const char *name);

/* ---- the client's side ---- */

/* Connections to the daemon and to Redis. They live until harness_free. */
redisContext *harness_connect(struct harness *h);
redisContext *harness_connect_redis(struct harness *h);

/* A connection to the daemon, or NULL if it does not answer PING. */
redisContext *harness_try_connect(struct harness *h);

/* Polls until the condition holds; fails after limit_ms. */
#define wait_until(condition, limit_ms) \
	do { \
		int64_t wait_end = now_ms() + (limit_ms); \
		while (!(condition)) \
			wait_a_little(wait_end, #condition, __FILE__, __LINE__); \
	} while (0)

int64_t now_ms(void);

/* Sleeps a few milliseconds: only between two looks at a condition. */
void nap(void);

/* Part of wait_until. */
void wait_a_little(int64_t end_ms, const char *condition, const char *file, int line);

#endif
