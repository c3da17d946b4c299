/* Replies with large strings as values; see redis_reply.h. */
#include "redis_reply.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/reply_scan.h"
#include "value.h"

#define LARGE_REPLY 16384       /* a string from this size on becomes a value */
#define IN_A_VALUE 1
#define SHORT_REPLY 1024        /* bytes up to which one is read without hiredis */

/* What may be short, and what hiredis calls it. */
static const char short_types[] = "$:+-";
static const int reply_types[] = {REDIS_REPLY_STRING, REDIS_REPLY_INTEGER, REDIS_REPLY_STATUS, REDIS_REPLY_ERROR};

/* hiredis keeps a pointer to the table, so it is made once. A large string at the
 * top level of a reply lives in a value; its redisReply points into it. */
static redisReplyObjectFunctions reply_functions;
static redisReplyObjectFunctions hiredis_functions;

static struct value *value_behind(const redisReply *r)
{
	return (struct value *)((char *)r->str - offsetof(struct value, data));
}

/* Marked in a field that strings do not use. */
static bool is_value(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING && r->integer == IN_A_VALUE;
}

static void *create_string(const redisReadTask *task, char *str, size_t len)
{
	if (task->parent || task->type != REDIS_REPLY_STRING || len < LARGE_REPLY)
		return hiredis_functions.createString(task, str, len);
	struct value *v = value_copy(str, len);
	redisReply *r = v ? calloc(1, sizeof(*r)) : NULL;
	if (!r) {
		value_unref(v);
		return NULL;
	}
	r->type = REDIS_REPLY_STRING;
	r->integer = IN_A_VALUE;
	r->str = v->data;
	r->len = len;
	return r;
}

static void free_object(void *object)
{
	redisReply *r = object;
	if (!r || !is_value(r)) {
		hiredis_functions.freeObject(r);
		return;
	}
	value_unref(value_behind(r));
	free(r);
}

static redisReader *new_reader(void)
{
	redisReader *reader = redisReaderCreate();
	if (!reader)
		return NULL;
	if (!hiredis_functions.createString) {
		hiredis_functions = *reader->fn;
		reply_functions = hiredis_functions;
		reply_functions.createString = create_string;
		reply_functions.freeObject = free_object;
	}
	reader->fn = &reply_functions;
	return reader;
}

/* What was fed is one reply. */
static void give(redisReader *reader, redis_reply_fn done, void *arg)
{
	void *reply = NULL;
	if (reader && redisReaderGetReply(reader, &reply) != REDIS_OK)
		reply = NULL;
	done(arg, reply, reply ? "" : "a reply that is not understood");
	if (reply)
		free_object(reply);
}

bool redis_reply_read_short(const char *data, size_t len, redis_reply_fn done, void *arg)
{
	struct reply_element e;
	char text[SHORT_REPLY];
	if (len > SHORT_REPLY || reply_element(data, len, &e) != len)
		return false;
	const char *type = strchr(short_types, e.type);
	if (!type)
		return false;
	bool is_nil = e.type == '$' && e.number < 0;
	memcpy(text, e.data, e.len); /* for a NUL behind it, as hiredis puts one there */
	text[e.len] = '\0';
	redisReply r = {.type = is_nil ? REDIS_REPLY_NIL : reply_types[type - short_types], .integer = e.type == ':' ? e.number : 0,
		.str = text, .len = e.len};
	done(arg, &r, "");
	return true;
}

void redis_reply_read(const char *data, size_t len, redis_reply_fn done, void *arg)
{
	if (redis_reply_read_short(data, len, done, arg))
		return;
	redisReader *reader = new_reader();
	if (reader)
		(void)redisReaderFeed(reader, data, len); /* failed: so does what follows */
	give(reader, done, arg);
	if (reader)
		redisReaderFree(reader);
}

/* ---- piece by piece ---- */

/* If a large string begins in data, whose header is then taken: its length; else 0. */
static size_t large_begins(const char **data, size_t *len)
{
	const char *end = *data[0] == '$' ? memchr(*data, '\n', *len < REPLY_HEADER_MAX ? *len : REPLY_HEADER_MAX) : NULL;
	long long n = end ? strtoll(*data + 1, NULL, 10) : 0;
	if (n < LARGE_REPLY)
		return 0;
	*len -= (size_t)(end + 1 - *data);
	*data = end + 1;
	return (size_t)n;
}

static void begin(struct redis_reading *r, const char **data, size_t *len)
{
	size_t n = large_begins(data, len);
	r->has_begun = true;
	r->large = n ? value_new(n) : NULL;
	if (!n && !r->reader)
		r->reader = new_reader();
	r->has_failed = n ? !r->large : !r->reader;
}

void redis_reading_add(struct redis_reading *r, const char *data, size_t len)
{
	if (!r->has_begun)
		begin(r, &data, &len);
	if (r->has_failed)
		return;
	if (!r->large) {
		r->has_failed = redisReaderFeed(r->reader, data, len) != REDIS_OK;
		return;
	}
	size_t room = r->large->len - r->filled, n = len < room ? len : room; /* CR LF comes behind */
	memcpy(r->large->data + r->filled, data, n);
	r->filled += n;
}

void redis_reading_end(struct redis_reading *r, redis_reply_fn done, void *arg)
{
	struct redis_reading was = *r;
	*r = (struct redis_reading){0};
	if (was.has_failed) {
		done(arg, NULL, "out of memory for the reply");
	} else if (was.large) {
		redisReply reply = {.type = REDIS_REPLY_STRING, .integer = IN_A_VALUE, .str = was.large->data, .len = was.large->len};
		done(arg, &reply, "");
	} else {
		give(was.reader, done, arg);
	}
	value_unref(was.large);
	if (was.reader && (was.reader->err || was.has_failed))
		redisReaderFree(was.reader);
	else
		r->reader = was.reader;
}

void redis_reading_fini(struct redis_reading *r)
{
	value_unref(r->large);
	if (r->reader)
		redisReaderFree(r->reader);
	*r = (struct redis_reading){0};
}

struct value *redis_reply_value(const struct redisReply *reply)
{
	return is_value(reply) ? value_ref(value_behind(reply)) : value_copy(reply->str, (size_t)reply->len);
}
