/* Targets and figures as Markdown; see report.h. */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "server.h"

#define NOTES "tests/bench/NOTES.md"

struct report {
	struct buf targets, figures;
	unsigned missed, passed, unmeasured;
};

struct report *report_new(void)
{
	return xcalloc(1, sizeof(struct report));
}

static void add_formatted(struct buf *b, const char *fmt, va_list args)
{
	char *text;
	if (vasprintf(&text, fmt, args) < 0)
		die("no memory");
	buf_add_str(b, text);
	free(text);
}

void report_add(struct report *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add_formatted(&r->figures, fmt, args);
	va_end(args);
}

/* ---- targets ---- */

static bool is_at_most(double value, double limit)
{
	return value <= limit;
}

static bool is_below(double value, double limit)
{
	return value < limit;
}

static bool is_at_least(double value, double limit)
{
	return value >= limit;
}

static const struct {
	const char *sign;
	bool (*holds)(double value, double limit);
} rules[] = {
	[AT_MOST] = {"<=", is_at_most}, [BELOW] = {"<", is_below}, [AT_LEAST] = {">=", is_at_least},
};

void report_target(struct report *r, enum report_rule rule, double value, double limit, int decimals, const char *unit,
	const char *fmt, ...)
{
	double scale = pow(10, decimals);
	bool holds = rules[rule].holds(round(value * scale), round(limit * scale));
	const char *blank = *unit ? " " : "";
	*(holds ? &r->passed : &r->missed) += 1;
	va_list args;
	va_start(args, fmt);
	buf_add_str(&r->targets, "| ");
	add_formatted(&r->targets, fmt, args);
	va_end(args);
	buf_addf(&r->targets, " | %.*f%s%s | %s %.*f%s%s | %s |\n", decimals, value, blank, unit, rules[rule].sign, decimals, limit,
		blank, unit, holds ? "pass" : "**MISS**");
}

void report_unmeasured(struct report *r, const char *what, const char *why)
{
	r->unmeasured++;
	buf_addf(&r->targets, "| %s | not measured: %s | | |\n", what, why);
}

/* ---- the machine ---- */

/* The first line that a command prints, or "" if it prints none. */
static char *first_line(const char *command)
{
	char line[256] = "";
	FILE *f = popen(command, "r");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = '\0';
	if (f)
		pclose(f);
	line[strcspn(line, "\n")] = '\0';
	return xstrdup(line);
}

static void add_line(struct buf *b, const char *what, const char *command)
{
	char *line = first_line(command);
	buf_addf(b, "| %s | %s |\n", what, *line ? line : "unknown");
	free(line);
}

static void add_machine(struct buf *b)
{
	struct utsname kernel;
	const char *build = getenv("BUILD");
	char date[32], *version = xasprintf("%s/catcached --version", build ? build : "build");
	time_t now = time(NULL);
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime(&now));
	uname(&kernel);
	buf_addf(b, "| | |\n|---|---|\n| date | %s |\n", date);
	add_line(b, "processor", "sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo");
	buf_addf(b, "| processors | %ld |\n", sysconf(_SC_NPROCESSORS_ONLN));
	add_line(b, "memory", "awk '/MemTotal/ {printf \"%.1f GB\\n\", $2 / 1048576}' /proc/meminfo");
	buf_addf(b, "| kernel | %s %s %s |\n", kernel.sysname, kernel.release, kernel.machine);
	add_line(b, "compiler", "gcc --version");
	add_line(b, "catcached", version);
	add_line(b, "commit", "git describe --always --dirty 2>/dev/null");
	add_line(b, "redis", "redis-server --version");
	add_line(b, "memcached", "memcached --version");
	buf_add_str(b, "\n");
	free(version);
}

/* What is written by hand, and stays from run to run. */
static void add_notes(struct buf *b)
{
	FILE *f = fopen(NOTES, "r");
	if (!f)
		return;
	buf_add_char(b, '\n');
	for (size_t n = 1; n > 0; b->len += n)
		n = fread(buf_reserve(b, 4096), 1, 4096, f);
	fclose(f);
}

void report_finish(struct report *r, const char *file, const char *how)
{
	struct buf b = BUF_INIT;
	buf_addf(&b, "# Results\n\nWritten by `make bench`; see README.md of this folder for what is measured and how. %s\n\n", how);
	add_machine(&b);
	buf_add_str(&b, "## Targets\n\n| what | measured | limit | |\n|---|---|---|---|\n");
	buf_add(&b, r->targets.data, r->targets.len);
	buf_addf(&b, "\n%u passed, %u missed, %u not measured.\n", r->passed, r->missed, r->unmeasured);
	buf_add(&b, r->figures.data, r->figures.len);
	add_notes(&b);
	fwrite(b.data, 1, b.len, stdout);
	fflush(stdout);
	FILE *f = fopen(file, "w");
	if (!f || fwrite(b.data, 1, b.len, f) != b.len || fclose(f) != 0)
		die("%s: %s", file, strerror(errno));
	buf_free(&b);
	buf_free(&r->targets);
	buf_free(&r->figures);
	free(r);
}
