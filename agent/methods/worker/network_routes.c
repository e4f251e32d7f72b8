/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "agent/methods/network.h"
#include "agent/methods/network_text.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

#define PART_MAX 1024 /* routes in one part of the answer */
#define HOPS_MAX 64

struct reading {
	struct call *call;
	struct netlink *netlink;
	Postern__V1__NetworkRoutesReply *reply;
	uint32_t table; /* 0: all */
	size_t bytes;   /* in the part that is being made */
	unsigned int named;
	char name[IFNAMSIZ]; /* of the interface `named`: routes of one follow each other */
};

static ProtobufCBinaryData name_of(struct reading *reading, unsigned int index)
{
	if (index != reading->named)
		netlink_name(reading->netlink, index, reading->name);
	reading->named = index;
	return call_text(reading->call, reading->name);
}

/* RTA_VIA is a gateway of the other family. */
static char *gateway_of(struct call *call, int family, struct nlattr *gateway, struct nlattr *via)
{
	struct rtvia *other = via && nla_len(via) > (int)sizeof(*other) ? nla_data(via) : NULL;
	char text[INET6_ADDRSTRLEN];

	if (!other || other->rtvia_family != AF_INET6 ||
		nla_len(via) < (int)(sizeof(*other) + sizeof(struct in6_addr)))
		return network_address(call, family, gateway);
	return inet_ntop(AF_INET6, other->rtvia_addr, text, sizeof(text))
		       ? arena_strdup(call->arena, text)
		       : NULL;
}

static int fill_hop(struct reading *reading, int family, const struct rtnexthop *from,
	Postern__V1__NetworkHop *to)
{
	struct nlattr *tb[RTA_MAX + 1];

	if (nla_parse(tb, RTA_MAX, (struct nlattr *)(void *)(from + 1),
		    (int)(from->rtnh_len - sizeof(*from)), NULL) < 0)
		return -EPROTO;
	to->gateway = gateway_of(reading->call, family, tb[RTA_GATEWAY], tb[RTA_VIA]);
	to->has_index = to->has_interface = to->has_weight = true;
	to->index = (uint32_t)from->rtnh_ifindex;
	to->interface = name_of(reading, to->index);
	to->weight = from->rtnh_hops + 1u;
	return 0;
}

static int fill_hops(
	struct reading *reading, int family, struct nlattr *ways, Postern__V1__NetworkRoute *route)
{
	const struct rtnexthop *at = nla_data(ways);
	int left = nla_len(ways), r = 0;

	route->hops = arena_alloc(reading->call->arena, HOPS_MAX * sizeof(*route->hops));
	if (!route->hops)
		return -ENOMEM;
	while (r == 0 && route->n_hops < HOPS_MAX && RTNH_OK(at, left)) {
		Postern__V1__NetworkHop *hop = arena_alloc(reading->call->arena, sizeof(*hop));

		if (!hop)
			return -ENOMEM;
		postern__v1__network_hop__init(hop);
		route->hops[route->n_hops++] = hop;
		r = fill_hop(reading, family, at, hop);
		left -= (int)RTNH_ALIGN(at->rtnh_len);
		at = RTNH_NEXT(at);
	}
	return r;
}

static int fill_route(struct reading *reading, const struct rtmsg *from, uint32_t table,
	struct nlattr *tb[], Postern__V1__NetworkRoute *to)
{
	struct call *call = reading->call;
	int family = from->rtm_family;

	to->destination = tb[RTA_DST] ? network_address(call, family, tb[RTA_DST])
				      : (char *)(family == AF_INET ? "0.0.0.0" : "::");
	to->gateway = gateway_of(call, family, tb[RTA_GATEWAY], tb[RTA_VIA]);
	to->source = network_address(call, family, tb[RTA_PREFSRC]);
	to->protocol = network_protocol(call, from->rtm_protocol);
	to->scope = network_scope(call, from->rtm_scope);
	to->type = network_type(call, from->rtm_type);
	to->has_prefix = to->has_table = true;
	to->prefix = from->rtm_dst_len;
	to->table = table;
	to->has_metric = tb[RTA_PRIORITY] != NULL;
	to->metric = tb[RTA_PRIORITY] ? nla_get_u32(tb[RTA_PRIORITY]) : 0;
	if (!to->destination || !to->protocol || !to->scope || !to->type)
		return -ENOMEM;
	if (tb[RTA_MULTIPATH])
		return fill_hops(reading, family, tb[RTA_MULTIPATH], to);
	if (tb[RTA_OIF]) {
		to->has_index = to->has_interface = true;
		to->index = nla_get_u32(tb[RTA_OIF]);
		to->interface = name_of(reading, to->index);
	}
	return 0;
}

