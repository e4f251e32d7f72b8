/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include "agent/methods/network.h"
#include "proto/cleanup.h"

/* The best route so far. */
struct search {
	int family;           /* of the routes that are being read */
	unsigned int primary; /* index of where it leads; 0: none was met */
	uint32_t metric;
};

static unsigned int first_way(struct nlattr *tb[])
{
	struct rtnexthop hop = {0};

	if (tb[RTA_OIF])
		return nla_get_u32(tb[RTA_OIF]);
	if (tb[RTA_MULTIPATH])
		(void)nla_memcpy(&hop, tb[RTA_MULTIPATH], sizeof(hop));
	return (unsigned int)hop.rtnh_ifindex;
}

static int take_route(void *ctx, struct nlmsghdr *message)
{
	struct search *search = ctx;
	const struct rtmsg *route = nlmsg_data(message);
	struct nlattr *tb[RTA_MAX + 1];
	unsigned int index;
	uint32_t metric;

	if (message->nlmsg_type != RTM_NEWROUTE || route->rtm_family != search->family ||
		route->rtm_dst_len != 0 || route->rtm_type != RTN_UNICAST ||
		route->rtm_table != RT_TABLE_MAIN ||
		nlmsg_parse(message, sizeof(*route), tb, RTA_MAX, NULL) < 0)
		return 0;
	index = first_way(tb);
	metric = tb[RTA_PRIORITY] ? nla_get_u32(tb[RTA_PRIORITY]) : 0;
	if (index == 0 || (search->primary != 0 && metric >= search->metric))
		return 0;
	search->primary = index;
	search->metric = metric;
	return 0;
}

int network_primary(struct netlink *netlink, unsigned int *ret_index)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct search search = {0};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(families) && search.primary == 0 && r >= 0; i++) {
		struct rtmsg request = {
			.rtm_family = (unsigned char)families[i], .rtm_table = RT_TABLE_MAIN};

		search.family = families[i];
		r = netlink_dump(
			netlink, RTM_GETROUTE, &request, sizeof(request), take_route, &search);
		/* No route was ever made, or the kernel has no IPv6. */
		if (r == -ENOENT || r == -EOPNOTSUPP || r == -EAFNOSUPPORT)
			r = 0;
	}
	*ret_index = search.primary;
	return r;
}
