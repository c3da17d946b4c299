/* Patterns: a table, and the same patterns over the same keys in a real Redis. */
#include "../../daemon/glob.h"

#include <check.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "redisd.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static bool matches(const char *pattern, const char *text, bool ignores_case)
{
	return glob_matches(pattern, strlen(pattern), text, strlen(text), ignores_case);
}

static const struct {
	const char *pattern, *text;
	bool is_match, ignores_case;
} table[] = {
	{"a", "a", true, false}, {"a", "b", false, false}, {"a", "aa", false, false}, {"aa", "a", false, false},
	{"", "", true, false}, {"", "a", false, false}, {"*", "", true, false}, {"?", "", false, false},
	{"*", "any", true, false}, {"a*", "a", true, false}, {"a**", "ab", true, false}, {"*b", "aab", true, false}, {"*b", "aba", false, false},
	{"a?c", "abc", true, false}, {"a?c", "ac", false, false}, {"*a?b*", "xaabx", true, false},
	{"*", "a/b", true, false}, {"a?b", "a/b", true, false}, {"[!-0]", "/", true, false}, {"*", ".a", true, false}, {"?a", ".a", true, false},
	{"[abc]", "b", true, false}, {"[abc]", "d", false, false}, {"[^abc]", "d", true, false}, {"[^abc]", "b", false, false}, {"[^a]", "", false, false},
	{"[!a]", "a", true, false}, {"[!a]", "!", true, false}, {"[!a]", "b", false, false},
	{"[a-c]", "b", true, false}, {"[c-a]", "b", true, false}, {"[a-c]", "-", false, false}, {"[a-]", "a", true, false}, {"[a-]", "b", false, false},
	{"[abc", "b", true, false}, {"[abc", "bc", false, false}, {"[", "a", false, false}, {"[", "[", false, false}, {"[^", "a", true, false},
	{"[]", "]", false, false}, {"[]a]", "a]", false, false}, {"[^]", "a", true, false}, {"[\\]]", "]", true, false}, {"[\\", "\\", true, false},
	{"\\*", "*", true, false}, {"\\*", "a", false, false}, {"\\a", "a", true, false}, {"a\\", "a\\", true, false}, {"\\\\", "\\", true, false},
	{"[[:digit:]]", "1", false, false}, {"[[:digit:]]", "g]", true, false},
	{"ABC", "abc", false, false}, {"ABC", "abc", true, true}, {"a[B-D]*", "AcX", true, true},
};

START_TEST(patterns_match_as_the_table_says)
{
	for (size_t i = 0; i < LEN(table); i++)
		ck_assert_msg(matches(table[i].pattern, table[i].text, table[i].ignores_case) == table[i].is_match,
			"%s, %s", table[i].pattern, table[i].text);
}
END_TEST

START_TEST(bytes_of_any_kind_are_matched)
{
	ck_assert(glob_matches("a\0*", 3, "a\0b\0", 4, false));
	ck_assert(!glob_matches("a\0*", 3, "ab", 2, false));
	ck_assert(glob_matches("[\xf0-\xff]?", 6, "\xf8\x80", 2, false));
}
END_TEST

/* With exponential time this would not end. */
START_TEST(many_stars_take_no_longer_than_both_lengths_together)
{
	enum { STARS = 2000, BYTES = 20000 };
	static char pattern[2 * STARS + 1], text[BYTES];
	for (size_t i = 0; i < STARS; i++)
		memcpy(pattern + 2 * i, "*a", 2);
	pattern[2 * STARS] = 'b';
	memset(text, 'a', sizeof(text));
	ck_assert(!glob_matches(pattern, sizeof(pattern), text, sizeof(text), false));
	ck_assert(glob_matches(pattern, sizeof(pattern) - 1, text, sizeof(text), false));
}
END_TEST

/* ---- beside Redis ---- */

#define KEYS 400
#define PATTERNS 10000
#define SEED 20240607

static uint64_t random_state = SEED;

static uint32_t below(uint32_t n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33) % n;
}

/* Some bytes of alphabet. */
static size_t make_up(char *to, size_t max, const char *alphabet, size_t size)
{
	size_t n = 1 + below((uint32_t)max);
	for (size_t i = 0; i < n; i++)
		to[i] = alphabet[below((uint32_t)size)];
	return n;
}

static const char key_bytes[] = "aaabbbcA/.-]^*\\\xe1";
static const char pattern_bytes[] = "***??[[[]]]^--\\\\aaabbbcA/.\xe1";

static struct text {
	char bytes[8];
	size_t len;
} keys[KEYS];

static bool is_among(const redisReply *list, const struct text *key)
{
	for (size_t i = 0; i < list->elements; i++)
		if ((size_t)list->element[i]->len == key->len && memcmp(list->element[i]->str, key->bytes, key->len) == 0)
			return true;
	return false;
}

START_TEST(patterns_match_as_in_redis)
{
	start_server(NULL);
	for (size_t i = 0; i < KEYS; i++) {
		keys[i].len = make_up(keys[i].bytes, sizeof(keys[i].bytes), key_bytes, sizeof(key_bytes) - 1);
		told("SET %b x", keys[i].bytes, keys[i].len);
	}
	size_t n_matches = 0;
	for (size_t n = 0; n < PATTERNS; n++) {
		char pattern[12];
		size_t len = make_up(pattern, sizeof(pattern), pattern_bytes, sizeof(pattern_bytes) - 1);
		redisReply *found = tell("KEYS %b", pattern, len);
		for (size_t i = 0; i < KEYS; i++) {
			bool is_match = glob_matches(pattern, len, keys[i].bytes, keys[i].len, false);
			n_matches += is_match;
			ck_assert_msg(is_match == is_among(found, &keys[i]), "pattern %.*s, key %.*s: %s in Redis", (int)len, pattern,
				(int)keys[i].len, keys[i].bytes, is_match ? "does not match" : "matches");
		}
		freeReplyObject(found);
	}
	ck_assert_uint_gt(n_matches, PATTERNS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("glob");
	TCase *tc = tcase_create("alone");
	tcase_add_test(tc, patterns_match_as_the_table_says);
	tcase_add_test(tc, bytes_of_any_kind_are_matched);
	tcase_add_test(tc, many_stars_take_no_longer_than_both_lengths_together);
	suite_add_tcase(suite, tc);

	tc = tcase_create("beside Redis");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, redisd_init, redisd_fini);
	tcase_add_test(tc, patterns_match_as_in_redis);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
