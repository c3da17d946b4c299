/* The fleet of the chaos tests; see chaos.h. */
#include "chaos.h"

#include <stdlib.h>
#include <string.h>

#include "../daemon/harness.h"
#include "../daemon/talk.h"
#include "source.h"

#define TIME_FACTOR "4"

#define CONFIG(sql) \
	LISTEN_SIDECAR \
	"log: {level: warning}\n" \
	"redis: {url: 'unix://${REDIS_SOCKET}', timeout: 250ms}\n" \
	"database: {url: '${DATABASE_URL}', connections: 3, timeout: 5s}\n" \
	"types:\n" \
	"  sourced: {key: 'f:{name}', ttl: 1000s, fetch: {sql: \"" sql "\", shape: value}}\n" \
	"  plain: {key: 'p:{name}', ttl: 1000s}\n"

bool chaos_is_full(void)
{
	const char *chaos = getenv("CHAOS");
	return chaos && strcmp(chaos, "full") == 0;
}

int chaos_main(const char *area, const TTest *const *tests, size_t n)
{
	setenv("CK_TIMEOUT_MULTIPLIER", TIME_FACTOR, 0);
	return harness_main(area, tests, n);
}

void chaos_start(struct harness *h, const char *postgres_url, uint32_t n_sourced, const char *redis_options)
{
	source_make(harness_path(h, "catalog.db"), postgres_url, n_sourced);
	setenv("REDIS_SOCKET", harness_path(h, "redis.sock"), 0);
	harness_redis_start(h, redis_options);
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		harness_start_sidecar(h, i, postgres_url ? CONFIG(SOURCE_SQL_POSTGRES) : CONFIG(SOURCE_SQL_SQLITE));
	for (unsigned i = 0; i < HARNESS_SIDECARS; i++)
		harness_redis_ready(harness_connect_sidecar(h, i));
}
