/* hiredis, its synchronous interface. Replies are compared as text: see render(). */
#include <hiredis.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CATALOG "[{\"id\":\"a\"},{\"id\":\"b\"}]"
#define LARGE (5 * 1024 * 1024)
#define KEYS 100

static const char *socket_path;
static bool named;

/* ---- reporting ---- */

static void report(const char *name, bool good, const char *expected, const char *got)
{
	if (good)
		printf("ok %s\n", name);
	else
		printf("bad %s: expected %s, got %.600s\n", name, expected, got);
	fflush(stdout);
}

static void claim(const char *name, bool good)
{
	report(name, good, "true", "false");
}

/* Has the server restarted. */
static void restart(void)
{
	char line[64];
	puts("restart");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		exit(1);
}

/* ---- replies as text ---- */

/* Writes nil, 1, text, [element element], or !CODE of an error; appends to out. */
static void render(FILE *out, const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_NIL:
		fputs("nil", out);
		break;
	case REDIS_REPLY_INTEGER:
		fprintf(out, "%lld", r->integer);
		break;
	case REDIS_REPLY_ERROR:
		fprintf(out, "!%.*s", (int)strcspn(r->str, " "), r->str);
		break;
	case REDIS_REPLY_ARRAY:
		fputc('[', out);
		for (size_t i = 0; i < r->elements; i++) {
			fputs(i > 0 ? " " : "", out);
			render(out, r->element[i]);
		}
		fputc(']', out);
		break;
	default:
		fwrite(r->str, 1, r->len, out);
	}
}

/* Reads so many replies into one line of text; the caller frees it. */
static char *read_replies(redisContext *c, int n)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	for (int i = 0; i < n; i++) {
		redisReply *r;
		if (i > 0)
			fputc(' ', out);
		if (redisGetReply(c, (void **)&r) != REDIS_OK) {
			fprintf(out, "broken: %s", c->errstr);
			break;
		}
		render(out, r);
		freeReplyObject(r);
	}
	fclose(out);
	return text;
}

/* Sends the commands (the last is NULL) in one write; their replies have to read as expected. */
static void check(redisContext *c, const char *name, const char *expected, ...)
{
	int n = 0;
	va_list commands;
	va_start(commands, expected);
	for (const char *command; (command = va_arg(commands, const char *)); n++)
		redisAppendCommand(c, command);
	va_end(commands);
	char *got = read_replies(c, n);
	report(name, strcmp(got, expected) == 0, expected, got);
	free(got);
}

static long long ask_integer(redisContext *c, const char *command, const char *argument)
{
	redisReply *r = redisCommand(c, command, argument);
	long long value = r && r->type == REDIS_REPLY_INTEGER ? r->integer : -1000;
	freeReplyObject(r);
	return value;
}

/* Whether the key has a TTL of about 100 seconds once the command is done. */
static bool gives_ttl(redisContext *c, const char *key, const char *command)
{
	freeReplyObject(redisCommand(c, command, key));
	long long ttl = ask_integer(c, "TTL %s", key);
	return ttl > 90 && ttl <= 100;
}

/* ---- what each client shows ---- */

static redisContext *connect_to_it(void)
{
	redisContext *c = redisConnectUnix(socket_path);
	if (!c || c->err) {
		fprintf(stderr, "%s\n", c ? c->errstr : "no memory");
		exit(1);
	}
	if (named) {
		freeReplyObject(redisCommand(c, "SELECT 0"));
		freeReplyObject(redisCommand(c, "CLIENT SETNAME %s", "gateway"));
	}
	return c;
}

