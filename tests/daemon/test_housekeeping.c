/* Commands that tell of commands and of connections: HELP, COMMAND DOCS, CLIENT LIST, CLIENT KILL. That their
 * errors and empty replies are Redis's is test_differential's to show. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

static const char config[] =
	LISTEN NO_REDIS NO_DATABASE
	"types:\n"
	"  plain: {key: 'p:{name}', ttl: 100s}\n";

static struct harness *start(void)
{
	struct harness *h = harness_new();
	harness_start(h, config);
	return h;
}

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- HELP ---- */

static const char *line(const redisReply *help, size_t i)
{
	ck_assert_int_eq(help->element[i]->type, REDIS_REPLY_STATUS);
	return help->element[i]->str;
}

/* Each subcommand of which it tells is one. */
static void expect_served(redisContext *c, const char *command, const redisReply *help)
{
	for (size_t i = 1; i < help->elements; i += 2) {
		char word[32];
		ck_assert_int_eq(sscanf(line(help, i), "%31s", word), 1);
		ck_assert_msg(strncmp(line(help, i + 1), "    ", 4) == 0, "%s", line(help, i + 1));
		if (word[0] == '(')
			continue;
		redisReply *r = ask(c, "%s %s", command, word);
		ck_assert_msg(r->type != REDIS_REPLY_ERROR || !strstr(r->str, "unknown"), "%s %s: %s", command, word, r->str);
		freeReplyObject(r);
	}
}

START_TEST(help_has_the_form_of_redis_and_tells_of_what_is_served)
{
	static const char *const commands[] = {"CLIENT", "COMMAND", "CONFIG", "ACL"};
	struct harness *h = start();
	harness_redis_start(h, "");
	redisContext *c = harness_connect(h), *redis = harness_connect_redis(h);
	for (size_t i = 0; i < LEN(commands); i++) {
		redisReply *ours = ask(c, "%s help", commands[i]), *theirs = ask(redis, "%s help", commands[i]);
		ck_assert_int_eq(ours->type, REDIS_REPLY_ARRAY);
		ck_assert_uint_ge(ours->elements, 5);
		ck_assert_str_eq(line(ours, 0), line(theirs, 0));
		for (size_t k = 1; k <= 2; k++)
			ck_assert_str_eq(line(ours, ours->elements - k), line(theirs, theirs->elements - k));
		expect_served(c, commands[i], ours);
		freeReplyObject(ours);
		freeReplyObject(theirs);
	}
	harness_free(h);
}
END_TEST

/* ---- COMMAND ---- */

#define ARGUMENT(name, type) "[\"name\", \"" name "\", \"type\", \"" type "\"]"
#define WORD(name, token) "[\"name\", \"" name "\", \"type\", \"pure-token\", \"token\", \"" token "\"]"

