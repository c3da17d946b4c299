/* log.c: the bytes of each line, as they leave on descriptor 2. */
#include "../../daemon/clock.h"
#include "../../daemon/log.h"

#include <check.h>
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/json.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- what is written between begin and end ---- */

static int ends[2], real_stderr;
static char captured[16384];

static void begin_on(int to)
{
	fflush(stderr);
	real_stderr = dup(STDERR_FILENO);
	ck_assert_int_eq(dup2(to, STDERR_FILENO), STDERR_FILENO);
}

static void begin(void)
{
	ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
	begin_on(ends[1]);
}

/* The text captured; good until the next end. */
static const char *end(void)
{
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(ends[1]);
	ssize_t n = read(ends[0], captured, sizeof(captured) - 1);
	ck_assert_int_ge(n, 0);
	captured[n] = '\0';
	close(ends[0]);
	return captured;
}

static void pass(int64_t ms)
{
	clock_skew(ms);
	clock_update();
}

static void teardown(void)
{
	log_set_json(false);
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_INFO);
}

/* ---- lines ---- */

START_TEST(event_is_one_line_with_priority_level_and_fields)
{
	begin();
	log_error("redis_down", "reason=%s after_ms=%d", log_quote("no route"), 12);
	log_warning("w", "a=%d", 1);
	log_info("i", "a=%d", 2);
	ck_assert_str_eq(end(),
		"<3>level=error event=redis_down reason=\"no route\" after_ms=12\n"
		"<4>level=warning event=w a=1\n"
		"<6>level=info event=i a=2\n");
}
END_TEST

START_TEST(event_without_fields_has_no_blank_behind_it)
{
	begin();
	log_info("ready", "%s", "");
	log_info("two words", "%s", "");
	ck_assert_str_eq(end(), "<6>level=info event=ready\n<6>level=info event=\"two words\"\n");
}
END_TEST

START_TEST(lines_above_the_level_are_dropped)
{
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		static const char *const lines[] = {"<3>level=error event=e\n", "<4>level=warning event=e\n",
			"<6>level=info event=e\n", "<7>level=debug event=e\n"};
		char expected[200] = "";
		for (int i = 0; i <= level; i++)
			strcat(expected, lines[i]);
		log_set_level((enum log_level)level);
		begin();
		log_error("e", "%s", "");
		log_warning("e", "%s", "");
		log_info("e", "%s", "");
		log_debug("e", "%s", "");
		ck_assert_str_eq(end(), expected);
		for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++)
			ck_assert_int_eq(log_enabled((enum log_level)i), i <= level);
	}
}
END_TEST

START_TEST(level_is_info_unless_told)
{
	ck_assert(log_enabled(LOG_LEVEL_INFO));
	ck_assert(!log_enabled(LOG_LEVEL_DEBUG));
}
END_TEST

static unsigned evaluated;

static const char *evaluate(void)
{
	evaluated++;
	return "x";
}

START_TEST(fields_of_a_dropped_debug_line_are_not_computed)
{
	begin();
	log_debug("e", "a=%s", evaluate());
	ck_assert_str_eq(end(), "");
	ck_assert_uint_eq(evaluated, 0);
}
END_TEST

START_TEST(levels_have_their_names)
{
	ck_assert_int_eq(log_level_named("error"), LOG_LEVEL_ERROR);
	ck_assert_int_eq(log_level_named("warning"), LOG_LEVEL_WARNING);
	ck_assert_int_eq(log_level_named("info"), LOG_LEVEL_INFO);
	ck_assert_int_eq(log_level_named("debug"), LOG_LEVEL_DEBUG);
	ck_assert_int_eq(log_level_named("warn"), -1);
	ck_assert_int_eq(log_level_named("INFO"), -1);
	ck_assert_int_eq(log_level_named(""), -1);
}
END_TEST

START_TEST(line_too_long_is_cut_and_still_ends)
{
	char *text = malloc(10001);
	memset(text, 'x', 10000);
	for (size_t len = 1900; len <= 2200; len++) {
		text[len] = '\0';
		pass(LOG_WINDOW_MS);
		begin();
		log_info("e", "a=%s", text);
		const char *line = end();
		size_t whole = strlen("<6>level=info event=e a=") + len + 1;
		ck_assert_uint_le(strlen(line), 2048);
		ck_assert_uint_ge(strlen(line), whole < 2040 ? whole : 2040);
		ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
		ck_assert_int_eq(strncmp(line, "<6>level=info event=e a=xxx", 27), 0);
		text[len] = 'x';
	}
	text[10000] = '\0';
	begin();
	log_info("e", "a=%s", text);
	ck_assert_uint_le(strlen(end()), 2048);
	free(text);
}
END_TEST

