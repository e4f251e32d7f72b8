/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of the small text files that people write: settings, policy, allowed modules. */
#pragma once

#include <stdio.h>

#define LINE_SIZE 1024 /* of the buffer that a line is read into */

/*
 * Reads the next line, without its end, into line. Returns 1; 0 at the end of the file; -EINVAL,
 * with *ret_why set to a static phrase, for a line that does not fit or holds a NUL byte: what
 * follows in the file is then not to be read, since it may be the rest of that line; -EIO. May
 * block as files do.
 */
int line_read(FILE *file, char line[LINE_SIZE], const char **ret_why);
