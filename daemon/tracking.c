/* Tracking; see tracking.h.
 *
 *   data   link: CLIENT TRACKING ON REDIRECT <subscriber> BCAST NOLOOP PREFIX ...
 *   sub    link: SUBSCRIBE __redis__:invalidate, catcached:changed, catcached:probe:{id},
 *                   catcached:echo:{id}
 *   probe  link: PSETEX catcached:probe:{id} every PROBE_MS, seen again on sub;
 *                   PUBLISH to the channel of that name where that proves nothing
 *
 * NOLOOP keeps our own writes from coming back; the probe goes over a link of its own
 * because of that. Whenever data or sub comes up, begin() sets tracking up anew. Redis is
 * tried by the data link alone: sub and probe are held while it is down. */
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
#include "out.h"
#include "redis_link.h"

#define INVALIDATE_CHANNEL "__redis__:invalidate"
#define OWN_CHANNEL CONF_OWN_PREFIX "changed"
#define ECHO_CHANNEL CONF_OWN_PREFIX "echo:"    /* and our id: numbers that we send ourselves */
#define PROBES CONF_OWN_PREFIX "probe:"
#define PROBE_MS 500
#define PROBE_LATE_MS 1400      /* without a proof for so long the link is taken for dead */
#define PROBE_TTL_MS 10000
#define RETRY_MS 30000          /* tracking or PUBLISH was refused: asked for again */
#define ANNOUNCE_MS 2000        /* how often a sidecar says that it needs to be told */
#define NEED_MS 7000            /* and for how long that is believed */
#define ID_LEN 16
#define REASON_MAX 160

/* The probes are numbered; each GETRANGE looks for what the PSETEX before it has written. */
struct probe {
	unsigned sent, answered;        /* PSETEXs on this connection */
	unsigned stored;                /* the number of the last, if Redis took it; else 0 */
	int64_t stored_ms;
	bool is_missing;                /* it was not there any more */
	int64_t sent_us;                /* clock_us of the last PSETEX */
	unsigned heard, heard_before;   /* messages about it since the last PSETEX, and between the two before */
};

struct tracking {
	struct tracking_options options;
	struct redis_link *sub, *probe;
	enum coherence coherence;
	int64_t coherence_since_ms;
	bool data_up, sub_up;
	unsigned attempt;               /* numbers the calls of begin, to know their answers */
	struct event *timer;
	char id[ID_LEN + 1];            /* of this process */
	char probe_key[64];
	char echo_channel[64];
	const char *channels[5];
	struct probe probing;
	char unwritable[REASON_MAX];    /* why the probe cannot be written; "" while it can */
	char refusal[REASON_MAX];       /* why tracking is refused; "" while it is not */
	char mute[REASON_MAX];          /* why PUBLISH is refused; "" while it is not */
	int64_t refused_ms, announced_ms, mute_ms;
	int64_t needed_until_ms;        /* somebody must be told of our changes, because Redis does not tell them */
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
	log_warning("coherence", "from=%s to=%s after_ms=%lld", coherence_names[t->coherence], coherence_names[now],
		(long long)(clock_ms() - t->coherence_since_ms));
	t->coherence = now;
	t->coherence_since_ms = clock_ms();
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

static void say(struct redis_link *l, redis_reply_fn done, void *arg, size_t n, const char *const *words)
{
	struct buf *b = &redis_link_begin(l, done, arg)->bytes;
	reply_add_array(b, n);
	add_words(b, n, words);
}

/* Perhaps it is not one connection that was lost but Redis: the data link shall find out
 * before a client waits for it. */
void tracking_doubt(struct tracking *t)
{
	if (t->data_up)
		say(t->options.data, ignore_reply, NULL, 1, (const char *const[]){"PING"});
}

/* The server will not do it, now or later. Other errors pass. */
static bool is_refusal(const char *error)
{
	static const char *const signs[] = {"NOPERM", "unknown command", "unknown subcommand", "wrong number of arguments", "syntax error",
		"not allowed", "not permitted", "not supported", "unsupported", "disabled", "overlaps"};
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (strcasestr(error, signs[i]))
			return true;
	return false;
}

/* ---- to be told by the others ---- */

/* To tell each other is all that is left where tracking is refused. */
static void become_mute(struct tracking *t, const char *reason)
{
	if (!t->mute[0])
		log_warning("publish_refused", "reason=%s consequence=%s", log_quote(reason),
			log_quote("sidecars that Redis does not tell of changes are not told by this one either"));
	snprintf(t->mute, sizeof(t->mute), "%s", reason);
	t->mute_ms = clock_ms();
	if (t->coherence == COHERENCE_PUBSUB)
		set_coherence(t, COHERENCE_DEAF);
}

static void on_published(void *arg, const redisReply *reply, const char *reason)
{
	struct tracking *t = arg;
	(void)reason;
	if (!reply)
		return;
	if (reply->type != REDIS_REPLY_ERROR)
		t->mute[0] = '\0';
	else if (is_refusal(reply->str))
		become_mute(t, reply->str);
}

static void announce(struct tracking *t)
{
	t->announced_ms = clock_ms();
	say(t->options.data, on_published, t, 3, (const char *const[]){"PUBLISH", OWN_CHANNEL, t->id});
}

static void announce_again(struct tracking *t)
{
	if (clock_ms() - t->announced_ms >= ANNOUNCE_MS)
		announce(t);
}

/* Whether PUBLISH is allowed. */
static void try_to_publish(struct tracking *t)
{
	t->mute_ms = clock_ms();
	say(t->options.data, on_published, t, 3, (const char *const[]){"PUBLISH", t->probe_key, ""});
}

static void fall_back(struct tracking *t, const char *reason)
{
	if (!t->refusal[0])
		log_warning("tracking_refused", "reason=%s consequence=%s", log_quote(reason),
			log_quote("changes are heard of from other sidecars only, and memory is trusted for a short time"));
	snprintf(t->refusal, sizeof(t->refusal), "%s", reason);
	t->refused_ms = clock_ms();
	announce(t);
	if (t->coherence != COHERENCE_PUBSUB)
		t->stats.last_proof_ms = clock_ms();
	set_coherence(t, t->mute[0] ? COHERENCE_DEAF : COHERENCE_PUBSUB);
}

/* ---- setting up ---- */

static void send_probe(struct tracking *t);

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
		t->refusal[0] = '\0';
		set_coherence(t, COHERENCE_TRACKING);
		send_probe(t);
	} else if (strstr(reply->str, "redirect")) {
		redis_link_restart(t->sub, "the server does not know the subscriber");
	} else if (is_refusal(reply->str)) {
		fall_back(t, reply->str);
	} else {
		redis_link_restart(t->options.data, reply->str);
	}
}

