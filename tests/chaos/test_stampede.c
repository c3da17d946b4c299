/* A thousand clients of three sidecars want the same cold key: one fetch for the fleet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/buf.h"
#include "../daemon/harness.h"
#include "../daemon/talk.h"
#include "chaos.h"

#define N_CLIENTS 1000
#define N_KEYS 200
#define FETCH_MS 1000
#define IN_TIME_MS 1500
#define AT_ONCE_MS 500

static const char config[] =
	LISTEN_SIDECAR REDIS NO_DATABASE
	"log: {level: warning}\n"
	"types:\n"
	"  cold: {key: 'c:{name}', ttl: 100s, fetch: {exec: ['${DIR}/hook', '{name}', '${SOCKET}'], timeout: 10s}}\n";

struct crowd {
	struct harness *h;
	int fds[N_CLIENTS];
	int64_t asked_ms;
};

static struct crowd *crowd_new(const char *script)
{
	struct crowd *w = xcalloc(1, sizeof(*w));
	w->h = harness_new();
	harness_redis_start(w->h, "");
	harness_hook(w->h, "hook", script);
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		harness_start_sidecar(w->h, i, config);
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++) {
		redisContext *c = harness_connect_sidecar(w->h, i);
		harness_redis_ready(c);
		harness_tracking(c);    /* what is fetched before that is served, but not fenced */
	}
	for (unsigned i = 0; i < N_CLIENTS; i++)
		w->fds[i] = raw_connect_sidecar(w->h, i % HARNESS_SIDECARS);
	return w;
}

static void crowd_free(struct crowd *w)
{
	for (unsigned i = 0; i < N_CLIENTS; i++)
		close(w->fds[i]);
	harness_free(w->h);
	free(w);
}

static void crowd_asks(struct crowd *w, unsigned n_keys)
{
	char request[32];
	w->asked_ms = now_ms();
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		snprintf(request, sizeof(request), "GET c:%u\r\n", i % n_keys);
		raw_send(w->fds[i], request);
	}
}

/* Each gets this reply, which may name the number of its key. Returns when the last had it. */
static int64_t crowd_gets(struct crowd *w, unsigned n_keys, const char *reply)
{
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		char number[16], *wanted = xstrdup(reply), *at = strchr(wanted, '#');
		snprintf(number, sizeof(number), "%03u", i % n_keys);
		if (at)
			memcpy(at, number, 3);
		raw_expect(w->fds[i], wanted);
		free(wanted);
	}
	int64_t took_ms = now_ms() - w->asked_ms;
	printf("%s: %u clients, %u keys: %u fetches, the last was answered after %lld ms\n", tcase_name(), N_CLIENTS, n_keys,
		harness_hook_runs(w->h, "hook"), (long long)took_ms);
	fflush(stdout);
	return took_ms;
}

START_TEST(a_thousand_clients_and_one_cold_key)
{
	struct crowd *w = crowd_new("sleep 1; printf %03d $1");
	crowd_asks(w, 1);
	int64_t took_ms = crowd_gets(w, 1, "$3\r\n###\r\n");
	ck_assert_uint_eq(harness_hook_runs(w->h, "hook"), 1);
	ck_assert_int_ge(took_ms, FETCH_MS);
	if (!SANITIZED)
		ck_assert_int_lt(took_ms, IN_TIME_MS);
	crowd_free(w);
}
END_TEST

START_TEST(a_thousand_clients_and_two_hundred_cold_keys)
{
	struct crowd *w = crowd_new("sleep 1; printf %03d $1");
	crowd_asks(w, N_KEYS);
	int64_t took_ms = crowd_gets(w, N_KEYS, "$3\r\n###\r\n");
	ck_assert_uint_eq(harness_hook_runs(w->h, "hook"), N_KEYS);
	if (!SANITIZED)
		ck_assert_int_lt(took_ms, IN_TIME_MS + FETCH_MS); /* two processors start two hundred programs */
	crowd_free(w);
}
END_TEST

START_TEST(a_thousand_clients_and_a_key_that_does_not_exist)
{
	struct crowd *w = crowd_new("sleep 1; exit 1");
	crowd_asks(w, 1);
	int64_t took_ms = crowd_gets(w, 1, "$-1\r\n");
	ck_assert_uint_eq(harness_hook_runs(w->h, "hook"), 1);
	if (!SANITIZED)
		ck_assert_int_lt(took_ms, IN_TIME_MS);
	crowd_free(w);
}
END_TEST

/* It may be one sidecar that cannot: so the next one tries, and those two are believed. */
START_TEST(a_thousand_clients_and_a_fetch_that_fails)
{
	struct crowd *w = crowd_new("sleep 1; echo broken >&2; exit 3");
	crowd_asks(w, 1);
	int64_t took_ms = crowd_gets(w, 1, "-UNAVAILABLE fetch: exit status 3: broken\r\n");
	ck_assert_uint_eq(harness_hook_runs(w->h, "hook"), 2);
	if (!SANITIZED)
		ck_assert_int_lt(took_ms, IN_TIME_MS + FETCH_MS);
	crowd_free(w);
}
END_TEST

/* The value changes while it is fetched: two fetches, and nobody gets the old one. */
START_TEST(a_cold_key_is_invalidated_while_it_is_fetched)
{
	struct crowd *w = crowd_new("mkdir \"$DIR/began\" && { sleep 1; printf old; } || printf new");
	crowd_asks(w, 1);
	wait_until(harness_hook_runs(w->h, "hook") == 1, 5000);
	expect(harness_connect_sidecar(w->h, 1), "0", "DEL c:0");
	(void)crowd_gets(w, 1, "$3\r\nnew\r\n");
	ck_assert_uint_eq(harness_hook_runs(w->h, "hook"), 2);
	crowd_free(w);
}
END_TEST

/* It would wait for itself. */
START_TEST(a_hook_that_asks_for_its_own_key_is_answered_at_once)
{
	char *build = realpath(getenv("BUILD") ? getenv("BUILD") : "build", NULL);
	char *script = xasprintf("'%s/catcachectl' -s \"$2\" get \"c:$1\" >\"$DIR/said\" 2>&1; printf built", build);
	struct crowd *w = crowd_new(script);
	redisContext *c = harness_connect_sidecar(w->h, 2);
	int64_t began = now_ms();
	expect(c, "\"built\"", "GET c:0");
	ck_assert_int_lt(now_ms() - began, AT_ONCE_MS);
	expect(harness_connect_sidecar(w->h, 0), "\"built\"", "GET c:0");
	ck_assert_uint_eq(harness_hook_runs(w->h, "hook"), 1);
	/* Another key it may fetch: that is how hooks build on each other. */
	harness_hook(w->h, "hook", "exec printf other");
	expect(c, "\"other\"", "GET c:1");
	crowd_free(w);
	free(script);
	free(build);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_thousand_clients_and_one_cold_key,
		a_thousand_clients_and_two_hundred_cold_keys,
		a_thousand_clients_and_a_key_that_does_not_exist,
		a_thousand_clients_and_a_fetch_that_fails,
		a_cold_key_is_invalidated_while_it_is_fetched,
		a_hook_that_asks_for_its_own_key_is_answered_at_once,
	};
	return chaos_main("stampede", tests, sizeof(tests) / sizeof(tests[0]));
}
