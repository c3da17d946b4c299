/* A connection; see client.h.
 *
 *   socket -> in -> parser -> command_run -> out -> socket
 *                                  |          ^
 *                                  +-> slot --+   (replies that wait, in order)
 *
 * What is wanted of the socket is computed from the state in one place, update().
 * busy guards against being driven again from within a command that completes at once. */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../proto/reply.h"
#include "clock.h"
#include "command.h"
#include "server.h"
#include "value.h"

#define READ_SIZE 65536
#define KEEP_BUFFER 65536       /* output buffers above this are not kept for the next client */

/* A request that must wait for the replies before it, with bytes of its own. */
struct parked {
	size_t argc;
	struct request_arg *argv;
	char *bytes;
};

struct client {
	struct client *next, **at;      /* in server->clients */
	struct server *server;
	int fd;
	struct event readable, writable;
	bool reading, writing;          /* which of them are added */
	struct request_parser parser;
	struct buf in;                  /* input that is not a whole request yet, or must wait */
	struct out out;
	struct slot *first, **last;     /* replies owed, in order */
	size_t n_slots;
	size_t slot_bytes;              /* in those that are done */
	struct slot *exclusive;         /* the pending one that nothing may overtake or follow, if any */
	struct parked *parked;
	bool busy;                      /* input is being processed further up the stack */
	bool closing;                   /* no more requests; close when all is sent */
	bool eof;                       /* the peer will send nothing more */
	bool broken;                    /* the peer is gone: nothing can be sent */
	int resp;
	uint64_t id;
	char *name;
};

/* ---- requests ---- */

static bool is_blocked(const struct client *c)
{
	return c->closing || c->exclusive || c->parked || c->n_slots >= CLIENT_SLOTS_MAX
		|| out_pending(&c->out) + c->slot_bytes >= CLIENT_OUTPUT_PAUSE;
}

static struct slot *slot_new(struct client *c)
{
	struct slot *s = xmalloc(sizeof(*s));
	*s = (struct slot){.client = c, .out = OUT_INIT, .resp = c->resp};
	*c->last = s;
	c->last = &s->next;
	c->n_slots++;
	return s;
}

struct slot *call_defer(struct call *call)
{
	struct client *c = call->client;
	if (!call->slot)
		call->slot = slot_new(c);
	if (!(call->command->flags & COMMAND_READ))
		c->exclusive = call->slot;
	call->deferred = true;
	return call->slot;
}

static void mark_done(struct slot *s)
{
	s->done = true;
	s->client->slot_bytes += out_pending(&s->out);
}

/* An error that is known now goes behind the replies that are still owed. */
static void reply_error_now(struct client *c, const char *text)
{
	struct slot *s = c->first ? slot_new(c) : NULL;
	reply_add_error(s ? &s->out.bytes : &c->out.bytes, text);
	if (s)
		mark_done(s);
}

static void run_request(struct client *c, const struct request_arg *argv, size_t argc)
{
	struct call call = {.server = c->server, .client = c, .argv = argv, .argc = argc, .resp = c->resp, .out = &c->out};
	if (c->first) {
		call.slot = slot_new(c);
		call.out = &call.slot->out;
	}
	c->server->stats.commands++;
	command_run(&call);
	if (call.slot && !call.deferred)
		mark_done(call.slot);
}

static void release_owners(const struct request_arg *argv, size_t argc)
{
	for (size_t i = 0; i < argc; i++)
		value_unref(argv[i].owner);
}

static bool must_wait(const struct client *c, const struct request_arg *argv)
{
	if (!c->first)
		return false;
	const struct command *command = command_find(argv[0].data, argv[0].len);
	return command && !(command->flags & COMMAND_READ);
}

static void park(struct client *c, const struct request_arg *argv, size_t argc)
{
	size_t bytes = 0;
	for (size_t i = 0; i < argc; i++)
		bytes += argv[i].owner ? 0 : argv[i].len;
	struct parked *p = xmalloc(sizeof(*p));
	*p = (struct parked){.argc = argc, .argv = xmalloc(argc * sizeof(*argv)), .bytes = xmalloc(bytes)};
	char *to = p->bytes;
	for (size_t i = 0; i < argc; i++) {
		p->argv[i] = argv[i];
		if (argv[i].owner)
			continue;
		memcpy(to, argv[i].data, argv[i].len);
		p->argv[i].data = to;
		to += argv[i].len;
	}
	c->parked = p;
}

static void parked_free(struct parked *p)
{
	release_owners(p->argv, p->argc);
	free(p->argv);
	free(p->bytes);
	free(p);
}

