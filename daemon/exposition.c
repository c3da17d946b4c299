/* Prometheus's text format; see exposition.h. Called by metrics.c, which may have thousands of
 * samples to tell on the loop: so without printf where there are many. */
#include "exposition.h"

#include <stdio.h>
#include <string.h>

#include "../proto/buf.h"
#include "histogram.h"

void exposition_begin(struct buf *b, const char *name, const char *kind, const char *help)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void add_uint(struct buf *b, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);
	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	buf_add(b, digits + at, sizeof(digits) - at);
}

/* Without the zeros at its end. */
static void add_seconds(struct buf *b, uint64_t us)
{
	char fraction[16];
	size_t len = (size_t)snprintf(fraction, sizeof(fraction), ".%06u", (unsigned)(us % 1000000));
	while (fraction[len - 1] == '0')
		len--;
	add_uint(b, us / 1000000);
	buf_add(b, fraction, fraction[len - 1] == '.' ? 0 : len);
}

/* A sample up to its labels. last is one more of them, as far as the quote before its value, "" for
 * none: the value, and end, are to follow. */
static void begin(struct buf *b, const char *name, const char *suffix, const char *labels, const char *last)
{
	buf_add_str(b, name);
	buf_add_str(b, suffix);
	if (*labels || *last)
		buf_add_char(b, '{');
	buf_add_str(b, labels);
	if (*labels && *last)
		buf_add_char(b, ',');
	buf_add_str(b, last);
}

static void end(struct buf *b, const char *close)
{
	buf_add_str(b, close);
	buf_add_char(b, ' ');
}

static void begin_plain(struct buf *b, const char *name, const char *suffix, const char *labels)
{
	begin(b, name, suffix, labels, "");
	end(b, *labels ? "}" : "");
}

static void add(struct buf *b, const char *name, const char *suffix, const char *labels, uint64_t n)
{
	begin_plain(b, name, suffix, labels);
	add_uint(b, n);
	buf_add_char(b, '\n');
}

static void add_time(struct buf *b, const char *name, const char *suffix, const char *labels, uint64_t us)
{
	begin_plain(b, name, suffix, labels);
	add_seconds(b, us);
	buf_add_char(b, '\n');
}

void exposition_sample(struct buf *b, const char *name, const char *labels, uint64_t n)
{
	add(b, name, "", labels, n);
}

void exposition_seconds(struct buf *b, const char *name, const char *labels, uint64_t us)
{
	add_time(b, name, "", labels, us);
}

void exposition_histogram(struct buf *b, const char *name, const char *labels, const struct histogram *h)
{
	uint64_t so_far = 0;
	for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
		so_far += h->counts[i];
		begin(b, name, "_bucket", labels, "le=\"");
		if (i < HISTOGRAM_BOUNDS)
			add_seconds(b, (uint64_t)histogram_bounds_us[i]);
		else
			buf_add_str(b, "+Inf");
		end(b, "\"}");
		add_uint(b, so_far);
		buf_add_char(b, '\n');
	}
	add_time(b, name, "_sum", labels, h->sum_us);
	add(b, name, "_count", labels, so_far);
}

void exposition_states(struct buf *b, const char *name, const char *labels, const char *const *states, const char *is)
{
	for (; *states; states++) {
		begin(b, name, "", labels, "state=\"");
		buf_add_str(b, *states);
		end(b, "\"}");
		buf_add_str(b, strcmp(*states, is) == 0 ? "1\n" : "0\n");
	}
}
