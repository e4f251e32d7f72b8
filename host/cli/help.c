/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/help.h"

#include <string.h>

#define COLUMN 34

static const char footer[] =
	"VM is the name of a machine, or where commands talk to its agent an address:\n"
	"vsock:CID[:PORT], unix:PATH[:PORT], local:\n"
	"ENV/VM, or --env ENV (else $POSTERN_ENV), is one of another environment.\n"
	"\n"
	"Every command knows --help and --json. Exit codes: 0 done, 1 the agent or the VMM\n"
	"answered with an error, 2 usage, 3 refused, 4 absent, 5 timed out, 6 the other side\n"
	"broke the protocol.\n";

int help_all(FILE *out, const char *first)
{
	size_t len = first ? strlen(first) : 0;
	int n = 0;

	for (size_t i = 0; commands[i]; i++) {
		const struct command *command = commands[i];
		int width;

		if (first && (strncmp(command->name, first, len) != 0 || command->name[len] != ' '))
			continue;
		if (n++ == 0)
			(void)fputs("usage: postern [--env NAME] COMMAND ...\n\n", out);
		width = fprintf(out, "  %s %s", command->name, command->arguments);
		(void)fprintf(out, "%s%*s%s\n", width >= COLUMN ? "\n" : "",
			width >= COLUMN ? COLUMN : COLUMN - width, "", command->summary);
	}
	if (!first)
		(void)fprintf(out, "\n%s", footer);
	return n;
}

void help_command(const struct command *command)
{
	bool times = false;

	(void)printf("usage: postern %s [OPTIONS] %s\n\n%s.\n", command->name, command->arguments,
		command->summary);
	if (command->details)
		(void)printf("\n%s\n", command->details);
	(void)putchar('\n');
	for (const struct cli_option *option = command->options; option && option->name; option++) {
		int width;

		times = times || (option->argument && strcmp(option->argument, CLI_TIME) == 0);

		if (option->letter)
			width = printf("  -%c, --%s", option->letter, option->name);
		else
			width = printf("  --%s", option->name);
		width += printf("%s%s", option->argument ? " " : "",
			option->argument ? option->argument : "");
		(void)printf("%*s%s\n", width < COLUMN ? COLUMN - width : 1, "", option->help);
	}
	(void)printf(
		"  --json%*sa JSON value on standard output in place of text\n", COLUMN - 8, "");
	(void)printf("  -h, --help%*sthis\n", COLUMN - 12, "");
	if (times)
		(void)puts("\nTIME is in seconds, or has a unit: 10, 1.5, 500ms, 2m, 1h, 1d.");
}
