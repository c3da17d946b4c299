/* rows.c: each shape, each kind of cell, each refusal. */
#include "../../daemon/rows.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/json.h"

#define LEN(table) (sizeof(table) / sizeof(*(table)))
#define NO_LIMIT ((size_t)1 << 30)
#define NULL_CELL ((struct cell){.kind = CELL_NULL, .len = SIZE_MAX})   /* the length says nothing */

static struct cell cell(enum cell_kind kind, const char *text)
{
	return (struct cell){.kind = kind, .text = text, .len = strlen(text)};
}

static struct rows begin(enum conf_shape shape, unsigned columns, size_t max_bytes)
{
	static const char *const names[] = {"a", "b", "c"};
	struct rows r;
	rows_init(&r, shape, max_bytes);
	ck_assert_int_eq(rows_columns(&r, columns, names), 0);
	return r;
}

static void add(struct rows *r, struct cell a, struct cell b, struct cell c)
{
	ck_assert_msg(rows_add(r, (struct cell[]){a, b, c}) == 0, "%s", r->error);
}

static void assert_refused(struct rows *r, struct cell c, const char *error)
{
	ck_assert_int_eq(rows_add(r, &c), -1);
	ck_assert_str_eq(r->error, error);
	ck_assert_int_eq(rows_add(r, &c), -1);
	ck_assert(!rows_end(r));
	rows_fini(r);
}

static void assert_value(struct rows *r, const char *expected, size_t len)
{
	ck_assert(rows_end(r));
	ck_assert_msg(r->out.len == len && (len == 0 || memcmp(r->out.data, expected, len) == 0),
		"got %.*s, expected %s", (int)r->out.len, r->out.data, expected);
	rows_fini(r);
}

static void assert_json(struct rows *r, const char *expected)
{
	ck_assert_int_eq(json_check(r->out.data, r->out.len, NULL, NULL), 0);
	assert_value(r, expected, strlen(expected));
}

START_TEST(rows_are_an_array_of_objects)
{
	struct rows r = begin(CONF_ROWS, 3, NO_LIMIT);
	add(&r, cell(CELL_INTEGER, "1"), NULL_CELL, cell(CELL_TEXT, "x"));
	add(&r, cell(CELL_INTEGER, "-9223372036854775808"), cell(CELL_BOOL, "t"), cell(CELL_TEXT, ""));
	ck_assert_uint_eq(r.count, 2);
	assert_json(&r, "[{\"a\":1,\"b\":null,\"c\":\"x\"},{\"a\":-9223372036854775808,\"b\":true,\"c\":\"\"}]");
}
END_TEST

START_TEST(no_rows_are_an_empty_array)
{
	struct rows r = begin(CONF_ROWS, 1, NO_LIMIT);
	assert_json(&r, "[]");
}
END_TEST

START_TEST(row_is_one_object)
{
	struct rows r = begin(CONF_ROW, 2, NO_LIMIT);
	add(&r, cell(CELL_TEXT, "\"q\""), cell(CELL_JSON, "[1, 2]"), NULL_CELL);
	assert_json(&r, "{\"a\":\"\\\"q\\\"\",\"b\":[1, 2]}");
}
END_TEST

START_TEST(value_is_the_first_column_verbatim)
{
	struct rows r = begin(CONF_VALUE, 2, NO_LIMIT);
	add(&r, (struct cell){CELL_BLOB, "\0\xff\n", 3}, cell(CELL_TEXT, "not this"), NULL_CELL);
	assert_value(&r, "\0\xff\n", 3);
}
END_TEST

START_TEST(empty_value_exists)
{
	struct rows r = begin(CONF_VALUE, 1, NO_LIMIT);
	add(&r, cell(CELL_TEXT, ""), NULL_CELL, NULL_CELL);
	assert_value(&r, "", 0);
}
END_TEST

START_TEST(null_value_and_missing_row_do_not_exist)
{
	struct rows r = begin(CONF_VALUE, 1, NO_LIMIT);
	add(&r, NULL_CELL, NULL_CELL, NULL_CELL);
	ck_assert(!rows_end(&r));
	ck_assert_ptr_null(r.error);
	rows_fini(&r);
	static const enum conf_shape shapes[] = {CONF_VALUE, CONF_ROW};
	for (size_t i = 0; i < LEN(shapes); i++) {
		r = begin(shapes[i], 1, NO_LIMIT);
		ck_assert(!rows_end(&r));
		ck_assert_ptr_null(r.error);
		rows_fini(&r);
	}
}
END_TEST

START_TEST(row_of_nulls_exists)
{
	struct rows r = begin(CONF_ROW, 1, NO_LIMIT);
	add(&r, NULL_CELL, NULL_CELL, NULL_CELL);
	assert_json(&r, "{\"a\":null}");
}
END_TEST

