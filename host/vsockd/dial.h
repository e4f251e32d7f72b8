/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's own connections: its request for host port P goes to the socket UDS_P. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "host/vsockd/packet.h"

struct device;

/* The ports a guest may reach. */
struct ports {
	bool all;
	unsigned count;
	uint32_t *list; /* owned */
};

/* Parses "all", or decimal ports with commas between them. 0, -EINVAL or -ENOMEM. */
int ports_parse(const char *text, struct ports *ret_ports);

bool ports_allow(const struct ports *ports, uint32_t port);

/* Answers a REQUEST for which there is no flow: connects, or refuses. Never blocks: a listener
 * whose queue is full refuses. */
void dial(struct device *device, const struct packet *request);
