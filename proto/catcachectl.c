/* catcachectl: the command line client. The table of commands below says what there is;
 * any other word is a command of the protocol and is sent as it is. Without a command
 * there is one a line of stdin. ctl.h is what the parts share. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

#define DEFAULT_SOCKET "/run/catcached/catcached.sock"
#define DEFAULT_TIMEOUT_MS 60000
#define SECONDS_MAX 86400
#define ANY (-1)

/* ---- the tables ---- */

/* code is the letter of the option; one in capitals stands for its long name only. */
static const struct option_row {
	char code;
	const char *name, *argument, *help;
} option_rows[] = {
	{'s', "socket", "PATH", "the daemon's socket; default: $CATCACHED_SOCKET, else\n" DEFAULT_SOCKET},
	{'t', "timeout", "SECONDS", "how long the daemon may be silent; default 60"},
	{'J', "json", NULL, "print JSON, for scripts"},
	{'R', "raw", NULL, "print as if stdout were no terminal"},
	{'x', "stdin", NULL, "the last argument is what stdin holds, byte for byte"},
	{'h', "help", NULL, "this text; behind a command: what it takes"},
	{'E', "ex", "SECONDS", "set: the TTL in seconds; default: the type's"},
	{'P', "px", "MILLISECONDS", "set: the TTL in milliseconds"},
	{'N', "nx", NULL, "set: only if there is no such key"},
	{'X', "xx", NULL, "set: only if there is such a key"},
	{'F', "force", NULL, "refresh: in spite of the guard key and of max_shrink"},
	{'n', "count", "COUNT", "top: end after so many rounds"},
	{'d', "delay", "SECONDS", "top: seconds between rounds; default 1"},
};
#define N_OPTIONS (sizeof(option_rows) / sizeof(option_rows[0]))
#define GLOBAL_OPTIONS "stJRxh"         /* every command has these; its own are in its row */

static const struct command_row {
	const char *name, *arguments, *options;
	int min_args, max_args;
	bool needs_daemon;
	int (*run)(struct ctl *c);
	const char *help;
} command_rows[] = {
	{"get", "KEY", "", 1, 1, true, ctl_get, "the value, byte for byte"},
	{"set", "KEY VALUE|-", "EPNX", 2, 2, true, ctl_set, "write a value to all tiers; -: what stdin holds"},
	{"del", "KEY...", "", 1, ANY, true, ctl_del, "remove keys from all tiers"},
	{"meta", "KEY", "", 1, 1, true, ctl_meta, "tier, age, TTL, size, items and digest of a value"},
	{"explain", "KEY", "", 1, 1, true, ctl_explain, "what GET would do now, and why"},
	{"refresh", "KEY", "F", 1, 1, true, ctl_refresh, "fetch now and replace the value"},
	{"invalidate", "TYPE|PREFIX*...", "", 1, ANY, true, ctl_invalidate, "remove all keys of a type, or of a prefix"},
	{"warm", "[TYPE...]", "", 0, ANY, true, ctl_warm, "load the warm lists, with a progress bar"},
	{"stats", "[TYPE]", "", 0, 1, true, ctl_stats, "figures of the daemon and its types, or of one"},
	{"top", "", "nd", 0, 0, true, ctl_top, "the same, live; q or Ctrl-C ends it"},
	{"health", "", "", 0, 0, true, ctl_health, "how the daemon and what it depends on are"},
	{"ping", "", "", 0, 0, true, ctl_ping, "whether the daemon answers, and how fast"},
	{"check-config", "FILE", "", 1, 1, false, ctl_check_config, "what is wrong with a configuration file"},
};
#define N_COMMANDS (sizeof(command_rows) / sizeof(command_rows[0]))

static const char exits[] =
	"exit status: 0 good; 1 no such key, or a condition that did not hold, or a bad\n"
	"configuration; 2 usage; 3 no daemon to talk to; 4 the daemon answered with an\n"
	"error; 5 health: degraded; 6 a file or program of this host failed\n";

