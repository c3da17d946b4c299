/* conf/conf.c, rules.c and the tables: what a file becomes, every error with its place,
 * which type a key belongs to, the shipped file and the manual page. Runs in the
 * project's folder. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../conf/conf.h"
#include "../../proto/buf.h"

#define SHIPPED "conf/catcached.yaml"
#define MANUAL "conf/catcached.yaml.5"
#define LISTEN "listen: {path: /s}\n"
#define TYPES "types: {t: {key: k, ttl: 1}}\n"
/* A file with one type, or one fetch, that has the given keys: on line 3, or line 4, from column 3. */
#define TYPE(keys) LISTEN "types: {t: {key: 'k:{name}', ttl: 1m,\n  " keys "}}\n"
#define FETCH(keys) LISTEN "database: {url: 'sqlite:///db'}\n" \
	"types: {t: {key: 'k:{name}', ttl: 1m, fetch: {\n  " keys "}}}\n"
/* The same for the keys of a type that has a fetch. */
#define FETCHED(keys) LISTEN "database: {url: 'sqlite:///db'}\n" \
	"types: {t: {key: 'k:{name}', fetch: {sql: x},\n  " keys "}}\n"
/* Types a to d, each with the given keys: on lines 3 to 6, from column 25. */
#define FOUR(a, b, c, d) LISTEN "types:\n" "  a: {key: 'a', ttl: 1" a "}\n" "  b: {key: 'b', ttl: 1" b "}\n" \
	"  c: {key: 'c', ttl: 1" c "}\n" "  d: {key: 'd', ttl: 1" d "}\n"

static struct conf *conf;
static struct conf_errors errors;
static char file[64];

static void teardown(void)
{
	conf_free(conf);
	conf = NULL;
	conf_errors_free(&errors);
}

static void load_bytes(const char *data, size_t len)
{
	int fd = memfd_create("conf", 0);
	teardown();
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
	conf = conf_load(file, &errors);
	close(fd);
	ck_assert_msg((conf == NULL) == (errors.n > 0), "errors and no configuration go together");
}

/* Loads a text that must be right. */
static const struct conf *load(const char *text)
{
	load_bytes(text, strlen(text));
	ck_assert_msg(conf != NULL, "%s\n%s", text, errors.n ? errors.lines[0] : "");
	return conf;
}

static const struct conf_type *load_type(const char *text)
{
	return &load(text)->types[0];
}

/* Checks that text has exactly these errors, a line each: "line:column: message\n". */
static void refuses(const char *text, const char *expected)
{
	struct buf b = BUF_INIT;
	load_bytes(text, strlen(text));
	for (size_t i = 0; i < errors.n; i++) {
		ck_assert_int_eq(strncmp(errors.lines[i], file, strlen(file)), 0);
		buf_addf(&b, "%s\n", errors.lines[i] + strlen(file) + 1);
	}
	buf_add_char(&b, '\0');
	ck_assert_str_eq(b.data, expected);
	buf_free(&b);
}

/* ---- what a file becomes ---- */

START_TEST(smallest_file_gets_every_default)
{
	const struct conf *c = load(LISTEN TYPES);
	ck_assert_str_eq(c->file, file);
	ck_assert_str_eq(c->listen_path, "/s");
	ck_assert_uint_eq(c->listen_mode, 0660);
	ck_assert(!c->has_listen_group);
	ck_assert_uint_eq(c->max_clients, 10000);
	ck_assert_uint_eq(c->max_request, 64 << 20);
	ck_assert_ptr_null(c->admin_host);
	ck_assert_uint_eq(c->n_admin_users, 1);
	ck_assert_uint_eq(c->admin_users[0], 0);
	ck_assert_uint_eq(c->memory_limit, 256 << 20);
	ck_assert(!c->redis.off);
	ck_assert_str_eq(c->redis.url, "redis://127.0.0.1:6379/0");
	ck_assert_str_eq(c->redis.host, "127.0.0.1");
	ck_assert_uint_eq(c->redis.port, 6379);
	ck_assert_int_eq(c->redis.connect_timeout_ms, 1000);
	ck_assert_int_eq(c->redis.timeout_ms, 250);
	ck_assert_int_eq(c->database.kind, CONF_DATABASE_OFF);
	ck_assert_ptr_null(c->database.url);
	ck_assert_uint_eq(c->database.connections, 4);
	ck_assert_int_eq(c->database.timeout_ms, 10000);
	ck_assert_ptr_null(c->guard);
	ck_assert_str_eq(c->log_level, "info");
	ck_assert_uint_eq(c->n_types, 1);
}
END_TEST

START_TEST(smallest_type_gets_every_default)
{
	const struct conf_type *t = load_type("listen: {path: /s, max_request: 1M}\n" TYPES);
	ck_assert_str_eq(t->name, "t");
	ck_assert_str_eq(t->key, "k");
	ck_assert(t->exact);
	ck_assert_uint_eq(t->prefix_len, 1);
	ck_assert_int_eq(t->ttl_ms, 1000);
	ck_assert_int_eq(t->memory_ttl_ms, 1000);
	ck_assert(t->in_memory && t->in_redis);
	ck_assert_uint_eq(t->max_entries, 0);
	ck_assert_uint_eq(t->max_value, 1 << 20);
	ck_assert_int_eq(t->format, CONF_RAW);
	ck_assert(!t->refuse_empty && !t->hash_names);
	ck_assert_int_eq(t->negative_ttl_ms, 0);
	ck_assert(t->jitter == 0 && t->refresh_ahead == 0 && t->max_shrink == 0);
	ck_assert_int_eq(t->stale_while_revalidate_ms, 0);
	ck_assert_int_eq(t->stale_if_error_ms, 0);
	ck_assert_uint_eq(t->n_invalidates, 0);
	ck_assert_int_eq(t->debounce_ms, 0);
	ck_assert_int_eq(t->fetch.kind, CONF_FETCH_NONE);
	ck_assert_int_eq(t->fetch.soft_timeout_ms, 0);
}
END_TEST

/* A file with every key there is, none with its default. */
static const struct conf *load_every_key(void)
{
	return load(
		"listen: {path: /run/s, mode: \"0600\", group: 0, max_clients: 7, max_request: 2K}\n"
		"admin: {listen: '[::1]:9000', users: [root, 12, 4294967294]}\n"
		"memory: {limit: 1M}\n"
		"redis: {url: 'redis://h', connect_timeout: 2s, timeout: 3s}\n"
		"database: {url: 'sqlite:///db', connections: 2, timeout: 4s}\n"
		"guard: 'sync:{a}'\n"
		"log: {level: debug}\n"
		"types:\n"
		"  a: {key: 'a:{name}', ttl: 10s, memory_ttl: 9s, tiers: [redis], max_entries: 5, max_value: 6,\n"
		"      format: json, refuse_empty: yes, negative_ttl: 7, jitter: 8%, hash_names: true,\n"
		"      stale_while_revalidate: 20, stale_if_error: 1h, refresh_ahead: 90%, max_shrink: 12.5%,\n"
		"      invalidates: [c, b], debounce: 500ms,\n"
		"      fetch: {sql: 'SELECT :name', shape: value, timeout: 11, soft_timeout: 10.999}}\n"
		"  b: {key: b, ttl: none, fetch: {exec: [/bin/cat, '{type}', '-{name}-', '{\"a\":1}']}}\n"
		"  c: {key: c, ttl: 1, fetch: {assemble: {sql: SELECT 1, from: a}}}\n");
}

START_TEST(every_key_of_a_section_reaches_its_field)
{
	const struct conf *c = load_every_key();
	ck_assert_uint_eq(c->listen_mode, 0600);
	ck_assert(c->has_listen_group && c->listen_group == 0);
	ck_assert_uint_eq(c->max_clients, 7);
	ck_assert_uint_eq(c->max_request, 2048);
	ck_assert_str_eq(c->admin_host, "::1");
	ck_assert_uint_eq(c->admin_port, 9000);
	ck_assert_uint_eq(c->n_admin_users, 3);
	ck_assert_uint_eq(c->admin_users[1], 12);
	ck_assert_uint_eq(c->admin_users[2], 4294967294);
	ck_assert_uint_eq(c->memory_limit, 1 << 20);
	ck_assert_int_eq(c->redis.connect_timeout_ms, 2000);
	ck_assert_int_eq(c->redis.timeout_ms, 3000);
	ck_assert_uint_eq(c->database.connections, 2);
	ck_assert_int_eq(c->database.timeout_ms, 4000);
	ck_assert_str_eq(c->guard, "sync:{a}");
	ck_assert_str_eq(c->log_level, "debug");
}
END_TEST

