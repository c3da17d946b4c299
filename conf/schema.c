/* The tables of schema.h. Called by conf.c. */
#include "schema.h"

#include <stdint.h>
#include <string.h>

#include "conf.h"

#define CONF(field) offsetof(struct conf, field), sizeof ((struct conf *)0)->field
#define TYPE(field) offsetof(struct conf_type, field), sizeof ((struct conf_type *)0)->field
#define NO_FIELD 0, 0

#define LONGEST_TTL "3650d"
#define LONGEST_TIMEOUT "1h"

const struct schema_row schema_rows[] = {
	{"", "listen", KIND_SECTION, NO_FIELD, .required = true,
		.help = "where clients connect"},
	{"listen", "path", KIND_SOCKET, CONF(listen_path), .required = true,
		.help = "the Unix socket"},
	{"listen", "mode", KIND_MODE, CONF(listen_mode), .def = "\"0660\"",
		.help = "permissions of the socket"},
	{"listen", "group", KIND_GROUP, CONF(listen_group),
		.help = "group of the socket, a name or number; without it that of the daemon"},
	{"listen", "max_clients", KIND_COUNT, CONF(max_clients), .def = "10000", .min = "1", .max = "1000000",
		.help = "connections at one time"},
	{"listen", "max_request", KIND_SIZE, CONF(max_request), .def = "64M", .min = "1K", .max = "512M",
		.help = "largest argument of a request"},
	{"listen", "max_output", KIND_SIZE, CONF(max_output), .def = "256M", .min = "1M", .max = "4G",
		.help = "replies held for one client; one that is owed more is closed"},
	{"listen", "max_output_total", KIND_SIZE, CONF(max_output_total), .def = "1G", .min = "1M", .max = "1024G",
		.help = "replies held for all clients; beyond it those are closed that are owed most"},
	{"listen", "idle_timeout", KIND_DURATION, CONF(idle_timeout_ms), .def = "0", .min = "0", .max = LONGEST_TTL,
		.help = "a client that is owed nothing and silent for so long is closed; 0: never"},

	{"", "admin", KIND_SECTION, NO_FIELD,
		.help = "who may do what concerns everyone, and who may watch"},
	{"admin", "listen", KIND_ADDRESS, CONF(admin_host), .none = true,
		.help = "where /metrics, /healthz, /readyz and /status are served by HTTP; without it nowhere"},
	{"admin", "users", KIND_USERS, CONF(admin_users), .def = "[root]",
		.help = "users who may run admin commands, besides the daemon's own"},

	{"", "memory", KIND_SECTION, NO_FIELD,
		.help = "the memory tier"},
	{"memory", "limit", KIND_SIZE, CONF(memory_limit), .def = "256M", .min = "1M", .max = "1024G",
		.help = "bytes of all values held, overhead counted"},
	{"memory", "snapshot", KIND_FILE, CONF(snapshot),
		.help = "where what is held is saved at the stop, for the next start; without it nowhere"},

	{"", "redis", KIND_SECTION, NO_FIELD, .off = true,
		.help = "the Redis tier; off runs without"},
	{"redis", "url", KIND_REDIS_URL, CONF(redis), .def = "redis://127.0.0.1:6379/0",
		.help = "redis://[user[:password]@]host[:port][/db], unix:///path[?db=N] or off"},
	{"redis", "connect_timeout", KIND_DURATION, CONF(redis.connect_timeout_ms), .def = "1s",
		.min = "1ms", .max = LONGEST_TIMEOUT,
		.help = "longest wait for a connection"},
	{"redis", "timeout", KIND_DURATION, CONF(redis.timeout_ms), .def = "250ms",
		.min = "1ms", .max = LONGEST_TIMEOUT,
		.help = "longest wait for a reply"},
	{"redis", "pass_through", KIND_BOOL, CONF(redis.pass_through), .def = "true",
		.help = "other commands, and keys of no declared type, go to Redis as they are"},

	{"", "database", KIND_SECTION, NO_FIELD, .off = true,
		.help = "where SQL fetches read; off runs without"},
	{"database", "url", KIND_DATABASE_URL, CONF(database), .def = "off",
		.help = "sqlite:///absolute/path, sqlite://relative/path, postgres://... or off"},
	{"database", "connections", KIND_COUNT, CONF(database.connections), .def = "4", .min = "1", .max = "256",
		.help = "queries at one time"},
	{"database", "timeout", KIND_DURATION, CONF(database.timeout_ms), .def = "10s",
		.min = "1ms", .max = LONGEST_TIMEOUT,
		.help = "longest fetch, the wait for a connection included"},

	{"", "guard", KIND_EXACT_KEY, CONF(guard),
		.help = "while this key exists in Redis, what is fetched is served but not stored"},

	{"", "warm_timeout", KIND_DURATION, CONF(warm_timeout_ms), .def = "5s", .min = "0", .max = LONGEST_TIMEOUT,
		.help = "how long the warm lists may take till the daemon calls itself ready all the same"},

	{"", "log", KIND_SECTION, NO_FIELD,
		.help = "what goes to standard error"},
	{"log", "level", KIND_WORD, CONF(log_level), .def = "info", .words = "error|warning|info|debug",
		.help = "least important event that is logged"},
	{"log", "format", KIND_WORD, CONF(log_format), .def = "logfmt", .words = "logfmt|json",
		.help = "how an event is written"},

	{"", "types", KIND_TYPES, NO_FIELD, .required = true,
		.help = "the cache types, each under its name"},
	{"types.NAME", "key", KIND_KEY, TYPE(key), .required = true,
		.help = "keys of the type: a literal text, which may end in one {name}"},
	{"types.NAME", "ttl", KIND_DURATION, TYPE(ttl_ms), .required = true,
		.min = "1ms", .max = LONGEST_TTL, .none = true,
		.help = "how long a value is fresh; none: until removed"},
	{"types.NAME", "memory_ttl", KIND_DURATION, TYPE(memory_ttl_ms), .def_of = "ttl",
		.min = "1ms", .max = LONGEST_TTL, .none = true,
		.help = "the same for the copy in memory, at most ttl"},
	{"types.NAME", "tiers", KIND_TIERS, NO_FIELD, .def = "[memory, redis]",
		.help = "where values are kept: a list, or the mapping below"},
	{"types.NAME.tiers", "memory", KIND_BOOL, TYPE(in_memory), .def = "true",
		.help = "keep values in memory"},
	{"types.NAME.tiers", "redis", KIND_BOOL, TYPE(in_redis), .def = "true",
		.help = "keep values in Redis"},
	{"types.NAME", "max_entries", KIND_COUNT, TYPE(max_entries), .def = "0", .min = "0", .max = "1000000000",
		.help = "values held in memory; 0: as many as memory.limit allows"},
	{"types.NAME", "max_value", KIND_SIZE, TYPE(max_value), .def_of = "listen.max_request",
		.min = "1", .max = "512M",
		.help = "largest value; a larger SET is refused, a larger fetch served but not stored"},
	{"types.NAME", "format", KIND_CHOICE, TYPE(format), .def = "raw", .words = "raw|json",
		.help = "json is checked before it is stored"},
	{"types.NAME", "refuse_empty", KIND_BOOL, TYPE(refuse_empty), .def = "false",
		.help = "a fetch that comes back empty ([], {}, \"\", null, no bytes) has failed"},
	{"types.NAME", "max_shrink", KIND_PERCENT, TYPE(max_shrink), .min = "1%", .max = "99%",
		.help = "a fetched value that is smaller by more than this part of the old one has failed"},
	{"types.NAME", "stale_while_revalidate", KIND_DURATION, TYPE(stale_while_revalidate_ms), .def = "0",
		.min = "0", .max = LONGEST_TTL,
		.help = "how long after its ttl a value is served while it is refreshed behind"},
	{"types.NAME", "stale_if_error", KIND_DURATION, TYPE(stale_if_error_ms), .def = "0",
		.min = "0", .max = LONGEST_TTL,
		.help = "how long after its ttl a value is served if the fetch fails or passes soft_timeout"},
	{"types.NAME", "refresh_ahead", KIND_PERCENT, TYPE(refresh_ahead), .min = "10%", .max = "99%",
		.help = "a hit after this part of ttl starts a refresh behind"},
	{"types.NAME", "negative_ttl", KIND_DURATION, TYPE(negative_ttl_ms), .def = "0",
		.min = "0", .max = LONGEST_TTL,
		.help = "how long \"does not exist\" is remembered; 0: not at all"},
	{"types.NAME", "jitter", KIND_PERCENT, TYPE(jitter), .def = "0%", .min = "0%", .max = "50%",
		.help = "part of ttl that chance may take off, so that values do not expire together"},
	{"types.NAME", "hash_names", KIND_BOOL, TYPE(hash_names), .def = "false",
		.help = "a {name} that is JSON is replaced by its HASHKEY"},
	{"types.NAME", "invalidates", KIND_INVALIDATES, TYPE(invalidates),
		.help = "types that are cleared when keys of this one are invalidated"},
	{"types.NAME", "debounce", KIND_DURATION, TYPE(debounce_ms), .def = "0", .min = "0", .max = LONGEST_TIMEOUT,
		.help = "how long invalidations are collected before those types are cleared, once"},
	{"types.NAME", "warm", KIND_NAMES, TYPE(warm),
		.help = "what {name} stands for in the keys that are loaded at the start; of a type of one key, that key"},
	{"types.NAME", "fetch", KIND_SECTION, NO_FIELD,
		.help = "where a value comes from when no tier has it: one of sql, exec, assemble"},
	{"types.NAME.fetch", "sql", KIND_TEXT, TYPE(fetch.sql),
		.help = "a query; :name is bound to the {name} of the key"},
	{"types.NAME.fetch", "shape", KIND_CHOICE, TYPE(fetch.shape), .def = "rows", .words = "rows|row|value",
		.help = "of sql: array of objects, one object, or first column verbatim"},
	{"types.NAME.fetch", "exec", KIND_COMMAND, TYPE(fetch.exec),
		.help = "a program and its arguments, without a shell; {type} and {name} are replaced in arguments"},
	{"types.NAME.fetch", "assemble", KIND_SECTION, NO_FIELD,
		.help = "an array joined from the arrays of another type"},
	{"types.NAME.fetch.assemble", "sql", KIND_TEXT, TYPE(fetch.sql), .required = true,
		.help = "a query; its first column names the parts, in their order"},
	{"types.NAME.fetch.assemble", "from", KIND_TEXT, TYPE(fetch.from), .required = true,
		.help = "the type of the parts"},
	{"types.NAME.fetch", "timeout", KIND_DURATION, TYPE(fetch.timeout_ms), .def_of = "database.timeout",
		.min = "1ms", .max = LONGEST_TIMEOUT,
		.help = "longest fetch"},
	{"types.NAME.fetch", "soft_timeout", KIND_DURATION, TYPE(fetch.soft_timeout_ms),
		.min = "1ms", .max = LONGEST_TIMEOUT,
		.help = "after so long a stale value is served, and the fetch goes on behind"},
	{0}
};

