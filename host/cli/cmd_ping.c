/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>

#include "host/cli/agent.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define COUNT_MAX 100000

static const struct cli_option options[] = {
	{"count", 'c', "N", "round trips, default 4"},
	{0},
};

static int by_size(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;

	return (one > two) - (one < two);
}

/* The round trips one after another, in nanoseconds. */
static int measure(struct cli *cli, uint64_t *times, size_t n)
{
	struct postern_client *client;
	struct postern_error error = {0};
	int r = agent_connect(cli, &client);

	if (r != POSTERN_DONE)
		return r;
	for (size_t i = 0; i < n && r == POSTERN_DONE; i++) {
		uint64_t start = monotonic_ns();

		if (postern_call(client, "system.ping", NULL, 0, 0, NULL, NULL, &error) < 0)
			r = cli_fail(cli, &error);
		times[i] = monotonic_ns() - start;
	}
	postern_client_close(client);
	return r;
}

static double us(uint64_t ns)
{
	return (double)ns / NSEC_PER_USEC;
}

static int run(struct cli *cli)
{
	AUTO_FREE uint64_t *times = NULL;
	uint64_t n;
	int r;

	if (cli_number(cli, "count", COUNT_MAX, 4, &n) < 0)
		return POSTERN_USAGE;
	if (n == 0)
		return cli_usage(cli, "--count: at least 1");
	times = calloc(n, sizeof(*times));
	if (!times)
		return POSTERN_ANSWERED;
	r = measure(cli, times, n);
	if (r != POSTERN_DONE)
		return r;
	qsort(times, n, sizeof(*times), by_size);
	if (cli->json)
		return cli_json(json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)n,
			"least_us", us(times[0]), "median_us", us(times[n / 2]), "most_us",
			us(times[n - 1])));
	(void)printf("%s answers: %zu round trips, median %.0f us (%.0f to %.0f)\n", cli->words[0],
		(size_t)n, us(times[n / 2]), us(times[0]), us(times[n - 1]));
	return POSTERN_DONE;
}

const struct command cmd_ping = {
	.name = "ping",
	.arguments = "VM",
	.summary = "See whether a guest's agent answers, and how fast",
	.least = 1,
	.most = 1,
	.options = options,
	.run = run,
};