START_TEST(every_key_of_a_type_reaches_its_field)
{
	const struct conf *c = load_every_key();
	const struct conf_type *a = &c->types[0], *b = &c->types[1], *last = &c->types[2];
	ck_assert(!a->exact && a->prefix_len == 2 && a->index == 0 && last->index == 2);
	ck_assert_int_eq(a->memory_ttl_ms, 9000);
	ck_assert(!a->in_memory && a->in_redis && a->refuse_empty && a->hash_names);
	ck_assert_uint_eq(a->max_entries, 5);
	ck_assert_uint_eq(a->max_value, 6);
	ck_assert_int_eq(a->format, CONF_JSON);
	ck_assert_int_eq(a->negative_ttl_ms, 7000);
	ck_assert_double_eq(a->jitter, 0.08);
	ck_assert_int_eq(a->stale_while_revalidate_ms, 20000);
	ck_assert_int_eq(a->stale_if_error_ms, 3600000);
	ck_assert_double_eq(a->refresh_ahead, 0.9);
	ck_assert_double_eq(a->max_shrink, 0.125);
	ck_assert_uint_eq(a->n_invalidates, 2);
	ck_assert(a->invalidates[0] == last && a->invalidates[1] == b);
	ck_assert_int_eq(a->debounce_ms, 500);
	ck_assert_int_eq(a->fetch.kind, CONF_FETCH_SQL);
	ck_assert_str_eq(a->fetch.sql, "SELECT :name");
	ck_assert_int_eq(a->fetch.shape, CONF_VALUE);
	ck_assert_int_eq(a->fetch.timeout_ms, 11000);
	ck_assert_int_eq(a->fetch.soft_timeout_ms, 10999);
	ck_assert_int_eq(b->ttl_ms, 0);
	ck_assert_int_eq(b->fetch.kind, CONF_FETCH_EXEC);
	ck_assert_str_eq(b->fetch.exec[2], "-{name}-");
	ck_assert_str_eq(b->fetch.exec[3], "{\"a\":1}");
	ck_assert_ptr_null(b->fetch.exec[4]);
	ck_assert_int_eq(b->fetch.timeout_ms, 4000);
	ck_assert_int_eq(last->fetch.kind, CONF_FETCH_ASSEMBLE);
	ck_assert_ptr_eq(last->fetch.from_type, a);
}
END_TEST

START_TEST(durations_have_units_and_bare_numbers_are_seconds)
{
	static const struct { const char *text; int64_t ms; } good[] = {
		{"250ms", 250}, {"30s", 30000}, {"15m", 900000}, {"1h", 3600000}, {"2d", 172800000},
		{"1800", 1800000}, {"0.5", 500}, {"1.5h", 5400000}, {"0.001s", 1}, {"00012", 12000},
		{"\"300\"", 300000}, {"none", 0}, {"3650d", 315360000000}};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char text[128];
		snprintf(text, sizeof text, LISTEN "types: {t: {key: k, ttl: %s}}\n", good[i].text);
		ck_assert_int_eq(load_type(text)->ttl_ms, good[i].ms);
	}
}
END_TEST

START_TEST(what_is_no_duration_is_refused)
{
	static const char *const bad[] = {"-1", "+1", "5x", "1 s", "s", "1.", ".5", "1e3", "0x10", "1.2.3", "0", "0ms",
		"0.5ms", "0.0001", "3651d", "99999999999999999999999", "18446744073709551616ms", "18446744073709551s",
		"None", "inf", "nan", "1S", ""};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[128], expected[256];
		snprintf(text, sizeof text, LISTEN "types:\n t:\n  key: k\n  ttl: \"%s\"\n", bad[i]);
		snprintf(expected, sizeof expected, "5:8: ttl: \"%s\" is not a duration from 1ms to 3650d or none "
			"(250ms, 30s, 15m, 1h, 2d; a bare number is seconds)\n", bad[i]);
		refuses(text, expected);
	}
}
END_TEST

START_TEST(sizes_are_powers_of_1024)
{
	static const struct { const char *text; uint64_t bytes; } good[] = {
		{"1048576", 1 << 20}, {"1024K", 1 << 20}, {"1M", 1 << 20}, {"1.5M", 3 << 19}, {"1G", 1 << 30},
		{"1024G", (uint64_t)1 << 40}};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char text[128];
		snprintf(text, sizeof text, LISTEN TYPES "memory: {limit: %s}\n", good[i].text);
		ck_assert_uint_eq(load(text)->memory_limit, good[i].bytes);
	}
}
END_TEST

START_TEST(booleans_have_six_spellings_and_their_capitals)
{
	static const char *const yes[] = {"true", "yes", "on", "True", "TRUE"};
	static const char *const no[] = {"false", "no", "off", "False", "FALSE"};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
		char text[128];
		snprintf(text, sizeof text, TYPE("refuse_empty: %s"), yes[i]);
		ck_assert(load_type(text)->refuse_empty);
		snprintf(text, sizeof text, TYPE("refuse_empty: '%s'"), no[i]);
		ck_assert(!load_type(text)->refuse_empty);
	}
}
END_TEST

START_TEST(tiers_are_a_list_or_a_mapping_that_a_variable_can_switch)
{
	const struct conf_type *t = load_type(TYPE("tiers: [memory]"));
	ck_assert(t->in_memory && !t->in_redis);
	t = load_type(TYPE("tiers: {redis: off}"));
	ck_assert(t->in_memory && !t->in_redis);
	const char *text = TYPE("tiers: {memory: true, redis: \"${CONF_REDIS:-true}\"}");
	unsetenv("CONF_REDIS");
	ck_assert(load_type(text)->in_redis);
	setenv("CONF_REDIS", "false", 1);
	ck_assert(!load_type(text)->in_redis);
}
END_TEST

START_TEST(off_runs_without_redis_and_without_database)
{
	const struct conf *c = load(LISTEN TYPES "redis: off\ndatabase: off\n");
	ck_assert(c->redis.off && !c->redis.url && !c->redis.host);
	ck_assert_int_eq(c->redis.timeout_ms, 250);
	ck_assert_int_eq(c->database.kind, CONF_DATABASE_OFF);
	c = load(LISTEN TYPES "redis: {url: off, timeout: 1s}\ndatabase: {url: \"off\"}\n");
	ck_assert(c->redis.off && !c->redis.url);
	ck_assert_int_eq(c->redis.timeout_ms, 1000);
}
END_TEST

START_TEST(sections_without_keys_have_their_defaults)
{
	const struct conf *c = load(LISTEN TYPES "memory:\n#  limit: 1G\nredis:\nlog: {}\nadmin: {users: []}\n");
	ck_assert_uint_eq(c->memory_limit, 256 << 20);
	ck_assert_str_eq(c->redis.host, "127.0.0.1");
	ck_assert_str_eq(c->log_level, "info");
	ck_assert_uint_eq(c->n_admin_users, 0);
}
END_TEST

START_TEST(the_http_port_has_an_address_or_there_is_none)
{
	const struct conf *c = load(LISTEN TYPES "admin: {listen: 'localhost:0'}\n");
	ck_assert_str_eq(c->admin_host, "localhost");
	ck_assert_uint_eq(c->admin_port, 0);
	c = load(LISTEN TYPES "admin: {listen: none}\n");
	ck_assert_ptr_null(c->admin_host);
}
END_TEST

START_TEST(redis_urls_are_taken_apart)
{
	static const struct { const char *url, *host, *path, *user, *password; unsigned port, db; } good[] = {
		{"redis://h", "h", NULL, NULL, NULL, 6379, 0},
		{"redis://h/", "h", NULL, NULL, NULL, 6379, 0},
		{"redis://cache.example:1/15", "cache.example", NULL, NULL, NULL, 1, 15},
		{"redis://:pw@h", "h", NULL, NULL, "pw", 6379, 0},
		{"redis://u:p%40%2F%25w@10.0.0.1:65535/2", "10.0.0.1", NULL, "u", "p@/%w", 65535, 2},
		{"redis://u@h", "h", NULL, "u", NULL, 6379, 0},
		{"redis://:a@b:c@h", "h", NULL, NULL, "a@b:c", 6379, 0},
		{"redis://[::1]:7/1", "::1", NULL, NULL, NULL, 7, 1},
		{"redis://[fe80::2]", "fe80::2", NULL, NULL, NULL, 6379, 0},
		{"unix:///run/redis.sock", NULL, "/run/redis.sock", NULL, NULL, 0, 0},
		{"unix:///a%20b?db=3", NULL, "/a b", NULL, NULL, 0, 3},
		{"redis+unix://:pw@/r", NULL, "/r", NULL, "pw", 0, 0}};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char text[256];
		snprintf(text, sizeof text, LISTEN TYPES "redis: {url: '%s'}\n", good[i].url);
		const struct conf_redis *r = &load(text)->redis;
		ck_assert_str_eq(r->url, good[i].url);
		ck_assert_pstr_eq(r->host, good[i].host);
		ck_assert_pstr_eq(r->unix_path, good[i].path);
		ck_assert_pstr_eq(r->user, good[i].user);
		ck_assert_pstr_eq(r->password, good[i].password);
		ck_assert_uint_eq(r->port, good[i].port);
		ck_assert_uint_eq(r->db, good[i].db);
	}
}
END_TEST

