/* The memory tier; see memory.h.
 *
 *   table --bucket--> entry -chain-> entry           found by key: memory_table.c
 *   types[t].order: oldest -newer-> ... newest       evicted from here: memory_order.c
 *   drops -at-> entry                                removals of many: memory_drop.c
 *
 * Each type has its own order, because each has its own bound. For the common bound in bytes it is now the turn
 * of this type, now of that, of each as often as it has entries, so that all entries have their turns equally
 * often, as if there was one order for all.
 *
 * Invariant: bytes = the table + the footprint of every entry and its value. */
#include "memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "memory_drop.h"
#include "memory_entry.h"
#include "memory_order.h"
#include "memory_table.h"
#include "value.h"

#define LOOKS 16                /* the most entries that get another turn for one eviction, so that none takes long */
#define REMOVAL 4               /* as much work as to look at so many */
#define WORK_BYTES 4096         /* to free so many is as much work as to look at an entry */
#define CACHED (512 << 10)      /* so many bytes are in the processor's caches anyway */
#define MUCH_IS_PAST 16         /* of so many entries one */

struct type {
	struct memory_order order;
	struct memory_bounds bounds;
	struct memory_type_stats stats;
};

struct memory {
	uint64_t limit, bytes, entries;
	int64_t latest_ms;      /* the highest stored_ms so far */
	struct memory_table table;
	size_t sweep;           /* where memory_expire goes on */
	struct memory_drops drops;
	struct type *types;
	size_t n_types;
	uint64_t turns;
};

struct memory *memory_new(uint64_t limit, const struct memory_bounds *types, size_t n_types)
{
	struct memory *m = xcalloc(1, sizeof(*m));
	m->limit = limit;
	m->n_types = n_types;
	TAILQ_INIT(&m->drops);
	m->types = xcalloc(n_types, sizeof(*m->types));
	for (size_t i = 0; i < n_types; i++)
		m->types[i].bounds = types[i];
	memory_table_init(&m->table, limit / MEMORY_ENTRY_MIN);
	m->bytes = memory_table_bytes(&m->table);
	return m;
}

void memory_set_bounds(struct memory *m, uint64_t limit, const struct memory_bounds *types, size_t n_types)
{
	assert(n_types >= m->n_types && n_types <= MEMORY_TYPES_MAX);
	m->types = xrealloc(m->types, n_types * sizeof(*m->types));
	memset(m->types + m->n_types, 0, (n_types - m->n_types) * sizeof(*m->types));
	m->n_types = n_types;
	for (size_t i = 0; i < n_types; i++)
		m->types[i].bounds = types[i];
	m->limit = limit;
	memory_table_set_most(&m->table, limit / MEMORY_ENTRY_MIN);
}

static bool is_past(const struct memory *m, const struct memory_entry *e, int64_t now_ms)
{
	if (now_ms < e->expires_ms || e->expires_ms == MEMORY_FOREVER)
		return false;
	return !memory_value(e) || now_ms - e->expires_ms >= m->types[e->type].bounds.keep_ms;
}

static struct memory_drop *drop_of(const struct memory *m, const struct memory_entry *e)
{
	return memory_drop_of(&m->drops, e);
}

static void insert(struct memory *m, struct memory_entry *e, uint64_t hash)
{
	struct type *t = &m->types[e->type];
	size_t bytes = memory_entry_bytes(e);
	memory_table_add(&m->table, e, hash);
	memory_order_add(&t->order, e);
	m->bytes += bytes;
	m->entries++;
	t->stats.bytes += bytes;
	t->stats.entries++;
}

/* Takes e out of everything and frees it. How much work that was, in looks. */
static size_t remove_entry(struct memory *m, struct memory_entry *e, uint64_t hash)
{
	struct type *t = &m->types[e->type];
	size_t bytes = memory_entry_bytes(e);
	struct memory_drop *d = drop_of(m, e);

	if (d)
		d->live += memory_value(e) && !is_past(m, e, d->now_ms);
	memory_table_remove(&m->table, e, hash);
	memory_order_remove(&t->order, e, &m->drops);
	assert(m->bytes >= bytes && m->entries > 0);
	m->bytes -= bytes;
	m->entries--;
	t->stats.bytes -= bytes;
	t->stats.entries--;
	memory_entry_free(e);
	return REMOVAL + bytes / WORK_BYTES;
}

