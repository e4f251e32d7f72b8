/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/network_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "proto/cleanup.h"

#define MAC_MAX   32
#define FLAGS_MAX 32

static unsigned int ip_len(int family)
{
	return family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
}

char *network_address(struct call *call, int family, struct nlattr *attribute)
{
	char text[INET6_ADDRSTRLEN];

	if (!attribute || (family != AF_INET && family != AF_INET6) ||
		(unsigned int)nla_len(attribute) < ip_len(family) ||
		!inet_ntop(family, nla_data(attribute), text, sizeof(text)))
		return NULL;
	return arena_strdup(call->arena, text);
}

char *network_mac(struct call *call, struct nlattr *attribute)
{
	size_t len = attribute ? (size_t)nla_len(attribute) : 0;
	const uint8_t *bytes = attribute ? nla_data(attribute) : NULL;
	char text[3 * MAC_MAX + 1];
	uint8_t any = 0;

	if (len == 0 || len > MAC_MAX)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		any |= bytes[i];
		(void)snprintf(text + 3 * i, 4, "%02x:", bytes[i]);
	}
	text[3 * len - 1] = '\0';
	return any ? arena_strdup(call->arena, text) : NULL;
}

static char *word_of(struct call *call, const struct network_flag *words, uint8_t number)
{
	for (; words->word; words++)
		if (words->bit == number)
			return (char *)words->word;
	return arena_printf(call->arena, "%u", number);
}

char *network_scope(struct call *call, uint8_t scope)
{
	static const struct network_flag words[] = {{RT_SCOPE_UNIVERSE, "global"},
		{RT_SCOPE_SITE, "site"}, {RT_SCOPE_LINK, "link"}, {RT_SCOPE_HOST, "host"},
		{RT_SCOPE_NOWHERE, "nowhere"}, {0}};

	return word_of(call, words, scope);
}

char *network_protocol(struct call *call, uint8_t protocol)
{
	static const struct network_flag words[] = {{RTPROT_REDIRECT, "redirect"},
		{RTPROT_KERNEL, "kernel"}, {RTPROT_BOOT, "boot"}, {RTPROT_STATIC, "static"},
		{RTPROT_RA, "ra"}, {RTPROT_DHCP, "dhcp"}, {RTPROT_ZEBRA, "zebra"},
		{RTPROT_BIRD, "bird"}, {RTPROT_KEEPALIVED, "keepalived"}, {RTPROT_BABEL, "babel"},
		{RTPROT_BGP, "bgp"}, {RTPROT_ISIS, "isis"}, {RTPROT_OSPF, "ospf"},
		{RTPROT_RIP, "rip"}, {RTPROT_EIGRP, "eigrp"}, {0}};

	return word_of(call, words, protocol);
}

char *network_type(struct call *call, uint8_t type)
{
	static const struct network_flag words[] = {{RTN_UNICAST, "unicast"}, {RTN_LOCAL, "local"},
		{RTN_BROADCAST, "broadcast"}, {RTN_ANYCAST, "anycast"},
		{RTN_MULTICAST, "multicast"}, {RTN_BLACKHOLE, "blackhole"},
		{RTN_UNREACHABLE, "unreachable"}, {RTN_PROHIBIT, "prohibit"}, {RTN_THROW, "throw"},
		{RTN_NAT, "nat"}, {0}};

	return word_of(call, words, type);
}

int network_flags(struct call *call, const struct network_flag *flags, uint32_t set, char ***ret,
	size_t *ret_n)
{
	*ret_n = 0;
	*ret = arena_alloc(call->arena, FLAGS_MAX * sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (; flags->word && *ret_n < FLAGS_MAX; flags++)
		if (set & flags->bit)
			(*ret)[(*ret_n)++] = (char *)flags->word;
	return 0;
}

int network_parse(struct call *call, const char *text, const char *field, struct network_ip *ret)
{
	*ret = (struct network_ip){.family = AF_UNSPEC};
	if (!text)
		return 0;
	if (inet_pton(AF_INET, text, ret->bytes) == 1)
		ret->family = AF_INET;
	else if (inet_pton(AF_INET6, text, ret->bytes) == 1)
		ret->family = AF_INET6;
	else
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
			"%s: expected an IPv4 or IPv6 address", field);
	ret->len = ip_len(ret->family);
	return 0;
}

int network_prefix(
	struct call *call, const struct network_ip *ip, bool has, uint32_t prefix, uint8_t *ret)
{
	if (has && prefix > 8 * ip->len)
		return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, ERANGE,
			"prefix: %u bits at most", 8 * ip->len);
	*ret = (uint8_t)(has ? prefix : 8 * ip->len);
	return 0;
}
