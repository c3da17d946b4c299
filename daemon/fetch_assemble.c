/* Fetching a value by putting it together from others: a statement names the parts,
 * the catalog gives each of them through its tiers, and their arrays are joined into
 * one without being parsed. See fetch.h.
 *
 *      begin --> NAMING --sql--> GATHERING --all parts--> JOINING --cpu--> answer
 *                   |                |                       |
 *                   +----------------+--- failed, stopped ---+--> OVER
 *
 * One part that fails fails the whole: a catalog without it would look complete. A
 * part that does not exist adds nothing.
 *
 * Parts that were asked for come back even when nobody wants them any more, maybe
 * after the driver is gone. So an assembly in OVER lives on, without call or driver,
 * until the last of what it is owed has come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../proto/buf.h"
#include "fetch.h"
#include "fetch_call.h"
#include "json.h"
#include "value.h"
#include "worker.h"

#define PARTS_AT_ONCE 64        /* of one assembly */
#define ASSEMBLIES_MAX 1000     /* at once */
#define JOIN_INLINE_MAX 65536   /* bytes joined on the loop (some 10 us) */

enum assembly_state { ASSEMBLY_NAMING, ASSEMBLY_GATHERING, ASSEMBLY_JOINING, ASSEMBLY_OVER };

struct part {
	struct assembly *owner;
	const char *name;               /* into the owner's names */
	struct value *value;            /* NULL: not come, or does not exist */
};

struct assembly {
	struct assembler *driver;       /* NULL in OVER, and so is call */
	struct fetch_call *call;
	enum assembly_state state;
	unsigned owed;                  /* callbacks still to come: names, parts, the join */
	struct value *names;            /* each with a NUL behind it */
	struct part *parts;
	size_t n, next;                 /* of them, and of those the next to be asked for */
	size_t bytes;                   /* of the parts that have come */
	bool asking;                    /* ask_parts is on the stack */
	struct value *joined;           /* what the join made; NULL: no memory, or ... */
	size_t not_array;               /* ... the number (from 1) of a part that is no array */
};

struct assembler {
	struct fetch_assemble_options options;
	struct fetch_calls *calls;
};

/* ---- the end ---- */

static void free_if_over(struct assembly *a)
{
	if (a->state != ASSEMBLY_OVER || a->owed > 0 || a->asking)
		return;
	for (size_t i = 0; i < a->n; i++)
		value_unref(a->parts[i].value);
	free(a->parts);
	value_unref(a->names);
	value_unref(a->joined);
	free(a);
}

/* The call has been answered. */
static void end(struct assembly *a)
{
	struct fetch_call *call = a->call;
	a->state = ASSEMBLY_OVER;
	a->driver = NULL;
	a->call = NULL;
	fetch_call_end(call);
}

/* ---- joining ---- */

/* The inside of the next part that has one, from *i on; NULL behind the last, or if
 * it is no array: then a->not_array is set. */
static const char *next_inside(struct assembly *a, size_t *i, size_t *len)
{
	const char *inside;
	while (*i < a->n) {
		const struct value *v = a->parts[(*i)++].value;
		if (!v)
			continue;
		if (json_array_inside(v->data, v->len, &inside, len) < 0) {
			a->not_array = *i;
			return NULL;
		}
		if (*len > 0)
			return inside;
	}
	return NULL;
}

/* On a cpu worker if there is much of it. */
static void join(void *arg)
{
	struct assembly *a = arg;
	size_t i = 0, len, total = 0;
	const char *inside;
	while (next_inside(a, &i, &len))
		total += len + 1;
	if (a->not_array)
		return;
	/* A comma between two of them, and the brackets around all. */
	a->joined = value_new(total ? total + 1 : 2);
	if (!a->joined)
		return;
	char *to = a->joined->data;
	*to++ = '[';
	for (i = 0; (inside = next_inside(a, &i, &len)); ) {
		if (to > a->joined->data + 1)
			*to++ = ',';
		to = mempcpy(to, inside, len);
	}
	*to = ']';
}

static void on_joined(void *arg)
{
	struct assembly *a = arg;
	a->owed--;
	if (a->state == ASSEMBLY_JOINING) {
		if (a->joined)
			fetch_call_found(a->call, value_ref(a->joined));
		else if (a->not_array)
			fetch_call_failed(a->call, "part %zu of %zu is not a JSON array", a->not_array, a->n);
		else
			fetch_call_failed(a->call, "no memory to join %zu parts", a->n);
		end(a);
	}
	free_if_over(a);
}

static void start_join(struct assembly *a)
{
	a->state = ASSEMBLY_JOINING;
	a->owed++;
	/* A full queue of workers is no reason to fail: then it is done here. */
	if (a->bytes > JOIN_INLINE_MAX && workers_submit(a->driver->options.cpu, join, on_joined, a) == 0)
		return;
	join(a);
	on_joined(a);
}

