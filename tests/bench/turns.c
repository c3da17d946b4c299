/* Preloaded; see turns.h. */
#include "turns.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile struct turns *turns;
static uint64_t began_ns;       /* 0: this turn is not measured */

__attribute__((constructor)) static void map_file(void)
{
	const char *file = getenv(TURNS_FILE);
	int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
	void *room = fd >= 0 ? mmap(NULL, sizeof(*turns), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (room != MAP_FAILED)
		turns = room;
	if (fd >= 0)
		close(fd);
}

static uint64_t processor_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void note(uint64_t took_ns)
{
	turns->n++;
	if (took_ns > turns->longest_ns)
		turns->longest_ns = took_ns;
}

int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
	bool is_on = turns && turns->is_on;
	if (is_on && began_ns)
		note(processor_ns() - began_ns);
	int n = (int)syscall(SYS_epoll_wait, epoll, events, max, timeout_ms);
	began_ns = is_on ? processor_ns() : 0;
	return n;
}
