/* Every command and option of catcachectl is in its help, its manual page and its bash
 * completion, and no other. Its help comes from the tables in catcachectl.c. Runs in the
 * project's folder. */
#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "harness.h"
#include "program.h"

#define MANUAL "proto/catcachectl.1"
#define COMPLETION "proto/catcachectl.bash-completion"

/* What a program prints; it must go well. To be freed. */
static char *print_of(const char *const *argv)
{
	struct said s = program_run(argv, NULL, 0);
	ck_assert_msg(s.status == 0 && s.err_len == 0, "%s exits with %d: %s", argv[0], s.status, s.err);
	free(s.err);
	return s.out;
}

/* Lines of what is told of a thing, sorted, so that they can be compared: name, argument. */
static char *sorted(struct buf *lines)
{
	buf_add_char(lines, '\0');
	char *line = xasprintf("printf %%s '%s' | LC_ALL=C sort", lines->data);
	char *text = print_of((const char *[]){"/bin/sh", "-c", line, NULL});
	buf_free(lines);
	free(line);
	return text;
}

/* ---- what the help says ---- */

/* The lines of --help that begin with two blanks and a letter (commands), or a dash (options),
 * up to the two blanks behind. */
static char *of_help(bool options)
{
	char *help = print_of((const char *[]){program_path("catcachectl"), "--help", NULL});
	struct buf b = BUF_INIT;
	for (char *rest = help, *line; (line = strsep(&rest, "\n"));) {
		ck_assert_msg(strlen(line) <= 80, "wider than 80 columns: %s", line);
		char *word = line + strspn(line, " ");
		bool is_entry = word - line >= 2 && (options ? *word == '-' : word - line == 2 && islower((unsigned char)*word));
		char *stop = strstr(word, "  ");
		if (is_entry && stop)
			buf_addf(&b, "%.*s\n", (int)(stop - word), word);
	}
	free(help);
	return sorted(&b);
}

/* ---- what the manual page says ---- */

static char *read_file(const char *path)
{
	return print_of((const char *[]){"/bin/cat", path, NULL});
}

/* The entries (.TP, .B entry) of a section, without the page's backslashes. */
static char *of_manual(const char *section)
{
	char *page = read_file(MANUAL), *head = xasprintf("\n.SH %s\n", section), *at = strstr(page, head);
	struct buf b = BUF_INIT;
	ck_assert_msg(at, "no section %s", section);
	char *end = strstr(at + 1, "\n.SH ");
	*end = '\0';
	while ((at = strstr(at, "\n.TP\n.B "))) {
		at += strlen("\n.TP\n.B ");
		for (; *at != '\n'; at++)
			if (*at != '\\')
				buf_add_char(&b, *at);
		buf_add_char(&b, '\n');
	}
	free(head);
	free(page);
	return sorted(&b);
}

START_TEST(the_manual_page_has_the_commands_of_the_help_and_no_other)
{
	char *help = of_help(false), *page = of_manual("COMMANDS");
	ck_assert_str_eq(help, page);
	ck_assert_msg(strstr(help, "check-config FILE\n") && strstr(help, "get KEY\n"), "%s", help);
	free(help);
	free(page);
}
END_TEST

START_TEST(the_manual_page_has_the_options_of_the_help_and_no_other)
{
	char *help = of_help(true), *page = of_manual("OPTIONS");
	ck_assert_str_eq(help, page);
	ck_assert_msg(strstr(help, "-s, --socket PATH\n"), "%s", help);
	free(help);
	free(page);
}
END_TEST

START_TEST(the_manual_page_is_rendered_without_a_warning)
{
	struct said s = program_run((const char *[]){"man", "--warnings", "-E", "UTF-8", "-l", MANUAL, NULL}, NULL, 0);
	ck_assert_msg(s.status == 0 && s.err_len == 0 && s.out_len > 1000, "%s", s.err);
	said_free(&s);
}
END_TEST

START_TEST(every_exit_status_is_in_the_manual_page_and_in_the_help)
{
	char *help = print_of((const char *[]){program_path("catcachectl"), "--help", NULL}), *page = of_manual("EXIT STATUS");
	const char *at = strstr(help, "\nexit status: 0 good; ");
	ck_assert(at);
	ck_assert_str_eq(page, "0\n1\n2\n3\n4\n5\n6\n");
	for (char digit = '1'; digit <= '6'; digit++)
		ck_assert_msg(strchr(at, digit), "%c", digit);
	free(help);
	free(page);
}
END_TEST

START_TEST(every_command_tells_its_usage)
{
	char *help = of_help(false);
	for (char *rest = help, *line; (line = strsep(&rest, "\n")) && *line;) {
		char *name = xstrndup(line, strcspn(line, " ")), *usage = xasprintf("usage: catcachectl %s", name);
		char *text = print_of((const char *[]){program_path("catcachectl"), name, "--help", NULL});
		ck_assert_msg(strncmp(text, usage, strlen(usage)) == 0 && strstr(text, line + strlen(name)), "%s", text);
		free(text);
		free(usage);
		free(name);
	}
	free(help);
}
END_TEST

