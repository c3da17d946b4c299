/* Lists for the status page; see recent.h. */
#include "recent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* What is shown of f's time now: nothing once it is too old. */
static int64_t weight_us(const struct recent_fetch *f)
{
	return f->at_ms && clock_wall_ms() - f->at_ms < RECENT_SLOW_MS ? f->took_us : -1;
}

void recent_fetched(struct recent *r, const char *type, uint64_t hash, int64_t took_us, bool failed)
{
	struct recent_fetch *fastest = &r->slowest[0];
	for (size_t i = 1; i < RECENT_MAX; i++)
		if (weight_us(&r->slowest[i]) < weight_us(fastest))
			fastest = &r->slowest[i];
	if (took_us <= weight_us(fastest))
		return;
	*fastest = (struct recent_fetch){.hash = hash, .at_ms = clock_wall_ms(), .took_us = took_us, .failed = failed};
	snprintf(fastest->type, sizeof(fastest->type), "%s", type);
}

static int slower_first(const void *a, const void *b)
{
	const struct recent_fetch *x = a, *y = b;
	return (y->took_us > x->took_us) - (y->took_us < x->took_us);
}

size_t recent_slowest(const struct recent *r, struct recent_fetch found[RECENT_MAX])
{
	size_t n = 0;
	for (size_t i = 0; i < RECENT_MAX; i++)
		if (weight_us(&r->slowest[i]) >= 0)
			found[n++] = r->slowest[i];
	qsort(found, n, sizeof(*found), slower_first);
	return n;
}

static struct recent_change *last_change(struct recent *r)
{
	return r->n_changes ? &r->changes[(r->n_changes - 1) % RECENT_MAX] : NULL;
}

void recent_changed(struct recent *r, const char *type, uint64_t hash, const char *by)
{
	struct recent_change *c = last_change(r);
	if (!c || strcmp(c->type, type) != 0 || strncmp(c->by, by, RECENT_TEXT_MAX - 1) != 0) {
		r->n_changes++;
		c = last_change(r);
		c->times = 0;
		snprintf(c->type, sizeof(c->type), "%s", type);
		snprintf(c->by, sizeof(c->by), "%s", by);
	}
	c->times++;
	c->hash = hash;
	c->at_ms = clock_wall_ms();
}

const struct recent_change *recent_change(const struct recent *r, size_t n)
{
	if (n >= RECENT_MAX || n >= r->n_changes)
		return NULL;
	return &r->changes[(r->n_changes - 1 - n) % RECENT_MAX];
}
