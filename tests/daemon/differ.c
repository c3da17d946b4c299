/* See differ.h.
 *
 *      generator --> sample --> wire of the batch --+--> side 0: a real Redis --> frames --+
 *                       |                           +--> side 1: the daemon   --> frames --+--> same?
 *                       +--> history, for the report                                              |no
 *                                                          finding, both emptied and reconnected <-+
 */
#include "differ.h"

#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "frame.h"
#include "generator.h"
#include "harness.h"

#define DIFFERENCES_MAX 500     /* then the run ends */
#define FINDINGS_SHOWN 40
#define HISTORY_SHOWN 12
#define SHOWN_BYTES 160         /* of an argument or a reply */
#define SLACK_MS 500
#define QUEUE_MAX 1024          /* commands of a transaction whose rules are known */
#define BATCH_BYTES 150000

struct side {
	int fd;
	size_t sent;
	struct buf in;
	size_t parsed;
	struct frame *replies;
	size_t n_replies;
	bool ended;                     /* it closed, or sent what is no reply */
};

/* Differences that look alike. */
struct finding {
	struct finding *next;
	char *look;
	char *example;
	unsigned count;
};

struct event {
	struct sample *sample;
	char *answer;                   /* the reference's, as shown */
};

struct differ {
	const struct differ_options *options;
	struct generator *g;
	struct side sides[2];
	struct event *history;
	size_t n_history;
	bool in_multi;
	size_t queue[QUEUE_MAX];                /* places in the history of what is queued */
	size_t n_queue;
	int64_t longest_ms;                     /* that a batch took: so far can two servers' clocks be apart */
	struct finding *findings;
	unsigned n_differences;
	bool is_over;                           /* a server is gone */
};

/* ---- connections ---- */

/* A socket, connected or not. */
static int try_connect(const char *path, bool *is_connected)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {READ_LIMIT_S, 0};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	*is_connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	return fd;
}

int differ_connect(const char *path)
{
	bool is_connected;
	int fd = try_connect(path, &is_connected);
	ck_assert_msg(is_connected, "%s: %s", path, strerror(errno));
	return fd;
}

static bool is_listening(const char *path)
{
	bool is_connected;
	close(try_connect(path, &is_connected));
	return is_connected;
}

