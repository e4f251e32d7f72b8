/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/listing.h"

static void add_row(struct table *table, const json_t *component)
{
	table_cell(table, "%s", agent_words(component, "type", "COMPONENT_"));
	table_cell(table, "%s", agent_text(component, "label"));
	table_cell(table, "%s", agent_words(component, "state", "COMPONENT_"));
	table_cell(table, "%s", agent_text(component, "version"));
	table_cell(table, "%s", agent_text(component, "description"));
}

static int run(struct cli *cli)
{
	static const struct table_head heads[] = {{"Type", TABLE_LEFT}, {"Component", TABLE_LEFT},
		{"State", TABLE_LEFT}, {"Version", TABLE_LEFT}, {"Description", TABLE_LEFT}, {0}};
	static const struct listing listing = {"components.discover", "components", heads, add_row};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_components = {
	.name = "components",
	.arguments = "VM",
	.summary = "Show what the guest is made of: kernel, agent, modules, devices, shares",
	.least = 1,
	.most = 1,
	.run = run,
};