static void run_parked(struct client *c)
{
	struct parked *p = c->parked;
	if (!p || c->first)
		return;
	c->parked = NULL;
	run_request(c, p->argv, p->argc);
	parked_free(p);
}

static void accept_request(struct client *c)
{
	struct request_parser *p = &c->parser;
	if (p->discarded) {
		reply_error_now(c, "ERR out of memory for an argument");
		release_owners(p->argv, p->argc);
	} else if (p->argc > 0 && must_wait(c, p->argv)) {
		park(c, p->argv, p->argc);
	} else {
		if (p->argc > 0)
			run_request(c, p->argv, p->argc);
		release_owners(p->argv, p->argc);
	}
	request_next(p);
}

static void refuse_frame(struct client *c)
{
	c->closing = true;
	c->server->stats.protocol_errors++;
	if (!c->parser.error)
		return;
	char text[96];
	snprintf(text, sizeof(text), "ERR Protocol error: %s", c->parser.error);
	reply_error_now(c, text);
}

/* Without memory the argument is thrown away as it comes, and its request answered with an error. */
static void supply_large(struct client *c)
{
	struct value *v = value_new(c->parser.large_len);
	request_supply(&c->parser, v ? v->data : NULL, v);
}

/* Runs what is whole in data; returns the bytes used up. */
static size_t consume(struct client *c, const char *data, size_t len)
{
	size_t used = 0;
	while (!is_blocked(c)) {
		enum request_status status = request_parse(&c->parser, data + used, len - used);
		used += c->parser.consumed;
		switch (status) {
		case REQUEST_MORE:
			return used;
		case REQUEST_READY:
			accept_request(c);
			break;
		case REQUEST_LARGE_ARG:
			supply_large(c);
			break;
		case REQUEST_FAILED:
			refuse_frame(c);
			return len;
		}
	}
	return used;
}

/* ---- replies ---- */

/* Moves the replies that are done, up to the first that is not, to the output. */
static void collect(struct client *c)
{
	while (c->first && c->first->done) {
		struct slot *s = c->first;
		c->first = s->next;
		if (!c->first)
			c->last = &c->first;
		c->n_slots--;
		c->slot_bytes -= out_pending(&s->out);
		out_move(&c->out, &s->out);
		free(s);
	}
}

