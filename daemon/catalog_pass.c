/* What is none of the catalog's: commands of clients that Redis gets as they are, and
 * transactions; see catalog.h.
 *
 * A command that may write may change keys that memory holds. Redis tells of that by
 * tracking, but the reply may overtake its message: so whatever in the command looks like
 * a key of ours is forgotten when it is sent, and again when the reply is here. */
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "../proto/reply.h"
#include "../proto/request.h"
#include "catalog_impl.h"
#include "clock.h"
#include "log.h"
#include "replay.h"

struct passing {
	struct catalog *catalog;
	catalog_bytes_fn done;
	void *arg;
	struct key_room *room;          /* of the keys' bytes */
	size_t n_keys;
	struct key keys[];              /* to be forgotten */
};

bool catalog_passes(const struct catalog *c)
{
	return c->tiers.redis && redis_passes(c->tiers.redis);
}

bool catalog_declares(const struct catalog *c, const char *data, size_t len)
{
	return conf_match(c->tiers.conf, data, len) != NULL;
}

static void forget_keys(struct passing *p)
{
	for (size_t i = 0; i < p->n_keys; i++) {
		if (catalog_is_guard(p->catalog, p->keys[i].data, p->keys[i].len))
			catalog_guard_changed(p->catalog);
		tiers_forget(&p->catalog->tiers, &p->keys[i]);
		flights_wake(p->catalog->flights, &p->keys[i]);
	}
}

static void on_bytes(void *arg, const char *data, size_t len, bool is_end, const char *reason)
{
	struct passing *p = arg;
	bool is_over = is_end || !data;
	if (is_over)
		forget_keys(p);
	p->done(p->arg, data, len, is_end, reason);
	if (!is_over)
		return;
	key_room_free(p->room);
	free(p);
}

static struct passing *passing_new(struct catalog *c, const struct request_arg *argv, size_t argc, bool reads)
{
	struct passing *p = xcalloc(1, sizeof(*p) + (reads ? 0 : argc * sizeof(p->keys[0])));
	p->catalog = c;
	for (size_t i = 1; i < argc && !reads; i++) {
		if (!catalog_declares(c, argv[i].data, argv[i].len) && !catalog_is_guard(c, argv[i].data, argv[i].len))
			continue;
		char *bytes = key_room_add(&p->room, argv[i].len);
		memcpy(bytes, argv[i].data, argv[i].len);
		p->keys[p->n_keys++] = key_of(bytes, argv[i].len);
	}
	return p;
}

void catalog_pass(struct catalog *c, struct redis_route route, const struct request_arg *argv, size_t argc, bool reads,
	catalog_bytes_fn done, void *arg)
{
	struct buf b = BUF_INIT;
	reply_add_array(&b, argc);
	for (size_t i = 0; i < argc; i++)
		reply_add_bulk(&b, argv[i].data, argv[i].len);
	if (b.failed) {
		done(arg, NULL, 0, false, "out of memory for the command");
		buf_free(&b);
		return;
	}
	struct passing *p = passing_new(c, argv, argc, reads);
	p->done = done;
	p->arg = arg;
	forget_keys(p);
	redis_pass(c->tiers.redis, route, b.data, b.len, on_bytes, p);
	buf_free(&b);
}

/* ---- transactions ---- */

void catalog_begin(struct catalog *c, struct redis_route route)
{
	c->is_in_transaction = true;
	if (c->tiers.redis)
		redis_transaction_begin(c->tiers.redis, route);
}

void catalog_end(struct catalog *c, redis_end_fn on_end, void *arg)
{
	c->is_in_transaction = false;
	if (c->tiers.redis)
		redis_transaction_end(c->tiers.redis, on_end, arg);
	else
		on_end(arg, NULL);
}

void catalog_pause(struct catalog *c, void (*hurry)(void *arg), void *arg)
{
	c->is_in_transaction = false;
	c->paused.transaction = c->tiers.redis ? redis_transaction_pause(c->tiers.redis) : NULL;
	c->paused.hurry = hurry;
	c->paused.arg = arg;
}

void catalog_resume(struct catalog *c)
{
	c->is_in_transaction = true;
	c->paused.hurry = NULL;
	if (c->tiers.redis)
		redis_transaction_resume(c->tiers.redis, c->paused.transaction);
}

void catalog_hurry(struct catalog *c)
{
	while (c->paused.hurry)
		c->paused.hurry(c->paused.arg);
}

/* ---- FLUSHDB ---- */

static bool is_any(void *arg, const struct key *key)
{
	(void)arg, (void)key;
	return true;
}

static void on_dropped(void *arg, unsigned type, uint64_t live)
{
	struct catalog *c = arg;
	c->tiers.counters[type].drops += live;
}

void catalog_flush_memory(struct catalog *c)
{
	const struct conf *conf = c->tiers.conf;
	fence_break_matching(&c->tiers.fences, is_any, NULL);
	for (size_t i = 0; i < conf->n_types; i++)
		catalog_drop_prefix(c, &conf->types[i], "", 0, on_dropped, c);
	flights_wake_all(c->flights);
	log_info("flushed", "%s", "");
}
