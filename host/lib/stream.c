/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams between the host and whatever listens or calls in a guest. */
#include "proto/client/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/common/fail.h"
#include "host/common/file.h"
#include "host/common/unix_socket.h"
#include "host/lib/control_client.h"
#include "host/lib/postern.h"
#include "proto/cleanup.h"
#include "proto/clock.h"
#include "proto/socket_file.h"

#define OPEN_MS 5000

/* Where the machine is, with a port of the caller's. */
static int find(const char *name_or_address, uint32_t port, struct address *ret,
	struct postern_error *error)
{
	AUTO_FREE char *text = NULL;
	const char *why;
	int r = postern_vm_address(name_or_address, &text, error);

	if (r < 0)
		return r;
	if (address_parse(text, ret, &why) < 0)
		return fail(error, POSTERN_USAGE, EINVAL, "%.200s: %s", text, why);
	if (ret->socket.ss_family == AF_VSOCK)
		((struct sockaddr_vm *)&ret->socket)->svm_port = port;
	else if (!ret->hybrid)
		return fail(error, POSTERN_USAGE, EINVAL, "%.200s: that socket has no ports", text);
	ret->port = port;
	return 0;
}

int postern_stream_open(const char *name_or_address, uint32_t port, uint32_t timeout_ms,
	int *ret_fd, struct postern_error *error)
{
	uint64_t until = monotonic_ns() + (timeout_ms ? timeout_ms : OPEN_MS) * NSEC_PER_MSEC;
	struct stream stream = {.fd = -EBADF};
	int r = find(name_or_address, port, &stream.address, error);

	if (r < 0)
		return r;
	r = stream_start(&stream);
	while (r == 0 && (r = stream_go_on(&stream)) == 0) {
		struct pollfd wait = {.fd = stream.fd, .events = stream_events(&stream)};

		if (monotonic_ns() >= until)
			r = -ETIMEDOUT;
		else
			(void)poll(&wait, 1, ms_until(until));
	}
	if (r > 0) {
		*ret_fd = stream.fd;
		return 0;
	}
	if (r == -ETIMEDOUT)
		(void)fail(error, POSTERN_TIMED_OUT, ETIMEDOUT,
			"port %u of the guest does not answer", port);
	else if (r == -ECONNREFUSED || r == -ECONNRESET)
		(void)fail(error, POSTERN_ABSENT, -r, "No listener on port %u", port);
	else
		stream_fail(&stream, r, error);
	(void)fd_close(stream.fd);
	return r;
}

static int open_console(
	const char *name, bool scrollback, bool virtio, int *ret_fd, struct postern_error *error)
{
	AUTO_CLOSE int fd = -EBADF;
	int r = control_stream(name, "console",
		json_pack("{s:b, s:b}", "scrollback", scrollback, "virtio", virtio), CONTROL_MS,
		&fd, NULL, error);

	if (r < 0)
		return r;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return fail_errno(error, POSTERN_ANSWERED, errno, "console");
	*ret_fd = take_fd(&fd);
	return 0;
}

int postern_console_open(
	const char *name, bool scrollback, int *ret_fd, struct postern_error *error)
{
	return open_console(name, scrollback, false, ret_fd, error);
}

int postern_virtio_console_open(
	const char *name, bool scrollback, int *ret_fd, struct postern_error *error)
{
	return open_console(name, scrollback, true, ret_fd, error);
}

/* ---- Listening ---- */

struct postern_listener {
	int fd;
	uint32_t cid;            /* AF_VSOCK: whose connections are taken; 0: anybody's */
	char *path;              /* owned; of a UNIX socket, NULL: none */
	struct socket_file file; /* that is there */
};

static int listen_vsock(uint32_t port)
{
	AUTO_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, SOMAXCONN) < 0)
		return -errno;
	return take_fd(&fd);
}

/* A socket file of somebody who has ended is replaced; of somebody who listens, not. */
static int listen_hybrid(struct postern_listener *listener, const char *path, uint32_t port)
{
	AUTO_CLOSE int folder = -EBADF;
	int fd;

	listener->path = text_format("%s_%u", path, port);
	if (!listener->path)
		return -ENOMEM;
	folder = folder_lock(listener->path);
	(void)folder;
	fd = unix_is_bound(listener->path) ? -EADDRINUSE : unix_listen(listener->path, SOMAXCONN);
	if (fd >= 0)
		listener->file = socket_file_at(listener->path);
	return fd;
}

int postern_listener_open(const char *name, uint32_t port, struct postern_listener **ret_listener,
	struct postern_error *error)
{
	struct postern_listener *listener;
	struct address address = {.socket.ss_family = AF_VSOCK};
	int r = name ? find(name, port, &address, error) : 0;

	if (r < 0)
		return r;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return fail_errno(error, POSTERN_ANSWERED, ENOMEM, "port %u", port);
	if (address.socket.ss_family == AF_VSOCK) {
		listener->cid = name ? ((struct sockaddr_vm *)&address.socket)->svm_cid : 0;
		listener->fd = listen_vsock(port);
	} else {
		listener->fd = listen_hybrid(
			listener, ((struct sockaddr_un *)&address.socket)->sun_path, port);
	}
	if (listener->fd >= 0) {
		*ret_listener = listener;
		return 0;
	}
	r = listener->fd;
	free(listener->path);
	free(listener);
	return r == -EADDRINUSE
		       ? fail(error, POSTERN_REFUSED, EADDRINUSE, "Already a listener on port %u",
				 port)
		       : fail_errno(error, stream_failure(r), -r, "cannot listen on port %u", port);
}

int postern_listener_fd(const struct postern_listener *listener)
{
	return listener->fd;
}

int postern_listener_accept(struct postern_listener *listener)
{
	struct sockaddr_vm peer = {0};
	socklen_t len = sizeof(peer);
	int fd =
		accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (listener->cid == 0 || peer.svm_cid == listener->cid)
		return fd;
	(void)fd_close(fd);
	return -EAGAIN;
}

void postern_listener_close(struct postern_listener *listener)
{
	if (!listener)
		return;
	(void)fd_close(listener->fd);
	if (listener->path)
		socket_file_remove(listener->path, &listener->file);
	free(listener->path);
	free(listener);
}
