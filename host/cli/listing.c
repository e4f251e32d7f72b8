/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/listing.h"

#include <stdio.h>

static void print(const struct listing *listing, const json_t *answer, FILE *to)
{
	struct table table;
	const json_t *entry;
	size_t i;

	table_init(&table, listing->heads);
	json_array_foreach(json_object_get(answer, listing->array), i, entry)
		listing->add_row(&table, entry);
	table_print(&table, to);
}

void listing_print(const struct listing *listing, const json_t *answer)
{
	print(listing, answer, stdout);
}

int listing_problems(const struct listing *listing, const json_t *answer)
{
	if (json_array_size(json_object_get(answer, listing->array)) == 0)
		return POSTERN_DONE;
	(void)fflush(stdout);
	print(listing, answer, stderr);
	return POSTERN_ANSWERED;
}

int listing_run(struct cli *cli, const struct listing *listing, json_t *params)
{
	json_t *answer;
	int r = agent_call(cli, listing->method, params, 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	print(listing, answer, stdout);
	json_decref(answer);
	return POSTERN_DONE;
}
