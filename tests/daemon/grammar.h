/* What the differential test says, as a table of patterns. A pattern is words
 * separated by blanks. A word is sent as it is, or is one of these:
 *
 *      %s %h %l %e %z %x   a key that is mostly a string, hash, list, set, sorted set, stream; %k any of them
 *      %S %K               one to four keys; %p one to three pairs of string key and value
 *      %v                  a value: short, empty, number, binary, sometimes long
 *      %w %W               a short word; one to three of them; %F pairs of word and value, %Z of score and word
 *      %i %d %f            an integer, an index, a fraction; some of them wrong
 *      %n %m %t %u         a TTL in seconds, in milliseconds; a time in seconds, in milliseconds since 1970
 *      %o %g %c            any options of SET, of GETEX, conditions of EXPIRE
 *      %E                  the words behind EVAL
 *
 * Nothing here may depend on chance, on hash seeds or on the clock, beyond what
 * differ.c compares with tolerance; and nothing expires while the test runs. */
#ifndef CATCACHED_TESTS_GRAMMAR_H
#define CATCACHED_TESTS_GRAMMAR_H

#include <stddef.h>

struct pattern {
	const char *setups;     /* letters of the setups that use it, see test_differential.c */
	unsigned weight;
	const char *text;
};

extern const struct pattern grammar[];
extern const size_t grammar_len;

/* The patterns that %E and the like choose from. */
struct word_list {
	const char *const *words;
	size_t n;
};

extern const struct word_list grammar_words;            /* %w */
extern const struct word_list grammar_integers;         /* %i, when it is to be odd */
extern const struct word_list grammar_fractions;        /* %f */
extern const struct word_list grammar_ttls;             /* %n %m %t %u, when they are to be odd */
extern const struct word_list grammar_scripts;          /* patterns */
extern const struct word_list grammar_set_options;      /* patterns */
extern const struct word_list grammar_getex_options;    /* patterns */
extern const struct word_list grammar_expire_conditions;
extern const struct word_list grammar_junk;             /* what a broken command gets in addition */

#endif
