/* What Redis is to be told when it is back; see replay.h.
 *
 * Items are told in passes: each moves to the end of the queue as it is sent, so a pass is
 * over when the first of the queue has been sent in it. */
#include "replay.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "clock.h"
#include "keymap.h"
#include "log.h"
#include "memory.h"
#include "tiers.h"
#include "value.h"

struct item {
	struct keynode node;            /* owns the bytes of its key */
	TAILQ_ENTRY(item) link;
	struct replay *replay;
	const struct conf_type *type;
	bool is_dropped;                /* there is a newer word, or none is needed any more */
	bool is_sent;                   /* and not answered; it stays in the queue till then */
	unsigned pass;                  /* in which it was sent last */
	struct value *value;            /* a reference; NULL: removed */
	int64_t expires_ms;
};
TAILQ_HEAD(items, item);

struct replay {
	struct keymap map;
	struct items items;             /* oldest first, but for those that were sent */
	size_t bytes;                   /* of values */
	size_t n_types;
	struct clears clears;
	uint64_t lost;

	struct redis *redis;            /* of the pass at hand */
	unsigned pass;
	size_t sent;                    /* items that are not answered */
	bool is_down;                   /* Redis was lost in this pass: it goes no further */
};

struct replay *replay_new(size_t n_types)
{
	struct replay *r = xcalloc(1, sizeof(*r));
	TAILQ_INIT(&r->items);
	clears_init(&r->clears);
	r->n_types = n_types;
	return r;
}

void replay_set_types(struct replay *r, size_t n_types)
{
	r->n_types = n_types;
}

static void item_free(struct item *i)
{
	value_unref(i->value);
	free((char *)i->node.key.data);
	free(i);
}

static void drop_value(struct item *i)
{
	i->replay->bytes -= i->value ? i->value->len : 0;
	value_unref(i->value);
	i->value = NULL;
}

/* Takes the item out of the queue. One that is being sent is freed when its answer comes. */
static void drop(struct item *i)
{
	keymap_remove(&i->replay->map, &i->node);
	TAILQ_REMOVE(&i->replay->items, i, link);
	drop_value(i);
	i->is_dropped = true;
	if (!i->is_sent)
		item_free(i);
}

void replay_free(struct replay *r)
{
	if (!r)
		return;
	while (!TAILQ_EMPTY(&r->items))
		drop(TAILQ_FIRST(&r->items));
	clears_fini(&r->clears);
	free(r);
}

static struct item *find(const struct replay *r, const struct key *key)
{
	return r->map.count ? (struct item *)keymap_find(&r->map, key) : NULL;
}

bool replay_has(const struct replay *r, const struct key *key)
{
	return find(r, key) != NULL;
}

void replay_forget(struct replay *r, const struct key *key)
{
	struct item *i = find(r, key);
	if (i)
		drop(i);
}

/* ---- many keys at once ---- */

struct clear *replay_clear(struct replay *r, const struct conf_type *type, const char *prefix, size_t prefix_len)
{
	struct clear *c = clears_order(&r->clears, type, prefix, prefix_len);
	for (struct item *i = TAILQ_FIRST(&r->items), *next; i; i = next) {
		next = TAILQ_NEXT(i, link);
		if (clear_means(c, i->type, &i->node.key))
			drop(i);
	}
	return c;
}

struct clear *replay_take_clear(struct replay *r)
{
	return clears_take(&r->clears);
}

void replay_cleared(struct replay *r, struct clear *c, enum redis_status status)
{
	if (status == REDIS_ANSWERED)
		clears_done(&r->clears, c);
	else
		clears_put_off(&r->clears, c, status == REDIS_DOWN ? 0 : clock_ms() + CLEARS_RETRY_MS);
}

static void lose(struct replay *r, const struct conf_type *type, size_t writes, const char *reason)
{
	if (writes)
		log_warning("replay_lost", "type=%s writes=%zu reason=%s", type->name, writes, log_quote(reason));
	r->lost += writes;
}

