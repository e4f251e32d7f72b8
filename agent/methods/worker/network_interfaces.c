/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>

#include "agent/methods/network.h"
#include "agent/methods/network_text.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

#define INTERFACES_MAX 4096
#define TRIES          4
#define FOREVER        UINT32_MAX

struct reading {
	struct call *call;
	struct netlink *netlink;
	unsigned int only; /* index; 0: all */
	Postern__V1__NetworkInterface **interfaces;
	size_t n;
	bool leads_out; /* some interface is up and no loopback: there may be a route */
};

/* Room for one more: 8 at first, then twice as many whenever they are full. What was copied stays
 * behind. */
static void *grow(struct call *call, void *array, size_t n, size_t size)
{
	void *larger;

	if (n > 0 && (n < 8 || (n & (n - 1)) != 0))
		return array;
	larger = arena_alloc(call->arena, (n > 0 ? 2 * n : 8) * size);
	if (larger && n > 0)
		memcpy(larger, array, n * size);
	return larger;
}

/* ---- Links ---- */

static const char *kind_of(struct call *call, unsigned short type, struct nlattr *info)
{
	struct nlattr *kind = info ? nla_find(nla_data(info), nla_len(info), IFLA_INFO_KIND) : NULL;

	if (kind)
		return arena_copy(call->arena, nla_data(kind), (size_t)nla_len(kind));
	switch (type) {
	case ARPHRD_ETHER:
		return "ethernet";
	case ARPHRD_LOOPBACK:
		return "loopback";
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
	case ARPHRD_NONE:
		return "tunnel";
	default:
		return "other";
	}
}

/* RFC 2863, as linux/if.h numbers them. */
static const char *state_of(struct nlattr *attribute)
{
	static const char *const states[] = {
		"unknown", "not present", "down", "lower layer down", "testing", "dormant", "up"};
	uint8_t state = attribute ? nla_get_u8(attribute) : 0;

	return states[state < ARRAY_SIZE(states) ? state : 0];
}

static Postern__V1__NetworkCounters *counters_of(struct call *call, struct nlattr *attribute)
{
	Postern__V1__NetworkCounters *to = arena_alloc(call->arena, sizeof(*to));
	struct rtnl_link_stats64 from = {0};

	if (!to)
		return NULL;
	/* A newer kernel's is longer, an older one's shorter. */
	(void)nla_memcpy(&from, attribute, sizeof(from));
	postern__v1__network_counters__init(to);
	to->has_rx_bytes = to->has_rx_packets = to->has_rx_errors = to->has_rx_dropped = true;
	to->has_tx_bytes = to->has_tx_packets = to->has_tx_errors = to->has_tx_dropped = true;
	to->has_multicast = to->has_collisions = true;
	to->rx_bytes = from.rx_bytes;
	to->rx_packets = from.rx_packets;
	to->rx_errors = from.rx_errors;
	to->rx_dropped = from.rx_dropped;
	to->tx_bytes = from.tx_bytes;
	to->tx_packets = from.tx_packets;
	to->tx_errors = from.tx_errors;
	to->tx_dropped = from.tx_dropped;
	to->multicast = from.multicast;
	to->collisions = from.collisions;
	return to;
}

static int fill_link(struct call *call, Postern__V1__NetworkInterface *to,
	const struct ifinfomsg *link, struct nlattr *tb[])
{
	static const struct network_flag words[] = {{IFF_BROADCAST, "broadcast"},
		{IFF_LOOPBACK, "loopback"}, {IFF_POINTOPOINT, "point-to-point"},
		{IFF_NOARP, "no-arp"}, {IFF_PROMISC, "promiscuous"},
		{IFF_ALLMULTI, "all-multicast"}, {IFF_MASTER, "master"}, {IFF_SLAVE, "slave"},
		{IFF_MULTICAST, "multicast"}, {0}};

	to->has_index = to->has_name = to->has_up = to->has_running = to->has_primary = true;
	to->index = (uint32_t)link->ifi_index;
	to->name = call_text(call, nla_get_string(tb[IFLA_IFNAME]));
	to->up = (link->ifi_flags & IFF_UP) != 0;
	to->running = to->up && (link->ifi_flags & IFF_RUNNING);
	to->state = (char *)state_of(tb[IFLA_OPERSTATE]);
	to->kind = (char *)kind_of(call, link->ifi_type, tb[IFLA_LINKINFO]);
	to->mac = network_mac(call, tb[IFLA_ADDRESS]);
	to->has_mtu = tb[IFLA_MTU] != NULL;
	to->mtu = tb[IFLA_MTU] ? nla_get_u32(tb[IFLA_MTU]) : 0;
	to->has_master = tb[IFLA_MASTER] != NULL;
	to->master = tb[IFLA_MASTER] ? nla_get_u32(tb[IFLA_MASTER]) : 0;
	if (tb[IFLA_STATS64])
		to->counters = counters_of(call, tb[IFLA_STATS64]);
	if (!to->kind || (tb[IFLA_STATS64] && !to->counters))
		return -ENOMEM;
	return network_flags(call, words, link->ifi_flags, &to->flags, &to->n_flags);
}

