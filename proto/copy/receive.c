/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/copy/copy.h"
#include "proto/copy/link.h"
#include "proto/copy/part.h"
#include "proto/copy/problem.h"

#define PATH_SIZE 4096

struct level {
	int fd; /* owned but for the first; -EBADF: it could not be made, all in it is left out */
	mode_t mode;
	int64_t mtime_ns;
	size_t path_len; /* of the folder above it */
};

struct receiver {
	struct copy_stream *stream;
	const struct copy_target *target;
	const struct copy_watch *watch;
	struct copy_counts *counts;
	struct level levels[COPY_DEPTH_MAX + 1];
	unsigned int depth;
	unsigned int things; /* that came into the target itself */
	char path[PATH_SIZE];
	size_t path_len;
	uint8_t *piece; /* owned; COPY_PIECE bytes */

	struct copy_check check;
	struct part part; /* its fd -EBADF: what comes is thrown away */
	mode_t mode;
	int64_t mtime_ns;
};

static struct level *here(struct receiver *receiver)
{
	return &receiver->levels[receiver->depth];
}

static int leave_out(struct receiver *receiver, int negative_errno, const char *message)
{
	return problem_say(receiver->stream, receiver->watch, receiver->counts, receiver->path,
		-negative_errno, message);
}

static int leave_out_errno(struct receiver *receiver, int r)
{
	if (r == -EISDIR || r == -ENOTEMPTY)
		return leave_out(receiver, r, "a folder of this name is there");
	if (r == -EBUSY)
		return leave_out(receiver, r, "another copy writes this file");
	if (r == -ENOTUNIQ)
		return leave_out(receiver, r,
			"a file that is not the copy's has the name .NAME.postern-part");
	return leave_out(receiver, r, strerror(-r));
}

/* The name under which something comes; what stands in receiver->path then is its path. 0; -EXDEV:
 * it is the second thing, where one was to get a new name. */
static int take_name(
	struct receiver *receiver, const ProtobufCBinaryData *name, char ret[NAME_MAX + 1])
{
	memcpy(ret, name->data, name->len);
	ret[name->len] = '\0';
	if (receiver->depth == 0 && receiver->target->rename) {
		if (receiver->things++ > 0)
			return -EXDEV;
		(void)snprintf(ret, NAME_MAX + 1, "%s", receiver->target->rename);
	}
	(void)snprintf(receiver->path + receiver->path_len,
		sizeof(receiver->path) - receiver->path_len, "%s%s", receiver->path_len ? "/" : "",
		ret);
	return 0;
}

/* ---- folders ---- */

