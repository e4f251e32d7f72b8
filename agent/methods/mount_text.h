/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's text of a mount table: proc_pid_mountinfo(5). */
#pragma once

#include "proto/buffer.h"

/* Appends what a mountinfo file says (fd borrowed, read from its beginning) to text. 0 or -errno.
 */
int mount_text_read(int fd, struct buffer *text);

/* The same for the namespace of this process. */
int mount_text_own(struct buffer *text);
