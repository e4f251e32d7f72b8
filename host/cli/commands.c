/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every command, in the order in which help shows them. */
#include "host/cli/command.h"

extern const struct command cmd_launch, cmd_list, cmd_stop, cmd_forget, cmd_balloon,
	cmd_balloon_stats, cmd_shares_add, cmd_shares_remove, cmd_shares_list, cmd_info, cmd_ping,
	cmd_methods, cmd_mounts_list, cmd_mounts_mount, cmd_mounts_unmount, cmd_load,
	cmd_modules_list, cmd_modules_info, cmd_modules_load, cmd_modules_unload, cmd_ports,
	cmd_socat, cmd_socat_listen, cmd_serial, cmd_attach, cmd_events, cmd_call;

const struct command *const commands[] = {
	&cmd_launch,
	&cmd_list,
	&cmd_stop,
	&cmd_forget,
	&cmd_info,
	&cmd_ping,
	&cmd_methods,
	&cmd_mounts_list,
	&cmd_mounts_mount,
	&cmd_mounts_unmount,
	&cmd_shares_list,
	&cmd_shares_add,
	&cmd_shares_remove,
	&cmd_load,
	&cmd_modules_list,
	&cmd_modules_info,
	&cmd_modules_load,
	&cmd_modules_unload,
	&cmd_ports,
	&cmd_socat,
	&cmd_socat_listen,
	&cmd_serial,
	&cmd_attach,
	&cmd_events,
	&cmd_call,
	&cmd_balloon,
	&cmd_balloon_stats,
	NULL,
};
