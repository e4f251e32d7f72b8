/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One event, a line for a person or a JSON value. */
#pragma once

#include "host/cli/command.h"
#include "host/lib/postern.h"

/* Of the guest. */
void event_show(const struct cli *cli, const struct postern_notification *notification);

/* Of the machine itself. */
void event_show_vm(const struct cli *cli, const struct postern_vm_event *event);
