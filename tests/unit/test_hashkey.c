/* hashkey.c against the real python3: tests/data/hashkey_contexts.py makes the
 * contexts and says what Python makes of them. Run from the top of the project. */
#include "../../daemon/hashkey.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/json.h"
#include "../../proto/buf.h"

#define CONTEXTS 6000
#define PYTHON "python3 tests/data/hashkey_contexts.py"

/* The bytes in memory of exactly their size, so that ASan sees a step too far. */
static char *exact_copy(const char *s, size_t len)
{
	char *copy = xmalloc(len);
	memcpy(copy, s, len);
	return copy;
}

/* The canonical text, NUL-terminated; or "error: <reason>". The caller frees it. */
static char *canonical(const char *text, size_t len)
{
	struct buf out = BUF_INIT;
	const char *reason = NULL;
	char *copy = exact_copy(text, len);
	if (hashkey_canonical(&out, copy, len, &reason) < 0) {
		ck_assert_uint_eq(out.len, 0);
		buf_add_str(&out, "error: ");
		buf_add_str(&out, reason);
	}
	free(copy);
	buf_add_char(&out, '\0');
	return out.data;
}

static void assert_canonical(const char *text, const char *expected)
{
	char *got = canonical(text, strlen(text));
	ck_assert_msg(strcmp(got, expected) == 0, "%s\ngave     %s\nexpected %s", text, got, expected);
	free(got);
}

/* A line cannot hold a tab or a newline: see hashkey_contexts.py. */
static void restore_blanks(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\v')
			text[i] = '\t';
		else if (text[i] == '\f')
			text[i] = '\n';
	}
}

/* Compares one line of the generator's; returns whether its text was good. */
static bool compare_line(char *line, size_t len)
{
	char hex[HASHKEY_LEN + 1] = "error";
	const char *reason = NULL;
	line[len - 1] = '\0';
	const char *expected = memrchr(line, '\t', len);
	if (!expected)
		ck_abort_msg("not a line of the generator: %s", line);
	size_t text_len = (size_t)(expected++ - line);
	restore_blanks(line, text_len);
	char *text = exact_copy(line, text_len);
	bool good = hashkey(hex, text, text_len, &reason) == 0;
	if (strcmp(hex, expected) != 0) {
		char *got = canonical(text, text_len);
		ck_abort_msg("text      %.*s\ncanonical %s\nkey       %s\nexpected  %s", (int)text_len, text, got, hex, expected);
	}
	if (!good && !reason)
		ck_abort_msg("no reason was given for %s", line);
	free(text);
	return good;
}

static void compare_with_python(unsigned seed)
{
	char command[128];
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	unsigned good = 0, bad = 0;
	snprintf(command, sizeof(command), PYTHON " %d %u", CONTEXTS, seed);
	FILE *python = popen(command, "r");
	ck_assert_ptr_nonnull(python);
	while ((len = getline(&line, &cap, python)) > 0) {
		if (compare_line(line, (size_t)len))
			good++;
		else
			bad++;
	}
	free(line);
	ck_assert_msg(pclose(python) == 0, "%s failed", command);
	ck_assert_uint_ge(good, CONTEXTS);
	ck_assert_uint_ge(bad, CONTEXTS / 10);
}

START_TEST(keys_equal_those_of_python_for_thousands_of_contexts)
{
	compare_with_python(1);
}
END_TEST

START_TEST(members_are_sorted_and_the_last_of_equal_names_wins)
{
	assert_canonical("{\"b\":[1,{\"d\":2,\"c\":3}],\"a\":4,\"b\":{\"x\":1,\"x\":{}}}", "{\"a\": 4, \"b\": {\"x\": {}}}");
}
END_TEST

START_TEST(floats_print_as_their_repr)
{
	assert_canonical("[1e16,1E+15,1e-4,0.00001,-0.0,-0,100.0,1e400,5e-324,5.960464477539063e-08]",
		"[1e+16, 1000000000000000.0, 0.0001, 1e-05, -0.0, 0, 100.0, Infinity, 5e-324, 5.960464477539063e-08]");
}
END_TEST

START_TEST(strings_print_in_ascii_with_lone_surrogates_kept)
{
	assert_canonical("\"\\ud83d\\ude00 \\ude00 \xc3\xa9 \\/ \x7f\"", "\"\\ud83d\\ude00 \\ude00 \\u00e9 / \\u007f\"");
}
END_TEST

START_TEST(all_four_blanks_may_surround_everything)
{
	assert_canonical("\t\n\r { \"a\"\t:\n[ 1\r, 2 ]\n} \t", "{\"a\": [1, 2]}");
}
END_TEST

START_TEST(depth_is_limited)
{
	enum { TOO_DEEP = JSON_MAX_DEPTH + 1 };
	char text[2 * TOO_DEEP];
	memset(text, '[', TOO_DEEP);
	memset(text + TOO_DEEP, ']', TOO_DEEP);
	char *got = canonical(text, sizeof(text));
	ck_assert_str_eq(got, "error: nested too deeply");
	free(got);
	got = canonical(text + 1, sizeof(text) - 2);
	ck_assert_uint_eq(strlen(got), sizeof(text) - 2);
	free(got);
}
END_TEST

START_TEST(huge_integer_is_refused_even_where_a_later_member_replaces_it)
{
	struct buf text = BUF_INIT;
	buf_addf(&text, "{\"a\": %04301d, \"a\": 1}", 0);
	memset(strchr(text.data, '0'), '7', 4301);
	char *got = canonical(text.data, text.len);
	ck_assert_str_eq(got, "error: an integer of more than 4300 digits");
	free(got);
	buf_free(&text);
}
END_TEST

START_TEST(bad_text_leaves_the_output_as_it_was)
{
	struct buf out = BUF_INIT;
	const char *reason = NULL;
	buf_add_str(&out, "before ");
	ck_assert_int_eq(hashkey_canonical(&out, "[1}", 3, &reason), -1);
	ck_assert_str_eq(reason, "a comma or ] was expected");
	ck_assert_int_eq(hashkey_canonical(&out, NULL, 0, &reason), -1);
	ck_assert_str_eq(reason, "the text ends too soon");
	ck_assert_int_eq(hashkey_canonical(&out, "[1]", 3, &reason), 0);
	ck_assert_uint_eq(out.len, 10);
	ck_assert_mem_eq(out.data, "before [1]", 10);
	buf_free(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hashkey");
	TCase *tc = tcase_create("hashkey");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, keys_equal_those_of_python_for_thousands_of_contexts);
	tcase_add_test(tc, members_are_sorted_and_the_last_of_equal_names_wins);
	tcase_add_test(tc, floats_print_as_their_repr);
	tcase_add_test(tc, strings_print_in_ascii_with_lone_surrogates_kept);
	tcase_add_test(tc, all_four_blanks_may_surround_everything);
	tcase_add_test(tc, depth_is_limited);
	tcase_add_test(tc, huge_integer_is_refused_even_where_a_later_member_replaces_it);
	tcase_add_test(tc, bad_text_leaves_the_output_as_it_was);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
