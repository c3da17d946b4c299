/* A growable run of bytes: what encoders write into and readers collect in.
 * The one allocation policy of the project for small things is here too: an
 * allocation of bookkeeping size that fails aborts (xmalloc and friends);
 * anything a client sizes uses the calls that can fail. */
#ifndef CATCACHED_BUF_H
#define CATCACHED_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data;     /* NULL while cap is 0 */
	size_t len;     /* bytes in use */
	size_t cap;     /* bytes allocated */
	bool failed;    /* an append did not find memory; data holds what fitted before */
};

#define BUF_INIT {0}

/* Makes room for add more bytes and returns where they start, or NULL (and sets
 * failed) when there is no memory. The caller then adds to len what it wrote.
 * The pointer dies at the next call on b. */
char *buf_reserve(struct buf *b, size_t add);

/* Append. On lack of memory nothing is appended and failed is set: check it
 * once, at the end. */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first n bytes (n <= len); moves the rest down. */
void buf_drop(struct buf *b, size_t n);

/* Releases the memory; b is then as after BUF_INIT. */
void buf_free(struct buf *b);

/* malloc, calloc, realloc, strdup, strndup that abort when out of memory: for bookkeeping only. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
/* A formatted string to be freed by the caller; aborts when out of memory. */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
