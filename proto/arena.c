/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE  4096
#define CHUNK_ALIGN _Alignof(max_align_t)

struct arena_chunk {
	struct arena_chunk *next;
	size_t size; /* of data */
	size_t used;
	_Alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *arena, size_t cap)
{
	*arena = (struct arena){.cap = cap};
}

static void free_chunks(struct arena *arena)
{
	struct arena_chunk *next;

	for (struct arena_chunk *chunk = arena->chunks; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	arena->chunks = NULL;
	arena->used = 0;
}

void arena_reset(struct arena *arena)
{
	struct arena_chunk **link = &arena->chunks, *keep;

	while (*link && (*link)->size != CHUNK_SIZE)
		link = &(*link)->next;
	keep = *link;
	if (keep)
		*link = keep->next;
	free_chunks(arena);
	if (keep) {
		keep->next = NULL;
		keep->used = 0;
		arena->chunks = keep;
		arena->used = keep->size;
	}
}

void arena_done(struct arena *arena)
{
	free_chunks(arena);
}

void *arena_take(struct arena *arena, size_t n)
{
	struct arena_chunk *chunk = arena->chunks;
	size_t size;
	void *memory;

	if (n > arena->cap)
		return NULL;
	n = (n + CHUNK_ALIGN - 1) & ~(CHUNK_ALIGN - 1);
	if (!chunk || chunk->size - chunk->used < n) {
		size = n > CHUNK_SIZE ? n : CHUNK_SIZE;
		if (size > arena->cap - arena->used)
			return NULL;
		chunk = malloc(sizeof(*chunk) + size);
		if (!chunk)
			return NULL;
		chunk->size = size;
		chunk->used = 0;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
		arena->used += size;
	}
	memory = chunk->data + chunk->used;
	chunk->used += n;
	return memory;
}

void *arena_alloc(struct arena *arena, size_t n)
{
	void *memory = arena_take(arena, n);

	return memory ? memset(memory, 0, n) : NULL;
}

void *arena_copy(struct arena *arena, const void *data, size_t n)
{
	unsigned char *copy = n < SIZE_MAX ? arena_take(arena, n + 1) : NULL;

	if (!copy)
		return NULL;
	if (n > 0)
		memcpy(copy, data, n);
	copy[n] = '\0';
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_copy(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args, again;
	char *text = NULL;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	if (n >= 0)
		text = arena_alloc(arena, (size_t)n + 1);
	if (text)
		(void)vsnprintf(text, (size_t)n + 1, format, again);
	va_end(again);
	va_end(args);
	return text;
}
