/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/forward/end.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/socket_file.h"

#define BACKLOG 128

int forward_end_inet(struct forward_end *ret, enum forward_transport transport, const char *address,
	uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->address;

	*ret = (struct forward_end){.transport = transport};
	if (!address)
		address = "127.0.0.1";
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		ret->len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		ret->len = sizeof(*v6);
	} else {
		return -EINVAL;
	}
	return 0;
}

int forward_end_unix(struct forward_end *ret, const char *path)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&ret->address;

	*ret = (struct forward_end){.transport = FORWARD_UNIX, .mode = 0600};
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, strlen(path) + 1);
	ret->len = sizeof(*address);
	return 0;
}

static const char *path_of(const struct forward_end *end)
{
	return ((const struct sockaddr_un *)&end->address)->sun_path;
}

void forward_end_print(const struct forward_end *end, char text[FORWARD_TEXT_SIZE])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&end->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&end->address;
	const char *name = end->transport == FORWARD_TCP ? "tcp" : "udp";
	char host[INET6_ADDRSTRLEN] = "?";

	if (end->transport == FORWARD_UNIX) {
		(void)snprintf(text, FORWARD_TEXT_SIZE, "unix:%s", path_of(end));
	} else if (end->address.ss_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		(void)snprintf(text, FORWARD_TEXT_SIZE, "%s:[%s]:%u", name, host,
			(unsigned int)ntohs(v6->sin6_port));
	} else {
		(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		(void)snprintf(text, FORWARD_TEXT_SIZE, "%s:%s:%u", name, host,
			(unsigned int)ntohs(v4->sin_port));
	}
}

uint16_t forward_end_port(const struct forward_end *end)
{
	/* Both families have it in the same place. */
	const struct sockaddr_in *inet = (const struct sockaddr_in *)&end->address;

	return end->transport == FORWARD_UNIX ? 0 : ntohs(inet->sin_port);
}

static int open_socket(const struct forward_end *end)
{
	int type = end->transport == FORWARD_UDP ? SOCK_DGRAM : SOCK_STREAM;

	return socket(end->address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* True for the file of a socket that nobody has open to listen: its owner has ended. */
static bool is_left_over(const struct forward_end *end)
{
	AUTO_CLOSE int fd = open_socket(end);
	struct stat st;

	return fd >= 0 && lstat(path_of(end), &st) == 0 && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)&end->address, end->len) < 0 &&
	       errno == ECONNREFUSED;
}

int forward_listen(struct forward_end *end, int *ret_fd)
{
	AUTO_CLOSE int folder = end->transport == FORWARD_UNIX ? folder_lock(path_of(end)) : -EBADF;
	AUTO_CLOSE int fd = open_socket(end);
	const int yes = 1;
	int r = 0;

	(void)folder;
	if (fd < 0)
		return -errno;
	if (end->transport == FORWARD_UNIX && is_left_over(end))
		(void)unlink(path_of(end));
	/* The file gets the socket's mode without what the umask takes away (Linux, unix_bind()).
	 */
	if (end->transport == FORWARD_UNIX && fchmod(fd, end->mode) < 0)
		return -errno;
	/* After a restart, connections from before may still be on their way out. */
	if (end->transport == FORWARD_TCP)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (end->address.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (bind(fd, (const struct sockaddr *)&end->address, end->len) < 0 ||
		(end->transport != FORWARD_UDP && listen(fd, BACKLOG) < 0))
		r = -errno;
	if (r == 0 && end->transport != FORWARD_UNIX &&
		getsockname(fd, (struct sockaddr *)&end->address, &end->len) < 0)
		r = -errno;
	if (r == 0 && end->transport == FORWARD_UNIX)
		end->file = socket_file_at(path_of(end));
	if (r == 0)
		*ret_fd = take_fd(&fd);
	return r;
}

void forward_unlisten(const struct forward_end *end)
{
	if (end->transport == FORWARD_UNIX)
		socket_file_remove(path_of(end), &end->file);
}

int forward_connect(const struct forward_end *end, int *ret_fd)
{
	AUTO_CLOSE int fd = open_socket(end);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&end->address, end->len) < 0)
		r = errno == EINPROGRESS ? 1 : -errno;
	/* A full backlog of a UNIX socket does not end by itself: nobody tells when there is room.
	 */
	if (r == -EAGAIN)
		r = -ECONNREFUSED;
	if (r >= 0)
		*ret_fd = take_fd(&fd);
	return r;
}

int forward_connected(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}
