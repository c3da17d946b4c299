/* redis_lease.c and redis_fill.c: one fetch for the fleet and fills that never cover
 * something newer, by two sidecars (each a struct redis) and a third connection that writes plain keys,
 * on a real redis-server. */
#include <check.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../conf/conf.h"
#include "../../daemon/clock.h"
#include "../../daemon/redis.h"
#include "../../daemon/value.h"
#include "../../proto/buf.h"
#include "muffler.h"
#include "redisd.h"

#define LEASE_MS 10000          /* longer than a test that does not want it to end */
#define BRIEF_MS 200

static const char token_a[] = "aaaaaaaaaaaaaaaa", token_b[] = "bbbbbbbbbbbbbbbb";

struct sidecar {
	struct redis *redis;
	const char *token;
	unsigned heard_a, heard_lease, heard_other, flushes;    /* changes of key a, of its lease, of others */
};

static struct sidecar a, b;
static struct conf_redis conf;
static struct key key;          /* "models:a" */

/* ---- the sidecars ---- */

static void on_change(void *arg, const struct key *changed)
{
	struct sidecar *s = arg;
	struct key leased;
	if (key_equal(changed, &key))
		s->heard_a++;
	else if (redis_lease_of(changed, &leased) && key_equal(&leased, &key))
		s->heard_lease++;
	else
		s->heard_other++;
}

static void on_flush(void *arg)
{
	((struct sidecar *)arg)->flushes++;
}

static void on_coherence(void *arg, enum coherence now)
{
	(void)arg, (void)now;
}

static void on_up(void *arg)
{
	(void)arg;
}

static void open_sidecar(struct sidecar *s, const char *token)
{
	static const char *const prefixes[] = {"models:", "catcached:lease:{models:"};
	*s = (struct sidecar){.token = token};
	s->redis = redis_new(base, &conf, &(struct redis_watch){.prefixes = prefixes, .n_prefixes = 2,
		.on_change = on_change, .on_flush = on_flush, .on_coherence = on_coherence, .on_up = on_up, .arg = s});
}

static void setup(void)
{
	redisd_init();
	start_server(NULL);
	conf = (struct conf_redis){.unix_path = socket_path, .connect_timeout_ms = LIMIT_MS, .timeout_ms = LIMIT_MS};
	key = key_of("models:a", 8);
	open_sidecar(&a, token_a);
	open_sidecar(&b, token_b);
	run_until(redis_coherence(a.redis) == COHERENCE_TRACKING && redis_coherence(b.redis) == COHERENCE_TRACKING, LIMIT_MS);
}

static void teardown(void)
{
	redis_free(a.redis);
	redis_free(b.redis);
	redisd_fini();
}

/* ---- calls ---- */

struct answer {
	unsigned n;
	enum redis_status status;
	int64_t number, ttl_ms;
	char holder[REDIS_TOKEN_LEN + 1];
	char error[256];
};

static void on_done(void *arg, const struct redis_result *r)
{
	struct answer *answer = arg;
	answer->n++;
	answer->status = r->status;
	answer->number = r->number;
	answer->ttl_ms = r->ttl_ms;
	memcpy(answer->holder, r->holder, sizeof(answer->holder));
	snprintf(answer->error, sizeof(answer->error), "%s", r->error ? r->error : "");
}

static void expect_answered(struct answer *answer)
{
	run_until(answer->n, LIMIT_MS);
	ck_assert_uint_eq(answer->n, 1);
	ck_assert_msg(answer->status == REDIS_ANSWERED, "status %d: %s", answer->status, answer->error);
}

static struct answer bid(struct sidecar *s, enum redis_claim claim, int64_t lease_ms, const char *awaited)
{
	struct answer answer = {0};
	clock_update();
	redis_acquire(s->redis, &key, &(struct redis_bid){.token = s->token, .lease_ms = lease_ms, .claim = claim,
		.awaited = awaited}, on_done, &answer);
	ck_assert_uint_eq(answer.n, 0);
	expect_answered(&answer);
	return answer;
}

static struct answer bid_as(struct sidecar *s, const struct redis_bid *how)
{
	struct answer answer = {0};
	struct redis_bid all = *how;
	clock_update();
	all.token = s->token;
	all.lease_ms = LEASE_MS;
	if (!all.awaited)
		all.awaited = "";
	redis_acquire(s->redis, &key, &all, on_done, &answer);
	expect_answered(&answer);
	return answer;
}

