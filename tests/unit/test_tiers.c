/* tiers.c: whose a key is, how long a value lives where, and what an entry is
 * worth as time passes and as Redis is heard of or not, and the table of counters.
 * Redis, where it is a tier, is a real link to a socket that is not there: down; where
 * a test needs it up, to a real redis-server. */
#include "../../daemon/tiers.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../daemon/clock.h"
#include "../../daemon/redis.h"
#include "../../daemon/value.h"
#include "redisd.h"

static const char text[] =
	"listen: {path: /s}\n"
	"memory: {limit: 1M}\n"
	"redis: {url: 'unix://${REDIS_SOCKET}'}\n"
	"types:\n"
	"  plain: {key: 'plain:{name}', ttl: 100s}\n"
	"  brief: {key: 'brief:{name}', ttl: 100s, memory_ttl: 10s}\n"
	"  local: {key: 'local:{name}', ttl: 100s, memory_ttl: 10s, tiers: [memory]}\n"
	"  remote: {key: 'remote:{name}', ttl: 100s, tiers: [redis], negative_ttl: 5s}\n"
	"  endless: {key: 'endless:{name}', ttl: none, jitter: 50%}\n"
	"  shaky: {key: 'shaky:{name}', ttl: 1000s, jitter: 20%}\n"
	"  negative: {key: 'negative:{name}', ttl: 100s, negative_ttl: 5s}\n"
	"  exact: {key: 'plain:exact', ttl: 1s}\n"
	"  fetched: {key: 'fetched:{name}', ttl: 100s, fetch: {exec: [/x]}}\n"
	"  ahead: {key: 'ahead:{name}', ttl: 100s, refresh_ahead: 90%, fetch: {exec: [/x]}}\n"
	"  stale: {key: 'stale:{name}', ttl: 100s, stale_while_revalidate: 20s, stale_if_error: 50s, fetch: {exec: [/x]}}\n"
	"  swr: {key: 'swr:{name}', ttl: 100s, stale_while_revalidate: 20s, fetch: {exec: [/x]}}\n"
	"  hidden: {key: 'hidden:{name}', ttl: 100s, tiers: [memory], fetch: {exec: [/x]}}\n";

static struct conf *conf;
static struct memory *memory;
static struct tiers tiers;

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
	(void)arg;
	tiers_set_coherence(&tiers, now);
}

static const struct redis_watch watch = {.on_change = on_change, .on_flush = on_event,
	.on_coherence = on_coherence, .on_up = on_event};

static void setup(void)
{
	redisd_init();
	setenv("REDIS_SOCKET", socket_path, 1);
	conf = load();
	memory = tiers_new_memory(conf);
	tiers_init(&tiers, conf, memory);
	tiers.redis = redis_new(base, &conf->redis, &watch);
}

static void teardown(void)
{
	redis_free(tiers.redis);
	tiers_fini(&tiers);
	memory_free(memory);
	conf_free(conf);
	redisd_fini();
}

/* The same with a server that is up and tracked. */
static void setup_server(void)
{
	setup();
	start_server(NULL);
	run_until(redis_coherence(tiers.redis) == COHERENCE_TRACKING, LIMIT_MS);
}

static struct key key_named(const char *name)
{
	return key_of(name, strlen(name));
}

static const struct conf_type *type_of(const char *name)
{
	struct key key = key_named(name);
	return tiers_type(&tiers, &key);
}

static const struct memory_entry *entry_of(const char *name)
{
	struct key key = key_named(name);
	return memory_get(memory, &key, clock_ms());
}

static int remember(const char *name, int64_t ttl_ms)
{
	struct key key = key_named(name);
	struct value *v = value_copy("v", 1);
	int result = tiers_remember(&tiers, type_of(name), &key, v, ttl_ms, SOURCE_FETCH, tiers.epoch);
	value_unref(v);
	return result;
}

