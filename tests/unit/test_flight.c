/* Flights over the real memory tier and tiers, with Redis off (or a link that is down,
 * where a test says so). The source is a fake, which the Makefile links in place of
 * fetch_start and fetch_run_by. */
#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../daemon/check.h"
#include "../../daemon/clock.h"
#include "../../daemon/fetch.h"
#include "../../daemon/flight.h"
#include "../../daemon/history.h"
#include "../../daemon/log.h"
#include "../../daemon/redis.h"
#include "../../daemon/replay.h"
#include "../../daemon/tiers.h"
#include "../../daemon/value.h"
#include "../../daemon/worker.h"
#include "../../proto/buf.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define FAKE_GROUP 4711                 /* the process group of the first fake fetch */
#define SLACK_MS 5000                   /* that may pass by itself on a busy machine */
#define LARGE (CHECK_INLINE_MAX * 4)    /* bytes of JSON that a worker checks */

static const char text[] =
	"listen: {path: /s}\n"
	"memory: {limit: 4M}\n"
	"redis: {url: 'unix:///nonexistent/redis.sock', timeout: 250ms}\n"
	"types:\n"
	"  plain: {key: 'plain:{name}', ttl: 100s, fetch: {exec: [/x], timeout: 20s}}\n"
	"  brisk: {key: 'brisk:{name}', ttl: 100s, fetch: {exec: [/x], timeout: 2s}}\n"
	"  exact: {key: 'exact', ttl: 100s, fetch: {exec: [/x]}}\n"
	"  json: {key: 'json:{name}', ttl: 100s, format: json, refuse_empty: true, fetch: {exec: [/x]}}\n"
	"  negative: {key: 'negative:{name}', ttl: 100s, negative_ttl: 30s, fetch: {exec: [/x]}}\n"
	"  small: {key: 'small:{name}', ttl: 100s, max_value: 1K, fetch: {exec: [/x]}}\n"
	"  endless: {key: 'endless:{name}', ttl: none, fetch: {exec: [/x]}}\n"
	"  stale: {key: 'stale:{name}', ttl: 100s, stale_while_revalidate: 20s, stale_if_error: 50s, fetch: {exec: [/x], timeout: 20s}}\n"
	"  soft: {key: 'soft:{name}', ttl: 100s, stale_if_error: 50s, fetch: {exec: [/x], timeout: 20s, soft_timeout: 100ms}}\n"
	"  list: {key: 'list:{name}', ttl: 100s, format: json, max_shrink: 50%, stale_if_error: 1h, fetch: {exec: [/x], timeout: 20s}}\n"
	"  bytes: {key: 'bytes:{name}', ttl: 100s, max_shrink: 50%, fetch: {exec: [/x], timeout: 20s}}\n"
	"  unfetched: {key: 'unfetched:{name}', ttl: 100s}\n";

static struct event_base *base;
static struct conf *conf;
static struct tiers tiers;
static struct history *history;
static struct replay *replay;
static struct flights *flights;

/* ---- the source ---- */

struct fake {
	const struct conf_type *type;
	char name[32];
	fetch_done_fn done;
	void *arg;
};

static struct fake fakes[FLIGHTS_MAX + 100];    /* in the order they were started */
static size_t n_fakes;

void __wrap_fetch_start(struct fetcher *f, const struct conf_type *type, const char *name, fetch_done_fn done, void *arg);
const struct fetch_order *__wrap_fetch_run_by(const struct fetcher *f, pid_t group);

void __wrap_fetch_start(struct fetcher *f, const struct conf_type *type, const char *name, fetch_done_fn done, void *arg)
{
	ck_assert_ptr_eq(f, (struct fetcher *)fakes);
	if (n_fakes == LEN(fakes))
		ck_abort_msg("fetches without end");
	struct fake *fake = &fakes[n_fakes++];
	*fake = (struct fake){.type = type, .done = done, .arg = arg};
	snprintf(fake->name, sizeof(fake->name), "%s", name);
}

/* Each fake fetch has a process group of its own. */
static pid_t group_of(size_t i)
{
	return FAKE_GROUP + (pid_t)i;
}

const struct fetch_order *__wrap_fetch_run_by(const struct fetcher *f, pid_t group)
{
	static struct fetch_order order;
	ck_assert_ptr_eq(f, (struct fetcher *)fakes);
	for (size_t i = 0; i < n_fakes; i++)
		if (fakes[i].done && group == group_of(i)) {
			order = (struct fetch_order){.type = fakes[i].type, .name = fakes[i].name};
			return &order;
		}
	return NULL;
}

static void complete(size_t i, const struct fetch_result *result)
{
	ck_assert_uint_lt(i, n_fakes);
	fetch_done_fn done = fakes[i].done;
	ck_assert_msg(done, "fetch %zu is over", i);
	fakes[i].done = NULL;
	done(fakes[i].arg, result);
}

static void bring_value(size_t i, struct value *v)
{
	complete(i, &(struct fetch_result){.status = FETCH_FOUND, .value = v});
}

static void bring(size_t i, const char *bytes)
{
	struct value *v = value_copy(bytes, strlen(bytes));
	bring_value(i, v);
	value_unref(v);
}

static void bring_nothing(size_t i)
{
	complete(i, &(struct fetch_result){.status = FETCH_ABSENT});
}

static void bring_failure(size_t i, const char *reason)
{
	struct fetch_result result = {.status = FETCH_FAILED};
	snprintf(result.error, sizeof(result.error), "%s", reason);
	complete(i, &result);
}

/* ---- readers ---- */

struct reader {
	unsigned answers;
	struct outcome outcome;         /* its value is a reference, its error a copy */
	char error[400];
	void (*then)(struct reader *r); /* called from within the answer */
	struct reader *next;            /* for then */
};

static void on_outcome(void *arg, const struct outcome *o)
{
	struct reader *r = arg;
	r->answers++;
	r->outcome = *o;
	if (o->value)
		value_ref(o->value);
	snprintf(r->error, sizeof(r->error), "%s", o->error ? o->error : "");
	r->outcome.error = r->error;
	if (r->then)
		r->then(r);
}

static struct key key_named(const char *name)
{
	return key_of(name, strlen(name));
}

/* The bytes of the key are gone when the call returns: the flight must have its own. */
static void begin_from(pid_t group, struct reader *r, const char *name, enum read_mode mode)
{
	char *bytes = xstrdup(name);
	struct key key = key_named(bytes);
	flights_read(flights, tiers_type(&tiers, &key), &key, &(struct read_order){.mode = mode, .group = group,
		.done = on_outcome, .arg = r});
	free(bytes);
}

static void begin(struct reader *r, const char *name, enum read_mode mode)
{
	begin_from(-1, r, name, mode);
}

static void done_with(struct reader *r)
{
	value_unref(r->outcome.value);
	*r = (struct reader){0};
}

static void expect_nothing_yet(const struct reader *r)
{
	ck_assert_uint_eq(r->answers, 0);
}

static void expect_found(struct reader *r, const char *bytes, const char *tier)
{
	ck_assert_uint_eq(r->answers, 1);
	ck_assert_msg(r->outcome.status == OUTCOME_FOUND, "status %d, %s", r->outcome.status, r->error);
	const struct value *v = r->outcome.value;
	ck_assert_msg(v->len == strlen(bytes) && memcmp(v->data, bytes, v->len) == 0, "%.*s instead of %s", (int)v->len, v->data, bytes);
	ck_assert_str_eq(r->outcome.tier, tier);
	done_with(r);
}

static void expect_absent(struct reader *r)
{
	ck_assert_uint_eq(r->answers, 1);
	ck_assert_msg(r->outcome.status == OUTCOME_ABSENT, "status %d, %s", r->outcome.status, r->error);
	ck_assert_ptr_null(r->outcome.value);
	done_with(r);
}

/* The error begins with code and has part in it. */
static void expect_failed(struct reader *r, const char *code, const char *part)
{
	ck_assert_uint_eq(r->answers, 1);
	ck_assert_int_eq(r->outcome.status, OUTCOME_ERROR);
	ck_assert_msg(strncmp(r->error, code, strlen(code)) == 0 && strstr(r->error, part), "%s", r->error);
	ck_assert_ptr_null(r->outcome.value);
	done_with(r);
}

/* ---- the tiers ---- */

static const struct memory_entry *entry_of(const char *name)
{
	struct key key = key_named(name);
	return memory_peek(tiers.memory, &key, clock_ms());
}

static void expect_in_memory(const char *name, const char *bytes)
{
	const struct memory_entry *e = entry_of(name);
	ck_assert_msg(e && memory_value(e), "%s is not in memory", name);
	ck_assert(memory_value(e)->len == strlen(bytes) && memcmp(memory_value(e)->data, bytes, memory_value(e)->len) == 0);
}

