/* redis.c and redis_link.c against a real redis-server on a Unix socket, started,
 * stopped and killed as a test wants it; and against a fake one on TCP for what no
 * real one does: replies that trickle, and bytes that are none. */
#include "../../daemon/redis.h"

#include <arpa/inet.h>
#include <check.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../conf/conf.h"
#include "../../daemon/clock.h"
#include "../../daemon/out.h"
#include "../../daemon/redis_op.h"
#include "../../daemon/value.h"
#include "../../proto/buf.h"
#include "redisd.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define UP_AGAIN_MS 3000        /* a link is back this long after its server */
#define TIMEOUT_MS 500          /* of links to servers that hang */
#define TICK_MS 5               /* between the bytes of a reply that trickles */


/* ---- the link under test ---- */

static struct redis *redis;
static struct conf_redis conf;

static void ignore_change(void *arg, const struct key *key)
{
	(void)arg, (void)key;
}

static void ignore_flush(void *arg)
{
	(void)arg;
}

static void ignore_coherence(void *arg, enum coherence now)
{
	(void)arg, (void)now;
}

static const struct redis_watch watch = {.on_change = ignore_change, .on_flush = ignore_flush,
	.on_coherence = ignore_coherence, .on_up = ignore_flush};

static void open_link(void)
{
	redis = redis_new(base, &conf, &watch);
}

static void bring_up(void)
{
	open_link();
	run_until(redis_up(redis), LIMIT_MS);
}

/* With all that is done on its connections when it comes up, which counts in the statistics, too. */
static void bring_all_up(void)
{
	open_link();
	run_until(redis_coherence(redis) == COHERENCE_TRACKING && are_relays_up(redis)
		&& redis_stats(redis)->pending == 0, LIMIT_MS);
}

static void setup(void)
{
	redisd_init();
	conf = (struct conf_redis){.unix_path = xstrdup(socket_path), .connect_timeout_ms = LIMIT_MS, .timeout_ms = LIMIT_MS};
}

static void teardown(void)
{
	redis_free(redis);
	redis = NULL;
	redisd_fini();
	free(conf.unix_path);
}

static void setup_server(void)
{
	setup();
	start_server(NULL);
}

static void setup_link(void)
{
	setup_server();
	bring_all_up();
}

/* ---- calls and their answers ---- */

struct answer {
	unsigned n;
	enum redis_status status;
	struct value *value;
	int64_t ttl_ms, number;
	char error[256];
	int64_t at_ms;
};

static void on_done(void *arg, const struct redis_result *r)
{
	struct answer *a = arg;
	a->n++;
	a->status = r->status;
	a->value = r->value ? value_ref(r->value) : NULL;
	a->ttl_ms = r->ttl_ms;
	a->number = r->number;
	snprintf(a->error, sizeof(a->error), "%s", r->error ? r->error : "");
	a->at_ms = now_ms();
}

static struct key key_named(const char *name)
{
	return key_of(name, strlen(name));
}

static struct value *text_value(const char *text)
{
	return value_copy(text, strlen(text));
}

static void clear(struct answer *a)
{
	value_unref(a->value);
	*a = (struct answer){0};
}

static void start_read(struct answer *a, const char *name)
{
	struct key key = key_named(name);
	clock_update();
	redis_read(redis, &key, on_done, a);
	ck_assert_msg(a->n == 0, "answered before the call returned");
}

/* Waits for the answer; it must have this status. */
static void expect(struct answer *a, enum redis_status status)
{
	run_until(a->n, LIMIT_MS);
	ck_assert_uint_eq(a->n, 1);
	ck_assert_msg(a->status == status, "status %d: %s", a->status, a->error);
	ck_assert_int_eq(a->error[0] != '\0', status != REDIS_ANSWERED && status != REDIS_NIL);
	ck_assert(!a->value || status == REDIS_ANSWERED);
}

static struct answer read_key(const char *name, enum redis_status status)
{
	struct answer a = {0};
	start_read(&a, name);
	expect(&a, status);
	return a;
}

static void expect_read(const char *name, const char *bytes)
{
	struct answer a = read_key(name, REDIS_ANSWERED);
	ck_assert(a.value && a.value->len == strlen(bytes) && memcmp(a.value->data, bytes, a.value->len) == 0);
	clear(&a);
}

static struct answer write_key(const char *name, const char *bytes, int64_t ttl_ms, enum redis_condition condition,
	enum redis_status status)
{
	struct answer a = {0};
	struct key key = key_named(name);
	struct value *v = text_value(bytes);
	clock_update();
	redis_write(redis, &key, v, ttl_ms, condition, on_done, &a);
	ck_assert_uint_eq(a.n, 0);
	value_unref(v);                         /* borrowed until the call returned */
	expect(&a, status);
	return a;
}

/* ---- reading ---- */

START_TEST(read_brings_the_value_and_what_is_left_of_its_ttl)
{
	told("SET a value PX 60000");
	struct answer a = read_key("a", REDIS_ANSWERED);
	ck_assert(a.value && a.value->len == 5 && memcmp(a.value->data, "value", 5) == 0);
	ck_assert_uint_eq(a.value->refs, 1);
	ck_assert_msg(a.ttl_ms > 30000 && a.ttl_ms <= 60000, "%lld ms", (long long)a.ttl_ms);
	clear(&a);
}
END_TEST

START_TEST(read_of_a_value_without_ttl_says_so)
{
	told("SET a value");
	struct answer a = read_key("a", REDIS_ANSWERED);
	ck_assert_int_eq(a.ttl_ms, -1);
	clear(&a);
}
END_TEST

START_TEST(read_of_nothing_is_nil)
{
	struct answer a = read_key("a", REDIS_NIL);
	ck_assert_ptr_null(a.value);
}
END_TEST

START_TEST(read_of_another_type_says_so_and_harms_nothing)
{
	told("RPUSH list x");
	told("SET a value");
	struct answer a = read_key("list", REDIS_WRONGTYPE);
	ck_assert_msg(strncmp(a.error, "WRONGTYPE ", 10) == 0, "%s", a.error);
	expect_read("a", "value");
	ck_assert_uint_eq(redis_stats(redis)->errors, 0);
	ck_assert_uint_eq(redis_stats(redis)->drops, 0);
}
END_TEST

START_TEST(read_is_one_get_and_one_pttl)
{
	told("CONFIG RESETSTAT");
	read_key("a", REDIS_NIL);
	ck_assert_uint_eq(calls_of("get"), 1);
	ck_assert_uint_eq(calls_of("pttl"), 1);
}
END_TEST

