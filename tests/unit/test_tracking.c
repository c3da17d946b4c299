/* tracking.c through struct redis: what is heard of changes in a real redis-server,
 * how a link that hears nothing any more is noticed, and what is left where the server
 * refuses CLIENT TRACKING. */
#include "../../daemon/tracking.h"

#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../conf/conf.h"
#include "../../daemon/clock.h"
#include "../../daemon/redis.h"
#include "../../daemon/value.h"
#include "redisd.h"

#define NOTICED_MS 2000         /* the promise: a break is noticed, and mended, within so much */
#define HEARD_MAX 64

struct sidecar {
	struct redis *redis;
	char heard[HEARD_MAX][32];      /* names of keys that changed, in order */
	size_t n_heard;
	unsigned flushes, ups;
	enum coherence states[HEARD_MAX];
	size_t n_states;
};

static struct sidecar a, b;
static struct conf_redis conf;

/* ---- the sidecars ---- */

static void on_change(void *arg, const struct key *key)
{
	struct sidecar *s = arg;
	ck_assert_uint_lt(s->n_heard, HEARD_MAX);
	snprintf(s->heard[s->n_heard++], sizeof(s->heard[0]), "%.*s", (int)key->len, key->data);
}

static void on_flush(void *arg)
{
	((struct sidecar *)arg)->flushes++;
}

static void on_coherence(void *arg, enum coherence now)
{
	struct sidecar *s = arg;
	ck_assert_uint_lt(s->n_states, HEARD_MAX);
	ck_assert_msg(s->n_states == 0 || s->states[s->n_states - 1] != now, "told twice");
	s->states[s->n_states++] = now;
}

static void on_up(void *arg)
{
	((struct sidecar *)arg)->ups++;
}

static void open_sidecar(struct sidecar *s)
{
	static const char *const prefixes[] = {"models:", "tool:"};
	*s = (struct sidecar){0};
	s->redis = redis_new(base, &conf, &(struct redis_watch){.prefixes = prefixes, .n_prefixes = 2,
		.on_change = on_change, .on_flush = on_flush, .on_coherence = on_coherence, .on_up = on_up, .arg = s});
}

static bool is_tracking(const struct sidecar *s)
{
	return redis_coherence(s->redis) == COHERENCE_TRACKING;
}

static bool has_heard(const struct sidecar *s, const char *name)
{
	for (size_t i = 0; i < s->n_heard; i++)
		if (strcmp(s->heard[i], name) == 0)
			return true;
	return false;
}

static void forget(struct sidecar *s)
{
	s->n_heard = s->n_states = 0;
}

static void setup_server(void)
{
	redisd_init();
	start_server(NULL);
	conf = (struct conf_redis){.unix_path = socket_path, .connect_timeout_ms = LIMIT_MS, .timeout_ms = LIMIT_MS};
}

static void setup(void)
{
	setup_server();
	open_sidecar(&a);
	run_until(is_tracking(&a), LIMIT_MS);
}

static void teardown(void)
{
	redis_free(a.redis);
	redis_free(b.redis);
	a.redis = b.redis = NULL;
	redisd_fini();
}

/* CLIENT ID of the first client of this name. */
static long long client_named(const char *name)
{
	char wanted[64];
	long long id = 0;
	redisReply *list = tell("CLIENT LIST");
	snprintf(wanted, sizeof(wanted), " name=%s ", name);
	for (char *save = NULL, *line = strtok_r(list->str, "\n", &save); line && !id; line = strtok_r(NULL, "\n", &save))
		if (strstr(line, wanted))
			id = strtoll(line + strlen("id="), NULL, 10);
	freeReplyObject(list);
	ck_assert_msg(id, "no client is called %s", name);
	return id;
}

static void kill_client(const char *name)
{
	ck_assert_int_eq(number_of(tell("CLIENT KILL ID %lld", client_named(name))), 1);
}

/* ---- hearing ---- */

START_TEST(state_goes_from_away_over_deaf_to_tracking)
{
	static const enum coherence expected[] = {COHERENCE_DEAF, COHERENCE_TRACKING};
	ck_assert_uint_eq(a.n_states, 2);
	ck_assert_mem_eq(a.states, expected, sizeof(expected));
	ck_assert_uint_eq(a.ups, 1);
	kill_server();
	run_until(redis_coherence(a.redis) == COHERENCE_AWAY, NOTICED_MS);
}
END_TEST

