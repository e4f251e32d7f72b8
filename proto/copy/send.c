/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/copy/copy.h"
#include "proto/copy/digest.h"
#include "proto/copy/open.h"
#include "proto/copy/problem.h"

#define PATH_SIZE 4096

struct sender {
	struct copy_stream *stream;
	const struct copy_watch *watch;
	struct copy_counts *counts;
	char path[PATH_SIZE]; /* of what is at hand, for people */
	size_t path_len;
	unsigned int depth;
	uint8_t *piece; /* owned; COPY_PIECE bytes */
};

/* Leaves out what is at hand: the receiver is told, too. */
static int leave_out(struct sender *sender, int sys_errno, const char *message)
{
	return problem_say(
		sender->stream, sender->watch, sender->counts, sender->path, sys_errno, message);
}

static int leave_out_errno(struct sender *sender, int negative_errno)
{
	return leave_out(sender, -negative_errno, strerror(-negative_errno));
}

/* What the receiver says while we send. */
static int take_problem(struct sender *sender, const Postern__V1__CopyRecord *record)
{
	if (record->kind_case != POSTERN__V1__COPY_RECORD__KIND_PROBLEM)
		return -EBADMSG;
	problem_hear(sender->watch, sender->counts, NULL, record->problem);
	return 0;
}

static int look_back(struct sender *sender)
{
	const Postern__V1__CopyRecord *record;
	int r;

	while ((r = copy_get_now(sender->stream, &record)) > 0) {
		r = take_problem(sender, record);
		if (r < 0)
			return r;
	}
	return r;
}

