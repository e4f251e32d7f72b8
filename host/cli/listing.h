/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands that call one method of the agent and show an array of its answer as a table. */
#pragma once

#include "host/cli/agent.h"
#include "host/cli/table.h"

struct listing {
	const char *method;
	const char *array; /* field of the answer */
	const struct table_head *heads;
	void (*add_row)(struct table *table, const json_t *entry);
};

/* Calls, with params (taken over; NULL: none), and prints the table, or with --json the answer. The
 * command's exit code. */
int listing_run(struct cli *cli, const struct listing *listing, json_t *params);
