/* What is said to the peers and what they must answer, by a table: requests and replies
 * are texts with blanks, filled in once for a load; what differs from request to request
 * (the digits of the key) is stamped into the bytes. Every key is a letter, a colon and
 * eight digits; every value begins with the digits of its key, so that a reply shows
 * whose it is. */
#ifndef CATCACHED_BENCH_WIRE_H
#define CATCACHED_BENCH_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_DIGITS 8
#define WIRE_LIFE_DIGITS 4      /* of the milliseconds in WIRE_SET_BRIEF: from 1000 to 9999 */

enum wire_op { WIRE_GET, WIRE_SET, WIRE_SET_BRIEF, WIRE_GETIF, WIRE_PING, WIRE_OPS };

struct wire {
	struct {
		const char *request, *reply;    /* NULL: this peer has no such request */
	} ops[WIRE_OPS];
};

extern const struct wire wire_redis, wire_memcached;

/* What goes into the blanks of a text. */
struct wire_words {
	char prefix;            /* {k}: the key */
	size_t value_len;       /* {n}; and {v}: the value */
	const char *digest;     /* {d} */
};

struct message {
	char *bytes;
	size_t len;
	size_t digits_at[2];    /* where the digits of the key go */
	size_t n_digits;
	size_t life_at;         /* where the milliseconds to live go ({t}); 0: nowhere */
	size_t value_at, value_len;     /* value_len 0: there is no value in it */
};

void message_init(struct message *m, const char *text, const struct wire_words *words);
void message_fini(struct message *m);

/* Writes what differs into bytes, a copy of m->bytes. */
void message_stamp(const struct message *m, char *bytes, uint32_t key);
void message_stamp_life(const struct message *m, char *bytes, unsigned ms);

/* The bytes of a value of the key; free them. */
char *wire_value(uint32_t key, size_t len);

#endif