/* The next record of this kind; problems before it are told. */
static int wait_for(struct sender *sender, Postern__V1__CopyRecord__KindCase kind,
	const Postern__V1__CopyRecord **ret_record)
{
	int r;

	while ((r = copy_get(sender->stream, ret_record)) > 0) {
		if ((*ret_record)->kind_case == kind)
			return 0;
		r = take_problem(sender, *ret_record);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : -ECONNRESET;
}

static uint64_t mtime_of(const struct stat *st)
{
	return (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
}

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

/* ---- one file ---- */

/* The digest of the first bytes, as the receiver took it of what it has. False when they differ. */
static bool has_same(struct sender *sender, int fd, const Postern__V1__CopyHave *have)
{
	struct copy_digest digest;
	uint8_t ours[COPY_DIGEST_SIZE];
	uint64_t at = 0;

	copy_digest_begin(&digest);
	while (at < have->bytes) {
		uint64_t left = have->bytes - at;
		ssize_t n =
			pread(fd, sender->piece, left < COPY_PIECE ? left : COPY_PIECE, (off_t)at);

		if (n <= 0)
			return false;
		copy_digest_add(&digest, sender->piece, (size_t)n);
		at += (uint64_t)n;
	}
	copy_digest_end(&digest, ours);
	return have->digest.len == sizeof(ours) &&
	       memcmp(have->digest.data, ours, sizeof(ours)) == 0;
}

/* Where to begin in a large file, a part of which may have come before. */
static int agree_on_start(struct sender *sender, int fd, uint64_t size, uint64_t *ret_start)
{
	Postern__V1__CopyFrom from = POSTERN__V1__COPY_FROM__INIT;
	const Postern__V1__CopyRecord *record;
	int r = wait_for(sender, POSTERN__V1__COPY_RECORD__KIND_HAVE, &record);

	*ret_start = 0;
	if (r < 0)
		return r;
	if (record->have->bytes > size)
		return -EBADMSG;
	if (record->have->bytes > 0 && has_same(sender, fd, record->have))
		*ret_start = record->have->bytes;
	sender->counts->resumed += *ret_start;
	from.has_offset = true;
	from.offset = *ret_start;
	return copy_put(sender->stream, POSTERN__V1__COPY_RECORD__KIND_FROM, &from);
}

static int send_run(struct sender *sender, int fd, struct copy_digest *digest, uint64_t at,
	uint64_t end, bool *ret_broken)
{
	while (at < end) {
		size_t want = end - at < COPY_PIECE ? (size_t)(end - at) : COPY_PIECE;
		ssize_t n = pread(fd, sender->piece, want, (off_t)at);
		uint64_t offset = at;
		int r;

		/* It became shorter, or cannot be read. */
		*ret_broken = n <= 0;
		if (n <= 0)
			return 0;
		copy_digest_add(digest, &offset, sizeof(offset));
		copy_digest_add(digest, sender->piece, (size_t)n);
		r = copy_put_data(sender->stream, at, sender->piece, (size_t)n);
		if (r < 0)
			return r;
		at += (uint64_t)n;
		sender->counts->bytes += (uint64_t)n;
		if (sender->watch->progress)
			sender->watch->progress(sender->watch->ctx, sender->path,
				sender->counts->bytes + sender->counts->resumed);
	}
	return 0;
}

/* All that is no hole, in order (lseek(2)); a file system that knows no holes has none. */
static int send_data(struct sender *sender, int fd, const struct stat *st, uint64_t start,
	struct copy_digest *digest, bool *ret_broken)
{
	uint64_t size = (uint64_t)st->st_size, at = start;
	bool sparse = (uint64_t)st->st_blocks * 512 < size;
	int r = 0;

	while (r == 0 && at < size && !*ret_broken) {
		off_t data = sparse ? lseek(fd, (off_t)at, SEEK_DATA) : (off_t)at;
		off_t hole = st->st_size;

		if (data < 0 && errno == ENXIO)
			break; /* only a hole is left */
		if (data < 0)
			data = (off_t)at;
		else if (sparse)
			hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data || hole > st->st_size)
			hole = st->st_size;
		if (data >= st->st_size)
			break;
		r = send_run(sender, fd, digest, (uint64_t)data, (uint64_t)hole, ret_broken);
		at = (uint64_t)hole;
	}
	return r;
}

/* Somebody wrote to it since. Its inode may change besides, by a link for instance: its times tell.
 */
static bool has_changed(int fd, const struct stat *before)
{
	struct stat now;

	return fstat(fd, &now) == 0 &&
	       (now.st_size != before->st_size || mtime_of(&now) != mtime_of(before));
}

static int send_file(struct sender *sender, int fd, const char *name, const struct stat *st)
{
	Postern__V1__CopyFile file = POSTERN__V1__COPY_FILE__INIT;
	Postern__V1__CopyEnd end = POSTERN__V1__COPY_END__INIT;
	struct copy_digest digest;
	uint8_t sum[COPY_DIGEST_SIZE];
	uint64_t start = 0;
	bool broken = false;
	int r;

	file.has_name = file.has_size = file.has_mode = file.has_mtime_ns = true;
	file.name = bytes_of(name);
	file.size = (uint64_t)st->st_size;
	file.mode = st->st_mode & 0777;
	file.mtime_ns = (int64_t)mtime_of(st);
	file.has_may_resume = file.may_resume = file.size >= COPY_RESUME_LEAST;
	r = copy_put(sender->stream, POSTERN__V1__COPY_RECORD__KIND_FILE, &file);
	if (r == 0 && file.may_resume)
		r = agree_on_start(sender, fd, file.size, &start);
	copy_digest_begin(&digest);
	if (r == 0)
		r = send_data(sender, fd, st, start, &digest, &broken);
	copy_digest_end(&digest, sum);
	end.has_digest = true;
	end.digest = (ProtobufCBinaryData){.len = sizeof(sum), .data = sum};
	end.has_broken = end.broken = broken;
	if (r == 0)
		r = copy_put(sender->stream, POSTERN__V1__COPY_RECORD__KIND_END, &end);
	if (r == 0 && broken)
		return leave_out(
			sender, EIO, "it became shorter, or unreadable, while it was sent");
	sender->counts->files += r == 0;
	if (r == 0 && has_changed(fd, st))
		return leave_out(sender, EAGAIN,
			"it changed while it was sent: what arrived may be of two moments");
	return r;
}

/* A file of no size that has bytes all the same, as those of /proc, or that does not say. One to
 * which somebody writes meanwhile has a size by then. 1, 0, or -errno. */
static int hides_size(int fd)
{
	struct stat st;
	char byte;
	ssize_t n = pread(fd, &byte, 1, 0);

	if (n <= 0)
		return n < 0 ? -errno : 0;
	return fstat(fd, &st) == 0 && st.st_size == 0;
}

static int send_file_unless_hidden(
	struct sender *sender, int fd, const char *name, const struct stat *st)
{
	int r = st->st_size == 0 ? hides_size(fd) : 0;

	if (r > 0)
		return leave_out(sender, ENOTSUP, "its size is not known: read it with exec");
	return r < 0 ? leave_out_errno(sender, r) : send_file(sender, fd, name, st);
}

/* ---- trees ---- */

static int send_entry(struct sender *sender, int dir, const char *name);

static int send_link(struct sender *sender, int dir, const char *name)
{
	Postern__V1__CopyLink link = POSTERN__V1__COPY_LINK__INIT;
	char target[PATH_MAX];
	ssize_t len = readlinkat(dir, name, target, sizeof(target) - 1);

	if (len < 0)
		return leave_out_errno(sender, -errno);
	target[len] = '\0';
	link.has_name = link.has_target = true;
	link.name = bytes_of(name);
	link.target = bytes_of(target);
	return copy_put(sender->stream, POSTERN__V1__COPY_RECORD__KIND_LINK, &link);
}

static int send_entries(struct sender *sender, int fd)
{
	AUTO(dir_closep) DIR *dir = dir_open(fd);
	int r = dir ? 0 : leave_out_errno(sender, -errno);

	while (dir && r == 0) {
		size_t before = sender->path_len;
		struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		/* What it did not tell is missing over there. */
		if (!entry)
			return errno == 0 ? 0 : leave_out_errno(sender, -errno);
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		sender->path_len += (size_t)snprintf(
			sender->path + before, sizeof(sender->path) - before, "/%s", entry->d_name);
		if (sender->path_len >= sizeof(sender->path)) {
			sender->path_len = before;
			sender->path[before] = '\0';
			r = leave_out(sender, ENAMETOOLONG, "the path is too long");
			continue;
		}
		r = send_entry(sender, fd, entry->d_name);
		sender->path_len = before;
		sender->path[before] = '\0';
	}
	return r;
}

static int send_folder(struct sender *sender, int fd, const char *name, const struct stat *st)
{
	Postern__V1__CopyFolder folder = POSTERN__V1__COPY_FOLDER__INIT;
	Postern__V1__CopyLeave leave = POSTERN__V1__COPY_LEAVE__INIT;
	int r;

	if (sender->depth >= COPY_DEPTH_MAX)
		return leave_out(sender, ELOOP, "too many folders within folders");
	folder.has_name = folder.has_mode = folder.has_mtime_ns = true;
	folder.name = bytes_of(name);
	folder.mode = st->st_mode & 0777;
	folder.mtime_ns = (int64_t)mtime_of(st);
	r = copy_put(sender->stream, POSTERN__V1__COPY_RECORD__KIND_FOLDER, &folder);
	if (r < 0)
		return r;
	sender->depth++;
	r = send_entries(sender, fd);
	sender->depth--;
	return r < 0 ? r : copy_put(sender->stream, POSTERN__V1__COPY_RECORD__KIND_LEAVE, &leave);
}

static int send_opened(struct sender *sender, int fd, const char *name)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return leave_out_errno(sender, -errno);
	r = S_ISDIR(st.st_mode) ? send_folder(sender, fd, name, &st)
				: send_file_unless_hidden(sender, fd, name, &st);
	return r < 0 ? r : look_back(sender);
}