START_TEST(every_change_of_a_tracked_key_is_heard)
{
	static const char *const changes[] = {"SET models:a x", "SET models:a x", "APPEND models:a y", "PEXPIRE models:a 60000",
		"RENAME models:a models:b", "DEL models:b", "RPUSH tool:list x", "LPOP tool:list"};
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		forget(&a);
		told(changes[i]);
		run_until(a.n_heard, LIMIT_MS);
	}
	forget(&a);
	told("EVAL %s 0", "redis.call('SET','tool:x',1)");
	run_until(has_heard(&a, "tool:x"), LIMIT_MS);
}
END_TEST

START_TEST(expiry_is_heard)
{
	told("SET models:a x PX 50");
	run_until(a.n_heard == 1, LIMIT_MS);
	run_until(a.n_heard == 2, LIMIT_MS);
	ck_assert_str_eq(a.heard[1], "models:a");
	ck_assert_int_eq(number_of(tell("EXISTS models:a")), 0);
}
END_TEST

START_TEST(other_keys_and_reads_are_not_heard)
{
	told("SET other x");
	told("SET models x");
	told("SET xmodels:a x");
	told("GET models:a");
	told("SET models:end x");
	run_until(a.n_heard, LIMIT_MS);
	ck_assert_uint_eq(a.n_heard, 1);
	ck_assert_str_eq(a.heard[0], "models:end");
}
END_TEST

START_TEST(flush_of_the_database_is_heard)
{
	told("SET models:a x");
	told("FLUSHDB");
	run_until(a.flushes == 1, LIMIT_MS);
	told("FLUSHALL");
	run_until(a.flushes == 2, LIMIT_MS);
	told("SET models:b x");
	run_until(has_heard(&a, "models:b"), LIMIT_MS);
}
END_TEST

START_TEST(keys_of_any_bytes_are_heard_as_they_are)
{
	told("SET %b x", "models:\0\r\n ", (size_t)11);
	run_until(a.n_heard, LIMIT_MS);
	told("SET models:end x");
	run_until(has_heard(&a, "models:end"), LIMIT_MS);
}
END_TEST

/* ---- breaks ---- */

/* Deaf first, then tracking again, all within the promise; and then it hears. */
static void expect_mended(int64_t began_ms)
{
	run_until(a.n_states >= 2 && is_tracking(&a), NOTICED_MS);
	ck_assert_int_le(now_ms() - began_ms, NOTICED_MS);
	ck_assert_int_ne(a.states[0], COHERENCE_TRACKING);
	forget(&a);
	told("SET models:after x");
	run_until(has_heard(&a, "models:after"), LIMIT_MS);
}

START_TEST(lost_subscriber_is_noticed_and_comes_back)
{
	for (unsigned i = 0; i < 3; i++) {
		forget(&a);
		kill_client("catcached-tracking");
		expect_mended(now_ms());
		ck_assert(redis_up(a.redis));
	}
	ck_assert_uint_eq(redis_stats(a.redis)->drops, 0);
}
END_TEST

START_TEST(lost_connection_of_the_commands_is_noticed_and_comes_back)
{
	forget(&a);
	kill_client("catcached");
	int64_t began_ms = now_ms();
	run_until(a.n_states, NOTICED_MS);
	ck_assert_int_eq(a.states[0], COHERENCE_AWAY);
	expect_mended(began_ms);
	ck_assert_uint_eq(a.ups, 2);
}
END_TEST

START_TEST(lost_probe_harms_nothing)
{
	forget(&a);
	kill_client("catcached-probe");
	run_for(NOTICED_MS);
	ck_assert_uint_eq(a.n_states, 0);
	ck_assert(is_tracking(&a));
}
END_TEST

/* All at once, as by a proxy that is restarted. */
START_TEST(loss_of_all_connections_is_noticed_and_they_come_back)
{
	forget(&a);
	told("CLIENT KILL TYPE normal SKIPME yes");
	told("CLIENT KILL TYPE pubsub SKIPME yes");
	expect_mended(now_ms());
}
END_TEST

START_TEST(server_restarted_is_tracked_again)
{
	forget(&a);
	kill_server();
	run_until(redis_coherence(a.redis) == COHERENCE_AWAY, NOTICED_MS);
	start_server(NULL);
	run_until(is_tracking(&a), NOTICED_MS + 1000);  /* a second is for coming up */
	forget(&a);
	told("SET models:after x");
	run_until(has_heard(&a, "models:after"), LIMIT_MS);
}
END_TEST

