/* Cascades: what a type invalidates when keys of it are invalidated here (`invalidates`,
 * `debounce`). Only DEL, INVALIDATE and REFRESH on this sidecar begin one, never what is
 * heard from Redis, so sidecars cannot echo each other.
 *
 * The first invalidation starts the timer of each dependent type; those that follow until
 * it fires are covered by it. A dependent type that depends on others in turn brings
 * those along at once: the clearing itself begins no cascade. */
#include <event2/event.h>
#include <stdlib.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "log.h"

struct cascade {
	struct catalog *catalog;
	const struct conf_type *type;   /* to be cleared */
	struct event *timer;
	uint64_t round;                 /* of trigger, the last that came by: types may be reached on several ways */
};

static void ignore_outcome(void *arg, const struct outcome *o)
{
	(void)arg, (void)o;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct cascade *cascade = arg;
	(void)fd, (void)what;
	clock_update();
	tiers_count(&cascade->catalog->tiers, cascade->type)->cascades++;
	catalog_clear(cascade->catalog, cascade->type, ignore_outcome, NULL);
}

static void trigger(struct catalog *c, const struct conf_type *type, int64_t debounce_ms)
{
	for (size_t i = 0; i < type->n_invalidates; i++) {
		const struct conf_type *dependent = type->invalidates[i];
		struct cascade *cascade = &c->cascades[dependent->index];
		if (cascade->round == c->cascade_round)
			continue;
		cascade->round = c->cascade_round;
		if (!evtimer_pending(cascade->timer, NULL))
			clock_arm(cascade->timer, debounce_ms);
		trigger(c, dependent, debounce_ms);
	}
}

void catalog_cascade(struct catalog *c, const struct conf_type *type)
{
	c->cascade_round++;
	trigger(c, type, type->debounce_ms);
}

void catalog_cascades_fire(struct catalog *c)
{
	for (size_t i = 0; i < c->tiers.conf->n_types; i++) {
		struct cascade *cascade = &c->cascades[c->tiers.conf->types[i].index];
		if (!evtimer_pending(cascade->timer, NULL))
			continue;
		event_del(cascade->timer);
		on_timer(-1, 0, cascade);
	}
}

void catalog_cascades_init(struct catalog *c)
{
	const struct conf *conf = c->tiers.conf;
	c->cascades = xcalloc(conf->n_places, sizeof(*c->cascades));
	for (size_t i = 0; i < conf->n_types; i++) {
		struct cascade *cascade = &c->cascades[conf->types[i].index];
		*cascade = (struct cascade){.catalog = c, .type = &conf->types[i], .timer = evtimer_new(c->base, on_timer, cascade)};
	}
}

void catalog_cascades_fini(struct catalog *c)
{
	for (size_t i = 0; c->cascades && i < c->tiers.conf->n_types; i++)
		event_free(c->cascades[c->tiers.conf->types[i].index].timer);
	free(c->cascades);
	c->cascades = NULL;
}
