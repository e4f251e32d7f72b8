/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/file_folder_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/copy/open.h"
#include "proto/openat2.h"

#define FOLDERS_MAX 65536
#define DEPTH_MAX   128
#define MASK                                                                                       \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE |        \
		IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)
#define OPEN_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK)
#define BELOW      (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

/* One walk down. */
struct walk {
	bool told;  /* what is found came just now */
	bool again; /* what is in folders that are found came just now */
	bool all;   /* what cannot be watched ends it */
	unsigned int depth;
};

static int scan(struct file_folders *folders, struct watched_folder *folder, int fd,
	const struct walk *walk);

/* ---- watches ---- */

uint64_t file_folders_kernel_most(void)
{
	AUTO_FILE FILE *file = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
	unsigned long long most;

	return file && fscanf(file, "%llu", &most) == 1 ? most : 0;
}

/* The number of an opened folder's watch, new or not; or -errno. */
static int watch(const struct file_folders *folders, int fd)
{
	char path[32];
	int wd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(folders->inotify, path, MASK);
	return wd < 0 ? -errno : wd;
}

/* The root as it is now; the caller's descriptor, or -errno. */
static int open_root(const struct file_folders *folders)
{
	AUTO_CLOSE int fd = path_open(AT_FDCWD, folders->path, OPEN_FLAGS, 0,
		RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	struct stat st;

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? -ESTALE : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != folders->device || st.st_ino != folders->inode)
		return -ESTALE;
	return take_fd(&fd);
}

/* A folder that is known, if it is at its path; the caller's descriptor, or -errno: -ESTALE. */
static int open_known(const struct file_folders *folders, const struct watched_folder *folder)
{
	AUTO_CLOSE int root = open_root(folders);
	AUTO_CLOSE int fd = -EBADF;
	char path[PATH_MAX];
	size_t skip = strcmp(folders->path, "/") == 0 ? 1 : strlen(folders->path) + 1;
	int wd, r;

	if (!folder->parent || root < 0)
		return take_fd(&root);
	r = file_folders_path(folders, folder, "", path);
	fd = r < 0 ? r : path_open(root, path + skip, OPEN_FLAGS, 0, BELOW);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? -ESTALE : fd;
	wd = watch(folders, fd);
	if (wd == folder->wd)
		return take_fd(&fd);
	/* Another one, which comes with an event of its own. */
	if (wd >= 0 && !file_folders_find(folders, wd))
		(void)inotify_rm_watch(folders->inotify, wd);
	return wd < 0 ? wd : -ESTALE;
}

/* One that has something that was not found, and is where it is thought to be; NULL: none. */
static struct watched_folder *find_missed(
	const struct file_folders *folders, struct watched_folder *top, int *ret_fd)
{
	for (struct watched_folder *at = top; folders->missed > 0 && at;
		at = folder_following(top, at)) {
		int fd = at->missed ? open_known(folders, at) : -ENOENT;

		if (fd >= 0) {
			*ret_fd = fd;
			return at;
		}
	}
	return NULL;
}

/* It is known by the right path now, and so is what is below: what was not found is there. */
static int scan_missed(struct file_folders *folders, struct watched_folder *top)
{
	const struct walk walk = {.again = true, .depth = folder_depth(top)};
	struct watched_folder *folder;
	int fd, r = 0;

	/* Each of them once: what is missed by this look is found by a later one. */
	for (uint32_t left = folders->missed; r == 0 && left > 0; left--) {
		folder = find_missed(folders, top, &fd);
		if (!folder)
			break;
		folder->missed = false;
		folders->missed--;
		r = scan(folders, folder, fd, &walk);
		(void)fd_close(fd);
	}
	return r;
}

/* An opened folder that is here now. */
static int take(struct file_folders *folders, struct watched_folder *parent, const char *name,
	int fd, const struct walk *walk)
{
	struct watched_folder *folder;
	int wd;

	if (walk->depth >= DEPTH_MAX)
		return -ENAMETOOLONG;
	wd = watch(folders, fd);
	if (wd < 0)
		return wd;
	folder = file_folders_find(folders, wd);
	if (folder) {
		int r = folder_move(folders, folder, parent, name);

		return r < 0 || folders->missed == 0 ? r : scan_missed(folders, folder);
	}
	if (folders->n >= folders->most) {
		(void)inotify_rm_watch(folders->inotify, wd);
		return -ENOSPC;
	}
	folder = folder_add(folders, wd, parent, name);
	return folder ? scan(folders, folder, fd, walk) : -ENOMEM;
}

static const char *why(int r)
{
	switch (r) {
	case -EXDEV:
		return "something is mounted there: watch it by its own path";
	case -ENOSPC:
		return "there are no more watches (fs.inotify.max_user_watches)";
	case -ENAMETOOLONG:
		return "too deep";
	default:
		return NULL;
	}
}

