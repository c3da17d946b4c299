/* What the catalog holds, into a file and back; see catalog.h and snapshot.h.
 *
 * What comes back is what was held before Redis was lost: it is served while Redis is away, and when that is there, compared
 * with it key by key. What Redis was still to be told comes back, too. The file is used once: after a crash it would be older
 * than what was served since. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "catalog_impl.h"
#include "clock.h"
#include "log.h"
#include "replay.h"
#include "snapshot.h"
#include "value.h"

/* Values of a type that looks otherwise are not its. */
static uint64_t look_of(const struct conf_type *type)
{
	char *text = xasprintf("%s %s %d %d", type->name, type->key, type->format, type->hash_names);
	uint64_t look = XXH3_64bits(text, strlen(text));
	free(text);
	return look;
}

#define OF_ANY_TYPE UINT64_MAX  /* the look of a removal of many keys that means all types */

/* Of the types declared now, by place; those that were once have 0. To be freed. */
static uint64_t *looks_of_all(const struct catalog *c)
{
	const struct conf *conf = c->tiers.conf;
	uint64_t *looks = xcalloc(c->tiers.n_places, sizeof(*looks));
	for (size_t i = 0; i < conf->n_types; i++)
		looks[conf->types[i].index] = look_of(&conf->types[i]);
	return looks;
}

/* The wall clock is ahead of clock_ms by so much, which is never negative. */
static int64_t apart_ms(void)
{
	return clock_wall_ms() - clock_ms();
}

static int64_t to_wall(int64_t ms, int64_t apart)
{
	return ms >= SNAPSHOT_NEVER - apart ? SNAPSHOT_NEVER : ms + apart;
}

static int64_t from_wall(int64_t ms, int64_t apart)
{
	return ms == SNAPSHOT_NEVER ? MEMORY_FOREVER : ms - apart;
}

/* ---- saving ---- */

struct saving {
	struct catalog *catalog;
	struct snapshot *file;          /* NULL: only what Redis is still to be told is counted */
	uint64_t *looks;
	int64_t apart_ms;
	size_t values, words, clears;
};

/* If that fails snapshot_commit tells. */
static void add(const struct saving *s, const struct snapshot_record *record)
{
	if (s->file)
		(void)snapshot_add(s->file, record);
}

static void save_entry(void *arg, const struct memory_entry *e)
{
	struct saving *s = arg;
	const struct value *v = memory_value(e);
	if (!v || !s->looks[e->type])
		return;
	s->values++;
	add(s, &(struct snapshot_record){.kind = SNAPSHOT_VALUE, .source = (uint8_t)e->source, .type = s->looks[e->type],
		.key = memory_key(e), .key_len = (uint32_t)e->key_len, .value = v->data, .value_len = v->len,
		.stored_ms = to_wall(memory_stored_ms(e), s->apart_ms), .expires_ms = to_wall(e->expires_ms, s->apart_ms)});
}

static void save_entries(struct saving *s)
{
	uint64_t cursor = 0;
	while (memory_sweep(s->catalog->tiers.memory))
		;
	do
		cursor = memory_scan(s->catalog->tiers.memory, cursor, 1000, save_entry, s);
	while (cursor);
}

static void save_clear(void *arg, const struct clear *c)
{
	struct saving *s = arg;
	s->clears++;
	add(s, &(struct snapshot_record){.kind = SNAPSHOT_CLEAR, .type = c->type ? s->looks[c->type->index] : OF_ANY_TYPE,
		.key = c->prefix, .key_len = (uint32_t)c->prefix_len, .value = ""});
}

static void save_word(void *arg, const struct conf_type *type, const struct key *key, struct value *value, int64_t expires_ms)
{
	struct saving *s = arg;
	s->words++;
	add(s, &(struct snapshot_record){.kind = value ? SNAPSHOT_WRITE : SNAPSHOT_REMOVAL, .type = s->looks[type->index],
		.key = key->data, .key_len = key->len, .value = value ? value->data : "", .value_len = value ? value->len : 0,
		.expires_ms = value ? to_wall(expires_ms, s->apart_ms) : SNAPSHOT_NEVER});
}

static void save_what_waits(struct saving *s)
{
	replay_visit(s->catalog->replay, &(struct replay_visitor){.clear = save_clear, .word = save_word, .arg = s});
}

/* Redis goes on with what is older than what was done here. */
static void tell_what_is_lost(struct saving *s, bool is_wanted)
{
	s->words = s->clears = 0;
	s->file = NULL;
	save_what_waits(s);
	if (s->words + s->clears > 0)
		log_warning("replay_lost", "words=%zu clears=%zu reason=%s remedy=%s", s->words, s->clears, log_quote("the daemon stops before Redis is back"),
			log_quote(is_wanted ? "see snapshot_failed; clear those types in Redis" : "set memory.snapshot; clear those types in Redis"));
}

/* 0; -1: the log tells why not. */
static int save(struct saving *s, const char *path)
{
	char *error = NULL;
	int64_t began_us = clock_us();
	s->file = snapshot_create(path, &error);
	if (s->file) {
		save_what_waits(s);
		save_entries(s);
	}
	int result = s->file && snapshot_commit(s->file, &error) == 0 ? 0 : -1;
	if (result < 0)
		log_error("snapshot_failed", "reason=%s", log_quote(error));
	else
		log_info("snapshot_saved", "values=%zu words=%zu clears=%zu took_ms=%lld", s->values, s->words, s->clears,
			(long long)(clock_us() - began_us) / 1000);
	free(error);
	return result;
}

