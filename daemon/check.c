/* Judging values; see check.h. */
#include "check.h"

#include <stdio.h>
#include <xxhash.h>

#include "json.h"
#include "value.h"
#include "worker.h"

/* Any thread: reads the value's bytes, writes only the check's own fields. */
static void run(void *arg)
{
	struct check *c = arg;
	const struct value *v = c->value;
	struct json_summary summary;
	struct json_error error;
	bool is_json = json_check(v->data, v->len, &summary, &error) == 0;

	c->is_json = is_json;
	c->items = is_json && summary.kind == JSON_ARRAY ? summary.items : VALUE_ITEMS_NONE;
	c->digest = XXH3_64bits(v->data, v->len);
	c->is_empty = c->refuse_empty && (v->len == 0 || (is_json && summary.empty));
	c->refusal[0] = '\0';
	if (c->is_empty)
		snprintf(c->refusal, sizeof(c->refusal), "the result is empty");
	else if (c->want_json && !is_json)
		snprintf(c->refusal, sizeof(c->refusal), "not JSON: %s at byte %zu", error.reason, error.offset);
}

static void finish(void *arg)
{
	struct check *c = arg;
	value_set_inspected(c->value, c->is_json, c->items, c->digest);
	c->done(c->arg);
}

void check_start(struct check *c, struct workers *cpu, check_done_fn done, void *arg)
{
	c->done = done;
	c->arg = arg;
	if (c->value->inspected && !c->refuse_empty && (c->value->is_json || !c->want_json)) {
		c->refusal[0] = '\0';
		c->is_empty = false;
		done(arg);
		return;
	}
	/* A full queue of workers is no reason to fail: then it is done here. */
	if (c->value->len > CHECK_INLINE_MAX && workers_submit(cpu, run, finish, c) == 0)
		return;
	run(c);
	finish(c);
}
