/* How long the daemon's loop is held: the processor time of its thread from one epoll_wait to the next, which is what it
 * keeps all clients waiting for. Unlike their waiting itself it does not count what else the machine does.
 *
 * turns.so is preloaded into the daemon and writes into a file that the benchmark has mapped, too. */
#ifndef CATCACHED_BENCH_TURNS_H
#define CATCACHED_BENCH_TURNS_H

#include <stdint.h>

#define TURNS_FILE "CATCACHED_BENCH_TURNS"      /* names the file in the environment */

struct turns {
	uint32_t is_on;         /* the benchmark wants to know; else it costs nothing */
	uint64_t n;             /* since it was switched on; */
	uint64_t longest_ns;    /* the longest of them */
};

#endif