const char *differ_reference_start(struct harness *h, const char *options)
{
	const char *path = harness_path(h, "reference.sock"), *log = harness_path(h, "reference.log");
	pid_t parent = getpid(), pid = fork();
	ck_assert(pid >= 0);
	if (pid == 0) {
		char *command = xasprintf("exec redis-server --port 0 --unixsocket '%s' --logfile '%s' --save '' --appendonly no %s",
			path, log, options);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	wait_until(is_listening(path), 20000);
	return path;
}

static void side_reset(struct side *side)
{
	side->sent = side->parsed = side->n_replies = side->in.len = 0;
	side->ended = false;
}

/* Replies are known by offset while they come, because the buffer moves. */
static void side_parse(struct side *side, size_t n)
{
	while (side->n_replies < n) {
		size_t end = frame_end(side->in.data, side->in.len, side->parsed);
		side->ended |= end == FRAME_BROKEN;
		if (end == 0 || end == FRAME_BROKEN)
			return;
		side->replies[side->n_replies++] = (struct frame){.len = end - side->parsed};
		side->parsed = end;
	}
}

static void side_receive(struct side *side, size_t n)
{
	ssize_t got = recv(side->fd, buf_reserve(&side->in, 65536), 65536, MSG_DONTWAIT);
	if (got > 0)
		side->in.len += (size_t)got;
	else
		side->ended = got == 0 || errno != EAGAIN;
	side_parse(side, n);
}

static void side_send(struct side *side, const struct buf *wire)
{
	ssize_t n = send(side->fd, wire->data + side->sent, wire->len - side->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
	side->sent += n > 0 ? (size_t)n : 0;
}

static bool side_done(const struct side *side, size_t n)
{
	return side->ended || side->n_replies == n;
}

static struct pollfd side_wants(const struct side *side, const struct buf *wire, size_t n)
{
	if (side_done(side, n))
		return (struct pollfd){.fd = -1};
	return (struct pollfd){.fd = side->fd, .events = POLLIN | (side->sent < wire->len ? POLLOUT : 0)};
}

static void side_locate(struct side *side, size_t n)
{
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		if (i >= side->n_replies)
			side->replies[i].len = 0;
		side->replies[i].data = side->in.len ? side->in.data + at : "";
		at += side->replies[i].len;
	}
}

/* Sends to both, and reads n replies of each or as many as come. */
static void exchange(struct differ *d, const struct buf *wire, size_t n)
{
	int64_t began = now_ms();
	for (size_t i = 0; i < 2; i++) {
		side_reset(&d->sides[i]);
		d->sides[i].replies = xrealloc(d->sides[i].replies, n * sizeof(struct frame));
	}
	for (;;) {
		struct pollfd p[2] = {side_wants(&d->sides[0], wire, n), side_wants(&d->sides[1], wire, n)};
		if ((p[0].fd < 0 && p[1].fd < 0) || poll(p, 2, READ_LIMIT_S * 1000) <= 0)
			break;
		for (size_t i = 0; i < 2; i++) {
			if (p[i].revents & POLLOUT)
				side_send(&d->sides[i], wire);
			if (p[i].revents & ~POLLOUT)
				side_receive(&d->sides[i], n);
		}
	}
	side_locate(&d->sides[0], n);
	side_locate(&d->sides[1], n);
	if (now_ms() - began > d->longest_ms)
		d->longest_ms = now_ms() - began;
}

static void start_over(struct differ *d)
{
	for (size_t i = 0; i < 2; i++) {
		bool is_connected;
		close(d->sides[i].fd);
		d->sides[i].fd = try_connect(d->options->sockets[i], &is_connected);
		d->is_over |= !is_connected;
	}
	if (d->is_over)
		return;
	struct sample *clear = generator_clear(d->g);
	exchange(d, &clear->wire, 1);
	sample_free(clear);
	generator_reconnected(d->g);
	d->in_multi = false;
}

/* ---- what is shown ---- */

static void show_bytes(struct buf *b, const char *data, size_t len)
{
	for (size_t i = 0; i < len && i < SHOWN_BYTES; i++) {
		unsigned char c = (unsigned char)data[i];
		const char *escape = c == '\r' ? "\\r" : c == '\n' ? "\\n" : c == '\\' ? "\\\\" : c == '"' ? "\\\"" : NULL;
		if (escape)
			buf_add_str(b, escape);
		else
			buf_addf(b, c < ' ' || c > '~' ? "\\x%02x" : "%c", c);
	}
	if (len > SHOWN_BYTES)
		buf_addf(b, "... (%zu bytes)", len);
}

static void show_sample(struct buf *b, const struct sample *s)
{
	for (size_t i = 0; i < s->argc; i++) {
		bool is_bare = s->argv[i].len > 0;
		for (size_t k = 0; k < s->argv[i].len; k++)
			is_bare &= isgraph((unsigned char)s->argv[i].data[k]) != 0;
		buf_add_str(b, i ? " " : "");
		buf_add_str(b, is_bare ? "" : "\"");
		show_bytes(b, s->argv[i].data, s->argv[i].len);
		buf_add_str(b, is_bare ? "" : "\"");
	}
}

static void show_reply(struct buf *b, struct frame f)
{
	if (f.len == 0)
		buf_add_str(b, "(no reply)");
	show_bytes(b, f.data, f.len);
}

/* What replies that differ for one reason have in common: an error's text, else the type. */
static void add_look(struct buf *b, struct frame f)
{
	size_t n = f.len && strchr("-+", *f.data) ? f.len - 2 : f.len > 0;
	if (n == 0)
		buf_add_str(b, "(none)");
	for (size_t i = 0; i < n && i < 90 && f.data[i] != '\''; i++)
		buf_add_char(b, isdigit((unsigned char)f.data[i]) ? '#' : f.data[i]);
}

static char *look_of(const struct sample *s, struct frame a, struct frame b)
{
	struct buf look = BUF_INIT;
	for (size_t i = 0; i < s->argv[0].len && i < 20; i++)
		buf_add_char(&look, (char)toupper((unsigned char)s->argv[0].data[i]));
	buf_add_str(&look, ": ");
	add_look(&look, a);
	buf_add_str(&look, " / ");
	add_look(&look, b);
	buf_add_char(&look, '\0');
	return look.data;
}

static bool shares_key(const struct differ *d, const struct sample *s, const struct sample *with)
{
	for (size_t i = 1; i < s->argc; i++)
		for (size_t k = 1; generator_is_key(d->g, &s->argv[i]) && k < with->argc; k++)
			if (s->argv[i].len == with->argv[k].len && memcmp(s->argv[i].data, with->argv[k].data, s->argv[i].len) == 0)
				return true;
	return false;
}

static bool has_key(const struct differ *d, const struct sample *s)
{
	for (size_t i = 1; i < s->argc; i++)
		if (generator_is_key(d->g, &s->argv[i]))
			return true;
	return false;
}

/* The last commands before history[at] on a key of that one; if it has none, the last commands. */
static void show_history(const struct differ *d, struct buf *b, size_t at)
{
	const struct sample *s = d->history[at].sample;
	size_t shown[HISTORY_SHOWN], n = 0;
	for (size_t i = at; i-- > 0 && n < HISTORY_SHOWN;)
		if (!has_key(d, s) || shares_key(d, d->history[i].sample, s))
			shown[n++] = i;
	buf_add_str(b, "    before it:\n");
	while (n > 0) {
		const struct event *e = &d->history[shown[--n]];
		buf_add_str(b, "      ");
		show_sample(b, e->sample);
		buf_addf(b, "  =>  %s\n", e->answer ? e->answer : "?");
	}
}

static char *show_difference(const struct differ *d, size_t at, struct frame a, struct frame b)
{
	struct buf text = BUF_INIT;
	const struct sample *s = d->history[at].sample;
	buf_addf(&text, "    command %zu%s, as %s: ", at, d->in_multi ? ", of a transaction" : "",
		memchr(s->wire.data, '$', s->wire.len) ? "an array" : "a line");
	show_sample(&text, s);
	buf_add_str(&text, "\n    Redis:  ");
	show_reply(&text, a);
	buf_add_str(&text, "\n    daemon: ");
	show_reply(&text, b);
	buf_add_char(&text, '\n');
	show_history(d, &text, at);
	buf_add_char(&text, '\0');
	return text.data;
}

static void found(struct differ *d, size_t at, struct frame a, struct frame b)
{
	char *look = look_of(d->history[at].sample, a, b);
	struct finding *f = d->findings;
	while (f && strcmp(f->look, look) != 0)
		f = f->next;
	if (f) {
		free(look);
	} else {
		f = xcalloc(1, sizeof(*f));
		*f = (struct finding){.next = d->findings, .look = look, .example = show_difference(d, at, a, b)};
		d->findings = f;
	}
	f->count++;
	d->n_differences++;
}

char *differ_report(const struct differ *d)
{
	struct buf b = BUF_INIT;
	unsigned n = 0, shown = 0;
	if (!d->findings)
		return NULL;
	for (const struct finding *f = d->findings; f; f = f->next)
		n++;
	buf_addf(&b, "setup %s, seed %llu: %u differences of %u looks in %zu commands%s\n", d->options->setup,
		(unsigned long long)d->options->seed, d->n_differences, n, d->n_history, d->is_over ? ", then a server was gone" : "");
	for (const struct finding *f = d->findings; f && shown < FINDINGS_SHOWN; f = f->next, shown++)
		buf_addf(&b, "  %u x %s\n%s", f->count, f->look, f->example);
	buf_add_char(&b, '\0');
	return b.data;
}

/* ---- comparing ---- */

static enum frame_rule rule_of(const struct sample *s)
{
	static const struct {
		const char *name;
		enum frame_rule rule;
	} rules[] = {
		{"ttl", FRAME_SECONDS}, {"expiretime", FRAME_SECONDS},
		{"pttl", FRAME_MILLISECONDS}, {"pexpiretime", FRAME_MILLISECONDS},
		{"keys", FRAME_UNORDERED}, {"scan", FRAME_UNORDERED},
		{"hscan", FRAME_UNORDERED}, {"sscan", FRAME_UNORDERED}, {"zscan", FRAME_UNORDERED},
		{"smembers", FRAME_UNORDERED}, {"sinter", FRAME_UNORDERED}, {"sunion", FRAME_UNORDERED}, {"sdiff", FRAME_UNORDERED},
		{"hgetall", FRAME_UNORDERED}, {"hkeys", FRAME_UNORDERED}, {"hvals", FRAME_UNORDERED},
		{"eval", FRAME_UNORDERED},      /* one of the scripts returns a hash */
		{"hello", FRAME_GREETING},
	};
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (sample_is(s, rules[i].name))
			return rules[i].rule;
	return FRAME_EXACT;
}

static bool is_exec(const struct differ *d, const struct sample *s)
{
	return d->in_multi && s->argc == 1 && sample_is(s, "exec");
}

static int64_t slack(const struct differ *d)
{
	return SLACK_MS + 2 * d->longest_ms;
}

/* The elements of EXEC's reply are compared each by the rule of its command. Where there is one for each and
 * one differs, a, b and *at become that one. */
static bool same_exec(const struct differ *d, size_t *at, struct frame *a, struct frame *b)
{
	size_t n, m, i = 0;
	struct frame *x = frame_elements(*a, &n), *y = frame_elements(*b, &m);
	bool is_full = x && y && n == m && n == d->n_queue && n <= QUEUE_MAX && *a->data == *b->data;
	while (is_full && i < n && frame_same(rule_of(d->history[d->queue[i]].sample), x[i], y[i], slack(d)))
		i++;
	bool same = is_full ? i == n : frame_same(FRAME_EXACT, *a, *b, 0);
	if (is_full && !same) {
		*at = d->queue[i];
		*a = x[i];
		*b = y[i];
	}
	free(x);
	free(y);
	return same;
}

/* Replies to history[*at]; all three become an element's if only that differs. */
static bool same_replies(const struct differ *d, size_t *at, struct frame *a, struct frame *b)
{
	const struct sample *s = d->history[*at].sample;
	if (a->len == 0 || b->len == 0)
		return false;
	if (is_exec(d, s))
		return same_exec(d, at, a, b);
	return frame_same(rule_of(s), *a, *b, slack(d));
}

static bool starts_with(struct frame f, const char *text)
{
	size_t n = strlen(text);
	return f.len >= n && memcmp(f.data, text, n) == 0;
}

/* Follows the transaction by what the reference answers. */
static void follow(struct differ *d, size_t at, struct frame reply)
{
	const struct sample *s = d->history[at].sample;
	if (sample_is(s, "multi") && starts_with(reply, "+OK")) {
		d->in_multi = true;
		d->n_queue = 0;
	} else if (d->in_multi && starts_with(reply, "+QUEUED")) {
		if (d->n_queue < QUEUE_MAX)
			d->queue[d->n_queue] = at;
		d->n_queue++;
	} else if (s->argc == 1 && (sample_is(s, "exec") || sample_is(s, "discard") || sample_is(s, "reset"))) {
		d->in_multi = false;
	}
}

static void remember(struct differ *d, struct sample *s)
{
	if ((d->n_history & 1023) == 0)
		d->history = xrealloc(d->history, (d->n_history + 1024) * sizeof(*d->history));
	d->history[d->n_history++] = (struct event){.sample = s};
}

static char *shown_answer(struct frame f)
{
	struct buf b = BUF_INIT;
	show_bytes(&b, f.data, f.len < 80 ? f.len : 80);
	buf_add_char(&b, '\0');
	return b.data;
}

static void compare(struct differ *d, size_t first, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct frame a = d->sides[0].replies[i], b = d->sides[1].replies[i];
		size_t at = first + i;
		d->history[at].answer = shown_answer(a);
		if (!same_replies(d, &at, &a, &b)) {
			found(d, at, a, b);
			start_over(d);
			return;
		}
		follow(d, first + i, a);
	}
}

