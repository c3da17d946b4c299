/* catcachectl warm: WARM, while a second connection asks STATS how far it has come; see ctl.h. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_figures.h"
#include "ctl_text.h"

#define LOOK_MS 100             /* between two looks at the progress */
#define BAR_WIDTH 40

/* The bar, in place of the one before. */
static void draw(double done, double total)
{
	static const char full[] = "########################################", none[] = "                                        ";
	int n = total > 0 ? (int)(BAR_WIDTH * (done < total ? done : total) / total) : 0;
	fprintf(stderr, "\r[%.*s%.*s] %s of %s, %s\033[K", n, full, BAR_WIDTH - n, none, text_count(done).s, text_count(total).s,
		text_percent(done, total).s);
}

static void wipe(void)
{
	fputs("\r\033[K", stderr);
}

/* How far it has come, if the daemon says so. True if the daemon answered at all. */
static bool look(struct ctl_link *l, int64_t timeout_ms, bool draws)
{
	static const struct request_arg stats = {.data = "STATS", .len = 5};
	struct reply_element e;
	if (l->fd < 0 || ctl_link_send(l, &stats, 1, timeout_ms) < 0 || ctl_link_receive(l, timeout_ms) <= 0) {
		ctl_link_close(l);
		return false;
	}
	(void)reply_element(l->reply, l->reply_len, &e);
	cJSON *tree = cJSON_ParseWithLength(e.data, e.len);
	if (draws && figure_at(tree, "warm.total"))
		draw(figure(tree, "warm.done"), figure(tree, "warm.total"));
	cJSON_Delete(tree);
	return true;
}

/* Waits for the reply to WARM. The daemon may take as long as it shows signs of life. */
static int await(struct ctl *c, struct ctl_link *watch)
{
	bool draws = isatty(STDERR_FILENO) && !c->options['R'];
	int64_t alive_us = ctl_now_us();
	int got;
	while ((got = ctl_link_receive(&c->link, LOOK_MS)) == 0) {
		if (look(watch, c->timeout_ms, draws))
			alive_us = ctl_now_us();
		if (ctl_now_us() - alive_us < c->timeout_ms * 1000)
			continue;
		ctl_link_say_silent(&c->link, c->timeout_ms);
		break;
	}
	if (draws)
		wipe();
	return got > 0 ? ctl_judge(c) : CTL_AWAY;
}

static int show_count(const struct ctl *c, int64_t began_us)
{
	struct reply_element e = ctl_reply(c);
	struct buf b = BUF_INIT;
	if (c->is_json)
		buf_addf(&b, "{\"warmed\":%lld}\n", (long long)e.number);
	else
		buf_addf(&b, "keys warmed: %s, in %s\n", text_count((double)e.number).s, text_ms((double)(ctl_now_us() - began_us) / 1000).s);
	return ctl_show(&b, CTL_GOOD);
}

int ctl_warm(struct ctl *c)
{
	struct ctl_link watch = CTL_LINK_INIT;
	struct request_arg *argv = xcalloc(c->argc + 1, sizeof(*argv));
	int64_t began_us = ctl_now_us();
	argv[0] = (struct request_arg){.data = "WARM", .len = 4};
	for (size_t i = 0; i < c->argc; i++)
		argv[i + 1] = c->argv[i];
	(void)ctl_link_open(&watch, c->socket, c->timeout_ms);         /* without it there is no bar */
	int status = ctl_link_send(&c->link, argv, c->argc + 1, c->timeout_ms) == 0 ? await(c, &watch) : CTL_AWAY;
	ctl_link_free(&watch);
	free(argv);
	return status == CTL_GOOD ? show_count(c, began_us) : ctl_tell(c, status);
}