/* Two prefixes of which one begins with the other are an error. */
static bool is_probe_covered(const struct tracking *t)
{
	for (size_t i = 0; i < t->options.n_prefixes; i++)
		if (strncmp(t->probe_key, t->options.prefixes[i], strlen(t->options.prefixes[i])) == 0)
			return true;
	return false;
}

/* OFF first: a second ON with prefixes that are there already is an error. */
static void begin(struct tracking *t)
{
	if (!t->data_up || !t->sub_up)
		return;
	char client[24];
	bool is_covered = is_probe_covered(t);
	struct attempt *a = xmalloc(sizeof(*a));
	*a = (struct attempt){.tracking = t, .number = ++t->attempt};
	try_to_publish(t);
	say(t->options.data, ignore_reply, NULL, 3, (const char *const[]){"CLIENT", "TRACKING", "OFF"});
	struct buf *on = &redis_link_begin(t->options.data, on_tracking, a)->bytes;
	snprintf(client, sizeof(client), "%" PRId64, redis_link_client_id(t->sub));
	reply_add_array(on, 7 + 2 * (t->options.n_prefixes + !is_covered));
	add_words(on, 7, (const char *const[]){"CLIENT", "TRACKING", "ON", "REDIRECT", client, "BCAST", "NOLOOP"});
	for (size_t i = 0; i < t->options.n_prefixes; i++)
		add_words(on, 2, (const char *const[]){"PREFIX", t->options.prefixes[i]});
	if (!is_covered)
		add_words(on, 2, (const char *const[]){"PREFIX", t->probe_key});
}

/* Changes may have been missed, though both connections are there. */
static void begin_anew(struct tracking *t, const char *reason)
{
	t->stats.repairs++;
	log_warning("tracking_lost", "reason=%s", log_quote(reason));
	set_coherence(t, COHERENCE_DEAF);
	begin(t);
}

void tracking_on_data(struct tracking *t, bool up)
{
	t->data_up = up;
	t->mute[0] = '\0';
	t->attempt++;
	set_coherence(t, up ? COHERENCE_DEAF : COHERENCE_AWAY);
	redis_link_hold(t->sub, !up);
	redis_link_hold(t->probe, !up);
	begin(t);
}