static struct answer acquire(struct sidecar *s, enum redis_lease expected)
{
	struct answer answer = bid(s, REDIS_CLAIM_ABSENT, LEASE_MS, "");
	ck_assert_msg(answer.number == (int64_t)expected, "%lld instead of %d", (long long)answer.number, (int)expected);
	return answer;
}

static void start_fill(struct sidecar *s, struct answer *answer, const char *text, int64_t ttl_ms)
{
	struct value *v = value_copy(text, strlen(text));
	clock_update();
	redis_fill(s->redis, &key, s->token, v, ttl_ms, on_done, answer);
	value_unref(v);
}

static void expect_fill(struct sidecar *s, const char *text, bool stored)
{
	struct answer answer = {0};
	start_fill(s, &answer, text, 60000);
	ck_assert_uint_eq(answer.n, 0);
	expect_answered(&answer);
	ck_assert_int_eq(answer.number, stored);
}

static void expect_absence(struct sidecar *s, int64_t tell_ms, bool stored)
{
	struct answer answer = {0};
	redis_fill(s->redis, &key, s->token, NULL, tell_ms, on_done, &answer);
	expect_answered(&answer);
	ck_assert_int_eq(answer.number, stored);
}

static void delete(struct sidecar *s)
{
	struct answer answer = {0};
	redis_delete(s->redis, &key, 1, on_done, &answer);
	expect_answered(&answer);
}

static void release(struct sidecar *s, enum redis_lease outcome, const char *error, int64_t tell_ms)
{
	redis_release(s->redis, &key, s->token, outcome, error, tell_ms);
	run_until(redis_stats(s->redis)->pending == 0, LIMIT_MS);
}

#define LEASE "catcached:lease:{models:a}"

/* ---- winning ---- */

START_TEST(lease_is_won_once)
{
	acquire(&a, REDIS_LEASE_WON);
	struct answer held = acquire(&b, REDIS_LEASE_HELD);
	ck_assert_str_eq(held.holder, token_a);
	ck_assert_msg(held.ttl_ms > LEASE_MS / 2 && held.ttl_ms <= LEASE_MS, "%lld ms", (long long)held.ttl_ms);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_REPLACE, LEASE_MS, "").number, REDIS_LEASE_HELD);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_ALWAYS, LEASE_MS, token_a).number, REDIS_LEASE_HELD);
}
END_TEST

START_TEST(of_many_bids_at_once_one_wins)
{
	struct answer answers[40] = {0};
	unsigned won = 0;
	for (size_t i = 0; i < 40; i++) {
		struct sidecar *s = i % 2 ? &a : &b;
		redis_acquire(s->redis, &key, &(struct redis_bid){.token = s->token, .lease_ms = LEASE_MS,
			.claim = REDIS_CLAIM_ABSENT, .awaited = ""}, on_done, &answers[i]);
	}
	for (size_t i = 0; i < 40; i++) {
		expect_answered(&answers[i]);
		won += answers[i].number == REDIS_LEASE_WON;
	}
	ck_assert_uint_eq(won, 1);
}
END_TEST

START_TEST(lease_of_what_is_there_is_for_refreshing_only)
{
	told("SET models:a value");
	acquire(&a, REDIS_LEASE_PRESENT);
	ck_assert_int_eq(number_of(tell("EXISTS " LEASE)), 0);
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_REPLACE, LEASE_MS, "").number, REDIS_LEASE_WON);
	expect_fill(&a, "newer", true);
	expect_stored("models:a", "newer");
}
END_TEST

/* Another has refreshed it already, which the bidder has not heard of yet. */
START_TEST(lease_to_refresh_is_refused_when_there_is_something_newer)
{
	const struct redis_bid old = {.claim = REDIS_CLAIM_REFRESH, .left_ms = 1000}, new = {.claim = REDIS_CLAIM_REFRESH, .left_ms = 60000};
	told("SET models:a value PX 30000");
	ck_assert_int_eq(bid_as(&a, &old).number, REDIS_LEASE_PRESENT);
	ck_assert_int_eq(number_of(tell("EXISTS " LEASE)), 0);
	told("PERSIST models:a");
	ck_assert_int_eq(bid_as(&a, &new).number, REDIS_LEASE_PRESENT);
	told("SET models:a value PX 30000");
	ck_assert_int_eq(bid_as(&a, &new).number, REDIS_LEASE_WON);
	told("DEL models:a " LEASE);
	ck_assert_int_eq(bid_as(&a, &old).number, REDIS_LEASE_WON);
}
END_TEST

