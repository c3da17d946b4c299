/* The kinds of values: how each is read, and what errors and documentation call
 * it; see kind.h. */
#include "kind.h"

#include <ctype.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../proto/buf.h"
#include "conf.h"
#include "schema.h"
#include "url.h"
#include "yaml.h"

_Static_assert(CONF_RAW == 0 && CONF_JSON == 1, "the order of the words of format");
_Static_assert(CONF_ROWS == 0 && CONF_ROW == 1 && CONF_VALUE == 2, "the order of the words of shape");
_Static_assert(sizeof ((struct sockaddr_un *)0)->sun_path == 108, "the length that KIND_SOCKET tells");
_Static_assert(sizeof(enum conf_format) == sizeof(unsigned), "KIND_CHOICE is stored as unsigned");

/* Readers. A reader stores in base what text says and returns NULL, or says why
 * it cannot: the end of a sentence that begins with the value, or UNEXPECTED when
 * there is no more to say than what the kind expects. */

static const char UNEXPECTED[] = "";

static void *field_of(const struct schema_row *row, void *base)
{
	return (char *)base + row->offset;
}

struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit count_units[] = {{"", 1}, {0}};
static const struct unit duration_units[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {"", 1000}, {0}
};
static const struct unit size_units[] = {{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"", 1}, {0}};
static const struct unit percent_units[] = {{"%", 1000}, {0}};  /* the smallest is 0.001% */

static const struct unit *const units[] = {
	[KIND_COUNT] = count_units,
	[KIND_DURATION] = duration_units,
	[KIND_SIZE] = size_units,
	[KIND_PERCENT] = percent_units,
};

/* Reads digits, perhaps a fraction, and a unit. 0 and *n in the smallest unit of
 * the kind; -1 if text is no such number, too large, or finer than that unit. */
static int parse_number(const char *text, const struct unit *unit, uint64_t *n)
{
	uint64_t digits = 0, divisor = 1;
	bool fraction = false;
	const char *p = text;
	for (; isdigit((unsigned char)*p) || (*p == '.' && p > text && !fraction); p++) {
		if (*p == '.') {
			fraction = true;
			continue;
		}
		if (__builtin_mul_overflow(digits, 10, &digits) ||
		    __builtin_add_overflow(digits, (uint64_t)(*p - '0'), &digits) ||
		    (fraction && __builtin_mul_overflow(divisor, 10, &divisor)))
			return -1;
	}
	if (p == text || p[-1] == '.')
		return -1;
	while (unit->suffix && strcmp(unit->suffix, p) != 0)
		unit++;
	if (!unit->suffix || __builtin_mul_overflow(digits, unit->factor, &digits) || digits % divisor)
		return -1;
	*n = digits / divisor;
	return 0;
}

static bool in_bounds(const struct schema_row *row, uint64_t n)
{
	uint64_t min, max;
	if (parse_number(row->min, units[row->kind], &min) < 0 || parse_number(row->max, units[row->kind], &max) < 0)
		abort();        /* a slip in the table */
	return n >= min && n <= max;
}

static const char *read_number(const struct schema_row *row, const char *text, void *base)
{
	uint64_t n = 0;
	bool none = row->none && strcmp(text, "none") == 0;
	if (!none && (parse_number(text, units[row->kind], &n) < 0 || !in_bounds(row, n)))
		return UNEXPECTED;
	void *field = field_of(row, base);
	if (row->kind == KIND_PERCENT)
		*(double *)field = (double)n / (100 * 1000);
	else if (row->width == sizeof(unsigned))
		*(unsigned *)field = (unsigned)n;
	else
		*(uint64_t *)field = n;
	return NULL;
}

/* The place of word among words (separated by |), or -1. */
static int place_of(const char *word, const char *words)
{
	size_t len = strlen(word);
	for (int i = 0;; i++) {
		size_t n = strcspn(words, "|");
		if (n == len && memcmp(word, words, n) == 0)
			return i;
		if (!words[n])
			return -1;
		words += n + 1;
	}
}

