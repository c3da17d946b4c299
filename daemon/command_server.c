/* Commands about the daemon: figures, settings; and HASHKEY. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "catalog.h"
#include "clock.h"
#include "command.h"
#include "glob.h"
#include "hashkey.h"
#include "memory.h"
#include "metrics.h"
#include "status.h"
#include "version.h"

void command_hashkey(struct call *call)
{
	char hex[HASHKEY_LEN + 1];
	const char *reason;
	struct buf text = BUF_INIT;
	if (call->argv[1].len > CATALOG_CONTEXT_MAX) {
		call_error(call, "ERR the context is longer than 8192 bytes");
		return;
	}
	if (hashkey(hex, call->argv[1].data, call->argv[1].len, &reason) == 0) {
		reply_add_bulk(&call->out->bytes, hex, HASHKEY_LEN);
		return;
	}
	buf_addf(&text, "ERR not JSON: %s", reason);
	buf_add_char(&text, '\0');
	call_error(call, text.data);
	buf_free(&text);
}

/* ---- STATS ---- */

static int64_t uptime_s(const struct server *s)
{
	return (clock_ms() - s->stats.started_ms) / 1000;
}

static void reply_json(struct call *call, cJSON *o)
{
	char *text = cJSON_PrintUnformatted(o);
	if (text)
		reply_add_bulk_str(&call->out->bytes, text);
	else
		call_error(call, "ERR out of memory");
	cJSON_free(text);
	cJSON_Delete(o);
}

void command_stats(struct call *call)
{
	struct catalog *c = call->server->catalog;
	if (call->argc == 1) {
		cJSON *o = catalog_stats(c, NULL);
		cJSON_AddItemToObject(o, "server", status_server(call->server));
		cJSON_AddItemToObject(o, "warm", status_warm(call->server));
		reply_json(call, o);
		return;
	}
	const struct conf_type *type = conf_type_named(call->server->conf, call->argv[1].data, call->argv[1].len);
	if (call->argc > 2)
		call_error(call, "ERR wrong number of arguments for 'stats' command");
	else if (type)
		reply_json(call, catalog_stats(c, type));
	else
		call_error(call, "ERR no such type");
}

void command_health(struct call *call)
{
	reply_json(call, catalog_health(call->server->catalog));
}

void command_metrics(struct call *call)
{
	struct buf text = BUF_INIT;
	metrics_add(&text, call->server);
	if (text.failed)
		call_error(call, "ERR out of memory");
	else
		reply_add_verbatim(&call->out->bytes, call->resp, text.data, text.len);
	buf_free(&text);
}

/* ---- INFO ---- */

static void info_server(struct buf *b, const struct server *s)
{
	buf_addf(b, "redis_version:%s\r\nredis_mode:standalone\r\ncatcached_version:%s\r\nprocess_id:%d\r\n"
		"uptime_in_seconds:%" PRId64 "\r\nconfig_file:%s\r\n", VERSION_REDIS, VERSION, (int)getpid(), uptime_s(s), s->conf->file);
}

static void info_clients(struct buf *b, const struct server *s)
{
	buf_addf(b, "connected_clients:%zu\r\nmaxclients:%u\r\n", s->n_clients, s->conf->max_clients);
}

static void info_memory(struct buf *b, const struct server *s)
{
	const struct memory *m = catalog_memory(s->catalog);
	buf_addf(b, "used_memory:%" PRIu64 "\r\nmaxmemory:%" PRIu64 "\r\n", memory_bytes(m), memory_limit(m));
}

static void info_persistence(struct buf *b, const struct server *s)
{
	(void)s;
	buf_add_str(b, "loading:0\r\n");
}

static void info_stats(struct buf *b, const struct server *s)
{
	buf_addf(b, "total_connections_received:%" PRIu64 "\r\ntotal_commands_processed:%" PRIu64 "\r\n"
		"rejected_connections:%" PRIu64 "\r\n", s->stats.connections, s->stats.commands, s->stats.rejected);
	catalog_info(s->catalog, b);
}

