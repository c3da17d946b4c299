/* json.c: tables of good and bad texts, and what must hold for every text. In
 * loops of millions the condition is tested before Check is called: each of its
 * assertions, also one that holds, writes a record. */
#include "../../daemon/json.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

#define LEN(table) (sizeof(table) / sizeof(*(table)))

/* json_check on a copy of exactly len bytes, so that ASan sees a step too far. */
static int check_exact(const char *text, size_t len, struct json_summary *summary, struct json_error *err)
{
	char *copy = xmalloc(len);
	memcpy(copy, text, len);
	int result = json_check(len ? copy : NULL, len, summary, err);
	free(copy);
	return result;
}

static bool is_json(const char *text, size_t len)
{
	return check_exact(text, len, NULL, NULL) == 0;
}

/* Whether the bytes, 8 at the most, are the inside of a JSON string. */
static bool is_string_inside(const char *bytes, size_t len)
{
	char text[10];
	text[0] = text[len + 1] = '"';
	memcpy(text + 1, bytes, len);
	return json_check(text, len + 2, NULL, NULL) == 0;
}

static const struct {
	const char *text;
	enum json_kind kind;
	int64_t items;
	bool empty;
} good_texts[] = {
	{"[]", JSON_ARRAY, 0, true},
	{" [ ] ", JSON_ARRAY, 0, true},
	{"{}", JSON_OBJECT, 0, true},
	{"\t{\n}\r\n", JSON_OBJECT, 0, true},
	{"\"\"", JSON_STRING, 0, true},
	{" \"\" ", JSON_STRING, 0, true},
	{"null", JSON_NULL, 0, true},
	{"true", JSON_BOOL, 0, false},
	{"false", JSON_BOOL, 0, false},
	{"0", JSON_NUMBER, 0, false},
	{"-0", JSON_NUMBER, 0, false},
	{"-0.0e-0", JSON_NUMBER, 0, false},
	{"10", JSON_NUMBER, 0, false},
	{"123456789012345678901234567890", JSON_NUMBER, 0, false},
	{"1.5", JSON_NUMBER, 0, false},
	{"1E400", JSON_NUMBER, 0, false},
	{"1.25e+05", JSON_NUMBER, 0, false},
	{"\" \"", JSON_STRING, 0, false},
	{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00aF\"", JSON_STRING, 0, false},
	{"\"\\ud83d\\ude00\"", JSON_STRING, 0, false},
	{"\"\\ud83d\"", JSON_STRING, 0, false},                 /* lone: in the grammar */
	{"\"\\udc00\\ud800\"", JSON_STRING, 0, false},
	{"\"\\u0000\"", JSON_STRING, 0, false},
	{"\"\x7f\xc2\x80\xe2\x82\xac\xf0\x9f\x98\x80\"", JSON_STRING, 0, false},
	{"\"\xef\xbb\xbf\xef\xbf\xbf\"", JSON_STRING, 0, false},
	{"[1]", JSON_ARRAY, 1, false},
	{"[[]]", JSON_ARRAY, 1, false},
	{"[[1,2,3],{\"a\":1,\"b\":2},\"x\",null]", JSON_ARRAY, 4, false},
	{"{\"a\":[1,2,3],\"a\":{}}", JSON_OBJECT, 2, false},    /* a name may come twice */
	{"{\"\":0}", JSON_OBJECT, 1, false},
	{"[1 , 2\n,\t3\r]", JSON_ARRAY, 3, false},
	{"{ \"a\" : 1 , \"b\" : 2 , \"c\" : [ ] }", JSON_OBJECT, 3, false},
};

START_TEST(good_text_passes_and_is_summarized)
{
	for (size_t i = 0; i < LEN(good_texts); i++) {
		struct json_summary summary;
		struct json_error err = {0};
		const char *text = good_texts[i].text;
		ck_assert_msg(check_exact(text, strlen(text), &summary, &err) == 0, "%s: %s", text, err.reason);
		ck_assert_msg(summary.kind == good_texts[i].kind, "%s: kind %d", text, summary.kind);
		ck_assert_msg(summary.items == good_texts[i].items, "%s: %ld items", text, (long)summary.items);
		ck_assert_msg(summary.empty == good_texts[i].empty, "%s: empty", text);
	}
}
END_TEST

