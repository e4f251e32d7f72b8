/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every command, in the order in which help shows them. */
#include "host/cli/command.h"

extern const struct command cmd_launch, cmd_list, cmd_stop, cmd_forget, cmd_balloon,
	cmd_balloon_stats, cmd_shares_add, cmd_shares_remove;

const struct command *const commands[] = {
	&cmd_launch,
	&cmd_list,
	&cmd_stop,
	&cmd_forget,
	&cmd_shares_add,
	&cmd_shares_remove,
	&cmd_balloon,
	&cmd_balloon_stats,
	NULL,
};
