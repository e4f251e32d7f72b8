/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/file_place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/methods/place.h"
#include "proto/copy/open.h"
#include "proto/openat2.h"

/* What is behind the folder in the path, without its slash; NULL: it is not beneath it. */
static const char *behind(const char *root, const char *path)
{
	size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);

	if (strncmp(root, path, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return NULL;
	return path + len + (path[len] == '/');
}

const char *file_place_root(struct call *call, const char *list, const char *path)
{
	const char *found = NULL;

	while (*list) {
		size_t len = strcspn(list, ":");
		const ProtobufCBinaryData bytes = {.len = len, .data = (uint8_t *)list};
		const char *root = call_path(call, true, &bytes, "a folder of the settings");

		if (!root)
			return NULL;
		if (behind(root, path) && (!found || strlen(root) > strlen(found)))
			found = root;
		list += len + (list[len] == ':');
	}
	return found;
}

/* From the folder on, links and all; the kernel keeps them beneath it. */
static int open_followed(struct call *call, struct file_place *place)
{
	int r = place_check(call, place->path, TOUCH_LOOK);

	if (r == 0)
		r = place_open(call, place->root, PLACE_FOLDER, &place->dir);
	worker_touch_done(call);
	place->name = place->below[0] ? place->below : ".";
	return r;
}

static int open_place_beneath(
	struct call *call, unsigned int flags, enum touch how, struct file_place *place)
{
	AUTO_CLOSE int root = -EBADF;
	int r;

	place->follow = flags & FILE_FOLLOW;
	if (place->follow)
		return open_followed(call, place);
	/* The folder itself is not made, however much is made below it. */
	r = flags & FILE_PARENTS ? place_open(call, place->root, PLACE_FOLDER, &root) : 0;
	if (r == 0)
		r = place_open_entry(call, place->path, flags & FILE_PARENTS ? PLACE_CREATE : 0,
			how, &place->dir, &place->name);
	return r;
}

int file_place_open(struct call *call, bool has, const ProtobufCBinaryData *path,
	unsigned int flags, enum touch how, struct file_place *place)
{
	const char *list = worker_facts(call)->files_roots;

	place->path = call_path(call, has, path, "path");
	if (!place->path)
		return -EINVAL;
	place->root = file_place_root(call, list, place->path);
	if (!place->root)
		return call_fail(call, POSTERN__V1__CODE__PERMISSION_DENIED, EACCES,
			"%s: beneath none of the folders that the guest's setting files_roots "
			"names%s%s",
			place->path, list[0] ? ": " : "; it names none", list);
	place->below = behind(place->root, place->path);
	return open_place_beneath(call, flags, how, place);
}

int file_place_open_below(struct call *call, const char *root, const char *below,
	unsigned int flags, enum touch how, struct file_place *place)
{
	below += strspn(below, "/");
	place->root = root;
	place->path = below[0] == '\0' ? arena_strdup(call->arena, root)
				       : arena_printf(call->arena, "%s/%s",
						 strcmp(root, "/") == 0 ? "" : root, below);
	if (!place->path)
		return -ENOMEM;
	place->below = behind(root, place->path);
	return open_place_beneath(call, flags, how, place);
}

int file_place_is_inside(struct call *call, const struct file_place *place)
{
	if (place->below[0] != '\0')
		return 0;
	return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EBUSY,
		"%s: the folder itself that files are beneath", place->path);
}

int file_look(const struct file_place *place)
{
	uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;

	if (place->follow)
		return path_open(place->dir, place->name, O_PATH, 0, resolve);
	return path_open(
		place->dir, place->name, O_PATH | O_NOFOLLOW, 0, resolve | RESOLVE_NO_SYMLINKS);
}

/* File systems whose files are the kernel's: to write to one is to do something else. */
static bool is_of_kernel(int fd)
{
	static const unsigned long types[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC,
		TRACEFS_MAGIC, SECURITYFS_MAGIC, SELINUX_MAGIC, SMACK_MAGIC, CGROUP_SUPER_MAGIC,
		CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC, EFIVARFS_MAGIC, BINFMTFS_MAGIC,
		0x62656570 /* configfs, which linux/magic.h lacks */};
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((unsigned long)st.f_type == types[i])
			return true;
	return false;
}

static int open_kind(
	struct call *call, const struct file_place *place, int flags, mode_t kind, int *ret_fd)
{
	AUTO_CLOSE int at = file_look(place);
	struct stat st;
	int r = at < 0 ? at : fstat(at, &st) < 0 ? -errno : 0;

	if (r == 0 && kind == S_IFREG && S_ISDIR(st.st_mode))
		r = -EISDIR;
	if (r == 0 && kind == S_IFDIR && S_ISREG(st.st_mode))
		r = -ENOTDIR;
	if (r == 0 && (flags & O_ACCMODE) != O_RDONLY && is_of_kernel(at))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"%s: the kernel's own, and no file to write to", place->path);
	if (r == 0)
		r = open_place(at, flags, ret_fd);
	return r < 0 ? file_fail(call, place, r) : 0;
}

int file_open(struct call *call, const struct file_place *place, int flags, int *ret_fd)
{
	return open_kind(call, place, flags, 0, ret_fd);
}

int file_open_regular(struct call *call, const struct file_place *place, int flags, int *ret_fd)
{
	return open_kind(call, place, flags, S_IFREG, ret_fd);
}

int file_open_folder(struct call *call, const struct file_place *place, int *ret_fd)
{
	return open_kind(call, place, O_RDONLY | O_DIRECTORY, S_IFDIR, ret_fd);
}

int file_fail(struct call *call, const struct file_place *place, int negative_errno)
{
	const char *path = place->path;

	switch (negative_errno) {
	case -ELOOP:
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ELOOP,
			"%s: a symbolic link%s", path,
			place->follow ? " that leads in a circle"
				      : "; give the path it stands for");
	case -EXDEV:
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EXDEV,
			"%s: leads out of %s", path, place->root);
	case -ENOTSUP:
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ENOTSUP,
			"%s: neither a file nor a folder", path);
	default:
		return call_fail_errno(call, negative_errno, "%s", path);
	}
}

int file_fail_undone(struct call *call, const struct file_place *place, int negative_errno)
{
	call->outcome = POSTERN__V1__OUTCOME__NOT_DONE;
	return file_fail(call, place, negative_errno);
}
