/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/broker/ready.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "agent/broker/child.h"
#include "agent/broker/chore.h"
#include "agent/broker/peer.h"
#include "agent/broker/spare.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/log.h"

#define TRY_MS    2000 /* one attempt to reach the host */
#define AGAIN_MS  250  /* from a refusal to the next attempt */
#define TRIES_MAX 8    /* the host may simply not listen */

static void try_announce(struct broker *broker);

/* One line to systemd; there is nobody to tell elsewhere. */
static void notify_service_manager(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = -EBADF;
	size_t len;

	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(address.sun_path))
		return;
	len = strlen(path);
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, "READY=1", 7, MSG_NOSIGNAL | MSG_DONTWAIT,
			(struct sockaddr *)&address,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

static void announce_done(struct broker *broker)
{
	loop_io_del(&broker->ready_io);
	loop_timer_del(&broker->ready_timer);
	broker->ready_socket = fd_close(broker->ready_socket);
}

static void announce_again(struct broker *broker)
{
	announce_done(broker);
	if (++broker->ready_tries < TRIES_MAX)
		loop_timer_set(&broker->loop, &broker->ready_timer,
			monotonic_ns() + AGAIN_MS * NSEC_PER_MSEC);
	else
		log_debug("the host does not listen on port %u", broker->config.ready_port);
}

/* The attempt's time is over, or the pause before the next one. */
static void on_ready_timer(struct loop_timer *timer)
{
	struct broker *broker = container_of(timer, struct broker, ready_timer);

	if (broker->ready_socket >= 0)
		announce_again(broker);
	else
		try_announce(broker);
}

/* Connected: a session process packs the one frame, so that the broker need not. */
static void on_connected(struct loop_io *io, uint32_t events)
{
	struct broker *broker = container_of(io, struct broker, ready_io);
	struct inner_message message = {.kind = INNER_ANNOUNCE, .body_len = sizeof(broker->facts)};
	struct child *child;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(broker->ready_socket, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ||
		error != 0) {
		announce_again(broker);
		return;
	}
	if (child_start(broker, ROLE_SESSION, &child) == 0) {
		child->spare = false;
		(void)child_send(child, &message, &broker->facts, &broker->ready_socket, 1);
	}
	announce_done(broker);
}

static void try_announce(struct broker *broker)
{
	struct sockaddr_vm host = {.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = broker->config.ready_port};
	AUTO_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	broker->ready_io.fn = on_connected;
	broker->ready_timer.fn = on_ready_timer;
	if (connect(fd, (struct sockaddr *)&host, sizeof(host)) < 0 && errno != EINPROGRESS) {
		announce_again(broker);
		return;
	}
	if (loop_io_add(&broker->loop, &broker->ready_io, fd, EPOLLOUT) < 0)
		return;
	broker->ready_socket = take_fd(&fd);
	loop_timer_set(
		&broker->loop, &broker->ready_timer, monotonic_ns() + TRY_MS * NSEC_PER_MSEC);
}

void ready_all(struct broker *broker)
{
	if (broker->announced)
		return;
	broker->announced = true;
	if (peer_listen(broker) < 0) {
		loop_stop(&broker->loop, 1);
		return;
	}
	spare_refill(broker);
	chore_restore_shares(broker);
	notify_service_manager();
	log_info("version %s, ready", broker->facts.agent_version);
	if (broker->config.vsock && broker->config.ready_port != 0)
		try_announce(broker);
}

void ready_again(struct broker *broker)
{
	if (!broker->announced || broker->stopping || !broker->config.vsock ||
		broker->config.ready_port == 0)
		return;
	announce_done(broker);
	broker->ready_tries = 0;
	try_announce(broker);
}

void ready_stop(struct broker *broker)
{
	if (broker->announced)
		announce_done(broker);
}