static const struct {
	const char *text;
	size_t offset;
	const char *reason;     /* a part of it */
} bad_texts[] = {
	{"", 0, "too soon"},
	{" \n", 2, "too soon"},
	{"[", 1, "too soon"},
	{"{", 1, "too soon"},
	{"[1", 2, "too soon"},
	{"[1,", 3, "too soon"},
	{"\"", 1, "too soon"},
	{"\"\\", 2, "too soon"},
	{"\"\\u12", 5, "too soon"},
	{"-", 1, "too soon"},
	{"1.", 2, "too soon"},
	{"1e", 2, "too soon"},
	{"1e-", 3, "too soon"},
	{"tru", 3, "too soon"},
	{"{\"a\"", 4, "too soon"},
	{"{\"a\":", 5, "too soon"},
	{"{\"a\":1,", 7, "too soon"},
	{"]", 0, "a value"},
	{"[1,]", 3, "a value"},
	{"[,1]", 1, "a value"},
	{"[1,,2]", 3, "a value"},
	{"[1 2]", 3, "comma or ]"},
	{"[1}", 2, "comma or ]"},
	{"[1:2]", 2, "comma or ]"},
	{"{\"a\":1]", 6, "comma or }"},
	{"{\"a\":1 \"b\":2}", 7, "comma or }"},
	{"{\"a\":1,}", 7, "member's name"},
	{"{,}", 1, "member's name"},
	{"{1:2}", 1, "member's name"},
	{"{a:1}", 1, "member's name"},
	{"{'a':1}", 1, "member's name"},
	{"{null:1}", 1, "member's name"},
	{"{\"a\" 1}", 5, "colon"},
	{"{\"a\",1}", 4, "colon"},
	{"{\"a\":}", 5, "a value"},
	{"{\"a\"::1}", 5, "a value"},
	{"[] []", 3, "follows"},
	{"1 2", 2, "follows"},
	{"{}}", 2, "follows"},
	{"01", 1, "follows"},
	{"-01", 2, "follows"},
	{"00", 1, "follows"},
	{"1a", 1, "follows"},
	{"0x10", 1, "follows"},
	{"1_000", 1, "follows"},
	{"1.5.5", 3, "follows"},
	{"[01]", 2, "comma or ]"},
	{"+1", 0, "a value"},
	{".5", 0, "a value"},
	{"-.5", 1, "digit"},
	{"--1", 1, "digit"},
	{"- 1", 1, "digit"},
	{"1.e5", 2, "digit"},
	{"1e+-5", 3, "digit"},
	{"1e5.5", 3, "follows"},
	{"NaN", 0, "a value"},
	{"nan", 1, "a value"},
	{"Infinity", 0, "a value"},
	{"-Infinity", 1, "digit"},
	{"True", 0, "a value"},
	{"trueish", 4, "follows"},
	{"falsE", 4, "a value"},
	{"nul]", 3, "a value"},
	{"'a'", 0, "a value"},
	{"a", 0, "a value"},
	{"/**/1", 0, "a value"},
	{"1//", 1, "follows"},
	{"\f1", 0, "a value"},
	{"\v[]", 0, "a value"},
	{"\xc2\xa0[]", 0, "a value"},
	{"\xef\xbb\xbf[]", 0, "a value"},
	{"\"\\x41\"", 2, "escape"},
	{"\"\\'\"", 2, "escape"},
	{"\"\\U0041\"", 2, "escape"},
	{"\"\\\n\"", 2, "escape"},
	{"\"\\u12g4\"", 5, "hex"},
	{"\"\\u 123\"", 3, "hex"},
	{"\"\\u+123\"", 3, "hex"},
	{"\"\\u123\"", 6, "hex"},
	{"\"a\nb\"", 2, "control"},
	{"\"a\tb\"", 2, "control"},
	{"\"\x1f\"", 1, "control"},
	{"{\"\x01\":1}", 2, "control"},
	{"\"ab\x80\"", 3, "UTF-8"},
	{"\"\xff\"", 1, "UTF-8"},
	{"\"\xc0\x80\"", 1, "UTF-8"},           /* overlong */
	{"\"\xc1\xbf\"", 1, "UTF-8"},
	{"\"\xe0\x9f\xbf\"", 1, "UTF-8"},
	{"\"\xf0\x8f\xbf\xbf\"", 1, "UTF-8"},
	{"\"\xed\xa0\x80\"", 1, "UTF-8"},       /* surrogates */
	{"\"\xed\xbf\xbf\"", 1, "UTF-8"},
	{"\"\xf4\x90\x80\x80\"", 1, "UTF-8"},   /* beyond U+10FFFF */
	{"\"\xf5\x80\x80\x80\"", 1, "UTF-8"},
	{"\"\xc3\"", 1, "UTF-8"},
	{"\"\xe2\x82\"", 1, "UTF-8"},
	{"\"\xe2\x28\xa1\"", 1, "UTF-8"},
	{"\"\xf0\x9f\x98\"", 1, "UTF-8"},
	{"[\"\xe2\x82", 2, "UTF-8"},
	{"\xc3\xa9", 0, "a value"},
};

