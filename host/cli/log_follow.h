/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a guest's logs, and goes on with them where the agent was lost and is there again. */
#pragma once

#include <jansson.h>

#include "host/cli/command.h"
#include "host/cli/log_show.h"

/*
 * Prints what logs.read has for these parameters (borrowed) of the command's first word: to its
 * end, or, where they follow, until the machine has ended. An agent that is lost meanwhile is
 * waited for while its machine goes on; one at an address is not. An exit code, after saying why.
 */
int log_follow(struct cli *cli, json_t *params, enum log_form form);
