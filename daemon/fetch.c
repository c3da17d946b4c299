/* The choice of a driver, and what must not be in a driver's message. See fetch.h.
 * The catalog calls fetch_start; the drivers do the rest. */
#include "fetch.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../proto/buf.h"
#include "clock.h"
#include "key.h"
#include "log.h"

struct source {
	const struct fetch_driver *driver;      /* NULL: nothing needs it */
	void *self;
};

/* How fetches of a type went lately. A key that fails again is its own affair, which
 * history.c spaces out: the breaker counts failures of one key after another. */
struct course {
	struct breaker breaker;
	int64_t since_ms;               /* when that opened or closed */
	unsigned failures;              /* in a row, of whatever key */
	uint64_t failed_name;           /* hash of the last name that failed */
	char cause[FETCH_CAUSE_MAX];    /* of the last failure */
};

/* A fetch on its way: between the driver and who wants it stands the breaker. */
struct passage {
	TAILQ_ENTRY(passage) link;      /* in refused */
	struct fetcher *owner;
	const struct conf_type *type;
	struct course *course;
	const char *refusal;            /* why it was refused */
	uint64_t name;                  /* its hash */
	fetch_done_fn done;
	void *arg;
};
TAILQ_HEAD(passages, passage);

struct fetcher {
	struct source sql, exec, assemble;
	struct fetcher *before;         /* whose fetches go on; NULL: none */
	size_t under_way;
	struct course *courses;         /* by type index */
	struct passages refused;        /* by a breaker, to be told so by the loop */
	struct event *refusal;
	bool closing;
};

/* ---- breakers ---- */

#define TEXT_OF(number) TEXT(number)
#define TEXT(number) #number
#define TOO_MANY_FAILURES "fetches of this type failed " TEXT_OF(BREAKER_FAILURES) " times in a row and are not begun for a while"

static void on_refusal(evutil_socket_t fd, short what, void *arg)
{
	struct fetcher *f = arg;
	struct passages now = TAILQ_HEAD_INITIALIZER(now);
	(void)fd, (void)what;
	clock_update();
	TAILQ_CONCAT(&now, &f->refused, link);
	for (struct passage *p; (p = TAILQ_FIRST(&now)); free(p)) {
		struct fetch_result result = {.status = FETCH_FAILED, .was_refused = true};
		TAILQ_REMOVE(&now, p, link);
		snprintf(result.error, sizeof(result.error), "%s", p->refusal);
		f->under_way--;
		p->done(p->arg, &result);
	}
}

struct fetch_health fetch_database_health(const struct fetcher *f)
{
	if (!f->sql.driver || !f->sql.driver->health)
		return (struct fetch_health){"closed", ""};
	return f->sql.driver->health(f->sql.self);
}

struct fetch_health fetch_type_health(const struct fetcher *f, const struct conf_type *type)
{
	const struct course *course = &f->courses[type->index];
	return (struct fetch_health){breaker_state(&course->breaker), course->failures >= BREAKER_FAILURES ? course->cause : ""};
}

/* ---- drivers ---- */

static bool is_used(const struct conf *conf, enum conf_fetch_kind kind)
{
	for (size_t i = 0; i < conf->n_types; i++)
		if (conf->types[i].fetch.kind == kind)
			return true;
	return false;
}

static void source_free(struct source *s)
{
	if (s->driver)
		s->driver->free(s->self);
}

static const struct fetch_driver *open_sql(struct event_base *base, const struct conf_database *conf,
	struct workers *cpu, void **self)
{
	if (conf->kind == CONF_DATABASE_SQLITE)
		return fetch_sqlite_new(base, conf, self);
	assert(conf->kind == CONF_DATABASE_POSTGRES);
	return fetch_postgres_new(base, cpu, conf, self);
}

static void on_tried(void *arg, const struct fetch_result *result)
{
	const struct fetcher *f = arg;
	if (result->status == FETCH_FAILED && !f->closing)
		log_warning("database_unusable", "reason=%s remedy=%s", log_quote(result->error),
			log_quote("correct database.url, or bring the database up; until then what is stored is served and fetches fail"));
}

static void try_database(struct fetcher *f, const struct conf *conf)
{
	const struct fetch_order order = {.sql = f->sql.driver->trial, .shape = CONF_VALUE, .name = "",
		.timeout_ms = conf->database.timeout_ms};
	f->sql.driver->start(f->sql.self, &order, on_tried, f);
}

struct fetcher *fetcher_new(struct event_base *base, const struct conf *conf, struct workers *cpu,
	fetch_part_fn part, void *catalog)
{
	struct fetcher *f = xcalloc(1, sizeof(*f));
	f->courses = xcalloc(conf->n_places, sizeof(*f->courses));
	for (unsigned i = 0; i < conf->n_places; i++)
		f->courses[i].since_ms = clock_ms();
	TAILQ_INIT(&f->refused);
	f->refusal = evtimer_new(base, on_refusal, f);
	bool assembles = is_used(conf, CONF_FETCH_ASSEMBLE);
	if (assembles || is_used(conf, CONF_FETCH_SQL)) {
		f->sql.driver = open_sql(base, &conf->database, cpu, &f->sql.self);
		if (!f->sql.driver)
			goto fail;
	}
	if (is_used(conf, CONF_FETCH_EXEC)) {
		f->exec.driver = fetch_exec_new(base, cpu, &f->exec.self);
		if (!f->exec.driver)
			goto fail;
	}
	if (assembles) {
		const struct fetch_assemble_options options = {.cpu = cpu, .sql = f->sql.driver,
			.sql_self = f->sql.self, .part = part, .catalog = catalog};
		f->assemble.driver = fetch_assemble_new(base, &options, &f->assemble.self);
		if (!f->assemble.driver)
			goto fail;
	}
	if (f->sql.driver)
		try_database(f, conf);
	return f;
fail:;
	int error = errno;
	fetcher_free(f);
	errno = error;
	return NULL;
}