/* The link of the commands has a long time-out here: it is the probe that notices. */
START_TEST(server_that_hangs_is_noticed_and_tracked_again)
{
	forget(&a);
	pause_server();
	run_until(a.n_states, NOTICED_MS);
	ck_assert_int_eq(a.states[0], COHERENCE_DEAF);
	resume_server();
	run_until(is_tracking(&a), NOTICED_MS);
	told("SET models:after x");
	run_until(has_heard(&a, "models:after"), LIMIT_MS);
}
END_TEST

/* Tracking that ended without a word: a connection that is up, and never says so. */
START_TEST(silent_end_of_tracking_is_noticed_by_the_probe)
{
	forget(&a);
	told("ACL SETUSER default -subscribe resetchannels");   /* messages to the subscriber stop, or it is dropped */
	run_until(a.n_states, 2 * NOTICED_MS);
	ck_assert_int_ne(a.states[0], COHERENCE_TRACKING);
	told("ACL SETUSER default +subscribe allchannels");
	run_until(is_tracking(&a), LIMIT_MS);
}
END_TEST

START_TEST(quiet_link_is_proved_over_and_over)
{
	forget(&a);
	run_for(3 * NOTICED_MS);
	ck_assert_uint_eq(a.n_states, 0);
	ck_assert_uint_eq(a.n_heard, 0);        /* the probe is nobody's business */
	redisReply *keys = tell("KEYS catcached:probe:*");
	ck_assert_uint_eq(keys->elements, 1);
	ck_assert_int_gt(number_of(tell("PTTL %s", keys->element[0]->str)), 0);
	freeReplyObject(keys);
}
END_TEST

/* ---- several sidecars ---- */

static void on_written(void *arg, const struct redis_result *r)
{
	ck_assert_int_eq(r->status, REDIS_ANSWERED);
	if (arg)
		*(bool *)arg = true;
}

static void write_key(struct sidecar *s, const char *name)
{
	struct key key = key_of(name, strlen(name));
	struct value *v = value_copy("x", 1);
	bool is_written = false;
	redis_write(s->redis, &key, v, 0, REDIS_ALWAYS, on_written, &is_written);
	value_unref(v);
	run_until(is_written, LIMIT_MS);
}

START_TEST(sidecars_hear_each_other_and_not_themselves)
{
	open_sidecar(&b);
	run_until(is_tracking(&b), LIMIT_MS);
	write_key(&a, "models:a");
	write_key(&b, "models:b");
	run_until(has_heard(&a, "models:b") && has_heard(&b, "models:a"), LIMIT_MS);
	told("SET models:end x");
	run_until(has_heard(&a, "models:end") && has_heard(&b, "models:end"), LIMIT_MS);
	ck_assert_uint_eq(a.n_heard, 2);
	ck_assert_uint_eq(b.n_heard, 2);
}
END_TEST

/* ---- a server that refuses ---- */

static void setup_refusing(void)
{
	setup_server();
	told("ACL SETUSER default -client|tracking");
	open_sidecar(&a);
	open_sidecar(&b);
	run_until(redis_coherence(a.redis) == COHERENCE_PUBSUB && redis_coherence(b.redis) == COHERENCE_PUBSUB, LIMIT_MS);
}

START_TEST(server_that_refuses_tracking_leaves_the_sidecars_to_each_other)
{
	struct key keys[] = {key_of("models:1", 8), key_of("models:2", 8)};
	ck_assert(redis_up(a.redis));
	write_key(&a, "models:a");
	run_until(has_heard(&b, "models:a"), LIMIT_MS);
	redis_delete(a.redis, keys, 2, on_written, NULL);
	run_until(has_heard(&b, "models:1") && has_heard(&b, "models:2"), LIMIT_MS);
	bool is_answered = false;               /* its message may be faster */
	redis_edit(b.redis, &keys[0], &(struct redis_edit){.what = REDIS_EDIT_TTL, .ttl_ms = 1000}, on_written, &is_answered);
	run_until(is_answered && has_heard(&a, "models:1"), LIMIT_MS);
	ck_assert_uint_eq(a.n_heard, 1);        /* and not its own */
	ck_assert_uint_eq(b.n_heard, 3);
}
END_TEST

static void on_acquired(void *arg, const struct redis_result *r)
{
	ck_assert_int_eq(r->number, REDIS_LEASE_WON);
	*(unsigned *)arg += 1;
}