START_TEST(values_of_any_bytes_come_as_they_are)
{
	static const struct {
		const char *bytes;
		size_t len;
	} values[] = {{"", 0}, {"\0", 1}, {"a\0b\r\n$5\r\nhello", 14}, {"\xff\xfe", 2}};
	for (size_t i = 0; i < LEN(values); i++) {
		told("SET a %b", values[i].bytes, values[i].len);
		struct answer a = read_key("a", REDIS_ANSWERED);
		ck_assert(a.value && a.value->len == values[i].len && memcmp(a.value->data, values[i].bytes, values[i].len) == 0);
		clear(&a);
	}
}
END_TEST

START_TEST(thousands_of_reads_at_once_are_each_answered_in_order)
{
	enum { READS = 5000 };
	struct answer *answers = xcalloc(READS, sizeof(*answers));
	char name[32];
	for (unsigned i = 0; i < 100; i++)
		told("SET key:%u %u", i, i);
	for (unsigned i = 0; i < READS; i++) {
		snprintf(name, sizeof(name), "key:%u", i % 100);
		start_read(&answers[i], name);
	}
	ck_assert_uint_eq(redis_stats(redis)->pending, 2 * READS);
	for (unsigned i = 0; i < READS; i++) {
		expect(&answers[i], REDIS_ANSWERED);
		int len = snprintf(name, sizeof(name), "%u", i % 100);
		if (answers[i].value->len != (size_t)len || memcmp(answers[i].value->data, name, (size_t)len) != 0)
			ck_abort_msg("read %u got another's value", i);
		clear(&answers[i]);
	}
	ck_assert_uint_eq(redis_stats(redis)->pending, 0);
	free(answers);
}
END_TEST

/* ---- writing ---- */

START_TEST(write_stores_the_value_and_its_ttl)
{
	write_key("a", "one", 60000, REDIS_ALWAYS, REDIS_ANSWERED);
	expect_stored("a", "one");
	long long ttl_ms = number_of(tell("PTTL a"));
	ck_assert_msg(ttl_ms > 30000 && ttl_ms <= 60000, "%lld ms", ttl_ms);
	write_key("a", "two", 0, REDIS_ALWAYS, REDIS_ANSWERED);
	expect_stored("a", "two");
	ck_assert_int_eq(number_of(tell("PTTL a")), -1);
	told("RPUSH list x");
	write_key("list", "", 0, REDIS_ALWAYS, REDIS_ANSWERED);
	expect_stored("list", "");
}
END_TEST

START_TEST(write_happens_only_on_its_condition)
{
	write_key("a", "one", 0, REDIS_IF_PRESENT, REDIS_NIL);
	expect_stored("a", NULL);
	write_key("a", "one", 60000, REDIS_IF_ABSENT, REDIS_ANSWERED);
	expect_stored("a", "one");
	write_key("a", "two", 0, REDIS_IF_ABSENT, REDIS_NIL);
	expect_stored("a", "one");
	ck_assert_int_gt(number_of(tell("PTTL a")), 0);
	write_key("a", "three", 0, REDIS_IF_PRESENT, REDIS_ANSWERED);
	expect_stored("a", "three");
	ck_assert_int_eq(number_of(tell("PTTL a")), -1);
}
END_TEST

START_TEST(writes_and_reads_keep_their_order)
{
	struct answer written[2] = {0}, read[3] = {0}, gone = {0};
	struct key key = key_named("a");
	struct value *one = text_value("one"), *two = text_value("two");
	start_read(&read[0], "a");
	redis_write(redis, &key, one, 0, REDIS_ALWAYS, on_done, &written[0]);
	start_read(&read[1], "a");
	redis_write(redis, &key, two, 0, REDIS_IF_PRESENT, on_done, &written[1]);
	redis_delete(redis, &key, 1, on_done, &gone);
	start_read(&read[2], "a");
	expect(&read[0], REDIS_NIL);
	expect(&written[0], REDIS_ANSWERED);
	expect(&read[1], REDIS_ANSWERED);
	ck_assert(read[1].value->len == 3 && memcmp(read[1].value->data, "one", 3) == 0);
	expect(&written[1], REDIS_ANSWERED);
	expect(&gone, REDIS_ANSWERED);
	ck_assert_int_eq(gone.number, 1);
	expect(&read[2], REDIS_NIL);
	clear(&read[1]);
	value_unref(one);
	value_unref(two);
}
END_TEST

static struct value *random_value(size_t len, unsigned seed)
{
	struct value *v = value_new(len);
	for (size_t i = 0; i < len; i++)
		v->data[i] = (char)(rand_r(&seed) >> 7);
	return v;
}

/* 16384 is where a reply becomes a value as it is read. */
START_TEST(values_of_any_size_go_there_and_back_unchanged)
{
	static const size_t lens[] = {0, 1, 16383, 16384, 16385, 100000, 1 << 20, 20 << 20};
	struct key key = key_named("a");
	for (size_t i = 0; i < LEN(lens); i++) {
		struct answer a = {0};
		struct value *v = random_value(lens[i], (unsigned)i);
		clock_update();
		redis_write(redis, &key, v, 60000, REDIS_ALWAYS, on_done, &a);
		ck_assert_uint_eq(v->refs, lens[i] > OUT_COPY_MAX ? 2 : 1);     /* a large one is sent from where it is, */
		expect(&a, REDIS_ANSWERED);
		ck_assert_uint_eq(v->refs, 1);                                  /* and let go then */
		ck_assert_int_eq(number_of(tell("STRLEN a")), (long long)lens[i]);
		a = read_key("a", REDIS_ANSWERED);
		ck_assert(a.value->len == v->len && memcmp(a.value->data, v->data, v->len) == 0);
		ck_assert_uint_eq(a.value->refs, 1);
		clear(&a);
		value_unref(v);
	}
}
END_TEST

START_TEST(refusal_of_the_server_is_an_error_with_its_text)
{
	told("SET a value");
	told("CONFIG SET maxmemory 1");
	struct answer a = write_key("b", "x", 0, REDIS_ALWAYS, REDIS_ERROR);
	ck_assert_msg(strncmp(a.error, "OOM ", 4) == 0, "%s", a.error);
	expect_read("a", "value");
	told("CONFIG SET maxmemory 0");
	told("REPLICAOF 127.0.0.1 1");
	a = write_key("b", "x", 0, REDIS_ALWAYS, REDIS_ERROR);
	ck_assert_msg(strncmp(a.error, "READONLY ", 9) == 0, "%s", a.error);
	ck_assert_uint_eq(redis_stats(redis)->errors, 2);
	ck_assert(redis_up(redis));
}
END_TEST