/* ---- the completion ---- */

/* What bash offers for a line whose last word is to be completed, a word a line, sorted. */
static char *complete(const char *line)
{
	char *script = xasprintf("set -u; . " COMPLETION "; complete -p catcachectl >/dev/null || exit 1; read -r -a COMP_WORDS <<<'%s'\n"
		"[[ '%s' == *' ' ]] && COMP_WORDS+=('')\n"
		"COMP_WORDS[0]='%s'; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _catcachectl \"${COMP_WORDS[0]}\"\n"
		"((${#COMPREPLY[@]})) && printf '%%s\\n' \"${COMPREPLY[@]}\" | LC_ALL=C sort; exit 0", line, line, program_path("catcachectl"));
	char *text = print_of((const char *[]){"bash", "--norc", "-c", script, NULL});
	free(script);
	return text;
}

static void offers(const char *line, const char *words)
{
	char *got = complete(line);
	ck_assert_msg(strcmp(got, words) == 0, "%s: offered\n%sinstead of\n%s", line, got, words);
	free(got);
}

START_TEST(the_completion_has_the_commands_of_the_help_and_no_other)
{
	char *help = of_help(false), *offered = complete("catcachectl ");
	struct buf b = BUF_INIT;
	for (char *rest = help, *line; (line = strsep(&rest, "\n")) && *line;)
		buf_addf(&b, "%.*s\n", (int)strcspn(line, " "), line);
	char *names = sorted(&b);
	ck_assert_str_eq(offered, names);
	free(names);
	free(offered);
	free(help);
	offers("catcachectl re", "refresh\n");
}
END_TEST

/* The long names of the options that a command's usage lists, those of all commands first. */
static char *options_of(const char *command)
{
	static const char globals[] = "--help\n--json\n--raw\n--socket\n--stdin\n--timeout\n";
	struct buf b = BUF_INIT;
	buf_add_str(&b, globals);
	char *usage = print_of((const char *[]){program_path("catcachectl"), command, "--help", NULL}), *at = usage;
	while ((at = strstr(at, "\n  "))) {
		at += 1;
		char *option = strstr(at, "--");
		if (option && option < strchr(at, '\n'))
			buf_addf(&b, "%.*s\n", (int)strcspn(option, " \n"), option);
	}
	free(usage);
	return sorted(&b);
}

START_TEST(the_completion_has_the_options_of_each_command_and_no_other)
{
	char *help = of_help(false), *all = of_help(true);
	size_t seen = 0, listed = 0;
	for (char *at = all; (at = strstr(at, "--")); at += 2)
		listed++;
	for (char *rest = help, *line; (line = strsep(&rest, "\n")) && *line;) {
		char *name = xstrndup(line, strcspn(line, " ")), *typed = xasprintf("catcachectl %s -", name);
		char *offered = complete(typed), *options = options_of(name);
		ck_assert_msg(strcmp(offered, options) == 0, "%s: offered\n%sinstead of\n%s", name, offered, options);
		for (char *at = options; (at = strstr(at, "--")); at += 2)
			seen++;
		seen -= 6;              /* those of every command */
		free(options);
		free(offered);
		free(typed);
		free(name);
	}
	ck_assert_uint_eq(seen + 6, listed);
	offers("catcachectl --s", "--socket\n--stdin\n");
	free(help);
	free(all);
}
END_TEST

START_TEST(the_completion_asks_the_daemon_for_its_types)
{
	struct harness *h = harness_new();
	harness_start(h, LISTEN NO_REDIS NO_DATABASE "types:\n  one: {key: 'a:{name}', ttl: 1}\n  other: {key: 'b:{name}', ttl: 1}\n");
	setenv("CATCACHED_SOCKET", harness_path(h, "s"), 1);
	offers("catcachectl stats ", "one\nother\n");
	offers("catcachectl invalidate one ot", "other\n");
	offers("catcachectl --timeout 1 warm on", "one\n");
	offers("catcachectl get ", "");
	setenv("CATCACHED_SOCKET", "/nosuch", 1);
	offers("catcachectl stats ", "");
	char *line = xasprintf("catcachectl --socket %s stats o", harness_path(h, "s"));
	offers(line, "one\nother\n");
	free(line);
	harness_free(h);
}
END_TEST

START_TEST(the_completion_offers_files)
{
	offers("catcachectl check-config proto/catcachectl.ba", COMPLETION "\n");
	offers("catcachectl --socket proto/catcachectl.ba", COMPLETION "\n");
	offers("catcachectl set --ex ", "");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_manual_page_has_the_commands_of_the_help_and_no_other,
		the_manual_page_has_the_options_of_the_help_and_no_other,
		the_manual_page_is_rendered_without_a_warning,
		every_exit_status_is_in_the_manual_page_and_in_the_help,
		every_command_tells_its_usage,
		the_completion_has_the_commands_of_the_help_and_no_other,
		the_completion_has_the_options_of_each_command_and_no_other,
		the_completion_asks_the_daemon_for_its_types,
		the_completion_offers_files,
	};
	return harness_main("catcachectl_docs", tests, sizeof(tests) / sizeof(tests[0]));
}
