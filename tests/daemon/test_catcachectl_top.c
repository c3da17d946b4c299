/* catcachectl top on a real terminal: what it shows, that it moves, and that it leaves the
 * terminal as it was. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "fake.h"
#include "harness.h"
#include "program.h"
#include "talk.h"

#define COLUMNS 80
#define LINES 24
#define SOON_MS (READ_LIMIT_S * 1000)
#define CONFIG LISTEN NO_REDIS NO_DATABASE \
	"types:\n" \
	"  quiet: {key: 'q:{name}', ttl: 1h}\n" \
	"  plain: {key: 'm:{name}', ttl: 1h}\n" \
	"  hooked: {key: 'h:{name}', ttl: 1m, fetch: {exec: ['${DIR}/hook', '{name}']}}\n"

static struct harness *start(const char *yaml)
{
	struct harness *h = harness_new();
	harness_hook(h, "hook", "printf built");
	harness_start(h, yaml);
	setenv("CATCACHED_SOCKET", harness_path(h, "s"), 1);
	return h;
}

static struct terminal run_top(const char *option, const char *argument)
{
	return terminal_run((const char *[]){program_path("catcachectl"), "top", "-d", "0.1", option, argument, NULL}, COLUMNS, LINES);
}

/* Reads until the screen shows text; work is done meanwhile. */
static void await_text(struct terminal *t, const char *text, void (*work)(redisContext *c), redisContext *c)
{
	int64_t end = now_ms() + SOON_MS;
	for (;;) {
		char *screen = terminal_screen(t, COLUMNS, LINES);
		bool is_shown = screen && strstr(screen, text);
		if (!is_shown && now_ms() >= end)
			ck_abort_msg("no \"%s\" on\n%s", text, screen ? screen : t->seen);
		free(screen);
		if (is_shown)
			return;
		if (work)
			work(c);
		ck_assert_msg(terminal_read(t), "it ended: %s", t->seen);
	}
}

static void read_plain(redisContext *c)
{
	for (int i = 0; i < 10; i++)
		expect(c, "\"1\"", "GET m:a");
}

/* The end of all it wrote is the way back to the screen before, with a cursor. */
static void has_left(const struct terminal *t)
{
	static const char leave[] = "\033[?25h\033[?1049l";
	ck_assert_msg(t->len > sizeof(leave) && strcmp(t->seen + t->len - strlen(leave), leave) == 0, "%s", t->seen);
	ck_assert_ptr_eq(strstr(t->seen, "\033[?1049h"), t->seen);
}

static tcflag_t local_flags(const struct terminal *t)
{
	struct termios now;
	ck_assert_int_eq(tcgetattr(t->fd, &now), 0);
	return now.c_lflag;
}

START_TEST(top_shows_the_daemon_on_80_by_24)
{
	struct harness *h = start(CONFIG);
	redisContext *c = harness_connect(h);
	expect(c, "OK", "SET m:a 1");
	struct terminal t = run_top(NULL, NULL);
	await_text(&t, "answered  memory 100.0%, redis 0.0%, source 0.0%", read_plain, c);
	static const char *const parts[] = {"catcached 0.", "requests  ", "clients 2 of 10,000", "memory    ", "redis     off", "sources   database closed, programs closed",
		"guard not set", "flights   0 under way, 0 waiting", "replay keys 0 (0 B)", "TYPE                  ENTRIES      BYTES  HITS/S  MISS/S  FETCH/S  STALE/S\nplain  "};
	char *screen = terminal_screen(&t, COLUMNS, LINES);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		ck_assert_msg(strstr(screen, parts[i]), "no \"%s\" on\n%s", parts[i], screen);
	free(screen);
	terminal_type(&t, "q");
	ck_assert_int_eq(terminal_end(&t), 0);
	has_left(&t);
	terminal_free(&t);
	harness_free(h);
}
END_TEST

/* What is read most stands first, and no rate stays when nothing is read any more. */
START_TEST(top_moves_with_what_happens)
{
	struct harness *h = start(CONFIG);
	redisContext *c = harness_connect(h);
	expect(c, "OK", "MSET m:a 1 q:a 1");
	struct terminal t = run_top(NULL, NULL);
	await_text(&t, "STALE/S\nplain  ", read_plain, c);
	await_text(&t, "reads 0.0/s", NULL, NULL);
	await_text(&t, "answered  memory -, redis -, source -", NULL, NULL);
	expect(c, "\"built\"", "GET h:x");
	await_text(&t, "STALE/S\nhooked  ", NULL, NULL);
	terminal_type(&t, "q");
	ck_assert_int_eq(terminal_end(&t), 0);
	terminal_free(&t);
	harness_free(h);
}
END_TEST

