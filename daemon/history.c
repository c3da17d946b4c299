/* What happened to keys lately; see history.h. */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "clock.h"

TAILQ_HEAD(records, history_record);

/* A change of a key of which no more is kept than this. */
struct note {
	uint64_t hash;
	struct history_change change;   /* its by NULL: a free place */
};

struct cleared {
	const struct conf_type *type;
	char *prefix;                   /* NULL: a free place */
	size_t prefix_len;
	struct history_change change;   /* by who */
	char who[HISTORY_TEXT_MAX];
};

/* notes and cleared are rings: the next place is the oldest. */
struct history {
	struct keymap map;
	struct records newest_first;
	struct note notes[HISTORY_NOTES_MAX];
	struct cleared cleared[HISTORY_CLEARED_MAX];
	size_t next_note, next_cleared;
	uint64_t changes;
};

struct history *history_new(void)
{
	struct history *h = xcalloc(1, sizeof(*h));
	TAILQ_INIT(&h->newest_first);
	return h;
}

static void forget(struct history *h, struct history_record *r)
{
	TAILQ_REMOVE(&h->newest_first, r, link);
	keymap_remove(&h->map, &r->node);
	free((char *)r->node.key.data);
	free(r);
}

void history_free(struct history *h)
{
	if (!h)
		return;
	while (!TAILQ_EMPTY(&h->newest_first))
		forget(h, TAILQ_FIRST(&h->newest_first));
	for (size_t i = 0; i < HISTORY_CLEARED_MAX; i++)
		free(h->cleared[i].prefix);
	free(h);
}

static struct history_record *record_of(const struct history *h, const struct key *key)
{
	return (struct history_record *)keymap_find(&h->map, key);
}

const struct history_record *history_find(const struct history *h, const struct key *key)
{
	return record_of(h, key);
}

/* The record to write to, made if there is none, now the newest. */
static struct history_record *open_record(struct history *h, const struct key *key)
{
	struct history_record *r = record_of(h, key);
	if (r) {
		TAILQ_REMOVE(&h->newest_first, r, link);
	} else {
		if (h->map.count >= HISTORY_MAX)
			forget(h, TAILQ_LAST(&h->newest_first, records));
		r = xcalloc(1, sizeof(*r));
		r->node.key = key_dup(key);
		keymap_add(&h->map, &r->node);
	}
	TAILQ_INSERT_HEAD(&h->newest_first, r, link);
	return r;
}

void history_fetched(struct history *h, const struct key *key, int64_t took_us)
{
	struct history_record *r = open_record(h, key);
	r->fetched_at_ms = clock_wall_ms();
	r->took_us = took_us;
	r->failures = 0;
	r->retry_ms = 0;
	r->refused_ms = 0;
	r->error[0] = '\0';
}

static int64_t backoff_ms(unsigned failures)
{
	int64_t ms = HISTORY_BACKOFF_MAX_MS;
	if (failures < 16 && HISTORY_BACKOFF_MIN_MS << (failures - 1) < ms)
		ms = HISTORY_BACKOFF_MIN_MS << (failures - 1);
	return ms - random() % (ms / 4 + 1);
}

static void fail(struct history_record *r, const char *error, int64_t ms)
{
	r->fetched_at_ms = clock_wall_ms();
	r->retry_ms = clock_ms() + ms;
	snprintf(r->error, sizeof(r->error), "%s", error);
}

int64_t history_failed(struct history *h, const struct key *key, int64_t took_us, const char *error)
{
	struct history_record *r = open_record(h, key);
	r->took_us = took_us;
	int64_t ms = backoff_ms(++r->failures);
	fail(r, error, ms);
	return ms;
}

void history_told(struct history *h, const struct key *key, const char *error, int64_t ms)
{
	fail(open_record(h, key), error, ms);
}

bool history_confirms(struct history *h, const struct key *key, uint64_t size)
{
	struct history_record *r = open_record(h, key);
	bool is_same = r->refused_ms && size >= r->refused_size - r->refused_size / 10;
	if (is_same && clock_ms() - r->refused_ms >= HISTORY_CONFIRM_MS)
		return true;
	if (!is_same) {
		r->refused_ms = clock_ms();
		r->refused_size = size;
	}
	return false;
}

void history_changed(struct history *h, const struct key *key, const char *who)
{
	struct history_record *r = open_record(h, key);
	r->changed_at_ms = clock_wall_ms();
	r->changed_number = ++h->changes;
	r->retry_ms = 0;
	snprintf(r->changed_by, sizeof(r->changed_by), "%s", who);
}

void history_heard(struct history *h, const struct key *key)
{
	open_record(h, key)->heard_ms = clock_ms();
}

int64_t history_foreign_below(const struct history *h, const struct key *key, int64_t window_ms)
{
	const struct history_record *r = record_of(h, key);
	int64_t below_ms = r && r->heard_ms ? window_ms - (clock_ms() - r->heard_ms) : 0;
	return below_ms > 0 ? below_ms : 0;
}

bool history_is_foreign(const struct history *h, const struct key *key, int64_t redis_ms, int64_t window_ms)
{
	return redis_ms < history_foreign_below(h, key, window_ms);
}

/* ---- who changed a key last ---- */

static struct history_change change_now(struct history *h, const char *by)
{
	return (struct history_change){.by = by, .at_ms = clock_wall_ms(), .number = ++h->changes};
}

void history_noted(struct history *h, const struct key *key, const char *what)
{
	h->notes[h->next_note] = (struct note){.hash = key->hash, .change = change_now(h, what)};
	h->next_note = (h->next_note + 1) % HISTORY_NOTES_MAX;
}

void history_cleared(struct history *h, const struct conf_type *type, const char *prefix, size_t prefix_len, const char *who)
{
	struct cleared *c = &h->cleared[h->next_cleared];
	h->next_cleared = (h->next_cleared + 1) % HISTORY_CLEARED_MAX;
	free(c->prefix);
	*c = (struct cleared){.type = type, .prefix = xstrndup(prefix, prefix_len), .prefix_len = prefix_len, .change = change_now(h, c->who)};
	snprintf(c->who, sizeof(c->who), "%s", who);
}

struct history_change history_last_note(const struct history *h, const struct key *key)
{
	struct history_change last = {0};
	for (size_t i = 0; i < HISTORY_NOTES_MAX; i++) {
		const struct note *n = &h->notes[i];
		if (n->hash == key->hash && n->change.number > last.number)
			last = n->change;
	}
	return last;
}

static bool means(const struct cleared *c, const struct conf_type *type, const struct key *key)
{
	return c->prefix && (!c->type || c->type == type) && key->len >= c->prefix_len
		&& memcmp(key->data, c->prefix, c->prefix_len) == 0;
}

struct history_change history_last_invalidation(const struct history *h, const struct conf_type *type, const struct key *key)
{
	const struct history_record *r = record_of(h, key);
	struct history_change last = {0};
	if (r && r->changed_at_ms)
		last = (struct history_change){.by = r->changed_by, .at_ms = r->changed_at_ms, .number = r->changed_number};
	for (size_t i = 0; i < HISTORY_CLEARED_MAX; i++)
		if (means(&h->cleared[i], type, key) && h->cleared[i].change.number > last.number)
			last = h->cleared[i].change;
	return last;
}
