/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/agent.h"
#include "host/cli/files_guest.h"
#include "host/cli/progress.h"
#include "host/cli/show.h"
#include "host/cli/table.h"
#include "host/common/json_line.h"
#include "proto/client/json_call.h"
#include "proto/clock.h"

#define TIMEOUT_MS 300000 /* the highest of the method */

static const struct cli_option options[] = {
	{"write", 'w', NULL, "a file of the disk, which is gone at the end"},
	{"size", 's', "SIZE", "of that file (256M)"},
	{"time", 't', "MS", "of each phase, 10 to 60000 (3000)"},
	{0},
};

static void show_part(void *ctx, const json_t *part)
{
	char text[32];

	(void)ctx;
	if (!json_object_get(part, "percent"))
		return;
	(void)snprintf(text, sizeof(text), "%lld %%",
		(long long)json_field_int(part, "percent", 0) % 1000);
	progress_show(text);
}

static void cell_time(struct table *table, const json_t *result, const char *key)
{
	double ns = (double)json_field_int(result, key, 0);

	table_cell(table, "%.1f us", ns / (double)NSEC_PER_USEC);
}

static void show_results(const json_t *answer)
{
	static const struct table_head heads[] = {{"Phase", TABLE_LEFT}, {"Rate", TABLE_RIGHT},
		{"Operations/s", TABLE_RIGHT}, {"p50", TABLE_RIGHT}, {"p95", TABLE_RIGHT},
		{"p99", TABLE_RIGHT}, {"Most", TABLE_RIGHT}, {0}};
	const json_t *result;
	struct table table;
	size_t i;

	table_init(&table, heads);
	json_array_foreach(json_object_get(answer, "results"), i, result)
	{
		double s = (double)json_field_int(result, "elapsed_ns", 0) / (double)NSEC_PER_SEC,
		       n = (double)json_field_int(result, "operations", 0);

		table_cell(&table, "%s", agent_words(result, "phase", ""));
		table_cell(&table, "%.1f MiB/s",
			(double)json_field_int(result, "bytes_per_second", 0) / (1 << 20));
		table_cell(&table, "%.0f", s > 0 ? n / s : 0);
		cell_time(&table, result, "latency_p50_ns");
		cell_time(&table, result, "latency_p95_ns");
		cell_time(&table, result, "latency_p99_ns");
		cell_time(&table, result, "latency_max_ns");
	}
	table_print(&table, stdout);
	if (!json_field_bool(answer, "direct", true))
		show_line("The guest's memory had a part in it: its file system cannot pass it by");
}

static int run(struct cli *cli)
{
	struct postern_client *client;
	struct postern_error error = {0};
	AUTO_JSON json_t *params = NULL;
	json_t *answer = NULL;
	uint64_t size, ms;
	int r = POSTERN_USAGE;

	if (cli_size(cli, "size", 0, &size) == 0 && cli_number(cli, "time", 60000, 3000, &ms) == 0)
		r = agent_connect(cli, &client);
	if (r != POSTERN_DONE)
		return r;
	params = json_pack("{s:o, s:b, s:I}", "disk", files_text(cli->words[1]), "write",
		cli_flag(cli, "write"), "duration_ms", (json_int_t)ms);
	if (cli_flag(cli, "size"))
		(void)json_object_set_new(params, "size", json_integer((json_int_t)size));
	r = json_call_parts(client, "disks.benchmark", params, TIMEOUT_MS,
		cli->json ? NULL : show_part, NULL, &answer, &error);
	progress_end();
	postern_client_close(client);
	if (r < 0)
		return cli_fail(cli, &error);
	if (cli->json)
		return cli_json(answer);
	show_results(answer);
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_disks_benchmark = {
	.name = "disks benchmark",
	.arguments = "VM DISK",
	.summary = "Measure how fast a disk of the guest is",
	.details = "What is on it stays as it is: it is read, or a file without a name is written.",
	.least = 2,
	.most = 2,
	.options = options,
	.run = run,
};
