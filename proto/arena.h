/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that lives as long as one request: allocated in a row, capped, freed all at once. Messages
 * are decoded into it, so that hostile bytes cannot make them take more than the cap.
 */
#pragma once

#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* newest first */
	size_t used;                /* bytes taken from the system */
	size_t cap;
};

/* An empty arena that will hold at most cap bytes. It must not be moved afterwards. */
void arena_init(struct arena *arena, size_t cap);

/* Frees everything but one small chunk, which is kept for the next request. */
void arena_reset(struct arena *arena);

/* Frees everything. */
void arena_done(struct arena *arena);

/* n zeroed bytes, aligned for any type, or NULL over the cap or without memory. */
void *arena_alloc(struct arena *arena, size_t n);

/* The same, not zeroed: for those who write all of it at once. */
void *arena_take(struct arena *arena, size_t n);

/* Copies of n bytes, and of a string; NULL as above. arena_copy() adds a NUL byte at the end. */
void *arena_copy(struct arena *arena, const void *data, size_t n);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_printf(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
