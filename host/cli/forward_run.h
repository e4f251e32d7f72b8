/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "host/cli/command.h"
#include "host/cli/forward_spec.h"

/* Forwards between us and the guest of the command's first word, until a signal, or the guest is no
 * more; an agent that is lost is waited for, and whoever connects meanwhile too. An exit code,
 * after saying why. */
int forward_run(struct cli *cli, struct forward_spec *specs, size_t n);
