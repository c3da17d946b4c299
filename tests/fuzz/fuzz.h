/* What the fuzz targets have in common. A target is a file fuzz_<name>.c that defines
 * LLVMFuzzerTestOneInput. Linked with libFuzzer it looks for trouble (make fuzz); linked
 * with replay.c it runs the inputs kept in corpus/<name> and crashers/<name> (make check). */
#ifndef CATCACHED_TESTS_FUZZ_H
#define CATCACHED_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Runs one input from a clean state; whatever is wrong ends the process. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold, else the input is a finding. */
#define FUZZ_EXPECT(condition, ...) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: expected: %s: ", __FILE__, __LINE__, #condition); \
			fprintf(stderr, __VA_ARGS__); \
			fputc('\n', stderr); \
			abort(); \
		} \
	} while (0)

/* In the inputs of request and daemon this byte stands for so many bytes, that an input of
 * a few bytes reaches what only large arguments do: FUZZ_LARGE letters x. */
#define FUZZ_LARGE_MARK 0xfd
#define FUZZ_LARGE 70000
#define FUZZ_LARGE_MAX 2        /* of them in one input */

/* Sizes of pieces, by chance: begins with any seed. */
static inline size_t fuzz_piece(uint32_t *seed, size_t len)
{
	static const size_t largest[] = {1, 3, 40, 2000};
	*seed = *seed * 1664525u + 1013904223u;
	size_t max = largest[*seed >> 30], least = len / 16;   /* large inputs are not cut into very many */
	size_t n = 1 + least + (*seed >> 8) % max;
	return n < len ? n : len;
}

#endif