/* A person reads there, not the journal. */
START_TEST(terminal_gets_no_priority)
{
	int far, near;
	ck_assert_int_eq(openpty(&far, &near, NULL, NULL, NULL), 0);
	begin_on(near);
	log_info("ready", "a=%d", 1);
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	ssize_t n = read(far, captured, sizeof(captured) - 1);
	ck_assert_int_gt(n, 0);
	captured[n] = '\0';
	ck_assert_str_eq(captured, "level=info event=ready a=1\r\n");
	close(near);
	close(far);
}
END_TEST

START_TEST(log_that_cannot_be_written_harms_nobody)
{
	int full = open("/dev/full", O_WRONLY);
	begin_on(full);
	log_info("ready", "a=%d", 1);
	close(STDERR_FILENO);
	log_info("ready", "a=%d", 2);
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(full);
}
END_TEST

/* ---- JSON ---- */

static const struct {
	const char *text, *json;
} texts[] = {
	{"", "\"\""}, {"plain", "\"plain\""}, {"12", "12"}, {"-1.50", "-1.50"}, {"007", "\"007\""}, {"1.", "\"1.\""}, {"-", "\"-\""}, {"true", "true"},
	{"two words", "\"two words\""}, {"a=b, c=\"d\"", "\"a=b, c=\\\"d\\\"\""}, {"back\\slash\\", "\"back\\\\slash\\\\\""}, {"a\nb\tc", "\"a b c\""},
	{"\xc3\xa9", "\"\xc3\xa9\""}, {"\xff\xc3", "\"\\ufffd\\ufffd\""}, {"\xed\xa0\x80 x", "\"\\ufffd\\ufffd\\ufffd x\""}, {"}{", "\"}{\""},
};

START_TEST(json_lines_are_json_whatever_they_tell)
{
	log_set_json(true);
	for (size_t i = 0; i < LEN(texts); i++) {
		char expected[256];
		snprintf(expected, sizeof(expected), "{\"level\":\"info\",\"event\":\"e\",\"text\":%s,\"n\":3}\n", texts[i].json);
		begin();
		log_info("e", "text=%s n=%d", log_quote(texts[i].text), 3);
		ck_assert_str_eq(end(), expected);
	}
	begin();
	log_info("two words", "%s", "");
	ck_assert_str_eq(end(), "{\"level\":\"info\",\"event\":\"two words\"}\n");
}
END_TEST

START_TEST(journal_gets_the_priority_of_json_lines_too)
{
	struct stat st;
	char stream[64];
	log_set_json(true);
	begin();
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_warning("e", "n=%d", 3);
	ck_assert_str_eq(end(), "<4>{\"level\":\"warning\",\"event\":\"e\",\"n\":3}\n");
}
END_TEST

/* A child of a service whose output goes elsewhere has its variable all the same. */
START_TEST(journal_of_another_gets_nothing_of_ours)
{
	log_set_json(true);
	setenv("JOURNAL_STREAM", "8:1", 1);
	begin();
	log_warning("e", "n=%d", 3);
	ck_assert_str_eq(end(), "{\"level\":\"warning\",\"event\":\"e\",\"n\":3}\n");
}
END_TEST

/* Also those that nobody has quoted. */
START_TEST(json_lines_are_json_whatever_byte_is_in_them)
{
	log_set_json(true);
	for (int c = 1; c < 256; c++)
		for (int quoted = 0; quoted < 2; quoted++) {
			char text[] = {'a', (char)c, '\xc3', (char)c, 'b', '\0'};
			pass(LOG_WINDOW_MS);
			begin();
			if (quoted)
				log_info("e", "text=%s n=%d", log_quote(text), 3);
			else
				log_info("e", "text=\"%s\" n=%d", c == '"' || c == '\\' ? "" : text, 3);
			const char *line = end();
			cJSON *json = cJSON_Parse(line);
			ck_assert_msg(json && cJSON_GetObjectItem(json, "n"), "byte %#x: %s", c, line);
			for (const char *p = line; p[1]; p++)
				ck_assert_msg((unsigned char)*p >= ' ', "byte %#x: a control byte in %s", c, line);
			ck_assert_int_eq(json_check(line, strlen(line), NULL, NULL), 0);
			cJSON_Delete(json);
		}
}
END_TEST

/* A reader that takes numbers for doubles must not spoil it. */
START_TEST(hash_of_a_key_is_a_text_even_if_all_are_digits)
{
	log_set_json(true);
	begin();
	log_info("e", "key=%s n=%s", "1234567890123456", "123456789012345");
	ck_assert_str_eq(end(), "{\"level\":\"info\",\"event\":\"e\",\"key\":\"1234567890123456\",\"n\":123456789012345}\n");
}
END_TEST

