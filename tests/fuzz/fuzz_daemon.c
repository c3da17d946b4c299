/* The whole command path: a daemon without network. Its clients are socket pairs, its loop
 * runs until nothing moves, and the clock is moved by the input, so that TTLs end. Each
 * request must be answered, in order, with what is a reply in the client's version of RESP.
 *
 * The input is what clients send, as it is, but for these bytes: */
enum {
	MARK_CLIENT = 0xf0,             /* ... 0xf3: what follows is from this client; it connects if it must */
	MARK_SKIP = 0xf8,               /* time passes; the next byte says how much */
	MARK_HALF_CLOSE = 0xf9,         /* the client sends nothing more */
	MARK_CLOSE = 0xfa,              /* the client goes, whatever it is owed */
	MARK_DEAF = 0xfb,               /* the client stops to read, or begins again */
	MARK_RUN = 0xfc,                /* a piece ends here: the daemon reads what there is */
	/* FUZZ_LARGE_MARK */
	MARK_LITERAL = 0xff,            /* the next byte as it is */
};

#include <ctype.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../conf/conf.h"
#include "../../daemon/catalog.h"
#include "../../daemon/client.h"
#include "../../daemon/clock.h"
#include "../../daemon/log.h"
#include "../../daemon/memory.h"
#include "../../daemon/out.h"
#include "../../daemon/server.h"
#include "../../daemon/warm.h"
#include "../../proto/reply_scan.h"
#include "fuzz.h"

#define PEERS 4
#define QUIET_ROUNDS 3          /* of the loop without a byte: nothing moves any more */
#define ANSWER_LIMIT_S 8        /* a request that has no reply by then never gets one */
#define RECEIVE 65536

static const char configuration[] =
	"listen: {path: /fuzz, max_request: 256K, max_output: 1M}\n"
	"memory: {limit: 1M}\n"
	"redis: off\n"
	"log: {level: error}\n"
	"types:\n"
	"  raw: {key: 'r:{name}', ttl: 60s, tiers: [memory]}\n"
	"  json: {key: 'j:{name}', ttl: none, format: json}\n"
	"  hashed: {key: 'h:{name}', ttl: 300s, hash_names: true, jitter: 10%}\n"
	"  few: {key: 'f:{name}', ttl: 30s, max_entries: 3, max_value: 1K}\n"
	"  absent: {key: 'n:{name}', ttl: 10s, memory_ttl: 2s, negative_ttl: 5s, invalidates: [json, few]}\n"
	"  exact: {key: 'x', ttl: 1s}\n";

/* What its reply is known to be. */
enum kind { KIND_ANY, KIND_ECHO, KIND_HELLO, KIND_RESET };

struct request {
	enum kind kind;
	struct buf word;                /* ECHO: what is to come back */
};

/* The other end of a client. */
struct peer {
	int fd;                         /* -1: not connected */
	bool is_deaf;
	bool counts;                    /* each request has one reply (not so after CLIENT REPLY) */
	bool sends_no_more, has_quit;   /* half closed; after QUIT or a broken frame nothing is answered */
	bool may_be_dropped;            /* somebody may have killed it, or it did not read */
	bool queues;                    /* it has sent MULTI: RESP may change within a reply */
	bool has_asked_for_resp3;
	int resp;
	struct request_parser parser;   /* of what it sends, as the daemon should see it */
	struct buf sent;                /* not parsed yet */
	struct request *requests;
	size_t n_requests, cap_requests, n_replies;
	struct buf got;                 /* the reply that comes in */
	struct reply_scan scan;
};

static struct conf *conf;
static struct event_base *base;
static struct catalog *catalog;
static struct server *server;
static struct peer peers[PEERS];
static int64_t skipped_ms;

/* ---- what a client has sent ---- */

static bool is_word(const struct request_arg *a, const char *word)
{
	return a->len == strlen(word) && strncasecmp(a->data, word, a->len) == 0;
}

static void note_request(struct peer *p, enum kind kind, const struct request_arg *word)
{
	if (p->n_requests == p->cap_requests) {
		p->cap_requests = p->cap_requests ? 2 * p->cap_requests : 64;
		p->requests = xrealloc(p->requests, p->cap_requests * sizeof(p->requests[0]));
	}
	struct request *r = &p->requests[p->n_requests++];
	*r = (struct request){.kind = kind};
	if (word)
		buf_add(&r->word, word->data, word->len);
}

