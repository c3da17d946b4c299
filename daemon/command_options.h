/* The options of commands that set TTLs, read as Redis reads them. For command_set.c and
 * command_expire.c. */
#ifndef CATCACHED_COMMAND_OPTIONS_H
#define CATCACHED_COMMAND_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redis.h"

struct call;

/* A time as commands take it, and as it was read. */
struct time_arg {
	int64_t unit_ms;
	bool is_absolute;               /* since 1970, not from now */
	bool must_be_positive;
	int64_t ttl_ms, ends_at_ms;     /* ends_at_ms: 0 unless is_absolute */
};

#define TIME_ERROR_MAX 96

/* Reads argument i as the end of a TTL. False: it is none, and time_error says why (text has TIME_ERROR_MAX bytes). */
bool time_read(const struct call *call, size_t i, struct time_arg *t);
void time_error(const struct call *call, size_t i, char *text);

/* time_read, with the error reply written. */
bool time_take(struct call *call, size_t i, struct time_arg *t);

/* Options of SET and GETEX. */
enum option_kind { OPTION_TIME, OPTION_KEEPTTL, OPTION_PERSIST, OPTION_CONDITION, OPTION_GET };
enum option_of { OPTION_OF_SET = 1, OPTION_OF_GETEX = 2 };

struct option {
	const char *word;
	enum option_kind kind;
	struct time_arg time;
	enum redis_condition condition;
	unsigned of;                    /* enum option_of */
};

/* What they come to, before their number is read. */
struct options {
	const struct option *ttl;       /* EX, ..., KEEPTTL or PERSIST */
	size_t time_at;                 /* the argument with its number */
	enum redis_condition condition;
	bool wants_old;
};

/* Reads the words from argument i on. False: the error reply is written. */
bool options_read(struct call *call, size_t i, enum option_of of, struct options *o);

/* The conditions of EXPIRE that the words from argument 3 on name, as in struct redis_edit.
 * False: the error reply is written. */
bool options_read_condition(struct call *call, const char **condition);

#endif