/* The arguments as COMMAND DOCS tells them: the syntax of PROTOCOL.md in Redis's form. */
static const struct {
	const char *command, *arguments;
} documented[] = {
	{"get", "[" ARGUMENT("key", "key") "]"},
	{"mget", "[[\"name\", \"key\", \"type\", \"key\", \"flags\", [multiple]]]"},
	{"mset", "[[\"name\", \"block\", \"type\", \"block\", \"flags\", [multiple], \"arguments\", ["
		ARGUMENT("key", "key") ", " ARGUMENT("value", "string") "]]]"},
	{"expire", "[" ARGUMENT("key", "key") ", " ARGUMENT("seconds", "integer")
		", [\"name\", \"option\", \"type\", \"oneof\", \"flags\", [optional], \"arguments\", [" WORD("nx", "NX") ", " WORD("xx", "XX") "]]"
		", [\"name\", \"option\", \"type\", \"oneof\", \"flags\", [optional], \"arguments\", [" WORD("gt", "GT") ", " WORD("lt", "LT") "]]]"},
	{"auth", "[[\"name\", \"username\", \"type\", \"string\", \"flags\", [optional]], " ARGUMENT("password", "string") "]"},
	{"info", "[[\"name\", \"section\", \"type\", \"string\", \"flags\", [optional, multiple]]]"},
	{"refresh", "[" ARGUMENT("key", "key") ", [\"name\", \"force\", \"type\", \"pure-token\", \"token\", \"FORCE\", \"flags\", [optional]]]"},
	{"hello", "[[\"name\", \"block\", \"type\", \"block\", \"flags\", [optional], \"arguments\", [" ARGUMENT("protover", "integer")
		", [\"name\", \"block\", \"type\", \"block\", \"flags\", [optional], \"arguments\", ["
		"[\"name\", \"username\", \"type\", \"string\", \"token\", \"AUTH\"], " ARGUMENT("password", "string") "]]"
		", [\"name\", \"clientname\", \"type\", \"string\", \"token\", \"SETNAME\", \"flags\", [optional]]]]]"},
	{"client|list", "[[\"name\", \"client-type\", \"type\", \"string\", \"token\", \"TYPE\", \"flags\", [optional]], "
		"[\"name\", \"client-id\", \"type\", \"integer\", \"token\", \"ID\", \"flags\", [optional, multiple]]]"},
	{"client|reply", "[[\"name\", \"option\", \"type\", \"oneof\", \"arguments\", [" WORD("on", "ON") ", " WORD("off", "OFF") ", " WORD("skip", "SKIP") "]]]"},
};

START_TEST(docs_tell_the_arguments)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	for (size_t i = 0; i < LEN(documented); i++) {
		redisReply *r = ask(c, "COMMAND DOCS %s", documented[i].command);
		ck_assert_uint_eq(r->elements, 2);
		ck_assert_str_eq(r->element[0]->str, documented[i].command);
		const redisReply *docs = r->element[1];
		ck_assert_uint_eq(docs->elements, 6);
		ck_assert_str_eq(docs->element[4]->str, "arguments");
		char *text = render(docs->element[5]);
		ck_assert_str_eq(text, documented[i].arguments);
		free(text);
		freeReplyObject(r);
	}
	harness_free(h);
}
END_TEST

START_TEST(subcommands_are_told_of_with_their_commands)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	redisReply *docs = ask(c, "COMMAND DOCS client"), *info = ask(c, "COMMAND INFO client client|id");
	ck_assert_str_eq(docs->element[1]->element[4]->str, "subcommands");
	ck_assert_str_eq(docs->element[1]->element[5]->element[0]->str, "client|id");
	ck_assert_uint_eq(docs->element[1]->element[5]->elements, 2 * info->element[0]->element[9]->elements);
	ck_assert_str_eq(info->element[0]->element[9]->element[0]->element[0]->str, "client|id");
	ck_assert_str_eq(info->element[1]->element[0]->str, "client|id");
	freeReplyObject(docs);
	freeReplyObject(info);
	harness_free(h);
}
END_TEST

/* Those of ours that Redis does not know, also where Redis is asked for what is not in the table. */
START_TEST(keys_are_told_of_our_own_commands_too)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	expect(c, "[\"p:a\"]", "COMMAND GETKEYS GETIF p:a 0");
	expect(c, "(error) ERR Invalid command specified", "COMMAND GETKEYS BLPOP p:a 0");
	expect_error(c, "UNAVAILABLE redis", "Redis, which is off", "COMMAND GETKEYSANDFLAGS GET p:a");
	harness_free(h);
}
END_TEST

/* More than that, hiredis does not read (0.14). */
START_TEST(what_is_told_of_commands_is_not_nested_too_deep)
{
	struct harness *h = start();
	redisContext *c = harness_connect(h);
	freeReplyObject(ask(c, "COMMAND DOCS"));
	freeReplyObject(ask(c, "COMMAND"));
	harness_free(h);
}
END_TEST

/* ---- CLIENT LIST, CLIENT KILL ---- */