START_TEST(lease_runs_out_when_its_holder_is_gone)
{
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_ABSENT, BRIEF_MS, "").number, REDIS_LEASE_WON);
	int64_t began_ms = now_ms();
	while (bid(&b, REDIS_CLAIM_ABSENT, LEASE_MS, "").number == REDIS_LEASE_HELD)
		wait_at_most(began_ms + LIMIT_MS, "the end of the lease", __FILE__, __LINE__);
	ck_assert_int_ge(now_ms() - began_ms, BRIEF_MS / 2);
	expect_fill(&a, "late", false);         /* and the new one is not harmed by it */
	ck_assert_str_eq(acquire(&a, REDIS_LEASE_HELD).holder, token_b);
	expect_fill(&b, "value", true);
	expect_stored("models:a", "value");
}
END_TEST

START_TEST(lease_that_is_renewed_does_not_run_out)
{
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_ABSENT, BRIEF_MS * 10, "").number, REDIS_LEASE_WON);
	redis_renew(b.redis, &key, token_b, LEASE_MS);          /* not its own: no effect */
	run_until(redis_stats(b.redis)->pending == 0, LIMIT_MS);
	ck_assert_int_le(number_of(tell("PTTL " LEASE)), BRIEF_MS * 10);
	redis_renew(a.redis, &key, token_a, LEASE_MS);
	run_until(redis_stats(a.redis)->pending == 0, LIMIT_MS);
	ck_assert_int_gt(number_of(tell("PTTL " LEASE)), LEASE_MS / 2);
	expect_fill(&a, "value", true);
	redis_renew(a.redis, &key, token_a, LEASE_MS);          /* given back: no effect */
	run_until(redis_stats(a.redis)->pending == 0, LIMIT_MS);
	ck_assert_int_eq(number_of(tell("EXISTS " LEASE)), 0);
}
END_TEST

/* ---- filling ---- */

START_TEST(fill_stores_the_value_with_its_ttl_and_gives_the_lease_back)
{
	acquire(&a, REDIS_LEASE_WON);
	expect_fill(&a, "value", true);
	expect_stored("models:a", "value");
	long long ttl_ms = number_of(tell("PTTL models:a"));
	ck_assert_msg(ttl_ms > 30000 && ttl_ms <= 60000, "%lld ms", ttl_ms);
	ck_assert_int_eq(number_of(tell("EXISTS " LEASE)), 0);
	acquire(&b, REDIS_LEASE_PRESENT);
}
END_TEST

START_TEST(fill_without_ttl_has_no_end)
{
	struct answer answer = {0};
	acquire(&a, REDIS_LEASE_WON);
	start_fill(&a, &answer, "value", 0);
	expect_answered(&answer);
	ck_assert_int_eq(number_of(tell("PTTL models:a")), -1);
}
END_TEST

START_TEST(fill_without_a_lease_is_refused)
{
	expect_fill(&a, "value", false);
	acquire(&b, REDIS_LEASE_WON);
	expect_fill(&a, "value", false);
	expect_stored("models:a", NULL);
	expect_fill(&b, "value", true);
}
END_TEST

START_TEST(fill_is_refused_after_a_delete_by_the_other)
{
	acquire(&a, REDIS_LEASE_WON);
	delete(&b);
	expect_fill(&a, "older", false);
	expect_stored("models:a", NULL);
	acquire(&b, REDIS_LEASE_WON);
}
END_TEST

START_TEST(fill_is_refused_after_a_delete_of_our_own)
{
	acquire(&a, REDIS_LEASE_WON);
	delete(&a);
	expect_fill(&a, "older", false);
	expect_stored("models:a", NULL);
}
END_TEST

START_TEST(fill_is_refused_after_a_lease_that_followed_a_delete)
{
	acquire(&a, REDIS_LEASE_WON);
	delete(&b);
	acquire(&b, REDIS_LEASE_WON);
	expect_fill(&a, "older", false);
	expect_fill(&b, "newer", true);
	expect_stored("models:a", "newer");
}
END_TEST

START_TEST(fill_is_refused_after_a_plain_set)
{
	acquire(&a, REDIS_LEASE_WON);
	told("SET models:a foreign");
	expect_fill(&a, "older", false);
	expect_stored("models:a", "foreign");
	run_until(redis_stats(a.redis)->pending == 0, LIMIT_MS);
	ck_assert_int_eq(number_of(tell("EXISTS " LEASE)), 0);  /* nobody has to wait for it to run out */
}
END_TEST