/* ---- deleting, expiring, probing ---- */

START_TEST(delete_of_many_keys_is_one_command)
{
	static const size_t counts[] = {1, 2, 3, 1000, 20000};
	for (size_t i = 0; i < LEN(counts); i++) {
		size_t n = counts[i];
		struct answer a = {0};
		struct key *keys = xcalloc(n, sizeof(*keys));
		char (*names)[16] = xcalloc(n, sizeof(*names));
		for (size_t j = 0; j < n; j++)
			keys[j] = key_of(names[j], (size_t)snprintf(names[j], sizeof(names[j]), "k%zu", j));
		for (size_t j = 0; j < n; j += 2)
			told("SET %s x", names[j]);
		told("CONFIG RESETSTAT");
		redis_delete(redis, keys, n, on_done, &a);
		memset(names, 'x', n * sizeof(*names));         /* borrowed until the call returned */
		expect(&a, REDIS_ANSWERED);
		ck_assert_int_eq(a.number, (int64_t)(n + 1) / 2);
		ck_assert_uint_eq(calls_of("del"), 1);
		ck_assert_uint_eq(keys_stored(), 0);
		free(names);
		free(keys);
	}
}
END_TEST

START_TEST(expire_says_whether_the_key_is_there)
{
	struct answer a = {0};
	struct key there = key_named("a"), missing = key_named("b");
	told("SET a value");
	redis_edit(redis, &there, &(struct redis_edit){.what = REDIS_EDIT_TTL, .ttl_ms = 60000}, on_done, &a);
	expect(&a, REDIS_ANSWERED);
	ck_assert_int_eq(a.number, 1);
	long long ttl_ms = number_of(tell("PTTL a"));
	ck_assert_msg(ttl_ms > 30000 && ttl_ms <= 60000, "%lld ms", ttl_ms);
	clear(&a);
	redis_edit(redis, &missing, &(struct redis_edit){.what = REDIS_EDIT_TTL, .ttl_ms = 60000}, on_done, &a);
	expect(&a, REDIS_ANSWERED);
	ck_assert_int_eq(a.number, 0);
}
END_TEST

/* ---- values past the TTL they were given ---- */

static const struct redis_window window = {.from_ms = 10000, .below_ms = 60000};

/* The number it is answered with. */
static int64_t edit_key(const char *name, struct redis_edit how, enum redis_status status)
{
	struct answer a = {0};
	struct key key = key_named(name);
	how.stale = window;
	redis_edit(redis, &key, &how, on_done, &a);
	expect(&a, status);
	int64_t number = a.number;
	clear(&a);
	return number;
}

START_TEST(edit_takes_a_stale_value_for_absent)
{
	const struct redis_edit ttl = {.what = REDIS_EDIT_TTL, .ttl_ms = 90000}, persist = {.what = REDIS_EDIT_PERSIST};
	const struct redis_edit getex = {.what = REDIS_EDIT_TTL, .ttl_ms = 90000, .wants_value = true},
		getdel = {.what = REDIS_EDIT_DELETE, .wants_value = true};
	told("SET stale x PX 59000");
	ck_assert_int_eq(edit_key("stale", ttl, REDIS_ANSWERED), 0);
	ck_assert_int_eq(edit_key("stale", persist, REDIS_ANSWERED), 0);
	edit_key("stale", getex, REDIS_NIL);
	edit_key("stale", getdel, REDIS_NIL);
	expect_stored("stale", "x");
	told("SET fresh x PX 70000");
	told("SET foreign x PX 9000");
	told("SET endless x");
	ck_assert_int_eq(edit_key("fresh", ttl, REDIS_ANSWERED), 1);
	ck_assert_int_eq(edit_key("foreign", ttl, REDIS_ANSWERED), 1);
	ck_assert_int_eq(edit_key("fresh", persist, REDIS_ANSWERED), 1);
	ck_assert_int_eq(edit_key("missing", ttl, REDIS_ANSWERED), 0);
	edit_key("endless", getex, REDIS_ANSWERED);
	ck_assert_int_gt(number_of(tell("PTTL endless")), 60000);
	edit_key("endless", getdel, REDIS_ANSWERED);
	expect_stored("endless", NULL);
	told("RPUSH list x");
	edit_key("list", getex, REDIS_WRONGTYPE);
}
END_TEST

static void set_key(const char *name, struct redis_set how, enum redis_status status)
{
	struct answer a = {0};
	struct key key = key_named(name);
	struct value *v = text_value("new");
	how.stale = window;
	redis_write_as(redis, &key, v, &how, on_done, &a);
	value_unref(v);
	expect(&a, status);
	clear(&a);
}

START_TEST(set_takes_a_stale_value_for_absent)
{
	told("SET a old PX 59000");
	set_key("a", (struct redis_set){.condition = REDIS_IF_PRESENT}, REDIS_NIL);
	expect_stored("a", "old");
	set_key("a", (struct redis_set){.condition = REDIS_IF_ABSENT, .ttl_ms = 90000}, REDIS_ANSWERED);
	expect_stored("a", "new");
	ck_assert_int_gt(number_of(tell("PTTL a")), 60000);
	set_key("a", (struct redis_set){.condition = REDIS_IF_ABSENT}, REDIS_NIL);
	told("SET b old PX 59000");
	set_key("b", (struct redis_set){.keeps_ttl = true}, REDIS_ANSWERED);
	ck_assert_int_eq(number_of(tell("PTTL b")), -1);
	told("SET c old PX 59000");
	set_key("c", (struct redis_set){.wants_old = true}, REDIS_NIL);
	set_key("c", (struct redis_set){.wants_old = true}, REDIS_ANSWERED);
	told("SET d theirs PX 9000");
	set_key("d", (struct redis_set){.condition = REDIS_IF_PRESENT}, REDIS_ANSWERED);
	expect_stored("d", "new");
	told("RPUSH list x");
	set_key("list", (struct redis_set){.wants_old = true}, REDIS_WRONGTYPE);
}
END_TEST

/* A write that does not depend on what is there needs no look at it. */
START_TEST(plain_set_is_no_script)
{
	told("CONFIG RESETSTAT");
	set_key("a", (struct redis_set){.ttl_ms = 90000}, REDIS_ANSWERED);
	ck_assert_uint_eq(calls_of("eval"), 0);
}
END_TEST