void fetcher_succeed(struct fetcher *f, struct fetcher *before)
{
	f->before = before;
}

void fetcher_tidy(struct fetcher *f)
{
	for (struct fetcher **at = &f->before, *old; (old = *at); ) {
		if (old->under_way) {
			at = &old->before;
			continue;
		}
		*at = old->before;
		old->before = NULL;
		fetcher_free(old);
	}
}

void fetcher_free(struct fetcher *f)
{
	if (!f)
		return;
	fetcher_free(f->before);
	f->closing = true;
	source_free(&f->assemble);      /* before the driver it asks */
	source_free(&f->exec);
	source_free(&f->sql);
	on_refusal(-1, 0, f);
	event_free(f->refusal);
	free(f->courses);
	free(f);
}

static void tell_change(const struct passage *p, bool was_closed)
{
	struct course *c = p->course;
	bool is_closed = c->breaker.open_ms == 0;
	if (is_closed == was_closed)
		return;
	log_warning(is_closed ? "source_works" : "source_fails", "type=%s after_ms=%lld", p->type->name, (long long)(clock_ms() - c->since_ms));
	c->since_ms = clock_ms();
}

static void follow(const struct passage *p, enum breaker_outcome outcome, const struct fetch_result *result)
{
	struct course *c = p->course;
	uint64_t name = p->name;
	bool is_same = c->failures && name == c->failed_name, was_closed = c->breaker.open_ms == 0;
	breaker_report(&c->breaker, outcome == BREAKER_FAILED && is_same ? BREAKER_UNKNOWN : outcome);
	tell_change(p, was_closed);
	if (outcome == BREAKER_ANSWERED)
		c->failures = 0;
	if (outcome != BREAKER_FAILED)
		return;
	c->failures++;
	c->failed_name = name;
	snprintf(c->cause, sizeof(c->cause), "%.*s", FETCH_CAUSE_MAX - 1, fetch_cause(result));
}

/* The source's own words may quote keys and values, so they are for debugging only. */
static void on_passed(void *arg, const struct fetch_result *result)
{
	struct passage *p = arg;
	bool has_failed = result->status == FETCH_FAILED;
	enum breaker_outcome outcome = has_failed ? result->source : BREAKER_ANSWERED;
	if (has_failed && result->cause[0])
		log_debug("source_said", "type=%s text=%s", p->type->name, log_quote(result->error));
	follow(p, outcome, result);
	p->owner->under_way--;
	p->done(p->arg, result);
	free(p);
}

void fetch_start(struct fetcher *f, const struct conf_type *type, const char *name,
	fetch_done_fn done, void *arg)
{
	const struct source *source = NULL;
	switch (type->fetch.kind) {
	case CONF_FETCH_NONE:
		break;
	case CONF_FETCH_SQL:
		source = &f->sql;
		break;
	case CONF_FETCH_EXEC:
		source = &f->exec;
		break;
	case CONF_FETCH_ASSEMBLE:
		source = &f->assemble;
		break;
	}
	const struct fetch_order order = {.type = type, .sql = type->fetch.sql, .shape = type->fetch.shape,
		.name = name, .timeout_ms = type->fetch.timeout_ms};
	struct passage *p = xmalloc(sizeof(*p));
	*p = (struct passage){.owner = f, .type = type, .course = &f->courses[type->index], .name = key_of(name, strlen(name)).hash,
		.done = done, .arg = arg};
	f->under_way++;
	bool has_source = source && source->driver;
	if (has_source && breaker_admits(&p->course->breaker)) {
		source->driver->start(source->self, &order, on_passed, p);
		return;
	}
	p->refusal = has_source ? TOO_MANY_FAILURES : "the configuration has changed";
	TAILQ_INSERT_TAIL(&f->refused, p, link);
	event_add(f->refusal, &(struct timeval){0}); /* in the next turn of the loop: who is refused may ask again at once */
}

const struct fetch_order *fetch_run_by(const struct fetcher *f, pid_t group)
{
	const struct fetch_order *order = NULL;
	for (; f && !order; f = f->before)
		order = f->exec.driver ? fetch_exec_run_by(f->exec.self, group) : NULL;
	return order;
}

/* ---- messages ---- */

void fetch_redact(char *message)
{
	char *open = strpbrk(message, "\"'[");
	if (!open)
		return;
	/* To the last one of its kind: what is quoted may have some inside. */
	char *close = strrchr(open + 1, *open == '[' ? ']' : *open);
	if (close)
		memmove(open + 1, close, strlen(close) + 1);
	else
		open[1] = '\0';
}
