/* catcachectl: the command line client. One command from its arguments, or one per
 * line of its input; the replies go to stdout, as redis-cli would print them. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "request.h"

#define DEFAULT_SOCKET "/run/catcached/catcached.sock"

enum { EXIT_ERROR_REPLY = 1, EXIT_USAGE = 2, EXIT_NO_CONNECTION = 3 };

struct session {
	redisContext *redis;
	bool raw;
};

static void usage(FILE *to)
{
	fputs("usage: catcachectl [-s SOCKET] [--raw] [-x] command [arg ...]\n"
	      "       catcachectl [-s SOCKET] [--raw] < commands, one per line\n"
	      "\n"
	      "  -s, --socket SOCKET  where catcached listens; default: $CATCACHED_SOCKET, else\n"
	      "                       " DEFAULT_SOCKET "\n"
	      "  -x, --stdin          the last argument is what stdin holds, byte for byte\n"
	      "      --raw            print strings as they are, each with a newline behind it;\n"
	      "                       the default where stdout is not a terminal\n"
	      "  -h, --help           this text\n"
	      "\n"
	      "On a line of commands \"...\" understands \\n \\r \\t \\xHH \\\\ \\\", and '...' understands \\'.\n"
	      "\n"
	      "  catcachectl get models:provider:groq\n"
	      "  catcachectl -x set models:provider:groq < groq.json\n"
	      "  catcachectl meta models:provider:groq\n"
	      "  catcachectl stats | jq .types\n"
	      "\n"
	      "exit status: 0 good; 1 an error reply; 2 usage, or input or output that failed;\n"
	      "3 no connection to the daemon\n", to);
}

/* ---- replies ---- */

static void print_quoted(const char *s, size_t len)
{
	static const char plain[] = "\\\"\n\r\t\a\b", escaped[] = "\\\"nrtab";
	putchar('"');
	for (size_t i = 0; i < len; i++) {
		const char *special = s[i] ? strchr(plain, s[i]) : NULL;
		if (special)
			printf("\\%c", escaped[special - plain]);
		else if (s[i] >= ' ' && s[i] <= '~')
			putchar(s[i]);
		else
			printf("\\x%02x", (unsigned char)s[i]);
	}
	puts("\"");
}

static void print_raw(const redisReply *r)
{
	switch (r->type) {
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < r->elements; i++)
			print_raw(r->element[i]);
		break;
	case REDIS_REPLY_INTEGER:
		printf("%lld\n", r->integer);
		break;
	case REDIS_REPLY_NIL:
		putchar('\n');
		break;
	default:
		fwrite(r->str, 1, r->len, stdout);
		putchar('\n');
	}
}

static void print_for_people(const redisReply *r, int indent);

/* A numbered list. The cursor stands at column indent, where the first number goes. */
static void print_list(const redisReply *r, int indent)
{
	int width = snprintf(NULL, 0, "%zu", r->elements);
	if (r->elements == 0)
		puts("(empty array)");
	for (size_t i = 0; i < r->elements; i++) {
		printf("%*s%*zu) ", i ? indent : 0, "", width, i + 1);
		print_for_people(r->element[i], indent + width + 2);
	}
}

static void print_for_people(const redisReply *r, int indent)
{
	switch (r->type) {
	case REDIS_REPLY_ARRAY:
		print_list(r, indent);
		break;
	case REDIS_REPLY_INTEGER:
		printf("(integer) %lld\n", r->integer);
		break;
	case REDIS_REPLY_NIL:
		puts("(nil)");
		break;
	case REDIS_REPLY_ERROR:
		printf("(error) %s\n", r->str);
		break;
	case REDIS_REPLY_STRING:
		print_quoted(r->str, r->len);
		break;
	default:
		puts(r->str);
	}
}

/* ---- commands ---- */

static bool is_word(const struct request_arg *arg, const char *word)
{
	return arg->len == strlen(word) && strncasecmp(arg->data, word, arg->len) == 0;
}

/* Its reply is a text to be read, not a value. */
static bool replies_text(const struct request_arg *command)
{
	return is_word(command, "STATS") || is_word(command, "INFO");
}

static redisReply *ask(redisContext *c, const struct request_arg *argv, size_t argc)
{
	const char **data = xcalloc(argc, sizeof(*data));
	size_t *len = xcalloc(argc, sizeof(*len));
	for (size_t i = 0; i < argc; i++) {
		data[i] = argv[i].data;
		len[i] = argv[i].len;
	}
	redisReply *r = redisCommandArgv(c, (int)argc, data, len);
	free(data);
	free(len);
	return r;
}

/* Sends one command and prints its reply. Returns the exit status it stands for. */
static int run(struct session *s, const struct request_arg *argv, size_t argc)
{
	redisReply *r = ask(s->redis, argv, argc);
	if (!r) {
		fprintf(stderr, "catcachectl: lost the connection: %s; see the daemon's log\n", s->redis->errstr);
		return EXIT_NO_CONNECTION;
	}
	int status = EXIT_SUCCESS;
	if (r->type == REDIS_REPLY_ERROR) {
		fprintf(stderr, "%s%s\n", s->raw ? "" : "(error) ", r->str);
		status = EXIT_ERROR_REPLY;
	} else if (s->raw || (r->type == REDIS_REPLY_STRING && replies_text(&argv[0]))) {
		print_raw(r);
	} else {
		print_for_people(r, 0);
	}
	freeReplyObject(r);
	if (fflush(stdout) == EOF) {
		fprintf(stderr, "catcachectl: cannot write the reply: %s\n", strerror(errno));
		status = EXIT_USAGE;
	}
	return status;
}

