/* Moving over to another configuration while requests are served; see catalog.h.
 *
 *   catalog_reload: sources, and a Redis if another is wanted, are made beside those in use
 *        --> ready, or after a while --> take_over: all in one turn of the loop
 *
 * Both configurations live on, so whatever is under way may go on with what it knows of its type. What is kept
 * by type is kept by place (conf_succeed): a type that is the same still has its values, its counters and the lot;
 * of others nothing is left. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "fetch.h"
#include "log.h"
#include "replay.h"

#define LOOK_MS 10
#define READY_MS 2000           /* a Redis that is not there by then is taken over all the same */

struct reload {
	struct catalog *catalog;
	const struct conf *conf;
	struct fetcher *fetcher;
	struct watcher *watcher;        /* NULL: Redis is off, or stays as it is: */
	bool keeps_redis;
	int64_t end_ms;
	struct event *look;
	catalog_reloaded_fn done;
	void *arg;
};

static const struct conf_type *type_at(const struct conf *conf, unsigned place)
{
	for (size_t i = 0; i < conf->n_types; i++)
		if (conf->types[i].index == place)
			return &conf->types[i];
	return NULL;
}

static void ignore_dropped(void *arg, unsigned type, uint64_t live)
{
	(void)arg, (void)type, (void)live;
}

/* Keys of the type before that may belong to the other one now. */
static void drop_ceded(struct catalog *c, const struct conf_type *before, const struct conf_type *now)
{
	if (now->index != before->index && now->prefix_len >= before->prefix_len && memcmp(now->key, before->key, before->prefix_len) == 0)
		catalog_drop_prefix(c, before, now->key, now->prefix_len, ignore_dropped, NULL);
}

static void drop_what_changes_hands(struct catalog *c, const struct conf *conf)
{
	const struct conf *before = c->tiers.conf;
	for (size_t i = 0; i < before->n_types; i++) {
		const struct conf_type *type = &before->types[i];
		if (!type_at(conf, type->index))
			catalog_drop_prefix(c, type, "", 0, ignore_dropped, NULL);
		else
			for (size_t k = 0; k < conf->n_types; k++)
				drop_ceded(c, type, &conf->types[k]);
	}
}

static void reload_free(struct reload *r)
{
	event_free(r->look);
	r->catalog->reload = NULL;
	free(r);
}

static void take_over(struct reload *r)
{
	struct catalog *c = r->catalog;
	catalog_hurry(c);
	catalog_cascades_fire(c);
	catalog_cascades_fini(c);
	drop_what_changes_hands(c, r->conf);
	tiers_set_conf(&c->tiers, r->conf);
	catalog_cascades_init(c);
	replay_set_types(c->replay, r->conf->n_places);
	fetcher_succeed(r->fetcher, c->fetcher);
	c->fetcher = r->fetcher;
	flights_set_fetcher(c->flights, c->fetcher);
	flights_retype(c->flights);
	catalog_set_guard(c);
	catalog_sweep_soon(c);
	if (!r->keeps_redis)
		catalog_watch(c, r->watcher);
	r->done(r->arg);
	reload_free(r);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;
	(void)fd, (void)what;
	clock_update();
	if (!r->watcher || watcher_is_ready(r->watcher) || clock_ms() >= r->end_ms)
		take_over(r);
}

int catalog_reload(struct catalog *c, const struct conf *conf, catalog_reloaded_fn done, void *arg)
{
	if (conf->n_places > MEMORY_TYPES_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	struct fetcher *fetcher = fetcher_new(c->base, conf, c->tiers.cpu, catalog_part, c);
	if (!fetcher)
		return -1;
	struct reload *r = xcalloc(1, sizeof(*r));
	*r = (struct reload){.catalog = c, .conf = conf, .fetcher = fetcher, .done = done, .arg = arg, .end_ms = clock_ms() + READY_MS};
	r->keeps_redis = c->watcher ? watcher_serves(c->watcher, conf) : conf->redis.off;
	if (!r->keeps_redis && !conf->redis.off)
		r->watcher = watcher_new(c, conf);
	r->look = event_new(c->base, -1, EV_PERSIST, on_look, r);
	event_add(r->look, &(struct timeval){.tv_usec = LOOK_MS * 1000});
	c->reload = r;
	return 0;
}

void catalog_reload_cancel(struct catalog *c)
{
	struct reload *r = c->reload;
	if (!r)
		return;
	fetcher_free(r->fetcher);
	watcher_free(r->watcher);
	reload_free(r);
}