/* Sends what there is where this one would not go into the same part. */
static int add(struct reading *reading, Postern__V1__NetworkRoute *route)
{
	Postern__V1__NetworkRoutesReply *reply = reading->reply;
	size_t len = protobuf_c_message_get_packed_size(&route->base) + 4;
	int r = 0;

	if (reply->n_routes == PART_MAX ||
		(reply->n_routes > 0 && reading->bytes + len > call_part_size(reading->call))) {
		r = call_more(reading->call, &reply->base);
		reply->n_routes = reading->bytes = 0;
	}
	reply->routes[reply->n_routes++] = route;
	reading->bytes += len;
	return r;
}

static int take_route(void *ctx, struct nlmsghdr *message)
{
	struct reading *reading = ctx;
	const struct rtmsg *from = nlmsg_data(message);
	struct nlattr *tb[RTA_MAX + 1];
	Postern__V1__NetworkRoute *route;
	uint32_t table;
	int r;

	if (message->nlmsg_type != RTM_NEWROUTE || from->rtm_flags & RTM_F_CLONED ||
		(from->rtm_family != AF_INET && from->rtm_family != AF_INET6) ||
		nlmsg_parse(message, sizeof(*from), tb, RTA_MAX, NULL) < 0)
		return 0;
	table = tb[RTA_TABLE] ? nla_get_u32(tb[RTA_TABLE]) : from->rtm_table;
	if (reading->table != 0 && table != reading->table)
		return 0;
	route = arena_alloc(reading->call->arena, sizeof(*route));
	if (!route)
		return -ENOMEM;
	postern__v1__network_route__init(route);
	r = fill_route(reading, from, table, tb, route);
	return r < 0 ? r : add(reading, route);
}

/* The kernel gives only this table where it can; one above 255 only the attribute can name. */
static int read_family(struct reading *reading, unsigned char family)
{
	struct {
		struct rtmsg head;
		struct nlattr table_head;
		uint32_t table;
	} request = {.head = {.rtm_family = family},
		.table_head = {.nla_len = sizeof(struct nlattr) + sizeof(uint32_t),
			.nla_type = RTA_TABLE},
		.table = reading->table};
	int r = netlink_dump(reading->netlink, RTM_GETROUTE, &request,
		reading->table == 0 ? sizeof(request.head) : sizeof(request), take_route, reading);

	/* There is no such table, or the kernel has no IPv6. */
	return r == -ENOENT || r == -EOPNOTSUPP || r == -EAFNOSUPPORT ? 0 : r;
}

int network_routes(struct call *call, const Postern__V1__NetworkRoutesRequest *request,
	Postern__V1__NetworkRoutesReply *reply)
{
	AUTO_NETLINK struct netlink netlink = {0};
	struct reading reading = {.call = call,
		.netlink = &netlink,
		.reply = reply,
		.table = request->has_table ? request->table : RT_TABLE_MAIN};
	int r = network_open(call, &netlink), r6;

	if (r < 0)
		return r;
	reply->routes = arena_alloc(call->arena, PART_MAX * sizeof(*reply->routes));
	if (!reply->routes)
		return -ENOMEM;
	r = read_family(&reading, AF_INET);
	r6 = r < 0 ? r : read_family(&reading, AF_INET6);
	reply->has_changed = true;
	reply->changed = r == 1 || r6 == 1;
	return r6 < 0 ? call_fail_errno(call, r6, "the routes") : 0;
}