START_TEST(second_row_is_refused_where_one_is_wanted)
{
	static const enum conf_shape shapes[] = {CONF_VALUE, CONF_ROW};
	for (size_t i = 0; i < LEN(shapes); i++) {
		struct rows r = begin(shapes[i], 1, NO_LIMIT);
		add(&r, NULL_CELL, NULL_CELL, NULL_CELL);
		assert_refused(&r, cell(CELL_TEXT, "x"), "more than one row");
	}
}
END_TEST

START_TEST(names_are_the_first_column_each_with_a_nul)
{
	struct rows r = begin(CONF_NAMES, 2, NO_LIMIT);
	add(&r, cell(CELL_TEXT, "openrouter"), cell(CELL_TEXT, "x"), NULL_CELL);
	add(&r, cell(CELL_INTEGER, "42"), NULL_CELL, NULL_CELL);
	assert_value(&r, "openrouter\0" "42", 14);
	r = begin(CONF_NAMES, 1, NO_LIMIT);
	assert_value(&r, "", 0);
}
END_TEST

START_TEST(unusable_names_are_refused)
{
	struct rows r = begin(CONF_NAMES, 1, NO_LIMIT);
	assert_refused(&r, NULL_CELL, "a name is NULL");
	r = begin(CONF_NAMES, 1, NO_LIMIT);
	assert_refused(&r, (struct cell){CELL_TEXT, "a\0b", 3}, "a name has a NUL byte in it");
}
END_TEST

/* What a cell becomes in an object. The text is given in exactly its size, so that ASan sees a step too far. */
static void assert_cell(enum cell_kind kind, const char *text, size_t len, const char *expected)
{
	struct rows r = begin(CONF_ROW, 1, NO_LIMIT);
	char *exact = xmalloc(len);
	char object[256];
	memcpy(exact, text, len);
	ck_assert_int_eq(rows_add(&r, &(struct cell){kind, exact, len}), 0);
	free(exact);
	snprintf(object, sizeof(object), "{\"a\":%s}", expected);
	assert_json(&r, object);
}

START_TEST(numbers_keep_their_digits)
{
	static const char *const numbers[] = {
		"0", "-0", "1.10", "0.000000150", "1e-07", "1E+20", "123456789012345678901234567890.5",
	};
	for (size_t i = 0; i < LEN(numbers); i++)
		assert_cell(CELL_NUMBER, numbers[i], strlen(numbers[i]), numbers[i]);
}
END_TEST

START_TEST(numbers_json_does_not_know_are_brought_into_its_form)
{
	static const char *const forms[][2] = {
		{"1.", "1"}, {"-1.", "-1"}, {".5", "0.5"}, {"-.5", "-0.5"}, {"+1", "1"}, {"+.5e3", "0.5e3"},
		{"007", "7"}, {"-00.50", "-0.50"}, {"000", "0"}, {"1.e5", "1e5"}, {"-0.", "-0"},
	};
	for (size_t i = 0; i < LEN(forms); i++)
		assert_cell(CELL_NUMBER, forms[i][0], strlen(forms[i][0]), forms[i][1]);
}
END_TEST

START_TEST(what_is_not_a_finite_number_is_null)
{
	static const char *const texts[] = {
		"NaN", "nan", "-nan", "Infinity", "-Infinity", "inf", "-Inf", "", "-", "+", ".", "-.", "1..5",
		"1.5.5", "--1", "+-1", "1e", ".e5", "abc", "$1.00", "1,5", "0x1F", "true", "null", "[1]",
	};
	for (size_t i = 0; i < LEN(texts); i++)
		assert_cell(CELL_NUMBER, texts[i], strlen(texts[i]), "null");
}
END_TEST

START_TEST(booleans_are_true_by_letter_or_by_number)
{
	static const char *const yes[] = {"t", "true", "T", "TRUE", "1", "-1", "10", "0.5", "1e-5"};
	static const char *const no[] = {"f", "false", "F", "0", "-0", "0.0", "0e5", ""};
	for (size_t i = 0; i < LEN(yes); i++)
		assert_cell(CELL_BOOL, yes[i], strlen(yes[i]), "true");
	for (size_t i = 0; i < LEN(no); i++)
		assert_cell(CELL_BOOL, no[i], strlen(no[i]), "false");
}
END_TEST

START_TEST(json_goes_in_verbatim_and_what_is_none_as_a_string)
{
	assert_cell(CELL_JSON, "{\"x\": [1, null]}", 16, "{\"x\": [1, null]}");
	assert_cell(CELL_JSON, "null", 4, "null");
	assert_cell(CELL_JSON, "{\"x\": ", 6, "\"{\\\"x\\\": \"");
	assert_cell(CELL_JSON, "", 0, "\"\"");
	assert_cell(CELL_JSON, "1,\"b\":2", 7, "\"1,\\\"b\\\":2\"");
}
END_TEST

