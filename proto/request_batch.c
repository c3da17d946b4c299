/* Reading pipelines of short requests; see request_batch.h. Used by the daemon's clients. */
#include "request_batch.h"

#define ARGS_MAX 16             /* of one request */
#define DIGITS_MAX 4            /* of a number */
#define CRLF_LEN 2

/* "<type><number>\r\n" with a short number at *at, which then is behind it. -1: it is not that, or not all
 * there. As in Redis the byte behind the CR may be any. */
static inline int take_number(const char **at, const char *end, char type)
{
	const char *digit = *at + 1, *too_far = digit + DIGITS_MAX;
	unsigned n = 0, d;
	if (end - *at < 1 + DIGITS_MAX + CRLF_LEN || **at != type || *digit == '0')
		return -1;
	do {
		d = (unsigned char)*digit - (unsigned)'0';
		if (d > 9 || digit == too_far)
			return -1;
		n = 10 * n + d;
	} while (*++digit != '\r');
	*at = digit + CRLF_LEN;
	return (int)n;
}

/* One request into argv, which has room for argc_max. The number of arguments; 0: it is something else. */
static size_t take_request(const char **at, const char *end, const struct request_limits *limits, struct request_arg *argv,
	size_t argc_max)
{
	size_t total = 0;
	int argc = take_number(at, end, '*');
	if (argc < 1 || (size_t)argc > argc_max)
		return 0;
	for (int i = 0; i < argc; i++) {
		int len = take_number(at, end, '$');
		if (len < 0 || end - *at < len + CRLF_LEN || (size_t)len > limits->max_arg)
			return 0;
		argv[i] = (struct request_arg){.data = *at, .len = (size_t)len};
		*at += len + CRLF_LEN;
		total += (size_t)len;
	}
	return total <= limits->max_total ? (size_t)argc : 0;
}

size_t request_batch_read(struct request_batch *b, size_t max, const struct request_limits *limits, const char *data, size_t len)
{
	const char *at = data, *end = len ? data + len : data;
	size_t n = 0, used = 0;
	while (n < max && at < end && REQUEST_BATCH_ARGS - used >= ARGS_MAX) {
		const char *from = at;
		size_t argc = take_request(&at, end, limits, &b->args[used], ARGS_MAX);
		if (argc == 0)
			break;
		b->requests[n].argv = &b->args[used];
		b->requests[n].argc = argc;
		b->requests[n++].len = (size_t)(at - from);
		used += argc;
	}
	return n;
}
