/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/neighbour.h>
#include <net/if.h>

#include "agent/methods/network.h"
#include "agent/methods/network_text.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

#define PART_MAX 1024 /* neighbours in one part of the answer */

struct reading {
	struct call *call;
	struct netlink *netlink;
	Postern__V1__NetworkNeighboursReply *reply;
	size_t bytes; /* in the part that is being made */
};

/* NULL: one that there is nothing to find out about. */
static const char *state_of(uint16_t state)
{
	switch (state) {
	case NUD_INCOMPLETE:
		return "incomplete";
	case NUD_REACHABLE:
		return "reachable";
	case NUD_STALE:
		return "stale";
	case NUD_DELAY:
		return "delay";
	case NUD_PROBE:
		return "probe";
	case NUD_FAILED:
		return "failed";
	case NUD_PERMANENT:
		return "permanent";
	default:
		return NULL;
	}
}

/* Sends what there is where this one would not go into the same part. */
static int add(struct reading *reading, Postern__V1__NetworkNeighbour *neighbour)
{
	Postern__V1__NetworkNeighboursReply *reply = reading->reply;
	size_t len = protobuf_c_message_get_packed_size(&neighbour->base) + 4;
	int r = 0;

	if (reply->n_neighbours == PART_MAX ||
		(reply->n_neighbours > 0 && reading->bytes + len > call_part_size(reading->call))) {
		r = call_more(reading->call, &reply->base);
		reply->n_neighbours = reading->bytes = 0;
	}
	reply->neighbours[reply->n_neighbours++] = neighbour;
	reading->bytes += len;
	return r;
}

static int take_neighbour(void *ctx, struct nlmsghdr *message)
{
	struct reading *reading = ctx;
	struct call *call = reading->call;
	const struct ndmsg *from = nlmsg_data(message);
	const char *state = state_of(from->ndm_state);
	Postern__V1__NetworkNeighbour *to;
	struct nlattr *tb[NDA_MAX + 1];
	char name[IFNAMSIZ];

	if (message->nlmsg_type != RTM_NEWNEIGH || !state ||
		(from->ndm_family != AF_INET && from->ndm_family != AF_INET6) ||
		nlmsg_parse(message, sizeof(*from), tb, NDA_MAX, NULL) < 0 || !tb[NDA_DST])
		return 0;
	to = arena_alloc(call->arena, sizeof(*to));
	if (!to)
		return -ENOMEM;
	postern__v1__network_neighbour__init(to);
	netlink_name(reading->netlink, (unsigned int)from->ndm_ifindex, name);
	to->address = network_address(call, from->ndm_family, tb[NDA_DST]);
	to->mac = network_mac(call, tb[NDA_LLADDR]);
	to->has_interface = to->has_index = to->has_router = true;
	to->interface = call_text(call, name);
	to->index = (uint32_t)from->ndm_ifindex;
	to->state = (char *)state;
	to->router = (from->ndm_flags & NTF_ROUTER) != 0;
	return to->address ? add(reading, to) : -ENOMEM;
}

int network_neighbours(struct call *call, const Postern__V1__NetworkNeighboursRequest *request,
	Postern__V1__NetworkNeighboursReply *reply)
{
	AUTO_NETLINK struct netlink netlink = {0};
	struct reading reading = {.call = call, .netlink = &netlink, .reply = reply};
	struct ndmsg all = {.ndm_family = AF_UNSPEC};
	int r = network_open(call, &netlink);

	(void)request;
	if (r < 0)
		return r;
	reply->neighbours = arena_alloc(call->arena, PART_MAX * sizeof(*reply->neighbours));
	if (!reply->neighbours)
		return -ENOMEM;
	r = netlink_dump(&netlink, RTM_GETNEIGH, &all, sizeof(all), take_neighbour, &reading);
	reply->has_changed = true;
	reply->changed = r == 1;
	return r < 0 ? call_fail_errno(call, r, "the neighbours") : 0;
}
