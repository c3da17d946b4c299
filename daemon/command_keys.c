/* Where the keys of a request are; see command.h. The table has what Redis's COMMAND says (first,
 * last, step), and how to find those that it does not say. */
#include "command.h"

#include <ctype.h>

/* The words from first up to end, as far as there are so many. */
static void add_span(const struct call *call, struct key_spans *s, size_t first, size_t end, size_t step)
{
	if (end > call->argc)
		end = call->argc;
	if (first < end)
		s->spans[s->n++] = (struct key_span){first, end, step};
}

static size_t number_at(const struct call *call, size_t i)
{
	const struct request_arg *a = &call->argv[i];
	size_t n = 0;
	for (size_t at = 0; at < a->len; at++) {
		if (!isdigit((unsigned char)a->data[at]) || n > call->argc)
			return n > call->argc ? n : 0; /* not a number: Redis says so */
		n = n * 10 + (size_t)(a->data[at] - '0');
	}
	return n;
}

static void add_counted(const struct call *call, struct key_spans *s, size_t at, size_t step)
{
	size_t n = at < call->argc ? number_at(call, at) * step : 0;
	s->is_short = n > call->argc - at - 1;
	add_span(call, s, at + 1, at + 1 + n, step);
}

/* Options of SORT and GEORADIUS that have words behind them, which may look like options; with those of the first, a key. */
enum { STORES = 2 };
static const struct {
	const char *name;
	size_t n_words;
} options[] = {{"STORE", 1}, {"STOREDIST", 1}, {"BY", 1}, {"GET", 1}, {"COUNT", 1}, {"LIMIT", 2}};

/* Options begin behind the words that must be there. Of an option that is repeated Redis takes the last; of STORE and
 * STOREDIST it takes the last, too, but says that both are keys. */
static void add_stored(const struct call *call, struct key_spans *s)
{
	size_t keys[STORES] = {call->argc, call->argc};
	for (size_t i = (size_t)-call->command->arity; i < call->argc; i++)
		for (size_t o = 0; o < sizeof(options) / sizeof(options[0]); o++)
			if (call_arg_is(call, i, options[o].name)) {
				if (o < STORES)
					keys[o] = i + 1;
				i += options[o].n_words;
				break;
			}
	for (size_t o = 0; o < STORES; o++)
		add_span(call, s, keys[o], keys[o] + 1, 1);
}

/* XREADGROUP GROUP name consumer: those may be any words. The first half of what is behind STREAMS is keys. */
static void add_streams(const struct call *call, struct key_spans *s)
{
	size_t i = call->argc > 1 && call_arg_is(call, 1, "GROUP") ? 4 : 1;
	while (i < call->argc && !call_arg_is(call, i, "STREAMS"))
		i++;
	if (i < call->argc)
		add_span(call, s, i + 1, i + 1 + (call->argc - i - 1) / 2, 1);
}

struct key_spans command_key_spans(const struct call *call)
{
	const struct command *c = call->command;
	struct key_spans s = {.n = 0};
	if (!c) {
		add_span(call, &s, 1, 2, 1);
		return s;
	}
	if (c->first_key)
		add_span(call, &s, (size_t)c->first_key,
			1 + (c->last_key < 0 ? call->argc + (size_t)c->last_key : (size_t)c->last_key), (size_t)c->step);
	if (c->more_keys > 0)
		add_counted(call, &s, (size_t)c->more_keys, 1);
	else if (c->more_keys == KEYS_COUNTED_PAIRS)
		add_counted(call, &s, 1, 2);
	else if (c->more_keys == KEYS_STORED)
		add_stored(call, &s);
	else if (c->more_keys == KEYS_STREAMS)
		add_streams(call, &s);
	return s;
}
