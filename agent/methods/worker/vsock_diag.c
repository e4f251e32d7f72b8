/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/vsock_diag.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdint.h>
#include <sys/socket.h>

struct dump {
	void (*fn)(void *ctx, const struct vsock_diag_msg *socket);
	void *ctx;
};

static int on_valid(struct nl_msg *message, void *arg)
{
	const struct dump *dump = arg;
	struct nlmsghdr *head = nlmsg_hdr(message);

	if (head->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
		nlmsg_datalen(head) >= (int)sizeof(struct vsock_diag_msg) && dump->fn)
		dump->fn(dump->ctx, nlmsg_data(head));
	return NL_OK;
}

static int dump_sockets(struct nl_sock *sock, struct dump *dump)
{
	struct vsock_diag_req request = {.sdiag_family = AF_VSOCK, .vdiag_states = UINT32_MAX};
	int r = nl_connect(sock, NETLINK_SOCK_DIAG);

	if (r == 0)
		r = nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, on_valid, dump);
	if (r == 0)
		r = nl_send_simple(sock, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, &request,
			sizeof(request));
	if (r >= 0)
		r = nl_recvmsgs_default(sock);
	if (r == -NLE_OBJ_NOTFOUND)
		return -ENOENT;
	return r < 0 ? -EIO : 0;
}

int vsock_diag_dump(void (*fn)(void *ctx, const struct vsock_diag_msg *socket), void *ctx)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct dump dump = {fn, ctx};
	int r;

	if (!sock)
		return -ENOMEM;
	r = dump_sockets(sock, &dump);
	nl_socket_free(sock);
	return r;
}