/* ---- gathering ---- */

static void on_part(void *arg, const struct fetch_result *result);

/* Asks for as many parts as may be under way; when there are none any more, goes on.
 * A part that calls back at once finds `asking` set and leaves the rest to the loop
 * here, so the stack does not grow with the number of parts. May free a. */
static void ask_parts(struct assembly *a)
{
	if (a->asking)
		return;
	a->asking = true;
	while (a->state == ASSEMBLY_GATHERING && a->next < a->n && a->owed < PARTS_AT_ONCE) {
		const struct fetch_assemble_options *o = &a->driver->options;
		struct part *p = &a->parts[a->next++];
		a->owed++;
		o->part(o->catalog, a->call->order.type->fetch.from_type, p->name, on_part, p);
	}
	a->asking = false;
	if (a->state == ASSEMBLY_GATHERING && a->owed == 0)
		start_join(a);
	else
		free_if_over(a);
}

static void take_part(struct assembly *a, struct part *p, const struct fetch_result *result)
{
	size_t number = (size_t)(p - a->parts) + 1;
	char cause[FETCH_CAUSE_MAX];
	switch (result->status) {
	case FETCH_ABSENT:
		break;
	case FETCH_FAILED:
		/* It has been logged, and counted, where it failed. */
		snprintf(cause, sizeof(cause), "part %zu of %zu failed", number, a->n);
		fetch_call_blame(a->call, BREAKER_UNKNOWN, cause, "%s: %s", cause, result->error);
		end(a);
		break;
	case FETCH_FOUND:
		p->value = value_ref(result->value);
		a->bytes += p->value->len;
		if (a->bytes <= FETCH_MAX_BYTES)
			break;
		fetch_call_failed(a->call, "the parts are larger than %zu MiB", FETCH_MAX_BYTES >> 20);
		end(a);
		break;
	}
}

static void on_part(void *arg, const struct fetch_result *result)
{
	struct part *p = arg;
	struct assembly *a = p->owner;
	a->owed--;
	if (a->state == ASSEMBLY_GATHERING)
		take_part(a, p, result);
	ask_parts(a);
}

/* ---- naming ---- */

static void make_parts(struct assembly *a, struct value *names)
{
	const char *end_of_names = names->data + names->len;
	a->names = value_ref(names);
	for (const char *p = names->data; p < end_of_names; p += strlen(p) + 1)
		a->n++;
	a->parts = xcalloc(a->n, sizeof(*a->parts));
	const char *name = names->data;
	for (size_t i = 0; i < a->n; i++) {
		a->parts[i] = (struct part){.owner = a, .name = name};
		name += strlen(name) + 1;
	}
}

static void on_names(void *arg, const struct fetch_result *result)
{
	struct assembly *a = arg;
	a->owed--;
	if (a->state == ASSEMBLY_NAMING && result->status == FETCH_FAILED) {
		fetch_call_blame(a->call, result->source, result->cause, "the list of parts failed: %s", result->error);
		end(a);
	} else if (a->state == ASSEMBLY_NAMING) {
		if (result->status == FETCH_FOUND)
			make_parts(a, result->value);
		a->state = ASSEMBLY_GATHERING;
	}
	ask_parts(a);
}

/* ---- the driver ---- */

static void begin(void *driver, struct fetch_call *call)
{
	struct assembler *d = driver;
	struct assembly *a = xcalloc(1, sizeof(*a));
	a->driver = d;
	a->call = call;
	a->owed = 1;
	call->run = a;
	struct fetch_order order = call->order;
	order.shape = CONF_NAMES;
	d->options.sql->start(d->options.sql_self, &order, on_names, a);
}

static void stop(void *driver, struct fetch_call *call)
{
	struct assembly *a = call->run;
	(void)driver;
	end(a);
	free_if_over(a);
}

static void start(void *self, const struct fetch_order *order, fetch_done_fn done, void *arg)
{
	struct assembler *d = self;
	fetch_call_start(d->calls, order, done, arg);
}

static void assemble_free(void *self)
{
	struct assembler *d = self;
	fetch_calls_close(d->calls);
	fetch_calls_free(d->calls);
	free(d);
}

const struct fetch_driver *fetch_assemble_new(struct event_base *base,
	const struct fetch_assemble_options *options, void **self)
{
	static const struct fetch_driver driver = {.name = "assemble", .start = start, .free = assemble_free};
	static const struct fetch_runner runner = {begin, stop};
	struct assembler *d = xcalloc(1, sizeof(*d));
	d->options = *options;
	d->calls = fetch_calls_new(base, NULL, ASSEMBLIES_MAX, &runner, d);
	*self = d;
	return &driver;
}