static void note_client_command(struct peer *p, const struct request_arg *sub)
{
	if (is_word(sub, "REPLY"))
		p->counts = false;
	for (size_t i = 0; i < PEERS && is_word(sub, "KILL"); i++)
		peers[i].may_be_dropped = true;
}

static void note_parsed(struct peer *p)
{
	const struct request_arg *argv = p->parser.argv;
	size_t argc = p->parser.argc;
	enum kind kind = KIND_ANY;
	if (argc == 0)
		return;
	if (is_word(&argv[0], "ECHO") && argc == 2)
		kind = KIND_ECHO;
	else if (is_word(&argv[0], "HELLO"))
		kind = KIND_HELLO;
	else if (is_word(&argv[0], "RESET"))
		kind = KIND_RESET;
	note_request(p, kind, kind == KIND_ECHO ? &argv[1] : NULL);
	p->has_quit = is_word(&argv[0], "QUIT");
	p->queues |= is_word(&argv[0], "MULTI");
	p->has_asked_for_resp3 |= kind == KIND_HELLO && argc > 1 && is_word(&argv[1], "3");
	if (is_word(&argv[0], "CLIENT") && argc > 1)
		note_client_command(p, &argv[1]);
}

static void release_owners(struct peer *p)
{
	for (size_t i = 0; i < p->parser.argc; i++)
		free(p->parser.argv[i].owner);
}

/* Reads along with the daemon. */
static void note_sent(struct peer *p, const char *data, size_t len)
{
	size_t used = 0;
	buf_add(&p->sent, data, len);
	while (!p->has_quit) {
		enum request_status status = request_parse(&p->parser, p->sent.data + used, p->sent.len - used);
		size_t consumed = p->parser.consumed, length = status == REQUEST_READY ? consumed : p->sent.len - used;
		/* Of a long line it depends on the pieces that the daemon reads whether it is refused. (Large
		 * arguments are consumed as they come.) */
		p->counts &= status == REQUEST_LARGE_ARG || length <= REQUEST_LINE_MAX;
		if (status == REQUEST_READY) {
			note_parsed(p);
			release_owners(p);
			request_next(&p->parser);
		} else if (status == REQUEST_LARGE_ARG) {
			char *memory = malloc(p->parser.large_len);
			request_supply(&p->parser, memory, memory);
		} else if (status == REQUEST_FAILED) {
			p->has_quit = true;
			if (p->parser.error)
				note_request(p, KIND_ANY, NULL);
		} else {
			used += consumed;
			break;
		}
		used += consumed;
	}
	buf_drop(&p->sent, used);
}

/* ---- its replies ---- */

static void expect_error_text(const struct reply_element *e)
{
	size_t n = 0;
	while (n < e->len && isupper((unsigned char)e->data[n]))
		n++;
	FUZZ_EXPECT(n > 0 && n < e->len && e->data[n] == ' ', "an error without a code: %.*s", (int)e->len, e->data);
	FUZZ_EXPECT(!memchr(e->data, '\0', e->len) && !memchr(e->data, '\r', e->len), "control bytes in an error");
}

/* Each element is of a kind that this version has. */
static void expect_elements(const struct peer *p, const char *data, size_t len)
{
	for (size_t at = 0; at < len; ) {
		struct reply_element e;
		size_t n = reply_element(data + at, len - at, &e);
		FUZZ_EXPECT(n > 0, "a broken element: %.*s", (int)(len - at < 60 ? len - at : 60), data + at);
		FUZZ_EXPECT(strchr("+-:$*", e.type) || (p->has_asked_for_resp3 && strchr("_%~#,=", e.type)), "a '%c' in RESP2", e.type);
		FUZZ_EXPECT(p->queues || p->resp == 3 || strchr("+-:$*", e.type), "a '%c' after a change to RESP2", e.type);
		FUZZ_EXPECT(p->queues || p->resp == 2 || !strchr("$*", e.type) || e.number >= 0, "a nil of RESP2");
		if (e.type == '-')
			expect_error_text(&e);
		at += n;
	}
}

