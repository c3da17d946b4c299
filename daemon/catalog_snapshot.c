/* What the catalog holds, into a file and back; see catalog.h and snapshot.h.
 *
 * What comes back is what was held before Redis was lost: it is served while Redis is away, and when that is there, compared
 * with it key by key. What Redis was still to be told comes back, too. The file is used once: after a crash it would be older
 * than what was served since. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
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

static int64_t to_wall(int64_t ms)
{
	return ms == MEMORY_FOREVER ? SNAPSHOT_NEVER : clock_wall_ms() + ms - clock_ms();
}

static int64_t from_wall(int64_t ms)
{
	return ms == SNAPSHOT_NEVER ? MEMORY_FOREVER : clock_ms() + ms - clock_wall_ms();
}

/* ---- saving ---- */

struct saving {
	struct catalog *catalog;
	struct snapshot *file;
	uint64_t *looks;                /* by place */
	size_t values, words;
};

static void save_entry(void *arg, const struct memory_entry *e)
{
	struct saving *s = arg;
	const struct value *v = memory_value(e);
	if (!v)
		return;
	s->values++;
	(void)snapshot_add(s->file, &(struct snapshot_record){.kind = SNAPSHOT_VALUE, .source = (uint8_t)e->source, .type = s->looks[e->type],
		.key = memory_key(e), .key_len = (uint32_t)e->key_len, .value = v->data, .value_len = v->len,
		.stored_ms = to_wall(memory_stored_ms(e)), .expires_ms = to_wall(e->expires_ms)}); /* snapshot_commit tells */
}

static void save_word(void *arg, const struct conf_type *type, const struct key *key, struct value *value, int64_t expires_ms)
{
	struct saving *s = arg;
	s->words++;
	(void)snapshot_add(s->file, &(struct snapshot_record){.kind = value ? SNAPSHOT_WRITE : SNAPSHOT_REMOVAL, .type = look_of(type),
		.key = key->data, .key_len = key->len, .value = value ? value->data : "", .value_len = value ? value->len : 0,
		.expires_ms = to_wall(value ? expires_ms : MEMORY_FOREVER)});
}

static void save_clear(void *arg, const struct conf_type *type)
{
	struct saving *s = arg;
	s->words++;
	(void)snapshot_add(s->file, &(struct snapshot_record){.kind = SNAPSHOT_CLEAR, .key = type->name, .key_len = (uint32_t)strlen(type->name), .value = ""});
}

static void save_clears(struct saving *s)
{
	const struct conf *conf = s->catalog->tiers.conf;
	for (size_t i = 0; i < conf->n_types; i++)
		if (replay_clears_type(s->catalog->replay, &conf->types[i]))
			save_clear(s, &conf->types[i]);
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

void catalog_save(struct catalog *c, const char *path)
{
	char *error = NULL;
	int64_t began_us = clock_us();
	struct saving s = {.catalog = c, .file = snapshot_create(path, &error)};
	s.looks = xcalloc(c->tiers.n_places, sizeof(*s.looks));
	for (size_t i = 0; i < c->tiers.n_places; i++)
		s.looks[i] = c->tiers.types[i]->key ? look_of(c->tiers.types[i]) : 0;
	if (s.file) {
		save_clears(&s);
		replay_each(c->replay, save_word, &s);
		save_entries(&s);
	}
	if (!s.file || snapshot_commit(s.file, &error) < 0)
		log_error("snapshot_failed", "reason=%s", log_quote(error));
	else
		log_info("snapshot_saved", "values=%zu words=%zu took_ms=%lld", s.values, s.words, (long long)(clock_us() - began_us) / 1000);
	free(error);
	free(s.looks);
}

/* ---- loading ---- */

struct loading {
	struct catalog *catalog;
	size_t values, words, left_out;
};

static bool load_value(struct loading *l, const struct conf_type *type, const struct key *key, const struct snapshot_record *r)
{
	struct tiers *t = &l->catalog->tiers;
	int64_t expires_ms = from_wall(r->expires_ms), age_ms = clock_wall_ms() - r->stored_ms;
	bool is_over = expires_ms != MEMORY_FOREVER && expires_ms + tiers_window_ms(type) <= clock_ms();
	if (is_over || age_ms < 0 || !type->in_memory || r->value_len > type->max_value || r->source > SOURCE_REDIS)
		return false;
	struct value *v = value_copy(r->value, r->value_len);
	int result = v ? memory_put(t->memory, key, &(struct memory_item){.type = type->index, .source = (enum source)r->source, .value = v,
		.epoch = tiers_has_redis(t, type) ? 0 : UINT32_MAX, .stored_ms = clock_ms() > age_ms ? clock_ms() - age_ms : 0,
		.expires_ms = expires_ms}) : -1; /* there is no drop yet that it could seem to be older than */
	value_unref(v);
	return result == 0;
}

static bool load_word(struct loading *l, const struct conf_type *type, const struct key *key, const struct snapshot_record *r)
{
	struct value *v = r->kind == SNAPSHOT_WRITE ? value_copy(r->value, r->value_len) : NULL;
	if (!tiers_has_redis(&l->catalog->tiers, type))
		return false;
	if (v)
		replay_write(l->catalog->replay, type, key, v, from_wall(r->expires_ms));
	else
		replay_delete(l->catalog->replay, type, key);
	value_unref(v);
	return true;
}

static bool load_clear(struct loading *l, const struct snapshot_record *r)
{
	const struct conf_type *type = conf_type_named(l->catalog->tiers.conf, r->key, r->key_len);
	if (!type || !tiers_has_redis(&l->catalog->tiers, type))
		return false;
	replay_clear_later(l->catalog->replay, type);
	return true;
}

static void load_record(void *arg, const struct snapshot_record *r)
{
	struct loading *l = arg;
	bool is_loaded;
	if (r->kind == SNAPSHOT_CLEAR) {
		is_loaded = load_clear(l, r);
	} else {
		struct key key = key_of(r->key, r->key_len);
		const struct conf_type *type = tiers_type(&l->catalog->tiers, &key);
		bool is_same = r->key_len > 0 && r->key_len <= CONF_KEY_MAX && tiers_is_declared(&l->catalog->tiers, type) && look_of(type) == r->type;
		is_loaded = is_same && (r->kind == SNAPSHOT_VALUE ? load_value(l, type, &key, r) : load_word(l, type, &key, r));
	}
	l->values += is_loaded && r->kind == SNAPSHOT_VALUE;
	l->words += is_loaded && r->kind != SNAPSHOT_VALUE;
	l->left_out += !is_loaded;
}

void catalog_load(struct catalog *c, const char *path)
{
	struct loading l = {.catalog = c};
	char *error = NULL;
	int64_t began_us = clock_us(), n = snapshot_read(path, load_record, &l, &error);
	if (n < 0)
		log_warning("snapshot_ignored", "reason=%s", log_quote(error));
	if (n > 0)
		log_info("snapshot_loaded", "values=%zu words=%zu left_out=%zu took_ms=%lld", l.values, l.words, l.left_out,
			(long long)(clock_us() - began_us) / 1000);
	if (n > 0 && unlink(path) < 0)
		log_warning("snapshot_kept", "file=%s reason=%s remedy=%s", log_quote(path), log_quote(strerror(errno)),
			log_quote("let the daemon's user write to its folder: after a crash old values would come back"));
	free(error);
}
