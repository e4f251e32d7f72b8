/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/common/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/cleanup.h"

static int fill_address(const char *path, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_address->sun_path, path, strlen(path));
	return 0;
}

int unix_listen(const char *path, int backlog)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	int r = fill_address(path, &address);

	if (r < 0)
		return r;
	if (fd < 0)
		return -errno;
	(void)unlink(path);
	/* The file gets the socket's mode without what the umask takes away (Linux, unix_bind());
	 * the umask itself is the whole program's, and not ours to change. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, backlog) < 0)
		r = -errno;
	return r < 0 ? r : take_fd(&fd);
}

bool unix_is_bound(const char *path)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	/* A datagram socket cannot, which is found out only where somebody is (Linux, af_unix.c:
	 * else ECONNREFUSED or ENOENT). */
	return fd >= 0 && fill_address(path, &address) == 0 &&
	       connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno == EPROTOTYPE;
}

int unix_connect(const char *path, int timeout_ms)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000L};
	struct sockaddr_un address;
	int r = fill_address(path, &address);

	if (r < 0)
		return r;
	if (fd < 0)
		return -errno;
	/* A send time-out is also that of connect() (unix(7): a full backlog waits). */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	limit = (struct timeval){0};
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return take_fd(&fd);
}