static void take_reply(struct peer *p, const char *data, size_t len)
{
	struct reply_element head;
	FUZZ_EXPECT(!p->counts || p->n_replies < p->n_requests, "a reply to nothing: %.*s", (int)len, data);
	const struct request *r = p->counts ? &p->requests[p->n_replies] : &(struct request){0};
	p->n_replies++;
	(void)reply_element(data, len, &head);
	bool is_answer = head.type != '-' && !p->queues;
	if (r->kind == KIND_HELLO && is_answer)
		p->resp = head.type == '%' ? 3 : 2;
	if (r->kind == KIND_RESET && is_answer)
		p->resp = 2;
	if (p->counts)
		expect_elements(p, data, len);
	if (r->kind == KIND_ECHO && is_answer)
		FUZZ_EXPECT(head.type == '$' && head.len == r->word.len && (head.len == 0 || memcmp(head.data, r->word.data, head.len) == 0),
			"not what was to be echoed: %.*s", (int)len, data);
}

static void take_bytes(struct peer *p, const char *data, size_t len)
{
	while (len > 0) {
		bool is_end;
		size_t n = reply_scan(&p->scan, data, len, &is_end);
		FUZZ_EXPECT(!p->scan.has_failed, "no RESP: %.*s", (int)(len < 60 ? len : 60), data);
		buf_add(&p->got, data, n);
		data += n;
		len -= n;
		if (!is_end)
			continue;
		take_reply(p, p->got.data, p->got.len);
		p->got.len = 0;
	}
}

static bool is_owed(const struct peer *p)
{
	return p->fd >= 0 && p->counts && !p->is_deaf && !p->may_be_dropped && p->n_replies < p->n_requests;
}

static void disconnect(struct peer *p)
{
	close(p->fd);
	for (size_t i = 0; i < p->n_requests; i++)
		buf_free(&p->requests[i].word);
	free(p->requests);
	release_owners(p);
	request_fini(&p->parser);
	buf_free(&p->sent);
	buf_free(&p->got);
	*p = (struct peer){.fd = -1};
}

static void on_hung_up(struct peer *p)
{
	if (!p->may_be_dropped && p->counts) {
		FUZZ_EXPECT(p->has_quit || p->sends_no_more, "closed for no reason after %zu replies", p->n_replies);
		FUZZ_EXPECT(p->n_replies == p->n_requests, "closed after %zu of %zu replies", p->n_replies, p->n_requests);
		FUZZ_EXPECT(p->got.len == 0, "closed in the middle of a reply");
	}
	disconnect(p);
}

/* True if anything came. */
static bool receive(struct peer *p)
{
	static char room[RECEIVE];
	if (p->fd < 0 || p->is_deaf)
		return false;
	ssize_t n = recv(p->fd, room, sizeof(room), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n > 0)
		take_bytes(p, room, (size_t)n);
	else
		on_hung_up(p);
	return true;
}

/* ---- the daemon ---- */

static void expect_bounds(void)
{
	const struct memory *m = catalog_memory(catalog);
	FUZZ_EXPECT(memory_bytes(m) <= memory_limit(m), "%llu bytes", (unsigned long long)memory_bytes(m));
	for (size_t i = 0; i < conf->n_types; i++) {
		uint64_t max = conf->types[i].max_entries, n = memory_type_stats(m, conf->types[i].index)->entries;
		FUZZ_EXPECT(!max || n <= max, "%llu entries", (unsigned long long)n);
	}
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	*(bool *)arg = true;
}

/* Until something happens: a worker is at it, or the daemon has not read all. */
static void wait_for(const char *what)
{
	bool is_over = false;
	struct event *limit = evtimer_new(base, on_limit, &is_over);
	event_add(limit, &(struct timeval){.tv_sec = ANSWER_LIMIT_S});
	event_base_loop(base, EVLOOP_ONCE);
	event_free(limit);
	FUZZ_EXPECT(!is_over, "waited in vain: %s", what);
}

/* Runs the loop until nothing moves and nobody is owed anything. */
static void settle(void)
{
	for (unsigned quiet = 0; quiet < QUIET_ROUNDS; quiet++) {
		bool owed = false;
		event_base_loop(base, EVLOOP_NONBLOCK);
		for (size_t i = 0; i < PEERS; i++) {
			if (receive(&peers[i]))
				quiet = 0;
			owed |= is_owed(&peers[i]);
		}
		if (quiet + 1 == QUIET_ROUNDS && owed) {
			wait_for("each request is answered");
			quiet = 0;
		}
	}
	expect_bounds();
}

static void connect_peer(struct peer *p)
{
	int fds[2];
	FUZZ_EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "%s", strerror(errno));
	*p = (struct peer){.fd = fds[0], .counts = true, .resp = 2};
	request_init(&p->parser, &server->limits);
	client_new(server, fds[1], ++server->stats.connections);
}

