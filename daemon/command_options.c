/* Options of commands that set TTLs; see command_options.h. */
#include "command_options.h"

#include <stdio.h>

#include "clock.h"
#include "command.h"

/* ---- times ---- */

bool time_read(const struct call *call, size_t i, struct time_arg *t)
{
	int64_t n;
	if (!request_integer(&call->argv[i], &n) || n > INT64_MAX / t->unit_ms || n < INT64_MIN / t->unit_ms)
		return false;
	n *= t->unit_ms;
	t->ends_at_ms = t->is_absolute ? n : 0;
	t->ttl_ms = t->is_absolute && n > 0 ? n - clock_wall_ms() : n; /* before 1970 is past as it is */
	return t->is_absolute ? n > 0 || !t->must_be_positive : n <= INT64_MAX - clock_wall_ms() && (n > 0 || !t->must_be_positive);
}

void time_error(const struct call *call, size_t i, char *text)
{
	int64_t n;
	char name[32];
	if (request_integer(&call->argv[i], &n))
		snprintf(text, TIME_ERROR_MAX, "ERR invalid expire time in '%s' command", command_lower(call->command->name, name, sizeof(name)));
	else
		snprintf(text, TIME_ERROR_MAX, "ERR value is not an integer or out of range");
}

bool time_take(struct call *call, size_t i, struct time_arg *t)
{
	char text[TIME_ERROR_MAX];
	if (time_read(call, i, t))
		return true;
	time_error(call, i, text);
	call_error(call, text);
	return false;
}

/* ---- options of SET and GETEX ---- */

static const struct option known[] = {
	{"EX", OPTION_TIME, {1000, false, true, 0, 0}, REDIS_ALWAYS, OPTION_OF_SET | OPTION_OF_GETEX},
	{"PX", OPTION_TIME, {1, false, true, 0, 0}, REDIS_ALWAYS, OPTION_OF_SET | OPTION_OF_GETEX},
	{"EXAT", OPTION_TIME, {1000, true, true, 0, 0}, REDIS_ALWAYS, OPTION_OF_SET | OPTION_OF_GETEX},
	{"PXAT", OPTION_TIME, {1, true, true, 0, 0}, REDIS_ALWAYS, OPTION_OF_SET | OPTION_OF_GETEX},
	{"KEEPTTL", OPTION_KEEPTTL, {0}, REDIS_ALWAYS, OPTION_OF_SET},
	{"PERSIST", OPTION_PERSIST, {0}, REDIS_ALWAYS, OPTION_OF_GETEX},
	{"NX", OPTION_CONDITION, {0}, REDIS_IF_ABSENT, OPTION_OF_SET},
	{"XX", OPTION_CONDITION, {0}, REDIS_IF_PRESENT, OPTION_OF_SET},
	{"GET", OPTION_GET, {0}, REDIS_ALWAYS, OPTION_OF_SET},
};

static const struct option *find_option(const struct call *call, size_t i)
{
	for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
		if (call_arg_is(call, i, known[k].word))
			return &known[k];
	return NULL;
}

/* One of them; false: it contradicts one before it. The same one again is no
 * contradiction: the last one counts. */
static bool take_option(struct options *r, const struct option *o)
{
	switch (o->kind) {
	case OPTION_GET:
		r->wants_old = true;
		return true;
	case OPTION_CONDITION:
		if (r->condition && r->condition != o->condition)
			return false;
		r->condition = o->condition;
		return true;
	case OPTION_TIME:
	case OPTION_KEEPTTL:
	case OPTION_PERSIST:
		if (r->ttl && r->ttl != o)
			return false;
		break;
	}
	r->ttl = o;
	return true;
}

bool options_read(struct call *call, size_t i, enum option_of of, struct options *r)
{
	for (; i < call->argc; i++) {
		const struct option *o = find_option(call, i);
		bool has_number = o && o->kind == OPTION_TIME;
		if (!o || !(o->of & of) || (has_number && i + 1 == call->argc) || !take_option(r, o)) {
			call_error(call, "ERR syntax error");
			return false;
		}
		if (has_number)
			r->time_at = ++i;
	}
	return true;
}

/* ---- conditions of EXPIRE ---- */

/* At most one of them, or XX with GT or LT, which want a TTL anyway (GT always, LT not: "XX LT"). */
bool options_read_condition(struct call *call, const char **condition)
{
	static const char *const words[] = {"NX", "XX", "GT", "LT"};
	bool has[4] = {false};
	for (size_t i = 3; i < call->argc; i++) {
		size_t k = 0;
		while (k < 4 && !call_arg_is(call, i, words[k]))
			k++;
		if (k == 4) {
			char text[CALL_SHOWN_MAX + 32];
			snprintf(text, sizeof(text), "ERR Unsupported option %.*s", call_shown(&call->argv[i]), call->argv[i].data);
			call_error(call, text);
			return false;
		}
		has[k] = true;
	}
	if (has[0] && (has[1] || has[2] || has[3])) {
		call_error(call, "ERR NX and XX, GT or LT options at the same time are not compatible");
		return false;
	}
	if (has[2] && has[3]) {
		call_error(call, "ERR GT and LT options at the same time are not compatible");
		return false;
	}
	*condition = has[0] ? "NX" : has[2] ? "GT" : has[3] && has[1] ? "XX LT" : has[3] ? "LT" : has[1] ? "XX" : NULL;
	return true;
}
