/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's memory as the front-end shares it: a few regions, each known by its guest physical
 * address (what descriptors hold) and by the front-end's own address (what SET_VRING_ADDR holds).
 * Every translation is checked against overflow and against the region's end.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MEMORY_REGIONS_MAX 32

/* A region as the vhost-user wire describes it, in bytes. */
struct region_spec {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t offset;
};

struct region {
	struct region_spec spec;
	uint8_t *base; /* the byte at spec.gpa */
	void *map;     /* what munmap() takes */
	size_t map_len;
};

struct memory {
	unsigned count;
	unsigned recent; /* the region that answered last */
	struct region regions[MEMORY_REGIONS_MAX];
	volatile sig_atomic_t lost; /* a mapped file shrank; see memory_guard() */
};

/* Maps a region of the file fd (borrowed) and adds it. Refuses, with -EINVAL, ranges that wrap,
 * overlap a known region, or reach past the end of the file. 0 or -errno. */
int memory_add(struct memory *memory, const struct region_spec *spec, int fd);

/* Unmaps the region with exactly this gpa, uva and size. 0, or -ENOENT. */
int memory_remove(struct memory *memory, const struct region_spec *spec);

/* Unmaps everything. */
void memory_clear(struct memory *memory);

/* Finds the bytes at guest physical address gpa. Returns how many of the len bytes are contiguous
 * here, at *ret_ptr; 0 when gpa is in no region. */
size_t memory_at(struct memory *memory, uint64_t gpa, uint64_t len, void **ret_ptr);

/* Copies len bytes that the guest may be writing to at this moment; the compiler cannot make a
 * second read of them afterwards. */
static inline void memory_fetch(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	__asm__ volatile("" : : : "memory");
}

/* Copies len bytes out of guest memory. 0, or -EFAULT when any byte is outside it. */
int memory_read(struct memory *memory, uint64_t gpa, void *dst, size_t len);

/* The len bytes at the front-end's address uva, all in one region and aligned to align bytes; NULL
 * otherwise. */
void *memory_at_uva(struct memory *memory, uint64_t uva, uint64_t len, size_t align);

/* Makes SIGBUS from a region whose file was truncated harmless: the region becomes anonymous memory
 * and memory->lost is set. At most one struct memory a process, which must stay valid; NULL ends
 * it. */
void memory_guard(struct memory *memory);
