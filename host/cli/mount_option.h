/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "host/cli/command.h"

/* The --option values of the command line as the agent's MountOption array. */
json_t *mount_options_from(const struct cli *cli);

/* Who holds a mount, a line a use. */
void holders_print(const json_t *holders, FILE *out);
