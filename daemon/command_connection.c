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

void command_client_ok(struct call *call)
{
	call_ok(call);
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

static void add_line(struct buf *b, const struct client *c, const char *command)
{
	struct client_facts f;
	char name[32];
	client_facts(c, &f);
	buf_addf(b, "id=%" PRIu64 " addr=unix:0 fd=%d name=%s age=%" PRId64 " idle=%" PRId64 " flags=%s db=0 sub=0 psub=0 multi=%d"
		" qbuf=%zu omem=%zu cmd=%s user=default uid=%ld resp=%d lib-name=%s lib-ver=%s\n",
		client_id(c), f.fd, client_name(c), f.age_ms / 1000, f.idle_ms / 1000, client_queue(c) ? "xU" : "U",
		client_queue(c) ? 0 : -1, f.input_bytes, f.output_bytes, command_lower(command, name, sizeof(name)),
		(long)client_uid(c), client_resp(c), f.library, f.library_version);
}

void command_client_info(struct call *call)
{
	struct buf lines = BUF_INIT;
	add_line(&lines, call->client, "client|info");
	reply_add_verbatim(&call->out->bytes, call->resp, lines.data, lines.len);
	buf_free(&lines);
}

/* CLIENT LIST [TYPE normal|...] [ID id ...]. */
static bool is_listed(const struct call *call, const struct client *c, bool *is_wrong)
{
	int64_t n;
	if (call->argc == 2)
		return true;
	if (call->argc == 4 && call_arg_is(call, 2, "TYPE"))
		return call_arg_is(call, 3, "NORMAL");
	*is_wrong = !call_arg_is(call, 2, "ID") || call->argc == 3;
	for (size_t i = 3; i < call->argc && !*is_wrong; i++) {
		char digits[24];
		n = snprintf(digits, sizeof(digits), "%" PRIu64, client_id(c));
		if (call->argv[i].len == (size_t)n && memcmp(call->argv[i].data, digits, (size_t)n) == 0)
			return true;
	}
	return false;
}

void command_client_list(struct call *call)
{
	struct buf lines = BUF_INIT;
	bool is_wrong = false;
	for (const struct client *c = call->server->clients; c && !is_wrong; c = client_next(c))
		if (is_listed(call, c, &is_wrong))
			add_line(&lines, c, c == call->client ? "client|list" : "NULL");
	if (is_wrong)
		call_error(call, "ERR syntax error");
	else
		reply_add_verbatim(&call->out->bytes, call->resp, lines.len ? lines.data : "", lines.len);
	buf_free(&lines);
}

void command_client_kill(struct call *call)
{
	int64_t id, killed = 0;
	if (call->argc != 4 || !call_arg_is(call, 2, "ID")) {
		call_error(call, "ERR CLIENT KILL takes ID and the number of a connection");
		return;
	}
	if (!call_integer_arg(call, 3, &id))
		return;
	for (struct client *c = call->server->clients; c; c = client_next(c))
		if ((int64_t)client_id(c) == id) {
			client_hang_up(c);
			killed++;
		}
	call_integer(call, killed);
}

void command_client_getredir(struct call *call)
{
	call_integer(call, -1);
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