START_TEST(bad_text_is_refused_with_its_offset_and_reason)
{
	for (size_t i = 0; i < LEN(bad_texts); i++) {
		struct json_error err;
		const char *text = bad_texts[i].text;
		ck_assert_msg(check_exact(text, strlen(text), NULL, &err) == -1, "%s passed", text);
		ck_assert_msg(err.offset == bad_texts[i].offset, "%s: offset %zu", text, err.offset);
		ck_assert_msg(strstr(err.reason, bad_texts[i].reason), "%s: %s", text, err.reason);
	}
}
END_TEST

START_TEST(nul_byte_is_refused_everywhere)
{
	struct json_error err;
	ck_assert(!is_json("\0", 1));
	ck_assert(!is_json("1\0", 2));
	ck_assert(!is_json("[\0]", 3));
	ck_assert(!is_json("\"\0\"", 3));
	ck_assert_int_eq(check_exact("\"\\\0\"", 4, NULL, &err), -1);
	ck_assert_uint_eq(err.offset, 2);
}
END_TEST

START_TEST(failure_leaves_the_summary_and_success_the_error_alone)
{
	struct json_summary summary = {.items = 77};
	struct json_error err = {.offset = 77};
	ck_assert_int_eq(json_check("[1,2", 4, &summary, NULL), -1);
	ck_assert_int_eq(summary.items, 77);
	ck_assert_int_eq(json_check("[1,2]", 5, NULL, &err), 0);
	ck_assert_uint_eq(err.offset, 77);
}
END_TEST

/* Some of everything; outside strings no blanks at the end, so that no prefix is whole. */
static const char sample[] =
	" {\"id\": \"model-1\", \"price\": [-0.25, 1e-07, 12E+3, 0],\n"
	"\t\"tags\":[\"a\\u00e9\\n\", \"caf\xc3\xa9 \xf0\x9f\x98\x80 \xe2\x82\xac!\"],\n"
	"\t\"open\" : true, \"closed\": false, \"none\":null, \"deep\":[[[{}]],{\"x\":{\"y\":[]}}],\n"
	"\t\"long\": \"0123456789abcdef0123456789\"}";

START_TEST(no_prefix_of_a_text_is_a_text)
{
	const size_t len = sizeof(sample) - 1;
	ck_assert(is_json(sample, len));
	for (size_t n = 0; n < len; n++) {
		struct json_error err;
		ck_assert_msg(check_exact(sample, n, NULL, &err) == -1, "%zu bytes passed", n);
		bool in_sequence = ((unsigned char)sample[n] & 0xc0) == 0x80;
		ck_assert_msg(in_sequence ? err.offset < n && n - err.offset < 4 : err.offset == n,
			"%zu bytes: offset %zu", n, err.offset);
	}
}
END_TEST

START_TEST(every_prefix_of_a_number_is_judged_by_itself)
{
	static const char number[] = "-10.25e+17";
	static const bool whole[] = {false, false, true, true, false, true, true, false, false, true, true};
	for (size_t n = 0; n < sizeof(number); n++)
		ck_assert_msg(is_json(number, n) == whole[n], "%.*s", (int)n, number);
}
END_TEST

