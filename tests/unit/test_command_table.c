/* The table of commands: that its rows are sound, and that what it says of Redis's commands is
 * what Redis itself says (COMMAND of the redis-server that is installed). */
#include "../../daemon/command.h"

#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "redisd.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- on its own ---- */

static void for_each_row(void (*each)(const char *parent, const struct command *c))
{
	for (const struct command *c = commands; c->name; c++) {
		each("", c);
		for (const struct command *sub = c->sub; sub && sub->name; sub++)
			each(c->name, sub);
	}
}

static void expect_single(const struct command *table, const struct command *c)
{
	for (const struct command *other = table; other->name; other++)
		ck_assert_msg(other == c || strcasecmp(other->name, c->name) != 0, "%s stands there twice", c->name);
}

START_TEST(no_name_stands_there_twice)
{
	for (const struct command *c = commands; c->name; c++) {
		expect_single(commands, c);
		for (const struct command *sub = c->sub; sub && sub->name; sub++)
			expect_single(c->sub, sub);
	}
}
END_TEST

static void find_row(const char *parent, const struct command *c)
{
	char lower[64];
	if (*parent)
		return;
	command_lower(c->name, lower, sizeof(lower));
	ck_assert_ptr_eq(command_find(c->name, strlen(c->name)), c);
	ck_assert_ptr_eq(command_find(lower, strlen(lower)), c);
	ck_assert_ptr_ne(command_find(c->name, strlen(c->name) - 1), c);
}

START_TEST(each_row_is_found_by_its_name_in_any_case)
{
	for_each_row(find_row);
	ck_assert_ptr_null(command_find("", 0));
	ck_assert_ptr_null(command_find("GETX", 4));
	ck_assert_ptr_null(command_find("\0ET", 3));
}
END_TEST

static void expect_sound(const char *parent, const struct command *c)
{
	unsigned f = c->flags;
	bool is_read = f & COMMAND_READ, is_write = f & COMMAND_WRITE, is_refused = f & COMMAND_REFUSED;
	for (const char *at = c->name; *at; at++)
		ck_assert_msg(isupper((unsigned char)*at) || strchr("-_:", *at), "%s %s is not upper case", parent, c->name);
	ck_assert_msg(c->run || c->sub, "%s %s does nothing", parent, c->name);
	ck_assert_msg(c->arity != 0, "%s %s has no arity", parent, c->name);
	ck_assert_msg(!is_read || !is_write, "%s %s reads and writes", parent, c->name);
	ck_assert_msg(is_read || is_write || is_refused || f & COMMAND_FAST, "%s %s neither reads nor writes", parent, c->name);
	ck_assert_msg(!(f & COMMAND_BOTH) || !(f & (COMMAND_PASSED | COMMAND_REFUSED)), "%s %s goes two ways", parent, c->name);
	ck_assert_msg(!(f & COMMAND_PASSED) || !is_refused, "%s %s is passed and refused", parent, c->name);
	ck_assert_msg(!(f & COMMAND_BOTH) || c->first_key > 0, "%s %s has no keys to tell its way", parent, c->name);
	ck_assert_msg((c->first_key == 0) == (c->step == 0) && (c->first_key == 0) == (c->last_key == 0), "%s %s: keys", parent, c->name);
	ck_assert_msg(is_refused || (*c->summary && *c->group), "%s %s is not explained", parent, c->name);
}

START_TEST(rows_are_sound)
{
	for_each_row(expect_sound);
}
END_TEST

/* ---- beside Redis ---- */

/* What Redis 7.0 does not have: our own, and what later versions have. */
static const char *const ours[] = {
	"PEEK", "DIGEST", "GETIF", "META", "EXPLAIN", "REFRESH", "INVALIDATE", "WARM", "HASHKEY", "STATS", "HEALTH", "METRICS",
	"WAITAOF", "CLIENT SETINFO", "CLIENT NO-TOUCH",
	"POST", "HOST:",        /* known to Redis, but not told */
	"HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT", "HPERSIST", "HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HGETDEL", "HGETEX", "HSETEX",
	"VADD", "VCARD", "VDIM", "VEMB", "VGETATTR", "VINFO", "VISMEMBER", "VLINKS", "VRANDMEMBER", "VREM", "VSETATTR", "VSIM",
	"XACKDEL", "XDELEX", "DELEX", "MSETEX", "VRANGE", "XCFGSET", "HOTKEYS", "DELIFEQ", "COMMANDLOG", "COMMANDLOG GET", "COMMANDLOG LEN", "COMMANDLOG HELP",
	"COMMANDLOG RESET", "SCRIPT SHOW",
};

/* What Redis has and the table leaves to it: passed, as commands that write. */
static const char *const left_to_redis[] = {
	"", /* none so far */
};