static void on_sub(void *arg, bool up)
{
	struct tracking *t = arg;
	t->sub_up = up;
	t->attempt++;
	t->needed_until_ms = clock_ms() + NEED_MS;      /* whoever needs us has had no way to say so */
	if (!up && t->data_up)
		set_coherence(t, COHERENCE_DEAF);
	begin(t);
}

/* ---- messages ---- */

static void proved(struct tracking *t)
{
	t->stats.last_proof_ms = clock_ms();
}

static bool is_text(const char *data, size_t len, const char *text)
{
	return strlen(text) == len && memcmp(data, text, len) == 0;
}

/* The number behind the probe's name, of an echo that is a key; see tracking_send_echo. */
static uint64_t echo_of(const struct tracking *t, const char *data, size_t len)
{
	size_t name = strlen(t->probe_key);
	char digits[24];
	if (len <= name + 1 || memcmp(data, t->probe_key, name) != 0)
		return 0;
	snprintf(digits, sizeof(digits), "%.*s", (int)(len - name - 1), data + name + 1);
	return strtoull(digits, NULL, 10);
}

static void changed(struct tracking *t, const char *data, size_t len)
{
	uint64_t echo = echo_of(t, data, len);
	if (echo)
		t->options.on_echo(t->options.arg, echo);
	if (is_text(data, len, t->probe_key)) {
		if (t->probing.heard++ == 0)
			histogram_add(&t->stats.round_trip, clock_us() - t->probing.sent_us);
		proved(t);
	}
	if (len >= strlen(PROBES) && memcmp(data, PROBES, strlen(PROBES)) == 0)
		return;
	t->stats.messages++;
	struct key key = key_of(data, len);
	t->options.on_change(t->options.arg, &key);
}

/* From another sidecar: "<id> <key>", or "<id>" alone, which needs to be told. */
static void told(struct tracking *t, const char *data, size_t len)
{
	if (len < ID_LEN || memcmp(data, t->id, ID_LEN) == 0)
		return;
	if (len == ID_LEN)
		t->needed_until_ms = clock_ms() + NEED_MS;
	else if (t->coherence != COHERENCE_TRACKING || t->unwritable[0])        /* else Redis tells it, too */
		changed(t, data + ID_LEN + 1, len - ID_LEN - 1);
}

static void flushed(struct tracking *t)
{
	t->probing.stored = 0;          /* the probe went, too */
	t->probing.is_missing = false;
	t->options.on_flush(t->options.arg);
}

static void on_message(void *arg, const redisReply *reply, const char *reason)
{
	struct tracking *t = arg;
	const redisReply *payload = reply->element[2];
	const char *channel = reply->element[1]->str;
	(void)reason;
	if (strcmp(channel, t->probe_key) == 0)
		proved(t);
	else if (strcmp(channel, t->echo_channel) == 0 && payload->type == REDIS_REPLY_STRING)
		t->options.on_echo(t->options.arg, strtoull(payload->str, NULL, 10));
	else if (strcmp(channel, OWN_CHANNEL) == 0 && payload->type == REDIS_REPLY_STRING)
		told(t, payload->str, (size_t)payload->len);
	else if (payload->type == REDIS_REPLY_NIL)
		flushed(t);
	else if (payload->type == REDIS_REPLY_ARRAY)
		for (size_t i = 0; i < payload->elements; i++)
			changed(t, payload->element[i]->str, (size_t)payload->element[i]->len);
}

void tracking_publish(struct tracking *t, const struct key *keys, size_t n)
{
	if (t->coherence != COHERENCE_PUBSUB && clock_ms() >= t->needed_until_ms)
		return;
	for (size_t i = 0; i < n; i++) {
		struct buf *b = &redis_link_begin(t->options.data, on_published, t)->bytes;
		struct buf message = BUF_INIT;
		buf_addf(&message, "%s ", t->id);
		buf_add(&message, keys[i].data, keys[i].len);
		reply_add_array(b, 3);
		add_words(b, 2, (const char *const[]){"PUBLISH", OWN_CHANNEL});
		reply_add_bulk(b, message.data, message.len);
		buf_free(&message);
	}
}

/* Not by a plain command, whose writes do not come back to this connection. */
static const char echo_script[] =
	"redis.call('PSETEX', KEYS[1], 1000, '') "
	"return redis.call('UNLINK', KEYS[1])";

