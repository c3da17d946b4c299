/* A struct redis under test; see redis_rig.h. */
#include "redis_rig.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/clock.h"
#include "../../daemon/redis_op.h"
#include "../../daemon/value.h"
#include "../../proto/reply.h"
#include "redisd.h"

struct redis *redis;
struct conf_redis redis_conf;

static void ignore_change(void *arg, const struct key *key)
{
	(void)arg, (void)key;
}

static void ignore_event(void *arg)
{
	(void)arg;
}

static void ignore_coherence(void *arg, enum coherence now)
{
	(void)arg, (void)now;
}

static const struct redis_watch watch = {.on_change = ignore_change, .on_flush = ignore_event,
	.on_coherence = ignore_coherence, .on_up = ignore_event};

void setup_rig(void)
{
	redisd_init();
	redis_conf = (struct conf_redis){.unix_path = xstrdup(socket_path), .connect_timeout_ms = LIMIT_MS, .timeout_ms = LIMIT_MS,
		.pass_through = true};
}

void setup_server(void)
{
	setup_rig();
	start_server((const char *const[]){"--enable-debug-command", "yes", NULL});
}

void open_redis(void)
{
	redis = redis_new(base, &redis_conf, &watch);
}

bool is_all_up(void)
{
	return redis_up(redis) && are_relays_up(redis);
}

void setup_redis(void)
{
	setup_server();
	open_redis();
	run_until(is_all_up(), LIMIT_MS);
}

void teardown_rig(void)
{
	redis_free(redis);
	redis = NULL;
	redisd_fini();
	free(redis_conf.unix_path);
}

void on_answer(void *arg, const struct redis_result *r)
{
	struct answer *a = arg;
	a->n++;
	a->status = r->status;
	a->value = r->value ? value_ref(r->value) : NULL;
	a->ttl_ms = r->ttl_ms;
	a->number = r->number;
	snprintf(a->error, sizeof(a->error), "%s", r->error ? r->error : "");
}

void expect_answer(struct answer *a, enum redis_status status)
{
	run_until(a->n, LIMIT_MS);
	ck_assert_uint_eq(a->n, 1);
	ck_assert_msg(a->status == status, "status %d instead of %d: %s", a->status, status, a->error);
	ck_assert_int_eq(a->error[0] != '\0', status != REDIS_ANSWERED && status != REDIS_NIL);
	ck_assert(!a->value || status == REDIS_ANSWERED);
}

void expect_answer_value(struct answer *a, const char *bytes, size_t len)
{
	expect_answer(a, REDIS_ANSWERED);
	ck_assert_ptr_nonnull(a->value);
	ck_assert_uint_eq(a->value->len, len);
	ck_assert(len == 0 || memcmp(a->value->data, bytes, len) == 0);
	ck_assert_uint_eq(a->value->refs, 1);
	answer_clear(a);
}

void answer_clear(struct answer *a)
{
	value_unref(a->value);
	*a = (struct answer){0};
}

void on_relayed(void *arg, const char *data, size_t len, bool is_end, const char *reason)
{
	struct relayed *r = arg;
	ck_assert_msg(r->n_ends == 0, "called after its end");
	ck_assert(data || !is_end);
	if (data)
		buf_add(&r->bytes, data, len);
	r->n_parts++;
	r->is_lost = !data;
	r->n_ends += is_end || !data;
	snprintf(r->reason, sizeof(r->reason), "%s", reason);
}

void wait_relayed(struct relayed *r)
{
	run_until(r->n_ends, LIMIT_MS);
	ck_assert_uint_eq(r->n_ends, 1);
}

static int shown(size_t len)
{
	return (int)(len < 100 ? len : 100);
}

void expect_relayed(struct relayed *r, const char *bytes, size_t len)
{
	wait_relayed(r);
	ck_assert_msg(!r->is_lost, "lost: %s", r->reason);
	ck_assert_msg(r->bytes.len == len && memcmp(r->bytes.data, bytes, len) == 0, "%zu bytes, %.*s, instead of %zu, %.*s", r->bytes.len,
		shown(r->bytes.len), r->bytes.data, len, shown(len), bytes);
	relayed_clear(r);
}

void expect_lost(struct relayed *r, const char *part)
{
	wait_relayed(r);
	ck_assert_msg(r->is_lost && strstr(r->reason, part), "lost %d, \"%s\" without \"%s\"", r->is_lost, r->reason, part);
	relayed_clear(r);
}

void relayed_clear(struct relayed *r)
{
	buf_free(&r->bytes);
	*r = (struct relayed){0};
}

void add_command(struct buf *b, const char *const *words)
{
	size_t n = 0;
	while (words[n])
		n++;
	reply_add_array(b, n);
	for (size_t i = 0; i < n; i++)
		reply_add_bulk_str(b, words[i]);
}

struct key key_named(const char *name)
{
	return key_of(name, strlen(name));
}