static struct answer probe(const char *name, enum redis_status status)
{
	struct answer a = {0};
	struct key key = key_named(name);
	redis_probe(redis, &key, on_done, &a);
	ck_assert_uint_eq(a.n, 0);
	expect(&a, status);
	ck_assert_ptr_null(a.value);
	return a;
}

START_TEST(probe_tells_size_and_ttl_without_the_value)
{
	told("SET a value");
	told("SET b longer PX 60000");
	told("SET empty %s", "");
	told("RPUSH list x");
	struct answer a = probe("a", REDIS_ANSWERED);
	ck_assert(a.number == 5 && a.ttl_ms == -1);
	a = probe("b", REDIS_ANSWERED);
	ck_assert(a.number == 6 && a.ttl_ms > 30000 && a.ttl_ms <= 60000);
	a = probe("empty", REDIS_ANSWERED);
	ck_assert(a.number == 0 && a.ttl_ms == -1);
	probe("missing", REDIS_NIL);
	probe("list", REDIS_WRONGTYPE);
}
END_TEST

/* ---- scanning ---- */

/* A scan for prefix, behind which each key has its number. */
struct scan_test {
	struct answer done;
	const char *prefix;
	unsigned n_keys;
	unsigned *found;                /* by number: how often a key came */
	unsigned n_batches;
	bool deletes;                   /* each batch as it comes */
	unsigned n_deleted;             /* batches */
};

static void on_scanned(void *arg, const struct redis_result *r)
{
	struct scan_test *t = arg;
	on_done(&t->done, r);
}

static void on_deleted(void *arg, const struct redis_result *r)
{
	struct scan_test *t = arg;
	ck_assert_int_eq(r->status, REDIS_ANSWERED);
	t->n_deleted++;
}

static void on_each(void *arg, const struct key *keys, size_t n)
{
	struct scan_test *t = arg;
	size_t prefix_len = strlen(t->prefix);
	ck_assert_uint_gt(n, 0);
	ck_assert_uint_eq(t->done.n, 0);
	t->n_batches++;
	for (size_t i = 0; i < n; i++) {
		char name[64];
		snprintf(name, sizeof(name), "%.*s", (int)keys[i].len, keys[i].data);
		struct key again = key_named(name);
		if (!key_equal(&again, &keys[i]) || strncmp(name, t->prefix, prefix_len) != 0)
			ck_abort_msg("%s came for %s", name, t->prefix);
		unsigned number = (unsigned)strtoul(name + prefix_len, NULL, 10);
		ck_assert_uint_lt(number, t->n_keys);
		t->found[number]++;
	}
	if (t->deletes)
		redis_delete(redis, keys, n, on_deleted, t);
}

/* Scans and expects each of the n_keys at least once. */
static void scan(struct scan_test *t)
{
	char *prefix = xstrdup(t->prefix);
	t->found = xcalloc(t->n_keys, sizeof(*t->found));
	redis_scan(redis, prefix, strlen(prefix), on_each, on_scanned, t);
	free(prefix);                           /* borrowed until the call returned */
	ck_assert_uint_eq(t->done.n, 0);
	expect(&t->done, REDIS_ANSWERED);
	for (unsigned i = 0; i < t->n_keys; i++)
		ck_assert_msg(t->found[i] >= 1, "%s%u did not come", t->prefix, i);
	free(t->found);
}

static void store_many(const char *prefix, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(redisAppendCommand(control, "SET %s%u x", prefix, i), REDIS_OK);
	for (unsigned i = 0; i < n; i++) {
		void *reply = NULL;
		ck_assert_int_eq(redisGetReply(control, &reply), REDIS_OK);
		freeReplyObject(reply);
	}
}

START_TEST(scan_brings_thousands_of_keys_and_no_others)
{
	store_many("models:provider:", 7000);
	store_many("models:gateway:", 3000);
	store_many("models", 500);
	struct scan_test t = {.prefix = "models:provider:", .n_keys = 7000};
	scan(&t);
	ck_assert_uint_gt(t.n_batches, 1);
	t = (struct scan_test){.prefix = "none:"};
	scan(&t);
	ck_assert_uint_eq(t.n_batches, 0);
}
END_TEST

/* Taken for a pattern each would match decoys, or not its own keys. */
START_TEST(prefix_is_not_taken_for_a_pattern)
{
	static const char *const prefixes[] = {"a*", "a?", "[ab]:", "[^b]:", "a\\*", "*", "?", "]", "^", "a-b:", "\\", "b[", "b\\"};
	static const char *const decoys[] = {"a", "ab", "aa", "a:", "b:", "c:", "-", "0", "x*", "x\\"};
	for (size_t i = 0; i < LEN(decoys); i++)
		store_many(decoys[i], 3);
	for (size_t i = 0; i < LEN(prefixes); i++)
		store_many(prefixes[i], 3);
	for (size_t i = 0; i < LEN(prefixes); i++) {
		struct scan_test t = {.prefix = prefixes[i], .n_keys = 3};
		scan(&t);
	}
}
END_TEST

START_TEST(keys_may_be_deleted_as_a_scan_brings_them)
{
	store_many("models:provider:", 5000);
	store_many("other:", 100);
	struct scan_test t = {.prefix = "models:provider:", .n_keys = 5000, .deletes = true};
	scan(&t);
	run_until(t.n_deleted == t.n_batches, LIMIT_MS);
	ck_assert_uint_eq(keys_stored(), 100);
}
END_TEST

/* ---- signing on ---- */

START_TEST(link_has_a_name)
{
	bring_up();
	redisReply *list = tell("CLIENT LIST");
	ck_assert_msg(strstr(list->str, " name=catcached "), "%s", list->str);
	freeReplyObject(list);
	ck_assert_str_eq(redis_reason(redis), "");
	ck_assert_uint_eq(redis_stats(redis)->connects, 1);
}
END_TEST

START_TEST(link_signs_on_with_its_password)
{
	told("SET a value");
	told("CONFIG SET requirepass secret");
	conf.password = "secret";
	bring_up();
	expect_read("a", "value");
}
END_TEST

START_TEST(link_signs_on_as_its_user)
{
	told("SET a value");
	told("ACL SETUSER gateway on >secret ~* +@all");
	told("CONFIG SET requirepass another");
	conf.user = "gateway";
	conf.password = "secret";
	bring_up();
	redisReply *list = tell("CLIENT LIST");
	ck_assert_msg(strstr(list->str, " user=gateway "), "%s", list->str);
	freeReplyObject(list);
	expect_read("a", "value");
}
END_TEST

