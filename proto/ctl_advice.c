/* Advice for those whom the daemon does not answer; see ctl_advice.h. */
#include "ctl_advice.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

#define GROUPS_MAX 256

/* Names live until the next call of the system's functions of their kind. */
static const char *user_name(uid_t uid)
{
	const struct passwd *p = getpwuid(uid);
	return p ? p->pw_name : "?";
}

static const char *group_name(gid_t gid)
{
	const struct group *g = getgrgid(gid);
	return g ? g->gr_name : "?";
}

/* The user is in the group by now, but this session began before that. */
static bool has_joined_since(gid_t gid)
{
	gid_t groups[GROUPS_MAX];
	int n = GROUPS_MAX;
	const struct passwd *p = getpwuid(geteuid());
	if (!p || group_member(gid) || getgrouplist(p->pw_name, p->pw_gid, groups, &n) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static void add_who(struct buf *b, const char *what, const char *path, const struct stat *st)
{
	buf_addf(b, "You are %s; ", user_name(geteuid()));
	buf_addf(b, "%s %s is %s's ", what, path, user_name(st->st_uid));
	buf_addf(b, "and the group %s's (mode %04o).\n", group_name(st->st_gid), (unsigned)st->st_mode & 07777);
}

/* needed: the bit that the group must have. */
static void add_way_in(struct buf *b, const struct stat *st, mode_t needed, const char *otherwise)
{
	if (!(st->st_mode & needed) || st->st_gid == 0)         /* root's group is not for joining */
		buf_addf(b, "%s\n", otherwise);
	else if (has_joined_since(st->st_gid))
		buf_addf(b, "You have joined the group since you logged in: log in again, or run newgrp %s.\n", group_name(st->st_gid));
	else {
		buf_addf(b, "To join the group, as root: usermod -aG %s ", group_name(st->st_gid));
		buf_addf(b, "%s; then log in again.\n", user_name(geteuid()));
	}
}

/* The folder that does not let us through; the path is cut there. */
static bool find_closed_folder(char *path)
{
	char *whole = xstrdup(path);
	bool found = false;
	for (size_t i = 1; !found && whole[i]; i++) {
		if (whole[i] != '/')
			continue;
		memcpy(path, whole, i);
		path[i] = '\0';
		found = access(path, X_OK) < 0;
	}
	free(whole);
	return found;
}

static void add_no_permission(struct buf *b, const char *path)
{
	struct stat st;
	char *folder = xstrdup(path);
	if (stat(path, &st) == 0) {
		add_who(b, "the socket", path, &st);
		add_way_in(b, &st, S_IWGRP, "listen.group and listen.mode of the daemon's configuration say who may use it: name a group for its clients there.");
	} else if (find_closed_folder(folder) && stat(folder, &st) == 0) {
		add_who(b, "the folder", folder, &st);
		add_way_in(b, &st, S_IXGRP, "Its group may not enter it: run this as that user, or have the folder opened.");
	}
	free(folder);
}

static void add_refused(struct buf *b, const char *path)
{
	struct stat st;
	if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		buf_add_str(b, "This is no socket. The daemon's is listen.path of its configuration; name it with --socket or in $CATCACHED_SOCKET.\n");
	else
		buf_add_str(b, "Nobody listens on this socket any more: the daemon has ended.\n"
			"Look why: systemctl status catcached; start it: systemctl start catcached\n");
}

void ctl_advice_connect(struct buf *b, const char *path, int error)
{
	buf_addf(b, "cannot connect: %s\n", strerror(error));
	if (error == ENOENT || error == ENOTDIR)
		buf_add_str(b, "There is no such socket. Is the daemon running? Look with: systemctl status catcached\n"
			"If it listens elsewhere (listen.path of its configuration), name that with --socket or in $CATCACHED_SOCKET.\n");
	else if (error == ECONNREFUSED)
		add_refused(b, path);
	else if (error == EACCES)
		add_no_permission(b, path);
	else if (error == EAGAIN)
		buf_add_str(b, "The daemon does not take connections: it hangs, or has far too much to do. systemctl status catcached\n");
	else if (error == EPROTOTYPE)
		buf_add_str(b, "This is another kind of socket, not catcached's. Its own is listen.path of its configuration.\n");
}

static bool begins(const char *error, size_t len, const char *prefix)
{
	return len >= strlen(prefix) && memcmp(error, prefix, strlen(prefix)) == 0;
}

void ctl_advice_greeting(struct buf *b, const char *error, size_t len)
{
	buf_addf(b, "%.*s\n", (int)len, error);
	if (begins(error, len, "ERR max number of clients"))
		buf_add_str(b, "The daemon has as many clients as listen.max_clients allows: close some, or raise it.\n");
	else
		buf_add_str(b, "It is not catcached that answers so: a Redis? The daemon's own socket is listen.path of its configuration.\n");
}

static const struct {
	const char *prefix;
	const char *advice;
} replies[] = {
	{"NOPERM", "The command is for the daemon's own user and for admin.users of its configuration:\n"
		"run it as one of them (sudo -u USER catcachectl ...), or add your name there and reload the daemon.\n"},
	{"UNAVAILABLE", "What stands behind the daemon does not serve it now.\n"
		"catcachectl health says more, and catcachectl explain KEY about one key.\n"},
	{"ERR no such type", "catcachectl stats lists the types.\n"},
	{"ERR unknown command", "Either it is misspelt, or this daemon is older than catcachectl.\n"
		"catcachectl --help lists commands, and catcachectl ping tells the daemon's version.\n"},
	{"WRONGTYPE", "Redis holds something else than a string under this key: catcachectl type KEY tells what.\n"},
};

void ctl_advice_reply(struct buf *b, const char *error, size_t len)
{
	if (begins(error, len, "NOPERM"))
		buf_addf(b, "You are %s. ", user_name(geteuid()));
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
		if (begins(error, len, replies[i].prefix))
			buf_add_str(b, replies[i].advice);
}
