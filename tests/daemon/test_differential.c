/* The daemon against a real Redis: the same commands to both, the same replies expected, byte
 * for byte. The commands come from a generator (generator.h, grammar.h) with a fixed seed.
 *
 *      DIFFER_SEED=n           another seed
 *      DIFFER_COMMANDS=n       how many commands each setup gets
 *      DIFFER_BATCH=n          how many are sent at once, at the most (1: each difference is told, not
 *                              only the first of a batch)
 *      DIFFER_SELF=1           a second Redis in the daemon's place: tests the generator, which
 *                              must find nothing
 *
 * What the daemon means to answer otherwise is in the table `intended` and is not generated. Nor are
 * commands that it refuses by design (blocking, subscribing, WATCH, SELECT of another database,
 * administration), or replies that depend on chance. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "differ.h"
#include "generator.h"

#define COMMANDS 5000           /* of each setup */
#define BATCH 80
#define SEED 20240607
#define REFERENCE "reference.sock"

#define RAW LISTEN REDIS NO_DATABASE "types:\n"

/* A daemon for the commands of one letter of the grammar. */
static const struct setup {
	char letter;
	const char *yaml;
	bool is_alone;                  /* without Redis */
	const char *prefixes[4];        /* of the keys */
} setups[] = {
	{'a', RAW "  other: {key: 'o:{name}', ttl: none}\n", false, {"u:"}},
	{'b', RAW "  raw: {key: 'r:{name}', ttl: none}\n", false, {"r:"}},
	{'c', RAW "  raw: {key: 'r:{name}', ttl: none, tiers: [redis]}\n", false, {"r:"}},
	{'d', LISTEN NO_REDIS NO_DATABASE "types:\n  raw: {key: 'r:{name}', ttl: none, tiers: [memory]}\n", true, {"r:"}},
	{'e', RAW "  both: {key: 'b:{name}', ttl: none}\n  redis: {key: 'r:{name}', ttl: none, tiers: [redis]}\n",
		false, {"b:", "r:", "u:"}},
};

/* ---- the world ---- */

struct world {
	struct harness *h;
	pid_t reference;
};

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* A Redis of the test's own beside the harness's, with the same settings. */
static pid_t start_reference(struct harness *h)
{
	const char *socket = harness_path(h, REFERENCE);
	pid_t parent = getpid(), pid = fork();
	ck_assert(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no",
				"--dir", getenv("DIR"), "--logfile", harness_path(h, "reference.log"), (char *)NULL);
		_exit(127);
	}
	wait_until(access(socket, F_OK) == 0, 20000);
	return pid;
}

static struct world start(const struct setup *s)
{
	struct world w = {.h = harness_new()};
	w.reference = start_reference(w.h);
	if (!s->is_alone || setting("DIFFER_SELF", 0))
		harness_redis_start(w.h, "");
	if (setting("DIFFER_SELF", 0))
		return w;
	harness_start(w.h, s->yaml);
	if (!s->is_alone)
		harness_tracking(harness_connect(w.h));
	return w;
}

static void stop(struct world *w)
{
	kill(w->reference, SIGKILL);
	waitpid(w->reference, NULL, 0);
	harness_free(w->h);
}

static const char *tested_socket(struct world *w)
{
	return harness_path(w->h, setting("DIFFER_SELF", 0) ? "redis.sock" : "s");
}

/* ---- what is made up ---- */

static void expect_same(char letter)
{
	const struct setup *s = &setups[letter - 'a'];
	struct world w = start(s);
	char name[] = {letter, '\0'};
	struct differ_options options = {.setup = name, .seed = setting("DIFFER_SEED", SEED),
		.sockets = {harness_path(w.h, REFERENCE), tested_socket(&w)}, .max_batch = (uint32_t)setting("DIFFER_BATCH", BATCH)};
	struct generator *g = generator_new(options.seed, letter, s->prefixes);
	struct differ *d = differ_new(g, &options);
	differ_run(d, setting("DIFFER_COMMANDS", COMMANDS));
	char *report = differ_report(d);
	if (report)
		printf("%s", report), fflush(stdout);
	ck_assert_msg(!report, "setup %c: the daemon differs from Redis, see above", letter);
	differ_free(d);
	generator_free(g);
	stop(&w);
}

START_TEST(undeclared_keys_are_as_in_redis)
{
	expect_same('a');
}
END_TEST

START_TEST(declared_keys_in_memory_and_redis_are_as_in_redis)
{
	expect_same('b');
}
END_TEST

START_TEST(declared_keys_in_redis_alone_are_as_in_redis)
{
	expect_same('c');
}
END_TEST

START_TEST(declared_keys_in_memory_alone_are_as_in_redis)
{
	expect_same('d');
}
END_TEST

START_TEST(keys_of_all_kinds_mixed_are_as_in_redis)
{
	expect_same('e');
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		undeclared_keys_are_as_in_redis,
		declared_keys_in_memory_and_redis_are_as_in_redis,
		declared_keys_in_redis_alone_are_as_in_redis,
		declared_keys_in_memory_alone_are_as_in_redis,
		keys_of_all_kinds_mixed_are_as_in_redis,
	};
	return harness_main("differential", tests, sizeof(tests) / sizeof(tests[0]));
}
