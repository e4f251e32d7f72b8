/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What files.watch has to tell: changes, one of each path however often it changed, and what went
 * wrong. What is kept is bounded: where it becomes too much all of it is dropped, and that there
 * was more is told in its place.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "files.pb-c.h"
#include "proto/buffer.h"

#define FILE_CHANGES_BUCKETS  1024
#define FILE_CHANGES_PROBLEMS 64 /* between two looks of the caller */

struct file_change;
struct file_watch_problem;

struct file_changes {
	struct file_change *buckets[FILE_CHANGES_BUCKETS];
	struct file_change *first, **last; /* in the order in which they came; last NULL: none */
	uint32_t n;
	size_t bytes;  /* of paths */
	bool overflow; /* since what is here was told last */
	uint64_t lost; /* of them; 0: not known */
	struct file_watch_problem *problems;
	uint32_t n_problems, more_problems;
};

/* A change of an absolute path; kind is one of those, folder: it is one; old: where it was (NULL:
 * nothing to say). */
void file_changes_add(struct file_changes *changes, const char *path,
	Postern__V1__FileChangeKind kind, bool folder, const char *old);

/* Changes were lost. n 0: nobody knows how many. What is here is dropped: all is to be looked at
 * again. */
void file_changes_overflow(struct file_changes *changes, uint64_t n);

/* A folder that is not watched, by its absolute path. */
void file_changes_problem(
	struct file_changes *changes, const char *path, int sys_errno, const char *message);

static inline bool file_changes_any(const struct file_changes *changes)
{
	return changes->n > 0 || changes->overflow || changes->n_problems > 0;
}

/* Puts all of it at the end of out, as records, and forgets it. 0 or -errno. */
int file_changes_put(struct file_changes *changes, struct buffer *out);

/* One record. 0 or -errno. */
int file_record_put(
	struct buffer *out, Postern__V1__FilesWatchRecord__KindCase kind, void *message);

/* Frees what it has. */
void file_changes_done(struct file_changes *changes);
