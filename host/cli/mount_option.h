/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "host/cli/command.h"

/* The --option values of the command line as the agent's MountOption array. */
json_t *mount_options_from(const struct cli *cli);

/* How long a mount may take that waits so long for its device; 0, the method's own time, for 0. */
uint32_t mount_timeout(uint64_t wait_ms);

/* Who holds a mount, a line a use. */
void holders_print(const json_t *holders, FILE *out);
