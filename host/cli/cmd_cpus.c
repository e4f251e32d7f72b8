/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's processors and blocks of memory, from the inside. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cli/listing.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"

/* Words "1", "3-5" and "1,3-5" behind the VM, as numbers. 0, or -1 after cli_usage(). */
static int put_numbers(struct cli *cli, json_t *numbers, const char *word)
{
	const char *at = word;

	while (*at) {
		char *end = NULL;
		unsigned long first = strtoul(at, &end, 10), last = first;

		if (end != at && *end == '-') {
			at = end + 1;
			last = strtoul(at, &end, 10);
		}
		if (end == at || (*end != ',' && *end != '\0') || last < first ||
			last > UINT32_MAX || last - first > 4095) {
			(void)cli_usage(cli, "%s: expected numbers as in 1,3-5", word);
			return -1;
		}
		for (; first <= last; first++)
			(void)json_array_append_new(numbers, json_integer((json_int_t)first));
		at = *end ? end + 1 : end;
	}
	return 0;
}

static const struct cli_option set_options[] = {
	{"online", 'u', "NUMBERS", "take these into use (1,3-5)"},
	{"offline", 'd', "NUMBERS", "take these out of use"},
	{0},
};

/* Shows what did not do; the exit code. */
static int finish(struct cli *cli, json_t *answer, const char *what)
{
	const json_t *problem;
	size_t i;

	if (cli->json)
		return cli_json(answer);
	json_array_foreach(json_object_get(answer, "problems"), i, problem)
	{
		show_line("%s %lld: %s", what, (long long)json_field_int(problem, "id", 0),
			agent_text(problem, "message"));
	}
	json_decref(answer);
	return i > 0 ? POSTERN_ANSWERED : POSTERN_DONE;
}

static int run_switch(struct cli *cli, const char *method, const char *what)
{
	static const char *const ways[] = {"online", "offline"};
	json_t *params = json_pack("{s:[], s:[]}", ways[0], ways[1]), *answer;
	int r;

	for (size_t i = 0; i < 2; i++) {
		const char *word;
		size_t at = 0;

		while ((word = cli_next(cli, ways[i], &at)))
			if (put_numbers(cli, json_object_get(params, ways[i]), word) < 0) {
				json_decref(params);
				return POSTERN_USAGE;
			}
	}
	r = agent_call(cli, method, params, 0, &answer);
	return r == POSTERN_DONE ? finish(cli, answer, what) : r;
}

/* ---- Processors ---- */

static void add_cpu(struct table *table, const json_t *cpu)
{
	table_cell(table, "%lld", (long long)json_field_int(cpu, "id", 0));
	table_cell(table, "%s", json_field_bool(cpu, "online", false) ? "online" : "offline");
	table_cell(table, "%s", json_field_bool(cpu, "can_offline", false) ? "yes" : "no");
}

static int run_cpus(struct cli *cli)
{
	static const struct table_head heads[] = {
		{"CPU", TABLE_RIGHT}, {"State", TABLE_LEFT}, {"Can go offline", TABLE_LEFT}, {0}};
	static const struct listing listing = {"cpus.list", "cpus", heads, add_cpu};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_cpus_list = {
	.name = "cpus list",
	.arguments = "VM",
	.summary = "Show the guest's processors",
	.least = 1,
	.most = 1,
	.run = run_cpus,
};

static int run_cpus_set(struct cli *cli)
{
	return run_switch(cli, "cpus.set", "processor");
}

const struct command cmd_cpus_set = {
	.name = "cpus set",
	.arguments = "VM",
	.summary = "Take processors of the guest into use, or out of use",
	.least = 1,
	.most = 1,
	.options = set_options,
	.run = run_cpus_set,
};

/* ---- Memory ---- */

static void add_block(struct table *table, const json_t *block)
{
	table_cell(table, "%lld", (long long)json_field_int(block, "id", 0));
	table_cell(table, "%#llx", (unsigned long long)json_field_int(block, "address", 0));
	table_cell(table, "%s", json_field_bool(block, "online", false) ? "online" : "offline");
	table_cell(table, "%s", agent_joined(block, "zones"));
}

static int run_blocks(struct cli *cli)
{
	static const struct table_head heads[] = {{"Block", TABLE_RIGHT}, {"Address", TABLE_RIGHT},
		{"State", TABLE_LEFT}, {"Zones", TABLE_LEFT}, {0}};
	static const struct listing listing = {"memory.blocks", "blocks", heads, add_block};

	return listing_run(cli, &listing, NULL);
}

const struct command cmd_mem_blocks = {
	.name = "mem blocks",
	.arguments = "VM",
	.summary = "Show the blocks of memory that the guest's kernel has",
	.least = 1,
	.most = 1,
	.run = run_blocks,
};

static int run_mem_set(struct cli *cli)
{
	return run_switch(cli, "memory.set_blocks", "block");
}

const struct command cmd_mem_set_blocks = {
	.name = "mem set-blocks",
	.arguments = "VM",
	.summary = "Take blocks of the guest's memory into use, or out of use",
	.least = 1,
	.most = 1,
	.options = set_options,
	.run = run_mem_set,
};

static const struct cli_option reclaim_options[] = {
	{"bytes", 'b', "SIZE", "so much of what files and programs have in memory"},
	{"drop-caches", 'd', NULL, "all that can be read again from disk"},
	{"compact", 'c', NULL, "move memory together, so that large pieces are free"},
	{0},
};

static int run_reclaim(struct cli *cli)
{
	json_t *answer;
	uint64_t bytes;
	int r;

	if (cli_size(cli, "bytes", 0, &bytes) < 0)
		return POSTERN_USAGE;
	r = agent_call(cli, "memory.reclaim",
		json_pack("{s:I, s:b, s:b}", "bytes", (json_int_t)bytes, "drop_caches",
			cli_flag(cli, "drop-caches"), "compact", cli_flag(cli, "compact")),
		0, &answer);
	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	show_line("Free: %s before, %s now",
		human_bytes((double)json_field_int(json_object_get(answer, "before"), "free", 0)),
		human_bytes((double)json_field_int(json_object_get(answer, "after"), "free", 0)));
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_mem_reclaim = {
	.name = "mem reclaim",
	.arguments = "VM",
	.summary = "Have the guest give up memory that it can do without",
	.least = 1,
	.most = 1,
	.options = reclaim_options,
	.run = run_reclaim,
};
