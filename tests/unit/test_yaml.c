/* conf/yaml.c: trees, places, variables, and what is refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../conf/yaml.h"
#include "../../proto/buf.h"

static struct yaml_problems problems;
static struct yaml_node *root;

static void teardown(void)
{
	yaml_tree_free(root);
	yaml_problems_free(&problems);
	root = NULL;
}

static void parse(const char *text)
{
	teardown();
	root = yaml_tree_parse(text, strlen(text), &problems);
}

static void write_node(struct buf *b, const struct yaml_node *node)
{
	if (node->kind == NODE_SCALAR) {
		buf_addf(b, "'%s'", node->text);
		return;
	}
	buf_add_char(b, node->kind == NODE_MAPPING ? '{' : '[');
	for (const struct yaml_node *n = node->first; n; n = n->next) {
		if (n->key)
			buf_addf(b, "%s:", n->key);
		write_node(b, n);
		if (n->next)
			buf_add_char(b, ' ');
	}
	buf_add_char(b, node->kind == NODE_MAPPING ? '}' : ']');
}

/* Checks that text is free of problems and becomes the tree that is written so. */
static void expect_tree(const char *text, const char *tree)
{
	struct buf b = BUF_INIT;
	parse(text);
	ck_assert_msg(problems.n == 0, "%s: %s", text, problems.n ? problems.list[0].text : "");
	ck_assert_ptr_nonnull(root);
	write_node(&b, root);
	buf_add_char(&b, '\0');
	ck_assert_str_eq(b.data, tree);
	buf_free(&b);
}

/* Checks that text has exactly these problems, a line each: "line:column: text\n". */
static void expect_problems(const char *text, size_t len, const char *expected)
{
	struct buf b = BUF_INIT;
	teardown();
	root = yaml_tree_parse(text, len, &problems);
	yaml_problems_sort(&problems);
	for (size_t i = 0; i < problems.n; i++)
		buf_addf(&b, "%u:%u: %s\n", problems.list[i].at.line, problems.list[i].at.column,
			problems.list[i].text);
	buf_add_char(&b, '\0');
	ck_assert_str_eq(b.data, expected);
	buf_free(&b);
}

static void refuses(const char *text, const char *expected)
{
	expect_problems(text, strlen(text), expected);
}

START_TEST(mappings_lists_and_scalars_become_a_tree_in_the_order_of_the_file)
{
	expect_tree("b: 1\na: [x, \"y z\", {k: v}]\nc:\n  - 'q'\n  -\n", "{b:'1' a:['x' 'y z' {k:'v'}] c:['q' '']}");
	expect_tree("", "{}");
	expect_tree("# nothing\n", "{}");
	expect_tree("---\n", "''");
	expect_tree("just a text", "'just a text'");
	expect_tree("sql: >-\n  SELECT a\n  FROM b\n", "{sql:'SELECT a FROM b'}");
}
END_TEST

START_TEST(nodes_know_the_line_and_column_of_their_key_and_value)
{
	parse("a:\n  b: [x,\n    y]\n  \"\xc3\xa9\": z\n");
	const struct yaml_node *a = yaml_tree_get(root, "a"), *b = yaml_tree_get(a, "b");
	ck_assert_uint_eq(a->key_at.line, 1);
	ck_assert_uint_eq(a->key_at.column, 1);
	ck_assert_uint_eq(a->at.line, 2);
	ck_assert_uint_eq(a->at.column, 3);
	ck_assert_uint_eq(b->at.column, 6);
	ck_assert_uint_eq(b->first->next->at.line, 3);
	ck_assert_uint_eq(b->first->next->at.column, 5);
	ck_assert_uint_eq(b->first->next->key_at.line, 3);
	const struct yaml_node *e = yaml_tree_get(a, "\xc3\xa9");
	ck_assert_uint_eq(e->key_at.line, 4);
	ck_assert_uint_eq(e->at.column, 8);     /* characters, not bytes */
}
END_TEST

START_TEST(get_finds_nothing_where_there_is_no_mapping)
{
	parse("a: [b]");
	ck_assert_ptr_null(yaml_tree_get(NULL, "a"));
	ck_assert_ptr_null(yaml_tree_get(root, "b"));
	ck_assert_ptr_null(yaml_tree_get(yaml_tree_get(root, "a"), "b"));
}
END_TEST

