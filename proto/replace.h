/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Writes a file so that after a crash it is the old one or the new one, never half: under a name of
 * its own beside it (a dot before the last part, ".new" behind), onto the disk, then renamed. name
 * is relative to dir, or to AT_FDCWD; mode is set whatever the umask. 0 or -errno with the old file
 * as it was. May wait as long as the disk does.
 */
int replace_file(int dir, const char *name, mode_t mode, const void *data, size_t len);
