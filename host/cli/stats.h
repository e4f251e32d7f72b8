/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Statistics of a machine, as people and programs read them. */
#pragma once

#include <stddef.h>

#include "host/cli/command.h"
#include "host/lib/postern.h"

/* Prints them, one a line, UNKNOWN for what is not known; or as an object with null for that.
 * Returns exit code 0. */
int stats_show(const struct cli *cli, const struct postern_stat *stats, size_t n);
