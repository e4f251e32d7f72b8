/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "agent/broker/channel.h"
#include "agent/broker/session.h"
#include "agent/broker/vsh.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define BACKLOG 128

struct pending {
	struct list_node node;
	struct broker *broker;
	int fd; /* owned */
	struct identity identity;
	bool refused; /* a client of vsh, which was told so */
	struct loop_io io;
	struct loop_timer timer;
	uint8_t preamble[CHANNEL_PREAMBLE_SIZE]; /* of a channel, as far as it came */
	size_t preamble_len;
};

/* Takes it out of the waiting room; the descriptor is the caller's. */
static int pending_leave(struct pending *pending)
{
	int fd = pending->fd;

	loop_io_del(&pending->io);
	loop_timer_del(&pending->timer);
	list_remove(&pending->node);
	pending->broker->pending_n--;
	free(pending);
	return fd;
}

static void on_silent(struct loop_timer *timer)
{
	(void)fd_close(pending_leave(container_of(timer, struct pending, timer)));
}

/* A frame never starts with 0: that is how a channel begins. What is wrong is closed without a
 * word. */
static void take_preamble(struct pending *pending)
{
	static const uint8_t magic[] = {0, 'P', 'C', 1};
	struct broker *broker = pending->broker;
	struct identity identity = pending->identity;
	uint8_t token[TOKEN_SIZE];
	ssize_t n = recv(pending->fd, pending->preamble + pending->preamble_len,
		sizeof(pending->preamble) - pending->preamble_len, MSG_DONTWAIT);
	bool good;
	int fd;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		pending->preamble_len += (size_t)n;
	good = n > 0 && memcmp(pending->preamble, magic,
				pending->preamble_len < sizeof(magic) ? pending->preamble_len
								      : sizeof(magic)) == 0;
	if (good && pending->preamble_len < sizeof(pending->preamble))
		return;
	memcpy(token, pending->preamble + sizeof(magic), sizeof(token));
	fd = pending_leave(pending);
	if (good)
		(void)channel_present(broker, fd, &identity, token);
	else
		(void)fd_close(fd);
}

/* Its first byte, which stays where it is, says that it is alive. One that is refused is closed
 * when it has closed, or as if it had been silent, so that it can read why. */
static void on_vsh(struct loop_io *io, uint32_t events)
{
	struct pending *pending = container_of(io, struct pending, io);
	const char *why = NULL;
	uint8_t first;
	ssize_t n = pending->refused ? 0 : recv(pending->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 1)
		why = vsh_start(pending->broker, pending->fd, &pending->identity);
	if (!why) {
		(void)fd_close(pending_leave(pending));
		return;
	}
	pending->refused = true;
	vsh_refuse(pending->fd, why);
	(void)loop_io_set(&pending->io, EPOLLRDHUP);
}

static void on_first_byte(struct loop_io *io, uint32_t events)
{
	struct pending *pending = container_of(io, struct pending, io);
	struct broker *broker = pending->broker;
	struct identity identity = pending->identity;
	uint8_t first;
	ssize_t n;
	int fd;

	(void)events;
	if (pending->preamble_len > 0) {
		take_preamble(pending);
		return;
	}
	n = recv(pending->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 1 && first == 0) {
		take_preamble(pending);
		return;
	}
	fd = pending_leave(pending);
	if (n == 1)
		session_start(broker, fd, &identity);
	else
		(void)fd_close(fd);
}

/* Makes room by dropping the oldest: of the same identity when it holds half the places. */
static void make_room(struct broker *broker, const struct identity *identity)
{
	struct pending *oldest = NULL, *oldest_same = NULL, *leaving = NULL;
	size_t same = 0;

	LIST_EACH(&broker->pending, node)
	{
		struct pending *pending = container_of(node, struct pending, node);

		if (!oldest)
			oldest = pending;
		if (!identity_equal(&pending->identity, identity))
			continue;
		same++;
		if (!oldest_same)
			oldest_same = pending;
	}
	if (same >= PENDING_MAX / 2)
		leaving = oldest_same;
	else if (broker->pending_n >= PENDING_MAX)
		leaving = oldest;
	if (leaving)
		(void)fd_close(pending_leave(leaving));
}

