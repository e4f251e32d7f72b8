/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/initramfs/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/common/file.h"
#include "proto/cleanup.h"

#define KEEP   6
#define PREFIX "initramfs-"

struct image_file {
	char name[NAME_MAX + 1];
	struct timespec used;
};

int cache_find(const char *dir, const char *hash, char **ret_path)
{
	AUTO_FREE char *path = text_format("%s/" PREFIX "%.32s.cpio", dir, hash);

	if (!path)
		return -ENOMEM;
	if (utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret_path = take_ptr(path);
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct timespec *x = &((const struct image_file *)a)->used;
	const struct timespec *y = &((const struct image_file *)b)->used;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? 1 : -1;
	return x->tv_nsec < y->tv_nsec ? 1 : x->tv_nsec > y->tv_nsec ? -1 : 0;
}

static void prune(const char *dir)
{
	AUTO_FREE struct image_file *files = NULL;
	DIR *stream = opendir(dir);
	size_t n = 0;
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		struct image_file *more;
		struct stat st;

		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 ||
			fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		more = reallocarray(files, n + 1, sizeof(*files));
		if (!more)
			break;
		files = more;
		(void)snprintf(files[n].name, sizeof(files[n].name), "%s", entry->d_name);
		files[n++].used = st.st_mtim;
	}
	if (n > KEEP)
		qsort(files, n, sizeof(*files), newest_first);
	/* A running VMM has its image in memory already: dropping the file takes nothing from it.
	 */
	for (size_t i = KEEP; i < n; i++)
		(void)unlinkat(dirfd(stream), files[i].name, 0);
	if (stream)
		(void)closedir(stream);
}

int cache_write(const char *dir, const char *hash, struct image *image, char **ret_path,
	const char **ret_source)
{
	AUTO_FREE char *path = text_format("%s/" PREFIX "%.32s.cpio", dir, hash);
	AUTO_FREE char *other = text_format("%s/" PREFIX "%.32s.XXXXXX", dir, hash);
	FILE *out;
	int fd, r;

	*ret_source = NULL;
	if (!path || !other)
		return -ENOMEM;
	fd = mkostemp(other, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	out = fdopen(fd, "w");
	if (!out) {
		r = -errno;
		(void)close(fd);
	} else {
		r = image_write(image, out, ret_source);
		if (fclose(out) != 0 && r == 0)
			r = -errno;
	}
	if (r == 0 && rename(other, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(other);
		return r;
	}
	prune(dir);
	*ret_path = take_ptr(path);
	return 0;
}