/* The link stays down for this reason, in which the password is not. */
static void expect_refused(const char *reason)
{
	struct answer a = {0};
	open_link();
	run_until(strstr(redis_reason(redis), reason), LIMIT_MS);
	ck_assert(!redis_up(redis));
	start_read(&a, "a");
	expect(&a, REDIS_DOWN);
	ck_assert_msg(strstr(a.error, reason), "%s", a.error);
	ck_assert_ptr_null(strstr(a.error, "secret"));
	ck_assert_uint_eq(redis_stats(redis)->connects, 0);
}

START_TEST(wrong_password_is_the_reason_of_a_link_that_is_down)
{
	told("CONFIG SET requirepass another");
	conf.password = "secret";
	expect_refused("WRONGPASS");
	told("CONFIG SET requirepass secret");
	run_until(redis_up(redis), UP_AGAIN_MS);
	ck_assert_str_eq(redis_reason(redis), "");
}
END_TEST

START_TEST(missing_password_is_the_reason_of_a_link_that_is_down)
{
	told("CONFIG SET requirepass secret");
	expect_refused("NOAUTH");
}
END_TEST

START_TEST(link_uses_its_database)
{
	conf.db = 3;
	bring_up();
	write_key("a", "three", 0, REDIS_ALWAYS, REDIS_ANSWERED);
	expect_stored("a", NULL);
	told("SELECT 3");
	expect_stored("a", "three");
}
END_TEST

START_TEST(database_that_is_not_there_is_the_reason_of_a_link_that_is_down)
{
	conf.db = 99;
	expect_refused("out of range");
}
END_TEST

/* ---- a server that is away ---- */

