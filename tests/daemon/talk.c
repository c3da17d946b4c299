/* What the daemon tests say to the daemon and to Redis; see talk.h. */
#include "talk.h"

#include <cjson/cJSON.h>
#include <check.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "harness.h"

/* ---- commands ---- */

static void add_rendering(struct buf *b, const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_STATUS:
		buf_add(b, r->str, r->len);
		break;
	case REDIS_REPLY_ERROR:
		buf_addf(b, "(error) %s", r->str);
		break;
	case REDIS_REPLY_INTEGER:
		buf_addf(b, "%lld", r->integer);
		break;
	case REDIS_REPLY_STRING:
		buf_add_char(b, '"');
		buf_add(b, r->str, r->len);
		buf_add_char(b, '"');
		break;
	case REDIS_REPLY_ARRAY:
		buf_add_char(b, '[');
		for (size_t i = 0; i < r->elements; i++) {
			buf_add_str(b, i ? ", " : "");
			add_rendering(b, r->element[i]);
		}
		buf_add_char(b, ']');
		break;
	default:
		buf_add_str(b, "nil");
	}
}

char *render(const redisReply *reply)
{
	struct buf b = BUF_INIT;
	add_rendering(&b, reply);
	buf_add_char(&b, '\0');
	return b.data;
}

static redisReply *vask(redisContext *c, const char *fmt, va_list ap)
{
	redisReply *r = redisvCommand(c, fmt, ap);
	ck_assert_msg(r, "no reply to \"%s\": %s", fmt, c->errstr);
	return r;
}

redisReply *ask(redisContext *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	redisReply *r = vask(c, fmt, ap);
	va_end(ap);
	return r;
}

long long ask_integer(redisContext *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	redisReply *r = vask(c, fmt, ap);
	va_end(ap);
	ck_assert_msg(r->type == REDIS_REPLY_INTEGER, "\"%s\" gave no integer but %s", fmt, render(r));
	long long n = r->integer;
	freeReplyObject(r);
	return n;
}

const char *ask_meta(redisContext *c, const char *key, const char *field)
{
	static char text[256];
	redisReply *r = ask(c, "META %s", key);
	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2) {
		if (strcmp(r->element[i]->str, field) != 0)
			continue;
		const redisReply *v = r->element[i + 1];
		char *shown = v->type == REDIS_REPLY_STRING ? xstrdup(v->str) : render(v);
		snprintf(text, sizeof(text), "%s", shown);
		free(shown);
		freeReplyObject(r);
		return text;
	}
	ck_abort_msg("META %s has no %s: %s", key, field, render(r));
}

/* What is at the place in a reply of JSON; *root is to be deleted. */
static const cJSON *find(redisReply *r, const char *place, cJSON **root)
{
	*root = r->type == REDIS_REPLY_STRING ? cJSON_Parse(r->str) : NULL;
	const cJSON *at = *root;
	char *words = xstrdup(place), *rest = words, *word;
	while (at && (word = strsep(&rest, ".")))
		at = cJSON_GetObjectItemCaseSensitive(at, word);
	ck_assert_msg(at, "no %s in %s", place, render(r));
	free(words);
	freeReplyObject(r);
	return at;
}

long long ask_stat(redisContext *c, const char *type, const char *place)
{
	cJSON *root;
	const cJSON *at = find(*type ? ask(c, "STATS %s", type) : ask(c, "STATS"), place, &root);
	ck_assert_msg(cJSON_IsNumber(at), "%s is no number", place);
	long long n = (long long)at->valuedouble;
	cJSON_Delete(root);
	return n;
}

const char *ask_health(redisContext *c, const char *place)
{
	static char text[256];
	cJSON *root;
	const cJSON *at = find(ask(c, "HEALTH"), place, &root);
	char *json = cJSON_PrintUnformatted(at);
	snprintf(text, sizeof(text), "%s", cJSON_IsString(at) ? at->valuestring : json);
	cJSON_free(json);
	cJSON_Delete(root);
	return text;
}

typedef bool (*matches_fn)(const char *got, const char *text);

static bool is_same(const char *got, const char *text)
{
	return strcmp(got, text) == 0;
}

static bool has_part(const char *got, const char *text)
{
	return got[0] == '"' && strstr(got, text);
}

