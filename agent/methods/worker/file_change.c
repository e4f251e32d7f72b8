/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/methods/file_work.h"
#include "agent/methods/mount_path.h"
#include "agent/methods/replace_alike.h"
#include "proto/copy/open.h"
#include "proto/openat2.h"

#define DEPTH_MAX 128

int file_mode(struct call *call, bool has, uint32_t wanted, mode_t otherwise, mode_t *ret)
{
	*ret = has ? (mode_t)wanted : otherwise;
	if (*ret & ~(mode_t)07777)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"mode: 0%o: expected at most 07777", *ret);
	return 0;
}

int file_replace(struct call *call, const struct file_place *place, mode_t mode,
	const ProtobufCBinaryData *data)
{
	int r = file_place_is_inside(call, place);

	if (r < 0)
		return r;
	worker_changing(call);
	r = alike_replace(place->dir, place->name, mode, data->data, data->len);
	worker_touch_done(call);
	return r < 0 ? file_fail_undone(call, place, r) : 0;
}

int file_rename(int dir, const char *name, int target_dir, const char *target, bool replace)
{
	if (renameat2(dir, name, target_dir, target, replace ? 0 : RENAME_NOREPLACE) == 0)
		return 0;
	if (replace || errno != EINVAL)
		return -errno;
	if (faccessat(target_dir, target, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	if (errno != ENOENT)
		return -errno;
	return renameat(dir, name, target_dir, target) < 0 ? -errno : 0;
}

/* ---- a folder with all in it ---- */

static int remove_entries(int fd, unsigned int depth, uint64_t *removed);

/* A folder in which something is mounted since we looked is not entered. */
static int remove_folder(int dir, const char *name, unsigned int depth, uint64_t *removed)
{
	AUTO_CLOSE int fd = path_open(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK,
		0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
	int r = fd;

	if (fd == -EXDEV)
		return -EBUSY;
	if (fd >= 0)
		r = depth == DEPTH_MAX ? -ENAMETOOLONG : remove_entries(fd, depth + 1, removed);
	if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		r = -errno;
	*removed += r == 0;
	return r == -ENOENT ? 0 : r;
}

static int remove_entry(int dir, const struct dirent *entry, unsigned int depth, uint64_t *removed)
{
	if (entry->d_type == DT_DIR)
		return remove_folder(dir, entry->d_name, depth, removed);
	if (unlinkat(dir, entry->d_name, 0) == 0) {
		(*removed)++;
		return 0;
	}
	if (errno == EISDIR)
		return remove_folder(dir, entry->d_name, depth, removed);
	return errno == ENOENT ? 0 : -errno;
}

/* What others put there meanwhile is their affair: the folder is not empty then. */
static int remove_entries(int fd, unsigned int depth, uint64_t *removed)
{
	AUTO(dir_closep) DIR *dir = dir_open(fd);
	int r = dir ? 0 : -errno;

	while (dir && r == 0) {
		struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return -errno;
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_entry(fd, entry, depth, removed);
	}
	return r;
}

/* Before anything is removed; what comes meanwhile is kept by the way folders are opened. */
static int check_nothing_mounted(struct call *call, const struct file_place *place)
{
	size_t len = strlen(place->path);
	struct mount_map map;
	int r = mount_map_own(&map);

	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	for (size_t i = 0; r == 0 && i < map.n; i++) {
		const char *target = map.points[i].target;

		if (map.points[i].len >= len && memcmp(target, place->path, len) == 0 &&
			(map.points[i].len == len || target[len] == '/'))
			r = call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, EBUSY,
				"%s: a file system is mounted at %.*s", place->path,
				(int)map.points[i].len, target);
	}
	mount_map_done(&map);
	return r;
}

static int fail_remove(
	struct call *call, const struct file_place *place, bool recursive, int r, uint64_t removed)
{
	if (removed == 0)
		call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	if (removed > 0)
		return call_fail_errno(call, r, "%s: %llu names below it are gone, not all",
			place->path, (unsigned long long)removed);
	if (r == -ENOTEMPTY && !recursive)
		return call_fail(call, POSTERN__V1__CODE__FAILED_PRECONDITION, ENOTEMPTY,
			"%s: not empty; ask for it with all in it (recursive)", place->path);
	return file_fail(call, place, r);
}

int file_remove(
	struct call *call, const struct file_place *place, bool recursive, uint64_t *ret_removed)
{
	int r = file_place_is_inside(call, place);

	*ret_removed = 0;
	if (r == 0 && recursive)
		r = check_nothing_mounted(call, place);
	if (r < 0)
		return r;
	worker_changing(call);
	r = unlinkat(place->dir, place->name, 0) < 0 ? -errno : 0;
	if (r == 0)
		*ret_removed = 1;
	else if (r == -EISDIR && recursive)
		r = remove_folder(place->dir, place->name, 0, ret_removed);
	else if (r == -EISDIR)
		r = unlinkat(place->dir, place->name, AT_REMOVEDIR) < 0 ? -errno : 0;
	if (r == 0 && *ret_removed == 0)
		*ret_removed = 1;
	worker_touch_done(call);
	return r < 0 ? fail_remove(call, place, recursive, r, *ret_removed) : 0;
}
