/* The memory tier; see memory.h.
 *
 *   table --bucket--> entry -chain-> entry           found by key: memory_table.c
 *   types[t].order: oldest -newer-> ... newest       evicted from here: memory_order.c
 *
 * Each type has its own order, because each has its own bound. For the common bound in bytes the hands of
 * all types go round together, as one hand would through all that there is: of what they point at the
 * oldest goes, and a hand at its end waits until all are.
 *
 * A drop means all entries of its prefix that came before it began. It walks its type's order from the oldest
 * on, up to the first that came since: they are told apart by stored_ms, which is for this reason later than
 * that of all drops under way.
 *
 * Invariant: bytes = the table + the footprint of every entry and its value. */
#include "memory.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "../proto/buf.h"
#include "memory_entry.h"
#include "memory_order.h"
#include "memory_table.h"
#include "value.h"

#define ENTRY_MIN 64            /* bytes that the smallest entry takes, to know how many there may be */
#define WORK_BYTES 4096         /* to free so many is as much work as to look at an entry */
#define MUCH_IS_PAST 16         /* of so many entries one */

static_assert(offsetof(struct memory_entry, rest) == VALUE_WITHIN_AT, "value.h tells where a value within an entry is");

struct drop {
	TAILQ_ENTRY(drop) link;
	unsigned type;
	char *prefix;
	size_t prefix_len;
	int64_t until_ms;               /* means what was stored until then */
	int64_t now_ms;                 /* when it began: tells what was live */
	struct memory_entry *next;      /* to be looked at; NULL: none is left */
	uint64_t live;                  /* values removed so far, by whomever */
	memory_dropped_fn dropped;
	void *arg;
};

struct type {
	struct memory_order order;
	struct memory_bounds bounds;
	uint64_t round;                 /* its hand is at its end in this one */
	struct memory_type_stats stats;
};

struct memory {
	uint64_t limit, bytes, entries;
	int64_t latest_ms;      /* the highest stored_ms so far */
	struct memory_table table;
	size_t sweep;           /* where memory_expire goes on */
	TAILQ_HEAD(drops, drop) drops;
	struct type *types;
	size_t n_types;
	uint64_t round;         /* of the hands */
};

struct memory *memory_new(uint64_t limit, const struct memory_bounds *types, size_t n_types)
{
	struct memory *m = xcalloc(1, sizeof(*m));
	m->limit = limit;
	m->n_types = n_types;
	m->round = 1;
	TAILQ_INIT(&m->drops);
	m->types = xcalloc(n_types, sizeof(*m->types));
	for (size_t i = 0; i < n_types; i++)
		m->types[i].bounds = types[i];
	memory_table_init(&m->table, limit / ENTRY_MIN);
	m->bytes = memory_table_bytes(&m->table);
	return m;
}

/* ---- entries ---- */

const char *memory_key(const struct memory_entry *e)
{
	return e->rest + (e->is_apart ? sizeof(struct value *) : sizeof(struct value) + memory_value(e)->len);
}

static uint64_t hash_of(const struct memory_entry *e)
{
	return key_of(memory_key(e), e->key_len).hash;
}

static size_t entry_bytes(const struct memory_entry *e)
{
	size_t own = malloc_usable_size((void *)e) + sizeof(size_t);
	return own + (e->is_apart && memory_value(e) ? value_footprint(memory_value(e)) : 0);
}

static void entry_free(struct memory_entry *e)
{
	value_unref(memory_value(e));
	if (e->is_apart)
		free(e);
}

static struct memory_entry *entry_new(const struct key *key, const struct memory_item *item, int64_t stored_ms)
{
	struct value *v = item->value;
	bool is_apart = !v || v->len > VALUE_WITHIN_MAX;
	size_t value_size = is_apart ? sizeof(v) : sizeof(*v) + v->len;
	struct memory_entry *e = malloc(offsetof(struct memory_entry, rest) + value_size + key->len);
	if (!e)
		return NULL;
	assert(memory_link(e) >> MEMORY_LINK_BITS == 0 && memory_linked(memory_link(e)) == e);
	*e = (struct memory_entry){.stored_low = (uint64_t)stored_ms, .stored_high = (uint64_t)stored_ms >> 20, .key_len = key->len,
		.source = item->source, .is_apart = is_apart, .expires_ms = item->expires_ms, .epoch = item->epoch, .type = (uint16_t)item->type};
	assert(memory_stored_ms(e) == stored_ms && e->key_len == key->len);
	if (is_apart) {
		if (v)
			value_ref(v);
		memcpy(e->rest, &v, sizeof(v));
	} else {
		value_copy_within(e, v);
	}
	memcpy((char *)memory_key(e), key->data, key->len);
	return e;
}

static bool is_past(const struct memory *m, const struct memory_entry *e, int64_t now_ms)
{
	if (now_ms < e->expires_ms || e->expires_ms == MEMORY_FOREVER)
		return false;
	return !memory_value(e) || now_ms - e->expires_ms >= m->types[e->type].bounds.keep_ms;
}

/* The drop that means e, or NULL. */
static struct drop *drop_of(const struct memory *m, const struct memory_entry *e)
{
	struct drop *d;
	TAILQ_FOREACH(d, &m->drops, link)
		if (d->type == e->type && memory_stored_ms(e) <= d->until_ms && e->key_len >= d->prefix_len
		    && memcmp(memory_key(e), d->prefix, d->prefix_len) == 0)
			return d;
	return NULL;
}

static void insert(struct memory *m, struct memory_entry *e, uint64_t hash)
{
	struct type *t = &m->types[e->type];
	size_t bytes = entry_bytes(e);
	memory_table_add(&m->table, e, hash);
	memory_order_add(&t->order, e);
	m->bytes += bytes;
	m->entries++;
	t->stats.bytes += bytes;
	t->stats.entries++;
}