/* Asks until the reply matches text; at end_ms it must. */
static void expect_by(const char *file, int line, redisContext *c, matches_fn matches, const char *text, int64_t end_ms,
	const char *fmt, va_list ap)
{
	for (bool is_right = false; !is_right;) {
		va_list again;
		va_copy(again, ap);
		redisReply *r = vask(c, fmt, again);
		va_end(again);
		char *got = render(r);
		is_right = matches(got, text);
		if (!is_right && now_ms() >= end_ms)
			ck_abort_msg("%s:%d: %s\n  expected %.600s\n  but got  %.900s", file, line, fmt, text, got);
		free(got);
		freeReplyObject(r);
		if (!is_right)
			nap();
	}
}

void expect_at(const char *file, int line, redisContext *c, const char *text, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	expect_by(file, line, c, is_same, text, 0, fmt, ap);
	va_end(ap);
}

void expect_soon_at(const char *file, int line, redisContext *c, const char *text, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	expect_by(file, line, c, is_same, text, now_ms() + READ_LIMIT_S * 1000, fmt, ap);
	va_end(ap);
}

void expect_in_at(const char *file, int line, redisContext *c, const char *part, int64_t limit_ms, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	expect_by(file, line, c, has_part, part, now_ms() + limit_ms, fmt, ap);
	va_end(ap);
}

void expect_error_at(const char *file, int line, redisContext *c, const char *code, const char *part,
	const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	redisReply *r = vask(c, fmt, ap);
	va_end(ap);
	char *got = render(r);
	size_t n = strlen(code);
	bool same_code = r->type == REDIS_REPLY_ERROR && strncmp(r->str, code, n) == 0 && strchr(" :", r->str[n]);
	ck_assert_msg(same_code && strstr(r->str, part), "%s:%d: %s\n  expected an error %s that names \"%s\"\n  but got  %.300s",
		file, line, fmt, code, part, got);
	free(got);
	freeReplyObject(r);
}

/* ---- plain bytes ---- */

int raw_connect_sidecar(struct harness *h, unsigned sidecar)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {READ_LIMIT_S, 0};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", harness_path(h, harness_socket(sidecar)));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	ck_assert_msg(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect: %s", strerror(errno));
	return fd;
}

int raw_bind(const char *path, int type, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	ck_assert_msg(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "bind %s: %s", path, strerror(errno));
	ck_assert_msg(!backlog || listen(fd, backlog) == 0, "listen: %s", strerror(errno));
	return fd;
}

int raw_connect(struct harness *h)
{
	return raw_connect_sidecar(h, 0);
}

void raw_send_bytes(int fd, const void *data, size_t len)
{
	for (size_t sent = 0; sent < len;) {
		ssize_t n = write(fd, (const char *)data + sent, len - sent);
		ck_assert_msg(n > 0, "sending stopped after %zu of %zu bytes: %s", sent, len, strerror(errno));
		sent += (size_t)n;
	}
}

void raw_send(int fd, const char *text)
{
	raw_send_bytes(fd, text, strlen(text));
}

static bool all_read(int fd)
{
	int waiting = 0;
	ck_assert_int_eq(ioctl(fd, SIOCOUTQ, &waiting), 0);
	return waiting == 0;
}

void raw_sent(int fd)
{
	wait_until(all_read(fd), READ_LIMIT_S * 1000);
}

void raw_read(int fd, void *data, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, (char *)data + got, len - got);
		ck_assert_msg(n > 0, "reading stopped after %zu of %zu bytes (%.200s): %s", got, len, (char *)data,
			n ? strerror(errno) : "closed");
		got += (size_t)n;
	}
}

void raw_expect_bytes(int fd, const void *data, size_t len)
{
	char *got = xcalloc(1, len + 1);
	raw_read(fd, got, len);
	ck_assert_msg(memcmp(got, data, len) == 0, "expected %.200s\nbut got  %.200s", (const char *)data, got);
	free(got);
}

void raw_expect(int fd, const char *text)
{
	raw_expect_bytes(fd, text, strlen(text));
}

void raw_expect_close(int fd)
{
	char more[200] = "";
	ssize_t n = read(fd, more, sizeof(more) - 1);
	ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "expected a close but got %s",
		n < 0 ? strerror(errno) : more);
	close(fd);
}