/* A refresh: the key was there before. */
START_TEST(fill_is_refused_after_any_plain_change_of_what_was_there)
{
	static const char *const changes[] = {"SET models:a newer PX 60000", "SET models:a newer_by_length", "DEL models:a",
		"APPEND models:a x", "PEXPIRE models:a 50000", "PERSIST models:a"};
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		told("SET models:a there PX 100000");
		ck_assert_int_eq(bid(&a, REDIS_CLAIM_REPLACE, LEASE_MS, "").number, REDIS_LEASE_WON);
		told(changes[i]);
		struct answer answer = {0};
		start_fill(&a, &answer, "older", 60000);
		expect_answered(&answer);
		ck_assert_msg(answer.number == 0, "stored over %s", changes[i]);
	}
}
END_TEST

/* Against a key that was there: what is left then is not what it looked like. */
START_TEST(fill_is_refused_after_a_plain_set_and_delete)
{
	told("SET models:a there PX 100000");
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_REPLACE, LEASE_MS, "").number, REDIS_LEASE_WON);
	told("SET models:a foreign");
	told("DEL models:a");
	expect_fill(&a, "older", false);
	expect_stored("models:a", NULL);
}
END_TEST

/* Without tracking nobody would hear of a change that leaves the length and the TTL. */
START_TEST(fill_is_refused_after_a_change_of_the_bytes_alone_where_tracking_is_refused)
{
	redis_free(a.redis);
	told("ACL SETUSER default -client|tracking");
	open_sidecar(&a, token_a);
	run_until(redis_coherence(a.redis) == COHERENCE_PUBSUB, LIMIT_MS);
	told("SET models:a older");
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_REPLACE, LEASE_MS, "").number, REDIS_LEASE_WON);
	told("SET models:a newer");
	expect_fill(&a, "fetched", false);
	expect_stored("models:a", "newer");
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_REPLACE, LEASE_MS, "").number, REDIS_LEASE_WON);
	expect_fill(&a, "fetched", true);
}
END_TEST

/* Its own writes are not heard; so what is heard after it is over is a change of what was filled. */
START_TEST(fill_is_over_when_what_was_changed_before_has_been_heard)
{
	for (unsigned i = 0; i < 100; i++) {
		told("DEL models:a " LEASE);
		acquire(&a, REDIS_LEASE_WON);
		a.heard_a = 0;
		told("SET models:a foreign");
		told("DEL models:a");
		expect_fill(&a, "value", true);
		ck_assert_uint_gt(a.heard_a, 0);
	}
}
END_TEST

/* A subscriber that hears nothing more, before that is noticed. */
START_TEST(fill_whose_echo_does_not_come_is_over_in_time_and_not_proven)
{
	struct answer answer = {0};
	redis_free(a.redis);
	muffler_start();
	conf.unix_path = muffler_path;
	conf.timeout_ms = 300;
	open_sidecar(&a, token_a);
	run_until(redis_coherence(a.redis) == COHERENCE_TRACKING, LIMIT_MS);
	acquire(&a, REDIS_LEASE_WON);
	muffler_is_on = true;
	int64_t began_ms = now_ms();
	start_fill(&a, &answer, "value", 60000);
	run_until(answer.n, LIMIT_MS);
	ck_assert_int_eq(answer.status, REDIS_ANSWERED);
	ck_assert_int_eq(answer.number, REDIS_FILLED_UNPROVEN);
	ck_assert_int_ge(now_ms() - began_ms, 290);
	redis_free(a.redis);
	a.redis = NULL;
	muffler_stop();
}
END_TEST

/* Then the echo is a key; it comes as late as the message would. */
START_TEST(fill_is_over_when_changes_have_been_heard_where_publish_is_refused_too)
{
	told("ACL SETUSER default -publish");
	for (unsigned i = 0; i < 100; i++) {
		told("DEL models:a " LEASE);
		acquire(&a, REDIS_LEASE_WON);
		a.heard_a = 0;
		told("SET models:a foreign");
		told("DEL models:a");
		expect_fill(&a, "value", true);
		ck_assert_uint_gt(a.heard_a, 0);
		expect_stored("models:a", "value");
	}
	ck_assert_msg(strstr(redis_mute(a.redis), "NOPERM"), "%s", redis_mute(a.redis));
	ck_assert_int_eq(redis_coherence(a.redis), COHERENCE_TRACKING);
	redisReply *keys = tell("KEYS catcached:probe:*:*");
	ck_assert_uint_eq(keys->elements, 0);
	freeReplyObject(keys);
}
END_TEST

