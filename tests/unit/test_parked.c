/* Requests kept for later: they must not need the bytes they came in any more, and hold the
 * large arguments that have an owner by reference. */
#include "../../daemon/parked.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/value.h"
#include "../../proto/buf.h"
#include "rig.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* A request in a buffer that is overwritten and freed once it is parked. */
static struct parked *park(const char *const *words, const size_t *lens, size_t argc)
{
	struct request_arg *argv = xcalloc(argc + 1, sizeof(*argv));
	struct buf bytes = BUF_INIT;
	for (size_t i = 0; i < argc; i++)
		buf_add(&bytes, words[i], lens[i]);
	for (size_t i = 0, at = 0; i < argc; at += lens[i++])
		argv[i] = (struct request_arg){.data = lens[i] ? bytes.data + at : "", .len = lens[i]};
	struct parked *p = parked_new(argv, argc);
	if (bytes.data)
		memset(bytes.data, '#', bytes.len);
	buf_free(&bytes);
	memset(argv, 0xff, argc * sizeof(*argv));
	free(argv);
	ck_assert_ptr_nonnull(p);
	return p;
}

START_TEST(parked_request_has_bytes_of_its_own)
{
	static const char *const words[] = {"SET", "a key", "", "v\0\r\nx", "\xff"};
	static const size_t lens[] = {3, 5, 0, 5, 1};
	struct parked *p = park(words, lens, LEN(words));
	ck_assert_uint_eq(p->argc, LEN(words));
	ck_assert_uint_eq(p->len, 14);
	ck_assert_ptr_null(p->next);
	for (size_t i = 0; i < LEN(words); i++) {
		ck_assert_uint_eq(p->argv[i].len, lens[i]);
		ck_assert_ptr_nonnull(p->argv[i].data);
		ck_assert_ptr_null(p->argv[i].owner);
		ck_assert(lens[i] == 0 || memcmp(p->argv[i].data, words[i], lens[i]) == 0);
	}
	parked_free(p);
}
END_TEST

START_TEST(owner_is_referred_to_until_the_request_is_freed)
{
	struct value *v = value_copy("a large value", 13), *w = value_copy("another", 7);
	struct request_arg argv[] = {{.data = "SET", .len = 3}, {.data = v->data, .len = v->len, .owner = v},
		{.data = "k", .len = 1}, {.data = w->data, .len = w->len, .owner = w}, {.data = v->data, .len = v->len, .owner = v}};
	value_ref(v);                                   /* an owner is one reference, each time it is named */
	struct parked *p = parked_new(argv, LEN(argv));
	ck_assert_uint_eq(v->refs, 4);
	ck_assert_uint_eq(w->refs, 2);
	ck_assert_uint_eq(p->len, 3 + 13 + 1 + 7 + 13);
	ck_assert_ptr_eq(p->argv[1].owner, v);
	ck_assert_ptr_eq(p->argv[1].data, v->data);     /* it is not copied */
	ck_assert_ptr_ne(p->argv[2].data, argv[2].data);
	ck_assert(memcmp(p->argv[2].data, "k", 1) == 0);
	parked_release_owners(argv, LEN(argv));         /* as whoever had the request does then */
	ck_assert(v->refs == 2 && w->refs == 1);
	ck_assert(memcmp(p->argv[3].data, "another", 7) == 0);
	value_ref(w);
	parked_free(p);
	ck_assert_uint_eq(w->refs, 1);
	value_unref(w);
}
END_TEST

START_TEST(many_small_arguments_are_kept_in_order)
{
	enum { ARGS = 100000 };
	const char **words = xcalloc(ARGS, sizeof(*words));
	size_t *lens = xcalloc(ARGS, sizeof(*lens));
	for (size_t i = 0; i < ARGS; i++) {
		words[i] = "0123456789" + i % 10;
		lens[i] = i % 11 < 10 - i % 10 ? i % 11 : 10 - i % 10;
	}
	struct parked *p = park(words, lens, ARGS);
	for (size_t i = 0; i < ARGS; i++)
		if (p->argv[i].len != lens[i] || memcmp(p->argv[i].data, words[i], lens[i]) != 0)
			ck_abort_msg("argument %zu has changed", i);
	parked_free(p);
	free(words);
	free(lens);
}
END_TEST

START_TEST(nothing_may_be_freed)
{
	parked_free(NULL);
	parked_release_owners(NULL, 0);
	struct parked *p = parked_new(NULL, 0);
	ck_assert_uint_eq(p->argc, 0);
	ck_assert_uint_eq(p->len, 0);
	parked_free(p);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("parked");
	TCase *tc = tcase_create("requests");
	tcase_add_test(tc, parked_request_has_bytes_of_its_own);
	tcase_add_test(tc, owner_is_referred_to_until_the_request_is_freed);
	tcase_add_test(tc, many_small_arguments_are_kept_in_order);
	tcase_add_test(tc, nothing_may_be_freed);
	suite_add_tcase(suite, tc);
	return rig_main(suite);
}
