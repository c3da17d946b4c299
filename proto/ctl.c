/* What the commands of catcachectl share: asking the daemon, telling what went wrong, and
 * stdin and stdout; see ctl.h. */
#include "ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "ctl_advice.h"

/* ---- asking ---- */

static void __attribute__((format(printf, 1, 0))) complain(const char *fmt, va_list ap)
{
	fputs("catcachectl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void ctl_complain(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
}

int ctl_say_no(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (isatty(STDERR_FILENO))
		complain(fmt, ap);
	va_end(ap);
	return CTL_NO;
}

int ctl_tell(const struct ctl *c, int status)
{
	fprintf(stderr, "catcachectl: %s", c->link.why.data);
	return status;
}

int ctl_connect(struct ctl *c)
{
	return ctl_link_open(&c->link, c->socket, c->timeout_ms) == 0 ? CTL_GOOD : ctl_tell(c, CTL_AWAY);
}

/* Says in why that the daemon answered with an error. */
static int keep_error(struct ctl *c, const struct reply_element *e)
{
	struct buf *why = &c->link.why;
	why->len = 0;
	buf_addf(why, "the daemon answers: %.*s\n", (int)e->len, e->data);
	ctl_advice_reply(why, e->data, e->len);
	buf_add_char(why, '\0');
	return CTL_ERROR;
}

int ctl_not_json(struct ctl *c, const char *command)
{
	c->link.why.len = 0;
	buf_addf(&c->link.why, "the daemon answers %s with something other than JSON\n", command);
	buf_add_char(&c->link.why, '\0');
	return CTL_ERROR;
}

int ctl_judge(struct ctl *c)
{
	struct reply_element e = ctl_reply(c);
	return e.type == '-' || e.type == '!' ? keep_error(c, &e) : CTL_GOOD;
}

int ctl_try(struct ctl *c, const struct request_arg *argv, size_t argc)
{
	if (ctl_link_send(&c->link, argv, argc, c->timeout_ms) < 0)
		return CTL_AWAY;
	int got = ctl_link_receive(&c->link, c->timeout_ms);
	if (got == 0)
		ctl_link_say_silent(&c->link, c->timeout_ms);
	return got > 0 ? ctl_judge(c) : CTL_AWAY;
}

int ctl_ask(struct ctl *c, const struct request_arg *argv, size_t argc)
{
	int status = ctl_try(c, argv, argc);
	return status == CTL_GOOD ? status : ctl_tell(c, status);
}

struct reply_element ctl_reply(const struct ctl *c)
{
	struct reply_element e = {0};
	(void)reply_element(c->link.reply, c->link.reply_len, &e);
	return e;
}

int ctl_ask_for(struct ctl *c, const char *name)
{
	struct request_arg *argv = xcalloc(c->argc + 1, sizeof(*argv));
	argv[0] = (struct request_arg){.data = name, .len = strlen(name)};
	for (size_t i = 0; i < c->argc; i++)
		argv[i + 1] = c->argv[i];
	int status = ctl_ask(c, argv, c->argc + 1);
	free(argv);
	return status;
}

/* ---- input and output ---- */

int ctl_write(const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, data, len);
		if (n < 0 && errno == EAGAIN)
			(void)poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
		else if (n < 0 && errno != EINTR) {
			ctl_complain("cannot write to stdout: %s", strerror(errno));
			return CTL_LOCAL;
		}
		data += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return CTL_GOOD;
}

int ctl_read(struct buf *b, int fd)
{
	char *room;
	while ((room = buf_reserve(b, BUFSIZ))) {
		ssize_t n = read(fd, room, BUFSIZ);
		if (n == 0)
			return CTL_GOOD;
		if (n < 0 && errno != EINTR)
			break;
		b->len += n > 0 ? (size_t)n : 0;
	}
	ctl_complain("cannot read: %s", strerror(room ? errno : ENOMEM));
	return CTL_LOCAL;
}

bool ctl_is_word(const struct request_arg *arg, const char *word)
{
	return arg->len == strlen(word) && strncasecmp(arg->data, word, arg->len) == 0;
}

int ctl_show(struct buf *b, int status)
{
	int written = b->failed ? CTL_LOCAL : ctl_write(b->data, b->len);
	if (b->failed)
		ctl_complain("no memory for what is to be shown");
	buf_free(b);
	return written == CTL_GOOD ? status : written;
}

int64_t ctl_now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
