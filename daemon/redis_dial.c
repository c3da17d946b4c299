/* A connection to Redis coming up, by way of hiredis, and going down; see redis_link.h.
 *
 *   WAITING --timer--> RESOLVING --errand--> CONNECTING --> HANDSHAKE --> TRIAL --> UP
 *      ^                                                                            |
 *      +------------------ lost(): error, time-out, refused, closed ----------------+
 *
 * Until the handshake has been answered there is the patience of connecting: so whoever
 * hung is reached as soon as it goes on. Then a PING is on trial, with the time-out of any
 * command: a server that is slower than that does not come up. Nor does one that is up
 * forget its failures before it has answered something. */
#include <arpa/inet.h>
#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../conf/conf.h"
#include "../proto/reply.h"
#include "clock.h"
#include "errand.h"
#include "log.h"
#include "lookup.h"
#include "redis_link_impl.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000

/* ---- hiredis on libevent: two persistent events ---- */

static void add_read(void *arg)
{
	event_add(((struct redis_link *)arg)->readable, NULL);
}

static void del_read(void *arg)
{
	event_del(((struct redis_link *)arg)->readable);
}

static void add_write(void *arg)
{
	event_add(((struct redis_link *)arg)->writable, NULL);
}

static void del_write(void *arg)
{
	event_del(((struct redis_link *)arg)->writable);
}

/* hiredis is done with the socket. The link may be on a new one already. */
static void cleanup(void *arg)
{
	struct redis_link *l = arg;
	if (l->readable)
		event_free(l->readable);
	if (l->writable)
		event_free(l->writable);
	l->readable = l->writable = NULL;
}

/* ---- up and down ---- */

static int64_t backoff_ms(const struct redis_link *l)
{
	int64_t ms = BACKOFF_MIN_MS << (l->failures < 8 ? l->failures : 8);
	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	return ms / 2 + random() % (ms / 2 + 1);
}

/* Relays are many and share the fate of the link that they follow. */
static enum log_level level_of(const struct redis_link *l)
{
	return l->options.relay_resp ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;
}

/* The first failure is told; the next ones, until it is up again, are the same story. */
static void tell_down(struct redis_link *l, bool was_up, const char *reason)
{
	log_event(l->closing || l->failures ? LOG_LEVEL_DEBUG : level_of(l), "redis_down", "link=%s after_ms=%lld reason=%s", l->options.name,
		(long long)(was_up ? clock_ms() - l->up_since_ms : clock_ms() - l->down_since_ms), log_quote(reason));
}

/* The one way down, from any state; the context is hiredis's to free, or freed by redis_link_drop. */
static void lost(struct redis_link *l, const char *reason)
{
	bool was_up = l->state == LINK_UP;
	l->ac = NULL;
	redis_link_hand_back(l);
	l->state = LINK_WAITING;
	event_del(l->deadline);
	if (was_up)
		l->down_since_ms = clock_ms();
	tell_down(l, was_up, reason);
	snprintf(l->reason, sizeof(l->reason), "%s", reason);
	l->stats.drops += was_up;
	if (!l->closing && !l->is_held)
		clock_arm(l->retry, backoff_ms(l));
	l->failures++;
	if (was_up)
		l->options.on_state(l->options.arg, false);
}

void redis_link_drop(struct redis_link *l, const char *reason)
{
	redisAsyncContext *ac = l->ac;
	char kept[REDIS_REASON_MAX];
	snprintf(kept, sizeof(kept), "%s", reason);
	lost(l, kept);
	redisAsyncFree(ac);
}

void redis_link_come_up(struct redis_link *l)
{
	l->state = LINK_UP;
	event_del(l->deadline); /* that of the trial */
	l->reason[0] = '\0';
	l->stats.connects++;
	l->up_since_ms = clock_ms();
	log_event(level_of(l), "redis_up", "link=%s after_ms=%lld", l->options.name, (long long)(clock_ms() - l->down_since_ms));
	l->options.on_state(l->options.arg, true);
}

static struct redis_link *link_of(const redisAsyncContext *ac)
{
	struct redis_link *l = ac->data;
	return l && l->ac == ac ? l : NULL;
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = link_of(ac);
	(void)status;
	if (l)
		lost(l, ac->err ? ac->errstr : "connection closed");
}

/* ---- connecting ---- */

static void on_handshake(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_link *l = arg;
	(void)reason;
	if (!reply || l->state != LINK_HANDSHAKE || reply->type != REDIS_REPLY_ERROR)
		return;
	redis_link_drop(l, reply->str);
}

