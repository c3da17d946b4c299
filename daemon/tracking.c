/* Tracking; see tracking.h.
 *
 *   data   link: CLIENT TRACKING ON REDIRECT <subscriber> BCAST NOLOOP PREFIX ...
 *   sub    link: SUBSCRIBE __redis__:invalidate, and our own channels
 *   probe  link: SET catcached:probe:{id} every PROBE_MS, seen again on sub
 *
 * NOLOOP keeps our own writes from coming back; the probe goes over a link of its own
 * because of that. Whenever data or sub comes up, begin() sets tracking up anew. */
#include "tracking.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../conf/conf.h"
#include "../proto/buf.h"
#include "../proto/reply.h"
#include "clock.h"
#include "log.h"
#include "redis_link.h"

#define INVALIDATE_CHANNEL "__redis__:invalidate"
#define OWN_CHANNEL CONF_OWN_PREFIX "changed"
#define ECHO_CHANNEL CONF_OWN_PREFIX "echo:"    /* and our id: numbers that we send ourselves */
#define PROBE_MS 500
#define PROBE_LATE_MS 1400      /* without a proof for so long the link is taken for dead */
#define PROBE_TTL_MS "10000"
#define ID_LEN 16

struct tracking {
	struct tracking_options options;
	struct redis_link *sub, *probe;
	enum coherence coherence;
	bool data_up, sub_up;
	unsigned attempt;               /* numbers the calls of begin, to know their answers */
	struct event *timer;
	char id[ID_LEN + 1];            /* of this process */
	char probe_key[64];
	char echo_channel[64];
	const char *channels[4];
	struct tracking_stats stats;
};

static const char *const coherence_names[] = {
	[COHERENCE_AWAY] = "away", [COHERENCE_DEAF] = "deaf",
	[COHERENCE_TRACKING] = "tracking", [COHERENCE_PUBSUB] = "pubsub",
};

const char *tracking_coherence_name(enum coherence c)
{
	return coherence_names[c];
}

static void set_coherence(struct tracking *t, enum coherence now)
{
	if (t->coherence == now)
		return;
	log_warning("coherence", "from=%s to=%s", coherence_names[t->coherence], coherence_names[now]);
	t->coherence = now;
	t->options.on_coherence(t->options.arg, now);
}

static void add_words(struct buf *b, size_t n, const char *const *words)
{
	for (size_t i = 0; i < n; i++)
		reply_add_bulk_str(b, words[i]);
}

static void ignore_reply(void *arg, const redisReply *reply, const char *reason)
{
	(void)arg, (void)reply, (void)reason;
}

/* ---- setting up ---- */

struct attempt {
	struct tracking *tracking;
	unsigned number;
};

static void on_tracking(void *arg, const redisReply *reply, const char *reason)
{
	struct attempt *a = arg;
	struct tracking *t = a->tracking;
	bool is_current = a->number == t->attempt;
	free(a);
	(void)reason;
	if (!reply || !is_current || !t->sub_up)
		return;
	if (reply->type != REDIS_REPLY_ERROR) {
		t->stats.last_proof_ms = clock_ms();
		set_coherence(t, COHERENCE_TRACKING);
	} else if (strstr(reply->str, "redirect")) {
		redis_link_restart(t->sub, "the server does not know the subscriber");
	} else {
		log_warning("tracking_refused", "reason=%s consequence=%s", log_quote(reply->str),
			log_quote("changes are heard of from other sidecars only, and memory is trusted for a short time"));
		set_coherence(t, COHERENCE_PUBSUB);
	}
}

/* OFF first: a second ON with prefixes that are there already is an error. */
static void begin(struct tracking *t)
{
	if (!t->data_up || !t->sub_up)
		return;
	struct buf off = BUF_INIT, on = BUF_INIT;
	char client[24];
	snprintf(client, sizeof(client), "%" PRId64, redis_link_client_id(t->sub));
	reply_add_array(&off, 3);
	add_words(&off, 3, (const char *const[]){"CLIENT", "TRACKING", "OFF"});
	reply_add_array(&on, 7 + 2 * (t->options.n_prefixes + 1));
	add_words(&on, 7, (const char *const[]){"CLIENT", "TRACKING", "ON", "REDIRECT", client, "BCAST", "NOLOOP"});
	for (size_t i = 0; i < t->options.n_prefixes; i++)
		add_words(&on, 2, (const char *const[]){"PREFIX", t->options.prefixes[i]});
	add_words(&on, 2, (const char *const[]){"PREFIX", t->probe_key});

	struct attempt *a = xmalloc(sizeof(*a));
	*a = (struct attempt){.tracking = t, .number = ++t->attempt};
	redis_link_send_buf(t->options.data, &off, ignore_reply, NULL);
	redis_link_send_buf(t->options.data, &on, on_tracking, a);
}

void tracking_on_data(struct tracking *t, bool up)
{
	t->data_up = up;
	t->attempt++;
	set_coherence(t, up ? COHERENCE_DEAF : COHERENCE_AWAY);
	begin(t);
}

static void on_sub(void *arg, bool up)
{
	struct tracking *t = arg;
	t->sub_up = up;
	t->attempt++;
	if (!up && t->data_up)
		set_coherence(t, COHERENCE_DEAF);
	begin(t);
}

/* ---- messages ---- */

static void changed(struct tracking *t, const char *data, size_t len)
{
	if (strlen(t->probe_key) == len && memcmp(data, t->probe_key, len) == 0) {
		t->stats.last_proof_ms = clock_ms();
		return;
	}
	t->stats.messages++;
	struct key key = key_of(data, len);
	t->options.on_change(t->options.arg, &key);
}