/* Lets the server answer what s has sent, but not s hear it. */
static void let_server_check(void)
{
	int64_t end_ms = now_ms() + LIMIT_MS;
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);   /* one pass: it writes, and reads nothing yet */
	while (calls_of("eval") == 0)
		wait_at_most(end_ms, "the check of the fill", __FILE__, __LINE__);
}

/* The moment between the check and the EXEC is what WATCH is for. */
START_TEST(fill_is_refused_when_the_key_changes_while_it_is_checked)
{
	static const char *const changes[] = {"SET models:a foreign", "DEL " LEASE};
	for (size_t i = 0; i < 2; i++) {
		struct answer answer = {0};
		told("DEL models:a " LEASE);
		acquire(&a, REDIS_LEASE_WON);
		told("CONFIG RESETSTAT");
		start_fill(&a, &answer, "older", 60000);
		let_server_check();
		told(changes[i]);
		expect_answered(&answer);
		ck_assert_msg(answer.number == 0, "stored after %s", changes[i]);
		expect_stored("models:a", i == 0 ? "foreign" : NULL);
	}
}
END_TEST

/* Else who asks for it next waits for it to run out, the loser of the race first. */
START_TEST(lease_of_a_fill_that_lost_the_race_is_given_back)
{
	struct answer answer = {0};
	acquire(&a, REDIS_LEASE_WON);
	told("CONFIG RESETSTAT");
	start_fill(&a, &answer, "older", 60000);
	let_server_check();
	told("SET models:a foreign");
	told("DEL models:a");
	expect_answered(&answer);
	ck_assert_int_eq(answer.number, 0);
	run_until(redis_stats(a.redis)->pending == 0, LIMIT_MS);
	ck_assert_int_eq(number_of(tell("EXISTS " LEASE)), 0);
}
END_TEST

/* EXEC ends every WATCH of the connection: so those that come while it waits go together. */
START_TEST(fills_at_once_take_two_turns_and_do_not_end_each_others_watch)
{
	enum { FILLS = 50 };
	struct answer answers[FILLS] = {0};
	struct value *v = value_copy("value", 5);
	char names[FILLS][16];
	for (unsigned i = 0; i < FILLS; i++) {
		struct key each = key_of(names[i], (size_t)snprintf(names[i], sizeof(names[i]), "models:%u", i));
		redis_acquire(a.redis, &each, &(struct redis_bid){.token = token_a, .lease_ms = LEASE_MS, .awaited = ""}, on_done, &answers[i]);
	}
	for (unsigned i = 0; i < FILLS; i++)
		expect_answered(&answers[i]);
	told("SET models:7 foreign");
	told("CONFIG RESETSTAT");
	memset(answers, 0, sizeof(answers));
	for (unsigned i = 0; i < FILLS; i++) {
		struct key each = key_of(names[i], strlen(names[i]));
		redis_fill(a.redis, &each, token_a, v, 0, on_done, &answers[i]);
		memset(names[i], 'x', 3);               /* borrowed until the call returned */
	}
	ck_assert_uint_gt(v->refs, 1);
	for (unsigned i = 0; i < FILLS; i++) {
		expect_answered(&answers[i]);
		ck_assert_msg(answers[i].number == (i != 7), "fill %u", i);
	}
	expect_stored("models:7", "foreign");
	expect_stored("models:49", "value");
	ck_assert_uint_eq(calls_of("exec"), 2);
	ck_assert_uint_eq(v->refs, 1);
	value_unref(v);
}
END_TEST

START_TEST(fill_that_the_server_refuses_is_an_error_and_the_next_one_goes_on)
{
	struct answer first = {0}, second = {0};
	acquire(&a, REDIS_LEASE_WON);
	told("CONFIG SET maxmemory 1");
	start_fill(&a, &first, "value", 60000);
	run_until(first.n, LIMIT_MS);
	ck_assert_msg(first.status == REDIS_ERROR && strncmp(first.error, "OOM ", 4) == 0, "%d %s", first.status, first.error);
	told("CONFIG SET maxmemory 0");
	start_fill(&a, &second, "value", 60000);
	expect_answered(&second);
	ck_assert_int_eq(second.number, 1);     /* the lease is still there */
	expect_stored("models:a", "value");
}
END_TEST