void replay_clear_later(struct replay *r, const struct conf_type *type)
{
	const struct item *i;
	size_t values = 0;
	TAILQ_FOREACH(i, &r->items, link)
		values += i->type == type && i->value;
	log_warning("replay_clears_type", "type=%s", type->name);
	lose(r, type, values, "the queue of what Redis is to be told is full");
	replay_clear_from_before(r, type, type->key, type->prefix_len);
}

void replay_clear_from_before(struct replay *r, const struct conf_type *type, const char *prefix, size_t prefix_len)
{
	replay_cleared(r, replay_clear(r, type, prefix, prefix_len), REDIS_DOWN);
}

bool replay_is_full_of_clears(const struct replay *r)
{
	return r->clears.waiting >= CLEARS_MAX;
}

/* ---- the bounds ---- */

/* What is queued of a type. */
struct share {
	const struct conf_type *type;
	size_t keys, bytes;
};

static bool has_fetch(const struct share *s)
{
	return s->type->fetch.kind != CONF_FETCH_NONE;
}

/* The type that gives way: for the sake of bytes the one with the most of them; else the
 * one with the most keys, but one with a fetch before all others: nothing of it is lost. */
static struct share largest_share(const struct replay *r, bool in_bytes)
{
	struct share *shares = xcalloc(r->n_types, sizeof(*shares)), largest = {0};
	const struct item *i;
	TAILQ_FOREACH(i, &r->items, link) {
		struct share *s = &shares[i->type->index];
		s->type = i->type;
		s->keys++;
		s->bytes += i->value ? i->value->len : 0;
	}
	for (size_t k = 0; k < r->n_types; k++) {
		const struct share *s = &shares[k];
		if (!s->type || (largest.type && !in_bytes && has_fetch(&largest) && !has_fetch(s)))
			continue;
		if (!largest.type || (!in_bytes && has_fetch(s) && !has_fetch(&largest))
		    || (in_bytes ? s->bytes > largest.bytes : s->keys > largest.keys))
			largest = *s;
	}
	free(shares);
	return largest;
}

static void make_room_for_key(struct replay *r)
{
	if (r->map.count >= REPLAY_MAX)
		replay_clear_later(r, largest_share(r, false).type);
}

/* Values become removals: what Redis has instead is older. */
static void make_room_for_value(struct replay *r, size_t len)
{
	while (r->bytes + len > REPLAY_MAX_BYTES) {
		struct share s = largest_share(r, true);
		size_t lost = 0;
		for (struct item *i = TAILQ_FIRST(&r->items); i && r->bytes + len > REPLAY_MAX_BYTES; i = TAILQ_NEXT(i, link))
			if (i->type == s.type && i->value && i->value->len) {
				drop_value(i);
				lost++;
			}
		lose(r, s.type, lost, "the queue of what Redis is to be told is full of bytes");
	}
}

/* ---- single keys ---- */

static void put(struct replay *r, const struct conf_type *type, const struct key *key, struct value *value, int64_t expires_ms)
{
	replay_forget(r, key);
	if (value && value->len > REPLAY_MAX_BYTES) {
		lose(r, type, 1, "the value is too large to wait for Redis");
		value = NULL;
	}
	make_room_for_key(r);
	make_room_for_value(r, value ? value->len : 0);
	struct item *i = xcalloc(1, sizeof(*i));
	*i = (struct item){.node.key = key_dup(key), .replay = r, .type = type,
		.value = value ? value_ref(value) : NULL, .expires_ms = expires_ms};
	keymap_add(&r->map, &i->node);
	TAILQ_INSERT_TAIL(&r->items, i, link);
	r->bytes += value ? value->len : 0;
}

void replay_delete(struct replay *r, const struct conf_type *type, const struct key *key)
{
	if (clears_wait_for(&r->clears, type, key))
		replay_forget(r, key);
	else
		put(r, type, key, NULL, 0);
}

static void spare(struct replay *r, const struct conf_type *type, const struct key *key)
{
	if (!clears_spare(&r->clears, type, key))
		lose(r, type, 1, "too many keys were written while they are being cleared");
}

void replay_write(struct replay *r, const struct conf_type *type, const struct key *key, struct value *value, int64_t expires_ms)
{
	put(r, type, key, type->fetch.kind == CONF_FETCH_NONE ? value : NULL, expires_ms);
	spare(r, type, key);
}

