/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's side of the hybrid socket: a client connects, writes "CONNECT PORT\n" and reads
 * "OK N\n"; from there on the bytes are the stream's. A refusal is the end of the connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;
struct flow;

/* The whole line with its end. */
#define PROXY_LINE_MAX 32U

#define PROXY_LINE_TIMEOUT_MS 2000

struct proxy_request {
	uint32_t port;
	bool root;
};

/* Parses the line at the start of text: CONNECT in either case, one space, the port (decimal, no
 * sign, no leading zero, not the wildcard 4294967295), optionally " root", optionally CR, LF.
 * Returns the line's length; -EAGAIN while it is incomplete; -EBADMSG. */
int proxy_parse(const char *text, size_t len, struct proxy_request *ret_request);

/* Accepts clients on fd (owned from here on, also on failure). 0 or -errno. */
int proxy_open(struct device *device, int fd);

/* Something happened on a client that is to write its line. The flow may be gone afterwards. */
void proxy_on_client(struct flow *flow, uint32_t events);

/* The guest accepted: tells the client. The flow may be gone afterwards. */
void proxy_confirm(struct flow *flow);