START_TEST(text_is_escaped_and_made_utf8)
{
	assert_cell(CELL_TEXT, "a\nb\0\xff\xc3\xa9", 7, "\"a\\nb\\u0000\xef\xbf\xbd\xc3\xa9\"");
}
END_TEST

START_TEST(blobs_are_base64)
{
	/* RFC 4648, section 10 */
	static const char *const vectors[][2] = {
		{"", "\"\""}, {"f", "\"Zg==\""}, {"fo", "\"Zm8=\""}, {"foo", "\"Zm9v\""}, {"foob", "\"Zm9vYg==\""},
		{"fooba", "\"Zm9vYmE=\""}, {"foobar", "\"Zm9vYmFy\""}, {"\xfb\xff\xbe", "\"+/++\""},
	};
	for (size_t i = 0; i < LEN(vectors); i++)
		assert_cell(CELL_BLOB, vectors[i][0], strlen(vectors[i][0]), vectors[i][1]);
	assert_cell(CELL_BLOB, "\0\0", 2, "\"AAA=\"");
}
END_TEST

START_TEST(blob_of_any_length_fits)
{
	static const char zeros[1000];
	for (size_t len = 0; len < sizeof(zeros); len++) {
		struct rows r = begin(CONF_ROWS, 1, NO_LIMIT);
		ck_assert_int_eq(rows_add(&r, &(struct cell){CELL_BLOB, zeros, len}), 0);
		ck_assert_uint_eq(r.out.len, (len + 2) / 3 * 4 + strlen("[{\"a\":\"\"}]"));
		rows_fini(&r);
	}
}
END_TEST

START_TEST(empty_cell_may_have_no_text)
{
	static const char *const expected[] = {
		[CELL_NULL] = "{\"a\":null}", [CELL_NUMBER] = "{\"a\":null}", [CELL_BOOL] = "{\"a\":false}",
		[CELL_TEXT] = "{\"a\":\"\"}", [CELL_JSON] = "{\"a\":\"\"}", [CELL_BLOB] = "{\"a\":\"\"}",
	};
	for (size_t kind = 0; kind < LEN(expected); kind++) {
		if (!expected[kind])
			continue;       /* an integer has digits */
		struct rows r = begin(CONF_ROW, 1, NO_LIMIT);
		ck_assert_int_eq(rows_add(&r, &(struct cell){.kind = (enum cell_kind)kind}), 0);
		assert_json(&r, expected[kind]);
	}
}
END_TEST

START_TEST(column_names_are_escaped)
{
	struct rows r;
	rows_init(&r, CONF_ROWS, NO_LIMIT);
	ck_assert_int_eq(rows_columns(&r, 2, (const char *const[]){"say \"hi\"", ""}), 0);
	add(&r, cell(CELL_INTEGER, "1"), cell(CELL_INTEGER, "2"), NULL_CELL);
	assert_json(&r, "[{\"say \\\"hi\\\"\":1,\"\":2}]");
}
END_TEST

START_TEST(duplicate_column_is_refused_where_names_are_used)
{
	static const char *const names[] = {"a", "b", "a"};
	struct rows r;
	for (int shape = CONF_ROWS; shape <= CONF_NAMES; shape++) {
		bool used = shape == CONF_ROWS || shape == CONF_ROW;
		rows_init(&r, (enum conf_shape)shape, NO_LIMIT);
		ck_assert_int_eq(rows_columns(&r, 3, names), used ? -1 : 0);
		if (used) {
			ck_assert_str_eq(r.error, "two columns have the same name");
			ck_assert_int_eq(rows_add(&r, &NULL_CELL), -1);
			ck_assert(!rows_end(&r));
		}
		rows_fini(&r);
	}
}
END_TEST

START_TEST(statement_without_columns_is_refused)
{
	struct rows r;
	rows_init(&r, CONF_ROWS, NO_LIMIT);
	ck_assert_int_eq(rows_columns(&r, 0, NULL), -1);
	assert_refused(&r, NULL_CELL, "the statement gives no columns");
}
END_TEST

static const char too_large[] = "the rows are larger than the limit";

START_TEST(limit_is_exact_in_every_shape)
{
	static const size_t sizes[] = {[CONF_ROWS] = 14, [CONF_ROW] = 12, [CONF_VALUE] = 4, [CONF_NAMES] = 5};
	for (int shape = CONF_ROWS; shape <= CONF_NAMES; shape++) {
		struct cell c = cell(CELL_TEXT, "1234");        /* [{"a":"1234"}] */
		struct rows r = begin((enum conf_shape)shape, 1, sizes[shape]);
		ck_assert_int_eq(rows_add(&r, &c), 0);
		ck_assert_uint_eq(r.out.len, sizes[shape]);
		rows_fini(&r);
		r = begin((enum conf_shape)shape, 1, sizes[shape] - 1);
		assert_refused(&r, c, too_large);
	}
}
END_TEST

