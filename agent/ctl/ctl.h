/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands of the guest's own command line: posternd COMMAND. Each returns an exit code. */
#pragma once

struct ctl_command {
	const char *name;
	const char *arguments;
	const char *summary;
	int (*run)(int argc, char **argv); /* argv[0] is the command */
};

int ctl_call(int argc, char **argv);
int ctl_methods(int argc, char **argv);
int ctl_check_config(int argc, char **argv);
int ctl_install(int argc, char **argv);
int ctl_uninstall(int argc, char **argv);
