/* The URLs of redis.url and database.url, taken apart. */
#ifndef CATCACHED_URL_H
#define CATCACHED_URL_H

#include <stdint.h>

struct conf_database;
struct conf_redis;

/* Take text apart into the fields of r or d, which are zero before. Return NULL, or why
 * they cannot: the end of a sentence that begins with "the URL", "" when text is no
 * URL of the kind at all. A static string without any part of text. */
const char *url_read_redis(const char *text, struct conf_redis *r);
const char *url_read_database(const char *text, struct conf_database *d);

/* host:port or [address]:port, likewise. *host has no brackets; port 0 is let through. */
const char *url_read_address(const char *text, char **host, uint16_t *port);

#endif
