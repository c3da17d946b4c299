/* Errands: one blocking call on a thread that nobody waits for. */
#include "../../daemon/errand.h"

#include <check.h>
#include <event2/event.h>
#include <semaphore.h>
#include <stdlib.h>

#include "rig.h"

struct trip {
	sem_t begun, go_on, released;
	bool waits;
	unsigned runs, dones, releases, dones_at_release;
};

static void trip_init(struct trip *trip, bool waits)
{
	*trip = (struct trip){.waits = waits};
	sem_init(&trip->begun, 0, 0);
	sem_init(&trip->go_on, 0, 0);
	sem_init(&trip->released, 0, 0);
}

static void run(void *arg)
{
	struct trip *trip = arg;
	trip->runs++;
	sem_post(&trip->begun);
	if (trip->waits)
		sem_wait(&trip->go_on);
}

static void on_run(void *arg)
{
	((struct trip *)arg)->dones++;
}

static void release(void *arg)
{
	struct trip *trip = arg;
	trip->releases++;
	trip->dones_at_release = trip->dones;
	sem_post(&trip->released);
}

START_TEST(errand_runs_then_is_done_on_the_loop_then_is_released)
{
	struct rig rig;
	struct trip trip;
	rig_init(&rig);
	trip_init(&trip, false);
	ck_assert_ptr_nonnull(errand_start(rig.base, "test", run, on_run, release, &trip));
	sem_wait(&trip.begun);
	ck_assert_uint_eq(trip.dones, 0);
	rig_run_until(&rig, &trip.dones, 1);
	sem_wait(&trip.released);
	ck_assert_uint_eq(trip.runs, 1);
	ck_assert_uint_eq(trip.releases, 1);
	ck_assert_uint_eq(trip.dones_at_release, 1);
	rig_fini(&rig);
}
END_TEST

START_TEST(abandoned_errand_is_not_waited_for_not_done_and_released_when_it_ends)
{
	struct rig rig;
	struct trip trip;
	rig_init(&rig);
	trip_init(&trip, true);
	struct errand *e = errand_start(rig.base, "test", run, on_run, release, &trip);
	sem_wait(&trip.begun);
	errand_abandon(e);
	rig_fini(&rig);                 /* the thread hangs on; nothing here waits */
	sem_post(&trip.go_on);
	sem_wait(&trip.released);
	ck_assert_uint_eq(trip.dones, 0);
	ck_assert_uint_eq(trip.releases, 1);
}
END_TEST

START_TEST(abandoned_errand_that_is_over_already_is_released)
{
	struct rig rig;
	struct trip trip;
	rig_init(&rig);
	trip_init(&trip, false);
	struct errand *e = errand_start(rig.base, "test", run, on_run, release, &trip);
	sem_wait(&trip.begun);
	errand_abandon(e);
	sem_wait(&trip.released);
	ck_assert_uint_eq(trip.dones, 0);
	errand_abandon(NULL);
	rig_fini(&rig);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("errand");
	TCase *tc = tcase_create("errand");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, errand_runs_then_is_done_on_the_loop_then_is_released, 0, 20);
	tcase_add_test(tc, abandoned_errand_is_not_waited_for_not_done_and_released_when_it_ends);
	tcase_add_loop_test(tc, abandoned_errand_that_is_over_already_is_released, 0, 20);
	suite_add_tcase(s, tc);
	return rig_main(s);
}
