/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/netlink.h"

#include <errno.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ANSWER_MAX (32u << 10) /* bytes the kernel gives at once (af_netlink.c, netlink_dump()) */

struct dump {
	int (*fn)(void *ctx, struct nlmsghdr *message);
	void *ctx;
	int result;
};

/* Behind the error come the request (its head alone with NLM_F_CAPPED) and the kernel's words. */
static void take_words(struct netlink *netlink, struct nlmsghdr *head, struct nlmsgerr *error)
{
	struct nlattr *words = NULL;
	size_t used = sizeof(*error);

	if (!(head->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(head->nlmsg_flags & NLM_F_CAPPED))
		used += error->msg.nlmsg_len - sizeof(error->msg);
	if (nlmsg_datalen(head) > (int)NLMSG_ALIGN(used))
		words = nla_find((struct nlattr *)(void *)((char *)error + NLMSG_ALIGN(used)),
			nlmsg_datalen(head) - (int)NLMSG_ALIGN(used), NLMSGERR_ATTR_MSG);
	if (words)
		(void)nla_strlcpy(netlink->why, words, sizeof(netlink->why));
}

/* libnl's own codes for an error are fewer than the kernel's. */
static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	struct netlink *netlink = arg;

	(void)from;
	netlink->error = -error->error;
	take_words(netlink, (struct nlmsghdr *)(void *)((char *)error - NLMSG_HDRLEN), error);
	return NL_STOP;
}

int netlink_open(struct netlink *ret, int protocol)
{
	int yes = 1, fd;

	*ret = (struct netlink){.socket = nl_socket_alloc()};
	if (!ret->socket)
		return -ENOMEM;
	if (nl_connect(ret->socket, protocol) < 0)
		return errno ? -errno : -EIO;
	fd = nl_socket_get_fd(ret->socket);
	/* Older kernels know neither: they say less, and answer with more than was asked for. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof(yes));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &yes, sizeof(yes));
	/* Otherwise each message is read twice: its length is asked for first. */
	if (nl_socket_set_msg_buf_size(ret->socket, ANSWER_MAX) < 0)
		return -ENOMEM;
	return nl_socket_modify_err_cb(ret->socket, NL_CB_CUSTOM, on_error, ret) < 0 ? -EIO : 0;
}

void netlink_close(struct netlink *netlink)
{
	if (netlink->socket)
		nl_socket_free(netlink->socket);
	netlink->socket = NULL;
}

static int on_valid(struct nl_msg *message, void *arg)
{
	struct dump *dump = arg;

	if (dump->fn && dump->result == 0)
		dump->result = dump->fn(dump->ctx, nlmsg_hdr(message));
	/* The rest of the answer is still taken off the socket, which may serve again. */
	return NL_OK;
}

/* What the kernel said, or else what libnl did. */
static int outcome(const struct netlink *netlink, int r)
{
	if (netlink->error != 0)
		return -netlink->error;
	return r < 0 ? -EIO : 0;
}

int netlink_dump(struct netlink *netlink, int type, const void *body, size_t len,
	int (*fn)(void *ctx, struct nlmsghdr *message), void *ctx)
{
	struct dump dump = {fn, ctx, 0};
	int r = nl_socket_modify_cb(netlink->socket, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &dump);

	netlink->error = 0;
	if (r == 0)
		r = nl_send_simple(
			netlink->socket, type, NLM_F_REQUEST | NLM_F_DUMP, (void *)body, len);
	if (r >= 0)
		r = nl_recvmsgs_default(netlink->socket);
	if (dump.result != 0)
		return dump.result;
	return r == -NLE_DUMP_INTR ? 1 : outcome(netlink, r);
}

int netlink_change(struct netlink *netlink, struct nl_msg *message)
{
	int r = nl_send_auto(netlink->socket, message);

	netlink->error = 0;
	netlink->why[0] = '\0';
	if (r >= 0)
		r = nl_wait_for_ack(netlink->socket);
	return outcome(netlink, r);
}

void netlink_name(struct netlink *netlink, unsigned int index, char *name)
{
	struct ifreq request = {.ifr_ifindex = (int)index};

	if (ioctl(nl_socket_get_fd(netlink->socket), SIOCGIFNAME, &request) < 0)
		(void)snprintf(name, IFNAMSIZ, "%u", index);
	else
		memcpy(name, request.ifr_name, IFNAMSIZ);
}

unsigned int netlink_index(struct netlink *netlink, const char *name)
{
	struct ifreq request = {0};

	if (strlen(name) >= sizeof(request.ifr_name))
		return 0;
	memcpy(request.ifr_name, name, strlen(name));
	return ioctl(nl_socket_get_fd(netlink->socket), SIOCGIFINDEX, &request) < 0
		       ? 0
		       : (unsigned int)request.ifr_ifindex;
}
