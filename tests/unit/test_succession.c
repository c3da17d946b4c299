/* conf/succession.c: which types keep their places, and what is told of the others. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../conf/conf.h"
#include "../../conf/schema.h"
#include "../../proto/buf.h"

#define HEAD "listen: {path: /s}\ndatabase: {url: 'sqlite:///db'}\ntypes:\n"
#define OTHERS "  o1: {key: o1, ttl: 1}\n  o2: {key: o2, ttl: 1}\n  parts: {key: 'q:{name}', ttl: 1, format: json, fetch: {sql: x}}\n"

static struct conf *load(const char *types)
{
	struct conf_errors errors = {0};
	char *text = xasprintf(HEAD "%s", types), file[64];
	int fd = memfd_create("conf", 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
	struct conf *conf = conf_load(file, &errors);
	ck_assert_msg(conf, "%s\n%s", text, errors.n ? errors.lines[0] : "");
	conf_errors_free(&errors);
	close(fd);
	free(text);
	return conf;
}

static void expect_changes(const char *before, const char *now, size_t added, size_t removed, size_t changed)
{
	struct conf *a = load(before), *b = load(now);
	conf_succeed(b, a);
	struct conf_changes n = conf_changes(b, a);
	ck_assert_msg(n.added == added && n.removed == removed && n.changed == changed,
		"%zu added, %zu removed, %zu changed from\n%sto\n%s", n.added, n.removed, n.changed, before, now);
	conf_free(a);
	conf_free(b);
}

/* ---- one type of two ways, by the key of the file that differs ---- */

