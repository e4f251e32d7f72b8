/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "proto/cleanup.h"
#include "proto/clock.h"

/* Connections taken in one round, and the rest when there is no descriptor or memory for one. */
#define ACCEPT_ROUND   64
#define ACCEPT_REST_NS (100 * NSEC_PER_MSEC)

static int check_directory(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = ".";
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (slash) {
		size_t len = slash == path ? 1 : (size_t)(slash - path);

		memcpy(dir, path, len);
		dir[len] = '\0';
	}
	if (stat(dir, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return -EPERM;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX))
		return -EPERM;
	return 0;
}

static int remove_stale(const struct sockaddr_un *addr)
{
	AUTO_CLOSE int fd = -EBADF;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

int listener_open(const char *path, int *ret_fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = -EBADF;
	size_t len = strlen(path);
	mode_t mask;
	int r;

	if (len == 0 || len >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, len);
	r = check_directory(path);
	if (r < 0)
		return r;
	r = remove_stale(&addr);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r < 0)
		return r;
	if (listen(fd, SOMAXCONN) < 0) {
		r = -errno;
		(void)unlink(path);
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

void listener_init(struct listener *listener)
{
	*listener = (struct listener){.fd = -EBADF};
}

static void on_retry(struct loop_timer *timer)
{
	listener_resume(container_of(timer, struct listener, retry));
}

static void on_connections(struct loop_io *io, uint32_t events)
{
	struct listener *listener = container_of(io, struct listener, io);

	(void)events;
	/* fn may pause it, or close it. */
	for (int i = 0; i < ACCEPT_ROUND && listener->io.events == EPOLLIN; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			listener->fn(listener, fd);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			/* It would wake the loop over and over. */
			listener_pause(listener);
			loop_timer_set(io->loop, &listener->retry, monotonic_ns() + ACCEPT_REST_NS);
		}
	}
}

int listener_start(struct listener *listener, struct loop *loop, int fd,
	void (*fn)(struct listener *listener, int fd))
{
	int r;

	*listener = (struct listener){
		.fd = fd, .fn = fn, .io.fn = on_connections, .retry.fn = on_retry};
	r = loop_io_add(loop, &listener->io, fd, EPOLLIN);
	if (r < 0)
		listener->fd = fd_close(fd);
	return r;
}

void listener_pause(struct listener *listener)
{
	(void)loop_io_set(&listener->io, 0);
}

void listener_resume(struct listener *listener)
{
	(void)loop_io_set(&listener->io, EPOLLIN);
}

void listener_close(struct listener *listener)
{
	loop_timer_del(&listener->retry);
	loop_io_del(&listener->io);
	listener->io.events = 0;
	listener->fd = fd_close(listener->fd);
}
