/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/initramfs/cpio.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define HEADER_SIZE 110
#define COPY_SIZE   65536

static int put(struct cpio *cpio, const void *data, size_t len)
{
	if (len > 0 && fwrite(data, 1, len, cpio->out) != len)
		return -EIO;
	cpio->at += len;
	return 0;
}

/* Headers with their name, and data, each end on a multiple of 4 bytes. */
static int pad(struct cpio *cpio)
{
	static const char zeros[4];

	return put(cpio, zeros, (size_t)(-cpio->at & 3));
}

static int header(struct cpio *cpio, const char *path, mode_t mode, dev_t rdev, uint64_t size)
{
	char text[HEADER_SIZE + 1];
	size_t name_size = strlen(path) + 1;
	int r;

	if (name_size > PATH_MAX)
		return -ENAMETOOLONG;
	if (size > UINT32_MAX)
		return -EFBIG;
	(void)snprintf(text, sizeof(text),
		"070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ++cpio->inode,
		(unsigned)mode, 0u, 0u, S_ISDIR(mode) ? 2u : 1u, 0u, (unsigned)size, 0u, 0u,
		major(rdev), minor(rdev), (unsigned)name_size, 0u);
	r = put(cpio, text, HEADER_SIZE);
	if (r == 0)
		r = put(cpio, path, name_size);
	return r == 0 ? pad(cpio) : r;
}

int cpio_entry(
	struct cpio *cpio, const char *path, mode_t mode, dev_t rdev, const void *data, size_t len)
{
	int r = header(cpio, path, mode, rdev, len);

	if (r == 0)
		r = put(cpio, data, len);
	return r == 0 ? pad(cpio) : r;
}

int cpio_file(struct cpio *cpio, const char *path, mode_t mode, int fd, uint64_t size)
{
	char block[COPY_SIZE];
	int r = header(cpio, path, mode, 0, size);

	while (r == 0 && size > 0) {
		ssize_t n = read(fd, block, size < sizeof(block) ? (size_t)size : sizeof(block));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO; /* it shrank under us: the header's size is out already */
		r = put(cpio, block, (size_t)n);
		size -= (uint64_t)n;
	}
	return r == 0 ? pad(cpio) : r;
}

int cpio_end(struct cpio *cpio)
{
	return cpio_entry(cpio, "TRAILER!!!", 0, 0, NULL, 0);
}
