/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "proto/cleanup.h"

static bool wraps(uint64_t start, uint64_t size)
{
	return size == 0 || start + size < start;
}

/* Neither range wraps. */
static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static int check_spec(const struct memory *memory, const struct region_spec *spec)
{
	if (wraps(spec->gpa, spec->size) || wraps(spec->uva, spec->size) ||
		wraps(spec->offset, spec->size))
		return -EINVAL;
	if (memory->count == MEMORY_REGIONS_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < memory->count; i++) {
		const struct region_spec *other = &memory->regions[i].spec;

		if (overlap(spec->gpa, spec->size, other->gpa, other->size) ||
			overlap(spec->uva, spec->size, other->uva, other->size))
			return -EINVAL;
	}
	return 0;
}

int memory_add(struct memory *memory, const struct region_spec *spec, int fd)
{
	uint64_t end = spec->offset + spec->size;
	struct stat st;
	void *map;
	int r;

	r = check_spec(memory, spec);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < end || end > SIZE_MAX)
		return -EINVAL;
	/* From offset 0, because a file of huge pages can be mapped only at their multiples; the
	 * bytes before the region cost address space alone. */
	map = mmap(NULL, (size_t)end, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	(void)madvise(map, (size_t)end, MADV_DONTDUMP);
	memory->regions[memory->count++] = (struct region){
		.spec = *spec,
		.base = (uint8_t *)map + spec->offset,
		.map = map,
		.map_len = (size_t)end,
	};
	return 0;
}

int memory_remove(struct memory *memory, const struct region_spec *spec)
{
	for (unsigned i = 0; i < memory->count; i++) {
		struct region *region = &memory->regions[i];

		if (region->spec.gpa != spec->gpa || region->spec.uva != spec->uva ||
			region->spec.size != spec->size)
			continue;
		(void)munmap(region->map, region->map_len);
		*region = memory->regions[--memory->count];
		memory->recent = 0;
		return 0;
	}
	return -ENOENT;
}

void memory_clear(struct memory *memory)
{
	while (memory->count > 0) {
		struct region *region = &memory->regions[--memory->count];

		(void)munmap(region->map, region->map_len);
	}
	memory->recent = 0;
	memory->lost = 0;
}

static bool region_holds(const struct region *region, uint64_t gpa)
{
	return gpa >= region->spec.gpa && gpa - region->spec.gpa < region->spec.size;
}

size_t memory_at(struct memory *memory, uint64_t gpa, uint64_t len, void **ret_ptr)
{
	const struct region *region = &memory->regions[memory->recent];
	uint64_t offset, rest;

	if (memory->count == 0)
		return 0;
	if (!region_holds(region, gpa)) {
		unsigned i = 0;

		while (i < memory->count && !region_holds(&memory->regions[i], gpa))
			i++;
		if (i == memory->count)
			return 0;
		memory->recent = i;
		region = &memory->regions[i];
	}
	offset = gpa - region->spec.gpa;
	rest = region->spec.size - offset;
	*ret_ptr = region->base + offset;
	return (size_t)(len < rest ? len : rest);
}

int memory_read(struct memory *memory, uint64_t gpa, void *dst, size_t len)
{
	uint8_t *to = dst;

	while (len > 0) {
		void *from;
		size_t n = memory_at(memory, gpa, len, &from);

		if (n == 0)
			return -EFAULT;
		memory_fetch(to, from, n);
		to += n;
		len -= n;
		gpa += n; /* no wrap: a region's end does not */
	}
	return 0;
}

void *memory_at_uva(struct memory *memory, uint64_t uva, uint64_t len, size_t align)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct region *region = &memory->regions[i];
		uint64_t offset = uva - region->spec.uva;
		uint8_t *ptr;

		if (uva < region->spec.uva || offset >= region->spec.size ||
			len > region->spec.size - offset)
			continue;
		ptr = region->base + offset;
		return (uintptr_t)ptr % align == 0 ? ptr : NULL;
	}
	return NULL;
}

static struct memory *guarded;

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	for (unsigned i = 0; guarded && i < guarded->count; i++) {
		const struct region *region = &guarded->regions[i];

		if (at < (uintptr_t)region->map || at - (uintptr_t)region->map >= region->map_len)
			continue;
		if (mmap(region->map, region->map_len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			    0) == MAP_FAILED)
			break;
		guarded->lost = 1;
		return;
	}
	/* Not ours: let the fault happen again with its usual end. */
	(void)signal(signal_number, SIG_DFL);
}

void memory_guard(struct memory *memory)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	guarded = memory;
	if (!memory) {
		(void)signal(SIGBUS, SIG_DFL);
		return;
	}
	(void)sigaction(SIGBUS, &action, NULL);
}
