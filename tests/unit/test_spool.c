/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last bytes of a stream: what is kept, what is dropped, and in which order. */
/* needs: agent/job/spool.c */
#include "tests/unit/unit.h"

#include "agent/job/spool.h"

#define SIZE 10

/* Byte n of the stream. */
static uint8_t byte_of(uint64_t n)
{
	return (uint8_t)(n * 7 + 3);
}

static void add(struct spool *spool, size_t len)
{
	uint8_t bytes[64];

	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_of(spool->total + i);
	spool_add(spool, bytes, len);
}

/* All that is kept, read in pieces. */
static void check(const struct spool *spool, size_t piece)
{
	uint64_t at = spool_dropped(spool);
	uint8_t bytes[64];
	size_t n;

	while ((n = spool_read(spool, at, bytes, piece)) > 0) {
		for (size_t i = 0; i < n; i++)
			assert_int_equal(bytes[i], byte_of(at + i));
		at += n;
	}
	assert_int_equal(at, spool->total);
}

UNIT(what_fits_is_kept)
{
	struct spool spool = {.size = SIZE};

	add(&spool, 4);
	add(&spool, 6);
	assert_int_equal(spool_dropped(&spool), 0);
	check(&spool, 64);
	check(&spool, 3);
	spool_done(&spool);
}

UNIT(the_oldest_goes_first)
{
	struct spool spool = {.size = SIZE};

	for (size_t len = 1; len <= 23; len++) {
		add(&spool, len);
		assert_int_equal(
			spool_dropped(&spool), spool.total > SIZE ? spool.total - SIZE : 0);
		check(&spool, 64);
		check(&spool, 1);
		check(&spool, 7);
	}
	spool_done(&spool);
}

UNIT(more_than_all_at_once)
{
	struct spool spool = {.size = SIZE};

	add(&spool, 3);
	add(&spool, 64);
	assert_int_equal(spool.total, 67);
	assert_int_equal(spool_dropped(&spool), 57);
	check(&spool, 64);
	spool_done(&spool);
}

UNIT(nothing_is_kept_without_room)
{
	struct spool spool = {0};
	uint8_t byte;

	add(&spool, 5);
	assert_int_equal(spool.total, 5);
	assert_int_equal(spool_dropped(&spool), 5);
	assert_int_equal(spool_read(&spool, 0, &byte, 1), 0);
	assert_null(spool.bytes);
	spool_done(&spool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(what_fits_is_kept),
		RUN(the_oldest_goes_first),
		RUN(more_than_all_at_once),
		RUN(nothing_is_kept_without_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
