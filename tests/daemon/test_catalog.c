/* The main job: 17,000 models from the database, assembled into a full catalog,
 * the same bytes cold, from Redis and from memory. */
#include "harness.h"
#include "talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/json.h"
#include "../../proto/buf.h"
#include "../postgres.h"

#define MODELS 17000
#define LEAST ((size_t)8000000)

static const char config[] =
	LISTEN REDIS SQLITE
	"types:\n"
	"  full_catalog:\n"
	"    key: models:catalog:full\n"
	"    ttl: 900\n"
	"    format: json\n"
	"    refuse_empty: true\n"
	"    fetch: {assemble: {sql: SELECT slug FROM providers ORDER BY slug, from: provider_catalog}, timeout: 30s}\n"
	"  provider_catalog:\n"
	"    key: 'models:provider:{name}'\n"
	"    ttl: 1800\n"
	"    format: json\n"
	"    fetch: {sql: 'SELECT * FROM models WHERE provider = :name ORDER BY id', timeout: 30s}\n"
	"  model:\n"
	"    key: 'models:model:{name}'\n"
	"    ttl: 3600\n"
	"    format: json\n"
	"    fetch: {sql: 'SELECT * FROM models WHERE id = :name LIMIT 1', shape: row}\n";

struct world {
	struct harness *h;
	redisContext *c;
};

static struct world start(void)
{
	struct world w = {.h = harness_new()};
	harness_redis_start(w.h, "");
	harness_sample(w.h, MODELS);
	harness_start(w.h, config);
	w.c = harness_connect(w.h);
	harness_redis_ready(w.c);
	return w;
}

static redisReply *full_catalog(redisContext *c)
{
	redisReply *r = ask(c, "GET models:catalog:full");
	ck_assert_msg(r->type == REDIS_REPLY_STRING, "GET: %.200s", r->str ? r->str : "no string");
	return r;
}

static void expect_same(const redisReply *a, redisReply *b)
{
	ck_assert_uint_eq(a->len, b->len);
	ck_assert_msg(memcmp(a->str, b->str, a->len) == 0, "the bytes differ");
	freeReplyObject(b);
}

START_TEST(the_full_catalog_is_the_same_from_every_tier)
{
	struct world w = start();
	struct json_summary summary;
	redisReply *cold = full_catalog(w.c);
	ck_assert_uint_ge(cold->len, LEAST);
	ck_assert_int_eq(json_check(cold->str, cold->len, &summary, NULL), 0);
	ck_assert_int_eq(summary.items, MODELS);
	ck_assert_str_eq(ask_meta(w.c, "models:catalog:full", "source"), "fetch");

	expect_same(cold, full_catalog(w.c));
	ck_assert_str_eq(ask_meta(w.c, "models:catalog:full", "tier"), "memory");
	redisContext *redis = harness_connect_redis(w.h);
	wait_until(ask_integer(redis, "EXISTS models:catalog:full") == 1, 5000);
	expect_same(cold, full_catalog(redis));

	harness_restart(w.h);
	redisContext *c = harness_connect(w.h);
	harness_redis_ready(c);
	ck_assert_str_eq(ask_meta(c, "models:catalog:full", "tier"), "redis");
	expect_same(cold, full_catalog(c));
	ck_assert_str_eq(ask_meta(c, "models:catalog:full", "source"), "redis");
	expect_same(cold, full_catalog(c));
	ck_assert_str_eq(ask_meta(c, "models:catalog:full", "tier"), "memory");

	harness_redis_kill(w.h);
	expect_same(cold, full_catalog(c));
	freeReplyObject(cold);
	harness_free(w.h);
}
END_TEST

START_TEST(the_catalog_is_rebuilt_the_same_without_redis)
{
	struct world w = start();
	redisReply *first = full_catalog(w.c);
	harness_redis_kill(w.h);
	expect(w.c, "1", "DEL models:catalog:full");
	expect_same(first, full_catalog(w.c));
	ck_assert_int_ge(ask_integer(w.c, "INVALIDATE models:*"), 2);
	expect_same(first, full_catalog(w.c));
	freeReplyObject(first);
	harness_free(w.h);
}
END_TEST

