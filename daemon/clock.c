/* Readings of the clock, one per batch of work; see clock.h. */
#include "clock.h"

#include <event2/event.h>
#include <time.h>

#define SLACK_MS 3               /* two clocks read one after the other may seem to differ by so much */

static int64_t now_us, now_ms, skew_ms;
static int64_t epoch_ms;         /* clock_wall_ms minus clock_ms */

static int64_t read_us(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void clock_update(void)
{
	now_us = clock_us();
	now_ms = now_us / 1000;
}

int64_t clock_ms(void)
{
	return now_ms;
}

int64_t clock_turn_us(void)
{
	return now_us;
}

/* The difference of the clocks moves only if one was set, so that a time converted there and
 * back is the same. */
int64_t clock_wall_ms(void)
{
	int64_t apart_ms = (read_us(CLOCK_REALTIME) - read_us(CLOCK_BOOTTIME)) / 1000;
	if (apart_ms < epoch_ms - SLACK_MS || apart_ms > epoch_ms + SLACK_MS)
		epoch_ms = apart_ms;
	return now_ms + epoch_ms;
}

int64_t clock_us(void)
{
	return read_us(CLOCK_BOOTTIME) + skew_ms * 1000;
}

void clock_arm(struct event *timer, int64_t ms)
{
	event_add(timer, &(struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000});
}

void clock_skew(int64_t ms)
{
	skew_ms += ms;
	clock_update();
}
