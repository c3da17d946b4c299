/* One line an event; see log.h. A line is made as logfmt; JSON is made of that. */
#include "log.h"

#include <ctype.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"

#define LINE_MAX_BYTES 2048
#define JSON_MAX_BYTES (6 * LINE_MAX_BYTES)     /* where each byte becomes an escape */
#define EVENTS_MAX 64           /* that are counted; there are fewer */
#define QUOTE_MAX_BYTES 200
#define QUOTE_SLOTS 5           /* four for the fields, one for the event itself */

static enum log_level max_level = LOG_LEVEL_INFO;
static bool is_json;

/* How many lines of an event there were since began_ms. */
static struct count {
	const char *event;              /* a literal */
	enum log_level level;
	int64_t began_ms;
	unsigned n;
} counts[EVENTS_MAX];
static size_t n_counts;

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

void log_set_json(bool json)
{
	is_json = json;
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

/* ---- JSON ---- */

struct text {
	char *bytes;
	size_t len, size;
};

static void add_text(struct text *t, const char *bytes, size_t len)
{
	if (t->len + len <= t->size) {
		memcpy(t->bytes + t->len, bytes, len);
		t->len += len;
	}
}

/* What is not UTF-8 becomes U+FFFD, a byte at a time. */
static void add_string(struct text *t, const char *s, const char *end)
{
	add_text(t, "\"", 1);
	while (s < end) {
		size_t n = json_utf8_len(s, end);
		if (n == 0)
			add_text(t, "\\ufffd", 6);
		else if (*s == '"' || *s == '\\')
			add_text(t, (const char[]){'\\', *s}, 2);
		else
			add_text(t, s, n);
		s += n ? n : 1;
	}
	add_text(t, "\"", 1);
}

static bool is_number(const char *s, const char *end)
{
	s += s < end && *s == '-';
	if (s == end || !isdigit((unsigned char)*s) || (*s == '0' && s + 1 < end && s[1] != '.'))
		return false;
	while (s < end && isdigit((unsigned char)*s))
		s++;
	if (s == end)
		return true;
	for (s++; s < end && isdigit((unsigned char)*s); s++)
		;
	return s == end && isdigit((unsigned char)s[-1]);
}

static bool is_word(const char *s, const char *end, const char *word)
{
	return (size_t)(end - s) == strlen(word) && memcmp(s, word, strlen(word)) == 0;
}

/* A quoted value from behind its quote: undoes the escapes of log_quote in place. Returns where the rest is. */
static char *unquote(char *s, char *end, char **value_end)
{
	char *to = s;
	while (s < end && *s != '"') {
		s += *s == '\\' && s + 1 < end;
		*to++ = *s++;
	}
	*value_end = to;
	return s < end ? s + 1 : s;
}

/* fields: key=value key="value" ..., which it spoils. */
static void add_fields(struct text *t, char *fields, char *end)
{
	for (char *s = fields; s < end; ) {
		char *equals = memchr(s, '=', (size_t)(end - s)), *value, *value_end, *rest;
		if (!equals)
			return;
		value = equals + 1;
		bool is_quoted = value < end && *value == '"';
		if (is_quoted)
			rest = unquote(++value, end, &value_end);
		else
			rest = value_end = (value_end = memchr(value, ' ', (size_t)(end - value))) ? value_end : end;
		add_text(t, t->len > 1 ? "," : "", t->len > 1);
		add_string(t, s, equals);
		add_text(t, ":", 1);
		if (!is_quoted && (is_number(value, value_end) || is_word(value, value_end, "true") || is_word(value, value_end, "false")))
			add_text(t, value, (size_t)(value_end - value));
		else
			add_string(t, value, value_end);
		s = rest + (rest < end);
	}
}

static void write_json(const char *prefix, char *fields, size_t len)
{
	static char room[JSON_MAX_BYTES];
	struct text t = {.bytes = room, .size = sizeof(room) - 3};
	add_text(&t, "{", 1);
	add_fields(&t, fields, fields + len);
	memcpy(room + t.len, "}\n", 2);
	if (getenv("JOURNAL_STREAM")) { /* the priority is for it alone: others want JSON */
		memmove(room + strlen(prefix), room, t.len + 2);
		memcpy(room, prefix, strlen(prefix));
		t.len += strlen(prefix);
	}
	write_line(room, t.len + 2);
}

/* ---- lines ---- */

static void write_event(enum log_level level, const char *event, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

static void write_event(enum log_level level, const char *event, const char *fmt, va_list ap)
{
	char line[LINE_MAX_BYTES], prefix[8] = "";
	if (!isatty(STDERR_FILENO))
		snprintf(prefix, sizeof(prefix), "<%d>", levels[level].priority);
	size_t start = strlen(strcpy(line, prefix));
	int n = snprintf(line + start, sizeof(line) - start, "level=%s event=%s", levels[level].name, log_quote(event));
	size_t used = start + (size_t)n < sizeof(line) - 2 ? start + (size_t)n : sizeof(line) - 2;
	n = vsnprintf(line + used + 1, sizeof(line) - used - 2, fmt, ap);
	if (n > 0) {
		line[used] = ' ';
		used += 1 + (size_t)n;
		if (used > sizeof(line) - 2)
			used = sizeof(line) - 2;
	}
	if (is_json) {
		write_json(prefix, line + start, used - start);
		return;
	}
	line[used++] = '\n';
	write_line(line, used);
}

static void write_note(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void write_note(enum log_level level, const char *event, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	write_event(level, event, fmt, ap);
	va_end(ap);
}

static void tell_left_out(struct count *c)
{
	if (c->n > LOG_BURST)
		write_note(c->level, "log_left_out", "of=%s lines=%u", log_quote(c->event), c->n - LOG_BURST);
	c->n = 0;
}

void log_tell_left_out(bool at_once)
{
	for (size_t i = 0; i < n_counts; i++)
		if (at_once || clock_ms() - counts[i].began_ms >= LOG_WINDOW_MS)
			tell_left_out(&counts[i]);
}

static struct count *count_of(const char *event)
{
	for (size_t i = 0; i < n_counts; i++)
		if (strcmp(counts[i].event, event) == 0)
			return &counts[i];
	if (n_counts == EVENTS_MAX)
		return NULL;
	counts[n_counts].event = event;
	return &counts[n_counts++];
}

static bool is_left_out(enum log_level level, const char *event)
{
	struct count *c = count_of(event);
	if (!c || level == LOG_LEVEL_DEBUG)
		return false;
	if (clock_ms() - c->began_ms >= LOG_WINDOW_MS)
		tell_left_out(c);
	if (c->n == 0)
		c->began_ms = clock_ms();
	c->level = level;
	return ++c->n > LOG_BURST;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	va_list ap;
	if (!log_enabled(level) || is_left_out(level, event))
		return;
	va_start(ap, fmt);
	write_event(level, event, fmt, ap);
	va_end(ap);
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
