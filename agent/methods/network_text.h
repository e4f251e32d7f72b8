/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and bytes of rtnetlink(7) as the protocol's words, and back. */
#pragma once

#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <stdint.h>

#include "agent/methods/call.h"

/* An IP address of an attribute (NULL: none) as text in the arena; NULL: there is none, or no
 * memory. */
char *network_address(struct call *call, int family, struct nlattr *attribute);

/* A hardware address; NULL: none, or only zeros as a loopback's. */
char *network_mac(struct call *call, struct nlattr *attribute);

/* Words for scope, protocol and type of a route, and the scope of an address; numbers without a
 * word as such. NULL without memory. */
char *network_scope(struct call *call, uint8_t scope);
char *network_protocol(struct call *call, uint8_t protocol);
char *network_type(struct call *call, uint8_t type);

struct network_flag {
	uint32_t bit;
	const char *word;
};

/* The words of the bits that are set, of a list that ends with {0}; at most 32. 0 or -ENOMEM. */
int network_flags(struct call *call, const struct network_flag *flags, uint32_t set, char ***ret,
	size_t *ret_n);

/* An IP address as a caller gives it. */
struct network_ip {
	int family; /* AF_INET, AF_INET6; AF_UNSPEC: not given */
	unsigned int len;
	unsigned char bytes[sizeof(struct in6_addr)];
};

/* Text of a field (NULL: not given) as an address. 0, or -EINVAL with call_fail() done. */
int network_parse(struct call *call, const char *text, const char *field, struct network_ip *ret);

/* The length of a prefix, if given, else all bits. 0, or -EINVAL with call_fail() done. */
int network_prefix(
	struct call *call, const struct network_ip *ip, bool has, uint32_t prefix, uint8_t *ret);
