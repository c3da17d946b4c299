/* catcachectl: what its parts share. catcachectl.c reads the words of the command line and
 * finds the row of the command; its function, one of those below, asks the daemon over
 * ctl_link and prints what people (ctl_text) or scripts (ctl_json) want to see. */
#ifndef CATCACHED_CTL_H
#define CATCACHED_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl_link.h"
#include "request.h"

/* How catcachectl exits; also what the functions below return. */
enum {
	CTL_GOOD = 0,
	CTL_NO = 1,             /* no such key, a condition that did not hold, a configuration with errors */
	CTL_USAGE = 2,
	CTL_AWAY = 3,           /* no daemon to talk to, or it went away, or was silent for too long */
	CTL_ERROR = 4,          /* the daemon answered with an error */
	CTL_DEGRADED = 5,       /* health: it serves, but not as it should */
	CTL_LOCAL = 6,          /* a file, a stream or a program of this host failed */
};

struct ctl {
	struct ctl_link link;
	const char *socket;
	int64_t timeout_ms;             /* how long the daemon may be silent */
	const char *options[128];       /* by the code of the option: its argument, "" for those without; NULL: not given */
	struct request_arg *argv;       /* what stands behind the name of the command */
	size_t argc;
	bool is_json;                   /* --json */
	bool is_plain;                  /* stdout is no terminal, or --raw: bytes as they are */
};

/* Sends a command and waits for its reply, c->link.reply. Returns an exit status; where that
 * is not CTL_GOOD, c->link.why has the error that was replied, or how the connection was lost. */
int ctl_try(struct ctl *c, const struct request_arg *argv, size_t argc);

/* The last step of that: whether the reply that has come is an error. */
int ctl_judge(struct ctl *c);

/* c->link.why on stderr. Returns status. */
int ctl_tell(const struct ctl *c, int status);

/* ctl_try and, where it fails, ctl_tell. */
int ctl_ask(struct ctl *c, const struct request_arg *argv, size_t argc);

/* The same for a command that is a name and c->argv. */
int ctl_ask_for(struct ctl *c, const char *name);

/* The reply, or its first element. */
struct reply_element ctl_reply(const struct ctl *c);

/* Says in c->link.why that the reply to command is no JSON. Returns CTL_ERROR. */
int ctl_not_json(struct ctl *c, const char *command);

/* Connects. Returns an exit status; why it failed is told on stderr. */
int ctl_connect(struct ctl *c);

/* "catcachectl: " and a line, on stderr. */
void ctl_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The answer is no: said in words to a person only. Returns CTL_NO. */
int ctl_say_no(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes to stdout, at once: complains and returns CTL_LOCAL if that fails, else CTL_GOOD. */
int ctl_write(const char *data, size_t len);

/* ctl_write of b, which is then freed; status if that went well. */
int ctl_show(struct buf *b, int status);

/* What there is to read, appended to b, as much as memory holds. CTL_GOOD or CTL_LOCAL. */
int ctl_read(struct buf *b, int fd);

int64_t ctl_now_us(void);

bool ctl_is_word(const struct request_arg *arg, const char *word);      /* in either case */

/* ---- the commands ---- */

int ctl_get(struct ctl *c);
int ctl_set(struct ctl *c);
int ctl_del(struct ctl *c);
int ctl_meta(struct ctl *c);
int ctl_explain(struct ctl *c);
int ctl_refresh(struct ctl *c);
int ctl_invalidate(struct ctl *c);
int ctl_warm(struct ctl *c);
int ctl_stats(struct ctl *c);
int ctl_top(struct ctl *c);
int ctl_health(struct ctl *c);
int ctl_ping(struct ctl *c);
int ctl_check_config(struct ctl *c);

/* ---- any other command ---- */

int ctl_any(struct ctl *c);             /* c->argv, the name included */
int ctl_any_lines(struct ctl *c);       /* one a line of stdin; the worst status of all */

#endif