/* More than that a pipe with room takes only when somebody reads. */
START_TEST(json_line_is_never_longer_than_a_pipe_has_room_for)
{
	char text[1900];
	memset(text, '\xff', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_set_json(true);
	begin();
	log_info("e", "a=\"%s\" b=%d", text, 1);
	const char *line = end();
	ck_assert_uint_le(strlen(line), PIPE_BUF);
	ck_assert_uint_gt(strlen(line), PIPE_BUF - 64);
	ck_assert_int_eq(json_check(line, strlen(line), NULL, NULL), 0);
}
END_TEST

static unsigned fill_pipe(void)
{
	unsigned n = 0;
	for (struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT}; poll(&p, 1, 0) == 1; n++)
		log_debug("fill", "%s", "");
	return n;
}

/* The line on those that were lost is one like the others. */
START_TEST(lines_that_found_no_room_are_counted)
{
	for (int json = 0; json < 2; json++) {
		char room[65536];
		log_set_level(LOG_LEVEL_DEBUG);
		log_set_json(json);
		begin();
		ck_assert_uint_gt(fill_pipe(), 0);
		for (int i = 0; i < 7; i++)
			log_info("lost", "%s", "");
		while (read(ends[0], room, sizeof(room)) > 0)
			;
		log_info("found", "%s", "");
		ck_assert_str_eq(end(), json
			? "{\"level\":\"warning\",\"event\":\"log_dropped\",\"lines\":7}\n{\"level\":\"info\",\"event\":\"found\"}\n"
			: "<4>level=warning event=log_dropped lines=7\n<6>level=info event=found\n");
	}
}
END_TEST

START_TEST(json_lines_that_are_cut_are_json)
{
	char text[3000];
	log_set_json(true);
	for (size_t len = 1900; len < 2100; len++) {
		memset(text, '\xff', len);
		text[len] = '\0';
		pass(LOG_WINDOW_MS);
		begin();
		log_info("e", "a=\"%s\"", text);
		const char *line = end();
		cJSON *json = cJSON_Parse(line);
		ck_assert_msg(json, "%s", line);
		ck_assert_str_eq(line + strlen(line) - 3, "\"}\n");
		cJSON_Delete(json);
	}
}
END_TEST

/* ---- too many of them ---- */

START_TEST(more_of_an_event_than_anybody_reads_are_counted)
{
	char expected[64];
	begin();
	for (int i = 0; i < LOG_BURST; i++)
		log_warning("often", "%s", "");
	ck_assert_uint_eq(strlen(end()), LOG_BURST * strlen("<4>level=warning event=often\n"));
	begin();
	for (int i = 0; i < 7; i++)
		log_warning("often", "%s", "");
	log_info("rare", "%s", "");
	log_tell_left_out(false);
	ck_assert_str_eq(end(), "<6>level=info event=rare\n");
	pass(LOG_WINDOW_MS);
	begin();
	log_tell_left_out(false);
	snprintf(expected, sizeof(expected), "<4>level=warning event=log_left_out of=often lines=%d\n", 7);
	ck_assert_str_eq(end(), expected);
	begin();
	log_warning("often", "%s", "");
	log_tell_left_out(true);
	ck_assert_str_eq(end(), "<4>level=warning event=often\n");
}
END_TEST

START_TEST(those_of_debug_all_are_written)
{
	log_set_level(LOG_LEVEL_DEBUG);
	begin();
	for (int i = 0; i < 2 * LOG_BURST; i++)
		log_debug("often", "%s", "");
	ck_assert_uint_eq(strlen(end()), 2 * LOG_BURST * strlen("<7>level=debug event=often\n"));
}
END_TEST

/* ---- quoting ---- */

static const struct {
	const char *text, *quoted;
} quotes[] = {
	{"", "\"\""},
	{"plain", "plain"},
	{"a-b_c.d:e/f", "a-b_c.d:e/f"},
	{"two words", "\"two words\""},
	{"a=b", "\"a=b\""},
	{"say \"hi\"", "\"say \\\"hi\\\"\""},
	{"\"", "\"\\\"\""},
	{"back\\slash", "\"back\\\\slash\""},
	{"a\nb", "\"a b\""},
	{"a\r\nb\tc", "\"a  b c\""},
	{"\xc3\xa4", "\xc3\xa4"},
	{"\xc3\xa4 \xc3\xb6", "\"\xc3\xa4 \xc3\xb6\""},
};