START_TEST(calls_while_down_complete_at_once_but_from_the_loop)
{
	struct key key = key_named("a");
	struct value *v = text_value("value");
	struct scan_test t = {.prefix = "a"};
	struct answer a[5] = {0};
	open_link();
	run_until(redis_reason(redis)[0], LIMIT_MS);
	start_read(&a[0], "a");
	redis_write(redis, &key, v, 0, REDIS_ALWAYS, on_done, &a[1]);
	redis_delete(redis, &key, 1, on_done, &a[2]);
	redis_edit(redis, &key, &(struct redis_edit){.what = REDIS_EDIT_TTL, .ttl_ms = 1000}, on_done, &a[3]);
	redis_probe(redis, &key, on_done, &a[4]);
	redis_scan(redis, "a", 1, on_each, on_scanned, &t);
	ck_assert_uint_eq(a[0].n + a[1].n + a[2].n + a[3].n + a[4].n + t.done.n, 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	for (size_t i = 0; i < LEN(a); i++) {
		ck_assert_uint_eq(a[i].n, 1);
		ck_assert_int_eq(a[i].status, REDIS_DOWN);
		ck_assert_msg(strstr(a[i].error, "No such file"), "%s", a[i].error);
	}
	ck_assert(t.done.n == 1 && t.done.status == REDIS_DOWN);
	ck_assert_uint_eq(redis_stats(redis)->pending, 0);
	ck_assert_uint_eq(v->refs, 1);
	value_unref(v);
}
END_TEST

static unsigned calls_left;

static void on_down_call_again(void *arg, const struct redis_result *r)
{
	static unsigned depth;
	struct key key = key_named("a");
	ck_assert_int_eq(r->status, REDIS_DOWN);
	ck_assert_msg(depth++ == 0, "called from within its own call");
	if (calls_left-- > 1)
		redis_read(redis, &key, on_down_call_again, arg);
	depth--;
}

START_TEST(callback_may_call_again_while_down)
{
	struct key key = key_named("a");
	open_link();
	calls_left = 1000;
	redis_read(redis, &key, on_down_call_again, NULL);
	run_until(calls_left == 0, LIMIT_MS);
}
END_TEST

START_TEST(server_missing_at_the_start_is_found_when_it_comes)
{
	open_link();
	run_until(strstr(redis_reason(redis), "No such file"), LIMIT_MS);
	read_key("a", REDIS_DOWN);
	start_server(NULL);
	run_until(redis_up(redis), UP_AGAIN_MS);
	told("SET a value");
	expect_read("a", "value");
	ck_assert_uint_eq(redis_stats(redis)->drops, 0);
}
END_TEST

START_TEST(killed_server_is_noticed_at_once_and_found_again)
{
	struct answer outstanding[10] = {0};
	pause_server();                         /* so that the calls are outstanding */
	for (size_t i = 0; i < LEN(outstanding); i++)
		start_read(&outstanding[i], "a");
	event_base_loop(base, EVLOOP_NONBLOCK);
	kill_server();
	run_until(!redis_up(redis), 1000);
	ck_assert_str_ne(redis_reason(redis), "");
	for (size_t i = 0; i < LEN(outstanding); i++)
		expect(&outstanding[i], REDIS_DOWN);
	read_key("a", REDIS_DOWN);
	start_server(NULL);
	run_until(redis_up(redis), UP_AGAIN_MS);
	told("SET a value");
	expect_read("a", "value");
	ck_assert_uint_eq(redis_stats(redis)->drops, 1);
	ck_assert_uint_eq(redis_stats(redis)->connects, 2);
	for (size_t i = 0; i < LEN(outstanding); i++)
		ck_assert_uint_eq(outstanding[i].n, 1);
}
END_TEST

START_TEST(server_that_comes_and_goes_is_followed)
{
	for (unsigned i = 0; i < 5; i++) {
		kill_server();
		run_until(!redis_up(redis), 1000);
		start_server(NULL);
		run_until(redis_up(redis), UP_AGAIN_MS);
		read_key("a", REDIS_NIL);
	}
	ck_assert_uint_eq(redis_stats(redis)->drops, 5);
}
END_TEST

START_TEST(connection_closed_by_the_server_comes_back)
{
	struct answer outstanding = {0};
	told("SET a value");
	pause_server();
	start_read(&outstanding, "a");
	resume_server();
	told("CLIENT KILL TYPE normal SKIPME yes");
	run_until(outstanding.n, LIMIT_MS);     /* answered before, or lost */
	clear(&outstanding);
	run_until(redis_stats(redis)->connects == 2, UP_AGAIN_MS);
	expect_read("a", "value");
}
END_TEST

/* A link whose server hangs. */
static void setup_brisk_link(void)
{
	setup_server();
	conf.timeout_ms = conf.connect_timeout_ms = TIMEOUT_MS;
	bring_all_up();
}

/* Long enough for a loaded machine, and too short for a second time-out. */
static void expect_timed_out(struct answer *a, int64_t began_ms)
{
	expect(a, REDIS_DOWN);
	ck_assert_msg(strstr(a->error, "timed out"), "%s", a->error);
	ck_assert_int_ge(a->at_ms - began_ms, TIMEOUT_MS - 20);
	ck_assert_int_lt(a->at_ms - began_ms, 2 * TIMEOUT_MS);
}

START_TEST(calls_to_a_server_that_hangs_complete_soon_after_the_timeout)
{
	struct answer answers[100] = {0};
	struct scan_test t = {.prefix = "a"};
	told("SET a value");
	pause_server();
	int64_t began_ms = now_ms();
	for (size_t i = 0; i < LEN(answers); i++)
		start_read(&answers[i], "a");
	redis_scan(redis, "a", 1, on_each, on_scanned, &t);
	for (size_t i = 0; i < LEN(answers); i++)
		expect_timed_out(&answers[i], began_ms);
	expect_timed_out(&t.done, began_ms);
	ck_assert(!redis_up(redis));
	began_ms = now_ms();
	read_key("a", REDIS_DOWN);
	ck_assert_int_lt(now_ms() - began_ms, TIMEOUT_MS);
	ck_assert_uint_eq(redis_stats(redis)->timeouts, 1);
	ck_assert_uint_eq(redis_stats(redis)->pending, 0);
	resume_server();
	run_until(redis_up(redis), UP_AGAIN_MS);
	expect_read("a", "value");
	for (size_t i = 0; i < LEN(answers); i++)
		ck_assert_uint_eq(answers[i].n, 1);     /* late replies are no answers */
}
END_TEST

START_TEST(each_call_has_its_own_timeout)
{
	struct answer first = {0}, second = {0};
	pause_server();
	int64_t began_ms = now_ms();
	start_read(&first, "a");
	run_until(now_ms() >= began_ms + TIMEOUT_MS / 2, LIMIT_MS);
	start_read(&second, "a");
	expect_timed_out(&first, began_ms);
	expect(&second, REDIS_DOWN);            /* the connection is gone for all */
	ck_assert_int_lt(second.at_ms - began_ms, 2 * TIMEOUT_MS);
	resume_server();
}
END_TEST

/* The deadline of connecting is not that of the calls behind it. */
START_TEST(timeout_of_calls_holds_from_the_first_call_on)
{
	struct answer a = {0};
	redis_free(redis);
	conf.connect_timeout_ms = LIMIT_MS;
	bring_up();
	pause_server();
	int64_t began_ms = now_ms();
	start_read(&a, "a");
	expect_timed_out(&a, began_ms);
	resume_server();
}
END_TEST

/* It accepts, as the system does for it, and says nothing. */
START_TEST(server_that_hangs_while_connecting_is_tried_again)
{
	kill_server();
	run_until(!redis_up(redis), 1000);
	start_server(NULL);
	pause_server();
	run_until(redis_stats(redis)->timeouts >= 2 && strstr(redis_reason(redis), "timed out"), LIMIT_MS);
	resume_server();
	run_until(redis_up(redis), UP_AGAIN_MS);
	read_key("a", REDIS_NIL);
}
END_TEST

START_TEST(idle_link_does_not_time_out)
{
	read_key("a", REDIS_NIL);
	int64_t began_ms = now_ms();
	run_until(now_ms() >= began_ms + 3 * TIMEOUT_MS, LIMIT_MS);
	ck_assert(redis_up(redis));
	ck_assert_uint_eq(redis_stats(redis)->timeouts, 0);
	read_key("a", REDIS_NIL);
}
END_TEST

/* ---- ending ---- */

START_TEST(free_completes_each_outstanding_call_once)
{
	struct key key = key_named("a");
	struct value *v = random_value(10 << 20, 1);
	struct scan_test t = {.prefix = "a"};
	struct answer a[6] = {0};
	pause_server();
	start_read(&a[0], "a");
	redis_write(redis, &key, v, 0, REDIS_ALWAYS, on_done, &a[1]);
	redis_delete(redis, &key, 1, on_done, &a[2]);
	event_base_loop(base, EVLOOP_NONBLOCK);         /* partly sent */
	redis_edit(redis, &key, &(struct redis_edit){.what = REDIS_EDIT_TTL, .ttl_ms = 1000}, on_done, &a[3]);
	redis_probe(redis, &key, on_done, &a[4]);
	redis_scan(redis, "a", 1, on_each, on_scanned, &t);
	redis_free(redis);
	redis = NULL;
	for (size_t i = 0; i < 5; i++)
		ck_assert_msg(a[i].n == 1 && a[i].status == REDIS_DOWN && a[i].error[0], "call %zu: %u answers", i, a[i].n);
	ck_assert(t.done.n == 1 && t.done.status == REDIS_DOWN);
	event_base_loop(base, EVLOOP_NONBLOCK);
	for (size_t i = 0; i < 5; i++)
		ck_assert_uint_eq(a[i].n, 1);
	value_unref(v);
}
END_TEST

START_TEST(free_of_a_link_that_is_down_completes_what_it_refused)
{
	struct answer a = {0};
	open_link();
	start_read(&a, "a");
	redis_free(redis);
	redis = NULL;
	ck_assert(a.n == 1 && a.status == REDIS_DOWN);
	redis_free(NULL);
}
END_TEST

START_TEST(link_may_be_freed_in_any_state)
{
	for (unsigned turns = 0; turns < 20; turns++) {
		open_link();
		for (unsigned i = 0; i < turns && !redis_up(redis); i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
		redis_free(redis);
		redis = NULL;
	}
}
END_TEST

/* ---- a server that is none ---- */

/* Answers the first two things it reads, the handshake's end and the PING, with OK and with
 * pong; the next with text, at once or a byte a tick. That is for the link of the commands: the other
 * links of a struct redis are turned away. */
static struct {
	struct evconnlistener *listener;
	struct event *readable, *pace, *pause;
	const char *pong, *text;
	const char *late;               /* what will be sent after delay_ms */
	int delay_ms;
	bool trickles, closes;          /* after the text */
	unsigned n_connections, n_reads;
	unsigned n_others;              /* turned away */
	size_t sent;
} fake;

static void on_fake_pace(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (fake.text[fake.sent] == '\0' || send(event_get_fd(fake.readable), fake.text + fake.sent++, 1, MSG_NOSIGNAL) < 0)
		event_del(fake.pace);
}

static void on_fake_pause(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (fake.readable)
		(void)!send(event_get_fd(fake.readable), fake.late, strlen(fake.late), MSG_NOSIGNAL); /* it may be gone */
}

static void on_fake_readable(evutil_socket_t fd, short what, void *arg)
{
	char bytes[65536];
	(void)what, (void)arg;
	if (recv(fd, bytes, sizeof(bytes), 0) <= 0) {
		event_del(fake.readable);
		return;
	}
	bool is_handshake = fake.n_reads < 2;
	const char *text = fake.n_reads == 0 ? "+OK\r\n" : fake.n_reads == 1 ? fake.pong : fake.text;
	fake.n_reads++;
	if (fake.delay_ms) {
		fake.late = text;
		event_add(fake.pause, &(struct timeval){.tv_usec = fake.delay_ms * 1000});
	} else if (!is_handshake && fake.trickles)
		event_add(fake.pace, &(struct timeval){.tv_usec = TICK_MS * 1000});
	else if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 || (!is_handshake && fake.closes))
		shutdown(fd, SHUT_RDWR);
}

static void drop_fake_connection(void)
{
	if (!fake.readable)
		return;
	close(event_get_fd(fake.readable));
	event_free(fake.readable);
	fake.readable = NULL;
}

/* What a new connection says first tells whose it is: it gives its name. */
static void on_fake_greeting(evutil_socket_t fd, short what, void *arg)
{
	char bytes[4096];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK);
	(void)what, (void)arg;
	if (n <= 0 || memmem(bytes, (size_t)n, "catcached-", 10)) {
		fake.n_others++;
		close(fd);
		return;
	}
	drop_fake_connection();
	fake.n_connections++;
	fake.n_reads = 0;
	fake.readable = event_new(base, fd, EV_READ | EV_PERSIST, on_fake_readable, NULL);
	event_add(fake.readable, NULL);
}

