/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"

static int look_at(const char *name, struct process *ret)
{
	AUTO_CLOSE int comm = -EBADF;
	struct stat st;
	ssize_t n;

	ret->pid = (pid_t)strtol(name, NULL, 10);
	if (fstat(ret->dir, &st) < 0)
		return -errno;
	ret->uid = st.st_uid;
	comm = openat(ret->dir, "comm", O_RDONLY | O_CLOEXEC);
	n = comm < 0 ? -1 : read(comm, ret->command, sizeof(ret->command) - 1);
	if (n < 0)
		return -errno;
	ret->command[n] = '\0';
	ret->command[strcspn(ret->command, "\n")] = '\0';
	return 0;
}

int process_each(void (*fn)(void *ctx, const struct process *process), void *ctx)
{
	DIR *proc = opendir("/proc");

	if (!proc)
		return -errno;
	for (struct dirent *entry; (entry = readdir(proc));) {
		struct process process = {.dir = -EBADF};

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		process.dir =
			openat(dirfd(proc), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (process.dir >= 0 && look_at(entry->d_name, &process) == 0)
			fn(ctx, &process);
		(void)fd_close(process.dir);
	}
	(void)closedir(proc);
	return 0;
}

void user_name(uid_t uid, char *name, size_t size)
{
	AUTO_FILE FILE *file = fopen("/etc/passwd", "re");
	struct passwd *user;

	/* Not the name service: that may ask a server that hangs. */
	name[0] = '\0';
	while (file && (user = fgetpwent(file)))
		if (user->pw_uid == uid) {
			(void)snprintf(name, size, "%s", user->pw_name);
			return;
		}
}
