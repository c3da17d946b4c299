/* reload.c: how often a file is read, and who hears of it. */
#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../conf/conf.h"
#include "../../daemon/log.h"
#include "../../daemon/reload.h"

#define GOOD "listen: {path: /s}\ntypes: {t: {key: k, ttl: 1}}\n"
#define LIMIT_S 10

static struct event_base *base;
static struct reloader *reloader;
static char file[] = "/tmp/catcached-reload-XXXXXX";
static unsigned applied, refused, idle;
static bool is_slow;                    /* apply leaves the end to the test */

static void on_apply(void *arg, struct conf *conf)
{
	(void)arg;
	applied++;
	conf_free(conf);
	if (!is_slow)
		reload_end(reloader);
}

static void on_refused(void *arg)
{
	(void)arg;
	refused++;
}

static void on_idle(void *arg)
{
	(void)arg;
	idle++;
}

static void write_file(const char *text)
{
	FILE *f = fopen(file, "w");
	fputs(text, f);
	fclose(f);
}

static void setup(void)
{
	static const struct reload_owner owner = {on_apply, on_refused, on_idle};
	close(mkstemp(file));
	log_set_level(LOG_LEVEL_ERROR);
	base = event_base_new();
	reloader = reload_new(base, file, &owner, NULL);
}

static void teardown(void)
{
	reload_free(reloader);
	event_base_free(base);
	unlink(file);
}

/* Check's own time-out ends what never comes to pass. */
static void run_until(const unsigned *count, unsigned n)
{
	while (*count < n)
		event_base_loop(base, EVLOOP_ONCE);
}

START_TEST(a_good_file_is_applied_and_a_bad_one_refused)
{
	write_file(GOOD);
	reload_start(reloader);
	run_until(&idle, 1);
	write_file("nonsense: 1\n");
	reload_start(reloader);
	run_until(&idle, 2);
	ck_assert_uint_eq(applied, 1);
	ck_assert_uint_eq(refused, 1);
}
END_TEST

START_TEST(many_asked_for_while_one_is_read_are_one_more_after_it)
{
	write_file(GOOD);
	for (int i = 0; i < 10; i++)
		reload_start(reloader);
	run_until(&idle, 1);
	ck_assert_uint_eq(applied, 2);
	ck_assert_uint_eq(idle, 1);     /* not told between the two */
}
END_TEST

START_TEST(one_asked_for_while_another_takes_effect_comes_after_it)
{
	write_file(GOOD);
	is_slow = true;
	reload_start(reloader);
	run_until(&applied, 1);
	write_file("nonsense: 1\n");
	reload_start(reloader);
	reload_start(reloader);
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(refused + idle, 0);
	reload_end(reloader);
	ck_assert_uint_eq(idle, 0);
	run_until(&idle, 1);
	ck_assert_uint_eq(applied, 1);
	ck_assert_uint_eq(refused, 1);
}
END_TEST

START_TEST(freed_while_it_reads_it_tells_nobody)
{
	write_file(GOOD);
	reload_start(reloader);
	reload_free(reloader);
	reloader = NULL;
	event_base_loop(base, EVLOOP_NONBLOCK);
	ck_assert_uint_eq(applied + refused + idle, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reload");
	TCase *tc = tcase_create("reload");
	tcase_set_timeout(tc, LIMIT_S);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_good_file_is_applied_and_a_bad_one_refused);
	tcase_add_test(tc, many_asked_for_while_one_is_read_are_one_more_after_it);
	tcase_add_test(tc, one_asked_for_while_another_takes_effect_comes_after_it);
	tcase_add_test(tc, freed_while_it_reads_it_tells_nobody);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