START_TEST(variables_are_replaced_in_values_of_every_form)
{
	setenv("YAML_A", "one", 1);
	setenv("YAML_EMPTY", "", 1);
	unsetenv("YAML_UNSET");
	expect_tree("${YAML_A}: ${YAML_A}", "{${YAML_A}:'one'}");
	expect_tree("[\"<${YAML_A}>\", '${YAML_A}${YAML_A}']", "['<one>' 'oneone']");
	expect_tree("a: |\n  ${YAML_A}\n", "{a:'one\n'}");
	expect_tree("a: x${YAML_EMPTY}y", "{a:'xy'}");
	expect_tree("a: ${YAML_UNSET:-two}", "{a:'two'}");
	expect_tree("a: ${YAML_EMPTY:-two}", "{a:'two'}");
	expect_tree("a: ${YAML_A:-two}", "{a:'one'}");
	expect_tree("a: ${YAML_UNSET:-}", "{a:''}");
	expect_tree("a: ${YAML_UNSET:-x:-y$}", "{a:'x:-y$'}");
}
END_TEST

START_TEST(a_dollar_that_begins_no_variable_is_left_alone)
{
	expect_tree("a: $1 $$ $ $x {} $", "{a:'$1 $$ $ $x {} $'}");
	expect_tree("a: $${HOME} $$${", "{a:'${HOME} $${'}");
}
END_TEST

START_TEST(what_a_variable_holds_stays_one_scalar)
{
	setenv("YAML_A", "x\nb: [1, ${HOME}]", 1);
	expect_tree("a: ${YAML_A}", "{a:'x\nb: [1, ${HOME}]'}");
}
END_TEST

START_TEST(a_variable_that_is_not_set_is_a_problem_at_its_value)
{
	unsetenv("YAML_UNSET");
	refuses("a: 1\nb:   ${YAML_UNSET}\n",
		"2:6: environment variable YAML_UNSET is not set; ${YAML_UNSET:-default} would give it a default\n");
	ck_assert(yaml_tree_get(root, "b")->bad);
	ck_assert(!yaml_tree_get(root, "a")->bad);
}
END_TEST

#define MALFORMED "expected ${NAME} or ${NAME:-default}; a literal ${ is written $${\n"

START_TEST(a_malformed_variable_is_a_problem_that_does_not_quote_it)
{
	refuses("a: ${secret", "1:4: " MALFORMED);
	refuses("a: ${}", "1:4: " MALFORMED);
	refuses("a: ${1A}", "1:4: " MALFORMED);
	refuses("a: ${A-b}", "1:4: " MALFORMED);
	refuses("a: ${A:b}", "1:4: " MALFORMED);
	refuses("a: ${A B:-c}", "1:4: " MALFORMED);
	refuses("a: ${A:-${B}}", "1:4: the default of ${A} must not hold another variable\n");
}
END_TEST

START_TEST(a_key_given_twice_is_a_problem_that_names_the_first_line)
{
	refuses("a: 1\nb: 2\n'a': 3\na: 4\n",
		"3:1: key \"a\" is given twice; the first is on line 1\n"
		"4:1: key \"a\" is given twice; the first is on line 1\n");
	expect_tree("a: {x: 1}\nb: {x: 1}", "{a:{x:'1'} b:{x:'1'}}");
}
END_TEST

START_TEST(yaml_that_has_no_meaning_here_is_refused_where_it_stands)
{
	refuses("a: &x 1\nb: *x\n",
		"1:4: anchors (&name) are not supported\n"
		"2:4: aliases (*name) are not supported: write the value out\n");
	refuses("a: &x [*x]", "1:4: anchors (&name) are not supported\n"
		"1:8: aliases (*name) are not supported: write the value out\n");
	refuses("a: !!int 1\nb: !x {}\n", "1:4: tags (!name) are not supported\n2:4: tags (!name) are not supported\n");
	refuses("a: 1\n---\nb: 2\n", "2:1: a second document in one file\n");
	refuses("{a: 1, [b]: 2, c: 3}", "1:8: a key must be a word\n");
	refuses("a: \"x\\0y\"\n\"k\\0\": 1\n", "1:4: a NUL byte in a text\n2:1: a NUL byte in a text\n");
	refuses("<<: {a: 1}\n<<: {a: 1}", "2:1: key \"<<\" is given twice; the first is on line 1\n");
}
END_TEST

START_TEST(a_syntax_error_has_its_place_and_ends_the_reading)
{
	refuses("a: [1, 2\nb: 3\n",
		"2:2: did not find expected ',' or ']' while parsing a flow sequence that begins on line 1\n");
	ck_assert_ptr_null(root);
	refuses("a: 1\n\tb: 2\n", "2:1: found a tab character that violates indentation "
		"while scanning a plain scalar that begins on line 1\n");
	refuses("a: 'x", "1:6: found unexpected end of stream while scanning a quoted scalar\n");
	refuses("a: 1\n b: 2\n", "2:3: mapping values are not allowed in this context\n");
	refuses("a: *\n", "1:5: did not find expected alphabetic or numeric character while scanning an alias\n");
}
END_TEST

