/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the small shared parts have in common. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

/* A test without fixtures: UNIT(name) { ... }. */
#define UNIT(name)                                                                                 \
	static void test_##name(void **state);                                                     \
	static void name(void);                                                                    \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		(void)state;                                                                       \
		name();                                                                            \
	}                                                                                          \
	static void name(void)

#define RUN(name)                                                                                  \
	{                                                                                          \
#name, test_##name, NULL, NULL, NULL                                               \
	}

/* Numbers that look random and come again from the same seed (xorshift64*). */
struct dice {
	uint64_t state;
};

static inline uint64_t dice_roll(struct dice *dice)
{
	dice->state ^= dice->state >> 12;
	dice->state ^= dice->state << 25;
	dice->state ^= dice->state >> 27;
	return dice->state * UINT64_C(2685821657736338717);
}

/* 0 to n - 1. */
static inline uint64_t dice_below(struct dice *dice, uint64_t n)
{
	return (dice_roll(dice) >> 11) % n;
}

/* Seeded by POSTERN_SEED, else anew; the seed is printed, so that a failure can be played again. */
static inline struct dice dice_new(const char *what)
{
	const char *text = getenv("POSTERN_SEED");
	uint64_t seed = 0;

	if (text)
		seed = strtoull(text, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		abort();
	if (seed == 0)
		seed = 1;
	print_message("# %s: POSTERN_SEED=%llu\n", what, (unsigned long long)seed);
	return (struct dice){seed};
}

/* Memory that ends where the next page cannot be read. */
struct guarded {
	uint8_t *pages;
	size_t size; /* without the last page */
};

static inline struct guarded guarded_new(size_t most)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct guarded guarded = {.size = (most + page - 1) / page * page};

	guarded.pages = mmap(NULL, guarded.size + page, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(guarded.pages != MAP_FAILED);
	assert_int_equal(mprotect(guarded.pages + guarded.size, page, PROT_NONE), 0);
	return guarded;
}

/* A copy of the bytes right before the page that cannot be read. */
static inline uint8_t *guarded_copy(const struct guarded *guarded, const void *bytes, size_t len)
{
	uint8_t *at = guarded->pages + guarded->size - len;

	assert_true(len <= guarded->size);
	if (len > 0)
		memcpy(at, bytes, len);
	return at;
}

static inline void guarded_free(struct guarded *guarded)
{
	(void)munmap(guarded->pages, guarded->size + (size_t)sysconf(_SC_PAGESIZE));
}
