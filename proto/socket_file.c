/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

#define TRIES    50
#define AGAIN_NS 20000000

int folder_lock(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX] = ".";
	int fd;

	if (slash && snprintf(folder, sizeof(folder), "%.*s",
			     slash == path ? 1 : (int)(slash - path), path) >= (int)sizeof(folder))
		return -ENAMETOOLONG;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
		(void)nanosleep(&(struct timespec){.tv_nsec = AGAIN_NS}, NULL);
	return fd < 0 ? -errno : fd;
}

struct socket_file socket_file_at(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return (struct socket_file){0};
	return (struct socket_file){.number = st.st_ino, .changed = st.st_ctim};
}

void socket_file_remove(const char *path, const struct socket_file *ours)
{
	AUTO_CLOSE int folder = folder_lock(path);
	struct socket_file now = socket_file_at(path);

	(void)folder;
	if (now.number == ours->number && now.changed.tv_sec == ours->changed.tv_sec &&
		now.changed.tv_nsec == ours->changed.tv_nsec)
		(void)unlink(path);
}
