/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "write.h"

int replace_file(int dir, const char *name, mode_t mode, const void *data, size_t len)
{
	const char *slash = strrchr(name, '/');
	size_t folder = slash ? (size_t)(slash + 1 - name) : 0;
	AUTO_CLOSE int fd = -EBADF;
	char fresh[PATH_MAX];
	int r;

	if (snprintf(fresh, sizeof(fresh), "%.*s.%s.new", (int)folder, name, name + folder) >=
		(int)sizeof(fresh))
		return -ENAMETOOLONG;
	(void)unlinkat(dir, fresh, 0);
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = write_all(fd, data, len);
	if (r == 0 &&
		(fchmod(fd, mode) < 0 || fsync(fd) < 0 || renameat(dir, fresh, dir, name) < 0))
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir, fresh, 0);
	return r;
}
