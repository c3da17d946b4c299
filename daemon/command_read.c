/* Commands that read keys. A hit in memory is answered on the spot; everything else
 * is an asking: the outcome of the catalog, and how to write it as a reply. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "clock.h"
#include "command.h"
#include "value.h"

/* One key asked about, until its reply is written. */
struct asking {
	struct slot *slot;
	struct catalog *catalog;
	const struct conf_type *type;
	void (*render)(struct asking *a, const struct outcome *o, struct out *out, int resp);
	bool takes_any_type;            /* render is called for a key that holds no string, too */
	struct value *value;            /* while it is inspected */
	struct outcome outcome;         /* likewise */
	char digest[17];                /* GETIF: the caller's */
};

static struct asking *asking_new(struct call *call, const struct key *key,
	void (*render)(struct asking *a, const struct outcome *o, struct out *out, int resp))
{
	struct asking *a = xcalloc(1, sizeof(*a));
	*a = (struct asking){.slot = call_defer(call), .catalog = call->server->catalog,
		.type = catalog_type(call->server->catalog, key), .render = render};
	return a;
}

static bool is_wrong_type(const struct outcome *o)
{
	return strncmp(o->error, "WRONGTYPE", 9) == 0;
}

static void answer(struct asking *a, const struct outcome *o)
{
	if (o->status == OUTCOME_ERROR && !(a->takes_any_type && is_wrong_type(o)))
		reply_add_error(&a->slot->out.bytes, o->error);
	else
		a->render(a, o, &a->slot->out, a->slot->resp);
	slot_done(a->slot);
	value_unref(a->value);
	free(a);
}

static void on_outcome(void *arg, const struct outcome *o)
{
	answer(arg, o);
}

static void on_inspected(void *arg)
{
	struct asking *a = arg;
	answer(a, &a->outcome);
}

/* For replies that need the value's digest or its number of items. */
static void on_outcome_to_inspect(void *arg, const struct outcome *o)
{
	struct asking *a = arg;
	if (o->status != OUTCOME_FOUND) {
		answer(a, o);
		return;
	}
	a->outcome = *o;
	a->value = value_ref(o->value);
	catalog_inspect(a->catalog, a->value, on_inspected, a);
}

/* ---- GET, PEEK ---- */

static bool is_fetched_by_program(struct catalog *c, const struct key *key)
{
	return catalog_type(c, key)->fetch.kind == CONF_FETCH_EXEC;
}

/* Who asks may be a hook. */
static void read_key(const struct call *call, const struct key *key, enum read_mode mode, outcome_fn done, void *arg)
{
	struct catalog *c = call->server->catalog;
	catalog_read(c, key, &(struct read_order){.mode = mode == READ_GET && call->is_queued ? READ_ORDERED : mode,
		.group = is_fetched_by_program(c, key) ? client_group(call->client) : -1, .done = done, .arg = arg});
}

static void render_value(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	(void)a;
	if (o->status == OUTCOME_FOUND)
		out_add_value(out, o->value);
	else
		reply_add_null(&out->bytes, resp);
}

/* True if memory answered. */
static bool get_from_memory(struct call *call, const struct key *key, enum read_mode mode)
{
	bool is_absent;
	struct value *v = catalog_hit(call->server->catalog, key, mode, &is_absent);
	if (v)
		out_add_value(call->out, v);
	else if (is_absent)
		reply_add_null(&call->out->bytes, call->resp);
	return v || is_absent;
}

static void get(struct call *call, enum read_mode mode)
{
	struct key_room *room = NULL;
	struct key key;
	if (call_key(call, 1, &room, &key) && !get_from_memory(call, &key, mode))
		read_key(call, &key, mode, on_outcome, asking_new(call, &key, render_value));
	key_room_free(room);
}

/* The key as it was written. Memory is asked for it before it is asked whose it is: a hit is the shortest way there is. */
static struct key first_key(const struct call *call)
{
	return call->first ? *call->first : key_of(call->argv[1].data, call->argv[1].len);
}

void command_get(struct call *call)
{
	struct key key = first_key(call);
	if (!call->is_queued && get_from_memory(call, &key, READ_GET))
		return;
	if (call_is_passed(call))
		command_pass(call);
	else
		get(call, READ_GET);
}

void command_peek(struct call *call)
{
	get(call, READ_PEEK);
}

/* ---- DIGEST, GETIF, META ---- */

static void format_digest(char hex[17], const struct value *v)
{
	uint64_t rest = value_digest(v);
	for (int i = 15; i >= 0; i--, rest >>= 4)
		hex[i] = "0123456789abcdef"[rest & 15];
	hex[16] = '\0';
}

