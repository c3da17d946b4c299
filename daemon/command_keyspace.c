/* Commands about the keys as a whole: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHDB. They show what
 * Redis holds, without the daemon's own keys; where Redis is off, what memory holds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/reply_scan.h"
#include "catalog.h"
#include "clock.h"
#include "command.h"
#include "glob.h"
#include "memory.h"

#define RANDOM_TRIES 100
#define SCAN_COUNT_MAX 10000            /* buckets looked at in one SCAN of memory, whatever COUNT says */

/* ---- Redis's answer without our keys ---- */

struct keyspace_call {
	struct slot *slot;
	struct server *server;
	void (*render)(struct keyspace_call *k, const char *data, size_t len);
	struct buf reply;
	struct redis_route route;
	bool is_too_long;
	unsigned tries;                 /* RANDOMKEY */
};

static bool is_own(const struct reply_element *e)
{
	return e->type == '$' && e->len >= strlen(CONF_OWN_PREFIX) && memcmp(e->data, CONF_OWN_PREFIX, strlen(CONF_OWN_PREFIX)) == 0;
}

static void render_as_it_is(struct keyspace_call *k, const char *data, size_t len)
{
	buf_add(&k->slot->out.bytes, data, len);
}

/* data: an array of keys. */
static void add_filtered(struct buf *to, const char *data, size_t len)
{
	struct reply_element head, e;
	size_t start = reply_element(data, len, &head), n = 0, size;
	if (!start || head.type == '-') {
		buf_add(to, data, len);
		return;
	}
	for (size_t at = start; at < len && (size = reply_element(data + at, len - at, &e)); at += size)
		n += !is_own(&e);
	char header[REPLY_HEADER_MAX];
	buf_add(to, header, reply_header(header, head.type, (int64_t)n));
	for (size_t at = start; at < len && (size = reply_element(data + at, len - at, &e)); at += size)
		if (!is_own(&e))
			buf_add(to, data + at, size);
}

static void render_keys(struct keyspace_call *k, const char *data, size_t len)
{
	add_filtered(&k->slot->out.bytes, data, len);
}

/* data: an array of the cursor and an array of keys. */
static void render_scan(struct keyspace_call *k, const char *data, size_t len)
{
	struct reply_element e;
	size_t at = reply_element(data, len, &e);
	if (at && e.type == '*')
		at += reply_element(data + at, len - at, &e);
	buf_add(&k->slot->out.bytes, data, at);
	if (at < len)
		add_filtered(&k->slot->out.bytes, data + at, len - at);
}

static void end(struct keyspace_call *k)
{
	slot_done(k->slot);
	buf_free(&k->reply);
	free(k);
}

static void ask_again(struct keyspace_call *k);

static void on_bytes(void *arg, const char *data, size_t len, bool is_end, const char *reason)
{
	struct keyspace_call *k = arg;
	char text[256];
	struct reply_element e;
	if (data && !k->is_too_long) {
		k->is_too_long = k->reply.len + len > k->server->conf->max_output;
		if (k->is_too_long)
			buf_free(&k->reply);
		else
			buf_add(&k->reply, data, len);
	}
	if (data && !is_end)
		return;
	if (!data) {
		snprintf(text, sizeof(text), "UNAVAILABLE redis: %s", reason);
		reply_add_error(&k->slot->out.bytes, text);
	} else if (k->is_too_long) {
		reply_add_error(&k->slot->out.bytes, "ERR the reply is longer than listen.max_output");
	} else if (k->reply.failed) {
		reply_add_error(&k->slot->out.bytes, "ERR out of memory for the reply");
	} else if (k->tries > 0 && reply_element(k->reply.data, k->reply.len, &e) && is_own(&e)) {
		ask_again(k);
		return;
	} else {
		k->render(k, k->reply.data, k->reply.len);
	}
	end(k);
}

static void ask(struct call *call, void (*render)(struct keyspace_call *, const char *, size_t), unsigned tries)
{
	struct keyspace_call *k = xcalloc(1, sizeof(*k));
	*k = (struct keyspace_call){.slot = call_defer(call), .server = call->server, .render = render, .route = call_route(call), .tries = tries};
	call->is_passed = true;
	catalog_pass(call->server->catalog, k->route, call->argv, call->argc, true, on_bytes, k);
}

static void ask_again(struct keyspace_call *k)
{
	static const struct request_arg randomkey = {.data = "RANDOMKEY", .len = 9};
	buf_free(&k->reply);
	if (--k->tries == 0) {
		reply_add_null(&k->slot->out.bytes, k->route.resp);
		end(k);
		return;
	}
	catalog_pass(k->server->catalog, k->route, &randomkey, 1, true, on_bytes, k);
}

/* ---- memory's answer ---- */

static bool is_redis_off(const struct call *call)
{
	return call->server->conf->redis.off;
}

struct listing {
	const struct request_arg *pattern;      /* NULL: all */
	bool is_empty;                  /* nothing matches (TYPE list) */
	struct buf keys;
	size_t n, max;                  /* max: keys to be listed at the most */
};

