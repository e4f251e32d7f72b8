/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/copy/open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/copy/copy.h"
#include "proto/openat2.h"

int open_place(int place, int flags, int *ret_fd)
{
	struct stat st;
	char path[64];
	int fd;

	if (fstat(place, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -ENOTSUP;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
	fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int open_entry(int dir, const char *name, int *ret_fd)
{
	AUTO_CLOSE int place = path_open(dir, name, O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_MAGICLINKS);

	return place < 0 ? place : open_place(place, O_RDONLY, ret_fd);
}

int copy_open_source(int dir, const char *path, uint64_t resolve, bool recursive, int *ret_fd)
{
	AUTO_CLOSE int place = path_open(dir, path, O_PATH, 0, resolve);
	AUTO_CLOSE int fd = -EBADF;
	struct stat st;
	int r = place < 0 ? place : open_place(place, O_RDONLY, &fd);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode) && !recursive)
		return -EISDIR;
	*ret_fd = take_fd(&fd);
	return 0;
}

DIR *dir_open(int fd)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own < 0 ? NULL : fdopendir(own);

	if (!dir)
		(void)fd_close(own);
	return dir;
}

static void count_entries(int fd, unsigned int depth, uint64_t *files, uint64_t *bytes)
{
	AUTO(dir_closep) DIR *dir = dir_open(fd);

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(st.st_mode)) {
			(*files)++;
			*bytes += (uint64_t)st.st_size;
		} else if (S_ISDIR(st.st_mode)) {
			AUTO_CLOSE int below = openat(
				fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (below >= 0)
				open_count(below, depth + 1, files, bytes);
		}
	}
}

void open_count(int fd, unsigned int depth, uint64_t *files, uint64_t *bytes)
{
	struct stat st;

	if (depth > COPY_DEPTH_MAX || fstat(fd, &st) < 0)
		return;
	if (S_ISDIR(st.st_mode)) {
		count_entries(fd, depth, files, bytes);
		return;
	}
	(*files)++;
	*bytes += (uint64_t)st.st_size;
}

const char *copy_name_of(const char *path, size_t *ret_len)
{
	size_t end = strlen(path), start;

	while (end > 0 && path[end - 1] == '/')
		end--;
	start = end;
	while (start > 0 && path[start - 1] != '/')
		start--;
	/* All of a machine has no name of its own. */
	if (start == end) {
		*ret_len = strlen("root");
		return "root";
	}
	*ret_len = end - start;
	return path + start;
}

/* The part of a path behind its last slash, and a copy of what is before it. */
static int split(const char *path, char parent[PATH_MAX], const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	(void)snprintf(parent, PATH_MAX, "%.*s", (int)len, path);
	if (!slash)
		(void)snprintf(parent, PATH_MAX, ".");
	else if (len == 0)
		(void)snprintf(parent, PATH_MAX, "/");
	*ret_name = slash ? slash + 1 : path;
	if (strlen(*ret_name) > NAME_MAX)
		return -ENAMETOOLONG;
	return (*ret_name)[0] == '\0' || strcmp(*ret_name, ".") == 0 || strcmp(*ret_name, "..") == 0
		       ? -EISDIR
		       : 0;
}

int copy_open_target(
	const char *path, uint64_t resolve, bool into_folder, int *ret_dir, const char **ret_name)
{
	char parent[PATH_MAX];
	int fd = path_open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, resolve), r;

	*ret_name = NULL;
	if (fd >= 0 || into_folder || (fd != -ENOENT && fd != -ENOTDIR)) {
		*ret_dir = fd;
		return fd < 0 ? fd : 0;
	}
	r = split(path, parent, ret_name);
	if (r < 0)
		return r == -EISDIR ? -ENOENT : r;
	fd = path_open(AT_FDCWD, parent, O_PATH | O_DIRECTORY, 0, resolve);
	*ret_dir = fd;
	return fd < 0 ? fd : 0;
}