static void render_digest(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	char hex[17];
	(void)a;
	if (o->status != OUTCOME_FOUND) {
		reply_add_null(&out->bytes, resp);
		return;
	}
	format_digest(hex, o->value);
	reply_add_bulk(&out->bytes, hex, 16);
}

void command_digest(struct call *call)
{
	struct key_room *room = NULL;
	struct key key;
	if (call_key(call, 1, &room, &key))
		catalog_get(call->server->catalog, &key, READ_PEEK, on_outcome_to_inspect, asking_new(call, &key, render_digest));
	key_room_free(room);
}

static void add_if(struct out *out, int resp, struct value *v, const char *digest)
{
	char hex[17];
	format_digest(hex, v);
	reply_add_array(&out->bytes, 2);
	reply_add_bulk(&out->bytes, hex, 16);
	if (strcmp(hex, digest) == 0)
		reply_add_null(&out->bytes, resp);
	else
		out_add_value(out, v);
}

static void render_if(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	if (o->status == OUTCOME_FOUND)
		add_if(out, resp, o->value, a->digest);
	else
		reply_add_null(&out->bytes, resp);
}

/* A digest that is not one cannot be the value's: then the value is sent. */
static void copy_digest(char digest[17], const struct request_arg *a)
{
	digest[0] = '\0';
	if (a->len != 16)
		return;
	for (size_t i = 0; i < 16; i++)
		digest[i] = (char)(a->data[i] >= 'A' && a->data[i] <= 'F' ? a->data[i] | 0x20 : a->data[i]);
	digest[16] = '\0';
}

static struct asking *asking_if(struct call *call, const struct key *key, const char digest[17])
{
	struct asking *a = asking_new(call, key, render_if);
	memcpy(a->digest, digest, sizeof(a->digest));
	return a;
}

static void get_if(struct call *call, const char digest[17])
{
	struct key_room *room = NULL;
	struct key key;
	if (call_key(call, 1, &room, &key))
		read_key(call, &key, READ_GET, on_outcome_to_inspect, asking_if(call, &key, digest));
	key_room_free(room);
}

void command_getif(struct call *call)
{
	char digest[17];
	bool is_absent;
	struct key key = first_key(call);
	struct value *v = catalog_hit(call->server->catalog, &key, READ_GET, &is_absent);
	copy_digest(digest, &call->argv[2]);
	if (v && v->inspected)
		add_if(call->out, call->resp, v, digest);
	else if (v)
		on_outcome_to_inspect(asking_if(call, &key, digest), &(struct outcome){.status = OUTCOME_FOUND, .value = v});
	else if (is_absent)
		reply_add_null(&call->out->bytes, call->resp);
	else
		get_if(call, digest);
}

static void add_field_str(struct buf *b, const char *name, const char *value, int resp)
{
	reply_add_bulk_str(b, name);
	if (value)
		reply_add_bulk_str(b, value);
	else
		reply_add_null(b, resp);
}

static void add_field_int(struct buf *b, const char *name, bool known, int64_t value, int resp)
{
	reply_add_bulk_str(b, name);
	if (known)
		reply_add_integer(b, value);
	else
		reply_add_null(b, resp);
}

static const char *const source_names[] = {
	[SOURCE_CLIENT] = "client", [SOURCE_FETCH] = "fetch", [SOURCE_REDIS] = "redis",
};

static void render_meta(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	struct buf *b = &out->bytes;
	bool found = o->status == OUTCOME_FOUND, has_age = found && o->age_ms >= 0;
	int64_t items = found ? value_items(o->value) : VALUE_ITEMS_NONE;
	char hex[17] = "";
	if (found)
		format_digest(hex, o->value);
	reply_add_map(b, resp, 10);
	add_field_str(b, "type", a->type->name, resp);
	add_field_str(b, "tier", found ? o->tier : NULL, resp);
	add_field_str(b, "state", !found ? "absent" : o->is_stale ? "stale" : "fresh", resp);
	add_field_int(b, "age_ms", has_age, o->age_ms, resp);
	add_field_int(b, "ttl_ms", found, o->ttl_ms, resp);
	add_field_int(b, "size", found, found ? (int64_t)o->value->len : 0, resp);
	add_field_int(b, "items", items >= 0, items, resp);
	add_field_str(b, "digest", found ? hex : NULL, resp);
	add_field_str(b, "source", found ? source_names[o->source] : NULL, resp);
	add_field_int(b, "stored_at", has_age, clock_wall_ms() - o->age_ms, resp);
}