static void remember_absent(const char *name)
{
	struct key key = key_named(name);
	tiers_remember_absent(&tiers, type_of(name), &key, type_of(name)->negative_ttl_ms, tiers.epoch);
}

/* What the entry of name is worth in ms from now. The clock stays moved. */
static enum freshness judge_after(const char *name, int64_t ms)
{
	clock_skew(ms);
	const struct memory_entry *e = entry_of(name);
	ck_assert_msg(e, "%s is gone", name);
	enum freshness fresh = tiers_judge(&tiers, type_of(name), e);
	ck_assert_msg(!tiers_is_fresh(&tiers, e, clock_ms()) || fresh == FRESH_YES, "%s: the short test says fresh, and the long %d", name, fresh);
	return fresh;
}

/* ---- types ---- */

START_TEST(key_belongs_to_the_type_that_declares_it)
{
	ck_assert_str_eq(type_of("plain:x")->name, "plain");
	ck_assert_str_eq(type_of("plain:exact")->name, "exact");
	ck_assert(tiers_is_declared(&tiers, type_of("plain:x")));
}
END_TEST

START_TEST(key_of_no_type_is_in_redis_only)
{
	static const char *const names[] = {"other", "plain:", "plain", "xplain:a"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct conf_type *type = type_of(names[i]);
		ck_assert(!tiers_is_declared(&tiers, type));
		ck_assert(type->in_redis && !type->in_memory);
		ck_assert_int_eq(type->fetch.kind, CONF_FETCH_NONE);
		ck_assert_uint_eq(type->max_value, conf->max_request);
		ck_assert_int_eq(tiers_ttl_ms(type), 0);
		ck_assert_int_eq(remember(names[i], 1000), -1);
		remember_absent(names[i]);
	}
	ck_assert_uint_eq(memory_entries(memory), 0);
}
END_TEST

START_TEST(each_type_counts_for_itself)
{
	for (size_t i = 0; i < conf->n_types; i++)
		tiers_count(&tiers, &conf->types[i])->sets = i + 1;
	tiers_count(&tiers, type_of("other"))->sets = 100;
	for (size_t i = 0; i < conf->n_types; i++)
		ck_assert_uint_eq(tiers_count(&tiers, &conf->types[i])->sets, i + 1);
	ck_assert_uint_eq(tiers_count(&tiers, type_of("other"))->sets, 100);
}
END_TEST

START_TEST(redis_is_a_tier_where_declared_and_not_off)
{
	ck_assert(tiers_has_redis(&tiers, type_of("plain:x")));
	ck_assert(tiers_has_redis(&tiers, type_of("other")));
	ck_assert(!tiers_has_redis(&tiers, type_of("local:x")));
	ck_assert(!tiers_reaches_redis(&tiers, type_of("plain:x")));    /* it is down */
	struct redis *redis = tiers.redis;
	tiers.redis = NULL;
	ck_assert(!tiers_has_redis(&tiers, type_of("plain:x")));
	ck_assert(!tiers_reaches_redis(&tiers, type_of("plain:x")));
	tiers.redis = redis;
}
END_TEST

/* ---- lifetimes ---- */

START_TEST(ttl_without_jitter_is_the_types)
{
	for (int i = 0; i < 1000; i++)
		if (tiers_ttl_ms(type_of("plain:x")) != 100000)
			ck_abort_msg("it varies");
}
END_TEST

START_TEST(type_without_ttl_has_none_whatever_the_jitter)
{
	for (int i = 0; i < 1000; i++)
		if (tiers_ttl_ms(type_of("endless:x")) != 0)
			ck_abort_msg("it has one");
}
END_TEST

