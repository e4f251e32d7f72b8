/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Copies the load history to DIR/load, atomically. It may hang as long as DIR's file system does. 0
 * or -errno. */
int save_history(int from, const char *path);
