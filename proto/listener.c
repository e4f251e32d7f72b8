/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "listener.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"

#define ACCEPT_ROUND 64 /* connections taken in one */
#define REST_NS      (100 * NSEC_PER_MSEC)

void listener_init(struct listener *listener)
{
	*listener = (struct listener){.fd = -EBADF};
}

static void on_retry(struct loop_timer *timer)
{
	listener_resume(container_of(timer, struct listener, retry));
}

static void rest(struct listener *listener, int sys_errno)
{
	if (!listener->resting)
		log_warning("connections wait: %s", strerror(sys_errno));
	listener->resting = true;
	(void)loop_io_set(&listener->io, 0);
	loop_timer_set(listener->io.loop, &listener->retry, monotonic_ns() + REST_NS);
}

static void on_connections(struct loop_io *io, uint32_t events)
{
	struct listener *listener = container_of(io, struct listener, io);

	(void)events;
	/* fn may pause it, or close it. */
	for (int i = 0; i < ACCEPT_ROUND && listener->io.events == EPOLLIN; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t len = sizeof(peer);
		int fd = accept4(
			listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			listener->resting = false;
			listener->fn(listener, fd, &peer);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			rest(listener, errno);
		}
	}
}

int listener_start(struct listener *listener, struct loop *loop, int fd,
	void (*fn)(struct listener *listener, int fd, const struct sockaddr_storage *peer))
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
	loop_timer_del(&listener->retry);
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
