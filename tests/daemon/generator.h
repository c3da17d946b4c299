/* Commands made up from the patterns of grammar.h, for the differential test. The
 * same seed and setup give the same commands, on any machine and at any time. */
#ifndef CATCACHED_TESTS_GENERATOR_H
#define CATCACHED_TESTS_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../proto/buf.h"

#define SAMPLE_ARGS_MAX 32

/* One command. */
struct sample {
	size_t argc;                            /* at least 1 */
	struct buf argv[SAMPLE_ARGS_MAX];
	struct buf wire;                        /* as it is sent: a line or an array */
};

struct generator;

/* setup: a letter of the patterns; prefixes: of its keys, ended by NULL, which live as long as the generator. */
struct generator *generator_new(uint64_t seed, char setup, const char *const *prefixes);
void generator_free(struct generator *g);

/* The next command; free it with sample_free. */
struct sample *generator_next(struct generator *g);
void sample_free(struct sample *s);

/* A number below n, of the same sequence. */
uint32_t generator_below(struct generator *g, uint32_t n);

/* The connection is a new one: what was begun with MULTI is no more. */
void generator_reconnected(struct generator *g);

/* A command that removes every key there can be. */
struct sample *generator_clear(const struct generator *g);

/* True if the argument is one of the keys. */
bool generator_is_key(const struct generator *g, const struct buf *arg);

/* True if the sample is this command (lower case). */
bool sample_is(const struct sample *s, const char *name);

#endif
