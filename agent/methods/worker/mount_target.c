/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/cleanup.h"

bool target_is_protected(const char *path)
{
	static const char *const protected[] = {"/", "/proc", "/sys", "/dev", "/run", "/etc",
		"/usr", "/bin", "/sbin", "/lib", "/lib64"};

	for (size_t i = 0; i < ARRAY_SIZE(protected); i++)
		if (strcmp(path, protected[i]) == 0)
			return true;
	return false;
}

/* openat2() since Linux 5.6; the C library has no wrapper. */
static int open_strict(int dir, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int fail_open(struct call *call, int r, const char *path)
{
	if (r == -ELOOP)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ELOOP,
			"%s: a symbolic link is in this path; give the path it stands for", path);
	if (r == -ENOENT)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT,
			"%s: no such folder; create_target makes it", path);
	return call_fail_errno(call, r, "%s", path);
}

/* Walks the path part by part and makes what is missing. */
static int open_or_create(const char *path, int *ret_fd)
{
	AUTO_CLOSE int dir = open_strict(AT_FDCWD, "/");
	char part[NAME_MAX + 1];

	if (dir < 0)
		return dir;
	while (path += strspn(path, "/"), *path != '\0') {
		size_t len = strcspn(path, "/");
		int next;

		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(part, path, len);
		part[len] = '\0';
		if (mkdirat(dir, part, 0755) < 0 && errno != EEXIST && errno != EROFS)
			return -errno;
		next = open_strict(dir, part);
		if (next < 0)
			return next;
		(void)fd_close(dir);
		dir = next;
		path += len;
	}
	*ret_fd = take_fd(&dir);
	return 0;
}

int target_open(struct call *call, const char *path, bool create, int *ret_fd)
{
	int fd = open_strict(AT_FDCWD, path), r;

	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	r = fd;
	if (r == -ENOENT && create)
		r = open_or_create(path, ret_fd);
	return r < 0 ? fail_open(call, r, path) : 0;
}

int target_open_parent(struct call *call, const char *path, int *ret_fd, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char *parent = arena_copy(call->arena, path, (size_t)(slash - path) + 1);
	int fd;

	if (!parent)
		return -ENOMEM;
	fd = open_strict(AT_FDCWD, parent);
	if (fd < 0)
		return fail_open(call, fd, parent);
	*ret_fd = fd;
	*ret_name = slash + 1;
	return 0;
}
