/* The daemon's own manual page has its options and exit statuses, and no others; and no page has
 * anything that man(1) warns of. Runs in the project's folder. */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"
#include "harness.h"
#include "program.h"

/* What a shell command prints on both its outputs; it must go well. To be freed. */
static char *print_of(const char *command)
{
	char *both = xasprintf("{ %s; } 2>&1", command);
	struct said s = program_run((const char *[]){"/bin/sh", "-c", both, NULL}, NULL, 0);
	ck_assert_msg(s.status == 0, "%s exits with %d: %s", command, s.status, s.out);
	free(both);
	free(s.err);
	return s.out;
}

/* The long options of --help are those of the section OPTIONS. */
START_TEST(every_option_is_in_the_manual_and_no_other)
{
	char *command = xasprintf("%s --help | grep -o -e '--[a-z-]*' | sort -u", program_path("catcached"));
	char *help = print_of(command);
	char *manual = print_of("sed -n '/^.SH OPTIONS/,/^.SH SIGNALS/p' daemon/catcached.8 | tr -d '\\\\' | grep '^[.]B' | "
		"grep -o -e '--[a-z-]*' | grep -v -e '^--config$' | sort -u");
	ck_assert_str_eq(manual, help);
	ck_assert_ptr_nonnull(strstr(help, "--check-config\n"));
	free(command);
	free(help);
	free(manual);
}
END_TEST

START_TEST(every_exit_status_is_in_the_manual_and_no_other)
{
	char *command = xasprintf("%s --help | sed -n 's/^exit status: //p' | grep -o '[0-9][0-9]* ' | tr -d ' ' | sort -u", program_path("catcached"));
	char *help = print_of(command);
	char *manual = print_of("sed -n '/^.SH EXIT STATUS/,/^.SH SECURITY/p' daemon/catcached.8 | sed -n 's/^[.]B \\([0-9]*\\)$/\\1/p' | sort -u");
	ck_assert_str_eq(manual, help);
	ck_assert_str_eq(help, "0\n1\n2\n3\n");
	free(command);
	free(help);
	free(manual);
}
END_TEST

START_TEST(man_has_nothing_to_warn_of)
{
	char *warnings = print_of("for page in daemon/catcached.8 conf/catcached.yaml.5 proto/catcachectl.1; do "
		"LC_ALL=C.UTF-8 MANROFFSEQ= MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z $page >/dev/null; done");
	ck_assert_str_eq(warnings, "");
	free(warnings);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		every_option_is_in_the_manual_and_no_other,
		every_exit_status_is_in_the_manual_and_no_other,
		man_has_nothing_to_warn_of,
	};
	return harness_main("manual", tests, sizeof(tests) / sizeof(tests[0]));
}