START_TEST(database_urls_say_which_kind_it_is)
{
	static const struct { const char *text; enum conf_database_kind kind; const char *url; } good[] = {
		{"sqlite:///var/lib/db", CONF_DATABASE_SQLITE, "/var/lib/db"},
		{"sqlite://rel/a%3Fb", CONF_DATABASE_SQLITE, "rel/a?b"},
		{"postgres://u:p%40@h/db?x=1", CONF_DATABASE_POSTGRES, "postgres://u:p%40@h/db?x=1"},
		{"postgresql://", CONF_DATABASE_POSTGRES, "postgresql://"}};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char text[256];
		snprintf(text, sizeof text, LISTEN TYPES "database: {url: '%s'}\n", good[i].text);
		ck_assert_int_eq(load(text)->database.kind, good[i].kind);
		ck_assert_str_eq(conf->database.url, good[i].url);
	}
}
END_TEST

START_TEST(every_type_with_a_fetch_may_keep_old_values)
{
	const struct conf_type *t = load_type(LISTEN "types: {t: {key: k, ttl: 1, stale_if_error: 1s, fetch: {exec: [/x]}}}\n");
	ck_assert_int_eq(t->stale_if_error_ms, 1000);
	t = load_type(LISTEN "types: {t: {key: k, ttl: none, max_shrink: 1%, fetch: {exec: [/x]}}}\n");
	ck_assert(t->max_shrink == 0.01);
	t = load_type(FETCHED("ttl: 1, refresh_ahead: 10%, stale_while_revalidate: 0, max_shrink: 99%"));
	ck_assert(t->refresh_ahead == 0.1 && t->max_shrink == 0.99 && t->stale_while_revalidate_ms == 0);
}
END_TEST

START_TEST(cascades_may_meet_and_branch_but_need_not_wait)
{
	const struct conf *c = load(FOUR(", invalidates: [b, c]", ", invalidates: [d], debounce: 1s",
		", invalidates: [d, b]", ", invalidates: []"));
	ck_assert_uint_eq(c->types[0].n_invalidates, 2);
	ck_assert_ptr_eq(c->types[0].invalidates[1], &c->types[2]);
	ck_assert_int_eq(c->types[0].debounce_ms, 0);
	ck_assert_uint_eq(c->types[1].n_invalidates, 1);
	ck_assert_ptr_eq(c->types[1].invalidates[0], &c->types[3]);
	ck_assert_uint_eq(c->types[3].n_invalidates, 0);
}
END_TEST

START_TEST(what_only_looks_like_a_parameter_is_let_through)
{
	static const char *const queries[] = {"SELECT :name, :name", "SELECT ':id'", "SELECT 1::text -- :id", "SELECT \":id\""};
	for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
		char text[512];
		snprintf(text, sizeof text, LISTEN "database: {url: 'sqlite:///db'}\n"
			"types:\n  t:\n    key: 'k:{name}'\n    ttl: 1\n    fetch:\n      sql: |-\n        %s\n", queries[i]);
		ck_assert_str_eq(load_type(text)->fetch.sql, queries[i]);
	}
}
END_TEST

/* ---- errors ---- */

#define DURATION_HINT "(250ms, 30s, 15m, 1h, 2d; a bare number is seconds)\n"
#define CIRCLE LISTEN "database: {url: 'sqlite:///x'}\ntypes:\n" \
	"  a: {key: 'a:{name}', ttl: 1, format: json, fetch: {assemble: {sql: x, from: b}}}\n" \
	"  b: {key: 'b:{name}', ttl: 1, format: json, fetch: {assemble: {sql: x, from: a}}}\n" \
	"  c: {key: 'c:{name}', ttl: 1, format: json, fetch: {assemble: {sql: x, from: a}}}\n"

