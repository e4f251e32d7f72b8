/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of one interface, and of a route, each one message to the kernel. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <string.h>

#include "agent/methods/network.h"
#include "agent/methods/network_text.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

static void message_freep(struct nl_msg **message)
{
	nlmsg_free(*message);
}
#define AUTO_MESSAGE __attribute__((cleanup(message_freep)))

/* A request with its fixed part; NULL without memory. */
static struct nl_msg *new_message(int type, int flags, const void *body, size_t len)
{
	struct nl_msg *message = nlmsg_alloc_simple(type, flags);

	if (message && nlmsg_append(message, (void *)body, len, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(message);
		message = NULL;
	}
	return message;
}

static int put_ip(struct nl_msg *message, int type, const struct network_ip *ip)
{
	return ip->family == AF_UNSPEC ? 0 : nla_put(message, type, (int)ip->len, ip->bytes);
}

/* The kernel does all of it or nothing. */
static int change(
	struct call *call, struct netlink *netlink, struct nl_msg *message, const char *what)
{
	int r;

	worker_changing(call);
	r = netlink_change(netlink, message);
	call->outcome = r < 0 ? POSTERN__V1__OUTCOME__NOT_DONE : POSTERN__V1__OUTCOME__DONE;
	return r < 0 ? network_fail(call, netlink, r, what) : 0;
}

/* ---- Links ---- */

int network_set_link(struct call *call, const Postern__V1__NetworkSetLinkRequest *request,
	Postern__V1__NetworkSetLinkReply *reply)
{
	struct ifinfomsg link = {.ifi_family = AF_UNSPEC};
	AUTO_NETLINK struct netlink netlink = {0};
	AUTO_MESSAGE struct nl_msg *message = NULL;
	unsigned int index = 0;
	int r = network_open(call, &netlink);

	if (r == 0)
		r = network_find(
			call, &netlink, request->has_interface, &request->interface, &index);
	if (r < 0)
		return r;
	if (!request->has_up && !request->has_mtu)
		return call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "expected up, mtu, or both");
	link.ifi_index = (int)index;
	link.ifi_change = request->has_up ? IFF_UP : 0;
	link.ifi_flags = request->up ? IFF_UP : 0;
	message = new_message(RTM_NEWLINK, NLM_F_REQUEST, &link, sizeof(link));
	if (!message || (request->has_mtu && nla_put_u32(message, IFLA_MTU, request->mtu) < 0))
		return -ENOMEM;
	r = change(call, &netlink, message, "the interface");
	if (r < 0)
		return r;
	return network_interface(call, &netlink, index, &reply->interface);
}

/* ---- Addresses ---- */

/* One to be removed may be named without its prefix: the interface's own has it. */
static int find_prefix(struct call *call, struct netlink *netlink, unsigned int index,
	const char *text, uint8_t *ret)
{
	Postern__V1__NetworkInterface *interface;
	int r = network_interface(call, netlink, index, &interface);

	for (size_t i = 0; r == 0 && i < interface->n_addresses; i++)
		if (strcmp(interface->addresses[i]->address, text) == 0) {
			*ret = (uint8_t)interface->addresses[i]->prefix;
			return 0;
		}
	return r < 0 ? r
		     : call_fail(call, POSTERN__V1__CODE__NOT_FOUND, EADDRNOTAVAIL,
			       "%s: the interface has no such address", text);
}

static int change_address(struct call *call, const Postern__V1__NetworkSetAddressRequest *request,
	struct netlink *netlink, unsigned int index)
{
	struct ifaddrmsg address = {.ifa_index = index};
	AUTO_MESSAGE struct nl_msg *message = NULL;
	struct network_ip ip;
	int r = network_parse(call, request->address, "address", &ip);

	if (r == 0 && ip.family == AF_UNSPEC)
		r = call_fail(
			call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0, "address must be given");
	if (r == 0)
		r = network_prefix(
			call, &ip, request->has_prefix, request->prefix, &address.ifa_prefixlen);
	if (r == 0 && request->remove && !request->has_prefix) {
		/* As the kernel's are written, so that it can be compared. */
		char text[INET6_ADDRSTRLEN];

		(void)inet_ntop(ip.family, ip.bytes, text, sizeof(text));
		r = find_prefix(call, netlink, index, text, &address.ifa_prefixlen);
	}
	if (r < 0)
		return r;
	address.ifa_family = (unsigned char)ip.family;
	message = new_message(request->remove ? RTM_DELADDR : RTM_NEWADDR,
		request->remove ? NLM_F_REQUEST : NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL,
		&address, sizeof(address));
	if (!message || put_ip(message, IFA_LOCAL, &ip) < 0 ||
		put_ip(message, IFA_ADDRESS, &ip) < 0)
		return -ENOMEM;
	r = change(call, netlink, message, request->address);
	if (r < 0 && netlink->error == EADDRNOTAVAIL)
		call->error->code = POSTERN__V1__CODE__NOT_FOUND;
	return r;
}

