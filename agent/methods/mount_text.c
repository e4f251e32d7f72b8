/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/mount_text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proto/cleanup.h"

#define READ_LEAST 1024 /* each read of the kernel's text costs a call */

int mount_text_read(int fd, struct buffer *text)
{
	ssize_t n;

	do {
		uint8_t *at = buffer_reserve(text, READ_LEAST);

		if (!at)
			return -ENOMEM;
		n = pread(fd, at, text->size - text->end, (off_t)buffer_len(text));
		if (n > 0)
			buffer_commit(text, (size_t)n);
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : 0;
}

int mount_text_own(struct buffer *text)
{
	AUTO_CLOSE int mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

	return mountinfo < 0 ? -errno : mount_text_read(mountinfo, text);
}