static const char *read_bool(const struct schema_row *row, const char *text, void *base)
{
	int place = place_of(text, "false|true|no|yes|off|on|False|True|FALSE|TRUE");
	if (place < 0)
		return UNEXPECTED;
	*(bool *)field_of(row, base) = place % 2 == 1;
	return NULL;
}

static const char *read_mode(const struct schema_row *row, const char *text, void *base)
{
	size_t len = strlen(text);
	if (strspn(text, "01234567") != len || (len != 3 && !(len == 4 && *text == '0')))
		return UNEXPECTED;
	*(mode_t *)field_of(row, base) = (mode_t)strtoul(text, NULL, 8);
	return NULL;
}

static const char *read_choice(const struct schema_row *row, const char *text, void *base)
{
	int place = place_of(text, row->words);
	if (place < 0)
		return UNEXPECTED;
	*(unsigned *)field_of(row, base) = (unsigned)place;
	return NULL;
}

static void store_text(char **field, const char *text)
{
	free(*field);
	*field = xstrdup(text);
}

static const char *read_text(const struct schema_row *row, const char *text, void *base)
{
	if (!*text || (row->words && place_of(text, row->words) < 0))
		return UNEXPECTED;
	store_text(field_of(row, base), text);
	return NULL;
}

static const char *read_socket(const struct schema_row *row, const char *text, void *base)
{
	if (*text != '/' || strlen(text) >= sizeof ((struct sockaddr_un *)0)->sun_path)
		return UNEXPECTED;
	store_text(field_of(row, base), text);
	return NULL;
}

static const char *read_file(const struct schema_row *row, const char *text, void *base)
{
	if (*text != '/' || text[strlen(text) - 1] == '/')
		return UNEXPECTED;
	store_text(field_of(row, base), text);
	return NULL;
}

/* The user or group that text names without a look at the host's databases: a
 * number, or root, which is a default and must be known where there are none. -1
 * for other names, and for the largest number, which means "no one" to system calls. */
static int parse_id(const char *text, uint32_t *id)
{
	uint64_t n = 0;
	if (strcmp(text, "root") != 0 && (parse_number(text, count_units, &n) < 0 || n >= UINT32_MAX))
		return -1;
	*id = (uint32_t)n;
	return 0;
}

static const char *read_group(const struct schema_row *row, const char *text, void *base)
{
	(void)row;
	struct conf *c = base;
	if (parse_id(text, &c->listen_group) < 0) {
		const struct group *g = getgrnam(text);
		if (!g)
			return UNEXPECTED;
		c->listen_group = g->gr_gid;
	}
	c->has_listen_group = true;
	return NULL;
}

static const char *read_address(const struct schema_row *row, const char *text, void *base)
{
	(void)row;
	struct conf *c = base;
	return strcmp(text, "none") == 0 ? NULL : url_read_address(text, &c->admin_host, &c->admin_port);
}

/* Called for each user in turn. */
static const char *read_user(const struct schema_row *row, const char *text, void *base)
{
	(void)row;
	struct conf *c = base;
	uid_t uid;
	if (parse_id(text, &uid) < 0) {
		const struct passwd *user = getpwnam(text);
		if (!user)
			return UNEXPECTED;
		uid = user->pw_uid;
	}
	c->admin_users = xrealloc(c->admin_users, (c->n_admin_users + 1) * sizeof *c->admin_users);
	c->admin_users[c->n_admin_users++] = uid;
	return NULL;
}

/* Whether word holds {this} for a word that is neither {type} nor {name}. */
static bool has_strange_placeholder(const char *word)
{
	for (const char *p = strchr(word, '{'); p; p = strchr(p + 1, '{')) {
		size_t n = 1 + strspn(p + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
		if (n > 1 && p[n] == '}' && strncmp(p, "{type}", 6) != 0 && strncmp(p, "{name}", 6) != 0)
			return true;
	}
	return false;
}

/* Called for each word of a list in turn. */
static const char *read_name(const struct schema_row *row, const char *text, void *base)
{
	char ***list = field_of(row, base);
	size_t n = 0;
	while (*list && (*list)[n])
		n++;
	*list = xrealloc(*list, (n + 2) * sizeof **list);
	(*list)[n] = xstrdup(text);
	(*list)[n + 1] = NULL;
	return NULL;
}

static const char *read_argument(const struct schema_row *row, const char *text, void *base)
{
	if (has_strange_placeholder(text))
		return "holds a placeholder other than {type} and {name}";
	return read_name(row, text, base);
}

#define BLANK_IN_KEY "holds a blank or control byte"
#define KEY_TOO_LONG "is longer than a key can be"
#define OWN_KEY "the daemon's own keys, which begin with " CONF_OWN_PREFIX

static bool has_blank(const char *text)
{
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return true;
	}
	return false;
}