/* ---- usage ---- */

static void add_option(FILE *to, const struct option_row *o)
{
	char letter[8] = "    ", name[64];
	if (o->code >= 'a')
		snprintf(letter, sizeof(letter), "-%c, ", o->code);
	snprintf(name, sizeof(name), "%s--%s%s%s", letter, o->name, o->argument ? " " : "", o->argument ? o->argument : "");
	size_t first = strcspn(o->help, "\n");
	fprintf(to, "  %-24s %.*s\n", name, (int)first, o->help);
	if (o->help[first])
		fprintf(to, "  %-24s %s\n", "", o->help + first + 1);
}

/* Those whose codes are in wanted, or, if that is NULL, all. */
static void add_options(FILE *to, const char *wanted)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (!wanted || strchr(wanted, option_rows[i].code))
			add_option(to, &option_rows[i]);
}

static void usage(FILE *to)
{
	fputs("usage: catcachectl [OPTION...] COMMAND [ARGUMENT...]\n"
	      "       catcachectl [OPTION...] < commands of the protocol, one a line\n\n", to);
	for (size_t i = 0; i < N_COMMANDS; i++) {
		char synopsis[64];
		snprintf(synopsis, sizeof(synopsis), "%s %s", command_rows[i].name, command_rows[i].arguments);
		fprintf(to, "  %-27s %s\n", synopsis, command_rows[i].help);
	}
	fputs("\nAny other command, and one in capitals, is sent to the daemon as it is, as in\n"
	      "catcachectl ttl KEY, and its reply is printed. Its options stand before it.\n\n", to);
	add_options(to, NULL);
	fprintf(to, "\n%s", exits);
}

static void command_usage(FILE *to, const struct command_row *row)
{
	fprintf(to, "usage: catcachectl %s%s%s%s\n\n%s\n\n", row->name, *row->options ? " [OPTION...]" : "",
		*row->arguments ? " " : "", row->arguments, row->help);
	if (*row->options) {
		add_options(to, row->options);
		fputs("\n", to);
	}
	fputs("catcachectl --help lists the options of all commands, and how it exits.\n", to);
}

/* ---- options ---- */

static const struct option_row *option_of(char code)
{
	size_t i = 0;
	while (i < N_OPTIONS && option_rows[i].code != code)
		i++;
	return i < N_OPTIONS ? &option_rows[i] : NULL;
}

static void add_known(struct option *longs, char *shorts, const char *codes)
{
	for (const char *code = codes; *code; code++) {
		const struct option_row *o = option_of(*code);
		*longs++ = (struct option){.name = o->name, .has_arg = o->argument ? required_argument : no_argument, .val = o->code};
		if (o->code >= 'a')
			shorts += sprintf(shorts, "%c%s", o->code, o->argument ? ":" : "");
	}
	*longs = (struct option){0};
}

/* Takes the options with these codes out of argv into c->options: all there are, or, before
 * a command is known (NULL), those in front of it. Returns the index of the first word left,
 * the others following it; -1: told. */
static int take_options(struct ctl *c, int argc, char **argv, const char *command, const char *codes)
{
	struct option longs[N_OPTIONS + 1];
	char shorts[2 * N_OPTIONS + 3];
	int code;
	add_known(longs, shorts + sprintf(shorts, "%s:", command ? "" : "+"), codes);
	optind = 0;
	opterr = 0;
	while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (code == '?' || code == ':') {
			ctl_complain("%s %s; catcachectl %s%s--help lists the options", code == '?' ? "unknown option" : "no argument behind",
				argv[optind - 1], command ? command : "", command ? " " : "");
			return -1;
		}
		c->options[code] = optarg ? optarg : "";
	}
	return optind;
}

static bool has_both(const struct ctl *c, char one, char other)
{
	if (!c->options[(int)one] || !c->options[(int)other])
		return false;
	ctl_complain("--%s and --%s exclude each other", option_of(one)->name, option_of(other)->name);
	return true;
}

