/* Versions: the daemon's own, and the Redis whose behaviour clients may expect. */
#ifndef CATCACHED_VERSION_H
#define CATCACHED_VERSION_H

#define VERSION "0.1.0"
#define VERSION_REDIS "7.0.15"

#endif