/* Made, or there already; a link to one is none. */
static int enter(struct receiver *receiver, const char *name)
{
	struct level *above = here(receiver);
	int fd;

	if (above->fd < 0)
		return -EBADF;
	if (mkdirat(above->fd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(above->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int take_folder(struct receiver *receiver, const Postern__V1__CopyFolder *folder)
{
	char name[NAME_MAX + 1];
	size_t above = receiver->path_len;
	int r = take_name(receiver, &folder->name, name), fd;

	if (r < 0)
		return r;
	fd = enter(receiver, name);
	/* Of what is in a folder that was left out nothing more is said. */
	if (fd < 0 && fd != -EBADF)
		r = fd == -ENOTDIR || fd == -ELOOP
			    ? leave_out(receiver, fd, "something else of this name is there")
			    : leave_out_errno(receiver, fd);
	receiver->depth++;
	receiver->path_len = strlen(receiver->path);
	*here(receiver) = (struct level){.fd = fd < 0 ? -EBADF : fd,
		.mode = folder->mode & 0777,
		.mtime_ns = folder->mtime_ns,
		.path_len = above};
	return r;
}

/* What was sent of the folder at hand, and back to the one above. 0 or -errno. */
static int leave(struct receiver *receiver)
{
	struct level *level = here(receiver);
	struct timespec times[] = {{.tv_nsec = UTIME_OMIT},
		{.tv_sec = level->mtime_ns / 1000000000, .tv_nsec = level->mtime_ns % 1000000000}};
	int r = 0;

	if (level->fd >= 0 && (fchmod(level->fd, level->mode) < 0 ||
				      (times[1].tv_nsec >= 0 && futimens(level->fd, times) < 0)))
		r = -errno;
	level->fd = fd_close(level->fd);
	receiver->depth--;
	return r;
}

static int take_leave(struct receiver *receiver)
{
	size_t above = here(receiver)->path_len;
	int r = leave(receiver);

	if (r < 0)
		r = leave_out_errno(receiver, r);
	receiver->path_len = above;
	receiver->path[above] = '\0';
	return r;
}

/* ---- links ---- */

static int take_link(struct receiver *receiver, const Postern__V1__CopyLink *link)
{
	char name[NAME_MAX + 1], target[PATH_MAX];
	int r = take_name(receiver, &link->name, name);

	if (r < 0)
		return r;
	if (here(receiver)->fd < 0)
		return 0;
	if (!link_stays_inside(receiver->depth, (const char *)link->target.data, link->target.len))
		return leave_out(receiver, -ELOOP, "a link that points out of what is copied");
	memcpy(target, link->target.data, link->target.len);
	target[link->target.len] = '\0';
	r = link_make(here(receiver)->fd, name, target);
	return r < 0 ? leave_out_errno(receiver, r) : 0;
}

/* ---- files ---- */

static int answer_have(struct receiver *receiver, uint64_t have)
{
	Postern__V1__CopyHave answer = POSTERN__V1__COPY_HAVE__INIT;
	uint8_t digest[COPY_DIGEST_SIZE];
	int r;

	answer.has_bytes = true;
	if (have > 0 && part_digest(&receiver->part, have, digest) == 0) {
		answer.bytes = have;
		answer.has_digest = true;
		answer.digest = (ProtobufCBinaryData){.len = sizeof(digest), .data = digest};
	}
	r = copy_check_have(&receiver->check, &answer);
	if (r == 0)
		r = copy_put(receiver->stream, POSTERN__V1__COPY_RECORD__KIND_HAVE, &answer);
	return r < 0 ? r : copy_flush(receiver->stream);
}

/* A device, a socket, a FIFO, or a link to one: somebody uses it, and no file stands in for it. */
static bool is_special(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		(S_ISLNK(st.st_mode) && fstatat(dir, name, &st, 0) < 0))
		return false;
	return !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static int take_file(struct receiver *receiver, const Postern__V1__CopyFile *file)
{
	char name[NAME_MAX + 1];
	uint64_t have = 0;
	bool may_resume = file->may_resume;
	int r = take_name(receiver, &file->name, name);

	if (r < 0)
		return r;
	receiver->mode = file->mode & 0777;
	receiver->mtime_ns = file->mtime_ns;
	receiver->part.fd = -EBADF;
	if (here(receiver)->fd >= 0 && is_special(here(receiver)->fd, name)) {
		r = leave_out(receiver, -EEXIST,
			"a device, socket or FIFO is there, which is not replaced");
	} else if (here(receiver)->fd >= 0) {
		r = part_begin(
			&receiver->part, here(receiver)->fd, name, file->size, may_resume, &have);
		if (r < 0)
			r = leave_out_errno(receiver, r);
	}
	return r < 0 || !may_resume ? r : answer_have(receiver, have);
}

/* The file cannot be had; the rest of it is thrown away. */
static int give_up(struct receiver *receiver, int r)
{
	part_end(&receiver->part, false);
	return r == -EBADMSG ? r : leave_out_errno(receiver, r);
}

static int take_from(struct receiver *receiver, const Postern__V1__CopyFrom *from)
{
	int r;

	if (receiver->part.fd < 0)
		return 0;
	r = part_from(&receiver->part, from->offset);
	receiver->counts->resumed += r == 0 ? from->offset : 0;
	return r < 0 ? give_up(receiver, r) : 0;
}

static int take_piece(struct receiver *receiver, uint64_t offset, size_t len)
{
	int r;

	if (receiver->part.fd < 0)
		return 0;
	copy_digest_add(&receiver->part.digest, receiver->piece, len);
	r = part_write(&receiver->part, offset, receiver->piece, len);
	if (r < 0)
		return give_up(receiver, r);
	receiver->counts->bytes += len;
	return 0;
}

/* Whole pieces, since each is a write: what the socket has comes in parts. 0, or -errno with as
 * much as came before it. */
static int fill_piece(struct receiver *receiver, size_t len, size_t *ret_len)
{
	*ret_len = 0;
	while (*ret_len < len) {
		ssize_t n =
			copy_get_data(receiver->stream, receiver->piece + *ret_len, len - *ret_len);

		if (n < 0)
			return (int)n;
		*ret_len += (size_t)n;
	}
	return 0;
}

static int take_data(struct receiver *receiver, const Postern__V1__CopyData *data)
{
	uint64_t offset = data->offset;
	size_t left = data->length;

	copy_digest_add(&receiver->part.digest, &offset, sizeof(offset));
	while (left > 0) {
		size_t len;
		int r = fill_piece(receiver, left < COPY_PIECE ? left : COPY_PIECE, &len);
		int wrote = len > 0 ? take_piece(receiver, offset, len) : 0;

		if (r < 0 || wrote < 0)
			return r < 0 ? r : wrote;
		offset += len;
		left -= len;
	}
	if (receiver->watch->progress)
		receiver->watch->progress(receiver->watch->ctx, receiver->path,
			receiver->counts->bytes + receiver->counts->resumed);
	return 0;
}

static int take_end(struct receiver *receiver, const Postern__V1__CopyEnd *file_end)
{
	int r;

	if (receiver->part.fd < 0)
		return 0;
	if (file_end->broken) {
		/* The sender says why. */
		part_end(&receiver->part, false);
		return 0;
	}
	r = part_commit(&receiver->part, file_end->digest.data, receiver->mode, receiver->mtime_ns,
		receiver->target->sync);
	if (r == -EBADMSG)
		return leave_out(receiver, -EIO, "it is not what was sent: the digests differ");
	if (r < 0)
		return leave_out_errno(receiver, r);
	receiver->counts->files++;
	return 0;
}

/* ---- the whole ---- */

static int say_done(struct receiver *receiver)
{
	Postern__V1__CopyDone done = POSTERN__V1__COPY_DONE__INIT;
	int r;

	done.has_files = done.has_bytes = true;
	done.files = receiver->counts->files;
	done.bytes = receiver->counts->bytes;
	r = copy_put(receiver->stream, POSTERN__V1__COPY_RECORD__KIND_DONE, &done);
	return r < 0 ? r : copy_flush(receiver->stream);
}

/* 0 to go on. */
static int take(struct receiver *receiver, const Postern__V1__CopyRecord *record)
{
	switch (record->kind_case) {
	case POSTERN__V1__COPY_RECORD__KIND_PLAN:
		if (receiver->watch->plan)
			receiver->watch->plan(
				receiver->watch->ctx, record->plan->files, record->plan->bytes);
		return 0;
	case POSTERN__V1__COPY_RECORD__KIND_FILE:
		return take_file(receiver, record->file);
	case POSTERN__V1__COPY_RECORD__KIND_FOLDER:
		return take_folder(receiver, record->folder);
	case POSTERN__V1__COPY_RECORD__KIND_LINK:
		return take_link(receiver, record->link);
	case POSTERN__V1__COPY_RECORD__KIND_LEAVE:
		return take_leave(receiver);
	case POSTERN__V1__COPY_RECORD__KIND_FROM:
		return take_from(receiver, record->from);
	case POSTERN__V1__COPY_RECORD__KIND_DATA:
		return take_data(receiver, record->data);
	case POSTERN__V1__COPY_RECORD__KIND_END:
		return take_end(receiver, record->end);
	case POSTERN__V1__COPY_RECORD__KIND_PROBLEM:
		problem_hear(receiver->watch, receiver->counts, NULL, record->problem);
		return 0;
	default:
		return -EBADMSG;
	}
}

static int run(struct receiver *receiver)
{
	const Postern__V1__CopyRecord *record;
	int r;

	while ((r = copy_get(receiver->stream, &record)) > 0) {
		r = copy_check_record(&receiver->check, record);
		if (r == 0 && record->kind_case == POSTERN__V1__COPY_RECORD__KIND_DONE)
			return say_done(receiver);
		if (r == 0)
			r = take(receiver, record);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : -ECONNRESET;
}

int copy_stream_receive(struct copy_stream *stream, const struct copy_target *target,
	const struct copy_watch *watch, struct copy_counts *ret_counts)
{
	AUTO_FREE struct receiver *receiver = calloc(1, sizeof(*receiver));
	AUTO_FREE uint8_t *piece = malloc(COPY_PIECE);
	int r;

	*ret_counts = (struct copy_counts){0};
	if (!receiver || !piece)
		return -ENOMEM;
	receiver->stream = stream;
	receiver->target = target;
	receiver->watch = watch;
	receiver->counts = ret_counts;
	receiver->piece = piece;
	receiver->part.fd = -EBADF;
	receiver->levels[0].fd = target->dir;
	r = copy_check_begin(&receiver->check, &target->asked);
	if (r == 0)
		r = run(receiver);
	copy_check_done(&receiver->check);
	part_end(&receiver->part, r == -ECONNRESET || r == -EPIPE || r == -ETIMEDOUT);
	/* Folders that are not complete are no less ours to leave as they should be. */
	while (receiver->depth > 0)
		(void)leave(receiver);
	return r;
}