START_TEST(fills_under_way_complete_once_when_redis_goes)
{
	struct answer answers[5] = {0};
	acquire(&a, REDIS_LEASE_WON);
	pause_server();
	for (size_t i = 0; i < 5; i++)
		start_fill(&a, &answers[i], "value", 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	kill_server();
	for (size_t i = 0; i < 5; i++) {
		run_until(answers[i].n, LIMIT_MS);
		ck_assert_int_eq(answers[i].status, REDIS_DOWN);
	}
	start_fill(&a, &answers[0], "value", 0);
	start_fill(&a, &answers[1], "value", 0);
	redis_free(a.redis);
	a.redis = NULL;
	ck_assert(answers[0].n == 2 && answers[1].n == 2 && answers[4].n == 1);
}
END_TEST

/* ---- taking back ---- */

static void unfill(const char *text)
{
	struct value *v = value_copy(text, strlen(text));
	redis_unfill(a.redis, &key, v);
	value_unref(v);
	run_until(redis_stats(a.redis)->pending == 0, LIMIT_MS);
}

START_TEST(fill_is_taken_back_unless_the_key_has_changed_since)
{
	acquire(&a, REDIS_LEASE_WON);
	expect_fill(&a, "value", true);
	unfill("value");
	expect_stored("models:a", NULL);
	acquire(&a, REDIS_LEASE_WON);
	expect_fill(&a, "value", true);
	told("SET models:a newer KEEPTTL");     /* as long, and to live as long */
	unfill("value");
	expect_stored("models:a", "newer");
	told("DEL models:a");
	told("RPUSH models:a value");
	unfill("value");
	ck_assert_int_eq(number_of(tell("EXISTS models:a")), 1);
}
END_TEST

/* ---- telling ---- */

START_TEST(lease_given_back_is_there_for_the_next)
{
	acquire(&a, REDIS_LEASE_WON);
	release(&b, REDIS_LEASE_WON, NULL, 0);  /* not its own */
	acquire(&b, REDIS_LEASE_HELD);
	release(&a, REDIS_LEASE_WON, NULL, 0);
	acquire(&b, REDIS_LEASE_WON);
}
END_TEST

START_TEST(absence_is_told_for_as_long_as_it_is_remembered)
{
	acquire(&a, REDIS_LEASE_WON);
	expect_absence(&a, LEASE_MS, true);
	struct answer absent = acquire(&b, REDIS_LEASE_ABSENT);
	ck_assert_msg(absent.ttl_ms > LEASE_MS / 2 && absent.ttl_ms <= LEASE_MS, "%lld ms", (long long)absent.ttl_ms);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_REPLACE, LEASE_MS, "").number, REDIS_LEASE_ABSENT);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_ALWAYS, LEASE_MS, "").number, REDIS_LEASE_WON);
}
END_TEST

START_TEST(absence_that_is_not_remembered_is_told_to_those_who_waited)
{
	acquire(&a, REDIS_LEASE_WON);
	ck_assert_str_eq(acquire(&b, REDIS_LEASE_HELD).holder, token_a);
	expect_absence(&a, 0, true);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_ABSENT, LEASE_MS, token_a).number, REDIS_LEASE_ABSENT);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_ABSENT, LEASE_MS, "cccccccccccccccc").number, REDIS_LEASE_WON);
}
END_TEST

/* What there was is older than what the source said. */
START_TEST(absence_removes_the_key_unless_it_has_changed)
{
	told("SET models:a value PX 60000");
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_REPLACE, LEASE_MS, "").number, REDIS_LEASE_WON);
	expect_absence(&a, LEASE_MS, true);
	expect_stored("models:a", NULL);
	acquire(&b, REDIS_LEASE_ABSENT);
	delete(&b);
	acquire(&a, REDIS_LEASE_WON);
	told("SET models:a newer");
	expect_absence(&a, LEASE_MS, false);
	expect_stored("models:a", "newer");
	told("DEL models:a");
	acquire(&a, REDIS_LEASE_WON);
	delete(&b);
	expect_absence(&a, LEASE_MS, false);
	acquire(&b, REDIS_LEASE_WON);
}
END_TEST

START_TEST(what_is_not_stored_is_told_to_those_who_waited)
{
	acquire(&a, REDIS_LEASE_WON);
	ck_assert_str_eq(acquire(&b, REDIS_LEASE_HELD).holder, token_a);
	release(&a, REDIS_LEASE_UNSTORED, NULL, 0);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_ABSENT, LEASE_MS, token_a).number, REDIS_LEASE_UNSTORED);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_ABSENT, LEASE_MS, "cccccccccccccccc").number, REDIS_LEASE_WON);
}
END_TEST