static int take_link(void *ctx, struct nlmsghdr *message)
{
	struct reading *reading = ctx;
	const struct ifinfomsg *link = nlmsg_data(message);
	struct nlattr *tb[IFLA_MAX + 1];
	Postern__V1__NetworkInterface *to;

	if (message->nlmsg_type != RTM_NEWLINK)
		return 0;
	reading->leads_out |= (link->ifi_flags & (IFF_UP | IFF_LOOPBACK)) == IFF_UP;
	if (reading->n == INTERFACES_MAX ||
		(reading->only != 0 && (unsigned int)link->ifi_index != reading->only) ||
		nlmsg_parse(message, sizeof(*link), tb, IFLA_MAX, NULL) < 0 || !tb[IFLA_IFNAME])
		return 0;
	to = arena_alloc(reading->call->arena, sizeof(*to));
	reading->interfaces =
		grow(reading->call, reading->interfaces, reading->n, sizeof(*reading->interfaces));
	if (!to || !reading->interfaces)
		return -ENOMEM;
	postern__v1__network_interface__init(to);
	reading->interfaces[reading->n++] = to;
	return fill_link(reading->call, to, link, tb);
}

/* ---- Addresses ---- */

static Postern__V1__NetworkInterface *find(struct reading *reading, uint32_t index)
{
	for (size_t i = 0; i < reading->n; i++)
		if (reading->interfaces[i]->index == index)
			return reading->interfaces[i];
	return NULL;
}

static int fill_address(struct call *call, Postern__V1__NetworkAddress *to,
	const struct ifaddrmsg *address, struct nlattr *tb[])
{
	static const struct network_flag words[] = {{IFA_F_SECONDARY, "secondary"},
		{IFA_F_NODAD, "nodad"}, {IFA_F_OPTIMISTIC, "optimistic"},
		{IFA_F_DADFAILED, "dadfailed"}, {IFA_F_DEPRECATED, "deprecated"},
		{IFA_F_TENTATIVE, "tentative"}, {IFA_F_PERMANENT, "permanent"},
		{IFA_F_MANAGETEMPADDR, "mngtmpaddr"}, {IFA_F_NOPREFIXROUTE, "noprefixroute"}, {0}};
	static const struct network_flag words6[] = {{IFA_F_TEMPORARY, "temporary"},
		{IFA_F_NODAD, "nodad"}, {IFA_F_OPTIMISTIC, "optimistic"},
		{IFA_F_DADFAILED, "dadfailed"}, {IFA_F_DEPRECATED, "deprecated"},
		{IFA_F_TENTATIVE, "tentative"}, {IFA_F_PERMANENT, "permanent"},
		{IFA_F_MANAGETEMPADDR, "mngtmpaddr"}, {IFA_F_NOPREFIXROUTE, "noprefixroute"}, {0}};
	struct nlattr *own = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
	struct ifa_cacheinfo lives = {.ifa_valid = FOREVER, .ifa_prefered = FOREVER};
	uint32_t flags = tb[IFA_FLAGS] ? nla_get_u32(tb[IFA_FLAGS]) : address->ifa_flags;

	if (tb[IFA_LOCAL] && tb[IFA_ADDRESS] && nla_len(own) == nla_len(tb[IFA_ADDRESS]) &&
		memcmp(nla_data(own), nla_data(tb[IFA_ADDRESS]), (size_t)nla_len(own)) != 0)
		to->peer = network_address(call, address->ifa_family, tb[IFA_ADDRESS]);
	to->address = network_address(call, address->ifa_family, own);
	to->scope = network_scope(call, address->ifa_scope);
	to->has_prefix = true;
	to->prefix = address->ifa_prefixlen;
	if (tb[IFA_CACHEINFO])
		(void)nla_memcpy(&lives, tb[IFA_CACHEINFO], sizeof(lives));
	to->has_valid_s = lives.ifa_valid != FOREVER;
	to->valid_s = lives.ifa_valid;
	to->has_preferred_s = lives.ifa_prefered != FOREVER;
	to->preferred_s = lives.ifa_prefered;
	if (!to->address || !to->scope)
		return -ENOMEM;
	return network_flags(call, address->ifa_family == AF_INET ? words : words6, flags,
		&to->flags, &to->n_flags);
}

