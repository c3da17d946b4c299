/* What Redis is to be told when it is back; see replay.h. */
#include "replay.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "clock.h"
#include "keymap.h"
#include "log.h"
#include "memory.h"
#include "redis.h"
#include "tiers.h"
#include "value.h"

struct item {
	struct keynode node;            /* owns the bytes of its key */
	TAILQ_ENTRY(item) link;
	struct replay *replay;          /* NULL: there is a newer word, or none is needed any more */
	const struct conf_type *type;
	bool is_sent;                   /* and not answered; it stays in the queue till then */
	struct value *value;            /* a reference; NULL: removed */
	int64_t expires_ms;
};
TAILQ_HEAD(items, item);

struct replay {
	struct keymap map;
	struct items items;             /* oldest first */
	size_t bytes;                   /* of values */
	const struct conf_type **clear; /* by type index; NULL: not to be cleared */
	size_t n_types;
};

struct replay *replay_new(size_t n_types)
{
	struct replay *r = xcalloc(1, sizeof(*r));
	TAILQ_INIT(&r->items);
	r->clear = xcalloc(n_types, sizeof(*r->clear));
	r->n_types = n_types;
	return r;
}

static void item_free(struct item *i)
{
	value_unref(i->value);
	free((char *)i->node.key.data);
	free(i);
}

/* Takes the item out of the queue. One that is being sent is freed when its answer comes. */
static void drop(struct replay *r, struct item *i)
{
	keymap_remove(&r->map, &i->node);
	TAILQ_REMOVE(&r->items, i, link);
	r->bytes -= i->value ? i->value->len : 0;
	i->replay = NULL;
	if (!i->is_sent)
		item_free(i);
}

void replay_free(struct replay *r)
{
	struct item *i;
	if (!r)
		return;
	while ((i = TAILQ_FIRST(&r->items)))
		drop(r, i);
	free(r->clear);
	free(r);
}

void replay_clear(struct replay *r, const struct conf_type *type)
{
	for (struct item *i = TAILQ_FIRST(&r->items), *next; i; i = next) {
		next = TAILQ_NEXT(i, link);
		if (i->type == type)
			drop(r, i);
	}
	if (!r->clear[type->index])
		log_warning("replay_clears_type", "type=%s", type->name);
	r->clear[type->index] = type;
}

void replay_forget(struct replay *r, const struct key *key)
{
	struct item *i = (struct item *)keymap_find(&r->map, key);
	if (i)
		drop(r, i);
}

bool replay_has(const struct replay *r, const struct key *key)
{
	return r->map.count && keymap_find(&r->map, key);
}

static void put(struct replay *r, const struct conf_type *type, const struct key *key, struct value *value, int64_t expires_ms)
{
	replay_forget(r, key);
	if (r->clear[type->index])
		return;
	if (r->map.count >= REPLAY_MAX || r->bytes + (value ? value->len : 0) > REPLAY_MAX_BYTES) {
		replay_clear(r, type);
		return;
	}
	struct item *i = xcalloc(1, sizeof(*i));
	*i = (struct item){.node.key = key_dup(key), .replay = r, .type = type,
		.value = value ? value_ref(value) : NULL, .expires_ms = expires_ms};
	keymap_add(&r->map, &i->node);
	TAILQ_INSERT_TAIL(&r->items, i, link);
	r->bytes += value ? value->len : 0;
}

void replay_delete(struct replay *r, const struct conf_type *type, const struct key *key)
{
	put(r, type, key, NULL, 0);
}

void replay_write(struct replay *r, const struct conf_type *type, const struct key *key, struct value *value, int64_t expires_ms)
{
	put(r, type, key, type->fetch.kind == CONF_FETCH_NONE ? value : NULL, expires_ms);
}

/* ---- flushing ---- */

/* Redis has heard it, or not: then it stays for the next time. */
static void settle(struct item *i, const struct redis_result *result)
{
	i->is_sent = false;
	if (!i->replay)
		item_free(i);
	else if (result->status == REDIS_ANSWERED)
		drop(i->replay, i);
}

static void on_written(void *arg, const struct redis_result *result)
{
	settle(arg, result);
}

/* The removals of one flush: one command, one answer. */
struct batch {
	size_t n;
	struct item *items[];
};

static void on_deleted(void *arg, const struct redis_result *result)
{
	struct batch *b = arg;
	for (size_t i = 0; i < b->n; i++)
		settle(b->items[i], result);
	free(b);
}

static void send_write(struct item *i, struct redis *redis)
{
	int64_t left_ms = i->expires_ms == MEMORY_FOREVER ? 0 : i->expires_ms - clock_ms();
	if (i->expires_ms != MEMORY_FOREVER && left_ms <= 0)
		redis_delete(redis, &i->node.key, 1, on_written, i);
	else
		redis_write(redis, &i->node.key, i->value, left_ms, REDIS_ALWAYS, on_written, i);
}

static void send_removals(struct batch *b, struct redis *redis)
{
	struct key *keys = xcalloc(b->n, sizeof(*keys));
	for (size_t i = 0; i < b->n; i++)
		keys[i] = b->items[i]->node.key;
	if (b->n)
		redis_delete(redis, keys, b->n, on_deleted, b);
	else
		free(b);
	free(keys);
}

static void send_items(struct replay *r, struct redis *redis)
{
	struct batch *b = xcalloc(1, sizeof(*b) + r->map.count * sizeof(b->items[0]));
	struct item *i;
	TAILQ_FOREACH(i, &r->items, link) {
		if (i->is_sent)
			continue;
		i->is_sent = true;
		if (i->value)
			send_write(i, redis);
		else
			b->items[b->n++] = i;
	}
	send_removals(b, redis);
}

void replay_flush(struct replay *r, struct redis *redis, void (*clear)(void *arg, const struct conf_type *type), void *arg)
{
	if (r->map.count)
		log_debug("replay", "keys=%zu bytes=%zu", r->map.count, r->bytes);
	send_items(r, redis);
	for (size_t k = 0; k < r->n_types; k++) {
		const struct conf_type *type = r->clear[k];
		r->clear[k] = NULL;
		if (type)
			clear(arg, type);
	}
}

bool replay_knows(const struct replay *r, const struct conf_type *type, const struct key *key,
	struct value **value, int64_t *expires_ms)
{
	const struct item *i = (const struct item *)keymap_find(&r->map, key);
	*value = i ? i->value : NULL;
	*expires_ms = i ? i->expires_ms : 0;
	return i || r->clear[type->index];
}

size_t replay_count(const struct replay *r)
{
	return r->map.count;
}

size_t replay_bytes(const struct replay *r)
{
	return r->bytes;
}
