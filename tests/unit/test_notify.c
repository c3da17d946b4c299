/* notify.c: what a service manager hears, on a socket of the test's. */
#include "../../daemon/notify.h"

#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "rig.h"

static struct rig rig;
static int manager;
static char heard[512];

static void status(void *arg, struct buf *line)
{
	buf_addf(line, "status %d", ++*(int *)arg);
}

static void setup(void)
{
	rig_init(&rig);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/notify", rig_folder(&rig));
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&a, sizeof(a)), 0);
	setenv("NOTIFY_SOCKET", a.sun_path, 1);
}

static void teardown(void)
{
	close(manager);
	rig_fini(&rig);
}

/* The next message; "" if there is none. */
static const char *hear(void)
{
	ssize_t n = recv(manager, heard, sizeof(heard) - 1, 0);
	heard[n > 0 ? n : 0] = '\0';
	return heard;
}

START_TEST(ready_tells_the_status_line)
{
	int times = 0;
	struct notify *n = notify_new(rig.base, status, &times);
	ck_assert_str_eq(hear(), "");
	notify_ready(n);
	ck_assert_str_eq(hear(), "READY=1\nSTATUS=status 1");
	ck_assert_str_eq(hear(), "");
	notify_free(n);
}
END_TEST

START_TEST(a_reload_tells_its_time_and_ends_with_ready)
{
	int times = 0;
	struct notify *n = notify_new(rig.base, status, &times);
	unsigned long long first = 0, second = 0;
	notify_ready(n);
	hear();
	notify_reloading(n);
	ck_assert_int_eq(sscanf(hear(), "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=", &first), 1);
	notify_ready(n);
	ck_assert_str_eq(hear(), "READY=1\nSTATUS=status 2");
	notify_reloading(n);
	ck_assert_int_eq(sscanf(hear(), "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=", &second), 1);
	ck_assert_uint_gt(first, 0);
	ck_assert_uint_ge(second, first);
	notify_free(n);
}
END_TEST

START_TEST(stopping_is_the_last_word)
{
	int times = 0;
	struct notify *n = notify_new(rig.base, status, &times);
	notify_ready(n);
	hear();
	notify_stopping(n);
	ck_assert_ptr_eq(strstr(hear(), "STOPPING=1\n"), heard);
	notify_free(n);
	ck_assert_str_eq(hear(), "");
}
END_TEST

START_TEST(the_loop_feeds_the_watchdog_while_it_turns)
{
	int times = 0;
	char own[16];
	snprintf(own, sizeof(own), "%d", (int)getpid());
	setenv("WATCHDOG_PID", own, 1);
	setenv("WATCHDOG_USEC", "40000", 1);
	struct notify *n = notify_new(rig.base, status, &times);
	for (int fed = 0; fed < 3; ) {
		ck_assert_str_eq(hear(), "");
		event_base_loop(rig.base, EVLOOP_ONCE);
		while (*hear()) {
			ck_assert_str_eq(heard, "WATCHDOG=1");
			fed++;
		}
	}
	notify_free(n);
}
END_TEST

START_TEST(without_a_service_manager_nothing_happens)
{
	int times = 0;
	unsetenv("NOTIFY_SOCKET");
	struct notify *n = notify_new(rig.base, status, &times);
	notify_ready(n);
	notify_reloading(n);
	notify_stopping(n);
	notify_free(n);
	notify_free(NULL);
	ck_assert_str_eq(hear(), "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("notify");
	TCase *tc = tcase_create("notify");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, ready_tells_the_status_line);
	tcase_add_test(tc, a_reload_tells_its_time_and_ends_with_ready);
	tcase_add_test(tc, stopping_is_the_last_word);
	tcase_add_test(tc, the_loop_feeds_the_watchdog_while_it_turns);
	tcase_add_test(tc, without_a_service_manager_nothing_happens);
	suite_add_tcase(s, tc);
	return rig_main(s);
}
