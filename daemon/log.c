/* One line an event; see log.h. A line is made as logfmt; JSON is made of that. */
#include "log.h"

#include <ctype.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"

#define LINE_MAX_BYTES 2048
#define PREFIX_MAX_BYTES 8
#define NUMBER_MAX_LEN 15       /* what is longer is no count: a hash, which a double of JSON would not hold */
#define EVENTS_MAX 128          /* that are counted; there are fewer */
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
 * lines are dropped and counted. No line is longer than what there is room for then (PIPE_BUF). (O_NONBLOCK is not ours to set: stderr may be shared.) */
static bool has_room(void)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

/* ---- JSON ---- */

struct text {
	char *bytes;
	size_t len, size;
};

static void add_text(struct text *t, const char *bytes, size_t len)
{
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

#define ESCAPE_MAX 6            /* \uXXXX */

/* As much of s as there is room for, its quotes included. What is not UTF-8 becomes U+FFFD, a byte at a time. */
static void add_string(struct text *t, const char *s, const char *end)
{
	char escape[ESCAPE_MAX + 1];
	add_text(t, "\"", 1);
	while (s < end && t->len + ESCAPE_MAX < t->size) {
		size_t n = json_utf8_len(s, end);
		if (n == 0 || (unsigned char)*s < ' ') {
			snprintf(escape, sizeof(escape), "\\u%04x", n ? (unsigned char)*s : 0xfffd);
			add_text(t, escape, ESCAPE_MAX);
		} else if (*s == '"' || *s == '\\') {
			add_text(t, (const char[]){'\\', *s}, 2);
		} else {
			add_text(t, s, n);
		}
		s += n ? n : 1;
	}
	add_text(t, "\"", 1);
}

static bool is_number(const char *s, const char *end)
{
	s += s < end && *s == '-';
	if (s == end || end - s > NUMBER_MAX_LEN || !isdigit((unsigned char)*s) || (*s == '0' && s + 1 < end && s[1] != '.'))
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

#define FIELD_MIN 48            /* around a key: quotes, colon, comma, a number, a word or the first of a text */

/* fields: key=value key="value" ..., which it spoils; those for which there is room. */
static void add_fields(struct text *t, char *fields, char *end)
{
	const char *first = fields;
	for (char *s = fields; s < end; ) {
		char *equals = memchr(s, '=', (size_t)(end - s)), *value, *value_end, *rest;
		if (!equals || t->len + ESCAPE_MAX * (size_t)(equals - s) + FIELD_MIN > t->size)
			return;
		value = equals + 1;
		bool is_quoted = value < end && *value == '"';
		if (is_quoted)
			rest = unquote(++value, end, &value_end);
		else
			rest = value_end = (value_end = memchr(value, ' ', (size_t)(end - value))) ? value_end : end;
		add_text(t, ",", s > first);
		add_string(t, s, equals);
		add_text(t, ":", 1);
		if (!is_quoted && (is_number(value, value_end) || is_word(value, value_end, "true") || is_word(value, value_end, "false")))
			add_text(t, value, (size_t)(value_end - value));
		else
			add_string(t, value, value_end);
		s = rest + (rest < end);
	}
}

/* The journal takes prefixes away; others want JSON. It may be another's, of which we are a child. */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	char own[64];
	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, own) == 0;
}

static size_t make_json(char room[PIPE_BUF], const char *prefix, char *fields, size_t len)
{
	struct text t = {.bytes = room, .size = PIPE_BUF - 3};
	if (is_journal())
		add_text(&t, prefix, strlen(prefix));
	add_text(&t, "{", 1);
	add_fields(&t, fields, fields + len);
	add_text(&t, "}\n", 2);
	return t.len;
}

/* ---- lines ---- */

/* Without its end. What does not fit is cut. Returns its length. */
__attribute__((format(printf, 5, 0)))
static size_t make_line(char *line, size_t size, enum log_level level, const char *event, const char *fmt, va_list ap)
{
	int n = snprintf(line, size, "level=%s event=%s", levels[level].name, log_quote(event));
	size_t used = (size_t)n < size ? (size_t)n : size - 1;
	n = used + 1 < size ? vsnprintf(line + used + 1, size - used - 1, fmt, ap) : 0;
	if (n <= 0)
		return used;
	line[used] = ' ';
	used += 1 + (size_t)n;
	return used < size ? used : size - 1;
}

__attribute__((format(printf, 3, 0)))
static void write_event(enum log_level level, const char *event, const char *fmt, va_list ap)
{
	char line[LINE_MAX_BYTES], json[PIPE_BUF], prefix[PREFIX_MAX_BYTES] = "";
	if (!isatty(STDERR_FILENO))
		snprintf(prefix, sizeof(prefix), "<%d>", levels[level].priority);
	size_t start = strlen(strcpy(line, prefix));
	size_t used = start + make_line(line + start, sizeof(line) - start - 1, level, event, fmt, ap);
	line[used++] = '\n';
	/* A log that cannot be written is no reason to stop. */
	if (is_json)
		(void)!write(STDERR_FILENO, json, make_json(json, prefix, line + start, used - 1 - start));
	else
		(void)!write(STDERR_FILENO, line, used);
}

/* Where there is room. */
__attribute__((format(printf, 3, 4)))
static void write_note(enum log_level level, const char *event, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	write_event(level, event, fmt, ap);
	va_end(ap);
}

/* True if a line may be written now: first those are told of that could not be. */
static bool may_write(void)
{
	static unsigned long dropped;
	if (dropped && has_room()) {
		write_note(LOG_LEVEL_WARNING, "log_dropped", "lines=%lu", dropped);
		dropped = 0;
	}
	bool may = has_room();
	dropped += !may;
	return may;
}

static void tell_left_out(struct count *c)
{
	if (c->n > LOG_BURST && !has_room())
		return; /* it is told when it can be */
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
	if (!log_enabled(level) || is_left_out(level, event) || !may_write())
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