static int count_listed(redisContext *c)
{
	redisReply *r = ask(c, "CLIENT LIST TYPE normal");
	int n = 0;
	for (const char *at = r->str; (at = strchr(at, '\n')); at++)
		n++;
	freeReplyObject(r);
	return n;
}

START_TEST(clients_are_listed_by_filters)
{
	struct harness *h = start();
	redisContext *a = harness_connect(h), *b = harness_connect(h);
	redisReply *r = ask(a, "CLIENT LIST ID %lld %lld 999999", ask_integer(b, "CLIENT ID"), ask_integer(a, "CLIENT ID"));
	char first[32], second[32];
	snprintf(first, sizeof(first), "id=%lld ", ask_integer(b, "CLIENT ID"));
	snprintf(second, sizeof(second), "\nid=%lld ", ask_integer(a, "CLIENT ID"));
	ck_assert_ptr_eq(strstr(r->str, first), r->str);
	ck_assert_ptr_nonnull(strstr(r->str, second));
	ck_assert_ptr_nonnull(strstr(r->str, harness_path(h, "s:0 laddr=")));
	freeReplyObject(r);
	r = ask(a, "CLIENT LIST TYPE normal");
	ck_assert_ptr_nonnull(strstr(r->str, first));
	freeReplyObject(r);
	harness_free(h);
}
END_TEST

/* The names of the fields of CLIENT INFO; free it. */
static char *field_names(redisContext *c)
{
	redisReply *r = ask(c, "CLIENT INFO");
	char *names = xasprintf("%s", "");
	for (const char *at = r->str; *at && *at != '\n'; at += strcspn(at, " \n"), at += *at == ' ') {
		char *more = xasprintf("%s %.*s", names, (int)strcspn(at, "="), at);
		free(names);
		names = more;
	}
	freeReplyObject(r);
	return names;
}

/* redis-py, for one, insists on some. */
START_TEST(a_client_has_all_fields_that_it_has_in_redis)
{
	struct harness *h = start();
	harness_redis_start(h, "");
	char *ours = field_names(harness_connect(h)), *theirs = field_names(harness_connect_redis(h));
	ck_assert_msg(strncmp(ours, theirs, strlen(theirs)) == 0, "here:%s\nin Redis:%s", ours, theirs);
	free(ours);
	free(theirs);
	harness_free(h);
}
END_TEST

static void expect_killed(redisContext *c)
{
	redisReply *r = redisCommand(c, "PING");
	ck_assert_ptr_null(r);
}

START_TEST(clients_are_closed_by_filters)
{
	struct harness *h = start();
	redisContext *a = harness_connect(h), *b = harness_connect(h);
	wait_until(count_listed(a) == 2, 2000);
	expect(a, "0", "CLIENT KILL ID %lld", ask_integer(a, "CLIENT ID"));
	expect(a, "1", "CLIENT KILL ID %lld ADDR %s USER default TYPE normal", ask_integer(b, "CLIENT ID"), harness_path(h, "s:0"));
	expect_killed(b);

	b = harness_connect(h);
	expect(a, "1", "CLIENT KILL TYPE normal");
	expect_killed(b);

	b = harness_connect(h);
	expect(a, "2", "CLIENT KILL LADDR %s SKIPME no", harness_path(h, "s:0"));
	expect_killed(a);
	expect_killed(b);

	a = harness_connect(h);
	expect(a, "OK", "CLIENT KILL %s", harness_path(h, "s:0"));
	expect_killed(a);
	harness_free(h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		help_has_the_form_of_redis_and_tells_of_what_is_served,
		docs_tell_the_arguments,
		subcommands_are_told_of_with_their_commands,
		keys_are_told_of_our_own_commands_too,
		what_is_told_of_commands_is_not_nested_too_deep,
		clients_are_listed_by_filters,
		a_client_has_all_fields_that_it_has_in_redis,
		clients_are_closed_by_filters,
	};
	return harness_main("housekeeping", tests, LEN(tests));
}