static const char *read_key(const struct schema_row *row, const char *text, void *base)
{
	(void)row;
	struct conf_type *t = base;
	size_t len = strlen(text), prefix_len = strcspn(text, "{}");
	bool exact = prefix_len == len;
	if (has_blank(text))
		return BLANK_IN_KEY;
	if (!exact && strcmp(text + prefix_len, "{name}") != 0)
		return "may hold braces only as one {name} at its end";
	if (prefix_len == 0)
		return exact ? "is empty" : "has no literal text before {name}";
	if (prefix_len + !exact > CONF_KEY_MAX)
		return KEY_TOO_LONG;
	size_t own_len = strlen(CONF_OWN_PREFIX);
	if (strncmp(text, CONF_OWN_PREFIX, exact || prefix_len > own_len ? own_len : prefix_len) == 0)
		return "would claim " OWN_KEY;
	store_text(&t->key, text);
	t->prefix_len = prefix_len;
	t->exact = exact;
	return NULL;
}

static const char *read_exact_key(const struct schema_row *row, const char *text, void *base)
{
	if (!*text)
		return "is empty";
	if (has_blank(text))
		return BLANK_IN_KEY;
	if (strlen(text) > CONF_KEY_MAX)
		return KEY_TOO_LONG;
	if (strncmp(text, CONF_OWN_PREFIX, strlen(CONF_OWN_PREFIX)) == 0)
		return "is one of " OWN_KEY;
	store_text(field_of(row, base), text);
	return NULL;
}

static const char *read_redis_url(const struct schema_row *row, const char *text, void *base)
{
	return url_read_redis(text, field_of(row, base));
}

static const char *read_database_url(const struct schema_row *row, const char *text, void *base)
{
	return url_read_database(text, field_of(row, base));
}

/* What there is to say about each kind. */

static const struct kind {
	const char *name;               /* in the documentation */
	const char *expects;            /* in an error, behind "is not" */
	const char *hint;               /* how to write it, behind that */
	const char *(*read)(const struct schema_row *row, const char *text, void *base);
	const char *list;               /* what a list of it is called: read takes its words one by one */
	const char *secret;             /* what an error calls a value that it must not quote */
} kinds[] = {
	[KIND_SECTION] = {"section", "a mapping", .secret = "a text"},
	[KIND_TYPES] = {"mapping", "a mapping of names to types", .secret = "a text"},
	[KIND_TIERS] = {"list", "a list or mapping of tiers", .secret = "a text"},
	[KIND_INVALIDATES] = {"list of types", "a type", .list = "a list of types"},
	[KIND_BOOL] = {"bool", "true or false", .read = read_bool},
	[KIND_COUNT] = {"count", "a whole number", .read = read_number},
	[KIND_DURATION] = {"duration", "a duration", " (250ms, 30s, 15m, 1h, 2d; a bare number is seconds)",
		.read = read_number},
	[KIND_SIZE] = {"size", "a size", " (64K, 256M, 1G; a bare number is bytes)", .read = read_number},
	[KIND_PERCENT] = {"percent", "a percentage", .read = read_number},
	[KIND_MODE] = {"mode", "an octal mode from 0000 to 0777", .read = read_mode},
	[KIND_CHOICE] = {"one of", "one of", .read = read_choice},
	[KIND_WORD] = {"one of", "one of", .read = read_text},
	[KIND_TEXT] = {"text", "a text of at least one character", .read = read_text},
	[KIND_SOCKET] = {"path", "an absolute path of at most 107 bytes", .read = read_socket},
	[KIND_FILE] = {"path", "an absolute path of a file", .read = read_file},
	[KIND_GROUP] = {"group", "a group of this host", .read = read_group},
	[KIND_ADDRESS] = {"address", "an address with a port (127.0.0.1:9121, [::1]:9121)", .read = read_address},
	[KIND_USERS] = {"list of users", "a user of this host", .read = read_user, .list = "a list of users"},
	[KIND_REDIS_URL] = {"URL", "redis://[user[:password]@]host[:port][/db], unix:///path[?db=N] or off",
		.read = read_redis_url, .secret = "the URL"},
	[KIND_DATABASE_URL] = {"URL", "sqlite:///path, postgres://... or off",
		.read = read_database_url, .secret = "the URL"},
	[KIND_KEY] = {"key", "a key", .read = read_key},
	[KIND_EXACT_KEY] = {"key", "a key", .read = read_exact_key},
	[KIND_COMMAND] = {"list of words", "a word", .read = read_argument,
		.list = "a list of words"},
	[KIND_NAMES] = {"list of names", "a name", .read = read_name, .list = "a list of names"},
};

