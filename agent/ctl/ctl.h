/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands of the guest's own command line: posternd COMMAND. Each returns an exit code. */
#pragma once

#include <stdbool.h>

#include "agent/config/config.h"

struct ctl_command {
	const char *name;
	const char *arguments;
	const char *summary;
	bool has_settings; /* it reads the settings: --config means something */
	/* settings is the file of --config, NULL where none was given; argv[0] is the command. */
	int (*run)(const char *settings, int argc, char **argv);
};

int ctl_call(const char *settings, int argc, char **argv);
int ctl_remount(const char *settings, int argc, char **argv);
int ctl_methods(const char *settings, int argc, char **argv);
int ctl_check_config(const char *settings, int argc, char **argv);
int ctl_install(const char *settings, int argc, char **argv);
int ctl_uninstall(const char *settings, int argc, char **argv);

/* Settings of the file (NULL: the default one, which need not exist) and the kernel command line.
 * 0, or an exit code with the reason in the log. */
int ctl_settings(const char *file, struct config *ret);
