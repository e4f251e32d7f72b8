/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* files.* that change what is in a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/file_work.h"
#include "agent/methods/prototypes.h"
#include "proto/openat2.h"

/* One write on its way. */
struct writing {
	const Postern__V1__FilesWriteRequest *request;
	struct file_place place;
	int fd; /* owned */
	bool created;
	mode_t mode;
	uint64_t before; /* size of the file */
	uint64_t at;     /* where the bytes go */
	uint64_t done;   /* of them */
};

static void writing_close(struct writing *writing)
{
	writing->fd = fd_close(writing->fd);
	file_place_close(&writing->place);
}

static int check(struct call *call, struct writing *writing)
{
	const Postern__V1__FilesWriteRequest *request = writing->request;

	if (request->append && request->has_offset)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"expected one of offset and append");
	if (request->exclusive && !request->create)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"exclusive: is for a file that is to be made (create)");
	if (request->offset > INT64_MAX - (uint64_t)request->data.len)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EFBIG,
			"offset: no file is as long");
	return file_mode(call, request->has_mode, request->mode, FILE_MODE_DEFAULT, &writing->mode);
}

/* -EEXIST: there is something already. */
static int create(struct writing *writing)
{
	const struct file_place *place = &writing->place;

	writing->fd = path_open(place->dir, place->name, O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY,
		writing->mode,
		RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS |
			(place->follow ? 0 : RESOLVE_NO_SYMLINKS));
	if (writing->fd < 0)
		return writing->fd;
	writing->created = true;
	return fchmod(writing->fd, writing->mode) < 0 ? -errno : 0;
}

static int open_it(struct call *call, struct writing *writing)
{
	bool append = writing->request->append;
	struct stat st;
	int r;

	if (writing->request->create) {
		worker_changing(call);
		r = create(writing);
		if (r < 0 && (r != -EEXIST || writing->request->exclusive))
			return file_fail_undone(call, &writing->place, r);
	}
	if (!writing->created) {
		r = file_open_regular(
			call, &writing->place, O_WRONLY | (append ? O_APPEND : 0), &writing->fd);
		if (r < 0) {
			call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
			return r;
		}
	}
	if (fstat(writing->fd, &st) < 0)
		return file_fail_undone(call, &writing->place, -errno);
	writing->before = (uint64_t)st.st_size;
	writing->at = append ? writing->before : writing->request->offset;
	return 0;
}

static int write_bytes(struct writing *writing)
{
	const ProtobufCBinaryData *data = &writing->request->data;

	while (writing->done < data->len) {
		const uint8_t *from = data->data + writing->done;
		size_t left = data->len - writing->done;
		ssize_t n = writing->request->append
				    ? write(writing->fd, from, left)
				    : pwrite(writing->fd, from, left,
					      (off_t)(writing->at + writing->done));

		if (n < 0)
			return -errno;
		writing->done += (uint64_t)n;
	}
	if (writing->request->append && data->len > 0)
		/* Somebody else may have been faster. */
		writing->at = (uint64_t)lseek(writing->fd, 0, SEEK_CUR) - data->len;
	return writing->request->flush && fsync(writing->fd) < 0 ? -errno : 0;
}

/* As it was, where that can be: bytes that were written over are gone. */
static void take_back(struct call *call, struct writing *writing)
{
	struct stat named, opened;

	if (writing->done > 0 && writing->at < writing->before)
		return;
	if (writing->created) {
		if (fstatat(writing->place.dir, writing->place.name, &named, AT_SYMLINK_NOFOLLOW) <
				0 ||
			fstat(writing->fd, &opened) < 0 || named.st_ino != opened.st_ino ||
			named.st_dev != opened.st_dev ||
			unlinkat(writing->place.dir, writing->place.name, 0) < 0)
			return;
	} else if (ftruncate(writing->fd, (off_t)writing->before) < 0) {
		return;
	}
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
}

static int write_it(struct call *call, struct writing *writing)
{
	int r = check(call, writing);

	if (r == 0)
		r = open_it(call, writing);
	if (r < 0)
		return r;
	worker_changing(call);
	r = write_bytes(writing);
	if (r == 0)
		return 0;
	take_back(call, writing);
	if (call->outcome == POSTERN__V1__OUTCOME__NOT_DONE)
		return file_fail(call, &writing->place, r);
	return call_fail_errno(call, r, "%s: %llu of %zu bytes were written", writing->place.path,
		(unsigned long long)writing->done, writing->request->data.len);
}

int files_write(struct call *call, const Postern__V1__FilesWriteRequest *request,
	Postern__V1__FilesWriteReply *reply)
{
	AUTO(writing_close)
	struct writing writing = {.request = request, .place = FILE_PLACE_NONE, .fd = -EBADF};
	uint64_t end;
	int r = file_place_open(call, request->has_path, &request->path,
		request->follow_links ? FILE_FOLLOW : 0, TOUCH_WRITE, &writing.place);

	if (r == 0)
		r = write_it(call, &writing);
	worker_touch_done(call);
	end = writing.at + writing.done;
	reply->has_offset = reply->has_size = reply->has_created = true;
	reply->offset = writing.at;
	reply->size = writing.done > 0 && end > writing.before ? end : writing.before;
	reply->created = writing.created;
	return r;
}

int files_replace(struct call *call, const Postern__V1__FilesReplaceRequest *request,
	Postern__V1__FilesReplaceReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	mode_t mode;
	int r = file_mode(call, request->has_mode, request->mode, FILE_MODE_DEFAULT, &mode);

	(void)reply;
	if (r == 0)
		r = file_place_open(
			call, request->has_path, &request->path, 0, TOUCH_WRITE, &place);
	return r < 0 ? r : file_replace(call, &place, mode, &request->data);
}

int files_truncate(struct call *call, const Postern__V1__FilesTruncateRequest *request,
	Postern__V1__FilesTruncateReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	AUTO_CLOSE int fd = -EBADF;
	int r = file_place_open(call, request->has_path, &request->path,
		request->follow_links ? FILE_FOLLOW : 0, TOUCH_WRITE, &place);

	(void)reply;
	if (r == 0 && request->size > INT64_MAX)
		r = call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EFBIG,
			"size: no file is as long");
	if (r == 0)
		r = file_open_regular(call, &place, O_WRONLY, &fd);
	if (r < 0)
		return r;
	worker_changing(call);
	r = ftruncate(fd, (off_t)request->size) < 0 ? -errno : 0;
	worker_touch_done(call);
	return r < 0 ? file_fail_undone(call, &place, r) : 0;
}

int files_flush(struct call *call, const Postern__V1__FilesFlushRequest *request,
	Postern__V1__FilesFlushReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	AUTO_CLOSE int fd = -EBADF;
	int r = file_place_open(call, request->has_path, &request->path,
		request->follow_links ? FILE_FOLLOW : 0, TOUCH_WRITE, &place);

	(void)reply;
	if (r == 0)
		r = file_open(call, &place, O_RDONLY, &fd);
	if (r < 0)
		return r;
	worker_changing(call);
	r = fsync(fd) < 0 ? -errno : 0;
	worker_touch_done(call);
	return r < 0 ? file_fail(call, &place, r) : 0;
}