void catalog_save(struct catalog *c, const char *path)
{
	struct saving s = {.catalog = c, .looks = looks_of_all(c), .apart_ms = apart_ms()};
	if (!path || save(&s, path) < 0)
		tell_what_is_lost(&s, path);
	free(s.looks);
}

void catalog_try_saving(const char *path)
{
	char *trouble = path ? snapshot_trouble(path) : NULL;
	if (trouble)
		log_warning("snapshot_impossible", "reason=%s", log_quote(trouble));
	free(trouble);
}

/* ---- loading ---- */

struct loading {
	struct catalog *catalog;
	uint64_t *looks;
	int64_t apart_ms;
	size_t values, words, clears, left_out;
};

/* How long ago, on the wall clock, that may have been set back a little; negative: it is not to be believed. */
static int64_t age_of(const struct loading *l, const struct snapshot_record *r)
{
	int64_t age_ms = clock_ms() + l->apart_ms - r->stored_ms;
	return age_ms < 0 && age_ms >= -SNAPSHOT_SLACK_MS ? 0 : age_ms;
}

/* There is no drop yet that what came long ago could seem to be older than (see memory_drop.h). */
static bool load_value(struct loading *l, const struct conf_type *type, const struct key *key, const struct snapshot_record *r)
{
	struct tiers *t = &l->catalog->tiers;
	int64_t expires_ms = from_wall(r->expires_ms, l->apart_ms), age_ms = age_of(l, r);
	if (expires_ms <= clock_ms() - tiers_window_ms(type) || age_ms < 0 || !type->in_memory || r->value_len > type->max_value || r->source > SOURCE_REDIS)
		return false;
	struct value *v = value_copy(r->value, r->value_len);
	int result = v ? memory_put(t->memory, key, &(struct memory_item){.type = type->index, .source = (enum source)r->source, .value = v,
		.epoch = tiers_has_redis(t, type) ? 0 : UINT32_MAX, .stored_ms = clock_ms() > age_ms ? clock_ms() - age_ms : 0,
		.expires_ms = expires_ms}) : -1;
	value_unref(v);
	return result == 0;
}

static bool load_word(struct loading *l, const struct conf_type *type, const struct key *key, const struct snapshot_record *r)
{
	struct value *v = r->kind == SNAPSHOT_WRITE ? value_copy(r->value, r->value_len) : NULL;
	if (!tiers_has_redis(&l->catalog->tiers, type))
		return false;
	if (v)
		replay_write(l->catalog->replay, type, key, v, from_wall(r->expires_ms, l->apart_ms));
	else
		replay_delete(l->catalog->replay, type, key);
	value_unref(v);
	return true;
}

static bool load_key(struct loading *l, const struct snapshot_record *r)
{
	struct key key = key_of(r->key, r->key_len);
	const struct conf_type *type = tiers_type(&l->catalog->tiers, &key);
	bool is_same = r->key_len > 0 && tiers_is_declared(&l->catalog->tiers, type) && l->looks[type->index] == r->type;
	if (!is_same)
		return false;
	return r->kind == SNAPSHOT_VALUE ? load_value(l, type, &key, r) : load_word(l, type, &key, r);
}

static bool load_clear(struct loading *l, const struct snapshot_record *r)
{
	const struct conf *conf = l->catalog->tiers.conf;
	const struct conf_type *type = NULL;
	for (size_t i = 0; i < conf->n_types && !type; i++)
		type = l->looks[conf->types[i].index] == r->type ? &conf->types[i] : NULL;
	if (!l->catalog->tiers.redis || (!type && r->type != OF_ANY_TYPE))
		return false;
	replay_clear_from_before(l->catalog->replay, type, r->key, r->key_len);
	return true;
}

static void load_record(void *arg, const struct snapshot_record *r)
{
	struct loading *l = arg;
	size_t *count = r->kind == SNAPSHOT_VALUE ? &l->values : r->kind == SNAPSHOT_CLEAR ? &l->clears : &l->words;
	bool is_loaded = r->key_len <= CONF_KEY_MAX && (r->kind == SNAPSHOT_CLEAR ? load_clear(l, r) : load_key(l, r));
	++*(is_loaded ? count : &l->left_out);
}

void catalog_load(struct catalog *c, const char *path)
{
	struct loading l = {.catalog = c, .looks = looks_of_all(c), .apart_ms = apart_ms()};
	char *error = NULL;
	int64_t began_us = clock_us(), n = snapshot_take(path, load_record, &l, &error);
	clock_update(); /* that may have taken long */
	if (n < 0)
		log_warning("snapshot_ignored", "reason=%s", log_quote(error));
	if (n > 0)
		log_info("snapshot_loaded", "values=%zu words=%zu clears=%zu left_out=%zu took_ms=%lld", l.values, l.words, l.clears, l.left_out,
			(long long)(clock_us() - began_us) / 1000);
	free(error);
	free(l.looks);
}
