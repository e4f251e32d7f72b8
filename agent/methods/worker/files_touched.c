/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events for inotify without a change, for what was changed where this kernel does not see it.
 *
 * To set the time of modification alone is what the kernel takes for a modification, though it is
 * the time that the file has: whoever waits for IN_MODIFY hears it, as tail, editors, what is built
 * on libuv or on Go's fsnotify, and PathModified= of systemd do. To open for writing and close is
 * what those wait for who want the writer to be done (IN_CLOSE_WRITE): PathChanged=, incron and
 * many scripts. What else makes IN_MODIFY might harm: to set the size would cut a file that grows
 * meanwhile, to set the mode (IN_ATTRIB) would give rights back that were just taken away.
 *
 * The time is asked of the share's other side, since this kernel may remember an old one.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/file_work.h"
#include "agent/methods/prototypes.h"

#define PATHS_MAX 1024

/* Both times of a folder: attributes; else the last one alone: a modification. */
static int set_times(int fd, bool folder)
{
	struct timespec times[2];
	struct statx now;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_ATIME | STATX_MTIME, &now) < 0)
		return -errno;
	times[0] =
		(struct timespec){.tv_sec = now.stx_atime.tv_sec, .tv_nsec = now.stx_atime.tv_nsec};
	times[1] =
		(struct timespec){.tv_sec = now.stx_mtime.tv_sec, .tv_nsec = now.stx_mtime.tv_nsec};
	if (!folder)
		times[0].tv_nsec = UTIME_OMIT;
	return futimens(fd, times) < 0 ? -errno : 0;
}

/* A file is opened for writing, or where that cannot be (a program that runs) at least for reading.
 * 0 with *ret_writes, or -errno through call_fail(). */
static int open_any(struct call *call, const struct file_place *place, struct stat *ret_st,
	bool *ret_writes, int *ret_fd)
{
	AUTO_CLOSE int at = file_look(place);
	int r = at < 0 ? at : fstat(at, ret_st) < 0 ? -errno : 0;

	if (r < 0)
		return file_fail(call, place, r);
	*ret_writes = S_ISREG(ret_st->st_mode);
	if (!*ret_writes)
		return file_open(call, place, O_RDONLY, ret_fd);
	r = file_open(call, place, O_WRONLY, ret_fd);
	if (r != -ETXTBSY)
		return r;
	call->error = NULL;
	*ret_writes = false;
	return file_open(call, place, O_RDONLY, ret_fd);
}

static int touch(struct call *call, const struct file_place *place, Postern__V1__FileTouched *told)
{
	AUTO_CLOSE int fd = -EBADF;
	bool writes = false, folder;
	struct stat st = {0};
	int r = open_any(call, place, &st, &writes, &fd);

	if (r < 0)
		return r;
	folder = S_ISDIR(st.st_mode);
	r = set_times(fd, folder);
	told->has_modified = told->has_written = told->has_attributes = true;
	told->modified = r == 0 && !folder;
	told->attributes = r == 0 && folder;
	/* Closed now, so that it has been heard once this is answered. */
	fd = fd_close(fd);
	told->written = writes;
	return r < 0 ? file_fail(call, place, r) : 0;
}

static int touch_one(
	struct call *call, const ProtobufCBinaryData *path, Postern__V1__FileTouched **ret_told)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	Postern__V1__FileTouched *told = arena_alloc(call->arena, sizeof(*told));
	int r;

	if (!told)
		return -ENOMEM;
	postern__v1__file_touched__init(told);
	told->has_path = true;
	told->path = *path;
	*ret_told = told;
	r = file_place_open(call, true, path, 0, TOUCH_WRITE, &place);
	if (r == 0)
		r = touch(call, &place, told);
	if (r < 0 && call->error) {
		told->has_sys_errno = call->error->has_sys_errno;
		told->sys_errno = call->error->sys_errno;
		told->message = call->error->message;
		call->error = NULL;
		r = 0;
	}
	return r;
}

int files_touched(struct call *call, const Postern__V1__FilesTouchedRequest *request,
	Postern__V1__FilesTouchedReply *reply)
{
	int r = 0;

	if (request->n_paths == 0 || request->n_paths > PATHS_MAX)
		return call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "paths: 1 to %d", PATHS_MAX);
	reply->files = arena_alloc(call->arena, request->n_paths * sizeof(*reply->files));
	if (!reply->files)
		return -ENOMEM;
	worker_changing(call);
	for (size_t i = 0; r == 0 && i < request->n_paths; i++)
		r = touch_one(call, &request->paths[i], &reply->files[reply->n_files++]);
	worker_touch_done(call);
	return r;
}
