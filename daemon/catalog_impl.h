/* What the catalog's own files share: catalog.c (making, keys, reading),
 * catalog_write.c, catalog_invalidate.c and catalog_stats.c. For nobody else. */
#ifndef CATCACHED_CATALOG_IMPL_H
#define CATCACHED_CATALOG_IMPL_H

#include "catalog.h"
#include "tiers.h"

struct fetcher;

struct catalog {
	struct tiers tiers;
	struct flights *flights;
	struct fetcher *fetcher;
};

#define CATALOG_REDIS_IS_OFF "UNAVAILABLE redis: the key is of no declared type, and Redis is off"
#define CATALOG_ERROR_MAX 256

/* Redis gave no good answer about a key: a declared key is then not known to exist;
 * for another there is no one else to ask, so the outcome is an error, put into error. */
struct outcome catalog_without_redis(bool is_declared, const struct redis_result *r, char error[CATALOG_ERROR_MAX]);

/* How many keys a removal touched: what Redis says; but a key written while Redis was
 * away is in memory only, so no fewer than memory knew of. */
static inline int64_t catalog_touched(int64_t in_redis, uint64_t in_both)
{
	return in_redis > (int64_t)in_both ? in_redis : (int64_t)in_both;
}

#endif
