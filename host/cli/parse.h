/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/cli/command.h"

/* Finds the command of argv[1...], parses what follows it and runs it. Returns the exit code. */
int cli_run(int argc, char **argv);