/* The milliseconds that an option names in seconds; false if it is no such number. */
static bool read_seconds(const struct ctl *c, char code, int64_t *ms)
{
	const char *text = c->options[(int)code];
	char *end;
	if (!text)
		return true;
	double s = strtod(text, &end);
	*ms = (int64_t)(s * 1000);
	if (end != text && !*end && s <= SECONDS_MAX && *ms > 0)
		return true;
	ctl_complain("--%s takes seconds, such as 2 or 0.5, not %s", option_of(code)->name, text);
	return false;
}

/* What the options mean; false and told if they are wrong. */
static bool read_options(struct ctl *c)
{
	if (c->options['s'])
		c->socket = c->options['s'];
	c->is_json = c->options['J'] != NULL;
	c->is_plain = c->options['R'] || !isatty(STDOUT_FILENO);
	int64_t delay_ms;
	return read_seconds(c, 't', &c->timeout_ms) && read_seconds(c, 'd', &delay_ms) && !has_both(c, 'E', 'P') && !has_both(c, 'N', 'X');
}

/* ---- the command line ---- */

static const struct command_row *command_named(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(command_rows[i].name, name) == 0)
			return &command_rows[i];
	return NULL;
}

/* c->argv: words, and what stdin holds if that was asked for; the latter in last. */
static int take_arguments(struct ctl *c, char **words, struct buf *last)
{
	while (words[c->argc])
		c->argc++;
	c->argv = xcalloc(c->argc + 1, sizeof(*c->argv));
	for (size_t i = 0; i < c->argc; i++)
		c->argv[i] = (struct request_arg){.data = words[i], .len = strlen(words[i])};
	if (!c->options['x'])
		return CTL_GOOD;
	int status = ctl_read(last, STDIN_FILENO);
	c->argv[c->argc++] = (struct request_arg){.data = last->data ? last->data : "", .len = last->len};
	return status;
}

static int run_command(struct ctl *c, const struct command_row *row)
{
	int argc = (int)c->argc;
	if (argc < row->min_args || (row->max_args != ANY && argc > row->max_args)) {
		command_usage(stderr, row);
		return CTL_USAGE;
	}
	int status = row->needs_daemon ? ctl_connect(c) : CTL_GOOD;
	return status == CTL_GOOD ? row->run(c) : status;
}

/* words: the command and what follows it. */
static int run_words(struct ctl *c, int n, char **words)
{
	const struct command_row *row = n ? command_named(words[0]) : NULL;
	struct buf last = BUF_INIT;
	int first = 0;
	if (row) {
		char codes[N_OPTIONS + 1];
		snprintf(codes, sizeof(codes), "%s%s", GLOBAL_OPTIONS, row->options);
		first = take_options(c, n, words, row->name, codes);
		if (first < 0 || !read_options(c))
			return CTL_USAGE;
		if (c->options['h'])
			return command_usage(stdout, row), CTL_GOOD;
	}
	int status = take_arguments(c, words + first, &last);
	if (status == CTL_GOOD && row)
		status = run_command(c, row);
	else if (status == CTL_GOOD && (status = ctl_connect(c)) == CTL_GOOD)
		status = n ? ctl_any(c) : ctl_any_lines(c);
	buf_free(&last);
	free(c->argv);
	return status;
}

int main(int argc, char **argv)
{
	const char *socket = getenv("CATCACHED_SOCKET");
	struct ctl c = {.link = CTL_LINK_INIT, .socket = socket && *socket ? socket : DEFAULT_SOCKET, .timeout_ms = DEFAULT_TIMEOUT_MS};
	int first = take_options(&c, argc, argv, NULL, GLOBAL_OPTIONS);
	if (first < 0 || !read_options(&c))
		return CTL_USAGE;
	if (c.options['h'])
		return usage(stdout), CTL_GOOD;
	if (c.options['x'] && first == argc) {
		ctl_complain("--stdin needs a command");
		return CTL_USAGE;
	}
	int status = run_words(&c, argc - first, argv + first);
	ctl_link_free(&c.link);
	return status;
}
