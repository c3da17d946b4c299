/* Figures and columns; see ctl_text.h. */
#include "ctl_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define COLUMNS_MAX 16

static struct text __attribute__((format(printf, 1, 2))) text_of(const char *fmt, ...)
{
	struct text t;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(t.s, sizeof(t.s), fmt, ap);
	va_end(ap);
	return t;
}

struct text text_bytes(double bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	if (bytes < 1024)
		return text_of("%.0f B", bytes);
	size_t i = 0;
	/* What would be shown as 1024.0 is one of the next unit. */
	for (bytes /= 1024; bytes >= 1023.95 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
		bytes /= 1024;
	return text_of("%.1f %s", bytes, units[i]);
}

struct text text_ms(double ms)
{
	if (ms < 9.995)
		return text_of("%.2f ms", ms);
	if (ms < 999.5)
		return text_of("%.0f ms", ms);
	return ms < 59950 ? text_of("%.1f s", ms / 1000) : text_s(ms / 1000);
}

struct text text_s(double seconds)
{
	int64_t s = (int64_t)(seconds + 0.5);
	if (s < 60)
		return text_of("%" PRId64 " s", s);
	if (s < 3600)
		return text_of("%" PRId64 "m %" PRId64 "s", s / 60, s % 60);
	if (s < 86400)
		return text_of("%" PRId64 "h %" PRId64 "m", s / 3600, s / 60 % 60);
	return text_of("%" PRId64 "d %" PRId64 "h", s / 86400, s / 3600 % 24);
}

struct text text_count(double n)
{
	struct text plain = text_of("%.0f", n), t = {""};
	size_t len = strlen(plain.s), at = 0, sign = plain.s[0] == '-';
	for (size_t i = 0; i < len && at + 2 < sizeof(t.s); i++) {
		if (i > sign && (len - i) % 3 == 0)
			t.s[at++] = ',';
		t.s[at++] = plain.s[i];
	}
	return t;
}

struct text text_rate(double per_s)
{
	if (isnan(per_s))
		return text_of("-");
	if (per_s < 99.95)
		return text_of("%.1f", per_s);
	if (per_s < 99999.5)
		return text_count(per_s);
	return per_s < 9999500 ? text_of("%.0fk", per_s / 1000) : text_of("%.1fM", per_s / 1e6);
}

struct text text_percent(double part, double whole)
{
	return whole > 0 ? text_of("%.1f%%", 100 * part / whole) : text_of("-");
}

/* ---- columns ---- */

void table_add(struct table *t, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	t->cells = xrealloc(t->cells, (t->n + 1) * sizeof(*t->cells));
	t->cells[t->n++] = xstrdup(text);
}

static void add_cell(struct buf *b, const char *text, int width, char align, bool is_last)
{
	if (align == 'r')
		buf_addf(b, "%*s", width, text);
	else
		buf_addf(b, "%-*s", is_last ? 0 : width, text);
	buf_add_str(b, is_last ? "\n" : "  ");
}

void table_print(struct table *t, struct buf *b)
{
	size_t columns = strlen(t->align);
	int widths[COLUMNS_MAX] = {0};
	for (size_t i = 0; i < t->n; i++) {
		int len = (int)strlen(t->cells[i]);
		widths[i % columns] = len > widths[i % columns] ? len : widths[i % columns];
	}
	for (size_t i = 0; i < t->n; i++) {
		size_t column = i % columns;
		add_cell(b, t->cells[i], widths[column], t->align[column], column + 1 == columns);
		free(t->cells[i]);
	}
	free(t->cells);
	t->cells = NULL;
	t->n = 0;
}
