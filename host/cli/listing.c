/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/listing.h"

#include <stdio.h>

int listing_run(struct cli *cli, const struct listing *listing, json_t *params)
{
	struct table table;
	const json_t *entry;
	json_t *answer;
	size_t i;
	int r = agent_call(cli, listing->method, params, 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	table_init(&table, listing->heads);
	json_array_foreach(json_object_get(answer, listing->array), i, entry)
		listing->add_row(&table, entry);
	table_print(&table, stdout);
	json_decref(answer);
	return POSTERN_DONE;
}
