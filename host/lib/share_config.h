/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <limits.h>

#include "host/common/vm_config.h"
#include "host/lib/postern.h"

/*
 * Turns a caller's share into one that a supervisor takes: the source resolved to an absolute path
 * (into source), a tag made up where there is none (into tag, SHARE_TAG_MAX + 1 bytes). config has
 * the shares whose tags are taken; NULL: not known here. *ret_share borrows all. 0 or -errno with
 * *error.
 */
int share_config_fill(const struct postern_share *share, const struct vm_config *config,
	char source[PATH_MAX], char *tag, struct share_config *ret_share,
	struct postern_error *error);
