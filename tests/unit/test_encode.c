/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What encode.c can and libprotobuf-c cannot; that both write the same bytes is in
 * test_verify_fuzz.c. */
/* needs: gen/verify_test.pb-c.c */
#include "tests/unit/unit.h"

#include "proto/encode.h"
#include "verify_test.pb-c.h"

static struct arena arena;

static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, 1u << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static VerifyTest__Tree *tree_of(const char *name)
{
	VerifyTest__Tree *tree = arena_alloc(&arena, sizeof(*tree));

	assert_non_null(tree);
	verify_test__tree__init(tree);
	tree->name = (char *)name;
	return tree;
}

/* As the library packs the plain one. */
static void assert_encodes_as(const VerifyTest__Tree *tree, const VerifyTest__Tree *plain)
{
	size_t len, wanted = verify_test__tree__get_packed_size(plain);
	uint8_t *want = arena_alloc(&arena, wanted + 1), *got;

	assert_non_null(want);
	(void)verify_test__tree__pack(plain, want);
	got = encode_in_arena(&arena, &tree->base, &len);
	assert_non_null(got);
	assert_int_equal(len, wanted);
	assert_memory_equal(got, want, len);
}

UNIT(a_message_in_place_of_bytes)
{
	VerifyTest__Tree *outer = tree_of("outer"), *plain = tree_of("outer"),
			 *inner = tree_of("inner");
	uint8_t packed[64];

	plain->has_blob = true;
	plain->blob.len = verify_test__tree__pack(inner, packed);
	plain->blob.data = packed;
	outer->has_blob = true;
	outer->blob = encode_as_bytes(&inner->base);
	assert_encodes_as(outer, plain);
	/* One without content is no bytes, and there all the same. */
	plain->blob.len = 0;
	outer->blob = encode_as_bytes(&tree_of(NULL)->base);
	assert_encodes_as(outer, plain);
}

UNIT(bytes_in_place_of_messages)
{
	VerifyTest__Tree *outer = tree_of("outer"), *plain = tree_of("outer");
	VerifyTest__Tree *inner[] = {tree_of("a"), tree_of(NULL), tree_of("c")}, *stand_in[3];
	struct encoded_message encoded[3];

	for (int i = 0; i < 3; i++) {
		size_t len;
		uint8_t *bytes = encode_in_arena(&arena, &inner[i]->base, &len);

		assert_non_null(bytes);
		encoded_message_init(&encoded[i], bytes, len);
		stand_in[i] = (VerifyTest__Tree *)(void *)&encoded[i].base;
	}
	plain->n_children = outer->n_children = 3;
	plain->children = inner;
	outer->children = stand_in;
	plain->child = inner[0];
	outer->child = stand_in[0];
	assert_encodes_as(outer, plain);
}

UNIT(messages_of_any_size)
{
	static char name[200000];
	struct arena little;
	uint8_t *bytes;
	size_t len;

	memset(name, 'n', sizeof(name) - 1);
	for (size_t n = 0; n < sizeof(name) - 1; n += 1 + n / 3) {
		VerifyTest__Tree *tree;

		arena_reset(&arena);
		tree = tree_of(name + sizeof(name) - 1 - n);
		assert_encodes_as(tree, tree);
		bytes = encode_new(&tree->base, &len);
		assert_non_null(bytes);
		assert_int_equal(len, verify_test__tree__get_packed_size(tree));
		assert_memory_equal(bytes + len - n, tree->name, n);
		free(bytes);
	}
	arena_init(&little, 65536);
	assert_null(encode_in_arena(&little, &tree_of(name)->base, &len));
	assert_true(little.used <= little.cap);
	arena_done(&little);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_message_in_place_of_bytes),
		RUN(bytes_in_place_of_messages),
		RUN(messages_of_any_size),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
