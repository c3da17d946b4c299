/* URLs taken apart; see url.h. Called by kind.c. No reason quotes a part of the
 * URL: what looks like a port may be the end of a password. */
#include "url.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../proto/buf.h"
#include "conf.h"

static void store_text(char **field, const char *text)
{
	free(*field);
	*field = xstrdup(text);
}

/* Reads decimal digits up to max. 0 and *n, or -1. */
static int parse_uint(const char *text, unsigned max, unsigned *n)
{
	size_t len = strlen(text);
	if (len == 0 || len > 10 || strspn(text, "0123456789") != len)
		return -1;
	unsigned long value = strtoul(text, NULL, 10);
	if (value > max)
		return -1;
	*n = (unsigned)value;
	return 0;
}

/* Cuts s at the first c; returns what is behind it, or NULL if there is none. */
static char *cut(char *s, char c)
{
	char *p = strchr(s, c);
	if (!p)
		return NULL;
	*p = '\0';
	return p + 1;
}

/* What follows prefix in s, or NULL. */
static const char *behind(const char *s, const char *prefix)
{
	size_t len = strlen(prefix);
	return strncmp(s, prefix, len) == 0 ? s + len : NULL;
}

/* Replaces each %XX of s (which may be NULL) by its byte, in place. False if two
 * hex digits are missing or the byte is NUL. */
static bool percent_decode(char *s)
{
	char *to = s;
	for (const char *p = s; p && *p; p++, to++) {
		*to = *p;
		if (*p != '%')
			continue;
		if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))
			return false;
		*to = (char)strtoul((char[]){p[1], p[2], '\0'}, NULL, 16);
		if (*to == '\0')
			return false;
		p += 2;
	}
	if (to)
		*to = '\0';
	return true;
}

#define HOST_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:"
#define REDIS_PORT 6379

/* host, host:port, [address] or [address]:port: cuts *host to the host or address; *port is NULL
 * without one. */
static const char *cut_port(char **host, char **port)
{
	if (**host == '[') {
		char *rest = cut(++*host, ']');
		if (!rest || (*rest && *rest != ':'))
			return "has a broken [address]";
		*port = *rest ? rest + 1 : NULL;
	} else {
		*port = cut(*host, ':');
	}
	return **host && !(*host)[strspn(*host, HOST_CHARS)] ? NULL : "needs a host name or address";
}

/* Changes host. */
static const char *split_host(struct conf_redis *r, char *host)
{
	char *port;
	const char *why = cut_port(&host, &port);
	if (why)
		return why;
	unsigned n = REDIS_PORT;
	if (port && (parse_uint(port, UINT16_MAX, &n) < 0 || n < 1))
		return "has a port that is not a number from 1 to 65535";
	r->port = (uint16_t)n;
	store_text(&r->host, host);
	return NULL;
}

/* [user[:password]@]host[:port][/db], or with local [user[:password]@]/path[?db=N];
 * changes url. */
static const char *split_redis_url(struct conf_redis *r, char *url, bool local)
{
	char *query = cut(url, '?'), *path = cut(url, '/');     /* both without the byte cut at */
	char *at = strrchr(url, '@'), *host = at ? at + 1 : url;
	char *password = NULL;
	if (at) {
		*at = '\0';
		password = cut(url, ':');
	}
	const char *db = !local ? path : query ? behind(query, "db=") : NULL;
	if (query && (!local || !db))
		return "has a ?parameter; only unix:// takes one, ?db=N";
	unsigned n = 0;
	if (db && *db && parse_uint(db, INT32_MAX, &n) < 0)
		return "has a database that is not a number";
	r->db = n;
	if (!percent_decode(at ? url : NULL) || !percent_decode(password) || (local && !percent_decode(path)))
		return "has a % that is not followed by two hex digits";
	if (at && *url)
		store_text(&r->user, url);
	if (password && *password)
		store_text(&r->password, password);
	if (!local)
		return split_host(r, host);
	if (*host || !path || !*path)
		return "needs an absolute path, as in unix:///path";
	free(r->unix_path);
	r->unix_path = xasprintf("/%s", path);
	return strlen(r->unix_path) < sizeof ((struct sockaddr_un *)0)->sun_path ? NULL : "has a path too long for a socket";
}

const char *url_read_redis(const char *text, struct conf_redis *r)
{
	r->off = strcmp(text, "off") == 0;
	if (r->off)
		return NULL;
	if (behind(text, "rediss://"))
		return "asks for TLS (rediss://), which is not supported";
	const char *host = behind(text, "redis://"), *path = behind(text, "unix://");
	if (!path)
		path = behind(text, "redis+unix://");
	if (!host && !path)
		return "";
	char *copy = xstrdup(host ? host : path);
	const char *why = split_redis_url(r, copy, path != NULL);
	free(copy);
	store_text(&r->url, text);
	return why;
}

const char *url_read_address(const char *text, char **host, uint16_t *port)
{
	char *copy = xstrdup(text), *name = copy, *digits;
	unsigned n = 0;
	const char *why = cut_port(&name, &digits);
	if (!why && !digits)
		why = "";
	else if (!why && parse_uint(digits, UINT16_MAX, &n) < 0)
		why = "has a port that is not a number from 0 to 65535";
	if (!why) {
		store_text(host, name);
		*port = (uint16_t)n;
	}
	free(copy);
	return why;
}

const char *url_read_database(const char *text, struct conf_database *d)
{
	if (strcmp(text, "off") == 0)
		return NULL;
	if (behind(text, "postgres://") || behind(text, "postgresql://")) {
		d->kind = CONF_DATABASE_POSTGRES;
		store_text(&d->url, text);
		return NULL;
	}
	const char *path = behind(text, "sqlite://");
	if (!path || !*path)
		return "";
	if (strpbrk(path, "?#"))
		return "has a ?parameter or #fragment, which sqlite:// does not take";
	d->kind = CONF_DATABASE_SQLITE;
	store_text(&d->url, path);
	return percent_decode(d->url) ? NULL : "has a % that is not followed by two hex digits";
}