START_TEST(bytes_that_are_no_text_have_their_place)
{
	refuses("a: 1\nb: \xff\n", "2:4: invalid leading UTF-8 octet\n");
	refuses("a: 1\n\xc3\xa9\xc3\xa9: \x01\n", "2:5: control characters are not allowed\n");
	expect_problems("a: 1\n\0", 6, "2:1: control characters are not allowed\n");
}
END_TEST

START_TEST(problems_found_before_a_syntax_error_are_kept)
{
	refuses("a: 1\na: 2\nb: ]\n", "2:1: key \"a\" is given twice; the first is on line 1\n"
		"3:4: did not find expected node content while parsing a block node\n");
}
END_TEST

START_TEST(deep_and_huge_files_are_refused_not_followed)
{
	struct buf b = BUF_INIT;
	for (int i = 0; i < 100000; i++)
		buf_add_char(&b, '[');
	expect_problems(b.data, b.len, "1:34: nested too deeply\n");
	buf_free(&b);
	for (int i = 0; i < YAML_MAX_NODES; i++)
		buf_add_str(&b, "- x\n");
	expect_problems(b.data, b.len, "20000:3: too many values in one file\n");
	buf_free(&b);
}
END_TEST

START_TEST(files_that_cannot_be_read_say_why)
{
	ck_assert_ptr_null(yaml_tree_read("/nonexistent/x.yaml", &problems));
	ck_assert_ptr_null(yaml_tree_read("/", &problems));
	ck_assert_ptr_null(yaml_tree_read("/dev/zero", &problems));
	ck_assert_uint_eq(problems.n, 3);
	ck_assert_str_eq(problems.list[0].text, "cannot open: No such file or directory");
	ck_assert_str_eq(problems.list[1].text, "cannot read: Is a directory");
	ck_assert_str_eq(problems.list[2].text, "larger than 1048576 bytes");
}
END_TEST

START_TEST(a_problem_is_one_line_whatever_it_quotes)
{
	refuses("\"a\\n\\x1b\\x7f\": 1\n\"a\\n\\x1b\\x7f\": 2\n",
		"2:1: key \"a???\" is given twice; the first is on line 1\n");
}
END_TEST

static void expect_quote(const char *text, const char *quoted)
{
	char *got = yaml_quote(text);
	ck_assert_str_eq(got, quoted);
	free(got);
}

START_TEST(quotes_are_short_and_without_what_follows_a_scheme)
{
	expect_quote("", "\"\"");
	expect_quote("redis://:secret@host", "\"redis://...\"");
	expect_quote("x=https://secret", "\"x=https://...\"");
	expect_quote("0123456789012345678901234567890123456789012345678901234567890",
		"\"012345678901234567890123456789012345678901234567890123456789...\"");
	expect_quote("01234567890123456789012345678901234567890123456789012345678\xc3\xa9x",
		"\"01234567890123456789012345678901234567890123456789012345678...\"");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("yaml");
	TCase *tc = tcase_create("yaml");
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, mappings_lists_and_scalars_become_a_tree_in_the_order_of_the_file);
	tcase_add_test(tc, nodes_know_the_line_and_column_of_their_key_and_value);
	tcase_add_test(tc, get_finds_nothing_where_there_is_no_mapping);
	tcase_add_test(tc, variables_are_replaced_in_values_of_every_form);
	tcase_add_test(tc, a_dollar_that_begins_no_variable_is_left_alone);
	tcase_add_test(tc, what_a_variable_holds_stays_one_scalar);
	tcase_add_test(tc, a_variable_that_is_not_set_is_a_problem_at_its_value);
	tcase_add_test(tc, a_malformed_variable_is_a_problem_that_does_not_quote_it);
	tcase_add_test(tc, a_key_given_twice_is_a_problem_that_names_the_first_line);
	tcase_add_test(tc, yaml_that_has_no_meaning_here_is_refused_where_it_stands);
	tcase_add_test(tc, a_syntax_error_has_its_place_and_ends_the_reading);
	tcase_add_test(tc, bytes_that_are_no_text_have_their_place);
	tcase_add_test(tc, problems_found_before_a_syntax_error_are_kept);
	tcase_add_test(tc, deep_and_huge_files_are_refused_not_followed);
	tcase_add_test(tc, files_that_cannot_be_read_say_why);
	tcase_add_test(tc, a_problem_is_one_line_whatever_it_quotes);
	tcase_add_test(tc, quotes_are_short_and_without_what_follows_a_scheme);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