static const struct type_counters *counters_of(const char *name)
{
	struct key key = key_named(name);
	return tiers_count(&tiers, tiers_type(&tiers, &key));
}

/* What DEL does before it asks Redis. */
static void change(const char *name)
{
	struct key key = key_named(name);
	tiers_forget(&tiers, &key);
}

/* What SET does. ttl_ms may be negative: it is stale already. */
static void write_for(const char *name, const char *bytes, int64_t ttl_ms)
{
	struct key key = key_named(name);
	struct value *v = value_copy(bytes, strlen(bytes));
	tiers_forget(&tiers, &key);
	ck_assert_int_eq(tiers_remember(&tiers, tiers_type(&tiers, &key), &key, v, ttl_ms, SOURCE_CLIENT, tiers.epoch), 0);
	value_unref(v);
}

static void write_value(const char *name, const char *bytes)
{
	write_for(name, bytes, 100000);
}

static void begin_refresh(const char *name)
{
	char *bytes = xstrdup(name);
	struct key key = key_named(bytes);
	flights_refresh(flights, tiers_type(&tiers, &key), &key);
	free(bytes);
}

/* Runs the loop until r has an answer; the sweep of deadlines wakes it ten times a second. */
static void run_until_answered(const struct reader *r)
{
	for (unsigned turns = 0; turns < 100 && r->answers == 0; turns++)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_uint_eq(r->answers, 1);
}

static void on_change(void *arg, const struct key *key)
{
	(void)arg, (void)key;
}

static void on_event(void *arg)
{
	(void)arg;
}

static void on_coherence(void *arg, enum coherence now)
{
	(void)arg, (void)now;
}

static const struct redis_watch watch = {.on_change = on_change, .on_flush = on_event,
	.on_coherence = on_coherence, .on_up = on_event};

