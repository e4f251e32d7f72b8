/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's network as messages, for what reads it and for what has changed it. */
#pragma once

#include "agent/methods/call.h"
#include "agent/methods/netlink.h"
#include "messages.h"

/* The interface of this index with its addresses, in the arena. 0, -ENODEV: there is none, or
 * another -errno. */
int network_interface(struct call *call, struct netlink *netlink, unsigned int index,
	Postern__V1__NetworkInterface **ret);

/* The index of the interface that the default route of IPv4 leads through, or else of IPv6; of
 * several the one with the least metric. 0: there is none. Returns 0; 1 as netlink_dump(); or
 * -errno. */
int network_primary(struct netlink *netlink, unsigned int *ret_index);

/* The index of the interface that a field names. 0, or -errno with call_fail() done: NOT_FOUND. */
int network_find(struct call *call, struct netlink *netlink, bool has,
	const ProtobufCBinaryData *name, unsigned int *ret);

/* Opens rtnetlink. 0, or -errno with call_fail() done. */
int network_open(struct call *call, struct netlink *ret);

/* call_fail() for what the kernel did not do, with its own words. */
int network_fail(
	struct call *call, const struct netlink *netlink, int negative_errno, const char *what);
