/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Removes a folder of ours with everything in it; links are removed, never followed, and other file
 * systems are not entered. 0 or -errno of the first failure. */
int remove_tree(const char *path);