static struct conf *load(void)
{
	struct conf_errors errors = {0};
	char file[64];
	int fd = memfd_create("conf", 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
	struct conf *loaded = conf_load(file, &errors);
	ck_assert_msg(loaded, "%s", errors.n ? errors.lines[0] : "");
	conf_errors_free(&errors);
	close(fd);
	return loaded;
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	clock_update();
	n_fakes = 0;
	base = event_base_new();
	conf = load();
	tiers_init(&tiers, conf, tiers_new_memory(conf));
	tiers.cpu = workers_new(base, "cpu", 2, 100);
	history = history_new();
	replay = replay_new(conf->n_types + 1);
	flights = flights_new(base, &tiers, history, replay);
	flights_set_fetcher(flights, (struct fetcher *)fakes);
}

/* However a test went: no flight, no waiter and no fence is left behind. */
static void teardown(void)
{
	redis_free(tiers.redis);
	workers_free(tiers.cpu);
	ck_assert_uint_eq(flights_count(flights), 0);
	ck_assert_uint_eq(flights_waiting(flights), 0);
	ck_assert_uint_eq(tiers.fences.map.count, 0);
	flights_free(flights);
	history_free(history);
	replay_free(replay);
	memory_free(tiers.memory);
	tiers_fini(&tiers);
	conf_free(conf);
	event_base_free(base);
}

/* ---- reading ---- */

START_TEST(many_readers_share_one_fetch)
{
	struct reader readers[50] = {0};
	for (size_t i = 0; i < LEN(readers); i++)
		begin(&readers[i], "plain:a", READ_GET);
	ck_assert_uint_eq(n_fakes, 1);
	ck_assert_uint_eq(flights_count(flights), 1);
	ck_assert_uint_eq(flights_waiting(flights), LEN(readers));
	ck_assert_str_eq(fakes[0].type->name, "plain");
	ck_assert_str_eq(fakes[0].name, "a");
	for (size_t i = 0; i < LEN(readers); i++)
		expect_nothing_yet(&readers[i]);
	struct value *v = value_copy("value", 5);
	bring_value(0, v);
	ck_assert_uint_eq(v->refs, 1 + LEN(readers));   /* ours, and one a reader */
	for (size_t i = 0; i < LEN(readers); i++) {
		ck_assert_int_eq(readers[i].outcome.ttl_ms, 100000);
		ck_assert_int_eq(readers[i].outcome.source, SOURCE_FETCH);
		expect_found(&readers[i], "value", "fetch");
	}
	ck_assert_uint_eq(v->refs, 1);
	value_unref(v);
	expect_in_memory("plain:a", "value");
	ck_assert_int_eq(entry_of("plain:a")->expires_ms, clock_ms() + 100000);
	ck_assert_uint_eq(counters_of("plain:a")->fetches, 1);
	ck_assert_uint_eq(counters_of("plain:a")->fetched, 1);
}
END_TEST

START_TEST(value_in_memory_is_answered_without_a_fetch)
{
	struct reader r = {0};
	write_value("plain:a", "value");
	begin(&r, "plain:a", READ_GET);
	ck_assert_int_eq(r.outcome.source, SOURCE_CLIENT);
	ck_assert(r.outcome.ttl_ms > 90000 && r.outcome.ttl_ms <= 100000);
	expect_found(&r, "value", "memory");
	ck_assert_uint_eq(n_fakes, 0);
}
END_TEST

START_TEST(each_key_has_a_fetch_of_its_own)
{
	struct reader a = {0}, b = {0}, exact = {0};
	begin(&a, "plain:a", READ_GET);
	begin(&b, "plain:b", READ_GET);
	begin(&exact, "exact", READ_GET);
	ck_assert_uint_eq(n_fakes, 3);
	ck_assert_str_eq(fakes[1].name, "b");
	ck_assert_str_eq(fakes[2].name, "");
	bring(1, "B");
	expect_nothing_yet(&a);
	expect_found(&b, "B", "fetch");
	bring(2, "E");
	bring(0, "A");
	expect_found(&a, "A", "fetch");
	expect_found(&exact, "E", "fetch");
}
END_TEST

START_TEST(value_of_a_type_without_ttl_has_no_end)
{
	struct reader r = {0};
	begin(&r, "endless:a", READ_GET);
	bring(0, "value");
	ck_assert_int_eq(r.outcome.ttl_ms, -1);
	expect_found(&r, "value", "fetch");
	ck_assert_int_eq(entry_of("endless:a")->expires_ms, MEMORY_FOREVER);
}
END_TEST

START_TEST(type_without_fetch_answers_absent_and_remembers_nothing)
{
	struct reader r = {0};
	begin(&r, "unfetched:a", READ_GET);
	expect_absent(&r);
	ck_assert_uint_eq(memory_entries(tiers.memory), 0);
	ck_assert_uint_eq(n_fakes, 0);
}
END_TEST

START_TEST(key_of_no_type_without_redis_is_an_error_that_says_so)
{
	struct reader r = {0};
	begin(&r, "other", READ_GET);
	expect_failed(&r, "UNAVAILABLE redis: ", "Redis is off");
}
END_TEST

/* ---- peeking ---- */

START_TEST(peek_does_not_fetch)
{
	struct reader r = {0};
	begin(&r, "plain:a", READ_PEEK);
	expect_absent(&r);
	ck_assert_uint_eq(n_fakes, 0);
	write_value("plain:a", "value");
	begin(&r, "plain:a", READ_PEEK);
	expect_found(&r, "value", "memory");
}
END_TEST

/* A fetch may take seconds; who only peeks does not want to wait for it. */
START_TEST(peek_does_not_wait_for_a_fetch_under_way)
{
	struct reader get = {0}, peek = {0};
	begin(&get, "plain:a", READ_GET);
	begin(&peek, "plain:a", READ_PEEK);
	unsigned answers = peek.answers;
	enum outcome_status status = peek.outcome.status;
	bring(0, "value");
	done_with(&get);
	done_with(&peek);
	ck_assert_msg(answers == 1, "no answer while the fetch is under way");
	ck_assert_int_eq(status, OUTCOME_ABSENT);
}
END_TEST

/* The same when a DEL came meanwhile: the fetch is as slow as before. */
START_TEST(peek_after_a_change_does_not_wait_for_the_fetch_before_it)
{
	struct reader get = {0}, peek = {0};
	begin(&get, "plain:a", READ_GET);
	change("plain:a");
	begin(&peek, "plain:a", READ_PEEK);
	unsigned answers = peek.answers;
	bring(0, "old");
	bring(1, "new");
	expect_found(&get, "new", "fetch");
	done_with(&peek);
	ck_assert_msg(answers == 1, "no answer while the fetch is under way");
}
END_TEST

/* A refresh fetches what the tiers may well have. Here memory has it; in the daemon,
 * where memory is asked first, it is Redis that has what memory has evicted. */
START_TEST(peek_during_a_refresh_gets_what_the_tiers_have)
{
	struct reader refresh = {0}, peek = {0};
	write_value("plain:a", "old");
	begin(&refresh, "plain:a", READ_REFRESH);
	begin(&peek, "plain:a", READ_PEEK);
	unsigned answers = peek.answers;
	enum outcome_status status = peek.outcome.status;
	bring(0, "new");
	expect_found(&refresh, "new", "fetch");
	done_with(&peek);
	ck_assert_msg(answers == 1, "no answer while the fetch is under way");
	ck_assert_int_eq(status, OUTCOME_FOUND);
}
END_TEST

START_TEST(peek_that_waits_for_redis_is_answered_before_the_fetch)
{
	struct reader get = {0}, peek = {0};
	tiers.redis = redis_new(base, &conf->redis, &watch);    /* down, which it says from the loop */
	begin(&get, "plain:a", READ_GET);
	begin(&peek, "plain:a", READ_PEEK);
	expect_nothing_yet(&peek);
	run_until_answered(&peek);
	expect_absent(&peek);
	expect_nothing_yet(&get);
	ck_assert_uint_eq(n_fakes, 1);
	bring(0, "value");
	expect_found(&get, "value", "fetch");
}
END_TEST

START_TEST(redis_that_is_down_is_no_end_for_a_declared_key)
{
	struct reader r = {0}, other = {0};
	tiers.redis = redis_new(base, &conf->redis, &watch);
	begin(&r, "plain:a", READ_GET);
	begin(&other, "other", READ_GET);
	run_until_answered(&other);
	expect_failed(&other, "UNAVAILABLE redis: ", "");
	ck_assert_uint_eq(n_fakes, 1);
	bring(0, "value");
	expect_found(&r, "value", "fetch");
	expect_in_memory("plain:a", "value");
	ck_assert_uint_eq(counters_of("plain:a")->redis_failures, 1);
	ck_assert_uint_eq(counters_of("other")->redis_failures, 1);
}
END_TEST

/* ---- changes under way ---- */

START_TEST(change_under_way_makes_the_flight_start_again)
{
	struct reader r = {0};
	begin(&r, "plain:a", READ_GET);
	change("plain:b");
	change("plain:a");
	bring(0, "old");
	expect_nothing_yet(&r);
	ck_assert_ptr_null(entry_of("plain:a"));
	ck_assert_uint_eq(n_fakes, 2);
	bring(1, "new");
	expect_found(&r, "new", "fetch");
	expect_in_memory("plain:a", "new");
	ck_assert_uint_eq(counters_of("plain:a")->fenced, 1);
}
END_TEST

START_TEST(value_written_under_way_is_what_readers_get)
{
	struct reader r = {0};
	begin(&r, "plain:a", READ_GET);
	write_value("plain:a", "written");
	bring(0, "old");
	expect_found(&r, "written", "memory");
	expect_in_memory("plain:a", "written");
	ck_assert_uint_eq(n_fakes, 1);
}
END_TEST

START_TEST(absence_found_by_a_broken_try_is_not_told)
{
	struct reader r = {0};
	begin(&r, "negative:a", READ_GET);
	change("negative:a");
	bring_nothing(0);
	expect_nothing_yet(&r);
	ck_assert_ptr_null(entry_of("negative:a"));
	bring(1, "value");
	expect_found(&r, "value", "fetch");
}
END_TEST

/* The source is down whatever happened to the key: it is not asked again at once, and
 * what was held before the change is no stand-in. */
START_TEST(failure_of_a_broken_try_is_told_without_another_try)
{
	struct reader r = {0};
	write_for("stale:a", "old", -30000);
	begin(&r, "stale:a", READ_GET);
	change("stale:a");
	bring_failure(0, "no route");
	expect_failed(&r, "UNAVAILABLE fetch: ", "no route");
	ck_assert_uint_eq(n_fakes, 1);
}
END_TEST

START_TEST(early_reader_gets_what_was_fetched_after_enough_broken_tries)
{
	struct reader r = {0};
	begin(&r, "plain:a", READ_GET);
	for (unsigned i = 0; i < FLIGHT_TRIES; i++) {
		expect_nothing_yet(&r);
		ck_assert_uint_eq(n_fakes, i + 1);
		change("plain:a");
		bring(i, i + 1 < FLIGHT_TRIES ? "older" : "last");
	}
	expect_found(&r, "last", "fetch");
	ck_assert_ptr_null(entry_of("plain:a"));
	ck_assert_uint_eq(n_fakes, FLIGHT_TRIES);
	ck_assert_uint_eq(counters_of("plain:a")->fenced, FLIGHT_TRIES);
}
END_TEST

START_TEST(reader_that_came_after_the_change_never_gets_the_older_value)
{
	static const char *const values[] = {"0", "1", "2", "3", "4"};
	struct reader early = {0}, late[FLIGHT_TRIES + 1] = {0};
	begin(&early, "plain:a", READ_GET);
	for (unsigned i = 0; i <= FLIGHT_TRIES; i++) {
		change("plain:a");
		begin(&late[i], "plain:a", READ_GET);
		bring(i, values[i]);
		expect_nothing_yet(&late[i]);
	}
	expect_found(&early, "2", "fetch");
	expect_found(&late[0], "3", "fetch");   /* it came under the first try: that one does not count */
	bring(FLIGHT_TRIES + 1, "4");
	for (unsigned i = 1; i <= FLIGHT_TRIES; i++)
		expect_found(&late[i], "4", "fetch");
	expect_in_memory("plain:a", "4");
}
END_TEST

/* Own writes: DEL was answered, then the same client reads. */
START_TEST(read_after_a_change_is_not_joined_to_the_fetch_before_it)
{
	struct reader early = {0}, late = {0};
	begin(&early, "plain:a", READ_GET);
	change("plain:a");
	begin(&late, "plain:a", READ_GET);
	bring(0, "old");
	expect_nothing_yet(&early);
	expect_nothing_yet(&late);
	bring(1, "new");
	expect_found(&early, "new", "fetch");
	expect_found(&late, "new", "fetch");
}
END_TEST

START_TEST(change_while_a_large_value_is_checked_counts_too)
{
	struct reader r = {0};
	struct value *v = value_new(LARGE);
	memset(v->data, ' ', LARGE);
	v->data[0] = '1';
	begin(&r, "json:a", READ_GET);
	bring_value(0, v);
	expect_nothing_yet(&r);                 /* a worker has it */
	change("json:a");
	while (n_fakes < 2)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	expect_nothing_yet(&r);
	ck_assert_ptr_null(entry_of("json:a"));
	bring(1, "2");
	expect_found(&r, "2", "fetch");
	value_unref(v);
}
END_TEST

/* ---- refreshing ---- */

START_TEST(refresh_fetches_what_memory_has)
{
	struct reader r = {0};
	write_value("plain:a", "old");
	begin(&r, "plain:a", READ_REFRESH);
	ck_assert_uint_eq(n_fakes, 1);
	expect_in_memory("plain:a", "old");     /* served meanwhile */
	bring(0, "new");
	expect_found(&r, "new", "fetch");
	expect_in_memory("plain:a", "new");
}
END_TEST

START_TEST(refresh_that_joins_forces_a_fetch_that_begins_after_it)
{
	struct reader get = {0}, refresh = {0};
	begin(&get, "plain:a", READ_GET);
	begin(&refresh, "plain:a", READ_REFRESH);
	ck_assert_uint_eq(n_fakes, 1);
	bring(0, "old");
	expect_nothing_yet(&refresh);
	ck_assert_ptr_null(entry_of("plain:a"));
	ck_assert_uint_eq(n_fakes, 2);
	bring(1, "new");
	expect_found(&get, "new", "fetch");
	expect_found(&refresh, "new", "fetch");
	expect_in_memory("plain:a", "new");
}
END_TEST

START_TEST(refreshes_that_join_together_share_the_next_fetch)
{
	struct reader readers[10] = {0};
	for (size_t i = 0; i < LEN(readers); i++)
		begin(&readers[i], "plain:a", READ_REFRESH);
	ck_assert_uint_eq(n_fakes, 1);
	bring(0, "first");
	ck_assert_uint_eq(n_fakes, 2);
	bring(1, "second");
	for (size_t i = 1; i < LEN(readers); i++)
		expect_found(&readers[i], "second", "fetch");
	ck_assert_uint_eq(n_fakes, 2);
	ck_assert_uint_eq(readers[0].answers, 1);       /* either would do for the first */
	done_with(&readers[0]);
}
END_TEST

/* ---- what the source says ---- */

START_TEST(failed_fetch_is_an_error_with_its_reason)
{
	struct reader r = {0};
	begin(&r, "plain:a", READ_GET);
	bring_failure(0, "connection refused");
	expect_failed(&r, "UNAVAILABLE fetch: ", "connection refused");
	ck_assert_uint_eq(memory_entries(tiers.memory), 0);
	ck_assert_uint_eq(counters_of("plain:a")->fetch_failures, 1);
	clock_skew(HISTORY_BACKOFF_MAX_MS);
	begin(&r, "plain:a", READ_GET);
	ck_assert_uint_eq(n_fakes, 2);
	bring(1, "value");
	expect_found(&r, "value", "fetch");
}
END_TEST

START_TEST(failed_refresh_keeps_the_old_value)
{
	struct reader r = {0};
	write_value("plain:a", "old");
	begin(&r, "plain:a", READ_REFRESH);
	bring_failure(0, "timed out");
	expect_failed(&r, "UNAVAILABLE fetch: ", "timed out");
	expect_in_memory("plain:a", "old");
}
END_TEST

START_TEST(absence_is_remembered_where_the_type_says_so)
{
	struct reader r = {0};
	begin(&r, "negative:a", READ_GET);
	bring_nothing(0);
	expect_absent(&r);
	ck_assert(entry_of("negative:a") && !memory_value(entry_of("negative:a")));
	begin(&r, "negative:a", READ_GET);
	expect_absent(&r);
	ck_assert_uint_eq(n_fakes, 1);
	begin(&r, "plain:a", READ_GET);
	bring_nothing(1);
	expect_absent(&r);
	ck_assert_ptr_null(entry_of("plain:a"));
	ck_assert_uint_eq(counters_of("plain:a")->fetch_absent, 1);
}
END_TEST

START_TEST(refresh_that_finds_nothing_drops_the_old_value)
{
	struct reader r = {0};
	write_value("plain:a", "old");
	begin(&r, "plain:a", READ_REFRESH);
	bring_nothing(0);
	expect_absent(&r);
	ck_assert_ptr_null(entry_of("plain:a"));
}
END_TEST

/* Brings bytes for a refresh of json:a, which has an old value: an error with part in it, and the old one stays. */
static void expect_refused(const char *bytes, const char *part)
{
	struct reader r = {0};
	write_value("json:a", "[\"old\"]");
	begin(&r, "json:a", READ_REFRESH);
	bring(n_fakes - 1, bytes);
	expect_failed(&r, "UNAVAILABLE fetch: refused: ", part);
	expect_in_memory("json:a", "[\"old\"]");
}

START_TEST(empty_result_is_refused_and_the_old_value_kept)
{
	static const char *const empty[] = {"", "[]", " [ ] ", "{}", "null", "\"\""};
	for (size_t i = 0; i < LEN(empty); i++)
		expect_refused(empty[i], "empty");
	ck_assert_uint_eq(counters_of("json:a")->refused_empty, LEN(empty));
	ck_assert_uint_eq(counters_of("json:a")->refused_json, 0);
}
END_TEST

START_TEST(result_that_is_not_json_is_refused_and_the_old_value_kept)
{
	static const char *const bad[] = {" ", "[1,2", "{\"a\":}", "Traceback (most recent call last)"};
	for (size_t i = 0; i < LEN(bad); i++)
		expect_refused(bad[i], "not JSON");
	ck_assert_uint_eq(counters_of("json:a")->refused_json, LEN(bad));
	ck_assert_uint_eq(counters_of("json:a")->refused_empty, 0);
}
END_TEST

START_TEST(raw_type_takes_whatever_comes)
{
	struct reader r = {0};
	begin(&r, "plain:a", READ_GET);
	bring(0, "");
	expect_found(&r, "", "fetch");
	expect_in_memory("plain:a", "");
}
END_TEST

START_TEST(large_json_is_checked_before_it_is_answered)
{
	struct reader good = {0}, bad = {0};
	struct value *v = value_new(LARGE);
	memset(v->data, ' ', LARGE);
	v->data[0] = '[';
	begin(&bad, "json:bad", READ_GET);
	bring_value(0, v);
	expect_nothing_yet(&bad);
	run_until_answered(&bad);
	expect_failed(&bad, "UNAVAILABLE fetch: refused: ", "not JSON");
	v->data[LARGE - 1] = ']';
	v->data[1] = '1';
	begin(&good, "json:good", READ_GET);
	bring_value(1, v);
	run_until_answered(&good);
	ck_assert(good.outcome.status == OUTCOME_FOUND && good.outcome.value == v);
	ck_assert(v->inspected && value_items(v) == 1);
	done_with(&good);
	ck_assert(entry_of("json:good") && !entry_of("json:bad"));
	value_unref(v);
}
END_TEST

START_TEST(value_over_max_value_is_served_and_not_stored)
{
	struct reader r = {0};
	struct value *v = value_new(1025);
	memset(v->data, 'x', v->len);
	begin(&r, "small:a", READ_GET);
	bring_value(0, v);
	ck_assert(r.outcome.status == OUTCOME_FOUND && r.outcome.value == v);
	done_with(&r);
	ck_assert_ptr_null(entry_of("small:a"));
	ck_assert_uint_eq(counters_of("small:a")->oversize, 1);
	begin(&r, "small:a", READ_GET);
	v = value_shrink(v, 1024);
	bring_value(1, v);
	done_with(&r);
	ck_assert_ptr_nonnull(entry_of("small:a"));
	ck_assert_uint_eq(counters_of("small:a")->oversize, 1);
	value_unref(v);
}
END_TEST

START_TEST(value_over_the_memory_limit_is_served_and_not_stored)
{
	struct reader r = {0};
	struct value *v = value_new(5 << 20);
	memset(v->data, 'x', v->len);
	begin(&r, "plain:a", READ_GET);
	bring_value(0, v);
	ck_assert(r.outcome.status == OUTCOME_FOUND && r.outcome.value == v);
	done_with(&r);
	ck_assert_ptr_null(entry_of("plain:a"));
	value_unref(v);
}
END_TEST

/* ---- stale values ---- */

static void expect_stale(struct reader *r, const char *bytes)
{
	ck_assert(r->outcome.is_stale);
	ck_assert_int_le(r->outcome.ttl_ms, 0);
	expect_found(r, bytes, "memory");
}

/* Past stale_while_revalidate and within stale_if_error. */
START_TEST(stale_value_is_served_when_the_fetch_fails)
{
	struct reader readers[3] = {0}, refresh = {0};
	write_for("stale:a", "old", -30000);
	for (size_t i = 0; i < LEN(readers); i++)
		begin(&readers[i], "stale:a", READ_GET);
	ck_assert_uint_eq(n_fakes, 1);
	expect_nothing_yet(&readers[0]);
	bring_failure(0, "no route");
	for (size_t i = 0; i < LEN(readers); i++)
		expect_stale(&readers[i], "old");
	expect_in_memory("stale:a", "old");
	begin(&refresh, "stale:a", READ_REFRESH);       /* who wants a fetch is told that it failed */
	bring_failure(1, "no route");
	expect_failed(&refresh, "UNAVAILABLE fetch: ", "no route");
	ck_assert_uint_eq(counters_of("stale:a")->stale_errors, LEN(readers));
}
END_TEST

START_TEST(stale_value_is_not_served_past_stale_if_error)
{
	struct reader r = {0};
	write_for("stale:a", "old", -30000);
	begin(&r, "stale:a", READ_GET);
	clock_skew(20000);
	bring_failure(0, "no route");
	expect_failed(&r, "UNAVAILABLE fetch: ", "no route");
}
END_TEST

START_TEST(stale_value_gives_way_to_what_is_fetched)
{
	struct reader r = {0};
	write_for("stale:a", "old", -30000);
	begin(&r, "stale:a", READ_GET);
	bring(0, "new");
	ck_assert(!r.outcome.is_stale);
	expect_found(&r, "new", "fetch");
	ck_assert_uint_eq(counters_of("stale:a")->stale_errors, 0);
}
END_TEST

START_TEST(stale_value_is_served_instead_of_one_that_is_refused)
{
	struct reader r = {0};
	write_for("list:a", "[1,2,3,4]", -1000);
	begin(&r, "list:a", READ_GET);
	bring(0, "[1");
	expect_stale(&r, "[1,2,3,4]");
	ck_assert_uint_eq(counters_of("list:a")->refused_json, 1);
}
END_TEST

START_TEST(value_within_stale_while_revalidate_is_served_at_once)
{
	struct reader r = {0};
	write_for("stale:a", "old", -10000);
	begin(&r, "stale:a", READ_GET);
	expect_stale(&r, "old");
}
END_TEST

START_TEST(source_that_says_the_key_is_gone_ends_the_stale_value)
{
	struct reader r = {0};
	write_for("stale:a", "old", -30000);
	begin(&r, "stale:a", READ_GET);
	bring_nothing(0);
	expect_absent(&r);
	ck_assert_ptr_null(entry_of("stale:a"));
}
END_TEST

/* ---- soft_timeout ---- */

START_TEST(slow_fetch_is_completed_behind_a_stale_value)
{
	struct reader readers[3] = {0}, refresh = {0};
	write_for("soft:a", "old", -1000);
	for (size_t i = 0; i < LEN(readers); i++)
		begin(&readers[i], "soft:a", READ_GET);
	expect_nothing_yet(&readers[0]);
	run_until_answered(&readers[0]);
	for (size_t i = 0; i < LEN(readers); i++)
		expect_stale(&readers[i], "old");
	ck_assert_uint_eq(counters_of("soft:a")->stale_errors, LEN(readers));
	ck_assert_uint_eq(flights_count(flights), 1);
	expect_nothing_yet(&refresh);
	bring(0, "new");
	expect_in_memory("soft:a", "new");
	ck_assert_uint_eq(n_fakes, 1);
}
END_TEST

START_TEST(fetch_within_soft_timeout_is_waited_for)
{
	struct reader r = {0};
	write_for("soft:a", "old", -1000);
	begin(&r, "soft:a", READ_GET);
	event_base_loop(base, EVLOOP_NONBLOCK);
	expect_nothing_yet(&r);
	bring(0, "new");
	expect_found(&r, "new", "fetch");
}
END_TEST

START_TEST(slow_fetch_is_waited_for_when_there_is_nothing_to_serve)
{
	struct reader r = {0}, other = {0};
	begin(&r, "soft:a", READ_GET);
	write_for("soft:b", "old", -1000);
	begin(&other, "soft:b", READ_GET);
	run_until_answered(&other);             /* which began later */
	expect_stale(&other, "old");
	expect_nothing_yet(&r);
	bring(0, "new");
	expect_found(&r, "new", "fetch");
	bring(1, "new");
}
END_TEST

/* DEL was answered: what was held before it is served no more. */
START_TEST(stale_value_is_not_served_at_soft_timeout_after_a_change)
{
	struct reader r = {0}, other = {0};
	write_for("soft:a", "old", -1000);
	begin(&r, "soft:a", READ_GET);
	change("soft:a");
	write_for("soft:b", "old", -1000);
	begin(&other, "soft:b", READ_GET);
	run_until_answered(&other);             /* whose soft timeout ends later */
	expect_stale(&other, "old");
	expect_nothing_yet(&r);
	bring(0, "before");
	bring(2, "new");
	expect_found(&r, "new", "fetch");
	bring(1, "new");
}
END_TEST

/* It is as slow for them as for the first. */
START_TEST(reader_that_comes_after_soft_timeout_does_not_wait_for_the_fetch_either)
{
	struct reader first = {0}, second = {0};
	write_for("soft:a", "old", -1000);
	begin(&first, "soft:a", READ_GET);
	run_until_answered(&first);
	expect_stale(&first, "old");
	begin(&second, "soft:a", READ_GET);
	for (unsigned turns = 0; turns < 20 && second.answers == 0; turns++)
		event_base_loop(base, EVLOOP_ONCE);
	unsigned answers = second.answers;
	bring(0, "new");
	done_with(&second);
	ck_assert_msg(answers == 1, "no answer in 2 s, with a value to serve");
}
END_TEST

/* ---- refreshing behind ---- */

START_TEST(refresh_behind_replaces_the_value_that_is_served_meanwhile)
{
	struct reader r = {0};
	write_value("plain:a", "old");
	begin_refresh("plain:a");
	begin_refresh("plain:a");
	ck_assert_uint_eq(n_fakes, 1);
	ck_assert_uint_eq(flights_waiting(flights), 0);
	expect_in_memory("plain:a", "old");
	begin(&r, "plain:a", READ_PEEK);
	expect_found(&r, "old", "memory");
	bring(0, "new");
	expect_in_memory("plain:a", "new");
	ck_assert_uint_eq(flights_count(flights), 0);
	begin_refresh("plain:a");
	bring(1, "newer");
	expect_in_memory("plain:a", "newer");
}
END_TEST

START_TEST(refresh_behind_that_fails_keeps_the_value_and_is_not_repeated)
{
	write_value("plain:a", "old");
	begin_refresh("plain:a");
	bring_failure(0, "no route");
	expect_in_memory("plain:a", "old");
	begin_refresh("plain:a");
	ck_assert_uint_eq(n_fakes, 1);
	clock_skew(HISTORY_BACKOFF_MIN_MS);
	begin_refresh("plain:a");
	ck_assert_uint_eq(n_fakes, 2);
	bring(1, "new");
	expect_in_memory("plain:a", "new");
}
END_TEST

START_TEST(refresh_behind_of_a_key_that_changes_stores_nothing_and_ends)
{
	write_value("plain:a", "old");
	begin_refresh("plain:a");
	write_value("plain:a", "written");
	bring(0, "fetched before");
	expect_in_memory("plain:a", "written");
	ck_assert_uint_eq(n_fakes, 1);
	begin_refresh("plain:a");
	change("plain:a");
	bring(1, "fetched before");
	ck_assert_ptr_null(entry_of("plain:a"));
	ck_assert_uint_eq(n_fakes, 2);
}
END_TEST

START_TEST(refresh_behind_that_finds_nothing_drops_the_value)
{
	write_value("plain:a", "old");
	begin_refresh("plain:a");
	bring_nothing(0);
	ck_assert_ptr_null(entry_of("plain:a"));
}
END_TEST

/* ---- max_shrink ---- */

static void expect_refresh(const char *name, enum read_mode mode, const char *bytes)
{
	struct reader r = {0};
	begin(&r, name, mode);
	bring(n_fakes - 1, bytes);
	expect_found(&r, bytes, "fetch");
	expect_in_memory(name, bytes);
}

/* 10 elements in few bytes. */
#define TEN "[1,2,3,4,5,6,7,8,9,0]"

START_TEST(suddenly_smaller_result_is_refused_and_the_old_value_kept)
{
	struct reader r = {0};
	write_for("list:a", TEN, 1000000);
	begin(&r, "list:a", READ_REFRESH);
	bring(0, "[\"elements count, and not the bytes of them\",2,3,4]");
	expect_failed(&r, "UNAVAILABLE fetch: refused: ", "4 items where 10 were held");
	expect_in_memory("list:a", TEN);
	ck_assert_uint_eq(counters_of("list:a")->refused_shrunken, 1);
	expect_refresh("list:a", READ_REFRESH, "[1,2,3,4,5]");  /* just half */
	expect_refresh("list:a", READ_REFRESH, TEN);
}
END_TEST

START_TEST(what_is_no_array_is_compared_by_bytes)
{
	struct reader r = {0};
	write_for("bytes:a", "0123456789", 1000000);
	begin(&r, "bytes:a", READ_REFRESH);
	bring(0, "0123");
	expect_failed(&r, "UNAVAILABLE fetch: refused: ", "4 bytes where 10 were held");
	expect_refresh("bytes:a", READ_REFRESH, "01234");
}
END_TEST

START_TEST(smaller_result_that_comes_again_after_a_minute_is_believed)
{
	struct reader r = {0};
	write_for("list:a", TEN, 1000000);
	begin(&r, "list:a", READ_REFRESH);
	bring(0, "[1,2]");
	done_with(&r);
	clock_skew(HISTORY_CONFIRM_MS - SLACK_MS);
	begin(&r, "list:a", READ_REFRESH);
	bring(1, "[1,2]");
	expect_failed(&r, "UNAVAILABLE fetch: refused: ", "2 items");
	clock_skew(SLACK_MS);
	expect_refresh("list:a", READ_REFRESH, "[1,2]");
	ck_assert_uint_eq(counters_of("list:a")->refused_shrunken, 2);
}
END_TEST

START_TEST(smaller_result_is_taken_where_nothing_is_held)
{
	expect_refresh("list:a", READ_GET, "[1]");
}
END_TEST

START_TEST(large_old_value_is_counted_by_a_worker)
{
	struct reader r = {0};
	struct key key = key_named("list:a");
	struct value *v = value_new(LARGE);
	memset(v->data, ' ', LARGE);
	memcpy(v->data, "[1,2,3", 6);
	v->data[LARGE - 1] = ']';
	ck_assert_int_eq(tiers_remember(&tiers, tiers_type(&tiers, &key), &key, v, 1000000, SOURCE_CLIENT, tiers.epoch), 0);
	begin(&r, "list:a", READ_REFRESH);
	bring(0, "[1]");
	run_until_answered(&r);
	expect_failed(&r, "UNAVAILABLE fetch: refused: ", "1 items where 3 were held");
	value_unref(v);
}
END_TEST

/* ---- FORCE ---- */

START_TEST(force_takes_a_smaller_result_at_once)
{
	write_for("list:a", TEN, 1000000);
	expect_refresh("list:a", READ_FORCE, "[1]");
	ck_assert_uint_eq(counters_of("list:a")->refused_shrunken, 0);
}
END_TEST

START_TEST(force_stores_under_the_guard)
{
	tiers_set_guarded(&tiers, true);
	expect_refresh("plain:a", READ_FORCE, "value");
	ck_assert_uint_eq(counters_of("plain:a")->guarded, 0);
}
END_TEST

START_TEST(force_does_not_take_what_is_empty_or_not_json)
{
	struct reader r = {0};
	write_value("json:a", "[1]");
	begin(&r, "json:a", READ_FORCE);
	bring(0, "[]");
	expect_failed(&r, "UNAVAILABLE fetch: refused: ", "empty");
	begin(&r, "json:a", READ_FORCE);
	bring(1, "[");
	expect_failed(&r, "UNAVAILABLE fetch: refused: ", "not JSON");
	expect_in_memory("json:a", "[1]");
}
END_TEST

START_TEST(force_that_joins_holds_for_the_fetch_that_begins_after_it)
{
	struct reader get = {0}, force = {0};
	tiers_set_guarded(&tiers, true);
	begin(&get, "plain:a", READ_GET);
	begin(&force, "plain:a", READ_FORCE);
	bring(0, "before");
	ck_assert_ptr_null(entry_of("plain:a"));
	bring(1, "after");
	expect_found(&get, "after", "fetch");
	expect_found(&force, "after", "fetch");
	expect_in_memory("plain:a", "after");
}
END_TEST

/* ---- the guard ---- */

/* Fetches plain:a while the guard is as `before`; then it goes to `between`, and to `after`. */
static void expect_guarded(bool before, bool between, bool after)
{
	struct reader r = {0};
	write_value("plain:a", "old");
	tiers_set_guarded(&tiers, before);
	begin(&r, "plain:a", READ_REFRESH);
	tiers_set_guarded(&tiers, between);
	tiers_set_guarded(&tiers, after);
	bring(n_fakes - 1, "half of it");
	expect_found(&r, "half of it", "fetch");
	expect_in_memory("plain:a", "old");
}

START_TEST(value_fetched_under_the_guard_is_served_and_not_stored)
{
	expect_guarded(true, true, true);
	expect_guarded(true, true, false);      /* lifted before it was there */
	expect_guarded(false, true, true);      /* set meanwhile */
	expect_guarded(false, true, false);     /* set and lifted meanwhile */
	expect_guarded(true, false, true);
	ck_assert_uint_eq(counters_of("plain:a")->guarded, 5);
	tiers_set_guarded(&tiers, false);
	expect_refresh("plain:a", READ_REFRESH, "whole");
}
END_TEST

/* A sync deletes rows before it writes them. */
START_TEST(absence_found_under_the_guard_is_told_and_not_stored)
{
	struct reader r = {0};
	tiers_set_guarded(&tiers, true);
	begin(&r, "negative:a", READ_GET);
	bring_nothing(0);
	expect_absent(&r);
	ck_assert_ptr_null(entry_of("negative:a"));
	write_value("negative:a", "old");
	begin(&r, "negative:a", READ_REFRESH);
	bring_nothing(1);
	expect_absent(&r);
	expect_in_memory("negative:a", "old");
}
END_TEST

/* ---- backing off ---- */

START_TEST(failed_fetch_is_not_tried_again_at_each_read)
{
	struct reader r = {0};
	begin(&r, "plain:a", READ_GET);
	bring_failure(0, "no route");
	expect_failed(&r, "UNAVAILABLE fetch: ", "no route");
	for (unsigned i = 0; i < 10; i++) {
		begin(&r, "plain:a", READ_GET);
		expect_failed(&r, "UNAVAILABLE fetch: ", "no route");
	}
	ck_assert_uint_eq(n_fakes, 1);
	ck_assert_uint_eq(counters_of("plain:a")->backoffs, 10);
	begin(&r, "plain:b", READ_GET);         /* another key */
	ck_assert_uint_eq(n_fakes, 2);
	bring(1, "value");
	done_with(&r);
	clock_skew(HISTORY_BACKOFF_MIN_MS);
	begin(&r, "plain:a", READ_GET);
	ck_assert_uint_eq(n_fakes, 3);
	bring(2, "value");
	expect_found(&r, "value", "fetch");
}
END_TEST

START_TEST(stale_value_is_served_while_the_fetch_is_not_tried_again)
{
	struct reader r = {0};
	write_for("stale:a", "old", -30000);
	begin(&r, "stale:a", READ_GET);
	bring_failure(0, "no route");
	expect_stale(&r, "old");
	begin(&r, "stale:a", READ_GET);
	expect_stale(&r, "old");
	ck_assert_uint_eq(n_fakes, 1);
	ck_assert_uint_eq(counters_of("stale:a")->stale_errors, 2);
}
END_TEST

START_TEST(refresh_on_demand_does_not_wait_for_the_backoff)
{
	struct reader r = {0};
	begin(&r, "plain:a", READ_GET);
	bring_failure(0, "no route");
	done_with(&r);
	expect_refresh("plain:a", READ_REFRESH, "value");
}
END_TEST

START_TEST(change_of_the_key_ends_the_backoff)
{
	struct reader r = {0};
	struct key key = key_named("plain:a");
	begin(&r, "plain:a", READ_GET);
	bring_failure(0, "no route");
	done_with(&r);
	history_changed(history, &key, "pid 7");
	begin(&r, "plain:a", READ_GET);
	ck_assert_uint_eq(n_fakes, 2);
	bring(1, "value");
	expect_found(&r, "value", "fetch");
}
END_TEST

/* ---- the rest of the fleet ---- */

/* Redis may have an older one, which it must not serve when it is back. */
START_TEST(value_fetched_while_redis_is_away_is_removed_there_later)
{
	struct reader r = {0};
	tiers.redis = redis_new(base, &conf->redis, &watch);
	begin(&r, "plain:a", READ_GET);
	for (unsigned turns = 0; turns < 100 && n_fakes == 0; turns++)
		event_base_loop(base, EVLOOP_ONCE);
	bring(0, "value");
	expect_found(&r, "value", "fetch");
	ck_assert_uint_eq(replay_count(replay), 1);
	ck_assert_uint_eq(replay_bytes(replay), 0);
}
END_TEST

START_TEST(program_does_not_wait_for_the_key_it_fetches)
{
	struct reader r = {0}, own = {0}, refresh = {0}, other = {0}, after = {0};
	begin(&r, "plain:a", READ_GET);
	begin_from(group_of(0), &own, "plain:a", READ_GET);
	expect_absent(&own);
	begin_from(group_of(0), &refresh, "plain:a", READ_REFRESH);
	expect_failed(&refresh, "ERR ", "being fetched by who asks");
	begin_from(group_of(7), &other, "plain:a", READ_GET);
	expect_nothing_yet(&other);
	bring(0, "value");                      /* the refresh did not break it */
	expect_found(&r, "value", "fetch");
	expect_found(&other, "value", "fetch");
	begin_from(group_of(0), &after, "plain:b", READ_GET);
	expect_nothing_yet(&after);
	bring(1, "B");
	expect_found(&after, "B", "fetch");
}
END_TEST

START_TEST(programs_do_not_wait_for_each_other_in_a_ring)
{
	struct reader r = {0}, a = {0}, b = {0}, c = {0}, again = {0};
	begin(&r, "plain:a", READ_GET);
	begin_from(group_of(0), &a, "plain:b", READ_GET);
	begin_from(group_of(1), &b, "exact", READ_GET);
	expect_nothing_yet(&b);
	begin_from(group_of(2), &c, "plain:a", READ_GET);
	expect_absent(&c);
	begin_from(group_of(2), &c, "plain:b", READ_REFRESH);
	expect_failed(&c, "ERR ", "being fetched by who asks");
	bring(2, "C");
	expect_found(&b, "C", "fetch");
	begin_from(group_of(1), &again, "plain:a", READ_GET);   /* that of a still waits for it */
	expect_absent(&again);
	bring(1, "B");
	expect_found(&a, "B", "fetch");
	begin(&b, "plain:b", READ_REFRESH);
	begin_from(group_of(3), &again, "plain:a", READ_GET);   /* now it does not */
	expect_nothing_yet(&again);
	bring(0, "A");
	expect_found(&r, "A", "fetch");
	expect_found(&again, "A", "fetch");
	bring(3, "B");
	expect_found(&b, "B", "fetch");
}
END_TEST

/* Of those who wait for nobody else there is nobody to wake. */
START_TEST(wake_of_a_flight_that_fetches_does_nothing)
{
	struct reader r = {0};
	struct key key = key_named("plain:a"), other = key_named("plain:b");
	begin(&r, "plain:a", READ_GET);
	flights_wake(flights, &key);
	flights_wake(flights, &other);
	flights_wake_all(flights);
	expect_nothing_yet(&r);
	ck_assert_uint_eq(n_fakes, 1);
	bring(0, "value");
	expect_found(&r, "value", "fetch");
}
END_TEST

/* ---- limits ---- */

/* Readers of brisk wait for 2 s of fetch, 250 ms of Redis and 1 s of grace. */
START_TEST(reader_waits_for_its_deadline_and_no_longer)
{
	struct reader first = {0}, second = {0}, third = {0}, patient = {0};
	begin(&patient, "plain:a", READ_GET);
	begin(&first, "brisk:a", READ_GET);
	begin(&second, "brisk:a", READ_REFRESH);
	clock_skew(2000);
	begin(&third, "brisk:a", READ_GET);
	clock_skew(1250);
	run_until_answered(&second);
	expect_failed(&first, "UNAVAILABLE fetch: ", "deadline");
	expect_failed(&second, "UNAVAILABLE fetch: ", "deadline");
	expect_nothing_yet(&third);
	clock_skew(2000);
	run_until_answered(&third);
	expect_failed(&third, "UNAVAILABLE fetch: ", "deadline");
	expect_nothing_yet(&patient);
	ck_assert_uint_eq(counters_of("brisk:a")->timeouts, 3);
	ck_assert_uint_eq(counters_of("plain:a")->timeouts, 0);
	ck_assert_uint_eq(flights_waiting(flights), 1);
	bring(0, "value");
	expect_found(&patient, "value", "fetch");
	bring(1, "value");
	ck_assert_uint_eq(flights_count(flights), 0);
}
END_TEST

/* Its key was changed, so it was fetched again; that takes too long. */
START_TEST(reader_of_a_broken_try_gets_what_that_fetched_rather_than_an_error)
{
	struct reader early = {0}, late = {0}, later = {0};
	begin(&early, "brisk:a", READ_GET);
	change("brisk:a");
	begin(&late, "brisk:a", READ_GET);
	bring(0, "old");
	begin(&later, "brisk:a", READ_GET);
	expect_nothing_yet(&early);
	clock_skew(10000);
	run_until_answered(&later);
	expect_found(&early, "old", "fetch");
	expect_failed(&late, "UNAVAILABLE fetch: ", "deadline");
	expect_failed(&later, "UNAVAILABLE fetch: ", "deadline");
	bring(1, "new");
	expect_in_memory("brisk:a", "new");
}
END_TEST

START_TEST(reader_of_a_broken_try_gets_what_that_fetched_when_the_next_fails)
{
	struct reader early = {0}, late = {0};
	struct reader refresh = {0};            /* nothing was replaced, so it has failed */
	begin(&early, "plain:a", READ_GET);
	begin(&refresh, "plain:a", READ_REFRESH);
	bring(0, "old");
	change("plain:a");
	begin(&late, "plain:a", READ_GET);
	bring(1, "older than the change");
	bring_failure(2, "no route");
	expect_found(&early, "older than the change", "fetch");
	expect_failed(&refresh, "UNAVAILABLE fetch: ", "no route");
	expect_failed(&late, "UNAVAILABLE fetch: ", "no route");
}
END_TEST

START_TEST(reader_past_its_deadline_gets_the_stale_value_that_is_held)
{
	struct reader r = {0};
	write_for("stale:a", "old", -21000);
	begin(&r, "stale:a", READ_GET);
	expect_nothing_yet(&r);
	clock_skew(24000);
	run_until_answered(&r);
	expect_stale(&r, "old");
	bring(0, "new");
}
END_TEST

START_TEST(fetch_that_comes_after_the_deadline_is_stored_for_the_next)
{
	struct reader r = {0};
	begin(&r, "brisk:a", READ_GET);
	clock_skew(4000);
	run_until_answered(&r);
	expect_failed(&r, "UNAVAILABLE fetch: ", "deadline");
	ck_assert_uint_eq(flights_count(flights), 1);
	bring(0, "value");
	expect_in_memory("brisk:a", "value");
}
END_TEST

/* Nobody waits any more: then a broken try is the last. */
START_TEST(flight_without_readers_does_not_start_again)
{
	struct reader r = {0};
	begin(&r, "brisk:a", READ_GET);
	clock_skew(4000);
	run_until_answered(&r);
	done_with(&r);
	change("brisk:a");
	bring(0, "old");
	ck_assert_uint_eq(n_fakes, 1);
	ck_assert_ptr_null(entry_of("brisk:a"));
}
END_TEST

START_TEST(one_read_more_than_can_be_under_way_is_refused)
{
	struct reader *readers = xcalloc(FLIGHTS_MAX + 2, sizeof(*readers));
	struct reader *joined = &readers[FLIGHTS_MAX], *refused = joined + 1;
	char name[32];
	for (size_t i = 0; i < FLIGHTS_MAX; i++) {
		snprintf(name, sizeof(name), "plain:%zu", i);
		begin(&readers[i], name, READ_GET);
	}
	ck_assert_uint_eq(flights_count(flights), FLIGHTS_MAX);
	begin(refused, "plain:more", READ_GET);
	expect_failed(refused, "UNAVAILABLE fetch: ", "too many");
	begin(joined, "plain:7", READ_GET);
	expect_nothing_yet(joined);
	ck_assert_uint_eq(n_fakes, FLIGHTS_MAX);
	bring(7, "value");
	expect_found(joined, "value", "fetch");
	begin(refused, "plain:more", READ_GET);
	expect_nothing_yet(refused);
	for (size_t i = 0; i < n_fakes; i++)
		if (fakes[i].done)
			bring(i, "value");
	for (size_t i = 0; i < FLIGHTS_MAX; i++) {
		if (readers[i].answers != 1)
			ck_abort_msg("reader %zu", i);
		done_with(&readers[i]);
	}
	expect_found(refused, "value", "fetch");
	free(readers);
}
END_TEST

/* ---- ending ---- */

START_TEST(closed_flights_land_with_an_error_and_store_nothing)
{
	struct reader found = {0}, failed = {0}, broken = {0}, fresh = {0};
	begin(&found, "plain:a", READ_GET);
	begin(&failed, "plain:b", READ_GET);
	begin(&broken, "plain:c", READ_REFRESH);
	change("plain:c");
	flights_close(flights);
	expect_nothing_yet(&found);
	bring(0, "value");
	bring_failure(1, "the fetcher is freed");
	bring(2, "value");
	expect_failed(&found, "UNAVAILABLE fetch: ", "shutting down");
	expect_failed(&failed, "UNAVAILABLE fetch: ", "shutting down");
	expect_failed(&broken, "UNAVAILABLE fetch: ", "shutting down");
	ck_assert_uint_eq(memory_entries(tiers.memory), 0);
	begin(&fresh, "plain:d", READ_GET);
	expect_failed(&fresh, "UNAVAILABLE fetch: ", "shutting down");
	ck_assert_uint_eq(n_fakes, 3);
}
END_TEST

START_TEST(closed_flight_lands_when_its_check_or_redis_is_over)
{
	struct reader checked = {0}, asked = {0};
	struct value *v = value_new(LARGE);
	memset(v->data, ' ', LARGE);
	v->data[0] = '1';
	begin(&checked, "json:a", READ_GET);
	bring_value(0, v);
	tiers.redis = redis_new(base, &conf->redis, &watch);
	begin(&asked, "plain:a", READ_GET);
	flights_close(flights);
	redis_free(tiers.redis);
	tiers.redis = NULL;
	expect_failed(&asked, "UNAVAILABLE fetch: ", "shutting down");
	workers_free(tiers.cpu);
	tiers.cpu = NULL;
	expect_failed(&checked, "UNAVAILABLE fetch: ", "shutting down");
	ck_assert_uint_eq(v->refs, 1);
	value_unref(v);
}
END_TEST

/* ---- readers that go on reading ---- */

static void read_again(struct reader *r)
{
	begin(r->next, "plain:a", READ_GET);
}

START_TEST(answer_may_read_the_same_key_again)
{
	struct reader second = {0}, first = {.then = read_again, .next = &second};
	begin(&first, "plain:a", READ_GET);
	bring(0, "value");
	expect_found(&first, "value", "fetch");
	expect_found(&second, "value", "memory");
	change("plain:a");
	first = (struct reader){.then = read_again, .next = &second};
	begin(&first, "plain:a", READ_GET);
	bring_failure(1, "no route");
	expect_failed(&first, "UNAVAILABLE fetch: ", "no route");
	expect_failed(&second, "UNAVAILABLE fetch: ", "no route");      /* not fetched again so soon */
	ck_assert_uint_eq(n_fakes, 2);
}
END_TEST

START_TEST(peek_that_finds_nothing_may_read_from_its_answer)
{
	struct reader get = {0}, peek = {.then = read_again, .next = &get};
	begin(&peek, "plain:a", READ_PEEK);
	expect_absent(&peek);
	ck_assert_uint_eq(n_fakes, 1);
	bring(0, "value");
	expect_found(&get, "value", "fetch");
}
END_TEST

START_TEST(reader_of_a_broken_try_may_read_again_and_gets_the_newer_value)
{
	struct reader second = {0}, first = {.then = read_again, .next = &second};
	begin(&first, "plain:a", READ_GET);
	for (unsigned i = 0; i < FLIGHT_TRIES; i++) {
		change("plain:a");
		bring(i, "older");
	}
	expect_found(&first, "older", "fetch");
	expect_nothing_yet(&second);
	bring(FLIGHT_TRIES, "new");
	expect_found(&second, "new", "fetch");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("flight");
	TCase *tc = tcase_create("flight");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, many_readers_share_one_fetch);
	tcase_add_test(tc, value_in_memory_is_answered_without_a_fetch);
	tcase_add_test(tc, each_key_has_a_fetch_of_its_own);
	tcase_add_test(tc, value_of_a_type_without_ttl_has_no_end);
	tcase_add_test(tc, type_without_fetch_answers_absent_and_remembers_nothing);
	tcase_add_test(tc, key_of_no_type_without_redis_is_an_error_that_says_so);
	tcase_add_test(tc, peek_does_not_fetch);
	tcase_add_test(tc, peek_does_not_wait_for_a_fetch_under_way);
	tcase_add_test(tc, peek_after_a_change_does_not_wait_for_the_fetch_before_it);
	tcase_add_test(tc, peek_during_a_refresh_gets_what_the_tiers_have);
	tcase_add_test(tc, peek_that_waits_for_redis_is_answered_before_the_fetch);
	tcase_add_test(tc, redis_that_is_down_is_no_end_for_a_declared_key);
	tcase_add_test(tc, change_under_way_makes_the_flight_start_again);
	tcase_add_test(tc, value_written_under_way_is_what_readers_get);
	tcase_add_test(tc, absence_found_by_a_broken_try_is_not_told);
	tcase_add_test(tc, failure_of_a_broken_try_is_told_without_another_try);
	tcase_add_test(tc, early_reader_gets_what_was_fetched_after_enough_broken_tries);
	tcase_add_test(tc, reader_that_came_after_the_change_never_gets_the_older_value);
	tcase_add_test(tc, read_after_a_change_is_not_joined_to_the_fetch_before_it);
	tcase_add_test(tc, change_while_a_large_value_is_checked_counts_too);
	tcase_add_test(tc, refresh_fetches_what_memory_has);
	tcase_add_test(tc, refresh_that_joins_forces_a_fetch_that_begins_after_it);
	tcase_add_test(tc, refreshes_that_join_together_share_the_next_fetch);
	tcase_add_test(tc, failed_fetch_is_an_error_with_its_reason);
	tcase_add_test(tc, failed_refresh_keeps_the_old_value);
	tcase_add_test(tc, absence_is_remembered_where_the_type_says_so);
	tcase_add_test(tc, refresh_that_finds_nothing_drops_the_old_value);
	tcase_add_test(tc, empty_result_is_refused_and_the_old_value_kept);
	tcase_add_test(tc, result_that_is_not_json_is_refused_and_the_old_value_kept);
	tcase_add_test(tc, raw_type_takes_whatever_comes);
	tcase_add_test(tc, large_json_is_checked_before_it_is_answered);
	tcase_add_test(tc, value_over_max_value_is_served_and_not_stored);
	tcase_add_test(tc, value_over_the_memory_limit_is_served_and_not_stored);
	tcase_add_test(tc, stale_value_is_served_when_the_fetch_fails);
	tcase_add_test(tc, stale_value_is_not_served_past_stale_if_error);
	tcase_add_test(tc, stale_value_gives_way_to_what_is_fetched);
	tcase_add_test(tc, stale_value_is_served_instead_of_one_that_is_refused);
	tcase_add_test(tc, value_within_stale_while_revalidate_is_served_at_once);
	tcase_add_test(tc, source_that_says_the_key_is_gone_ends_the_stale_value);
	tcase_add_test(tc, slow_fetch_is_completed_behind_a_stale_value);
	tcase_add_test(tc, fetch_within_soft_timeout_is_waited_for);
	tcase_add_test(tc, slow_fetch_is_waited_for_when_there_is_nothing_to_serve);
	tcase_add_test(tc, stale_value_is_not_served_at_soft_timeout_after_a_change);
	tcase_add_test(tc, reader_that_comes_after_soft_timeout_does_not_wait_for_the_fetch_either);
	tcase_add_test(tc, refresh_behind_replaces_the_value_that_is_served_meanwhile);
	tcase_add_test(tc, refresh_behind_that_fails_keeps_the_value_and_is_not_repeated);
	tcase_add_test(tc, refresh_behind_of_a_key_that_changes_stores_nothing_and_ends);
	tcase_add_test(tc, refresh_behind_that_finds_nothing_drops_the_value);
	tcase_add_test(tc, suddenly_smaller_result_is_refused_and_the_old_value_kept);
	tcase_add_test(tc, what_is_no_array_is_compared_by_bytes);
	tcase_add_test(tc, smaller_result_that_comes_again_after_a_minute_is_believed);
	tcase_add_test(tc, smaller_result_is_taken_where_nothing_is_held);
	tcase_add_test(tc, large_old_value_is_counted_by_a_worker);
	tcase_add_test(tc, force_takes_a_smaller_result_at_once);
	tcase_add_test(tc, force_stores_under_the_guard);
	tcase_add_test(tc, force_does_not_take_what_is_empty_or_not_json);
	tcase_add_test(tc, force_that_joins_holds_for_the_fetch_that_begins_after_it);
	tcase_add_test(tc, value_fetched_under_the_guard_is_served_and_not_stored);
	tcase_add_test(tc, absence_found_under_the_guard_is_told_and_not_stored);
	tcase_add_test(tc, failed_fetch_is_not_tried_again_at_each_read);
	tcase_add_test(tc, stale_value_is_served_while_the_fetch_is_not_tried_again);
	tcase_add_test(tc, refresh_on_demand_does_not_wait_for_the_backoff);
	tcase_add_test(tc, change_of_the_key_ends_the_backoff);
	tcase_add_test(tc, value_fetched_while_redis_is_away_is_removed_there_later);
	tcase_add_test(tc, program_does_not_wait_for_the_key_it_fetches);
	tcase_add_test(tc, programs_do_not_wait_for_each_other_in_a_ring);
	tcase_add_test(tc, wake_of_a_flight_that_fetches_does_nothing);
	tcase_add_test(tc, reader_waits_for_its_deadline_and_no_longer);
	tcase_add_test(tc, reader_of_a_broken_try_gets_what_that_fetched_rather_than_an_error);
	tcase_add_test(tc, reader_of_a_broken_try_gets_what_that_fetched_when_the_next_fails);
	tcase_add_test(tc, reader_past_its_deadline_gets_the_stale_value_that_is_held);
	tcase_add_test(tc, fetch_that_comes_after_the_deadline_is_stored_for_the_next);
	tcase_add_test(tc, flight_without_readers_does_not_start_again);
	tcase_add_test(tc, one_read_more_than_can_be_under_way_is_refused);
	tcase_add_test(tc, closed_flights_land_with_an_error_and_store_nothing);
	tcase_add_test(tc, closed_flight_lands_when_its_check_or_redis_is_over);
	tcase_add_test(tc, answer_may_read_the_same_key_again);
	tcase_add_test(tc, peek_that_finds_nothing_may_read_from_its_answer);
	tcase_add_test(tc, reader_of_a_broken_try_may_read_again_and_gets_the_newer_value);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
