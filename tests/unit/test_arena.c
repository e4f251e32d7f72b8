/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory of one request: the cap, zeroes, what a reset keeps. */
#include "tests/unit/unit.h"

#include "proto/arena.h"

#define CHUNK 4096

static bool is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

UNIT(cap_is_exact)
{
	struct arena arena;

	arena_init(&arena, 2 * CHUNK);
	assert_non_null(arena_alloc(&arena, CHUNK));
	assert_non_null(arena_alloc(&arena, CHUNK));
	assert_int_equal(arena.used, 2 * CHUNK);
	assert_null(arena_alloc(&arena, 1));
	arena_done(&arena);
	assert_int_equal(arena.used, 0);
}

UNIT(large_blocks_count_as_they_are)
{
	struct arena arena;

	arena_init(&arena, 100000);
	assert_null(arena_alloc(&arena, 100001));
	assert_non_null(arena_alloc(&arena, 100000 - CHUNK));
	assert_non_null(arena_alloc(&arena, CHUNK));
	assert_null(arena_alloc(&arena, 16));
	arena_done(&arena);
}

UNIT(rounding_up_does_not_pass_the_cap)
{
	struct arena arena;

	arena_init(&arena, CHUNK + 1);
	assert_null(arena_alloc(&arena, CHUNK + 1));
	assert_null(arena_alloc(&arena, SIZE_MAX));
	assert_null(arena_alloc(&arena, SIZE_MAX - 8));
	assert_non_null(arena_alloc(&arena, CHUNK));
	arena_done(&arena);
}

UNIT(a_cap_below_a_chunk_holds_nothing)
{
	struct arena arena;

	arena_init(&arena, CHUNK - 1);
	assert_null(arena_alloc(&arena, 1));
	arena_done(&arena);
}

UNIT(memory_is_zeroed_also_the_second_time)
{
	struct arena arena;

	arena_init(&arena, 1 << 20);
	for (int round = 0; round < 3; round++) {
		for (size_t n = 1; n < 6000; n += 97) {
			uint8_t *at = arena_alloc(&arena, n);

			assert_non_null(at);
			assert_true(is_zero(at, n));
			memset(at, 0xff, n);
		}
		arena_reset(&arena);
	}
	arena_done(&arena);
}

UNIT(blocks_are_aligned_and_apart)
{
	struct arena arena;
	uint8_t *last = NULL;

	arena_init(&arena, 1 << 20);
	for (size_t n = 1; n < 100; n++) {
		uint8_t *at = arena_alloc(&arena, n);

		assert_int_equal((uintptr_t)at % _Alignof(max_align_t), 0);
		if (last)
			assert_true(is_zero(last, n - 1) && at != last);
		last = at;
	}
	arena_done(&arena);
}

UNIT(reset_keeps_one_small_chunk)
{
	struct arena arena;
	void *first;

	arena_init(&arena, 1 << 20);
	first = arena_alloc(&arena, 10);
	assert_non_null(arena_alloc(&arena, 50000));
	assert_non_null(arena_alloc(&arena, 50000));
	arena_reset(&arena);
	assert_int_equal(arena.used, CHUNK);
	assert_ptr_equal(arena_alloc(&arena, 10), first);
	arena_done(&arena);
}

UNIT(reset_keeps_no_large_chunk)
{
	struct arena arena;

	arena_init(&arena, 1 << 20);
	assert_non_null(arena_alloc(&arena, 50000));
	arena_reset(&arena);
	assert_int_equal(arena.used, 0);
	arena_reset(&arena);
	arena_done(&arena);
}

UNIT(the_whole_cap_is_there_again_after_a_reset)
{
	struct arena arena;

	arena_init(&arena, 4 * CHUNK);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 4; i++)
			assert_non_null(arena_alloc(&arena, CHUNK));
		assert_null(arena_alloc(&arena, 1));
		arena_reset(&arena);
	}
	arena_done(&arena);
}

UNIT(copies_end_in_a_nul_byte)
{
	struct arena arena;

	arena_init(&arena, 1 << 20);
	assert_string_equal(arena_copy(&arena, "abcdef", 3), "abc");
	assert_string_equal(arena_copy(&arena, NULL, 0), "");
	assert_string_equal(arena_strdup(&arena, "text"), "text");
	assert_string_equal(arena_printf(&arena, "%s-%d", "n", 7), "n-7");
	assert_int_equal(strlen(arena_printf(&arena, "%5000d", 1)), 5000);
	arena_done(&arena);
}

UNIT(copies_over_the_cap_are_null)
{
	struct arena arena;
	char text[CHUNK + 1];

	memset(text, 'a', CHUNK);
	text[CHUNK] = '\0';
	arena_init(&arena, CHUNK);
	assert_null(arena_strdup(&arena, text));
	assert_null(arena_printf(&arena, "%s", text));
	assert_non_null(arena_strdup(&arena, text + 1));
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(cap_is_exact),
		RUN(large_blocks_count_as_they_are),
		RUN(rounding_up_does_not_pass_the_cap),
		RUN(a_cap_below_a_chunk_holds_nothing),
		RUN(memory_is_zeroed_also_the_second_time),
		RUN(blocks_are_aligned_and_apart),
		RUN(reset_keeps_one_small_chunk),
		RUN(reset_keeps_no_large_chunk),
		RUN(the_whole_cap_is_there_again_after_a_reset),
		RUN(copies_end_in_a_nul_byte),
		RUN(copies_over_the_cap_are_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
