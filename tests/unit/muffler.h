/* A way to the redis-server of redisd.h on which subscribers can be made to hear nothing
 * more while their connections stay, as behind a firewall that has forgotten them. */
#ifndef CATCACHED_TESTS_MUFFLER_H
#define CATCACHED_TESTS_MUFFLER_H

#include <stdbool.h>

extern char muffler_path[160];          /* in place of socket_path */
extern bool muffler_is_on;

/* After start_server, and before redisd_fini. */
void muffler_start(void);
void muffler_stop(void);

#endif