/* Where the table says something else than Redis, and why. */
static const char *const different[] = {
	"COMMAND LIST",         /* without FILTERBY */
	"COMMAND GETKEYS",      /* -4 in Redis 7.0, by mistake: it takes a command without arguments, too (7.2) */
};

static bool is_in(const char *const *list, size_t n, const char *parent, const char *name)
{
	char full[96];
	snprintf(full, sizeof(full), "%s%s%s", parent, *parent ? " " : "", name);
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(list[i], full) == 0)
			return true;
	return false;
}

#define IS_IN(list, parent, name) is_in(list, LEN(list), parent, name)

static const struct command *find_sub(const struct command *c, const char *name)
{
	for (const struct command *sub = c->sub; sub && sub->name; sub++)
		if (strcasecmp(sub->name, name) == 0)
			return sub;
	return NULL;
}

static bool has_flag(const redisReply *row, const char *flag)
{
	for (size_t i = 0; i < row->element[2]->elements; i++)
		if (strcmp(row->element[2]->element[i]->str, flag) == 0)
			return true;
	return false;
}

static void compare(const char *parent, const struct command *c, const redisReply *row)
{
	if (c->flags & COMMAND_REFUSED || IS_IN(different, parent, c->name))
		return;
	long long theirs[4] = {row->element[1]->integer, row->element[3]->integer, row->element[4]->integer, row->element[5]->integer};
	ck_assert_msg(c->arity == theirs[0], "%s %s: arity %d, in Redis %lld", parent, c->name, c->arity, theirs[0]);
	ck_assert_msg(c->first_key == theirs[1] && c->last_key == theirs[2] && c->step == theirs[3],
		"%s %s: keys %d %d %d, in Redis %lld %lld %lld", parent, c->name, c->first_key, c->last_key, c->step, theirs[1], theirs[2], theirs[3]);
	ck_assert_msg(!has_flag(row, "write") || c->flags & COMMAND_WRITE, "%s %s writes", parent, c->name);
	ck_assert_msg(has_flag(row, "movablekeys") == (c->more_keys != 0), "%s %s: movable keys", parent, c->name);
	ck_assert_msg(!has_flag(row, "blocking") || c->run == command_pass_streams, "%s %s may block", parent, c->name);
}

/* Redis names a subcommand "client|id". */
static const char *name_of(const redisReply *row)
{
	const char *bar = strchr(row->element[0]->str, '|');
	return bar ? bar + 1 : row->element[0]->str;
}

static void compare_subs(const struct command *c, const redisReply *rows)
{
	for (size_t i = 0; i < rows->elements; i++) {
		const struct command *sub = find_sub(c, name_of(rows->element[i]));
		if (sub)
			compare(c->name, sub, rows->element[i]);
	}
}

static void setup(void)
{
	redisd_init();
	start_server(NULL);
}

START_TEST(table_says_of_commands_what_redis_says)
{
	redisReply *rows = tell("COMMAND");
	for (size_t i = 0; i < rows->elements; i++) {
		const redisReply *row = rows->element[i];
		const struct command *c = command_find(name_of(row), strlen(name_of(row)));
		bool is_left = IS_IN(left_to_redis, "", name_of(row));
		ck_assert_msg(!c == is_left, "%s is %s", name_of(row), c ? "in the table" : "not in the table");
		if (!c)
			continue;
		compare("", c, row);
		compare_subs(c, row->element[9]);
	}
	freeReplyObject(rows);
}
END_TEST

static const redisReply *all_rows;

static const redisReply *row_named(const redisReply *rows, const char *name)
{
	for (size_t i = 0; i < rows->elements; i++)
		if (strcasecmp(name_of(rows->element[i]), name) == 0)
			return rows->element[i];
	return NULL;
}

static void expect_known(const char *parent, const struct command *c)
{
	const redisReply *row = row_named(all_rows, *parent ? parent : c->name);
	if (row && *parent)
		row = row_named(row->element[9], c->name);
	bool is_ours = IS_IN(ours, parent, c->name);
	ck_assert_msg(!row || !is_ours, "%s %s is Redis's, too", parent, c->name);
	ck_assert_msg(row || is_ours, "%s %s is not in Redis", parent, c->name);
}

START_TEST(what_redis_does_not_have_is_ours)
{
	redisReply *rows = tell("COMMAND");
	all_rows = rows;
	for_each_row(expect_known);
	freeReplyObject(rows);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command_table");
	TCase *tc = tcase_create("alone");
	tcase_add_test(tc, no_name_stands_there_twice);
	tcase_add_test(tc, each_row_is_found_by_its_name_in_any_case);
	tcase_add_test(tc, rows_are_sound);
	suite_add_tcase(suite, tc);

	tc = tcase_create("beside Redis");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, redisd_fini);
	tcase_add_test(tc, table_says_of_commands_what_redis_says);
	tcase_add_test(tc, what_redis_does_not_have_is_ours);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