void tracking_send_echo(struct tracking *t, uint64_t number)
{
	char digits[24], name[sizeof(t->probe_key) + 24];
	snprintf(digits, sizeof(digits), "%" PRIu64, number);
	snprintf(name, sizeof(name), "%s:%s", t->probe_key, digits);
	if (t->mute[0])
		say(t->options.data, ignore_reply, NULL, 4, (const char *const[]){"EVAL", echo_script, "1", name});
	else
		say(t->options.data, on_published, t, 3, (const char *const[]){"PUBLISH", t->echo_channel, digits});
}

/* ---- proof of life ---- */

/* Where nothing can be written (full, read-only) the proof has two halves: a message that
 * comes back shows that the subscriber hears, and CLIENT GETREDIR that it is the one whom
 * Redis tells of changes. */
static void on_redirect(void *arg, const redisReply *reply, const char *reason)
{
	struct tracking *t = arg;
	(void)reason;
	if (reply && reply->type == REDIS_REPLY_INTEGER && t->coherence == COHERENCE_TRACKING
	    && reply->integer != redis_link_client_id(t->sub))
		begin_anew(t, "Redis does not tell our subscriber of changes");
}

static void on_probe_published(void *arg, const redisReply *reply, const char *reason)
{
	struct tracking *t = arg;
	on_published(t, reply, reason);
	if (!reply || reply->type != REDIS_REPLY_ERROR || t->coherence != COHERENCE_TRACKING)
		return;
	if (is_refusal(reply->str))
		fall_back(t, reply->str);
	else
		redis_link_restart(t->options.data, reply->str);
}

static void publish_probe(struct tracking *t)
{
	say(t->probe, on_probe_published, t, 3, (const char *const[]){"PUBLISH", t->probe_key, ""});
}

static void prove_by_message(struct tracking *t)
{
	publish_probe(t);
	say(t->options.data, on_redirect, t, 2, (const char *const[]){"CLIENT", "GETREDIR"});
}

/* What is fetched now is in memory only, and Redis tells nobody of the end of a key that it
 * does not have: so the others must. */
static void not_stored(struct tracking *t, const char *error)
{
	if (!t->unwritable[0]) {
		log_warning("probe_refused", "reason=%s", log_quote(error));
		announce(t);
	}
	snprintf(t->unwritable, sizeof(t->unwritable), "%s", error);
	if (t->coherence == COHERENCE_TRACKING)
		prove_by_message(t);
}

void tracking_note_refusal(struct tracking *t, const char *error)
{
	if (t->coherence == COHERENCE_TRACKING && !t->unwritable[0])
		not_stored(t, error);
}

/* Redis takes writes again: what is in memory only, of which it will tell nothing, is to be
 * compared with what it has. */
static void stored_again(struct tracking *t)
{
	t->unwritable[0] = '\0';
	if (t->coherence == COHERENCE_TRACKING)
		begin_anew(t, "changes of what Redis did not take were heard of from other sidecars only");
}

static void on_stored(void *arg, const redisReply *reply, const char *reason)
{
	struct tracking *t = arg;
	struct probe *p = &t->probing;
	(void)reason;
	if (!reply)
		return;
	bool is_taken = reply->type != REDIS_REPLY_ERROR;
	p->answered++;
	p->stored = is_taken ? p->answered : 0;
	p->stored_ms = clock_ms();
	if (is_taken && t->unwritable[0])
		stored_again(t);
	else if (!is_taken && redis_link_is_unready(reply->str))
		redis_link_restart(t->options.data, reply->str);
	else if (!is_taken)
		not_stored(t, reply->str);
}

/* What the last PSETEX left. It ends by itself only long after that. */
static void on_found(void *arg, const redisReply *reply, const char *reason)
{
	struct tracking *t = arg;
	struct probe *p = &t->probing;
	(void)reason;
	if (!reply || reply->type == REDIS_REPLY_ERROR || !p->stored || clock_ms() - p->stored_ms > PROBE_TTL_MS / 2)
		return;
	p->is_missing = reply->type != REDIS_REPLY_STRING || strtoul(reply->str, NULL, 10) != p->stored;
}

static void arm_timer(struct tracking *t)
{
	event_add(t->timer, &(struct timeval){.tv_usec = PROBE_MS * 1000});
}

/* One at a time, and PROBE_MS apart, so that each message can be told from the next. Neither
 * command is GET or SET: Redis's statistics of those are for the clients'. */
static void send_probe(struct tracking *t)
{
	struct probe *p = &t->probing;
	char number[16], ttl[16];
	if (!redis_link_up(t->probe) || p->sent != p->answered)
		return;
	arm_timer(t);
	p->heard_before = p->heard;
	p->heard = 0;
	p->sent_us = clock_us();
	snprintf(number, sizeof(number), "%u", ++p->sent);
	snprintf(ttl, sizeof(ttl), "%d", PROBE_TTL_MS);
	say(t->probe, on_found, t, 4, (const char *const[]){"GETRANGE", t->probe_key, "0", "-1"});
	say(t->probe, on_stored, t, 4, (const char *const[]){"PSETEX", t->probe_key, ttl, number});
}

