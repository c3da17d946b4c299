/* Patterns of keys: by a table, and beside Redis. */
#include "../../daemon/glob.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/clock.h"
#include "redisd.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *pattern, *text;
	bool matches;
} cases[] = {
	{"", "", true}, {"", "a", false}, {"a", "", false}, {"*", "", true}, {"*", "abc", true}, {"**", "abc", true}, {"?", "", false}, {"?", "a", true},
	{"a*c", "abbbc", true}, {"a*c", "abbbd", false}, {"a*b*c", "a b b c", true}, {"*/x", "a/b/x", true}, {"*", ".hidden", true},
	{"models:*", "models:a:b", true}, {"models:*", "model:a", false}, {"h?llo", "hello", true}, {"h[ae]llo", "hallo", true}, {"h[ae]llo", "hillo", false},
	{"h[^e]llo", "hello", false}, {"h[^e]llo", "hallo", true}, {"h[!e]llo", "h!llo", true}, {"h[a-c]llo", "hbllo", true}, {"h[c-a]llo", "hbllo", true},
	{"[a-", "-", true}, {"[a-", "a", true}, {"[abc", "b", true}, {"[abc", "d", false}, {"[]", "a", false}, {"[^]", "a", true}, {"[]a]", "]", false},
	{"\\*", "*", true}, {"\\*", "a", false}, {"a\\", "a\\", true}, {"[\\]]", "]", true}, {"[\\-a]", "-", true}, {"*\\?", "a?", true}, {"A", "a", false},
};

START_TEST(patterns_match_what_they_should)
{
	for (size_t i = 0; i < LEN(cases); i++)
		ck_assert_msg(glob_matches(cases[i].pattern, strlen(cases[i].pattern), cases[i].text, strlen(cases[i].text)) == cases[i].matches,
			"%s: %s", cases[i].pattern, cases[i].text);
	ck_assert(glob_matches("a?b", 3, "a\0b", 3));
	ck_assert(!glob_matches("a", 1, "a\0", 2));
}
END_TEST

START_TEST(many_stars_take_no_time)
{
	char text[4096], pattern[512];
	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i + 2 < sizeof(pattern); i += 2)
		memcpy(pattern + i, "a*", 2);
	clock_update();
	int64_t began_us = clock_us();
	ck_assert(glob_matches(pattern, sizeof(pattern) - 2, text, sizeof(text)));
	pattern[sizeof(pattern) - 2] = 'b';
	ck_assert(!glob_matches(pattern, sizeof(pattern) - 1, text, sizeof(text)));
	clock_update();
	ck_assert_int_lt(clock_us() - began_us, 1000000);
}
END_TEST

/* ---- beside Redis ---- */

static void random_text(char *text, size_t max, const char *alphabet)
{
	size_t len = 1 + (size_t)random() % (max - 1), n = strlen(alphabet);
	for (size_t i = 0; i < len; i++)
		text[i] = alphabet[(size_t)random() % n];
	text[len] = '\0';
}

static bool is_among(const redisReply *keys, const char *key)
{
	for (size_t i = 0; i < keys->elements; i++)
		if (strcmp(keys->element[i]->str, key) == 0)
			return true;
	return false;
}

START_TEST(patterns_match_what_redis_says)
{
	enum { KEYS = 200, PATTERNS = 4000 };
	static char keys[KEYS][8];
	char pattern[12];
	srandom(20);
	for (int i = 0; i < KEYS; i++) {
		random_text(keys[i], sizeof(keys[i]), "abc-]^\\");
		freeReplyObject(tell("SET %s x", keys[i]));
	}
	for (int i = 0; i < PATTERNS; i++) {
		random_text(pattern, sizeof(pattern), "aabc**??[[]]^-\\");
		redisReply *found = tell("KEYS %s", pattern);
		for (int k = 0; k < KEYS; k++) {
			bool is_theirs = is_among(found, keys[k]), is_ours = glob_matches(pattern, strlen(pattern), keys[k], strlen(keys[k]));
			ck_assert_msg(is_theirs == is_ours, "KEYS %s: %s is %s Redis", pattern, keys[k], is_theirs ? "found by" : "not found by");
		}
		freeReplyObject(found);
	}
}
END_TEST

static void setup(void)
{
	redisd_init();
	start_server(NULL);
}

int main(void)
{
	Suite *suite = suite_create("glob");
	TCase *tc = tcase_create("alone");
	tcase_add_test(tc, patterns_match_what_they_should);
	tcase_add_test(tc, many_stars_take_no_time);
	suite_add_tcase(suite, tc);

	tc = tcase_create("beside Redis");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, redisd_fini);
	tcase_add_test(tc, patterns_match_what_redis_says);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
