/* Patterns as Redis has them (KEYS, SCAN MATCH, CONFIG GET...), which are not those of the shell:
 * no byte is special in what is matched, neither '/' nor a leading dot.
 *
 *      *         any bytes, also none
 *      ?         any byte
 *      [abc]     one of these; [a-c] or [c-a] one between them; [^abc] any other. A bracket that is not
 *                closed ends with the pattern. [] is none, [^] any
 *      \c        c itself, also in brackets
 *
 * The time is bounded by the product of both lengths. */
#ifndef CATCACHED_GLOB_H
#define CATCACHED_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/* Whether all of text matches. ignores_case: of ASCII letters. */
bool glob_matches(const char *pattern, size_t pattern_len, const char *text, size_t text_len, bool ignores_case);

#endif