static const struct { const char *text, *expected; } wrong[] = {
	/* shape of the file */
	{"", "1:1: missing key \"listen\"\n1:1: missing key \"types\"\n"},
	{"[a]", "1:1: a configuration is a mapping of sections\n"},
	{"listen: {}\n" TYPES, "1:1: missing key \"path\"\n"},
	{"listen: [/s]\n" TYPES, "1:9: listen: a list is not a mapping\n"},
	{"listen: /s\n" TYPES, "1:9: listen: a text is not a mapping\n"},
	{LISTEN, "1:1: missing key \"types\"\n"},
	{LISTEN "types:\n", "2:7: types: at least one type is needed\n"},
	{LISTEN "types: {}\n", "2:8: types: at least one type is needed\n"},
	{LISTEN "types: [a]\n", "2:8: types: a list is not a mapping of names to types\n"},
	{LISTEN "types: {t: x}\n", "2:12: a type is a mapping of its keys\n"},
	{LISTEN "types: {t: {}}\n", "2:9: missing key \"key\"\n2:9: missing key \"ttl\"\n"},
	{LISTEN "types: {T-1: {key: k, ttl: 1}}\n",
		"2:9: type name \"T-1\" is not 1 to 64 of the characters a-z, 0-9 and _\n"},
	{LISTEN TYPES "listen: {path: /t}\n", "3:1: key \"listen\" is given twice; the first is on line 1\n"},
	{"a: [\n", "2:1: did not find expected node content while parsing a flow node\n"},
	/* keys that nobody knows */
	{TYPE("memory_tll: 1"), "3:3: unknown key \"memory_tll\"; did you mean \"memory_ttl\"?\n"},
	{TYPE("fetch: {sq: x}"),
		"3:3: fetch: one of sql, exec and assemble is needed\n3:11: unknown key \"sq\"; did you mean \"sql\"?\n"},
	{LISTEN TYPES "loging: {}\n", "3:1: unknown key \"loging\"\n"},
	{LISTEN TYPES "redsi: {}\n", "3:1: unknown key \"redsi\"; did you mean \"redis\"?\n"},
	{LISTEN TYPES "redis://:pw@h: x\n", "3:1: unknown key \"redis://...\"\n"},
	{TYPE("tiers: {disk: true}"), "3:11: unknown key \"disk\"\n"},
	/* values, kind by kind */
	{"listen: {path: s}\n" TYPES, "1:16: path: \"s\" is not an absolute path of at most 107 bytes\n"},
	{"listen: {path: /s, max_clients: 0}\n" TYPES,
		"1:33: max_clients: \"0\" is not a whole number from 1 to 1000000\n"},
	{"listen: {path: /s, max_clients: 1.5}\n" TYPES,
		"1:33: max_clients: \"1.5\" is not a whole number from 1 to 1000000\n"},
	{"listen: {path: /s, max_clients: 1000001}\n" TYPES,
		"1:33: max_clients: \"1000001\" is not a whole number from 1 to 1000000\n"},
	{"listen: {path: /s, max_clients: }\n" TYPES,
		"1:33: max_clients: \"\" is not a whole number from 1 to 1000000\n"},
	{"listen: {path: /s, max_request: 513M}\n" TYPES, "1:33: max_request: \"513M\" is not a size from 1K to 512M "
		"(64K, 256M, 1G; a bare number is bytes)\n"},
	{"listen: {path: /s, mode: 0668}\n" TYPES, "1:26: mode: \"0668\" is not an octal mode from 0000 to 0777\n"},
	{"listen: {path: /s, mode: 1777}\n" TYPES, "1:26: mode: \"1777\" is not an octal mode from 0000 to 0777\n"},
	{"listen: {path: /s, mode: ''}\n" TYPES, "1:26: mode: \"\" is not an octal mode from 0000 to 0777\n"},
	{"listen: {path: /s, group: no-such-group}\n" TYPES,
		"1:27: group: \"no-such-group\" is not a group of this host\n"},
	{"listen: {path: /s, group: 4294967295}\n" TYPES,
		"1:27: group: \"4294967295\" is not a group of this host\n"},
	{LISTEN TYPES "admin: {users: [root, no-such-user, [x]]}\n",
		"3:23: users: \"no-such-user\" is not a user of this host\n3:37: users: a list is not a user of this host\n"},
	{LISTEN TYPES "admin: {listen: 127.0.0.1}\n", "3:17: listen: \"127.0.0.1\" is not an address with a port (127.0.0.1:9121, [::1]:9121) or none\n"},
	{LISTEN TYPES "admin: {listen: ':9121'}\n", "3:17: listen: \":9121\" needs a host name or address\n"},
	{LISTEN TYPES "admin: {listen: 'h:65536'}\n", "3:17: listen: \"h:65536\" has a port that is not a number from 0 to 65535\n"},
	{LISTEN TYPES "admin: {listen: 'h:'}\n", "3:17: listen: \"h:\" has a port that is not a number from 0 to 65535\n"},
	{LISTEN TYPES "admin: {listen: '[::1:9'}\n", "3:17: listen: \"[::1:9\" has a broken [address]\n"},
	{LISTEN TYPES "admin: {users: root}\n", "3:16: users: \"root\" is not a list of users\n"},
	{LISTEN TYPES "memory: {limit: 1023K}\n", "3:17: limit: \"1023K\" is not a size from 1M to 1024G "
		"(64K, 256M, 1G; a bare number is bytes)\n"},
	{LISTEN TYPES "memory: {limit: -1}\n", "3:17: limit: \"-1\" is not a size from 1M to 1024G "
		"(64K, 256M, 1G; a bare number is bytes)\n"},
	{LISTEN TYPES "memory: {limit: 1.0001K}\n", "3:17: limit: \"1.0001K\" is not a size from 1M to 1024G "
		"(64K, 256M, 1G; a bare number is bytes)\n"},
	{LISTEN TYPES "memory: off\n", "3:9: memory: a text is not a mapping\n"},
	{LISTEN TYPES "redis: no\n", "3:8: redis: a text is not a mapping or off\n"},
	{LISTEN TYPES "redis: {timeout: none}\n", "3:18: timeout: \"none\" is not a duration from 1ms to 1h "
		"(250ms, 30s, 15m, 1h, 2d; a bare number is seconds)\n"},
	{LISTEN TYPES "database: {connections: 257}\n",
		"3:25: connections: \"257\" is not a whole number from 1 to 256\n"},
	{LISTEN TYPES "log: {level: loud}\n",
		"3:14: level: \"loud\" is not one of error, warning, info, debug\n"},
	{LISTEN TYPES "log: {level: {}}\n", "3:14: level: a mapping is not one of error, warning, info, debug\n"},
	{TYPE("format: xml"), "3:11: format: \"xml\" is not one of raw, json\n"},
	{TYPE("format: 'raw|json'"), "3:11: format: \"raw|json\" is not one of raw, json\n"},
	{TYPE("refuse_empty: 1"), "3:17: refuse_empty: \"1\" is not true or false\n"},
	{TYPE("jitter: 51%"), "3:11: jitter: \"51%\" is not a percentage from 0% to 50%\n"},
	{TYPE("jitter: 0.1"), "3:11: jitter: \"0.1\" is not a percentage from 0% to 50%\n"},
	{TYPE("max_value: 0"), "3:14: max_value: \"0\" is not a size from 1 to 512M "
		"(64K, 256M, 1G; a bare number is bytes)\n"},
	{TYPE("max_entries: none"), "3:16: max_entries: \"none\" is not a whole number from 0 to 1000000000\n"},
	{TYPE("negative_ttl: \"a\\nb\""), "3:17: negative_ttl: \"a?b\" is not a duration from 0 to 3650d "
		"(250ms, 30s, 15m, 1h, 2d; a bare number is seconds)\n"},
	/* URLs */
	{LISTEN TYPES "redis: {url: 'http://h'}\n", "3:14: url: the URL is not "
		"redis://[user[:password]@]host[:port][/db], unix:///path[?db=N] or off\n"},
	{LISTEN TYPES "redis: {url: 'rediss://h'}\n",
		"3:14: url: the URL asks for TLS (rediss://), which is not supported\n"},
	{LISTEN TYPES "redis: {url: 'redis://'}\n", "3:14: url: the URL needs a host name or address\n"},
	{LISTEN TYPES "redis: {url: 'redis://:1'}\n", "3:14: url: the URL needs a host name or address\n"},
	{LISTEN TYPES "redis: {url: 'redis://h h'}\n", "3:14: url: the URL needs a host name or address\n"},
	{LISTEN TYPES "redis: {url: 'redis://[::1'}\n", "3:14: url: the URL has a broken [address]\n"},
	{LISTEN TYPES "redis: {url: 'redis://[::1]1'}\n", "3:14: url: the URL has a broken [address]\n"},
	{LISTEN TYPES "redis: {url: 'redis://h:0'}\n",
		"3:14: url: the URL has a port that is not a number from 1 to 65535\n"},
	{LISTEN TYPES "redis: {url: 'redis://h:65536'}\n",
		"3:14: url: the URL has a port that is not a number from 1 to 65535\n"},
	{LISTEN TYPES "redis: {url: 'redis://h/x'}\n", "3:14: url: the URL has a database that is not a number\n"},
	{LISTEN TYPES "redis: {url: 'redis://h/2147483648'}\n",
		"3:14: url: the URL has a database that is not a number\n"},
	{LISTEN TYPES "redis: {url: 'redis://h?db=1'}\n",
		"3:14: url: the URL has a ?parameter; only unix:// takes one, ?db=N\n"},
	{LISTEN TYPES "redis: {url: 'unix:///s?password=x'}\n",
		"3:14: url: the URL has a ?parameter; only unix:// takes one, ?db=N\n"},
	{LISTEN TYPES "redis: {url: 'unix://s'}\n", "3:14: url: the URL needs an absolute path, as in unix:///path\n"},
	{LISTEN TYPES "redis: {url: 'redis://:%zz@h'}\n",
		"3:14: url: the URL has a % that is not followed by two hex digits\n"},
	{LISTEN TYPES "redis: {url: 'redis://:%00@h'}\n",
		"3:14: url: the URL has a % that is not followed by two hex digits\n"},
	{LISTEN TYPES "redis: {url: [off]}\n", "3:14: url: a list is not "
		"redis://[user[:password]@]host[:port][/db], unix:///path[?db=N] or off\n"},
	{LISTEN TYPES "database: {url: 'mysql://h'}\n",
		"3:17: url: the URL is not sqlite:///path, postgres://... or off\n"},
	{LISTEN TYPES "database: {url: 'sqlite://'}\n",
		"3:17: url: the URL is not sqlite:///path, postgres://... or off\n"},
	{LISTEN TYPES "database: {url: 'sqlite:///db?mode=ro'}\n",
		"3:17: url: the URL has a ?parameter or #fragment, which sqlite:// does not take\n"},
	{LISTEN TYPES "database: {url: 'sqlite:///%0'}\n",
		"3:17: url: the URL has a % that is not followed by two hex digits\n"},
	/* keys of types */
	{LISTEN "types: {t: {key: '', ttl: 1}}\n", "2:18: key: \"\" is empty\n"},
	{LISTEN "types: {t: {key: '{name}', ttl: 1}}\n", "2:18: key: \"{name}\" has no literal text before {name}\n"},
	{LISTEN "types: {t: {key: 'a b', ttl: 1}}\n", "2:18: key: \"a b\" holds a blank or control byte\n"},
	{LISTEN "types: {t: {key: \"a\\x7f\", ttl: 1}}\n", "2:18: key: \"a?\" holds a blank or control byte\n"},
	{LISTEN "types: {t: {key: 'a:{id}', ttl: 1}}\n",
		"2:18: key: \"a:{id}\" may hold braces only as one {name} at its end\n"},
	{LISTEN "types: {t: {key: 'a:{name}:b', ttl: 1}}\n",
		"2:18: key: \"a:{name}:b\" may hold braces only as one {name} at its end\n"},
	{LISTEN "types: {t: {key: 'a:{name}{name}', ttl: 1}}\n",
		"2:18: key: \"a:{name}{name}\" may hold braces only as one {name} at its end\n"},
	{LISTEN "types: {t: {key: 'a}', ttl: 1}}\n", "2:18: key: \"a}\" may hold braces only as one {name} at its end\n"},
	{LISTEN "types: {t: {key: 'catcached:x', ttl: 1}}\n",
		"2:18: key: \"catcached:x\" would claim the daemon's own keys, which begin with catcached:\n"},
	{LISTEN "types: {t: {key: 'cat{name}', ttl: 1}}\n",
		"2:18: key: \"cat{name}\" would claim the daemon's own keys, which begin with catcached:\n"},
	{LISTEN "types:\n  a: {key: 'x:{name}', ttl: 1}\n  b: {key: 'y', ttl: 1}\n  c: {key: 'x:{name}', ttl: 1}\n",
		"5:12: key: the same as that of type \"a\" on line 3\n"},
	/* keys that must agree */
	{TYPE("memory_ttl: 2m"), "3:15: memory_ttl: 2m is longer than ttl\n"},
	{TYPE("memory_ttl: none"), "3:15: memory_ttl: none is longer than ttl\n"},
	{TYPE("tiers: []"), "3:10: tiers: at least one of memory and redis must be on\n"},
	{TYPE("tiers: {memory: no, redis: no}"), "3:10: tiers: at least one of memory and redis must be on\n"},
	{TYPE("tiers: [disk, memory, memory, []]"), "3:11: tiers: \"disk\" is not memory or redis\n"
		"3:25: tiers: \"memory\" is listed twice\n3:33: tiers: \"\" is not memory or redis\n"},
	{TYPE("tiers: memory"), "3:10: tiers: a text is not a list or mapping of tiers\n"},
	{LISTEN "types: {t: {key: k, ttl: 1, hash_names: true}}\n",
		"2:41: hash_names: the key has no {name} to hash\n"},
	/* fetches */
	{TYPE("fetch: {}"), "3:3: fetch: one of sql, exec and assemble is needed\n"},
	{TYPE("fetch: x"), "3:10: fetch: a text is not a mapping\n"},
	{FETCH("sql: x, exec: [/x]"), "4:11: exec: the fetch has sql already\n"},
	{FETCH("sql: ''"), "4:8: sql: \"\" is not a text of at least one character\n"},
	{FETCH("sql: x, shape: table"), "4:18: shape: \"table\" is not one of rows, row, value\n"},
	{FETCH("exec: [/x], shape: row"), "4:15: shape: goes with sql only\n"},
	{FETCH("exec: []"), "4:9: exec: a program is needed\n"},
	{FETCH("exec: /bin/x"), "4:9: exec: \"/bin/x\" is not a list of words\n"},
	{FETCH("exec: [x]"), "4:10: exec: \"x\" is not an absolute path\n"},
	{FETCH("exec: ['/bin/{name}']"), "4:10: exec: which program runs must not depend on the key\n"},
	{FETCH("exec: [x, y]"), "4:10: exec: \"x\" is not an absolute path\n"},
	{FETCH("exec: {a: b}"), "4:9: exec: a mapping is not a list of words\n"},
	{FETCH("exec: [[], y]"), "4:10: exec: an empty list is not a word\n"},
	{FETCH("exec: [/x, '{id}', {}]"), "4:14: exec: \"{id}\" holds a placeholder other than {type} and {name}\n"
		"4:22: exec: a mapping is not a word\n"},
	{FETCH("assemble: {}"), "4:3: missing key \"sql\"\n4:3: missing key \"from\"\n"},
	{FETCH("assemble: {sql: x, from: nobody}"), "4:28: from: there is no type \"nobody\"\n"},
	{FETCH("assemble: {sql: x, from: t}"), "4:28: from: type \"t\" is not of format json\n"},
	{TYPE("fetch: {sql: x}"), "3:11: sql: needs a database, and that is off\n"},
	{LISTEN "types: {t: {key: t, ttl: 1, fetch: {assemble: {sql: x, from: t}}}}\n",
		"2:37: assemble: needs a database, and that is off\n"
		"2:62: from: type \"t\" has no {name}, so it has no parts\n"},
	{CIRCLE, "4:79: from: type \"a\" would be assembled from itself\n"
		"5:79: from: type \"b\" would be assembled from itself\n"},
	{FETCH("sql: 'SELECT :id, :ID'"), "4:8: sql: unknown parameter :id: the only one is :name\n"},
	{FETCH("sql: 'SELECT :name, :names'"), "4:8: sql: unknown parameter :names: the only one is :name\n"},
	{FETCH("sql: 'postgres://u:secret@h'"), "4:8: sql: unknown parameter: the only one is :name\n"},
	{FETCH("assemble: {sql: 'SELECT :name', from: t}"), "4:19: sql: a query for the parts takes no parameter\n"
		"4:41: from: type \"t\" is not of format json\n"},
	{FETCH("assemble: {sql: 'SELECT :id', from: u}, timeout: 1"),
		"4:19: sql: a query for the parts takes no parameter\n4:39: from: there is no type \"u\"\n"},
	{LISTEN "database: {url: 'sqlite:///db'}\ntypes:\n"
		"  parts: {key: 'p:{name}', ttl: 1, format: json}\n"
		"  whole: {key: w, ttl: 1, fetch: {assemble: {sql: x, from: part}}}\n",
		"5:60: from: there is no type \"part\"; did you mean \"parts\"?\n"},
	{FETCH("sql: x, soft_timeout: 1s"), "4:11: soft_timeout: needs stale_if_error\n"},
	{FETCH("sql: x, soft_timeout: 1s}, stale_if_error: 0, tiers: {"), "4:11: soft_timeout: needs stale_if_error\n"},
	{FETCH("sql: x, soft_timeout: 10s}, stale_if_error: 1h, tiers: {"),
		"4:25: soft_timeout: 10s is not shorter than the timeout of the fetch\n"},
	{FETCH("soft_timeout: 2s, exec: [/x], timeout: 1.5s}, stale_if_error: 1h, tiers: {"),
		"4:17: soft_timeout: 2s is not shorter than the timeout of the fetch\n"},
	{FETCH("sql: x, soft_timeout: 1d"), "4:25: soft_timeout: \"1d\" is not a duration from 1ms to 1h " DURATION_HINT},
	{FETCH("sql: x, soft_timeout: 0}, stale_if_error: 1, tiers: {"),
		"4:25: soft_timeout: \"0\" is not a duration from 1ms to 1h " DURATION_HINT},
	/* old values */
	{TYPE("stale_while_revalidate: 1m"), "3:3: stale_while_revalidate: needs a fetch\n"},
	{TYPE("stale_if_error: 1m"), "3:3: stale_if_error: needs a fetch\n"},
	{TYPE("refresh_ahead: 90%"), "3:3: refresh_ahead: needs a fetch\n"},
	{TYPE("max_shrink: 50%"), "3:3: max_shrink: needs a fetch\n"},
	{FETCHED("ttl: none, stale_while_revalidate: 1m"), "4:14: stale_while_revalidate: needs a ttl that is not none\n"},
	{FETCHED("ttl: none, stale_if_error: 1m"), "4:14: stale_if_error: needs a ttl that is not none\n"},
	{FETCHED("ttl: none, refresh_ahead: 90%"), "4:14: refresh_ahead: needs a ttl that is not none\n"},
	{FETCHED("ttl: 1, stale_while_revalidate: none"),
		"4:35: stale_while_revalidate: \"none\" is not a duration from 0 to 3650d " DURATION_HINT},
	{FETCHED("ttl: 1, stale_if_error: 3651d"), "4:27: stale_if_error: \"3651d\" is not a duration from 0 to 3650d " DURATION_HINT},
	{FETCHED("ttl: 1, refresh_ahead: 9%"), "4:26: refresh_ahead: \"9%\" is not a percentage from 10% to 99%\n"},
	{FETCHED("ttl: 1, refresh_ahead: 100%"), "4:26: refresh_ahead: \"100%\" is not a percentage from 10% to 99%\n"},
	{FETCHED("ttl: 1, max_shrink: 0%"), "4:23: max_shrink: \"0%\" is not a percentage from 1% to 99%\n"},
	{FETCHED("ttl: 1, max_shrink: 99.5%"), "4:23: max_shrink: \"99.5%\" is not a percentage from 1% to 99%\n"},
	/* cascades */
	{FOUR(", invalidates: b", "", "", ""), "3:38: invalidates: \"b\" is not a list of types\n"},
	{FOUR(", invalidates: {b: c}", "", "", ""), "3:38: invalidates: a mapping is not a list of types\n"},
	{FOUR(", invalidates: [b, [c], '', e]", "", "", ""), "3:42: invalidates: there is no type \"\"\n"
		"3:47: invalidates: there is no type \"\"\n3:51: invalidates: there is no type \"e\"\n"},
	{LISTEN "types: {full_catalog: {key: a, ttl: 1, invalidates: [ful_catalogs]}, full_catalogs: {key: b, ttl: 1}}\n",
		"2:54: invalidates: there is no type \"ful_catalogs\"; did you mean \"full_catalogs\"?\n"},
	{LISTEN "types: {stats: {key: a, ttl: 1, invalidates: [stat]}}\n", "2:47: invalidates: there is no type \"stat\"\n"},
	{FOUR(", invalidates: ['redis://:secret@h']", "", "", ""), "3:39: invalidates: there is no type \"redis://...\"\n"},
	{FOUR("", ", invalidates: [a, b]", "", ""), "4:42: invalidates: type \"b\" would invalidate itself\n"},
	{FOUR(", invalidates: [b, c, b]", "", "", ""), "3:45: invalidates: \"b\" is listed twice\n"},
	{FOUR(", invalidates: [b]", ", invalidates: [a]", "", ""), "4:39: invalidates: a -> b -> a is a cycle\n"},
	{FOUR(", invalidates: [b]", ", invalidates: [c]", ", invalidates: [d]", ", invalidates: [a, b]"),
		"6:39: invalidates: a -> b -> c -> d -> a is a cycle\n6:42: invalidates: b -> c -> d -> b is a cycle\n"},
	{FOUR(", invalidates: [d]", ", invalidates: [c]", ", invalidates: [d, b]", ""),
		"5:42: invalidates: b -> c -> b is a cycle\n"},
	{FOUR(", debounce: 1s", "", "", ""), "3:25: debounce: needs invalidates\n"},
	{FOUR(", invalidates: [b], debounce: 2h", "", "", ""), "3:53: debounce: \"2h\" is not a duration from 0 to 1h " DURATION_HINT},
	/* the guard */
	{LISTEN TYPES "guard: ''\n", "3:8: guard: \"\" is empty\n"},
	{LISTEN TYPES "guard: a b\n", "3:8: guard: \"a b\" holds a blank or control byte\n"},
	{LISTEN TYPES "guard: \"a\\x7f\"\n", "3:8: guard: \"a?\" holds a blank or control byte\n"},
	{LISTEN TYPES "guard: \"a\\0b\"\n", "3:8: a NUL byte in a text\n"},
	{LISTEN TYPES "guard: catcached:x\n",
		"3:8: guard: \"catcached:x\" is one of the daemon's own keys, which begin with catcached:\n"},
	{LISTEN TYPES "guard: [a]\n", "3:8: guard: a list is not a key\n"},
	/* one mistake is one error: what follows from it is not told */
	{LISTEN TYPES "guard: a\nredis: x\n", "4:8: redis: a text is not a mapping or off\n"},
	{TYPE("fetch: x, max_shrink: 1%"), "3:10: fetch: a text is not a mapping\n"},
	{TYPE("stale_if_error: x"), "3:19: stale_if_error: \"x\" is not a duration from 0 to 3650d " DURATION_HINT},
	{FETCHED("ttl: x, refresh_ahead: 10%"), "4:8: ttl: \"x\" is not a duration from 1ms to 3650d or none " DURATION_HINT},
	{FETCHED("refresh_ahead: 10%"), "3:9: missing key \"ttl\"\n"},
	{FETCH("sql: x, soft_timeout: 1s}, stale_if_error: x, tiers: {"),
		"4:46: stale_if_error: \"x\" is not a duration from 0 to 3650d " DURATION_HINT},
	{FETCH("sql: x, soft_timeout: 11s, timeout: x}, stale_if_error: 1, tiers: {"),
		"4:39: timeout: \"x\" is not a duration from 1ms to 1h " DURATION_HINT},
	{LISTEN "database: {url: 'sqlite:///db', timeout: x}\ntypes: {t: {key: k, ttl: 1, stale_if_error: 1,\n"
		"  fetch: {sql: x, soft_timeout: 1}}}\n", "2:42: timeout: \"x\" is not a duration from 1ms to 1h " DURATION_HINT},
	{FOUR(", invalidates: x, debounce: 1s", "", "", ""), "3:38: invalidates: \"x\" is not a list of types\n"},
	{FOUR(", invalidates: [b, *x]", "", "", ""), "3:42: aliases (*name) are not supported: write the value out\n"},
	{TYPE("memory_ttl: x, ttl: 5"), "3:15: memory_ttl: \"x\" is not a duration from 1ms to 3650d or none "
		"(250ms, 30s, 15m, 1h, 2d; a bare number is seconds)\n"
		"3:18: key \"ttl\" is given twice; the first is on line 2\n"},
	{LISTEN "types: {t: {key: k, ttl: x, memory_ttl: 1h}}\n",
		"2:26: ttl: \"x\" is not a duration from 1ms to 3650d or none "
		"(250ms, 30s, 15m, 1h, 2d; a bare number is seconds)\n"},
	{LISTEN "database: {url: x}\ntypes: {t: {key: k, ttl: 1, fetch: {sql: x}}}\n",
		"2:17: url: the URL is not sqlite:///path, postgres://... or off\n"},
	{LISTEN "database: [x]\ntypes: {t: {key: k, ttl: 1, fetch: {sql: x}}}\n",
		"2:11: database: a list is not a mapping or off\n"},
	{TYPE("tiers: {memory: maybe, redis: no}"), "3:19: memory: \"maybe\" is not true or false\n"},
	{LISTEN "database: {url: 'sqlite:///x'}\ntypes:\n"
		"  a: {key: 'a', ttl: 1, fetch: {assemble: {sql: x, from: b}}}\n"
		"  b: {key: '{name}', ttl: 1, format: jsn}\n",
		"5:12: key: \"{name}\" has no literal text before {name}\n5:38: format: \"jsn\" is not one of raw, json\n"},
	{"listen: *x\n" TYPES, "1:9: aliases (*name) are not supported: write the value out\n"},
	{LISTEN TYPES "redis: ${CONF_UNSET}\nlog: {level: *x}\n",
		"3:8: environment variable CONF_UNSET is not set; ${CONF_UNSET:-default} would give it a default\n"
		"4:14: aliases (*name) are not supported: write the value out\n"},
};

