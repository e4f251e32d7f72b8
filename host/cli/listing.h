/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arrays of an answer as tables, and commands that call one method of the agent and show such a
 * one. */
#pragma once

#include "host/cli/agent.h"
#include "host/cli/table.h"

struct listing {
	const char *method; /* of listing_run() alone */
	const char *array;  /* field of the answer */
	const struct table_head *heads;
	void (*add_row)(struct table *table, const json_t *entry);
};

/* Calls, with params (taken over; NULL: none), and prints the table, or with --json the answer. The
 * command's exit code. */
int listing_run(struct cli *cli, const struct listing *listing, json_t *params);

/* Prints the array of an answer as a table. */
void listing_print(const struct listing *listing, const json_t *answer);

/* The same on standard error for what did not work: POSTERN_ANSWERED. POSTERN_DONE where the array
 * is empty: nothing is printed. */
int listing_problems(const struct listing *listing, const json_t *answer);
