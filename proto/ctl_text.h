/* catcachectl: figures as people read them, and columns. Pure. */
#ifndef CATCACHED_CTL_TEXT_H
#define CATCACHED_CTL_TEXT_H

#include <stddef.h>

struct buf;

/* Short text, handed about by value: printf("%s", text_bytes(n).s) */
struct text {
	char s[40];
};

struct text text_bytes(double bytes);           /* 512 B, 12.3 KiB, 1.5 GiB */
struct text text_ms(double ms);                 /* 0.08 ms, 250 ms, 12.3 s, then as text_s */
struct text text_s(double seconds);                   /* 12 s, 29m 47s, 3h 12m, 4d 3h */
struct text text_count(double n);               /* 1,234,567 */
struct text text_rate(double per_s);            /* 12.3, 1,234, 123k; - if it is not known (NAN) */
struct text text_percent(double part, double whole);   /* 97.2%; - of nothing */

/* Columns that line up: cells are added one after the other, a row being full when there are
 * as many as letters in align (l: left, r: right). Two blanks part the columns. */
struct table {
	const char *align;
	char **cells;
	size_t n;
};

#define TABLE_INIT(columns) {.align = (columns)}

void table_add(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends the rows as lines, and empties the table. */
void table_print(struct table *t, struct buf *b);

#endif