static void on_fake_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int from_len, void *arg)
{
	(void)listener, (void)from, (void)from_len, (void)arg;
	event_base_once(base, fd, EV_READ, on_fake_greeting, NULL, NULL);
}

/* The link goes to a free port of this host, by its name. */
static void setup_fake(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	setup();
	memset(&fake, 0, sizeof(fake));
	fake.pong = "+PONG\r\n";
	fake.text = "";
	fake.pace = event_new(base, -1, EV_PERSIST, on_fake_pace, NULL);
	fake.pause = evtimer_new(base, on_fake_pause, NULL);
	fake.listener = evconnlistener_new_bind(base, on_fake_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1,
		(struct sockaddr *)&at, sizeof(at));
	ck_assert_ptr_nonnull(fake.listener);
	ck_assert_int_eq(getsockname(evconnlistener_get_fd(fake.listener), (struct sockaddr *)&at, &len), 0);
	free(conf.unix_path);
	conf.unix_path = NULL;
	conf.host = "localhost";
	conf.port = ntohs(at.sin_port);
	conf.timeout_ms = conf.connect_timeout_ms = TIMEOUT_MS;
}

static void teardown_fake(void)
{
	redis_free(redis);
	redis = NULL;
	drop_fake_connection();
	event_free(fake.pace);
	event_free(fake.pause);
	evconnlistener_free(fake.listener);
	teardown();
}

START_TEST(server_is_found_by_name_over_tcp)
{
	fake.text = "$5\r\nvalue\r\n:60000\r\n";
	bring_up();
	expect_read("a", "value");
}
END_TEST

START_TEST(name_that_is_not_known_is_the_reason_of_a_link_that_is_down)
{
	conf.host = "no..such.host";            /* no name at all, so that no resolver is asked */
	open_link();
	run_until(strcmp(redis_reason(redis), "not connected yet") != 0, LIMIT_MS);
	ck_assert(!redis_up(redis));
	read_key("a", REDIS_DOWN);
}
END_TEST

START_TEST(link_may_be_freed_while_its_name_is_looked_up)
{
	struct answer a = {0};
	open_link();
	start_read(&a, "a");
	redis_free(redis);
	redis = NULL;
	ck_assert(a.n == 1 && a.status == REDIS_DOWN);
}
END_TEST

/* In all it takes longer than a call may wait for a byte. */
/* It serves, but slower than the timeout: each command would wait in vain. */
START_TEST(server_slower_than_the_timeout_does_not_come_up)
{
	conf.connect_timeout_ms = LIMIT_MS;
	fake.delay_ms = TIMEOUT_MS * 3 / 2;
	redis = redis_new(base, &conf, &watch);
	run_until(redis_stats(redis)->timeouts >= 3, LIMIT_MS);
	ck_assert(!redis_up(redis));
	ck_assert_uint_eq(redis_stats(redis)->connects, 0);
	ck_assert_uint_eq(fake.n_others, 0);
	fake.delay_ms = 0;
	run_until(redis_up(redis), LIMIT_MS);
}
END_TEST

START_TEST(server_that_serves_nobody_is_tried_by_one_connection_alone)
{
	fake.pong = "-LOADING Redis is loading the dataset in memory\r\n";
	redis = redis_new(base, &conf, &watch);
	run_until(fake.n_connections >= 4, LIMIT_MS);
	ck_assert(!redis_up(redis));
	ck_assert_msg(strstr(redis_reason(redis), "LOADING"), "%s", redis_reason(redis));
	ck_assert_uint_eq(fake.n_others, 0);
	fake.pong = "-MISCONF what can be read is good\r\n";
	run_until(redis_up(redis), LIMIT_MS);
	run_until(fake.n_others, LIMIT_MS);
}
END_TEST

START_TEST(reply_that_trickles_in_takes_its_time)
{
	enum { BYTES = 300 };
	char text[BYTES + 32];
	int n = snprintf(text, sizeof(text), "$%d\r\n%0*d\r\n:60000\r\n", BYTES, BYTES, 7);
	ck_assert_uint_lt((size_t)n, sizeof(text));
	fake.text = text;
	fake.trickles = true;
	conf.timeout_ms = BYTES * TICK_MS * 2 / 3;
	bring_up();
	int64_t began_ms = now_ms();
	struct answer a = read_key("a", REDIS_ANSWERED);
	ck_assert_uint_eq(a.value->len, BYTES);
	ck_assert_int_gt(a.at_ms - began_ms, conf.timeout_ms);
	clear(&a);
}
END_TEST