static void send_output(struct client *c)
{
	if (c->out.bytes.failed)
		c->broken = true; /* a reply is incomplete, so all that would follow is out of step */
	if (!c->broken && out_send(&c->out, c->fd) < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		c->broken = true;
}

static void set_event(struct event *e, bool want, bool *is)
{
	if (want == *is)
		return;
	*is = want;
	if (want)
		event_add(e, NULL);
	else
		event_del(e);
}

static bool is_finished(const struct client *c)
{
	bool owes_nothing = !c->first && !c->parked && out_pending(&c->out) == 0;
	return c->broken || (owes_nothing && (c->closing || c->eof));
}

/* Output buffers wander from client to client, so an idle one holds none. */
static void give_back_buffers(struct client *c)
{
	if (c->out.bytes.cap == 0 || out_pending(&c->out) > 0)
		return;
	if (c->out.bytes.cap > KEEP_BUFFER || c->server->spare.bytes.cap > 0) {
		out_fini(&c->out);
		return;
	}
	c->server->spare = c->out;
	c->out = (struct out)OUT_INIT;
}

static void take_buffers(struct client *c)
{
	if (c->out.bytes.cap > 0)
		return;
	c->out = c->server->spare;
	c->server->spare = (struct out)OUT_INIT;
}

/* Computes what the socket is watched for; frees c when it is finished. */
static void update(struct client *c)
{
	if (is_finished(c)) {
		client_free(c);
		return;
	}
	give_back_buffers(c);
	set_event(&c->readable, !c->eof && !is_blocked(c), &c->reading);
	set_event(&c->writable, out_pending(&c->out) > 0, &c->writing);
}

/* One round: what waited and may go on, goes on. True if another round may do more. */
static bool advance(struct client *c)
{
	size_t before = c->in.len;
	bool was_parked = c->parked;
	collect(c);
	run_parked(c);
	bool was_blocked = is_blocked(c);
	if (!was_blocked && c->in.len > 0)
		buf_drop(&c->in, consume(c, c->in.data, c->in.len));
	collect(c);
	send_output(c);
	bool is_unblocked = was_blocked && !is_blocked(c) && c->in.len > 0;
	return c->in.len != before || was_parked != (c->parked != NULL) || is_unblocked;
}

static void drive(struct client *c)
{
	c->busy = true;
	take_buffers(c);
	while (advance(c))
		;
	if (c->in.len == 0)
		buf_free(&c->in);
	c->busy = false;
	update(c);
}

void slot_done(struct slot *s)
{
	struct client *c = s->client;
	assert(!s->done);
	if (!c) {
		out_fini(&s->out);
		free(s);
		return;
	}
	mark_done(s);
	if (c->exclusive == s)
		c->exclusive = NULL;
	/* Only the head of the queue can set anything moving. */
	if (!c->busy && c->first == s)
		drive(c);
}

/* ---- socket ---- */

static ssize_t receive(struct client *c, char *to, size_t size)
{
	ssize_t n;
	do
		n = recv(c->fd, to, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		c->eof = true;
	else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		c->broken = true;
	return n > 0 ? n : 0;
}

/* Input of a client that has none unfinished goes through the shared scratch. */
static void receive_fresh(struct client *c)
{
	struct buf *scratch = &c->server->scratch;
	char *room = buf_reserve(scratch, READ_SIZE);
	size_t n = room ? (size_t)receive(c, room, READ_SIZE) : 0;
	if (n == 0)
		return;
	take_buffers(c);
	size_t used = consume(c, room, n);
	if (used < n)
		buf_add(&c->in, room + used, n - used);
}

static void receive_more(struct client *c)
{
	char *room = buf_reserve(&c->in, READ_SIZE);
	if (room)
		c->in.len += (size_t)receive(c, room, READ_SIZE);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	char *room;
	size_t large = c->in.len == 0 ? request_large_room(&c->parser, &room) : 0;
	(void)fd, (void)what;
	clock_update();
	c->busy = true;
	if (large)
		request_large_filled(&c->parser, (size_t)receive(c, room, large));
	else if (c->in.len == 0)
		receive_fresh(c);
	else
		receive_more(c);
	c->busy = false;
	if (c->in.failed)
		c->broken = true; /* no memory even for an unfinished line: this client is given up */
	drive(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	clock_update();
	drive(arg);
}

struct client *client_new(struct server *server, int fd, uint64_t id)
{
	struct client *c = xcalloc(1, sizeof(*c));
	*c = (struct client){.server = server, .fd = fd, .id = id, .resp = 2, .out = OUT_INIT};
	c->last = &c->first;
	request_init(&c->parser, &server->limits);
	event_assign(&c->readable, server->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	event_assign(&c->writable, server->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->next = server->clients;
	c->at = &server->clients;
	if (c->next)
		c->next->at = &c->next;
	server->clients = c;
	server->n_clients++;
	update(c);
	return c;
}

static void abandon_slots(struct client *c)
{
	for (struct slot *s = c->first, *next; s; s = next) {
		next = s->next;
		s->client = NULL;
		if (!s->done)
			continue;
		out_fini(&s->out);
		free(s);
	}
}

void client_free(struct client *c)
{
	assert(!c->busy);
	set_event(&c->readable, false, &c->reading);
	set_event(&c->writable, false, &c->writing);
	close(c->fd);
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	c->server->n_clients--;
	abandon_slots(c);
	if (c->parked)
		parked_free(c->parked);
	release_owners(c->parser.argv, c->parser.argc);
	request_fini(&c->parser);
	buf_free(&c->in);
	out_fini(&c->out);
	free(c->name);
	free(c);
}

/* ---- what commands ask ---- */

uint64_t client_id(const struct client *c)
{
	return c->id;
}

const char *client_name(const struct client *c)
{
	return c->name ? c->name : "";
}

void client_set_name(struct client *c, const char *name, size_t len)
{
	free(c->name);
	c->name = len ? xstrndup(name, len) : NULL;
}

int client_resp(const struct client *c)
{
	return c->resp;
}

void client_set_resp(struct client *c, int resp)
{
	c->resp = resp;
}

static struct ucred peer_of(const struct client *c)
{
	struct ucred cred = {.pid = -1, .uid = (uid_t)-1};
	socklen_t len = sizeof(cred);
	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		cred = (struct ucred){.pid = -1, .uid = (uid_t)-1};
	return cred;
}

uid_t client_uid(const struct client *c)
{
	return peer_of(c).uid;
}

pid_t client_group(const struct client *c)
{
	pid_t pid = peer_of(c).pid;
	return pid > 0 ? getpgid(pid) : -1;
}

void client_close_after_reply(struct client *c)
{
	c->closing = true;
}

struct client *client_next(const struct client *c)
{
	return c->next;
}
