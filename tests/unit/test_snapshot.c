/* The file of a snapshot: what was written comes back, and nothing of a file that is damaged. */
#include "../../daemon/snapshot.h"

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/clock.h"
#include "../../proto/buf.h"

static char folder[] = "/tmp/cc-snapshot-XXXXXX", *path, *fresh;

static void setup(void)
{
	clock_update();
	ck_assert_ptr_nonnull(mkdtemp(folder));
	path = xasprintf("%s/file", folder);
	fresh = xasprintf("%s.new", path);
}

static void teardown(void)
{
	(void)unlink(path);
	(void)unlink(fresh);
	rmdir(folder);
	free(path);
	free(fresh);
}

static const struct snapshot_record records[] = {
	{.kind = SNAPSHOT_VALUE, .source = 2, .type = 7, .key = "a:1", .key_len = 3, .value = "one", .value_len = 3, .stored_ms = 1, .expires_ms = 2},
	{.kind = SNAPSHOT_REMOVAL, .key = "b", .key_len = 1, .value = ""},
	{.kind = SNAPSHOT_WRITE, .key = "c\0d", .key_len = 3, .value = "\0\xff", .value_len = 2, .expires_ms = SNAPSHOT_NEVER},
	{.kind = SNAPSHOT_CLEAR, .key = "type", .key_len = 4, .value = ""},
};
#define RECORDS (sizeof(records) / sizeof(records[0]))

static void write_records(void)
{
	char *error = NULL;
	struct snapshot *s = snapshot_create(path, &error);
	ck_assert_msg(s, "%s", error);
	for (size_t i = 0; i < RECORDS; i++)
		ck_assert_int_eq(snapshot_add(s, &records[i]), 0);
	ck_assert_msg(snapshot_commit(s, &error) == 0, "%s", error);
}

static void expect_record(void *arg, const struct snapshot_record *r)
{
	size_t *n = arg;
	const struct snapshot_record *e = &records[(*n)++];
	ck_assert(r->kind == e->kind && r->source == e->source && r->type == e->type && r->stored_ms == e->stored_ms && r->expires_ms == e->expires_ms);
	ck_assert(r->key_len == e->key_len && memcmp(r->key, e->key, e->key_len) == 0);
	ck_assert(r->value_len == e->value_len && memcmp(r->value, e->value, e->value_len) == 0);
}

static void expect_none(void *arg, const struct snapshot_record *r)
{
	(void)arg, (void)r;
	ck_abort_msg("something of a damaged file was told");
}

static void expect_refused(const char *part)
{
	char *error = NULL;
	ck_assert_int_eq(snapshot_take(path, expect_none, NULL, &error), -1);
	ck_assert_msg(strstr(error, path) && strstr(error, part), "%s", error);
	free(error);
}

static size_t read_bytes(char *bytes, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n = fread(bytes, 1, size, f);
	fclose(f);
	return n;
}

static void write_bytes(const char *bytes, size_t len)
{
	FILE *f = fopen(path, "w");
	ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
	fclose(f);
}

START_TEST(what_is_written_comes_back)
{
	size_t n = 0;
	char *error = NULL;
	struct stat st;
	write_records();
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(snapshot_take(path, expect_record, &n, &error), RECORDS);
	ck_assert_uint_eq(n, RECORDS);
	ck_assert_int_ne(access(fresh, F_OK), 0);
}
END_TEST

START_TEST(where_there_is_none_there_is_none)
{
	char *error = NULL;
	ck_assert_int_eq(snapshot_take(path, expect_none, NULL, &error), 0);
	ck_assert_ptr_null(error);
}
END_TEST

START_TEST(it_is_used_once)
{
	size_t n = 0;
	char *error = NULL;
	write_records();
	ck_assert_int_eq(snapshot_take(path, expect_record, &n, &error), RECORDS);
	ck_assert_int_ne(access(path, F_OK), 0);
	ck_assert_int_eq(snapshot_take(path, expect_none, NULL, &error), 0);
}
END_TEST

/* Were it there still, the clock set right or the version before would bring it back. */
START_TEST(one_that_is_refused_is_removed)
{
	char bytes[1024];
	write_records();
	size_t len = read_bytes(bytes, sizeof(bytes));
	bytes[len - 1] ^= 1;
	write_bytes(bytes, len);
	expect_refused("checksum");
	ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

static void expect_left_alone(const char *bytes, size_t len)
{
	char *error = NULL, now[1024];
	write_bytes(bytes, len);
	expect_refused("it is no snapshot");
	ck_assert_ptr_null(snapshot_create(path, &error));
	ck_assert_msg(strstr(error, "what is there is no snapshot (remove it"), "%s", error);
	free(error);
	ck_assert_uint_eq(read_bytes(now, sizeof(now)), len);
	ck_assert_mem_eq(now, bytes, len);
	ck_assert_int_ne(access(fresh, F_OK), 0);
}

START_TEST(what_is_no_snapshot_is_neither_removed_nor_written_over)
{
	expect_left_alone("SQLite format 3 and what else there is in a database of somebody's", 66);
	expect_left_alone("x", 1);
}
END_TEST

START_TEST(an_empty_file_is_written_over)
{
	write_bytes("", 0);
	write_records();
}
END_TEST

START_TEST(what_a_killed_daemon_was_writing_is_no_hindrance)
{
	FILE *f = fopen(fresh, "w");
	fputs("half of a record", f);
	fclose(f);
	write_records();
	ck_assert_int_ne(access(fresh, F_OK), 0);
}
END_TEST

START_TEST(a_time_that_cannot_be_is_no_record)
{
	char bytes[1024];
	write_records();
	size_t len = read_bytes(bytes, sizeof(bytes)), header = 48;
	ck_assert(snapshot_walk(bytes + header, len - header, RECORDS, NULL, NULL));
	ck_assert(!snapshot_walk(bytes + header, len - header, RECORDS - 1, NULL, NULL));
	ck_assert(!snapshot_walk(bytes + header, len - header, RECORDS + 1, NULL, NULL));
	bytes[header + 15] = (char)0x80;        /* stored before 1970 */
	ck_assert(!snapshot_walk(bytes + header, len - header, RECORDS, NULL, NULL));
}
END_TEST

START_TEST(a_file_of_any_other_length_is_refused)
{
	char bytes[1024];
	write_records();
	size_t len = read_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < len; i++) {
		write_bytes(bytes, i);
		expect_refused("");
	}
	bytes[len] = 'x';
	write_bytes(bytes, len + 1);
	expect_refused("not whole");
}
END_TEST