/* Takes e out of everything and frees it. What it took, in bytes. */
static size_t remove_entry(struct memory *m, struct memory_entry *e, uint64_t hash)
{
	struct type *t = &m->types[e->type];
	size_t bytes = entry_bytes(e);
	struct drop *d = drop_of(m, e);

	if (d)
		d->live += memory_value(e) && !is_past(m, e, d->now_ms);
	TAILQ_FOREACH(d, &m->drops, link)
		if (d->next == e)
			d->next = memory_linked(e->newer);
	memory_table_remove(&m->table, e, hash);
	memory_order_remove(&t->order, e);
	assert(m->bytes >= bytes && m->entries > 0);
	m->bytes -= bytes;
	m->entries--;
	t->stats.bytes -= bytes;
	t->stats.entries--;
	entry_free(e);
	return bytes;
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

/* ---- bounds ---- */

static void evict(struct memory *m, struct memory_entry *e)
{
	m->types[e->type].stats.evictions += !drop_of(m, e);
	remove_entry(m, e, hash_of(e));
}

/* At its end the hand begins anew, where what it passed is not used any more: the second look finds one. */
static struct memory_entry *least_of(struct type *t)
{
	struct memory_entry *e = memory_order_look(&t->order);
	return e ? e : memory_order_look(&t->order);
}

static struct memory_entry *least_in_round(struct memory *m)
{
	struct memory_entry *found = NULL;
	for (size_t i = 0; i < m->n_types; i++) {
		struct type *t = &m->types[i];
		struct memory_entry *e = t->round < m->round ? memory_order_look(&t->order) : NULL;
		if (!e)
			t->round = m->round;
		else if (!found || memory_stored_ms(e) < memory_stored_ms(found))
			found = e;
	}
	return found;
}

static struct memory_entry *least_of_all(struct memory *m)
{
	struct memory_entry *e;
	while (!(e = least_in_round(m)))
		m->round++;
	return e;
}

static void make_room(struct memory *m, struct type *t, size_t bytes)
{
	while (t->bounds.max_entries && t->stats.entries >= t->bounds.max_entries)
		evict(m, least_of(t));
	while (m->bytes + bytes > m->limit)
		evict(m, least_of_all(m));
}

/* What is put while something is dropped came after it, in whatever millisecond. */
static int64_t stored_ms(struct memory *m, int64_t now_ms)
{
	const struct drop *d = TAILQ_LAST(&m->drops, drops);
	int64_t at_ms = d && now_ms <= d->until_ms ? d->until_ms + 1 : now_ms;
	m->latest_ms = at_ms > m->latest_ms ? at_ms : m->latest_ms;
	return at_ms;
}

int memory_put(struct memory *m, const struct key *key, const struct memory_item *item)
{
	assert(item->type < m->n_types);
	struct memory_entry *e = entry_new(key, item, stored_ms(m, item->stored_ms)), *old = memory_table_find(&m->table, key);
	uint64_t hash = key->hash;      /* key may be the old entry's own */
	if (old)
		remove_entry(m, old, hash);
	if (!e)
		return -1;
	size_t grows = m->entries == m->table.n && m->table.n < m->table.most ? sizeof(*m->table.buckets) : 0, bytes = entry_bytes(e) + grows;
	if (bytes + memory_table_bytes(&m->table) > m->limit) {
		entry_free(e);
		return -1;
	}
	make_room(m, &m->types[e->type], bytes);
	insert(m, e, hash);
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

/* A slice of d; true if that was the last. Removing an entry moves d->next on. */
static bool drop_slice(struct memory *m, struct drop *d)
{
	for (size_t work = 0; work < MEMORY_SLICE; work++) {
		struct memory_entry *e = d->next;
		if (!e || memory_stored_ms(e) > d->until_ms)
			return true;
		if (drop_of(m, e))
			work += remove_entry(m, e, hash_of(e)) / WORK_BYTES;
		else
			d->next = memory_linked(e->newer);
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
	*d = (struct drop){.type = type, .prefix = xstrndup(prefix, prefix_len), .prefix_len = prefix_len, .until_ms = m->latest_ms,
		.now_ms = now_ms, .next = m->types[type].order.oldest, .dropped = dropped, .arg = arg};
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

uint64_t memory_scan(struct memory *m, uint64_t cursor, size_t count, memory_each_fn each, void *arg)
{
	return memory_table_scan(&m->table, cursor, count, each, arg);
}

/* ---- expiry ---- */

bool memory_expire(struct memory *m, int64_t now_ms, size_t max_buckets)
{
	size_t looked = 0, past = 0;
	for (size_t i = 0, work = 0; i < m->table.n && work < max_buckets; i++, work++) {
		struct memory_entry *e = m->table.buckets[m->sweep++ % m->table.n], *next;
		for (; e; e = next) {
			next = memory_linked(e->chain);
			looked++;
			if (!is_past(m, e, now_ms))
				continue;
			past++;
			m->types[e->type].stats.expired += !drop_of(m, e);
			work += remove_entry(m, e, hash_of(e)) / WORK_BYTES;
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

void memory_free(struct memory *m)
{
	if (!m)
		return;
	while (!TAILQ_EMPTY(&m->drops))
		drop_free(m, TAILQ_FIRST(&m->drops));
	for (size_t i = 0; i < m->n_types; i++)
		for (struct memory_entry *e = m->types[i].order.oldest, *next; e; e = next) {
			next = memory_linked(e->newer);
			m->bytes -= entry_bytes(e);
			entry_free(e);
		}
	assert(m->bytes == memory_table_bytes(&m->table));
	memory_table_fini(&m->table);
	free(m->types);
	free(m);
}
