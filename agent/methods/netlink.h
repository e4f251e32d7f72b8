/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions to the kernel over netlink, and their answers. All functions block for these alone. */
#pragma once

#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <stddef.h>

struct netlink {
	struct nl_sock *socket; /* owned */
	int error;              /* of the last question: errno, or 0 */
	char why[128];          /* what the kernel said of it besides; empty: nothing */
};

/* A socket for one of NETLINK_*. 0 or -errno; netlink_close() in both cases. */
int netlink_open(struct netlink *ret, int protocol);
void netlink_close(struct netlink *netlink);
#define AUTO_NETLINK __attribute__((cleanup(netlink_close)))

/* Asks for all objects of a kind (body: the request's fixed part), and calls fn (NULL: nothing) for
 * each message of the answer, until it returns other than 0. 0; 1 when what was asked for changed
 * meanwhile, so that one may be missing or told twice; -errno of the kernel, or what fn returned.
 */
int netlink_dump(struct netlink *netlink, int type, const void *body, size_t len,
	int (*fn)(void *ctx, struct nlmsghdr *message), void *ctx);

/* Asks for a change (message: borrowed) and waits for its end. 0, or -errno of the kernel with what
 * else it said in netlink->why. */
int netlink_change(struct netlink *netlink, struct nl_msg *message);

/* The name of an interface, in name[IFNAMSIZ]; of its index where there is none. */
void netlink_name(struct netlink *netlink, unsigned int index, char *name);

/* The index of an interface, 0 where there is none. */
unsigned int netlink_index(struct netlink *netlink, const char *name);
