/* The file of a snapshot; see snapshot.h. */
#define XXH_STATIC_LINKING_ONLY
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "../proto/buf.h"
#include "clock.h"

#define MAGIC UINT64_C(0x31706e7363746163)      /* also tells the byte order */
#define VERSION_OF_FORMAT 1
#define BUFFER (1 << 20)

struct header {
	uint64_t magic;
	uint32_t version, zero;
	int64_t at_ms;                  /* when it was written */
	uint64_t n, bytes, checksum;    /* of the records */
};

/* Before the bytes of key and value. */
struct head {
	uint64_t type;
	int64_t stored_ms, expires_ms;
	uint32_t key_len, value_len;
	uint8_t kind, source, zero[6];
};

struct snapshot {
	char *path, *fresh;             /* the file, and what it is written to */
	int fd;
	char *buffer;
	size_t used;
	struct header header;
	XXH3_state_t *sum;
	int error;                      /* an errno; 0: none so far */
};

/* ---- writing ---- */

static void write_all(struct snapshot *s, const char *bytes, size_t len)
{
	while (len > 0 && !s->error) {
		ssize_t n = write(s->fd, bytes, len);
		if (n < 0 && errno != EINTR)
			s->error = errno;
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
}

static void add_bytes(struct snapshot *s, const void *bytes, size_t len)
{
	XXH3_64bits_update(s->sum, bytes, len);
	s->header.bytes += len;
	if (s->used + len > BUFFER) {
		write_all(s, s->buffer, s->used);
		s->used = 0;
	}
	if (len > BUFFER) {
		write_all(s, bytes, len);
		return;
	}
	memcpy(s->buffer + s->used, bytes, len);
	s->used += len;
}

static void snapshot_free(struct snapshot *s)
{
	if (s->fd >= 0)
		close(s->fd);
	XXH3_freeState(s->sum);
	free(s->buffer);
	free(s->fresh);
	free(s->path);
	free(s);
}

static char *sentence(const struct snapshot *s, const char *what, int error)
{
	const char *remedy = error == ENOSPC || error == EDQUOT || error == EFBIG ? "make room on its disk"
		: error == EACCES || error == EPERM || error == EROFS ? "let the daemon's user write to its folder"
		: error == ENOENT ? "make its folder" : "see to its disk";
	return xasprintf("cannot %s %s: %s (%s, or change memory.snapshot)", what, s->path, strerror(error), remedy);
}

struct snapshot *snapshot_create(const char *path, char **error)
{
	struct snapshot *s = xcalloc(1, sizeof(*s));
	*s = (struct snapshot){.path = xstrdup(path), .fresh = xasprintf("%s.new", path), .buffer = xmalloc(BUFFER), .sum = XXH3_createState()};
	(void)unlink(s->fresh);         /* of a daemon that was killed while it wrote */
	s->fd = open(s->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (s->fd < 0) {
		*error = sentence(s, "write", errno);
		snapshot_free(s);
		return NULL;
	}
	s->header = (struct header){.magic = MAGIC, .version = VERSION_OF_FORMAT, .at_ms = clock_wall_ms()};
	XXH3_64bits_reset(s->sum);
	write_all(s, (const char *)&s->header, sizeof(s->header));
	return s;
}

int snapshot_add(struct snapshot *s, const struct snapshot_record *r)
{
	const struct head head = {.type = r->type, .stored_ms = r->stored_ms, .expires_ms = r->expires_ms, .key_len = r->key_len,
		.value_len = r->value_len, .kind = r->kind, .source = r->source};
	add_bytes(s, &head, sizeof(head));
	add_bytes(s, r->key, r->key_len);
	add_bytes(s, r->value, r->value_len);
	s->header.n++;
	return s->error ? -1 : 0;
}

/* The name of a file is on the disk when its folder is. */
static int sync_folder(const char *path)
{
	char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		close(fd);
	free(copy);
	return result;
}

static int put_in_place(struct snapshot *s)
{
	s->header.checksum = XXH3_64bits_digest(s->sum);
	if (pwrite(s->fd, &s->header, sizeof(s->header), 0) != (ssize_t)sizeof(s->header) || fsync(s->fd) < 0)
		return -1;
	return rename(s->fresh, s->path) < 0 || sync_folder(s->path) < 0 ? -1 : 0;
}

int snapshot_commit(struct snapshot *s, char **error)
{
	write_all(s, s->buffer, s->used);
	if (!s->error && put_in_place(s) < 0)
		s->error = errno;
	int result = s->error ? -1 : 0;
	if (s->error) {
		*error = sentence(s, "write", s->error);
		(void)unlink(s->fresh);
	}
	snapshot_free(s);
	return result;
}

/* ---- reading ---- */

struct reading {
	const char *bytes;
	size_t len;
	const char *trouble;            /* NULL: none */
};

static struct header check(struct reading *r)
{
	struct header h = {0};
	if (r->len >= sizeof(h))
		memcpy(&h, r->bytes, sizeof(h));
	if (h.magic != MAGIC)
		r->trouble = "it is no snapshot";
	else if (h.version != VERSION_OF_FORMAT)
		r->trouble = "it is of another version";
	else if (h.bytes != r->len - sizeof(h))
		r->trouble = "it is not whole";
	else if (XXH3_64bits(r->bytes + sizeof(h), h.bytes) != h.checksum)
		r->trouble = "its checksum is wrong";
	else if (h.at_ms > clock_wall_ms())
		r->trouble = "it is from the future: the clock has been set back";
	return h;
}

/* The record at *at, which moves behind it. False: there is none. */
static bool next_record(struct reading *r, size_t *at, struct snapshot_record *record)
{
	struct head h;
	if (r->len - *at < sizeof(h))
		return false;
	memcpy(&h, r->bytes + *at, sizeof(h));
	*at += sizeof(h);
	if (h.kind >= SNAPSHOT_KINDS || (uint64_t)h.key_len + h.value_len > r->len - *at)
		return false;
	*record = (struct snapshot_record){.kind = h.kind, .source = h.source, .key_len = h.key_len, .value_len = h.value_len, .type = h.type,
		.stored_ms = h.stored_ms, .expires_ms = h.expires_ms, .key = r->bytes + *at, .value = r->bytes + *at + h.key_len};
	*at += h.key_len + h.value_len;
	return true;
}

/* Once without telling anybody, to know that all of it is good. */
static int64_t read_records(struct reading *r, snapshot_each_fn each, void *arg)
{
	struct header h = check(r);
	struct snapshot_record record;
	for (int pass = 0; pass < 2 && !r->trouble; pass++) {
		size_t at = sizeof(h);
		uint64_t n = 0;
		for (; n < h.n && next_record(r, &at, &record); n++)
			if (pass)
				each(arg, &record);
		if (n < h.n || at != r->len)
			r->trouble = "its records do not fit";
	}
	return r->trouble ? -1 : (int64_t)h.n;
}

static int64_t read_file(int fd, snapshot_each_fn each, void *arg, struct reading *r)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		r->trouble = "it is no file";
		return -1;
	}
	r->len = (size_t)st.st_size;
	void *bytes = r->len ? mmap(NULL, r->len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0) : NULL;
	if (bytes == MAP_FAILED) {
		r->trouble = strerror(errno);
		return -1;
	}
	r->bytes = bytes;
	int64_t n = read_records(r, each, arg);
	if (bytes)
		munmap(bytes, r->len);
	return n;
}

int64_t snapshot_read(const char *path, snapshot_each_fn each, void *arg, char **error)
{
	struct reading r = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return 0;
	int64_t n = -1;
	if (fd < 0)
		r.trouble = strerror(errno);
	else
		n = read_file(fd, each, arg, &r);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		*error = xasprintf("%s is not used: %s", path, r.trouble);
	return n;
}