START_TEST(ctrl_c_and_a_signal_end_top_and_restore_the_terminal)
{
	struct harness *h = start(CONFIG);
	for (int way = 0; way < 2; way++) {
		struct terminal t = run_top(NULL, NULL);
		tcflag_t before = local_flags(&t) | ICANON | ECHO;
		await_text(&t, "TYPE", NULL, NULL);
		ck_assert_uint_eq(local_flags(&t) & (ICANON | ECHO), 0);
		if (way)
			kill(t.pid, SIGTERM);
		else
			terminal_type(&t, "\003");
		ck_assert_int_eq(terminal_end(&t), 0);
		has_left(&t);
		ck_assert_uint_eq(local_flags(&t), before);
		terminal_free(&t);
	}
	harness_free(h);
}
END_TEST

START_TEST(top_ends_after_count_rounds)
{
	struct harness *h = start(CONFIG);
	struct terminal t = run_top("-n", "2");
	ck_assert_int_eq(terminal_end(&t), 0);
	has_left(&t);
	unsigned drawn = 0;
	for (const char *at = t.seen; (at = strstr(at, "\033[H")); at++)
		drawn++;
	ck_assert_uint_eq(drawn, 3);            /* one without rates, two with */
	terminal_free(&t);
	harness_free(h);
}
END_TEST

START_TEST(top_follows_the_size_of_the_terminal)
{
	struct harness *h = start(CONFIG);
	struct terminal t = terminal_run((const char *[]){program_path("catcachectl"), "top", "-d", "60", NULL}, COLUMNS, LINES);
	await_text(&t, "undeclared", NULL, NULL);
	size_t before = t.len;
	ck_assert_int_eq(ioctl(t.fd, TIOCSWINSZ, &(struct winsize){.ws_col = 40, .ws_row = 5}), 0);
	int64_t end = now_ms() + SOON_MS;
	while (!strstr(t.seen + before, "\033[J")) {
		ck_assert(now_ms() < end);
		ck_assert(terminal_read(&t));
	}
	char *screen = terminal_screen(&t, 40, 5);
	ck_assert_msg(strstr(screen, "memory  ") && !strstr(screen, "redis   "), "%s", screen);
	free(screen);
	terminal_type(&t, "Q");
	ck_assert_int_eq(terminal_end(&t), 0);
	terminal_free(&t);
	harness_free(h);
}
END_TEST

/* More types than lines, names longer than their column, figures of every size. */
START_TEST(many_types_are_cut_to_the_screen)
{
	struct buf yaml = BUF_INIT;
	buf_add_str(&yaml, LISTEN NO_REDIS NO_DATABASE "types:\n");
	for (int i = 0; i < 30; i++)
		buf_addf(&yaml, "  a_type_with_a_name_of_some_length_%d: {key: 'k%d:{name}', ttl: 1h}\n", i, i);
	buf_add_char(&yaml, '\0');
	struct harness *h = start(yaml.data);
	redisContext *c = harness_connect(h);
	for (int i = 0; i < 1000; i++)
		expect(c, "OK", "SET k7:%d %s", i, "some value");
	struct terminal t = run_top(NULL, NULL);
	await_text(&t, "\na_type_with_a_name_o    1,000  ", NULL, NULL);
	terminal_type(&t, "q");
	ck_assert_int_eq(terminal_end(&t), 0);
	terminal_free(&t);
	buf_free(&yaml);
	harness_free(h);
}
END_TEST

START_TEST(top_waits_for_a_daemon_that_restarts)
{
	struct harness *h = start(CONFIG);
	struct terminal t = run_top(NULL, NULL);
	await_text(&t, "requests  ", NULL, NULL);
	harness_stop(h);
	await_text(&t, "waiting for the daemon", NULL, NULL);
	harness_restart_sidecar(h, 0);
	await_text(&t, "reads 0.0/s", NULL, NULL);
	terminal_type(&t, "q");
	ck_assert_int_eq(terminal_end(&t), 0);
	has_left(&t);
	terminal_free(&t);
	harness_free(h);
}
END_TEST

