/* The client's side of the daemon tests: commands through hiredis with the reply
 * written as text, and plain bytes. Every function fails the test when it does not
 * get what it asks for, and none waits longer than READ_LIMIT_S. */
#ifndef CATCACHED_TESTS_TALK_H
#define CATCACHED_TESTS_TALK_H

#include <hiredis/hiredis.h>
#include <stddef.h>
#include <stdint.h>

struct harness;

/* Sends a command and compares the reply with text of this look:
 *      OK   (error) ERR text   3   "bulk"   nil   ["a", 3, nil] */
#define expect(c, text, ...) expect_at(__FILE__, __LINE__, c, text, __VA_ARGS__)

/* The same, sent again and again until the reply is right: for what is done behind the
 * reply to someone else, as the write of a fetched value to Redis. */
#define expect_soon(c, text, ...) expect_soon_at(__FILE__, __LINE__, c, text, __VA_ARGS__)

/* The reply must be a text that has part in it; at once, or in the end. */
#define expect_in(c, part, ...) expect_in_at(__FILE__, __LINE__, c, part, 0, __VA_ARGS__)
#define expect_in_soon(c, part, ...) expect_in_at(__FILE__, __LINE__, c, part, READ_LIMIT_S * 1000, __VA_ARGS__)

/* The reply must be an error of this code (its first word; or its first two, as
 * in "UNAVAILABLE redis") that has part somewhere in its text. */
#define expect_error(c, code, part, ...) expect_error_at(__FILE__, __LINE__, c, code, part, __VA_ARGS__)

/* The reply; free it with freeReplyObject. ask_integer: it must be one. */
redisReply *ask(redisContext *c, const char *fmt, ...);
long long ask_integer(redisContext *c, const char *fmt, ...);

/* The field of META key as text, in memory that lives until the next call. */
const char *ask_meta(redisContext *c, const char *key, const char *field);

/* What STATS (of a type, or of all if type is "") and HEALTH say at a place like "redis.state":
 * the number, and the text, which lives until the next call. */
long long ask_stat(redisContext *c, const char *type, const char *place);
const char *ask_health(redisContext *c, const char *place);

void expect_at(const char *file, int line, redisContext *c, const char *text, const char *fmt, ...);
void expect_soon_at(const char *file, int line, redisContext *c, const char *text, const char *fmt, ...);
void expect_in_at(const char *file, int line, redisContext *c, const char *part, int64_t limit_ms, const char *fmt, ...);
void expect_error_at(const char *file, int line, redisContext *c, const char *code, const char *part,
	const char *fmt, ...);

/* A reply in the look told above; free it. */
char *render(const redisReply *reply);

/* Plain bytes. raw_send waits until all is written, raw_sent until the daemon has read it all. */
int raw_connect(struct harness *h);
int raw_connect_sidecar(struct harness *h, unsigned sidecar);
int raw_bind(const char *path, int type, int backlog);          /* a socket of ours, that listens if backlog is not 0 */
void raw_send(int fd, const char *text);
void raw_send_bytes(int fd, const void *data, size_t len);
void raw_sent(int fd);

/* Reads len bytes. */
void raw_read(int fd, void *data, size_t len);

/* Reads exactly this text, or exactly these bytes. */
void raw_expect(int fd, const char *text);
void raw_expect_bytes(int fd, const void *data, size_t len);

/* The daemon closes the connection and sends nothing before that. */
void raw_expect_close(int fd);

#endif
