/* The redaction of a database's messages. */
#include "../../daemon/fetch.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static void expect_redacted(const char *message, const char *redacted)
{
	char *copy = strdup(message);
	fetch_redact(copy);
	ck_assert_str_eq(copy, redacted);
	free(copy);
}

START_TEST(what_a_message_quotes_is_taken_out_of_it)
{
	expect_redacted("invalid input for type integer: \"secret\"", "invalid input for type integer: \"\"");
	expect_redacted("value \"9\" is out of range", "value \"\" is out of range");
	expect_redacted("near \"a\"b\"c\": no", "near \"\": no");
	expect_redacted("bad path 'it's'", "bad path ''");
	expect_redacted("malformed MATCH expression: [a]b]", "malformed MATCH expression: []");
	expect_redacted("open \"secret", "open \"");
	expect_redacted("\"", "\"");
	expect_redacted("integer overflow", "integer overflow");
	expect_redacted("", "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fetch");
	TCase *tc = tcase_create("messages");
	tcase_add_test(tc, what_a_message_quotes_is_taken_out_of_it);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
