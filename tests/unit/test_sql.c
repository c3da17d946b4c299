/* The lexer that numbers the parameters of a query. Written down here is :name as
 * it is and $1 as it comes out. */
#include "../../conf/sql.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static void expect_numbered(const char *sql, const char *numbered, unsigned uses)
{
	unsigned n = 99;
	char *error = NULL;
	char *out = sql_number_parameters(sql, &n, &error);
	ck_assert_msg(out, "%s: %s", sql, error);
	ck_assert_str_eq(out, numbered);
	ck_assert_uint_eq(n, uses);
	free(out);
}

static void expect_unchanged(const char *sql)
{
	expect_numbered(sql, sql, 0);
}

static void expect_refused(const char *sql, const char *word)
{
	unsigned n;
	char *error = NULL;
	ck_assert_msg(!sql_number_parameters(sql, &n, &error), "%s is not refused", sql);
	ck_assert_msg(strstr(error, word), "\"%s\" does not name %s", error, word);
	free(error);
}

START_TEST(each_use_of_name_becomes_the_first_parameter)
{
	expect_numbered("SELECT 1 WHERE a=:name", "SELECT 1 WHERE a= $1", 1);
	expect_numbered(":name", " $1", 1);
	expect_numbered("(:name,:name)", "( $1, $1)", 2);
	expect_numbered("f(:name)::text", "f( $1)::text", 1);
	expect_numbered(":name::text", " $1::text", 1);
	expect_numbered("a[:name]", "a[ $1]", 1);
	expect_numbered("a[1:name]", "a[1 $1]", 1);
	expect_unchanged("");
	expect_unchanged("SELECT 1");
}
END_TEST

START_TEST(parameter_behind_a_word_does_not_become_part_of_it)
{
	expect_numbered("x AND:name=y", "x AND $1=y", 1);
	expect_numbered("SELECT 1:name", "SELECT 1 $1", 1);
}
END_TEST

START_TEST(strings_are_left_alone)
{
	expect_unchanged("SELECT ':name'");
	expect_unchanged("SELECT 'it''s :name'");
	expect_unchanged("SELECT '' ':name'");
	expect_unchanged("SELECT 'back\\', '::name'");
	expect_numbered("SELECT 'a\\', :name", "SELECT 'a\\',  $1", 1);
	expect_numbered("SELECT '''', :name", "SELECT '''',  $1", 1);
	expect_unchanged("SELECT 'open :name");
	expect_unchanged("SELECT U&':name', B':name', X':name'");
}
END_TEST

START_TEST(escape_strings_know_backslashes)
{
	expect_unchanged("SELECT E'it\\'s :name'");
	expect_unchanged("SELECT e'\\\\\\' :name'");
	expect_numbered("SELECT E'\\\\', :name", "SELECT E'\\\\',  $1", 1);
	expect_numbered("SELECT nameE'\\', :name", "SELECT nameE'\\',  $1", 1);
	expect_numbered("SELECT E'a''\\'b', :name", "SELECT E'a''\\'b',  $1", 1);
	expect_unchanged("SELECT E'open \\");
}
END_TEST

START_TEST(quoted_identifiers_are_left_alone)
{
	expect_unchanged("SELECT \":name\" FROM \"a\"\":name\"");
	expect_numbered("SELECT \"it's\", :name", "SELECT \"it's\",  $1", 1);
}
END_TEST

START_TEST(comments_are_left_alone)
{
	expect_unchanged("SELECT 1 -- :name 'x");
	expect_numbered("SELECT 1 -- it's\n, :name", "SELECT 1 -- it's\n,  $1", 1);
	expect_unchanged("SELECT /* :name ' */ 1");
	expect_unchanged("SELECT /* a /* :name */ :name */ 1");
	expect_numbered("/* /* */ */ :name", "/* /* */ */  $1", 1);
	expect_numbered("/**/:name", "/**/ $1", 1);
	expect_unchanged("/*/ :name");
	expect_unchanged("/* open :name");
	expect_numbered("1 - -:name", "1 - - $1", 1);
	expect_numbered("6 / :name", "6 /  $1", 1);
}
END_TEST

START_TEST(dollar_quotes_are_left_alone)
{
	expect_unchanged("SELECT $$:name$$");
	expect_unchanged("SELECT $a$ :name $b$ :name $$ :name $a$");
	expect_unchanged("SELECT $_x1$:name$_x1$");
	expect_unchanged("SELECT $q$ open :name");
	expect_numbered("SELECT $$'$$, :name", "SELECT $$'$$,  $1", 1);
	expect_numbered("SELECT a$b, :name, c$b", "SELECT a$b,  $1, c$b", 1);
	expect_numbered("SELECT a$$, :name, $$", "SELECT a$$,  $1, $$", 1);
	expect_numbered("SELECT $1, :name, $1", "SELECT $1,  $1, $1", 1);
	expect_numbered("SELECT $, :name", "SELECT $,  $1", 1);
}
END_TEST

START_TEST(casts_and_assignments_are_no_parameters)
{
	expect_unchanged("SELECT x::name, '1'::text::name");
	expect_unchanged("f(a:=1, b := 2)");
	expect_unchanged("a[1:2], b[:], c[i: j]");
	expect_numbered("x:::name", "x:: $1", 1);
}
END_TEST

START_TEST(any_other_parameter_is_refused_by_name)
{
	expect_refused("SELECT :id", ":id");
	expect_refused("SELECT :names", ":names");
	expect_refused("SELECT :name2", ":name2");
	expect_refused("SELECT :Name", ":Name");
	expect_refused("SELECT :_", ":_");
	expect_refused("SELECT :nam\xc3\xa9", ":nam\xc3\xa9");
	expect_refused("SELECT :name, :nam", ":nam:");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sql");
	TCase *tc = tcase_create("parameters");
	tcase_add_test(tc, each_use_of_name_becomes_the_first_parameter);
	tcase_add_test(tc, parameter_behind_a_word_does_not_become_part_of_it);
	tcase_add_test(tc, strings_are_left_alone);
	tcase_add_test(tc, escape_strings_know_backslashes);
	tcase_add_test(tc, quoted_identifiers_are_left_alone);
	tcase_add_test(tc, comments_are_left_alone);
	tcase_add_test(tc, dollar_quotes_are_left_alone);
	tcase_add_test(tc, casts_and_assignments_are_no_parameters);
	tcase_add_test(tc, any_other_parameter_is_refused_by_name);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
