/* Patterns of keys as Redis has them (KEYS, SCAN MATCH, CONFIG GET): * any bytes, ? any byte, [abc] [a-z]
 * [^a] one of, or none of these, \ takes the next byte as it is. There are no bad patterns: a class that
 * does not end ends with the pattern, and a range may be turned round. */
#ifndef CATCACHED_GLOB_H
#define CATCACHED_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/* Takes time of the order of pattern_len * len at the most, whatever the pattern. */
bool glob_matches(const char *pattern, size_t pattern_len, const char *text, size_t len);

#endif