void command_meta(struct call *call)
{
	struct key_room *room = NULL;
	struct key key;
	if (call_key(call, 1, &room, &key))
		catalog_get(call->server->catalog, &key, READ_PEEK, on_outcome_to_inspect, asking_new(call, &key, render_meta));
	key_room_free(room);
}

static void render_text(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	(void)a;
	reply_add_verbatim(&out->bytes, resp, o->value->data, o->value->len);
}

void command_explain(struct call *call)
{
	struct key_room *room = NULL;
	struct key key;
	if (call_key(call, 1, &room, &key))
		catalog_explain(call->server->catalog, &key, on_outcome, asking_new(call, &key, render_text));
	key_room_free(room);
}

/* ---- TTL and its kin, STRLEN, TYPE ---- */

/* A key of another type has a TTL, too. */
static bool has_ttl(const struct outcome *o)
{
	return o->status == OUTCOME_FOUND || (o->status == OUTCOME_ERROR && is_wrong_type(o));
}

static void render_ttl_ms(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	(void)a, (void)resp;
	reply_add_integer(&out->bytes, has_ttl(o) ? o->ttl_ms : -2);
}

/* Rounded to the nearest second, as Redis does. */
static void render_ttl_s(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	(void)a, (void)resp;
	int64_t ms = has_ttl(o) ? o->ttl_ms : -2;
	reply_add_integer(&out->bytes, ms < 0 ? ms : (ms + 500) / 1000);
}

static int64_t end_of_ttl(const struct outcome *o)
{
	return !has_ttl(o) ? -2 : o->ttl_ms < 0 ? -1 : clock_wall_ms() + o->ttl_ms;
}

static void render_end_ms(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	(void)a, (void)resp;
	reply_add_integer(&out->bytes, end_of_ttl(o));
}

static void render_end_s(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	(void)a, (void)resp;
	int64_t ms = end_of_ttl(o);
	reply_add_integer(&out->bytes, ms < 0 ? ms : (ms + 500) / 1000);
}

static void render_length(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	(void)a, (void)resp;
	reply_add_integer(&out->bytes, o->status == OUTCOME_FOUND ? o->number : 0);
}

static void probe(struct call *call, void (*render)(struct asking *, const struct outcome *, struct out *, int))
{
	struct key_room *room = NULL;
	struct key key;
	if (call_key(call, 1, &room, &key)) {
		struct asking *a = asking_new(call, &key, render);
		a->takes_any_type = render != render_length;
		catalog_probe(call->server->catalog, &key, on_outcome, a);
	}
	key_room_free(room);
}

void command_ttl(struct call *call)
{
	probe(call, render_ttl_s);
}

void command_pttl(struct call *call)
{
	probe(call, render_ttl_ms);
}

void command_expiretime(struct call *call)
{
	probe(call, render_end_s);
}

void command_pexpiretime(struct call *call)
{
	probe(call, render_end_ms);
}

static void render_type(struct asking *a, const struct outcome *o, struct out *out, int resp)
{
	(void)a, (void)resp;
	reply_add_simple(&out->bytes, o->status == OUTCOME_FOUND ? "string" : "none");
}

/* What is in Redis and not in memory may be of another type: Redis says of which. */
void command_type(struct call *call)
{
	const struct conf *conf = call->server->conf;
	const struct conf_type *type = conf_match(conf, call->argv[1].data, call->argv[1].len);
	struct key key = key_of(call->argv[1].data, call->argv[1].len);
	bool is_absent;
	if (type && type->in_redis && catalog_passes(call->server->catalog)
	    && !catalog_hit(call->server->catalog, &key, READ_PEEK, &is_absent))
		command_pass(call);
	else
		probe(call, render_type);
}

void command_strlen(struct call *call)
{
	probe(call, render_length);
}

/* ---- MGET, EXISTS: several keys asked about at once ---- */

#define GATHER_WINDOW 1000      /* keys of one request asked about at the same time */

struct gather;
typedef void (*ask_fn)(struct gather *g, const struct key *key, outcome_fn done, void *arg);

struct gathered {
	struct gather *gather;
	enum outcome_status status;
	struct value *value;
	char *error;
	bool is_wrong_type;
};

struct gather {
	struct slot *slot;              /* NULL while the call is still running */
	struct catalog *catalog;
	pid_t group;                    /* who asks, if a key may be fetched by a program; else -1 */
	bool is_queued;
	ask_fn ask;
	void (*render)(struct gather *g, struct out *out, int resp);
	struct key *keys;
	char *key_bytes;                /* of keys[asked..n), once the call is over */
	struct key_room *room;
	size_t n, asked, pending;
	bool asking;
	struct gathered items[];
};