/* Whatever byte stands in whatever place: up to the offset of the error the text
 * is the beginning of a JSON text, and one byte further it is not. */
START_TEST(offset_of_an_error_is_exact)
{
	char text[sizeof(sample)];
	const size_t len = sizeof(sample) - 1;
	unsigned refused = 0;
	for (size_t at = 0; at < len; at++) {
		for (int byte = 0; byte < 256; byte++) {
			struct json_error err, before, behind;
			memcpy(text, sample, sizeof(sample));
			text[at] = (char)byte;
			if (check_exact(text, len, NULL, &err) == 0)
				continue;
			refused++;
			if (check_exact(text, err.offset, NULL, &before) < 0 && before.offset != err.offset)
				ck_abort_msg("byte %02x at %zu: %zu, but %zu", byte, at, err.offset, before.offset);
			if (err.offset == len)
				continue;
			if (check_exact(text, err.offset + 1, NULL, &behind) == 0 || behind.offset != err.offset)
				ck_abort_msg("byte %02x at %zu: %zu is good", byte, at, err.offset);
		}
	}
	ck_assert_uint_gt(refused, 10000);
}
END_TEST

/* The scanner takes plain characters eight at a time: nothing may hide in any of the eight. */
START_TEST(each_byte_is_seen_at_each_place_of_a_string)
{
	char text[42];
	for (size_t inside = 2; inside <= 40; inside++) {
		for (size_t at = 1; at < inside; at++) {
			for (int byte = 0; byte < 256; byte++) {
				struct json_error err = {0};
				memset(text, 'x', sizeof(text));
				text[0] = text[inside + 1] = '"';
				text[at] = (char)byte;
				bool ends = byte == '"' || byte == '\\';        /* then the x behind it is wrong */
				bool plain = byte >= ' ' && byte < 0x80 && !ends;
				size_t offset = plain ? 0 : ends ? at + 1 : at;
				bool passed = check_exact(text, inside + 2, NULL, &err) == 0;
				if (passed != plain || err.offset != offset)
					ck_abort_msg("byte %02x at %zu of %zu: %zu", byte, at, inside, err.offset);
			}
		}
	}
}
END_TEST

static size_t encode(char *to, unsigned code)
{
	if (code < 0x80)
		return (size_t)sprintf(to, "%c", code);
	if (code < 0x800)
		return (size_t)sprintf(to, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 63));
	if (code < 0x10000)
		return (size_t)sprintf(to, "%c%c%c", 0xe0 | code >> 12, 0x80 | (code >> 6 & 63), 0x80 | (code & 63));
	return (size_t)sprintf(to, "%c%c%c%c", 0xf0 | code >> 18, 0x80 | (code >> 12 & 63), 0x80 | (code >> 6 & 63),
		0x80 | (code & 63));
}

START_TEST(every_character_passes_and_no_surrogate)
{
	char bytes[8];
	for (unsigned code = 0x80; code <= 0x10ffff; code++) {
		bool surrogate = code >= 0xd800 && code <= 0xdfff;
		if (is_string_inside(bytes, encode(bytes, code)) == surrogate)
			ck_abort_msg("U+%04X", code);
	}
}
END_TEST

/* With the test above, counting proves that nothing else passes. Bytes from 0x80
 * on only: so two bytes can be one character, three one, four one or twice two. */
START_TEST(nothing_but_characters_passes_as_utf8)
{
	unsigned of_two = 0, of_three = 0, of_four = 0;
	for (unsigned first = 0x80; first < 0x100; first++) {
		for (unsigned second = 0x80; second < 0x100; second++) {
			char bytes[4] = {(char)first, (char)second};
			of_two += is_string_inside(bytes, 2);
			for (unsigned third = 0x80; third < 0x100; third++) {
				bytes[2] = (char)third;
				of_three += is_string_inside(bytes, 3);
				bytes[3] = (char)0xbf;
				of_four += is_string_inside(bytes, 4);
			}
		}
	}
	ck_assert_uint_eq(of_two, 0x800 - 0x80);
	ck_assert_uint_eq(of_three, 0x10000 - 0x800 - 0x800);
	ck_assert_uint_eq(of_four, 0x100000 / 64 + of_two * (of_two / 64));
}
END_TEST

