/* STATS and HEALTH, read and compared; see ctl_figures.h. */
#include "ctl_figures.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include "ctl.h"

const struct cJSON *figure_at(const struct cJSON *tree, const char *place)
{
	char word[64];
	while (tree && *place) {
		size_t len = strcspn(place, ".");
		if (len >= sizeof(word))
			return NULL;
		memcpy(word, place, len);
		word[len] = '\0';
		tree = cJSON_GetObjectItemCaseSensitive(tree, word);
		place += len + (place[len] == '.');
	}
	return tree;
}

double figure(const struct cJSON *tree, const char *place)
{
	const cJSON *at = figure_at(tree, place);
	return cJSON_IsNumber(at) ? at->valuedouble : 0;
}

const char *figure_text(const struct cJSON *tree, const char *place)
{
	const cJSON *at = figure_at(tree, place);
	return cJSON_IsString(at) ? at->valuestring : "?";
}

/* ---- looking ---- */

static int ask_json(struct ctl *c, const char *command, cJSON **tree)
{
	int status = ctl_try(c, &(struct request_arg){.data = command, .len = strlen(command)}, 1);
	if (status != CTL_GOOD)
		return status;
	struct reply_element e = ctl_reply(c);
	cJSON_Delete(*tree);
	*tree = cJSON_ParseWithLength(e.data, e.len);
	return *tree ? CTL_GOOD : ctl_not_json(c, command);
}

int figures_take(struct figures *f, struct ctl *c)
{
	cJSON *now = NULL;
	int status = ask_json(c, "STATS", &now);
	if (status != CTL_GOOD)
		return status;
	cJSON_Delete(f->before);
	f->before = f->now;
	f->before_us = f->now_us;
	f->now = now;
	f->now_us = ctl_now_us();
	return ask_json(c, "HEALTH", &f->health);
}

void figures_free(struct figures *f)
{
	cJSON_Delete(f->now);
	cJSON_Delete(f->before);
	cJSON_Delete(f->health);
	*f = (struct figures){0};
}

/* ---- comparing ---- */

double figures_seconds(const struct figures *f)
{
	return f->before ? (double)(f->now_us - f->before_us) / 1e6 : NAN;
}

double figures_rate(const struct figures *f, const char *place)
{
	return (figure(f->now, place) - figure(f->before, place)) / figures_seconds(f);
}

/* Of an answer that is counted later than its request there may be one too many. */
static double at_least_0(double n)
{
	return n > 0 ? n : 0;
}

static double grown(const cJSON *now, const cJSON *before, const char *counter)
{
	return at_least_0(figure(now, counter) - figure(before, counter));
}

struct reads reads_between(const struct cJSON *now, const struct cJSON *before)
{
	double misses = grown(now, before, "misses");
	struct reads r = {
		.memory = grown(now, before, "memory_hits") + grown(now, before, "absent_hits"),
		.redis = grown(now, before, "redis_hits"),
		.stale = grown(now, before, "stale_hits") + grown(now, before, "stale_errors"),
		.fetches = grown(now, before, "fetches"),
		.failures = grown(now, before, "fetch_failures"),
	};
	r.source = at_least_0(misses - r.redis);
	r.all = r.memory + r.redis + r.source;
	return r;
}

const struct cJSON *figures_before(const struct figures *f, const char *type)
{
	return cJSON_GetObjectItemCaseSensitive(figure_at(f->before, "types"), type);
}

struct reads figures_reads(const struct figures *f)
{
	struct reads sum = {0};
	const cJSON *type;
	cJSON_ArrayForEach(type, figure_at(f->now, "types")) {
		struct reads r = reads_between(type, figures_before(f, type->string));
		sum.all += r.all;
		sum.memory += r.memory;
		sum.redis += r.redis;
		sum.source += r.source;
		sum.stale += r.stale;
		sum.fetches += r.fetches;
		sum.failures += r.failures;
	}
	return sum;
}
