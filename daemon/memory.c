/* The memory tier; see memory.h.
 *
 *   table --bucket--> entry -chain-> entry          found by key
 *   types[t].newest -> entry -older-> ... oldest    evicted from here
 *
 * Each type has its own order of use, because each has its own bound; the victim
 * for the common bound in bytes is the least recently used of the types' oldest,
 * which is the least recently used of all. The table grows by moving a few
 * buckets at each change, so that no single call pays for all of it.
 *
 * A drop means all entries of its prefix that were last used before it began, for they
 * cannot be used any more. It walks its type's order of use from the oldest on, up to the
 * first that was used since.
 *
 * Invariant: bytes = both tables + the footprint of every entry and its value. */
#include "memory.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../proto/buf.h"
#include "value.h"

#define MIN_BUCKETS 1024
#define MOVE_BUCKETS 4          /* old buckets emptied at each put while growing */

struct table {
	struct memory_entry **buckets;
	size_t mask;            /* count - 1; count is a power of two */
};

struct drop {
	TAILQ_ENTRY(drop) link;
	unsigned type;
	char *prefix;
	size_t prefix_len;
	uint64_t tick;                  /* when it began */
	int64_t now_ms;                 /* likewise: tells what was live */
	struct memory_entry *next;      /* to be looked at; NULL: none is left */
	uint64_t live;                  /* values removed so far, by whomever */
	memory_dropped_fn dropped;
	void *arg;
};

struct type_list {
	struct memory_entry *newest, *oldest;
	uint64_t max_entries;
	struct memory_type_stats stats;
};

struct memory {
	uint64_t limit, bytes, entries;
	uint64_t tick;          /* counts hits and puts */
	struct table table;
	struct table old;       /* being emptied while growing; else no buckets */
	size_t moved;           /* buckets of old already empty */
	size_t sweep;           /* where memory_expire goes on */
	TAILQ_HEAD(, drop) drops;
	struct type_list *types;
	size_t n_types;
};

static size_t table_bytes(const struct table *t)
{
	return t->buckets ? (t->mask + 1) * sizeof(*t->buckets) : 0;
}

static void table_init(struct memory *m, struct table *t, size_t count)
{
	t->buckets = xcalloc(count, sizeof(*t->buckets));
	t->mask = count - 1;
	m->bytes += table_bytes(t);
}

static void table_fini(struct memory *m, struct table *t)
{
	m->bytes -= table_bytes(t);
	free(t->buckets);
	*t = (struct table){0};
}

static size_t entry_bytes(const struct memory_entry *e)
{
	size_t own = malloc_usable_size((void *)e) + sizeof(size_t);
	return own + (e->value ? value_footprint(e->value) : 0);
}

struct memory *memory_new(uint64_t limit, const uint64_t *max_entries, size_t n_types)
{
	struct memory *m = xcalloc(1, sizeof(*m));
	m->limit = limit;
	m->n_types = n_types;
	TAILQ_INIT(&m->drops);
	m->types = xcalloc(n_types, sizeof(*m->types));
	for (size_t i = 0; i < n_types; i++)
		m->types[i].max_entries = max_entries[i];
	table_init(m, &m->table, MIN_BUCKETS);
	return m;
}

/* ---- order of use ---- */

static void list_remove(struct memory *m, struct type_list *l, struct memory_entry *e)
{
	struct drop *d;
	TAILQ_FOREACH(d, &m->drops, link)
		if (d->next == e)
			d->next = e->newer;
	*(e->newer ? &e->newer->older : &l->newest) = e->older;
	*(e->older ? &e->older->newer : &l->oldest) = e->newer;
}

static void list_add(struct type_list *l, struct memory_entry *e)
{
	e->newer = NULL;
	e->older = l->newest;
	*(l->newest ? &l->newest->newer : &l->oldest) = e;
	l->newest = e;
}

static void touch(struct memory *m, struct memory_entry *e)
{
	struct type_list *l = &m->types[e->type];
	e->used = ++m->tick;
	if (l->newest != e) {
		list_remove(m, l, e);
		list_add(l, e);
	}
}

/* ---- table ---- */

/* The place that points at the entry of key, or at the NULL where it would be appended. */
static struct memory_entry **find_in(struct table *t, const struct key *key)
{
	struct memory_entry **at = &t->buckets[key->hash & t->mask];
	for (; *at; at = &(*at)->chain)
		if ((*at)->hash == key->hash && (*at)->key_len == key->len
		    && memcmp((*at)->key, key->data, key->len) == 0)
			break;
	return at;
}

static struct memory_entry **find(struct memory *m, const struct key *key)
{
	struct memory_entry **at = find_in(&m->table, key);
	if (!*at && m->old.buckets) {
		struct memory_entry **old = find_in(&m->old, key);
		if (*old)
			return old;
	}
	return at;
}

