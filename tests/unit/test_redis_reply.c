/* redis_reply.c: replies that come in piece by piece are what was sent, however they are cut,
 * and a large string is read straight into the value that it becomes. */
#include "../../daemon/redis_reply.h"

#include <check.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/value.h"
#include "../../proto/buf.h"
#include "../../proto/reply.h"

#define LARGE 16384             /* from this size on */

/* ---- writing down what came ---- */

static void say(struct buf *said, const redisReply *r)
{
	if (r->type == REDIS_REPLY_ARRAY) {
		reply_add_array(said, r->elements);
		for (size_t i = 0; i < r->elements; i++)
			say(said, r->element[i]);
	} else if (r->type == REDIS_REPLY_NIL) {
		reply_add_null(said, 2);
	} else if (r->type == REDIS_REPLY_INTEGER) {
		reply_add_integer(said, r->integer);
	} else if (r->type == REDIS_REPLY_STRING) {
		reply_add_bulk(said, r->str, r->len);
	} else {
		buf_addf(said, "%c%s\r\n", r->type == REDIS_REPLY_ERROR ? '-' : '+', r->str);
	}
}

static void on_reply(void *arg, const redisReply *r, const char *reason)
{
	ck_assert_msg(r != NULL, "%s", reason);
	say(arg, r);
}

/* One reply of len bytes, in pieces. */
static void read_in_pieces(struct redis_reading *r, const char *data, size_t len, size_t piece, struct buf *said)
{
	for (size_t at = 0; at < len; at += piece)
		redis_reading_add(r, data + at, len - at < piece ? len - at : piece);
	redis_reading_end(r, on_reply, said);
}

static void add_text(struct buf *b, size_t len)
{
	char *text = malloc(len + 1);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(i * 7 + i / 251);
	reply_add_bulk(b, text, len);
	free(text);
}

START_TEST(replies_are_what_was_sent_however_they_are_cut)
{
	static const size_t pieces[] = {1, 2, 3, 7, 100, 4096, 65536, SIZE_MAX};
	struct buf replies[] = {BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT};
	buf_add_str(&replies[0], "+OK\r\n");
	buf_add_str(&replies[1], "-ERR no\r\n");
	buf_add_str(&replies[2], "$-1\r\n");
	add_text(&replies[3], LARGE - 1);
	add_text(&replies[4], LARGE);
	add_text(&replies[5], 1 << 20);
	reply_add_array(&replies[6], 3);
	add_text(&replies[6], 3 * LARGE);
	buf_add_str(&replies[6], ":5\r\n*0\r\n");
	for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
		struct redis_reading r = {0};
		for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
			struct buf said = BUF_INIT;
			read_in_pieces(&r, replies[i].data, replies[i].len, pieces[p], &said);
			ck_assert_uint_eq(said.len, replies[i].len);
			ck_assert_mem_eq(said.data, replies[i].data, said.len);
			buf_free(&said);
		}
		redis_reading_fini(&r);
	}
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
		buf_free(&replies[i]);
}
END_TEST

static void keep_value(void *arg, const redisReply *r, const char *reason)
{
	(void)reason;
	*(struct value **)arg = redis_reply_value(r);
}

/* So that none of its pieces is more work than its own bytes. */
START_TEST(large_string_is_read_into_its_value)
{
	struct redis_reading r = {0};
	struct buf b = BUF_INIT;
	struct value *v;
	add_text(&b, 10 * LARGE);
	redis_reading_add(&r, b.data, 5 * LARGE);
	struct value *filled = r.large;
	ck_assert(filled && filled->len == 10 * LARGE && !r.reader);
	redis_reading_add(&r, b.data + 5 * LARGE, b.len - 5 * LARGE);
	redis_reading_end(&r, keep_value, &v);
	ck_assert_ptr_eq(v, filled);
	ck_assert_uint_eq(v->refs, 1);
	ck_assert_mem_eq(v->data, memchr(b.data, '\n', b.len) + 1, v->len);
	value_unref(v);
	redis_reading_fini(&r);
	buf_free(&b);
}
END_TEST

START_TEST(reading_is_given_up_in_the_middle)
{
	struct redis_reading r = {0};
	struct buf said = BUF_INIT;
	redis_reading_add(&r, "$20000\r\nabc", 11);
	redis_reading_fini(&r);
	redis_reading_add(&r, "*2\r\n$3\r\nab", 10);
	redis_reading_fini(&r);
	read_in_pieces(&r, ":7\r\n", 4, 1, &said);
	ck_assert(said.len == 4 && memcmp(said.data, ":7\r\n", 4) == 0);
	redis_reading_fini(&r);
	buf_free(&said);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("redis_reply");
	TCase *tc = tcase_create("redis_reply");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, replies_are_what_was_sent_however_they_are_cut);
	tcase_add_test(tc, large_string_is_read_into_its_value);
	tcase_add_test(tc, reading_is_given_up_in_the_middle);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
