/* catcachectl --json: replies and strings of any bytes as JSON text, which is appended to b.
 * (cJSON cannot hold a NUL byte.) */
#ifndef CATCACHED_CTL_JSON_H
#define CATCACHED_CTL_JSON_H

#include <stddef.h>

struct buf;

/* A string; {"base64": "..."} if the bytes are not UTF-8. */
void ctl_json_string(struct buf *b, const char *data, size_t len);

/* A whole reply, RESP2 or RESP3. */
void ctl_json_reply(struct buf *b, const char *reply, size_t len);

#endif
