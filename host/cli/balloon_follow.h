/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/cli/balloon_rule.h"
#include "host/cli/command.h"

/*
 * Moves the balloon of the command's first word, a VM, by the rule, and prints what it does, until
 * a signal or the machine's end; the balloon stays as it is then. An agent that is lost is looked
 * for again, and nothing is taken meanwhile. An exit code, after saying why.
 */
int balloon_follow(struct cli *cli, const struct balloon_bounds *bounds);