/* Of 10,000 even draws from 200,000 values about 9,750 differ, and each hundredth part of the range is met. */
START_TEST(jitter_shortens_by_up_to_its_part_and_evenly)
{
	enum { DRAWS = 10000, PARTS = 100 };
	unsigned met[PARTS] = {0};
	int64_t last = 0;
	unsigned repeats = 0;
	for (int i = 0; i < DRAWS; i++) {
		int64_t ttl_ms = tiers_ttl_ms(type_of("shaky:x"));
		if (ttl_ms <= 800000 || ttl_ms > 1000000)
			ck_abort_msg("%lld ms", (long long)ttl_ms);
		met[(1000000 - ttl_ms) * PARTS / 200000]++;
		repeats += ttl_ms == last;
		last = ttl_ms;
	}
	ck_assert_uint_lt(repeats, 10);
	for (size_t i = 0; i < PARTS; i++)
		ck_assert_msg(met[i] > 40 && met[i] < 180, "part %zu was met %u times", i, met[i]);
}
END_TEST

/* How long from now the entry is fresh without a second thought. */
static int64_t fresh_for_ms(const char *name)
{
	const struct memory_entry *e = entry_of(name);
	int64_t ms = 0;
	while (tiers_is_fresh(&tiers, e, clock_ms() + ms))
		ms++;
	return ms;
}

/* 0 would mean: no end. */
START_TEST(jitter_leaves_something_of_the_shortest_ttl)
{
	struct conf_type shortest = {.ttl_ms = 1, .jitter = 0.5};
	for (int i = 0; i < 10000; i++)
		if (tiers_ttl_ms(&shortest) != 1)
			ck_abort_msg("%lld ms", (long long)tiers_ttl_ms(&shortest));
}
END_TEST

START_TEST(value_is_remembered_for_its_ttl)
{
	ck_assert_int_eq(remember("plain:a", 90000), 0);
	const struct memory_entry *e = entry_of("plain:a");
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(memory_stored_ms(e), clock_ms());
	ck_assert_int_eq(e->expires_ms, clock_ms() + 90000);
	ck_assert_int_eq(e->source, SOURCE_FETCH);
	ck_assert_uint_eq(e->type, type_of("plain:a")->index);
	ck_assert_uint_eq(memory_value(e)->refs, 1);
	clock_skew(50000);
	ck_assert_ptr_nonnull(entry_of("plain:a"));
	clock_skew(40000);
	ck_assert_ptr_null(entry_of("plain:a"));
}
END_TEST

START_TEST(value_without_ttl_is_remembered_without_end)
{
	ck_assert_int_eq(remember("endless:a", 0), 0);
	ck_assert_int_eq(entry_of("endless:a")->expires_ms, MEMORY_FOREVER);
	clock_skew((int64_t)1 << 40);
	ck_assert_ptr_nonnull(entry_of("endless:a"));
}
END_TEST

/* After it memory is not believed without Redis. */
START_TEST(memory_ttl_ends_trust_in_memory_where_redis_answers)
{
	ck_assert_int_eq(remember("brief:a", 100000), 0);
	ck_assert_int_eq(fresh_for_ms("brief:a"), 10000);
	ck_assert_int_eq(entry_of("brief:a")->expires_ms, clock_ms() + 100000);
	ck_assert_int_eq(judge_after("brief:a", 5000), FRESH_YES);
	ck_assert_int_eq(judge_after("brief:a", 5000), FRESH_SUSPECT);
}
END_TEST

/* Nothing better is to be had. */
START_TEST(memory_ttl_is_no_end_while_redis_is_down)
{
	ck_assert_int_eq(remember("brief:a", 100000), 0);
	ck_assert_int_eq(judge_after("brief:a", 95000), FRESH_YES);
}
END_TEST

/* Nobody else has it: it lives its whole life here. */
START_TEST(memory_ttl_is_no_end_where_redis_is_no_tier)
{
	ck_assert_int_eq(remember("local:a", 100000), 0);
	ck_assert_int_eq(fresh_for_ms("local:a"), 100000);
	struct redis *redis = tiers.redis;
	tiers.redis = NULL;
	ck_assert_int_eq(remember("brief:a", 100000), 0);
	ck_assert_int_eq(judge_after("brief:a", 50000), FRESH_YES);
	ck_assert_int_eq(judge_after("local:a", 0), FRESH_YES);
	tiers.redis = redis;
}
END_TEST