int network_set_address(struct call *call, const Postern__V1__NetworkSetAddressRequest *request,
	Postern__V1__NetworkSetAddressReply *reply)
{
	AUTO_NETLINK struct netlink netlink = {0};
	unsigned int index = 0;
	int r = network_open(call, &netlink);

	if (r == 0)
		r = network_find(
			call, &netlink, request->has_interface, &request->interface, &index);
	if (r == 0)
		r = change_address(call, request, &netlink, index);
	if (r < 0)
		return r;
	return network_interface(call, &netlink, index, &reply->interface);
}

/* ---- Routes ---- */

struct route {
	struct rtmsg head;
	struct network_ip destination, gateway, source;
	unsigned int index; /* 0: the kernel finds it */
	uint32_t table;
};

static int parse_route(
	struct call *call, const Postern__V1__NetworkSetRouteRequest *request, struct route *ret)
{
	int r = network_parse(call, request->destination, "destination", &ret->destination), family;

	if (r == 0)
		r = network_parse(call, request->gateway, "gateway", &ret->gateway);
	if (r == 0)
		r = network_parse(call, request->source, "source", &ret->source);
	if (r < 0)
		return r;
	family = ret->destination.family ? ret->destination.family : ret->gateway.family;
	if (family == AF_UNSPEC)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"expected destination, gateway, or both");
	if ((ret->gateway.family && ret->gateway.family != family) ||
		(ret->source.family && ret->source.family != family))
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, EAFNOSUPPORT,
			"the addresses are not all of IPv4, or all of IPv6");
	ret->head.rtm_family = (unsigned char)family;
	ret->table = request->has_table && request->table ? request->table : RT_TABLE_MAIN;
	if (ret->destination.family == AF_UNSPEC)
		return 0;
	return network_prefix(call, &ret->destination, request->has_prefix, request->prefix,
		&ret->head.rtm_dst_len);
}

/* What is not said of one to be removed is anything. */
static void classify(const Postern__V1__NetworkSetRouteRequest *request, struct route *route)
{
	bool direct = route->gateway.family == AF_UNSPEC && route->head.rtm_family == AF_INET;

	route->head.rtm_table =
		(unsigned char)(route->table < 256 ? route->table : RT_TABLE_UNSPEC);
	if (request->remove) {
		route->head.rtm_scope = RT_SCOPE_NOWHERE;
		return;
	}
	route->head.rtm_protocol = RTPROT_STATIC;
	route->head.rtm_type = RTN_UNICAST;
	route->head.rtm_scope = direct ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
}

static int put_route(struct nl_msg *message, const Postern__V1__NetworkSetRouteRequest *request,
	const struct route *route)
{
	int r = 0;

	if (route->head.rtm_dst_len > 0)
		r = put_ip(message, RTA_DST, &route->destination);
	if (r == 0)
		r = put_ip(message, RTA_GATEWAY, &route->gateway);
	if (r == 0)
		r = put_ip(message, RTA_PREFSRC, &route->source);
	if (r == 0 && route->index != 0)
		r = nla_put_u32(message, RTA_OIF, route->index);
	if (r == 0 && request->has_metric)
		r = nla_put_u32(message, RTA_PRIORITY, request->metric);
	if (r == 0)
		r = nla_put_u32(message, RTA_TABLE, route->table);
	return r < 0 ? -ENOMEM : 0;
}

int network_set_route(struct call *call, const Postern__V1__NetworkSetRouteRequest *request,
	Postern__V1__NetworkSetRouteReply *reply)
{
	int flags = request->remove    ? NLM_F_REQUEST
		    : request->replace ? NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE
				       : NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL;
	AUTO_NETLINK struct netlink netlink = {0};
	AUTO_MESSAGE struct nl_msg *message = NULL;
	struct route route = {0};
	int r = parse_route(call, request, &route);

	(void)reply;
	if (r == 0)
		r = network_open(call, &netlink);
	if (r == 0 && request->has_interface)
		r = network_find(call, &netlink, true, &request->interface, &route.index);
	if (r < 0)
		return r;
	classify(request, &route);
	message = new_message(request->remove ? RTM_DELROUTE : RTM_NEWROUTE, flags, &route.head,
		sizeof(route.head));
	if (!message || put_route(message, request, &route) < 0)
		return -ENOMEM;
	return change(call, &netlink, message, "the route");
}
