/* Replies with large strings as values; see redis_reply.h. */
#include "redis_reply.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "value.h"

#define LARGE_REPLY 16384       /* a string from this size on becomes a value */
#define IN_A_VALUE 1

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

void redis_reply_use_values(redisReader *reader)
{
	if (!hiredis_functions.createString) {
		hiredis_functions = *reader->fn;
		reply_functions = hiredis_functions;
		reply_functions.createString = create_string;
		reply_functions.freeObject = free_object;
	}
	reader->fn = &reply_functions;
}

void redis_reply_read(const char *data, size_t len, redis_reply_fn done, void *arg)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;
	if (reader) {
		redis_reply_use_values(reader);
		if (redisReaderFeed(reader, data, len) != REDIS_OK || redisReaderGetReply(reader, &reply) != REDIS_OK)
			reply = NULL;
	}
	done(arg, reply, reply ? "" : "a reply that is not understood");
	if (reply)
		free_object(reply);
	if (reader)
		redisReaderFree(reader);
}

struct value *redis_reply_value(const struct redisReply *reply)
{
	return is_value(reply) ? value_ref(value_behind(reply)) : value_copy(reply->str, (size_t)reply->len);
}
