/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/vsock_diag.h"

#include <linux/sock_diag.h>
#include <stdint.h>
#include <sys/socket.h>

#include "agent/methods/netlink.h"

struct dump {
	void (*fn)(void *ctx, const struct vsock_diag_msg *socket);
	void *ctx;
};

static int take_message(void *ctx, struct nlmsghdr *message)
{
	const struct dump *dump = ctx;

	if (message->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
		nlmsg_datalen(message) >= (int)sizeof(struct vsock_diag_msg) && dump->fn)
		dump->fn(dump->ctx, nlmsg_data(message));
	return 0;
}

int vsock_diag_dump(void (*fn)(void *ctx, const struct vsock_diag_msg *socket), void *ctx)
{
	struct vsock_diag_req request = {.sdiag_family = AF_VSOCK, .vdiag_states = UINT32_MAX};
	struct dump dump = {fn, ctx};
	AUTO_NETLINK struct netlink netlink;
	int r = netlink_open(&netlink, NETLINK_SOCK_DIAG);

	if (r == 0)
		r = netlink_dump(&netlink, SOCK_DIAG_BY_FAMILY, &request, sizeof(request),
			take_message, &dump);
	return r < 0 ? r : 0;
}