static void basics(redisContext *c)
{
	check(c, "answers_ping", "PONG", "PING", NULL);
	check(c, "has_its_name", named ? "gateway" : "nil", "CLIENT GETNAME", NULL);
	check(c, "declared_key_is_fetched", CATALOG, "GET catalog:one", NULL);
	check(c, "missing_key_is_nil", "nil", "GET state:none", NULL);
	check(c, "set_then_get", "OK v", "SET state:a v", "GET state:a", NULL);
	claim("set_ex_gives_a_ttl", gives_ttl(c, "state:ex", "SET %s v EX 100"));
	check(c, "set_nx_keeps_the_first", "OK nil 1", "SET state:nx 1 NX", "SET state:nx 2 NX", "GET state:nx", NULL);
	check(c, "set_xx_needs_a_value", "nil nil OK 2", "SET state:xx 1 XX", "GET state:xx", "SET state:nx 2 XX",
		"GET state:nx", NULL);
	check(c, "set_get_returns_the_old", "nil 1 2", "SET state:get 1 GET", "SET state:get 2 GET", "GET state:get", NULL);
	claim("set_keepttl_keeps_the_ttl", gives_ttl(c, "state:ex", "SET %s 2 KEEPTTL"));
}

static void many_keys(redisContext *c)
{
	check(c, "mget_mixes_kinds", "OK [" CATALOG " v p nil]", "SET n:plain p",
		"MGET catalog:one state:a n:plain state:none", NULL);
	check(c, "mset_mixes_kinds", "OK [1 2]", "MSET state:m 1 n:m 2", "MGET state:m n:m", NULL);
	check(c, "expire_ttl_persist", "-1 1 1 -1 -2", "TTL state:m", "EXPIRE state:m 100", "PERSIST state:m", "TTL state:m",
		"TTL state:none", NULL);
	check(c, "pipeline_mixes_kinds", "OK 1 1 " CATALOG " 1 1 nil", "SET state:p 1", "GET state:p", "INCR n:p",
		"GET catalog:one", "HSET h:p f v", "DEL state:p", "GET state:p", NULL);
	check(c, "transaction_mixes_kinds",
		"OK QUEUED QUEUED QUEUED QUEUED QUEUED QUEUED QUEUED [OK 1 1 " CATALOG " 1 1 nil]", "MULTI", "SET state:t 1",
		"GET state:t", "INCR n:t", "GET catalog:one", "HSET h:t f v", "DEL state:t", "GET state:t", "EXEC", NULL);
}

/* The cursor is a string of digits; one round of SCAN may give a key twice. */
static int scan(redisContext *c, const char *command, bool seen[KEYS], int *own)
{
	char cursor[32] = "0";
	int rounds = 0;
	do {
		redisReply *r = redisCommand(c, command, cursor);
		if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != 2) {
			freeReplyObject(r);
			return -1;
		}
		snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
		for (size_t i = 0; i < r->element[1]->elements; i++) {
			const char *key = r->element[1]->element[i]->str;
			int number;
			if (sscanf(key, "k:%d", &number) == 1 && number >= 0 && number < KEYS)
				seen[number] = true;
			*own += strncmp(key, "catcached:", 10) == 0;
		}
		freeReplyObject(r);
	} while (strcmp(cursor, "0") != 0 && rounds++ < 1000);
	return 0;
}

static void scan_finds_all(redisContext *c)
{
	bool seen[KEYS] = {false};
	int own = 0, count = 0;
	for (int i = 0; i < KEYS; i++)
		freeReplyObject(redisCommand(c, "SET k:%d v", i));
	int status = scan(c, "SCAN %s MATCH k:* COUNT 10", seen, &own);
	for (int i = 0; i < KEYS; i++)
		count += seen[i];
	claim("scan_finds_all_keys", status == 0 && count == KEYS);
}

static void script(redisContext *c)
{
	redisReply *sha = redisCommand(c, "SCRIPT LOAD %s", "return KEYS[1] .. ARGV[1]");
	redisAppendCommand(c, "EVAL %s 1 x 1", "return KEYS[1] .. ARGV[1]");
	redisAppendCommand(c, "EVALSHA %s 1 x 2", sha->str);
	redisAppendCommand(c, "EVALSHA 0000000000000000000000000000000000000000 0");
	char *got = read_replies(c, 3);
	report("script", strcmp(got, "x1 x2 !NOSCRIPT") == 0, "x1 x2 !NOSCRIPT", got);
	free(got);
	freeReplyObject(sha);
}

