/* catcachectl check-config: what `catcached --check-config` says of a file; see ctl.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_json.h"

#define NAME "/catcached"

/* Where system programs are, whether or not PATH names it. */
static const char system_folders[] = "/usr/local/sbin:/usr/sbin:/sbin";

/* The program in one of the folders, which colons part; to be freed. NULL: in none. */
static char *find_in(const char *folders)
{
	while (folders && *folders) {
		size_t len = strcspn(folders, ":");
		char *path = xasprintf("%.*s" NAME, (int)len, folders);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
		folders += len + (folders[len] == ':');
	}
	return NULL;
}

/* Beside this program first (a build folder), or in the sbin beside its bin. */
static char *find_catcached(void)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = n > 0 ? memrchr(self, '/', (size_t)n) : NULL;
	char *path = NULL;
	if (slash) {
		*slash = '\0';
		char *beside = xasprintf("%s:%s/../sbin", self, self);
		path = find_in(beside);
		free(beside);
	}
	if (!path)
		path = find_in(getenv("PATH"));
	return path ? path : find_in(system_folders);
}

static void become(const char *program, const char *file, const int out[2], bool is_json)
{
	dup2(out[1], STDERR_FILENO);
	if (is_json)
		dup2(out[1], STDOUT_FILENO);
	close(out[0]);
	close(out[1]);
	execl(program, program, "--check-config", file, (char *)NULL);
	_exit(CTL_LOCAL);
}

/* Runs it; what it says of errors is appended to b. Returns how it exited; -1: told. */
static int run(const char *program, const char *file, bool is_json, struct buf *b)
{
	int out[2], status = 0;
	pid_t pid = pipe(out) == 0 ? fork() : -1;
	if (pid == 0)
		become(program, file, out, is_json);
	if (pid < 0) {
		ctl_complain("cannot run %s: %s", program, strerror(errno));
		return -1;
	}
	close(out[1]);
	int got = ctl_read(b, out[0]);
	close(out[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return got == CTL_GOOD && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* "file:line:column: message", or a message about the file as a whole. */
static void add_error(struct buf *b, const char *file, const char *line, size_t len)
{
	unsigned row = 0, column = 0;
	int used = 0;
	size_t skip = strlen(file);
	char *text = xstrndup(line, len);
	if (len > skip && strncmp(text, file, skip) == 0)
		(void)sscanf(text + skip, ":%u:%u: %n", &row, &column, &used);
	if (used)
		buf_addf(b, "{\"line\":%u,\"column\":%u,\"message\":", row, column);
	else
		buf_add_str(b, "{\"message\":");
	const char *message = text + (used ? skip + (size_t)used : 0);
	ctl_json_string(b, message, strlen(message));
	buf_add_char(b, '}');
	free(text);
}

static int show_json(const char *file, bool is_good, const struct buf *said)
{
	struct buf b = BUF_INIT;
	size_t n = 0;
	buf_add_str(&b, "{\"file\":");
	ctl_json_string(&b, file, strlen(file));
	buf_addf(&b, ",\"good\":%s,\"errors\":[", is_good ? "true" : "false");
	for (size_t at = 0; !is_good && at < said->len; n++) {
		const char *stop = memchr(said->data + at, '\n', said->len - at);
		size_t len = stop ? (size_t)(stop - said->data) - at : said->len - at;
		buf_add_str(&b, n ? "," : "");
		add_error(&b, file, said->data + at, len);
		at += len + 1;
	}
	buf_add_str(&b, "]}\n");
	return ctl_show(&b, CTL_GOOD);
}

int ctl_check_config(struct ctl *c)
{
	const char *file = c->argv[0].data;
	char *program = find_catcached();
	struct buf said = BUF_INIT;
	if (!program) {
		ctl_complain("there is no catcached beside this program, in PATH or in %s: is it installed?", system_folders);
		return CTL_LOCAL;
	}
	int status = run(program, file, c->is_json, &said);
	free(program);
	if (status == CTL_GOOD || status == CTL_NO) {
		int shown = CTL_GOOD;
		if (c->is_json)
			shown = show_json(file, status == CTL_GOOD, &said);
		else
			fwrite(said.data, 1, said.len, stderr);
		status = shown == CTL_GOOD ? status : shown;
	} else {
		fwrite(said.data, 1, said.len, stderr);
		status = CTL_LOCAL;
	}
	buf_free(&said);
	return status;
}