void differ_run(struct differ *d, size_t n)
{
	for (size_t done = 0; done < n && d->n_differences < DIFFERENCES_MAX && !d->is_over;) {
		struct buf wire = BUF_INIT;
		size_t first = d->n_history, size = 1 + generator_below(d->g, d->options->max_batch);
		for (size_t i = 0; i < size && done + i < n && wire.len < BATCH_BYTES; i++) {
			struct sample *s = generator_next(d->g);
			buf_add(&wire, s->wire.data, s->wire.len);
			remember(d, s);
		}
		size = d->n_history - first;
		exchange(d, &wire, size);
		compare(d, first, size);
		buf_free(&wire);
		done += size;
	}
}

/* ---- the differ ---- */

struct differ *differ_new(struct generator *g, const struct differ_options *options)
{
	struct differ *d = xcalloc(1, sizeof(*d));
	d->options = options;
	d->g = g;
	for (size_t i = 0; i < 2; i++)
		d->sides[i].fd = differ_connect(options->sockets[i]);
	return d;
}

static void free_findings(struct finding *f)
{
	for (struct finding *next; f; f = next) {
		next = f->next;
		free(f->look);
		free(f->example);
		free(f);
	}
}

void differ_free(struct differ *d)
{
	for (size_t i = 0; i < 2; i++) {
		close(d->sides[i].fd);
		buf_free(&d->sides[i].in);
		free(d->sides[i].replies);
	}
	for (size_t i = 0; i < d->n_history; i++) {
		sample_free(d->history[i].sample);
		free(d->history[i].answer);
	}
	free(d->history);
	free_findings(d->findings);
	free(d);
}
