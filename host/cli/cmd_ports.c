/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/listing.h"
#include "host/common/json_line.h"

static const struct cli_option options[] = {
	{"listening", 'l', NULL, "only sockets that listen"},
	{0},
};

/* "any:767", "host:1073741824", "3:767" */
static void add_end(
	struct table *table, const json_t *socket, const char *cid_key, const char *port_key)
{
	json_int_t cid = json_field_int(socket, cid_key, -1),
		   port = json_field_int(socket, port_key, -1);
	char name[24];

	if (cid < 0) {
		table_cell(table, "-");
		return;
	}
	(void)snprintf(name, sizeof(name), "%u", (unsigned int)cid);
	table_cell(table, "%s:%u",
		cid == 4294967295 ? "any"
		: cid == 2        ? "host"
				  : name,
		(unsigned int)port);
}

static void add_row(struct table *table, const json_t *socket)
{
	json_int_t pid = json_field_int(socket, "pid", 0);

	table_cell(table, "%s", agent_text(socket, "type"));
	table_cell(table, "%s", agent_text(socket, "state"));
	add_end(table, socket, "local_cid", "local_port");
	add_end(table, socket, "remote_cid", "remote_port");
	if (pid > 0)
		table_cell(table, "%d", (int)pid);
	else
		table_cell(table, "-");
	table_cell(table, "%s", agent_text(socket, "command"));
}

static int run(struct cli *cli)
{
	static const struct table_head heads[] = {{"Type", TABLE_LEFT}, {"State", TABLE_LEFT},
		{"Local", TABLE_LEFT}, {"Remote", TABLE_LEFT}, {"Pid", TABLE_RIGHT},
		{"Command", TABLE_LEFT}, {0}};
	static const struct listing listing = {"ports.list", "sockets", heads, add_row};

	return listing_run(
		cli, &listing, json_pack("{s:b}", "listening", cli_flag(cli, "listening")));
}

const struct command cmd_ports = {
	.name = "ports",
	.arguments = "VM",
	.summary = "Show the guest's vsock sockets",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
