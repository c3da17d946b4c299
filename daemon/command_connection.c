/* Commands about the connection itself. All answer at once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "clock.h"
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

/* There is one database. It may be called by its number in Redis, too, so that a client that
 * was told to use it there need not be told otherwise. */
void command_select(struct call *call)
{
	int64_t db;
	if (!call_integer_arg(call, 1, &db))
		return;
	if (db == 0 || db == (int64_t)call->server->conf->redis.db)
		call_ok(call);
	else
		call_error(call, "ERR DB index is out of range");
}

/* There are no passwords: the socket's mode and group decide who connects. So the
 * default user is anybody, and there is no other. */
static bool is_default_user(struct call *call, size_t user)
{
	if (call_arg_is(call, user, "default"))
		return true;
	call_error(call, "WRONGPASS invalid username-password pair or user is disabled.");
	return false;
}

void command_auth(struct call *call)
{
	if (call->argc > 3)
		call_error(call, "ERR syntax error");
	else if (call->argc == 2)
		call_error(call, "ERR AUTH <password> called without any password configured for the default user."
			" Are you sure your configuration is correct?");
	else if (is_default_user(call, 1))
		call_ok(call);
}

void command_acl_whoami(struct call *call)
{
	reply_add_bulk_str(&call->out->bytes, "default");
}

/* Replies are sent from this one on. */
static void speak(struct call *call)
{
	client_set_replies(call->client, CLIENT_REPLIES_ON);
	if (call->slot)
		call->slot->is_silent = false;
}

void command_reset(struct call *call)
{
	struct client *c = call->client;
	client_set_queue(c, NULL);
	client_set_resp(c, 2);
	client_set_name(c, "", 0);
	if (client_is_mute(c))
		speak(call);
	reply_add_simple(&call->out->bytes, "RESET");
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

static void bad_name(struct call *call, const char *what)
{
	char text[96];
	snprintf(text, sizeof(text), "ERR %s cannot contain spaces, newlines or special characters.", what);
	call_error(call, text);
}

/* True if the name was taken over; else the error reply is written. */
static bool set_name(struct call *call, const struct request_arg *a)
{
	if (!is_good_name(a)) {
		bad_name(call, "Client names");
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

/* NO-EVICT, NO-TOUCH: neither happens here to any client. */
void command_client_switch(struct call *call)
{
	if (call_arg_is(call, 2, "ON") || call_arg_is(call, 2, "OFF"))
		call_ok(call);
	else
		call_error(call, "ERR syntax error");
}

/* LIB-NAME, LIB-VER: as Redis 7.2 takes them. */
void command_client_setinfo(struct call *call)
{
	bool is_name = call_arg_is(call, 2, "LIB-NAME");
	if (!is_name && !call_arg_is(call, 2, "LIB-VER")) {
		char text[CALL_SHOWN_MAX + 32];
		snprintf(text, sizeof(text), "ERR Unrecognized option '%.*s'", call_shown(&call->argv[2]), call->argv[2].data);
		call_error(call, text);
	} else if (!is_good_name(&call->argv[3])) {
		bad_name(call, is_name ? "lib-name" : "lib-ver");
	} else {
		client_set_library(call->client, is_name, call->argv[3].data, call->argv[3].len);
		call_ok(call);
	}
}

void command_client_getredir(struct call *call)
{
	call_integer(call, -1);
}

void command_client_tracking(struct call *call)
{
	if (call_arg_is(call, 2, "OFF"))
		call_ok(call);
	else
		command_refuse_tracking(call);
}

void command_client_trackinginfo(struct call *call)
{
	struct buf *b = &call->out->bytes;
	reply_add_map(b, call->resp, 3);
	reply_add_bulk_str(b, "flags");
	reply_add_set(b, call->resp, 1);
	reply_add_bulk_str(b, "off");
	reply_add_bulk_str(b, "redirect");
	reply_add_integer(b, -1);
	reply_add_bulk_str(b, "prefixes");
	reply_add_array(b, 0);
}

void command_client_unblock(struct call *call)
{
	int64_t id;
	if (call->argc > 3 && !call_arg_is(call, 3, "TIMEOUT") && !call_arg_is(call, 3, "ERROR"))
		call_error(call, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
	else if (call->argc > 4)
		call_error(call, "ERR syntax error");
	else if (call_integer_arg(call, 2, &id))
		call_integer(call, 0);
}

/* OFF and SKIP have no reply themselves; SKIP changes nothing while they are off. */
void command_client_reply(struct call *call)
{
	if (call_arg_is(call, 2, "ON")) {
		speak(call);
		call_ok(call);
	} else if (call_arg_is(call, 2, "OFF")) {
		client_set_replies(call->client, CLIENT_REPLIES_OFF);
	} else if (!call_arg_is(call, 2, "SKIP")) {
		call_error(call, "ERR syntax error");
	} else if (!client_is_mute(call->client)) {
		client_set_replies(call->client, CLIENT_REPLIES_SKIP);
	}
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

/* The options of HELLO from word i on. True if all are good and done. */
static bool hello_options(struct call *call, size_t i)
{
	while (i < call->argc) {
		size_t left = call->argc - i;
		if (call_arg_is(call, i, "AUTH") && left >= 3) {
			if (!is_default_user(call, i + 1))
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
	int64_t version = 0;
	if (call->argc > 1 && !request_integer(&call->argv[1], &version)) {
		call_error(call, "ERR Protocol version is not an integer or out of range");
		return;
	}
	if (call->argc > 1 && version != 2 && version != 3) {
		call_error(call, "NOPROTO unsupported protocol version");
		return;
	}
	if (!hello_options(call, 2))
		return;
	if (version)
		client_set_resp(call->client, (int)version);
	add_hello(call);
}