START_TEST(a_file_with_any_bit_turned_is_refused)
{
	char bytes[1024];
	write_records();
	size_t len = read_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			bytes[i] ^= (char)(1 << bit);
			write_bytes(bytes, len);
			expect_refused("");
			bytes[i] ^= (char)(1 << bit);
		}
	}
}
END_TEST

START_TEST(a_file_from_the_future_is_refused)
{
	clock_skew(SNAPSHOT_SLACK_MS + 5000);
	write_records();
	clock_skew(-SNAPSHOT_SLACK_MS - 5000);
	expect_refused("set back");
}
END_TEST

START_TEST(a_clock_that_was_set_back_a_little_does_not_matter)
{
	size_t n = 0;
	char *error = NULL;
	clock_skew(SNAPSHOT_SLACK_MS / 2);
	write_records();
	clock_skew(-SNAPSHOT_SLACK_MS / 2);
	ck_assert_int_eq(snapshot_take(path, expect_record, &n, &error), RECORDS);
}
END_TEST

START_TEST(other_files_are_refused)
{
	write_bytes("nonsense", 8);
	expect_refused("no snapshot");
	write_bytes("", 0);
	expect_refused("no snapshot");
	(void)unlink(path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	expect_refused("no snapshot");
	rmdir(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	expect_refused("no snapshot");
}
END_TEST

START_TEST(a_disk_that_is_full_leaves_the_old_file)
{
	static char large[3 << 20];
	char *error = NULL;
	size_t n = 0;
	write_records();
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1 << 20, RLIM_INFINITY}), 0);
	struct snapshot *s = snapshot_create(path, &error);
	for (int i = 0; i < 3; i++)
		(void)snapshot_add(s, &(struct snapshot_record){.key = "k", .key_len = 1, .value = large, .value_len = sizeof(large)});
	ck_assert_int_eq(snapshot_commit(s, &error), -1);
	ck_assert_msg(strstr(error, "make room") && strstr(error, path), "%s", error);
	free(error);
	ck_assert_int_ne(access(fresh, F_OK), 0);
	ck_assert_int_eq(snapshot_take(path, expect_record, &n, &error), RECORDS);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_told)
{
	char *error = NULL;
	ck_assert_ptr_null(snapshot_create("/nonexistent/file", &error));
	ck_assert_msg(strstr(error, "cannot write /nonexistent/file: No such file or directory (make its folder"), "%s", error);
	free(error);
}
END_TEST

START_TEST(large_values_come_back)
{
	char *error = NULL;
	size_t len = 5000000;
	char *bytes = xmalloc(len);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i * 7 % 251);
	struct snapshot *s = snapshot_create(path, &error);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(snapshot_add(s, &(struct snapshot_record){.key = "k", .key_len = 1, .value = bytes, .value_len = (uint32_t)len}), 0);
	ck_assert_int_eq(snapshot_commit(s, &error), 0);
	FILE *f = fopen(path, "r+");
	ck_assert_int_eq(fseek(f, 4000000, SEEK_SET), 0);
	fputc('x', f);
	fputc('y', f);
	fclose(f);
	expect_refused("checksum");
	free(bytes);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot");
	TCase *tc = tcase_create("snapshot");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_written_comes_back);
	tcase_add_test(tc, where_there_is_none_there_is_none);
	tcase_add_test(tc, a_file_of_any_other_length_is_refused);
	tcase_add_test(tc, a_file_with_any_bit_turned_is_refused);
	tcase_add_test(tc, a_file_from_the_future_is_refused);
	tcase_add_test(tc, other_files_are_refused);
	tcase_add_test(tc, a_disk_that_is_full_leaves_the_old_file);
	tcase_add_test(tc, a_folder_that_is_not_there_is_told);
	tcase_add_test(tc, large_values_come_back);
	tcase_add_test(tc, it_is_used_once);
	tcase_add_test(tc, one_that_is_refused_is_removed);
	tcase_add_test(tc, what_is_no_snapshot_is_neither_removed_nor_written_over);
	tcase_add_test(tc, an_empty_file_is_written_over);
	tcase_add_test(tc, what_a_killed_daemon_was_writing_is_no_hindrance);
	tcase_add_test(tc, a_time_that_cannot_be_is_no_record);
	tcase_add_test(tc, a_clock_that_was_set_back_a_little_does_not_matter);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
