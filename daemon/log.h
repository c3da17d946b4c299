/* The log: one line an event on stderr, in logfmt or JSON, each with the syslog priority
 * prefix (<4>) that the journal understands when stderr is not a terminal (in JSON, only when it is
 * the journal: JOURNAL_STREAM names our stderr). A JSON line is JSON whatever bytes are told, and no line is longer than
 * PIPE_BUF: a stderr that nobody reads loses lines, which are counted and told of, and never holds up the loop. Keys and values of the cache never appear above debug. Loop thread only.
 *
 * Of one event at most LOG_BURST lines are written in LOG_WINDOW_MS; then one tells how many were left
 * out. Those of debug all are. */
#ifndef CATCACHED_LOG_H
#define CATCACHED_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above this level are dropped. Default info. */
void log_set_level(enum log_level level);

/* The level called error, warning, info or debug; -1 if there is none of that name. */
int log_level_named(const char *name);

#define LOG_BURST 50
#define LOG_WINDOW_MS 10000

/* Whether lines are JSON objects. Default: they are not. */
void log_set_json(bool is_json);

/* Tells of lines that were left out, if their time is over or at once. Called at short intervals. */
void log_tell_left_out(bool at_once);

/* True if a line of this level would be written. */
bool log_enabled(enum log_level level);

/* event is a fixed word or phrase; fmt gives the fields, already as key=value
 * (a text value goes through log_quote). No fields: "%s", "". */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* s as a logfmt value: quoted, control bytes blanked, cut at 200 bytes. The
 * string lives until the fourth call after this one. */
const char *log_quote(const char *s);

#define log_error(event, ...) log_event(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warning(event, ...) log_event(LOG_LEVEL_WARNING, event, __VA_ARGS__)
#define log_info(event, ...) log_event(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) \
	do { if (log_enabled(LOG_LEVEL_DEBUG)) log_event(LOG_LEVEL_DEBUG, event, __VA_ARGS__); } while (0)

#endif
