/* Warm lists; see warm.h. Orders are worked off one key after the other, WARM_PARALLEL at a time for all
 * of them together. */
#include "warm.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog.h"
#include "clock.h"
#include "log.h"

#define TELL_MS 1000            /* between two lines on the progress */

struct order {
	TAILQ_ENTRY(order) link;
	struct warmer *owner;
	const struct conf *conf;
	const struct conf_type *only;   /* NULL: all types */
	size_t type, name;              /* the next key */
	size_t total, begun, loaded, failed;
	int64_t began_ms;
	warm_done_fn done;
	void *arg;
};

struct warmer {
	struct catalog *catalog;
	TAILQ_HEAD(orders, order) orders;
	size_t on_the_way;
	uint64_t loaded, failed;
	struct event *go_on;            /* so that keys that are there already are no recursion */
	int64_t told_ms;
	bool closing;
};

size_t warm_keys(const struct conf_type *type)
{
	size_t n = 0;
	while (type->warm && type->warm[n])
		n++;
	return n;
}

static const struct conf_type *wanted(const struct order *o, size_t i)
{
	const struct conf_type *type = &o->conf->types[i];
	return !o->only || o->only == type ? type : NULL;
}

static size_t count_keys(const struct order *o)
{
	size_t n = 0;
	for (size_t i = 0; i < o->conf->n_types; i++)
		n += wanted(o, i) ? warm_keys(wanted(o, i)) : 0;
	return n;
}

/* The next name of the order, and its type; NULL: there are no more. */
static const char *next_name(struct order *o, const struct conf_type **type)
{
	for (; o->type < o->conf->n_types; o->type++, o->name = 0) {
		*type = wanted(o, o->type);
		if (*type && o->name < warm_keys(*type))
			return (*type)->warm[o->name++];
	}
	return NULL;
}

static void finish(struct order *o)
{
	struct warmer *w = o->owner;
	log_info("warmed", "keys=%zu failed=%zu took_ms=%lld", o->loaded, o->failed, (long long)(clock_ms() - o->began_ms));
	TAILQ_REMOVE(&w->orders, o, link);
	o->done(o->arg, o->loaded, o->failed);
	free(o);
}

static void tell_progress(struct warmer *w)
{
	struct warm_figures f = warm_figures(w);
	if (clock_ms() - w->told_ms < TELL_MS)
		return;
	log_info("warming", "done=%zu of=%zu", f.done, f.total);
	w->told_ms = clock_ms();
}

static void go_on_soon(struct warmer *w)
{
	event_add(w->go_on, &(struct timeval){0});
}

static void count(struct order *o, bool is_loaded)
{
	o->loaded += is_loaded;
	o->failed += !is_loaded;
	o->owner->loaded += is_loaded;
	o->owner->failed += !is_loaded;
}

static void on_loaded(void *arg, const struct outcome *out)
{
	struct order *o = arg;
	o->owner->on_the_way--;
	count(o, out->status != OUTCOME_ERROR);
	go_on_soon(o->owner);
}

static void load(struct order *o, const struct conf_type *type, const char *name)
{
	struct warmer *w = o->owner;
	struct key_room *room = NULL;
	struct buf bytes = BUF_INIT;
	struct key key;
	buf_add(&bytes, type->key, type->prefix_len);
	if (!type->exact)
		buf_add_str(&bytes, name);
	o->begun++;
	if (!bytes.failed && !catalog_key(w->catalog, bytes.data, bytes.len, &room, &key)) {
		w->on_the_way++;
		catalog_get(w->catalog, &key, READ_GET, on_loaded, o);
	} else {
		count(o, false);
	}
	key_room_free(room);
	buf_free(&bytes);
}

/* What is left of an order when nothing more is to begin has failed. */
static void give_up(struct order *o)
{
	for (; o->begun < o->total; o->begun++)
		count(o, false);
}

static void on_go_on(evutil_socket_t fd, short what, void *arg)
{
	struct warmer *w = arg;
	const struct conf_type *type;
	const char *name;
	(void)fd, (void)what;
	clock_update();
	for (struct order *o = TAILQ_FIRST(&w->orders), *next; o; o = next) {
		next = TAILQ_NEXT(o, link);
		if (w->closing)
			give_up(o);
		while (o->begun < o->total && w->on_the_way < WARM_PARALLEL && (name = next_name(o, &type)))
			load(o, type, name);
		if (o->loaded + o->failed == o->total)
			finish(o);
	}
	if (!TAILQ_EMPTY(&w->orders))
		tell_progress(w);
}

struct warmer *warm_new(struct event_base *base, struct catalog *catalog)
{
	struct warmer *w = xcalloc(1, sizeof(*w));
	w->catalog = catalog;
	TAILQ_INIT(&w->orders);
	w->go_on = evtimer_new(base, on_go_on, w);
	return w;
}

void warm_start(struct warmer *w, const struct conf *conf, const struct conf_type *type, warm_done_fn done, void *arg)
{
	struct order *o = xcalloc(1, sizeof(*o));
	*o = (struct order){.owner = w, .conf = conf, .only = type, .began_ms = clock_ms(), .done = done, .arg = arg};
	o->total = count_keys(o);
	TAILQ_INSERT_TAIL(&w->orders, o, link);
	if (w->told_ms < clock_ms() - TELL_MS)
		w->told_ms = clock_ms();
	go_on_soon(w);
}

void warm_close(struct warmer *w)
{
	w->closing = true;
	go_on_soon(w);
}

void warm_free(struct warmer *w)
{
	if (!w)
		return;
	for (struct order *o; (o = TAILQ_FIRST(&w->orders)); free(o))
		TAILQ_REMOVE(&w->orders, o, link);
	event_free(w->go_on);
	free(w);
}

struct warm_figures warm_figures(const struct warmer *w)
{
	struct warm_figures f = {.loaded = w->loaded, .failed = w->failed};
	const struct order *o;
	TAILQ_FOREACH(o, &w->orders, link) {
		f.total += o->total;
		f.done += o->loaded + o->failed;
	}
	return f;
}
