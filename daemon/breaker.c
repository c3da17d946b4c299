/* A circuit breaker; see breaker.h. */
#include "breaker.h"

#include "clock.h"

bool breaker_admits(struct breaker *b)
{
	if (!b->open_ms)
		return true;
	if (b->is_probing || clock_ms() < b->until_ms)
		return false;
	b->is_probing = true;
	return true;
}

void breaker_report(struct breaker *b, enum breaker_outcome outcome)
{
	if (outcome == BREAKER_ANSWERED) {
		*b = (struct breaker){0};
		return;
	}
	if (outcome == BREAKER_UNKNOWN) {
		b->is_probing = false;  /* the next one will show */
		return;
	}
	/* Those admitted before it opened come back late: they say nothing new. */
	if (b->open_ms && !b->is_probing)
		return;
	b->is_probing = false;
	if (++b->failures < BREAKER_FAILURES)
		return;
	b->open_ms = b->open_ms ? b->open_ms * 2 : BREAKER_MIN_MS;
	if (b->open_ms > BREAKER_MAX_MS)
		b->open_ms = BREAKER_MAX_MS;
	b->until_ms = clock_ms() + b->open_ms;
}

const char *breaker_state(const struct breaker *b)
{
	if (!b->open_ms)
		return "closed";
	return b->is_probing || clock_ms() >= b->until_ms ? "half_open" : "open";
}
