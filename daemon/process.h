/* A child process with its output on pipes and a descriptor that tells its end. It
 * leads a process group of its own, by which it and all it started are killed. */
#ifndef CATCACHED_PROCESS_H
#define CATCACHED_PROCESS_H

#include <sys/types.h>

struct process {
	pid_t pid;              /* and process group; valid until process_reap */
	int pid_fd;             /* readable once the process has ended */
	int out_fd, err_fd;     /* its stdout and stderr: non-blocking; -1 once closed */
};

/* Runs argv[0] (searched in PATH if without a slash) with argv, no shell: stdin is
 * /dev/null, every other descriptor is closed, signals are as in a fresh process, the
 * environment is ours. Returns when it has been executed, so it blocks for as long
 * as that takes: call it on a worker. 0 or an errno: then there is no process. */
int process_start(struct process *p, char *const argv[]);

/* Kills the whole group. Not after process_reap. */
void process_kill(const struct process *p);

/* How it ended: its exit status (0 to 255), or minus the signal that killed it;
 * PROCESS_RUNS if it has not; PROCESS_UNKNOWN if somebody else took its status. It
 * stays a zombie, so that the number of its group is ours until process_reap. */
#define PROCESS_RUNS 256
#define PROCESS_UNKNOWN 257
int process_status(const struct process *p);

/* Closes the descriptors; the process, if it has ended, is no more. */
void process_reap(struct process *p);

#endif