static const struct {
	const char *section, *name;
	const char *a, *b;
	bool is_another;                /* what is held for the one may not be held for the other */
} pairs[] = {
	{"types.NAME", "key", "key: 'a:{name}', ttl: 9", "key: 'b:{name}', ttl: 9", true},
	{"types.NAME", "ttl", "key: 'k:{name}', ttl: 9, memory_ttl: 3", "key: 'k:{name}', ttl: 8, memory_ttl: 3", false},
	{"types.NAME", "memory_ttl", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, memory_ttl: 3", false},
	{"types.NAME.tiers", "memory", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, tiers: [redis]", true},
	{"types.NAME.tiers", "redis", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, tiers: [memory]", true},
	{"types.NAME", "max_entries", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, max_entries: 7", false},
	{"types.NAME", "max_value", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, max_value: 7", false},
	{"types.NAME", "format", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, format: json", true},
	{"types.NAME", "refuse_empty", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: x}, refuse_empty: true", false},
	{"types.NAME", "max_shrink", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: x}, max_shrink: 50%", false},
	{"types.NAME", "stale_while_revalidate", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: x}, stale_while_revalidate: 1", false},
	{"types.NAME", "stale_if_error", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: x}, stale_if_error: 1", false},
	{"types.NAME", "refresh_ahead", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: x}, refresh_ahead: 90%", false},
	{"types.NAME", "negative_ttl", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: x}, negative_ttl: 1", false},
	{"types.NAME", "jitter", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, jitter: 5%", false},
	{"types.NAME", "hash_names", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, hash_names: true", true},
	{"types.NAME", "invalidates", "key: 'k:{name}', ttl: 9, invalidates: [o1]", "key: 'k:{name}', ttl: 9, invalidates: [o2]", false},
	{"types.NAME", "debounce", "key: 'k:{name}', ttl: 9, invalidates: [o1]", "key: 'k:{name}', ttl: 9, invalidates: [o1], debounce: 1", false},
	{"types.NAME", "warm", "key: 'k:{name}', ttl: 9, fetch: {sql: x}, warm: [a]", "key: 'k:{name}', ttl: 9, fetch: {sql: x}, warm: [a, b]", false},
	{"types.NAME.fetch", "sql", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: y}", false},
	{"types.NAME.fetch", "shape", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: x, shape: row}", false},
	{"types.NAME.fetch", "exec", "key: 'k:{name}', ttl: 9, fetch: {exec: [/a, b]}", "key: 'k:{name}', ttl: 9, fetch: {exec: [/a, c]}", false},
	{"types.NAME.fetch", "exec", "key: 'k:{name}', ttl: 9", "key: 'k:{name}', ttl: 9, fetch: {exec: [/a]}", false},
	{"types.NAME.fetch.assemble", "sql", "key: k, ttl: 9, format: json, fetch: {assemble: {sql: x, from: parts}}", "key: k, ttl: 9, format: json, fetch: {assemble: {sql: y, from: parts}}", false},
	{"types.NAME.fetch.assemble", "from", "key: k, ttl: 9, format: json, fetch: {sql: x}", "key: k, ttl: 9, format: json, fetch: {assemble: {sql: x, from: parts}}", false},
	{"types.NAME.fetch", "timeout", "key: 'k:{name}', ttl: 9, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, fetch: {sql: x, timeout: 3}", false},
	{"types.NAME.fetch", "soft_timeout", "key: 'k:{name}', ttl: 9, stale_if_error: 1, fetch: {sql: x}", "key: 'k:{name}', ttl: 9, stale_if_error: 1, fetch: {sql: x, soft_timeout: 2}", false},
};
#define N_PAIRS (sizeof(pairs) / sizeof(pairs[0]))

static char *type_of(const char *keys)
{
	return xasprintf("  t: {%s}\n" OTHERS, keys);
}

START_TEST(each_key_of_a_type_counts)
{
	for (size_t i = 0; i < N_PAIRS; i++) {
		char *a = type_of(pairs[i].a), *b = type_of(pairs[i].b);
		size_t n = pairs[i].is_another;
		expect_changes(a, b, n, n, !n);
		expect_changes(b, a, n, n, !n);
		expect_changes(a, a, 0, 0, 0);
		free(a);
		free(b);
	}
}
END_TEST

START_TEST(each_key_of_a_type_is_tried_here)
{
	for (const struct schema_row *row = schema_rows; row->name; row++) {
		size_t i = 0;
		if (strncmp(row->section, "types.NAME", 10) != 0 || !row->width)
			continue;
		while (i < N_PAIRS && (strcmp(pairs[i].section, row->section) != 0 || strcmp(pairs[i].name, row->name) != 0))
			i++;
		ck_assert_msg(i < N_PAIRS, "%s.%s", row->section, row->name);
	}
}
END_TEST

/* ---- several ---- */

START_TEST(types_come_and_go)
{
	expect_changes("  a: {key: a, ttl: 1}\n  b: {key: b, ttl: 1}\n", "  c: {key: c, ttl: 1}\n  b: {key: b, ttl: 2}\n  d: {key: d, ttl: 1}\n", 2, 1, 1);
	expect_changes("  a: {key: a, ttl: 1}\n", "  b: {key: a, ttl: 1}\n", 1, 1, 0);
}
END_TEST

START_TEST(places_are_kept_in_another_order_and_never_given_twice)
{
	struct conf *a = load("  a: {key: a, ttl: 1}\n  b: {key: b, ttl: 1}\n"), *b = load("  b: {key: b, ttl: 1}\n  n: {key: n, ttl: 1}\n"),
		*c = load("  a: {key: a, ttl: 1}\n  b: {key: b, ttl: 1}\n");
	conf_succeed(b, a);
	ck_assert_uint_eq(b->types[0].index, a->types[1].index);
	ck_assert_uint_eq(b->types[1].index, a->n_places);
	ck_assert_uint_eq(b->undeclared, a->undeclared);
	conf_succeed(c, b);
	ck_assert_uint_eq(c->types[0].index, b->n_places);      /* not the place that a had once */
	ck_assert_uint_eq(c->types[1].index, a->types[1].index);
	ck_assert_uint_eq(c->n_places, b->n_places + 1);
	conf_free(a);
	conf_free(b);
	conf_free(c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("succession");
	TCase *tc = tcase_create("succession");
	tcase_add_test(tc, each_key_of_a_type_counts);
	tcase_add_test(tc, each_key_of_a_type_is_tried_here);
	tcase_add_test(tc, types_come_and_go);
	tcase_add_test(tc, places_are_kept_in_another_order_and_never_given_twice);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