START_TEST(each_mistake_has_its_message_and_place)
{
	unsetenv("CONF_UNSET");
	refuses(wrong[_i].text, wrong[_i].expected);
}
END_TEST

START_TEST(all_errors_come_at_once_in_the_order_of_lines)
{
	refuses("types:\n"
		"  a:\n"
		"    key: \"a b\"\n"
		"    tll: 5\n"
		"    fetch: {assemble: {sql: x, from: b}}\n"
		"    fetch: 1\n"
		"  b: {key: b, ttl: 1, memory_ttl: 2}\n"
		"log: {level: x}\n"
		"listen: {path: '${CONF_UNSET}'}\n",
		"2:3: missing key \"ttl\"\n"
		"3:10: key: \"a b\" holds a blank or control byte\n"
		"4:5: unknown key \"tll\"; did you mean \"ttl\"?\n"
		"5:13: assemble: needs a database, and that is off\n"
		"5:38: from: type \"b\" has no {name}, so it has no parts\n"
		"6:5: key \"fetch\" is given twice; the first is on line 5\n"
		"7:35: memory_ttl: 2 is longer than ttl\n"
		"8:14: level: \"x\" is not one of error, warning, info, debug\n"
		"9:16: environment variable CONF_UNSET is not set; ${CONF_UNSET:-default} would give it a default\n");
}
END_TEST

