/* out.c: whatever is added, moved and sent, in whatever pieces the socket takes it,
 * arrives as it was meant, is counted right, and is let go as soon as it is sent. */
#include "../../daemon/out.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../daemon/value.h"
#include "../../proto/reply.h"

#define SEND_BUFFER 4096        /* the system makes a little more of it */
#define POOL 12                 /* values in use */

/* ---- a socket, and what should come out of it ---- */

struct line {
	struct out out;
	int near, far;          /* out is sent into near and read from far */
	struct buf expected;    /* all that was ever added, in order */
	size_t sent, received;
};

static void line_init(struct line *l)
{
	int fds[2], size = SEND_BUFFER;
	*l = (struct line){.out = OUT_INIT, .expected = BUF_INIT};
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	l->near = fds[0];
	l->far = fds[1];
}

static void line_fini(struct line *l)
{
	out_fini(&l->out);
	buf_free(&l->expected);
	close(l->near);
	close(l->far);
}

static void check_pending(const struct line *l)
{
	if (out_pending(&l->out) != l->expected.len - l->sent)
		ck_abort_msg("%zu bytes are said to be pending, of %zu %zu are sent", out_pending(&l->out), l->expected.len, l->sent);
}

/* Lets out send once; returns what it did. */
static int send_once(struct line *l)
{
	size_t before = out_pending(&l->out);
	int result = out_send(&l->out, l->near), queued;
	l->sent += before - out_pending(&l->out);
	ck_assert_int_eq(ioctl(l->far, FIONREAD, &queued), 0);
	if (l->received + (size_t)queued != l->sent)
		ck_abort_msg("%zu bytes are said to be sent, %zu were", l->sent, l->received + (size_t)queued);
	if (result == 0 && before > 0 && before == out_pending(&l->out))
		ck_abort_msg("nothing was sent and no error told");
	return result;
}