static void gather_finish(struct gather *g, struct out *out, int resp)
{
	g->render(g, out, resp);
	for (size_t i = 0; i < g->n; i++) {
		value_unref(g->items[i].value);
		free(g->items[i].error);
	}
	key_room_free(g->room);
	free(g->key_bytes);
	free(g->keys);
	free(g);
}

static void on_gathered(void *arg, const struct outcome *o);

/* Asks about as many more keys as the window has room for. An answer may come at once. */
static void gather_ask(struct gather *g)
{
	g->asking = true;
	while (g->asked < g->n && (g->pending < GATHER_WINDOW || g->is_queued)) {
		size_t i = g->asked++;
		g->pending++;
		g->items[i].gather = g;
		g->ask(g, &g->keys[i], on_gathered, &g->items[i]);
	}
	g->asking = false;
}

static void on_gathered(void *arg, const struct outcome *o)
{
	struct gathered *item = arg;
	struct gather *g = item->gather;
	item->status = o->status;
	if (o->value)
		item->value = value_ref(o->value);
	if (o->status == OUTCOME_ERROR) {
		item->error = xstrdup(o->error);
		item->is_wrong_type = is_wrong_type(o);
	}
	g->pending--;
	if (g->asking)
		return;
	gather_ask(g);
	if (g->pending > 0)
		return;
	struct slot *slot = g->slot;
	gather_finish(g, &slot->out, slot->resp);
	slot_done(slot);
}

/* The request goes with the end of the call: keys not asked about yet need bytes of their own. */
static void gather_defer(struct gather *g, struct call *call)
{
	size_t len = 0;
	for (size_t i = g->asked; i < g->n; i++)
		len += g->keys[i].len;
	char *to = g->key_bytes = xmalloc(len);
	for (size_t i = g->asked; i < g->n; to += g->keys[i++].len)
		g->keys[i].data = memcpy(to, g->keys[i].data, g->keys[i].len);
	g->slot = call_defer(call);
}

static void gather(struct call *call, ask_fn ask, void (*render)(struct gather *g, struct out *out, int resp))
{
	size_t n;
	struct key_room *room = NULL;
	struct key *keys = call_keys(call, 1, &n, &room);
	if (!keys) {
		key_room_free(room);
		return;
	}
	struct gather *g = xcalloc(1, sizeof(*g) + n * sizeof(g->items[0]));
	*g = (struct gather){.catalog = call->server->catalog, .group = -1, .is_queued = call->is_queued, .ask = ask, .render = render, .keys = keys, .room = room, .n = n};
	for (size_t i = 0; i < n && g->group < 0; i++)
		if (is_fetched_by_program(g->catalog, &keys[i]))
			g->group = client_group(call->client);
	gather_ask(g);
	if (g->pending > 0)
		gather_defer(g, call);
	else
		gather_finish(g, call->out, call->resp);
}

static void ask_value(struct gather *g, const struct key *key, outcome_fn done, void *arg)
{
	catalog_read(g->catalog, key, &(struct read_order){.mode = g->is_queued ? READ_ORDERED : READ_GET, .group = g->group,
		.done = done, .arg = arg});
}

/* A key that cannot be had gets its error in its place, never a false nil; one of
 * another type is nil, as in Redis. */
static void render_values(struct gather *g, struct out *out, int resp)
{
	reply_add_array(&out->bytes, g->n);
	for (size_t i = 0; i < g->n; i++) {
		const struct gathered *item = &g->items[i];
		if (item->status == OUTCOME_FOUND)
			out_add_value(out, item->value);
		else if (item->status == OUTCOME_ERROR && !item->is_wrong_type)
			reply_add_error(&out->bytes, item->error);
		else
			reply_add_null(&out->bytes, resp);
	}
}

void command_mget(struct call *call)
{
	gather(call, ask_value, render_values);
}

static void render_count(struct gather *g, struct out *out, int resp)
{
	int64_t count = 0;
	(void)resp;
	for (size_t i = 0; i < g->n; i++) {
		const struct gathered *item = &g->items[i];
		if (item->status == OUTCOME_ERROR && !item->is_wrong_type) {
			reply_add_error(&out->bytes, item->error);
			return;
		}
		count += item->status != OUTCOME_ABSENT;
	}
	reply_add_integer(&out->bytes, count);
}

static void ask_whether(struct gather *g, const struct key *key, outcome_fn done, void *arg)
{
	catalog_probe(g->catalog, key, done, arg);
}

void command_exists(struct call *call)
{
	gather(call, ask_whether, render_count);
}