/* The command of the arguments, and of last unless that is NULL. */
static int run_arguments(struct session *s, char **words, const struct buf *last)
{
	size_t n = 0;
	while (words[n])
		n++;
	struct request_arg *argv = xcalloc(n + 1, sizeof(*argv));
	for (size_t i = 0; i < n; i++)
		argv[i] = (struct request_arg){.data = words[i], .len = strlen(words[i])};
	if (last)
		argv[n++] = (struct request_arg){.data = last->data, .len = last->len};
	int status = run(s, argv, n);
	free(argv);
	return status;
}

/* Sets *quit after QUIT. */
static int run_line(struct session *s, const char *line, size_t len, bool *quit)
{
	static const struct request_limits limits = {SIZE_MAX, SIZE_MAX};
	struct request_parser p;
	int status = EXIT_SUCCESS;
	request_init(&p, &limits);
	if (request_parse(&p, line, len) != REQUEST_READY) {
		fprintf(stderr, "catcachectl: not a command: %s\n",
		        p.error ? p.error : "the line begins like a RESP array or an HTTP request");
		status = EXIT_USAGE;
	} else if (p.argc > 0) {
		status = run(s, p.argv, p.argc);
		*quit = is_word(&p.argv[0], "QUIT");
	}
	request_fini(&p);
	return status;
}

static ssize_t next_line(char **line, size_t *size)
{
	if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		fputs("catcached> ", stdout);
	ssize_t len = getline(line, size, stdin);
	if (len > 0 && (*line)[len - 1] != '\n')
		(*line)[len++] = '\n';          /* in the place of the NUL: the last line may lack its end */
	return len;
}

/* Returns the worst status of all lines. */
static int run_input(struct session *s)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int worst = EXIT_SUCCESS;
	bool quit = false;
	while (worst != EXIT_NO_CONNECTION && !quit && (len = next_line(&line, &size)) > 0) {
		int status = run_line(s, line, (size_t)len, &quit);
		worst = status > worst ? status : worst;
	}
	free(line);
	return worst;
}

/* 0, or -1 and errno. */
static int read_all(struct buf *b, FILE *from)
{
	char *room;
	while ((room = buf_reserve(b, BUFSIZ))) {
		size_t n = fread(room, 1, BUFSIZ, from);
		b->len += n;
		if (n == 0)
			return ferror(from) ? -1 : 0;
	}
	errno = ENOMEM;
	return -1;
}

/* ---- the connection ---- */

static void advise(const char *path, int error)
{
	struct stat st;
	const struct group *group = stat(path, &st) == 0 ? getgrgid(st.st_gid) : NULL;
	if (error == ENOENT)
		fputs("There is no socket: is the daemon running? Is this the listen.path of its configuration? (-s names another)\n", stderr);
	else if (error == ECONNREFUSED)
		fputs("Nobody listens there any more: start the daemon.\n", stderr);
	else if (error == EACCES)
		fprintf(stderr, "Only the socket's user and group may: usermod -aG %s USER as root, then log in again.\n",
		        group ? group->gr_name : "GROUP");
}

/* NULL when there is no connection; why, and what to do, is printed. */
static redisContext *connect_to(const char *path)
{
	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		fprintf(stderr, "catcachectl: %s: a socket's path has at most %zu bytes\n", path,
		        sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		return NULL;
	}
	redisContext *c = redisConnectUnix(path);
	int error = errno;
	if (c && !c->err)
		return c;
	fprintf(stderr, "catcachectl: cannot connect to %s: %s\n", path, c ? c->errstr : "out of memory");
	advise(path, error);
	if (c)
		redisFree(c);
	return NULL;
}

static int talk(const char *path, bool raw, char **command, const struct buf *last)
{
	struct session s = {.raw = raw, .redis = connect_to(path)};
	if (!s.redis)
		return EXIT_NO_CONNECTION;
	int status = *command ? run_arguments(&s, command, last) : run_input(&s);
	redisFree(s.redis);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"stdin", no_argument, NULL, 'x'},
		{"raw", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *path = getenv("CATCACHED_SOCKET");
	bool raw = !isatty(STDOUT_FILENO), last_from_stdin = false;
	int option;
	while ((option = getopt_long(argc, argv, "+s:xh", options, NULL)) != -1) {
		switch (option) {
		case 's': path = optarg; break;
		case 'x': last_from_stdin = true; break;
		case 'r': raw = true; break;
		case 'h': usage(stdout); return EXIT_SUCCESS;
		default:  usage(stderr); return EXIT_USAGE;
		}
	}
	if (last_from_stdin && !argv[optind]) {
		fputs("catcachectl: -x needs a command\n", stderr);
		return EXIT_USAGE;
	}
	struct buf last = BUF_INIT;
	if (last_from_stdin && read_all(&last, stdin) < 0) {
		fprintf(stderr, "catcachectl: cannot read stdin: %s\n", strerror(errno));
		return EXIT_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);       /* a daemon that went away is told, not died of */
	int status = talk(path && *path ? path : DEFAULT_SOCKET, raw, argv + optind, last_from_stdin ? &last : NULL);
	buf_free(&last);
	return status;
}
