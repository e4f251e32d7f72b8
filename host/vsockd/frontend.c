/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/vsockd/frontend.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "host/vsockd/control.h"
#include "host/vsockd/device.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define MESSAGES_ROUND 32

/* How long the process outlives the front-end, if it is to end with it, for the sake of flows that
 * are draining. */
#define LINGER_NS (2 * NSEC_PER_SEC)

static void close_fds(struct vhost_user_message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		message->fds[i] = fd_close(message->fds[i]);
	message->fd_count = 0;
}

/* Keeps the descriptors that came with a piece of a header. */
static int keep_fds(struct vhost_user_message *message, struct msghdr *msg)
{
	bool too_many = msg->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (message->fd_count < VHOST_TABLE_REGIONS_MAX) {
				message->fds[message->fd_count++] = fd;
			} else {
				(void)fd_close(fd);
				too_many = true;
			}
		}
	}
	return too_many ? -EPROTO : 0;
}

static ssize_t receive(struct frontend *frontend, void *to, size_t len, bool with_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(VHOST_TABLE_REGIONS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = to, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (with_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	n = recvmsg(frontend->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	if (with_fds && keep_fds(&frontend->message, &msg) < 0)
		return -EPROTO;
	/* Where no control data is asked for, the kernel closes what came; that is not a message.
	 */
	if (n == 0)
		return -ECONNRESET;
	return n;
}

/* Receives more of the message. 1 when it is whole, 0 when more is to be read, -EAGAIN when that is
 * not there yet, -errno. */
static int receive_message(struct frontend *frontend)
{
	struct vhost_user_message *message = &frontend->message;
	const size_t header = sizeof(message->header);
	ssize_t n;

	if (frontend->have < header) {
		n = receive(frontend, (uint8_t *)&message->header + frontend->have,
			header - frontend->have, true);
		if (n < 0)
			return (int)n;
		frontend->have += (size_t)n;
		if (frontend->have < header)
			return 0;
		if ((message->header.flags & VHOST_FLAG_VERSION_MASK) != VHOST_FLAG_VERSION ||
			message->header.size > sizeof(message->payload))
			return -EPROTO;
	}
	if (frontend->have < header + message->header.size) {
		size_t got = frontend->have - header;

		n = receive(
			frontend, message->payload.bytes + got, message->header.size - got, false);
		if (n < 0)
			return (int)n;
		frontend->have += (size_t)n;
	}
	return frontend->have == header + message->header.size;
}

static int send_reply(struct frontend *frontend)
{
	struct vhost_user_message *message = &frontend->message;
	struct iovec iov[2] = {
		{.iov_base = &message->header, .iov_len = sizeof(message->header)},
		{.iov_base = &message->payload, .iov_len = message->header.size},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	size_t len = iov[0].iov_len + iov[1].iov_len;

	message->header.flags = VHOST_FLAG_VERSION | VHOST_FLAG_REPLY;
	/* A front-end reads a reply before it sends much more; one that does not is none. */
	return sendmsg(frontend->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len ? 0
											: -EPIPE;
}

static void on_message(struct loop_io *io, uint32_t events)
{
	struct frontend *frontend = container_of(io, struct frontend, io);
	struct device *device = container_of(frontend, struct device, frontend);
	int r = 0;

	(void)events;
	for (int i = 0; i < MESSAGES_ROUND; i++) {
		r = receive_message(frontend);
		if (r == -EAGAIN || r == -EINTR)
			return;
		if (r < 0)
			break;
		if (r == 0)
			continue;
		r = control_handle(device, &frontend->message);
		if (r > 0)
			r = send_reply(frontend);
		close_fds(&frontend->message);
		frontend->have = 0;
		if (r < 0)
			break;
	}
	if (r >= 0)
		return;
	if (r != -ECONNRESET)
		log_warning("the front-end is dropped: %s", strerror(-r));
	else
		log_info("the front-end is gone");
	frontend_drop(device);
}

bool frontend_connected(const struct frontend *frontend)
{
	return frontend->fd >= 0;
}

void frontend_init(struct frontend *frontend)
{
	*frontend = (struct frontend){.fd = -EBADF};
	listener_init(&frontend->listener);
}

int frontend_attach(struct device *device, int fd)
{
	struct frontend *frontend = &device->frontend;
	int r;

	frontend->fd = fd;
	frontend->have = 0;
	frontend->message.fd_count = 0;
	frontend->io.fn = on_message;
	r = loop_io_add(&device->loop, &frontend->io, fd, EPOLLIN);
	if (r < 0) {
		frontend->fd = fd_close(fd);
		return r;
	}
	device->counters.sessions++;
	return 0;
}

static void on_connection(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
	struct device *device = container_of(listener, struct device, frontend.listener);

	(void)peer;
	/* The next one waits in the listener's queue until this one is gone. */
	if (frontend_attach(device, fd) == 0)
		listener_pause(listener);
}

int frontend_listen(struct device *device, int fd)
{
	return listener_start(&device->frontend.listener, &device->loop, fd, on_connection);
}

static void hang_up(struct frontend *frontend)
{
	close_fds(&frontend->message);
	loop_io_del(&frontend->io);
	frontend->fd = fd_close(frontend->fd);
}

static void on_linger_end(struct loop_timer *timer)
{
	struct frontend *frontend = container_of(timer, struct frontend, linger);

	loop_stop(&container_of(frontend, struct device, frontend)->loop, 0);
}

void frontend_drop(struct device *device)
{
	struct frontend *frontend = &device->frontend;

	hang_up(frontend);
	device_reset(device);
	if (!frontend->once) {
		listener_resume(&frontend->listener);
		return;
	}
	/* What the guest said to its end may be on its way to a slow client. */
	listener_close(&device->proxy);
	frontend->linger.fn = on_linger_end;
	loop_timer_set(&device->loop, &frontend->linger,
		monotonic_ns() + (device->flows.count > 0 ? LINGER_NS : 0));
}

void frontend_close(struct device *device)
{
	struct frontend *frontend = &device->frontend;

	hang_up(frontend);
	loop_timer_del(&frontend->linger);
	listener_close(&frontend->listener);
}
