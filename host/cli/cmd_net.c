/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's network as it is; changing it is cmd_net_set.c's. */
#include <stdio.h>
#include <string.h>

#include "host/cli/listing.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"

/* ---- list ---- */

static void add_interface(struct table *table, const json_t *link)
{
	const json_t *counters = json_object_get(link, "counters"), *address;
	char addresses[512] = "";
	size_t i, len = 0;

	json_array_foreach(json_object_get(link, "addresses"), i, address)
	{
		int n = snprintf(addresses + len, sizeof(addresses) - len, "%s%s/%lld",
			i > 0 ? " " : "", agent_text(address, "address"),
			(long long)json_field_int(address, "prefix", 0));

		if (n < 0 || (size_t)n >= sizeof(addresses) - len)
			break;
		len += (size_t)n;
	}
	table_cell(table, "%s%s", agent_text(link, "name"),
		json_field_bool(link, "primary", false) ? " *" : "");
	table_cell(table, "%s", agent_text(link, "kind"));
	table_cell(table, "%s", agent_text(link, "state"));
	table_cell(table, "%lld", (long long)json_field_int(link, "mtu", 0));
	table_cell(table, "%s", agent_text(link, "mac"));
	table_cell(table, "%s", human_bytes((double)json_field_int(counters, "rx_bytes", 0)));
	table_cell(table, "%s", human_bytes((double)json_field_int(counters, "tx_bytes", 0)));
	table_cell(table, "%s", addresses);
}

static int run_list(struct cli *cli)
{
	static const struct table_head heads[] = {{"Interface", TABLE_LEFT}, {"Kind", TABLE_LEFT},
		{"State", TABLE_LEFT}, {"MTU", TABLE_RIGHT}, {"MAC", TABLE_LEFT},
		{"Received", TABLE_RIGHT}, {"Sent", TABLE_RIGHT}, {"Addresses", TABLE_LEFT}, {0}};
	static const struct listing listing = {
		"network.interfaces", "interfaces", heads, add_interface};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_net_list = {
	.name = "net list",
	.arguments = "VM",
	.summary = "Show the guest's network interfaces",
	.details = "The default route leads through the one with a *.",
	.least = 1,
	.most = 1,
	.run = run_list,
};

/* ---- routes ---- */

static const struct cli_option route_options[] = {
	{"table", 't', "NUMBER", "of this table, not the main one; 0: of all"},
	{0},
};

/* "192.0.2.9 (left)", once or for each of several ways. */
static void add_ways(struct table *table, const json_t *route)
{
	const json_t *hops = json_object_get(route, "hops"), *hop;
	char text[512] = "";
	size_t i, len = 0;

	json_array_foreach(hops, i, hop)
	{
		int n = snprintf(text + len, sizeof(text) - len, "%s%s %s", i > 0 ? ", " : "",
			agent_text(hop, "gateway"), agent_text(hop, "interface"));

		if (n < 0 || (size_t)n >= sizeof(text) - len)
			break;
		len += (size_t)n;
	}
	table_cell(table, "%s", i > 0 ? text : agent_text(route, "gateway"));
	table_cell(table, "%s", agent_text(route, "interface"));
}

static void add_route(struct table *table, const json_t *route)
{
	const char *type = agent_text(route, "type");
	long long prefix = json_field_int(route, "prefix", 0);

	if (prefix == 0)
		table_cell(table, "default");
	else
		table_cell(table, "%s/%lld", agent_text(route, "destination"), prefix);
	add_ways(table, route);
	table_cell(table, "%lld", (long long)json_field_int(route, "metric", 0));
	table_cell(table, "%s", agent_text(route, "source"));
	table_cell(table, "%s", agent_text(route, "protocol"));
	table_cell(table, "%s", type);
}

static int run_routes(struct cli *cli)
{
	static const struct table_head heads[] = {{"Destination", TABLE_LEFT},
		{"Gateway", TABLE_LEFT}, {"Interface", TABLE_LEFT}, {"Metric", TABLE_RIGHT},
		{"Source", TABLE_LEFT}, {"By", TABLE_LEFT}, {"Type", TABLE_LEFT}, {0}};
	static const struct listing listing = {"network.routes", "routes", heads, add_route};
	uint64_t table;

	if (cli_number(cli, "table", UINT32_MAX, 254, &table) < 0)
		return POSTERN_USAGE;
	return listing_run(cli, &listing, json_pack("{s:I}", "table", (json_int_t)table));
}

const struct command cmd_net_routes = {
	.name = "net routes",
	.arguments = "VM",
	.summary = "Show where the guest's packets go",
	.least = 1,
	.most = 1,
	.options = route_options,
	.run = run_routes,
};

/* ---- neighbours ---- */

static void add_neighbour(struct table *table, const json_t *neighbour)
{
	table_cell(table, "%s", agent_text(neighbour, "address"));
	table_cell(table, "%s", agent_text(neighbour, "mac"));
	table_cell(table, "%s", agent_text(neighbour, "interface"));
	table_cell(table, "%s%s", agent_text(neighbour, "state"),
		json_field_bool(neighbour, "router", false) ? ", router" : "");
}

static int run_neighbours(struct cli *cli)
{
	static const struct table_head heads[] = {{"Address", TABLE_LEFT}, {"MAC", TABLE_LEFT},
		{"Interface", TABLE_LEFT}, {"State", TABLE_LEFT}, {0}};
	static const struct listing listing = {
		"network.neighbours", "neighbours", heads, add_neighbour};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_net_neighbours = {
	.name = "net neighbours",
	.arguments = "VM",
	.summary = "Show which hardware address belongs to which of the guest's neighbours",
	.least = 1,
	.most = 1,
	.run = run_neighbours,
};
