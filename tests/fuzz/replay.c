/* Runs the inputs kept for a fuzz target, in a process each, so that one that crashes does
 * not hide the others. Without arguments it runs all of tests/fuzz/corpus/<name> and
 * tests/fuzz/crashers/<name>, where it is called fuzz_<name>; else the files given. The
 * last line is that of Check, so that tests/run counts them. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "fuzz.h"

#define LIMIT_S 60              /* for one input */

static unsigned n_run, n_failed;

static void read_file(const char *path, struct buf *b)
{
	FILE *f = fopen(path, "rb");
	for (size_t n = 1; f && n > 0; b->len += n)
		n = fread(buf_reserve(b, 65536), 1, 65536, f);
	if (!f || fclose(f) != 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
}

static void run_here(const char *path)
{
	struct buf b = BUF_INIT;
	read_file(path, &b);
	/* In a block of its own size, as libFuzzer gives it. */
	uint8_t *data = xmalloc(b.len + !b.len);
	if (b.len)
		memcpy(data, b.data, b.len);
	size_t len = b.len;
	buf_free(&b);
	alarm(LIMIT_S);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	exit(EXIT_SUCCESS);
}

static void run_file(const char *path)
{
	int status = -1;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		run_here(path);
	if (child > 0)
		waitpid(child, &status, 0);
	n_run++;
	if (status == 0)
		return;
	n_failed++;
	printf("%s: FAILED, wait status %#x\n", path, (unsigned)status);
}

static int is_visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void run_folder(const char *kind, const char *name)
{
	struct dirent **entries;
	char *folder = xasprintf("tests/fuzz/%s/%s", kind, name);
	int n = scandir(folder, &entries, is_visible, alphasort);
	for (int i = 0; i < n; i++) {
		char *path = xasprintf("%s/%s", folder, entries[i]->d_name);
		run_file(path);
		free(path);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	free(folder);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
	name += strncmp(name, "fuzz_", 5) == 0 ? 5 : 0;
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	if (argc == 1) {
		run_folder("corpus", name);
		run_folder("crashers", name);
	}
	printf("%u%%: Checks: %u, Failures: 0, Errors: %u\n", n_run ? 100 * (n_run - n_failed) / n_run : 0, n_run, n_failed);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