struct memory_entry *memory_peek(struct memory *m, const struct key *key, int64_t now_ms)
{
	struct memory_entry *e = memory_table_find(&m->table, key);
	bool is_dropped = e && drop_of(m, e);
	if (!e || (!is_dropped && !is_past(m, e, now_ms)))
		return e;
	m->types[e->type].stats.expired += !is_dropped;
	remove_entry(m, e, key->hash);
	return NULL;
}

struct memory_entry *memory_get(struct memory *m, const struct key *key, int64_t now_ms)
{
	struct memory_entry *e = memory_peek(m, key, now_ms);
	if (e)
		memory_order_use(e);
	return e;
}

void memory_prefetch(const struct memory *m, const struct key *keys, size_t n)
{
	if (m->bytes > CACHED)
		memory_table_prefetch(&m->table, keys, n);
}

/* ---- bounds ---- */

static size_t evict(struct memory *m, struct memory_entry *e)
{
	uint64_t hash = memory_entry_hash(e);
	bool is_dropped = drop_of(m, e);
	m->types[e->type].stats.evictions += !is_dropped;
	if (!e->is_proven && !is_dropped)
		memory_table_note_gone(&m->table, hash);
	return remove_entry(m, e, hash);
}

/* Spread evenly by the golden ratio over the entries of all types. */
static struct type *whose_turn(struct memory *m)
{
	uint64_t part = ++m->turns * UINT64_C(0x9e3779b97f4a7c15), at = (part >> 32) * m->entries >> 32;
	struct type *t = m->types;
	for (; at >= t->stats.entries; t++)
		at -= t->stats.entries;
	return t;
}

/* Of a type; NULL: of all. There must be one. How much work that was. */
static size_t evict_one(struct memory *m, struct type *only)
{
	struct memory_entry *e = NULL;
	unsigned looks = 0;
	while (!e)
		e = memory_order_look(&(only ? only : whose_turn(m))->order, looks++ == LOOKS, &m->drops);
	return looks + evict(m, e);
}

bool memory_is_over(const struct memory *m)
{
	return m->bytes > m->limit;
}

static void make_room(struct memory *m, struct type *t, size_t bytes)
{
	while (t->bounds.max_entries && t->stats.entries >= t->bounds.max_entries)
		evict_one(m, t);
	uint64_t most = m->limit + m->limit / MEMORY_OVER_PART;
	for (size_t work = 0; m->bytes + bytes > (work < MEMORY_SLICE ? m->limit : most) && m->entries; )
		work += evict_one(m, NULL);
}

/* What is put while something is dropped came after it, in whatever millisecond. */
static int64_t stored_ms(struct memory *m, int64_t now_ms)
{
	const struct memory_drop *d = TAILQ_LAST(&m->drops, memory_drops);
	int64_t at_ms = d && now_ms <= d->until_ms ? d->until_ms + 1 : now_ms;
	m->latest_ms = at_ms > m->latest_ms ? at_ms : m->latest_ms;
	return at_ms;
}

int memory_put(struct memory *m, const struct key *key, const struct memory_item *item)
{
	assert(item->type < m->n_types);
	struct memory_entry *old = memory_table_find(&m->table, key);
	struct memory_entry *e = memory_entry_new(key, item, stored_ms(m, item->stored_ms));
	uint64_t hash = key->hash;      /* key may be the old entry's own */
	if (e && old) {
		e->is_used = old->is_used;
		e->is_proven = old->is_proven;
	} else if (e) {
		e->is_proven = memory_table_is_gone(&m->table, hash);
	}
	if (old)
		remove_entry(m, old, hash);
	if (!e)
		return -1;
	size_t grows = m->entries == m->table.n && m->table.n < m->table.most ? sizeof(*m->table.buckets) : 0, bytes = memory_entry_bytes(e) + grows;
	if (bytes + memory_table_bytes(&m->table) > m->limit) {
		memory_entry_free(e);
		return -1;
	}
	make_room(m, &m->types[e->type], bytes);
	insert(m, e, hash);
	e->is_used |= memory_is_over(m); /* what makes room for it only now shall not take it itself */
	if (m->entries > m->table.n) {
		memory_table_grow(&m->table);
		m->bytes += grows;
	}
	return 0;
}