/* A refresh changes the key as much as a write does. */
START_TEST(fill_is_told_too_where_tracking_is_refused)
{
	static const char token[] = "aaaaaaaaaaaaaaaa";
	struct key key = key_of("models:a", 8);
	struct value *v = value_copy("x", 1);
	unsigned won = 0;
	redis_acquire(a.redis, &key, &(struct redis_bid){.token = token, .lease_ms = 10000, .claim = REDIS_CLAIM_REFRESH, .awaited = ""},
		on_acquired, &won);
	run_until(won, LIMIT_MS);
	redis_fill(a.redis, &key, token, v, 0, on_written, NULL);
	value_unref(v);
	run_until(has_heard(&b, "models:a"), NOTICED_MS);
}
END_TEST

/* CLIENT ID too, which only REDIRECT needs. */
START_TEST(server_without_any_client_command_is_one_that_refuses)
{
	redis_free(a.redis);
	redis_free(b.redis);
	kill_server();
	b.redis = NULL;
	start_server((const char *const[]){"--rename-command", "CLIENT", "", NULL});
	open_sidecar(&a);
	run_until(redis_coherence(a.redis) == COHERENCE_PUBSUB, LIMIT_MS / 4);
}
END_TEST

START_TEST(lost_subscriber_comes_back_where_tracking_is_refused_too)
{
	forget(&a);
	forget(&b);
	told("CLIENT KILL TYPE pubsub");
	run_until(a.n_states >= 2 && b.n_states >= 2 && redis_coherence(a.redis) == COHERENCE_PUBSUB
		&& redis_coherence(b.redis) == COHERENCE_PUBSUB, NOTICED_MS);
	write_key(&a, "models:a");
	run_until(has_heard(&b, "models:a"), LIMIT_MS);
}
END_TEST

/* ---- ending ---- */

START_TEST(nothing_is_heard_after_the_end)
{
	told("SET models:a x");
	redis_free(a.redis);
	a.redis = NULL;
	size_t heard = a.n_heard;
	run_for(100);
	ck_assert_uint_eq(a.n_heard, heard);
	tracking_free(NULL);
}
END_TEST

START_TEST(states_have_names)
{
	ck_assert_str_eq(tracking_coherence_name(COHERENCE_AWAY), "away");
	ck_assert_str_eq(tracking_coherence_name(COHERENCE_DEAF), "deaf");
	ck_assert_str_eq(tracking_coherence_name(COHERENCE_TRACKING), "tracking");
	ck_assert_str_eq(tracking_coherence_name(COHERENCE_PUBSUB), "pubsub");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tracking");
	TCase *tc = tcase_create("tracking");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, state_goes_from_away_over_deaf_to_tracking);
	tcase_add_test(tc, every_change_of_a_tracked_key_is_heard);
	tcase_add_test(tc, expiry_is_heard);
	tcase_add_test(tc, other_keys_and_reads_are_not_heard);
	tcase_add_test(tc, flush_of_the_database_is_heard);
	tcase_add_test(tc, keys_of_any_bytes_are_heard_as_they_are);
	tcase_add_test(tc, lost_subscriber_is_noticed_and_comes_back);
	tcase_add_test(tc, lost_connection_of_the_commands_is_noticed_and_comes_back);
	tcase_add_test(tc, lost_probe_harms_nothing);
	tcase_add_test(tc, loss_of_all_connections_is_noticed_and_they_come_back);
	tcase_add_test(tc, server_restarted_is_tracked_again);
	tcase_add_test(tc, server_that_hangs_is_noticed_and_tracked_again);
	tcase_add_test(tc, silent_end_of_tracking_is_noticed_by_the_probe);
	tcase_add_test(tc, quiet_link_is_proved_over_and_over);
	tcase_add_test(tc, sidecars_hear_each_other_and_not_themselves);
	tcase_add_test(tc, nothing_is_heard_after_the_end);
	tcase_add_test(tc, states_have_names);
	suite_add_tcase(suite, tc);

	tc = tcase_create("a server that refuses tracking");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_refusing, teardown);
	tcase_add_test(tc, server_that_refuses_tracking_leaves_the_sidecars_to_each_other);
	tcase_add_test(tc, fill_is_told_too_where_tracking_is_refused);
	tcase_add_test(tc, server_without_any_client_command_is_one_that_refuses);
	tcase_add_test(tc, lost_subscriber_comes_back_where_tracking_is_refused_too);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
