/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of the kernel that a session was lent (enum session_fd). */
#pragma once

#include "agent/methods/call.h"

/* The whole of one, as it is now, ending in NUL, in the arena; "" where there is none (-EBADF) or
 * no memory. At most 512 KiB of it. */
char *lent_text(struct call *call, int fd);
