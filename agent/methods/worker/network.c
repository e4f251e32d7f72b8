/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/network.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

int network_open(struct call *call, struct netlink *ret)
{
	int r = netlink_open(ret, NETLINK_ROUTE);

	return r < 0 ? call_fail_errno(call, r, "rtnetlink") : 0;
}

int network_fail(
	struct call *call, const struct netlink *netlink, int negative_errno, const char *what)
{
	if (netlink->why[0] == '\0')
		return call_fail_errno(call, negative_errno, "%s", what);
	return call_fail(call, code_of_errno(-negative_errno), -negative_errno, "%s: %s (%s)", what,
		netlink->why, strerror(-negative_errno));
}

int network_find(struct call *call, struct netlink *netlink, bool has,
	const ProtobufCBinaryData *name, unsigned int *ret)
{
	char *text = call_string(call, has, name, IFNAMSIZ - 1, "interface");

	if (!text)
		return -EINVAL;
	*ret = netlink_index(netlink, text);
	if (*ret == 0)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENODEV,
			"%s: no such network interface", text);
	return 0;
}
