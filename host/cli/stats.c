/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/stats.h"

#include <inttypes.h>
#include <stdio.h>

int stats_show(const struct cli *cli, const struct postern_stat *stats, size_t n)
{
	json_t *object = json_object();

	for (size_t i = 0; i < n; i++) {
		bool known = stats[i].value != POSTERN_STAT_UNKNOWN;

		(void)json_object_set_new(object, stats[i].label,
			known ? json_integer((json_int_t)stats[i].value) : json_null());
		if (cli->json)
			continue;
		if (known)
			(void)printf("%-21s%" PRIu64 "\n", stats[i].label, stats[i].value);
		else
			(void)printf("%-21sUNKNOWN\n", stats[i].label);
	}
	if (cli->json)
		return cli_json(object);
	json_decref(object);
	return POSTERN_DONE;
}