static void move_buckets(struct memory *m, size_t count)
{
	for (size_t i = 0; i < count && m->old.buckets; i++) {
		struct memory_entry *e = m->old.buckets[m->moved], *next;
		m->old.buckets[m->moved] = NULL;
		for (; e; e = next) {
			next = e->chain;
			struct memory_entry **bucket = &m->table.buckets[e->hash & m->table.mask];
			e->chain = *bucket;
			*bucket = e;
		}
		if (m->moved++ == m->old.mask)
			table_fini(m, &m->old);
	}
}

static void grow_if_full(struct memory *m)
{
	if (m->old.buckets)
		move_buckets(m, MOVE_BUCKETS);
	else if (m->entries > m->table.mask) {
		m->old = m->table;
		m->moved = 0;
		table_init(m, &m->table, (m->old.mask + 1) * 2);
	}
}

static bool is_past(const struct memory_entry *e, int64_t now_ms)
{
	return now_ms >= e->gone_ms;
}

/* The drop that means e, or NULL. */
static struct drop *drop_of(const struct memory *m, const struct memory_entry *e)
{
	struct drop *d;
	TAILQ_FOREACH(d, &m->drops, link)
		if (d->type == e->type && e->used <= d->tick && e->key_len >= d->prefix_len
		    && memcmp(e->key, d->prefix, d->prefix_len) == 0)
			return d;
	return NULL;
}

/* Takes the entry at this place out of the table and frees it. */
static void remove_at(struct memory *m, struct memory_entry **at)
{
	struct memory_entry *e = *at;
	struct type_list *l = &m->types[e->type];
	size_t bytes = entry_bytes(e);
	struct drop *d = drop_of(m, e);

	if (d)
		d->live += e->value && !is_past(e, d->now_ms);
	*at = e->chain;
	list_remove(m, l, e);
	assert(m->bytes >= bytes && m->entries > 0);
	m->bytes -= bytes;
	m->entries--;
	l->stats.bytes -= bytes;
	l->stats.entries--;
	value_unref(e->value);
	free(e);
}

static void remove_entry(struct memory *m, struct memory_entry *e)
{
	struct key key = {.data = e->key, .len = e->key_len, .hash = e->hash};
	remove_at(m, find(m, &key));
}

struct memory_entry *memory_peek(struct memory *m, const struct key *key, int64_t now_ms)
{
	struct memory_entry **at = find(m, key), *e = *at;
	bool is_dropped = e && drop_of(m, e);
	if (!e || (!is_dropped && !is_past(e, now_ms)))
		return e;
	m->types[e->type].stats.expired += !is_dropped;
	remove_at(m, at);
	return NULL;
}

struct memory_entry *memory_get(struct memory *m, const struct key *key, int64_t now_ms)
{
	struct memory_entry *e = memory_peek(m, key, now_ms);
	if (e)
		touch(m, e);
	return e;
}

/* ---- bounds ---- */

static void evict_oldest(struct memory *m, struct type_list *l)
{
	l->stats.evictions += !drop_of(m, l->oldest);
	remove_entry(m, l->oldest);
}

static struct type_list *least_recently_used(struct memory *m)
{
	struct type_list *found = NULL;
	for (size_t i = 0; i < m->n_types; i++) {
		struct type_list *l = &m->types[i];
		if (l->oldest && (!found || l->oldest->used < found->oldest->used))
			found = l;
	}
	return found;
}

/* The entry just put is the newest of all, so it is the last to go: -1 if it went. */
static int keep_bounds(struct memory *m, struct type_list *l)
{
	while (l->max_entries && l->stats.entries > l->max_entries)
		evict_oldest(m, l);
	while (m->bytes > m->limit && m->entries)
		evict_oldest(m, least_recently_used(m));
	return m->entries ? 0 : -1;
}

static struct memory_entry *entry_new(const struct key *key, const struct memory_item *item)
{
	struct memory_entry *e = malloc(sizeof(*e) + key->len);
	if (!e)
		return NULL;
	*e = (struct memory_entry){
		.value = item->value ? value_ref(item->value) : NULL,
		.stored_ms = item->stored_ms, .fresh_ms = item->fresh_ms, .expires_ms = item->expires_ms, .gone_ms = item->gone_ms,
		.hash = key->hash, .epoch = item->epoch, .key_len = key->len, .type = (uint16_t)item->type, .source = (uint8_t)item->source,
	};
	memcpy(e->key, key->data, key->len);
	return e;
}

int memory_put(struct memory *m, const struct key *key, const struct memory_item *item)
{
	assert(item->type < m->n_types);
	struct memory_entry **at = find(m, key);
	struct memory_entry *e = entry_new(key, item);
	if (*at)
		remove_at(m, at);
	if (!e)
		return -1;
	size_t bytes = entry_bytes(e);
	if (bytes + table_bytes(&m->table) + table_bytes(&m->old) > m->limit) {
		value_unref(e->value);
		free(e);
		return -1;
	}
	grow_if_full(m);
	struct memory_entry **bucket = &m->table.buckets[e->hash & m->table.mask];
	struct type_list *l = &m->types[e->type];
	e->chain = *bucket;
	*bucket = e;
	e->used = ++m->tick;
	list_add(l, e);
	m->bytes += bytes;
	m->entries++;
	l->stats.bytes += bytes;
	l->stats.entries++;
	return keep_bounds(m, l);
}

