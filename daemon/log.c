/* One line an event; see log.h. The level is the only state. */
#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define QUOTE_MAX_BYTES 200
#define QUOTE_SLOTS 5           /* four for the fields, one for the event itself */

static enum log_level max_level = LOG_LEVEL_INFO;

static const struct {
	const char *name;
	int priority;           /* of syslog(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", 3},
	[LOG_LEVEL_WARNING] = {"warning", 4},
	[LOG_LEVEL_INFO] = {"info", 6},
	[LOG_LEVEL_DEBUG] = {"debug", 7},
};

void log_set_level(enum log_level level)
{
	max_level = level;
}

int log_level_named(const char *name)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(levels[i].name, name) == 0)
			return (int)i;
	return -1;
}

bool log_enabled(enum log_level level)
{
	return level <= max_level;
}

/* A pipe that nobody empties must not stop the daemon: while there is no room in it,
 * lines are dropped and counted. (O_NONBLOCK is not ours to set: stderr may be shared.) */
static bool has_room(void)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

static void write_line(const char *line, size_t len)
{
	static unsigned long dropped;
	char note[80];
	if (!has_room()) {
		dropped++;
		return;
	}
	if (dropped) {
		int n = snprintf(note, sizeof(note), "level=warning event=log_dropped lines=%lu\n", dropped);
		(void)!write(STDERR_FILENO, note, (size_t)n); /* a log that cannot be written is no reason to stop */
		dropped = 0;
	}
	(void)!write(STDERR_FILENO, line, len);
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	if (!log_enabled(level))
		return;
	char line[LINE_MAX_BYTES];
	int n = isatty(STDERR_FILENO) ? 0 : snprintf(line, sizeof(line), "<%d>", levels[level].priority);
	n += snprintf(line + n, sizeof(line) - (size_t)n, "level=%s event=%s", levels[level].name, log_quote(event));
	size_t used = (size_t)n < sizeof(line) - 2 ? (size_t)n : sizeof(line) - 2;

	va_list ap;
	va_start(ap, fmt);
	n = vsnprintf(line + used + 1, sizeof(line) - used - 2, fmt, ap);
	va_end(ap);
	if (n > 0) {
		line[used] = ' ';
		used += 1 + (size_t)n;
		if (used > sizeof(line) - 2)
			used = sizeof(line) - 2;
	}
	line[used++] = '\n';
	write_line(line, used);
}

static bool needs_quotes(const char *s)
{
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("\"=\\", *p))
			return true;
	return *s == '\0';
}

const char *log_quote(const char *s)
{
	static char slots[QUOTE_SLOTS][QUOTE_MAX_BYTES + 8];
	static unsigned next;
	char *out = slots[next++ % QUOTE_SLOTS], *p = out, *end = out + QUOTE_MAX_BYTES;
	if (!needs_quotes(s) && strlen(s) < QUOTE_MAX_BYTES)
		return strcpy(out, s);
	*p++ = '"';
	for (; *s && p < end; s++) {
		if (*s == '"' || *s == '\\')
			*p++ = '\\';
		*p++ = (unsigned char)*s < ' ' || *s == 0x7f ? ' ' : *s;
	}
	*p++ = '"';
	*p = '\0';
	return out;
}
