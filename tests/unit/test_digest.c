/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which library makes the digest of a large file: the faster one, and the digest is the same. */
/* needs: agent/methods/worker/digest.c agent/methods/worker/library.c */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <time.h>

#include "agent/methods/digest.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define LARGE  (UINT64_C(8) << 20) /* of which not all has to come */
#define PIECE  (32u << 10)
#define PIECES 20

static uint8_t piece[PIECE];
static int (*real)(void *context, const void *bytes, size_t len);

static int slow(void *context, const void *bytes, size_t len)
{
	(void)nanosleep(&(struct timespec){.tv_nsec = 3 * NSEC_PER_MSEC}, NULL);
	return real(context, bytes, len);
}

static void begin(struct digest *digest, const char *name, uint64_t size)
{
	const struct digest_algorithm *algorithm = digest_find(name);

	assert_non_null(algorithm);
	digest_begin(digest, algorithm, size);
}

/* Pieces that no block ends with. */
static void add_all(struct digest *digest)
{
	for (size_t i = 0; i < PIECES; i++) {
		memset(piece, (int)i, sizeof(piece));
		digest_add(digest, piece, sizeof(piece) - i);
	}
}

static void make(const char *name, uint64_t size, char text[DIGEST_TEXT_MAX])
{
	struct digest digest;

	begin(&digest, name, size);
	add_all(&digest);
	digest_end(&digest, text);
}

UNIT(a_large_file_has_the_digest_that_its_bytes_have)
{
	static const char *const names[] = {"sha256", "sha512", "sha384", "sha1", "md5", "rmd160"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char small[DIGEST_TEXT_MAX], large[DIGEST_TEXT_MAX];

		make(names[i], 0, small);
		make(names[i], LARGE, large);
		assert_string_equal(small, large);
	}
}

UNIT(a_small_file_opens_no_library)
{
	struct digest digest;

	begin(&digest, "sha256", PIECE);
	assert_int_equal(digest.works, 1);
}

/* The one at `slower` is made to be so; the other one goes on. */
static void check_choice(size_t slower)
{
	char expected[DIGEST_TEXT_MAX], text[DIGEST_TEXT_MAX];
	struct digest digest;
	int (*faster)(void *context, const void *bytes, size_t len);

	make("sha256", 0, expected);
	begin(&digest, "sha256", LARGE);
	if (digest.works < 2)
		skip(); /* there is no libcrypto here */
	faster = digest.work[1 - slower].functions.update;
	real = digest.work[slower].functions.update;
	digest.work[slower].functions.update = slow;
	add_all(&digest);
	assert_int_equal(digest.works, 1);
	assert_ptr_equal(digest.work[0].functions.update, faster);
	digest_end(&digest, text);
	assert_string_equal(text, expected);
}

UNIT(the_faster_library_goes_on)
{
	check_choice(0);
	check_choice(1);
}

/* Before anything is decided. */
UNIT(a_file_that_became_small_is_digested_too)
{
	char expected[DIGEST_TEXT_MAX], text[DIGEST_TEXT_MAX];
	struct digest digest;

	begin(&digest, "sha1", 0);
	digest_add(&digest, "abc", 3);
	digest_end(&digest, expected);
	assert_string_equal(expected, "a9993e364706816aba3e25717850c26c9cd0d89d");
	begin(&digest, "sha1", LARGE);
	digest_add(&digest, "abc", 3);
	digest_end(&digest, text);
	assert_string_equal(text, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(a_large_file_has_the_digest_that_its_bytes_have),
		RUN(a_small_file_opens_no_library),
		RUN(the_faster_library_goes_on),
		RUN(a_file_that_became_small_is_digested_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
