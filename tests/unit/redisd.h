/* What tests against a real redis-server share: a server of the test's own on a Unix
 * socket, started, stopped and killed as the test wants it, a connection to it beside
 * the code under test, and a loop on which conditions are waited for with a limit. */
#ifndef CATCACHED_TESTS_REDISD_H
#define CATCACHED_TESTS_REDISD_H

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdint.h>

#define LIMIT_MS 20000          /* no wait is longer; most end at once */

struct Suite;

extern struct event_base *base;
extern redisContext *control;           /* a connection to the server while it runs */
extern char socket_path[128];           /* of the server, the test's own */

/* Makes the folder of the sockets, runs the suite and removes it. Returns what main returns. */
int redisd_main(struct Suite *s);

/* The loop, and the path; no server yet. redisd_fini ends the server if it runs. */
void redisd_init(void);
void redisd_fini(void);

/* Starts the server with further options (ended by NULL; or NULL), and connects control. */
void start_server(const char *const *options);
void kill_server(void);
void pause_server(void);
void resume_server(void);

/* One more connection to the server; redisFree it. */
redisContext *connect_to_server(void);

/* What the server itself says to a command, in hiredis's format, which must be no error; free it. */
redisReply *tell(const char *fmt, ...);
#define told(...) freeReplyObject(tell(__VA_ARGS__))
long long number_of(redisReply *reply);

/* How often the server was told a command (lower case) since CONFIG RESETSTAT. */
unsigned calls_of(const char *command);

/* Keys in the database, those of our own (catcached:) apart. */
unsigned keys_stored(void);

/* The key has these bytes in Redis; NULL: it is not there. */
void expect_stored(const char *name, const char *bytes);

int64_t now_ms(void);
void wait_at_most(int64_t end_ms, const char *condition, const char *file, int line);

/* Runs the loop until the condition holds. */
#define run_until(condition, limit_ms) \
	do { \
		int64_t run_end = now_ms() + (limit_ms); \
		while (!(condition)) { \
			wait_at_most(run_end, #condition, __FILE__, __LINE__); \
			event_base_loop(base, EVLOOP_ONCE); \
		} \
	} while (0)

/* Runs the loop for ms. Only to see that something does not happen. */
void run_for(int64_t ms);

struct redis;
bool are_relays_up(const struct redis *r);

#endif