START_TEST(failure_can_be_defied)
{
	acquire(&a, REDIS_LEASE_WON);
	release(&a, REDIS_LEASE_FAILED, "no route", LEASE_MS);
	acquire(&b, REDIS_LEASE_FAILED);
	ck_assert_int_eq(bid_as(&b, &(struct redis_bid){.defies_failure = true}).number, REDIS_LEASE_WON);
	expect_absence(&b, LEASE_MS, true);
	ck_assert_int_eq(bid_as(&a, &(struct redis_bid){.defies_failure = true}).number, REDIS_LEASE_ABSENT);
}
END_TEST

START_TEST(failure_is_told_with_its_reason_and_for_how_long)
{
	acquire(&a, REDIS_LEASE_WON);
	release(&a, REDIS_LEASE_FAILED, "no route to \"host\"", LEASE_MS);
	struct answer failed = acquire(&b, REDIS_LEASE_FAILED);
	ck_assert_str_eq(failed.error, "no route to \"host\"");
	ck_assert_msg(failed.ttl_ms > LEASE_MS / 2 && failed.ttl_ms <= LEASE_MS, "%lld ms", (long long)failed.ttl_ms);
	ck_assert_int_eq(bid(&b, REDIS_CLAIM_ALWAYS, LEASE_MS, "").number, REDIS_LEASE_WON);
}
END_TEST

START_TEST(what_was_told_ends_with_its_time_or_a_delete)
{
	acquire(&a, REDIS_LEASE_WON);
	release(&a, REDIS_LEASE_FAILED, "no route", LEASE_MS);
	delete(&b);
	acquire(&b, REDIS_LEASE_WON);
	release(&b, REDIS_LEASE_FAILED, "no route", BRIEF_MS);
	int64_t began_ms = now_ms();
	while (bid(&a, REDIS_CLAIM_ABSENT, LEASE_MS, "").number == REDIS_LEASE_FAILED)
		wait_at_most(began_ms + LIMIT_MS, "the end of the failure", __FILE__, __LINE__);
	ck_assert_int_ge(now_ms() - began_ms, BRIEF_MS / 2);
}
END_TEST

START_TEST(lease_is_named_after_its_key)
{
	static const char *const none[] = {"models:a", "catcached:lease:{", "catcached:lease:{}", "catcached:probe:{a}", ""};
	struct key lease = key_of(LEASE, strlen(LEASE)), found;
	ck_assert(redis_lease_of(&lease, &found));
	ck_assert(key_equal(&found, &key));
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		lease = key_of(none[i], strlen(none[i]));
		ck_assert_msg(!redis_lease_of(&lease, &found), "%s", none[i]);
	}
}
END_TEST

/* ---- what is heard ---- */

START_TEST(own_changes_are_not_heard_and_those_of_the_other_are)
{
	struct answer answer = {0};
	acquire(&a, REDIS_LEASE_WON);
	expect_fill(&a, "value", true);
	run_until(b.heard_a >= 1, LIMIT_MS);
	struct value *v = value_copy("value", 5);
	redis_write(a.redis, &key, v, 0, REDIS_ALWAYS, on_done, &answer);
	value_unref(v);
	run_until(b.heard_a >= 2, LIMIT_MS);
	delete(&a);
	run_until(b.heard_a >= 3, LIMIT_MS);
	delete(&b);
	told("SET models:end x");               /* comes behind all that was said before */
	run_until(a.heard_other >= 1, LIMIT_MS);
	ck_assert_uint_eq(a.heard_a, 0);
	told("SET models:a foreign");
	run_until(a.heard_a == 1, LIMIT_MS);
}
END_TEST

/* It is what those who wait are woken by. */
START_TEST(end_of_a_lease_is_heard_by_who_waits)
{
	acquire(&a, REDIS_LEASE_WON);
	acquire(&b, REDIS_LEASE_HELD);
	told("SET models:between x");
	run_until(b.heard_other, LIMIT_MS);
	b.heard_lease = 0;                      /* its beginning */
	release(&a, REDIS_LEASE_FAILED, "no route", LEASE_MS);
	run_until(b.heard_lease, LIMIT_MS);
	b.heard_lease = 0;
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_ALWAYS, LEASE_MS, "").number, REDIS_LEASE_WON);
	run_until(b.heard_lease, LIMIT_MS);
	b.heard_lease = 0;
	expect_fill(&a, "value", true);
	run_until(b.heard_lease && b.heard_a, LIMIT_MS);
}
END_TEST

