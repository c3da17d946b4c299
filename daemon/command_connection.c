/* Commands about the connection itself. All answer at once. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "version.h"

void command_ping(struct call *call)
{
	if (call->argc > 2)
		call_error(call, "ERR wrong number of arguments for 'ping' command");
	else if (call->argc == 2)
		command_echo(call);
	else
		reply_add_simple(&call->out->bytes, "PONG");
}

void command_echo(struct call *call)
{
	const struct request_arg *a = &call->argv[1];
	reply_add_bulk(&call->out->bytes, a->data, a->len);
}

void command_quit(struct call *call)
{
	call_ok(call);
	client_close_after_reply(call->client);
}

void command_select(struct call *call)
{
	int64_t db;
	if (!call_integer_arg(call, 1, &db))
		return;
	if (db == 0)
		call_ok(call);
	else
		call_error(call, "ERR DB index is out of range");
}

void command_client_id(struct call *call)
{
	call_integer(call, (int64_t)client_id(call->client));
}

void command_client_getname(struct call *call)
{
	const char *name = client_name(call->client);
	if (*name)
		reply_add_bulk_str(&call->out->bytes, name);
	else
		reply_add_null(&call->out->bytes, call->resp);
}

static bool is_good_name(const struct request_arg *a)
{
	for (size_t i = 0; i < a->len; i++)
		if (a->data[i] < '!' || a->data[i] > '~')
			return false;
	return a->len <= CLIENT_NAME_MAX;
}

/* True if the name was taken over; else the error reply is written. */
static bool set_name(struct call *call, const struct request_arg *a)
{
	if (!is_good_name(a)) {
		call_error(call, "ERR Client names cannot contain spaces, newlines or special characters.");
		return false;
	}
	client_set_name(call->client, a->data, a->len);
	return true;
}

void command_client_setname(struct call *call)
{
	if (set_name(call, &call->argv[2]))
		call_ok(call);
}

void command_client_ok(struct call *call)
{
	call_ok(call);
}

void command_client_info(struct call *call)
{
	struct buf line = BUF_INIT;
	buf_addf(&line, "id=%llu addr=%s:0 name=%s db=0 resp=%d\n", (unsigned long long)client_id(call->client),
		"unix", client_name(call->client), call->resp);
	reply_add_verbatim(&call->out->bytes, call->resp, line.data, line.len);
	buf_free(&line);
}

static void add_pair(struct buf *b, const char *name, const char *value)
{
	reply_add_bulk_str(b, name);
	reply_add_bulk_str(b, value);
}

static void add_hello(struct call *call)
{
	struct buf *b = &call->out->bytes;
	int resp = client_resp(call->client);
	reply_add_map(b, resp, 7);
	add_pair(b, "server", "redis");
	add_pair(b, "version", VERSION_REDIS);
	reply_add_bulk_str(b, "proto");
	reply_add_integer(b, resp);
	reply_add_bulk_str(b, "id");
	reply_add_integer(b, (int64_t)client_id(call->client));
	add_pair(b, "mode", "standalone");
	add_pair(b, "role", "master");
	reply_add_bulk_str(b, "modules");
	reply_add_array(b, 0);
}

/* There are no passwords: the socket's mode and group decide who connects. So the
 * default user is anybody, and there is no other. */
static bool hello_auth(struct call *call, size_t user)
{
	if (call_arg_is(call, user, "default"))
		return true;
	call_error(call, "WRONGPASS invalid username-password pair or user is disabled.");
	return false;
}

/* The options of HELLO from word i on. True if all are good and done. */
static bool hello_options(struct call *call, size_t i)
{
	while (i < call->argc) {
		size_t left = call->argc - i;
		if (call_arg_is(call, i, "AUTH") && left >= 3) {
			if (!hello_auth(call, i + 1))
				return false;
			i += 3;
		} else if (call_arg_is(call, i, "SETNAME") && left >= 2) {
			if (!set_name(call, &call->argv[i + 1]))
				return false;
			i += 2;
		} else {
			char text[128];
			snprintf(text, sizeof(text), "ERR Syntax error in HELLO option '%.*s'",
				(int)(call->argv[i].len < 64 ? call->argv[i].len : 64), call->argv[i].data);
			call_error(call, text);
			return false;
		}
	}
	return true;
}

void command_hello(struct call *call)
{
	const struct request_arg *version = call->argc > 1 ? &call->argv[1] : NULL;
	bool is_digit = version && version->len == 1 && version->data[0] >= '0' && version->data[0] <= '9';
	if (version && !is_digit) {
		call_error(call, "ERR Protocol version is not an integer or out of range");
		return;
	}
	if (version && version->data[0] != '2' && version->data[0] != '3') {
		call_error(call, "NOPROTO unsupported protocol version");
		return;
	}
	if (!hello_options(call, 2))
		return;
	if (version)
		client_set_resp(call->client, version->data[0] - '0');
	add_hello(call);
}
