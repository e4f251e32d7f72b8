/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of links, addresses and routes, by rtnetlink's groups. What comes together is told
 * together: an interface that comes up is a dozen messages. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "agent/watch/watch.h"
#include "proto/clock.h"
#include "proto/log.h"

#define SETTLE_NS (100 * NSEC_PER_MSEC)

static void begin(struct watch *watch)
{
	postern__v1__notify_network_changed__init(&watch->changed);
	watch->changed.has_links = watch->changed.has_addresses = watch->changed.has_routes = true;
	watch->changed.interfaces = watch->changed_links;
	watch->changed_any = false;
}

static void on_settled(struct loop_timer *timer)
{
	struct watch *watch = container_of(timer, struct watch, network_settle);

	/* Some of them would read as all of them. */
	if (watch->changed_any)
		watch->changed.n_interfaces = 0;
	ring_add_message(watch, TOPIC_network_changed, &watch->changed.base, NULL);
	begin(watch);
}

static void settle(struct watch *watch)
{
	if (!watch->network_settle.loop)
		loop_timer_set(&watch->loop, &watch->network_settle, monotonic_ns() + SETTLE_NS);
}

static void name_link(struct watch *watch, uint32_t index)
{
	Postern__V1__NotifyNetworkChanged *changed = &watch->changed;

	for (size_t i = 0; i < changed->n_interfaces; i++)
		if (changed->interfaces[i] == index)
			return;
	if (changed->n_interfaces < NETWORK_LINKS_MAX)
		changed->interfaces[changed->n_interfaces++] = index;
	else
		watch->changed_any = true;
}

static void take_message(struct watch *watch, struct nlmsghdr *head)
{
	Postern__V1__NotifyNetworkChanged *changed = &watch->changed;

	switch (head->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		changed->links = true;
		name_link(watch, (uint32_t)((struct ifinfomsg *)nlmsg_data(head))->ifi_index);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		changed->addresses = true;
		name_link(watch, ((struct ifaddrmsg *)nlmsg_data(head))->ifa_index);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		changed->routes = true;
		break;
	default:
		return;
	}
	settle(watch);
}

/* The kernel dropped some (ENOBUFS). */
static void take_loss(struct watch *watch)
{
	watch->changed.links = watch->changed.addresses = watch->changed.routes = true;
	watch->changed_any = true;
	settle(watch);
}

static void on_message(struct loop_io *io, uint32_t events)
{
	struct watch *watch = container_of(io, struct watch, network_io);
	struct sockaddr_nl from = {0};
	unsigned char *text = NULL;
	int n;

	(void)events;
	n = nl_recv(watch->network, &from, &text, NULL);
	if (n == -NLE_NOMEM)
		take_loss(watch);
	/* Only the kernel's own. */
	if (n > 0 && from.nl_pid == 0)
		for (struct nlmsghdr *head = (struct nlmsghdr *)(void *)text; nlmsg_ok(head, n);
			head = nlmsg_next(head, &n))
			take_message(watch, head);
	free(text);
}

static int open_socket(struct watch *watch)
{
	int r = nl_connect(watch->network, NETLINK_ROUTE);

	if (r == 0)
		r = nl_socket_add_memberships(watch->network, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
			RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, 0);
	if (r == 0)
		r = nl_socket_set_nonblocking(watch->network);
	if (r < 0) {
		log_warning("changes of the network: %s", nl_geterror(r));
		return -EPROTO;
	}
	return loop_io_add(
		&watch->loop, &watch->network_io, nl_socket_get_fd(watch->network), EPOLLIN);
}

void network_start(struct watch *watch)
{
	if (watch->network)
		return;
	watch->network = nl_socket_alloc();
	if (!watch->network)
		return;
	nl_socket_disable_seq_check(watch->network);
	begin(watch);
	watch->network_io.fn = on_message;
	watch->network_settle.fn = on_settled;
	if (open_socket(watch) < 0) {
		nl_socket_free(watch->network);
		watch->network = NULL;
	}
}
