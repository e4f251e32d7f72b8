/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "host/cli/agent.h"
#include "host/cli/grant.h"
#include "host/cli/perf_run.h"
#include "host/cli/progress.h"
#include "proto/cleanup.h"

#define PATIENCE_MAX 1000

static const struct cli_option options[] = {
	{"external", 'x', NULL, "wait for a program of the guest in place of asking its agent"},
	{"quick", 'q', NULL, "fewer and smaller measurements, for a first look"},
	{"patience", 'p', "N", "give the guest N times the usual time for each step"},
	{0},
};

static const struct perf_size quick = {
	.round_trips = 200, .bidirectional = 2, .single = 2, .multi = 2, .bytes = 4u << 20};

/* Has the agent do the guest's part, for as long as the channel is open. */
static int ask_agent(struct cli *cli, const struct perf_size *size, bool in_band, int *ret_channel)
{
	struct postern_client *client = NULL;
	struct postern_error error = {0};
	json_t *params;
	int r = agent_connect(cli, &client);

	if (r != POSTERN_DONE)
		return r;
	params = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "in_band", in_band, "round_trips",
		(json_int_t)size->round_trips, "bidirectional", (json_int_t)size->bidirectional,
		"single", (json_int_t)size->single, "multi", (json_int_t)size->multi, "mebibytes",
		(json_int_t)(size->bytes >> 20));
	if (grant_call(client, "perf.vsock", params, "channel", ret_channel, &error) < 0)
		r = cli_fail(cli, &error);
	postern_client_close(client);
	return r;
}

static int show(struct cli *cli, const struct perf_result *result)
{
	if (cli->json)
		(void)cli_json(perf_json(result));
	else
		perf_print(result, stdout);
	return result->check == PERF_PASSED ? POSTERN_DONE : POSTERN_ANSWERED;
}

static int measure(struct cli *cli, struct perf_streams *streams, const struct perf_size *size,
	unsigned int factor)
{
	struct postern_error error = {0};
	struct perf_result result;

	progress_show("Waiting for the guest's connections");
	if (perf_streams_accept(streams, factor, &error) < 0) {
		progress_end();
		return cli_fail(cli, &error);
	}
	if (perf_run(streams, size, factor, &result, &error) == 0)
		return show(cli, &result);
	/* What was measured until then. */
	if (!cli->json)
		perf_print(&result, stdout);
	return cli_fail(cli, &error);
}

static int run(struct cli *cli)
{
	struct perf_size size = PERF_SIZE_DEFAULT;
	struct perf_streams streams;
	struct postern_error error = {0};
	AUTO_CLOSE int channel = -EBADF;
	uint64_t patience;
	int r = POSTERN_DONE;

	if (cli_number(cli, "patience", PATIENCE_MAX, 1, &patience) < 0)
		return POSTERN_USAGE;
	if (patience == 0)
		return cli_usage(cli, "--patience: 1 to %d", PATIENCE_MAX);
	if (cli_flag(cli, "external") && cli_flag(cli, "quick"))
		return cli_usage(cli, "--quick: a program of the guest has its own numbers");
	if (cli_flag(cli, "quick"))
		size = quick;
	if (perf_streams_listen(&streams, cli->words[0], &error) < 0)
		r = cli_fail(cli, &error);
	if (r == POSTERN_DONE && !cli_flag(cli, "external"))
		r = ask_agent(cli, &size, streams.in_band, &channel);
	if (r == POSTERN_DONE)
		r = measure(cli, &streams, &size, (unsigned int)patience);
	perf_streams_close(&streams);
	return r;
}

const struct command cmd_vsock_perf = {
	.name = "vsock-perf",
	.arguments = "VM",
	.summary = "Measure the latency and the throughput of a guest's vsock",
	.details =
		"The guest connects to port 8500 of the host, from ports 8501 to 8509. Without\n"
		"--quick several dozen gigabytes are moved, which takes minutes, and longer where\n"
		"the guest is emulated; --patience keeps slow ones from running out of time.\n"
		"What went wrong in the data is FAILED, and exit code 1.",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