START_TEST(errors_name_the_file_and_are_added_to_those_before)
{
	ck_assert_ptr_null(conf_load("/nonexistent.yaml", &errors));
	ck_assert_ptr_null(conf_load("/", &errors));
	ck_assert_uint_eq(errors.n, 2);
	ck_assert_str_eq(errors.lines[0], "/nonexistent.yaml:1:1: cannot open: No such file or directory");
	ck_assert_str_eq(errors.lines[1], "/:1:1: cannot read: Is a directory");
}
END_TEST

START_TEST(no_error_shows_a_password)
{
	static const char *const texts[] = {
		"redis: {url: 'redis://u:s3cret@h:x'}", "redis: {url: 'redis://u:s3/cret@h'}",
		"redis: {url: 'redis://u:s3cret%@h'}", "redis: {url: 'rediss://:s3cret@h'}",
		"redis: {url: ':s3cret@h'}", "redis: ':s3cret@h'", "redis: 'redis://:s3cret@h'",
		"database: {url: 'mysql://u:s3cret@h'}", "database: {url: 'u:s3cret@h'}", "database: 'u:s3cret@h'",
		"redis: {timeout: 'redis://:s3cret@h'}", "redis: {'redis://:s3cret@h': x}",
		"redis: {url: '${A:-redis://:s3cret@${HOST}}'}", "redis: {url: '${REDIS URL:-redis://:s3cret@h}'}",
		"redis: {url: *s3cret}", "redis: {url: [s3cret]}", "redis: {url: redis://:s3cret@h, url: redis://:s3cret@h}"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		char text[256];
		snprintf(text, sizeof text, LISTEN TYPES "%s\n", texts[i]);
		load_bytes(text, strlen(text));
		ck_assert_msg(errors.n > 0, "%s", text);
		for (size_t j = 0; j < errors.n; j++)
			ck_assert_msg(!strstr(errors.lines[j], "s3"), "%s", errors.lines[j]);
	}
}
END_TEST

START_TEST(paths_and_keys_may_be_as_long_as_can_be_and_no_longer)
{
	struct buf b = BUF_INIT;
	for (size_t extra = 0; extra < 2; extra++) {
		buf_addf(&b, "listen: {path: /%0*d}\nguard: %0*d\ntypes:\n  a: {key: %0*d, ttl: 1}\n  b: {key: 'b%0*d{name}', ttl: 1}\n",
			106 + (int)extra, 0, CONF_KEY_MAX + (int)extra, 0, CONF_KEY_MAX + (int)extra, 0, CONF_KEY_MAX - 2 + (int)extra, 0);
		load_bytes(b.data, b.len);
		ck_assert_uint_eq(errors.n, extra ? 4 : 0);
		buf_free(&b);
	}
}
END_TEST

/* ---- which type a key belongs to ---- */

static const char *match(const char *key)
{
	const struct conf_type *t = conf_match(conf, key, strlen(key));
	return t ? t->name : "none";
}