/* "<id> <key>", from another sidecar. */
static void told(struct tracking *t, const char *data, size_t len)
{
	if (len > ID_LEN + 1 && memcmp(data, t->id, ID_LEN) != 0)
		changed(t, data + ID_LEN + 1, len - ID_LEN - 1);
}

static void on_message(void *arg, const redisReply *reply, const char *reason)
{
	struct tracking *t = arg;
	const redisReply *payload = reply->element[2];
	bool is_own = strcmp(reply->element[1]->str, OWN_CHANNEL) == 0;
	(void)reason;
	if (strcmp(reply->element[1]->str, t->echo_channel) == 0 && payload->type == REDIS_REPLY_STRING)
		t->options.on_echo(t->options.arg, strtoull(payload->str, NULL, 10));
	else if (is_own && payload->type == REDIS_REPLY_STRING)
		told(t, payload->str, (size_t)payload->len);
	else if (payload->type == REDIS_REPLY_NIL)
		t->options.on_flush(t->options.arg);
	else if (payload->type == REDIS_REPLY_ARRAY)
		for (size_t i = 0; i < payload->elements; i++)
			changed(t, payload->element[i]->str, (size_t)payload->element[i]->len);
}

void tracking_publish(struct tracking *t, const struct key *keys, size_t n)
{
	if (t->coherence != COHERENCE_PUBSUB)
		return;
	for (size_t i = 0; i < n; i++) {
		struct buf b = BUF_INIT, message = BUF_INIT;
		buf_addf(&message, "%s ", t->id);
		buf_add(&message, keys[i].data, keys[i].len);
		reply_add_array(&b, 3);
		add_words(&b, 2, (const char *const[]){"PUBLISH", OWN_CHANNEL});
		reply_add_bulk(&b, message.data, message.len);
		redis_link_send_buf(t->options.data, &b, ignore_reply, NULL);
		buf_free(&message);
	}
}

void tracking_add_echo(const struct tracking *t, struct buf *b, uint64_t number)
{
	char digits[24];
	snprintf(digits, sizeof(digits), "%" PRIu64, number);
	reply_add_array(b, 3);
	add_words(b, 3, (const char *const[]){"PUBLISH", t->echo_channel, digits});
}

/* ---- proof of life ---- */

static void send_probe(struct tracking *t)
{
	struct buf b = BUF_INIT;
	if (!redis_link_up(t->probe))
		return;
	reply_add_array(&b, 5);
	add_words(&b, 5, (const char *const[]){"SET", t->probe_key, t->id, "PX", PROBE_TTL_MS});
	redis_link_send_buf(t->probe, &b, ignore_reply, NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct tracking *t = arg;
	(void)fd, (void)what;
	clock_update();
	if (t->coherence != COHERENCE_TRACKING)
		return;
	if (clock_ms() - t->stats.last_proof_ms < PROBE_LATE_MS) {
		send_probe(t);
		return;
	}
	t->stats.repairs++;
	log_warning("tracking_silent", "for_ms=%lld", (long long)(clock_ms() - t->stats.last_proof_ms));
	set_coherence(t, COHERENCE_DEAF);
	redis_link_restart(t->sub, "the probe did not come back");
}

static void on_probe(void *arg, bool up)
{
	if (up)
		send_probe(arg);
}

/* ---- making and unmaking ---- */

struct tracking *tracking_new(const struct tracking_options *options)
{
	struct tracking *t = xcalloc(1, sizeof(*t));
	uint64_t id = 0;
	(void)!getrandom(&id, sizeof(id), GRND_NONBLOCK); /* no entropy yet: the address and the time have to do */
	id ^= (uint64_t)clock_us() ^ (uintptr_t)t;
	t->options = *options;
	snprintf(t->id, sizeof(t->id), "%016" PRIx64, id);
	snprintf(t->probe_key, sizeof(t->probe_key), "%sprobe:{%s}", CONF_OWN_PREFIX, t->id);
	snprintf(t->echo_channel, sizeof(t->echo_channel), "%s%s", ECHO_CHANNEL, t->id);
	t->channels[0] = INVALIDATE_CHANNEL;
	t->channels[1] = OWN_CHANNEL;
	t->channels[2] = t->echo_channel;
	t->sub = redis_link_new(options->base, &(struct redis_link_options){.conf = options->conf,
		.name = "catcached-tracking", .on_state = on_sub, .channels = t->channels, .on_message = on_message, .arg = t});
	t->probe = redis_link_new(options->base, &(struct redis_link_options){.conf = options->conf,
		.name = "catcached-probe", .on_state = on_probe, .arg = t});
	t->timer = event_new(options->base, -1, EV_PERSIST, on_timer, t);
	event_add(t->timer, &(struct timeval){.tv_usec = PROBE_MS * 1000});
	return t;
}

static void nothing(void *arg, enum coherence now)
{
	(void)arg, (void)now;
}

void tracking_free(struct tracking *t)
{
	if (!t)
		return;
	t->data_up = false;
	t->options.on_coherence = nothing;
	redis_link_free(t->sub);
	redis_link_free(t->probe);
	event_free(t->timer);
	free(t);
}

enum coherence tracking_coherence(const struct tracking *t)
{
	return t->coherence;
}

const struct tracking_stats *tracking_stats(const struct tracking *t)
{
	return &t->stats;
}
