/* The ground of the driver tests; see rig.h. */
#include "rig.h"

#include <check.h>
#include <dirent.h>
#include <event2/event.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../../daemon/clock.h"
#include "../../daemon/log.h"
#include "../../daemon/value.h"
#include "../../daemon/worker.h"

#define SLACK_MS 3000           /* what a busy machine or a sanitizer adds to a timeout */

int rig_main(Suite *s)
{
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int64_t rig_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

unsigned rig_descriptors(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n - 3;                   /* . and .. and the folder itself */
}

void rig_init(struct rig *rig)
{
	*rig = (struct rig){.type = {.name = "things"}};
	clock_update();
	log_set_level(LOG_LEVEL_ERROR);
	rig->base = event_base_new();
	rig->cpu = workers_new(rig->base, "cpu", 2, 1000);
	ck_assert_ptr_nonnull(rig->base);
	ck_assert_ptr_nonnull(rig->cpu);
}

const char *rig_folder(struct rig *rig)
{
	const char *tmp = getenv("TMPDIR");
	if (rig->dir[0])
		return rig->dir;
	snprintf(rig->dir, sizeof(rig->dir), "%s/rig-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(rig->dir));
	return rig->dir;
}

static int on_entry_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

void rig_drop_driver(struct rig *rig)
{
	if (rig->driver)
		rig->driver->free(rig->self);
	rig->driver = NULL;
}

void rig_fini(struct rig *rig)
{
	rig_drop_driver(rig);
	workers_free(rig->cpu);
	event_base_free(rig->base);
	if (rig->dir[0])
		(void)nftw(rig->dir, on_entry_remove, 16, FTW_DEPTH | FTW_PHYS);        /* what stays is temporary */
	rig->dir[0] = '\0';
}

static void on_done(void *arg, const struct fetch_result *result)
{
	struct answer *a = arg;
	a->times++;
	a->took_ms = rig_now_ms() - a->begun_ms;
	a->status = result->status;
	memcpy(a->error, result->error, sizeof(a->error));
	memcpy(a->cause, result->cause, sizeof(a->cause));
	a->source = result->source;
	if (result->status != FETCH_FOUND)
		return;
	a->len = result->value->len;
	a->text = malloc(a->len + 1);
	ck_assert_ptr_nonnull(a->text);
	memcpy(a->text, result->value->data, a->len);
	a->text[a->len] = '\0';
}

void rig_order(struct rig *rig, struct answer *answer, const struct fetch_order *order)
{
	*answer = (struct answer){.begun_ms = rig_now_ms()};
	rig->driver->start(rig->self, order, on_done, answer);
	ck_assert_msg(answer->times == 0, "called back before start returned");
}

void rig_sql(struct rig *rig, struct answer *answer, const char *sql, enum conf_shape shape,
	const char *name, int64_t timeout_ms)
{
	const struct fetch_order order = {.type = &rig->type, .sql = sql, .shape = shape, .name = name,
		.timeout_ms = timeout_ms};
	rig_order(rig, answer, &order);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	*(bool *)arg = true;
}

/* Runs the loop until *number is at least `least`, or for ms. True if it is. */
static bool run(struct rig *rig, const unsigned *number, unsigned least, int ms)
{
	bool over = false;
	struct event *limit = evtimer_new(rig->base, on_limit, &over);
	event_add(limit, &(struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000});
	while (*number < least && !over)
		event_base_loop(rig->base, EVLOOP_ONCE);
	event_free(limit);
	return *number >= least;
}

void rig_run_until(struct rig *rig, const unsigned *number, unsigned least)
{
	ck_assert_msg(run(rig, number, least, RIG_LIMIT_MS), "waited in vain");
}

void rig_run_for(struct rig *rig, int ms)
{
	const unsigned never = 0;
	(void)run(rig, &never, 1, ms);
}

void rig_wait(struct rig *rig, struct answer *answer)
{
	rig_run_until(rig, &answer->times, 1);
	ck_assert_uint_eq(answer->times, 1);
}

void expect_found(const struct answer *answer, const char *text)
{
	ck_assert_msg(answer->status == FETCH_FOUND, "status %d, error \"%s\"", (int)answer->status, answer->error);
	ck_assert_uint_eq(answer->len, strlen(answer->text));
	ck_assert_str_eq(answer->text, text);
}

void expect_failed(const struct answer *answer, const char *part)
{
	ck_assert_int_eq(answer->status, FETCH_FAILED);
	ck_assert_msg(strstr(answer->error, part), "the error is \"%s\", without \"%s\"", answer->error, part);
}

void expect_took(const struct answer *answer, int64_t ms)
{
	ck_assert_int_ge(answer->took_ms, ms - 5);
	ck_assert_int_lt(answer->took_ms, ms + SLACK_MS);
}

void expect_value(struct rig *rig, const char *sql, enum conf_shape shape, const char *name, const char *text)
{
	struct answer a;
	rig_sql(rig, &a, sql, shape, name, 10000);
	rig_wait(rig, &a);
	if (text)
		expect_found(&a, text);
	else
		ck_assert_msg(a.status == FETCH_ABSENT, "status %d, error \"%s\"", (int)a.status, a.error);
	answer_fini(&a);
}

void expect_error(struct rig *rig, const char *sql, enum conf_shape shape, const char *name, const char *error)
{
	struct answer a;
	rig_sql(rig, &a, sql, shape, name, 10000);
	rig_wait(rig, &a);
	expect_failed(&a, error);
	answer_fini(&a);
}

void answer_fini(struct answer *answer)
{
	free(answer->text);
	answer->text = NULL;
}