static void info_replication(struct buf *b, const struct server *s)
{
	(void)s;
	buf_add_str(b, "role:master\r\nconnected_slaves:0\r\n");
}

static void info_keyspace(struct buf *b, const struct server *s)
{
	uint64_t entries = memory_entries(catalog_memory(s->catalog));
	if (entries)
		buf_addf(b, "db0:keys=%" PRIu64 ",expires=0,avg_ttl=0\r\n", entries);
}

static const struct section {
	const char *name;
	void (*add)(struct buf *b, const struct server *s);
} sections[] = {
	{"Server", info_server},
	{"Clients", info_clients},
	{"Memory", info_memory},
	{"Persistence", info_persistence},
	{"Stats", info_stats},
	{"Replication", info_replication},
	{"Keyspace", info_keyspace},
};

static bool is_asked_for(const struct call *call, const char *section)
{
	bool asked = call->argc == 1;
	for (size_t i = 1; i < call->argc; i++)
		asked |= call_arg_is(call, i, section) || call_arg_is(call, i, "all")
			|| call_arg_is(call, i, "default") || call_arg_is(call, i, "everything");
	return asked;
}

void command_info(struct call *call)
{
	struct buf text = BUF_INIT;
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		if (!is_asked_for(call, sections[i].name))
			continue;
		buf_addf(&text, "%s# %s\r\n", text.len ? "\r\n" : "", sections[i].name);
		sections[i].add(&text, call->server);
	}
	reply_add_verbatim(&call->out->bytes, call->resp, text.data, text.len);
	buf_free(&text);
}

/* ---- CONFIG GET ---- */

/* What clients and tools ask a Redis for. */
static void setting_text(const struct server *s, const char *name, char *text, size_t size)
{
	if (strcmp(name, "maxclients") == 0)
		snprintf(text, size, "%u", s->conf->max_clients);
	else if (strcmp(name, "maxmemory") == 0)
		snprintf(text, size, "%" PRIu64, s->conf->memory_limit);
	else if (strcmp(name, "proto-max-bulk-len") == 0)
		snprintf(text, size, "%" PRIu64, s->conf->max_request);
	else if (strcmp(name, "unixsocket") == 0)
		snprintf(text, size, "%s", s->conf->listen_path);
}

static const struct setting {
	const char *name;
	const char *fixed;              /* NULL: see setting_text */
} settings[] = {
	{"appendonly", "no"},
	{"databases", "1"},
	{"maxclients", NULL},
	{"maxmemory", NULL},
	{"maxmemory-policy", "allkeys-lru"},
	{"proto-max-bulk-len", NULL},
	{"replica-read-only", "no"},
	{"save", ""},
	{"timeout", "0"},
	{"unixsocket", NULL},
};
#define N_SETTINGS (sizeof(settings) / sizeof(settings[0]))

static bool setting_matches(const struct call *call, const char *name)
{
	bool matches = false;
	for (size_t i = 2; i < call->argc; i++)
		matches |= glob_matches(call->argv[i].data, call->argv[i].len, name, strlen(name), true);
	return matches;
}

void command_config_get(struct call *call)
{
	bool wanted[N_SETTINGS];
	size_t n = 0;
	for (size_t i = 0; i < N_SETTINGS; i++)
		n += wanted[i] = setting_matches(call, settings[i].name);
	reply_add_map(&call->out->bytes, call->resp, n);
	for (size_t i = 0; i < N_SETTINGS; i++) {
		char text[256];
		if (!wanted[i])
			continue;
		setting_text(call->server, settings[i].name, text, sizeof(text));
		reply_add_bulk_str(&call->out->bytes, settings[i].name);
		reply_add_bulk_str(&call->out->bytes, settings[i].fixed ? settings[i].fixed : text);
	}
}
