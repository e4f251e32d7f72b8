/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* postern-ctl: the guest's own command line, run as posternd COMMAND. */
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "agent/ctl/ctl.h"
#include "proto/cleanup.h"
#include "proto/client/client.h"
#include "proto/log.h"

static const struct ctl_command commands[] = {
	{"call", "METHOD [JSON]", "call a method and print its answer as JSON", true, ctl_call},
	{"methods", "[--json]", "what can be called here, and why not the rest", true, ctl_methods},
	{"property", "get|list|set|remove|watch ...", "keys with values, shared with the host",
		true, ctl_property},
	{"heartbeat", "[--end] [--deadline SECONDS] NAME",
		"give a sign of life, which the host looks for", true, ctl_heartbeat},
	{"remount", "TARGET", "mount a recorded persistent share again", true, ctl_remount},
	{"check-config", "[FILE]", "check settings and policy, and print what holds", true,
		ctl_check_config},
	{"explain", "IDENTITY METHOD [JSON]", "what the policy says of a call, and by which rule",
		true, ctl_explain},
	{"install", "[--no-start]", "install, enable and start the service", false, ctl_install},
	{"uninstall", "", "stop and remove the service", false, ctl_uninstall},
};

static void usage(void)
{
	puts("Usage: posternd [--config FILE] COMMAND [ARGUMENTS]\n\nCommands:");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-12s %-33s %s\n", commands[i].name, commands[i].arguments,
			commands[i].summary);
	puts("\nExit codes: 0 done, 1 the agent answered with an error, 2 usage, 3 refused,\n"
	     "4 no agent, 5 timed out, 6 the protocol was broken. See posternd(8).");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
	const char *file = NULL, *name;
	int option;

	log_open("posternd", LOG_LEVEL_INFO);
	(void)setlocale(LC_CTYPE, "");
	while ((option = getopt_long(argc, argv, "+c:h", options, NULL)) >= 0) {
		if (option == 'h') {
			usage();
			return 0;
		}
		if (option != 'c')
			return POSTERN_USAGE;
		file = optarg;
	}
	name = argv[optind];
	if (!name || strcmp(name, "help") == 0) {
		usage();
		return name ? 0 : POSTERN_USAGE;
	}
	argc -= optind;
	argv += optind;
	optind = 0; /* a command's own options are read from its beginning */
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (!file || commands[i].has_settings)
			return commands[i].run(file, argc, argv);
		log_error("%s: --config is for commands that read the settings", name);
		return POSTERN_USAGE;
	}
	log_error("%s: no such command; posternd help lists them", name);
	return POSTERN_USAGE;
}
