/* proto/ctl_json.c: every kind of reply as JSON, and strings of any bytes. */
#include "../../proto/ctl_json.h"

#include <check.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The JSON of a reply; to be freed. It must be JSON, whatever the reply. */
static char *json_of(const char *reply, size_t len)
{
	struct buf b = BUF_INIT;
	ctl_json_reply(&b, reply, len);
	buf_add_char(&b, '\0');
	cJSON *tree = cJSON_Parse(b.data);
	ck_assert_msg(tree, "this is no JSON: %s", b.data);
	cJSON_Delete(tree);
	return b.data;
}

START_TEST(every_kind_of_reply_is_json)
{
	static const struct {
		const char *reply, *json;
	} rows[] = {
		{"+OK\r\n", "\"OK\""}, {"+\r\n", "\"\""}, {":-12\r\n", "-12"}, {"$5\r\nhe\"lo\r\n", "\"he\\\"lo\""}, {"$0\r\n\r\n", "\"\""},
		{"$-1\r\n", "null"}, {"*-1\r\n", "null"}, {"_\r\n", "null"}, {"#t\r\n", "true"}, {"#f\r\n", "false"},
		{",1.5\r\n", "1.5"}, {",-2\r\n", "-2"}, {",1e+30\r\n", "1e+30"}, {",inf\r\n", "\"inf\""}, {",-inf\r\n", "\"-inf\""}, {",nan\r\n", "\"nan\""},
		{"(123456789012345678901234567890\r\n", "123456789012345678901234567890"}, {"=7\r\ntxt:a\nb\r\n", "\"a\\nb\""},
		{"-ERR no\r\n", "{\"error\":\"ERR no\"}"}, {"!6\r\nERR no\r\n", "{\"error\":\"ERR no\"}"},
		{"*0\r\n", "[]"}, {"*3\r\n:1\r\n*1\r\n$1\r\na\r\n_\r\n", "[1,[\"a\"],null]"}, {"~2\r\n:1\r\n:2\r\n", "[1,2]"},
		{"%0\r\n", "{}"}, {"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n%1\r\n+c\r\n*0\r\n", "{\"a\":1,\"b\":{\"c\":[]}}"},
		{"%3\r\n:1\r\n:2\r\n*1\r\n:3\r\n:4\r\n$1\r\n\xff\r\n:5\r\n", "{\"1\":2,\"[3]\":4,\"{\\\"base64\\\":\\\"/w==\\\"}\":5}"},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		char *json = json_of(rows[i].reply, strlen(rows[i].reply));
		ck_assert_str_eq(json, rows[i].json);
		free(json);
	}
}
END_TEST

/* Whatever stands in a string, JSON gives it back. */
START_TEST(strings_of_one_and_two_bytes_come_back)
{
	for (unsigned n = 0; n < 65536; n++) {
		char bytes[2] = {(char)(n >> 8), (char)n};
		size_t len = n < 256 ? 1 : 2;
		const char *s = bytes + 2 - len;
		struct buf b = BUF_INIT;
		ctl_json_string(&b, s, len);
		buf_add_char(&b, '\0');
		cJSON *tree = cJSON_Parse(b.data);
		ck_assert_msg(tree, "%x: %s", n, b.data);
		if (cJSON_IsString(tree) && !memchr(s, '\0', len))
			ck_assert_msg(strlen(tree->valuestring) == len && memcmp(tree->valuestring, s, len) == 0, "%x: %s", n, b.data);
		else if (!cJSON_IsString(tree))
			ck_assert_msg(((unsigned char)s[0] | (unsigned char)s[len - 1]) >= 0x80 && cJSON_HasObjectItem(tree, "base64"), "%x: %s", n, b.data);
		cJSON_Delete(tree);
		buf_free(&b);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ctl_json");
	TCase *tc = tcase_create("ctl_json");
	tcase_add_test(tc, every_kind_of_reply_is_json);
	tcase_add_test(tc, strings_of_one_and_two_bytes_come_back);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