/* 0, or -errno where nothing else can be watched either. */
static int tell(struct file_folders *folders, struct watched_folder *parent, const char *name,
	int r, bool all)
{
	char path[PATH_MAX];

	/* What is gone by now was not there; nor was what is no folder any more. */
	if (r >= 0 || r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		return 0;
	if (all && (r == -ENOSPC || r == -ENOMEM))
		return r;
	if (file_folders_path(folders, parent, name, path) == 0)
		file_changes_problem(folders->changes, path, -r, why(r));
	return 0;
}

static int scan_one(struct file_folders *folders, struct watched_folder *folder, int dir,
	const struct dirent *entry, const struct walk *walk)
{
	const struct walk below = {
		.told = walk->told || walk->again, .all = walk->all, .depth = walk->depth + 1};
	AUTO_CLOSE int fd = -EBADF;
	char path[PATH_MAX];
	int r;

	if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
		return 0;
	if (walk->told && file_folders_path(folders, folder, entry->d_name, path) == 0)
		file_changes_add(folders->changes, path,
			POSTERN__V1__FILE_CHANGE_KIND__FILE_CREATED, entry->d_type == DT_DIR, NULL);
	if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)
		return 0;
	fd = path_open(dir, entry->d_name, OPEN_FLAGS, 0, BELOW);
	r = fd < 0 ? fd : take(folders, folder, entry->d_name, fd, &below);
	return tell(folders, folder, entry->d_name, r, walk->all);
}

/* What is below a folder that is watched already, so that nothing comes unnoticed meanwhile. */
static int scan(struct file_folders *folders, struct watched_folder *folder, int fd,
	const struct walk *walk)
{
	AUTO(dir_closep) DIR *dir = folders->recursive ? dir_open(fd) : NULL;
	const struct dirent *entry;
	int r = 0;

	if (!folders->recursive)
		return 0;
	if (!dir)
		return -errno;
	while (r == 0) {
		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return -errno;
		r = scan_one(folders, folder, dirfd(dir), entry, walk);
	}
	return r;
}

/* ---- from the outside ---- */

void file_folders_done(struct file_folders *folders)
{
	folders->inotify = fd_close(folders->inotify);
	if (folders->root)
		file_folders_drop(folders, folders->root);
}

int file_folders_begin(struct file_folders *folders, int root, bool all)
{
	const struct walk walk = {.all = all};
	uint64_t kernel = file_folders_kernel_most();
	struct stat st;
	int wd;

	/* The kernel counts for a user, which is root here: what else root runs needs some too. */
	folders->most = kernel > 0 && kernel / 4 * 3 < FOLDERS_MAX ? (uint32_t)(kernel / 4 * 3)
								   : FOLDERS_MAX;
	folders->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (folders->inotify < 0 || fstat(root, &st) < 0)
		return -errno;
	folders->device = st.st_dev;
	folders->inode = st.st_ino;
	wd = watch(folders, root);
	if (wd < 0)
		return wd;
	folders->root = folder_add(folders, wd, NULL, "");
	return folders->root ? scan(folders, folders->root, root, &walk) : -ENOMEM;
}

int file_folders_again(struct file_folders *folders)
{
	AUTO_CLOSE int root = open_root(folders);

	if (root < 0)
		return root;
	file_folders_done(folders);
	return file_folders_begin(folders, root, false);
}

void file_folders_came(
	struct file_folders *folders, struct watched_folder *parent, const char *name, bool told)
{
	const struct walk walk = {.told = told, .depth = folder_depth(parent) + 1};
	AUTO_CLOSE int dir = -EBADF;
	AUTO_CLOSE int fd = -EBADF;
	int r;

	if (!folders->recursive)
		return;
	dir = open_known(folders, parent);
	if (dir == -ESTALE) {
		folder_miss(folders, parent);
		return;
	}
	fd = dir < 0 ? dir : path_open(dir, name, OPEN_FLAGS, 0, BELOW);
	r = fd < 0 ? fd : take(folders, parent, name, fd, &walk);
	(void)tell(folders, parent, name, r, false);
}

bool file_folders_is_there(struct file_folders *folders, struct watched_folder *folder)
{
	AUTO_CLOSE int fd = open_known(folders, folder);

	if (fd >= 0)
		return true;
	if (folder->parent) {
		AUTO_CLOSE int above = open_known(folders, folder->parent);

		/* It may be where it was, in one that has moved. */
		if (above == -ESTALE)
			folder_miss(folders, folder->parent);
		file_folders_drop(folders, folder);
	}
	return false;
}