START_TEST(limit_holds_over_many_rows)
{
	struct rows r = begin(CONF_ROWS, 1, 1000);
	struct cell c = cell(CELL_INTEGER, "1");
	while (rows_add(&r, &c) == 0)
		ck_assert_uint_le(r.out.len, 1000);
	ck_assert_uint_eq(r.count, 125);        /* 124 rows of 8 bytes and a bracket are 993 */
	assert_refused(&r, c, too_large);
}
END_TEST

START_TEST(huge_cell_is_refused_before_it_is_copied)
{
	static const struct cell huge = {CELL_BLOB, "x", (size_t)1 << 40};
	for (int shape = CONF_ROWS; shape <= CONF_VALUE; shape++) {
		struct rows r = begin((enum conf_shape)shape, 1, 1000);
		assert_refused(&r, huge, too_large);
	}
	/* also behind a cell that went over the limit by itself */
	struct rows r = begin(CONF_ROW, 2, 4);
	ck_assert_int_eq(rows_add(&r, (struct cell[]){cell(CELL_INTEGER, "1"), huge}), -1);
	ck_assert_str_eq(r.error, too_large);
	rows_fini(&r);
}
END_TEST

START_TEST(catalog_of_17000_rows_is_json_and_complete)
{
	enum { ROWS = 17000, COLUMNS = 15 };
	const char *names[COLUMNS];
	struct cell cells[COLUMNS];
	char texts[COLUMNS][16];
	struct json_summary summary;
	struct rows r;
	for (int i = 0; i < COLUMNS; i++) {
		sprintf(texts[i], "column_%d", i);
		names[i] = texts[i];
		cells[i] = cell(CELL_TEXT, "a text of some length");
	}
	rows_init(&r, CONF_ROWS, NO_LIMIT);
	ck_assert_int_eq(rows_columns(&r, COLUMNS, names), 0);
	for (int i = 0; i < ROWS; i++)
		if (rows_add(&r, cells) < 0)
			ck_abort_msg("%s", r.error);
	ck_assert(rows_end(&r));
	ck_assert_int_eq(json_check(r.out.data, r.out.len, &summary, NULL), 0);
	ck_assert_int_eq(summary.items, ROWS);
	rows_fini(&r);
}
END_TEST

START_TEST(fini_frees_from_every_state)
{
	struct rows r;
	rows_init(&r, CONF_ROWS, NO_LIMIT);
	rows_fini(&r);
	r = begin(CONF_ROWS, 3, NO_LIMIT);
	rows_fini(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rows");
	TCase *tc = tcase_create("rows");
	tcase_add_test(tc, rows_are_an_array_of_objects);
	tcase_add_test(tc, no_rows_are_an_empty_array);
	tcase_add_test(tc, row_is_one_object);
	tcase_add_test(tc, value_is_the_first_column_verbatim);
	tcase_add_test(tc, empty_value_exists);
	tcase_add_test(tc, null_value_and_missing_row_do_not_exist);
	tcase_add_test(tc, row_of_nulls_exists);
	tcase_add_test(tc, second_row_is_refused_where_one_is_wanted);
	tcase_add_test(tc, names_are_the_first_column_each_with_a_nul);
	tcase_add_test(tc, unusable_names_are_refused);
	tcase_add_test(tc, numbers_keep_their_digits);
	tcase_add_test(tc, numbers_json_does_not_know_are_brought_into_its_form);
	tcase_add_test(tc, what_is_not_a_finite_number_is_null);
	tcase_add_test(tc, booleans_are_true_by_letter_or_by_number);
	tcase_add_test(tc, json_goes_in_verbatim_and_what_is_none_as_a_string);
	tcase_add_test(tc, text_is_escaped_and_made_utf8);
	tcase_add_test(tc, blobs_are_base64);
	tcase_add_test(tc, blob_of_any_length_fits);
	tcase_add_test(tc, empty_cell_may_have_no_text);
	tcase_add_test(tc, column_names_are_escaped);
	tcase_add_test(tc, duplicate_column_is_refused_where_names_are_used);
	tcase_add_test(tc, statement_without_columns_is_refused);
	tcase_add_test(tc, limit_is_exact_in_every_shape);
	tcase_add_test(tc, limit_holds_over_many_rows);
	tcase_add_test(tc, huge_cell_is_refused_before_it_is_copied);
	tcase_add_test(tc, catalog_of_17000_rows_is_json_and_complete);
	tcase_add_test(tc, fini_frees_from_every_state);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