START_TEST(the_longest_literal_prefix_wins)
{
	load(LISTEN "types:\n"
		"  models: {key: 'models:{name}', ttl: 1}\n"
		"  unique: {key: 'models:unique', ttl: 1}\n"
		"  gateway: {key: 'models:gateway:{name}', ttl: 1}\n"
		"  bare: {key: 'models:gateway:', ttl: 1}\n"
		"  m: {key: 'm{name}', ttl: 1}\n"
		"  tool: {key: 'tool:{name}', ttl: 1}\n");
	ck_assert_str_eq(match("models:x"), "models");
	ck_assert_str_eq(match("models:unique"), "unique");
	ck_assert_str_eq(match("models:unique2"), "models");
	ck_assert_str_eq(match("models:uniqu"), "models");
	ck_assert_str_eq(match("models:gateway:x"), "gateway");
	ck_assert_str_eq(match("models:gateway:"), "bare");
	ck_assert_str_eq(match("models:gateway"), "models");
	ck_assert_str_eq(match("models:zzz"), "models");
	ck_assert_str_eq(match("models:"), "m");
	ck_assert_str_eq(match("m"), "none");
	ck_assert_str_eq(match(""), "none");
	ck_assert_str_eq(match("tool:"), "none");
	ck_assert_str_eq(match("tool:{name}"), "tool");
	ck_assert_str_eq(match("zebra"), "none");
	ck_assert_str_eq(match("\xff"), "none");
	ck_assert_ptr_eq(conf_match(conf, "tool:\0", 6), &conf->types[5]);
	ck_assert_ptr_null(conf_match(conf, "models", 1));
}
END_TEST

/* What conf_match should find, the slow way. */
static const struct conf_type *match_slowly(const char *key, size_t len)
{
	const struct conf_type *best = NULL;
	for (size_t i = 0; i < conf->n_types; i++) {
		const struct conf_type *t = &conf->types[i];
		bool fits = memcmp(t->key, key, t->prefix_len < len ? t->prefix_len : len) == 0 &&
			(t->exact ? t->prefix_len == len : t->prefix_len < len);
		if (fits && (!best || t->prefix_len > best->prefix_len))
			best = t;
	}
	return best;
}

static size_t random_word(char *to, size_t max, const char *letters)
{
	size_t len = 1 + (size_t)rand() % max;
	for (size_t i = 0; i < len; i++)
		to[i] = letters[(size_t)rand() % strlen(letters)];
	to[len] = '\0';
	return len;
}

START_TEST(matching_agrees_with_trying_every_type)
{
	srand(1);
	for (int round = 0; round < 50; round++) {
		struct buf b = BUF_INIT;
		char word[16], seen[40][16] = {{0}};
		buf_add_str(&b, LISTEN "types:\n");
		for (int i = 0; i < 40; i++) {
			random_word(word, 6, "ab");
			bool twice = false;
			for (int j = 0; j < i; j++)
				twice = twice || strcmp(seen[j], word) == 0;
			strcpy(seen[i], word);
			if (!twice)
				buf_addf(&b, "  t%d: {key: '%s%s', ttl: 1}\n", i, word, rand() % 2 ? "{name}" : "");
		}
		load_bytes(b.data, b.len);
		ck_assert_ptr_nonnull(conf);
		for (int i = 0; i < 500; i++) {
			size_t len = random_word(word, 9, "abc");
			ck_assert_ptr_eq(conf_match(conf, word, len), match_slowly(word, len));
		}
		buf_free(&b);
	}
}
END_TEST

START_TEST(types_are_found_by_their_whole_name)
{
	load(LISTEN "types: {ab: {key: k, ttl: 1}, abc: {key: l, ttl: 1}}\n");
	ck_assert_ptr_eq(conf_type_named(conf, "ab", 2), &conf->types[0]);
	ck_assert_ptr_eq(conf_type_named(conf, "abcd", 3), &conf->types[1]);
	ck_assert_ptr_null(conf_type_named(conf, "abcd", 4));
	ck_assert_ptr_null(conf_type_named(conf, "", 0));
}
END_TEST

/* ---- the shipped file ---- */

static const struct conf_type *shipped_type(const char *name)
{
	const struct conf_type *t = conf_type_named(conf, name, strlen(name));
	ck_assert_msg(t != NULL, "%s", name);
	return t;
}

static void load_shipped(void)
{
	teardown();
	conf = conf_load(SHIPPED, &errors);
	ck_assert_msg(conf != NULL, "%s", errors.n ? errors.lines[0] : "");
}

START_TEST(shipped_file_declares_the_twelve_types)
{
	static const struct { const char *name, *key; int64_t ttl_s; uint64_t entries; bool redis, hashed, fetched; }
	types[] = {
		{"full_catalog", "models:catalog:full", 900, 1, true, false, true},
		{"provider_catalog", "models:provider:{name}", 1800, 0, true, false, true},
		{"gateway_catalog", "models:gateway:{name}", 1800, 0, true, false, true},
		{"model_metadata", "models:model:{name}", 3600, 0, true, false, true},
		{"pricing", "models:pricing:{name}", 3600, 0, true, false, true},
		{"unique_models", "models:unique", 1800, 1, true, false, true},
		{"catalog_stats", "models:stats", 900, 1, true, false, true},
		{"routing_provider", "routing:provider:{name}", 300, 50, true, false, true},
		{"routing_model", "routing:model:{name}", 180, 100, true, true, false},
		{"routing_fallback", "routing:fallback:{name}", 600, 50, true, true, false},
		{"tool_name", "tool:{name}", 0, 200, false, false, false},
		{"provider_state", "provider:{name}", 900, 0, true, false, false}};
	clearenv();
	load_shipped();
	ck_assert_uint_eq(conf->n_types, sizeof types / sizeof *types);
	for (size_t i = 0; i < conf->n_types; i++) {
		const struct conf_type *t = &conf->types[i];
		ck_assert_str_eq(t->name, types[i].name);
		ck_assert_str_eq(t->key, types[i].key);
		ck_assert_int_eq(t->ttl_ms, types[i].ttl_s * 1000);
		ck_assert_uint_eq(t->max_entries, types[i].entries);
		ck_assert(t->in_memory && t->in_redis == types[i].redis);
		ck_assert(t->hash_names == types[i].hashed);
		ck_assert((t->fetch.kind != CONF_FETCH_NONE) == types[i].fetched);
	}
	ck_assert_str_eq(conf->listen_path, "/run/catcached/catcached.sock");
	ck_assert_str_eq(conf->redis.url, "redis://127.0.0.1:6379/0");
	ck_assert_str_eq(conf->database.url, "/var/lib/catcached/catalog.db");
	ck_assert_ptr_eq(shipped_type("full_catalog")->fetch.from_type, shipped_type("provider_catalog"));
}
END_TEST

START_TEST(shipped_file_keeps_old_catalogs_and_clears_what_is_made_of_new_ones)
{
	clearenv();
	load_shipped();
	ck_assert_str_eq(conf->guard, "models:sync:in_progress");
	for (size_t i = 0; i < conf->n_types; i++) {
		const struct conf_type *t = &conf->types[i];
		bool one_model = strcmp(t->name, "model_metadata") == 0 || strcmp(t->name, "pricing") == 0;
		bool catalog = i < 7, stats = strcmp(t->name, "catalog_stats") == 0;
		ck_assert_int_eq(t->stale_while_revalidate_ms, catalog ? 60000 : 0);
		ck_assert_int_eq(t->stale_if_error_ms, catalog ? 3600000 : 0);
		ck_assert((t->fetch.soft_timeout_ms > 0) == catalog);
		ck_assert_double_eq(t->refresh_ahead, catalog && !one_model ? 0.9 : 0);
		ck_assert_double_eq(t->max_shrink, catalog && !one_model && !stats ? 0.5 : 0);
		ck_assert_double_eq(t->jitter, catalog && !t->exact ? 0.05 : 0);
		bool parts = strcmp(t->name, "provider_catalog") == 0 || strcmp(t->name, "gateway_catalog") == 0;
		ck_assert_uint_eq(t->n_invalidates, parts ? 3 : 0);
		ck_assert_int_eq(t->debounce_ms, parts ? 1000 : 0);
		if (!parts)
			continue;
		ck_assert_ptr_eq(t->invalidates[0], shipped_type("full_catalog"));
		ck_assert_ptr_eq(t->invalidates[1], shipped_type("unique_models"));
		ck_assert_ptr_eq(t->invalidates[2], shipped_type("catalog_stats"));
	}
}
END_TEST

START_TEST(shipped_file_takes_each_variable)
{
	clearenv();
	setenv("REDIS_URL", "unix:///run/redis.sock", 1);
	setenv("DATABASE_URL", "postgresql://u@h/db", 1);
	setenv("ROUTING_CACHE_PROVIDER_TTL_SECS", "1", 1);
	setenv("ROUTING_CACHE_MODEL_TTL_SECS", "2", 1);
	setenv("ROUTING_CACHE_FALLBACK_TTL_SECS", "3", 1);
	load_shipped();
	ck_assert_str_eq(conf->redis.unix_path, "/run/redis.sock");
	ck_assert_int_eq(conf->database.kind, CONF_DATABASE_POSTGRES);
	ck_assert_int_eq(shipped_type("routing_provider")->ttl_ms, 1000);
	ck_assert_int_eq(shipped_type("routing_model")->ttl_ms, 2000);
	ck_assert_int_eq(shipped_type("routing_fallback")->ttl_ms, 3000);
	ck_assert(shipped_type("routing_model")->in_redis);
	setenv("ROUTING_CACHE_ENABLE_REDIS", "false", 1);
	load_shipped();
	for (size_t i = 0; i < conf->n_types; i++) {
		const struct conf_type *t = &conf->types[i];
		bool routing = strncmp(t->name, "routing_", 8) == 0, alone = strcmp(t->name, "tool_name") == 0;
		ck_assert(t->in_memory && t->in_redis == !(routing || alone));
	}
}
END_TEST