static int send_entry(struct sender *sender, int dir, const char *name)
{
	AUTO_CLOSE int fd = -EBADF;
	int r = open_entry(dir, name, &fd);

	if (r == -ELOOP)
		return send_link(sender, dir, name);
	if (r == -ENOTSUP)
		return leave_out(sender, ENOTSUP, "neither a file, a folder nor a link");
	return r < 0 ? leave_out_errno(sender, r) : send_opened(sender, fd, name);
}

static int say_plan(struct sender *sender, const struct copy_source *sources, size_t n)
{
	Postern__V1__CopyPlan plan = POSTERN__V1__COPY_PLAN__INIT;

	plan.has_files = plan.has_bytes = true;
	for (size_t i = 0; i < n; i++)
		open_count(sources[i].fd, 0, &plan.files, &plan.bytes);
	if (sender->watch->plan)
		sender->watch->plan(sender->watch->ctx, plan.files, plan.bytes);
	return copy_put(sender->stream, POSTERN__V1__COPY_RECORD__KIND_PLAN, &plan);
}

static int say_done(struct sender *sender)
{
	Postern__V1__CopyDone done = POSTERN__V1__COPY_DONE__INIT;
	const Postern__V1__CopyRecord *record;
	int r;

	done.has_files = done.has_bytes = true;
	done.files = sender->counts->files;
	done.bytes = sender->counts->bytes;
	r = copy_put(sender->stream, POSTERN__V1__COPY_RECORD__KIND_DONE, &done);
	if (r == 0)
		r = wait_for(sender, POSTERN__V1__COPY_RECORD__KIND_DONE, &record);
	if (r != 0)
		return r;
	/* What has arrived counts. */
	if (record->done->files > sender->counts->files)
		return -EBADMSG;
	sender->counts->files = record->done->files;
	return 0;
}

int copy_stream_send(struct copy_stream *stream, const struct copy_source *sources, size_t n,
	const struct copy_watch *watch, struct copy_counts *ret_counts)
{
	AUTO_FREE struct sender *sender = calloc(1, sizeof(*sender));
	AUTO_FREE uint8_t *piece = malloc(COPY_PIECE);
	int r = 0;

	*ret_counts = (struct copy_counts){0};
	if (!sender || !piece)
		return -ENOMEM;
	sender->stream = stream;
	sender->watch = watch;
	sender->counts = ret_counts;
	sender->piece = piece;
	r = say_plan(sender, sources, n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		sender->path_len =
			(size_t)snprintf(sender->path, sizeof(sender->path), "%s", sources[i].path);
		if (sender->path_len >= sizeof(sender->path))
			sender->path_len = sizeof(sender->path) - 1;
		r = send_opened(sender, sources[i].fd, sources[i].name);
	}
	return r < 0 ? r : say_done(sender);
}
