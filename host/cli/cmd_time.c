/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <time.h>

#include "host/cli/agent.h"
#include "host/cli/guest_clock.h"
#include "host/cli/show.h"
#include "host/common/json_line.h"
#include "proto/clock.h"

static double seconds(int64_t ns)
{
	return (double)ns / (double)NSEC_PER_SEC;
}

static void show_offset(const struct guest_clock *clock)
{
	double off = seconds(clock->offset_ns), accuracy = seconds((int64_t)clock->accuracy_ns);

	if (off > -accuracy && off < accuracy)
		show_line("It agrees with this host's within %.6f s", accuracy);
	else
		show_line("It is %.6f s %s this host's, give or take %.6f s", off < 0 ? -off : off,
			off < 0 ? "behind" : "ahead of", accuracy);
}

static json_t *in_json(const struct guest_clock *clock)
{
	return json_pack("{s:I, s:I}", "offset_ns", (json_int_t)clock->offset_ns, "accuracy_ns",
		(json_int_t)clock->accuracy_ns);
}

/* ---- show ---- */

static void show(const struct guest_clock *clock)
{
	time_t guest = (time_t)(clock->guest_ns / (int64_t)NSEC_PER_SEC);
	int64_t left = json_field_int(clock->said, "slew_left_ns", 0);
	char text[64] = "unknown";
	struct tm utc;

	if (gmtime_r(&guest, &utc))
		(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &utc);
	show_line("The guest's clock: %s", text);
	show_offset(clock);
	if (left != 0)
		show_line("It is being slewed, %.6f s are left", seconds(left));
	show_line("Kept right from within the guest: %s",
		json_field_bool(clock->said, "synchronized", false) ? "yes" : "no");
}

static int run_show(struct cli *cli)
{
	struct postern_client *client = NULL;
	struct postern_error error = {0};
	struct guest_clock clock;
	int r = agent_connect(cli, &client);

	if (r != POSTERN_DONE)
		return r;
	if (guest_clock_read(client, 0, &clock, &error) < 0) {
		postern_client_close(client);
		return cli_fail(cli, &error);
	}
	postern_client_close(client);
	if (cli->json) {
		json_t *all = in_json(&clock);

		(void)json_object_update(all, clock.said);
		r = cli_json(all);
	} else {
		show(&clock);
	}
	json_decref(clock.said);
	return r;
}

const struct command cmd_time_show = {
	.name = "time show",
	.arguments = "VM",
	.summary = "Show a guest's clock, and how far it is from this host's",
	.least = 1,
	.most = 1,
	.run = run_show,
};

/* ---- sync ---- */

static const struct cli_option sync_options[] = {
	{"slew", 's', NULL, "gradually, so that no program's time jumps (at most 10 s)"},
	{"no-hardware", 'n', NULL, "leave the machine's own clock as it is"},
	{0},
};

static int sync_clock(struct cli *cli, struct postern_client *client)
{
	bool slew = cli_flag(cli, "slew"), hardware = !slew && !cli_flag(cli, "no-hardware");
	struct guest_clock before, after;
	struct postern_error error = {0};

	if (guest_clock_read(client, 0, &before, &error) < 0)
		return cli_fail(cli, &error);
	json_decref(before.said);
	if (guest_clock_correct(client, &before, slew, hardware, &error) < 0 ||
		guest_clock_read(client, 0, &after, &error) < 0)
		return cli_fail(cli, &error);
	json_decref(after.said);
	if (cli->json)
		return cli_json(json_pack(
			"{s:o, s:o}", "before", in_json(&before), "after", in_json(&after)));
	show_line("The guest's clock was %.6f s off%s", seconds(before.offset_ns),
		slew ? ", and runs until that is made up for" : "");
	if (!slew)
		show_offset(&after);
	return POSTERN_DONE;
}

static int run_sync(struct cli *cli)
{
	struct postern_client *client = NULL;
	int r = agent_connect(cli, &client);

	if (r != POSTERN_DONE)
		return r;
	r = sync_clock(cli, client);
	postern_client_close(client);
	return r;
}

const struct command cmd_time_sync = {
	.name = "time sync",
	.arguments = "VM",
	.summary = "Set a guest's clock by this host's",
	.least = 1,
	.most = 1,
	.options = sync_options,
	.run = run_sync,
};

/* ---- zone ---- */

static void show_zone(const json_t *zone)
{
	int64_t offset = json_field_int(zone, "offset_s", 0), minutes = offset / 60;
	const char *name = agent_text(zone, "zone");

	show_line("%s (%s, UTC%c%02d:%02d)", name[0] ? name : "unnamed",
		agent_text(zone, "abbreviation"), offset < 0 ? '-' : '+',
		(int)((minutes < 0 ? -minutes : minutes) / 60),
		(int)((minutes < 0 ? -minutes : minutes) % 60));
}

static int run_zone(struct cli *cli)
{
	bool sets = cli->n_words > 1;
	json_t *answer;
	int r = agent_call(cli, sets ? "time.set_zone" : "time.zone",
		sets ? json_pack("{s:s}", "zone", cli->words[1]) : NULL, 0, &answer);

	if (r != POSTERN_DONE)
		return r;
	if (cli->json)
		return cli_json(answer);
	show_zone(sets ? json_object_get(answer, "zone") : answer);
	json_decref(answer);
	return POSTERN_DONE;
}

const struct command cmd_time_zone = {
	.name = "time zone",
	.arguments = "VM [ZONE]",
	.summary = "Show or set a guest's time zone",
	.details = "ZONE is one that the guest has, such as Europe/Berlin.",
	.least = 1,
	.most = 2,
	.run = run_zone,
};
