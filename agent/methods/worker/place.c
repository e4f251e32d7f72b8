/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/openat2.h"

bool place_is_protected(const char *path)
{
	static const char *const protected[] = {"/", "/proc", "/sys", "/dev", "/run", "/etc",
		"/usr", "/bin", "/sbin", "/lib", "/lib64"};

	for (size_t i = 0; i < ARRAY_SIZE(protected); i++)
		if (strcmp(path, protected[i]) == 0)
			return true;
	return false;
}

static int open_strict(int dir, const char *path, unsigned int flags)
{
	return path_open(dir, path, O_PATH | (flags & PLACE_FOLDER ? O_DIRECTORY : 0), 0,
		RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

static int fail_open(struct call *call, int r, const char *path)
{
	if (r == -ELOOP)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ELOOP,
			"%s: a symbolic link is in this path; give the path it stands for", path);
	if (r == -ENOENT)
		return call_fail(
			call, POSTERN__V1__CODE__NOT_FOUND, ENOENT, "%s: no such folder", path);
	return call_fail_errno(call, r, "%s", path);
}

/* Before anything of the path is touched. */
static int check_responds(struct call *call, const char *path, const struct crossing *crossings,
	size_t n, enum touch how)
{
	for (size_t i = 0; i < n; i++) {
		/* What only leads somewhere else is not written to. */
		if (!worker_is_quarantined(
			    call, crossings[i].device, i + 1 == n ? how : TOUCH_LOOK))
			continue;
		(void)call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, EHOSTDOWN,
			"%s: the file system at %.*s does not respond, and somebody hangs on it; "
			"a lazy unmount takes it away, with all that is mounted below it",
			path, (int)crossings[i].len, path);
		return -EHOSTDOWN;
	}
	return 0;
}

/* The next folder of what is left of a path, made when it is missing. */
static int open_or_create_one(
	struct call *call, dev_t device, int dir, const char *path, size_t len)
{
	char part[NAME_MAX + 1];
	int fd;

	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(part, path, len);
	part[len] = '\0';
	fd = open_strict(dir, part, PLACE_FOLDER);
	if (fd != -ENOENT)
		return fd;
	if (worker_is_quarantined(call, device, TOUCH_WRITE))
		return call_fail(call, POSTERN__V1__CODE__UNAVAILABLE, EHOSTDOWN,
			"%s: cannot be made: the file system takes no writes, and somebody waits "
			"for it already",
			path);
	worker_touch(call, device, TOUCH_WRITE);
	if (mkdirat(dir, part, 0755) < 0 && errno != EEXIST && errno != EROFS)
		return -errno;
	worker_touch(call, device, TOUCH_LOOK);
	return open_strict(dir, part, PLACE_FOLDER);
}

static int open_or_create(struct call *call, dev_t device, int *dir, const char *path)
{
	while (path += strspn(path, "/"), *path != '\0') {
		size_t len = strcspn(path, "/");
		int next = open_or_create_one(call, device, *dir, path, len);

		if (next < 0)
			return next;
		(void)fd_close(*dir);
		*dir = next;
		path += len;
	}
	return 0;
}

/* From *dir, the root of one file system, to the root of the next one, or to the end of the path.
 */
static int walk(struct call *call, const struct crossing *crossing, const char *path, size_t len,
	unsigned int flags, int *dir)
{
	char *part = arena_copy(call->arena, path, len);
	int next;

	if (!part)
		return -ENOMEM;
	/* At the end of the path nothing is looked up, but the caller has something in mind. */
	worker_touch(call, crossing->device, TOUCH_LOOK);
	part += strspn(part, "/");
	if (*part == '\0')
		return 0;
	next = open_strict(*dir, part, flags);
	if (next == -ENOENT && flags & PLACE_CREATE)
		return open_or_create(call, crossing->device, dir, part);
	if (next < 0)
		return next;
	(void)fd_close(*dir);
	*dir = next;
	return 0;
}

int place_open_in(struct call *call, const struct mount_map *map, const char *path,
	unsigned int flags, int *ret_fd)
{
	struct crossing crossings[CROSSINGS_MAX];
	AUTO_CLOSE int dir = -EBADF;
	size_t n;
	int r = mount_path_crossings(map, path, crossings, &n);

	if (r < 0)
		return call_fail_errno(call, r, "%s", path);
	r = check_responds(call, path, crossings, n, TOUCH_LOOK);
	if (r < 0)
		return r;
	dir = open_strict(AT_FDCWD, "/", PLACE_FOLDER);
	for (size_t i = 0; i < n && dir >= 0 && r == 0; i++) {
		bool last = i + 1 == n;
		size_t from = crossings[i].len, to = last ? strlen(path) : crossings[i + 1].len;

		r = walk(call, &crossings[i], path + from, to - from, last ? flags : 0, &dir);
	}
	if (dir < 0)
		r = dir;
	if (r < 0)
		return call->error ? r : fail_open(call, r, path);
	*ret_fd = take_fd(&dir);
	return 0;
}

int place_check(struct call *call, const char *path, enum touch how)
{
	struct crossing crossings[CROSSINGS_MAX];
	struct mount_map map;
	size_t n = 0;
	int r = mount_map_own(&map);

	if (r == 0)
		r = mount_path_crossings(&map, path, crossings, &n);
	mount_map_done(&map);
	if (r < 0)
		return call_fail_errno(call, r, "%s", path);
	r = check_responds(call, path, crossings, n, how);
	if (r == 0 && n > 0)
		worker_touch(call, crossings[n - 1].device, how);
	return r;
}

int place_open(struct call *call, const char *path, unsigned int flags, int *ret_fd)
{
	struct mount_map map;
	int r = mount_map_own(&map);

	r = r < 0 ? call_fail_errno(call, r, "the mount table")
		  : place_open_in(call, &map, path, flags, ret_fd);
	mount_map_done(&map);
	return r;
}

static int open_parent_in(struct call *call, const struct mount_map *map, const char *path,
	unsigned int flags, int *ret_fd, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash == path ? arena_strdup(call->arena, "/")
				     : arena_copy(call->arena, path, (size_t)(slash - path));

	if (!parent)
		return -ENOMEM;
	*ret_name = slash[1] ? slash + 1 : ".";
	return place_open_in(call, map, parent, flags | PLACE_FOLDER, ret_fd);
}

int place_open_parent(struct call *call, const char *path, int *ret_fd, const char **ret_name)
{
	struct mount_map map;
	int r = mount_map_own(&map);

	r = r < 0 ? call_fail_errno(call, r, "the mount table")
		  : open_parent_in(call, &map, path, 0, ret_fd, ret_name);
	mount_map_done(&map);
	return r;
}

int place_open_entry(struct call *call, const char *path, unsigned int flags, enum touch how,
	int *ret_fd, const char **ret_name)
{
	struct crossing crossings[CROSSINGS_MAX];
	struct mount_map map;
	size_t n = 0;
	int r = mount_map_own(&map);

	if (r == 0)
		r = mount_path_crossings(&map, path, crossings, &n);
	if (r < 0)
		r = call_fail_errno(call, r, "%s", path);
	else
		r = check_responds(call, path, crossings, n, how);
	if (r == 0)
		r = open_parent_in(call, &map, path, flags, ret_fd, ret_name);
	mount_map_done(&map);
	if (r == 0 && n > 0)
		worker_touch(call, crossings[n - 1].device, how);
	return r;
}