static void read_whole(const char *name, struct buf *b)
{
	FILE *f = fopen(name, "r");
	ck_assert_msg(f != NULL, "%s: run in the project's folder", name);
	char chunk[4096];
	for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0; )
		buf_add(b, chunk, n);
	fclose(f);
}

/* Cuts, doubles, swaps and overwrites pieces of b. */
static void mutate(struct buf *b)
{
	static const char *const bits[] = {"{", "}", "[", "]", ":", "\n", "  ", "${", "\"", "'", "&a ", "*a", "!", "- ",
		"\t", "|\n", "\xff", "? ", "---\n", "off", "99999999999999999999", "<<", "#", "%"};
	for (int n = 1 + rand() % 4; n > 0 && b->len > 1; n--) {
		size_t at = (size_t)rand() % b->len, len = (size_t)rand() % (b->len - at);
		const char *bit = bits[(size_t)rand() % (sizeof bits / sizeof *bits)];
		size_t bit_len = strlen(bit) < b->len - at ? strlen(bit) : b->len - at;
		switch (rand() % 4) {
		case 0:
			memcpy(b->data + at, bit, bit_len);
			break;
		case 1:
			b->data[at] = (char)rand();
			break;
		case 2:
			memmove(b->data + at, b->data + at + len % 40, b->len - at - len % 40);
			b->len -= len % 40;
			break;
		default:
			memmove(b->data + (size_t)rand() % (b->len - len), b->data + at, len);
		}
	}
}

START_TEST(a_mangled_file_never_crashes)
{
	struct buf whole = BUF_INIT;
	read_whole(SHIPPED, &whole);
	srand(2);
	for (int i = 0; i < 2000; i++) {
		struct buf b = BUF_INIT;
		buf_add(&b, whole.data, whole.len);
		mutate(&b);
		load_bytes(b.data, b.len);
		buf_free(&b);
	}
	for (size_t len = 0; len < whole.len; len += 7)
		load_bytes(whole.data, len);
	buf_free(&whole);
}
END_TEST

/* ---- the documentation ---- */

/* Puts a NUL behind the line at p; returns the next one, or NULL. */
static char *next_line(char *p)
{
	char *end = strchr(p, '\n');
	if (!end)
		return NULL;
	*end = '\0';
	return end + 1;
}

/* One line of conf_describe, cut at the two blanks or more between its columns. */
static void split_columns(char *line, char *columns[3])
{
	for (int i = 0; i < 3; i++) {
		columns[i] = line;
		char *end = i < 2 ? strstr(line, "  ") : NULL;
		ck_assert_msg(i == 2 || end, "%s", columns[0]);
		if (end) {
			*end = '\0';
			line = end + 1 + strspn(end + 1, " ");
		}
	}
}

static void describe(struct buf *b)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	conf_describe(out);
	fclose(out);
	buf_add(b, text, len);
	buf_add_char(b, '\0');
	free(text);
}

START_TEST(every_key_has_its_facts_in_the_manual_page)
{
	struct buf page = BUF_INIT, keys = BUF_INIT;
	read_whole(MANUAL, &page);
	buf_add_char(&page, '\0');
	describe(&keys);
	size_t n = 0;
	for (char *line = keys.data, *next; (next = next_line(line)); line = next, n++) {
		char *columns[3];
		split_columns(line, columns);
		char *entry = xasprintf("\n.TP\n.B %s\n%s.\n", columns[0], columns[1]);
		ck_assert_msg(strstr(page.data, entry) != NULL, "no entry in " MANUAL ":%s", entry);
		free(entry);
	}
	ck_assert_uint_gt(n, 30);
	buf_free(&keys);
	buf_free(&page);
}
END_TEST

START_TEST(every_entry_of_the_manual_page_is_a_key)
{
	struct buf page = BUF_INIT, keys = BUF_INIT;
	read_whole(MANUAL, &page);
	buf_add_char(&page, '\0');
	buf_add_char(&keys, '\n');
	describe(&keys);
	char *line = strstr(page.data, "\n.SH KEYS\n"), *end = strstr(page.data, "\n.SH LIFE OF A VALUE\n");
	ck_assert(line && end);
	*end = '\0';
	size_t n = 0;
	while ((line = strstr(line, "\n.TP\n.B "))) {
		line += strlen("\n.TP\n.B ");
		char *key = xasprintf("\n%.*s  ", (int)strcspn(line, "\n"), line);
		ck_assert_msg(strstr(keys.data, key) != NULL, "no such key:%s", key);
		free(key);
		n++;
	}
	ck_assert_uint_gt(n, 30);
	buf_free(&keys);
	buf_free(&page);
}
END_TEST

START_TEST(the_example_of_the_manual_page_is_a_right_file)
{
	struct buf page = BUF_INIT, example = BUF_INIT;
	read_whole(MANUAL, &page);
	buf_add_char(&page, '\0');
	const char *p = strstr(page.data, "\n.SH EXAMPLES\n.EX\n"), *end = p ? strstr(p, "\n.EE\n") : NULL;
	ck_assert(p && end);
	for (p += strlen("\n.SH EXAMPLES\n.EX\n"); p < end; p++) {
		if (*p != '\\')
			buf_add_char(&example, *p);
	}
	buf_add_char(&example, '\0');
	clearenv();
	ck_assert_uint_eq(load(example.data)->n_types, 4);
	buf_free(&example);
	buf_free(&page);
}
END_TEST

static TCase *values(void)
{
	TCase *tc = tcase_create("values");
	tcase_add_test(tc, smallest_file_gets_every_default);
	tcase_add_test(tc, smallest_type_gets_every_default);
	tcase_add_test(tc, every_key_of_a_section_reaches_its_field);
	tcase_add_test(tc, every_key_of_a_type_reaches_its_field);
	tcase_add_test(tc, durations_have_units_and_bare_numbers_are_seconds);
	tcase_add_test(tc, what_is_no_duration_is_refused);
	tcase_add_test(tc, sizes_are_powers_of_1024);
	tcase_add_test(tc, booleans_have_six_spellings_and_their_capitals);
	tcase_add_test(tc, tiers_are_a_list_or_a_mapping_that_a_variable_can_switch);
	tcase_add_test(tc, off_runs_without_redis_and_without_database);
	tcase_add_test(tc, sections_without_keys_have_their_defaults);
	tcase_add_test(tc, the_http_port_has_an_address_or_there_is_none);
	tcase_add_test(tc, redis_urls_are_taken_apart);
	tcase_add_test(tc, database_urls_say_which_kind_it_is);
	tcase_add_test(tc, every_type_with_a_fetch_may_keep_old_values);
	tcase_add_test(tc, cascades_may_meet_and_branch_but_need_not_wait);
	tcase_add_test(tc, what_only_looks_like_a_parameter_is_let_through);
	return tc;
}

static TCase *mistakes(void)
{
	TCase *tc = tcase_create("mistakes");
	tcase_add_loop_test(tc, each_mistake_has_its_message_and_place, 0, sizeof wrong / sizeof *wrong);
	tcase_add_test(tc, all_errors_come_at_once_in_the_order_of_lines);
	tcase_add_test(tc, errors_name_the_file_and_are_added_to_those_before);
	tcase_add_test(tc, no_error_shows_a_password);
	tcase_add_test(tc, paths_and_keys_may_be_as_long_as_can_be_and_no_longer);
	tcase_add_test(tc, a_mangled_file_never_crashes);
	tcase_set_timeout(tc, 60);
	return tc;
}

static TCase *uses(void)
{
	TCase *tc = tcase_create("uses");
	tcase_add_test(tc, the_longest_literal_prefix_wins);
	tcase_add_test(tc, matching_agrees_with_trying_every_type);
	tcase_add_test(tc, types_are_found_by_their_whole_name);
	tcase_add_test(tc, shipped_file_declares_the_twelve_types);
	tcase_add_test(tc, shipped_file_keeps_old_catalogs_and_clears_what_is_made_of_new_ones);
	tcase_add_test(tc, shipped_file_takes_each_variable);
	tcase_add_test(tc, every_key_has_its_facts_in_the_manual_page);
	tcase_add_test(tc, every_entry_of_the_manual_page_is_a_key);
	tcase_add_test(tc, the_example_of_the_manual_page_is_a_right_file);
	return tc;
}

int main(void)
{
	TCase *cases[] = {values(), mistakes(), uses()};
	Suite *suite = suite_create("conf");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		tcase_add_checked_fixture(cases[i], NULL, teardown);
		suite_add_tcase(suite, cases[i]);
	}
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
