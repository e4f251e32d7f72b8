/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define LOCAL_SOCKET "/run/postern/agent.sock"

struct address {
	struct sockaddr_storage socket;
	socklen_t len;
	bool hybrid;   /* CONNECT line first */
	uint32_t port; /* of the agent */
};

/* Parses the addresses of postern_client_start(). 0, or -EINVAL with *ret_why set to what was
 * expected. */
int address_parse(const char *text, struct address *ret, const char **ret_why);