const struct schema_row *schema_find(const char *section, const char *name)
{
	for (const struct schema_row *row = schema_rows; row->name; row++) {
		if (strcmp(row->section, section) == 0 && strcmp(row->name, name) == 0)
			return row;
	}
	return NULL;
}

#define NAME_MAX_LEN 64         /* of keys, and of types */

/* How many characters must be put in, taken out or changed to make b of a (Levenshtein). */
static size_t levenshtein(const char *a, const char *b)
{
	size_t row[NAME_MAX_LEN + 1], len = strlen(b);
	if (len > NAME_MAX_LEN)
		return SIZE_MAX;
	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (; *a; a++) {
		size_t diagonal = row[0]++;
		for (size_t j = 1; j <= len; j++) {
			size_t change = diagonal + (*a != b[j - 1]);
			diagonal = row[j];
			size_t shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			row[j] = change < shift ? change : shift;
		}
	}
	return row[len];
}

size_t schema_distance(const char *name, const char *known)
{
	size_t d = levenshtein(name, known);
	return d <= 1 + strlen(known) / 4 && d < strlen(known) ? d : SIZE_MAX;
}

const char *schema_nearest(const char *section, const char *name)
{
	const char *nearest = NULL;
	size_t least = SIZE_MAX;
	for (const struct schema_row *row = schema_rows; row->name; row++) {
		if (strcmp(row->section, section) != 0)
			continue;
		size_t d = schema_distance(name, row->name);
		if (d < least) {
			least = d;
			nearest = row->name;
		}
	}
	return nearest;
}
