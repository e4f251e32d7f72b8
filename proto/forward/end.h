/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a forward listens, or connects to. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "proto/socket_file.h"

/* Numbers as in forward.proto. */
enum forward_transport { FORWARD_TCP = 1, FORWARD_UDP = 2, FORWARD_UNIX = 3 };

struct forward_end {
	enum forward_transport transport;
	struct sockaddr_storage address;
	socklen_t len;
	mode_t mode;             /* of the socket file of a UNIX listener */
	struct socket_file file; /* of it, by forward_listen() */
};

#define FORWARD_TEXT_SIZE 128

/* Fills in an address of TCP or UDP: digits, dots and colons, no name; NULL: 127.0.0.1. 0 or
 * -EINVAL. */
int forward_end_inet(struct forward_end *ret, enum forward_transport transport, const char *address,
	uint16_t port);

/* Fills in the path of a UNIX socket, which is followed as it is. 0; -ENAMETOOLONG over 107 bytes.
 */
int forward_end_unix(struct forward_end *ret, const char *path);

/* "tcp:127.0.0.1:80", "udp:[::1]:53", "unix:/run/x.sock", cut where it does not fit. */
void forward_end_print(const struct forward_end *end, char text[FORWARD_TEXT_SIZE]);

/* The port of TCP or UDP; 0 of a UNIX socket. */
uint16_t forward_end_port(const struct forward_end *end);

/* A socket (non-blocking, close on exec) that listens there; for UDP, that takes datagrams. A file
 * of a UNIX socket at which nobody listens is replaced. *end becomes where it is, should its port
 * have been 0. 0 with *ret_fd, or -errno. */
int forward_listen(struct forward_end *end, int *ret_fd);

/* Takes a UNIX listener's file away, unless it is another's by now. */
void forward_unlisten(const struct forward_end *end);

/* A socket (non-blocking, close on exec) that connects there. 0 when it is connected, 1 while it is
 * under way (EPOLLOUT tells, then forward_connected()), or -errno. */
int forward_connect(const struct forward_end *end, int *ret_fd);

/* 0 or -errno. */
int forward_connected(int fd);
