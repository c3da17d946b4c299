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
#include "../../daemon/out.h"
#include "../../daemon/redis.h"
#include "../../daemon/redis_op.h"
#include "../../daemon/value.h"
#include "../../proto/buf.h"
#include "muffler.h"
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

static void open_sidecar_of(struct sidecar *s, const char *const *prefixes, size_t n_prefixes)
{
	*s = (struct sidecar){0};
	s->redis = redis_new(base, &conf, &(struct redis_watch){.prefixes = prefixes, .n_prefixes = n_prefixes,
		.on_change = on_change, .on_flush = on_flush, .on_coherence = on_coherence, .on_up = on_up, .arg = s});
}

static void open_sidecar(struct sidecar *s)
{
	static const char *const prefixes[] = {"models:", "tool:"};
	open_sidecar_of(s, prefixes, 2);
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

static void on_written(void *arg, const struct redis_result *r)
{
	ck_assert_int_eq(r->status, REDIS_ANSWERED);
	if (arg)
		*(bool *)arg = true;
}

/* A second goes by between two proofs, most of it by the clock alone. */
static void skip_a_second(struct sidecar *s)
{
	int64_t proof_ms = tracking_stats(s->redis->tracking)->last_proof_ms;
	run_until(tracking_stats(s->redis->tracking)->last_proof_ms != proof_ms, LIMIT_MS);
	clock_skew(700);
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

/* A guard key, or a type, may be called so. */
START_TEST(prefix_that_covers_the_probe_is_tracked_too)
{
	static const char *const prefixes[] = {"catcached", "models:"};
	open_sidecar_of(&b, prefixes, 2);
	run_until(is_tracking(&b), LIMIT_MS);
	forget(&b);
	told("SET models:a x");
	told("SET catcached-guard x");
	run_until(has_heard(&b, "models:a") && has_heard(&b, "catcached-guard"), LIMIT_MS);
	run_for(NOTICED_MS);
	ck_assert_uint_eq(b.n_states, 0);
	ck_assert_uint_eq(b.n_heard, 2);
}
END_TEST

/* ---- a database that becomes another ---- */

START_TEST(swapped_database_is_noticed)
{
	forget(&a);
	told("SWAPDB 0 1");
	expect_mended(now_ms());
	run_for(NOTICED_MS);
	ck_assert_uint_eq(a.n_states, 0);
	told("SWAPDB 0 1");                     /* the probe is there, an old one */
	expect_mended(now_ms());
}
END_TEST

/* Of each of these there is a message; but for a DEL in the turn of Redis's loop in which the probe is written: a busy machine may
 * have one or two of these. Taken for a swap each makes two states, DEAF and TRACKING. */
START_TEST(probe_that_is_flushed_or_deleted_is_no_swap)
{
	enum { TIMES = 8, APART_MS = 530, MERGED = 2 };  /* so that a probe comes between two, at another moment each time */
	forget(&a);
	for (int i = 0; i < TIMES; i++) {
		run_for(APART_MS + 13 * i);
		told(_i ? "FLUSHDB" : "EVAL %s 0", "for _, k in ipairs(redis.call('KEYS', 'catcached:probe:*')) do redis.call('DEL', k) end");
	}
	run_for(NOTICED_MS);
	ck_assert_uint_le(a.n_states, 2 * MERGED);
}
END_TEST

/* ---- a server that takes no writes ---- */

static void make_full(void)
{
	told("SET models:a x");
	run_until(has_heard(&a, "models:a"), LIMIT_MS);
	told("CONFIG SET maxmemory 1");
	run_until(redis_unwritable(a.redis)[0], LIMIT_MS);
	ck_assert(strncmp(redis_unwritable(a.redis), "OOM", 3) == 0);
	forget(&a);
}

START_TEST(full_server_is_tracked_all_the_same)
{
	make_full();
	run_for(2 * NOTICED_MS);
	ck_assert_uint_eq(a.n_states, 0);
	ck_assert_uint_eq(a.n_heard, 0);
	told("DEL models:a");
	run_until(has_heard(&a, "models:a"), LIMIT_MS);
	told("CONFIG SET maxmemory 0");
	run_until(a.n_states >= 2 && is_tracking(&a), LIMIT_MS);        /* to compare what it did not take */
	ck_assert_str_eq(redis_unwritable(a.redis), "");
	forget(&a);
	run_for(NOTICED_MS);
	ck_assert_uint_eq(a.n_states, 0);
}
END_TEST

/* Of a key that is in the memory of sidecars only Redis has nothing to tell. */
START_TEST(end_of_a_key_that_a_full_server_does_not_have_is_told_by_the_sidecar)
{
	struct key key = key_of("models:absent", 13);
	open_sidecar(&b);
	run_until(is_tracking(&b), LIMIT_MS);
	make_full();
	for (int i = 0; i < 10; i++)
		skip_a_second(&b);
	bool is_deleted = false;
	redis_delete(b.redis, &key, 1, on_written, &is_deleted);
	run_until(is_deleted && has_heard(&a, "models:absent"), LIMIT_MS);
	ck_assert_uint_eq(a.n_states, 0);
	told("CONFIG SET maxmemory 0");
}
END_TEST

START_TEST(read_only_server_is_tracked_all_the_same)
{
	told("REPLICAOF 127.0.0.1 1");
	run_until(redis_unwritable(a.redis)[0], LIMIT_MS);
	forget(&a);
	run_for(2 * NOTICED_MS);
	ck_assert_uint_eq(a.n_states, 0);
	told("REPLICAOF NO ONE");
	told("SET models:a x");
	run_until(has_heard(&a, "models:a"), LIMIT_MS);
}
END_TEST

START_TEST(lost_subscriber_of_a_full_server_is_noticed)
{
	make_full();
	kill_client("catcached-tracking");
	run_until(a.n_states >= 2 && is_tracking(&a), NOTICED_MS);
	told("CONFIG SET maxmemory 0");
}
END_TEST

static void ignore_reply(void *arg, const redisReply *reply, const char *reason)
{
	(void)arg, (void)reply, (void)reason;
}

START_TEST(lost_redirection_of_a_full_server_is_noticed)
{
	make_full();
	buf_add_str(&redis_link_begin(a.redis->link, ignore_reply, NULL)->bytes, "*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$3\r\nOFF\r\n");
	run_until(a.n_states >= 2 && is_tracking(&a), NOTICED_MS);
	told("DEL models:a");
	run_until(has_heard(&a, "models:a"), LIMIT_MS);
}
END_TEST

/* ---- a server that is busy ---- */

static bool was(const struct sidecar *s, enum coherence c)
{
	for (size_t i = 0; i < s->n_states; i++)
		if (s->states[i] == c)
			return true;
	return false;
}

/* It answers, with an error, whatever it is asked: that is no refusal, and no news of changes. */
START_TEST(busy_server_is_away_and_then_tracked_again)
{
	redisContext *script = connect_to_server();
	told("CONFIG SET busy-reply-threshold 50");
	ck_assert_int_eq(redisAppendCommand(script, "EVAL %s 0", "while true do end"), REDIS_OK);
	for (int done = 0; !done; )
		ck_assert_int_eq(redisBufferWrite(script, &done), REDIS_OK);
	run_until(redis_coherence(a.redis) == COHERENCE_AWAY, LIMIT_MS);
	run_for(NOTICED_MS);
	told("SCRIPT KILL");
	run_until(is_tracking(&a), LIMIT_MS);
	ck_assert(!was(&a, COHERENCE_PUBSUB));
	redisFree(script);
}
END_TEST

/* ---- several sidecars ---- */

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
	bool is_filled = false;
	redis_fill(a.redis, &key, token, v, 0, on_written, &is_filled);
	value_unref(v);
	run_until(is_filled && has_heard(&b, "models:a"), NOTICED_MS);
}
END_TEST

/* For b changes are told by Redis, for a only by b. */
START_TEST(sidecar_that_is_refused_is_told_by_one_that_is_not)
{
	redis_free(b.redis);
	told("ACL SETUSER default +client|tracking");
	open_sidecar(&b);
	run_until(is_tracking(&b), LIMIT_MS);
	told("ACL SETUSER default -client|tracking");
	for (int i = 0; i < 10; i++)            /* what b assumed of the others when it came is over */
		skip_a_second(&b);
	forget(&a);
	for (int i = 0; !a.n_heard; i++) {      /* until a has said that it needs it */
		ck_assert_int_lt(i, 100);
		write_key(&b, "models:b");
		run_for(100);
	}
	ck_assert_str_eq(a.heard[0], "models:b");
	forget(&b);
	write_key(&a, "models:a");
	run_until(has_heard(&b, "models:a"), LIMIT_MS);
	ck_assert_uint_eq(b.n_heard, 1);        /* by Redis, and not once more by a */
	ck_assert(is_tracking(&b) && redis_coherence(a.redis) == COHERENCE_PUBSUB);
}
END_TEST

START_TEST(refusal_has_a_reason_and_is_not_for_good)
{
	ck_assert_msg(strstr(redis_refusal(a.redis), "NOPERM"), "%s", redis_refusal(a.redis));
	told("ACL SETUSER default +client|tracking");
	clock_skew(40000);
	run_until(is_tracking(&a) && is_tracking(&b), LIMIT_MS);
	ck_assert_str_eq(redis_refusal(a.redis), "");
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

/* It is up, and never says that it hears nothing. */
START_TEST(silent_subscriber_is_noticed_where_tracking_is_refused_too)
{
	redis_free(a.redis);
	muffler_start();
	conf.unix_path = muffler_path;
	open_sidecar(&a);
	run_until(redis_coherence(a.redis) == COHERENCE_PUBSUB, LIMIT_MS);
	run_for(NOTICED_MS);
	forget(&a);
	muffler_is_on = true;
	run_until(a.n_states, LIMIT_MS);
	ck_assert_int_eq(a.states[0], COHERENCE_DEAF);
	muffler_is_on = false;
	clock_skew(LIMIT_MS);                   /* the attempt that heard nothing is over */
	run_until(redis_coherence(a.redis) == COHERENCE_PUBSUB, LIMIT_MS);
	redis_free(a.redis);
	a.redis = NULL;
	muffler_stop();
}
END_TEST

/* Who is told nothing and can tell nothing hears of no change. */
START_TEST(server_that_refuses_publish_too_is_not_heard)
{
	forget(&a);
	told("ACL SETUSER default -publish");
	run_until(redis_coherence(a.redis) == COHERENCE_DEAF, LIMIT_MS);
	ck_assert_msg(strstr(redis_mute(a.redis), "NOPERM"), "%s", redis_mute(a.redis));
	told("ACL SETUSER default +publish");
	clock_skew(40000);
	run_until(redis_coherence(a.redis) == COHERENCE_PUBSUB, LIMIT_MS);
	ck_assert_str_eq(redis_mute(a.redis), "");
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
	tcase_add_test(tc, prefix_that_covers_the_probe_is_tracked_too);
	tcase_add_test(tc, swapped_database_is_noticed);
	tcase_add_loop_test(tc, probe_that_is_flushed_or_deleted_is_no_swap, 0, 2);
	tcase_add_test(tc, full_server_is_tracked_all_the_same);
	tcase_add_test(tc, end_of_a_key_that_a_full_server_does_not_have_is_told_by_the_sidecar);
	tcase_add_test(tc, read_only_server_is_tracked_all_the_same);
	tcase_add_test(tc, lost_subscriber_of_a_full_server_is_noticed);
	tcase_add_test(tc, lost_redirection_of_a_full_server_is_noticed);
	tcase_add_test(tc, busy_server_is_away_and_then_tracked_again);
	tcase_add_test(tc, sidecars_hear_each_other_and_not_themselves);
	tcase_add_test(tc, nothing_is_heard_after_the_end);
	tcase_add_test(tc, states_have_names);
	suite_add_tcase(suite, tc);

	tc = tcase_create("a server that refuses tracking");
	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup_refusing, teardown);
	tcase_add_test(tc, server_that_refuses_tracking_leaves_the_sidecars_to_each_other);
	tcase_add_test(tc, fill_is_told_too_where_tracking_is_refused);
	tcase_add_test(tc, sidecar_that_is_refused_is_told_by_one_that_is_not);
	tcase_add_test(tc, refusal_has_a_reason_and_is_not_for_good);
	tcase_add_test(tc, server_without_any_client_command_is_one_that_refuses);
	tcase_add_test(tc, lost_subscriber_comes_back_where_tracking_is_refused_too);
	tcase_add_test(tc, silent_subscriber_is_noticed_where_tracking_is_refused_too);
	tcase_add_test(tc, server_that_refuses_publish_too_is_not_heard);
	suite_add_tcase(suite, tc);
	return redisd_main(suite);
}
