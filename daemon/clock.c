/* Readings of the clock, one per batch of work; see clock.h. */
#include "clock.h"

#include <time.h>

static int64_t now_ms, wall_ms, skew_ms;

static int64_t read_us(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void clock_update(void)
{
	now_ms = read_us(CLOCK_BOOTTIME) / 1000 + skew_ms;
	wall_ms = read_us(CLOCK_REALTIME) / 1000 + skew_ms;
}

int64_t clock_ms(void)
{
	return now_ms;
}

int64_t clock_wall_ms(void)
{
	return wall_ms;
}

int64_t clock_us(void)
{
	return read_us(CLOCK_BOOTTIME) + skew_ms * 1000;
}

void clock_skew(int64_t ms)
{
	skew_ms += ms;
	clock_update();
}
