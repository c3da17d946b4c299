/* The URLs of redis.url and database.url, taken apart. */
#ifndef CATCACHED_URL_H
#define CATCACHED_URL_H

struct conf_database;
struct conf_redis;

/* Take text apart into the fields of r or d, which are zero before. Return NULL, or why
 * they cannot: the end of a sentence that begins with "the URL", "" when text is no
 * URL of the kind at all. A static string without any part of text. */
const char *url_read_redis(const char *text, struct conf_redis *r);
const char *url_read_database(const char *text, struct conf_database *d);

#endif
