/* catcachectl for any command of the protocol, from its arguments or one a line, and the
 * look of its reply: for people, as redis-cli prints it, or plain; see ctl.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_json.h"

static bool is_aggregate(char type)
{
	return strchr("*~>%", type) != NULL;
}

static bool is_nil(const struct reply_element *e)
{
	return e->type == '_' || (e->number < 0 && (e->type == '$' || is_aggregate(e->type)));
}

/* What a string element holds, without the kind of a text. */
static void add_text(struct buf *b, const struct reply_element *e)
{
	size_t kind = e->type == '=' && e->len >= 4 ? 4 : 0;
	buf_add(b, e->data + kind, e->len - kind);
}

/* ---- plain ---- */

/* Strings as they are, each with a newline behind it, the parts of arrays one after the other. */
static size_t add_plain(struct buf *b, const char *data, size_t len)
{
	struct reply_element e;
	size_t used = reply_element(data, len, &e);
	if (!used)
		return len;
	if (is_aggregate(e.type) && e.number >= 0) {
		for (int64_t i = 0; i < e.number; i++)
			used += add_plain(b, data + used, len - used);
		return used;
	}
	if (!is_nil(&e))
		add_text(b, &e);
	buf_add_char(b, '\n');
	return used;
}

/* ---- for people ---- */

static void add_quoted(struct buf *b, const char *s, size_t len)
{
	static const char plain[] = "\\\"\n\r\t\a\b", escaped[] = "\\\"nrtab";
	buf_add_char(b, '"');
	for (size_t i = 0; i < len; i++) {
		const char *special = s[i] ? strchr(plain, s[i]) : NULL;
		if (special)
			buf_addf(b, "\\%c", escaped[special - plain]);
		else if (s[i] >= ' ' && s[i] <= '~')
			buf_add_char(b, s[i]);
		else
			buf_addf(b, "\\x%02x", (unsigned char)s[i]);
	}
	buf_add_char(b, '"');
}

static void add_scalar(struct buf *b, const struct reply_element *e)
{
	static const struct {
		char type;
		const char *label;
	} labels[] = {{':', "(integer) "}, {',', "(double) "}, {'(', "(big number) "}, {'-', "(error) "}, {'!', "(error) "}};
	if (is_nil(e)) {
		buf_add_str(b, "(nil)");
		return;
	}
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		if (labels[i].type == e->type)
			buf_add_str(b, labels[i].label);
	if (e->type == '$')
		add_quoted(b, e->data, e->len);
	else if (e->type == '#')
		buf_add_str(b, e->data[0] == 't' ? "(true)" : "(false)");
	else
		add_text(b, e);
}

static size_t add_shown(struct buf *b, const char *data, size_t len, int indent);

/* A numbered list. The line stands at column indent, where the first number goes; the pairs
 * of a map are numbered, too. */
static size_t add_list(struct buf *b, const struct reply_element *list, const char *data, size_t len, int indent)
{
	bool is_map = list->type == '%';
	long long n = is_map ? list->number / 2 : list->number;
	char digits[24];
	int width = snprintf(digits, sizeof(digits), "%lld", n);
	size_t used = 0;
	if (n == 0)
		buf_add_str(b, is_map ? "(empty map)\n" : "(empty array)\n");
	for (long long i = 1; i <= n; i++) {
		buf_addf(b, "%*s%*lld) ", i > 1 ? indent : 0, "", width, i);
		if (is_map) {
			struct reply_element key;
			size_t step = reply_element(data + used, len - used, &key);
			if (step)
				add_scalar(b, &key);
			buf_add_str(b, " => ");
			used += step;
		}
		used += add_shown(b, data + used, len - used, indent + width + 2);
	}
	return used;
}

static size_t add_shown(struct buf *b, const char *data, size_t len, int indent)
{
	struct reply_element e;
	size_t used = reply_element(data, len, &e);
	if (!used)
		return len;
	if (is_aggregate(e.type) && e.number >= 0)
		return used + add_list(b, &e, data + used, len - used, indent);
	add_scalar(b, &e);
	buf_add_char(b, '\n');
	return used;
}

/* ---- any command ---- */

/* Its reply is a text to be read, not a value. */
static bool replies_text(const struct request_arg *command)
{
	return ctl_is_word(command, "STATS") || ctl_is_word(command, "HEALTH");
}

/* A reply that is nil as a whole says that there is nothing. */
static int print_reply(const struct ctl *c, bool is_text)
{
	const char *reply = c->link.reply;
	struct buf b = BUF_INIT;
	if (c->is_json) {
		ctl_json_reply(&b, reply, c->link.reply_len);
		buf_add_char(&b, '\n');
	} else if (c->is_plain || is_text) {
		(void)add_plain(&b, reply, c->link.reply_len);
	} else {
		(void)add_shown(&b, reply, c->link.reply_len, 0);
	}
	return ctl_show(&b, reply[0] == '_' ? CTL_NO : CTL_GOOD);
}

static int run_any(struct ctl *c, const struct request_arg *argv, size_t argc)
{
	int status = ctl_ask(c, argv, argc);
	return status == CTL_GOOD ? print_reply(c, replies_text(&argv[0])) : status;
}

/* Sets *quit after QUIT. */
static int run_line(struct ctl *c, const char *line, size_t len, bool *quit)
{
	static const struct request_limits limits = {SIZE_MAX, SIZE_MAX};
	struct request_parser p;
	int status = CTL_GOOD;
	request_init(&p, &limits);
	if (request_parse(&p, line, len) != REQUEST_READY) {
		ctl_complain("not a command: %s", p.error ? p.error : "the line begins like a RESP array or an HTTP request");
		status = CTL_USAGE;
	} else if (p.argc > 0) {
		status = run_any(c, p.argv, p.argc);
		*quit = ctl_is_word(&p.argv[0], "QUIT");
	}
	request_fini(&p);
	return status;
}

static ssize_t next_line(char **line, size_t *size)
{
	static const char prompt[] = "catcached> ";
	if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		(void)ctl_write(prompt, sizeof(prompt) - 1);    /* the reply will tell */
	ssize_t len = getline(line, size, stdin);
	if (len > 0 && (*line)[len - 1] != '\n')
		(*line)[len++] = '\n';          /* in the place of the NUL: the last line may lack its end */
	return len;
}

int ctl_any_lines(struct ctl *c)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int worst = CTL_GOOD, status = CTL_GOOD;
	bool quit = false;
	while (status != CTL_AWAY && status != CTL_LOCAL && !quit && (len = next_line(&line, &size)) > 0) {
		status = run_line(c, line, (size_t)len, &quit);
		worst = status > worst ? status : worst;
	}
	free(line);
	return worst;
}

int ctl_any(struct ctl *c)
{
	return run_any(c, c->argv, c->argc);
}
