/* key.c: equal hashes for equal bytes alone, another seed in each process, and room
 * for keys that are made. */
#include "../../daemon/key.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../proto/buf.h"

static uint64_t hash_in_another_process(void)
{
	int ends[2];
	uint64_t hash = 0;
	ck_assert_int_eq(pipe(ends), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		hash = key_of("k", 1).hash;
		_exit(write(ends[1], &hash, sizeof(hash)) == sizeof(hash) ? 0 : 1);
	}
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &hash, sizeof(hash)), sizeof(hash));
	close(ends[0]);
	waitpid(pid, NULL, 0);
	return hash;
}

/* The first test, so that no hash was computed in this process, even without CK_FORK. */
START_TEST(hash_is_another_in_each_process)
{
	ck_assert_uint_ne(hash_in_another_process(), hash_in_another_process());
}
END_TEST

START_TEST(equal_bytes_have_equal_hashes_wherever_they_lie)
{
	char bytes[64];
	for (size_t at = 0; at < 16; at++) {
		memcpy(bytes + at, "models:gateway:openrouter", 25);
		struct key here = key_of(bytes + at, 25), there = key_of("models:gateway:openrouter", 25);
		ck_assert_uint_eq(here.hash, there.hash);
		ck_assert_uint_eq(here.len, 25);
		ck_assert_ptr_eq(here.data, bytes + at);
		ck_assert(key_equal(&here, &there));
	}
}
END_TEST

static int compare_hashes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Of 200,000 hashes of 64 bits two are equal once in a billion runs. */
START_TEST(different_bytes_have_different_hashes)
{
	enum { KEYS = 200000 };
	uint64_t *hashes = xcalloc(KEYS, sizeof(*hashes));
	char name[32];
	for (unsigned i = 0; i < KEYS; i++) {
		size_t len = (size_t)snprintf(name, sizeof(name), "models:%u", i / 2);
		hashes[i] = key_of(name, len + i % 2).hash;     /* every other one with a NUL behind it */
	}
	qsort(hashes, KEYS, sizeof(*hashes), compare_hashes);
	for (unsigned i = 1; i < KEYS; i++)
		if (hashes[i] == hashes[i - 1])
			ck_abort_msg("two keys have the hash %llx", (unsigned long long)hashes[i]);
	free(hashes);
}
END_TEST

START_TEST(keys_are_equal_only_if_all_of_them_is)
{
	struct key a = {.data = "abc", .len = 3, .hash = 1};
	struct key same = {.data = (char[]){'a', 'b', 'c'}, .len = 3, .hash = 1};
	struct key longer = {.data = "abcd", .len = 4, .hash = 1}, other = {.data = "abd", .len = 3, .hash = 1};
	ck_assert(key_equal(&a, &same));
	ck_assert(!key_equal(&a, &longer) && !key_equal(&longer, &a));
	ck_assert(!key_equal(&a, &other));
}
END_TEST

START_TEST(copy_has_bytes_of_its_own_and_a_nul_behind_them)
{
	char bytes[] = "abcdef";
	struct key key = key_of(bytes, 3), copy = key_dup(&key);
	ck_assert(key_equal(&key, &copy));
	ck_assert_ptr_ne(copy.data, key.data);
	bytes[0] = 'x';
	ck_assert_str_eq(copy.data, "abc");
	free((char *)copy.data);
}
END_TEST

START_TEST(room_for_many_keys_lives_until_it_is_freed)
{
	enum { PIECES = 100 };
	struct key_room *room = NULL;
	char *pieces[PIECES];
	for (size_t i = 0; i < PIECES; i++) {
		pieces[i] = key_room_add(&room, i * 40);
		memset(pieces[i], (int)i, i * 40);
	}
	for (size_t i = 0; i < PIECES; i++)
		for (size_t j = 0; j < i * 40; j++)
			if (pieces[i][j] != (char)i)
				ck_abort_msg("byte %zu of piece %zu has changed", j, i);
	key_room_free(room);
	key_room_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("key");
	TCase *tc = tcase_create("key");
	tcase_add_test(tc, hash_is_another_in_each_process);
	tcase_add_test(tc, equal_bytes_have_equal_hashes_wherever_they_lie);
	tcase_add_test(tc, different_bytes_have_different_hashes);
	tcase_add_test(tc, keys_are_equal_only_if_all_of_them_is);
	tcase_add_test(tc, copy_has_bytes_of_its_own_and_a_nul_behind_them);
	tcase_add_test(tc, room_for_many_keys_lives_until_it_is_freed);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
