/* CLIENT INFO, LIST and KILL: about all connections, with Redis's filters and errors. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../conf/conf.h"
#include "command.h"

static void unknown_type(struct call *call, const struct request_arg *type)
{
	char text[CALL_SHOWN_MAX + 32];
	snprintf(text, sizeof(text), "ERR Unknown client type '%.*s'", call_shown(type), type->data);
	call_error(call, text);
}

/* True and whether clients of ours are of that type; else the error reply is written. */
static bool read_type(struct call *call, size_t i, bool *is_ours)
{
	static const char *const types[] = {"normal", "slave", "replica", "pubsub", "master"};
	for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++)
		if (call_arg_is(call, i, types[t])) {
			*is_ours = t == 0;
			return true;
		}
	unknown_type(call, &call->argv[i]);
	return false;
}

/* ---- INFO, LIST ---- */

/* All fields of Redis 7.0 in their order, since there are libraries that insist on them; then those of 7.2, and
 * ours. Both ends are the socket, as in Redis. */
static void add_line(struct buf *b, const struct call *call, const struct client *c, const char *command)
{
	struct client_facts f;
	const char *path = call->server->conf->listen_path;
	client_facts(c, &f);
	buf_addf(b, "id=%" PRIu64 " addr=%s:0 laddr=%s:0 fd=%d name=%s age=%" PRId64 " idle=%" PRId64 " flags=%s db=0 sub=0 psub=0 ssub=0 multi=%d",
		client_id(c), path, path, f.fd, client_name(c), f.age_ms / 1000, f.idle_ms / 1000, client_queue(c) ? "xU" : "U",
		client_queue(c) ? 0 : -1);
	buf_addf(b, " qbuf=%zu qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=%zu tot-mem=%zu events=r cmd=%s user=default redir=-1"
		" resp=%d lib-name=%s lib-ver=%s uid=%ld\n", f.input_bytes, f.output_bytes, f.input_bytes + f.output_bytes, command,
		client_resp(c), f.library, f.library_version, (long)client_uid(c));
}

static void reply_lines(struct call *call, struct buf *lines)
{
	reply_add_verbatim(&call->out->bytes, call->resp, lines->len ? lines->data : "", lines->len);
	buf_free(lines);
}

void command_client_info(struct call *call)
{
	struct buf lines = BUF_INIT;
	add_line(&lines, call, call->client, "client|info");
	reply_lines(call, &lines);
}

static void add_client(struct buf *lines, const struct call *call, const struct client *c)
{
	add_line(lines, call, c, c == call->client ? "client|list" : "NULL");
}

/* The clients of the IDs from word 3 on, in that order. */
static void list_ids(struct call *call)
{
	struct buf lines = BUF_INIT;
	for (size_t i = 3; i < call->argc; i++) {
		int64_t id;
		if (!request_integer(&call->argv[i], &id)) {
			call_error(call, "ERR Invalid client ID");
			buf_free(&lines);
			return;
		}
		const struct client *c = call->server->clients;
		while (c && (int64_t)client_id(c) != id)
			c = client_next(c);
		if (c)
			add_client(&lines, call, c);
	}
	reply_lines(call, &lines);
}

void command_client_list(struct call *call)
{
	struct buf lines = BUF_INIT;
	bool is_all = call->argc == 2;
	if (call->argc == 4 && call_arg_is(call, 2, "TYPE")) {
		if (!read_type(call, 3, &is_all))
			return;
	} else if (call->argc > 3 && call_arg_is(call, 2, "ID")) {
		list_ids(call);
		return;
	} else if (!is_all) {
		call_error(call, "ERR syntax error");
		return;
	}
	for (const struct client *c = call->server->clients; c && is_all; c = client_next(c))
		add_client(&lines, call, c);
	reply_lines(call, &lines);
}

/* ---- KILL ---- */

struct kill {
	int64_t id;                     /* 0: any */
	bool is_nobody;                 /* no client of ours is like that */
	bool spares_self;
};

static void read_address(const struct call *call, size_t i, struct kill *k)
{
	const char *path = call->server->conf->listen_path;
	const struct request_arg *a = &call->argv[i];
	size_t len = strlen(path);
	k->is_nobody |= !(a->len == len + 2 && memcmp(a->data, path, len) == 0 && memcmp(a->data + len, ":0", 2) == 0);
}

static bool read_id(struct call *call, size_t i, struct kill *k)
{
	if (request_integer(&call->argv[i], &k->id) && k->id > 0)
		return true;
	call_error(call, "ERR client-id should be greater than 0");
	return false;
}

static bool read_user(struct call *call, size_t i, struct kill *k)
{
	char text[CALL_SHOWN_MAX + 32];
	(void)k;
	const struct request_arg *user = &call->argv[i];
	if (user->len == 7 && memcmp(user->data, "default", 7) == 0)
		return true;
	snprintf(text, sizeof(text), "ERR No such user '%.*s'", call_shown(user), user->data);
	call_error(call, text);
	return false;
}

/* The filter at word i with its value. False: the error reply is written. */
static bool read_filter(struct call *call, size_t i, struct kill *k)
{
	bool is_ours = true, has_value = i + 1 < call->argc;
	if (has_value && call_arg_is(call, i, "ID"))
		return read_id(call, i + 1, k);
	if (has_value && (call_arg_is(call, i, "ADDR") || call_arg_is(call, i, "LADDR"))) {
		read_address(call, i + 1, k);
		return true;
	}
	if (has_value && call_arg_is(call, i, "USER"))
		return read_user(call, i + 1, k);
	if (has_value && call_arg_is(call, i, "TYPE")) {
		bool is_good = read_type(call, i + 1, &is_ours);
		k->is_nobody |= !is_ours;
		return is_good;
	}
	bool is_yes = has_value && call_arg_is(call, i + 1, "YES");
	if (has_value && call_arg_is(call, i, "SKIPME") && (is_yes || call_arg_is(call, i + 1, "NO"))) {
		k->spares_self = is_yes;
		return true;
	}
	call_error(call, "ERR syntax error");
	return false;
}

static int64_t kill_all(struct call *call, const struct kill *k)
{
	int64_t killed = 0;
	for (struct client *c = call->server->clients; c && !k->is_nobody; c = client_next(c)) {
		if ((k->id && (int64_t)client_id(c) != k->id) || (k->spares_self && c == call->client))
			continue;
		client_hang_up(c);
		killed++;
	}
	return killed;
}

/* KILL address, or filters with a value each. */
void command_client_kill(struct call *call)
{
	struct kill k = {.spares_self = true};
	if (call->argc == 3) {
		k.spares_self = false;
		read_address(call, 2, &k);
		if (kill_all(call, &k) > 0)
			call_ok(call);
		else
			call_error(call, "ERR No such client");
		return;
	}
	for (size_t i = 2; i < call->argc; i += 2)
		if (!read_filter(call, i, &k))
			return;
	call_integer(call, kill_all(call, &k));
}
