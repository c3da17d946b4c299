/* Child processes; see process.h. posix_spawn of glibc is vfork underneath: its cost
 * does not grow with our memory, and it reports why exec failed. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The ends of our two pipes that become the child's stdout and stderr. */
static int set_up_files(posix_spawn_file_actions_t *files, int out, int err)
{
	int error = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!error)
		error = posix_spawn_file_actions_adddup2(files, out, STDOUT_FILENO);
	if (!error)
		error = posix_spawn_file_actions_adddup2(files, err, STDERR_FILENO);
	/* Ours are close-on-exec; those of the libraries may not be. */
	if (!error)
		error = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
	return error;
}

static int set_up_signals(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	int error = posix_spawnattr_setflags(attributes,
		POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!error)
		error = posix_spawnattr_setpgroup(attributes, 0);
	if (!error)
		error = posix_spawnattr_setsigmask(attributes, &none);
	if (!error)
		error = posix_spawnattr_setsigdefault(attributes, &all);
	return error;
}

static int spawn(pid_t *pid, char *const argv[], int out, int err)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	int error = set_up_files(&files, out, err);
	if (!error)
		error = set_up_signals(&attributes);
	if (!error)
		error = posix_spawnp(pid, argv[0], &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return error;
}

/* A pipe whose reading end, fds[0], does not block. */
static int open_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return errno;
	return fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? errno : 0;
}

int process_start(struct process *p, char *const argv[])
{
	int out[2] = {-1, -1}, err[2] = {-1, -1};
	int error = open_pipe(out);
	if (!error)
		error = open_pipe(err);
	if (!error)
		error = spawn(&p->pid, argv, out[1], err[1]);
	close_fd(&out[1]);
	close_fd(&err[1]);
	if (error)
		goto close_pipes;
	p->pid_fd = pidfd_open(p->pid, 0);
	if (p->pid_fd < 0) {
		error = errno;
		goto kill_child;
	}
	p->out_fd = out[0];
	p->err_fd = err[0];
	return 0;
kill_child:
	process_kill(p);
	waitpid(p->pid, NULL, 0);
close_pipes:
	close_fd(&out[0]);
	close_fd(&err[0]);
	return error;
}

void process_kill(const struct process *p)
{
	(void)kill(-p->pid, SIGKILL);   /* fails if nothing is left of it, which is as good */
}

int process_status(const struct process *p)
{
	siginfo_t info = {0};
	if (waitid(P_PIDFD, (id_t)p->pid_fd, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return PROCESS_UNKNOWN;
	if (info.si_pid == 0)
		return PROCESS_RUNS;
	return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

void process_reap(struct process *p)
{
	siginfo_t info;
	(void)waitid(P_PIDFD, (id_t)p->pid_fd, &info, WEXITED | WNOHANG);
	close_fd(&p->pid_fd);
	close_fd(&p->out_fd);
	close_fd(&p->err_fd);
}