START_TEST(text_is_quoted_where_it_must_be)
{
	for (size_t i = 0; i < LEN(quotes); i++)
		ck_assert_str_eq(log_quote(quotes[i].text), quotes[i].quoted);
}
END_TEST

/* A terminal would obey an escape sequence. */
START_TEST(no_control_byte_gets_through)
{
	for (int c = 1; c < 256; c++) {
		char text[] = {'a', (char)c, 'b', '\0'};
		for (const char *q = log_quote(text); *q; q++)
			ck_assert_msg((unsigned char)*q >= ' ' && *q != 0x7f, "byte %#x gets through", c);
	}
}
END_TEST

START_TEST(long_text_is_cut_and_still_quoted)
{
	char text[1000];
	for (size_t len = 150; len < 300; len++) {
		memset(text, 'x', len);
		text[len] = '\0';
		const char *q = log_quote(text);
		size_t expected = len < 200 ? len : 200;
		ck_assert_uint_le(strlen(q), 203);
		ck_assert_uint_ge(strlen(q), expected);
		ck_assert_int_eq(q[0], len < 200 ? 'x' : '"');
		ck_assert_int_eq(q[strlen(q) - 1], len < 200 ? 'x' : '"');
		ck_assert(strspn(q + 1, "x") >= expected - 2);
	}
}
END_TEST

/* At each place, so that it is cut in the middle of an escape too. */
START_TEST(long_text_of_quotes_stays_well_formed)
{
	char text[1000];
	for (size_t plain = 0; plain < 210; plain++) {
		memset(text, '"', sizeof(text) - 1);
		memset(text, 'x', plain);
		text[sizeof(text) - 1] = '\0';
		const char *q = log_quote(text), *p = q + 1;
		ck_assert_uint_le(strlen(q), 203);
		ck_assert_int_eq(*q, '"');
		while (*p && *p != '"')
			p += *p == '\\' ? 2 : 1;
		ck_assert_msg(p[0] == '"' && p[1] == '\0', "%s", q);
	}
}
END_TEST

START_TEST(quoted_text_lives_until_the_fourth_call_after_it)
{
	const char *a = log_quote("a"), *b = log_quote("b"), *c = log_quote("c"), *d = log_quote("d");
	ck_assert_str_eq(a, "a");
	ck_assert_str_eq(b, "b");
	ck_assert_str_eq(c, "c");
	ck_assert_str_eq(d, "d");
}
END_TEST

START_TEST(line_takes_three_quoted_fields)
{
	begin();
	log_info("e", "a=%s b=%s c=%s", log_quote("1 2"), log_quote("3 4"), log_quote("5 6"));
	ck_assert_str_eq(end(), "<6>level=info event=e a=\"1 2\" b=\"3 4\" c=\"5 6\"\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");
	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, level_is_info_unless_told);
	tcase_add_test(tc, event_is_one_line_with_priority_level_and_fields);
	tcase_add_test(tc, event_without_fields_has_no_blank_behind_it);
	tcase_add_test(tc, lines_above_the_level_are_dropped);
	tcase_add_test(tc, fields_of_a_dropped_debug_line_are_not_computed);
	tcase_add_test(tc, levels_have_their_names);
	tcase_add_test(tc, line_too_long_is_cut_and_still_ends);
	tcase_add_test(tc, terminal_gets_no_priority);
	tcase_add_test(tc, json_lines_are_json_whatever_they_tell);
	tcase_add_test(tc, journal_gets_the_priority_of_json_lines_too);
	tcase_add_test(tc, journal_of_another_gets_nothing_of_ours);
	tcase_add_test(tc, json_lines_are_json_whatever_byte_is_in_them);
	tcase_add_test(tc, hash_of_a_key_is_a_text_even_if_all_are_digits);
	tcase_add_test(tc, json_line_is_never_longer_than_a_pipe_has_room_for);
	tcase_add_test(tc, lines_that_found_no_room_are_counted);
	tcase_add_test(tc, json_lines_that_are_cut_are_json);
	tcase_add_test(tc, more_of_an_event_than_anybody_reads_are_counted);
	tcase_add_test(tc, those_of_debug_all_are_written);
	tcase_add_test(tc, log_that_cannot_be_written_harms_nobody);
	tcase_add_test(tc, text_is_quoted_where_it_must_be);
	tcase_add_test(tc, no_control_byte_gets_through);
	tcase_add_test(tc, long_text_is_cut_and_still_quoted);
	tcase_add_test(tc, long_text_of_quotes_stays_well_formed);
	tcase_add_test(tc, quoted_text_lives_until_the_fourth_call_after_it);
	tcase_add_test(tc, line_takes_three_quoted_fields);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