START_TEST(lease_that_runs_out_is_heard_by_who_waits)
{
	ck_assert_int_eq(bid(&a, REDIS_CLAIM_ABSENT, BRIEF_MS, "").number, REDIS_LEASE_WON);
	run_until(b.heard_lease == 1, LIMIT_MS);
	run_until(b.heard_lease == 2, LIMIT_MS);
	acquire(&b, REDIS_LEASE_WON);
}
END_TEST

/* ---- whether a key is there ---- */

START_TEST(exists_tells_whether_the_key_is_there)
{
	struct answer there = {0}, missing = {0}, down = {0};
	told("RPUSH models:a x");
	redis_exists(a.redis, &key, on_done, &there);
	expect_answered(&there);
	ck_assert_int_eq(there.number, 1);
	told("DEL models:a");
	redis_exists(a.redis, &key, on_done, &missing);
	expect_answered(&missing);
	ck_assert_int_eq(missing.number, 0);
	kill_server();
	run_until(!redis_up(a.redis), LIMIT_MS);
	redis_exists(a.redis, &key, on_done, &down);
	run_until(down.n, LIMIT_MS);
	ck_assert_int_eq(down.status, REDIS_DOWN);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("redis_lease");
	TCase *tc = tcase_create("redis_lease");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, lease_is_won_once);
	tcase_add_test(tc, of_many_bids_at_once_one_wins);
	tcase_add_test(tc, lease_of_what_is_there_is_for_refreshing_only);
	tcase_add_test(tc, lease_to_refresh_is_refused_when_there_is_something_newer);
	tcase_add_test(tc, lease_runs_out_when_its_holder_is_gone);
	tcase_add_test(tc, lease_that_is_renewed_does_not_run_out);
	tcase_add_test(tc, fill_stores_the_value_with_its_ttl_and_gives_the_lease_back);
	tcase_add_test(tc, fill_without_ttl_has_no_end);
	tcase_add_test(tc, fill_without_a_lease_is_refused);
	tcase_add_test(tc, fill_is_refused_after_a_delete_by_the_other);
	tcase_add_test(tc, fill_is_refused_after_a_delete_of_our_own);
	tcase_add_test(tc, fill_is_refused_after_a_lease_that_followed_a_delete);
	tcase_add_test(tc, fill_is_refused_after_a_plain_set);
	tcase_add_test(tc, fill_is_refused_after_any_plain_change_of_what_was_there);
	tcase_add_test(tc, fill_is_refused_after_a_plain_set_and_delete);
	tcase_add_test(tc, fill_is_refused_after_a_change_of_the_bytes_alone_where_tracking_is_refused);
	tcase_add_test(tc, fill_is_over_when_what_was_changed_before_has_been_heard);
	tcase_add_test(tc, fill_whose_echo_does_not_come_is_over_in_time_and_not_proven);
	tcase_add_test(tc, fill_is_over_when_changes_have_been_heard_where_publish_is_refused_too);
	tcase_add_test(tc, fill_is_refused_when_the_key_changes_while_it_is_checked);
	tcase_add_test(tc, lease_of_a_fill_that_lost_the_race_is_given_back);
	tcase_add_test(tc, fills_at_once_take_two_turns_and_do_not_end_each_others_watch);
	tcase_add_test(tc, fill_that_the_server_refuses_is_an_error_and_the_next_one_goes_on);
	tcase_add_test(tc, fills_under_way_complete_once_when_redis_goes);
	tcase_add_test(tc, fill_is_taken_back_unless_the_key_has_changed_since);
	tcase_add_test(tc, lease_given_back_is_there_for_the_next);
	tcase_add_test(tc, absence_is_told_for_as_long_as_it_is_remembered);
	tcase_add_test(tc, absence_that_is_not_remembered_is_told_to_those_who_waited);
	tcase_add_test(tc, absence_removes_the_key_unless_it_has_changed);
	tcase_add_test(tc, what_is_not_stored_is_told_to_those_who_waited);
	tcase_add_test(tc, failure_can_be_defied);
	tcase_add_test(tc, failure_is_told_with_its_reason_and_for_how_long);
	tcase_add_test(tc, what_was_told_ends_with_its_time_or_a_delete);
	tcase_add_test(tc, lease_is_named_after_its_key);
	tcase_add_test(tc, own_changes_are_not_heard_and_those_of_the_other_are);
	tcase_add_test(tc, end_of_a_lease_is_heard_by_who_waits);
	tcase_add_test(tc, lease_that_runs_out_is_heard_by_who_waits);
	tcase_add_test(tc, exists_tells_whether_the_key_is_there);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