/* Appends what, then the words or bounds that row allows. */
static void add_range(struct buf *b, const char *what, const struct schema_row *row)
{
	buf_addf(b, "%s%s", what, row->words ? " " : "");
	for (const char *p = row->words; p && *p; p++) {
		if (*p == '|')
			buf_add_str(b, ", ");
		else
			buf_add_char(b, *p);
	}
	if (row->min)
		buf_addf(b, " from %s to %s", row->min, row->max);
	if (row->none || row->off)
		buf_add_str(b, row->none ? " or none" : " or off");
}

char *kind_facts(const struct schema_row *row)
{
	struct buf b = BUF_INIT;
	add_range(&b, kinds[row->kind].name, row);
	if (row->required)
		buf_add_str(&b, "; required");
	else if (row->def_of)
		buf_addf(&b, "; default that of %s", row->def_of);
	else if (row->def)
		buf_addf(&b, "; default %s", row->def);
	buf_add_char(&b, '\0');
	if (b.failed)
		abort();
	return b.data;
}

/* What node is called in an error; to be freed. */
static char *subject(const struct kind *kind, const struct yaml_node *node)
{
	if (node->kind == NODE_MAPPING)
		return xstrdup("a mapping");
	if (node->kind == NODE_SEQUENCE)
		return xstrdup(node->first ? "a list" : "an empty list");
	return kind->secret ? xstrdup(kind->secret) : yaml_quote(node->text);
}

static void reject(const struct schema_row *row, struct yaml_node *node, struct yaml_problems *problems,
	const char *expects, const char *why)
{
	const struct kind *kind = &kinds[row->kind];
	char *value = subject(kind, node);
	struct buf b = BUF_INIT;
	if (*why) {
		buf_add_str(&b, why);
	} else {
		buf_add_str(&b, "is not ");
		add_range(&b, expects, row);
		buf_add_str(&b, kind->hint ? kind->hint : "");
	}
	yaml_node_reject(node, problems, "%s: %s %.*s", row->name, value, (int)b.len, b.data);
	buf_free(&b);
	free(value);
}

void kind_reject(const struct schema_row *row, struct yaml_node *node, struct yaml_problems *problems)
{
	const struct kind *kind = &kinds[row->kind];
	reject(row, node, problems, kind->list ? kind->list : kind->expects, UNEXPECTED);
}

static void read_word(const struct schema_row *row, struct yaml_node *node, void *base,
	struct yaml_problems *problems)
{
	const struct kind *kind = &kinds[row->kind];
	const char *why = UNEXPECTED;
	if (node->bad)
		return;
	if (node->kind == NODE_SCALAR)
		why = kind->read(row, node->text, base);
	if (why)
		reject(row, node, problems, kind->expects, why);
}

void kind_read(const struct schema_row *row, struct yaml_node *node, void *base,
	struct yaml_problems *problems)
{
	if (!kinds[row->kind].list) {
		read_word(row, node, base, problems);
		return;
	}
	if (node->kind != NODE_SEQUENCE) {
		kind_reject(row, node, problems);
		return;
	}
	for (struct yaml_node *item = node->first; item; item = item->next)
		read_word(row, item, base, problems);
}
