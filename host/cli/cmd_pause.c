/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "host/cli/command.h"
#include "host/cli/guest_clock.h"
#include "host/lib/postern.h"
#include "proto/clock.h"

static int report(const struct cli *cli, const char *state)
{
	if (cli->json)
		return cli_json(json_pack("{s:s, s:s}", "name", cli->words[0], "state", state));
	(void)printf("The guest %s %s\n", cli->words[0], state);
	return POSTERN_DONE;
}

static int run_pause(struct cli *cli)
{
	struct postern_error error = {0};

	if (postern_pause(cli->words[0], &error) < 0)
		return cli_fail(cli, &error);
	return report(cli, "paused");
}

const struct command cmd_pause = {
	.name = "pause",
	.arguments = "VM",
	.summary = "Stop a guest's processors; it keeps its memory",
	.details = "Until it is resumed nobody in it answers.",
	.least = 1,
	.most = 1,
	.run = run_pause,
};

static const struct cli_option resume_options[] = {
	{"no-clock", 'n', NULL, "leave the guest's clock as it is"},
	{0},
};

/* A guest stood still while the world went on. One that does not say its time, or lets nobody set
 * it, is left as it is: it runs, which is what was asked for. */
static void set_clock(const struct cli *cli)
{
	struct postern_error error = {0};
	int64_t off;

	if (guest_clock_after_pause(cli->words[0], &off, &error) < 0) {
		(void)fflush(stdout);
		(void)fprintf(stderr, "postern: the guest's clock was not looked at: %s\n",
			error.message);
		postern_error_clear(&error);
	} else if (off != 0 && !cli->json) {
		(void)printf("Its clock was %.1f s %s, and is set\n",
			(double)(off < 0 ? -off : off) / (double)NSEC_PER_SEC,
			off < 0 ? "behind" : "ahead");
	}
}

static int run_resume(struct cli *cli)
{
	struct postern_error error = {0};
	int r;

	if (postern_resume(cli->words[0], &error) < 0)
		return cli_fail(cli, &error);
	r = report(cli, "resumed");
	if (!cli_flag(cli, "no-clock"))
		set_clock(cli);
	return r;
}

const struct command cmd_resume = {
	.name = "resume",
	.arguments = "VM",
	.summary = "Let a paused guest go on, or wake one that sleeps",
	.details = "Its clock stood still, too, under most VMMs: where it is more than a second "
		   "off by then, it\n"
		   "is set by this host's.",
	.least = 1,
	.most = 1,
	.options = resume_options,
	.run = run_resume,
};