void memory_set_times(struct memory_entry *e, int64_t fresh_ms, int64_t expires_ms, int64_t gone_ms)
{
	e->fresh_ms = fresh_ms;
	e->expires_ms = expires_ms;
	e->gone_ms = gone_ms;
}

bool memory_drop(struct memory *m, const struct key *key, int64_t now_ms)
{
	struct memory_entry **at = find(m, key);
	if (!*at)
		return false;
	bool was_live = (*at)->value && !is_past(*at, now_ms) && !drop_of(m, *at);
	remove_at(m, at);
	return was_live;
}

/* ---- dropping many ---- */

/* A slice of d; true if that was the last. Removing an entry moves d->next on. */
static bool drop_slice(struct memory *m, struct drop *d)
{
	for (size_t i = 0; i < MEMORY_SLICE; i++) {
		struct memory_entry *e = d->next;
		if (!e || e->used > d->tick)
			return true;
		if (drop_of(m, e))
			remove_entry(m, e);
		else
			d->next = e->newer;
	}
	return false;
}

static void drop_free(struct memory *m, struct drop *d)
{
	TAILQ_REMOVE(&m->drops, d, link);
	free(d->prefix);
	free(d);
}

static void drop_finish(struct memory *m, struct drop *d)
{
	memory_dropped_fn dropped = d->dropped;
	void *arg = d->arg;
	unsigned type = d->type;
	uint64_t live = d->live;
	drop_free(m, d);
	dropped(arg, type, live);
}

void memory_drop_prefix(struct memory *m, unsigned type, const char *prefix, size_t prefix_len, int64_t now_ms,
	memory_dropped_fn dropped, void *arg)
{
	struct drop *d = xmalloc(sizeof(*d));
	*d = (struct drop){.type = type, .prefix = xstrndup(prefix, prefix_len), .prefix_len = prefix_len, .tick = m->tick,
		.now_ms = now_ms, .next = m->types[type].oldest, .dropped = dropped, .arg = arg};
	TAILQ_INSERT_TAIL(&m->drops, d, link);
	if (drop_slice(m, d))
		drop_finish(m, d);
}

bool memory_sweep(struct memory *m)
{
	struct drop *d = TAILQ_FIRST(&m->drops);
	if (d && drop_slice(m, d))
		drop_finish(m, d);
	return !TAILQ_EMPTY(&m->drops);
}

static uint64_t reversed(uint64_t v)
{
	uint64_t r = 0;
	for (int i = 0; i < 64; i++, v >>= 1)
		r = r << 1 | (v & 1);
	return r;
}

static void show_bucket(const struct table *t, uint64_t at, memory_each_fn each, void *arg)
{
	for (const struct memory_entry *e = t->buckets[at & t->mask]; e; e = e->chain)
		each(arg, e);
}

/* The cursor counts with its highest bit first (Pieter Noordhuis's way, of Redis's SCAN):
 * when the table doubles, bucket b becomes b and b + size, and both still come where b would have. */
uint64_t memory_scan(struct memory *m, uint64_t cursor, size_t count, memory_each_fn each, void *arg)
{
	while (count-- > 0) {
		uint64_t mask = m->old.buckets ? m->old.mask : m->table.mask;
		if (m->old.buckets)
			show_bucket(&m->old, cursor, each, arg);
		for (uint64_t at = cursor & mask; at <= m->table.mask; at += mask + 1)
			show_bucket(&m->table, at, each, arg);
		cursor = reversed(reversed(cursor | ~mask) + 1);
		if (cursor == 0)
			break;
	}
	return cursor;
}

void memory_expire(struct memory *m, int64_t now_ms, size_t max_buckets)
{
	move_buckets(m, max_buckets);
	for (size_t i = 0; i <= m->table.mask && i < max_buckets; i++) {
		struct memory_entry **at = &m->table.buckets[m->sweep++ & m->table.mask];
		while (*at) {
			if (is_past(*at, now_ms)) {
				m->types[(*at)->type].stats.expired += !drop_of(m, *at);
				remove_at(m, at);
			} else {
				at = &(*at)->chain;
			}
		}
	}
}

uint64_t memory_bytes(const struct memory *m)
{
	return m->bytes;
}

uint64_t memory_limit(const struct memory *m)
{
	return m->limit;
}

uint64_t memory_entries(const struct memory *m)
{
	return m->entries;
}

const struct memory_type_stats *memory_type_stats(const struct memory *m, unsigned type)
{
	return &m->types[type].stats;
}

void memory_free(struct memory *m)
{
	if (!m)
		return;
	while (!TAILQ_EMPTY(&m->drops))
		drop_free(m, TAILQ_FIRST(&m->drops));
	for (size_t i = 0; i < m->n_types; i++)
		while (m->types[i].oldest)
			remove_entry(m, m->types[i].oldest);
	table_fini(m, &m->old);
	table_fini(m, &m->table);
	assert(m->bytes == 0);
	free(m->types);
	free(m);
}
