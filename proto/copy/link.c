/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/copy/link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How the path goes up is known only while nothing went down: any name in it may be another link.
 * So
 * ".." stands at the start, where the folder of the link itself counts, or not at all. */
bool link_stays_inside(unsigned int depth, const char *target, size_t len)
{
	const char *at = target, *end = target + len;
	bool went_down = false;

	if (len == 0 || len >= PATH_MAX || at[0] == '/' || memchr(at, '\0', len))
		return false;
	while (at < end) {
		const char *slash = memchr(at, '/', (size_t)(end - at));
		size_t part = (size_t)((slash ? slash : end) - at);

		if (part == 2 && at[0] == '.' && at[1] == '.') {
			/* The target itself is not what came. */
			if (went_down || depth <= 1)
				return false;
			depth--;
		} else if (part > 0 && !(part == 1 && at[0] == '.')) {
			went_down = true;
		}
		at += part + 1;
	}
	return true;
}

int link_make(int dir, const char *name, const char *target)
{
	char temporary[NAME_MAX + 1];
	struct stat st;

	if (symlinkat(target, dir, name) == 0)
		return 0;
	if (errno != EEXIST || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISLNK(st.st_mode))
		return -EEXIST;
	(void)snprintf(temporary, sizeof(temporary), ".postern-link-%d", getpid());
	if (symlinkat(target, dir, temporary) < 0)
		return -errno;
	if (renameat(dir, temporary, dir, name) < 0) {
		int r = -errno;

		(void)unlinkat(dir, temporary, 0);
		return r;
	}
	return 0;
}
