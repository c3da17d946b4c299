/* The servers that are measured, as processes: started on sockets in a temporary folder,
 * pinned to a processor, looked at through /proc, ended by their ids. They die with the
 * benchmark, whatever happens to it. */
#ifndef CATCACHED_BENCH_SERVER_H
#define CATCACHED_BENCH_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct redisContext;
struct turns;

/* Where a process runs. The generator and what it measures never share a processor if
 * there are two; what stands behind a measured server has the third if there is one, else
 * the generator's. */
enum place { PLACE_GENERATOR, PLACE_SERVER, PLACE_BEHIND, PLACE_ANY };

struct server {
	const char *name;
	pid_t pid;              /* 0: not running */
	char *socket;
	int64_t exec_ns;        /* when its program was started */
	volatile struct turns *turns;   /* of a daemon that is timed */
};

/* Makes all this ready; files go to the folder, which must exist. */
void server_setup(const char *folder);

/* The path of a file in the folder; free it. */
char *server_path(const char *name);
void server_write(const char *name, const void *bytes, size_t len);

/* Pins the calling process. */
void server_place_self(enum place place);

/* Has the calling process run before all others (SCHED_FIFO), or no more: while a pause is looked for it is not to be the generator that
 * waits for a processor. Where that is not allowed (it takes root) nothing happens. */
void server_prefer_self(bool is_preferred);

/* Starts a program and waits until it accepts connections. In the words of argv, {S}
 * stands for the path of its socket (NAME.sock), {D} for the folder, {B} for the folder of
 * what was built, {U} for the user's name. Its output goes to NAME.log. */
void server_start(struct server *s, const char *name, enum place place, const char *const *argv);

/* Starts the daemon; its configuration is these lines of YAML behind those that say where it listens. */
void server_start_daemon(struct server *s, const char *name, enum place place, const char *yaml);

/* The same, with turns.so preloaded: s->turns is what it writes. */
void server_start_daemon_timed(struct server *s, const char *name, enum place place, const char *yaml);
void server_time_turns(const struct server *s);                 /* from now on, from nothing on */
double server_longest_turn_ms(const struct server *s);          /* since then; ends it */

/* Waits until the daemon hears of all changes in Redis. */
void server_wait_tracking(const struct server *s);

/* Starts redis-server without snapshots, all else by default. */
void server_start_redis(struct server *s, const char *name, enum place place);

/* Ends it, and waits until it is gone. */
void server_stop(struct server *s);

/* A program that runs besides: fork, in a child that dies with us. 0 in the child. */
pid_t server_fork(void);
void server_end(pid_t pid);

/* Runs a program to its end; its output goes to NAME.log. Its exit status. */
int server_run(const char *name, const char *const *argv);

/* A connected socket, not blocking; and a client that blocks. */
int server_connect(const char *socket);
struct redisContext *server_client(const struct server *s);

/* Nanoseconds of processor time of all its threads, from /proc/PID/task/TID/schedstat. */
int64_t server_cpu_ns(const struct server *s);

/* A line of /proc/PID/status in bytes, as VmRSS or VmHWM. */
int64_t server_memory(const struct server *s, const char *line);

/* Tells why and ends the benchmark. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