/* What the socket does not take, because the daemon does not read, is not sent. */
static void send_piece(struct peer *p, struct buf *piece)
{
	size_t at = 0;
	while (p->fd >= 0 && !p->sends_no_more && at < piece->len) {
		ssize_t n = send(p->fd, piece->data + at, piece->len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			note_sent(p, piece->data + at, (size_t)n);
			at += (size_t)n;
		}
		settle();
		if (n < 0 && p->is_deaf)
			break;
	}
	piece->len = 0;
}

static void skip(unsigned char how)
{
	static const int64_t ms[] = {1, 999, 1000, 1001, 2000, 5000, 10000, 30000, 60000, 300000, 3600000, (int64_t)400 * 86400 * 1000};
	int64_t by = ms[how % (sizeof(ms) / sizeof(ms[0]))];
	skipped_ms += by;
	clock_skew(by);
	catalog_tick(catalog);
}

/* ---- an input ---- */

/* Does what the byte at data[i] stands for, if it is a mark; returns the bytes used up. */
static size_t take_mark(const uint8_t *data, size_t size, struct peer **peer, struct buf *piece, unsigned *n_large)
{
	struct peer *p = *peer;
	if (data[0] == FUZZ_LARGE_MARK && ++*n_large <= FUZZ_LARGE_MAX) {
		char *room = buf_reserve(piece, FUZZ_LARGE);
		memset(room, 'x', FUZZ_LARGE);
		piece->len += FUZZ_LARGE;
		return 1;
	}
	if (data[0] == MARK_LITERAL) {
		if (size > 1)
			buf_add_char(piece, (char)data[1]);
		return 2;
	}
	send_piece(p, piece);
	switch (data[0]) {
	case MARK_SKIP:
		skip(size > 1 ? data[1] : 0);
		return 2;
	case MARK_HALF_CLOSE:
		p->sends_no_more = true;
		if (p->fd >= 0)
			shutdown(p->fd, SHUT_WR);
		break;
	case MARK_CLOSE:
		if (p->fd >= 0)
			disconnect(p);
		break;
	case MARK_DEAF:
		p->is_deaf = !p->is_deaf;
		p->may_be_dropped = true;
		break;
	default:
		if (data[0] >= MARK_CLIENT && data[0] < MARK_CLIENT + PEERS)
			*peer = &peers[data[0] - MARK_CLIENT];
	}
	if ((*peer)->fd < 0)
		connect_peer(*peer);
	settle();
	return 1;
}

static void run(const uint8_t *data, size_t size)
{
	struct peer *peer = &peers[0];
	struct buf piece = BUF_INIT;
	unsigned n_large = 0;
	connect_peer(peer);
	for (size_t at = 0; at < size; ) {
		if (data[at] >= MARK_CLIENT) {
			at += take_mark(data + at, size - at, &peer, &piece, &n_large);
		} else {
			buf_add_char(&piece, (char)data[at++]);
		}
	}
	send_piece(peer, &piece);
	buf_free(&piece);
}

static void load(void)
{
	struct conf_errors errors = {0};
	char file[64];
	int fd = memfd_create("conf", MFD_CLOEXEC);
	FUZZ_EXPECT(write(fd, configuration, strlen(configuration)) == (ssize_t)strlen(configuration), "%s", strerror(errno));
	snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
	conf = conf_load(file, &errors);
	FUZZ_EXPECT(conf, "%s", errors.n ? errors.lines[0] : "");
	close(fd);
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	base = event_base_new();
	for (size_t i = 0; i < PEERS; i++)
		peers[i].fd = -1;
}

static void start(void)
{
	if (!conf)
		load();
	srandom(1);
	clock_update();
	catalog = catalog_new(base, conf);
	FUZZ_EXPECT(catalog, "%s", strerror(errno));
	server = server_new(base, conf, catalog);
	server->warmer = warm_new(base, catalog);
}

/* Everybody hears what is still owed, then all go. */
static void stop(void)
{
	for (size_t i = 0; i < PEERS; i++)
		peers[i].is_deaf = false;
	settle();
	for (size_t i = 0; i < PEERS; i++)
		if (peers[i].fd >= 0)
			disconnect(&peers[i]);
	settle();
	while (server->n_clients > 0)
		wait_for("clients that have gone are noticed");
	struct warmer *warmer = server->warmer;
	server_free(server);
	catalog_free(catalog);
	warm_free(warmer);
	clock_skew(-skipped_ms);
	skipped_ms = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	start();
	run(data, size);
	stop();
	return 0;
}