/* SUBSCRIBE's own confirmations, then the messages. */
static void on_subscribed(redisAsyncContext *ac, void *r, void *privdata)
{
	struct redis_link *l = privdata;
	const redisReply *reply = r;
	if (!reply || l->ac != ac || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
		return;
	if (strcmp(reply->element[0]->str, "message") == 0) {
		redis_link_proved(l);
		l->options.on_message(l->options.arg, reply, "");
	} else if (l->state == LINK_TRIAL && strcmp(reply->element[0]->str, "subscribe") == 0
	    && !l->options.channels[reply->element[2]->integer])
		redis_link_come_up(l);
}

static void add_words(struct buf *b, size_t n, const char *const *words)
{
	for (size_t i = 0; i < n; i++)
		reply_add_bulk_str(b, words[i]);
}

static void subscribe(struct redis_link *l)
{
	struct buf b = BUF_INIT;
	size_t n = 0;
	while (l->options.channels[n])
		n++;
	reply_add_array(&b, n + 1);
	reply_add_bulk_str(&b, "SUBSCRIBE");
	add_words(&b, n, l->options.channels);
	buf_add_char(&b, '\0');
	l->connect_deadline_ms = clock_ms() + l->conf->connect_timeout_ms;
	(void)redisAsyncFormattedCommand(l->ac, on_subscribed, l, b.data, b.len - 1); /* failed: it is closing, lost() follows */
	buf_free(&b);
}

static void on_client_id(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_link *l = arg;
	(void)reason;
	/* A server without CLIENT ID cannot redirect anything here, but it can publish. */
	if (reply)
		l->client_id = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

bool redis_link_is_unready(const char *error)
{
	static const char *const codes[] = {"BUSY ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN "};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strncmp(error, codes[i], strlen(codes[i])) == 0)
			return true;
	return false;
}

/* It serves, and in time. That it cannot write (MISCONF), or may not be asked this, is no
 * reason to stay away. */
static void on_pinged(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_link *l = arg;
	(void)reason;
	if (!reply || l->state != LINK_TRIAL)
		return;
	if (reply->type == REDIS_REPLY_ERROR && redis_link_is_unready(reply->str)) {
		redis_link_drop(l, reply->str);
	} else if (l->options.relay_resp) {
		redis_link_start_relaying(l);
	} else if (l->options.channels) {
		subscribe(l);
	} else {
		redis_link_take_over(l);
		redis_link_come_up(l);
	}
}

static void say(struct redis_link *l, redis_reply_fn done, size_t n, const char *const *words)
{
	struct buf b = BUF_INIT;
	reply_add_array(&b, n);
	add_words(&b, n, words);
	buf_add_char(&b, '\0'); /* hiredis looks at it as at a string */
	b.len--;
	redis_link_send_step(l, &b, done);
	buf_free(&b);
}

/* CLIENT SETNAME is the last command of the handshake; some managed servers refuse it, which
 * does no harm. */
static void on_named(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_link *l = arg;
	(void)reason;
	if (!reply || l->state != LINK_HANDSHAKE)
		return;
	if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOAUTH", 6) == 0) {
		redis_link_drop(l, reply->str);
		return;
	}
	l->state = LINK_TRIAL;
	event_del(l->deadline);                 /* that of connecting */
	say(l, on_pinged, 1, (const char *[]){"PING"});
}

static void shake_hands(struct redis_link *l)
{
	const struct conf_redis *c = l->conf;
	char db[16];
	l->state = LINK_HANDSHAKE;
	if (c->password && c->user)
		say(l, on_handshake, 3, (const char *[]){"AUTH", c->user, c->password});
	else if (c->password)
		say(l, on_handshake, 2, (const char *[]){"AUTH", c->password});
	snprintf(db, sizeof(db), "%u", c->db);
	if (c->db)
		say(l, on_handshake, 2, (const char *[]){"SELECT", db});
	if (l->options.channels)
		say(l, on_client_id, 2, (const char *[]){"CLIENT", "ID"});
	say(l, on_named, 3, (const char *[]){"CLIENT", "SETNAME", l->options.name});
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct redis_link *l = link_of(ac);
	if (!l)
		return;
	if (status == REDIS_OK)
		shake_hands(l);
	else
		lost(l, ac->errstr);
}

static void attach(struct redis_link *l, redisAsyncContext *ac)
{
	if (!ac || ac->err) {
		lost(l, ac ? ac->errstr : "out of memory");
		if (ac)
			redisAsyncFree(ac);
		return;
	}
	l->ac = ac;
	l->state = LINK_CONNECTING;
	l->progress_ms = clock_ms();
	l->connect_deadline_ms = clock_ms() + l->conf->connect_timeout_ms;
	cleanup(l);
	l->readable = event_new(l->base, ac->c.fd, EV_READ | EV_PERSIST, redis_link_on_readable, l);
	l->writable = event_new(l->base, ac->c.fd, EV_WRITE | EV_PERSIST, redis_link_on_writable, l);
	if (l->options.channels)
		(void)event_priority_set(l->readable, 0);       /* what has changed is heard before anybody is served */
	ac->data = l;
	ac->ev.data = l;
	ac->ev.addRead = add_read;
	ac->ev.delRead = del_read;
	ac->ev.addWrite = add_write;
	ac->ev.delWrite = del_write;
	ac->ev.cleanup = cleanup;
	redisAsyncSetDisconnectCallback(ac, on_disconnect);
	redisAsyncSetConnectCallback(ac, on_connect);
	redis_link_update_deadline(l);
}

static void on_looked_up(void *arg, const char *address, const char *reason)
{
	struct redis_link *l = arg;
	l->lookup = NULL;
	if (address)
		attach(l, redisAsyncConnect(address, l->conf->port));
	else
		lost(l, reason);
}

/* A name's addresses are tried in turn, one at each attempt. */
static void start_lookup(struct redis_link *l)
{
	l->state = LINK_RESOLVING;
	l->lookup = lookup_start(l->base, l->conf->host, l->failures, on_looked_up, l);
	if (!l->lookup)
		lost(l, "no thread for the name look-up");
}

static bool is_address(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

void redis_link_dial(struct redis_link *l)
{
	const struct conf_redis *c = l->conf;
	if (c->unix_path)
		attach(l, redisAsyncConnectUnix(c->unix_path));
	else if (is_address(c->host))
		attach(l, redisAsyncConnect(c->host, c->port));
	else
		start_lookup(l);
}