static int take_address(void *ctx, struct nlmsghdr *message)
{
	struct reading *reading = ctx;
	struct call *call = reading->call;
	const struct ifaddrmsg *address = nlmsg_data(message);
	Postern__V1__NetworkInterface *of;
	Postern__V1__NetworkAddress *to;
	struct nlattr *tb[IFA_MAX + 1];

	if (message->nlmsg_type != RTM_NEWADDR ||
		(address->ifa_family != AF_INET && address->ifa_family != AF_INET6) ||
		nlmsg_parse(message, sizeof(*address), tb, IFA_MAX, NULL) < 0)
		return 0;
	of = find(reading, address->ifa_index);
	if (!of || of->n_addresses == INTERFACES_MAX)
		return 0;
	of->addresses = grow(call, of->addresses, of->n_addresses, sizeof(*of->addresses));
	to = arena_alloc(call->arena, sizeof(*to));
	if (!to || !of->addresses)
		return -ENOMEM;
	postern__v1__network_address__init(to);
	of->addresses[of->n_addresses++] = to;
	return fill_address(call, to, address, tb);
}

/* ---- All together ---- */

static int read_once(struct reading *reading)
{
	struct ifinfomsg links = {0};
	struct ifaddrmsg addresses = {0};
	unsigned int primary = 0;
	int r, changed;

	reading->n = 0;
	reading->leads_out = false;
	changed = r = netlink_dump(
		reading->netlink, RTM_GETLINK, &links, sizeof(links), take_link, reading);
	if (r >= 0)
		r = netlink_dump(reading->netlink, RTM_GETADDR, &addresses, sizeof(addresses),
			take_address, reading);
	changed |= r;
	if (r >= 0 && reading->leads_out)
		r = network_primary(reading->netlink, &primary);
	for (size_t i = 0; i < reading->n; i++)
		reading->interfaces[i]->primary = reading->interfaces[i]->index == primary;
	return r < 0 ? r : changed | r;
}

/* What changed while it was read is read again; what changes all the time is told as it was met. */
static int read_all(struct reading *reading)
{
	int r = 1;

	for (int i = 0; i < TRIES && r == 1; i++)
		r = read_once(reading);
	return r < 0 ? r : 0;
}

int network_interface(struct call *call, struct netlink *netlink, unsigned int index,
	Postern__V1__NetworkInterface **ret)
{
	struct reading reading = {.call = call, .netlink = netlink, .only = index};
	int r = read_all(&reading);

	if (r < 0)
		return call_fail_errno(call, r, "the network interfaces");
	if (reading.n == 0)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENODEV,
			"the interface is gone meanwhile");
	*ret = reading.interfaces[0];
	return 0;
}

/* Sends all but the last part; what is left is the reply's. */
static int send_parts(struct call *call, const struct reading *reading,
	Postern__V1__NetworkInterfacesReply *reply)
{
	size_t bytes = 0, limit = call_part_size(call);
	int r = 0;

	reply->interfaces = reading->interfaces;
	for (size_t i = 0; i < reading->n && r == 0; i++) {
		size_t len = protobuf_c_message_get_packed_size(&reading->interfaces[i]->base) + 4;

		if (reply->n_interfaces > 0 && bytes + len > limit) {
			r = call_more(call, &reply->base);
			reply->interfaces = &reading->interfaces[i];
			reply->n_interfaces = bytes = 0;
		}
		reply->n_interfaces++;
		bytes += len;
	}
	return r;
}

int network_interfaces(struct call *call, const Postern__V1__NetworkInterfacesRequest *request,
	Postern__V1__NetworkInterfacesReply *reply)
{
	static struct netlink netlink; /* a reader answers with it one after the other */
	struct reading reading = {.call = call, .netlink = &netlink};
	int r = netlink.socket ? 0 : network_open(call, &netlink);

	if (r == 0 && request->has_interface)
		r = network_find(call, &netlink, true, &request->interface, &reading.only);
	if (r == 0)
		r = read_all(&reading);
	if (r < 0) {
		/* The rest of an answer may still be in it. */
		netlink_close(&netlink);
		return call->error ? r : call_fail_errno(call, r, "the network interfaces");
	}
	return send_parts(call, &reading, reply);
}