START_TEST(nothing_is_remembered_where_memory_is_no_tier)
{
	ck_assert_int_eq(remember("remote:a", 1000), -1);
	remember_absent("remote:a");
	ck_assert_uint_eq(memory_entries(memory), 0);
}
END_TEST

START_TEST(value_that_does_not_fit_leaves_nothing)
{
	struct key key = key_named("plain:a");
	struct value *v = value_new(2 << 20);
	ck_assert_int_eq(remember("plain:a", 1000), 0);
	ck_assert_int_eq(tiers_remember(&tiers, type_of("plain:a"), &key, v, 1000, SOURCE_FETCH, tiers.epoch), -1);
	ck_assert_uint_eq(memory_entries(memory), 0);
	value_unref(v);
}
END_TEST

START_TEST(absence_is_remembered_for_negative_ttl)
{
	remember_absent("negative:a");
	const struct memory_entry *e = entry_of("negative:a");
	ck_assert(e && !memory_value(e));
	ck_assert_int_eq(e->expires_ms, clock_ms() + 5000);
	clock_skew(5000);
	ck_assert_ptr_null(entry_of("negative:a"));
	remember_absent("plain:a");             /* a type that has none */
	ck_assert_ptr_null(entry_of("plain:a"));
}
END_TEST

/* ---- freshness by time ---- */

START_TEST(value_without_stale_windows_is_fresh_to_its_end_and_then_gone)
{
	remember("fetched:a", 100000);
	remember("plain:a", 100000);
	ck_assert_int_eq(judge_after("fetched:a", 95000), FRESH_YES);
	ck_assert_int_eq(judge_after("plain:a", 0), FRESH_YES);
	clock_skew(5000);
	ck_assert(!entry_of("fetched:a") && !entry_of("plain:a"));
}
END_TEST

START_TEST(refresh_ahead_begins_at_its_part_of_the_ttl)
{
	remember("ahead:a", 100000);
	ck_assert_int_eq(judge_after("ahead:a", 85000), FRESH_YES);
	ck_assert_int_eq(judge_after("ahead:a", 6000), FRESH_AHEAD);
	ck_assert_int_eq(judge_after("ahead:a", 4000), FRESH_AHEAD);
	clock_skew(5000);
	ck_assert_ptr_null(entry_of("ahead:a"));
}
END_TEST

/* A value that a client gave a TTL of its own is not fetched over at once. */
START_TEST(refresh_ahead_counts_by_the_ttl_of_the_value)
{
	remember("ahead:a", 50000);
	ck_assert_int_eq(judge_after("ahead:a", 44000), FRESH_YES);
	ck_assert_int_eq(judge_after("ahead:a", 2000), FRESH_AHEAD);
	remember("ahead:b", 5000);
	ck_assert_int_eq(judge_after("ahead:b", 4000), FRESH_YES);
	ck_assert_int_eq(judge_after("ahead:b", 600), FRESH_AHEAD);
}
END_TEST

START_TEST(stale_windows_follow_each_other)
{
	remember("stale:a", 100000);
	ck_assert_int_eq(judge_after("stale:a", 95000), FRESH_YES);
	ck_assert_int_eq(judge_after("stale:a", 5000), FRESH_STALE);
	ck_assert_int_eq(judge_after("stale:a", 15000), FRESH_STALE);
	ck_assert_int_eq(judge_after("stale:a", 5000), FRESH_HELD);
	ck_assert_int_eq(judge_after("stale:a", 25000), FRESH_HELD);
	clock_skew(5000);
	ck_assert_ptr_null(entry_of("stale:a"));
}
END_TEST

