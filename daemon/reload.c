/* Reading the configuration again; see reload.h. */
#include "reload.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "clock.h"
#include "errand.h"
#include "log.h"

/* What the thread does; it outlives the reloader if that is freed meanwhile. */
struct reading {
	struct reloader *owner;
	char *file;
	struct conf *conf;              /* NULL: bad, and: */
	struct conf_errors errors;
};

struct reloader {
	struct event_base *base;
	const char *file;
	const struct reload_owner *owner;
	void *arg;
	struct errand *errand;          /* reading; NULL: not */
	bool is_applying, is_wanted_again;
};

static void read_file(void *arg)
{
	struct reading *reading = arg;
	reading->conf = conf_load(reading->file, &reading->errors);
}

static void go_on(struct reloader *r)
{
	if (!r->is_wanted_again) {
		r->owner->idle(r->arg);
		return;
	}
	r->is_wanted_again = false;
	reload_start(r);
}

static void refuse(struct reloader *r, const struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		log_error("reload_refused", "reason=%s", log_quote(errors->lines[i]));
	r->owner->refused(r->arg);
	go_on(r);
}

static void on_read(void *arg)
{
	struct reading *reading = arg;
	struct reloader *r = reading->owner;
	struct conf *conf = reading->conf;
	clock_update();
	r->errand = NULL;
	reading->conf = NULL;
	r->is_applying = conf;
	if (conf)
		r->owner->apply(r->arg, conf);
	else
		refuse(r, &reading->errors);
}

static void reading_free(void *arg)
{
	struct reading *reading = arg;
	if (reading->conf)
		conf_free(reading->conf);
	conf_errors_free(&reading->errors);
	free(reading->file);
	free(reading);
}

struct reloader *reload_new(struct event_base *base, const char *file, const struct reload_owner *owner, void *arg)
{
	struct reloader *r = xcalloc(1, sizeof(*r));
	*r = (struct reloader){.base = base, .file = file, .owner = owner, .arg = arg};
	return r;
}

void reload_free(struct reloader *r)
{
	if (!r)
		return;
	errand_abandon(r->errand);
	free(r);
}

void reload_start(struct reloader *r)
{
	if (r->errand || r->is_applying) {
		r->is_wanted_again = true;
		return;
	}
	struct reading *reading = xcalloc(1, sizeof(*reading));
	*reading = (struct reading){.owner = r, .file = xstrdup(r->file)};
	r->errand = errand_start(r->base, "reload", read_file, on_read, reading_free, reading);
	if (r->errand)
		return;
	char *line = xasprintf("%s: no thread to read it: %s", r->file, strerror(errno));
	reading_free(reading);
	refuse(r, &(struct conf_errors){.lines = &line, .n = 1});
	free(line);
}

void reload_end(struct reloader *r)
{
	r->is_applying = false;
	go_on(r);
}