START_TEST(a_daemon_that_hangs_does_not_hold_top)
{
	struct harness *h = harness_new();
	struct fake *f = fake_start(harness_path(h, "s"), (const struct fake_reply[]){{"HELLO", "+OK\r\n"},
		{"INFO", "$23\r\ncatcached_version:0.0\r\n\r\n"}, {"STATS", ""}, {NULL, NULL}});
	setenv("CATCACHED_SOCKET", harness_path(h, "s"), 1);
	struct terminal t = run_top(NULL, NULL);
	await_text(&t, "\nIt may still be at work on it", NULL, NULL);
	terminal_type(&t, "q");
	ck_assert_int_eq(terminal_end(&t), 0);
	terminal_free(&t);
	fake_stop(f);
	harness_free(h);
}
END_TEST

START_TEST(top_shows_what_is_degraded)
{
	struct harness *h = harness_new();
	harness_redis_start(h, "");
	harness_start(h, LISTEN REDIS NO_DATABASE "types: {t: {key: 'm:{name}', ttl: 1h}}\n");
	setenv("CATCACHED_SOCKET", harness_path(h, "s"), 1);
	harness_tracking(harness_connect(h));
	struct terminal t = run_top(NULL, NULL);
	await_text(&t, "redis     up, tracking, breaker closed   commands ", NULL, NULL);
	harness_redis_kill(h);
	await_text(&t, "\ndegraded  Redis does not answer: values come from memory and the database,\ndegraded  writes wait\n", NULL, NULL);
	await_text(&t, "redis     down, away, breaker ", NULL, NULL);
	terminal_type(&t, "q");
	ck_assert_int_eq(terminal_end(&t), 0);
	terminal_free(&t);
	harness_free(h);
}
END_TEST

START_TEST(without_a_terminal_top_prints_a_block_a_round)
{
	struct harness *h = start(CONFIG);
	struct said s = program_run((const char *[]){program_path("catcachectl"), "top", "-n", "3", "-d", "0.05", NULL}, NULL, 0);
	ck_assert_msg(s.status == 0 && s.err_len == 0 && !strchr(s.out, '\033'), "%s%s", s.out, s.err);
	unsigned blocks = 0;
	for (const char *at = s.out; (at = strstr(at, "\nTYPE ")); at++)
		blocks++;
	ck_assert_uint_eq(blocks, 3);
	ck_assert_str_eq(s.out + s.out_len - 2, "\n\n");
	said_free(&s);
	s = program_run((const char *[]){program_path("catcachectl"), "top", "-n", "2", "-d", "0.05", "--json", NULL}, NULL, 0);
	const char *second = strchr(s.out, '\n');
	ck_assert_msg(s.status == 0 && strncmp(s.out, "{\"seconds\":0.", 13) == 0 && second && strncmp(second, "\n{\"seconds\":0.", 14) == 0
		&& strchr(second + 1, '\n') == s.out + s.out_len - 1, "%s%s", s.out, s.err);
	said_free(&s);
	harness_free(h);
}
END_TEST

START_TEST(without_a_terminal_top_ends_with_the_daemon)
{
	struct harness *h = start(CONFIG);
	char *line = xasprintf("exec '%s' top -d 0.05 | cat; exit 0", program_path("catcachectl"));
	struct terminal t = terminal_run((const char *[]){"/bin/sh", "-c", line, NULL}, COLUMNS, LINES);
	int64_t end = now_ms() + SOON_MS;
	while (!strstr(t.seen, "TYPE ")) {
		ck_assert(now_ms() < end);
		ck_assert(terminal_read(&t));
	}
	harness_stop(h);
	ck_assert_int_eq(terminal_end(&t), 0);
	ck_assert_msg(strstr(t.seen, "catcachectl: "), "%s", t.seen);
	terminal_free(&t);
	free(line);
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		top_shows_the_daemon_on_80_by_24,
		top_moves_with_what_happens,
		ctrl_c_and_a_signal_end_top_and_restore_the_terminal,
		top_ends_after_count_rounds,
		top_follows_the_size_of_the_terminal,
		many_types_are_cut_to_the_screen,
		top_waits_for_a_daemon_that_restarts,
		a_daemon_that_hangs_does_not_hold_top,
		top_shows_what_is_degraded,
		without_a_terminal_top_prints_a_block_a_round,
		without_a_terminal_top_ends_with_the_daemon,
	};
	return harness_main("catcachectl_top", tests, sizeof(tests) / sizeof(tests[0]));
}
