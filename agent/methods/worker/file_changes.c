/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/file_changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/methods/call.h"
#include "proto/cleanup.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/utf8.h"

#define CHANGES_MAX 4096
#define BYTES_MAX   (512u << 10)
#define KINDS       8 /* more than enum FileChangeKind has */

struct file_change {
	struct file_change *next;       /* in their order */
	struct file_change *next_alike; /* in the bucket */
	char *old;                      /* owned; NULL: none */
	uint8_t kinds;                  /* a bit for each */
	bool folder;
	size_t len;
	char path[];
};

struct file_watch_problem {
	struct file_watch_problem *next;
	int sys_errno;
	const char *message; /* static */
	char path[];
};

static uint32_t bucket_of(const char *path, size_t len)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)path[i]) * 16777619u;
	return hash % FILE_CHANGES_BUCKETS;
}

static void forget_changes(struct file_changes *changes)
{
	struct file_change *change = changes->first, *next;

	for (; change; change = next) {
		next = change->next;
		free(change->old);
		free(change);
	}
	memset(changes->buckets, 0, sizeof(changes->buckets));
	changes->first = NULL;
	changes->last = NULL;
	changes->n = 0;
	changes->bytes = 0;
}

static void forget_problems(struct file_changes *changes)
{
	struct file_watch_problem *problem = changes->problems, *next;

	for (; problem; problem = next) {
		next = problem->next;
		free(problem);
	}
	changes->problems = NULL;
	changes->n_problems = changes->more_problems = 0;
}

void file_changes_done(struct file_changes *changes)
{
	forget_changes(changes);
	forget_problems(changes);
}

void file_changes_overflow(struct file_changes *changes, uint64_t n)
{
	bool known = n > 0 && (!changes->overflow || changes->lost > 0);

	changes->lost = known ? changes->lost + changes->n + n : 0;
	changes->overflow = true;
	forget_changes(changes);
}

static struct file_change *find(
	const struct file_changes *changes, const char *path, size_t len, uint32_t bucket)
{
	struct file_change *change = changes->buckets[bucket];

	while (change && (change->len != len || memcmp(change->path, path, len) != 0))
		change = change->next_alike;
	return change;
}

static struct file_change *make(
	struct file_changes *changes, const char *path, size_t len, uint32_t bucket)
{
	struct file_change *change;

	if (changes->n >= CHANGES_MAX || changes->bytes + len > BYTES_MAX)
		return NULL;
	change = calloc(1, sizeof(*change) + len + 1);
	if (!change)
		return NULL;
	change->len = len;
	memcpy(change->path, path, len + 1);
	change->next_alike = changes->buckets[bucket];
	changes->buckets[bucket] = change;
	if (!changes->first)
		changes->first = change;
	else
		*changes->last = change;
	changes->last = &change->next;
	changes->n++;
	changes->bytes += len;
	return change;
}

/* Where it was: of many moves onto one path the last one. */
static void note_old(struct file_changes *changes, struct file_change *change, const char *old)
{
	size_t before = change->old ? strlen(change->old) : 0, len = strlen(old);

	free(change->old);
	changes->bytes -= before;
	change->old = changes->bytes + len <= BYTES_MAX ? strdup(old) : NULL;
	changes->bytes += change->old ? len : 0;
}

void file_changes_add(struct file_changes *changes, const char *path,
	Postern__V1__FileChangeKind kind, bool folder, const char *old)
{
	size_t len = strlen(path);
	uint32_t bucket = bucket_of(path, len);
	struct file_change *change = find(changes, path, len, bucket);

	/* Who was told to look again at all of it will see this one too. */
	if (!change && changes->overflow) {
		changes->lost += changes->lost > 0;
		return;
	}
	if (!change)
		change = make(changes, path, len, bucket);
	if (!change) {
		file_changes_overflow(changes, 1);
		return;
	}
	change->kinds |= (uint8_t)(1u << kind);
	change->folder = folder;
	if (old)
		note_old(changes, change, old);
}

void file_changes_problem(
	struct file_changes *changes, const char *path, int sys_errno, const char *message)
{
	size_t size = strlen(path) + 1;
	struct file_watch_problem *problem = changes->n_problems < FILE_CHANGES_PROBLEMS
						     ? malloc(sizeof(*problem) + size)
						     : NULL;

	if (!problem) {
		changes->more_problems++;
		return;
	}
	problem->sys_errno = sys_errno;
	problem->message = message;
	memcpy(problem->path, path, size);
	problem->next = changes->problems;
	changes->problems = problem;
	changes->n_problems++;
}

int file_record_put(struct buffer *out, Postern__V1__FilesWatchRecord__KindCase kind, void *message)
{
	Postern__V1__FilesWatchRecord record = POSTERN__V1__FILES_WATCH_RECORD__INIT;

	record.kind_case = kind;
	/* All members of the union are pointers to messages. */
	record.change = message;
	return frame_append(out, &record.base, WATCH_RECORD_MAX);
}

static int put_change(struct buffer *out, struct file_change *change)
{
	Postern__V1__FileChange message = POSTERN__V1__FILE_CHANGE__INIT;
	Postern__V1__FileChangeKind kinds[KINDS];

	message.has_path = message.has_folder = true;
	message.path = (ProtobufCBinaryData){change->len, (uint8_t *)change->path};
	message.folder = change->folder;
	message.kinds = kinds;
	for (unsigned int kind = 0; kind < KINDS; kind++)
		if (change->kinds & (1u << kind))
			kinds[message.n_kinds++] = (Postern__V1__FileChangeKind)kind;
	message.has_old_path = change->old != NULL;
	if (change->old)
		message.old_path =
			(ProtobufCBinaryData){strlen(change->old), (uint8_t *)change->old};
	return file_record_put(out, POSTERN__V1__FILES_WATCH_RECORD__KIND_CHANGE, &message);
}

static int put_problem(struct buffer *out, const char *path, int sys_errno, const char *text)
{
	Postern__V1__FilesWatchProblem message = POSTERN__V1__FILES_WATCH_PROBLEM__INIT;

	message.has_path = path != NULL;
	if (path)
		message.path = (ProtobufCBinaryData){strlen(path), (uint8_t *)path};
	message.has_sys_errno = sys_errno != 0;
	message.sys_errno = sys_errno;
	message.message = (char *)(text ? text : strerror(sys_errno));
	return file_record_put(out, POSTERN__V1__FILES_WATCH_RECORD__KIND_PROBLEM, &message);
}

static int put_overflow(struct buffer *out, uint64_t lost)
{
	Postern__V1__FilesWatchOverflow message = POSTERN__V1__FILES_WATCH_OVERFLOW__INIT;

	message.has_lost = lost > 0;
	message.lost = lost;
	return file_record_put(out, POSTERN__V1__FILES_WATCH_RECORD__KIND_OVERFLOW, &message);
}

int file_changes_put(struct file_changes *changes, struct buffer *out)
{
	int r = changes->overflow ? put_overflow(out, changes->lost) : 0;

	changes->overflow = false;
	changes->lost = 0;
	for (struct file_watch_problem *problem = changes->problems; r == 0 && problem;
		problem = problem->next)
		r = put_problem(out, problem->path, problem->sys_errno, problem->message);
	if (r == 0 && changes->more_problems > 0)
		r = put_problem(out, NULL, 0, "more folders are not watched than are named");
	for (struct file_change *change = changes->first; r == 0 && change; change = change->next)
		r = put_change(out, change);
	forget_changes(changes);
	forget_problems(changes);
	return r;
}
