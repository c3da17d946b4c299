/* The file of a snapshot; see snapshot.h. */
#define XXH_STATIC_LINKING_ONLY
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
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
	uint64_t n, bytes;              /* of the records */
	uint64_t checksum;              /* of the records, and of this without it */
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

/* The records are in it already. */
static uint64_t sum_up(XXH3_state_t *sum, struct header h)
{
	h.checksum = 0;
	XXH3_64bits_update(sum, &h, sizeof(h));
	return XXH3_64bits_digest(sum);
}

/* The name of a file is on the disk when its folder is, and gone when that is. */
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

/* So that a wrong path costs nothing but the snapshot. An empty file is of a disk that was full, or made for us. */
static bool is_of_others(const char *path)
{
	uint64_t magic = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? 0 : read(fd, &magic, sizeof(magic));
	if (fd >= 0)
		close(fd);
	return n != 0 && (n != sizeof(magic) || magic != MAGIC);
}

struct snapshot *snapshot_create(const char *path, char **error)
{
	if (is_of_others(path)) {
		*error = xasprintf("cannot write %s: what is there is no snapshot (remove it, or change memory.snapshot)", path);
		return NULL;
	}
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

char *snapshot_trouble(const char *path)
{
	char *error = NULL;
	struct snapshot *s = snapshot_create(path, &error);
	if (!s)
		return error;
	if (s->error)
		error = sentence(s, "write", s->error);
	(void)unlink(s->fresh);
	snapshot_free(s);
	return error;
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

static int put_in_place(struct snapshot *s)
{
	s->header.checksum = sum_up(s->sum, s->header);
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

/* The record at *at, which moves behind it. False: there is none. */
static bool next_record(const char *bytes, size_t len, size_t *at, struct snapshot_record *record)
{
	struct head h;
	if (len - *at < sizeof(h))
		return false;
	memcpy(&h, bytes + *at, sizeof(h));
	*at += sizeof(h);
	if (h.kind >= SNAPSHOT_KINDS || (uint64_t)h.key_len + h.value_len > len - *at || h.stored_ms < 0 || h.expires_ms < 0)
		return false;
	*record = (struct snapshot_record){.kind = h.kind, .source = h.source, .key_len = h.key_len, .value_len = h.value_len, .type = h.type,
		.stored_ms = h.stored_ms, .expires_ms = h.expires_ms, .key = bytes + *at, .value = bytes + *at + h.key_len};
	*at += (size_t)h.key_len + h.value_len;
	return true;
}

bool snapshot_walk(const char *bytes, size_t len, uint64_t n, snapshot_each_fn each, void *arg)
{
	struct snapshot_record record;
	size_t at = 0;
	for (; n > 0 && next_record(bytes, len, &at, &record); n--)
		if (each)
			each(arg, &record);
	return n == 0 && at == len;
}

/* The file as it is read. trouble: why it is not used; NULL: it is good so far. */
struct reading {
	int fd;
	struct header header;
	bool is_snapshot;
	void *bytes;                    /* all of it */
	size_t len;
	const char *trouble;
};

static void read_header(struct reading *r)
{
	struct stat st;
	const struct header *h = &r->header;
	bool is_there = fstat(r->fd, &st) == 0 && S_ISREG(st.st_mode) && read(r->fd, &r->header, sizeof(*h)) == (ssize_t)sizeof(*h);
	r->is_snapshot = is_there && h->magic == MAGIC;
	r->len = is_there ? (size_t)st.st_size : 0;
	if (!r->is_snapshot)
		r->trouble = "it is no snapshot";
	else if (h->version != VERSION_OF_FORMAT)
		r->trouble = "it is of another version";
	else if (h->bytes != r->len - sizeof(*h))
		r->trouble = "it is not whole";
}

/* Reads what a mapping would show: a disk that cannot read it is told here, where there it would be the end. */
static void check_sum(struct reading *r)
{
	XXH3_state_t *sum = XXH3_createState();
	char *buffer = xmalloc(BUFFER);
	ssize_t n;
	XXH3_64bits_reset(sum);
	while ((n = read(r->fd, buffer, BUFFER)) > 0)
		XXH3_64bits_update(sum, buffer, (size_t)n);
	if (n < 0)
		r->trouble = strerror(errno);
	else if (sum_up(sum, r->header) != r->header.checksum)
		r->trouble = "its checksum is wrong";
	else if (r->header.at_ms > clock_wall_ms() + SNAPSHOT_SLACK_MS)
		r->trouble = "it is from the future: the clock has been set back";
	free(buffer);
	XXH3_freeState(sum);
}

static void map_records(struct reading *r)
{
	r->bytes = mmap(NULL, r->len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, r->fd, 0);
	if (r->bytes == MAP_FAILED)
		r->trouble = strerror(errno);
	else if (!snapshot_walk((const char *)r->bytes + sizeof(r->header), r->header.bytes, r->header.n, NULL, NULL))
		r->trouble = "its records do not fit";
}

static void remove_file(struct reading *r, const char *path)
{
	if (r->is_snapshot && (unlink(path) < 0 || sync_folder(path) < 0) && !r->trouble)
		r->trouble = "it cannot be removed, and after a crash old values would come back: let the daemon's user write to its folder";
}

static void read_all(struct reading *r)
{
	read_header(r);
	if (!r->trouble)
		check_sum(r);
	if (!r->trouble)
		map_records(r);
}

int64_t snapshot_take(const char *path, snapshot_each_fn each, void *arg, char **error)
{
	struct reading r = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .bytes = MAP_FAILED};
	if (r.fd < 0 && errno == ENOENT)
		return 0;
	if (r.fd < 0)
		r.trouble = strerror(errno);
	else
		read_all(&r);
	remove_file(&r, path);
	if (r.trouble)
		*error = xasprintf("%s is not used: %s", path, r.trouble);
	else
		(void)snapshot_walk((const char *)r.bytes + sizeof(r.header), r.header.bytes, r.header.n, each, arg); /* it does fit */
	if (r.bytes != MAP_FAILED)
		munmap(r.bytes, r.len);
	if (r.fd >= 0)
		close(r.fd);
	return r.trouble ? -1 : (int64_t)r.header.n;
}