START_TEST(reply_that_never_ends_is_cut_off)
{
	char *text = xmalloc(100001);
	memset(text, 'x', 100000);
	memcpy(text, "$90000\r\n", 8);
	text[100000] = '\0';
	fake.text = text;
	fake.trickles = true;
	conf.timeout_ms = 100;
	bring_up();
	int64_t began_ms = now_ms();
	struct answer a = read_key("a", REDIS_DOWN);
	ck_assert_msg(strstr(a.error, "timed out"), "%s", a.error);
	ck_assert_int_lt(a.at_ms - began_ms, 10000);
	free(text);
}
END_TEST

START_TEST(reply_that_is_none_drops_the_link)
{
	static const char *const texts[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "\r\n\r\n", "$-5\r\n"};
	bring_up();
	for (size_t i = 0; i < LEN(texts); i++) {
		fake.text = texts[i];
		unsigned connections = fake.n_connections;
		struct answer a = read_key("a", REDIS_DOWN);
		ck_assert_str_ne(a.error, "");
		run_until(fake.n_connections > connections && redis_up(redis), UP_AGAIN_MS);
	}
}
END_TEST

START_TEST(connection_lost_between_the_replies_of_one_call_is_one_answer)
{
	static const char *const texts[] = {"$5\r\nvalue\r\n", "$5\r\nval", "$20000\r\nval", ""};
	bring_up();
	fake.closes = true;
	for (size_t i = 0; i < LEN(texts); i++) {
		fake.text = texts[i];
		struct answer a = {0};
		start_read(&a, "a");
		run_until(a.n, LIMIT_MS);
		ck_assert_int_eq(a.status, REDIS_DOWN);
		clear(&a);
		run_until(redis_up(redis), UP_AGAIN_MS);
		ck_assert_uint_eq(a.n, 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("redis");
	TCase *tc = tcase_create("commands");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_link, teardown);
	tcase_add_test(tc, read_brings_the_value_and_what_is_left_of_its_ttl);
	tcase_add_test(tc, read_of_a_value_without_ttl_says_so);
	tcase_add_test(tc, read_of_nothing_is_nil);
	tcase_add_test(tc, read_of_another_type_says_so_and_harms_nothing);
	tcase_add_test(tc, read_is_one_get_and_one_pttl);
	tcase_add_test(tc, values_of_any_bytes_come_as_they_are);
	tcase_add_test(tc, thousands_of_reads_at_once_are_each_answered_in_order);
	tcase_add_test(tc, write_stores_the_value_and_its_ttl);
	tcase_add_test(tc, write_happens_only_on_its_condition);
	tcase_add_test(tc, writes_and_reads_keep_their_order);
	tcase_add_test(tc, values_of_any_size_go_there_and_back_unchanged);
	tcase_add_test(tc, refusal_of_the_server_is_an_error_with_its_text);
	tcase_add_test(tc, delete_of_many_keys_is_one_command);
	tcase_add_test(tc, expire_says_whether_the_key_is_there);
	tcase_add_test(tc, edit_takes_a_stale_value_for_absent);
	tcase_add_test(tc, set_takes_a_stale_value_for_absent);
	tcase_add_test(tc, plain_set_is_no_script);
	tcase_add_test(tc, probe_tells_size_and_ttl_without_the_value);
	tcase_add_test(tc, scan_brings_thousands_of_keys_and_no_others);
	tcase_add_test(tc, prefix_is_not_taken_for_a_pattern);
	tcase_add_test(tc, keys_may_be_deleted_as_a_scan_brings_them);
	tcase_add_test(tc, killed_server_is_noticed_at_once_and_found_again);
	tcase_add_test(tc, server_that_comes_and_goes_is_followed);
	tcase_add_test(tc, connection_closed_by_the_server_comes_back);
	tcase_add_test(tc, free_completes_each_outstanding_call_once);
	suite_add_tcase(suite, tc);

	tc = tcase_create("signing on");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_server, teardown);
	tcase_add_test(tc, link_has_a_name);
	tcase_add_test(tc, link_signs_on_with_its_password);
	tcase_add_test(tc, link_signs_on_as_its_user);
	tcase_add_test(tc, wrong_password_is_the_reason_of_a_link_that_is_down);
	tcase_add_test(tc, missing_password_is_the_reason_of_a_link_that_is_down);
	tcase_add_test(tc, link_uses_its_database);
	tcase_add_test(tc, database_that_is_not_there_is_the_reason_of_a_link_that_is_down);
	tcase_add_test(tc, link_may_be_freed_in_any_state);
	suite_add_tcase(suite, tc);

	tc = tcase_create("missing server");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, calls_while_down_complete_at_once_but_from_the_loop);
	tcase_add_test(tc, callback_may_call_again_while_down);
	tcase_add_test(tc, server_missing_at_the_start_is_found_when_it_comes);
	tcase_add_test(tc, free_of_a_link_that_is_down_completes_what_it_refused);
	suite_add_tcase(suite, tc);

	tc = tcase_create("server that hangs");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_brisk_link, teardown);
	tcase_add_test(tc, calls_to_a_server_that_hangs_complete_soon_after_the_timeout);
	tcase_add_test(tc, each_call_has_its_own_timeout);
	tcase_add_test(tc, timeout_of_calls_holds_from_the_first_call_on);
	tcase_add_test(tc, server_that_hangs_while_connecting_is_tried_again);
	tcase_add_test(tc, idle_link_does_not_time_out);
	suite_add_tcase(suite, tc);

	tc = tcase_create("fake server");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_fake, teardown_fake);
	tcase_add_test(tc, server_is_found_by_name_over_tcp);
	tcase_add_test(tc, name_that_is_not_known_is_the_reason_of_a_link_that_is_down);
	tcase_add_test(tc, link_may_be_freed_while_its_name_is_looked_up);
	tcase_add_test(tc, server_slower_than_the_timeout_does_not_come_up);
	tcase_add_test(tc, server_that_serves_nobody_is_tried_by_one_connection_alone);
	tcase_add_test(tc, reply_that_trickles_in_takes_its_time);
	tcase_add_test(tc, reply_that_never_ends_is_cut_off);
	tcase_add_test(tc, reply_that_is_none_drops_the_link);
	tcase_add_test(tc, connection_lost_between_the_replies_of_one_call_is_one_answer);
	suite_add_tcase(suite, tc);

	return redisd_main(suite);
}
