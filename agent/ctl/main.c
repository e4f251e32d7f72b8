/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern-ctl: the guest's own command line, run as posternd COMMAND. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "proto/cleanup.h"
#include "proto/client/client.h"
#include "proto/log.h"

static const struct ctl_command commands[] = {
	{"call", "METHOD [JSON]", "call a method and print its answer as JSON", ctl_call},
	{"methods", "[--json]", "what can be called here, and why not the rest", ctl_methods},
	{"check-config", "[FILE]", "check settings and policy, and print what holds",
		ctl_check_config},
	{"install", "[--no-start]", "install, enable and start the service", ctl_install},
	{"uninstall", "", "stop and remove the service", ctl_uninstall},
};

static void usage(void)
{
	puts("Usage: posternd COMMAND [ARGUMENTS]\n\nCommands:");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-12s %-14s %s\n", commands[i].name, commands[i].arguments,
			commands[i].summary);
	puts("\nExit codes: 0 done, 1 the agent answered with an error, 2 usage, 3 refused,\n"
	     "4 no agent, 5 timed out, 6 the protocol was broken. See posternd(8).");
}

int main(int argc, char **argv)
{
	log_open("posternd", LOG_LEVEL_INFO);
	(void)setlocale(LC_CTYPE, "");
	if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0) {
		usage();
		return argc < 2 ? POSTERN_USAGE : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, argv[1]) == 0)
			return commands[i].run(argc - 1, argv + 1);
	log_error("%s: no such command; posternd help lists them", argv[1]);
	return POSTERN_USAGE;
}
