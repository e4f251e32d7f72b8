/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/worker/save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/worker.h"
#include "proto/cleanup.h"

static int copy(int from, int to)
{
	char chunk[16384];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(from, chunk, sizeof(chunk), at)) > 0) {
		if (write(to, chunk, (size_t)n) != n)
			return errno ? -errno : -EIO;
		at += n;
	}
	if (n < 0 || fsync(to) < 0)
		return -errno;
	return 0;
}

int save_history(struct call *call, int from)
{
	const char *path = worker_facts(call)->state_dir;
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_CLOSE int to = -EBADF;
	struct stat st;
	int r;

	/* Only then: making a folder that is there waits for a frozen disk too. */
	if (dir < 0 && errno == ENOENT && mkdir(path, 0700) == 0)
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || fstat(dir, &st) < 0)
		return -errno;
	worker_touch(call, st.st_dev, TOUCH_WRITE);
	(void)unlinkat(dir, "load.new", 0);
	to = openat(dir, "load.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		return -errno;
	r = copy(from, to);
	if (r == 0 && renameat(dir, "load.new", dir, "load") < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir, "load.new", 0);
	worker_touch_done(call);
	return r;
}
