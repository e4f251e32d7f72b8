/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Environments: sets of machines, each with a root of its own (registry.h) and its own names. Below
 * the user's own root, which is the environment without a name ("", typed as "default"), they are
 * folders
 * @ENV.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "proto/client/client.h"

#define ENV_MARK '@' /* no VM's name begins so */

/* $POSTERN_ENV, or "". Not checked. */
const char *env_default(void);

/* The user's own root; it need not be there. 0 or -errno with *error. */
int env_base(char ret_base[PATH_MAX], struct postern_error *error);

/* "ENV/NAME" in two, neither longer than a name; without a slash ENV is env_default(). The name may
 * be none yet. 0; -EINVAL with *error where ENV is not "" and no name. */
int env_split(const char *name, char ret_env[64], char ret_name[64], struct postern_error *error);

/* The root of an environment, made where it is missing if `make` is set. 0; 1 where it is not
 * there; -errno with *error: also where somebody else owns it or others may enter. */
int env_root(const char *env, bool make, char root[PATH_MAX], struct postern_error *error);