/* n times open, then n times close. */
static char *nest(const char *open, const char *close, size_t n)
{
	struct buf text = BUF_INIT;
	for (size_t i = 0; i < n; i++)
		buf_add_str(&text, open);
	for (size_t i = 0; i < n; i++)
		buf_add_str(&text, close);
	buf_add_char(&text, '\0');
	return text.data;
}

START_TEST(nesting_passes_up_to_the_limit_and_not_beyond)
{
	static const char *const open[] = {"[", "{\"a\":[", " [ "};
	static const char *const close[] = {"]", "]}", " ] "};
	static const size_t levels[] = {1, 2, 1};
	for (size_t i = 0; i < LEN(open); i++) {
		struct json_error err;
		size_t n = JSON_MAX_DEPTH / levels[i];
		char *text = nest(open[i], close[i], n);
		ck_assert(is_json(text, strlen(text)));
		free(text);
		text = nest(open[i], close[i], n + 1);
		ck_assert_int_eq(check_exact(text, strlen(text), NULL, &err), -1);
		ck_assert_str_eq(err.reason, "nested too deeply");
		ck_assert_uint_eq(err.offset, n * strlen(open[i]) + (open[i][0] == ' '));
		free(text);
	}
}
END_TEST

START_TEST(endless_nesting_costs_no_stack)
{
	const size_t len = 20 << 20;
	char *text = xmalloc(len);
	struct json_error err;
	memset(text, '[', len);
	ck_assert_int_eq(json_check(text, len, NULL, &err), -1);
	ck_assert_uint_eq(err.offset, JSON_MAX_DEPTH);
	free(text);
}
END_TEST

START_TEST(neighbours_do_not_add_to_the_depth)
{
	struct buf text = BUF_INIT;
	struct json_summary summary;
	buf_add_str(&text, "[{}");
	for (int i = 0; i < 3 * JSON_MAX_DEPTH; i++)
		buf_add_str(&text, ",[],{\"a\":[[]]}");
	buf_add_str(&text, "]");
	ck_assert_int_eq(check_exact(text.data, text.len, &summary, NULL), 0);
	ck_assert_int_eq(summary.items, 6 * JSON_MAX_DEPTH + 1);
	buf_free(&text);
}
END_TEST

START_TEST(constants_of_python_pass_only_its_own_check)
{
	static const char *const good[] = {
		"NaN", "Infinity", "-Infinity", "[NaN,{\"a\":-Infinity}]", "-1", "[1.5e3]", "null",
	};
	static const char *const bad[] = {
		"-NaN", "nan", "+Infinity", "Infinit", "-Infinit", "-Infinityy", "inf", "-I", "NaN1", "N", "[1,]", "",
	};
	for (size_t i = 0; i < LEN(good); i++) {
		ck_assert_msg(json_check_python(good[i], strlen(good[i]), NULL) == 0, "%s", good[i]);
		ck_assert_msg(is_json(good[i], strlen(good[i])) == !strpbrk(good[i], "NI"), "%s", good[i]);
	}
	for (size_t i = 0; i < LEN(bad); i++)
		ck_assert_msg(json_check_python(bad[i], strlen(bad[i]), NULL) == -1, "%s", bad[i]);
}
END_TEST

START_TEST(inside_of_an_array_is_found_from_its_ends)
{
	static const char *const texts[][2] = {
		{"[]", ""}, {" [ \n ] ", ""}, {"[1]", "1"}, {"\t[ 1, [2] ]\r\n", "1, [2]"}, {"[[]]", "[]"},
		{"[\" ]\"]", "\" ]\""},
	};
	static const char *const no_arrays[] = {"", " ", "[", "]", "{}", "null", "\"[]\"", "1", " ] ", "[}", "{]"};
	const char *inside;
	size_t len;
	for (size_t i = 0; i < LEN(texts); i++) {
		const char *text = texts[i][0];
		ck_assert_int_eq(json_array_inside(text, strlen(text), &inside, &len), 0);
		ck_assert_uint_eq(len, strlen(texts[i][1]));
		ck_assert_mem_eq(inside, texts[i][1], len);
	}
	for (size_t i = 0; i < LEN(no_arrays); i++)
		ck_assert_int_eq(json_array_inside(no_arrays[i], strlen(no_arrays[i]), &inside, &len), -1);
	ck_assert_int_eq(json_array_inside(NULL, 0, &inside, &len), -1);
}
END_TEST

