/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "host/cli/command.h"

/* The list of commands: all, or those whose first word is `first`. Returns how many. */
int help_all(FILE *out, const char *first);

/* One command with its options, on standard output. */
void help_command(const struct command *command);