START_TEST(value_that_comes_stale_is_kept_for_what_is_left_of_its_window)
{
	remember("stale:a", -10000);
	ck_assert_int_eq(judge_after("stale:a", 0), FRESH_STALE);
	ck_assert_int_eq(judge_after("stale:a", 10000), FRESH_HELD);
	ck_assert_int_eq(judge_after("stale:a", 25000), FRESH_HELD);
	clock_skew(5000);
	ck_assert_ptr_null(entry_of("stale:a"));
}
END_TEST

START_TEST(absence_is_never_refreshed_ahead_or_served_stale)
{
	struct key ahead = key_named("ahead:a"), stale = key_named("stale:a");
	tiers_remember_absent(&tiers, type_of("ahead:a"), &ahead, 5000, tiers.epoch);
	tiers_remember_absent(&tiers, type_of("stale:a"), &stale, 5000, tiers.epoch);
	ck_assert_int_eq(judge_after("ahead:a", 3000), FRESH_YES);
	ck_assert_int_eq(judge_after("stale:a", 0), FRESH_YES);
	clock_skew(2000);
	ck_assert(!entry_of("ahead:a") && !entry_of("stale:a"));
}
END_TEST

START_TEST(new_ttl_moves_all_that_follows_from_it)
{
	struct key key = key_named("stale:a");
	remember("stale:a", 100000);
	tiers_set_ttl(memory_peek(memory, &key, clock_ms()), 10000);
	ck_assert_int_eq(judge_after("stale:a", 5000), FRESH_YES);
	ck_assert_int_eq(judge_after("stale:a", 5000), FRESH_STALE);
	ck_assert_int_eq(judge_after("stale:a", 20000), FRESH_HELD);
	tiers_set_ttl(memory_peek(memory, &key, clock_ms()), 0);
	ck_assert_int_eq(judge_after("stale:a", (int64_t)1 << 40), FRESH_YES);
}
END_TEST

/* ---- TTLs in Redis ---- */

START_TEST(redis_keeps_a_fetched_value_for_the_longer_window_more)
{
	static const struct {
		const char *name;
		int64_t window_ms;
	} rows[] = {{"plain:a", 0}, {"fetched:a", 0}, {"stale:a", 50000}, {"swr:a", 20000}, {"other", 0}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct conf_type *type = type_of(rows[i].name);
		ck_assert_int_eq(tiers_window_ms(type), rows[i].window_ms);
		ck_assert_int_eq(tiers_redis_ttl_ms(type, 1000), 1000 + rows[i].window_ms);
		ck_assert_int_eq(tiers_redis_ttl_ms(type, 0), 0);
		ck_assert_int_eq(tiers_redis_end_ms(type, 1000), 1000 + rows[i].window_ms);
		ck_assert_int_eq(tiers_redis_end_ms(type, INT64_MAX - 1), INT64_MAX - (rows[i].window_ms == 0));
		ck_assert_int_eq(tiers_logical_ttl_ms(type, -1), 0);
	}
}
END_TEST