START_TEST(a_changed_price_is_seen_after_invalidation)
{
	struct world w = start();
	freeReplyObject(full_catalog(w.c));
	harness_sql(w.h, "UPDATE models SET input_price = 123.25 WHERE provider = 'groq' AND id = 'gemma2-9b-it'");
	redisReply *r = full_catalog(w.c);
	ck_assert_ptr_null(strstr(r->str, "123.25"));
	freeReplyObject(r);
	expect(w.c, "2", "DEL models:provider:groq models:catalog:full");
	r = full_catalog(w.c);
	ck_assert_ptr_nonnull(strstr(r->str, "\"input_price\":123.25"));
	freeReplyObject(r);
	harness_free(w.h);
}
END_TEST

START_TEST(every_provider_and_model_is_served_by_itself)
{
	struct world w = start();
	redisReply *r = ask(w.c, "GET models:provider:openrouter");
	struct json_summary summary;
	ck_assert_int_eq(json_check(r->str, r->len, &summary, NULL), 0);
	ck_assert_int_gt(summary.items, 1000);
	freeReplyObject(r);
	r = ask(w.c, "GET models:model:gemma2-9b-it");
	ck_assert_msg(strstr(r->str, "\"name\":\"Gemma 2 9B\"") && strstr(r->str, "\"output_modalities\":[\"text\"]"), "%s", r->str);
	freeReplyObject(r);
	expect(w.c, "nil", "GET models:model:no-such-model");
	expect(w.c, "\"[]\"", "GET models:provider:no-such-provider");
	harness_free(w.h);
}
END_TEST

/* Asks each type of the shipped configuration over the sample in $DATABASE_URL. */
static void expect_sample(struct harness *h)
{
	static const char *const keys[] = {"models:provider:groq", "models:gateway:groq", "models:model:gemma2-9b-it",
		"models:pricing:gemma2-9b-it", "models:unique", "models:stats", "routing:provider:groq"};
	harness_redis_start(h, "");
	char *redis = xasprintf("unix://%s", harness_path(h, "redis.sock")), *yaml = harness_shipped_config();
	setenv("REDIS_URL", redis, 1);
	harness_start(h, yaml);
	free(yaml);
	free(redis);
	redisContext *c = harness_connect(h);
	harness_redis_ready(c);
	freeReplyObject(full_catalog(c));
	ck_assert_str_eq(ask_meta(c, "models:catalog:full", "items"), "687");
	ck_assert_str_eq(ask_meta(c, "models:catalog:full", "type"), "full_catalog");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		redisReply *r = ask(c, "GET %s", keys[i]);
		ck_assert_msg(r->type == REDIS_REPLY_STRING && json_check(r->str, r->len, NULL, NULL) == 0, "%s: %.200s", keys[i],
			r->str ? r->str : "nil");
		freeReplyObject(r);
	}
	expect(c, "nil", "GET models:model:no-such-model");
	expect(c, "OK", "SET tool:weather on");
	expect(c, "-1", "TTL tool:weather");
	expect(c, "nil", "GET provider:groq");
	expect(c, "OK", "SET %s {}", "routing:model:{\"tools\": true, \"model\": \"gpt-4\"}");
	expect(c, "\"{}\"", "GET routing:model:2a24a769ad090bc1");
}

START_TEST(the_shipped_configuration_serves_the_sample_from_sqlite)
{
	struct harness *h = harness_new();
	harness_sample(h, 0);
	char *database = xasprintf("sqlite://%s", harness_path(h, "catalog.db"));
	setenv("DATABASE_URL", database, 1);
	free(database);
	expect_sample(h);
	harness_free(h);
}
END_TEST

START_TEST(the_shipped_configuration_serves_the_sample_from_postgres)
{
	struct harness *h = harness_new();
	struct postgres *pg = postgres_start();
	struct buf sql = BUF_INIT;
	FILE *f = popen("tests/data/load --sql", "r");
	size_t n;
	do {
		n = fread(buf_reserve(&sql, 65536), 1, 65536, f);
		sql.len += n;
	} while (n);
	ck_assert_int_eq(pclose(f), 0);
	buf_add_char(&sql, '\0');
	postgres_sql(pg, sql.data);
	buf_free(&sql);
	setenv("DATABASE_URL", postgres_url(pg), 1);
	expect_sample(h);
	harness_free(h);
	postgres_free(pg);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_full_catalog_is_the_same_from_every_tier,
		the_catalog_is_rebuilt_the_same_without_redis,
		a_changed_price_is_seen_after_invalidation,
		every_provider_and_model_is_served_by_itself,
		the_shipped_configuration_serves_the_sample_from_sqlite,
		the_shipped_configuration_serves_the_sample_from_postgres,
	};
	return harness_main("catalog", tests, sizeof(tests) / sizeof(tests[0]));
}
