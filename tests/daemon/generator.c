/* See generator.h. A command is made in three steps: a pattern is chosen by weight and
 * its words are filled in; now and then one argument too few or too many breaks it;
 * then it is written down as an array or as a line, in upper, lower or mixed case. */
#include "generator.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "grammar.h"

#define LINE_MAX_BYTES 4000     /* longer commands are always arrays */
#define YEAR_2100_S 4102444800u

struct generator {
	uint64_t state;
	char setup;
	const char *const *prefixes;
	uint32_t n_prefixes;
	uint32_t total_weight;
	bool in_multi;
};

/* ---- chance ---- */

/* splitmix64. */
static uint64_t next(struct generator *g)
{
	uint64_t z = g->state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint32_t generator_below(struct generator *g, uint32_t n)
{
	return (uint32_t)(next(g) % n);
}

/* True once in n times. */
static bool one_in(struct generator *g, uint32_t n)
{
	return generator_below(g, n) == 0;
}

static const char *any_of(struct generator *g, const struct word_list *list)
{
	return list->words[generator_below(g, (uint32_t)list->n)];
}

/* ---- samples ---- */

/* A new last argument, empty. What does not fit is dropped with the command's tail. */
static struct buf *add_arg(struct sample *s)
{
	if (s->argc == SAMPLE_ARGS_MAX)
		buf_free(&s->argv[--s->argc]);
	return &s->argv[s->argc++];
}

static void add_word(struct sample *s, const char *word)
{
	buf_add_str(add_arg(s), word);
}

void sample_free(struct sample *s)
{
	for (size_t i = 0; i < s->argc; i++)
		buf_free(&s->argv[i]);
	buf_free(&s->wire);
	free(s);
}

bool sample_is(const struct sample *s, const char *name)
{
	const struct buf *a = &s->argv[0];
	return a->len == strlen(name) && strncasecmp(a->data, name, a->len) == 0;
}

/* ---- keys ---- */

static const char kinds[] = "shlezx";
static const char *const tails[] = {"0", "1", "2", "3", "4", "\x80\xff \"'\\\r\n\t{x}"};

#define N_KINDS (sizeof(kinds) - 1)
#define N_TAILS (sizeof(tails) / sizeof(tails[0]))

static void add_any_key(struct generator *g, struct sample *s, char kind)
{
	struct buf *b = add_arg(s);
	buf_add_str(b, g->prefixes[generator_below(g, g->n_prefixes)]);
	buf_add_char(b, kind);
	buf_add_str(b, tails[generator_below(g, N_TAILS)]);
}

static char any_kind(struct generator *g)
{
	return kinds[generator_below(g, N_KINDS)];
}

/* Mostly a key that holds what the command expects. Without Redis there are only strings. */
static void add_key(struct generator *g, struct sample *s, char kind)
{
	if (g->setup == 'd')
		kind = 's';
	else if (kind == 'k' || one_in(g, 25))
		kind = any_kind(g);
	add_any_key(g, s, kind);
}

bool generator_is_key(const struct generator *g, const struct buf *arg)
{
	for (uint32_t i = 0; i < g->n_prefixes; i++) {
		size_t n = strlen(g->prefixes[i]);
		if (arg->len > n && memcmp(arg->data, g->prefixes[i], n) == 0)
			return true;
	}
	return false;
}

/* ---- the words of a pattern ---- */

static void add_pattern(struct generator *g, struct sample *s, const char *pattern);

static void add_keys(struct generator *g, struct sample *s, char letter)
{
	for (uint32_t n = 1 + generator_below(g, 4); n > 0; n--)
		add_key(g, s, letter == 'S' ? 's' : 'k');
}

static void add_bytes(struct generator *g, struct sample *s, uint32_t len)
{
	struct buf *b = add_arg(s);
	char *to = buf_reserve(b, len + 1);
	for (; b->len < len; b->len++)
		to[b->len] = (char)next(g);
}

static void add_repeated(struct generator *g, struct sample *s, uint32_t len)
{
	struct buf *b = add_arg(s);
	memset(buf_reserve(b, len + 1), 'a' + (int)generator_below(g, 26), len);
	b->len = len;
}

static void add_value(struct generator *g, struct sample *s, char letter)
{
	uint32_t chance = generator_below(g, 400);
	(void)letter;
	if (chance < 4) /* here the daemon takes other ways: from 16 KiB on in replies of Redis, from 64 KiB on in requests */
		add_repeated(g, s, 10000 + generator_below(g, 70000));
	else if (chance < 12)
		add_repeated(g, s, generator_below(g, 4000));
	else if (chance < 60)
		add_bytes(g, s, generator_below(g, 100));
	else if (chance < 90)
		add_word(s, any_of(g, &grammar_words));
	else if (chance < 110)
		add_word(s, any_of(g, &grammar_fractions));
	else if (chance < 220)
		buf_addf(add_arg(s), "%d", (int)generator_below(g, 20000) - 10000);
	else
		buf_addf(add_arg(s), "value %u", (unsigned)generator_below(g, 1000));
}

static void add_pairs(struct generator *g, struct sample *s, char letter)
{
	for (uint32_t n = 1 + generator_below(g, 3); n > 0; n--) {
		add_key(g, s, 's');
		add_value(g, s, letter);
	}
}

static void add_short_word(struct generator *g, struct sample *s, char letter)
{
	(void)letter;
	add_word(s, any_of(g, &grammar_words));
}

static void add_short_words(struct generator *g, struct sample *s, char letter)
{
	for (uint32_t n = 1 + generator_below(g, 3); n > 0; n--)
		add_short_word(g, s, letter);
}

static void add_integer(struct generator *g, struct sample *s, char letter)
{
	(void)letter;
	if (one_in(g, 4))
		add_word(s, any_of(g, &grammar_integers));
	else
		buf_addf(add_arg(s), "%d", (int)generator_below(g, 200) - 100);
}

static void add_index(struct generator *g, struct sample *s, char letter)
{
	(void)letter;
	if (one_in(g, 20))
		add_word(s, any_of(g, &grammar_integers));
	else
		buf_addf(add_arg(s), "%d", (int)generator_below(g, 14) - 3);
}

static void add_fraction(struct generator *g, struct sample *s, char letter)
{
	(void)letter;
	add_word(s, any_of(g, &grammar_fractions));
}

static void add_fields(struct generator *g, struct sample *s, char letter)
{
	for (uint32_t n = 1 + generator_below(g, 3); n > 0; n--) {
		add_short_word(g, s, letter);
		add_value(g, s, letter);
	}
}

static void add_scores(struct generator *g, struct sample *s, char letter)
{
	for (uint32_t n = 1 + generator_below(g, 3); n > 0; n--) {
		if (one_in(g, 8))
			add_fraction(g, s, letter);
		else
			buf_addf(add_arg(s), "%d", (int)generator_below(g, 20) - 5);
		add_short_word(g, s, letter);
	}
}

/* TTLs are so long that nothing ends during the test, and so many that no two are near to each other. */
static void add_ttl(struct generator *g, struct sample *s, char letter)
{
	unsigned seconds = 1000 + generator_below(g, 1000000);
	if (one_in(g, 5))
		add_word(s, any_of(g, &grammar_ttls));
	else
		buf_addf(add_arg(s), letter == 'n' ? "%u" : "%u123", seconds);
}

/* In the past or in the next century. */
static void add_time(struct generator *g, struct sample *s, char letter)
{
	unsigned seconds = one_in(g, 8) ? 1 + generator_below(g, 1000000000) : YEAR_2100_S + generator_below(g, 100000000);
	if (one_in(g, 5))
		add_word(s, any_of(g, &grammar_ttls));
	else
		buf_addf(add_arg(s), letter == 't' ? "%u" : "%u456", seconds);
}

static void add_options(struct generator *g, struct sample *s, const struct word_list *options, uint32_t most)
{
	for (uint32_t n = generator_below(g, most + 1); n > 0; n--)
		add_pattern(g, s, any_of(g, options));
}

/* One or two options are more often right than three or four. */
static void add_set_options(struct generator *g, struct sample *s, char letter)
{
	(void)letter;
	add_options(g, s, &grammar_set_options, 1 + generator_below(g, 4));
}

static void add_getex_options(struct generator *g, struct sample *s, char letter)
{
	(void)letter;
	add_options(g, s, &grammar_getex_options, 1 + generator_below(g, 2));
}

static void add_conditions(struct generator *g, struct sample *s, char letter)
{
	(void)letter;
	add_options(g, s, &grammar_expire_conditions, 1 + generator_below(g, 2));
}

static void add_script(struct generator *g, struct sample *s, char letter)
{
	(void)letter;
	size_t at = s->argc;
	add_pattern(g, s, any_of(g, &grammar_scripts));
	struct buf *script = &s->argv[at];
	for (size_t i = 0; i < script->len; i++)
		script->data[i] = script->data[i] == '_' ? ' ' : script->data[i] == '~' ? '_' : script->data[i];
}

static const struct {
	const char *letters;
	void (*add)(struct generator *g, struct sample *s, char letter);
} placeholders[] = {
	{"shlezxk", add_key},
	{"SK", add_keys},
	{"p", add_pairs},
	{"v", add_value},
	{"w", add_short_word},
	{"W", add_short_words},
	{"F", add_fields},
	{"Z", add_scores},
	{"i", add_integer},
	{"d", add_index},
	{"f", add_fraction},
	{"nm", add_ttl},
	{"tu", add_time},
	{"o", add_set_options},
	{"g", add_getex_options},
	{"c", add_conditions},
	{"E", add_script},
};

static void add_placeholder(struct generator *g, struct sample *s, char letter)
{
	for (size_t i = 0; i < sizeof(placeholders) / sizeof(placeholders[0]); i++)
		if (strchr(placeholders[i].letters, letter))
			placeholders[i].add(g, s, letter);
}

static void add_pattern(struct generator *g, struct sample *s, const char *pattern)
{
	for (size_t len; *pattern; pattern += len + (pattern[len] == ' ')) {
		len = strcspn(pattern, " ");
		if (len == 2 && pattern[0] == '%')
			add_placeholder(g, s, pattern[1]);
		else
			buf_add(add_arg(s), pattern, len);
	}
}

/* ---- breaking it ---- */

static void drop_last(struct generator *g, struct sample *s)
{
	(void)g;
	if (s->argc > 1)
		buf_free(&s->argv[--s->argc]);
}

/* Behind keys it is one more key, of no declared type: that needs Redis. */
static void add_junk(struct generator *g, struct sample *s)
{
	if (g->setup != 'd' || !generator_is_key(g, &s->argv[s->argc - 1]))
		add_word(s, any_of(g, &grammar_junk));
}

/* One argument comes twice. That must not make a word a key, which generator_clear would not know. */
static void double_one(struct generator *g, struct sample *s)
{
	if (s->argc == 1 || s->argc == SAMPLE_ARGS_MAX || sample_is(s, "bitop") || sample_is(s, "eval"))
		return;
	size_t at = 1 + generator_below(g, (uint32_t)s->argc - 1);
	memmove(&s->argv[at + 1], &s->argv[at], (s->argc - at) * sizeof(s->argv[0]));
	s->argv[at] = (struct buf)BUF_INIT;
	buf_add(&s->argv[at], s->argv[at + 1].data, s->argv[at + 1].len);
	s->argc++;
}

/* A name with a dot may be a module's: see `intended` in test_differential.c. */
static void undot(struct buf *name)
{
	for (size_t i = 0; i < name->len; i++)
		name->data[i] = name->data[i] == '.' ? ',' : name->data[i];
}

static void maybe_break(struct generator *g, struct sample *s)
{
	static void (*const ways[])(struct generator *, struct sample *) = {drop_last, add_junk, double_one};
	if (one_in(g, 30))
		ways[generator_below(g, 3)](g, s);
}

static bool is_upper(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (b->data[i] < 'A' || b->data[i] > 'Z')
			return false;
	return b->len > 1;
}

/* The name and the options are words of letters only; a key or a value of letters only is left alone. */
static void vary_case(struct generator *g, struct sample *s)
{
	bool is_mixed = one_in(g, 3);
	for (size_t i = 0; i < s->argc; i++) {
		struct buf *b = &s->argv[i];
		for (size_t k = 0, n = is_upper(b) ? b->len : 0; k < n; k++)
			if (!is_mixed || one_in(g, 2))
				b->data[k] = (char)tolower(b->data[k]);
	}
}

/* ---- writing it down ---- */

static void write_array(struct sample *s)
{
	buf_addf(&s->wire, "*%zu\r\n", s->argc);
	for (size_t i = 0; i < s->argc; i++) {
		buf_addf(&s->wire, "$%zu\r\n", s->argv[i].len);
		buf_add(&s->wire, s->argv[i].data, s->argv[i].len);
		buf_add_str(&s->wire, "\r\n");
	}
}

static bool is_plain(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (!isalnum((unsigned char)b->data[i]) && !memchr(":-+.*_", b->data[i], 6))
			return false;
	return b->len > 0 && b->data[0] != '*';
}

static void write_double_quoted(struct buf *to, const struct buf *word)
{
	buf_add_char(to, '"');
	for (size_t i = 0; i < word->len; i++) {
		unsigned char c = (unsigned char)word->data[i];
		if (c == '"' || c == '\\')
			buf_addf(to, "\\%c", c);
		else if (c == '\n')
			buf_add_str(to, "\\n");
		else if (c < ' ' || c > '~')
			buf_addf(to, "\\x%02x", c);
		else
			buf_add_char(to, (char)c);
	}
	buf_add_char(to, '"');
}

static void write_single_quoted(struct buf *to, const struct buf *word)
{
	buf_add_char(to, '\'');
	for (size_t i = 0; i < word->len; i++)
		buf_addf(to, word->data[i] == '\'' ? "\\%c" : "%c", word->data[i]);
	buf_add_char(to, '\'');
}

static void write_line(struct generator *g, struct sample *s)
{
	for (size_t i = 0; i < s->argc; i++) {
		const struct buf *word = &s->argv[i];
		bool fits_single = word->len > 0 && !memchr(word->data, '\n', word->len) && !memchr(word->data, '\0', word->len)
			&& !memchr(word->data, '\\', word->len);
		buf_add_str(&s->wire, i == 0 ? "" : one_in(g, 10) ? " \t " : " ");
		if (is_plain(word) && !one_in(g, 8))
			buf_add(&s->wire, word->data, word->len);
		else if (fits_single && one_in(g, 2))
			write_single_quoted(&s->wire, word);
		else
			write_double_quoted(&s->wire, word);
	}
	buf_add_str(&s->wire, one_in(g, 3) ? "\n" : "\r\n");
}

static size_t total_len(const struct sample *s)
{
	size_t len = 0;
	for (size_t i = 0; i < s->argc; i++)
		len += s->argv[i].len;
	return len;
}

/* Now and then behind something empty, which has no reply. */
static void write_down(struct generator *g, struct sample *s)
{
	static const char *const empty[] = {"\r\n", "\n", "  \r\n", "*0\r\n", "*-1\r\n"};
	if (one_in(g, 50))
		buf_add_str(&s->wire, empty[generator_below(g, 5)]);
	if (total_len(s) <= LINE_MAX_BYTES && one_in(g, 5))
		write_line(g, s);
	else
		write_array(s);
}

/* ---- the generator ---- */

struct generator *generator_new(uint64_t seed, char setup, const char *const *prefixes)
{
	struct generator *g = xcalloc(1, sizeof(*g));
	*g = (struct generator){.state = seed * 257 + (uint64_t)setup, .setup = setup, .prefixes = prefixes};
	while (prefixes[g->n_prefixes])
		g->n_prefixes++;
	for (size_t i = 0; i < grammar_len; i++)
		g->total_weight += strchr(grammar[i].setups, setup) ? grammar[i].weight : 0;
	return g;
}

void generator_free(struct generator *g)
{
	free(g);
}

static const char *any_pattern(struct generator *g)
{
	uint32_t left = generator_below(g, g->total_weight);
	for (size_t i = 0;; i++) {
		uint32_t weight = strchr(grammar[i].setups, g->setup) ? grammar[i].weight : 0;
		if (left < weight)
			return grammar[i].text;
		left -= weight;
	}
}

/* A transaction has some six commands. */
static const char *any_pattern_in_multi(struct generator *g)
{
	static const char *const ends[] = {"EXEC", "EXEC", "EXEC", "EXEC", "EXEC", "EXEC", "DISCARD", "RESET"};
	if (one_in(g, 6))
		return ends[generator_below(g, sizeof(ends) / sizeof(ends[0]))];
	return any_pattern(g);
}

struct sample *generator_next(struct generator *g)
{
	struct sample *s = xcalloc(1, sizeof(*s));
	do {
		while (s->argc > 0)
			buf_free(&s->argv[--s->argc]);
		add_pattern(g, s, g->in_multi ? any_pattern_in_multi(g) : any_pattern(g));
		maybe_break(g, s);
	} while (g->in_multi && sample_is(s, "HELLO"));  /* would change the protocol in the middle of EXEC's reply */
	if (sample_is(s, "MULTI") && s->argc == 1)
		g->in_multi = true;
	else if ((sample_is(s, "EXEC") || sample_is(s, "DISCARD") || sample_is(s, "RESET")) && s->argc == 1)
		g->in_multi = false;
	undot(&s->argv[0]);
	vary_case(g, s);
	write_down(g, s);
	return s;
}

void generator_reconnected(struct generator *g)
{
	g->in_multi = false;
}

struct sample *generator_clear(const struct generator *g)
{
	struct sample *s = xcalloc(1, sizeof(*s));
	struct buf keys = BUF_INIT;
	size_t n = 0;
	for (uint32_t i = 0; i < g->n_prefixes * N_KINDS * N_TAILS; i++, n++) {
		char *key = xasprintf("%s%c%s", g->prefixes[i / N_TAILS / N_KINDS], kinds[i / N_TAILS % N_KINDS], tails[i % N_TAILS]);
		buf_addf(&keys, "$%zu\r\n%s\r\n", strlen(key), key);
		free(key);
	}
	add_word(s, "DEL");
	buf_addf(&s->wire, "*%zu\r\n$3\r\nDEL\r\n", n + 1);
	buf_add(&s->wire, keys.data, keys.len);
	buf_free(&keys);
	return s;
}