START_TEST(logical_ttl_comes_back_from_redis_as_it_went)
{
	static const int64_t ttls[] = {1, 999, 100000, (int64_t)1 << 40};
	static const char *const names[] = {"plain:a", "stale:a", "swr:a"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (size_t j = 0; j < sizeof(ttls) / sizeof(ttls[0]); j++) {
			const struct conf_type *type = type_of(names[i]);
			ck_assert_int_eq(tiers_logical_ttl_ms(type, tiers_redis_ttl_ms(type, ttls[j])), ttls[j]);
		}
}
END_TEST

/* 0 would mean: no end. */
START_TEST(what_redis_keeps_past_the_ttl_is_stale_and_never_endless)
{
	const struct conf_type *type = type_of("stale:a");
	ck_assert_int_eq(tiers_logical_ttl_ms(type, 50001), 1);
	ck_assert_int_eq(tiers_logical_ttl_ms(type, 50000), -1);
	ck_assert_int_eq(tiers_logical_ttl_ms(type, 49999), -1);
	ck_assert_int_eq(tiers_logical_ttl_ms(type, 30000), -20000);
	ck_assert_int_lt(tiers_logical_ttl_ms(type, 0), 0);
	ck_assert_int_lt(tiers_logical_ttl_ms(type_of("plain:a"), 0), 0);
}
END_TEST

/* ---- trust ---- */

START_TEST(nothing_held_is_trusted_while_deaf)
{
	tiers_set_coherence(&tiers, COHERENCE_TRACKING);
	remember("plain:a", 100000);
	remember_absent("negative:a");
	ck_assert_int_eq(judge_after("plain:a", 0), FRESH_YES);
	tiers_set_coherence(&tiers, COHERENCE_DEAF);
	ck_assert_int_eq(judge_after("plain:a", 0), FRESH_SUSPECT);
	ck_assert_int_eq(judge_after("negative:a", 0), FRESH_SUSPECT);
	remember("plain:b", 100000);            /* what comes now may change unheard too */
	ck_assert_int_eq(judge_after("plain:b", 0), FRESH_SUSPECT);
}
END_TEST

START_TEST(all_that_is_held_is_trusted_while_redis_is_away)
{
	tiers_set_coherence(&tiers, COHERENCE_TRACKING);
	remember("plain:a", 100000);
	tiers_set_coherence(&tiers, COHERENCE_DEAF);
	remember("plain:b", 100000);
	tiers_set_coherence(&tiers, COHERENCE_AWAY);
	remember("plain:c", 100000);
	ck_assert_int_eq(judge_after("plain:a", 0), FRESH_YES);
	ck_assert_int_eq(judge_after("plain:b", 0), FRESH_YES);
	ck_assert_int_eq(judge_after("plain:c", 0), FRESH_YES);
}
END_TEST

START_TEST(what_is_from_before_a_break_is_suspect_and_what_comes_after_is_not)
{
	static const enum coherence heard[] = {COHERENCE_TRACKING, COHERENCE_PUBSUB};
	for (size_t i = 0; i < 2; i++) {
		tiers_set_coherence(&tiers, COHERENCE_TRACKING);
		uint32_t before = tiers.epoch;
		remember("plain:a", 100000);
		tiers_set_coherence(&tiers, COHERENCE_AWAY);
		remember("plain:b", 100000);
		tiers_set_coherence(&tiers, COHERENCE_DEAF);
		remember("plain:c", 100000);
		tiers_set_coherence(&tiers, heard[i]);
		ck_assert_uint_gt(tiers.epoch, before);
		remember("plain:d", 100000);
		ck_assert_int_eq(judge_after("plain:a", 0), FRESH_SUSPECT);
		ck_assert_int_eq(judge_after("plain:b", 0), FRESH_SUSPECT);
		ck_assert_int_eq(judge_after("plain:c", 0), FRESH_SUSPECT);
		ck_assert_int_eq(judge_after("plain:d", 0), FRESH_YES);
	}
}
END_TEST

START_TEST(what_is_distrusted_is_suspect_and_what_comes_after_is_not)
{
	tiers_set_coherence(&tiers, COHERENCE_TRACKING);
	remember("plain:a", 100000);
	tiers_distrust(&tiers);
	remember("plain:b", 100000);
	ck_assert_int_eq(judge_after("plain:a", 0), FRESH_SUSPECT);
	ck_assert_int_eq(judge_after("plain:b", 0), FRESH_YES);
	tiers_set_coherence(&tiers, COHERENCE_DEAF);
	tiers_distrust(&tiers);
	remember("plain:c", 100000);            /* still deaf */
	ck_assert_int_eq(judge_after("plain:c", 0), FRESH_SUSPECT);
	tiers_set_coherence(&tiers, COHERENCE_AWAY);
	tiers_distrust(&tiers);
	ck_assert_int_eq(judge_after("plain:a", 0), FRESH_YES);
}
END_TEST

/* A fetch that took from one epoch to the next. */
START_TEST(value_is_trusted_as_what_came_under_the_epoch_it_is_given)
{
	struct key key = key_named("plain:a");
	struct value *v = value_copy("v", 1);
	tiers_set_coherence(&tiers, COHERENCE_TRACKING);
	uint32_t began = tiers.epoch;
	tiers_set_coherence(&tiers, COHERENCE_DEAF);
	tiers_set_coherence(&tiers, COHERENCE_TRACKING);
	ck_assert_int_eq(tiers_remember(&tiers, type_of("plain:a"), &key, v, 100000, SOURCE_FETCH, began), 0);
	ck_assert_int_eq(judge_after("plain:a", 0), FRESH_SUSPECT);
	tiers_remember_absent(&tiers, type_of("plain:a"), &key, 5000, began);
	ck_assert_int_eq(judge_after("plain:a", 0), FRESH_SUSPECT);
	value_unref(v);
}
END_TEST

START_TEST(type_that_is_in_memory_only_is_never_suspect)
{
	remember("hidden:a", 100000);
	remember("local:a", 100000);
	tiers_set_coherence(&tiers, COHERENCE_TRACKING);
	tiers_set_coherence(&tiers, COHERENCE_DEAF);
	ck_assert_int_eq(judge_after("hidden:a", 0), FRESH_YES);
	ck_assert_int_eq(judge_after("local:a", 50000), FRESH_YES);
}
END_TEST

START_TEST(guard_counts_its_changes_and_nothing_else)
{
	uint64_t before = tiers.guard_changes;
	tiers_set_guarded(&tiers, false);
	ck_assert(!tiers.is_guarded && tiers.guard_changes == before);
	tiers_set_guarded(&tiers, true);
	tiers_set_guarded(&tiers, true);
	ck_assert(tiers.is_guarded && tiers.guard_changes == before + 1);
	tiers_set_guarded(&tiers, false);
	ck_assert(!tiers.is_guarded && tiers.guard_changes == before + 2);
}
END_TEST

/* ---- changes ---- */

START_TEST(forgotten_key_is_gone_and_its_fences_are_broken)
{
	struct key a = key_named("plain:a"), b = key_named("plain:b");
	struct fence on_a, on_b;
	remember("plain:a", 1000);
	remember("plain:b", 1000);
	fence_set(&tiers.fences, &on_a, &a);
	fence_set(&tiers.fences, &on_b, &b);
	ck_assert(tiers_forget(&tiers, &a));
	ck_assert(!tiers_forget(&tiers, &a));
	ck_assert(!entry_of("plain:a") && entry_of("plain:b"));
	ck_assert(!fence_lift(&tiers.fences, &on_a));
	ck_assert(fence_lift(&tiers.fences, &on_b));
}
END_TEST

START_TEST(forgetting_what_is_absent_or_past_says_that_nothing_was_there)
{
	struct key absent = key_named("negative:a"), past = key_named("plain:a");
	remember_absent("negative:a");
	remember("plain:a", 1000);
	clock_skew(1000);
	ck_assert(!tiers_forget(&tiers, &absent));
	ck_assert(!tiers_forget(&tiers, &past));
	ck_assert_uint_eq(memory_entries(memory), 0);
}
END_TEST

/* ---- counters ---- */

START_TEST(table_has_every_counter_once)
{
	bool seen[sizeof(struct type_counters) / sizeof(uint64_t)] = {false};
	ck_assert_uint_eq(tiers_n_counters, sizeof(seen) / sizeof(seen[0]));
	for (size_t i = 0; i < tiers_n_counters; i++) {
		const struct counter *c = &tiers_counters[i];
		ck_assert_uint_eq(c->offset % sizeof(uint64_t), 0);
		ck_assert_uint_lt(c->offset, sizeof(struct type_counters));
		ck_assert_msg(!seen[c->offset / sizeof(uint64_t)], "%s is told twice", c->name);
		seen[c->offset / sizeof(uint64_t)] = true;
		ck_assert_msg(c->name[0] && c->name[strspn(c->name, "abcdefghijklmnopqrstuvwxyz_")] == '\0', "%s", c->name);
		ck_assert_msg(c->help && strlen(c->help) > 10, "%s has no help", c->name);
		ck_assert_msg(strncmp(c->metric, "catcached_", 10) == 0 && strstr(c->metric, "_total"), "%s has no metric", c->name);
		for (size_t j = 0; j < i; j++)
			ck_assert_msg(strcmp(c->metric, tiers_counters[j].metric) != 0 || strcmp(c->labels, tiers_counters[j].labels) != 0,
				"%s and %s are one in METRICS", c->name, tiers_counters[j].name);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(c->name, tiers_counters[j].name);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tiers");
	TCase *tc = tcase_create("tiers");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, key_belongs_to_the_type_that_declares_it);
	tcase_add_test(tc, key_of_no_type_is_in_redis_only);
	tcase_add_test(tc, each_type_counts_for_itself);
	tcase_add_test(tc, redis_is_a_tier_where_declared_and_not_off);
	tcase_add_test(tc, ttl_without_jitter_is_the_types);
	tcase_add_test(tc, type_without_ttl_has_none_whatever_the_jitter);
	tcase_add_test(tc, jitter_shortens_by_up_to_its_part_and_evenly);
	tcase_add_test(tc, jitter_leaves_something_of_the_shortest_ttl);
	tcase_add_test(tc, value_is_remembered_for_its_ttl);
	tcase_add_test(tc, value_without_ttl_is_remembered_without_end);
	tcase_add_test(tc, memory_ttl_is_no_end_while_redis_is_down);
	tcase_add_test(tc, memory_ttl_is_no_end_where_redis_is_no_tier);
	tcase_add_test(tc, nothing_is_remembered_where_memory_is_no_tier);
	tcase_add_test(tc, value_that_does_not_fit_leaves_nothing);
	tcase_add_test(tc, absence_is_remembered_for_negative_ttl);
	tcase_add_test(tc, value_without_stale_windows_is_fresh_to_its_end_and_then_gone);
	tcase_add_test(tc, refresh_ahead_begins_at_its_part_of_the_ttl);
	tcase_add_test(tc, refresh_ahead_counts_by_the_ttl_of_the_value);
	tcase_add_test(tc, stale_windows_follow_each_other);
	tcase_add_test(tc, value_that_comes_stale_is_kept_for_what_is_left_of_its_window);
	tcase_add_test(tc, absence_is_never_refreshed_ahead_or_served_stale);
	tcase_add_test(tc, new_ttl_moves_all_that_follows_from_it);
	tcase_add_test(tc, redis_keeps_a_fetched_value_for_the_longer_window_more);
	tcase_add_test(tc, logical_ttl_comes_back_from_redis_as_it_went);
	tcase_add_test(tc, what_redis_keeps_past_the_ttl_is_stale_and_never_endless);
	tcase_add_test(tc, nothing_held_is_trusted_while_deaf);
	tcase_add_test(tc, all_that_is_held_is_trusted_while_redis_is_away);
	tcase_add_test(tc, what_is_from_before_a_break_is_suspect_and_what_comes_after_is_not);
	tcase_add_test(tc, what_is_distrusted_is_suspect_and_what_comes_after_is_not);
	tcase_add_test(tc, value_is_trusted_as_what_came_under_the_epoch_it_is_given);
	tcase_add_test(tc, type_that_is_in_memory_only_is_never_suspect);
	tcase_add_test(tc, guard_counts_its_changes_and_nothing_else);
	tcase_add_test(tc, forgotten_key_is_gone_and_its_fences_are_broken);
	tcase_add_test(tc, forgetting_what_is_absent_or_past_says_that_nothing_was_there);
	tcase_add_test(tc, table_has_every_counter_once);
	suite_add_tcase(suite, tc);

	tc = tcase_create("with a server");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup_server, teardown);
	tcase_add_test(tc, memory_ttl_ends_trust_in_memory_where_redis_answers);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
