/* Commands that are Redis's: passed to it as they are, or refused with a word on what to
 * do instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "command.h"

/* ---- passing ---- */

struct passing {
	struct slot *slot;
	size_t max;                     /* bytes of a reply that are kept */
	bool is_too_long;
};

static void give_up(struct passing *p, const char *prefix, const char *reason)
{
	char text[256];
	snprintf(text, sizeof(text), "%s%s", prefix, reason);
	buf_free(&p->slot->out.bytes);
	reply_add_error(&p->slot->out.bytes, text);
}

static void on_bytes(void *arg, const char *data, size_t len, bool is_end, const char *reason)
{
	struct passing *p = arg;
	struct buf *b = &p->slot->out.bytes;
	if (data && !p->is_too_long) {
		p->is_too_long = b->len + len > p->max || (buf_add(b, data, len), b->failed);
		if (p->is_too_long)
			buf_free(b);
	}
	if (data && !is_end)
		return;
	if (!data)
		give_up(p, "UNAVAILABLE redis: ", reason);
	else if (p->is_too_long)
		give_up(p, "ERR the reply is longer than listen.max_output", "");
	slot_done(p->slot);
	free(p);
}

typedef bool (*key_test)(const struct call *call, const struct request_arg *key);

/* The first key of the request for which test says so, or NULL. */
static const struct request_arg *find_key(const struct call *call, key_test test)
{
	struct key_spans keys = command_key_spans(call);
	for (size_t n = 0; n < keys.n; n++)
		for (size_t i = keys.spans[n].first; i < keys.spans[n].end; i += keys.spans[n].step)
			if (test(call, &call->argv[i]))
				return &call->argv[i];
	return NULL;
}

static bool is_own_key(const struct call *call, const struct request_arg *key)
{
	(void)call;
	return key->len >= strlen(CONF_OWN_PREFIX) && memcmp(key->data, CONF_OWN_PREFIX, strlen(CONF_OWN_PREFIX)) == 0;
}

/* A key of a type that is kept in memory alone is not in Redis: what is done to it there would have no effect. */
static bool is_memory_key(const struct call *call, const struct request_arg *key)
{
	const struct conf_type *type = conf_match(call->server->conf, key->data, key->len);
	return type && !type->in_redis;
}

/* Why it cannot be passed: an error reply in text; or NULL. */
static const char *obstacle(const struct call *call, char *text, size_t size)
{
	const struct conf *conf = call->server->conf;
	const struct request_arg *in_memory = find_key(call, is_memory_key);
	if (conf->redis.off)
		snprintf(text, size, "UNAVAILABLE redis: '%.*s' needs Redis, which is off", call_shown(&call->argv[0]), call->argv[0].data);
	else if (!conf->redis.pass_through)
		snprintf(text, size, "ERR '%.*s' is for Redis itself: redis.pass_through is off", call_shown(&call->argv[0]), call->argv[0].data);
	else if (find_key(call, is_own_key))
		snprintf(text, size, "ERR invalid key: keys that begin with " CONF_OWN_PREFIX " are the daemon's own");
	else if (in_memory)
		snprintf(text, size, "ERR '%.*s' works in Redis, and keys of type %s are kept in memory only",
			call_shown(&call->argv[0]), call->argv[0].data, conf_match(conf, in_memory->data, in_memory->len)->name);
	else
		return NULL;
	return text;
}

static bool has_hashed_name(const struct call *call, const struct request_arg *key)
{
	const struct conf_type *type = conf_match(call->server->conf, key->data, key->len);
	return type && type->hash_names;
}

/* The words of the request with the names of its keys hashed where their types say so: to be freed;
 * NULL if there are none. */
static struct request_arg *hash_names(const struct call *call, struct key_room **room)
{
	if (!find_key(call, has_hashed_name))
		return NULL;
	struct key_spans keys = command_key_spans(call);
	struct request_arg *argv = xmalloc(call->argc * sizeof(*argv));
	memcpy(argv, call->argv, call->argc * sizeof(*argv));
	for (size_t n = 0; n < keys.n; n++)
		for (size_t i = keys.spans[n].first; i < keys.spans[n].end; i += keys.spans[n].step) {
			struct key key;
			if (!catalog_key(call->server->catalog, argv[i].data, argv[i].len, room, &key))
				argv[i] = (struct request_arg){.data = key.data, .len = key.len};
		}
	return argv;
}

void command_pass(struct call *call)
{
	char text[CALL_SHOWN_MAX + 160];
	const char *error = obstacle(call, text, sizeof(text));
	if (error) {
		call_error(call, error);
		return;
	}
	call->is_passed = true;
	struct passing *p = xmalloc(sizeof(*p));
	*p = (struct passing){.slot = call_defer(call), .max = call->server->conf->max_output};
	bool reads = call->command && call->command->flags & COMMAND_READ;
	struct key_room *room = NULL;
	struct request_arg *argv = hash_names(call, &room);
	catalog_pass(call->server->catalog, call_route(call), argv ? argv : call->argv, call->argc, reads, on_bytes, p);
	free(argv);
	key_room_free(room);
}

/* XREAD and XREADGROUP block if they are told to. */
void command_pass_streams(struct call *call)
{
	for (size_t i = 1; i < call->argc && !call_arg_is(call, i, "STREAMS"); i++)
		if (call_arg_is(call, i, "BLOCK")) {
			command_refuse_blocking(call);
			return;
		}
	command_pass(call);
}

/* ---- refusing ---- */

static void refuse(struct call *call, const char *code, const char *why)
{
	char text[CALL_SHOWN_MAX + 256];
	bool is_sub = call->argc > 1 && call->command != command_find(call->argv[0].data, call->argv[0].len);
	snprintf(text, sizeof(text), "%s '%.*s%s%.*s' %s", code, call_shown(&call->argv[0]), call->argv[0].data,
		is_sub ? " " : "", is_sub ? call_shown(&call->argv[1]) : 0, call->argv[is_sub].data, why);
	call_error(call, text);
}

void command_refuse_blocking(struct call *call)
{
	refuse(call, "ERR", "would wait, and with it all who share the connection to Redis:"
		" use the form that does not wait, or a connection to Redis itself");
}

void command_refuse_subscribing(struct call *call)
{
	refuse(call, "ERR", "is not for this connection: messages come on a connection to Redis itself");
}

void command_refuse_tracking(struct call *call)
{
	refuse(call, "ERR", "is not offered: the daemon is the cache that is kept up to date");
}

void command_refuse_watching(struct call *call)
{
	if (client_queue(call->client))
		call_error(call, "ERR WATCH inside MULTI is not allowed");
	else
		refuse(call, "ERR", "needs a connection to Redis of its own: use a script (EVAL), or a connection to Redis itself");
}

void command_refuse_cluster(struct call *call)
{
	call_error(call, "ERR This instance has cluster support disabled");
}

void command_refuse_setting(struct call *call)
{
	refuse(call, "ERR", "is not offered: settings are in the configuration file of catcached; those of Redis are changed there");
}

void command_refuse_harmful(struct call *call)
{
	refuse(call, "NOPERM", "concerns a server that others share: run it on Redis itself");
}
