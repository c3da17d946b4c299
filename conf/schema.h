/* The tables: one row says everything about a configuration key. The loader, the
 * errors, `catcached --help-config` and the test of the manual page come from
 * the rows. To add a key: a field in conf.h, a row here, an entry in the manual
 * page; a kind of value that is new also needs a reader in kind.c. */
#ifndef CATCACHED_SCHEMA_H
#define CATCACHED_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

enum schema_kind {
	/* Made of other keys, or of names of them; read by conf.c. */
	KIND_SECTION,           /* a mapping with the keys of the section of that name */
	KIND_TYPES,             /* a mapping of type names to sections types.NAME */
	KIND_TIERS,             /* a section, or the list of the names that are true in it */
	KIND_INVALIDATES,       /* invalidates and n_invalidates of struct conf_type: a list of types */
	/* Values; read by kind_read into a field, or into several that are named here. */
	KIND_BOOL,              /* bool */
	KIND_COUNT,             /* unsigned or uint64_t */
	KIND_DURATION,          /* int64_t, milliseconds */
	KIND_SIZE,              /* uint64_t, bytes */
	KIND_PERCENT,           /* double, 1 is 100% */
	KIND_MODE,              /* mode_t */
	KIND_CHOICE,            /* an enum: the place of the word in .words */
	KIND_WORD,              /* char *: one of .words */
	KIND_TEXT,              /* char *, not empty */
	KIND_SOCKET,            /* char *: a path that fits in a sockaddr_un */
	KIND_FILE,              /* char *: an absolute path */
	KIND_GROUP,             /* listen_group and has_listen_group */
	KIND_ADDRESS,           /* admin_host and admin_port */
	KIND_USERS,             /* admin_users and n_admin_users */
	KIND_REDIS_URL,         /* struct conf_redis */
	KIND_DATABASE_URL,      /* struct conf_database */
	KIND_KEY,               /* key, prefix_len and exact of struct conf_type */
	KIND_EXACT_KEY,         /* char *: one key of a cache */
	KIND_COMMAND,           /* char **, NULL-terminated */
	KIND_NAMES,             /* likewise */
};

struct schema_row {
	const char *section;    /* "" for the file itself, types.NAME for every type */
	const char *name;
	enum schema_kind kind;
	size_t offset;          /* in struct conf; in struct conf_type where section begins with types.NAME */
	size_t width;           /* bytes of the field */
	const char *def;        /* default, as in the file; NULL: zero, or as .def_of says */
	const char *def_of;     /* the key whose value is the default; applied by conf.c */
	const char *min, *max;  /* bounds, as in the file */
	bool none;              /* the word none is 0 */
	bool off;               /* of a section: the word off stands for url: off in it */
	bool required;
	const char *words;      /* of KIND_CHOICE and KIND_WORD, separated by | */
	const char *help;
};

/* All rows in the order of the documentation; the last one has no name. */
extern const struct schema_row schema_rows[];

/* The row of section.name, or NULL. */
const struct schema_row *schema_find(const char *section, const char *name);

/* How many characters of name are wrong if known was meant; SIZE_MAX where so many
 * are that it hardly was. */
size_t schema_distance(const char *name, const char *known);

/* The name of section that name was probably meant to be, or NULL. */
const char *schema_nearest(const char *section, const char *name);

#endif