/* Reads up to len bytes, which must be the next ones expected. */
static void receive(struct line *l, size_t len)
{
	char bytes[8192];
	ssize_t n = recv(l->far, bytes, len < sizeof(bytes) ? len : sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	ck_assert_int_gt(n, 0);
	if (l->received + (size_t)n > l->expected.len || memcmp(bytes, l->expected.data + l->received, (size_t)n) != 0)
		ck_abort_msg("the %zd bytes from %zu on are not as expected", n, l->received);
	l->received += (size_t)n;
}

/* Sends and reads until all is through. */
static void drain(struct line *l)
{
	while (l->received < l->expected.len) {
		size_t before = l->received;
		int result = send_once(l);
		ck_assert(result == 0 || errno == EAGAIN);
		receive(l, SIZE_MAX);
		ck_assert_uint_gt(l->received, before);
	}
	ck_assert_uint_eq(out_pending(&l->out), 0);
}

static void add_text(struct line *l, struct out *to, const char *text)
{
	reply_add_simple(&to->bytes, text);
	reply_add_simple(&l->expected, text);
}

static void add_value(struct line *l, struct out *to, struct value *v)
{
	out_add_value(to, v);
	reply_add_bulk(&l->expected, v->data, v->len);
}

/* A value that no part of another looks like. */
static struct value *pattern_value(size_t len)
{
	static unsigned seed = 1;
	struct value *v = value_new(len);
	for (size_t i = 0; i < len; i++)
		v->data[i] = (char)rand_r(&seed);
	return v;
}

/* ---- one promise at a time ---- */

START_TEST(nothing_to_send_is_sent_at_once)
{
	struct line l;
	line_init(&l);
	ck_assert_uint_eq(out_pending(&l.out), 0);
	ck_assert_int_eq(out_send(&l.out, l.near), 0);
	ck_assert_int_eq(out_send(&l.out, -1), 0);
	line_fini(&l);
}
END_TEST

START_TEST(small_value_is_copied_and_large_one_referred_to)
{
	struct line l;
	line_init(&l);
	struct value *small = pattern_value(OUT_COPY_MAX), *large = pattern_value(OUT_COPY_MAX + 1), *empty = value_new(0);
	add_value(&l, &l.out, small);
	ck_assert_uint_eq(small->refs, 1);
	add_value(&l, &l.out, large);
	ck_assert_uint_eq(large->refs, 2);
	add_value(&l, &l.out, empty);
	ck_assert_uint_eq(empty->refs, 1);
	check_pending(&l);
	drain(&l);
	ck_assert_uint_eq(large->refs, 1);
	line_fini(&l);
	value_unref(small);
	value_unref(large);
	value_unref(empty);
}
END_TEST

START_TEST(value_is_let_go_with_its_last_byte_and_not_before)
{
	struct line l;
	line_init(&l);
	struct value *first = pattern_value(20000), *second = pattern_value(20000);
	size_t end = 20000 + strlen("$20000\r\n");       /* of the first */
	add_value(&l, &l.out, first);
	add_value(&l, &l.out, second);
	while (l.received < l.expected.len) {
		(void)send_once(&l);            /* EAGAIN until something was read */
		ck_assert_uint_eq(first->refs, l.sent >= end ? 1 : 2);
		ck_assert_uint_eq(second->refs, l.sent >= 2 * end + 2 ? 1 : 2);
		receive(&l, 777);
	}
	line_fini(&l);
	value_unref(first);
	value_unref(second);
}
END_TEST

START_TEST(all_sent_leaves_the_buffers_empty)
{
	struct line l;
	line_init(&l);
	struct value *v = pattern_value(5000);
	for (int i = 0; i < 3; i++) {
		add_text(&l, &l.out, "OK");
		add_value(&l, &l.out, v);
		drain(&l);
		ck_assert_uint_eq(l.out.bytes.len, 0);
		ck_assert_uint_eq(l.out.n_refs, 0);
		ck_assert_uint_eq(l.out.ref_bytes, 0);
	}
	line_fini(&l);
	value_unref(v);
}
END_TEST

START_TEST(full_socket_is_eagain_and_changes_nothing)
{
	struct line l;
	line_init(&l);
	struct value *v = pattern_value(100000);
	add_value(&l, &l.out, v);
	while (send_once(&l) == 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_uint_gt(out_pending(&l.out), 0);
	check_pending(&l);
	drain(&l);
	line_fini(&l);
	value_unref(v);
}
END_TEST

START_TEST(peer_that_has_gone_is_an_error_and_no_signal)
{
	struct line l;
	line_init(&l);
	signal(SIGPIPE, SIG_DFL);
	close(l.far);
	add_text(&l, &l.out, "OK");
	ck_assert_int_eq(out_send(&l.out, l.near), -1);
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_uint_eq(out_pending(&l.out), l.expected.len);
	l.far = dup(l.near);
	line_fini(&l);
}
END_TEST

START_TEST(dropped_output_lets_go_of_its_values)
{
	struct line l;
	line_init(&l);
	struct value *v = pattern_value(30000);
	for (int i = 0; i < 10; i++)
		add_value(&l, &l.out, v);
	ck_assert_uint_eq(v->refs, 11);
	while (l.sent < 45000) {
		(void)send_once(&l);            /* EAGAIN until something was read */
		receive(&l, 8192);
	}
	ck_assert_uint_eq(v->refs, 10);
	out_fini(&l.out);
	ck_assert_uint_eq(v->refs, 1);
	ck_assert_uint_eq(out_pending(&l.out), 0);
	ck_assert(!l.out.bytes.data && !l.out.refs);
	line_fini(&l);
	value_unref(v);
}
END_TEST

START_TEST(more_pieces_than_one_call_takes_keep_their_order)
{
	struct line l;
	line_init(&l);
	int size = 50000;       /* it is full in the middle of a value, from which the next call begins */
	ck_assert_int_eq(setsockopt(l.near, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	struct value *values[300];
	for (size_t i = 0; i < 300; i++) {
		values[i] = pattern_value(OUT_COPY_MAX + 1 + i);
		add_value(&l, &l.out, values[i]);
		if (i % 3 == 0)
			add_text(&l, &l.out, "between");
	}
	drain(&l);
	for (size_t i = 0; i < 300; i++) {
		ck_assert_uint_eq(values[i]->refs, 1);
		value_unref(values[i]);
	}
	line_fini(&l);
}
END_TEST

START_TEST(moved_output_follows_and_leaves_its_source_empty)
{
	struct line l;
	line_init(&l);
	struct out from = OUT_INIT;
	struct value *a = pattern_value(6000), *b = pattern_value(7000);
	add_text(&l, &l.out, "first");
	add_value(&l, &l.out, a);
	add_value(&l, &from, b);
	add_text(&l, &from, "last");
	add_value(&l, &from, a);
	out_move(&l.out, &from);
	ck_assert_uint_eq(out_pending(&from), 0);
	ck_assert(!from.bytes.data && !from.refs && from.n_refs == 0);
	ck_assert_uint_eq(a->refs, 3);
	ck_assert_uint_eq(b->refs, 2);
	out_move(&l.out, &from);                /* of nothing */
	check_pending(&l);
	add_text(&l, &from, "again");           /* it can be used again */
	out_move(&l.out, &from);
	check_pending(&l);
	drain(&l);
	ck_assert_uint_eq(a->refs, 1);
	ck_assert_uint_eq(b->refs, 1);
	line_fini(&l);
	value_unref(a);
	value_unref(b);
}
END_TEST

START_TEST(move_behind_output_partly_sent_keeps_all_places)
{
	struct line l;
	line_init(&l);
	struct out from = OUT_INIT;
	struct value *a = pattern_value(40000), *b = pattern_value(40000);
	add_value(&l, &l.out, a);
	add_value(&l, &l.out, b);
	while (l.sent < 50000) {                /* into b */
		(void)send_once(&l);            /* EAGAIN until something was read */
		receive(&l, 1000);
	}
	add_text(&l, &from, "behind");
	add_value(&l, &from, a);
	out_move(&l.out, &from);
	check_pending(&l);
	drain(&l);
	line_fini(&l);
	value_unref(a);
	value_unref(b);
}
END_TEST

/* A client that always has something pending: what was sent may not stay. */
START_TEST(what_was_sent_is_given_back_while_more_is_added)
{
	struct line l;
	line_init(&l);
	struct value *v = pattern_value(OUT_COPY_MAX);
	for (int i = 0; i < 2000; i++) {
		add_value(&l, &l.out, v);
		while (out_pending(&l.out) > 200000) {
			(void)send_once(&l);    /* EAGAIN until something was read */
			receive(&l, 8192);
		}
	}
	ck_assert_uint_gt(l.expected.len, 8000000);
	ck_assert_uint_lt(l.out.bytes.cap, 1000000);
	drain(&l);
	line_fini(&l);
	value_unref(v);
}
END_TEST

/* ---- random sequences ---- */

struct play {
	struct line line;
	struct value *pool[POOL];
	unsigned seed;
};

static unsigned chance(struct play *p, unsigned n)
{
	return (unsigned)rand_r(&p->seed) % n;
}

static void add_something(struct play *p, struct out *to)
{
	static const char *const texts[] = {"", "OK", "a line that is somewhat longer than the others, but still short"};
	if (chance(p, 2))
		add_text(&p->line, to, texts[chance(p, 3)]);
	else
		add_value(&p->line, to, p->pool[chance(p, POOL)]);
}

static void move_something(struct play *p)
{
	struct out from = OUT_INIT;
	for (unsigned n = chance(p, 6); n > 0; n--)
		add_something(p, &from);
	out_move(&p->line.out, &from);
	ck_assert_uint_eq(out_pending(&from), 0);
}

static void play_turn(struct play *p)
{
	unsigned what = chance(p, 10);
	if (what < 2 && out_pending(&p->line.out) < 300000)
		add_something(p, &p->line.out);
	else if (what < 3 && out_pending(&p->line.out) < 300000)
		move_something(p);
	else if (what < 7 && send_once(&p->line) < 0 && errno != EAGAIN)
		ck_abort_msg("%s", strerror(errno));
	else
		receive(&p->line, 1 + chance(p, chance(p, 2) ? 8000 : 9));
	check_pending(&p->line);
}

static void play(unsigned seed, unsigned turns)
{
	static const size_t lens[POOL] = {0, 1, 100, 4095, 4096, 4097, 4098, 5000, 9999, 30000, 65536, 200001};
	struct play p = {.seed = seed};
	line_init(&p.line);
	for (size_t i = 0; i < POOL; i++)
		p.pool[i] = pattern_value(lens[i]);
	for (unsigned i = 0; i < turns; i++)
		play_turn(&p);
	if (seed % 2)
		drain(&p.line);
	line_fini(&p.line);
	for (size_t i = 0; i < POOL; i++) {
		if (p.pool[i]->refs != 1)
			ck_abort_msg("seed %u: a value of %zu bytes has %u references", seed, lens[i], p.pool[i]->refs);
		value_unref(p.pool[i]);
	}
}

START_TEST(random_sequences_arrive_exactly)
{
	for (unsigned seed = 1; seed <= 60; seed++)
		play(seed, 1500);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("out");
	TCase *tc = tcase_create("out");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, nothing_to_send_is_sent_at_once);
	tcase_add_test(tc, small_value_is_copied_and_large_one_referred_to);
	tcase_add_test(tc, value_is_let_go_with_its_last_byte_and_not_before);
	tcase_add_test(tc, all_sent_leaves_the_buffers_empty);
	tcase_add_test(tc, full_socket_is_eagain_and_changes_nothing);
	tcase_add_test(tc, peer_that_has_gone_is_an_error_and_no_signal);
	tcase_add_test(tc, dropped_output_lets_go_of_its_values);
	tcase_add_test(tc, more_pieces_than_one_call_takes_keep_their_order);
	tcase_add_test(tc, moved_output_follows_and_leaves_its_source_empty);
	tcase_add_test(tc, move_behind_output_partly_sent_keeps_all_places);
	tcase_add_test(tc, what_was_sent_is_given_back_while_more_is_added);
	tcase_add_test(tc, random_sequences_arrive_exactly);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
