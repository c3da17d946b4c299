/* keymap.c and fence.c: what stands on a key is found by it, and learns of its changes. */
#include "../../daemon/fence.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buf.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct key key_named(const char *name)
{
	return key_of(name, strlen(name));
}

/* ---- the map ---- */

static size_t count_of(const struct keymap *m, const struct key *key)
{
	size_t n = 0;
	for (struct keynode *node = keymap_find(m, key); node; node = keymap_next(node), n++)
		ck_assert(key_equal(&node->key, key));
	return n;
}

START_TEST(nodes_are_found_by_their_key)
{
	struct keymap *m = xcalloc(1, sizeof(*m));
	struct keynode a = {.key = key_named("a")}, b = {.key = key_named("b")};
	char other_bytes[] = "a";
	struct key a_again = key_named(other_bytes), c = key_named("c");
	ck_assert_ptr_null(keymap_find(m, &a.key));
	keymap_add(m, &a);
	keymap_add(m, &b);
	ck_assert_uint_eq(m->count, 2);
	ck_assert_ptr_eq(keymap_find(m, &a_again), &a);
	ck_assert_ptr_eq(keymap_find(m, &b.key), &b);
	ck_assert_ptr_null(keymap_find(m, &c));
	ck_assert_ptr_null(keymap_next(&a));
	keymap_remove(m, &a);
	ck_assert_ptr_null(keymap_find(m, &a_again));
	ck_assert_ptr_eq(keymap_find(m, &b.key), &b);
	keymap_remove(m, &b);
	ck_assert_uint_eq(m->count, 0);
	ck_assert_ptr_null(keymap_first(m));
	free(m);
}
END_TEST

START_TEST(several_nodes_may_have_one_key)
{
	struct keymap *m = xcalloc(1, sizeof(*m));
	struct keynode nodes[6];
	struct key a = key_named("a"), twin = {.data = "b", .len = 1, .hash = a.hash};  /* in the same chain */
	for (size_t i = 0; i < LEN(nodes); i++) {
		nodes[i].key = i % 2 ? twin : a;
		keymap_add(m, &nodes[i]);
	}
	ck_assert_uint_eq(count_of(m, &a), 3);
	ck_assert_uint_eq(count_of(m, &twin), 3);
	keymap_remove(m, &nodes[2]);
	keymap_remove(m, &nodes[5]);
	ck_assert_uint_eq(count_of(m, &a), 2);
	ck_assert_uint_eq(count_of(m, &twin), 2);
	free(m);
}
END_TEST

/* Each node that is in comes exactly once, in whatever order. */
static void check_walk(const struct keymap *m, const struct keynode *nodes, const bool *is_in, size_t n)
{
	unsigned char *seen = xcalloc(n, 1);
	size_t n_seen = 0;
	for (struct keynode *node = keymap_first(m); node; node = keymap_after(m, node), n_seen++)
		if (seen[node - nodes]++ || !is_in[node - nodes])
			ck_abort_msg("node %td comes twice, or was removed", node - nodes);
	ck_assert_uint_eq(n_seen, m->count);
	free(seen);
}

START_TEST(walk_meets_every_node_once)
{
	enum { NODES = 5000 };
	struct keymap *m = xcalloc(1, sizeof(*m));
	struct keynode *nodes = xcalloc(NODES, sizeof(*nodes));
	bool *is_in = xcalloc(NODES, sizeof(*is_in));
	unsigned seed = 1;
	char name[NODES][8];
	for (size_t i = 0; i < NODES; i++) {
		nodes[i].key = key_of(name[i], (size_t)snprintf(name[i], sizeof(name[i]), "%zu", i / 2));
		keymap_add(m, &nodes[i]);
		is_in[i] = true;
	}
	check_walk(m, nodes, is_in, NODES);
	for (size_t i = 0; i < NODES; i++) {
		if (rand_r(&seed) % 3)
			continue;
		keymap_remove(m, &nodes[i]);
		is_in[i] = false;
	}
	check_walk(m, nodes, is_in, NODES);
	for (size_t i = 0; i < NODES; i++)
		if (count_of(m, &nodes[i].key) != (size_t)is_in[i & ~1u] + is_in[i | 1])
			ck_abort_msg("key %zu", i / 2);
	free(is_in);
	free(nodes);
	free(m);
}
END_TEST

/* ---- fences ---- */

START_TEST(fence_is_whole_when_nothing_changed)
{
	struct fences *all = xcalloc(1, sizeof(*all));
	struct key a = key_named("a"), b = key_named("b");
	struct fence f;
	fence_set(all, &f, &a);
	fence_break(all, &b);
	ck_assert(fence_lift(all, &f));
	ck_assert_uint_eq(all->map.count, 0);
	free(all);
}
END_TEST

START_TEST(change_breaks_every_fence_on_its_key_and_no_other)
{
	struct fences *all = xcalloc(1, sizeof(*all));
	struct key a = key_named("a"), b = key_named("b"), twin = {.data = "c", .len = 1, .hash = a.hash};
	struct fence on_a[3], on_b, on_twin;
	for (size_t i = 0; i < LEN(on_a); i++)
		fence_set(all, &on_a[i], &a);
	fence_set(all, &on_b, &b);
	fence_set(all, &on_twin, &twin);
	fence_break(all, &a);
	fence_break(all, &a);
	for (size_t i = 0; i < LEN(on_a); i++)
		ck_assert(!fence_lift(all, &on_a[i]));
	ck_assert(fence_lift(all, &on_b));
	ck_assert(fence_lift(all, &on_twin));
	free(all);
}
END_TEST

START_TEST(fence_set_after_a_change_is_whole)
{
	struct fences *all = xcalloc(1, sizeof(*all));
	struct key a = key_named("a");
	struct fence early, late;
	fence_set(all, &early, &a);
	fence_break(all, &a);
	fence_set(all, &late, &a);
	ck_assert(fence_lift(all, &late));
	ck_assert(!fence_lift(all, &early));
	fence_set(all, &early, &a);             /* the same struct again */
	ck_assert(fence_lift(all, &early));
	free(all);
}
END_TEST

static bool begins_like(void *arg, const struct key *key)
{
	const char *prefix = arg;
	return key->len >= strlen(prefix) && memcmp(key->data, prefix, strlen(prefix)) == 0;
}

START_TEST(change_of_many_keys_breaks_those_that_match)
{
	struct fences *all = xcalloc(1, sizeof(*all));
	static const char *const names[] = {"p:1", "p:2", "q:1", "p", "p:1"};
	static const bool broken[] = {true, true, false, false, true};
	struct fence fences[LEN(names)];
	struct key keys[LEN(names)];
	for (size_t i = 0; i < LEN(names); i++) {
		keys[i] = key_named(names[i]);
		fence_set(all, &fences[i], &keys[i]);
	}
	fence_break_matching(all, begins_like, "p:");
	for (size_t i = 0; i < LEN(names); i++)
		ck_assert_msg(fence_lift(all, &fences[i]) == !broken[i], "%s", names[i]);
	free(all);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fence");
	TCase *tc = tcase_create("fence");
	tcase_add_test(tc, nodes_are_found_by_their_key);
	tcase_add_test(tc, several_nodes_may_have_one_key);
	tcase_add_test(tc, walk_meets_every_node_once);
	tcase_add_test(tc, fence_is_whole_when_nothing_changed);
	tcase_add_test(tc, change_breaks_every_fence_on_its_key_and_no_other);
	tcase_add_test(tc, fence_set_after_a_change_is_whole);
	tcase_add_test(tc, change_of_many_keys_breaks_those_that_match);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
