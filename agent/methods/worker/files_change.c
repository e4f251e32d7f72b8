/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* files.* that change names, modes and owners. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/file_work.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/replace_alike.h"

#define PREFIX_MAX 64
#define TRIES      8

static int temporary_in(struct call *call, const struct file_place *place, const char *prefix,
	mode_t mode, const char **ret_path)
{
	AUTO_CLOSE int dir = -EBADF, fd = -EBADF;
	char name[ALIKE_NAME_SIZE];
	int r = file_open_folder(call, place, &dir);

	if (r < 0)
		return r;
	worker_changing(call);
	r = -EEXIST;
	for (int i = 0; i < TRIES && r == -EEXIST; i++) {
		r = alike_fresh_name(prefix, name);
		if (r == 0)
			fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (r == 0 && fd < 0)
			r = -errno;
	}
	if (r == 0 && fchmod(fd, mode) < 0) {
		r = -errno;
		(void)unlinkat(dir, name, 0);
	}
	if (r < 0)
		return file_fail_undone(call, place, r);
	*ret_path = arena_printf(
		call->arena, "%s/%s", strcmp(place->path, "/") == 0 ? "" : place->path, name);
	return *ret_path ? 0 : -ENOMEM;
}

int files_temporary(struct call *call, const Postern__V1__FilesTemporaryRequest *request,
	Postern__V1__FilesTemporaryReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	const char *prefix = ALIKE_PREFIX, *path = NULL;
	mode_t mode;
	int r = file_mode(call, request->has_mode, request->mode, 0600, &mode);

	if (request->has_prefix)
		prefix = call_string(call, true, &request->prefix, PREFIX_MAX, "prefix");
	if (!prefix)
		return -EINVAL;
	if (r == 0 && strchr(prefix, '/'))
		r = call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"prefix: part of a name, which has no slash");
	if (r == 0)
		r = file_place_open(
			call, request->has_path, &request->path, 0, TOUCH_WRITE, &place);
	if (r == 0)
		r = temporary_in(call, &place, prefix, mode, &path);
	worker_touch_done(call);
	if (r < 0)
		return r;
	reply->has_path = true;
	reply->path = call_text(call, path);
	return 0;
}

/* Where it is a folder already, that will do for who wants it with its parents. */
static int make_folder(struct call *call, const struct file_place *place, mode_t mode, bool parents)
{
	AUTO_CLOSE int fd = -EBADF;
	int r;

	if (mkdirat(place->dir, place->name, mode) == 0) {
		/* mkdir(2) takes from it what umask says. */
		r = file_open_folder(call, place, &fd);
		return r == 0 && fchmod(fd, mode) < 0 ? file_fail(call, place, -errno) : r;
	}
	r = -errno;
	if (r == -EEXIST && parents && file_open_folder(call, place, &fd) == 0)
		return 0;
	return call->error ? r
	       : parents   ? file_fail(call, place, r)
			   : file_fail_undone(call, place, r);
}

int files_mkdir(struct call *call, const Postern__V1__FilesMkdirRequest *request,
	Postern__V1__FilesMkdirReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	mode_t mode;
	int r = file_mode(call, request->has_mode, request->mode, FOLDER_MODE_DEFAULT, &mode);

	(void)reply;
	if (r == 0 && request->parents)
		worker_changing(call);
	if (r == 0)
		r = file_place_open(call, request->has_path, &request->path,
			request->parents ? FILE_PARENTS : 0, TOUCH_WRITE, &place);
	if (r != 0)
		return r;
	worker_changing(call);
	r = make_folder(call, &place, mode, request->parents);
	worker_touch_done(call);
	return r;
}

int files_remove(struct call *call, const Postern__V1__FilesRemoveRequest *request,
	Postern__V1__FilesRemoveReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	int r = file_place_open(call, request->has_path, &request->path, 0, TOUCH_WRITE, &place);

	if (r == 0)
		r = file_remove(call, &place, request->recursive, &reply->removed);
	reply->has_removed = true;
	return r;
}

int files_rename(struct call *call, const Postern__V1__FilesRenameRequest *request,
	Postern__V1__FilesRenameReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	AUTO_FILE_PLACE struct file_place target = FILE_PLACE_NONE;
	int r = file_place_open(call, request->has_path, &request->path, 0, TOUCH_WRITE, &place);

	(void)reply;
	if (r == 0)
		r = file_place_open(
			call, request->has_target, &request->target, 0, TOUCH_WRITE, &target);
	if (r == 0)
		r = file_place_is_inside(call, &place);
	if (r == 0)
		r = file_place_is_inside(call, &target);
	if (r < 0)
		return r;
	worker_changing(call);
	r = file_rename(place.dir, place.name, target.dir, target.name, request->replace);
	worker_touch_done(call);
	if (r == 0)
		return 0;
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	if (r == -EXDEV)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EXDEV,
			"%s is on another file system than %s", target.path, place.path);
	return call_fail_errno(call, r, "%s to %s", place.path, target.path);
}

/* What a place leads to, itself, however it is called by now. */
static void path_of(int at, char ret[32])
{
	(void)snprintf(ret, 32, "/proc/self/fd/%d", at);
}

int files_set_mode(struct call *call, const Postern__V1__FilesSetModeRequest *request,
	Postern__V1__FilesSetModeReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	AUTO_CLOSE int at = -EBADF;
	char self[32];
	struct stat st;
	mode_t mode;
	int r = file_mode(call, request->has_mode, request->mode, 0, &mode);

	(void)reply;
	if (r == 0 && !request->has_mode)
		r = call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "mode: must be given");
	if (r == 0)
		r = file_place_open(call, request->has_path, &request->path,
			request->follow_links ? FILE_FOLLOW : 0, TOUCH_WRITE, &place);
	if (r < 0)
		return r;
	at = file_look(&place);
	if (at < 0 || fstat(at, &st) < 0)
		return file_fail(call, &place, at < 0 ? at : -errno);
	if (S_ISLNK(st.st_mode))
		return file_fail(call, &place, -ELOOP);
	path_of(at, self);
	worker_changing(call);
	r = chmod(self, mode) < 0 ? -errno : 0;
	worker_touch_done(call);
	return r < 0 ? file_fail_undone(call, &place, r) : 0;
}

int files_set_owner(struct call *call, const Postern__V1__FilesSetOwnerRequest *request,
	Postern__V1__FilesSetOwnerReply *reply)
{
	AUTO_FILE_PLACE struct file_place place = FILE_PLACE_NONE;
	uid_t uid = request->has_uid ? request->uid : (uid_t)-1;
	gid_t gid = request->has_gid ? request->gid : (gid_t)-1;
	AUTO_CLOSE int at = -EBADF;
	int r;

	(void)reply;
	if ((request->has_uid && uid == (uid_t)-1) || (request->has_gid && gid == (gid_t)-1) ||
		(!request->has_uid && !request->has_gid))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"expected uid, gid, or both; %u is nobody's", UINT32_MAX);
	r = file_place_open(call, request->has_path, &request->path,
		request->follow_links ? FILE_FOLLOW : 0, TOUCH_WRITE, &place);
	if (r < 0)
		return r;
	at = file_look(&place);
	if (at < 0)
		return file_fail(call, &place, at);
	worker_changing(call);
	r = fchownat(at, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
	worker_touch_done(call);
	return r < 0 ? file_fail_undone(call, &place, r) : 0;
}