static void assert_added(const char *s, size_t len, const char *expected)
{
	struct buf b = BUF_INIT;
	buf_add_str(&b, "[");
	json_add_string(&b, s, len);
	ck_assert_msg(b.len - 1 == strlen(expected) && !memcmp(b.data + 1, expected, b.len - 1),
		"got %.*s, expected %s", (int)b.len - 1, b.data + 1, expected);
	buf_free(&b);
}

START_TEST(added_string_escapes_only_what_it_must)
{
	assert_added(NULL, 0, "\"\"");
	assert_added("plain / text, longer than eight bytes \x7f", 39,
		"\"plain / text, longer than eight bytes \x7f\"");
	assert_added("\"\\", 2, "\"\\\"\\\\\"");
	assert_added("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
	assert_added("a\0b\x1f", 4, "\"a\\u0000b\\u001f\"");
	assert_added("caf\xc3\xa9 \xe2\x82\xac\xf0\x9f\x98\x80", 13, "\"caf\xc3\xa9 \xe2\x82\xac\xf0\x9f\x98\x80\"");
}
END_TEST

START_TEST(added_string_replaces_each_byte_that_is_not_utf8)
{
	assert_added("\xff", 1, "\"\xef\xbf\xbd\"");
	assert_added("a\xe2\x82z", 4, "\"a\xef\xbf\xbd\xef\xbf\xbdz\"");
	assert_added("\xc3", 1, "\"\xef\xbf\xbd\"");
	assert_added("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}
END_TEST

START_TEST(added_string_is_json_whatever_the_bytes)
{
	unsigned seed = 1;
	for (int round = 0; round < 20000; round++) {
		struct buf b = BUF_INIT;
		char bytes[40];
		size_t len = (size_t)rand_r(&seed) % sizeof(bytes);
		char *exact = xmalloc(len);
		for (size_t i = 0; i < len; i++)
			bytes[i] = (char)rand_r(&seed);
		memcpy(exact, bytes, len);
		json_add_string(&b, exact, len);
		if (!is_json(b.data, b.len))
			ck_abort_msg("%.*s", (int)b.len, b.data);
		free(exact);
		buf_free(&b);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("json");
	TCase *tc = tcase_create("json");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, good_text_passes_and_is_summarized);
	tcase_add_test(tc, bad_text_is_refused_with_its_offset_and_reason);
	tcase_add_test(tc, nul_byte_is_refused_everywhere);
	tcase_add_test(tc, failure_leaves_the_summary_and_success_the_error_alone);
	tcase_add_test(tc, no_prefix_of_a_text_is_a_text);
	tcase_add_test(tc, every_prefix_of_a_number_is_judged_by_itself);
	tcase_add_test(tc, offset_of_an_error_is_exact);
	tcase_add_test(tc, each_byte_is_seen_at_each_place_of_a_string);
	tcase_add_test(tc, every_character_passes_and_no_surrogate);
	tcase_add_test(tc, nothing_but_characters_passes_as_utf8);
	tcase_add_test(tc, nesting_passes_up_to_the_limit_and_not_beyond);
	tcase_add_test(tc, endless_nesting_costs_no_stack);
	tcase_add_test(tc, neighbours_do_not_add_to_the_depth);
	tcase_add_test(tc, constants_of_python_pass_only_its_own_check);
	tcase_add_test(tc, inside_of_an_array_is_found_from_its_ends);
	tcase_add_test(tc, added_string_escapes_only_what_it_must);
	tcase_add_test(tc, added_string_replaces_each_byte_that_is_not_utf8);
	tcase_add_test(tc, added_string_is_json_whatever_the_bytes);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