/* Waits for its first byte; the descriptor is owned. */
static void add(struct broker *broker, int fd, const struct identity *identity, bool vsh)
{
	struct pending *pending;

	make_room(broker, identity);
	pending = calloc(1, sizeof(*pending));
	if (!pending) {
		(void)fd_close(fd);
		return;
	}
	*pending = (struct pending){.broker = broker, .fd = fd, .identity = *identity};
	pending->io.fn = vsh ? on_vsh : on_first_byte;
	pending->timer.fn = on_silent;
	if (loop_io_add(&broker->loop, &pending->io, fd, EPOLLIN) < 0) {
		(void)fd_close(fd);
		free(pending);
		return;
	}
	list_append(&broker->pending, &pending->node);
	broker->pending_n++;
	loop_timer_set(
		&broker->loop, &pending->timer, monotonic_ns() + HELLO_DEADLINE_MS * NSEC_PER_MSEC);
}

/* Who is at the other end, as far as the kernel proves it. -EACCES: nobody that can be served. */
static int identify(int fd, const struct sockaddr_storage *address, struct identity *ret)
{
	const struct sockaddr_vm *vm = (const struct sockaddr_vm *)address;
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (address->ss_family == AF_VSOCK) {
		/* 0 is reserved, 1 is loopback: any process of the guest. */
		if (vm->svm_cid < VMADDR_CID_HOST)
			return -EACCES;
		ret->number = vm->svm_cid == VMADDR_CID_HOST ? 0 : vm->svm_cid;
		if (vm->svm_cid > VMADDR_CID_HOST)
			ret->kind = IDENTITY_GUEST;
		else
			ret->kind = vm->svm_port < 1024 ? IDENTITY_HOST_ROOT : IDENTITY_HOST;
		return 0;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = (struct identity){.kind = IDENTITY_LOCAL, .number = cred.uid};
	return 0;
}

static void on_accept(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
	struct broker *broker = container_of(listener->io.loop, struct broker, loop);
	struct identity identity = {0};

	if (identify(fd, peer, &identity) < 0)
		(void)fd_close(fd);
	else
		add(broker, fd, &identity, listener >= &broker->listeners[PEER_VSH_VSOCK]);
}

static int listen_vsock(uint32_t port, int *ret_fd)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	AUTO_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, BACKLOG) < 0) {
		int r = -errno;

		log_error("vsock port %u: %s%s", port, strerror(-r),
			r == -EAFNOSUPPORT
				? " (is the module vsock loaded? vsock = no does without)"
				: "");
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

static int listen_unix(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		log_error("%s: a socket's path has at most %zu bytes", path,
			sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, path, strlen(path));
	(void)unlink(path);
	/* Everybody may connect; what they may do is the policy's, by their user id. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(path, 0666) < 0 || listen(fd, BACKLOG) < 0) {
		int r = -errno;

		log_error("%s: %s", path, strerror(-r));
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

/* The path of a UNIX socket; empty: none, or it is no such. */
static const char *path_of(const struct config *config, enum peer_listener which)
{
	if (which == PEER_UNIX)
		return config->socket;
	return which == PEER_VSH_UNIX ? config->vsh_socket : "";
}

static int listen_as_configured(const struct config *config, enum peer_listener which, int *ret_fd)
{
	uint32_t port = which == PEER_VSOCK ? config->vsock_port : config->vsh_port;

	if (path_of(config, which)[0] != '\0')
		return listen_unix(path_of(config, which), ret_fd);
	if ((which == PEER_VSOCK || which == PEER_VSH_VSOCK) && config->vsock && port > 0)
		return listen_vsock(port, ret_fd);
	return 0;
}

int peer_listen(struct broker *broker)
{
	int r = 0;

	for (int i = 0; r == 0 && i < PEER_LISTENERS; i++) {
		int fd = -EBADF;

		r = listen_as_configured(&broker->config, (enum peer_listener)i, &fd);
		if (r == 0 && fd >= 0)
			r = listener_start(&broker->listeners[i], &broker->loop, fd, on_accept);
	}
	return r;
}

void peer_stop(struct broker *broker)
{
	for (int i = 0; i < PEER_LISTENERS; i++) {
		const char *path = path_of(&broker->config, (enum peer_listener)i);

		if (path[0] != '\0' && broker->listeners[i].fd >= 0)
			(void)unlink(path);
		listener_close(&broker->listeners[i]);
	}
	LIST_EACH(&broker->pending, node)
	(void)fd_close(pending_leave(container_of(node, struct pending, node)));
}
