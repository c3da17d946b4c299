/* System calls of a server, counted by strace: in a run of its own, because it slows the server down. */
#ifndef CATCACHED_BENCH_STRACE_H
#define CATCACHED_BENCH_STRACE_H

#include <stdint.h>

struct load_options;
struct server;

/* Runs the load until that many requests are answered. System calls per request, and in *parts
 * the names of the most frequent ones with their share, or why nothing could be
 * counted (then the result is below 0); free it. */
double strace_calls(const struct server *s, const struct load_options *load, uint64_t requests, char **parts);

#endif
