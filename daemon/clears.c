/* Removals of many keys that Redis has still to carry out; see clears.h. */
#include "clears.h"

#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "clock.h"

#define MIN_ROOM 64

void clears_init(struct clears *all)
{
	*all = (struct clears){.waiting = 0};
	TAILQ_INIT(&all->list);
}

void clears_done(struct clears *all, struct clear *c)
{
	TAILQ_REMOVE(&all->list, c, link);
	all->count--;
	all->waiting -= c->is_waiting;
	free(c->prefix);
	free(c->spared);
	free(c);
}

void clears_fini(struct clears *all)
{
	while (!TAILQ_EMPTY(&all->list))
		clears_done(all, TAILQ_FIRST(&all->list));
}

struct clear *clears_order(struct clears *all, const struct conf_type *type, const char *prefix, size_t prefix_len)
{
	struct clear *c = xcalloc(1, sizeof(*c));
	*c = (struct clear){.type = type, .prefix = xstrndup(prefix, prefix_len), .prefix_len = prefix_len};
	TAILQ_INSERT_TAIL(&all->list, c, link);
	all->count++;
	return c;
}

/* Whatever earlier means, later means, too. */
static bool covers(const struct clear *later, const struct clear *earlier)
{
	return (!later->type || later->type == earlier->type) && earlier->prefix_len >= later->prefix_len
		&& memcmp(earlier->prefix, later->prefix, later->prefix_len) == 0;
}

void clears_put_off(struct clears *all, struct clear *c, int64_t retry_ms)
{
	for (struct clear *e = TAILQ_FIRST(&all->list), *next; e != c; e = next) {
		next = TAILQ_NEXT(e, link);
		if (e->is_waiting && covers(c, e))
			clears_done(all, e);
	}
	c->is_waiting = true;
	c->retry_ms = retry_ms;
	all->waiting++;
}

struct clear *clears_take(struct clears *all)
{
	struct clear *c;
	TAILQ_FOREACH(c, &all->list, link) {
		if (!c->is_waiting || clock_ms() < c->retry_ms)
			continue;
		c->is_waiting = false;
		all->waiting--;
		return c;
	}
	return NULL;
}

/* ---- keys that are spared ---- */

/* 63 bits of a hash that is seeded at random stand for the key. */
static uint64_t mark_of(const struct key *key)
{
	return key->hash | 1;
}

/* The place of mark, or the free one where it belongs. */
static uint64_t *place_of(const struct clear *c, uint64_t mark)
{
	size_t at = (mark >> 1) & (c->room - 1);
	while (c->spared[at] && c->spared[at] != mark)
		at = (at + 1) & (c->room - 1);
	return &c->spared[at];
}

static bool is_spared(const struct clear *c, const struct key *key)
{
	return c->n_spared && *place_of(c, mark_of(key));
}

static void grow(struct clear *c)
{
	uint64_t *old = c->spared;
	size_t n = c->room;
	c->room = n ? n * 2 : MIN_ROOM;
	c->spared = xcalloc(c->room, sizeof(*c->spared));
	for (size_t i = 0; i < n; i++)
		if (old[i])
			*place_of(c, old[i]) = old[i];
	free(old);
}

static bool spare(struct clear *c, const struct key *key)
{
	if (c->n_spared >= CLEARS_SPARED_MAX)
		return false;
	if (c->n_spared >= c->room / 4 * 3)
		grow(c);
	*place_of(c, mark_of(key)) = mark_of(key);
	c->n_spared++;
	return true;
}

bool clear_means(const struct clear *c, const struct conf_type *type, const struct key *key)
{
	return type->key && (!c->type || c->type->index == type->index) && key->len >= c->prefix_len
		&& memcmp(key->data, c->prefix, c->prefix_len) == 0 && !is_spared(c, key);
}

bool clears_mean(const struct clears *all, const struct conf_type *type, const struct key *key)
{
	const struct clear *c;
	TAILQ_FOREACH(c, &all->list, link)
		if (clear_means(c, type, key))
			return true;
	return false;
}

bool clears_wait_for(const struct clears *all, const struct conf_type *type, const struct key *key)
{
	const struct clear *c;
	TAILQ_FOREACH(c, &all->list, link)
		if (c->is_waiting && clear_means(c, type, key))
			return true;
	return false;
}

bool clears_spare(struct clears *all, const struct conf_type *type, const struct key *key)
{
	bool is_noted = true;
	struct clear *c;
	TAILQ_FOREACH(c, &all->list, link)
		if (clear_means(c, type, key))
			is_noted &= spare(c, key);
	return is_noted;
}