/* The probe went and nobody said so: its two writings were heard of, but no more. Then there is
 * another database (SWAPDB, of which Redis says nothing). What evicts or deletes the probe is
 * heard of; unless it does so in the very turn of Redis's loop in which the probe is written, since Redis
 * tells of both in one message: then this begins anew for nothing, which does no harm. */
static bool was_swapped(struct tracking *t)
{
	struct probe *p = &t->probing;
	bool was_missing = p->is_missing;
	p->is_missing = false;
	return was_missing && p->stored == p->sent && p->heard + p->heard_before <= 2;
}

/* The proof is late: then nothing is heard. */
static bool is_silent(struct tracking *t)
{
	int64_t silent_ms = clock_ms() - t->stats.last_proof_ms;
	if (silent_ms < PROBE_LATE_MS)
		return false;
	t->stats.repairs++;
	log_warning("tracking_silent", "for_ms=%lld", (long long)silent_ms);
	set_coherence(t, COHERENCE_DEAF);
	redis_link_restart(t->sub, "the probe did not come back");
	return true;
}

static void watch_tracking(struct tracking *t)
{
	if (is_silent(t))
		return;
	if (was_swapped(t)) {
		begin_anew(t, "the database is another one");
	} else {
		send_probe(t);
	}
	if (t->unwritable[0])
		announce_again(t);
}

static void watch_fallback(struct tracking *t)
{
	if (is_silent(t))
		return;
	announce_again(t);
	publish_probe(t);
}

/* What was refused may be allowed by now. */
static void ask_again(struct tracking *t)
{
	if (t->mute[0] && clock_ms() - t->mute_ms >= RETRY_MS)
		try_to_publish(t);
	if (t->refusal[0] && clock_ms() - t->refused_ms >= RETRY_MS) {
		t->refused_ms = clock_ms();
		begin(t);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct tracking *t = arg;
	(void)fd, (void)what;
	clock_update();
	if (t->coherence == COHERENCE_TRACKING)
		watch_tracking(t);
	else if (t->coherence == COHERENCE_PUBSUB)
		watch_fallback(t);
	ask_again(t);
}

static void on_probe(void *arg, bool up)
{
	struct tracking *t = arg;
	t->probing = (struct probe){0};
	if (up)
		send_probe(t);
	else
		tracking_doubt(t);
}

/* ---- making and unmaking ---- */

struct tracking *tracking_new(const struct tracking_options *options)
{
	struct tracking *t = xcalloc(1, sizeof(*t));
	t->coherence_since_ms = clock_ms();
	uint64_t id = 0;
	(void)!getrandom(&id, sizeof(id), GRND_NONBLOCK); /* no entropy yet: the address and the time have to do */
	id ^= (uint64_t)clock_us() ^ (uintptr_t)t;
	t->options = *options;
	snprintf(t->id, sizeof(t->id), "%016" PRIx64, id);
	snprintf(t->probe_key, sizeof(t->probe_key), PROBES "{%s}", t->id);
	snprintf(t->echo_channel, sizeof(t->echo_channel), "%s{%s}", ECHO_CHANNEL, t->id);
	t->channels[0] = INVALIDATE_CHANNEL;
	t->channels[1] = OWN_CHANNEL;
	t->channels[2] = t->probe_key;
	t->channels[3] = t->echo_channel;
	t->sub = redis_link_new(options->base, &(struct redis_link_options){.conf = options->conf,
		.name = "catcached-tracking", .on_state = on_sub, .channels = t->channels, .on_message = on_message, .is_held = true, .arg = t});
	t->probe = redis_link_new(options->base, &(struct redis_link_options){.conf = options->conf,
		.name = "catcached-probe", .on_state = on_probe, .is_held = true, .arg = t});
	t->timer = event_new(options->base, -1, EV_PERSIST, on_timer, t);
	arm_timer(t);
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

const char *tracking_refusal(const struct tracking *t)
{
	return t->coherence == COHERENCE_PUBSUB ? t->refusal : "";
}

const char *tracking_mute(const struct tracking *t)
{
	return t->mute;
}

const char *tracking_unwritable(const struct tracking *t)
{
	return t->coherence == COHERENCE_TRACKING ? t->unwritable : "";
}
