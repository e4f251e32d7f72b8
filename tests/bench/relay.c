/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The least that a relay in the guest can be, to compare ours with: between a vsock connection and
 * a TCP one or a terminal, with nothing else to do.
 *
 *   relay PORT tcp TCP_PORT     the connection's bytes to 127.0.0.1 and back
 *   relay PORT terminal         the connection as the master of a raw terminal that echoes
 *
 * Serves one connection after the other, for ever. It knows no half-close: it ends with either
 * side.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define PIECE (256 << 10)

static int connect_tcp(unsigned int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return fd;
}

/* The slave stays open until the next one, or the master would see the end. */
static int open_terminal(void)
{
	static int slave = -1;
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	struct termios mode;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		return -1;
	(void)close(slave);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	if (slave < 0 || tcgetattr(slave, &mode) < 0)
		return -1;
	cfmakeraw(&mode);
	mode.c_lflag |= ECHO;
	return tcsetattr(slave, TCSANOW, &mode) < 0 ? -1 : master;
}

/* 1, or 0 at the end of either. */
static int move(int from, int to)
{
	static char bytes[PIECE];
	ssize_t n = read(from, bytes, sizeof(bytes));

	for (ssize_t at = 0, wrote; at < n; at += wrote) {
		wrote = write(to, bytes + at, (size_t)(n - at));
		if (wrote <= 0)
			return 0;
	}
	return n > 0;
}

static void serve(int peer, int other)
{
	struct pollfd fds[] = {{.fd = peer, .events = POLLIN}, {.fd = other, .events = POLLIN}};

	while (poll(fds, 2, -1) > 0) {
		if (fds[0].revents && !move(peer, other))
			return;
		if (fds[1].revents && !move(other, peer))
			return;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	int listener = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (argc < 3)
		return 2;
	address.svm_port = (unsigned int)strtoul(argv[1], NULL, 10);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(listener, 16) < 0) {
		perror("relay");
		return 1;
	}
	for (;;) {
		int peer = accept(listener, NULL, NULL);
		int other = strcmp(argv[2], "tcp") == 0 && argc == 4
				    ? connect_tcp((unsigned int)strtoul(argv[3], NULL, 10))
				    : open_terminal();

		if (peer >= 0 && other >= 0)
			serve(peer, other);
		(void)close(other);
		(void)close(peer);
	}
}
