/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One line on standard error that is written over, while something is slow; nothing where that is
 * no terminal. The text is the program's own. */
void progress_show(const char *text);

/* Takes the line away. */
void progress_end(void);