static void list_entry(void *arg, const struct memory_entry *e)
{
	struct listing *l = arg;
	if (l->is_empty || l->n >= l->max || !memory_value(e) || clock_ms() >= e->expires_ms)
		return;
	if (l->pattern && !glob_matches(l->pattern->data, l->pattern->len, memory_key(e), e->key_len, false))
		return;
	reply_add_bulk(&l->keys, memory_key(e), e->key_len);
	l->n++;
}

static void reply_listing(struct call *call, struct listing *l)
{
	reply_add_array(&call->out->bytes, l->n);
	buf_add(&call->out->bytes, l->keys.data, l->keys.len);
	call->out->bytes.failed |= l->keys.failed;
	buf_free(&l->keys);
}

/* Digits only, as Redis reads a cursor. */
static bool read_cursor(const struct request_arg *a, uint64_t *cursor)
{
	*cursor = 0;
	for (size_t i = 0; i < a->len; i++) {
		unsigned digit = (unsigned char)a->data[i] - (unsigned)'0';
		if (digit > 9 || *cursor > (UINT64_MAX - digit) / 10)
			return false;
		*cursor = *cursor * 10 + digit;
	}
	return a->len > 0;
}

/* The options of SCAN. False: the error reply is written. */
static bool read_scan(struct call *call, struct listing *l, int64_t *count)
{
	for (size_t i = 2; i < call->argc; i += 2) {
		bool has_value = i + 1 < call->argc;
		if (has_value && call_arg_is(call, i, "COUNT")) {
			if (!call_integer_arg(call, i + 1, count))
				return false;
			if (*count > 0)
				continue;
		} else if (has_value && call_arg_is(call, i, "MATCH")) {
			l->pattern = &call->argv[i + 1];
			continue;
		} else if (has_value && call_arg_is(call, i, "TYPE")) {
			l->is_empty = !call_arg_is(call, i + 1, "string");
			continue;
		}
		call_error(call, "ERR syntax error");
		return false;
	}
	return true;
}

static void scan_memory(struct call *call)
{
	struct memory *m = catalog_memory(call->server->catalog);
	struct listing l = {.max = SIZE_MAX};
	char text[24];
	uint64_t cursor;
	int64_t count = 10;
	if (!read_cursor(&call->argv[1], &cursor)) {
		call_error(call, "ERR invalid cursor");
	} else if (read_scan(call, &l, &count)) {
		cursor = memory_scan(m, cursor, count < SCAN_COUNT_MAX ? (size_t)count : SCAN_COUNT_MAX, list_entry, &l);
		snprintf(text, sizeof(text), "%" PRIu64, cursor);
		reply_add_array(&call->out->bytes, 2);
		reply_add_bulk_str(&call->out->bytes, text);
		reply_listing(call, &l);
	}
}

/* All of memory in one go is looked at for KEYS, as Redis does it; SCAN is the better way. */
static void keys_of_memory(struct call *call, const struct request_arg *pattern, size_t max)
{
	struct listing l = {.pattern = pattern, .max = max};
	bool wants_any = max == 1;
	for (uint64_t cursor = wants_any ? (uint64_t)random() : 0, first = cursor; l.n < max; ) {
		cursor = memory_scan(catalog_memory(call->server->catalog), cursor, 1000, list_entry, &l);
		if (cursor == 0 && first == 0)
			break;
		if (cursor == 0)
			first = 0; /* once more, from the beginning */
	}
	if (max > 1)
		reply_listing(call, &l);
	else if (l.n)
		buf_add(&call->out->bytes, l.keys.data, l.keys.len);
	else
		reply_add_null(&call->out->bytes, call->resp);
	buf_free(&l.keys);
}

/* ---- commands ---- */

void command_scan(struct call *call)
{
	if (is_redis_off(call))
		scan_memory(call);
	else
		ask(call, render_scan, 0);
}

void command_keys(struct call *call)
{
	if (is_redis_off(call))
		keys_of_memory(call, &call->argv[1], SIZE_MAX);
	else
		ask(call, render_keys, 0);
}

void command_randomkey(struct call *call)
{
	if (is_redis_off(call))
		keys_of_memory(call, NULL, 1);
	else
		ask(call, render_as_it_is, call->is_queued ? 1 : RANDOM_TRIES);
}

void command_dbsize(struct call *call)
{
	if (is_redis_off(call))
		call_integer(call, (int64_t)memory_entries(catalog_memory(call->server->catalog)));
	else
		ask(call, render_as_it_is, 0);
}

/* Memory is cleared when Redis is told and again when it has answered: a reader may
 * have found something there meanwhile. */
static void render_flushed(struct keyspace_call *k, const char *data, size_t len)
{
	catalog_flush_memory(k->server->catalog);
	render_as_it_is(k, data, len);
}

void command_flush(struct call *call)
{
	bool is_good = call->argc == 1 || (call->argc == 2 && (call_arg_is(call, 1, "ASYNC") || call_arg_is(call, 1, "SYNC")));
	if (!is_good) {
		call_error(call, "ERR syntax error");
		return;
	}
	catalog_flush_memory(call->server->catalog);
	if (is_redis_off(call))
		call_ok(call);
	else
		ask(call, render_flushed, 0);
}
