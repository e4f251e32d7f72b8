/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "agent/broker/broker.h"

/* Opens, once, what sessions and the watcher are lent: kernel files, the load history (brought back
 * from the state folder when this boot has none yet) and the quarantine. 0, or -errno with a line
 * in the log. What the kernel lacks stays -EBADF. */
int sources_open(struct broker *broker);
