/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which modules may be asked for: those that the file system types and the boot list need, and what
 * the lines of /etc/postern/modules.d/NAME.allow add, each "MODULE [PARAMETER...]".
 */
#pragma once

#include <stdbool.h>

/* True for a module's name as such: letters, digits, '_' and '-', at most 63 bytes. No path gets
 * through. */
bool module_name_is_clean(const char *name);

/* '-' and '_' are the same in a name. */
bool module_names_equal(const char *a, const char *b);

bool allow_module(const char *name);
bool allow_parameter(const char *module, const char *parameter);
