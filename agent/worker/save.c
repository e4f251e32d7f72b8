/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/worker/save.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/worker.h"
#include "proto/cleanup.h"
#include "proto/replace.h"

int save_history(struct call *call, int from)
{
	const char *path = worker_facts(call)->state_dir;
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st, history;
	void *data;
	int r;

	/* Only then: making a folder that is there waits for a frozen disk too. */
	if (dir < 0 && errno == ENOENT && mkdir(path, 0700) == 0)
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || fstat(dir, &st) < 0 || fstat(from, &history) < 0)
		return -errno;
	/* In the run folder, and never made shorter. */
	data = mmap(NULL, (size_t)history.st_size, PROT_READ, MAP_SHARED, from, 0);
	if (data == MAP_FAILED)
		return -errno;
	worker_touch(call, st.st_dev, TOUCH_WRITE);
	r = replace_file(dir, "load", 0600, data, (size_t)history.st_size);
	worker_touch_done(call);
	(void)munmap(data, (size_t)history.st_size);
	return r;
}