static void passed_through(redisContext *c)
{
	check(c, "counter", "1 6", "INCR n:c", "INCRBY n:c 5", NULL);
	check(c, "hash", "2 [a 1 b 2]", "HSET h a 1 b 2", "HGETALL h", NULL);
	check(c, "set", "2 0 1 2", "SADD s x y", "SADD s x", "SISMEMBER s y", "SCARD s", NULL);
	check(c, "sorted_set", "1 1.5", "ZADD z 1.5 m", "ZSCORE z m", NULL);
	check(c, "list", "2 [b a]", "LPUSH l a b", "LRANGE l 0 -1", NULL);
	script(c);
	scan_finds_all(c);
}

/* A value of any bytes goes out through the client's own formatting, and comes back the same. */
static bool survives(redisContext *c, const char *value, size_t len)
{
	char *command;
	int command_len = redisFormatCommand(&command, "SET %s %b", "state:v", value, len);
	redisAppendFormattedCommand(c, command, (size_t)command_len);
	redisFreeCommand(command);
	redisReply *set, *get;
	if (redisGetReply(c, (void **)&set) != REDIS_OK)
		return false;
	bool ok = set->type == REDIS_REPLY_STATUS;
	freeReplyObject(set);
	get = redisCommandArgv(c, 2, (const char *[]){"GET", "state:v"}, NULL);
	ok = ok && get && get->type == REDIS_REPLY_STRING && get->len == len && memcmp(get->str, value, len) == 0;
	freeReplyObject(get);
	return ok;
}

static void values(redisContext *c)
{
	char bytes[256];
	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	claim("all_bytes_survive", survives(c, bytes, sizeof bytes));
	char *large = malloc(LARGE);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = "0123456789abcdef"[i % 16];
	claim("five_megabytes_survive", survives(c, large, LARGE));
	free(large);
}

static void errors(redisContext *c)
{
	check(c, "wrong_type_is_an_error", "1 !WRONGTYPE !WRONGTYPE !WRONGTYPE", "LPUSH state:list x", "GET state:list", "GET l",
		"INCR h", NULL);
	check(c, "unknown_command_is_an_error", "!ERR", "NOSUCH a", NULL);
	check(c, "wrong_arity_is_an_error", "!ERR", "GET", NULL);
}

/* The error is clear, and the connection goes on. */
static void refused(redisContext *c, const char *name, const char *command)
{
	long long before = ask_integer(c, "CLIENT %s", "ID");
	char word[32];
	snprintf(word, sizeof word, "%.*s", (int)strcspn(command, " "), command);
	redisReply *r = redisCommand(c, command);
	bool good = r && r->type == REDIS_REPLY_ERROR && strcasestr(r->str, word) && !strcasestr(r->str, "unknown command");
	report(name, good && ask_integer(c, "CLIENT %s", "ID") == before, "a clear error", r && r->str ? r->str : "another reply");
	freeReplyObject(r);
}

static void own(redisContext *c)
{
	bool seen[KEYS] = {false};
	int hidden = 0;
	check(c, "broken_json_is_refused", "!ERR nil", "SET price:a {", "GET price:a", NULL);
	int status = scan(c, "SCAN %s", seen, &hidden);
	claim("own_keys_stay_hidden", status == 0 && hidden == 0);
	refused(c, "subscribe_is_refused", "SUBSCRIBE channel");
	refused(c, "blpop_is_refused", "BLPOP nothing 1");
	refused(c, "watch_is_refused", "WATCH state:a");
	refused(c, "monitor_is_refused", "MONITOR");
}

static void reconnects(redisContext *c)
{
	restart();
	if (redisReconnect(c) != REDIS_OK)
		claim("reconnects_after_restart", false);
	else
		check(c, "reconnects_after_restart", "OK v", "SET state:again v", "GET state:again", NULL);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	socket_path = argv[1];
	named = strcmp(argv[2], "named") == 0;
	redisContext *c = connect_to_it();
	basics(c);
	many_keys(c);
	passed_through(c);
	values(c);
	errors(c);
	if (strcmp(argv[3], "daemon") == 0)
		own(c);
	reconnects(c);
	redisFree(c);
	return 0;
}
