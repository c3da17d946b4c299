/* How the whole is, for who looks at it from outside: the figures behind the status page, and
 * whether requests may be sent here. */
#ifndef CATCACHED_STATUS_H
#define CATCACHED_STATUS_H

struct cJSON;
struct server;

/* Why no requests should be sent here, for a load balancer; NULL: they may be. That a part is
 * away is no reason, as long as something can be answered: see HEALTH for that. A text without end
 * of life. */
const char *status_unready(const struct server *s);

/* An object to be deleted by the caller: the server's figures in STATS. */
struct cJSON *status_server(const struct server *s);

/* Likewise: how far the warm lists have come that are being loaded, and what was loaded so far. */
struct cJSON *status_warm(const struct server *s);

/* Likewise: what the status page shows. STATS and HEALTH, what is declared of each type and how its
 * fetches went, the slowest fetches, the last invalidations. No keys: see recent.h. */
struct cJSON *status_page(const struct server *s);

#endif
