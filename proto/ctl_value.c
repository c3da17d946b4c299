/* catcachectl's commands for keys and values; see ctl.h. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_json.h"

static bool is_nil(const struct reply_element *e)
{
	return e->type == '_' || (e->type == '$' && e->number < 0);
}

/* {"key": the first argument, "name": what the caller appends */
static void begin_json(struct buf *b, const struct ctl *c, const char *name)
{
	buf_add_str(b, "{\"key\":");
	ctl_json_string(b, c->argv[0].data, c->argv[0].len);
	buf_addf(b, ",\"%s\":", name);
}

/* {"name": n}, or the sentence. */
static int show_number(const struct ctl *c, const char *name, const char *before, const char *behind)
{
	struct reply_element e = ctl_reply(c);
	struct buf b = BUF_INIT;
	if (c->is_json)
		buf_addf(&b, "{\"%s\":%lld}\n", name, (long long)e.number);
	else
		buf_addf(&b, "%s%lld%s\n", before, (long long)e.number, behind);
	return ctl_show(&b, CTL_GOOD);
}

/* {"key": ..., "name": done}, or "OK" where it is done, and why not where it is not. */
static int show_done(const struct ctl *c, const char *name, bool is_done, const char *why_not)
{
	struct buf b = BUF_INIT;
	if (!c->is_json && !is_done)
		return ctl_say_no("%s", why_not);
	if (c->is_json) {
		begin_json(&b, c, name);
		buf_addf(&b, "%s}\n", is_done ? "true" : "false");
	} else {
		buf_add_str(&b, "OK\n");
	}
	return ctl_show(&b, is_done ? CTL_GOOD : CTL_NO);
}

/* ---- get ---- */

static int show_value_json(const struct ctl *c, const struct reply_element *e)
{
	struct buf b = BUF_INIT;
	begin_json(&b, c, "value");
	if (is_nil(e))
		buf_add_str(&b, "null");
	else
		ctl_json_string(&b, e->data, e->len);
	buf_add_str(&b, "}\n");
	return ctl_show(&b, is_nil(e) ? CTL_NO : CTL_GOOD);
}

int ctl_get(struct ctl *c)
{
	int status = ctl_ask_for(c, "GET");
	if (status != CTL_GOOD)
		return status;
	struct reply_element e = ctl_reply(c);
	if (c->is_json)
		return show_value_json(c, &e);
	if (is_nil(&e))
		return ctl_say_no("no such key: %.*s", (int)c->argv[0].len, c->argv[0].data);
	status = ctl_write(e.data, e.len);
	bool has_end = c->is_plain || (e.len > 0 && e.data[e.len - 1] == '\n');
	return status != CTL_GOOD || has_end ? status : ctl_write("\n", 1);
}

/* ---- set ---- */

/* The options of set, in the words of the protocol; returns how many there are. */
static size_t add_set_options(const struct ctl *c, struct request_arg *argv)
{
	static const struct {
		char code;
		bool has_argument;
		const char *word;
	} words[] = {{'E', true, "EX"}, {'P', true, "PX"}, {'N', false, "NX"}, {'X', false, "XX"}};
	size_t n = 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const char *argument = c->options[(int)words[i].code];
		if (!argument)
			continue;
		argv[n++] = (struct request_arg){.data = words[i].word, .len = 2};
		if (words[i].has_argument)
			argv[n++] = (struct request_arg){.data = argument, .len = strlen(argument)};
	}
	return n;
}

static int set(struct ctl *c, struct request_arg value)
{
	struct request_arg argv[7] = {{.data = "SET", .len = 3}, c->argv[0], value};
	int status = ctl_ask(c, argv, 3 + add_set_options(c, argv + 3));
	if (status != CTL_GOOD)
		return status;
	struct reply_element e = ctl_reply(c);
	return show_done(c, "stored", !is_nil(&e), c->options['N'] ? "not set: there is such a key" : "not set: no such key");
}

int ctl_set(struct ctl *c)
{
	if (!ctl_is_word(&c->argv[1], "-") || c->options['x'])
		return set(c, c->argv[1]);
	struct buf value = BUF_INIT;
	int status = ctl_read(&value, STDIN_FILENO);
	if (status == CTL_GOOD)
		status = set(c, (struct request_arg){.data = value.data ? value.data : "", .len = value.len});
	buf_free(&value);
	return status;
}

/* ---- the others ---- */

int ctl_del(struct ctl *c)
{
	char behind[64];
	int status = ctl_ask_for(c, "DEL");
	snprintf(behind, sizeof(behind), " of %zu", c->argc);
	return status == CTL_GOOD ? show_number(c, "deleted", "keys deleted: ", behind) : status;
}

int ctl_invalidate(struct ctl *c)
{
	int status = ctl_ask_for(c, "INVALIDATE");
	return status == CTL_GOOD ? show_number(c, "invalidated", "keys invalidated: ", "") : status;
}

int ctl_refresh(struct ctl *c)
{
	struct request_arg argv[3] = {{.data = "REFRESH", .len = 7}, c->argv[0], {.data = "FORCE", .len = 5}};
	int status = ctl_ask(c, argv, c->options['F'] ? 3 : 2);
	return status == CTL_GOOD ? show_done(c, "refreshed", true, "") : status;
}

/* The lines of a text, as members of an array. */
static void add_lines(struct buf *b, const char *text, size_t len)
{
	const char *end = text + len;
	for (bool is_first = true; text < end; is_first = false) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((stop ? stop : end) - text);
		buf_add_str(b, is_first ? "" : ",");
		ctl_json_string(b, text, n);
		text += n + 1;
	}
}

int ctl_explain(struct ctl *c)
{
	int status = ctl_ask_for(c, "EXPLAIN");
	if (status != CTL_GOOD)
		return status;
	struct reply_element e = ctl_reply(c);
	size_t kind = e.type == '=' ? 4 : 0;            /* "txt:" */
	if (!c->is_json)
		return ctl_write(e.data + kind, e.len - kind);
	struct buf b = BUF_INIT;
	begin_json(&b, c, "explanation");
	buf_add_char(&b, '[');
	add_lines(&b, e.data + kind, e.len - kind);
	buf_add_str(&b, "]}\n");
	return ctl_show(&b, CTL_GOOD);
}

int ctl_ping(struct ctl *c)
{
	int64_t began_us = ctl_now_us();
	int status = ctl_ask_for(c, "PING");
	if (status != CTL_GOOD)
		return status;
	double ms = (double)(ctl_now_us() - began_us) / 1000;
	struct buf b = BUF_INIT;
	if (c->is_json) {
		buf_addf(&b, "{\"reply\":\"PONG\",\"ms\":%.3f,\"version\":", ms);
		ctl_json_string(&b, c->link.version, strlen(c->link.version));
		buf_add_str(&b, "}\n");
	} else {
		buf_addf(&b, "PONG from catcached %s in %.2f ms\n", c->link.version, ms);
	}
	return ctl_show(&b, CTL_GOOD);
}