void memory_set_end(struct memory_entry *e, int64_t expires_ms)
{
	e->expires_ms = expires_ms;
}

bool memory_drop(struct memory *m, const struct key *key, int64_t now_ms)
{
	struct memory_entry *e = memory_table_find(&m->table, key);
	if (!e)
		return false;
	bool was_live = memory_value(e) && !is_past(m, e, now_ms) && !drop_of(m, e);
	remove_entry(m, e, key->hash);
	return was_live;
}

/* ---- dropping many ---- */

/* A slice of d; true if that was the last. */
static bool drop_slice(struct memory *m, struct memory_drop *d)
{
	size_t looks = MEMORY_SLICE;
	struct memory_entry *e;
	while ((e = memory_drop_next(d, &looks))) {
		size_t work = remove_entry(m, e, memory_entry_hash(e));
		looks -= work < looks ? work : looks;
	}
	return !d->at;
}

static void drop_finish(struct memory *m, struct memory_drop *d)
{
	struct memory_drop was = *d;
	memory_drop_free(&m->drops, d);
	was.dropped(was.arg, was.type, was.live);
}

void memory_drop_prefix(struct memory *m, unsigned type, const char *prefix, size_t prefix_len, int64_t now_ms,
	memory_dropped_fn dropped, void *arg)
{
	struct memory_drop *d = memory_drop_new(&m->drops, &m->types[type].order, prefix, prefix_len);
	d->type = type;
	d->until_ms = m->latest_ms;
	d->now_ms = now_ms;
	d->dropped = dropped;
	d->arg = arg;
	if (drop_slice(m, d))
		drop_finish(m, d);
}

/* After the bounds were changed, or what was put takes the place of many. True if more is over them. */
static bool fit(struct memory *m)
{
	size_t work = 0;
	for (struct type *t = m->types; t < m->types + m->n_types; t++)
		while (t->bounds.max_entries && t->stats.entries > t->bounds.max_entries) {
			if (work >= MEMORY_SLICE)
				return true;
			work += evict_one(m, t);
		}
	while (m->bytes > m->limit && m->entries) {
		if (work >= MEMORY_SLICE)
			return true;
		work += evict_one(m, NULL);
	}
	return false;
}

bool memory_sweep(struct memory *m)
{
	struct memory_drop *d = TAILQ_FIRST(&m->drops);
	if (d && drop_slice(m, d))
		drop_finish(m, d);
	return !TAILQ_EMPTY(&m->drops) || fit(m);
}

uint64_t memory_scan(struct memory *m, uint64_t cursor, size_t count, memory_each_fn each, void *arg)
{
	return memory_table_scan(&m->table, cursor, count, each, arg);
}

/* ---- expiry ---- */

bool memory_expire(struct memory *m, int64_t now_ms)
{
	size_t looked = 0, past = 0, work = 0;
	for (size_t i = 0; i < m->table.n && work < MEMORY_SLICE; i++, work++) {
		struct memory_entry *e = memory_linked(m->table.buckets[m->sweep++ % m->table.n].first), *next;
		for (; e; e = next) {
			next = memory_linked(e->chain);
			looked++;
			if (!is_past(m, e, now_ms))
				continue;
			past++;
			m->types[e->type].stats.expired += !drop_of(m, e);
			work += remove_entry(m, e, memory_entry_hash(e));
		}
	}
	return past * MUCH_IS_PAST > looked;
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

static void free_list(struct memory *m, struct memory_list *l)
{
	for (struct memory_entry *e = l->oldest, *next; e; e = next) {
		next = memory_linked(e->newer);
		m->bytes -= memory_entry_bytes(e);
		memory_entry_free(e);
	}
}

void memory_free(struct memory *m)
{
	if (!m)
		return;
	while (!TAILQ_EMPTY(&m->drops))
		memory_drop_free(&m->drops, TAILQ_FIRST(&m->drops));
	for (size_t i = 0; i < m->n_types; i++) {
		free_list(m, &m->types[i].order.young);
		free_list(m, &m->types[i].order.proven);
	}
	assert(m->bytes == memory_table_bytes(&m->table));
	memory_table_fini(&m->table);
	free(m->types);
	free(m);
}