void replay_take(struct replay *r, const struct conf_type *type, const struct key *key)
{
	replay_forget(r, key);
	spare(r, type, key);
}

bool replay_knows(const struct replay *r, const struct conf_type *type, const struct key *key,
	struct value **value, int64_t *expires_ms)
{
	const struct item *i = find(r, key);
	*value = i ? i->value : NULL;
	*expires_ms = i ? i->expires_ms : 0;
	return i || clears_mean(&r->clears, type, key);
}

/* ---- flushing ---- */

static void send_slice(struct replay *r);

/* Redis has heard it, or not: then it stays for the next time. */
static void settle(struct item *i, const struct redis_result *result)
{
	struct replay *r = i->replay;
	i->is_sent = false;
	r->sent--;
	r->is_down |= result->status == REDIS_DOWN;
	if (i->is_dropped)
		item_free(i);
	else if (result->status == REDIS_ANSWERED)
		drop(i);
	if (r->sent == 0 && !r->is_down)
		send_slice(r);
}

static void on_written(void *arg, const struct redis_result *result)
{
	settle(arg, result);
}

/* The removals of one slice: one command, one answer. */
struct batch {
	size_t n;
	struct item *items[REPLAY_SLICE];
	struct key keys[REPLAY_SLICE];
};

static void on_deleted(void *arg, const struct redis_result *result)
{
	struct batch *b = arg;
	for (size_t i = 0; i < b->n; i++)
		settle(b->items[i], result);
	free(b);
}

static void send_removals(struct batch *b, struct redis *redis)
{
	if (b->n)
		redis_delete(redis, b->keys, b->n, on_deleted, b);
	else
		free(b);
}

/* A value whose TTL is past is a removal, too. */
static bool is_removal(const struct item *i)
{
	return !i->value || clock_ms() >= i->expires_ms;
}

static void send_write(struct item *i, struct redis *redis)
{
	int64_t left_ms = i->expires_ms == MEMORY_FOREVER ? 0 : i->expires_ms - clock_ms();
	redis_write(redis, &i->node.key, i->value, left_ms, REDIS_ALWAYS, on_written, i);
}

/* The next of this pass: nothing that takes long, so that clients are served in between. */
static void send_slice(struct replay *r)
{
	struct batch *b = xmalloc(sizeof(*b));
	struct item *i;
	size_t bytes = 0;
	b->n = 0;
	while ((i = TAILQ_FIRST(&r->items)) && i->pass != r->pass && r->sent < REPLAY_SLICE && bytes < REPLAY_SLICE_BYTES) {
		TAILQ_REMOVE(&r->items, i, link);
		TAILQ_INSERT_TAIL(&r->items, i, link);
		i->pass = r->pass;
		i->is_sent = true;
		r->sent++;
		if (is_removal(i)) {
			b->keys[b->n] = i->node.key;
			b->items[b->n++] = i;
		} else {
			bytes += i->value->len;
			send_write(i, r->redis);
		}
	}
	send_removals(b, r->redis);
}

void replay_flush(struct replay *r, struct redis *redis)
{
	if (r->sent > 0 || r->map.count == 0)
		return;
	log_debug("replay", "keys=%zu bytes=%zu", r->map.count, r->bytes);
	r->redis = redis;
	r->is_down = false;
	r->pass++;
	send_slice(r);
}

void replay_visit(const struct replay *r, const struct replay_visitor *visitor)
{
	const struct clear *c;
	const struct item *i;
	TAILQ_FOREACH(c, &r->clears.list, link)
		visitor->clear(visitor->arg, c);
	TAILQ_FOREACH(i, &r->items, link)
		visitor->word(visitor->arg, i->type, &i->node.key, i->value, i->expires_ms);
}

size_t replay_count(const struct replay *r)
{
	return r->map.count;
}

size_t replay_bytes(const struct replay *r)
{
	return r->bytes;
}

size_t replay_clears(const struct replay *r)
{
	return r->clears.count;
}

uint64_t replay_lost(const struct replay *r)
{
	return r->lost;
}
