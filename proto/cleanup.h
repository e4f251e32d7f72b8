/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ownership by scope: a variable declared with one of these attributes releases what it holds when
 * it goes out of scope; take_fd() and take_ptr() hand the value over instead. Descriptors start and
 * end as -EBADF, so that a forgotten one fails loudly.
 */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Closes fd unless it is negative; keeps errno. Returns -EBADF: fd = fd_close(fd). */
static inline int fd_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		(void)close(fd);
		errno = saved;
	}
	return -EBADF;
}

static inline void fd_closep(int *fd)
{
	*fd = fd_close(*fd);
}

/* Gives the descriptor to the caller and leaves -EBADF behind. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -EBADF;
	return taken;
}

static inline void free_ptrp(void *ptr)
{
	free(*(void **)ptr);
}

static inline void file_closep(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

/* Gives the pointer to the caller and leaves NULL behind. */
#define take_ptr(ptr)                                                                              \
	({                                                                                         \
		__typeof__(ptr) *taken_at_ = &(ptr);                                               \
		__typeof__(ptr) taken_ = *taken_at_;                                               \
		*taken_at_ = NULL;                                                                 \
		taken_;                                                                            \
	})

#define AUTO_CLOSE       __attribute__((cleanup(fd_closep)))
#define AUTO_FREE        __attribute__((cleanup(free_ptrp)))
#define AUTO_FILE        __attribute__((cleanup(file_closep)))
#define AUTO(destructor) __attribute__((cleanup(destructor)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
